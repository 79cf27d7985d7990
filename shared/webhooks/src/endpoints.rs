//! Endpoints: where webhooks go, how they are signed, and how they were taken lately.

use std::collections::BTreeMap;
use std::time::Duration;

use recado_kernel::audit::{self, Act, Actor};
use recado_kernel::clock::Timestamp;
use recado_kernel::db::filter::{Filter, List};
use recado_kernel::db::{Ids, Result, Session, columns, contains};
use recado_kernel::ids::Id;
use recado_kernel::networks::Network;
use recado_kernel::outbound::Reach;
use recado_kernel::sealed::{self, SealError};
use recado_kernel::{columns, sql, word_enum};
use secrecy::{ExposeSecret, SecretString};
use serde_json::json;
use sqlx::types::Json;
use utoipa::ToSchema;

use crate::canonical::{Document, NotCanonical};
use crate::canonical::{PYTHON_COMPACT, PYTHON_DEFAULT};
use crate::health::Health;
use crate::signature::{Profile, Secret};

/// How long the former secret is accepted and listed after a rotation (d4).
pub const OVERLAP: Duration = Duration::from_secs(24 * 60 * 60);

/// A URL of a partner, with all that is needed to sign for it.
#[derive(Clone, Debug, sqlx::FromRow)]
pub struct Endpoint {
    pub id: Id,
    /// The system that sends to it.
    pub system: String,
    /// For people, logs and metrics.
    pub name: String,
    pub url: String,
    /// Event types that it gets; `None`: all.
    pub events: Option<Json<Vec<String>>>,
    pub status: Status,
    pub disabled_reason: Option<DisabledReason>,
    pub status_changed_at: Timestamp,
    /// When it was last disabled.
    pub disabled_at: Option<Timestamp>,
    secret: String,
    former_secret: Option<String>,
    former_secret_until: Option<Timestamp>,
    pub canonical: Canonical,
    pub signature_prefix: String,
    pub signature_headers: Json<Vec<String>>,
    headers: Option<String>,
    pub timeout_seconds: i32,
    /// Seconds between attempts; `None`: `WEBHOOK_RETRY_SCHEDULE`.
    pub retry_schedule: Option<Json<Vec<f64>>>,
    /// Requests at a time, per worker.
    pub concurrency: i32,
    /// Requests per minute, per worker.
    pub rate_per_minute: Option<i32>,
    pub owner_email: Option<String>,
    allowed_networks: Option<Json<Vec<String>>>,
    #[sqlx(flatten)]
    pub health: Health,
    pub created_at: Timestamp,
    pub updated_at: Timestamp,
}

/// Whether webhooks go out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, strum::IntoStaticStr, strum::VariantArray, ToSchema)]
#[schema(as = EndpointStatus, rename_all = "lowercase")]
#[strum(serialize_all = "lowercase", const_into_str)]
pub enum Status {
    Active,
    /// Deliveries wait until it is active again.
    Paused,
    /// Nothing goes out, and what waited is cancelled.
    Disabled,
}

word_enum!(Status, "a status of an endpoint");

/// Why an endpoint is disabled.
#[derive(Clone, Copy, Debug, PartialEq, Eq, strum::IntoStaticStr, strum::VariantArray, ToSchema)]
#[schema(as = EndpointDisabledReason, rename_all = "lowercase")]
#[strum(serialize_all = "lowercase", const_into_str)]
pub enum DisabledReason {
    /// It answered 410.
    Gone,
    /// It took nothing for days.
    Failing,
    /// The system that it belongs to stopped it.
    Owner,
}

word_enum!(DisabledReason, "a reason for which an endpoint is disabled");

/// In which form a payload travels.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, strum::IntoStaticStr, strum::VariantArray, ToSchema)]
#[schema(as = EndpointCanonical, rename_all = "snake_case")]
#[strum(serialize_all = "snake_case", const_into_str)]
pub enum Canonical {
    /// Sorted keys, `", "` and `": "`, ASCII: a verifier of the raw body and one that writes it again with
    /// `sort_keys=True` both accept it (d1).
    #[default]
    PythonDefault,
    /// Sorted keys, no blanks, ASCII.
    Compact,
    /// As the system that sends wrote it.
    AsIs,
}

