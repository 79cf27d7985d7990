//! Pages of other origins (CORS): those of the front end may call everything, as django-cors-headers let them; any page may
//! call what a PWA asks for by itself.

use axum::body::Body;
use axum::extract::Request;
use axum::http::header::{
    ACCESS_CONTROL_ALLOW_HEADERS, ACCESS_CONTROL_ALLOW_METHODS, ACCESS_CONTROL_ALLOW_ORIGIN,
    ACCESS_CONTROL_EXPOSE_HEADERS, ACCESS_CONTROL_MAX_AGE, ACCESS_CONTROL_REQUEST_HEADERS,
    ACCESS_CONTROL_REQUEST_METHOD, ORIGIN, VARY,
};
use axum::http::{HeaderMap, HeaderValue, Method};
use axum::response::Response;
use recado_kernel::config::Config;
use recado_kernel::host_names;

/// Where browsers of customers subscribe, and what they need for it.
const FOR_ALL_PAGES: [&str; 2] = ["/api/v1/notifications/push", "/api/v1/notifications/catalog"];

/// Methods that a page may use, as django-cors-headers names them.
const METHODS: HeaderValue = HeaderValue::from_static("DELETE, GET, HEAD, OPTIONS, PATCH, POST, PUT");

/// What a page may use beyond the usual when its browser does not say what it wants.
const HEADERS: HeaderValue =
    HeaderValue::from_static("accept, authorization, content-type, idempotency-key, x-request-id");

/// What a page may read of an answer beyond the usual.
const EXPOSED: HeaderValue =
    HeaderValue::from_static("x-request-id, retry-after, x-ratelimit-limit, x-ratelimit-remaining");

/// How long a browser need not ask again, in seconds: a day, as django-cors-headers has it.
const MAX_AGE: HeaderValue = HeaderValue::from_static("86400");

/// Answers preflights, and says in each answer, errors included, whether a page may read it.
pub(crate) async fn allow<F: Future<Output = Response>>(
    config: &Config,
    request: Request,
    next: impl FnOnce(Request) -> F,
) -> Response {
    let allowed = allowed(config, request.headers(), request.uri().path());
    let is_preflight =
        request.method() == Method::OPTIONS && request.headers().contains_key(ACCESS_CONTROL_REQUEST_METHOD);
    if !is_preflight {
        let mut response = next(request).await;
        add(response.headers_mut(), allowed);
        return response;
    }
    let wanted = request.headers().get(ACCESS_CONTROL_REQUEST_HEADERS).cloned();
    let mut response = Response::new(Body::empty());
    if allowed.is_some() {
        let headers = response.headers_mut();
        headers.insert(ACCESS_CONTROL_ALLOW_METHODS, METHODS);
        headers.insert(ACCESS_CONTROL_ALLOW_HEADERS, wanted.unwrap_or(HEADERS));
        headers.insert(ACCESS_CONTROL_MAX_AGE, MAX_AGE);
    }
    add(response.headers_mut(), allowed);
    response
}

fn add(headers: &mut HeaderMap, allowed: Option<HeaderValue>) {
    // Also where it is not allowed: a cache must not show that answer to a page for which it is.
    headers.append(VARY, HeaderValue::from_static("origin"));
    if let Some(origin) = allowed {
        headers.insert(ACCESS_CONTROL_ALLOW_ORIGIN, origin);
        headers.insert(ACCESS_CONTROL_EXPOSE_HEADERS, EXPOSED);
    }
}

/// The value of `Access-Control-Allow-Origin`. Where `recado up` is open because it is for this machine alone, only the front end
/// and pages of this machine are let in. An API that its operator opened to all is open to a PWA of any origin too.
fn allowed(config: &Config, headers: &HeaderMap, path: &str) -> Option<HeaderValue> {
    let origin = headers.get(ORIGIN)?;
    if is_trusted(config, origin) {
        return Some(origin.clone());
    }
    let is_below =
        |prefix: &&str| path.strip_prefix(*prefix).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'));
    if !FOR_ALL_PAGES.iter().any(is_below) {
        return None;
    }
    if !config.access.open_on_this_machine {
        return Some(HeaderValue::from_static("*"));
    }
    is_of_this_machine(origin).then(|| origin.clone())
}

/// Whether a program of this machine serves the page, such as a PWA that is being written.
fn is_of_this_machine(origin: &HeaderValue) -> bool {
    let host = origin.to_str().ok().and_then(|origin| origin.strip_prefix("http://"));
    host.is_some_and(host_names::is_loopback)
}

/// Whether a page of this origin may do what a person at this installation may.
pub(crate) fn is_trusted(config: &Config, origin: &HeaderValue) -> bool {
    config.cors_origins.iter().any(|trusted| trusted.as_bytes() == origin.as_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_may_call_what_from_a_page() {
        let config = |open: &str| {
            Config::from_pairs([("FRONTEND_URL", "https://app.example.com/"), ("ALLOW_ANONYMOUS_API", open)]).unwrap()
        };
        let origin_for = |open: &str, origin: &'static str, path: &str| {
            let mut headers = HeaderMap::new();
            headers.insert(ORIGIN, HeaderValue::from_static(origin));
            allowed(&config(open), &headers, path).map(|value| value.to_str().unwrap().to_owned())
        };
        let (app, other) = ("https://app.example.com", "https://other.example.com");
        let (push, customers) = ("/api/v1/notifications/push/subscribe", "/api/v1/notifications/customers");
        for open in ["true", "false"] {
            assert_eq!(origin_for(open, app, customers).as_deref(), Some(app));
            assert_eq!(origin_for(open, app, push).as_deref(), Some(app));
            assert_eq!(origin_for(open, other, customers), None);
            assert_eq!(origin_for(open, "null", customers), None);
        }
        assert_eq!(origin_for("false", other, push).as_deref(), Some("*"));
        assert_eq!(origin_for("true", other, push).as_deref(), Some("*"), "it was opened to all");
        let here = "http://localhost:5173";
        assert_eq!(origin_for("true", here, customers), None);
        assert_eq!(origin_for("false", other, "/api/v1/notifications/pushed"), None);
        assert_eq!(allowed(&config("false"), &HeaderMap::new(), push), None);
    }
}
