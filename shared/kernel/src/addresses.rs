//! What a good address is: phone numbers and e-mail addresses in one spelling each, and masked for logs.
//!
//! An address is normalised once, at intake. From then on two spellings of it are one customer, and nothing in it can
//! break out of an SMTP command, a header or a log line. Errors end up in logs, so they never repeat the whole address.

use std::borrow::Cow;
use std::fmt;
use std::str::FromStr;

use phonenumber::{Metadata, Mode, PhoneNumber, country, metadata::DATABASE, parse};
use unicode_normalization::UnicodeNormalization;

use url::Host;

use crate::language::Sentence;

/// The longest address that fits into an SMTP path (RFC 5321 §4.5.3.1.3, erratum 1690), in bytes.
const MAX_EMAIL_LENGTH: usize = 254;

/// The longest part before the `@` (RFC 5321 §4.5.3.1.1), in bytes.
const MAX_LOCAL_LENGTH: usize = 64;

/// E.164 allows 15 digits; a dialling prefix and a trunk zero may come on top.
const MAX_PHONE_DIGITS: usize = 20;

/// The fewest digits of a number that can be dialled from abroad, without the country code: those of small islands.
const FEWEST_PHONE_DIGITS: usize = 5;

/// A sender of mails: `Taller S.A. <taller@example.com>`, or an address alone. The name needs no quotes, as people write
/// it (RFC 5322, section 3.4, which would want them).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mailbox {
    pub name: Option<String>,
    /// As [`normalise_email`] writes it.
    pub address: String,
}

impl FromStr for Mailbox {
    type Err = AddressError;

    fn from_str(text: &str) -> Result<Self, AddressError> {
        let text = text.trim();
        if let Some(wrong) = text.chars().find(|character| is_unprintable(*character)) {
            return Err(AddressError::EmailCharacter(printable(wrong.encode_utf8(&mut [0; 4]))));
        }
        let Some((name, address)) = text.strip_suffix('>').and_then(|text| text.rsplit_once('<')) else {
            return Ok(Self { name: None, address: normalise_email(text)? });
        };
        let name = name.trim().trim_matches('"').trim();
        if name.len() > MAX_EMAIL_LENGTH {
            return Err(AddressError::EmailTooLong);
        }
        Ok(Self { name: Some(name.to_owned()).filter(|name| !name.is_empty()), address: normalise_email(address)? })
    }
}

impl fmt::Display for Mailbox {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.name {
            Some(name) => write!(f, "{name} <{}>", self.address),
            None => f.write_str(&self.address),
        }
    }
}

/// Why an address cannot be used: each message names the field and what to write instead.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AddressError {
    #[error("country `{0}` is unknown: use a two-letter ISO 3166-1 code such as EC")]
    UnknownCountry(String),
    #[error("phone number contains `{0}`: write digits only, with the country code, as in +593 99 123 4567")]
    PhoneCharacter(String),
    #[error(
        "phone number is not a number that can exist: check its digits, and write the country code if it is not from \
         {country}, as in +593 99 123 4567"
    )]
    PhoneInvalid { country: String },
    #[error("email must have exactly one @, as in nombre@example.com")]
    EmailAtSign,
    #[error("email must be the address alone, without a name and without < >, as in nombre@example.com")]
    EmailDisplayName,
    #[error("email contains `{0}`, which an address cannot have: remove it")]
    EmailCharacter(String),
    #[error("email has an empty part or misplaced dots before the @: write it as in nombre.apellido@example.com")]
    EmailLocalPart,
    #[error("email domain `{0}` is not the name of a mail domain: use one with a dot, as in nombre@example.com")]
    EmailDomain(String),
    #[error("email is too long: at most {MAX_LOCAL_LENGTH} bytes before the @ and {MAX_EMAIL_LENGTH} in all")]
    EmailTooLong,
}

impl From<AddressError> for Sentence {
    fn from(error: AddressError) -> Self {
        Self::of_error(error.in_spanish(), &error)
    }
}

