//! One SQL text, two engines.
//!
//! `DATABASE_URL` decides between PostgreSQL and SQLite. A statement is written once, in PostgreSQL's dialect, and run by the
//! macro [`sql!`](crate::sql) on whichever engine a [`Session`] holds; [`dialect`] knows the few places where they differ.

pub mod columns;
mod connection;
pub mod dialect;
mod errors;
pub mod filter;
pub mod keyset;
mod migrations;
mod pooler;
mod probe;
pub mod search;
mod session;

use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use futures::future::BoxFuture;
use secrecy::ExposeSecret;
use sqlx::encode::IsNull;
use sqlx::error::BoxDynError;
use sqlx::postgres::{PgArgumentBuffer, PgConnectOptions, PgPool, PgPoolOptions, PgTypeInfo};
use sqlx::sqlite::{
    SqliteArgumentsBuffer, SqliteConnectOptions, SqliteJournalMode, SqlitePool, SqlitePoolOptions, SqliteSynchronous,
    SqliteTypeInfo,
};
use sqlx::{Connection as _, Encode, Executor, Postgres, Sqlite, Type};

use crate::clock::{Timestamp, host_time};
use crate::config::Config;
use crate::ids::Id;
use crate::server_urls::{DatabaseUrl, Pooler};

pub use errors::{
    Outage, OutcomeUnknown, Violation, is_connection_lost, is_outage, is_outcome_unknown, is_refusal, may_have_written,
    outage, too_late,
};
pub use session::{Connection, Session, within};

pub type Error = sqlx::Error;

pub type Result<T> = std::result::Result<T, Error>;

/// A connection is replaced at this age, so that a pooler or a new primary behind the same name is noticed.
pub const MAX_CONNECTION_AGE: Duration = Duration::from_secs(600);

/// A connection that was used within this time is taken as it is.
const TRUSTED_FOR: Duration = Duration::from_secs(1);

/// A connection that is asked whether it lives has this long to answer.
const PING_WITHIN: Duration = Duration::from_secs(2);

/// How long to wait for a connection.
const ACQUIRE_WITHIN: Duration = Duration::from_secs(10);

/// What PostgreSQL is told of every connection of ours: our statements are short, and compiling one costs more than running
/// it; what takes too long ends there, before a caller is told that it was refused; and a backend whose client has vanished
/// gives its locks back. One round trip for each connection.
const SETTINGS: &str = "set jit = off; set random_page_cost = 1.1; set lock_timeout = '5s'; set statement_timeout = '10s'; \
    set idle_in_transaction_session_timeout = '15s'; set tcp_keepalives_idle = 10; set tcp_keepalives_interval = 5; \
    set tcp_keepalives_count = 3; set tcp_user_timeout = 20000";

/// The same for a transaction behind a transaction pooler, where a setting of a session would stay with a connection of
/// others. It is one message, so it costs no round trip more than a plain `begin`.
const BEGIN_POOLED: &str = "begin; set local jit = off; set local random_page_cost = 1.1; set local lock_timeout = '5s'; set local statement_timeout = '10s'; \
    set local idle_in_transaction_session_timeout = '15s'";

/// The database: pools of connections to PostgreSQL, or the embedded SQLite.
#[derive(Clone)]
pub enum Db {
    Postgres {
        pool: PgPool,
        experience: Arc<Experience>,
    },
    Sqlite {
        readers: SqlitePool,
        /// SQLite has one writer. A pool of one makes others wait their turn here, where the wait is fair and asynchronous.
        writer: SqlitePool,
        experience: Arc<Experience>,
    },
}

/// What this process has seen of its database lately.
#[derive(Debug, Default)]
pub struct Experience {
    /// Connections that were made before this moment are not used again: one of them led to a server that has become
    /// read-only, or to nowhere.
    suspect_before: Mutex<Option<Instant>>,
    /// The last attempt to write down what a caller wanted, and how it went.
    last_write: Mutex<Option<(Instant, Option<Outage>)>>,
    /// A pooler hands every transaction another connection: prepared statements have no home there.
    is_pooled: AtomicBool,
    /// That may still turn out.
    may_be_pooled: bool,
}

