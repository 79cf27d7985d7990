//! The id of a request: in every answer, in every line of the log about it, and in the problems that it runs into.

use std::future::Future;

use axum::http::{HeaderMap, HeaderName, HeaderValue};

/// The header that carries a request's id, in and out.
pub(crate) const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// Longer ids are replaced by one of ours, so that a caller cannot fill our logs.
const MAX_LENGTH: usize = 128;

tokio::task_local! {
    /// The id of the request that this task serves, so that an error can name it without every function passing it on.
    static CURRENT: HeaderValue;
}

/// The id of the request that is being served; `None` outside of one.
pub(crate) fn current() -> Option<String> {
    CURRENT.try_with(|id| id.to_str().map(str::to_owned).ok()).ok().flatten()
}

/// Runs what serves the request with this id.
pub(crate) async fn scope<F: Future>(id: HeaderValue, serving: F) -> F::Output {
    CURRENT.scope(id, serving).await
}

/// The caller's own id, when it is visible ASCII of a decent length.
pub(crate) fn sane_id(headers: &HeaderMap) -> Option<HeaderValue> {
    let id = headers.get(REQUEST_ID)?;
    let is_sane = (1..=MAX_LENGTH).contains(&id.len()) && id.as_bytes().iter().all(u8::is_ascii_graphic);
    is_sane.then(|| id.clone())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_sane_ids_are_taken_over() {
        let taken = |id: &[u8]| {
            let mut headers = HeaderMap::new();
            headers.insert(REQUEST_ID, HeaderValue::from_bytes(id).unwrap());
            sane_id(&headers).is_some()
        };
        assert!(taken(b"a") && taken(b"01J-9f/x:y=") && taken(&[b'x'; MAX_LENGTH]));
        assert!(!taken(b"") && !taken(b"a b") && !taken("ñ".as_bytes()) && !taken(&[b'x'; MAX_LENGTH + 1]));
        assert!(sane_id(&HeaderMap::new()).is_none());
    }

    #[test]
    fn outside_of_a_request_there_is_no_id() {
        assert_eq!(current(), None);
    }
}
