//! A connection for a while: every statement runs within limits, and a connection in a state that is not known is closed.
//!
//! The rule is one for both engines and all that may go wrong. A statement that begins leaves the session *in doubt* until it
//! has ended in a way after which the connection is as good as before. A session that is given up in doubt does not give its
//! connection back: a time limit has passed, the network failed, the server is read-only or going down; SQLite ended the
//! transaction by itself because the disk was full. SQLite's only writer would otherwise stay as it is for ever.

use std::future::Future;
use std::io;
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures::future::BoxFuture;
use sqlx::pool::PoolConnection;
use sqlx::postgres::PgConnection;
use sqlx::sqlite::SqliteConnection;
use sqlx::{Database, Executor, Postgres, Sqlite};

use super::{Error, Experience, OutcomeUnknown, Result, errors};
use crate::clock::Timestamp;

/// How long to wait for the answer to a statement. PostgreSQL itself ends one after 10 s and says so (`super::SETTINGS`): a
/// server that is silent for longer is not there any more, or its connection is not.
const POSTGRES_ANSWERS_WITHIN: Duration = Duration::from_secs(12);

/// SQLite answers always, unless the disk does not.
const SQLITE_ANSWERS_WITHIN: Duration = Duration::from_secs(20);

/// A transaction that is older than this is not committed. Its caller has been told, or is about to be, that it took too long.
const LONGEST_TRANSACTION: Duration = Duration::from_secs(15);

/// How long a connection may take to become usable for the next one: a statement that was given up is still running.
const RELEASE_WITHIN: Duration = POSTGRES_ANSWERS_WITHIN;

/// A connection or a transaction. Features take `&mut Session` and need not know which.
pub struct Session {
    /// Nothing after the end.
    held: Option<Pooled>,
    /// False behind a transaction pooler.
    persistent: bool,
    /// When the transaction began.
    begun: Option<Instant>,
    state: State,
    not_after: Option<Timestamp>,
    experience: Arc<Experience>,
}

enum Pooled {
    Postgres(PoolConnection<Postgres>),
    Sqlite(PoolConnection<Sqlite>),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Sound,
    /// A statement is under way. It stays so when its caller is gone before it has ended.
    InDoubt,
    Broken,
}