impl AddressError {
    /// The same in Spanish, for the person who filled in the form.
    pub fn in_spanish(&self) -> String {
        match self {
            Self::UnknownCountry(country) => {
                format!("El país \"{country}\" no se conoce: use un código de dos letras como EC.")
            }
            Self::PhoneCharacter(character) => format!(
                "El número contiene \"{character}\". Escriba solo dígitos, con el código del país: +593 99 123 4567."
            ),
            Self::PhoneInvalid { country } => format!(
                "No es un número que pueda existir. Revise sus dígitos y escriba el código del país si no es de {country}: \
                 +593 99 123 4567."
            ),
            Self::EmailAtSign => "El correo debe tener exactamente una @, como nombre@example.com.".to_owned(),
            Self::EmailDisplayName => {
                "Escriba solo la dirección, sin nombre y sin < >, como nombre@example.com.".to_owned()
            }
            Self::EmailCharacter(character) => {
                format!("El correo contiene \"{character}\", que una dirección no puede tener.")
            }
            Self::EmailLocalPart => {
                "Antes de la @ falta una parte o sobra un punto: escriba nombre.apellido@example.com.".to_owned()
            }
            Self::EmailDomain(domain) => {
                format!("\"{domain}\" no es un dominio de correo: use uno con un punto, como nombre@example.com.")
            }
            Self::EmailTooLong => format!(
                "El correo es demasiado largo: como máximo {MAX_LOCAL_LENGTH} bytes antes de la @ y {MAX_EMAIL_LENGTH} en total."
            ),
        }
    }
}

/// Loads the numbering plans of the world, which takes a processor 70 ms, so that no caller has to wait for it.
pub fn load_numbering_plans() {
    let _ = DATABASE.by_id("EC");
}

/// The code of a country that has telephones, in capitals. The numbering plans are not loaded for this.
pub fn country_code(code: &str) -> Option<String> {
    let code = code.to_ascii_uppercase();
    code.parse::<country::Id>().ok().map(|_| code)
}

/// Brings a phone number into E.164, such as `+593991234567`.
///
/// A number without a country code belongs to `default_country` (ISO 3166-1, such as `EC`). Accepted as people write it:
/// `0991234567`, `+593 (0)99 123-4567`, `00593 99 123 4567`, `593991234567`. A number that stands in its country's numbering
/// plan is preferred to one that does not; but a plan that was compiled in is no judge of who can be reached, so a number of a
/// length that its country has is taken, too ([`is_unusual_phone`] tells it). Whether it is in use is for the channel to find out.
pub fn normalise_phone(input: &str, default_country: &str) -> Result<String, AddressError> {
    let unknown_country = || AddressError::UnknownCountry(printable(default_country));
    let country: country::Id = default_country.to_ascii_uppercase().parse().map_err(|_| unknown_country())?;
    let home = DATABASE.by_id(country.as_ref()).ok_or_else(unknown_country)?;
    let invalid = || AddressError::PhoneInvalid { country: home.id().to_owned() };

    let dialled = dialled(without_decimals(input.trim()))?;
    if dialled.len() > MAX_PHONE_DIGITS {
        return Err(invalid());
    }
    let e164 = |number: &PhoneNumber| number.format().mode(Mode::E164).to_string();
    let in_a_plan = readings(&dialled, home, country).find(PhoneNumber::is_valid);
    let possible = || readings(&dialled, home, country).find_map(|number| possible(&e164(&number)));
    in_a_plan.map(|number| e164(&number)).or_else(possible).ok_or_else(invalid)
}

/// Whether a number in E.164 stands in no numbering plan that is known here.
pub fn is_unusual_phone(e164: &str) -> bool {
    !parse(Some(country::ES), e164).is_ok_and(|number| number.is_valid())
}

/// A number in E.164 that has a length of its country, without the trunk prefix that people write after the country code
/// (`+593 0 99…`). Where it is possible with and without that prefix, it is read without.
fn possible(e164: &str) -> Option<String> {
    let digits = e164.strip_prefix('+')?;
    let (code, national) = digits.split_at(country_code_length(digits)?);
    let countries = DATABASE.by_code(&code.parse().ok()?)?;
    let is_length = |national: &str| {
        let length = national.len() as u16;
        national.len() >= FEWEST_PHONE_DIGITS && countries.iter().any(|country| has_length(country, length))
    };
    let trunk = |national: &str| {
        let prefix = countries.iter().find_map(|country| country.national_prefix())?;
        national.strip_prefix(prefix).map(str::to_owned)
    };
    let mut found = is_length(national).then(|| national.to_owned());
    let mut rest = national.to_owned();
    while let Some(shorter) = trunk(&rest) {
        found = is_length(&shorter).then(|| shorter.clone()).or(found);
        rest = shorter;
    }
    found.filter(|national| national.bytes().any(|digit| digit != b'0')).map(|national| format!("+{code}{national}"))
}

