//! In which language a person is told something. Facts are kept, and sentences are made where they are read.

use std::borrow::Cow;
use std::fmt;

use crate::word_enum;

/// The languages in which Recado speaks to those who run it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, strum::IntoStaticStr, strum::VariantArray)]
#[strum(const_into_str)]
pub enum Language {
    #[default]
    #[strum(serialize = "es")]
    Spanish,
    #[strum(serialize = "en")]
    English,
}

word_enum!(Language, "a language");

impl Language {
    /// The one of two texts that is in this language.
    pub fn pick<T>(self, spanish: T, english: T) -> T {
        match self {
            Self::Spanish => spanish,
            Self::English => english,
        }
    }

    /// What a caller wants most who says `Accept-Language` (RFC 9110, 12.5.4); Spanish when it names none of ours.
    pub fn accepted(header: &str) -> Self {
        let wishes = header.split(',').filter_map(|wish| {
            let mut parts = wish.split(';');
            let name = parts.next()?.trim().split('-').next()?.to_ascii_lowercase();
            let quality = parts.find_map(|part| part.trim().strip_prefix("q=")?.trim().parse::<f32>().ok());
            let language = if name == "*" { Self::default() } else { name.parse().ok()? };
            Some((language, quality.unwrap_or(1.0)))
        });
        let mut best = (Self::default(), 0.0);
        for (language, quality) in wishes {
            // The first of equals.
            if quality > best.1 {
                best = (language, quality);
            }
        }
        best.0
    }

    /// The language that `LC_ALL`, `LC_MESSAGES` or `LANG` name for a program of the command line; English when they name none of
    /// ours.
    pub fn of_locale(locale: &str) -> Self {
        locale.get(..2).and_then(|word| word.to_ascii_lowercase().parse().ok()).unwrap_or(Self::English)
    }
}

/// A sentence in both languages, for small facts of which there are many: what is wrong with a field, or with a line of a template.
/// Callers of the API are told in Spanish, so that is what it becomes as a text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sentence {
    spanish: Cow<'static, str>,
    english: Cow<'static, str>,
}

impl Sentence {
    pub fn new(spanish: impl Into<Cow<'static, str>>, english: impl Into<Cow<'static, str>>) -> Self {
        Self { spanish: spanish.into(), english: english.into() }
    }

    /// With the English of an error, which begins small and ends without a stop.
    pub fn of_error(spanish: impl Into<Cow<'static, str>>, error: &impl std::error::Error) -> Self {
        let said = error.to_string();
        let mut rest = said.chars();
        let first = rest.next().map(|first| first.to_uppercase().to_string()).unwrap_or_default();
        Self::new(spanish, format!("{first}{}.", rest.as_str()))
    }

    /// The sentence in this language.
    pub fn told(&self, language: Language) -> &str {
        language.pick(&self.spanish, &self.english)
    }

    /// The same with other words around it, in each language.
    #[must_use]
    pub fn map(&self, around: impl Fn(Language, &str) -> String) -> Self {
        Self::new(around(Language::Spanish, &self.spanish), around(Language::English, &self.english))
    }
}

impl fmt::Display for Sentence {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.spanish)
    }
}

impl From<Sentence> for String {
    fn from(sentence: Sentence) -> Self {
        sentence.spanish.into_owned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sentence_is_told_in_both_languages() {
        let sentence = Sentence::new("Falta.", "It is missing.").map(|language, said| {
            let line = language.pick("Línea", "Line");
            format!("{line} 2: {said}")
        });
        assert_eq!(sentence.told(Language::English), "Line 2: It is missing.");
        assert_eq!(sentence.told(Language::Spanish), "Línea 2: Falta.");
        assert_eq!(
            (sentence.to_string(), String::from(sentence)),
            ("Línea 2: Falta.".into(), "Línea 2: Falta.".into())
        );
    }

    #[test]
    fn the_most_wanted_language_of_ours_counts() {
        let table = [
            ("", Language::Spanish),
            ("en", Language::English),
            ("en-US,en;q=0.9,es;q=0.8", Language::English),
            ("fr, es;q=0.5, en;q=0.7", Language::English),
            ("es-EC, en;q=0.9", Language::Spanish),
            ("en;q=0", Language::Spanish),
            ("de", Language::Spanish),
            (";;q=,,", Language::Spanish),
            ("de,en;q=0.3", Language::English),
            ("en;q=nonsense;;,", Language::English),
            ("de, en-GB;q=0.5, es;q=0.1", Language::English),
            ("en;q=0, fr", Language::Spanish),
            ("EN-us", Language::English),
        ];
        for (header, language) in table {
            assert_eq!(Language::accepted(header), language, "{header}");
        }
        assert_eq!(Language::of_locale("es_EC.UTF-8"), Language::Spanish);
        assert_eq!((Language::of_locale("C.UTF-8"), Language::of_locale("ñ")), (Language::English, Language::English));
    }
}
