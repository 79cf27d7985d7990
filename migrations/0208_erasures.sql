-- People who are to be forgotten wherever bodies of webhooks and appointments name them: a search through what is kept, step
-- by step.
create table erasures (
    -- Also the id of the task that searches.
    id uuid primary key,
    -- By what she is recognised, JSON, sealed where SECRET_KEY is set; null when the search is over.
    person text,
    -- Which table is being read, and the last row of it that was.
    stage text not null,
    position text,
    -- Rows that named her, and were emptied.
    emptied bigint not null,
    created_at timestamptz not null,
    finished_at timestamptz
);
