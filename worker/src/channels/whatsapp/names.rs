//! By which names WhatsApp calls a person. It is free to call a number by another spelling than ours, and by a name that
//! hides it; so names are compared here and never as text.

/// Somebody, as a record of WhatsApp names them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Name {
    /// A telephone number: all its spellings are one here.
    Number(String),
    /// A name that hides the number (`…@lid`).
    Hidden(String),
    /// A group, a list, a channel: not a person.
    Many,
}

/// Longer are groups; no telephone number has more than 15 digits (E.164).
const SHORTEST_GROUP: usize = 18;

impl Name {
    /// Reads a JID, or the bare number: `593991234567:12@s.whatsapp.net`, `593991234567@c.us`, `+593 99 123-4567`.
    pub(super) fn of(jid: &str) -> Option<Self> {
        let (user, server) = jid.trim().split_once('@').unwrap_or((jid.trim(), ""));
        // What follows is the person's device (`:12`) or its kind (`_1`).
        let user = user.split([':', '_']).next().unwrap_or_default();
        let digits: String = user.chars().filter(char::is_ascii_digit).collect();
        if digits.is_empty() {
            return None;
        }
        Some(match server.to_ascii_lowercase().as_str() {
            "" if digits.len() >= SHORTEST_GROUP => Self::Many,
            "" | "s.whatsapp.net" | "c.us" | "hosted" => Self::Number(one_spelling(&digits)),
            "lid" | "hosted.lid" => Self::Hidden(digits),
            _ => Self::Many,
        })
    }
}

/// Digits that a country's numbers have in one spelling and lack in the other; WhatsApp knows people by the one under which
/// they once registered.
struct Inserted {
    country: &'static str,
    digits: &'static [&'static str],
    /// Where they stand.
    at: usize,
    /// Length of the number with them.
    length: usize,
}

const INSERTED: [Inserted; 5] = [
    // Brazil's ninth digit, behind the area code.
    Inserted { country: "55", digits: &["9"], at: 4, length: 13 },
    // Mexico's 1 and Argentina's 9 of mobile numbers.
    Inserted { country: "52", digits: &["1"], at: 2, length: 13 },
    Inserted { country: "54", digits: &["9"], at: 2, length: 13 },
    // Côte d'Ivoire since 2021, Benin since 2024.
    Inserted { country: "225", digits: &["01", "05", "07"], at: 3, length: 13 },
    Inserted { country: "229", digits: &["01"], at: 3, length: 13 },
];

/// The spelling without what may be missing.
fn one_spelling(digits: &str) -> String {
    let inserted = INSERTED.iter().find(|one| digits.len() == one.length && digits.starts_with(one.country));
    let shorter = inserted.and_then(|one| {
        let (head, tail) = digits.split_at(one.at);
        let tail = one.digits.iter().find_map(|inserted| tail.strip_prefix(inserted))?;
        Some(format!("{head}{tail}"))
    });
    shorter.unwrap_or_else(|| digits.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn number(digits: &str) -> Option<Name> {
        Some(Name::Number(digits.to_owned()))
    }

    #[test]
    fn a_number_is_the_same_in_all_its_spellings() {
        for (spellings, one) in [
            (
                &["593991234567", "+593 99 123-4567", "593991234567:12@s.whatsapp.net", "593991234567@c.us"][..],
                "593991234567",
            ),
            (&["5511987654321", "551187654321@s.whatsapp.net", "5511987654321_1:3@S.WhatsApp.net"], "551187654321"),
            (&["5215512345678@s.whatsapp.net", "525512345678"], "525512345678"),
            (&["5491123456789", "541123456789@c.us"], "541123456789"),
            (&["2290197123456", "22997123456"], "22997123456"),
            (&["2250707123456", "22507123456"], "22507123456"),
        ] {
            for spelling in spellings {
                assert_eq!(Name::of(spelling), number(one), "{spelling}");
            }
        }
        // A number of another country, or of another length, is left as it is.
        for other in ["593991234567", "551187654321", "34911234567", "15551234567"] {
            assert_eq!(Name::of(other), number(other));
        }
    }

    #[test]
    fn what_names_no_number_is_told_apart() {
        assert_eq!(Name::of("27153427382911@lid"), Some(Name::Hidden("27153427382911".to_owned())));
        assert_eq!(Name::of("27153427382911:7@lid"), Some(Name::Hidden("27153427382911".to_owned())));
        for many in ["120363426504089458@g.us", "120363426504089458", "593991234567-1400000000@g.us", "1@newsletter"] {
            assert_eq!(Name::of(many), Some(Name::Many), "{many}");
        }
        for nobody in ["", "@s.whatsapp.net", "status@broadcast", "ñ"] {
            assert_eq!(Name::of(nobody), None, "{nobody}");
        }
    }
}