/// Whether a country has numbers of so many digits, of whatever type.
fn has_length(country: &Metadata, length: u16) -> bool {
    let plan = country.descriptors();
    let types = [
        plan.fixed_line(),
        plan.mobile(),
        plan.toll_free(),
        plan.premium_rate(),
        plan.shared_cost(),
        plan.personal_number(),
        plan.voip(),
        plan.pager(),
        plan.uan(),
    ];
    types.into_iter().flatten().any(|numbers| numbers.possible_length().contains(&length))
}

/// What a spreadsheet or a column of floats made of the digits: `593991234567.0`.
fn without_decimals(input: &str) -> &str {
    let whole = input.split_once('.').filter(|(whole, rest)| {
        let digits = whole.trim_start_matches('+');
        !rest.is_empty()
            && rest.bytes().all(|byte| byte == b'0')
            && digits.len() >= FEWEST_PHONE_DIGITS
            && digits.bytes().all(|byte| byte.is_ascii_digit())
    });
    whole.map_or(input, |(whole, _)| whole)
}

/// Brings an e-mail address into the one spelling that is stored and compared.
///
/// The domain becomes lower case, and an international domain its ASCII form (`señal.ec` becomes `xn--seal-hqa.ec`, RFC
/// 5891), which every mail server takes. The part before the `@` keeps its case, because only its own server knows
/// whether that matters; it is a dot-atom (RFC 5321 §4.1.2) and may hold letters beyond ASCII (SMTPUTF8, RFC 6531), in
/// Unicode's composed form. Quoted local parts and addresses at an IP number are refused: people do not have these.
pub fn normalise_email(input: &str) -> Result<String, AddressError> {
    let address = input.trim();
    if address.len() > MAX_EMAIL_LENGTH {
        return Err(AddressError::EmailTooLong);
    }
    if address.contains(['<', '>']) {
        return Err(AddressError::EmailDisplayName);
    }
    // Composed first: composing may turn a look-alike (U+037E) into an ASCII character (`;`) that is not allowed.
    let address: String = address.nfc().collect();
    let (local, domain) = address.split_once('@').ok_or(AddressError::EmailAtSign)?;
    if domain.contains('@') {
        return Err(AddressError::EmailAtSign);
    }
    check_local_part(local)?;
    let address = format!("{local}@{}", mail_domain(domain)?);
    if address.len() > MAX_EMAIL_LENGTH {
        return Err(AddressError::EmailTooLong);
    }
    Ok(address)
}

/// An e-mail address for a log line: `carlos@example.com` becomes `c***@example.com`. Takes any text.
pub fn mask_email(address: &str) -> String {
    match address.rsplit_once('@') {
        Some((local, domain)) if !address.chars().any(is_unprintable) => {
            let first: String = local.chars().take(1).collect();
            format!("{first}***@{domain}")
        }
        _ => "***".to_owned(),
    }
}

/// A phone number for a log line: `+593991234567` becomes `+593*****4567`. Takes any text.
pub fn mask_phone(number: &str) -> String {
    let (plus, digits) = match number.strip_prefix('+') {
        Some(digits) => ("+", digits),
        None => ("", number),
    };
    let code_length = if plus.is_empty() { Some(0) } else { country_code_length(digits) };
    let is_number = digits.bytes().all(|byte| byte.is_ascii_digit());
    let Some(code_length) = code_length.filter(|length| is_number && digits.len() > *length) else {
        return "***".to_owned();
    };
    let (country_code, subscriber) = digits.split_at(code_length);
    // Four digits of a short number would be most of it.
    let tail = if subscriber.len() >= 7 { 4 } else { 0 };
    let (hidden, tail) = subscriber.split_at(subscriber.len() - tail);
    format!("{plus}{country_code}{}{tail}", "*".repeat(hidden.len()))
}

