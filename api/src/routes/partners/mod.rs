//! The registry of partners (seed 001), a file per noun. Its clients have an envelope of their own ([`crate::envelope`]), and
//! words of their own for what they look for.

pub(crate) mod inbound;
pub(crate) mod integrations;
pub(crate) mod outbound;
pub(crate) mod registrations;
pub(crate) mod registry;
pub(crate) mod rejected;

use axum::extract::FromRequestParts;
use axum::http::request::Parts;
use recado_kernel::db::Session;
use recado_kernel::ids::Id;
use recado_partners::registry::{Done, Refusal};
use recado_partners::standing::Policy;

use crate::extract::path::Segment;
use crate::problem::Problem;
use crate::state::Api;

/// The partner that a URL names. What is no id names no partner.
struct PartnerId(Id);

impl<S: Send + Sync> FromRequestParts<S> for PartnerId {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        let named = Segment::from_request_parts(parts, state).await;
        Ok(named.map(|Segment(id)| Self(id)).map_err(|_| Refusal::PartnerNotFound)?)
    }
}

/// What the operator demands of partners.
fn policy(api: &Api) -> Policy {
    Policy { require_kyc: api.context.config.partner_require_kyc }
}

/// Makes it last, and rings for those who tell of it.
async fn settle<T>(api: &Api, session: Session, Done { value, rings }: Done<T>) -> Result<T, Problem> {
    session.commit().await?;
    api.context.ring(&rings).await;
    Ok(value)
}