/// What [`sql!`](crate::sql) runs a statement on.
pub enum Connection<'s> {
    Postgres(&'s mut PgConnection, bool),
    Sqlite(&'s mut SqliteConnection),
}

/// Runs a statement on a session within the limits. Statements that are not written with [`sql!`](crate::sql) need it.
#[macro_export]
macro_rules! within_limits {
    ($session:ident, $statement:expr) => {{
        let limit = $session.enter();
        let answer = $crate::db::within(limit, async { $statement }).await;
        $session.leave(answer)
    }};
}

/// The answer of a statement, or an error when it takes longer than the limit.
pub async fn within<T>(limit: Duration, statement: impl Future<Output = Result<T>>) -> Result<T> {
    let silent = |_| {
        let text = format!("the database did not answer within {} s", limit.as_secs());
        Err(Error::Io(io::Error::new(io::ErrorKind::TimedOut, text)))
    };
    tokio::time::timeout(limit, statement).await.unwrap_or_else(silent)
}

impl Session {
    pub(super) fn postgres(
        connection: PoolConnection<Postgres>,
        persistent: bool,
        experience: &Arc<Experience>,
    ) -> Self {
        Self::new(Pooled::Postgres(connection), persistent, experience)
    }

    pub(super) fn sqlite(connection: PoolConnection<Sqlite>, experience: &Arc<Experience>) -> Self {
        Self::new(Pooled::Sqlite(connection), true, experience)
    }

    fn new(held: Pooled, persistent: bool, experience: &Arc<Experience>) -> Self {
        let experience = experience.clone();
        Self { held: Some(held), persistent, begun: None, state: State::Sound, not_after: None, experience }
    }

    /// Begins a transaction. The statements around it are ours and not the driver's: a count of transactions that is kept
    /// beside the connection is wrong as soon as the database ends one by itself.
    pub(super) async fn begin(mut self, statement: &'static str) -> Result<Self> {
        self.begun = Some(Instant::now());
        self.run_plain(statement).await?;
        Ok(self)
    }

    /// Runs a statement without parameters as one message, which may hold several.
    pub(super) fn run_plain(&mut self, statement: &'static str) -> BoxFuture<'_, Result<()>> {
        let session = self;
        Box::pin(async move {
            within_limits!(
                session,
                match session.connection() {
                    Connection::Postgres(connection, _) => connection.execute(statement).await.map(drop),
                    Connection::Sqlite(connection) => connection.execute(statement).await.map(drop),
                }
            )
        })
    }

    /// Whether it is a session of SQLite.
    pub fn is_embedded(&self) -> bool {
        matches!(self.held, Some(Pooled::Sqlite(_)))
    }

    pub fn connection(&mut self) -> Connection<'_> {
        match self.held.as_mut().expect("a session holds its connection to its end") {
            Pooled::Postgres(connection) => Connection::Postgres(connection, self.persistent),
            Pooled::Sqlite(connection) => Connection::Sqlite(connection),
        }
    }

    /// A statement begins; it has so long.
    pub fn enter(&mut self) -> Duration {
        if self.state == State::Sound {
            self.state = State::InDoubt;
        }
        match self.held {
            Some(Pooled::Sqlite(_)) => SQLITE_ANSWERS_WITHIN,
            Some(Pooled::Postgres(_)) | None => POSTGRES_ANSWERS_WITHIN,
        }
    }

    /// A statement has ended.
    pub fn leave<T>(&mut self, answer: Result<T>) -> Result<T> {
        let broken_before = self.state == State::Broken;
        self.state = match &answer {
            Err(error) if !errors::leaves_the_connection_sound(error) => {
                if errors::makes_others_suspect(error) {
                    self.experience.suspect_connections();
                }
                if errors::says_a_statement_is_lost(error) {
                    self.experience.lost_a_statement();
                }
                State::Broken
            }
            _ if broken_before => State::Broken,
            Ok(_) | Err(_) => State::Sound,
        };
        answer
    }

    /// Rows that say `{in_time}` are not written by a statement that the server begins later than this, by its own clock. A
    /// server that was frozen, or a network that held a statement back, does not do later what a caller was told is refused.
    pub fn not_after(&mut self, moment: Timestamp) {
        self.not_after = Some(moment);
    }

    pub(super) fn latest_begin(&self) -> Option<Timestamp> {
        self.not_after
    }

    /// Makes a transaction's work last. On a plain connection every statement already does.
    ///
    /// # Errors
    /// [`OutcomeUnknown`] inside of [`Error::AnyDriverError`] when the answer did not come, so that it may have been made to last.
    pub async fn commit(mut self) -> Result<()> {
        let Some(begun) = self.begun else { return Ok(()) };
        if begun.elapsed() > LONGEST_TRANSACTION {
            let text = format!("the transaction took longer than {} s", LONGEST_TRANSACTION.as_secs());
            return Err(Error::Io(io::Error::new(io::ErrorKind::TimedOut, text)));
        }
        match self.run_plain("commit").await {
            Ok(()) => {
                self.begun = None;
                Ok(())
            }
            Err(error) if errors::says_nothing_of_the_outcome(&error) => {
                Err(Error::AnyDriverError(Box::new(OutcomeUnknown(error))))
            }
            Err(error) => Err(error),
        }
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        let is_open = self.begun.is_some();
        match self.held.take() {
            // The statement of a caller who is gone is waited for, and its connection is a place of the pool meanwhile: those
            // who come and go would otherwise make more connections than there may be.
            Some(Pooled::Postgres(connection)) => give_back(connection, self.state != State::Broken, is_open),
            Some(Pooled::Sqlite(connection)) => give_back(connection, self.state == State::Sound, is_open),
            None => {}
        }
    }
}

/// Gives a connection back to its pool, without what was not committed; or closes it, and the pool opens another.
fn give_back<DB: Database>(mut connection: PoolConnection<DB>, is_sound: bool, is_open: bool)
where
    for<'c> &'c mut DB::Connection: Executor<'c, Database = DB>,
{
    let Some(runtime) = tokio::runtime::Handle::try_current().ok().filter(|_| is_sound) else {
        drop(connection.detach());
        return;
    };
    runtime.spawn(async move {
        let released = tokio::time::timeout(RELEASE_WITHIN, async {
            if is_open && let Err(error) = connection.execute("rollback").await {
                tracing::warn!(%error, "a transaction cannot be rolled back, so its connection is closed: {error}");
                drop(connection.detach());
                return;
            }
            connection.return_to_pool().await;
        });
        // Without an answer it is dropped with the future, and its place in the pool is free again.
        let _ = released.await;
    });
}

#[cfg(test)]
mod tests {
    use super::super::{Db, Outage, outage};
    use crate::config::Config;
    use crate::sql;

    async fn open(folder: &tempfile::TempDir) -> Db {
        let url = format!("sqlite://{}", folder.path().join("test.db").display());
        let db = Db::connect(&Config::from_pairs([("DATABASE_URL", &url)]).expect("valid")).await.expect("it opens");
        let mut session = db.begin().await.expect("a transaction");
        sql!(run, &mut session, "create table things (id integer primary key, text text not null)").expect("a table");
        session.commit().await.expect("it is committed");
        db
    }

    async fn count(db: &Db) -> i64 {
        let mut session = db.read().await.expect("a connection");
        sql!(one(i64,), &mut session, "select count(*) from things").expect("it is read").expect("a row").0
    }

    async fn write(db: &Db, length: usize) -> super::Result<()> {
        let mut session = db.begin().await?;
        sql!(run, &mut session, "insert into things (text) values ($1)", "x".repeat(length))?;
        session.commit().await
    }

    /// SQLite ends a transaction by itself when there is no room: `cannot rollback - no transaction is active`, and sqlx
    /// counted on (transact-rs/sqlx#4031). The connection that was limited is closed with its limit.
    #[tokio::test]
    async fn a_writer_without_room_is_opened_again() {
        let folder = tempfile::tempdir().expect("a folder");
        let db = open(&folder).await;
        let mut session = db.begin().await.expect("a transaction");
        sql!(all(i64,), &mut session, "pragma max_page_count = 4").expect("it is limited");
        let error = sql!(run, &mut session, "insert into things (text) values ($1)", "x".repeat(100_000));
        assert_eq!(outage(&error.expect_err("it is full")), Some(Outage::Full));
        drop(session);
        write(&db, 100_000).await.expect("another connection has room");
        assert_eq!(count(&db).await, 1);
    }

    /// A commit that fails leaves nothing behind, and the next one works.
    #[tokio::test]
    async fn a_refused_statement_leaves_the_writer_usable() {
        let folder = tempfile::tempdir().expect("a folder");
        let db = open(&folder).await;
        let mut session = db.begin().await.expect("a transaction");
        sql!(run, &mut session, "insert into things (id, text) values (1, 'a')").expect("it is written");
        let error = sql!(run, &mut session, "insert into things (id, text) values (1, 'b')").expect_err("it is taken");
        assert!(outage(&error).is_none() && super::super::is_refusal(&error), "{error}");
        drop(session);
        assert_eq!(count(&db).await, 0, "what was not committed is rolled back");
        write(&db, 1).await.expect("the writer is free");
    }

    /// A caller hangs up in the middle of a transaction, at any point of it: the writer is free again, and what was not
    /// committed is not there.
    #[tokio::test]
    async fn a_cancelled_transaction_frees_the_writer() {
        let folder = tempfile::tempdir().expect("a folder");
        let db = open(&folder).await;
        for polls in 0..200 {
            let mut work = Box::pin(async {
                let mut session = db.begin().await?;
                sql!(run, &mut session, "insert into things (text) values ('never')")?;
                sql!(run, &mut session, "delete from things")?;
                session.commit().await
            });
            for _ in 0..polls % 20 {
                if futures::poll!(&mut work).is_ready() {
                    break;
                }
                tokio::task::yield_now().await;
            }
        }
        write(&db, 1).await.expect("the writer is free");
        assert_eq!(count(&db).await, 1);
    }
}
