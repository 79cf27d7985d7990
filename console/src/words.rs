//! The words of the console, in Spanish and English: `locales/es` and `locales/en`, one message for each thing that is said, in
//! a file per part of the console.
//!
//! A template says `{{ page.t("tasks-title") }}`; with values `{{ page.t1("tasks-new", "count", count) }}`; and for a word of an
//! enum `{{ page.word("task-state", state) }}`, which is the message `task-state-dead`. A test holds templates, code and both
//! files to each other.

use std::borrow::Cow;
use std::sync::LazyLock;

use chrono::{Datelike, NaiveDate, Timelike};
use chrono_tz::Tz;
use fluent_bundle::concurrent::FluentBundle;
use fluent_bundle::{FluentArgs, FluentResource, FluentValue};
use recado_kernel::clock::Timestamp;
use recado_kernel::language::Language;

/// The files of words, each there in both languages.
macro_rules! sources {
    ($($file:literal),+ $(,)?) => {
        fn sources(language: Language) -> Vec<&'static str> {
            vec![$(language.pick(
                include_str!(concat!("../locales/es/", $file, ".ftl")),
                include_str!(concat!("../locales/en/", $file, ".ftl")),
            )),+]
        }
    };
}

sources!(
    "account",
    "conversations",
    "developers",
    "frame",
    "messages",
    "partners",
    "people",
    "settings",
    "texts",
    "today",
    "work",
);

/// Between thousands, and before decimals.
fn separators(language: Language) -> (char, char) {
    language.pick(('.', ','), (',', '.'))
}

/// All that is said in one language.
pub(crate) struct Words {
    pub(crate) language: Language,
    bundle: FluentBundle<FluentResource>,
}

static SPANISH: LazyLock<Words> = LazyLock::new(|| Words::read(Language::Spanish));
static ENGLISH: LazyLock<Words> = LazyLock::new(|| Words::read(Language::English));

impl Words {
    pub(crate) fn of(language: Language) -> &'static Self {
        match language {
            Language::Spanish => &SPANISH,
            Language::English => &ENGLISH,
        }
    }

    fn read(language: Language) -> Self {
        let identifier = language.as_str().parse().expect("a language's own word is its identifier");
        let mut bundle = FluentBundle::new_concurrent(vec![identifier]);
        // Marks around values would stand in the middle of URLs and attributes.
        bundle.set_use_isolating(false);
        bundle.set_formatter(Some(match language {
            Language::Spanish => |value, _| as_number(Language::Spanish, value),
            Language::English => |value, _| as_number(Language::English, value),
        }));
        for source in sources(language) {
            let resource = FluentResource::try_new(source.to_owned());
            let resource = resource.unwrap_or_else(|(_, errors)| panic!("locales/{language}: {errors:?}"));
            bundle.add_resource(resource).unwrap_or_else(|errors| panic!("locales/{language}: {errors:?}"));
        }
        Self { language, bundle }
    }

    /// A message. One that is missing is its own name, which a test does not let happen.
    pub(crate) fn say(&self, message: &str, args: Option<&FluentArgs<'_>>) -> String {
        let pattern = self.bundle.get_message(message).and_then(|found| found.value());
        let Some(pattern) = pattern else { return format!("⟦{message}⟧") };
        self.bundle.format_pattern(pattern, args, &mut Vec::new()).into_owned()
    }

    /// A number as it is written in this language.
    pub(crate) fn number(&self, number: f64, decimals: usize) -> String {
        written(self.language, number, decimals)
    }

    /// A time with its day: `27 nov 2026, 11:06:02`.
    pub(crate) fn timestamp(&self, at: Timestamp, zone: Tz) -> String {
        let local = at.to_utc().with_timezone(&zone);
        let mut args = FluentArgs::new();
        args.set("day", local.day().to_string());
        args.set("month", self.say(&format!("month-{}", local.month()), None));
        args.set("year", local.year().to_string());
        args.set("time", format!("{:02}:{:02}:{:02}", local.hour(), local.minute(), local.second()));
        self.say("timestamp", Some(&args))
    }

    /// How long ago it was, or will be: `4 minutes ago`, in the words and with the rounding of `console.js`, which keeps it true.
    pub(crate) fn ago(&self, at: Timestamp, now: Timestamp) -> String {
        const STEPS: [(f64, &str); 5] =
            [(60.0, "second"), (60.0, "minute"), (24.0, "hour"), (30.0, "day"), (12.0, "month")];
        let mut value = (at.as_millis() - now.as_millis()) as f64 / 1_000.0;
        let mut unit = "year";
        for (size, name) in STEPS {
            if value.abs() < size {
                unit = name;
                break;
            }
            value /= size;
        }
        let count = value.abs().round();
        if count == 0.0 {
            return self.say("now", None);
        }
        let mut args = FluentArgs::new();
        args.set("unit", unit);
        args.set("count", count);
        if value > 0.0 { self.say("in-time", Some(&args)) } else { self.say("ago", Some(&args)) }
    }

    /// A day: `Fri 27 Nov 2026`.
    pub(crate) fn date(&self, day: NaiveDate) -> String {
        let mut args = FluentArgs::new();
        args.set("weekday", self.say(&format!("people-weekday-{}", day.weekday().number_from_monday()), None));
        args.set("day", day.day().to_string());
        args.set("month", self.say(&format!("month-{}", day.month()), None));
        args.set("year", day.year().to_string());
        self.say("people-date", Some(&args))
    }
}

