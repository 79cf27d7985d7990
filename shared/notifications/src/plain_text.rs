//! HTML as text that people can read.
//!
//! One pass over the letters, whatever they are: the time and the length of the result grow with the length of the document and
//! with nothing else. Neither depth nor spans nor the number of cells count, because no tree is built and no table is laid out.
//! A renderer of tables was kept busy for minutes by 10 kB of nested rows.

use std::collections::HashMap;

/// How far lists and quotations are indented. Deeper ones stand as far in, or an indentation would grow with the square of
/// the length.
const MAX_DEPTH: usize = 6;

/// The words of an HTML document, with its links as footnotes.
pub fn plain_text(html: &str) -> String {
    let mut writer = Writer::with_capacity(html.len() / 2);
    let mut rest = html;
    while let Some(start) = rest.find('<') {
        writer.text(&rest[..start]);
        let (tag, behind) = tag(&rest[start..]);
        rest = behind;
        match tag {
            Tag::Text(text) => writer.text(text),
            Tag::None => {}
            Tag::Open(name, attributes) => {
                let name = name.to_ascii_lowercase();
                if is_hidden(&name) {
                    rest = behind_end_tag(rest, &name);
                } else {
                    writer.open(&name, attributes);
                }
            }
            Tag::Close(name) => writer.close(&name.to_ascii_lowercase()),
        }
    }
    writer.text(rest);
    writer.finish()
}

/// What begins with `<`.
enum Tag<'h> {
    Open(&'h str, &'h str),
    Close(&'h str),
    /// A comment or a declaration.
    None,
    /// No tag after all.
    Text(&'h str),
}

/// The tag at the beginning of `html`, and what stands behind it. A tag without an end reaches to the end of the document.
fn tag(html: &str) -> (Tag<'_>, &str) {
    if let Some(comment) = html.strip_prefix("<!--") {
        return (Tag::None, comment.split_once("-->").map_or("", |(_, behind)| behind));
    }
    let (inside, is_end) = html[1..].strip_prefix('/').map_or((&html[1..], false), |inside| (inside, true));
    let first = inside.chars().next();
    if first.is_some_and(|first| matches!(first, '!' | '?')) {
        return (Tag::None, inside.split_once('>').map_or("", |(_, behind)| behind));
    }
    if !first.is_some_and(|first| first.is_ascii_alphabetic()) {
        return (Tag::Text("<"), &html[1..]);
    }
    let name = inside.find(|c: char| c.is_ascii_whitespace() || matches!(c, '/' | '>')).unwrap_or(inside.len());
    let (name, attributes) = inside.split_at(name);
    let end = end_of_tag(attributes);
    let behind = attributes.get(end + 1..).unwrap_or("");
    let attributes = attributes.get(..end).unwrap_or(attributes);
    (if is_end { Tag::Close(name) } else { Tag::Open(name, attributes) }, behind)
}

/// Where the `>` stands that no quotes hide. Quotes count behind `=` only, as in `title=5">`.
fn end_of_tag(attributes: &str) -> usize {
    let (mut quote, mut after_equals) = (None, false);
    for (at, byte) in attributes.bytes().enumerate() {
        match (quote, byte) {
            (Some(open), _) if byte == open => quote = None,
            (None, b'>') => return at,
            (None, b'"' | b'\'') if after_equals => quote = Some(byte),
            (Some(_) | None, _) => {}
        }
        after_equals = byte == b'=' || (after_equals && byte.is_ascii_whitespace());
    }
    attributes.len()
}

/// The value of an attribute; the first one counts.
fn attribute<'h>(attributes: &'h str, wanted: &str) -> Option<&'h str> {
    let mut rest = attributes;
    loop {
        rest = rest.trim_start_matches(|c: char| c.is_ascii_whitespace() || c == '/');
        if rest.is_empty() {
            return None;
        }
        // The first letter belongs to the name, whatever it is: `=` too (HTML, section 13.2.5.32).
        let mut letters = rest.char_indices().skip(1);
        let end = letters.find(|(_, c)| c.is_ascii_whitespace() || matches!(c, '=' | '/')).map(|(end, _)| end);
        let (name, behind) = rest.split_at(end.unwrap_or(rest.len()));
        let Some(value) = behind.trim_start().strip_prefix('=').map(str::trim_start) else {
            rest = behind;
            continue;
        };
        let (value, behind) = match value.chars().next() {
            Some(quote @ ('"' | '\'')) => value[1..].split_once(quote).unwrap_or((&value[1..], "")),
            _ => value.split_at(value.find(|c: char| c.is_ascii_whitespace()).unwrap_or(value.len())),
        };
        if name.eq_ignore_ascii_case(wanted) {
            return Some(value);
        }
        rest = behind;
    }
}