impl Experience {
    fn suspect_connections(&self) {
        *self.suspect_before.lock().unwrap_or_else(PoisonError::into_inner) = Some(Instant::now());
    }

    fn is_suspect(&self, age: Duration) -> bool {
        let suspect_before = *self.suspect_before.lock().unwrap_or_else(PoisonError::into_inner);
        suspect_before.zip(Instant::now().checked_sub(age)).is_some_and(|(before, made)| made <= before)
    }

    fn is_pooled(&self) -> bool {
        self.is_pooled.load(Ordering::Relaxed)
    }

    /// A prepared statement was not where it was prepared. From now on none is, and the connections that have some are closed.
    fn lost_a_statement(&self) {
        if self.may_be_pooled && !self.is_pooled.swap(true, Ordering::Relaxed) {
            self.suspect_connections();
            tracing::warn!(
                "prepared statements are lost, so a transaction pooler stands before PostgreSQL; from now on none is prepared. \
                 Set DATABASE_POOLER=transaction"
            );
        }
    }
}

impl Db {
    /// Opens the pools. The embedded database is created where it does not exist; PostgreSQL is asked for a first connection.
    pub async fn connect(config: &Config) -> Result<Self> {
        match &config.database_url {
            DatabaseUrl::Sqlite(file) => Self::open_sqlite(file).await,
            DatabaseUrl::Postgres(url) => {
                Self::connect_postgres(url.expose_secret(), config.database_max_connections, config.database_pooler)
                    .await
            }
        }
    }

    async fn connect_postgres(url: &str, connections: u32, pooler: Pooler) -> Result<Self> {
        let options = url.parse::<PgConnectOptions>()?.application_name("recado");
        let first = connection::first(&options).await?;
        let is_pooled = pooler::is_there(pooler, first, &options).await;
        let options = if is_pooled { options.statement_cache_capacity(0) } else { options };
        let experience = Arc::new(Experience {
            is_pooled: AtomicBool::new(is_pooled),
            may_be_pooled: pooler == Pooler::Auto,
            ..Experience::default()
        });
        let pool = PgPoolOptions::new()
            .max_connections(connections)
            .acquire_timeout(ACQUIRE_WITHIN)
            .max_lifetime(MAX_CONNECTION_AGE)
            // A connection that was used a moment ago is not asked whether it lives: that would be a round trip for each
            // transaction.
            .test_before_acquire(false)
            .before_acquire({
                let experience = experience.clone();
                move |connection, used| {
                    let experience = experience.clone();
                    Box::pin(async move {
                        if experience.is_suspect(used.age) {
                            return Ok(false);
                        }
                        if used.idle_for < TRUSTED_FOR {
                            return Ok(true);
                        }
                        let answered = tokio::time::timeout(PING_WITHIN, connection.ping()).await;
                        // Where one has vanished, so have others: they are not waited for one by one.
                        answered
                            .inspect_err(|_| experience.suspect_connections())
                            .map_err(|_| Error::PoolTimedOut)??;
                        Ok(true)
                    })
                }
            })
            .after_connect({
                let experience = experience.clone();
                move |connection, _| {
                    let is_pooled = experience.is_pooled();
                    Box::pin(async move {
                        if !is_pooled {
                            connection.execute(SETTINGS).await?;
                        }
                        Ok(())
                    })
                }
            })
            .connect_lazy_with(options);
        Ok(Self::Postgres { pool, experience })
    }

    async fn open_sqlite(path: &Path) -> Result<Self> {
        connection::private_file(path).map_err(|error| connection::in_file(path, &error))?;
        let options = SqliteConnectOptions::new()
            .filename(path)
            .create_if_missing(true)
            .journal_mode(SqliteJournalMode::Wal)
            // With less, a power failure could take back what was answered with 202.
            .synchronous(SqliteSynchronous::Full)
            .busy_timeout(Duration::from_secs(5))
            .foreign_keys(true);
        let pool = || SqlitePoolOptions::new().acquire_timeout(ACQUIRE_WITHIN).test_before_acquire(false);
        let writer = pool().max_connections(1).connect_with(options.clone()).await;
        let writer = writer.map_err(|error| connection::in_file(path, &error))?;
        let readers = pool().max_connections(4).connect_with(options).await?;
        Ok(Self::Sqlite { readers, writer, experience: Arc::default() })
    }

