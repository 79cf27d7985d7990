//! Around every page: what a forged request is told, how a failure is drawn, and what browsers are held to.

use std::sync::Arc;

use axum::extract::{Request, State};
use axum::http::header::{
    CACHE_CONTROL, CONTENT_SECURITY_POLICY, HeaderName, LOCATION, ORIGIN, REFERER, REFERRER_POLICY, SET_COOKIE,
};
use axum::http::{HeaderMap, HeaderValue, Method, StatusCode};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use url::Url;

use crate::auth::{Seen, Visit};
use crate::failure::{Failed, Failure};
use crate::page;
use crate::{Console, cookies};

/// Only what comes from here is run, and only here is anything asked for. Nothing is inline.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; \
     font-src 'self'; frame-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'";

pub(crate) async fn pass(State(console): State<Arc<Console>>, mut request: Request, next: Next) -> Response {
    let seen = Seen::default();
    request.extensions_mut().insert(seen.clone());
    let (parts, body) = request.into_parts();
    let unknown = Visit::unknown(&parts, &console);
    let (is_partial, had_notice) = (parts.headers.contains_key("hx-request"), unknown.notice.is_some());
    let stood = Stood::of(&parts.method, &parts.headers, is_partial);
    let public = console.context.config.public_url.as_deref();
    let response = match is_ours(&parts.method, &parts.headers, &unknown.visitor.host, public) {
        true => next.run(Request::from_parts(parts, body)).await,
        false => Failure::Forged.into_response(),
    };
    let visit = seen.get().cloned().unwrap_or_else(|| Arc::new(unknown));
    let mut response = match response.extensions().get::<Failed>() {
        Some(Failed(failure)) => draw(&console, &visit, failure, is_partial, &stood),
        None => response,
    };
    harden(response.headers_mut());
    // It has been told, unless what was answered is no page.
    if had_notice && response.status() == StatusCode::OK && !is_partial && !response.headers().contains_key(SET_COOKIE)
    {
        response.headers_mut().append(SET_COOKIE, cookies::set(cookies::NOTICE, "", 0));
    }
    response
}

/// On which page the person stood who asks, for after the login: a form and a part of a page are no page to go back to.
enum Stood {
    /// It is the page that is asked for.
    Here,
    On(Url),
    Unknown,
}

impl Stood {
    fn of(method: &Method, headers: &HeaderMap, is_partial: bool) -> Self {
        if *method == Method::GET && !is_partial {
            return Self::Here;
        }
        let referer = headers.get(REFERER).and_then(|referer| referer.to_str().ok());
        referer.and_then(|referer| Url::parse(referer).ok()).map_or(Self::Unknown, Self::On)
    }
}

fn draw(console: &Console, visit: &Arc<Visit>, failure: &Failure, is_partial: bool, stood: &Stood) -> Response {
    if matches!(failure, Failure::Login) {
        let there = match stood {
            Stood::Here => page::login_url(&visit.path, &visit.query),
            Stood::On(page) => page::login_url(page.path(), page.query().unwrap_or_default()),
            Stood::Unknown => page::login_url("/admin/", ""),
        };
        // A script follows a redirect without a word, so it is told where to go.
        let (status, header) = match is_partial {
            true => (StatusCode::UNAUTHORIZED, HeaderName::from_static("hx-redirect")),
            false => (StatusCode::SEE_OTHER, LOCATION),
        };
        return (status, [(header, there)]).into_response();
    }
    page::failure(console, visit, failure)
}

/// Whether a write was made by a page of ours. What the browser says of the page (`Sec-Fetch-Site`) counts first, then the page's
/// origin. No browser leaves both out on a form, so what does is a program, which no page can send.
fn is_ours(method: &Method, headers: &HeaderMap, host: &str, public_url: Option<&str>) -> bool {
    if matches!(*method, Method::GET | Method::HEAD | Method::OPTIONS) {
        return true;
    }
    let origin = headers.get(ORIGIN).map(|origin| origin.to_str().unwrap_or_default());
    let is_trusted = |origin: &str| public_url == Some(origin);
    let is_own = |origin: &str| {
        let rest = origin.strip_prefix("https://").or_else(|| origin.strip_prefix("http://"));
        rest.is_some_and(|rest| rest.eq_ignore_ascii_case(host))
    };
    match (headers.get("sec-fetch-site").map(HeaderValue::as_bytes), origin) {
        (Some(b"same-origin" | b"none"), _) | (None, None) => true,
        (Some(_), origin) => origin.is_some_and(is_trusted),
        (None, Some(origin)) => is_trusted(origin) || is_own(origin),
    }
}

fn harden(headers: &mut HeaderMap) {
    headers.entry(CONTENT_SECURITY_POLICY).or_insert(HeaderValue::from_static(POLICY));
    // `no-referrer` would make browsers send forms with `Origin: null`.
    headers.insert(REFERRER_POLICY, HeaderValue::from_static("same-origin"));
    headers.insert(HeaderName::from_static("cross-origin-opener-policy"), HeaderValue::from_static("same-origin"));
    headers.insert(HeaderName::from_static("cross-origin-resource-policy"), HeaderValue::from_static("same-origin"));
    headers.insert(
        HeaderName::from_static("permissions-policy"),
        HeaderValue::from_static("camera=(), microphone=(), geolocation=()"),
    );
    headers.entry(CACHE_CONTROL).or_insert(HeaderValue::from_static("no-store"));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_page_of_ours_may_write() {
        let ours = |site: &'static str, origin: &'static str| {
            let mut headers = HeaderMap::new();
            for (name, value) in [("sec-fetch-site", site), ("origin", origin)] {
                if !value.is_empty() {
                    headers.insert(name, HeaderValue::from_static(value));
                }
            }
            is_ours(&Method::POST, &headers, "recado.local:8000", Some("https://avisos.example.com"))
        };
        assert!(ours("same-origin", "http://recado.local:8000") && ours("none", "") && ours("", ""));
        assert!(ours("", "https://recado.local:8000") && ours("", "https://avisos.example.com"));
        assert!(ours("cross-site", "https://avisos.example.com"), "a proxy that rewrites the host");
        for (site, origin) in [
            ("cross-site", "https://evil.example.com"),
            ("same-site", "http://other.local:8000"),
            ("cross-site", ""),
            ("", "null"),
            ("", "https://recado.local.evil.example.com:8000"),
            ("cross-site", "http://recado.local:8000"),
        ] {
            assert!(!ours(site, origin), "{site} {origin}");
        }
        let evil = HeaderMap::from_iter([(ORIGIN, HeaderValue::from_static("https://evil.example.com"))]);
        assert!(is_ours(&Method::GET, &evil, "recado.local", None));
    }
}
