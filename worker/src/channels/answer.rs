//! What is kept of a provider's answer.

/// How much of a provider's answer is kept, in characters.
pub(crate) const MAX_ANSWER_CHARS: usize = 500;

/// The beginning of a provider's answer, on one line, without `secret`.
pub(super) fn excerpt(answer: &str, secret: Option<&str>) -> String {
    let clean = match secret.filter(|secret| !secret.is_empty()) {
        Some(secret) => answer.replace(secret, "***"),
        None => answer.to_owned(),
    };
    let one_line: String = clean.chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
    shorten(one_line.trim(), MAX_ANSWER_CHARS)
}

/// At most `limit` characters; an ellipsis stands for what was cut.
pub(super) fn shorten(text: &str, limit: usize) -> String {
    match text.char_indices().nth(limit) {
        None => text.to_owned(),
        Some(_) => text.chars().take(limit.saturating_sub(1)).chain(['…']).collect(),
    }
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
}
