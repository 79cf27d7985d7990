//! Is it up? For load balancers, for people, and for those who just deployed (S002-31, S002-59).

use std::collections::BTreeMap;
use std::error::Error;
use std::future::Future;
use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use recado_kernel::db::{MAX_CONNECTION_AGE, Server};
use recado_kernel::errors::explain;
use recado_queue::lanes::Lane;
use recado_queue::ring::{Queue, QueueError};
use serde::Serialize;
use utoipa::ToSchema;
use utoipa_axum::routes;

use crate::state::{Api, Routes};

/// How long a check may take: a probe wants an answer soon.
const CHECK_TIMEOUT: Duration = Duration::from_secs(2);

/// `/health`
pub(crate) fn routes() -> Routes {
    Routes::new().routes(routes!(ready))
}

/// `/api/v1/health`
pub(crate) fn parts_routes() -> Routes {
    Routes::new().routes(routes!(database)).routes(routes!(redis))
}

/// Whether requests are taken in.
///
/// That needs the database alone: without Redis events are still accepted and worked off later, so that is `degraded` and
/// no reason to take this process out of service.
#[utoipa::path(get, path = "/", tag = "health", responses(
    (status = 200, description = "Requests are taken in", body = Ready),
    (status = 503, description = "Not without the database", body = Ready)))]
async fn ready(State(api): State<Arc<Api>>) -> (StatusCode, axum::Json<Ready>) {
    let (database, queue) = tokio::join!(check(api.context.db.server()), check(api.context.queue.ping()));
    let (code, status) = match (&database, &queue) {
        (Err(_), _) => (StatusCode::SERVICE_UNAVAILABLE, "unhealthy"),
        (Ok(_), Err(_)) => (StatusCode::OK, "degraded"),
        (Ok(_), Ok(_)) => (StatusCode::OK, "ok"),
    };
    let word = |is_ok: bool| if is_ok { "ok" } else { "unavailable" };
    let version = env!("CARGO_PKG_VERSION");
    (code, axum::Json(Ready { status, database: word(database.is_ok()), queue: word(queue.is_ok()), version }))
}

/// The database.
#[utoipa::path(get, path = "/database", tag = "health", security(()), responses(
    (status = 200, description = "It answers", body = DatabaseHealth),
    (status = 503, description = "It does not", body = Unhealthy)))]
async fn database(State(api): State<Arc<Api>>) -> Result<axum::Json<DatabaseHealth>, Unhealthy> {
    let server = check(api.context.db.server()).await.map_err(Unhealthy::because)?;
    Ok(axum::Json(DatabaseHealth::of(server)))
}

/// The queue: how fast it answers, and how many tasks are announced in it.
#[utoipa::path(get, path = "/redis", tag = "health", security(()), responses(
    (status = 200, description = "It answers", body = RedisHealth),
    (status = 503, description = "It does not", body = Unhealthy)))]
async fn redis(State(api): State<Arc<Api>>) -> Result<axum::Json<RedisHealth>, Unhealthy> {
    let queue = &api.context.queue;
    let answer = async {
        let asked = Instant::now();
        queue.ping().await?;
        let latency_ms = asked.elapsed().as_micros() as f64 / 1000.0;
        Ok::<_, QueueError>((latency_ms, queue.depths().await?))
    };
    let (latency_ms, depths) = check(answer).await.map_err(Unhealthy::because)?;
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
    /// `ok`, `degraded` without the queue, or `unhealthy` without the database.
    #[schema(examples("ok"))]
    status: &'static str,
    /// `ok` or `unavailable`.
    #[schema(examples("ok"))]
    database: &'static str,
    /// `ok` or `unavailable`.
    #[schema(examples("ok"))]
    queue: &'static str,
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

/// Asks, within a time limit. The error is public, so it names no cause; the cause is in the log.
async fn check<T, E: Error>(asking: impl Future<Output = Result<T, E>>) -> Result<T, String> {
    check_within(CHECK_TIMEOUT, asking).await
}

async fn check_within<T, E: Error>(limit: Duration, asking: impl Future<Output = Result<T, E>>) -> Result<T, String> {
    match tokio::time::timeout(limit, asking).await {
        Ok(Ok(answer)) => Ok(answer),
        Ok(Err(error)) => {
            let error = explain(&error);
            tracing::warn!(error, "a health check failed: {error}");
            Err("no responde como debe; la causa está en el registro del servicio".to_owned())
        }
        Err(_) => Err(format!("no responde en {} s", limit.as_secs_f64())),
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

    #[test]
    fn a_queue_is_the_sum_of_its_lanes() {
        let depths = [(Channel::Email.lane(), 2), (Channel::Push.lane(), 3), (SYNC, 0)];
        assert_eq!(sum_by(&depths, Lane::queue), BTreeMap::from([("notifications", 5), ("sync", 0)]));
    }

    #[tokio::test]
    async fn a_check_tells_no_secrets() {
        let failing = async { Err::<(), _>(std::io::Error::other("password=hunter2")) };
        let error = check(failing).await.expect_err("it failed");
        assert!(!error.contains("hunter2"), "{error}");
    }

    #[tokio::test]
    async fn a_check_does_not_wait_for_ever() {
        let silent = std::future::pending::<Result<(), std::io::Error>>();
        let error = check_within(Duration::from_millis(1), silent).await.expect_err("silent");
        assert_eq!(error, "no responde en 0.001 s");
    }
}
