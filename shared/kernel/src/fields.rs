//! What is asked of every field of a request.

use chrono::{Datelike, NaiveDate};
use url::{Host, Url};

/// Text fields hold no control characters, so that nothing of them ever ends a header or a line.
pub fn check_text(errors: &mut Vec<(&'static str, String)>, field: &'static str, value: Option<&str>, longest: usize) {
    let Some(value) = value else { return };
    if value.chars().any(char::is_control) {
        errors.push((field, "No se permiten caracteres de control.".to_owned()));
    }
    if value.chars().count() > longest {
        errors.push((field, format!("Asegúrese de que este campo no tenga más de {longest} caracteres.")));
    }
}

/// A URL that a browser can open: `http` or `https`, with a host that is a domain, `localhost` or an address (as Django's
/// `URLField`, without `ftp`).
pub fn check_url(errors: &mut Vec<(&'static str, String)>, field: &'static str, value: Option<&str>, longest: usize) {
    check_text(errors, field, value, longest);
    if value.is_some_and(|value| !is_url(value)) && !errors.iter().any(|(named, _)| *named == field) {
        errors.push((field, "Introduzca una URL válida, por ejemplo https://example.com/foto.jpg.".to_owned()));
    }
}

fn is_url(text: &str) -> bool {
    // The parser reads `https:example.com` too, and drops blanks and tabs, as browsers do.
    let is_absolute = text.split_once("://").is_some_and(|(_, rest)| !rest.starts_with(['/', '\\']));
    if !is_absolute || text.contains(char::is_whitespace) {
        return false;
    }
    let Ok(url) = Url::parse(text) else { return false };
    let is_host = match url.host() {
        Some(Host::Domain(domain)) => domain == "localhost" || is_domain(domain),
        Some(Host::Ipv4(_) | Host::Ipv6(_)) => true,
        None => false,
    };
    matches!(url.scheme(), "http" | "https") && is_host
}

/// Labels of letters, digits and hyphens with a dot between them.
fn is_domain(domain: &str) -> bool {
    let is_label = |label: &str| {
        let is_inside = label.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_'));
        (1..=63).contains(&label.len()) && is_inside && !label.starts_with('-') && !label.ends_with('-')
    };
    let domain = domain.strip_suffix('.').unwrap_or(domain);
    domain.contains('.') && domain.split('.').all(is_label)
}

/// The day of something that happened or will: `null`, or in a year between 1900 and 2200.
pub fn check_day(errors: &mut Vec<(&'static str, String)>, field: &'static str, day: Option<NaiveDate>) {
    if day.is_some_and(|day| !(1900..=2200).contains(&day.year())) {
        errors.push((field, "El año debe estar entre 1900 y 2200.".to_owned()));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls_are_told_from_other_texts() {
        for good in [
            "https://example.com/foto.jpg",
            "HTTP://Example.com",
            "http://localhost:9000/media/x.png?size=2#top",
            "https://10.0.0.7/a",
            "https://[::1]/a",
            "https://señal.ec/ñ",
            "https://bucket_1.s3.amazonaws.com/a%20b",
        ] {
            assert!(is_url(good), "{good}");
        }
        for bad in [
            "foto.jpg",
            "/media/foto.jpg",
            "//example.com/foto.jpg",
            "https:example.com",
            "https:///example.com",
            "https://",
            "http://foto",
            "http://-a.com",
            "http://a..com",
            "https://exa mple.com",
            "https://example.com/a b",
            "ftp://example.com/a",
            "javascript:alert(1)",
            "data:image/png;base64,AA==",
            "S/N",
        ] {
            assert!(!is_url(bad), "{bad}");
        }
    }
}