word_enum!(Canonical, "a canonical form");

impl Canonical {
    /// The bytes that travel and that are signed.
    ///
    /// # Errors
    /// When the payload has no canonical form.
    pub fn body(self, payload: &str) -> std::result::Result<String, NotCanonical> {
        let form = match self {
            Self::PythonDefault => PYTHON_DEFAULT,
            Self::Compact => PYTHON_COMPACT,
            Self::AsIs => return Ok(payload.to_owned()),
        };
        Ok(Document::read(payload)?.with_pythons_numbers()?.write(form))
    }
}

/// An endpoint to be written.
#[derive(Clone, Debug)]
pub struct NewEndpoint {
    pub id: Id,
    pub system: &'static str,
    pub name: String,
    pub url: String,
    /// `None`: all.
    pub events: Option<Vec<String>>,
    pub secret: Secret,
    pub canonical: Canonical,
    pub profile: Profile,
    /// Headers that every request carries. Their values are kept as secrets.
    pub headers: BTreeMap<String, String>,
    pub timeout: Duration,
    /// `None`: `WEBHOOK_RETRY_SCHEDULE`.
    pub retry_schedule: Option<Vec<f64>>,
    pub concurrency: i32,
    pub rate_per_minute: Option<i32>,
    pub owner_email: Option<String>,
}

/// Seconds that a request may take (S000-11).
pub const USUAL_TIMEOUT: Duration = Duration::from_secs(30);

/// Requests to one endpoint at a time, per worker.
pub const USUAL_CONCURRENCY: i32 = 8;

impl NewEndpoint {
    /// An endpoint with the usual settings.
    pub fn new(id: Id, system: &'static str, name: &str, url: &str, secret: Secret) -> Self {
        Self {
            id,
            system,
            name: name.to_owned(),
            url: url.to_owned(),
            events: None,
            secret,
            canonical: Canonical::default(),
            profile: Profile::default(),
            headers: BTreeMap::new(),
            timeout: USUAL_TIMEOUT,
            retry_schedule: None,
            concurrency: USUAL_CONCURRENCY,
            rate_per_minute: None,
            owner_email: None,
        }
    }
}

/// Names and values of headers.
pub type Headers = BTreeMap<String, String>;

/// What seals and opens the secrets of endpoints.
#[derive(Clone, Copy, Debug)]
pub struct Sealer<'k>(pub &'k SecretString);

impl Sealer<'_> {
    /// What a sealed text is bound to, so that it opens in its own row only.
    fn owner(id: Id) -> String {
        format!("webhook_endpoint:{id}")
    }

    fn seal(self, id: Id, text: &SecretString) -> Result<String> {
        sealed::seal(self.0, &Self::owner(id), text).map_err(|error| sqlx::Error::Encode(Box::new(error)))
    }

    fn open(self, id: Id, sealed: &str) -> std::result::Result<SecretString, SealError> {
        sealed::open(self.0, &Self::owner(id), sealed)
    }
}

impl Endpoint {
    /// Whether it subscribed to this type of event.
    pub fn wants(&self, event_type: &str) -> bool {
        self.events.as_ref().is_none_or(|Json(events)| events.iter().any(|event| event == event_type))
    }

    /// The secrets that are in force, the current one first.
    ///
    /// # Errors
    /// When they were sealed with another `SECRET_KEY`.
    pub fn secrets(&self, sealer: Sealer<'_>, now: Timestamp) -> std::result::Result<Vec<Secret>, SealError> {
        let mut secrets = vec![Secret::from(sealer.open(self.id, &self.secret)?)];
        if self.former_secret_until.is_some_and(|until| now < until)
            && let Some(former) = &self.former_secret
        {
            secrets.push(Secret::from(sealer.open(self.id, former)?));
        }
        Ok(secrets)
    }

