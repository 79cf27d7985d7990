//! Is it up? For load balancers, for people, and for those who just deployed (S002-31, S002-59).

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use recado_kernel::db::{MAX_CONNECTION_AGE, Outage, Server};
use recado_queue::lanes::Lane;
use recado_queue::ring::{Queue, QueueError};
use serde::Serialize;
use utoipa::ToSchema;

use crate::checks::check;
use crate::routing::routes;
use crate::state::{Api, Routes};

/// After a minute without the queue, with messages that are due and wait, this process is of no use.
const DEGRADED_AT_MOST: Duration = Duration::from_secs(60);

/// `/health`
pub(crate) fn routes() -> Routes {
    Routes::new().routes(routes!(ready))
}

/// `/api/v1/health`
pub(crate) fn parts_routes() -> Routes {
    Routes::new().routes(routes!(database)).routes(routes!(redis))
}

/// Whether requests are taken in: whether a dispatch could be written, by what was written lately or by a write of our own.
///
/// That needs the database alone: without Redis events are still accepted and worked off later, so that is `degraded` and
/// no reason to take this process out of service, unless messages that are due have been waiting for more than a minute.
#[utoipa::path(get, path = "/", tag = "health", responses(
    (status = 200, description = "Requests are taken in", body = Ready),
    (status = 503, description = "Not without a database that can be written, or messages do not leave", body = Ready)))]
async fn ready(State(api): State<Arc<Api>>) -> (StatusCode, axum::Json<Ready>) {
    let (database, queue) = tokio::join!(api.checks.database(), api.checks.queue());
    let degraded_for = api.checks.queue_lost_for(queue.is_ok());
    let oldest = if degraded_for < DEGRADED_AT_MOST {
        Duration::ZERO
    } else {
        api.checks.figures().await.oldest_queued(api.context.clock.now())
    };
    let (code, status) = verdict(database.is_ok(), queue.is_ok(), degraded_for, oldest);
    let ready = Ready {
        status,
        database: database.map_or_else(Outage::as_str, |()| "ok"),
        queue: if queue.is_ok() { "ok" } else { "unavailable" },
        error: database.err().map(|outage| in_words(outage).to_owned()).or(queue.err()),
        version: env!("CARGO_PKG_VERSION"),
    };
    (code, axum::Json(ready))
}

fn verdict(takes_writes: bool, rings: bool, degraded_for: Duration, oldest: Duration) -> (StatusCode, &'static str) {
    let nothing_leaves = degraded_for >= DEGRADED_AT_MOST && oldest >= DEGRADED_AT_MOST;
    match (takes_writes, rings) {
        (false, _) => (StatusCode::SERVICE_UNAVAILABLE, "unhealthy"),
        (true, false) if nothing_leaves => (StatusCode::SERVICE_UNAVAILABLE, "degraded"),
        (true, false) => (StatusCode::OK, "degraded"),
        (true, true) => (StatusCode::OK, "ok"),
    }
}

fn in_words(outage: Outage) -> &'static str {
    match outage {
        Outage::ReadOnly => "la base de datos es de solo lectura",
        Outage::Full => "no queda espacio para la base de datos",
        Outage::Locked => "la base de datos está bloqueada",
        Outage::Disk => "el disco de la base de datos falla",
        Outage::Unavailable => "la base de datos no responde como debe",
    }
}

/// The database.
#[utoipa::path(get, path = "/database", tag = "health", security(()), responses(
    (status = 200, description = "It answers, and can be written", body = DatabaseHealth),
    (status = 503, description = "It does not, or it cannot", body = Unhealthy)))]
async fn database(State(api): State<Arc<Api>>) -> Result<axum::Json<DatabaseHealth>, Unhealthy> {
    let server = check(api.context.db.server()).await.map_err(Unhealthy::because)?;
    let written = api.checks.database().await;
    written.map_err(|outage| Unhealthy::because(in_words(outage).to_owned()))?;
    Ok(axum::Json(DatabaseHealth::of(server)))
}

/// The queue: how fast it answers, and how many tasks are announced in it.
#[utoipa::path(get, path = "/redis", tag = "health", security(()), responses(
    (status = 200, description = "It answers, and can be written", body = RedisHealth),
    (status = 503, description = "It does not, or it cannot", body = Unhealthy)))]
async fn redis(State(api): State<Arc<Api>>) -> Result<axum::Json<RedisHealth>, Unhealthy> {
    let queue = &api.context.queue;
    let answer = async {
        let asked = Instant::now();
        queue.can_write().await?;
        let latency_ms = asked.elapsed().as_micros() as f64 / 1000.0;
        Ok::<_, QueueError>((latency_ms, queue.depths().await?))
    };
    let (latency_ms, depths) = check(answer).await.map_err(Unhealthy::because)?;
    api.checks.queue().await.map_err(Unhealthy::because)?;
    Ok(axum::Json(RedisHealth {
        status: "healthy",
        mode: match queue {
            Queue::Redis(_) => "redis",
            Queue::Local(_) => "in-process",
        },
        latency_ms,
        queues: sum_by(&depths, Lane::queue),
        lanes: sum_by(&depths, Lane::as_str),
    }))
}