/// Elements that hold no words to be read, and no tags either: they reach to their end tag, or to the end of the document.
fn is_hidden(name: &str) -> bool {
    matches!(name, "script" | "style" | "title" | "textarea" | "xmp" | "iframe" | "noembed" | "noframes")
}

/// What stands behind the end tag of `name`; nothing, when there is none.
fn behind_end_tag<'h>(html: &'h str, name: &str) -> &'h str {
    let mut rest = html;
    while let Some(start) = rest.find("</") {
        rest = &rest[start + 2..];
        if rest.get(..name.len()).is_some_and(|found| found.eq_ignore_ascii_case(name)) {
            return rest.split_once('>').map_or("", |(_, behind)| behind);
        }
    }
    ""
}

/// What is to come before the next word.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Gap {
    Nothing,
    Blank,
    Line,
    Paragraph,
}

/// The text as it grows.
struct Writer {
    text: String,
    gap: Gap,
    /// Lists around this place: the number of the next item, or none where they are not counted.
    lists: Vec<Option<usize>>,
    quotes: usize,
    /// `<pre>`: blanks and line ends count.
    verbatim: usize,
    /// The mark of an item that has not begun yet.
    bullet: Option<String>,
    cells: usize,
    link: Option<Link>,
    notes: Notes,
}

/// A link whose words are being written.
struct Link {
    target: String,
    start: usize,
}

/// The targets of links, each once.
#[derive(Default)]
struct Notes {
    numbers: HashMap<String, usize>,
    targets: Vec<String>,
}

impl Writer {
    fn with_capacity(capacity: usize) -> Self {
        Self {
            text: String::with_capacity(capacity),
            gap: Gap::Nothing,
            lists: Vec::new(),
            quotes: 0,
            verbatim: 0,
            bullet: None,
            cells: 0,
            link: None,
            notes: Notes::default(),
        }
    }

    fn text(&mut self, html: &str) {
        if html.is_empty() {
            return;
        }
        let decoded;
        let text = if html.contains('&') {
            decoded = entities(html);
            decoded.as_str()
        } else {
            html
        };
        if self.verbatim > 0 {
            return self.lines(text);
        }
        if text.starts_with(is_blank) {
            self.widen(Gap::Blank);
        }
        for word in text.split(is_blank).filter(|word| !word.is_empty()) {
            self.word(word);
            self.gap = Gap::Blank;
        }
        if !text.ends_with(is_blank) && self.gap == Gap::Blank {
            self.gap = Gap::Nothing;
        }
    }

    fn lines(&mut self, text: &str) {
        for (number, line) in text.split('\n').enumerate() {
            if number > 0 {
                self.close_gap();
                self.text.push('\n');
            }
            if !line.trim().is_empty() {
                self.word(line.trim_end_matches('\r'));
            }
        }
    }

    fn word(&mut self, word: &str) {
        self.close_gap();
        if self.text.is_empty() || self.text.ends_with('\n') {
            self.indent();
        }
        if word.bytes().all(|byte| byte.is_ascii_graphic()) {
            return self.text.push_str(word);
        }
        // What no mail and no terminal should hold.
        self.text.extend(word.chars().filter(|c| !c.is_control() && !matches!(c, '\u{ad}' | '\u{200b}' | '\u{feff}')));
    }

    fn indent(&mut self) {
        self.text.push_str(&"> ".repeat(self.quotes.min(MAX_DEPTH)));
        let depth = self.lists.len().min(MAX_DEPTH);
        match self.bullet.take() {
            Some(bullet) => {
                self.text.push_str(&"  ".repeat(depth.saturating_sub(1)));
                self.text.push_str(&bullet);
            }
            None => self.text.push_str(&"  ".repeat(depth)),
        }
    }

    fn widen(&mut self, gap: Gap) {
        self.gap = self.gap.max(gap);
    }

    fn close_gap(&mut self) {
        let gap = std::mem::replace(&mut self.gap, Gap::Nothing);
        if self.text.is_empty() {
            return;
        }
        let wanted = match gap {
            Gap::Nothing => return,
            Gap::Blank if self.text.ends_with(['\n', ' ']) => return,
            Gap::Blank => return self.text.push(' '),
            Gap::Line => "\n",
            Gap::Paragraph => "\n\n",
        };
        self.text.truncate(self.text.trim_end_matches([' ', '\n']).len());
        self.text.push_str(wanted);
    }

