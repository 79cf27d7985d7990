-- Who may use the console. No account is there from the start: `recado user create` makes the first.
create table users (
    id uuid primary key,
    -- By which a person logs in, in lower case: a mail address, or a short name.
    name text not null,
    -- viewer, operator, editor, admin; with blanks between them.
    roles text not null,
    -- Argon2id as a PHC string. Null: she has not set one yet.
    password text,
    -- The secret of the codes that a login wants besides the password (RFC 6238), sealed. Null: it wants none.
    code_secret text,
    -- Since when codes are wanted. Null while the person has not shown that their phone makes them.
    codes_since timestamptz,
    -- The step of the last code that was used: none is good twice.
    code_step bigint,
    -- es, en. Null: as the browser asks.
    language text,
    -- light, dark. Null: as the system has it.
    theme text,
    -- Times are shown in UTC and not in the workshop's zone.
    utc boolean not null,
    created_at timestamptz not null,
    logged_in_at timestamptz,
    disabled_at timestamptz
);

create unique index users_name_key on users (name);

-- Codes for a person whose phone is lost. Each is good once.
create table user_recovery_codes (
    user_id uuid not null,
    -- SHA-256 of the person's id and 80 random bits, hexadecimal.
    digest text not null,
    primary key (user_id, digest)
);

-- Lists as people want to find them again: a name for a URL of the console.
create table saved_views (
    id uuid primary key,
    user_id uuid not null,
    name text not null,
    -- Of the page, without its query.
    path text not null,
    query text not null,
    created_at timestamptz not null
);

create unique index saved_views_name_key on saved_views (user_id, path, name);

-- Links with which a person sets her password, once.
create table user_links (
    -- SHA-256 of 256 random bits, hexadecimal.
    digest text primary key,
    user_id uuid not null,
    created_at timestamptz not null,
    expires_at timestamptz not null
);

-- Who is logged in, and where.
create table sessions (
    id uuid primary key,
    -- SHA-256 of the cookie's 256 random bits, hexadecimal.
    digest text not null,
    user_id uuid not null,
    -- The browser, as it calls itself, and from where it logged in.
    agent text not null,
    address text not null,
    created_at timestamptz not null,
    -- Right to a minute.
    seen_at timestamptz not null
);

create unique index sessions_digest_key on sessions (digest);
create index sessions_user on sessions (user_id, id);
