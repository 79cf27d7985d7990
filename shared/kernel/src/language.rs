//! In which language a person is told something. Facts are kept, and sentences are made where they are read.

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

#[cfg(test)]
mod tests {
    use super::*;

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
