//! A WhatsApp message as phones show it: `*bold*`, `_italic_`, `~struck~` and ```` ```monospace``` ````, as safe HTML.

use crate::page::Markup;

/// The marks of a line, each with the element that it makes.
const MARKS: [(char, &str); 3] = [('*', "b"), ('_', "i"), ('~', "s")];

const CODE: &str = "```";

/// The message as HTML. Everything in it is escaped, and marks that do not pair stay as they are.
pub(crate) fn bubble(text: &str) -> Markup {
    let mut shown = String::with_capacity(text.len() * 2);
    let mut rest = text;
    while let Some((before, code, after)) = coded(rest) {
        lines(before, &mut shown);
        shown.push_str("<code>");
        escape(code, &mut shown);
        shown.push_str("</code>");
        rest = after;
    }
    lines(rest, &mut shown);
    Markup(shown)
}

/// The text around the first passage between two code marks.
fn coded(text: &str) -> Option<(&str, &str, &str)> {
    let (before, rest) = text.split_once(CODE)?;
    let (code, after) = rest.split_once(CODE).filter(|(code, _)| !code.trim().is_empty())?;
    Some((before, code, after))
}

/// Marks pair within a line only.
fn lines(text: &str, shown: &mut String) {
    for (number, line) in text.split('\n').enumerate() {
        if number > 0 {
            shown.push_str("<br>");
        }
        marked(line, shown, MARKS.len());
    }
}

/// `depth` bounds how often marks stand in each other: each of them once.
fn marked(text: &str, shown: &mut String, depth: usize) {
    let mut rest = text;
    while let Some((start, end, element)) = first_pair(rest).filter(|_| depth > 0) {
        escape(&rest[..start], shown);
        shown.push_str(&format!("<{element}>"));
        marked(&rest[start + 1..end], shown, depth - 1);
        shown.push_str(&format!("</{element}>"));
        rest = &rest[end + 1..];
    }
    escape(rest, shown);
}

/// The first mark that opens with its partner: no letter before it, no blank behind it, and the other way round.
fn first_pair(text: &str) -> Option<(usize, usize, &'static str)> {
    let is_word = |one: Option<char>| one.is_some_and(char::is_alphanumeric);
    let is_blank = |one: Option<char>| one.is_none_or(char::is_whitespace);
    let mut tried = [false; MARKS.len()];
    for (start, mark) in text.char_indices() {
        let Some(which) = MARKS.iter().position(|(one, _)| *one == mark).filter(|which| !tried[*which]) else {
            continue;
        };
        let (before, inside) = (&text[..start], &text[start + 1..]);
        if is_word(before.chars().next_back()) || is_blank(inside.chars().next()) || inside.starts_with(mark) {
            continue;
        }
        let closes = inside.match_indices(mark).find(|(at, _)| {
            *at > 0 && !is_blank(inside[..*at].chars().next_back()) && !is_word(inside[*at + 1..].chars().next())
        });
        match closes {
            Some((at, _)) => return Some((start, start + 1 + at, MARKS[which].1)),
            // Further ones of this kind find no partner either.
            None => tried[which] = true,
        }
    }
    None
}

fn escape(text: &str, shown: &mut String) {
    for one in text.chars() {
        match one {
            '&' => shown.push_str("&amp;"),
            '<' => shown.push_str("&lt;"),
            '>' => shown.push_str("&gt;"),
            '"' => shown.push_str("&quot;"),
            '\'' => shown.push_str("&#39;"),
            one => shown.push(one),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn marks_are_shown_as_phones_show_them() {
        for (text, html) in [
            ("Hola, *María*", "Hola, <b>María</b>"),
            ("*_ambas_*", "<b><i>ambas</i></b>"),
            ("~no~ _sí_", "<s>no</s> <i>sí</i>"),
            ("2*3*4", "2*3*4"),
            ("* no *", "* no *"),
            ("a_b_c", "a_b_c"),
            ("*uno\ndos*", "*uno<br>dos*"),
            ("```<b>*x*</b>```", "<code>&lt;b&gt;*x*&lt;/b&gt;</code>"),
            ("```", "```"),
            ("*uno* y *dos*", "<b>uno</b> y <b>dos</b>"),
            ("**", "**"),
            ("*", "*"),
            ("*ñandú*.", "<b>ñandú</b>."),
        ] {
            assert_eq!(bubble(text).0, html, "{text}");
        }
    }

    #[test]
    fn nothing_of_it_is_html() {
        let shown = bubble("<script>alert('1')</script> *<img src=x onerror=\"y\">*").0;
        assert!(!shown.contains("<script") && !shown.contains("<img") && shown.contains("<b>&lt;img"), "{shown}");
    }
}
