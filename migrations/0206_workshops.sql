-- Workshops with settings of their own, and the accounts through which messages leave.

create table workshops (
    id uuid primary key,
    -- The caller's own identifier, an opaque text of at most 100 characters.
    taller_id text not null,
    name text not null,
    -- False: events that name it are refused.
    is_active boolean not null,
    -- IANA name; null: TIME_ZONE.
    time_zone text,
    -- Local times `HH:MM`; for customers who have none of their own.
    quiet_from text,
    quiet_until text,
    -- A mailbox, `Name <address>`; null: the account's, or else DEFAULT_FROM_EMAIL.
    from_email text,
    email_enabled boolean not null,
    whatsapp_enabled boolean not null,
    push_enabled boolean not null,
    created_at timestamptz not null,
    updated_at timestamptz not null
);

create unique index workshops_taller_id_key on workshops (taller_id);

-- An SMTP server or an Evolution instance. Those of a channel are tried by priority before the channel counts as failed.
create table provider_accounts (
    id uuid primary key,
    -- Null: for every workshop that has none of its own on this channel.
    taller_id text,
    channel text not null,
    name text not null,
    -- 1 is tried first. The account of the environment counts as 0 among the global ones.
    priority integer not null,
    is_enabled boolean not null,
    -- Host, port, user, URL, instance: whatever is no secret.
    settings jsonb not null,
    -- Password or API key, sealed with SECRET_KEY; null: it needs none.
    secret text,
    created_at timestamptz not null,
    updated_at timestamptz not null,
    constraint provider_accounts_channel check (channel in ('email', 'whatsapp'))
);

create unique index provider_accounts_name_key on provider_accounts (name);

-- One row. Every write to the tables of this file counts it up, so that workers know when their copies are old.
create table provider_version (
    id integer primary key,
    version bigint not null
);

insert into provider_version (id, version) values (1, 1);