    /// A connection for reading.
    ///
    /// Boxed, as [`Db::begin`] is, for the compiler's sake: each caller, and each that awaits one, is proved to go from thread to thread
    /// down to the last future in it, and a pool has many.
    pub fn read(&self) -> BoxFuture<'_, Result<Session>> {
        Box::pin(async move {
            match self {
                // A statement is prepared and run in two steps, and only a transaction keeps both on one connection.
                Self::Postgres { experience, .. } if experience.is_pooled() => self.begin().await,
                Self::Postgres { pool, experience } => Ok(Session::postgres(pool.acquire().await?, true, experience)),
                Self::Sqlite { readers, experience, .. } => Ok(Session::sqlite(readers.acquire().await?, experience)),
            }
        })
    }

    /// A transaction. What is not [committed](Session::commit) is rolled back.
    pub fn begin(&self) -> BoxFuture<'_, Result<Session>> {
        Box::pin(async move {
            match self {
                Self::Postgres { pool, experience } => {
                    let connection = pool.acquire().await?;
                    let is_pooled = experience.is_pooled();
                    let begin = if is_pooled { BEGIN_POOLED } else { "begin" };
                    Session::postgres(connection, !is_pooled, experience).begin(begin).await
                }
                // `immediate` takes the write lock at once; a lock that is upgraded later may fail with "database is locked".
                Self::Sqlite { writer, experience, .. } => {
                    Session::sqlite(writer.acquire().await?, experience).begin("begin immediate").await
                }
            }
        })
    }

    /// For one statement that writes: what it does, it does completely or not at all, so PostgreSQL needs no round trips
    /// to begin and to commit. To be [committed](Session::commit) like a transaction.
    pub async fn write(&self) -> Result<Session> {
        match self {
            Self::Postgres { experience, .. } if !experience.is_pooled() => self.read().await,
            Self::Postgres { .. } | Self::Sqlite { .. } => self.begin().await,
        }
    }

    /// What the time is where the rows are. The embedded database is on this host.
    pub async fn now(&self) -> Result<Timestamp> {
        let Self::Postgres { .. } = self else { return Ok(host_time()) };
        let now: Option<(Timestamp,)> =
            crate::sql!(one(Timestamp,), &mut self.read().await?, "select clock_timestamp()")?;
        now.map(|(now,)| now).ok_or(Error::RowNotFound)
    }

    /// Whether [`Db::close`] was called.
    pub fn is_closed(&self) -> bool {
        match self {
            Self::Postgres { pool, .. } => pool.is_closed(),
            Self::Sqlite { writer, .. } => writer.is_closed(),
        }
    }

    /// Asks the server who it is; so it is also the check whether it answers.
    pub async fn server(&self) -> Result<Server> {
        let mut session = self.read().await?;
        Ok(match self {
            Self::Postgres { pool, .. } => {
                let options = pool.connect_options();
                let version: Option<(String,)> = crate::sql!(one(String,), &mut session, "select version()")?;
                Server {
                    engine: "postgresql",
                    name: options.get_database().unwrap_or_else(|| options.get_username()).to_owned(),
                    host: options.get_host().to_owned(),
                    port: options.get_port(),
                    user: options.get_username().to_owned(),
                    version: version.map(|(version,)| version).unwrap_or_default(),
                }
            }
            Self::Sqlite { readers, .. } => {
                let version: Option<(String,)> = crate::sql!(one(String,), &mut session, "select sqlite_version()")?;
                Server {
                    engine: "sqlite",
                    name: readers.connect_options().get_filename().display().to_string(),
                    host: String::new(),
                    port: 0,
                    user: String::new(),
                    version: version.map(|(version,)| version).unwrap_or_default(),
                }
            }
        })
    }

    pub async fn close(&self) {
        match self {
            Self::Postgres { pool, .. } => pool.close().await,
            Self::Sqlite { readers, writer, .. } => {
                readers.close().await;
                writer.close().await;
            }
        }
    }
}

