//! What the debugger found, as facts, and how they are told in Spanish and in English. Pure.

use std::collections::BTreeSet;

use recado_kernel::language::Language;

use super::{Advice, BodySeen, Difference, Drift, Fit, is_standard};
use crate::canonical::{Form, NotCanonical};
use crate::dialect::Signed;
use crate::signature::KeyForm;

/// What of a request somebody may have signed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Variant {
    /// What we take.
    Taken(Signed),
    WithLineEnd,
    WithWindowsLineEnd,
    Trimmed,
    WithoutMark,
    WithMark,
    Empty,
    IdTimestampBody,
    TimestampDotBody,
    TimestampAndBody,
    WindowsLineEnds,
    UnixLineEnds,
    Composed,
    Decomposed,
    Latin,
    Utf16,
    /// A library that read the numbers and wrote them again.
    PythonsNumbers(Form),
    JavaScriptsNumbers(Form),
    /// The field `data` of the payload.
    Data(Form),
    Indented(usize),
}

impl Variant {
    /// Dialects have names, which are the same in both languages: they stand in the list of webhooks, too.
    pub(super) fn told(self, language: Language) -> String {
        let text = match self {
            Self::Taken(signed) => return signed.to_string(),
            Self::PythonsNumbers(form) => {
                let numbers = language.pick("números como los escribe Python", "numbers as Python writes them");
                return format!("{}, {numbers}", Signed::Form(form));
            }
            Self::JavaScriptsNumbers(form) => {
                let numbers = language.pick("números como los escribe JavaScript", "numbers as JavaScript writes them");
                return format!("{}, {numbers}", Signed::Form(form));
            }
            Self::Data(form) => {
                return format!("{}, {}", language.pick("solo `data`", "`data` alone"), Signed::Form(form));
            }
            Self::Indented(by) => {
                let indented = language.pick("el contenido, con sangría de", "the payload, indented by");
                return format!("{indented} {by}");
            }
            Self::WithLineEnd => ("el cuerpo con un salto de línea al final", "the body with a line end behind it"),
            Self::WithWindowsLineEnd => {
                ("el cuerpo con un salto de línea de Windows al final", "the body with a line end of Windows behind it")
            }
            Self::Trimmed => ("el cuerpo sin los espacios de sus extremos", "the body without the blanks at its ends"),
            Self::WithoutMark => ("el cuerpo sin la marca de orden de bytes", "the body without a byte order mark"),
            Self::WithMark => ("el cuerpo con una marca de orden de bytes", "the body with a byte order mark"),
            Self::Empty => ("un cuerpo vacío", "an empty body"),
            Self::IdTimestampBody => ("id.timestamp.body", "id.timestamp.body"),
            Self::TimestampDotBody => ("timestamp.body", "timestamp.body"),
            Self::TimestampAndBody => ("la hora y el cuerpo", "timestamp and body"),
            Self::WindowsLineEnds => ("el cuerpo con saltos de línea de Windows", "the body with line ends of Windows"),
            Self::UnixLineEnds => ("el cuerpo con saltos de línea de Unix", "the body with line ends of Unix"),
            Self::Composed => ("el cuerpo con sus letras compuestas (NFC)", "the body with its letters composed (NFC)"),
            Self::Decomposed => {
                ("el cuerpo con sus letras descompuestas (NFD)", "the body with its letters decomposed (NFD)")
            }
            Self::Latin => ("el cuerpo en ISO 8859-1", "the body in ISO 8859-1"),
            Self::Utf16 => ("el cuerpo en UTF-16", "the body in UTF-16"),
        };
        language.pick(text.0, text.1).to_owned()
    }
}

/// With what it was signed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Key {
    Secret(KeyForm),
    /// A plain SHA-256.
    None,
}

impl Key {
    fn told(self, language: Language) -> &'static str {
        match self {
            Self::Secret(KeyForm::Whole) => language.pick("el secreto entero", "the whole secret"),
            Self::Secret(KeyForm::Decoded) => language
                .pick("los bytes que están en base64 detrás de whsec_", "the bytes that stand in base64 behind whsec_"),
            Self::Secret(KeyForm::Unprefixed) => {
                language.pick("el texto del secreto sin whsec_", "the text of the secret without whsec_")
            }
            Self::Secret(KeyForm::WithLineEnd) => language
                .pick("el secreto entero con un salto de línea al final", "the whole secret with a line end behind it"),
            Self::None => language.pick("ningún secreto: un simple SHA-256", "no secret: a plain SHA-256"),
        }
    }
}

