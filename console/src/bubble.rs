//! A WhatsApp message as a telephone shows it: its markup becomes tags, and nothing else does.

use std::fmt::Write;

use crate::page::Markup;

/// What WhatsApp makes of a pair of signs around words.
const MARKS: [(char, &str); 3] = [('*', "b"), ('_', "i"), ('~', "s")];

/// The text with `*bold*`, `_italic_` and `~struck~` drawn. A sign without its other half stays a sign.
pub(crate) fn whatsapp(text: &str) -> Markup {
    let lines: Vec<String> = text.lines().map(line).collect();
    Markup(lines.join("\n"))
}

fn line(text: &str) -> String {
    let mut drawn = String::with_capacity(text.len());
    let mut rest = text;
    let mut before = ' ';
    while let Some(one) = rest.chars().next() {
        let after = &rest[one.len_utf8()..];
        let mark = MARKS.iter().find(|(sign, _)| *sign == one).filter(|_| !before.is_alphanumeric());
        if let Some((sign, tag)) = mark
            && let Some(end) = closing(after, *sign)
        {
            drawn.push_str(&format!("<{tag}>{}</{tag}>", line(&after[..end])));
            rest = &after[end + sign.len_utf8()..];
            before = *sign;
            continue;
        }
        escape(&mut drawn, one);
        before = one;
        rest = after;
    }
    drawn
}

/// Where the words between two signs end: they begin and end with no blank, and no word goes on behind them.
fn closing(text: &str, sign: char) -> Option<usize> {
    if text.starts_with(|one: char| one.is_whitespace() || one == sign) {
        return None;
    }
    text.match_indices(sign).map(|(at, _)| at).find(|at| {
        let (words, behind) = (&text[..*at], &text[at + sign.len_utf8()..]);
        !words.ends_with(char::is_whitespace) && !behind.starts_with(char::is_alphanumeric)
    })
}

fn escape(drawn: &mut String, one: char) {
    match one {
        '<' | '>' | '&' | '"' | '\'' => {
            let _ = write!(drawn, "&#{};", u32::from(one));
        }
        one => drawn.push(one),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn markup_is_drawn_and_everything_else_is_text() {
        for (text, drawn) in [
            ("Hola, *María*: _todo_ ~mal~ bien", "Hola, <b>María</b>: <i>todo</i> <s>mal</s> bien"),
            ("*_los dos_*", "<b><i>los dos</i></b>"),
            ("2 * 3 * 4, a*b*c, *sin fin", "2 * 3 * 4, a*b*c, *sin fin"),
            ("<script>*x*</script>", "&#60;script&#62;<b>x</b>&#60;/script&#62;"),
            ("*a\nb*", "*a\nb*"),
        ] {
            assert_eq!(whatsapp(text).0, drawn, "{text}");
        }
    }
}
