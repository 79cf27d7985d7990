//! Is it up? For load balancers, for people, and for those who just deployed (S002-31, S002-59).

use std::error::Error;
use std::future::Future;
use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use recado_shared::db::{MAX_CONNECTION_AGE, Server};
use recado_shared::process::explain;
use recado_shared::queue::{Lane, Queue, QueueError};
use serde_json::{Map, Value, json};

use crate::Api;

/// A probe wants an answer, not patience.
const PATIENCE: Duration = Duration::from_secs(2);

/// 200 when requests can be taken in, which needs the database alone: without Redis events are still accepted and rung
/// later, so that is `degraded` and no reason to take this process out of service.
pub(crate) async fn ready(State(api): State<Arc<Api>>) -> Response {
    let (database, queue) = tokio::join!(check(api.context.db.server()), check(api.context.queue.ping()));
    let (status, word) = match (&database, &queue) {
        (Err(_), _) => (StatusCode::SERVICE_UNAVAILABLE, "unhealthy"),
        (Ok(_), Err(_)) => (StatusCode::OK, "degraded"),
        (Ok(_), Ok(_)) => (StatusCode::OK, "ok"),
    };
    let one = |is_ok: bool| if is_ok { "ok" } else { "unavailable" };
    let body = json!({
        "status": word,
        "database": one(database.is_ok()),
        "queue": one(queue.is_ok()),
        "version": env!("CARGO_PKG_VERSION"),
    });
    (status, axum::Json(body)).into_response()
}

/// The database as the seed shows it (S002-59).
pub(crate) async fn database(State(api): State<Arc<Api>>) -> Response {
    match check(api.context.db.server()).await {
        Ok(server) => axum::Json(database_answer(&server)).into_response(),
        Err(error) => unhealthy(json!({ "status": "unhealthy", "error": error })),
    }
}

/// The queue: how fast it answers, and how many rings wait in it.
pub(crate) async fn redis(State(api): State<Arc<Api>>) -> Response {
    let queue = &api.context.queue;
    let mode = match queue {
        Queue::Redis(_) => "redis",
        Queue::Local(_) => "in-process",
    };
    let asked = Instant::now();
    let answered = async {
        queue.ping().await?;
        let latency = asked.elapsed();
        Ok::<_, QueueError>((latency, queue.depths().await?))
    };
    match check(answered).await {
        Ok((latency, depths)) => axum::Json(json!({
            "status": "healthy",
            "mode": mode,
            "latency_ms": latency.as_micros() as f64 / 1000.0,
            "queues": sum_by(&depths, Lane::queue),
            "lanes": sum_by(&depths, |lane| lane.as_str()),
        }))
        .into_response(),
        Err(error) => unhealthy(json!({ "status": "unhealthy", "mode": mode, "error": error })),
    }
}

/// Asks, but not for long. The error is for everybody to read, and so names no cause; the cause is in the log.
async fn check<T, E: Error>(asking: impl Future<Output = Result<T, E>>) -> Result<T, String> {
    check_within(PATIENCE, asking).await
}

async fn check_within<T, E: Error>(
    patience: Duration,
    asking: impl Future<Output = Result<T, E>>,
) -> Result<T, String> {
    match tokio::time::timeout(patience, asking).await {
        Ok(Ok(answer)) => Ok(answer),
        Ok(Err(error)) => {
            tracing::warn!(%error, "a health check failed: {}", explain(&error));
            Err("no responde como debe; la causa está en el registro del servicio".to_owned())
        }
        Err(_) => Err(format!("no responde en {} s", patience.as_secs_f64())),
    }
}

fn database_answer(server: &Server) -> Value {
    json!({
        "status": "healthy",
        "database": {
            "engine": server.engine,
            "name": server.name,
            "host": server.host,
            "port": server.port,
            "user": server.user,
            "version": server.version,
            "is_supabase": server.host.contains("supabase"),
        },
        "connection": { "max_age": MAX_CONNECTION_AGE.as_secs(), "health_checks_enabled": true },
    })
}

fn sum_by(depths: &[(Lane, u64)], name: impl Fn(Lane) -> &'static str) -> Map<String, Value> {
    let mut sums = Map::new();
    for (lane, depth) in depths {
        let sum = sums.entry(name(*lane)).or_insert_with(|| json!(0));
        *sum = json!(sum.as_u64().unwrap_or_default() + depth);
    }
    sums
}

fn unhealthy(body: Value) -> Response {
    (StatusCode::SERVICE_UNAVAILABLE, axum::Json(body)).into_response()
}

#[cfg(test)]
mod tests {
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
        let seed = json!({
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
            "connection": { "max_age": 600, "health_checks_enabled": true }
        });
        assert_eq!(database_answer(&server), seed);
    }

    #[test]
    fn a_queue_is_the_sum_of_its_lanes() {
        let depths = [(Lane::Email, 2), (Lane::Push, 3), (Lane::Sync, 0)];
        assert_eq!(
            Value::Object(sum_by(&depths, Lane::queue)),
            json!({"notifications": 5, "sync": 0})
        );
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
        let error = check_within(Duration::from_millis(1), silent)
            .await
            .expect_err("silent");
        assert_eq!(error, "no responde en 0.001 s");
    }
}
