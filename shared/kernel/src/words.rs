//! Enums whose variants are words: on the wire, in the database, in settings and on the command line alike.
//!
//! `strum` derives the word of each variant and the list of all. [`word_enum!`](crate::word_enum) builds the rest on these
//! two, so that each word stands in one place:
//!
//! ```
//! #[derive(Clone, Copy, Debug, PartialEq, strum::IntoStaticStr, strum::VariantArray)]
//! #[strum(serialize_all = "snake_case", const_into_str)]
//! pub enum Misfire {
//!     RunOnce,
//!     Skip,
//! }
//!
//! recado_kernel::word_enum!(Misfire, "a misfire policy");
//!
//! assert_eq!(Misfire::ALL.map(Misfire::as_str), ["run_once", "skip"]);
//! let error = "never".parse::<Misfire>().unwrap_err();
//! assert_eq!(error.to_string(), "`never` is not a misfire policy; choose run_once or skip");
//! ```
//!
//! An enum that the API documents also derives `utoipa::ToSchema`, with `#[schema(rename_all = …)]` of the same case.
//!
//! sqlx's own derive was considered: it covers the database only, and on PostgreSQL it looks the type `text` up by name, one
//! more round trip per connection. `strum::EnumString` parses, but its error names neither the word nor the choices.

use std::fmt;

/// A word that names no variant.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{word}` is not {noun}; choose {choices}")]
pub struct UnknownWord {
    pub word: String,
    /// What was looked for, with its article: `a channel`.
    pub noun: &'static str,
    pub choices: Choices,
}

/// The words that would have been understood, as a sentence lists them: `email, whatsapp or push`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Choices(pub &'static [&'static str]);

impl fmt::Display for Choices {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (number, word) in self.0.iter().enumerate() {
            let separator = match self.0.len() - number {
                _ if number == 0 => "",
                1 => " or ",
                _ => ", ",
            };
            write!(f, "{separator}{word}")?;
        }
        Ok(())
    }
}

/// Makes an enum that derives `strum::IntoStaticStr` (with `const_into_str`) and `strum::VariantArray` a word everywhere: `ALL`, `WORDS`, `as_str`, `Display`, `FromStr`, serde, and text in both databases. See [the module](crate::words).
#[macro_export]
macro_rules! word_enum {
    ($name:ident, $noun:literal) => {
        impl $name {
            /// Every variant, in the order of its declaration.
            pub const ALL: [Self; <Self as strum::VariantArray>::VARIANTS.len()] =
                *<Self as strum::VariantArray>::VARIANTS.first_chunk().expect("the array is as long as the list");

            /// The words of [`ALL`](Self::ALL).
            pub const WORDS: &'static [&'static str] = &{
                let mut words = [""; Self::ALL.len()];
                let mut number = 0;
                while number < words.len() {
                    words[number] = Self::ALL[number].into_str();
                    number += 1;
                }
                words
            };

            /// The word for it.
            pub const fn as_str(self) -> &'static str {
                self.into_str()
            }
        }

        impl std::fmt::Display for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.pad(self.as_str())
            }
        }

        impl AsRef<str> for $name {
            fn as_ref(&self) -> &str {
                self.as_str()
            }
        }

        impl std::str::FromStr for $name {
            type Err = $crate::words::UnknownWord;

            fn from_str(word: &str) -> std::result::Result<Self, Self::Err> {
                Self::ALL.into_iter().find(|known| known.as_str() == word).ok_or_else(|| $crate::words::UnknownWord {
                    word: word.to_owned(),
                    noun: $noun,
                    choices: $crate::words::Choices(Self::WORDS),
                })
            }
        }

        impl serde::Serialize for $name {
            fn serialize<S: serde::Serializer>(&self, serializer: S) -> std::result::Result<S::Ok, S::Error> {
                serializer.serialize_str(self.as_str())
            }
        }

        impl<'de> serde::Deserialize<'de> for $name {
            fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> std::result::Result<Self, D::Error> {
                let word = <std::borrow::Cow<'de, str> as serde::Deserialize>::deserialize(deserializer)?;
                word.parse().map_err(serde::de::Error::custom)
            }
        }

        impl<DB: sqlx::Database> sqlx::Type<DB> for $name
        where
            str: sqlx::Type<DB>,
        {
            fn type_info() -> DB::TypeInfo {
                <str as sqlx::Type<DB>>::type_info()
            }

            fn compatible(ty: &DB::TypeInfo) -> bool {
                <str as sqlx::Type<DB>>::compatible(ty)
            }
        }

        impl<'q, DB: sqlx::Database> sqlx::Encode<'q, DB> for $name
        where
            &'q str: sqlx::Encode<'q, DB>,
        {
            fn encode_by_ref(
                &self,
                buffer: &mut DB::ArgumentBuffer,
            ) -> std::result::Result<sqlx::encode::IsNull, sqlx::error::BoxDynError> {
                <&'q str as sqlx::Encode<'q, DB>>::encode(self.as_str(), buffer)
            }
        }

        impl<'r, DB: sqlx::Database> sqlx::Decode<'r, DB> for $name
        where
            &'r str: sqlx::Decode<'r, DB>,
        {
            fn decode(value: DB::ValueRef<'r>) -> std::result::Result<Self, sqlx::error::BoxDynError> {
                Ok(<&'r str as sqlx::Decode<'r, DB>>::decode(value)?.parse()?)
            }
        }

        // For rows whose fields still say `#[sqlx(try_from = "String")]`; they need not.
        impl TryFrom<String> for $name {
            type Error = $crate::words::UnknownWord;

            fn try_from(word: String) -> std::result::Result<Self, Self::Error> {
                word.parse()
            }
        }
    };
}

#[cfg(test)]
#[expect(unreachable_pub, reason = "the macro is for public enums")]
mod tests {
    use super::*;

    #[derive(Clone, Copy, Debug, PartialEq, Eq, strum::IntoStaticStr, strum::VariantArray)]
    #[strum(serialize_all = "snake_case", const_into_str)]
    enum Kind {
        FellBack,
        Receipt,
        #[strum(serialize = "opt-out")]
        OptedOut,
    }

    word_enum!(Kind, "a kind");

    #[test]
    fn a_word_leads_there_and_back() {
        assert_eq!(Kind::WORDS, ["fell_back", "receipt", "opt-out"]);
        for kind in Kind::ALL {
            assert_eq!(kind.to_string().parse(), Ok(kind));
            let json = serde_json::to_string(&kind).expect("a word");
            assert_eq!(json, format!("\"{kind}\""));
            assert_eq!(serde_json::from_str::<Kind>(&json).expect("the word of a kind"), kind);
        }
    }

    #[test]
    fn an_unknown_word_is_told_which_there_are() {
        let complaint = "`Receipt` is not a kind; choose fell_back, receipt or opt-out";
        assert_eq!("Receipt".parse::<Kind>().expect_err("the case differs").to_string(), complaint);
        let error = serde_json::from_str::<Kind>("\"Receipt\"").expect_err("the case differs").to_string();
        assert!(error.starts_with(complaint), "{error}");
        assert_eq!(Choices(&["one"]).to_string(), "one");
    }
}