    fn open(&mut self, name: &str, attributes: &str) {
        match name {
            "br" => self.line_end(),
            // The paragraph of an item that has only begun.
            "p" if self.bullet.is_some() => {}
            "p" | "table" | "pre" | "form" | "figure" | "dl" => self.widen(Gap::Paragraph),
            "blockquote" => {
                self.widen(Gap::Paragraph);
                self.quotes += 1;
            }
            "h1" | "h2" | "h3" | "h4" | "h5" | "h6" => {
                self.widen(Gap::Paragraph);
                let level = usize::from(name.as_bytes()[1] - b'0');
                let item = self.bullet.take().unwrap_or_default();
                // A heading in a heading is none of its own, or the marks would add up.
                let item = if item.ends_with("# ") { "" } else { item.as_str() };
                self.bullet = Some(format!("{item}{} ", "#".repeat(level)));
            }
            "ul" | "ol" => {
                self.widen(if self.lists.is_empty() { Gap::Paragraph } else { Gap::Line });
                self.lists.push((name == "ol").then_some(1));
            }
            "li" => self.item(),
            "hr" => {
                self.widen(Gap::Paragraph);
                self.word("----------");
                self.widen(Gap::Paragraph);
            }
            "tr" => {
                self.widen(Gap::Line);
                self.cells = 0;
            }
            "td" | "th" => self.cell(),
            "img" => {
                let alt = attribute(attributes, "alt").unwrap_or_default();
                self.text(alt);
            }
            "a" => self.begin_link(attributes),
            _ if is_block(name) => self.widen(Gap::Line),
            _ => {}
        }
        if name == "pre" {
            self.verbatim += 1;
        }
    }

    fn close(&mut self, name: &str) {
        match name {
            "p" | "table" | "form" | "figure" | "dl" | "h1" | "h2" | "h3" | "h4" | "h5" | "h6" => {
                self.bullet = None;
                self.widen(Gap::Paragraph);
            }
            "pre" => {
                self.verbatim = self.verbatim.saturating_sub(1);
                self.widen(Gap::Paragraph);
            }
            "blockquote" => {
                self.quotes = self.quotes.saturating_sub(1);
                self.widen(Gap::Paragraph);
            }
            "ul" | "ol" => {
                self.lists.pop();
                self.bullet = None;
                self.widen(if self.lists.is_empty() { Gap::Paragraph } else { Gap::Line });
            }
            "li" | "tr" => self.widen(Gap::Line),
            "a" => self.end_link(),
            _ if is_block(name) => self.widen(Gap::Line),
            _ => {}
        }
    }

    /// `<br>`: a second one makes an empty line, more do not.
    fn line_end(&mut self) {
        self.gap = match self.gap {
            Gap::Nothing | Gap::Blank => Gap::Line,
            Gap::Line | Gap::Paragraph => Gap::Paragraph,
        };
    }

    fn item(&mut self) {
        self.widen(Gap::Line);
        self.bullet = Some(match self.lists.last_mut() {
            Some(Some(number)) => {
                *number += 1;
                format!("{}. ", *number - 1)
            }
            Some(None) | None => "* ".to_owned(),
        });
    }

    /// Cells of a row stand in one line. Layout tables have one cell in a row, which shows nothing.
    fn cell(&mut self) {
        let row_has_words = self.gap < Gap::Line && !self.text.is_empty() && !self.text.ends_with(['\n', '|']);
        if self.cells > 0 && row_has_words {
            self.close_gap();
            self.text.truncate(self.text.trim_end_matches(' ').len());
            self.text.push_str(" |");
            self.gap = Gap::Blank;
        }
        self.cells += 1;
    }

    fn begin_link(&mut self, attributes: &str) {
        self.end_link();
        let target = attribute(attributes, "href").map(|href| entities(href.trim())).unwrap_or_default();
        let leads_somewhere = ["http://", "https://", "mailto:", "tel:", "whatsapp:"]
            .iter()
            .any(|scheme| target.get(..scheme.len()).is_some_and(|begin| begin.eq_ignore_ascii_case(scheme)));
        if leads_somewhere {
            self.link = Some(Link { target, start: self.text.trim_end_matches([' ', '\n']).len() });
        }
    }

