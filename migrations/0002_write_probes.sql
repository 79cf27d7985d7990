-- What a health check writes to see whether anything can be written. One row, or one per process that is just checking.
create table write_probes (
    id uuid primary key,
    written_at timestamptz not null,
    -- Needs room on the disk, as an event does.
    filler text not null
);