/// A text in which addresses are hidden: mail addresses, and numbers that are long enough to be a telephone's.
pub fn mask_in_text(text: &str) -> String {
    let mut shown = String::with_capacity(text.len());
    for word in text.split_inclusive(|one: char| one.is_whitespace() || "<>()[],;\"'".contains(one)) {
        let end = word.trim_end_matches(|one: char| one.is_whitespace() || "<>()[],;\"':.".contains(one)).len();
        let (word, rest) = word.split_at(end);
        let digits = word.chars().filter(char::is_ascii_digit).count();
        let is_phone = digits >= 8 && word.chars().all(|one| one.is_ascii_digit() || "+-.".contains(one));
        if word.contains('@') {
            shown.push_str(&mask_email(word));
        } else if is_phone {
            shown.push_str(&mask_phone(word));
        } else {
            shown.push_str(word);
        }
        shown.push_str(rest);
    }
    shown
}

/// The digits of `input` with a `+` where one was written; what people and their keyboards put between them is dropped.
fn dialled(input: &str) -> Result<String, AddressError> {
    let mut dialled = String::new();
    for character in input.trim().chars() {
        match character {
            '0'..='9' => dialled.push(character),
            '+' if dialled.is_empty() => dialled.push('+'),
            // Dashes and slashes of any length, and the no-break dashes and spaces that web pages hold.
            '-' | '.' | '(' | ')' | '/' | '\u{2010}'..='\u{2015}' | '\u{2212}' => {}
            _ if character.is_whitespace() && !character.is_control() => {}
            // Contacts copied from a telephone are wrapped in invisible direction marks.
            _ if is_invisible(character) => {}
            _ => return Err(AddressError::PhoneCharacter(printable(character.encode_utf8(&mut [0; 4])))),
        }
    }
    Ok(dialled)
}

/// What the dialled digits may mean, the most explicit meaning first: international after `+`, after the `00` that is
/// recommended world-wide, after the prefix of that country (`011` in the US), or a number of that country.
fn readings(dialled: &str, home: &Metadata, country: country::Id) -> impl Iterator<Item = PhoneNumber> {
    let (after_plus, national) = match dialled.strip_prefix('+') {
        Some(digits) => (Some(digits), None),
        None => (None, Some(dialled)),
    };
    let after_zeros = dialled.trim_start_matches('+').strip_prefix("00");
    let after_prefix = national.and_then(|digits| {
        let prefix = home.international_prefix()?.find(digits).filter(|found| found.start() == 0)?;
        Some(&digits[prefix.end()..])
    });

    // As written, then without a trunk zero after the country code. The crate would take the trunk prefix away even where
    // it belongs to the number (+7 8422…), unless it reads by the rules of a country that has none: Spain.
    let international =
        [after_plus, after_zeros, after_prefix].into_iter().flatten().map(|digits| format!("+{digits}"));
    let international =
        international.flat_map(|number| [Some(country::ES), None].into_iter().map(move |rules| parse(rules, &number)));
    let national = national.into_iter().map(move |digits| parse(Some(country), digits));
    international.chain(national).filter_map(Result::ok)
}

/// The country code of a number in E.164, and its national digits.
pub fn parts(e164: &str) -> Option<(&str, &str)> {
    let digits = e164.strip_prefix('+')?;
    digits.split_at_checked(country_code_length(digits)?).filter(|(_, national)| !national.is_empty())
}

/// Country codes are free of prefixes (ITU-T E.164 annex D), so that the first match is the only one.
fn country_code_length(digits: &str) -> Option<usize> {
    let is_code = |length: &usize| {
        let code = digits.get(..*length).and_then(|code| code.parse::<u16>().ok());
        code.is_some_and(|code| DATABASE.by_code(&code).is_some())
    };
    (1..=3).find(is_code)
}

/// Checks the part before the `@`: a dot-atom (RFC 5321 §4.1.2) of ASCII atoms and, with SMTPUTF8, visible Unicode.
fn check_local_part(local: &str) -> Result<(), AddressError> {
    let allowed = |character: char| match character {
        '\0'..='\x7f' => character.is_ascii_alphanumeric() || "!#$%&'*+-/=?^_`{|}~.".contains(character),
        _ => !is_unprintable(character) && !character.is_whitespace(),
    };
    if let Some(wrong) = local.chars().find(|character| !allowed(*character)) {
        return Err(AddressError::EmailCharacter(printable(wrong.encode_utf8(&mut [0; 4]))));
    }
    if local.split('.').any(str::is_empty) {
        return Err(AddressError::EmailLocalPart);
    }
    if local.len() > MAX_LOCAL_LENGTH {
        return Err(AddressError::EmailTooLong);
    }
    Ok(())
}

