//! A fresh database, an empty Redis, a sandbox, and a context that uses them.

use recado_systems::SYSTEMS;
use std::error::Error;

use recado_kernel::clock::Clock;
use recado_kernel::config::Config;
use recado_notifications::customers::{self, CustomerSync};
use recado_notifications::seed;
use recado_queue::context::Context;
use recado_sandbox::Sandbox;

pub(crate) struct Stage {
    pub(crate) context: Context,
    /// Its database.
    pub(crate) url: String,
    pub(crate) sandbox: Sandbox,
}

/// Customers of the benchmarks.
pub(crate) const CUSTOMERS: usize = 1_000;

impl Stage {
    pub(crate) async fn set() -> Result<Self, Box<dyn Error + Send + Sync>> {
        let database = variable("TEST_DATABASE_URL")?;
        let redis = variable("TEST_REDIS_URL")?;
        redis::cmd("FLUSHDB")
            .exec_async(&mut redis::Client::open(redis.as_str())?.get_multiplexed_async_connection().await?)
            .await?;
        let sandbox = Sandbox::start().await?;
        let smtp = sandbox.smtp.addr();
        let (host, port) = (smtp.ip().to_string(), smtp.port().to_string());
        let url = fresh_database(&database, &format!("bench_{}", std::process::id())).await?;
        let config = Config::from_pairs([
            ("DATABASE_URL", &url),
            ("REDIS_URL", &redis),
            ("EMAIL_HOST", &host),
            ("EMAIL_PORT", &port),
            ("DEFAULT_FROM_EMAIL", "Taller <taller@example.com>"),
            ("ALLOW_ANONYMOUS_API", "true"),
            ("SECRET_KEY", "a-secret-key-for-benchmarks-of-32-letters"),
            ("OUTBOUND_ALLOW_PRIVATE_NETWORKS", "true"),
        ])?;
        let context = Context::open(config, Clock::system(), SYSTEMS).await?;
        context.db.migrate().await?;
        let now = context.clock.now();
        let mut session = context.db.begin().await?;
        seed::load(&mut session, false, now).await?;
        for number in 0..CUSTOMERS {
            let customer = CustomerSync {
                customer_id: customer_id(number),
                name: Some("Carlos Mendoza".into()),
                email: Some(format!("carlos.{number}@example.com")),
                ..CustomerSync::default()
            };
            customers::sync(&mut session, &customer, now).await?;
        }
        session.commit().await?;
        Ok(Self { context, url, sandbox })
    }
}

pub(crate) fn customer_id(number: usize) -> String {
    format!("customer-{:04}", number % CUSTOMERS)
}

pub(crate) fn variable(name: &str) -> Result<String, String> {
    #[expect(clippy::disallowed_methods, reason = "set by scripts/peers.sh, and no setting of the product")]
    std::env::var(name).map_err(|_| format!("{name} is not set; run `make bench`"))
}

/// A database of its own on the server of `url`, so that every run begins alike.
pub(crate) async fn fresh_database(url: &str, name: &str) -> Result<String, Box<dyn Error + Send + Sync>> {
    let pool = sqlx::PgPool::connect(url).await?;
    sqlx::raw_sql(sqlx::AssertSqlSafe(format!("drop database if exists {name} with (force)"))).execute(&pool).await?;
    sqlx::raw_sql(sqlx::AssertSqlSafe(format!("create database {name}"))).execute(&pool).await?;
    pool.close().await;
    let (server, _) = url.rsplit_once('/').ok_or("TEST_DATABASE_URL names no database")?;
    Ok(format!("{server}/{name}"))
}