/// A way of signing that is not taken, and that fits.
#[derive(Clone, Debug)]
pub(super) struct Guess {
    pub(super) variant: Variant,
    pub(super) key: Key,
    pub(super) secret: &'static str,
    pub(super) header: String,
    pub(super) first_difference: Option<Difference>,
}

impl Guess {
    pub(super) fn told(&self, language: Language) -> Fit {
        Fit {
            signed: self.variant.told(language),
            key: self.key.told(language).to_owned(),
            secret: self.secret,
            header: self.header.clone(),
            first_difference: self.first_difference.clone(),
        }
    }

    fn code(&self) -> &'static str {
        match (self.key, self.variant) {
            (Key::None, _) => "no-secret",
            (Key::Secret(form), _) if form != KeyForm::Whole && !is_standard(&self.header) => "key",
            (
                _,
                Variant::WithLineEnd
                | Variant::WithWindowsLineEnd
                | Variant::Trimmed
                | Variant::WindowsLineEnds
                | Variant::UnixLineEnds,
            ) => "line-end",
            (_, Variant::Latin | Variant::Utf16 | Variant::WithMark | Variant::WithoutMark) => "charset",
            (_, Variant::Composed | Variant::Decomposed) => "normalisation",
            (_, Variant::Taken(Signed::Raw)) => "spelling",
            _ => "other-bytes",
        }
    }

    fn remedy(&self, language: Language) -> &'static str {
        match self.code() {
            "no-secret" => language.pick(
                "Eso no prueba nada: use un HMAC-SHA256 con el secreto como clave.",
                "That proves nothing: use an HMAC-SHA256 with the secret as its key.",
            ),
            "key" => language.pick(
                "Para este encabezado la clave es el texto entero del secreto, con `whsec_` y sin decodificar nada.",
                "For this header the key is the whole text of the secret, `whsec_` included and nothing decoded.",
            ),
            "line-end" => language.pick(
                "Firme exactamente los bytes que envía: un salto de línea de más o de menos es otro cuerpo.",
                "Sign exactly the bytes that you send: a line end more or less is another body.",
            ),
            "charset" => {
                language.pick("Firme los bytes UTF-8 que envía.", "Sign the UTF-8 bytes that you send.")
            }
            "normalisation" => language.pick(
                "Firme los bytes que envía, y no normalice las letras entretanto.",
                "Sign the bytes that you send, and do not normalise letters in between.",
            ),
            _ if is_standard(&self.header) => language.pick(
                "Standard Webhooks firma `id.timestamp.body` con los bytes detrás de `whsec_`, como `v1,` y base64.",
                "Standard Webhooks signs `id.timestamp.body` with the bytes behind `whsec_`, as `v1,` and base64.",
            ),
            "spelling" => language.pick(
                "Los bytes y la clave son correctos. Escriba la firma en letras hexadecimales, sola o detrás de `sha256=`, en `X-Partner-Signature`.",
                "The bytes and the key are right. Write the signature in hexadecimal letters, alone or behind `sha256=`, in `X-Partner-Signature`.",
            ),
            _ => language.pick("Firme exactamente los bytes que envía.", "Sign exactly the bytes that you send."),
        }
    }

    /// One sentence for what fits, and what to do.
    fn because(&self, language: Language) -> String {
        let Fit { signed, key, header, first_difference, .. } = self.told(language);
        let place = first_difference.map_or_else(String::new, |Difference { position, signed, sent }| {
            language.pick(
                format!(" Difieren desde el byte {position}: se firmó {signed:?}, se envió {sent:?}."),
                format!(" They differ from byte {position} on: signed {signed:?}, sent {sent:?}."),
            )
        });
        let remedy = self.remedy(language);
        language.pick(
            format!("`{header}` es la firma de: {signed}; clave: {key}.{place} {remedy}"),
            format!("`{header}` is the signature of: {signed}; key: {key}.{place} {remedy}"),
        )
    }
}

