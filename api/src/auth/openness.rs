//! Where no key is asked for: an API that was opened on purpose (d21), and `recado up` on this machine as long as there is no key
//! and nothing that is sent leaves the machine.

use axum::http::header::{CONTENT_LENGTH, CONTENT_TYPE, ORIGIN, REFERER, TRANSFER_ENCODING};
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderValue, Method};
use recado_kernel::api_keys;
use recado_kernel::host_names;
use recado_notifications::provider_accounts;

use crate::client;
use crate::cors;
use crate::extract::body::is_json;
use crate::problem::Problem;
use crate::state::Api;

/// Whether this request needs no credential. A write must prove that no page of another site made it.
///
/// # Errors
/// [`Problem::ForeignWrite`] for one that does not prove it, and when the database cannot be asked.
pub(crate) async fn lets_in(api: &Api, parts: &Parts) -> Result<bool, Problem> {
    let is_open = api.context.config.access.anonymous || (is_local(api, parts) && stands_open(api).await?);
    if is_open && !is_of_this_site(api, parts) {
        return Err(Problem::ForeignWrite);
    }
    Ok(is_open)
}

/// Whether `recado up` is open, and this machine asks: the console wants no login then.
pub(crate) async fn is_of_this_machine(api: &Api, parts: &Parts) -> Result<bool, Problem> {
    Ok(is_local(api, parts) && stands_open(api).await?)
}

/// Whether `recado up` is open to this machine now. It is asked for each request: a key that is made, and an account that is
/// added, close it.
pub(crate) async fn stands_open(api: &Api) -> Result<bool, Problem> {
    if !api.context.config.access.open_on_this_machine {
        return Ok(false);
    }
    let mut session = api.context.db.read().await?;
    let has_key = !api.context.config.access.api_keys.is_empty() || api_keys::any(&mut session).await?;
    Ok(!has_key && !provider_accounts::lead_out(&mut session, &api.context.config).await?)
}

/// Whether a program of this machine asks for itself, by a name of this machine.
fn is_local(api: &Api, parts: &Parts) -> bool {
    let (host, allowed) = (client::host(parts), &api.context.config.access.allowed_hosts);
    let is_ours = host_names::is_loopback(host) || (!allowed.is_empty() && allowed.allows(host));
    is_ours && client::is_on_this_machine(&parts.extensions, &parts.headers)
}

/// Browsers let any page send a POST with a form, with a text, or without a type (a "simple request" of the Fetch standard). For
/// everything else they ask first, and are told no. A POST of this site may come in any type, and so may one without a body of a
/// program that is no browser: those name the page's origin.
fn is_of_this_site(api: &Api, parts: &Parts) -> bool {
    let own = client::host(parts);
    parts.method != Method::POST
        || parts.headers.get(CONTENT_TYPE).is_some_and(is_json)
        || is_bare(&parts.headers)
        || is_proven(&parts.headers, own, |origin| cors::is_trusted(&api.context.config, origin))
}

/// Whether a POST says nothing, as `curl -X POST` does, and comes from no browser.
fn is_bare(headers: &HeaderMap) -> bool {
    let names_something =
        [CONTENT_TYPE, TRANSFER_ENCODING, ORIGIN, REFERER].iter().any(|name| headers.contains_key(name))
            || ["sec-fetch-site", "sec-fetch-mode"].iter().any(|name| headers.contains_key(*name));
    !names_something && headers.get(CONTENT_LENGTH).is_none_or(|length| length == "0")
}

fn is_proven(headers: &HeaderMap, own: &str, is_trusted: impl Fn(&HeaderValue) -> bool) -> bool {
    let site = headers.get("sec-fetch-site").map(HeaderValue::as_bytes);
    let origin = headers.get(ORIGIN);
    let is_own = |origin: &HeaderValue| {
        let origin = origin.to_str().unwrap_or_default();
        let host = origin.strip_prefix("http://").or_else(|| origin.strip_prefix("https://"));
        host.is_some_and(|host| host.eq_ignore_ascii_case(own))
    };
    match (site, origin) {
        // What the browser says of the page counts before what it says of its address.
        (Some(b"same-origin" | b"none"), _) => true,
        (_, Some(origin)) => is_trusted(origin) || (site.is_none() && is_own(origin)),
        (_, None) => false,
    }
}

#[cfg(test)]
mod tests {
    use axum::http::HeaderName;

    use super::*;

    #[test]
    fn a_post_that_says_nothing_comes_from_no_browser() {
        let bare = |name: &'static str, value: &'static str| {
            is_bare(&HeaderMap::from_iter([(HeaderName::from_static(name), HeaderValue::from_static(value))]))
        };
        assert!(is_bare(&HeaderMap::new()) && bare("content-length", "0") && bare("user-agent", "curl/8"));
        for name in ["origin", "referer", "sec-fetch-site", "content-type", "transfer-encoding"] {
            assert!(!bare(name, ""), "{name}");
        }
        assert!(!bare("content-length", "2"));
    }

    #[test]
    fn a_browser_says_whose_page_it_is() {
        let proven = |site: &'static str, origin: &'static str| {
            let mut headers = HeaderMap::new();
            for (name, value) in [("sec-fetch-site", site), ("origin", origin)] {
                if !value.is_empty() {
                    headers.insert(name, HeaderValue::from_static(value));
                }
            }
            is_proven(&headers, "localhost:8000", |origin| origin == "https://app.example.com")
        };
        assert!(proven("same-origin", "") && proven("none", "") && proven("same-origin", "http://localhost:8000"));
        assert!(proven("", "http://localhost:8000") && proven("cross-site", "https://app.example.com"));
        for (site, origin) in [
            ("", ""),
            ("", "null"),
            ("", "http://localhost:3000"),
            ("", "http://evil.example.com"),
            ("cross-site", "http://localhost:8000"),
            ("same-site", "http://localhost:3000"),
            ("cross-site", ""),
        ] {
            assert!(!proven(site, origin), "{site} {origin}");
        }
    }
}
