//! What is asked of every field of a request, and how it is told what is wrong with one.

use std::fmt::Display;

use chrono::{Datelike, NaiveDate};
use url::{Host, Url};

use crate::language::Sentence;

/// What is wrong with the fields of a record, each under its name on the wire. The API tells it in Spanish, and a page in the language
/// of its reader.
pub type Wrong = Vec<(&'static str, Sentence)>;

/// The field was not sent.
pub fn required() -> Sentence {
    Sentence::new("Este campo es requerido.", "This field is required.")
}

/// The field was sent, and there is nothing in it.
pub fn blank() -> Sentence {
    Sentence::new("Este campo no puede estar en blanco.", "This field may not be blank.")
}

/// The field is null.
pub fn null() -> Sentence {
    Sentence::new("Este campo no puede ser nulo.", "This field may not be null.")
}

/// The number is too small or too large.
pub fn between(least: impl Display, most: impl Display) -> Sentence {
    Sentence::new(format!("Debe estar entre {least} y {most}."), format!("It must be between {least} and {most}."))
}

/// Text fields hold no control characters, so that nothing of them ever ends a header or a line.
pub fn check_text<E: From<Sentence>>(
    errors: &mut Vec<(&'static str, E)>,
    field: &'static str,
    value: Option<&str>,
    longest: usize,
) {
    let Some(value) = value else { return };
    let mut wrong = |spanish: String, english: String| errors.push((field, Sentence::new(spanish, english).into()));
    if value.chars().any(char::is_control) {
        wrong(
            "No se permiten caracteres de control.".to_owned(),
            "Control characters are not allowed; remove them.".to_owned(),
        );
    }
    if value.chars().count() > longest {
        wrong(
            format!("Asegúrese de que este campo no tenga más de {longest} caracteres."),
            format!("This field may have {longest} characters at most."),
        );
    }
}

/// A URL that a browser can open: `http` or `https`, with a host that is a domain, `localhost` or an address (as Django's
/// `URLField`, without `ftp`).
pub fn check_url<E: From<Sentence>>(
    errors: &mut Vec<(&'static str, E)>,
    field: &'static str,
    value: Option<&str>,
    longest: usize,
) {
    check_text(errors, field, value, longest);
    if value.is_some_and(|value| !is_url(value)) && !errors.iter().any(|(named, _)| *named == field) {
        let wrong = Sentence::new(
            "Introduzca una URL válida, por ejemplo https://example.com/foto.jpg.",
            "Write a valid URL, for example https://example.com/foto.jpg.",
        );
        errors.push((field, wrong.into()));
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
pub fn check_day<E: From<Sentence>>(errors: &mut Vec<(&'static str, E)>, field: &'static str, day: Option<NaiveDate>) {
    if day.is_some_and(|day| !(1900..=2200).contains(&day.year())) {
        let wrong = Sentence::new("El año debe estar entre 1900 y 2200.", "The year must be between 1900 and 2200.");
        errors.push((field, wrong.into()));
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
