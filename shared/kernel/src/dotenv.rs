//! The file `.env`, read as python-dotenv and Compose's `env_file` read it, where these two agree.
//!
//! - `NAME=value`, `export NAME=value`; blanks around `=` do not count. Of a name that stands twice, the last value counts.
//! - A value without quotes ends with its line, or before a blank and `#`. Nothing in it is an escape, and quotes inside it are
//!   letters like any other.
//! - In double quotes `\n`, `\r`, `\t`, `\"`, `\\` and their like are escapes, in single quotes `\'` and `\\`. Both may go on over
//!   several lines.
//! - `${NAME}` and `${NAME:-default}` stand for another variable, except in single quotes. A `$` alone is a letter, as
//!   python-dotenv has it.
//!
//! They ignore what they cannot read, and put nothing where a variable is not set. Here both are mistakes: a password that is
//! shorter than what was written fails much later, and a line that is skipped may be the one that protects the API.
//!
//! No mistake repeats any part of a value, because it may be a secret and errors end up in logs.

use std::borrow::Cow;
use std::fmt;
use std::path::{Path, PathBuf};

/// One variable of the file.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Entry {
    pub(crate) name: String,
    pub(crate) value: String,
    /// Where it stands; the first line is 1.
    pub(crate) line: usize,
}

/// What is wrong in one place.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Mistake {
    line: usize,
    /// Whose value it is, where that was still understood.
    name: Option<String>,
    kind: Kind,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    NotUtf8,
    Utf16,
    Nul,
    NoName,
    NoEquals,
    OpenQuote,
    AfterQuote,
    NotSet,
}

impl fmt::Display for Mistake {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "line {}", self.line)?;
        if let Some(name) = &self.name {
            write!(f, " ({name})")?;
        }
        f.write_str(match self.kind {
            Kind::NotUtf8 => " has letters that are not UTF-8, perhaps Latin-1; save the file as UTF-8",
            Kind::Utf16 => " begins as UTF-16 does; save the file as UTF-8",
            Kind::Nul => " holds a NUL, which no variable can",
            Kind::NoName => " does not begin with a name of letters, digits and underscores; begin a comment with #",
            Kind::NoEquals => " is not NAME=value; begin a comment with #",
            Kind::OpenQuote => {
                " opens a quote that is not closed; put a value that holds one kind of quote between two of the other kind"
            }
            Kind::AfterQuote => {
                " goes on after the closing quote; put a value that holds one kind of quote between two of the other kind"
            }
            Kind::NotSet => {
                " refers with ${…} to a variable that is not set; put the value between single quotes to have it as it stands"
            }
        })
    }
}

/// The nearest `.env`: in this folder, or else in one above it.
pub(crate) fn find(folder: &Path) -> Option<PathBuf> {
    // A folder of this name is what Docker makes of a file that is to be mounted and does not exist.
    folder.ancestors().map(|folder| folder.join(".env")).find(|file| file.exists() && !file.is_dir())
}

/// Reads a file. `environment` is what is set outside of it, which comes first.
///
/// # Errors
/// Every mistake, in the order of the lines.
pub(crate) fn parse(bytes: &[u8], environment: impl Fn(&str) -> Option<String>) -> Result<Vec<Entry>, Vec<Mistake>> {
    if bytes.starts_with(b"\xff\xfe") || bytes.starts_with(b"\xfe\xff") {
        return Err(vec![Mistake { line: 1, name: None, kind: Kind::Utf16 }]);
    }
    let text = String::from_utf8_lossy(bytes);
    let mut reader = Reader { text: text.strip_prefix('\u{feff}').unwrap_or(&text), position: 0 };
    let is_lossy = matches!(text, Cow::Owned(_));
    let (mut entries, mut mistakes) = (Vec::<Entry>::new(), Vec::new());
    while let Some(start) = reader.next_statement() {
        let line = reader.line_of(start);
        let known = |name: &str| {
            let before = || entries.iter().rev().find(|entry| entry.name == name).map(|entry| entry.value.clone());
            environment(name).or_else(before)
        };
        let read = reader.statement().and_then(|read| {
            let Some((name, raw)) = read else { return Ok(None) };
            // Letters that are not UTF-8 do no harm in a comment.
            check_letters(&raw, is_lossy)
                .and_then(|()| raw.value(known))
                .map(|value| Some(Entry { name: name.clone(), value, line }))
                .map_err(|kind| (Some(name), kind))
        });
        match read {
            Ok(entry) => entries.extend(entry),
            Err((name, kind)) => {
                mistakes.push(Mistake { line, name, kind });
                reader.position = start;
                reader.skip_line();
            }
        }
    }
    if mistakes.is_empty() { Ok(entries) } else { Err(mistakes) }
}

