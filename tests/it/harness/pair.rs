//! The two pairs on which every story is told, and the storage that each telling gets for itself.

use recado_systems::SYSTEMS;
use std::fs::{self, File};
use std::path::Path;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::UNIX_EPOCH;

use recado_kernel::clock::{Clock, Timestamp};
use recado_kernel::config::Config;
use recado_notifications::seed;
use recado_queue::context::Context;
use redis::aio::MultiplexedConnection;
use sqlx::postgres::{PgConnectOptions, PgConnection};
use sqlx::{AssertSqlSafe, Connection, Executor};
use tempfile::TempDir;
use url::Url;

/// A database and a queue.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Pair {
    /// As in production.
    PostgresRedis,
    /// As a newcomer starts: SQLite, and the queue inside the process.
    Embedded,
}

/// Makes two tests of a story: `name::postgres_redis` and `name::embedded`.
///
/// Settings are environment variables, e.g. `[("WHATSAPP_RATE_PER_MINUTE", "20")]`; an empty value unsets one.
macro_rules! story {
    ($name:ident, $story:expr) => {
        story!($name, [], $story);
    };
    ($name:ident, $settings:expr, $story:expr) => {
        mod $name {
            use super::*;

            // Once for both: a closure that stands twice is compiled twice.
            async fn told_on(pair: $crate::harness::pair::Pair) {
                $crate::harness::app::tell(pair, &$settings, $story).await;
            }

            #[tokio::test]
            async fn postgres_redis() {
                told_on($crate::harness::pair::Pair::PostgresRedis).await;
            }

            #[tokio::test]
            async fn embedded() {
                told_on($crate::harness::pair::Pair::Embedded).await;
            }
        }
    };
}
pub(crate) use story;

/// Where one telling keeps its things: a database and a Redis database of its own, and a folder.
pub(crate) struct Storage {
    pub(crate) folder: TempDir,
    pub(crate) database_url: String,
    /// `None`: the queue lives in the process.
    pub(crate) redis_url: Option<String>,
    /// To be dropped at the end.
    postgres: Option<PostgresDatabase>,
}

struct PostgresDatabase {
    name: String,
    /// Holds the lease on the Redis database, which ends with it.
    server: PgConnection,
}

impl Storage {
    /// Makes the storage, with the schema and the seed in it.
    pub(crate) async fn create(pair: Pair, now: Timestamp) -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder");
        match pair {
            Pair::PostgresRedis => {
                let (mut server, name) = (postgres().await, new_name());
                create_postgres_database(&mut server, &name, now).await;
                Self {
                    folder,
                    database_url: database_url(&name),
                    redis_url: Some(take_redis_database(&mut server).await),
                    postgres: Some(PostgresDatabase { name, server }),
                }
            }
            Pair::Embedded => {
                let database = folder.path().join("recado.db");
                create_sqlite_database(&database, now).await;
                let database_url = format!("sqlite://{}", database.display());
                Self { folder, database_url, redis_url: None, postgres: None }
            }
        }
    }

    /// What a failed story leaves behind stays, to be looked at.
    pub(crate) async fn remove(self) {
        if let Some(PostgresDatabase { name, mut server }) = self.postgres {
            run(&mut server, format!("drop database {name} with (force)")).await;
        }
    }
}

/// Migrates and seeds.
async fn fill(database_url: &str, now: Timestamp) {
    let config = Config::from_pairs([("DATABASE_URL", database_url)]).expect("valid settings");
    let context = Context::open(config, Clock::manual(now), SYSTEMS).await.expect("the database opens");
    context.db.migrate().await.expect("the migrations run");
    let mut session = context.db.begin().await.expect("a transaction");
    seed::load(&mut session, false, now).await.expect("the seed loads");
    session.commit().await.expect("the seed is committed");
    context.db.close().await;
}

/// Any number will do, as long as all test processes lock the same.
const MAKING_THE_TEMPLATE: i64 = 0x0072_6563_6164_6f00;

/// Stories may run as threads of one process, or each in a process of its own.
fn new_name() -> String {
    static STORIES: AtomicU32 = AtomicU32::new(0);
    format!("story_{}_{}", std::process::id(), STORIES.fetch_add(1, Ordering::Relaxed))
}

/// A copy of a database that was migrated and seeded once: copying takes a tenth of the time.
async fn create_postgres_database(server: &mut PgConnection, name: &str, now: Timestamp) {
    let template = format!("recado_{}", this_build());
    run(server, format!("select pg_advisory_lock({MAKING_THE_TEMPLATE})")).await;
    let exists: Option<i32> = sqlx::query_scalar("select 1 from pg_database where datname = $1")
        .bind(&template)
        .fetch_optional(&mut *server)
        .await
        .expect("PostgreSQL answers");
    if exists.is_none() {
        let unfinished = format!("{template}_unfinished");
        run(server, format!("drop database if exists {unfinished} with (force)")).await;
        run(server, format!("create database {unfinished}")).await;
        fill(&database_url(&unfinished), now).await;
        run(server, format!("alter database {unfinished} rename to {template}")).await;
    }
    run(server, format!("select pg_advisory_unlock({MAKING_THE_TEMPLATE})")).await;
    run(server, format!("drop database if exists {name} with (force)")).await;
    run(server, format!("create database {name} template {template} strategy file_copy")).await;
}