/// What a database says of itself (S002-59). The embedded one has no host, port or user.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, utoipa::ToSchema)]
pub struct Server {
    /// `postgresql` or `sqlite`.
    #[schema(examples("postgresql"))]
    pub engine: &'static str,
    /// Name of the database; of the embedded one, its file.
    pub name: String,
    /// Where it runs; empty for the embedded one.
    #[schema(examples("aws-1-sa-east-1.pooler.supabase.com"))]
    pub host: String,
    /// Port; 0 for the embedded one.
    #[schema(examples(6543))]
    pub port: u16,
    /// As whom we are there; empty for the embedded one.
    pub user: String,
    /// What it calls itself.
    #[schema(examples("PostgreSQL 15.1 on x86_64-pc-linux-gnu"))]
    pub version: String,
}

/// Creates a folder that only its owner may look into: what is kept there is about people.
pub fn private_folder(path: &Path) -> std::io::Result<()> {
    use std::os::unix::fs::DirBuilderExt;
    std::fs::DirBuilder::new().recursive(true).mode(0o700).create(path)
}

/// Runs one SQL text on the engine of a [`Session`].
///
/// ```text
/// sql!(all  Customer, session, "select id, … from customers where customer_id = any($1)", Texts(&ids))?;
/// sql!(one  Customer, session, "…", …)       // Option<Customer>
/// sql!(run, session, "delete from …", …)     // number of rows
/// ```
///
/// The text is a literal, or an expression in parentheses that was built from literals only.
#[macro_export]
macro_rules! sql {
    // One column. rustfmt takes `one (T,)` for a call, and may drop the comma that makes it a tuple.
    (all ($column:ty $(,)?), $session:expr, $text:tt $(, $bind:expr)* $(,)?) => {
        $crate::sql!(@ query_as, ($column,), fetch_all, $session, $text $(, $bind)*)
    };
    (one ($column:ty $(,)?), $session:expr, $text:tt $(, $bind:expr)* $(,)?) => {
        $crate::sql!(@ query_as, ($column,), fetch_optional, $session, $text $(, $bind)*)
    };
    (all $row:ty, $session:expr, $text:tt $(, $bind:expr)* $(,)?) => {
        $crate::sql!(@ query_as, $row, fetch_all, $session, $text $(, $bind)*)
    };
    (one $row:ty, $session:expr, $text:tt $(, $bind:expr)* $(,)?) => {
        $crate::sql!(@ query_as, $row, fetch_optional, $session, $text $(, $bind)*)
    };
    (run, $session:expr, $text:tt $(, $bind:expr)* $(,)?) => {{
        let session: &mut $crate::db::Session = $session;
        $crate::within_limits!(session, match session.connection() {
            $crate::db::Connection::Postgres(connection, persistent) => sqlx::query::<sqlx::Postgres>($crate::sql!(@text postgres $text))
                $(.bind($bind))*.persistent(persistent).execute(connection).await.map(|done| done.rows_affected()),
            $crate::db::Connection::Sqlite(connection) => sqlx::query::<sqlx::Sqlite>($crate::sql!(@text sqlite $text))
                $(.bind($bind))*.execute(connection).await.map(|done| done.rows_affected()),
        })
    }};
    (@ $query:ident, $row:ty, $fetch:ident, $session:expr, $text:tt $(, $bind:expr)*) => {{
        let session: &mut $crate::db::Session = $session;
        $crate::within_limits!(session, match session.connection() {
            $crate::db::Connection::Postgres(connection, persistent) => sqlx::$query::<sqlx::Postgres, $row>($crate::sql!(@text postgres $text))
                $(.bind($bind))*.persistent(persistent).$fetch(connection).await,
            $crate::db::Connection::Sqlite(connection) => sqlx::$query::<sqlx::Sqlite, $row>($crate::sql!(@text sqlite $text))
                $(.bind($bind))*.$fetch(connection).await,
        })
    }};
    // A literal is translated once, where it stands.
    (@text $engine:ident $text:literal) => {{
        static TEXT: std::sync::OnceLock<String> = std::sync::OnceLock::new();
        TEXT.get_or_init(|| $crate::db::dialect::$engine($text)).as_str()
    }};
    (@text $engine:ident ($text:expr)) => {
        sqlx::AssertSqlSafe($crate::db::dialect::$engine($text))
    };
}