fn check_letters(raw: &Raw, is_lossy: bool) -> Result<(), Kind> {
    match raw.text() {
        text if text.contains('\0') => Err(Kind::Nul),
        text if is_lossy && text.contains(char::REPLACEMENT_CHARACTER) => Err(Kind::NotUtf8),
        _ => Ok(()),
    }
}

/// A value as it is written.
enum Raw<'a> {
    Plain(&'a str),
    SingleQuoted(&'a str),
    DoubleQuoted(&'a str),
}

impl Raw<'_> {
    fn text(&self) -> &str {
        match self {
            Self::Plain(text) | Self::SingleQuoted(text) | Self::DoubleQuoted(text) => text,
        }
    }

    fn value(&self, known: impl Fn(&str) -> Option<String>) -> Result<String, Kind> {
        match self {
            Self::Plain(text) => substitute(text, known),
            Self::SingleQuoted(text) => Ok(unescape(text, |escaped| matches!(escaped, '\\' | '\'').then_some(escaped))),
            Self::DoubleQuoted(text) => substitute(&unescape(text, in_double_quotes), known),
        }
    }
}

/// The escapes of Python that python-dotenv knows.
fn in_double_quotes(escaped: char) -> Option<char> {
    Some(match escaped {
        '\\' | '\'' | '"' => escaped,
        'a' => '\x07',
        'b' => '\x08',
        'f' => '\x0c',
        'n' => '\n',
        'r' => '\r',
        't' => '\t',
        'v' => '\x0b',
        _ => return None,
    })
}

/// Replaces a backslash and the letter after it by what `meaning` says. One without a meaning stays as it is.
fn unescape(text: &str, meaning: impl Fn(char) -> Option<char>) -> String {
    let mut value = String::with_capacity(text.len());
    let mut letters = text.chars();
    while let Some(letter) = letters.next() {
        let after = if letter == '\\' { letters.clone().next() } else { None };
        value.push(match after.and_then(&meaning) {
            Some(meant) => {
                letters.next();
                meant
            }
            None => letter,
        });
    }
    value
}

/// Replaces `${NAME}`, `${NAME:-default}` (not set, or empty) and `${NAME-default}` (not set). What looks otherwise stays as it
/// is.
fn substitute(text: &str, known: impl Fn(&str) -> Option<String>) -> Result<String, Kind> {
    let mut value = String::with_capacity(text.len());
    let mut rest = text;
    while let Some((before, after)) = rest.split_once("${") {
        value.push_str(before);
        let Some((reference, behind)) = reference(after) else {
            value.push_str("${");
            rest = after;
            continue;
        };
        let found = known(reference.name).filter(|found| !(found.is_empty() && reference.also_when_empty));
        value.push_str(&found.or(reference.default.map(str::to_owned)).ok_or(Kind::NotSet)?);
        rest = behind;
    }
    value.push_str(rest);
    Ok(value)
}

struct Reference<'a> {
    name: &'a str,
    default: Option<&'a str>,
    also_when_empty: bool,
}

/// What stands between `${` and `}`, and what follows.
fn reference(text: &str) -> Option<(Reference<'_>, &str)> {
    let (inside, behind) = text.split_once('}')?;
    let end = inside.find(|letter: char| !(letter.is_ascii_alphanumeric() || letter == '_')).unwrap_or(inside.len());
    let (name, rest) = inside.split_at(end);
    if name.is_empty() || name.starts_with(|letter: char| letter.is_ascii_digit()) {
        return None;
    }
    let (default, also_when_empty) = match (rest.strip_prefix(":-"), rest.strip_prefix('-')) {
        (Some(default), _) => (Some(default), true),
        (None, Some(default)) => (Some(default), false),
        (None, None) if rest.is_empty() => (None, false),
        (None, None) => return None,
    };
    Some((Reference { name, default, also_when_empty }, behind))
}

