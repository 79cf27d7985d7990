//! HTML bodies: how one is told, and how values are written into it.

use minijinja::value::{Value, ValueKind};
use minijinja::{AutoEscape, Error, Output, State};

/// The elements by which an HTML body is known.
const ELEMENTS: &str = "\
    a article b blockquote body br button center code div em font footer h1 h2 h3 h4 h5 h6 head header hr html i \
    img li main ol p pre s section small span strong style sub sup table tbody td th thead title tr u ul";

/// Whether a text is HTML: it has at least one tag of a usual element. `a < b` and `<María>` are not.
pub fn looks_like_html(text: &str) -> bool {
    text.split('<').skip(1).any(|rest| {
        let rest = rest.strip_prefix('/').unwrap_or(rest);
        let end = rest.find(|c: char| !c.is_ascii_alphanumeric()).unwrap_or(rest.len());
        let (name, rest) = rest.split_at(end);
        let ends = rest.starts_with(|c: char| c == '>' || c == '/' || c.is_ascii_whitespace());
        ends && rest.contains('>') && ELEMENTS.split(' ').any(|element| element.eq_ignore_ascii_case(name))
    })
}

/// Writes a value into a message: as text, escaped where the body is HTML.
pub(super) fn write_value(out: &mut Output, state: &mut State, value: &Value) -> Result<(), Error> {
    let made;
    let text = match (value.as_str(), value.kind()) {
        (Some(text), _) => text,
        (None, ValueKind::Bool) if value.is_true() => "true",
        (None, ValueKind::Bool) => "false",
        (None, _) => {
            made = value.to_string();
            &made
        }
    };
    if matches!(state.auto_escape(), AutoEscape::Html) && !value.is_safe() {
        write_escaped(out, text)?;
    } else {
        out.write_str(text)?;
    }
    Ok(())
}

/// Escapes the five characters that mean something in HTML. The engine's own writer escapes `/` too, which makes
/// dates and links unreadable in the source of a mail and protects nothing.
fn write_escaped(out: &mut Output, text: &str) -> std::fmt::Result {
    let mut rest = text;
    while let Some(at) = rest.find(['&', '<', '>', '"', '\'']) {
        out.write_str(&rest[..at])?;
        out.write_str(match rest.as_bytes()[at] {
            b'&' => "&amp;",
            b'<' => "&lt;",
            b'>' => "&gt;",
            b'"' => "&quot;",
            _ => "&#x27;",
        })?;
        rest = &rest[at + 1..];
    }
    out.write_str(rest)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn html_is_told_by_its_tags() {
        for html in ["<p>Hola</p>", "Hola<br>", "Hola<BR/>", "<a href=\"x\">y</a>", "fin</strong> ", "<h2\nclass=x>"] {
            assert!(looks_like_html(html), "{html}");
        }
        for plain in ["", "Hola", "1 < 2 y 3 > 2", "<María>", "<b", "<pq>", "<a@example.com>", "< p>"] {
            assert!(!looks_like_html(plain), "{plain}");
        }
    }
}
