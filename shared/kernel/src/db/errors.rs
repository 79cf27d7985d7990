//! What an error of the database means: for the caller, for the connection, for the health of this process.

use std::borrow::Cow;

use super::Error;

/// What is wrong with the database itself, so that the same statement may well succeed later.
#[derive(Clone, Copy, Debug, PartialEq, Eq, strum::IntoStaticStr, strum::VariantArray)]
#[strum(serialize_all = "snake_case", const_into_str)]
pub enum Outage {
    /// A replica, or a server that was told to take nothing.
    ReadOnly,
    /// No room on its disk.
    Full,
    /// What is to be written is held by somebody else for longer than we wait.
    Locked,
    /// Its disk fails.
    Disk,
    /// It cannot be reached, does not answer, or has no room for one more connection.
    Unavailable,
}

crate::word_enum!(Outage, "an outage");

/// Whether the answer to a commit never came: what was to be written may have been written.
#[derive(Debug, thiserror::Error)]
#[error("whether it was written is not known: {0}")]
pub struct OutcomeUnknown(pub Error);

/// Whether this is an [`OutcomeUnknown`].
pub fn is_outcome_unknown(error: &Error) -> bool {
    matches!(error, Error::AnyDriverError(inner) if inner.is::<OutcomeUnknown>())
}

/// Whether the database itself is in trouble, so that the same statement may well succeed a little later. Everything else is
/// the statement's or its data's own fault and will fail again.
pub fn is_outage(error: &Error) -> bool {
    outage(error).is_some()
}

/// What is wrong with the database; `None` when the statement itself or its data is.
pub fn outage(error: &Error) -> Option<Outage> {
    match error {
        Error::Io(_)
        | Error::Tls(_)
        | Error::Protocol(_)
        | Error::PoolTimedOut
        | Error::PoolClosed
        | Error::WorkerCrashed
        | Error::BeginFailed => Some(Outage::Unavailable),
        Error::AnyDriverError(inner) => {
            let unknown = inner.downcast_ref::<OutcomeUnknown>()?;
            Some(outage(&unknown.0).unwrap_or(Outage::Unavailable))
        }
        Error::Database(error) => match code(error.as_ref())? {
            Code::Postgres(code) => postgres_outage(&code),
            Code::Sqlite(code) => sqlite_outage(code),
        },
        _ => None,
    }
}

/// <https://www.postgresql.org/docs/current/errcodes-appendix.html>
fn postgres_outage(code: &str) -> Option<Outage> {
    match code {
        // read_only_sql_transaction
        "25006" => Some(Outage::ReadOnly),
        // disk_full
        "53100" => Some(Outage::Full),
        // lock_not_available; query_canceled, by a time limit.
        "55P03" | "57014" => Some(Outage::Locked),
        // io_error
        "58030" => Some(Outage::Disk),
        // The next one is not prepared.
        code if LOST_STATEMENT.contains(&code) => Some(Outage::Unavailable),
        // Lost connection, wrong state of a transaction, no entry, no database, serialisation and deadlock, no resources,
        // shutdown, the system around it, a bug in it.
        code => ["08", "25", "28", "3D", "40", "53", "57", "58", "XX"]
            .iter()
            .any(|class| code.starts_with(class))
            .then_some(if code.starts_with("40") { Outage::Locked } else { Outage::Unavailable }),
    }
}

/// <https://www.sqlite.org/rescode.html>: the low byte is the kind, what stands above it says more.
fn sqlite_outage(code: i32) -> Option<Outage> {
    match code & 0xff {
        // BUSY, LOCKED
        5 | 6 => Some(Outage::Locked),
        // READONLY
        8 => Some(Outage::ReadOnly),
        // FULL
        13 => Some(Outage::Full),
        // IOERR, CORRUPT, NOTADB
        10 | 11 | 26 => Some(Outage::Disk),
        // INTERNAL, PERM, ABORT, NOMEM, INTERRUPT, CANTOPEN, PROTOCOL, SCHEMA
        2 | 3 | 4 | 7 | 9 | 14 | 15 | 17 => Some(Outage::Unavailable),
        _ => None,
    }
}

enum Code<'e> {
    /// Five letters or digits.
    Postgres(Cow<'e, str>),
    Sqlite(i32),
}

fn code(error: &dyn sqlx::error::DatabaseError) -> Option<Code<'_>> {
    let code = error.code()?;
    if code.len() == 5 { Some(Code::Postgres(code)) } else { code.parse().ok().map(Code::Sqlite) }
}

/// Whether the statement itself, or its data, was refused: the same will be refused for ever.
pub fn is_refusal(error: &Error) -> bool {
    match error {
        Error::Database(error) => match code(error.as_ref()) {
            // Data exception, integrity constraint, syntax and names; too large for an index or for the server.
            Some(Code::Postgres(code)) => {
                !LOST_STATEMENT.contains(&code.as_ref())
                    && ["22", "23", "42", "54"].iter().any(|class| code.starts_with(class))
            }
            // ERROR, TOOBIG, CONSTRAINT, MISMATCH
            Some(Code::Sqlite(code)) => [1, 18, 19, 20].contains(&(code & 0xff)),
            None => false,
        },
        Error::Encode(_) | Error::ColumnDecode { .. } | Error::ColumnNotFound(_) => true,
        _ => false,
    }
}