struct Reader<'a> {
    text: &'a str,
    position: usize,
}

/// What stands in a line: a name and its value, a name alone, or a mistake, with the name if it was understood.
type Statement<'a> = Result<Option<(String, Raw<'a>)>, (Option<String>, Kind)>;

impl<'a> Reader<'a> {
    fn rest(&self) -> &'a str {
        &self.text[self.position..]
    }

    fn skip(&mut self, while_is: impl Fn(char) -> bool) -> &'a str {
        let rest = self.rest();
        let skipped = &rest[..rest.find(|letter| !while_is(letter)).unwrap_or(rest.len())];
        self.position += skipped.len();
        skipped
    }

    fn skip_line(&mut self) -> &'a str {
        self.skip(|letter| !is_line_end(letter))
    }

    fn line_of(&self, position: usize) -> usize {
        let before = &self.text[..position];
        let ends = before.matches(is_line_end).count() - before.matches("\r\n").count();
        ends + 1
    }

    /// Where the next statement begins, behind empty lines and comments.
    fn next_statement(&mut self) -> Option<usize> {
        loop {
            self.skip(char::is_whitespace);
            match self.rest().chars().next() {
                None => return None,
                Some('#') => self.skip_line(),
                Some(_) => return Some(self.position),
            };
        }
    }

    fn statement(&mut self) -> Statement<'a> {
        let name = self.name().map_err(|kind| (None, kind))?;
        self.skip(is_blank);
        let named = |kind| (Some(name.clone()), kind);
        if !self.rest().starts_with('=') {
            // A name alone changes nothing.
            return self.end_of_line(Kind::NoEquals).map(|()| None).map_err(|kind| (None, kind));
        }
        self.position += 1;
        let written = self.rest();
        self.skip(is_blank);
        let raw = match self.rest().chars().next() {
            Some('\'') => Raw::SingleQuoted(self.quoted('\'').map_err(named)?),
            Some('"') => Raw::DoubleQuoted(self.quoted('"').map_err(named)?),
            // With the blanks before it, behind which a comment may begin.
            _ => Raw::Plain(without_comment(&written[..written.len() - self.rest().len() + self.skip_line().len()])),
        };
        Ok(Some((name, raw)))
    }

    fn name(&mut self) -> Result<String, Kind> {
        if let Some(after) = self.rest().strip_prefix("export")
            && after.starts_with(is_blank)
            && !after.trim_start_matches(is_blank).starts_with('=')
        {
            self.position += "export".len();
            self.skip(is_blank);
        }
        let word = self.skip(|letter| !(letter == '=' || letter == '#' || letter.is_whitespace()));
        let name = word.strip_prefix('\'').and_then(|word| word.strip_suffix('\'')).unwrap_or(word);
        let is_name = !name.is_empty()
            && !name.starts_with(|letter: char| letter.is_ascii_digit())
            && name.chars().all(|letter| letter.is_ascii_alphanumeric() || matches!(letter, '_' | '.' | '-'));
        if is_name { Ok(name.to_owned()) } else { Err(Kind::NoName) }
    }

    /// What stands between two quotes. Behind them only a comment may stand.
    fn quoted(&mut self, quote: char) -> Result<&'a str, Kind> {
        self.position += quote.len_utf8();
        let rest = self.rest();
        let mut is_escaped = false;
        let end = rest.find(|letter| {
            let ends = letter == quote && !is_escaped;
            is_escaped = letter == '\\' && !is_escaped;
            ends
        });
        let end = end.ok_or(Kind::OpenQuote)?;
        self.position += end + quote.len_utf8();
        self.end_of_line(Kind::AfterQuote)?;
        Ok(&rest[..end])
    }

    fn end_of_line(&mut self, else_it: Kind) -> Result<(), Kind> {
        self.skip(is_blank);
        let rest = self.skip_line();
        if rest.is_empty() || rest.starts_with('#') { Ok(()) } else { Err(else_it) }
    }
}

fn is_line_end(letter: char) -> bool {
    matches!(letter, '\n' | '\r')
}

fn is_blank(letter: char) -> bool {
    letter.is_whitespace() && !is_line_end(letter)
}

/// A comment begins with `#` behind a blank, so that a password may hold one.
fn without_comment(value: &str) -> &str {
    let comment = value.char_indices().find(|(at, letter)| *letter == '#' && value[..*at].ends_with(is_blank));
    comment.map_or(value, |(at, _)| &value[..at]).trim()
}

