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

/// Two variable parts of a URL, like [`Segment`].
pub(crate) struct Segments<A, B>(pub(crate) A, pub(crate) B);

impl<A: FromStr, B: FromStr, S: Send + Sync> FromRequestParts<S> for Segments<A, B> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        let found = Path::<(String, String)>::from_request_parts(parts, state).await;
        let Path((first, second)) = found.map_err(|_| Problem::NotFound)?;
        if first.contains(char::is_control) || second.contains(char::is_control) {
            return Err(Problem::NotFound);
        }
        let first = first.parse().map_err(|_| Problem::NotFound)?;
        second.parse().map(|second| Self(first, second)).map_err(|_| Problem::NotFound)
    }
}