fn as_number(language: Language, value: &FluentValue<'_>) -> Option<String> {
    match value {
        FluentValue::Number(number) => {
            let decimals = number.options.minimum_fraction_digits.unwrap_or_default();
            Some(written(language, number.value, decimals))
        }
        _ => None,
    }
}

fn written(language: Language, number: f64, decimals: usize) -> String {
    let (thousands, decimal) = separators(language);
    let text = format!("{:.*}", decimals, number.abs());
    let (whole, rest) = text.split_once('.').unwrap_or((&text, ""));
    let mut shown = String::new();
    if number < 0.0 {
        shown.push('−');
    }
    for (place, digit) in whole.chars().enumerate() {
        if place > 0 && (whole.len() - place) % 3 == 0 {
            shown.push(thousands);
        }
        shown.push(digit);
    }
    if !rest.is_empty() {
        shown.push(decimal);
        shown.push_str(rest);
    }
    shown
}

/// A value that stands in a message.
pub(crate) trait Value {
    fn value(&self) -> FluentValue<'_>;
}

impl<T: Value + ?Sized> Value for &T {
    fn value(&self) -> FluentValue<'_> {
        (**self).value()
    }
}

impl Value for str {
    fn value(&self) -> FluentValue<'_> {
        FluentValue::String(Cow::Borrowed(self))
    }
}

impl Value for String {
    fn value(&self) -> FluentValue<'_> {
        FluentValue::String(Cow::Borrowed(self))
    }
}

macro_rules! numbers {
    ($($number:ty),+) => {
        $(impl Value for $number {
            fn value(&self) -> FluentValue<'_> {
                FluentValue::from(*self)
            }
        })+
    };
}

numbers!(i32, i64, usize);

#[cfg(test)]
mod tests {
    use std::collections::{BTreeMap, BTreeSet};
    use std::path::{Path, PathBuf};

    use super::*;

    /// What `Intl.RelativeTimeFormat` says in both languages.
    #[test]
    fn how_long_ago_is_told_as_the_script_does() {
        let now = Timestamp::from_micros(1_768_919_400_000_000);
        for (seconds, english, spanish) in [
            (0, "now", "ahora"),
            (-1, "1 second ago", "hace 1 segundo"),
            (-59, "59 seconds ago", "hace 59 segundos"),
            (-90, "2 minutes ago", "hace 2 minutos"),
            (7_200, "in 2 hours", "dentro de 2 horas"),
            (-86_400, "1 day ago", "hace 1 día"),
            (40 * 86_400, "in 1 month", "dentro de 1 mes"),
            (-800 * 86_400, "2 years ago", "hace 2 años"),
        ] {
            let at = Timestamp::from_micros(now.as_micros() + seconds * 1_000_000);
            assert_eq!(Words::of(Language::English).ago(at, now), english);
            assert_eq!(Words::of(Language::Spanish).ago(at, now), spanish);
        }
    }

