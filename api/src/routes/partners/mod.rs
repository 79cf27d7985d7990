//! The registry of partners (seed 001), a file per noun. Its clients have an envelope of their own ([`crate::envelope`]), and
//! words of their own for what they look for.

pub(crate) mod integrations;
pub(crate) mod registry;

use recado_kernel::db::Session;
use recado_partners::registry::Done;

use crate::problem::Problem;
use crate::state::Api;

/// Makes it last, and rings for those who tell of it.
async fn settle<T>(api: &Api, session: Session, Done { value, rings }: Done<T>) -> Result<T, Problem> {
    session.commit().await?;
    api.context.ring(&rings).await;
    Ok(value)
}
