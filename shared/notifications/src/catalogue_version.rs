//! The version of what workshops configure. Every write counts it up, so that copies in memory know when they are old.

use recado_kernel::db::{Result, Session};
use recado_kernel::sql;

/// To be called in every transaction that changes what the catalogue shows; best as its first statement.
///
/// Writers wait here for each other, so what one of them reads afterwards is still so when it writes.
pub async fn touch(session: &mut Session) -> Result<()> {
    sql!(run, session, "update catalogue_version set version = version + 1")?;
    Ok(())
}
