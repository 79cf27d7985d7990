//! What is kept of what providers say. Strangers' words pass here once, in the adapter, before a statement, a log line or
//! a page sees them: bounded, on one line, of letters that both databases take.

/// How much of a provider's answer is kept, in characters.
pub(crate) const MAX_ANSWER_CHARS: usize = 500;

/// The longest name under which a provider may file a message, in bytes. Evolution's have 32, and an entry of PostgreSQL's
/// index holds 2,700.
pub(crate) const MAX_MESSAGE_ID_BYTES: usize = 255;

/// The beginning of a provider's answer, on one line, without `secret`. Adapters read no more of an answer than fits their own
/// bounds, so that looking for the secret everywhere is cheap.
pub(super) fn excerpt(answer: &str, secret: Option<&str>) -> String {
    let secret = secret.filter(|secret| !secret.is_empty() && answer.contains(secret));
    let clean = match secret {
        Some(secret) => one_line(&answer.replace(secret, "***")),
        None => one_line(answer),
    };
    shorten(clean.trim(), MAX_ANSWER_CHARS)
}

/// The name that a provider gave a message, where it can be kept. A name that is too long or holds what no name does is
/// none: cut to size it would be another message's.
pub(super) fn message_id(said: &str) -> Option<String> {
    let fits = !said.is_empty() && said.len() <= MAX_MESSAGE_ID_BYTES && !said.contains(is_unprintable);
    fits.then(|| said.to_owned())
}

/// At most `limit` characters; an ellipsis stands for what was cut.
pub(super) fn shorten(text: &str, limit: usize) -> String {
    match text.char_indices().nth(limit) {
        None => text.to_owned(),
        Some(_) => beginning(text, limit.saturating_sub(1)).to_owned() + "…",
    }
}

fn beginning(text: &str, chars: usize) -> &str {
    text.char_indices().nth(chars).map_or(text, |(end, _)| &text[..end])
}

fn one_line(text: &str) -> String {
    text.chars().map(|c| if is_unprintable(c) { ' ' } else { c }).collect()
}

/// Control characters (PostgreSQL refuses NUL, terminals obey the rest), line ends, and the marks that turn the direction of
/// what stands after them.
fn is_unprintable(c: char) -> bool {
    c.is_control() || matches!(c, '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}' | '\u{feff}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_are_kept_short_and_without_secrets() {
        assert_eq!(excerpt("apikey KEY-1\r\nis wrong ", Some("KEY-1")), "apikey ***  is wrong");
        assert_eq!(excerpt("as it is", Some("")), "as it is");
        assert_eq!(excerpt(&"ñ".repeat(501), None).chars().count(), MAX_ANSWER_CHARS);
        assert!(excerpt(&"ñ".repeat(501), None).ends_with("ñ…"));
        assert_eq!(excerpt(&"ñ".repeat(500), None), "ñ".repeat(500));
    }

    #[test]
    fn no_part_of_a_secret_is_left_at_the_place_where_an_answer_is_cut() {
        for before in MAX_ANSWER_CHARS - 6..=MAX_ANSWER_CHARS + 1 {
            let kept = excerpt(&format!("{}SECRET{}", "ñ".repeat(before), "x".repeat(600)), Some("SECRET"));
            assert!(kept.chars().count() == MAX_ANSWER_CHARS && !kept.contains('S'), "{before}: {kept}");
        }
    }

    /// NUL, control characters and direction marks of a stranger reach neither a database nor a terminal.
    #[test]
    fn what_a_stranger_says_fits_a_row() {
        assert_eq!(excerpt("\u{feff}\0a\0b\u{1b}[2J\u{202e}c\u{2028}d\u{9f}", None), "a b [2J c d");
        assert_eq!(excerpt(&"\0".repeat(40_000), None), "");
        assert_eq!(excerpt(&"x".repeat(40_000), None).len(), MAX_ANSWER_CHARS - 1 + "…".len());
    }

    #[test]
    fn a_name_that_does_not_fit_is_none() {
        assert_eq!(message_id("3EB0C767D097B7C7C4D3").as_deref(), Some("3EB0C767D097B7C7C4D3"));
        assert_eq!(message_id(&"x".repeat(MAX_MESSAGE_ID_BYTES)).map(|id| id.len()), Some(MAX_MESSAGE_ID_BYTES));
        for wrong in [String::new(), "a\0b".to_owned(), "a\nb".to_owned(), "x".repeat(40_000)] {
            assert_eq!(message_id(&wrong), None);
        }
    }
}
