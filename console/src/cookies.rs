//! The cookies of the console, read and written by hand: there are three.

use axum::http::header::COOKIE;
use axum::http::{HeaderMap, HeaderValue};
use recado_kernel::host_names;
use recado_kernel::sessions;
use secrecy::{ExposeSecret, SecretString};

/// What was done a moment ago, told on the next page.
pub(crate) const NOTICE: &str = "recado_notice";

/// The language of a browser before a login.
pub(crate) const LANGUAGE: &str = "recado_language";

/// On this machine plain HTTP is as good as TLS, and a browser takes no `__Host-` cookie over it.
const LOCAL_SESSION: &str = "recado_session";

/// `__Host-`: only over TLS, for this host alone, and no other host can plant it (RFC 6265bis, section 4.1.3.2).
const SESSION: &str = "__Host-recado_session";

pub(crate) fn read(headers: &HeaderMap, name: &str) -> Option<String> {
    let lines = headers.get_all(COOKIE).iter().filter_map(|line| line.to_str().ok());
    let mut pairs = lines.flat_map(|line| line.split(';')).filter_map(|pair| pair.trim().split_once('='));
    pairs.find(|(found, _)| *found == name).map(|(_, value)| value.to_owned())
}

/// What the session's cookie holds.
pub(crate) fn session(headers: &HeaderMap, host: &str) -> Option<String> {
    read(headers, session_name(host)).filter(|token| !token.is_empty())
}

fn session_name(host: &str) -> &'static str {
    if host_names::is_loopback(host) { LOCAL_SESSION } else { SESSION }
}

/// Begins a session in the browser; an empty token ends it.
pub(crate) fn set_session(host: &str, token: &SecretString) -> HeaderValue {
    let name = session_name(host);
    let secure = if name == SESSION { "; Secure" } else { "" };
    let age = if token.expose_secret().is_empty() { 0 } else { sessions::LONGEST.as_secs() };
    let line = format!("{name}={}; Path=/; HttpOnly; SameSite=Lax; Max-Age={age}{secure}", token.expose_secret());
    let mut value = HeaderValue::try_from(line).expect("base64url is visible ASCII");
    value.set_sensitive(true);
    value
}

/// A cookie of this site that says nothing of a person. `value` must be free of `;` and blanks.
pub(crate) fn set(name: &str, value: &str, seconds: u32) -> HeaderValue {
    let line = format!("{name}={value}; Path=/admin; HttpOnly; SameSite=Strict; Max-Age={seconds}");
    HeaderValue::try_from(line).unwrap_or(HeaderValue::from_static(""))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn beyond_this_machine_a_session_wants_tls() {
        let line = |host: &str, token: &str| set_session(host, &token.into()).to_str().expect("ASCII").to_owned();
        let outside = line("avisos.example.com", "abc");
        assert!(outside.starts_with("__Host-recado_session=abc; Path=/; HttpOnly; SameSite=Lax"), "{outside}");
        assert!(outside.ends_with("; Secure") && outside.contains("Max-Age=604800"), "{outside}");
        assert!(!line("localhost:8000", "abc").contains("Secure") && line("localhost", "").contains("Max-Age=0"));
    }

    #[test]
    fn a_cookie_is_found_by_its_whole_name() {
        let headers = HeaderMap::from_iter([(COOKIE, HeaderValue::from_static("xa=1; a=2;a=3"))]);
        assert_eq!(read(&headers, "a").as_deref(), Some("2"));
        assert_eq!(read(&headers, "b"), None);
    }
}
