//! What a URL of a page names. What cannot be an id names nothing: the page says so, as it does for an id that is not there.

use axum::extract::{self, FromRequestParts};
use axum::http::request::Parts;
use serde::de::DeserializeOwned;

use crate::failure::Failure;

pub(crate) struct Path<T>(pub(crate) T);

impl<T: DeserializeOwned + Send, S: Send + Sync> FromRequestParts<S> for Path<T> {
    type Rejection = Failure;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Failure> {
        let named = extract::Path::<T>::from_request_parts(parts, state).await;
        named.map(|extract::Path(named)| Self(named)).map_err(|_| Failure::NotFound)
    }
}
