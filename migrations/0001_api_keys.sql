-- Keys of the API. Only a digest is kept; the key itself is shown once.
create table api_keys (
    id uuid primary key,
    name text not null,
    -- The first characters, by which a person recognises it.
    prefix text not null,
    -- SHA-256, hexadecimal. A key has 256 random bits, so no salt and no slow hash is needed.
    digest text not null,
    scopes text not null,
    created_at timestamptz not null,
    last_used_at timestamptz,
    revoked_at timestamptz
);

create unique index api_keys_digest_key on api_keys (digest);