    /// Messages with the values that each names.
    fn messages(language: Language) -> BTreeMap<String, BTreeSet<String>> {
        let mut found = BTreeMap::new();
        let mut current = String::new();
        for line in sources(language).into_iter().flat_map(str::lines) {
            if let Some((name, _)) =
                line.split_once(" =").filter(|_| line.starts_with(|one: char| one.is_ascii_lowercase()))
            {
                name.clone_into(&mut current);
                assert!(found.insert(current.clone(), BTreeSet::new()).is_none(), "{current} is there twice");
            }
            for rest in line.split('$').skip(1) {
                let variable: String =
                    rest.chars().take_while(|one| one.is_ascii_alphanumeric() || *one == '_').collect();
                found.get_mut(&current).expect("a message").insert(variable);
            }
        }
        found
    }

    fn files(folder: &str, ending: &str) -> Vec<(PathBuf, String)> {
        let mut found = Vec::new();
        let mut folders = vec![Path::new(env!("CARGO_MANIFEST_DIR")).join(folder)];
        while let Some(folder) = folders.pop() {
            for entry in std::fs::read_dir(folder).expect("a folder") {
                let path = entry.expect("an entry").path();
                if path.is_dir() {
                    folders.push(path);
                } else if path.extension().is_some_and(|found| found == ending) {
                    let text = std::fs::read_to_string(&path).expect("a text");
                    found.push((path, text));
                }
            }
        }
        found
    }

    /// What templates and code ask for: whole names, and beginnings of names whose end is a word of an enum.
    fn messages_in_use() -> (BTreeSet<String>, BTreeSet<String>) {
        let (mut whole, mut begun) = (BTreeSet::new(), BTreeSet::new());
        for (_, text) in files("templates", "html").into_iter().chain(files("src", "rs")) {
            let text = text.split("#[cfg(test)]").next().unwrap_or_default().to_owned();
            let named = |call: &str| {
                let calls = text.split(call).skip(1).filter_map(|rest| rest.split('"').next());
                calls.map(str::to_owned).collect::<Vec<_>>()
            };
            [".t(\"", ".t1(\"", ".t2(\"", ".say(\""].iter().for_each(|call| whole.extend(named(call)));
            begun.extend(named(".word(\""));
            // The last argument is the title.
            for call in text.split("Page::new(").skip(1) {
                let call = call.split(')').next().unwrap_or_default();
                whole.extend(call.rsplit('"').nth(1).map(str::to_owned));
            }
            // The second is the title here.
            for call in text.split(" link(\"").skip(1).chain(text.split("[link(\"").skip(1)) {
                whole.extend(call.split('"').nth(2).map(str::to_owned));
            }
            for rest in text.split("Notice::new(\"").skip(1) {
                whole.insert(format!("notice-{}", rest.split('"').next().expect("a quote")));
            }
        }
        begun.insert("month".to_owned());
        begun.insert("people-weekday".to_owned());
        (whole, begun)
    }

    #[test]
    fn both_languages_say_the_same_with_the_same_values() {
        let (spanish, english) = (messages(Language::Spanish), messages(Language::English));
        for (name, values) in &spanish {
            assert_eq!(english.get(name), Some(values), "{name}");
        }
        for name in english.keys() {
            assert!(spanish.contains_key(name), "{name} is missing in Spanish");
        }
    }

