-- Presences: what a CRM tells of its appointments, and what the commercial application keeps of them.

-- The CRM's end: appointments as it last told of them.
create table crm_appointments (
    -- The CRM's own id.
    id text primary key,
    -- The CRM's id of the lead; null: it did not say.
    lead_id text,
    -- Pendiente, Confirmada, Realizada, Cancelada, Reprogramada.
    status text not null,
    -- The lead as it was told: nombre, celular, distrito, proyecto_interes, medio, email.
    lead jsonb not null,
    starts_at timestamptz not null,
    place text,
    -- When it became Realizada; set once, for a presence is told once.
    realized_at timestamptz,
    -- The webhook that told it; null: sending was off.
    delivery_id uuid,
    created_at timestamptz not null,
    updated_at timestamptz not null
);

create index crm_appointments_updated on crm_appointments (updated_at);
create index crm_appointments_lead on crm_appointments (lead_id, starts_at);

-- How an appointment becomes a presence, as staff changed it; no row: as the document says.
create table crm_mapping (
    id integer primary key,
    mapping jsonb not null,
    updated_at timestamptz not null
);

-- The commercial application's end: presences, one per id of the CRM.
create table crm_presences (
    id uuid primary key,
    id_presencia_crm text not null,
    client_name text not null,
    document_type text,
    document_number text not null,
    phone text,
    email text,
    address text,
    district text,
    attended_at timestamptz not null,
    project text,
    medium text,
    modality text,
    status text,
    result text,
    notes text,
    created_at timestamptz not null,
    updated_at timestamptz not null
);

create unique index crm_presences_id_presencia_crm_key on crm_presences (id_presencia_crm);

-- A sale that came of a presence; at most one.
create table crm_sales (
    id uuid primary key,
    presence_id uuid not null,
    sold_on text,
    lot text,
    -- contado or credito.
    kind text,
    credit_months integer,
    seller text,
    -- As it was written, for money is no floating number.
    lot_value text,
    down_payment text,
    -- What else was told.
    details jsonb not null,
    created_at timestamptz not null
);

create unique index crm_sales_presence_key on crm_sales (presence_id);
