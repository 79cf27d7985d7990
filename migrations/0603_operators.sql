-- Experiences and organizers of another system, as it last told of them, and the operators who answer for them.

create table tour_organizers (
    -- The other system's.
    id text primary key,
    name text not null,
    contact_name text,
    contact_phone text,
    contact_email text,
    created_at timestamptz not null,
    updated_at timestamptz not null
);

create table tour_operators (
    id uuid primary key,
    -- Null: linked with no organizer.
    organizer_id text,
    name text not null,
    contact_name text,
    contact_phone text,
    contact_email text,
    whatsapp_number text,
    -- The chat of the group that is told of its experiences.
    default_group uuid,
    -- Made because its organizer had none.
    is_system_created boolean not null,
    created_at timestamptz not null,
    updated_at timestamptz not null
);

create unique index tour_operators_organizer_key on tour_operators (organizer_id);

create table tour_experiences (
    -- The other system's.
    id text primary key,
    title text not null,
    slug text not null,
    organizer_id text,
    created_at timestamptz not null,
    updated_at timestamptz not null
);

create index tour_experiences_organizer on tour_experiences (organizer_id);

-- Which group is told of an experience. The default and the override are two rows, so that taking one away leaves the other.
create table tour_group_bindings (
    experience_id text not null,
    is_override boolean not null,
    chat uuid not null,
    created_at timestamptz not null,
    primary key (experience_id, is_override)
);
