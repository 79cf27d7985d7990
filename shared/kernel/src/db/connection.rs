//! The first connection: what a pool does not say of it, and who may read the embedded database.

use std::fs::{self, OpenOptions, Permissions};
use std::io;
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::Path;
use std::time::Duration;

use sqlx::Connection as _;
use sqlx::postgres::{PgConnectOptions, PgConnection};

use super::{Error, Result, private_folder};

/// A server that has not answered after this long will not answer.
const ANSWER_WITHIN: Duration = Duration::from_secs(10);

/// A server that is starting is asked again after this long.
const ASK_AGAIN_AFTER: Duration = Duration::from_millis(250);

/// PostgreSQL's `cannot_connect_now`: it starts, or recovers.
const STARTING: &str = "57P03";

/// The first connection. A pool would try for its whole time limit, and then report that instead of the cause:
/// a port where no server listens, a password, a name, a server with too many connections.
///
/// # Errors
/// The cause, at once. Only a server that says that it is starting is waited for.
pub(super) async fn first(options: &PgConnectOptions) -> Result<PgConnection> {
    let connected = tokio::time::timeout(ANSWER_WITHIN, async {
        loop {
            match PgConnection::connect_with(options).await {
                Err(Error::Database(error)) if error.code().as_deref() == Some(STARTING) => {
                    tokio::time::sleep(ASK_AGAIN_AFTER).await;
                }
                connected => return connected,
            }
        }
    });
    let silent = |_| {
        let problem = format!("no answer within {} s", ANSWER_WITHIN.as_secs());
        Error::Io(io::Error::new(io::ErrorKind::TimedOut, problem))
    };
    connected.await.map_err(silent)?
}

/// Makes the file of the embedded database where there is none, so that only its owner may read it, whatever its folder lets
/// through: it is about people. SQLite gives its other files, `-wal` and `-shm`, the permissions of this one.
pub(super) fn private_file(file: &Path) -> io::Result<()> {
    if let Some(folder) = file.parent() {
        private_folder(folder)?;
    }
    OpenOptions::new().read(true).append(true).create(true).mode(0o600).open(file)?;
    for suffix in ["", "-wal", "-shm"] {
        let mut name = file.as_os_str().to_owned();
        name.push(suffix);
        let file = Path::new(&name);
        match fs::metadata(file) {
            Ok(found) if found.permissions().mode() & 0o077 != 0 => {
                fs::set_permissions(file, Permissions::from_mode(0o600))?;
            }
            Ok(_) => {}
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

/// Names the file that could not be opened, which neither the system nor SQLite does.
pub(super) fn in_file(file: &Path, error: &dyn std::error::Error) -> Error {
    Error::Io(io::Error::other(format!("{}: {error}", file.display())))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Config;
    use crate::db::Db;
    use crate::sql;

    /// A database in a folder that was there before, and that others may look into.
    #[tokio::test]
    async fn only_the_owner_may_read_the_embedded_database() {
        let folder = std::env::temp_dir().join(format!("recado-private-{}", std::process::id()));
        fs::create_dir_all(&folder).expect("a folder");
        fs::set_permissions(&folder, Permissions::from_mode(0o755)).expect("open to all");
        let file = folder.join("recado.db");
        let mode = |suffix: &str| {
            let file = folder.join(format!("recado.db{suffix}"));
            fs::metadata(file).expect("it is there").permissions().mode() & 0o777
        };
        let config = Config::from_pairs([("DATABASE_URL", &*format!("sqlite:///{}", file.display()))]).expect("valid");

        let db = Db::connect(&config).await.expect("it opens");
        let mut session = db.begin().await.expect("a transaction");
        sql!(run, &mut session, "create table one (id integer)").expect("it is written");
        session.commit().await.expect("committed");
        assert_eq!(["", "-wal", "-shm"].map(mode), [0o600; 3]);
        db.close().await;

        // One that an earlier version made.
        fs::set_permissions(&file, Permissions::from_mode(0o644)).expect("open to all");
        Db::connect(&config).await.expect("it opens").close().await;
        assert_eq!(mode(""), 0o600);
        fs::remove_dir_all(&folder).expect("removed");
    }

    /// A file that cannot be opened is named.
    #[tokio::test]
    async fn a_file_that_is_no_database_is_named() {
        let folder = std::env::temp_dir().join(format!("recado-broken-{}", std::process::id()));
        fs::create_dir_all(&folder).expect("a folder");
        let file = folder.join("recado.db");
        fs::write(&file, "this is no database, and long enough for its first page to be looked at".repeat(20))
            .expect("written");
        let config = Config::from_pairs([("DATABASE_URL", &*format!("sqlite:///{}", file.display()))]).expect("valid");
        let error = Db::connect(&config).await.err().expect("it is no database").to_string();
        assert!(error.contains("recado.db: ") && error.contains("not a database"), "{error}");
        fs::remove_dir_all(&folder).expect("removed");
    }

    /// A closed port was a pool that timed out after ten seconds (sqlx#744, #3808, #865).
    #[tokio::test]
    async fn the_cause_is_told_at_once() {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let closed = listener.local_addr().expect("an address");
        drop(listener);
        let url = format!("postgresql://u:hunter2@{closed}/d");
        let config = Config::from_pairs([("DATABASE_URL", url.as_str())]).expect("valid");
        let told = tokio::time::timeout(Duration::from_secs(2), Db::connect(&config)).await.expect("at once");
        let error = told.err().expect("nothing listens").to_string();
        assert!(error.contains("refused") && !error.contains("hunter2"), "{error}");
    }
}