/// The name of a mail domain or of a mail server as DNS knows it: with a dot, in ASCII and in lower case (RFC 5321 §2.3.5,
/// RFC 5891).
pub fn mail_domain(domain: &str) -> Result<String, AddressError> {
    let wrong = || AddressError::EmailDomain(printable(domain));
    // Asked before the parser for hosts of URLs, which would decode `%2e` and drop soft hyphens.
    let allowed = |character: char| match character {
        '\0'..='\x7f' => character.is_ascii_alphanumeric() || "-.".contains(character),
        _ => !is_unprintable(character),
    };
    if !domain.chars().all(allowed) {
        return Err(wrong());
    }
    let Ok(Host::Domain(ascii)) = Host::parse(domain) else { return Err(wrong()) };
    let label_is_good = |label: &str| {
        (1..=63).contains(&label.len())
            && !label.starts_with('-')
            && !label.ends_with('-')
            && label.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
    };
    if !ascii.contains('.') || !ascii.split('.').all(label_is_good) {
        return Err(wrong());
    }
    Ok(ascii)
}

/// Control characters, and those that take no place on the screen: line separators, direction marks, joiners.
fn is_unprintable(character: char) -> bool {
    character.is_control() || is_invisible(character) || matches!(character, '\u{2028}' | '\u{2029}')
}

fn is_invisible(character: char) -> bool {
    matches!(character, '\u{ad}' | '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}')
}

/// What a caller wrote, fit for an error message and a log line.
fn printable(text: &str) -> String {
    let text: Cow<'_, str> = match text.char_indices().nth(64) {
        Some((end, _)) => format!("{}…", &text[..end]).into(),
        None => text.into(),
    };
    text.escape_debug().to_string()
}

#[cfg(test)]
mod tests {
    use proptest::{prelude::*, sample::select};

    use super::*;