/// Waits until no other transaction has this name, and has it to the end of this one. For a limit that is counted and then written,
/// where no row stands for it that could be locked. SQLite has one writer, whose transactions come one after the other anyway.
pub async fn take_turns(session: &mut Session, name: &str) -> Result<()> {
    if !session.is_embedded() {
        sql!(run, session, "select pg_advisory_xact_lock(hashtextextended($1, 0))", name)?;
    }
    Ok(())
}

/// A list of ids for `= any($1)`.
pub struct Ids<'a>(pub &'a [Id]);

/// A list of numbers, the second half of `pairs($1, $2)`: a set of rows from an [`Ids`] and a list of the same length.
pub struct Numbers<'a>(pub &'a [i32]);

/// A list of texts for `= any($1)`.
pub struct Texts<'a, T>(pub &'a [T]);

/// Rows for `rows($1 as table: column, …)`: an array of objects whose keys are columns.
///
/// One parameter carries the whole batch, so that the statement is the same for one row and for a thousand.
pub struct Rows(String);

impl Rows {
    pub fn new<T: serde::Serialize>(rows: &[T]) -> Self {
        Self(serde_json::to_string(rows).expect("rows are plain structs, which always serialise"))
    }
}

/// The pattern of `ilike $1 escape '\'` that finds a text anywhere: what stands for other characters there stands for itself here.
pub fn contains(text: &str) -> String {
    let escaped = text.replace('\\', "\\\\").replace('%', "\\%").replace('_', "\\_");
    format!("%{escaped}%")
}

/// A value that is JSON text on SQLite and an array of `$type` on PostgreSQL.
macro_rules! list_parameter {
    ($name:ty, [$($generics:tt)*], $element:ty, |$list:ident| $postgres:expr, $json:expr) => {
        impl<$($generics)*> Type<Postgres> for $name {
            fn type_info() -> PgTypeInfo {
                <Vec<$element> as Type<Postgres>>::type_info()
            }
        }

        impl<$($generics)*> Encode<'_, Postgres> for $name {
            fn encode_by_ref(&self, buffer: &mut PgArgumentBuffer) -> std::result::Result<IsNull, BoxDynError> {
                let $list = self;
                <Vec<$element> as Encode<'_, Postgres>>::encode($postgres, buffer)
            }
        }

        impl<$($generics)*> Type<Sqlite> for $name {
            fn type_info() -> SqliteTypeInfo {
                <str as Type<Sqlite>>::type_info()
            }
        }

        impl<$($generics)*> Encode<'_, Sqlite> for $name {
            fn encode_by_ref(&self, buffer: &mut SqliteArgumentsBuffer) -> std::result::Result<IsNull, BoxDynError> {
                let $list = self;
                <String as Encode<'_, Sqlite>>::encode(serde_json::to_string(&$json)?, buffer)
            }
        }
    };
}

list_parameter!(Ids<'_>, [], Id, |ids| ids.0.to_vec(), ids.0);
list_parameter!(Numbers<'_>, [], i32, |numbers| numbers.0.to_vec(), numbers.0);
list_parameter!(Texts<'_, T>, [T: AsRef<str>], String, |texts| texts.0.iter().map(|text| text.as_ref().to_owned()).collect(), texts.0.iter().map(AsRef::as_ref).collect::<Vec<&str>>());

impl Type<Postgres> for Rows {
    fn type_info() -> PgTypeInfo {
        <str as Type<Postgres>>::type_info()
    }
}

impl Encode<'_, Postgres> for Rows {
    fn encode_by_ref(&self, buffer: &mut PgArgumentBuffer) -> std::result::Result<IsNull, BoxDynError> {
        <&str as Encode<'_, Postgres>>::encode(self.0.as_str(), buffer)
    }
}

impl Type<Sqlite> for Rows {
    fn type_info() -> SqliteTypeInfo {
        <str as Type<Sqlite>>::type_info()
    }
}

impl Encode<'_, Sqlite> for Rows {
    fn encode_by_ref(&self, buffer: &mut SqliteArgumentsBuffer) -> std::result::Result<IsNull, BoxDynError> {
        <String as Encode<'_, Sqlite>>::encode(self.0.clone(), buffer)
    }
}