/// One thing that the sender should change, as a fact.
pub(super) enum Finding<'f> {
    /// It is taken, and another form of the payload was signed than was sent.
    AnotherForm(Option<Signed>),
    PreviousSecret,
    /// The signature stands in this header, which is not read.
    UnreadHeader(&'f str),
    NoSignature,
    /// These headers carry signatures that differ.
    Differing(BTreeSet<&'f str>),
    /// The signature is right, and its time is not.
    Clock(Option<&'f Drift>),
    /// This partner may sign the bytes that it sends and nothing else; this was signed.
    StrictRaw(&'f str),
    NotASignature(&'f str),
    Sha1(&'f str),
    Sha512(&'f str),
    Length {
        header: &'f str,
        bytes: usize,
    },
    /// A header of Standard Webhooks lacks another one.
    LacksHeader {
        signature: &'f str,
        name: &'f str,
    },
    SecretIsNoBase64,
    Fits(&'f Guess),
    /// Nothing that is known fits.
    Unknown(&'f BodySeen),
}

impl Finding<'_> {
    pub(super) fn told(&self, language: Language) -> Advice {
        Advice { code: self.code(), text: self.text(language) }
    }

    /// For programs.
    fn code(&self) -> &'static str {
        match self {
            Self::AnotherForm(_) => "sign-the-bytes",
            Self::PreviousSecret => "previous-secret",
            Self::UnreadHeader(_) => "header",
            Self::NoSignature => "no-signature",
            Self::Differing(_) => "differing",
            Self::Clock(_) => "clock",
            Self::StrictRaw(_) => "strict-raw",
            Self::NotASignature(_) => "not-a-signature",
            Self::Sha1(_) => "sha1",
            Self::Sha512(_) => "sha512",
            Self::Length { .. } => "length",
            Self::LacksHeader { .. } => "standard-headers",
            Self::SecretIsNoBase64 => "secret-is-no-base64",
            Self::Fits(guess) => guess.code(),
            Self::Unknown(_) => "another-secret-or-body",
        }
    }

    /// For people.
    fn text(&self, language: Language) -> String {
        match self {
            Self::AnotherForm(signed) => another_form(*signed, language),
            Self::Clock(drift) => stale(*drift, language),
            Self::Fits(guess) => guess.because(language),
            Self::StrictRaw(signed) => language.pick(
                format!(
                    "La firma es de otra forma del contenido ({signed}), y este partner solo puede firmar los bytes que envía."
                ),
                format!(
                    "The signature is of another form of the payload ({signed}), and this partner may sign only the bytes that it sends."
                ),
            ),
            Self::Unknown(BodySeen { bytes, sha256, .. }) => language.pick(
                format!(
                    "Ninguna forma conocida de firmar coincide. O el secreto es otro (la clave es su texto entero, con `whsec_`), o el \
                     cuerpo cambió en el camino. Compare: llegaron {bytes} bytes, y su SHA-256 es {sha256}."
                ),
                format!(
                    "No way of signing that is known fits. Either the secret is another one (its whole text is the key, `whsec_` \
                     included), or the body was changed on its way. Compare: {bytes} bytes came, and their SHA-256 is {sha256}."
                ),
            ),
            Self::PreviousSecret => language.pick(
                "Está firmada con el secreto anterior, que se acepta durante 24 horas después de una rotación. Cambie al actual.",
                "It is signed with the previous secret, which is taken for 24 hours after a rotation. Change to the current one.",
            )
            .to_owned(),
            _ => self.of_headers(language),
        }
    }

    /// What the headers and the shape of a signature tell.
    fn of_headers(&self, language: Language) -> String {
        let (spanish, english) = match self {
            Self::UnreadHeader(header) => (
                format!("La firma está en `{header}`, que no se lee. Envíela como `X-Partner-Signature` o `X-HMAC-Signature`."),
                format!(
                    "The signature stands in `{header}`, which is not read. Send it as `X-Partner-Signature` or `X-HMAC-Signature`."
                ),
            ),
            Self::Differing(headers) => {
                let names = headers.iter().copied().collect::<Vec<_>>().join("`, `");
                (
                    format!("Sus encabezados llevan firmas que difieren (`{names}`). Envíe una sola, o el mismo valor en cada uno."),
                    format!("Its headers carry signatures that differ (`{names}`). Send one of them, or the same value in each."),
                )
            }
            Self::NotASignature(header) if is_standard(header) => (
                format!("`{header}` no es una firma: debe ser `v1,` y el base64 de 32 bytes."),
                format!("`{header}` is no signature: it should be `v1,` and the base64 of 32 bytes."),
            ),
            Self::NotASignature(header) => (
                format!("`{header}` no es una firma: deben ser 64 letras hexadecimales (0-9, a-f)."),
                format!("`{header}` is no signature: it should be 64 hexadecimal letters (0-9, a-f)."),
            ),
            Self::Sha1(header) => (
                format!("`{header}` tiene el largo de un SHA-1. Use HMAC-SHA256."),
                format!("`{header}` is as long as a SHA-1. Use HMAC-SHA256."),
            ),
            Self::Sha512(header) => (
                format!("`{header}` tiene el largo de un SHA-512. Use HMAC-SHA256."),
                format!("`{header}` is as long as a SHA-512. Use HMAC-SHA256."),
            ),
            Self::Length { header, bytes } => (
                format!("`{header}` tiene {bytes} bytes, y un HMAC-SHA256 tiene 32. ¿Se cortó?"),
                format!("`{header}` has {bytes} bytes, and an HMAC-SHA256 has 32. Was it cut?"),
            ),
            Self::LacksHeader { signature, name } => (
                format!("`{signature}` necesita `{name}` a su lado (Standard Webhooks)."),
                format!("`{signature}` needs `{name}` beside it (Standard Webhooks)."),
            ),
            Self::SecretIsNoBase64 => (
                "El secreto no es base64 detrás de `whsec_`, así que no puede firmar Standard Webhooks. Envíe \
                 `X-Partner-Signature`, o pida que se rote el secreto."
                    .to_owned(),
                "The secret is no base64 behind `whsec_`, so it cannot sign Standard Webhooks. Send `X-Partner-Signature`, or \
                 have the secret rotated."
                    .to_owned(),
            ),
            _ => (
                "No lleva ninguna firma. Envíe el HMAC-SHA256 hexadecimal de los bytes del cuerpo en `X-Partner-Signature`.".to_owned(),
                "It carries no signature. Send the hexadecimal HMAC-SHA256 of the bytes of the body in `X-Partner-Signature`."
                    .to_owned(),
            ),
        };
        language.pick(spanish, english)
    }
}

fn another_form(signed: Option<Signed>, language: Language) -> String {
    let form = signed.map(|signed| format!(" ({signed})")).unwrap_or_default();
    language.pick(
        format!(
            "Se acepta, aunque su firma es de otra forma del contenido{form}. Firme los bytes que envía: así nada depende de cómo una \
             biblioteca escribe JSON."
        ),
        format!(
            "It is taken, though its signature is of another form of the payload{form}. Sign the bytes that you send: then nothing \
             depends on how a library writes JSON."
        ),
    )
}

fn stale(clock: Option<&Drift>, language: Language) -> String {
    let remedy = language.pick(
        "Ponga en hora el reloj del emisor por NTP, y firme una hora nueva en cada intento.",
        "Set the sender's clock by NTP, and sign a new time for each attempt.",
    );
    let Some((clock, behind)) = clock.and_then(|clock| Some((clock, clock.seconds_behind?))) else {
        let unread = language.pick(
            "La firma es correcta, pero su hora falta o no se puede leer.",
            "The signature is right, but its time is missing or cannot be read.",
        );
        return format!("{unread} {remedy}");
    };
    let (seconds, place, tolerance) = (behind.unsigned_abs(), &clock.place, clock.tolerance_seconds);
    let is_ahead = behind < 0;
    language.pick(
        format!(
            "La firma es correcta, pero su hora ({place}) está {seconds} s {} nuestro reloj; se permiten {tolerance} s. {remedy}",
            if is_ahead { "por delante de" } else { "por detrás de" }
        ),
        format!(
            "The signature is right, but its time ({place}) is {seconds} s {} our clock; {tolerance} s are allowed. {remedy}",
            if is_ahead { "ahead of" } else { "behind" }
        ),
    )
}

/// Where the time of a payload stands.
pub(super) fn time_of_the_body(language: Language) -> String {
    language.pick("timestamp del cuerpo", "timestamp of the body").to_owned()
}

/// Why a body has no other forms: it is no text.
pub(super) fn not_utf8(from: usize, language: Language) -> String {
    language.pick(format!("no es UTF-8 desde el byte {from}"), format!("it is not UTF-8 from byte {from} on"))
}

/// Why a text has no other forms.
pub(super) fn not_canonical(error: &NotCanonical, language: Language) -> String {
    let spanish = match error {
        NotCanonical::NotJson(error) => {
            format!("no es JSON (línea {}, columna {})", error.line(), error.column())
        }
        NotCanonical::DuplicateKey(key) => format!("la clave `{key}` está dos veces en un objeto"),
        NotCanonical::TooDeep => "está anidado a demasiados niveles".to_owned(),
        NotCanonical::NumberTooLarge(number) => format!("el número {number} supera lo que cabe en un double"),
    };
    language.pick(spanish, error.to_string())
}