    #[test]
    fn senders_of_mails() {
        let parts = |text: &str| text.parse().map(|Mailbox { name, address }| (name.unwrap_or_default(), address));
        let good = [
            ("taller@Example.com", "", "taller@example.com"),
            ("Taller Ñandú S.A. <taller@example.com>", "Taller Ñandú S.A.", "taller@example.com"),
            ("\"Taller, Norte\" <taller@example.com>", "Taller, Norte", "taller@example.com"),
            (" <taller@example.com> ", "", "taller@example.com"),
        ];
        for (text, name, address) in good {
            assert_eq!(parts(text), Ok((name.to_owned(), address.to_owned())), "{text}");
        }
        for wrong in
            ["", "taller", "Taller <taller>", "A\r\nBcc: b@c.ec <taller@example.com>", "a@b.ec>", "a@b.ec, c@d.ec"]
        {
            assert!(parts(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn countries_are_known_without_their_plans() {
        for code in ('A'..='Z').flat_map(|first| ('A'..='Z').map(move |second| format!("{first}{second}"))) {
            assert_eq!(country_code(&code).is_some(), DATABASE.by_id(&code).is_some(), "{code}");
        }
        assert_eq!(country_code("ec").as_deref(), Some("EC"));
        assert!(["", "Ecuador", "ECU", "+593", "593", "E C"].into_iter().all(|wrong| country_code(wrong).is_none()));
    }

    #[test]
    fn phone_numbers_as_people_write_them() {
        let cases = [
            ("EC", "+593991234567", "+593991234567"),
            ("EC", "0991234567", "+593991234567"),
            ("EC", "991234567", "+593991234567"),
            ("ec", " 099 123-4567 ", "+593991234567"),
            ("EC", "+593 0991234567", "+593991234567"),
            ("EC", "+593 (0)99 123.45.67", "+593991234567"),
            ("EC", "(+593) 99 123 4567", "+593991234567"),
            ("EC", "00593 99 123 4567", "+593991234567"),
            ("EC", "+00593 99 123 4567", "+593991234567"),
            ("EC", "593991234567", "+593991234567"),
            ("EC", "5930991234567", "+593991234567"),
            ("EC", "\u{202a}+593\u{a0}99\u{2011}123\u{2011}4567\u{202c}", "+593991234567"),
            ("EC", "02 222 3333", "+59322223333"),
            ("EC", "+57 300 123 4567", "+573001234567"),
            ("EC", "+51 987 654 321", "+51987654321"),
            ("EC", "+1 650-253-0000", "+16502530000"),
            // The zero belongs to the number in Italy, whatever it means in Ecuador.
            ("EC", "+39 02 3661 8300", "+390236618300"),
            // The 8 belongs to the number in Ulyanovsk, although it is Russia's trunk prefix too.
            ("EC", "+7 8422 325236", "+78422325236"),
            ("EC", "+7 8 912 345-67-89", "+79123456789"),
            // In Colombia 005 is a carrier's prefix and 93 is Afghanistan, but a caller who writes 00593 means Ecuador.
            ("CO", "00593991234567", "+593991234567"),
            ("CO", "300 1234567", "+573001234567"),
            ("US", "011 593 99 123 4567", "+593991234567"),
            ("US", "011 39 02 3661 8300", "+390236618300"),
            ("US", "(650) 253-0000", "+16502530000"),
        ];
        for (country, input, expected) in cases {
            assert_eq!(normalise_phone(input, country).as_deref(), Ok(expected), "{input:?} from {country}");
        }
    }

    #[test]
    fn phone_numbers_that_are_refused() {
        let cases = [
            ("EC", "", "not a number that can exist"),
            ("EC", "+", "not a number that can exist"),
            ("EC", "123", "not a number that can exist"),
            ("EC", "099123456789012", "write the country code if it is not from EC"),
            ("EC", "+593 99 123", "not a number that can exist"),
            ("EC", "+999 123456789", "not a number that can exist"),
            ("EC", "573001234567", "not a number that can exist"),
            ("EC", "000000000000", "not a number that can exist"),
            ("EC", "+5939912345670000000000000", "not a number that can exist"),
            ("EC", "099 123 4567 ext 5", "contains `e`: write digits only"),
            ("EC", "099123+4567", "contains `+`"),
            ("EC", "0991234567;0991234568", "contains `;`"),
            ("EC", "099123\r\n4567", "contains `\\r`"),
            ("EC", "593991234567@s.whatsapp.net", "contains `@`"),
            ("", "0991234567", "country `` is unknown"),
            ("Ecuador", "0991234567", "country `Ecuador` is unknown: use a two-letter"),
            ("XX", "+593991234567", "country `XX` is unknown"),
        ];
        for (country, input, expected) in cases {
            let error = normalise_phone(input, country).expect_err(input).to_string();
            assert!(error.contains(expected), "{input:?} from {country:?}: {error}");
        }
    }

    /// Numbers that the compiled-in plans do not know, and people have: ranges that were opened later, or were never written down.
    #[test]
    fn a_number_of_a_possible_length_is_taken_and_is_unusual() {
        let cases = [
            ("EC", "+593 900 123 456", "+593900123456"),
            ("EC", "+593 0 90 012 3456", "+593900123456"),
            ("EC", "+593 (0) 900123456", "+593900123456"),
            ("EC", "0900123456", "+593900123456"),
            ("EC", "593900123456", "+593900123456"),
            ("EC", "00593 900123456", "+593900123456"),
            ("EC", "+593 99 123 456", "+59399123456"),
            ("EC", "+57 999 999 9999", "+579999999999"),
            ("CO", "999 999 9999", "+579999999999"),
            ("US", "(650) 153-0000", "+16501530000"),
        ];
        for (country, input, expected) in cases {
            assert_eq!(normalise_phone(input, country).as_deref(), Ok(expected), "{input:?} from {country}");
            assert!(is_unusual_phone(expected), "{expected}");
        }
        for usual in ["+593991234567", "+59322223333", "+390236618300", "+78422325236", "+16502530000"] {
            assert!(!is_unusual_phone(usual), "{usual}");
        }
        assert_eq!(normalise_phone("593991234567.0", "EC").as_deref(), Ok("+593991234567"));
    }

    /// The Americas, some of Europe, and countries whose trunk prefixes are odd.
    #[test]
    fn a_countrys_example_is_a_good_number_in_both_spellings() {
        let countries = "EC CO PE AR BO BR CL CR DO GT MX PA PY UY VE US ES IT FR GB DE HU RU BY LT";
        for home in countries.split(' ').map(|id| DATABASE.by_id(id).unwrap()) {
            let example = home.descriptors().mobile().and_then(|mobile| mobile.example()).unwrap();
            let number = format!("+{}{example}", home.country_code());
            assert_eq!(normalise_phone(&number, "EC").as_ref(), Ok(&number), "{}", home.id());

            let national = parse(None, &number).unwrap().format().mode(Mode::National).to_string();
            assert_eq!(normalise_phone(&national, home.id()), Ok(number), "{national} in {}", home.id());
        }
    }

    #[test]
    fn a_good_email() {
        let cases = [
            ("carlos@example.com", "carlos@example.com"),
            ("  carlos@example.com\n", "carlos@example.com"),
            ("Carlos.Perez+Taller@Example.COM", "Carlos.Perez+Taller@example.com"),
            ("o'hara_{x}~1@mail.example.ec", "o'hara_{x}~1@mail.example.ec"),
            ("josé@example.ec", "josé@example.ec"),
            ("jose\u{301}@example.ec", "josé@example.ec"),
            ("info@SEÑAL.ec", "info@xn--seal-hqa.ec"),
            ("info@sen\u{303}al.ec", "info@xn--seal-hqa.ec"),
            ("info@XN--seal-hqa.ec", "info@xn--seal-hqa.ec"),
            ("用户@例え.jp", "用户@xn--r8jz45g.jp"),
            ("a@1.example", "a@1.example"),
        ];
        for (input, expected) in cases {
            assert_eq!(normalise_email(input).as_deref(), Ok(expected), "{input:?}");
        }
    }

    #[test]
    fn a_bad_email() {
        let cases = [
            ("", "exactly one @"),
            ("carlos.example.com", "exactly one @"),
            ("carlos@perez@example.com", "exactly one @"),
            ("María <maria@example.ec>", "the address alone, without a name"),
            ("<maria@example.ec>", "the address alone"),
            ("@example.com", "empty part or misplaced dots"),
            (".carlos@example.com", "misplaced dots"),
            ("carlos.@example.com", "misplaced dots"),
            ("carlos..p@example.com", "misplaced dots"),
            ("carlos perez@example.com", "contains ` `"),
            ("\"carlos perez\"@example.com", "contains `\\\"`"),
            ("a,b@example.com", "contains `,`"),
            ("a\u{37e}b@example.com", "contains `;`"),
            ("carlos\0@example.com", "contains `\\0`"),
            ("carlos\u{200b}@example.com", "contains `\\u{200b}`"),
            ("carlos\r\nRCPT TO:x@example.com", "contains `\\r`"),
            ("carlos@example.com\r\nBcc: x", "domain `example.com\\r\\nBcc: x` is not"),
            ("carlos@", "domain `` is not"),
            ("carlos@localhost", "domain `localhost` is not the name of a mail domain"),
            ("carlos@example.", "domain `example.` is not"),
            ("carlos@.com", "domain"),
            ("carlos@example..com", "domain"),
            ("carlos@-example.com", "domain"),
            ("carlos@example-.com", "domain"),
            ("carlos@exa_mple.com", "domain"),
            ("carlos@exa mple.com", "domain"),
            ("carlos@example%2ecom", "domain"),
            ("carlos@exam\u{ad}ple.com", "domain"),
            ("carlos@example.com:25", "domain"),
            ("carlos@127.0.0.1", "domain `127.0.0.1`"),
            ("carlos@0x7f.1", "domain"),
            ("carlos@[127.0.0.1]", "domain"),
            ("carlos@[IPv6:::1]", "domain"),
            ("carlos@xn--a.com", "domain"),
        ];
        for (input, expected) in cases {
            let error = normalise_email(input).expect_err(input).to_string();
            assert!(error.contains(expected), "{input:?}: {error}");
        }
    }

    #[test]
    fn emails_have_a_longest_length() {
        let address = |local: usize, label: usize| {
            let label = "d".repeat(label);
            format!("{}@{label}.{label}.{label}.com", "l".repeat(local))
        };
        assert!(normalise_email(&address(64, 61)).is_ok());
        assert_eq!(normalise_email(&address(65, 20)), Err(AddressError::EmailTooLong));
        assert_eq!(address(64, 61).len(), 254);
        assert_eq!(normalise_email(&address(64, 62)), Err(AddressError::EmailTooLong));
        assert!(matches!(normalise_email(&address(1, 64)), Err(AddressError::EmailDomain(_))));
        // Short as written, too long in ASCII.
        let wide = format!("{}@{}ec", "l".repeat(64), "ñ.".repeat(40));
        assert!(wide.len() <= MAX_EMAIL_LENGTH);
        assert_eq!(normalise_email(&wide), Err(AddressError::EmailTooLong));
    }

    #[test]
    fn masks_keep_just_enough_to_recognise_an_address() {
        let emails = [
            ("carlos@example.com", "c***@example.com"),
            ("ñusta@example.com", "ñ***@example.com"),
            ("@example.com", "***@example.com"),
            ("carlos@perez@example.com", "c***@example.com"),
            ("carlos", "***"),
            ("carlos@example.com\nlevel=error", "***"),
            ("", "***"),
        ];
        for (address, expected) in emails {
            assert_eq!(mask_email(address), expected);
        }
        let phones = [
            ("+593991234567", "+593*****4567"),
            ("+16502530000", "+1******0000"),
            ("0991234567", "******4567"),
            ("+593123456", "+593******"),
            ("12345", "*****"),
            ("+9990000", "***"),
            ("+593", "***"),
            ("carlos", "***"),
            ("", "***"),
            ("+", "***"),
        ];
        for (number, expected) in phones {
            assert_eq!(mask_phone(number), expected);
        }
    }

    /// A number of any country, with digits at random: some exist, most do not.
    fn international_number() -> impl Strategy<Value = String> {
        let codes: Vec<u16> = DATABASE.iter().map(Metadata::country_code).collect();
        (select(codes), "[0-9]{4,12}").prop_map(|(code, digits)| format!("+{code}{digits}"))
    }

    fn country() -> impl Strategy<Value = String> {
        let ids: Vec<String> = DATABASE.iter().map(|home| home.id().to_owned()).collect();
        prop_oneof![4 => select(ids), 1 => "[A-Z]{2}", 1 => any::<String>()]
    }

    fn is_clean(text: &str) -> bool {
        !text.chars().any(|character| is_unprintable(character) || character.is_whitespace())
    }

    proptest! {
        #[test]
        fn a_normalised_phone_stays_as_it_is(
            input in prop_oneof![international_number(), "[+0-9 ()-]{0,24}", any::<String>()],
            country in country(),
            other in country(),
        ) {
            if let Ok(number) = normalise_phone(&input, &country) {
                prop_assert!(number.starts_with('+') && number[1..].bytes().all(|byte| byte.is_ascii_digit()));
                prop_assert!(number.len() <= 16, "E.164 has 15 digits: {number}");
                prop_assert_eq!(normalise_phone(&number, &country), Ok(number.clone()));
                if normalise_phone("+593991234567", &other).is_ok() {
                    prop_assert_eq!(normalise_phone(&number, &other), Ok(number));
                }
            }
        }

        #[test]
        fn a_normalised_email_stays_as_it_is(
            input in prop_oneof!["[a-zA-Z.+é ]{1,9}@[a-zA-Zñ.-]{1,12}\\.(com|EC)", "\\PC{0,9}@\\PC{0,9}\\.ec", any::<String>()],
        ) {
            match normalise_email(&input) {
                Ok(address) => {
                    prop_assert!(is_clean(&address) && address.len() <= MAX_EMAIL_LENGTH);
                    let (_, domain) = address.split_once('@').unwrap();
                    prop_assert!(domain.is_ascii() && domain.contains('.') && !domain.contains('@'));
                    prop_assert!(!domain.bytes().any(|byte| byte.is_ascii_uppercase()));
                    prop_assert_eq!(normalise_email(&address), Ok(address));
                }
                Err(error) => prop_assert!(!error.to_string().chars().any(char::is_control)),
            }
        }

        #[test]
        fn masks_hide_any_text(text in prop_oneof![any::<String>(), "\\PC{2,20}@[a-z]{1,9}", "\\+?[0-9]{0,20}"]) {
            let (email, phone) = (mask_email(&text), mask_phone(&text));
            prop_assert!(!email.chars().chain(phone.chars()).any(is_unprintable));
            prop_assert!(email.contains("***"));
            prop_assert!(!phone.chars().any(|character| !"+0123456789*".contains(character)));
            prop_assert!(phone.contains('*'));
        }
    }
}
