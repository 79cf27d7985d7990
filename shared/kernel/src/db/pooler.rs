//! What stands before PostgreSQL: whether a connection keeps its server.
//!
//! A transaction pooler hands every transaction another server connection. What is prepared there, or set for a session, stays
//! with a connection of others, and a statement of another program answers under the name of ours. So it must be known before
//! the first statement is prepared.

use std::time::Duration;

use sqlx::postgres::{PgConnectOptions, PgConnection};
use sqlx::{Connection as _, Executor, Row};

use super::Result;
use crate::server_urls::Pooler;

/// Supabase's transaction pooler listens here; PgBouncer customarily too.
const CUSTOMARY_PORT: u16 = 6543;

/// How often it is tried whether two connections share a server: a busy pooler may give each another one.
const TRIES: usize = 4;

/// A pooler of sessions that has one server connection lets the second of ours wait.
const TRY_FOR: Duration = Duration::from_secs(2);

/// Whether transactions change their server. Closes the connection.
pub(super) async fn is_there(pooler: Pooler, mut first: PgConnection, options: &PgConnectOptions) -> bool {
    let is_there = match pooler {
        Pooler::Transaction => true,
        Pooler::Session => false,
        Pooler::Auto if options.get_port() == CUSTOMARY_PORT => true,
        Pooler::Auto => {
            let tried = tokio::time::timeout(TRY_FOR, change_servers(&mut first, options)).await;
            // Without an answer it is as most installations are; what is lost later is noticed then.
            matches!(tried, Ok(Ok(true)))
        }
    };
    if is_there && pooler == Pooler::Auto {
        tracing::info!("a transaction pooler stands before PostgreSQL, so that statements are not prepared");
    }
    // The server closes it in any case.
    let _ = first.close().await;
    is_there
}

/// Whether a connection that is in no transaction has the same server as another one, or another server than a moment ago.
/// Where each has its own, neither can be.
async fn change_servers(first: &mut PgConnection, options: &PgConnectOptions) -> Result<bool> {
    let mut second = PgConnection::connect_with(options).await?;
    let mut changed = false;
    for _ in 0..TRIES {
        let before = server_of(first).await?;
        second.execute("begin").await?;
        changed = server_of(&mut second).await? == before || server_of(first).await? != before;
        second.execute("rollback").await?;
        if changed {
            break;
        }
    }
    let _ = second.close().await;
    Ok(changed)
}

/// The number of the server's process, asked for without preparing anything.
async fn server_of(connection: &mut PgConnection) -> Result<i32> {
    connection.fetch_one(sqlx::raw_sql("select pg_backend_pid()")).await?.try_get(0)
}
