//! PostgreSQL and Redis, as the programs use them and as the kernel sees them.

use std::error::Error;
use std::io;
use std::time::Duration;

use sqlx::PgPool;
use sqlx::postgres::PgPoolOptions;

use crate::processes::{parent, processor_time, processor_time_of_family};
use crate::stage::{fresh_database, variable};

pub(crate) struct Servers {
    url: String,
    administration: PgPool,
    /// A database of its own: what runs in this process has another one.
    pub(crate) redis_url: String,
    redis: redis::aio::MultiplexedConnection,
    postmaster: u32,
    redis_server: u32,
}

impl Servers {
    /// # Errors
    /// When a server cannot be reached, or is not on this machine.
    pub(crate) async fn open() -> Result<Self, Box<dyn Error + Send + Sync>> {
        let url = variable("TEST_DATABASE_URL")?;
        let administration = PgPoolOptions::new().max_connections(1).connect(&url).await?;
        let (backend,): (i32,) = sqlx::query_as("select pg_backend_pid()").fetch_one(&administration).await?;
        let redis_url = other_database(&variable("TEST_REDIS_URL")?)?;
        let mut redis = redis::Client::open(redis_url.as_str())?.get_multiplexed_async_connection().await?;
        let redis_server = process_id(&redis::cmd("INFO").arg("server").query_async::<String>(&mut redis).await?)?;
        Ok(Self { url, administration, redis_url, redis, postmaster: parent(backend.try_into()?)?, redis_server })
    }

    /// An empty Redis and a new database, whose URL it returns. Nothing waits to be written to the disk.
    pub(crate) async fn begin(&mut self, name: &str) -> Result<String, Box<dyn Error + Send + Sync>> {
        redis::cmd("FLUSHDB").exec_async(&mut self.redis).await?;
        let url = fresh_database(&self.url, name).await?;
        self.checkpoint().await?;
        Ok(url)
    }

    /// Writes out what was changed before, so that the next run does not pay for it.
    pub(crate) async fn checkpoint(&self) -> sqlx::Result<()> {
        sqlx::raw_sql("checkpoint").execute(&self.administration).await.map(drop)
    }

    pub(crate) async fn drop_database(&self, name: &str) -> sqlx::Result<()> {
        let statement = format!("drop database if exists {name} with (force)");
        sqlx::raw_sql(sqlx::AssertSqlSafe(statement)).execute(&self.administration).await.map(drop)
    }

    /// Of both, since their start.
    pub(crate) fn processor_time(&self) -> io::Result<Duration> {
        Ok(processor_time_of_family(self.postmaster)? + processor_time(self.redis_server)?)
    }
}

fn other_database(url: &str) -> Result<String, String> {
    let (server, _) = url.rsplit_once('/').ok_or("TEST_REDIS_URL names no database")?;
    Ok(format!("{server}/1"))
}

fn process_id(info: &str) -> Result<u32, String> {
    let line = info.lines().find_map(|line| line.strip_prefix("process_id:"));
    line.and_then(|number| number.trim().parse().ok()).ok_or_else(|| "Redis does not tell its process".into())
}