/// Whether a connection is as good as before after this error, apart from a transaction to be rolled back.
pub(super) fn leaves_the_connection_sound(error: &Error) -> bool {
    match error {
        Error::Database(error) => match code(error.as_ref()) {
            // The server is read-only, or ends the connection. Reconnecting, one may meet another.
            Some(Code::Postgres(code)) => {
                !["25006", "25P03", "25P04"].contains(&code.as_ref())
                    && !LOST_STATEMENT.contains(&code.as_ref())
                    && !["08", "57P", "58", "XX"].iter().any(|class| code.starts_with(class))
            }
            // On FULL, IOERR, NOMEM, BUSY and INTERRUPT SQLite may have ended the transaction by itself
            // (<https://www.sqlite.org/lang_transaction.html>, section 4).
            Some(Code::Sqlite(code)) => sqlite_outage(code).is_none(),
            None => false,
        },
        Error::RowNotFound
        | Error::TypeNotFound { .. }
        | Error::ColumnIndexOutOfBounds { .. }
        | Error::ColumnNotFound(_)
        | Error::ColumnDecode { .. }
        | Error::Encode(_)
        | Error::Decode(_)
        | Error::InvalidArgument(_) => true,
        _ => false,
    }
}

/// A prepared statement is not on the connection that it was prepared on, or one of another client is: the connection changes
/// its server behind our back.
const LOST_STATEMENT: [&str; 2] = ["26000", "42P05"];

/// Whether an error says so.
pub(super) fn says_a_statement_is_lost(error: &Error) -> bool {
    matches!(error, Error::Database(error) if error.code().is_some_and(|code| LOST_STATEMENT.contains(&code.as_ref())))
}

/// Whether other connections that were made before lead to the same trouble: to a server that is read-only now, that has
/// ended, or that does not answer.
pub(super) fn makes_others_suspect(error: &Error) -> bool {
    match error {
        Error::Io(_) => true,
        Error::Database(error) => {
            error.code().is_some_and(|code| code.len() == 5 && (code == "25006" || code.starts_with("57P")))
        }
        _ => false,
    }
}

/// Whether the statement or the commit that got this answer may have been made to last in spite of it.
pub fn may_have_written(error: &Error) -> bool {
    is_outcome_unknown(error)
        || match error {
            Error::Io(_) | Error::Protocol(_) | Error::Tls(_) | Error::WorkerCrashed => true,
            Error::Database(_) => says_nothing_of_the_outcome(error),
            _ => false,
        }
}

/// Whether the connection had ended: over another one the same may succeed at once.
pub fn is_connection_lost(error: &Error) -> bool {
    match error {
        Error::Io(error) => error.kind() != std::io::ErrorKind::TimedOut,
        Error::Database(error) => {
            error.code().is_some_and(|code| code.len() == 5 && (code.starts_with("08") || code.starts_with("57P")))
        }
        _ => false,
    }
}

/// The time for a work has passed before it was begun.
pub fn too_late() -> Error {
    Error::Protocol("there was no time left to write it".to_owned())
}

/// Whether this answer to a commit leaves open what became of it. PostgreSQL says so when it refuses; a connection that ends
/// says nothing, and neither does a disk that fails while it is told to keep what was written.
pub(super) fn says_nothing_of_the_outcome(error: &Error) -> bool {
    match error {
        Error::Database(error) => match code(error.as_ref()) {
            Some(Code::Postgres(code)) => ["08", "57P", "58", "XX"].iter().any(|class| code.starts_with(class)),
            // IOERR, IOERR_FSYNC, IOERR_DIR_FSYNC: what could not be written at all has not lasted.
            Some(Code::Sqlite(code)) => [10, 1034, 1290].contains(&code),
            None => true,
        },
        _ => true,
    }
}

/// Asks an error which constraint or unique index said no.
pub trait Violation {
    /// Whether this is the violation of the named constraint. SQLite names the columns instead, so both are given:
    /// `("vehicles_plate_key", "vehicles.plate")`.
    fn violates(&self, constraint: &str, columns: &str) -> bool;
}

impl Violation for Error {
    fn violates(&self, constraint: &str, columns: &str) -> bool {
        let Self::Database(error) = self else { return false };
        error.constraint() == Some(constraint) || error.message().ends_with(&format!("constraint failed: {columns}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sqlite_names_the_kind_in_the_low_byte() {
        // FULL; IOERR_WRITE and IOERR_FSYNC; BUSY_SNAPSHOT; READONLY_DIRECTORY; NOMEM; CANTOPEN_FULLPATH.
        for (code, expected) in [
            (13, Outage::Full),
            (778, Outage::Disk),
            (1034, Outage::Disk),
            (517, Outage::Locked),
            (1544, Outage::ReadOnly),
            (7, Outage::Unavailable),
            (782, Outage::Unavailable),
        ] {
            assert_eq!(sqlite_outage(code), Some(expected), "{code}");
        }
        // ERROR, and the constraints: unique, check, not null.
        for code in [1, 2067, 275, 1299] {
            assert_eq!(sqlite_outage(code), None, "{code}");
        }
    }

    #[test]
    fn postgres_names_what_is_wrong() {
        for (code, expected) in [
            ("25006", Outage::ReadOnly),
            ("53100", Outage::Full),
            ("55P03", Outage::Locked),
            ("57014", Outage::Locked),
            ("40001", Outage::Locked),
            ("57P01", Outage::Unavailable),
            ("53300", Outage::Unavailable),
            ("28P01", Outage::Unavailable),
            ("26000", Outage::Unavailable),
            ("42P05", Outage::Unavailable),
        ] {
            assert_eq!(postgres_outage(code), Some(expected), "{code}");
        }
        for code in ["23505", "22021", "42P01", "54000"] {
            assert_eq!(postgres_outage(code), None, "{code}");
        }
    }
}
