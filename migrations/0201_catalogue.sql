-- What workshops configure: phases, types of service, templates, and the matrix of phase × channel.

-- One row. Every write to the tables of this file counts it up, so that the copies in memory know when they are old.
create table catalogue_version (
    id integer primary key,
    version bigint not null
);

insert into catalogue_version (id, version) values (1, 1);

create table service_phases (
    id uuid primary key,
    slug text not null,
    name text not null,
    icon text not null,
    description text not null,
    position integer not null,
    is_active boolean not null
);

create unique index service_phases_slug_key on service_phases (slug);

-- Types of service and their subtypes. A subtype may carry the slug of its parent (`colision-pintura`): two namespaces.
create table service_types (
    id uuid primary key,
    parent_id uuid references service_types (id),
    slug text not null,
    name text not null,
    icon text not null,
    description text not null,
    position integer not null,
    is_active boolean not null
);

create unique index service_types_slug_key on service_types (slug) where parent_id is null;
create unique index service_subtypes_slug_key on service_types (parent_id, slug) where parent_id is not null;

create table templates (
    id uuid primary key,
    name text not null,
    subject text not null,
    body text not null,
    channel text not null,
    target text not null,
    -- Null matches everything; the most specific template wins.
    event_type text,
    service_type_id uuid references service_types (id),
    subtype_id uuid references service_types (id),
    phase_id uuid references service_phases (id),
    taller_id text,
    is_default boolean not null,
    is_active boolean not null,
    -- Made by seed_initial_data; only these does --force write again.
    is_seed boolean not null,
    -- The number of the text that stands here among all that it ever was.
    version integer not null default 1,
    created_at timestamptz not null,
    updated_at timestamptz not null,
    constraint templates_channel check (channel in ('email', 'whatsapp', 'push')),
    constraint templates_target check (target in ('clients', 'staff'))
);

-- What a template ever was, the present text included. No foreign keys: versions outlive a template that is deleted, because messages
-- name them and it can be restored.
create table template_versions (
    template_id uuid not null,
    -- From 1.
    version integer not null,
    -- created, changed, restored, deleted, seeded
    change text not null,
    -- Of a restored one: which version it is like.
    restored_from integer,
    -- Who wrote it, as the log names callers; null: the seed.
    author text,
    written_at timestamptz not null,
    name text not null,
    subject text not null,
    body text not null,
    channel text not null,
    target text not null,
    event_type text,
    service_type_id uuid,
    subtype_id uuid,
    phase_id uuid,
    taller_id text,
    is_default boolean not null,
    is_active boolean not null,
    primary key (template_id, version)
);

-- Which variables callers send with which type of event: names, never values. Written by the door, about once a day for each.
create table sent_variables (
    event_type text not null,
    -- As the log names callers.
    caller text not null,
    -- Without case and accents; empty: the event itself.
    variable text not null,
    seen_at timestamptz not null,
    primary key (event_type, caller, variable)
);

create table orchestration_configs (
    id uuid primary key,
    -- A type or a subtype.
    service_type_id uuid not null references service_types (id),
    target text not null,
    -- Null: for every workshop that has none of its own.
    taller_id text,
    is_active boolean not null,
    description text not null,
    -- fallback: one channel after the other. all: every enabled channel at once.
    delivery_mode text not null,
    created_at timestamptz not null,
    updated_at timestamptz not null,
    constraint orchestration_configs_target check (target in ('clients', 'staff')),
    constraint orchestration_configs_delivery_mode check (delivery_mode in ('fallback', 'all'))
);

create unique index orchestration_configs_key on orchestration_configs (service_type_id, target, coalesce(taller_id, ''));

-- One cell of the matrix.
create table phase_channel_configs (
    id uuid primary key,
    config_id uuid not null references orchestration_configs (id) on delete cascade,
    phase_id uuid not null references service_phases (id),
    channel text not null,
    enabled boolean not null,
    -- Set: this template and no other. Null: the best match.
    template_id uuid references templates (id) on delete set null,
    -- Without this receipt so many seconds after it was sent, the next channel is tried. Both or none.
    await_receipt text,
    await_seconds integer,
    constraint phase_channel_configs_await check (await_receipt in ('delivered', 'read')),
    constraint phase_channel_configs_channel check (channel in ('email', 'whatsapp', 'push'))
);

create unique index phase_channel_configs_key on phase_channel_configs (config_id, phase_id, channel);