/// How this process is.
#[derive(Serialize, ToSchema)]
struct Ready {
    /// `ok`; `degraded` without the queue; `unhealthy` where nothing can be written.
    #[schema(examples("ok"))]
    status: &'static str,
    /// `ok`, or what is wrong: `read_only`, `full`, `locked`, `disk` or `unavailable`.
    #[schema(examples("ok"))]
    database: &'static str,
    /// `ok` or `unavailable`.
    #[schema(examples("ok"))]
    queue: &'static str,
    /// What is wrong, for people; absent when nothing is.
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<String>,
    /// Version of Recado.
    #[schema(examples("0.1.0"))]
    version: &'static str,
}

/// How the database is.
#[derive(Serialize, ToSchema)]
struct DatabaseHealth {
    /// `healthy`.
    #[schema(examples("healthy"))]
    status: &'static str,
    /// Which one it is.
    database: Database,
    /// How connections to it are kept.
    connection: Connection,
}

/// A database.
#[derive(Serialize, ToSchema)]
struct Database {
    #[serde(flatten)]
    server: Server,
    /// Whether it is one of Supabase's.
    is_supabase: bool,
}

/// How connections are kept.
#[derive(Serialize, ToSchema)]
struct Connection {
    /// Seconds after which a connection is replaced.
    #[schema(examples(600))]
    max_age: u64,
    /// Whether a connection is tried before it is used.
    health_checks_enabled: bool,
}

impl DatabaseHealth {
    fn of(server: Server) -> Self {
        Self {
            status: "healthy",
            database: Database { is_supabase: server.host.contains("supabase"), server },
            connection: Connection { max_age: MAX_CONNECTION_AGE.as_secs(), health_checks_enabled: true },
        }
    }
}

/// How the queue is.
#[derive(Serialize, ToSchema)]
struct RedisHealth {
    /// `healthy`.
    #[schema(examples("healthy"))]
    status: &'static str,
    /// `redis`, or `in-process` for the embedded queue.
    #[schema(examples("redis"))]
    mode: &'static str,
    /// How long it took to answer, in milliseconds.
    latency_ms: f64,
    /// Announced tasks that no worker has read yet, by queue.
    queues: BTreeMap<&'static str, u64>,
    /// The same by lane: a queue has one lane for each channel.
    lanes: BTreeMap<&'static str, u64>,
}

/// What is asked does not answer.
#[derive(Debug, Serialize, ToSchema)]
struct Unhealthy {
    /// `unhealthy`.
    #[schema(examples("unhealthy"))]
    status: &'static str,
    /// What is wrong, for people; the cause is in the log.
    error: String,
}

impl Unhealthy {
    fn because(error: String) -> Self {
        Self { status: "unhealthy", error }
    }
}

impl IntoResponse for Unhealthy {
    fn into_response(self) -> Response {
        (StatusCode::SERVICE_UNAVAILABLE, axum::Json(self)).into_response()
    }
}

fn sum_by(depths: &[(Lane, u64)], name: impl Fn(Lane) -> &'static str) -> BTreeMap<&'static str, u64> {
    let mut sums = BTreeMap::new();
    for (lane, depth) in depths {
        *sums.entry(name(*lane)).or_default() += depth;
    }
    sums
}

#[cfg(test)]
mod tests {
    use recado_notifications::channels::Channel;
    use recado_queue::lanes::SYNC;

    use super::*;

    /// S002-59.
    #[test]
    fn a_database_on_supabase_looks_as_in_the_seed() {
        let server = Server {
            engine: "postgresql",
            name: "postgres".into(),
            host: "aws-1-sa-east-1.pooler.supabase.com".into(),
            port: 6543,
            user: "postgres.nnllhshzqyummzyotyiv".into(),
            version: "PostgreSQL 15.1 on x86_64-pc-linux-gnu...".into(),
        };
        let seed = r#"{
          "status": "healthy",
          "database": {
            "engine": "postgresql",
            "name": "postgres",
            "host": "aws-1-sa-east-1.pooler.supabase.com",
            "port": 6543,
            "user": "postgres.nnllhshzqyummzyotyiv",
            "version": "PostgreSQL 15.1 on x86_64-pc-linux-gnu...",
            "is_supabase": true
          },
          "connection": {
            "max_age": 600,
            "health_checks_enabled": true
          }
        }"#;
        let without_layout = |text: &str| text.lines().map(str::trim).collect::<String>().replace("\": ", "\":");
        assert_eq!(serde_json::to_string(&DatabaseHealth::of(server)).unwrap(), without_layout(seed));
    }

    /// Without Redis events are accepted. That messages which are due do not leave is told after a minute.
    #[test]
    fn degraded_is_no_excuse_for_ever() {
        let minute = DEGRADED_AT_MOST;
        for (takes_writes, rings, degraded_for, oldest, expected) in [
            (true, true, Duration::ZERO, Duration::ZERO, (200, "ok")),
            (true, true, Duration::ZERO, minute, (200, "ok")),
            (true, false, Duration::ZERO, minute, (200, "degraded")),
            (true, false, minute, Duration::ZERO, (200, "degraded")),
            (true, false, minute, minute, (503, "degraded")),
            (false, true, Duration::ZERO, Duration::ZERO, (503, "unhealthy")),
            (false, false, minute, minute, (503, "unhealthy")),
        ] {
            let (code, status) = verdict(takes_writes, rings, degraded_for, oldest);
            assert_eq!((code.as_u16(), status), expected);
        }
    }

    #[test]
    fn a_queue_is_the_sum_of_its_lanes() {
        let depths = [(Channel::Email.lane(), 2), (Channel::Push.lane(), 3), (SYNC, 0)];
        assert_eq!(sum_by(&depths, Lane::queue), BTreeMap::from([("notifications", 5), ("sync", 0)]));
    }
}