    /// The headers that every request carries.
    ///
    /// # Errors
    /// As [`secrets`](Self::secrets).
    pub fn headers(&self, sealer: Sealer<'_>) -> std::result::Result<Headers, SealError> {
        let Some(sealed) = &self.headers else { return Ok(Headers::new()) };
        let text = sealer.open(self.id, sealed)?;
        Ok(serde_json::from_str(text.expose_secret()).unwrap_or_default())
    }

    pub fn profile(&self) -> Profile {
        Profile { prefix: self.signature_prefix.clone(), extra_headers: self.signature_headers.0.clone() }
    }

    /// Networks in which it may be though those of the installation do not hold them, as they were written.
    pub fn allowed_networks(&self) -> &[String] {
        self.allowed_networks.as_ref().map_or(&[], |Json(networks)| networks)
    }

    /// How far its requests may go: as far as the installation's, and into the networks that are allowed to it alone.
    pub fn reach(&self, installation: &Reach) -> Reach {
        let mut reach = installation.clone();
        reach.networks.extend(self.allowed_networks().iter().filter_map(|network| network.parse::<Network>().ok()));
        reach
    }

    /// Whether requests carry headers of their own, whose values are secret.
    pub fn has_headers(&self) -> bool {
        self.headers.is_some()
    }

    pub fn timeout(&self) -> Duration {
        Duration::from_secs(self.timeout_seconds.unsigned_abs().into())
    }
}

/// The columns of an [`Endpoint`], by name: a star would break the prepared statements of running processes when a newer
/// version adds one.
const COLUMNS: &str =
    "id, system, name, url, events, status, disabled_reason, status_changed_at, disabled_at, secret, former_secret,
    former_secret_until, canonical, signature_prefix, signature_headers, headers, timeout_seconds, retry_schedule,
    concurrency, rate_per_minute, owner_email, allowed_networks, sent_count, failed_count, last_attempt_at, last_success_at,
    consecutive_failures, failing_since, open_until, times_opened, warned_at, created_at, updated_at";

/// Writes an active endpoint. One that is there stays as it is.
pub async fn insert(session: &mut Session, sealer: Sealer<'_>, new: &NewEndpoint, now: Timestamp) -> Result<()> {
    sql!(
        run,
        session,
        "insert into webhook_endpoints (id, system, name, url, events, status, status_changed_at, secret, canonical,
             signature_prefix, signature_headers, headers, timeout_seconds, retry_schedule, concurrency, rate_per_minute,
             owner_email, sent_count, failed_count, consecutive_failures, times_opened, created_at, updated_at)
         values ($1, $2, $3, $4, $5, 'active', $15, $6, $7, $8, $9, $10, $11, $12, $13, $14, $16, 0, 0, 0, 0, $15, $15)
         on conflict (id) do nothing",
        new.id,
        new.system,
        new.name.as_str(),
        new.url.as_str(),
        new.events.as_ref().map(Json),
        sealer.seal(new.id, new.secret.text())?,
        new.canonical.as_str(),
        new.profile.prefix.as_str(),
        Json(&new.profile.extra_headers),
        sealed_headers(sealer, new.id, &new.headers)?,
        new.timeout.as_secs() as i32,
        new.retry_schedule.as_ref().map(Json),
        new.concurrency,
        new.rate_per_minute,
        now,
        new.owner_email.as_deref(),
    )?;
    Ok(())
}

fn sealed_headers(sealer: Sealer<'_>, id: Id, headers: &Headers) -> Result<Option<String>> {
    if headers.is_empty() {
        return Ok(None);
    }
    let text = serde_json::to_string(headers).map_err(|error| sqlx::Error::Encode(Box::new(error)))?;
    sealer.seal(id, &text.into()).map(Some)
}