    /// A link is a footnote, unless its words are its target.
    fn end_link(&mut self) {
        let Some(Link { target, start }) = self.link.take() else { return };
        let words = self.text.get(start..).unwrap_or_default().trim();
        let bare = target.split_once("://").or_else(|| target.split_once(':')).map_or("", |(_, bare)| bare);
        if words.contains(target.as_str()) || words.trim_end_matches('/') == bare.trim_end_matches('/') {
            return;
        }
        let gap = self.gap;
        if words.is_empty() {
            // A picture without a text, perhaps: the way is worth more than nothing.
            self.word(&target);
        } else {
            let number = self.notes.number(&target);
            self.gap = Gap::Blank;
            self.word(&format!("[{number}]"));
        }
        self.gap = gap;
    }

    fn finish(mut self) -> String {
        self.end_link();
        self.text.truncate(self.text.trim_end().len());
        if !self.notes.targets.is_empty() {
            self.text.push_str("\n\n");
            let notes = self.notes.targets.iter().zip(1..).map(|(target, number)| format!("[{number}] {target}"));
            self.text.push_str(&notes.collect::<Vec<_>>().join("\n"));
        }
        self.text
    }
}

impl Notes {
    fn number(&mut self, target: &str) -> usize {
        if let Some(number) = self.numbers.get(target) {
            return *number;
        }
        let target: String = target.chars().filter(|c| !c.is_control()).collect();
        self.targets.push(target.clone());
        self.numbers.insert(target, self.targets.len());
        self.targets.len()
    }
}

/// Blanks of HTML; the one that does not break stays.
fn is_blank(c: char) -> bool {
    matches!(c, ' ' | '\n' | '\r' | '\t' | '\u{c}')
}

fn is_block(name: &str) -> bool {
    matches!(
        name,
        "div"
            | "section"
            | "article"
            | "header"
            | "footer"
            | "main"
            | "nav"
            | "aside"
            | "address"
            | "center"
            | "body"
            | "head"
            | "html"
            | "tbody"
            | "thead"
            | "tfoot"
            | "caption"
            | "dt"
            | "dd"
            | "fieldset"
            | "legend"
            | "option"
            | "figcaption"
            | "details"
            | "summary"
    )
}

/// The text with its character references read. One that is not known stays as it stands.
fn entities(html: &str) -> String {
    let mut text = String::with_capacity(html.len());
    let mut rest = html;
    while let Some(start) = rest.find('&') {
        text.push_str(&rest[..start]);
        rest = &rest[start + 1..];
        // No name that is known is longer.
        let end = rest.bytes().take(10).position(|byte| byte == b';');
        let letter = end.and_then(|end| reference(rest.get(..end)?));
        match (letter, end) {
            (Some(letter), Some(end)) => {
                text.push(letter);
                rest = &rest[end + 1..];
            }
            _ => text.push('&'),
        }
    }
    text.push_str(rest);
    text
}

fn reference(name: &str) -> Option<char> {
    if let Some(number) = name.strip_prefix('#') {
        let number = match number.strip_prefix(['x', 'X']) {
            Some(hex) => u32::from_str_radix(hex, 16),
            None => number.parse(),
        };
        return char::from_u32(number.ok()?);
    }
    NAMES.iter().find(|(known, _)| *known == name).map(|(_, letter)| *letter)
}

