//! What stands in a URL.

use std::str::FromStr;

use axum::extract::{FromRequestParts, Path};
use axum::http::request::Parts;

use crate::problem::Problem;

/// The variable part of a URL. What cannot be one names nothing that exists, so it is not found: a task id that is no
/// UUID, bytes that are no UTF-8, control characters.
pub(crate) struct Segment<T>(pub(crate) T);

impl<T: FromStr, S: Send + Sync> FromRequestParts<S> for Segment<T> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        let Path(text) = Path::<String>::from_request_parts(parts, state).await.map_err(|_| Problem::NotFound)?;
        if text.contains(char::is_control) {
            return Err(Problem::NotFound);
        }
        text.parse().map(Self).map_err(|_| Problem::NotFound)
    }
}