/// Sets these variables for this process, except those that are set already.
///
/// What dotenvy is asked to read here is a text in which every value is quoted so that it comes out as it is: to set a variable
/// of one's own process is unsafe, and this crate has no unsafe code.
///
/// # Errors
/// Never, as long as dotenvy reads what [`quoted`] writes.
pub(crate) fn set(entries: &[Entry]) -> dotenvy::Result<()> {
    dotenvy::from_read(quoted(entries).as_bytes())
}

fn quoted(entries: &[Entry]) -> String {
    let mut text = String::new();
    for (index, Entry { name, value, .. }) in entries.iter().enumerate() {
        let is_last = !entries[index + 1..].iter().any(|later| later.name == *name);
        // A name with a dash is none of ours, and dotenvy does not know such names.
        if is_last && !name.contains('-') {
            let value = value.replace('\\', "\\\\").replace('"', "\\\"").replace('$', "\\$").replace('\n', "\\n");
            text.push_str(&format!("{name}=\"{value}\"\n"));
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn environment(name: &str) -> Option<String> {
        match name {
            "HOST" => Some("db.example".to_owned()),
            "EMPTY" => Some(String::new()),
            _ => None,
        }
    }

    fn values(text: &str) -> Vec<(String, String)> {
        let entries = parse(text.as_bytes(), environment).unwrap_or_else(|mistakes| panic!("{text}: {mistakes:?}"));
        entries.into_iter().map(|entry| (entry.name, entry.value)).collect()
    }

    /// Passwords of generators hold `$` (dotenvy#100, django-dotenv#53, dotenvx#240, motdotla/dotenv#633), and what else a shell
    /// would read. Each value was tried with python-dotenv 1.2.4, which differs where a comment says so.
    #[test]
    fn values_are_read_as_python_dotenv_reads_them() {
        let cases = [
            ("A=pa$word9", "pa$word9"),
            ("A=ab$$cd", "ab$$cd"),
            ("A=abc$", "abc$"),
            ("A=$abc", "$abc"),
            ("A=\"S3cret$x9\"", "S3cret$x9"),
            ("A='S3cret$x9'", "S3cret$x9"),
            ("A=a\\$b", "a\\$b"),
            ("A=\"a\\$b\"", "a\\$b"),
            ("A=$(rm -rf /)`x`", "$(rm -rf /)`x`"),
            // Another variable, set outside or further up.
            ("A=postgresql://${HOST}/d", "postgresql://db.example/d"),
            ("A=\"${HOST}:1\"", "db.example:1"),
            ("A=${NOT_SET:-else}", "else"),
            ("A=ab${c", "ab${c"),
            // Compose and shells do not look into single quotes, and an empty variable has its default.
            ("A='${HOST}'", "${HOST}"),
            ("A=${EMPTY:-else}|${EMPTY-else}|${NOT_SET-}", "else||"),
            // What names no variable stays, where python-dotenv would drop it.
            ("A=ab${9x}c", "ab${9x}c"),
            ("A=${x!}${}", "${x!}${}"),
            // Backslashes are letters, except in quotes.
            ("A=C:\\new\\table", "C:\\new\\table"),
            ("A=\"a\\tb\\nc\\\\d\\\"e\\'f\"", "a\tb\nc\\d\"e'f"),
            ("A=\"\\d\\u00e9\"", "\\d\\u00e9"),
            ("A='a\\nb\\\\c\\'d'", "a\\nb\\c'd"),
            ("A=\"ends with one\\\\\"", "ends with one\\"),
            // Quotes inside a value are letters.
            ("A=it's", "it's"),
            ("A=a\"b\"c", "a\"b\"c"),
            ("A='a \"b\"'", "a \"b\""),
            ("A=Ambacar <taller@example.com>", "Ambacar <taller@example.com>"),
            // Comments need a blank before them.
            ("A=x # y", "x"),
            ("A=x\t#y", "x"),
            ("A=pass#word", "pass#word"),
            ("A=#x", "#x"),
            ("A=\"x # y\" # z", "x # y"),
            ("A='x'#z", "x"),
            ("A= # z", ""),
            ("A=  x # z", "x"),
            // Blanks.
            ("  A  =  x y  ", "x y"),
            ("A=\"  x  \"", "  x  "),
            ("A=", ""),
            ("A=''", ""),
            ("A=ñandú 🚗", "ñandú 🚗"),
            ("export A=x", "x"),
            ("export\tA = x", "x"),
            ("'A'=x", "x"),
            ("\u{feff}A=x", "x"),
            ("A=x\r\n", "x"),
            ("A='one\r\ntwo'", "one\r\ntwo"),
            ("# A=1\n\n A=2\rB\n", "2"),
        ];
        for (text, expected) in cases {
            assert_eq!(values(text), [("A".to_owned(), expected.to_owned())], "{text}");
        }
    }

    #[test]
    fn the_last_of_a_name_counts_and_a_name_alone_is_nothing() {
        assert_eq!(
            values("A=1\nB\nA=2\nexport=3\nC=${A}${HOST}").last().map(|(_, value)| value.as_str()),
            Some("2db.example")
        );
        let entries = parse(b"A=1\nA-B=x\nA=2\n", environment).expect("good");
        assert_eq!(quoted(&entries), "A=\"2\"\n");
        assert!(values("").is_empty() && values("\r\n# x\n#").is_empty());
    }

    #[test]
    fn mistakes_name_the_line_and_never_the_value() {
        let cases: [(&[u8], &str); 14] = [
            (b"A=1\n\nB=\"S3cret", "line 3 (B) opens a quote"),
            (b"A=1\r\n\r\nB='S3cret\r\n", "line 3 (B) opens a quote"),
            (b"A='S3'cret'", "line 1 (A) goes on after"),
            (b"A=\"x\" S3cret", "line 1 (A) goes on after"),
            (b"A=S3${cret}9", "line 1 (A) refers"),
            (b"A=\"x\ny\"\nB=\"${S3cret}\"", "line 3 (B) refers"),
            (b"# c\nS3cret S3cret", "line 2 is not NAME=value"),
            (b"S3cret: x", "line 1 does not begin with a name"),
            (b"=S3cret", "line 1 does not begin with a name"),
            (b"\xe2\x80\x8bA=S3cret", "line 1 does not begin with a name"),
            (b"# Contrase\xf1a\nA=S3cret\xf1", "line 2 (A) has letters that are not UTF-8"),
            (b"A='S3cret\xf1'", "line 1 (A) has letters that are not UTF-8"),
            (b"\xff\xfeA\0=\0x\0", "line 1 begins as UTF-16"),
            (b"A=S3cret\0", "line 1 (A) holds a NUL"),
        ];
        for (text, expected) in cases {
            let shown = String::from_utf8_lossy(text);
            let mistakes = parse(text, environment).err().unwrap_or_else(|| panic!("{shown} was read"));
            let told = mistakes[0].to_string();
            assert!(told.starts_with(expected), "{shown}: {told}");
            assert!(!format!("{told}{mistakes:?}").contains("cret"), "{shown}: {told}");
        }
        let all = parse(b"A B\nC=1\nD='\nE=${F}", environment).err().expect("three mistakes");
        assert_eq!(all.iter().map(|mistake| mistake.line).collect::<Vec<_>>(), [1, 3, 4]);
        // In a comment, letters of another encoding do no harm.
        assert!(parse(b"# Contrase\xf1a\nA=x", environment).is_ok());
    }

    proptest! {
        #[test]
        fn what_is_set_is_what_was_read(value in "(\\PC|[\\\\'\"$#{}=\n\r\t ]){0,30}") {
            let entries = [Entry { name: "A".to_owned(), value: value.clone(), line: 1 }];
            let text = quoted(&entries);
            let read: Vec<_> = dotenvy::from_read_iter(text.as_bytes()).collect::<Result<_, _>>().expect("dotenvy reads it");
            prop_assert_eq!(read, [("A".to_owned(), value)]);
        }

        #[test]
        fn any_bytes_are_read_or_refused(bytes: Vec<u8>, text in "[A=\"'$\\\\{}#\n a]{0,30}") {
            for bytes in [bytes.as_slice(), text.as_bytes()] {
                if let Err(mistakes) = parse(bytes, environment) {
                    prop_assert!(mistakes.iter().all(|mistake| mistake.line >= 1));
                }
            }
        }
    }
}