/// What its system changes of an endpoint.
#[derive(Clone, Debug)]
pub struct Change {
    pub name: String,
    pub url: String,
    pub events: Option<Vec<String>>,
    pub canonical: Canonical,
    pub profile: Profile,
    pub timeout: Duration,
    pub retry_schedule: Option<Vec<f64>>,
    pub concurrency: i32,
    pub rate_per_minute: Option<i32>,
    pub owner_email: Option<String>,
}

/// Writes what its system changed. Whether there is such an endpoint. At another URL its circuit is closed: what the former one
/// failed at says nothing of the new one.
pub async fn change(session: &mut Session, id: Id, change: &Change, now: Timestamp) -> Result<bool> {
    let changed = sql!(
        run,
        session,
        "update webhook_endpoints
         set name = $2, url = $3, events = $4, canonical = $5, signature_prefix = $6, signature_headers = $7,
             timeout_seconds = $8, retry_schedule = $9, concurrency = $10, rate_per_minute = $11, owner_email = $12,
             updated_at = $13,
             consecutive_failures = case when url = $3 then consecutive_failures else 0 end,
             failing_since = case when url = $3 then failing_since else null end,
             open_until = case when url = $3 then open_until else null end,
             times_opened = case when url = $3 then times_opened else 0 end
         where id = $1",
        id,
        change.name.as_str(),
        change.url.as_str(),
        change.events.as_ref().map(Json),
        change.canonical.as_str(),
        change.profile.prefix.as_str(),
        Json(&change.profile.extra_headers),
        change.timeout.as_secs() as i32,
        change.retry_schedule.as_ref().map(Json),
        change.concurrency,
        change.rate_per_minute,
        change.owner_email.as_deref(),
        now,
    )?;
    Ok(changed > 0)
}

/// Replaces the headers that every request carries.
pub async fn set_headers(session: &mut Session, sealer: Sealer<'_>, id: Id, headers: &Headers) -> Result<()> {
    let sealed = sealed_headers(sealer, id, headers)?;
    sql!(run, session, "update webhook_endpoints set headers = $2 where id = $1", id, sealed)?;
    Ok(())
}

/// Lets webhooks go into these networks too, which must be readable, and into no others that the installation does not hold. Its
/// partner never decides this. Whether it is a change, which is then written down with who made it.
pub async fn allow_networks(
    session: &mut Session,
    endpoint: &Endpoint,
    networks: &[String],
    actor: &Actor,
    now: Timestamp,
) -> Result<bool> {
    let before = endpoint.allowed_networks();
    if before == networks {
        return Ok(false);
    }
    sql!(
        run,
        session,
        "update webhook_endpoints set allowed_networks = $2, updated_at = $3 where id = $1",
        endpoint.id,
        Some(networks).filter(|networks| !networks.is_empty()).map(Json),
        now
    )?;
    let fields = |networks: &[String]| json!({ "allowed_networks": networks });
    let act = Act::new("allow_networks", "webhook_endpoint", endpoint.id).changed(fields(before), fields(networks));
    audit::write(session, actor, &act, now).await?;
    Ok(true)
}

/// Puts a new secret in force; the one before it is listed for another [`OVERLAP`] (d4).
pub async fn rotate(
    session: &mut Session,
    sealer: Sealer<'_>,
    id: Id,
    secret: &Secret,
    now: Timestamp,
) -> Result<bool> {
    let rotated = sql!(
        run,
        session,
        "update webhook_endpoints
         set former_secret = secret, former_secret_until = $3, secret = $2, updated_at = $4
         where id = $1",
        id,
        sealer.seal(id, secret.text())?,
        now + OVERLAP,
        now,
    )?;
    Ok(rotated > 0)
}

/// Changes whether webhooks go out. Returns whether this was a change; what follows for its deliveries is in
/// [`crate::deliveries`].
pub async fn set_status(
    session: &mut Session,
    id: Id,
    status: Status,
    reason: Option<DisabledReason>,
    now: Timestamp,
) -> Result<bool> {
    let changed = sql!(
        run,
        session,
        "update webhook_endpoints
         set status = $2, disabled_reason = $3, status_changed_at = $4, updated_at = $4,
             disabled_at = case when $2 = 'disabled' then $4 else disabled_at end,
             consecutive_failures = 0, failing_since = null, open_until = null, times_opened = 0,
             warned_at = null
         where id = $1 and (status <> $2 or coalesce(disabled_reason, '') <> coalesce($3, ''))",
        id,
        status.as_str(),
        reason.map(DisabledReason::as_str),
        now,
    )?;
    Ok(changed > 0)
}