    #[test]
    fn no_message_is_missing_and_none_is_idle() {
        let (there, (whole, begun)) = (messages(Language::Spanish), messages_in_use());
        let missing: Vec<&String> = whole.iter().filter(|name| !there.contains_key(*name)).collect();
        assert!(missing.is_empty(), "asked for, and not in the files: {missing:?}");
        let is_asked = |name: &String| {
            whole.contains(name)
                || begun.iter().any(|start| name.strip_prefix(start.as_str()).is_some_and(|rest| rest.starts_with('-')))
        };
        let idle: Vec<&String> = there.keys().filter(|name| !is_asked(name)).collect();
        assert!(idle.is_empty(), "in the files, and never asked for: {idle:?}");
        for start in &begun {
            assert!(there.keys().any(|name| name.starts_with(&format!("{start}-"))), "no message begins with {start}-");
        }
    }

    /// What a person reads stands in the files of words: between tags and in attributes templates hold none.
    #[test]
    fn no_template_holds_a_word() {
        for (path, text) in files("templates", "html") {
            let literal = literals(&text);
            assert!(literal.is_empty(), "{}: {literal:?} belongs into locales/", path.display());
        }
    }

    fn literals(template: &str) -> Vec<String> {
        let mut text = template.to_owned();
        for (open, close) in [("{#", "#}"), ("{{", "}}"), ("{%", "%}")] {
            while let Some(start) = text.find(open) {
                let end = text[start..].find(close).map_or(text.len(), |end| start + end + 2);
                text.replace_range(start..end, " ");
            }
        }
        let has_word = |text: &str| text.chars().filter(|one| one.is_alphabetic()).count() > 1;
        let mut found = Vec::new();
        for piece in text.split('<') {
            let (tag, content) = piece.split_once('>').unwrap_or(("", piece));
            for name in ["alt=\"", "aria-label=\"", "placeholder=\"", "title=\""] {
                let values = tag.split(name).skip(1).filter_map(|rest| rest.split('"').next());
                found.extend(values.filter(|value| has_word(value)).map(str::to_owned));
            }
            // A key and a command are the same in every language.
            let is_same_everywhere = ["kbd", "code", "pre", "!doctype"].iter().any(|name| tag.starts_with(name));
            if has_word(content) && !is_same_everywhere {
                found.push(content.trim().to_owned());
            }
        }
        found
    }

    #[test]
    fn a_literal_word_is_found() {
        assert_eq!(literals("<p>{{ page.t(\"a\") }} <b>Retry</b></p>"), ["Retry"]);
        assert_eq!(literals("<input placeholder=\"Search\" name=\"query\">"), ["Search"]);
        assert!(literals("{# a remark #}<kbd>Esc</kbd><td class=\"name\">{{ name }} · </td>").is_empty());
    }

    #[test]
    fn a_browser_gets_the_language_that_it_likes_most() {
        for (header, language) in [
            ("", Language::Spanish),
            ("en-US,en;q=0.9,es;q=0.8", Language::English),
            ("es-EC,es;q=0.9,en;q=0.8", Language::Spanish),
            ("de,fr;q=0.9", Language::Spanish),
            ("de,en;q=0.3", Language::English),
            ("en;q=nonsense;;,", Language::English),
        ] {
            assert_eq!(Language::accepted(header), language, "{header}");
        }
    }

    #[test]
    fn numbers_and_moments_are_of_the_language() {
        let (spanish, english) = (Words::of(Language::Spanish), Words::of(Language::English));
        assert_eq!(
            (spanish.number(1234.5, 1), english.number(1234.5, 1)),
            ("1.234,5".to_owned(), "1,234.5".to_owned())
        );
        assert_eq!(english.number(-1_000_000.0, 0), "−1,000,000");
        let at = Timestamp::from_micros(0);
        assert_eq!(spanish.timestamp(at, Tz::UTC), "1 ene 1970, 00:00:00");
        assert_eq!(english.timestamp(at, Tz::America__Guayaquil), "31 Dec 1969, 19:00:00");
    }
}