/// The references that mails have: the letters of Latin-1, and the signs of people who write.
const NAMES: [(&str, char); 143] = [
    ("amp", '&'),
    ("nbsp", '\u{a0}'),
    ("lt", '<'),
    ("gt", '>'),
    ("quot", '"'),
    ("apos", '\''),
    ("aacute", 'á'),
    ("eacute", 'é'),
    ("iacute", 'í'),
    ("oacute", 'ó'),
    ("uacute", 'ú'),
    ("ntilde", 'ñ'),
    ("Ntilde", 'Ñ'),
    ("iexcl", '¡'),
    ("iquest", '¿'),
    ("uuml", 'ü'),
    ("AElig", 'Æ'),
    ("Aacute", 'Á'),
    ("Acirc", 'Â'),
    ("Agrave", 'À'),
    ("Aring", 'Å'),
    ("Atilde", 'Ã'),
    ("Auml", 'Ä'),
    ("Ccedil", 'Ç'),
    ("ETH", 'Ð'),
    ("Eacute", 'É'),
    ("Ecirc", 'Ê'),
    ("Egrave", 'È'),
    ("Euml", 'Ë'),
    ("Iacute", 'Í'),
    ("Icirc", 'Î'),
    ("Igrave", 'Ì'),
    ("Iuml", 'Ï'),
    ("Oacute", 'Ó'),
    ("Ocirc", 'Ô'),
    ("Ograve", 'Ò'),
    ("Oslash", 'Ø'),
    ("Otilde", 'Õ'),
    ("Ouml", 'Ö'),
    ("THORN", 'Þ'),
    ("Uacute", 'Ú'),
    ("Ucirc", 'Û'),
    ("Ugrave", 'Ù'),
    ("Uuml", 'Ü'),
    ("Yacute", 'Ý'),
    ("acirc", 'â'),
    ("acute", '´'),
    ("aelig", 'æ'),
    ("agrave", 'à'),
    ("aring", 'å'),
    ("atilde", 'ã'),
    ("auml", 'ä'),
    ("brvbar", '¦'),
    ("ccedil", 'ç'),
    ("cedil", '¸'),
    ("cent", '¢'),
    ("copy", '©'),
    ("curren", '¤'),
    ("deg", '°'),
    ("divide", '÷'),
    ("ecirc", 'ê'),
    ("egrave", 'è'),
    ("eth", 'ð'),
    ("euml", 'ë'),
    ("frac12", '½'),
    ("frac14", '¼'),
    ("frac34", '¾'),
    ("icirc", 'î'),
    ("igrave", 'ì'),
    ("iuml", 'ï'),
    ("laquo", '«'),
    ("macr", '¯'),
    ("micro", 'µ'),
    ("middot", '·'),
    ("not", '¬'),
    ("ocirc", 'ô'),
    ("ograve", 'ò'),
    ("ordf", 'ª'),
    ("ordm", 'º'),
    ("oslash", 'ø'),
    ("otilde", 'õ'),
    ("ouml", 'ö'),
    ("para", '¶'),
    ("plusmn", '±'),
    ("pound", '£'),
    ("raquo", '»'),
    ("reg", '®'),
    ("sect", '§'),
    ("shy", '\u{ad}'),
    ("sup1", '¹'),
    ("sup2", '²'),
    ("sup3", '³'),
    ("szlig", 'ß'),
    ("thorn", 'þ'),
    ("times", '×'),
    ("ucirc", 'û'),
    ("ugrave", 'ù'),
    ("uml", '¨'),
    ("yacute", 'ý'),
    ("yen", '¥'),
    ("yuml", 'ÿ'),
    ("hellip", '…'),
    ("ndash", '–'),
    ("mdash", '—'),
    ("lsquo", '‘'),
    ("rsquo", '’'),
    ("ldquo", '“'),
    ("rdquo", '”'),
    ("sbquo", '‚'),
    ("bdquo", '„'),
    ("bull", '•'),
    ("euro", '€'),
    ("trade", '™'),
    ("lsaquo", '‹'),
    ("rsaquo", '›'),
    ("larr", '←'),
    ("rarr", '→'),
    ("uarr", '↑'),
    ("darr", '↓'),
    ("ensp", '\u{2002}'),
    ("emsp", '\u{2003}'),
    ("thinsp", '\u{2009}'),
    ("zwnj", '\u{200c}'),
    ("zwj", '\u{200d}'),
    ("check", '✓'),
    ("minus", '−'),
    ("ne", '≠'),
    ("le", '≤'),
    ("ge", '≥'),
    ("infin", '∞'),
    ("oelig", 'œ'),
    ("OElig", 'Œ'),
    ("scaron", 'š'),
    ("Scaron", 'Š'),
    ("Yuml", 'Ÿ'),
    ("dagger", '†'),
    ("Dagger", '‡'),
    ("permil", '‰'),
    ("prime", '′'),
    ("hearts", '♥'),
    ("star", '☆'),
    ("starf", '★'),
    ("phone", '☎'),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mail_as_people_read_it() {
        let html = r#"<!doctype html>
<html><head><title>Cita</title><style>p { color: red } /* <p>no</p> */</style></head>
<body><!-- <p>no</p> -->
<h1>Su cita</h1>
<p>Hola, <strong>Mar&iacute;a</strong>:<br>
su   veh&#237;culo est&aacute; listo&nbsp;&mdash; &quot;hoy&quot;.</p>
<ul><li>Placa: ABC-1234</li><li><p>Hora: 10:30</p>
  <ol><li>Traiga la llave</li><li>Y la matr&iacute;cula</li></ol></li></ul>
<table><tr><th>Trabajo</th> <th>Precio</th></tr><tr><td>Aceite</td><td>$&nbsp;40</td></tr></table>
<blockquote>Gracias</blockquote>
<p><a href="https://taller.example.com/7?a=1&amp;b=2">Ver la orden</a> o <a href='tel:+59321234567'>+59321234567</a>,
<a href=https://taller.example.com/>taller.example.com</a> y <a href="https://taller.example.com/7?a=1&b=2">otra vez</a>.</p>
<img src="x.png" alt="El taller">
</body></html>"#;
        let text = "# Su cita\n\n\
            Hola, María:\nsu vehículo está listo\u{a0}— \"hoy\".\n\n\
            * Placa: ABC-1234\n* Hora: 10:30\n\n  1. Traiga la llave\n  2. Y la matrícula\n\n\
            Trabajo | Precio\nAceite | $\u{a0}40\n\n\
            > Gracias\n\n\
            Ver la orden [1] o +59321234567, taller.example.com y otra vez [1].\n\n\
            El taller\n\n\
            [1] https://taller.example.com/7?a=1&b=2";
        assert_eq!(plain_text(html), text);
    }

    #[test]
    fn what_is_no_markup_is_text() {
        let table = [
            ("Hola", "Hola"),
            ("", ""),
            ("a < b && c > d", "a < b && c > d"),
            ("5<6", "5<6"),
            ("&unknown; &#0; &#xD800; &", "&unknown; &#xD800; &"),
            ("a<br>b<br><br>c<br><br><br>d", "a\nb\n\nc\n\nd"),
            ("<p>uno</p>\n\n\n<p>dos</p>", "uno\n\ndos"),
            ("<pre>a\n  b\n\nc</pre>d", "a\n  b\n\nc\n\nd"),
            ("<b>a</b>b <i>c</i> d", "ab c d"),
            ("<a title='x > y' href=\"https://a.ec/ñ\">ñ</a>", "ñ [1]\n\n[1] https://a.ec/ñ"),
            ("<a href=\"javascript:alert(1)\">x</a> <a href='#y'>y</a>", "x y"),
            ("<a ñ=1 =x HREF = https://a.ec >x</a>", "x [1]\n\n[1] https://a.ec"),
            ("<a href=\"https://a.ec/\"><img src=x></a>", "https://a.ec/"),
            ("<p title=\"sin fin", ""),
            ("x<!-- sin fin", "x"),
            ("x<style>sin fin", "x"),
            ("</ul></blockquote></pre></p>x", "x"),
            ("a\u{0}b\u{1b}[2J", "ab[2J"),
        ];
        for (html, text) in table {
            assert_eq!(plain_text(html), text, "{html}");
        }
    }

    /// 10 kB of nested rows kept a core busy for minutes, while heartbeats stopped and the other mails waited. The
    /// length of what comes out shows that no work grows with the square.
    #[test]
    fn no_document_costs_more_than_its_length() {
        const LENGTH: usize = 4 * 1024;
        let parts = [
            "<tr rowspan=999><td rowspan=999 colspan=999><table>",
            "<table><tr><td>x",
            "<div>",
            "<ul><li>x",
            "<ol><li>",
            "<blockquote>x",
            "<a href=https://a.ec/>x",
            "<a href=https://a.ec/>",
            "<pre>\n",
            "<style>",
            "<!--",
            "<",
            "</",
            "<a ",
            "<a href=\"",
            "&",
            "&#",
            "&amp;",
            "<br>",
            "<svg>",
            "<title>",
            "<h1>",
            "<p x=1 ",
            "<b><i>x</b></i>",
            "<td>",
            "= ' ",
            "<img alt=x>",
            "ñ<ñ",
            "\n",
            "<?",
            "<!x ",
        ];
        for one in parts {
            for other in parts {
                let html = format!("{one}{other}").repeat(LENGTH / (one.len() + other.len()));
                let text = plain_text(&html);
                assert!(text.len() <= 6 * html.len(), "{one}{other}: {}", text.len());
            }
        }
    }

    proptest::proptest! {
        #[test]
        fn any_text_is_converted(html in "([<>&/!='\"#;a-z ñ-]|<a href|<li>|<td>|<pre>|</|&amp;|<!--|-->|\n){0,200}") {
            plain_text(&html);
        }
    }
}