/// Empties what tells of its owner. Its secrets go too: nothing is signed with them any more.
pub async fn forget_owner(session: &mut Session, id: Id, now: Timestamp) -> Result<()> {
    sql!(
        run,
        session,
        "update webhook_endpoints set name = '(borrado)', url = '', owner_email = null, headers = null, former_secret = null,
             updated_at = $2
         where id = $1 and status = 'disabled'",
        id,
        now
    )?;
    Ok(())
}

pub async fn find(session: &mut Session, id: Id) -> Result<Option<Endpoint>> {
    sql!(one Endpoint, session, (&format!("select {COLUMNS} from webhook_endpoints where id = $1")), id)
}

/// These endpoints, in no order.
pub async fn all(session: &mut Session, ids: &[Id]) -> Result<Vec<Endpoint>> {
    sql!(all Endpoint, session, (&format!("select {COLUMNS} from webhook_endpoints where id = any($1)")), Ids(ids))
}

/// The endpoints for which events of a system are kept: also those that were disabled because they failed, so that it can be
/// replayed what they missed.
pub async fn listening(session: &mut Session, system: &str) -> Result<Vec<Endpoint>> {
    sql!(all Endpoint, session,
        (&format!("select {COLUMNS} from webhook_endpoints
                   where system = $1 and coalesce(disabled_reason, '') <> 'owner' order by id")), system)
}

/// How an endpoint stands, for metrics.
#[derive(Clone, Debug, sqlx::FromRow)]
pub struct Circuit {
    pub id: Id,
    pub system: String,
    pub name: String,
    pub status: Status,
    pub open_until: Option<Timestamp>,
}

/// How the oldest endpoints stand.
pub async fn circuits(session: &mut Session, limit: i64) -> Result<Vec<Circuit>> {
    sql!(all Circuit, session,
        "select id, system, name, status, open_until from webhook_endpoints order by id limit $1", limit)
}

/// The same endpoint, held until the end of the transaction.
pub async fn lock(session: &mut Session, id: Id) -> Result<Option<Endpoint>> {
    sql!(one Endpoint, session, (&format!("select {COLUMNS} from webhook_endpoints where id = $1 for update")), id)
}

/// Deletes an endpoint. What was sent to it stays until its retention.
pub async fn delete(session: &mut Session, id: Id) -> Result<bool> {
    Ok(sql!(run, session, "delete from webhook_endpoints where id = $1", id)? > 0)
}

/// Which endpoints to list; `None` leaves a question out.
#[derive(Clone, Debug, Default)]
pub struct EndpointFilter {
    pub system: Option<String>,
    pub status: Option<Status>,
    /// Part of the name or of the URL, in either case.
    pub search: Option<String>,
}

/// A page of the endpoints that fit, by name, and how many fit in all.
pub async fn list(
    session: &mut Session,
    filter: &EndpointFilter,
    limit: i64,
    offset: i64,
) -> Result<(Vec<Endpoint>, i64)> {
    let mut asked = Filter::default();
    asked.equal("system", filter.system.as_deref());
    asked.equal("status", filter.status.map(Status::as_str));
    let search = filter.search.as_deref().map(contains);
    asked.when("(name ilike ? escape '\\' or url ilike ? escape '\\')", search);
    let list = List {
        select: &format!("select {COLUMNS} from webhook_endpoints"),
        from: "webhook_endpoints",
        key: "id",
        order: &["name", "id"],
        descending: false,
    };
    list.page(session, &asked, limit, offset).await
}

/// How an attempt was taken, for the health of its endpoint.
#[derive(Clone, Copy, Debug)]
pub struct AttemptOutcome {
    pub endpoint_id: Id,
    pub succeeded: bool,
    /// It answered 410.
    pub gone: bool,
    pub at: Timestamp,
}

struct HealthRow {
    id: Id,
    health: Health,
}

columns!(HealthRow {
    id: uuid = |row| row.id,
    sent_count: int8 = |row| row.health.sent_count,
    failed_count: int8 = |row| row.health.failed_count,
    last_attempt_at: timestamptz = |row| row.health.last_attempt_at,
    last_success_at: timestamptz = |row| row.health.last_success_at,
    consecutive_failures: int4 = |row| row.health.consecutive_failures,
    failing_since: timestamptz = |row| row.health.failing_since,
    open_until: timestamptz = |row| row.health.open_until,
    times_opened: int4 = |row| row.health.times_opened,
    warned_at: timestamptz = |row| row.health.warned_at,
});

/// What attempts say of an endpoint beyond themselves.
#[derive(Clone, Copy, Debug)]
pub struct Finding {
    pub endpoint_id: Id,
    pub what: Found,
    /// Since when it took nothing.
    pub since: Option<Timestamp>,
    pub at: Timestamp,
}

/// See [`Finding`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Found {
    /// It is to be disabled.
    Hopeless(DisabledReason),
    /// It has taken nothing for a while.
    Failing,
    /// It was said to take nothing, and takes something again.
    Recovered,
}

/// Counts attempts, in their order. Returns what is to be done or told because of them.
pub async fn count(session: &mut Session, outcomes: &[AttemptOutcome]) -> Result<Vec<Finding>> {
    if outcomes.is_empty() {
        return Ok(Vec::new());
    }
    let mut by_endpoint: BTreeMap<Id, Vec<AttemptOutcome>> = BTreeMap::new();
    for one in outcomes {
        by_endpoint.entry(one.endpoint_id).or_default().push(*one);
    }
    let ids: Vec<Id> = by_endpoint.keys().copied().collect();
    // In the order of their ids, so that two workers that count never wait for each other in a circle.
    let endpoints = sql!(all Endpoint, session,
        (&format!("select {COLUMNS} from webhook_endpoints where id = any($1) order by id for update")), Ids(&ids))?;
    let (mut rows, mut findings) = (Vec::with_capacity(endpoints.len()), Vec::new());
    for endpoint in endpoints {
        let outcomes = &by_endpoint[&endpoint.id];
        let before = endpoint.health.clone();
        let mut health = outcomes.iter().fold(endpoint.health, |health, one| health.after(one.succeeded, one.at));
        if let Some(last) = outcomes.last() {
            let is_active = endpoint.status == Status::Active;
            let found = match before.warned_at {
                _ if is_active && outcomes.iter().any(|one| one.gone) => Some(Found::Hopeless(DisabledReason::Gone)),
                _ if is_active && health.is_hopeless(last.at) => Some(Found::Hopeless(DisabledReason::Failing)),
                _ if is_active && health.is_worth_a_warning(last.at) => Some(Found::Failing),
                Some(_) if health.warned_at.is_none() => Some(Found::Recovered),
                _ => None,
            };
            if found == Some(Found::Failing) {
                health.warned_at = Some(last.at);
            }
            let since = health.failing_since.or(before.failing_since);
            findings.extend(found.map(|what| Finding { endpoint_id: endpoint.id, what, since, at: last.at }));
        }
        rows.push(HealthRow { id: endpoint.id, health });
    }
    columns::run(
        session,
        "update webhook_endpoints
         set sent_count = r.sent_count, failed_count = r.failed_count, last_attempt_at = r.last_attempt_at,
             last_success_at = r.last_success_at, consecutive_failures = r.consecutive_failures,
             failing_since = r.failing_since, open_until = r.open_until, times_opened = r.times_opened,
             warned_at = r.warned_at
         from {rows} r where webhook_endpoints.id = r.id",
        &rows,
    )
    .await?;
    Ok(findings)
}