/// A copy of a file that the first story makes.
async fn create_sqlite_database(database: &Path, now: Timestamp) {
    let template = std::env::temp_dir().join(format!("recado_{}.db", this_build()));
    let unfinished = template.with_extension("unfinished");
    // The lock ends with the process that has it.
    let lock = File::create(template.with_extension("lock")).expect("a file in the temporary folder");
    lock.lock().expect("a lock on it");
    if !template.exists() {
        let _ = fs::remove_file(&unfinished);
        fill(&format!("sqlite://{}", unfinished.display()), now).await;
        fs::rename(&unfinished, &template).expect("it gets its name");
    }
    drop(lock);
    fs::copy(&template, database).expect("it is copied");
}

/// Tests of another build may have other migrations.
fn this_build() -> u128 {
    let program = std::env::current_exe().and_then(fs::metadata).expect("this program is a file");
    let built = program.modified().expect("files have a time");
    built.duration_since(UNIX_EPOCH).expect("it was built after 1970").as_nanos()
}

async fn postgres() -> PgConnection {
    let options: PgConnectOptions = server("TEST_DATABASE_URL").as_str().parse().expect("TEST_DATABASE_URL is a URL");
    PgConnection::connect_with(&options).await.expect("PostgreSQL at TEST_DATABASE_URL answers")
}

async fn run(server: &mut PgConnection, statement: String) {
    server.execute(sqlx::raw_sql(AssertSqlSafe(statement))).await.expect("PostgreSQL does as it is told");
}

fn database_url(name: &str) -> String {
    let mut url = server("TEST_DATABASE_URL");
    url.set_path(name);
    url.into()
}

/// A Redis database that no other story uses until this connection to PostgreSQL ends: some stories flush theirs.
///
/// The lease is PostgreSQL's lock of the session and no key in Redis with a time limit: it ends with a test that is
/// killed, never before a slow one, and waiting for it is no polling.
async fn take_redis_database(lease: &mut PgConnection) -> String {
    let mut url = server("TEST_REDIS_URL");
    let leasable = count_redis_databases(&url).await - 1;
    let free = "select n from generate_series(1, $1) as n where pg_try_advisory_lock($2, n) limit 1";
    let free = sqlx::query_scalar(free).bind(leasable).bind(REDIS_DATABASES).fetch_optional(&mut *lease);
    let number: i32 = match free.await.expect("PostgreSQL answers") {
        Some(number) => number,
        None => wait_for_redis_database(lease, leasable).await,
    };
    url.set_path(&number.to_string());
    flush(url.as_str()).await;
    url.into()
}

/// The class of the locks, whose second number is the database. Any will do, as long as all test processes use the same.
const REDIS_DATABASES: i32 = 0x0072_6463;

/// Many stories and few databases, as on a server that `scripts/peers.sh` did not start: they take turns.
async fn wait_for_redis_database(lease: &mut PgConnection, leasable: i32) -> i32 {
    let one = "select n from (select 1 + pg_backend_pid() % $1 as n) as one, pg_advisory_lock($2, n)";
    sqlx::query_scalar(one).bind(leasable).bind(REDIS_DATABASES).fetch_one(lease).await.expect("PostgreSQL answers")
}

async fn count_redis_databases(url: &Url) -> i32 {
    let mut connection = redis(url).await;
    let configured: Vec<String> =
        redis::cmd("CONFIG").arg("GET").arg("databases").query_async(&mut connection).await.expect("Redis answers");
    configured[1].parse().expect("a number")
}

/// Redis forgets everything that this telling ever rang.
pub(crate) async fn flush(redis_url: &str) {
    let mut connection = redis(&redis_url.parse().expect("a URL")).await;
    redis::cmd("FLUSHDB").exec_async(&mut connection).await.expect("Redis flushes");
}

async fn redis(url: &Url) -> MultiplexedConnection {
    let client = redis::Client::open(url.as_str()).expect("a URL of Redis");
    client.get_multiplexed_async_connection().await.expect("Redis at TEST_REDIS_URL answers")
}

/// A story that is not told on PostgreSQL and Redis must not look as if it had been: without servers it fails.
#[expect(clippy::disallowed_methods, reason = "the servers of the tests are no setting of the product")]
pub(crate) fn server(variable: &str) -> Url {
    let url = std::env::var(variable);
    let url = url.unwrap_or_else(|_| panic!("{variable} is not set; run `make test`, which starts the servers"));
    url.parse().unwrap_or_else(|error| panic!("{variable} is no URL: {error}"))
}
