//! The signature debugger: which ways of signing were looked at, how near each came, and what the sender should change. Pure.
//!
//! It says more than [`dialect::verify`](crate::dialect::verify), which tells a stranger nothing. What it says of a secret that
//! its reader may not know is bounded by [`Reveal`]: a person who sees a whole signature of bytes of their choice can forge.

mod sentences;

use std::collections::BTreeSet;

use base64::Engine;
use base64::engine::general_purpose::{STANDARD, STANDARD_NO_PAD, URL_SAFE, URL_SAFE_NO_PAD};
use recado_kernel::clock::Timestamp;
use recado_kernel::language::Language;
use serde::Serialize;
use sha2::{Digest, Sha256};
use unicode_normalization::UnicodeNormalization;
use utoipa::ToSchema;

use self::sentences::{Finding, Guess, Key, Variant};
use crate::canonical::{Document, Letters};
use crate::dialect::{
    Dialect, FORMS, LEGACY_HEADERS, Legacy, Received, Refusal, Rules, STANDARD_HEADERS, Signed, Standard, candidates,
    read_moment, verify,
};
use crate::signature::{KeyForm, Secret, same_bytes};

/// How much of the signatures that a secret gives is shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reveal {
    Nothing,
    /// A few letters: enough to compare with a log, too few to forge.
    Beginning,
    /// The reader knows the secret already.
    All,
}

/// Letters of a signature that [`Reveal::Beginning`] shows.
const BEGINNING: usize = 8;

/// How many bytes of each side a difference shows.
const SHOWN: usize = 24;

/// A request, and what it is held against.
#[derive(Clone, Copy, Debug)]
pub struct SignatureCheck<'c> {
    /// The secret in force first.
    pub secrets: &'c [Secret],
    pub reveal: Reveal,
    pub rules: &'c Rules,
    pub received: Received<'c>,
    /// When it came.
    pub now: Timestamp,
    /// In which what is found is told.
    pub language: Language,
}

/// What the debugger found.
#[derive(Clone, Debug, Serialize, ToSchema)]
#[schema(as = SignatureReport)]
pub struct Report {
    /// Whether the request is believed.
    pub accepted: bool,
    /// How it was signed, when it is believed.
    #[schema(examples("sorted keys, default separators, ASCII in x-hmac-signature"))]
    pub dialect: Option<String>,
    /// `missing`, `differing`, `wrong` or `stale`, when it is not.
    pub refusal: Option<&'static str>,
    /// The signatures that it carries.
    pub signatures: Vec<Seen>,
    /// Every way of signing that is taken, with every secret.
    pub tried: Vec<Tried>,
    /// Ways of signing that are not taken, and that fit all the same: this is what the sender did.
    pub also_fits: Vec<Fit>,
    /// The signed time, where there is one.
    pub clock: Option<Drift>,
    /// The bytes that came.
    pub body: BodySeen,
    /// What to change, the likeliest first.
    pub advice: Vec<Advice>,
    /// How to sign so that it is taken.
    pub code: Code,
}

/// A signature that the request carries.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
#[schema(as = SignatureSeen)]
pub struct Seen {
    /// The header, in lower case.
    pub header: String,
    /// Its value; what is very long is cut.
    pub value: String,
    /// Whether this header is looked at.
    pub is_read: bool,
    /// `hexadecimal`, `base64` or `neither`.
    pub spelling: &'static str,
    /// What stands before the letters, e.g. `sha256=`.
    pub prefix: Option<String>,
    /// Bytes of the signature: 32 for SHA-256.
    pub length: Option<usize>,
}

/// One way of signing with one secret.
#[derive(Clone, Debug, Serialize, ToSchema)]
#[schema(as = SignatureTried)]
pub struct Tried {
    /// What is signed: `raw body`, `sorted keys, compact, ASCII`, `Standard Webhooks`, …
    pub signed: String,
    /// `current` or `previous`.
    pub secret: &'static str,
    /// The signature that it gives; its beginning or nothing where the reader may not know the secret.
    pub expected: Option<String>,
    /// The headers that carry it.
    pub matches: Vec<String>,
    /// Headers that carry another one.
    pub differs: Vec<String>,
    /// False: this partner may sign the raw body only.
    pub is_allowed: bool,
    /// Where the bytes that are signed in this way first differ from the body that came; null when they are the same.
    pub first_difference: Option<Difference>,
}

/// Where two texts part.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
#[schema(as = SignatureDifference)]
pub struct Difference {
    /// Bytes from the beginning.
    pub position: usize,
    /// Some letters from there on: what is signed.
    pub signed: String,
    /// What was sent.
    pub sent: String,
}

/// A way of signing that is not taken and fits.
#[derive(Clone, Debug, Serialize, ToSchema)]
#[schema(as = SignatureFit)]
pub struct Fit {
    /// What was signed, in the language of the request.
    #[schema(examples("el cuerpo con un salto de línea al final"))]
    pub signed: String,
    /// With which bytes of the secret as the key, in the language of the request.
    #[schema(examples("el secreto entero"))]
    pub key: String,
    /// `current` or `previous`.
    pub secret: &'static str,
    /// The header whose value it is.
    pub header: String,
    /// Where the signed bytes first differ from the body that came.
    pub first_difference: Option<Difference>,
}

/// The signed time of a request beside our clock.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
#[schema(as = SignatureClock)]
pub struct Drift {
    /// Where it stands: a header, or `timestamp` of the body.
    pub place: String,
    /// As it was written.
    pub value: String,
    /// How far it lies behind our clock; below 0: ahead. Null when it cannot be read.
    pub seconds_behind: Option<i64>,
    /// How far it may lie; 0: any.
    pub tolerance_seconds: i64,
    /// Whether it is within the tolerance.
    pub is_fresh: bool,
}

/// The bytes that came, to be compared with those that were signed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
#[schema(as = SignatureBody)]
pub struct BodySeen {
    /// How many there are.
    pub bytes: usize,
    /// In hexadecimal letters.
    pub sha256: String,
    /// Why only the bytes themselves can be signed: it is no JSON, or ambiguous. Null: each form can.
    pub no_forms_because: Option<String>,
}

/// What to change.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
#[schema(as = SignatureAdvice)]
pub struct Advice {
    /// For programs.
    #[schema(examples("line-end"))]
    pub code: &'static str,
    /// For people, in the language of the request.
    pub text: String,
}

/// How to sign so that it is taken, in programs that run.
#[derive(Clone, Copy, Debug, Serialize, ToSchema)]
#[schema(as = SignatureCode)]
pub struct Code {
    /// `X-Partner-Signature` or `Standard Webhooks`.
    pub scheme: &'static str,
    /// For a shell, with openssl and curl.
    pub curl: &'static str,
    /// With the standard library alone.
    pub python: &'static str,
    /// With the standard library alone.
    pub node: &'static str,
}

/// The hexadecimal signature of the bytes that travel.
pub const HEX_CODE: Code = Code {
    scheme: "X-Partner-Signature",
    curl: include_str!("../samples/sign.sh"),
    python: include_str!("../samples/sign.py"),
    node: include_str!("../samples/sign.mjs"),
};

/// Standard Webhooks 1.0.0.
pub const STANDARD_CODE: Code = Code {
    scheme: "Standard Webhooks",
    curl: include_str!("../samples/sign-standard.sh"),
    python: include_str!("../samples/sign-standard.py"),
    node: include_str!("../samples/sign-standard.mjs"),
};

/// Looks at a request in every way there is.
pub fn examine(check: SignatureCheck<'_>) -> Report {
    let SignatureCheck { secrets, rules, received, now, language, .. } = check;
    let verdict = verify(secrets, rules, received, now);
    let clock = drift(check, verdict.as_ref().ok());
    // The payload's own time is looked at after the signature, as it is when a request comes in.
    let verdict =
        if clock.as_ref().is_some_and(|clock| !clock.is_fresh) { verdict.and(Err(Refusal::Stale)) } else { verdict };
    let signatures = seen(received);
    let tried = tried(check);
    let guesses = match verdict {
        Err(Refusal::Wrong | Refusal::Differing | Refusal::Missing) => guesses(secrets, received, &signatures, &tried),
        Ok(_) | Err(Refusal::Stale) => Vec::new(),
    };
    let uses_standard = signatures.iter().any(|one| is_standard(&one.header));
    let mut report = Report {
        accepted: verdict.is_ok(),
        dialect: verdict.as_ref().ok().map(ToString::to_string),
        refusal: verdict.as_ref().err().map(|refusal| refusal.word()),
        signatures,
        tried,
        also_fits: guesses.iter().map(|guess| guess.told(language)).collect(),
        clock,
        body: body_seen(received.body, language),
        advice: Vec::new(),
        code: if uses_standard && secrets.iter().any(Secret::signs_standard_webhooks) {
            STANDARD_CODE
        } else {
            HEX_CODE
        },
    };
    let mut advice: Vec<Advice> = Vec::new();
    for one in findings(check, &report, &guesses, &verdict).iter().map(|finding| finding.told(language)) {
        if !advice.contains(&one) {
            advice.push(one);
        }
    }
    report.advice = advice;
    report
}

/// What is known of a request that was believed when it came: its dialect, in words, and its body.
pub fn remember(dialect: &str, body: &[u8], language: Language) -> Report {
    let form = candidates(body, false).find(|(signed, _)| dialect.starts_with(&signed.to_string()));
    let first_difference = form.as_ref().and_then(|(_, bytes)| difference(bytes, body));
    let is_raw = first_difference.is_none();
    let advice = if is_raw { Vec::new() } else { vec![Finding::AnotherForm(None).told(language)] };
    Report {
        accepted: true,
        dialect: Some(dialect.to_owned()),
        refusal: None,
        signatures: Vec::new(),
        tried: form.map_or_else(Vec::new, |(signed, _)| {
            vec![Tried {
                signed: signed.to_string(),
                secret: if dialect.ends_with("former secret") { "previous" } else { "current" },
                expected: None,
                matches: dialect.split(" in ").nth(1).map(str::to_owned).into_iter().collect(),
                differs: Vec::new(),
                is_allowed: true,
                first_difference,
            }]
        }),
        also_fits: Vec::new(),
        clock: None,
        body: body_seen(body, language),
        advice,
        code: if dialect.starts_with("Standard") { STANDARD_CODE } else { HEX_CODE },
    }
}

fn secret_word(number: usize) -> &'static str {
    if number == 0 { "current" } else { "previous" }
}

fn is_standard(header: &str) -> bool {
    STANDARD_HEADERS.iter().any(|[_, _, signature]| *signature == header)
}

impl Reveal {
    fn of(self, signature: &str) -> Option<String> {
        match self {
            Self::Nothing => None,
            Self::All => Some(signature.to_owned()),
            Self::Beginning => {
                let kept = BEGINNING + if signature.starts_with("v1,") { 3 } else { 0 };
                Some(format!("{}…", signature.chars().take(kept).collect::<String>()))
            }
        }
    }
}

/// Every dialect that is taken, with every secret, against every signature that the request carries.
fn tried(SignatureCheck { secrets, reveal, rules, received, .. }: SignatureCheck<'_>) -> Vec<Tried> {
    let legacy: Vec<Legacy> = LEGACY_HEADERS
        .iter()
        .flat_map(|&header| received.all(header).map(move |value| Legacy::read(header, value)))
        .collect();
    let mut tried = Vec::new();
    for (signed, bytes) in candidates(received.body, false) {
        for (number, secret) in secrets.iter().enumerate() {
            let expected = secret.hex(&bytes);
            let fits = |one: &&Legacy| same_bytes(one.hex.as_bytes(), expected.as_bytes());
            let (matches, differs): (Vec<&Legacy>, Vec<&Legacy>) = legacy.iter().partition(fits);
            let names = |list: Vec<&Legacy>| list.into_iter().map(|one| one.header.to_owned()).collect();
            tried.push(Tried {
                signed: signed.to_string(),
                secret: secret_word(number),
                matches: names(matches),
                differs: names(differs),
                is_allowed: !rules.strict_raw || signed == Signed::Raw,
                first_difference: difference(&bytes, received.body),
                expected: reveal.of(&expected),
            });
        }
    }
    if let Ok(Some(standard)) = Standard::of(received) {
        for (number, secret) in secrets.iter().enumerate() {
            let Some(expected) = secret.standard(standard.id, standard.timestamp, received.body) else { continue };
            let mut given = standard.signatures.split_ascii_whitespace();
            let fits = given.any(|signature| same_bytes(signature.as_bytes(), expected.as_bytes()));
            let header = vec![standard.header.to_owned()];
            let (matches, differs) = if fits { (header, Vec::new()) } else { (Vec::new(), header) };
            tried.push(Tried {
                signed: Signed::Standard.to_string(),
                secret: secret_word(number),
                expected: reveal.of(&expected),
                matches,
                differs,
                is_allowed: true,
                first_difference: None,
            });
        }
    }
    tried
}

/// The longest value of a header that is shown, in characters.
const LONGEST_VALUE: usize = 300;

/// Headers that carry a signature, or say so in their name.
fn seen(received: Received<'_>) -> Vec<Seen> {
    let mut found = Vec::new();
    for (name, value) in received.headers {
        let is_read = LEGACY_HEADERS.contains(&name.as_str()) || is_standard(name);
        if !(is_read || name.contains("signature") || name.contains("hmac")) {
            continue;
        }
        let parts = parts(value);
        let best = parts.iter().find(|part| part.bytes.is_some()).or(parts.first());
        found.push(Seen {
            header: name.clone(),
            value: value.chars().take(LONGEST_VALUE).collect(),
            is_read,
            spelling: best.map_or("neither", |part| part.spelling),
            prefix: best.and_then(|part| part.prefix.clone()),
            length: best.and_then(|part| part.bytes.as_ref().map(Vec::len)),
        });
    }
    found
}

/// A signature inside the value of a header.
struct Part {
    prefix: Option<String>,
    spelling: &'static str,
    bytes: Option<Vec<u8>>,
}

/// Words that stand before a signature.
const PREFIXES: [&str; 9] = ["sha256=", "sha1=", "sha512=", "hmac-sha256=", "v1=", "v0=", "v1,", "v1a,", "sha256:"];

/// The most signatures of one header that are looked at.
const MOST_PARTS: usize = 8;

/// The signatures of a value: `sha256=…`, `v1,… v1,…`, `t=…,v1=…`.
fn parts(value: &str) -> Vec<Part> {
    let mut parts = Vec::new();
    for word in value.split_ascii_whitespace().flat_map(|word| match word.split_once(",v1=") {
        Some((_, signature)) if word.starts_with("t=") => vec![("v1=", signature)],
        _ => {
            let lower = word.to_ascii_lowercase();
            let prefix = PREFIXES.iter().find(|prefix| lower.starts_with(**prefix));
            vec![prefix.map_or(("", word), |prefix| (*prefix, &word[prefix.len()..]))]
        }
    }) {
        let (prefix, text) = word;
        let hexadecimal = hex::decode(text).ok().filter(|bytes| !bytes.is_empty());
        let base64 = || {
            [&STANDARD, &STANDARD_NO_PAD, &URL_SAFE, &URL_SAFE_NO_PAD]
                .iter()
                .find_map(|engine| engine.decode(text).ok())
                .filter(|bytes| matches!(bytes.len(), 20 | 32 | 48 | 64))
        };
        let (spelling, bytes) = match hexadecimal {
            Some(bytes) => ("hexadecimal", Some(bytes)),
            None => base64().map_or(("neither", None), |bytes| ("base64", Some(bytes))),
        };
        parts.push(Part { prefix: Some(prefix.to_owned()).filter(|prefix| !prefix.is_empty()), spelling, bytes });
        if parts.len() == MOST_PARTS {
            break;
        }
    }
    parts
}

/// The largest body of which other forms are guessed, in bytes: each is hashed with every key.
const LARGEST_GUESSED: usize = 256 * 1024;

/// What a sender may have signed that we do not take.
fn guesses(secrets: &[Secret], received: Received<'_>, seen: &[Seen], tried: &[Tried]) -> Vec<Guess> {
    let given: Vec<(&Seen, Vec<u8>)> = seen
        .iter()
        .flat_map(|one| parts(&one.value).into_iter().filter_map(move |part| Some((one, part.bytes?))))
        .filter(|(_, bytes)| bytes.len() == 32)
        .collect();
    let mut fits = Vec::new();
    if given.is_empty() || received.body.len() > LARGEST_GUESSED {
        return fits;
    }
    let mut looked_at = BTreeSet::new();
    each_variant(received, &mut |variant: Variant, bytes: &[u8]| {
        if !looked_at.insert(<[u8; 32]>::from(Sha256::digest(bytes))) {
            return;
        }
        for (number, secret) in secrets.iter().enumerate() {
            for form in KeyForm::ALL {
                let Some(mac) = secret.mac(form, bytes) else { continue };
                for (one, _) in given.iter().filter(|(_, given)| same_bytes(given, &mac)) {
                    fits.push(Guess {
                        variant,
                        key: Key::Secret(form),
                        secret: secret_word(number),
                        header: one.header.clone(),
                        first_difference: difference(bytes, received.body),
                    });
                }
            }
        }
        let plain = Sha256::digest(bytes);
        for (one, _) in given.iter().filter(|(_, given)| same_bytes(given, &plain)) {
            fits.push(Guess {
                variant,
                key: Key::None,
                secret: "none",
                header: one.header.clone(),
                first_difference: difference(bytes, received.body),
            });
        }
    });
    // What a row of the table says already is no guess.
    let is_told = |fit: &Guess| match fit.variant {
        Variant::Taken(signed) => {
            tried.iter().any(|one| one.signed == signed.to_string() && one.matches.contains(&fit.header))
        }
        _ => false,
    };
    fits.retain(|fit| !is_told(fit));
    fits
}

/// Each form of the request that somebody may have signed, the likeliest first.
fn each_variant(received: Received<'_>, look: &mut impl FnMut(Variant, &[u8])) {
    let body = received.body;
    for (signed, bytes) in candidates(body, false) {
        look(Variant::Taken(signed), &bytes);
    }
    look(Variant::WithLineEnd, &[body, b"\n"].concat());
    look(Variant::WithWindowsLineEnd, &[body, b"\r\n"].concat());
    look(Variant::Trimmed, body.trim_ascii());
    look(Variant::WithoutMark, body.strip_prefix(b"\xef\xbb\xbf").unwrap_or(body));
    look(Variant::WithMark, &[b"\xef\xbb\xbf", body].concat());
    look(Variant::Empty, b"");
    for [id, timestamp, _] in STANDARD_HEADERS {
        let (id, timestamp) = (received.all(id).next(), received.all(timestamp).next());
        if let (Some(id), Some(timestamp)) = (id, timestamp) {
            look(Variant::IdTimestampBody, &[format!("{id}.{timestamp}.").as_bytes(), body].concat());
            look(Variant::TimestampDotBody, &[format!("{timestamp}.").as_bytes(), body].concat());
        }
    }
    if let Some((_, timestamp)) =
        received.headers.iter().find(|(name, _)| name == "x-timestamp" || name == "x-webhook-timestamp")
    {
        look(Variant::TimestampDotBody, &[format!("{timestamp}.").as_bytes(), body].concat());
        look(Variant::TimestampAndBody, &[timestamp.as_bytes(), body].concat());
    }
    let Ok(text) = std::str::from_utf8(body) else { return };
    look(Variant::WindowsLineEnds, text.replace("\r\n", "\n").replace('\n', "\r\n").as_bytes());
    look(Variant::UnixLineEnds, text.replace("\r\n", "\n").as_bytes());
    look(Variant::Composed, text.nfc().collect::<String>().as_bytes());
    look(Variant::Decomposed, text.nfd().collect::<String>().as_bytes());
    if let Some(latin) = text.chars().map(|letter| u8::try_from(letter).ok()).collect::<Option<Vec<u8>>>() {
        look(Variant::Latin, &latin);
    }
    let utf16: Vec<u8> = text.encode_utf16().flat_map(u16::to_le_bytes).collect();
    look(Variant::Utf16, &utf16);
    // A library that read the numbers and wrote them again.
    if let Ok(document) = Document::read(text).and_then(Document::with_pythons_numbers) {
        for form in FORMS {
            look(Variant::PythonsNumbers(form), document.write(form).as_bytes());
        }
    }
    if let Ok(document) = Document::read(text).and_then(Document::with_javascripts_numbers) {
        for form in FORMS {
            look(Variant::JavaScriptsNumbers(form), document.write(form).as_bytes());
        }
    }
    if let Ok(document) = Document::read(text) {
        for form in FORMS {
            if let Some(data) = document.write_field("data", form) {
                look(Variant::Data(form), data.as_bytes());
            }
        }
        for (indent, letters) in [(2, Letters::Escaped), (2, Letters::Utf8), (4, Letters::Escaped), (4, Letters::Utf8)]
        {
            look(Variant::Indented(indent), document.write_indented(indent, letters).as_bytes());
        }
    }
}

fn difference(signed: &[u8], sent: &[u8]) -> Option<Difference> {
    if signed == sent {
        return None;
    }
    let position = signed.iter().zip(sent).take_while(|(one, other)| one == other).count();
    let shown = |bytes: &[u8]| {
        let rest = &bytes[position..];
        String::from_utf8_lossy(&rest[..rest.len().min(SHOWN)]).into_owned()
    };
    Some(Difference { position, signed: shown(signed), sent: shown(sent) })
}

fn body_seen(body: &[u8], language: Language) -> BodySeen {
    let no_forms_because = match std::str::from_utf8(body) {
        Err(error) => Some(sentences::not_utf8(error.valid_up_to(), language)),
        Ok(text) => Document::read(text).err().map(|error| sentences::not_canonical(&error, language)),
    };
    BodySeen { bytes: body.len(), sha256: hex::encode(Sha256::digest(body)), no_forms_because }
}

/// The time that counts for this request.
fn drift(
    SignatureCheck { rules, received, now, language, .. }: SignatureCheck<'_>,
    dialect: Option<&Dialect>,
) -> Option<Drift> {
    let behind = |seconds: i64| now.to_utc().timestamp().saturating_sub(seconds);
    let fresh = |behind: Option<i64>, tolerance: i64| {
        tolerance == 0 || behind.is_some_and(|seconds| seconds.saturating_abs() <= tolerance)
    };
    let is_legacy = dialect.is_some_and(|dialect| dialect.signed != Signed::Standard);
    let standard = STANDARD_HEADERS.iter().find(|[_, _, signature]| received.all(signature).next().is_some());
    if let Some([_, name, _]) = standard.filter(|_| !is_legacy) {
        let value = received.all(name).next()?;
        let seconds_behind = value.trim().parse().ok().map(behind);
        return Some(Drift {
            place: (*name).to_owned(),
            value: value.chars().take(LONGEST_VALUE).collect(),
            seconds_behind,
            tolerance_seconds: rules.tolerance_seconds,
            is_fresh: fresh(seconds_behind, rules.tolerance_seconds),
        });
    }
    let payload: serde_json::Value = serde_json::from_slice(received.body).ok()?;
    let value = payload["timestamp"].as_str();
    let tolerance_seconds = rules.payload_tolerance_seconds;
    if value.is_none() && tolerance_seconds == 0 {
        return None;
    }
    let seconds_behind = value.and_then(read_moment).map(|time| behind(time.to_utc().timestamp()));
    Some(Drift {
        place: sentences::time_of_the_body(language),
        value: value.unwrap_or_default().chars().take(LONGEST_VALUE).collect(),
        seconds_behind,
        tolerance_seconds,
        is_fresh: fresh(seconds_behind, tolerance_seconds),
    })
}

/// What the sender should change, the likeliest first.
fn findings<'f>(
    check: SignatureCheck<'_>,
    report: &'f Report,
    guesses: &'f [Guess],
    verdict: &Result<Dialect, Refusal>,
) -> Vec<Finding<'f>> {
    let mut found = Vec::new();
    match verdict {
        Ok(dialect) => {
            if let Signed::Form(_) = dialect.signed {
                found.push(Finding::AnotherForm(Some(dialect.signed)));
            }
            if dialect.secret > 0 {
                found.push(Finding::PreviousSecret);
            }
        }
        Err(Refusal::Missing) => {
            let other = report.signatures.first();
            found.push(other.map_or(Finding::NoSignature, |other| Finding::UnreadHeader(&other.header)));
        }
        Err(Refusal::Differing) => {
            found.push(Finding::Differing(report.signatures.iter().map(|one| one.header.as_str()).collect()));
        }
        Err(Refusal::Stale) => found.push(Finding::Clock(report.clock.as_ref())),
        Err(Refusal::Wrong) => found.extend(wrong(check, report)),
    }
    found.extend(guesses.iter().map(Finding::Fits));
    if matches!(verdict, Err(Refusal::Wrong)) && found.is_empty() {
        found.push(Finding::Unknown(&report.body));
    }
    found
}

/// What the shape of the signatures tells.
fn wrong<'f>(check: SignatureCheck<'_>, report: &'f Report) -> Vec<Finding<'f>> {
    let not_allowed = report.tried.iter().find(|one| !one.is_allowed && !one.matches.is_empty());
    let mut found: Vec<Finding<'_>> = not_allowed.map(|form| Finding::StrictRaw(&form.signed)).into_iter().collect();
    for one in report.signatures.iter().filter(|one| one.is_read) {
        let header = one.header.as_str();
        match (one.spelling, one.length) {
            ("neither", _) => found.push(Finding::NotASignature(header)),
            (_, Some(20)) => found.push(Finding::Sha1(header)),
            (_, Some(64)) => found.push(Finding::Sha512(header)),
            (_, Some(bytes)) if bytes != 32 => found.push(Finding::Length { header, bytes }),
            _ => {}
        }
    }
    for [id, timestamp, signature] in STANDARD_HEADERS {
        if check.received.all(signature).next().is_none() {
            continue;
        }
        let lacking = [id, timestamp].into_iter().filter(|name| check.received.all(name).next().is_none());
        found.extend(lacking.map(|name| Finding::LacksHeader { signature, name }));
        if !check.secrets.iter().any(Secret::signs_standard_webhooks) {
            found.push(Finding::SecretIsNoBase64);
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use secrecy::ExposeSecret;

    use super::*;

    const SECRET: &str = "whsec_MDEyMzQ1Njc4OTAxMjM0NTY3ODkwMTIzNDU2Nzg5MDE=";
    const BODY: &str = r#"{"event_type": "service.confirmed", "data": {"name": "Decoraci\u00f3n", "price": 250.0}}"#;
    const RULES: Rules = Rules { strict_raw: false, tolerance_seconds: 300, payload_tolerance_seconds: 0 };

    fn secret() -> Secret {
        Secret::stated(SECRET).expect("a secret")
    }

    fn report(headers: &[(&str, &str)], body: &str) -> Report {
        with(&RULES, Reveal::All, headers, body)
    }

    fn with(rules: &Rules, reveal: Reveal, headers: &[(&str, &str)], body: &str) -> Report {
        let headers: Vec<_> = headers.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        let received = Received { headers: &headers, body: body.as_bytes() };
        let (now, language) = (Timestamp::default(), Language::English);
        examine(SignatureCheck { secrets: &[secret()], reveal, rules, received, now, language })
    }

    fn codes(report: &Report) -> Vec<&'static str> {
        report.advice.iter().map(|advice| advice.code).collect()
    }

    /// Each of these is a mistake that real senders make; the debugger names it, and where the bytes part.
    #[test]
    fn what_the_sender_did_is_named() {
        let whole = |bytes: &[u8]| secret().hex(bytes);
        let other = |form: KeyForm| hex::encode(secret().mac(form, BODY.as_bytes()).expect("a key"));
        let base64 = STANDARD.encode(secret().mac(KeyForm::Whole, BODY.as_bytes()).expect("a key"));
        let composed = "{\"a\": \"o\u{301}\"}";
        let table: [(&str, String, &str, &str, &str); 13] = [
            (BODY, whole(format!("{BODY}\n").as_bytes()), "line-end", "a line end behind it", "from byte"),
            ("{\"a\":  1}\n", whole(b"{\"a\":  1}"), "line-end", "without the blanks", "from byte"),
            (BODY, other(KeyForm::Decoded), "key", "in base64 behind whsec_", "whole text"),
            (BODY, other(KeyForm::Unprefixed), "key", "without whsec_", "whole text"),
            (BODY, other(KeyForm::WithLineEnd), "key", "a line end behind it", "whole text"),
            (BODY, base64, "spelling", "raw body", "hexadecimal"),
            (BODY, hex::encode(Sha256::digest(BODY)), "no-secret", "plain SHA-256", "HMAC"),
            ("{\"a\": \"ó\"}", whole(b"{\"a\": \"\xf3\"}"), "charset", "ISO 8859-1", "UTF-8"),
            (composed, whole("{\"a\": \"ó\"}".as_bytes()), "normalisation", "NFC", "letters"),
            (
                BODY,
                whole(
                    "{\"event_type\":\"service.confirmed\",\"data\":{\"name\":\"Decoración\",\"price\":250}}"
                        .as_bytes(),
                ),
                "other-bytes",
                "JavaScript",
                "from byte",
            ),
            ("{\"a\":\r\n1}", whole(b"{\"a\":\n1}"), "line-end", "line ends of Unix", "from byte"),
            (BODY, whole(br#"{"name":"Decoraci\u00f3n","price":250.0}"#), "other-bytes", "`data` alone", "bytes"),
            (BODY, whole(b""), "other-bytes", "an empty body", "bytes"),
        ];
        for (body, signature, code, signed, text) in table {
            let report = report(&[("x-partner-signature", &signature)], body);
            assert!(!report.accepted && codes(&report).contains(&code), "{code} {signed}: {:?}", report.advice);
            let said = format!("{:?}", report.advice);
            assert!(said.contains(signed) && said.contains(text), "{code} {signed}: {said}");
        }
    }

    #[test]
    fn what_cannot_be_a_signature_is_named_by_its_shape() {
        let sha1 = "0".repeat(40);
        let sha512 = "0".repeat(128);
        /// Headers, the code of the advice, and the refusal.
        type Case<'a> = (&'a [(&'a str, &'a str)], &'a str, &'a str);
        let table: [Case<'_>; 8] = [
            (&[], "no-signature", "missing"),
            (&[("signature", "x")], "header", "missing"),
            (&[("x-partner-signature", "test")], "not-a-signature", "wrong"),
            (&[("x-partner-signature", &sha1)], "sha1", "wrong"),
            (&[("x-partner-signature", &sha512)], "sha512", "wrong"),
            (&[("x-partner-signature", "00ff")], "length", "wrong"),
            (&[("webhook-signature", "v1,eA==")], "standard-headers", "wrong"),
            (&[("x-partner-signature", "00"), ("x-hmac-signature", "01")], "differing", "differing"),
        ];
        for (headers, code, refusal) in table {
            let report = report(headers, BODY);
            assert_eq!((report.refusal, codes(&report).contains(&code)), (Some(refusal), true), "{:?}", report.advice);
        }
        let unknown = report(&[("x-partner-signature", &"ab".repeat(32))], BODY);
        assert_eq!(codes(&unknown), ["another-secret-or-body"]);
        assert!(unknown.advice[0].text.contains(&unknown.body.sha256));
    }

    #[test]
    fn a_dialect_that_is_taken_says_where_its_bytes_part_from_the_body() {
        let sorted = r#"{"data": {"name": "Decoraci\u00f3n", "price": 250.0}, "event_type": "service.confirmed"}"#;
        let report = report(&[("x-partner-signature", &secret().hex(sorted.as_bytes()))], BODY);
        assert!(report.accepted && report.also_fits.is_empty());
        assert_eq!(codes(&report), ["sign-the-bytes"]);
        let fitting: Vec<&Tried> = report.tried.iter().filter(|one| !one.matches.is_empty()).collect();
        assert_eq!(fitting.len(), 1);
        let difference = fitting[0].first_difference.as_ref().expect("another order");
        assert_eq!((difference.position, &difference.signed[..4], &difference.sent[..5]), (2, "data", "event"));
        let strict = Rules { strict_raw: true, ..RULES };
        let report = with(&strict, Reveal::All, &[("x-partner-signature", &secret().hex(sorted.as_bytes()))], BODY);
        assert_eq!((report.accepted, codes(&report)), (false, vec!["strict-raw"]));
    }

    #[test]
    fn a_clock_that_is_wrong_is_told_from_a_signature_that_is() {
        let sign = |seconds: i64| secret().standard("msg_1", seconds, BODY.as_bytes()).expect("base64");
        let at = |seconds: i64| {
            let (time, signature) = (seconds.to_string(), sign(seconds));
            report(&[("webhook-id", "msg_1"), ("webhook-timestamp", &time), ("webhook-signature", &signature)], BODY)
        };
        assert!(at(0).accepted && at(300).accepted);
        let late = at(-301);
        assert_eq!(
            (late.refusal, late.clock.as_ref().and_then(|clock| clock.seconds_behind)),
            (Some("stale"), Some(301))
        );
        assert!(late.advice[0].text.contains("301 s behind our clock; 300 s are allowed"), "{:?}", late.advice);
        assert_eq!(late.code.scheme, "Standard Webhooks");
        let rules = Rules { payload_tolerance_seconds: 300, ..RULES };
        let body = r#"{"timestamp": "1970-01-01T00:20:00Z"}"#;
        let early = with(&rules, Reveal::All, &[("x-signature", &secret().hex(body.as_bytes()))], body);
        assert!(
            early.refusal == Some("stale") && early.advice[0].text.contains("1200 s ahead of"),
            "{:?}",
            early.advice
        );
    }

    /// The same facts, the same codes, and other words.
    #[test]
    fn advice_is_told_in_the_language_of_its_reader() {
        /// Headers, and what is said of them in both languages.
        type Case<'a> = (&'a [(&'a str, &'a str)], &'a str, &'a str);
        let whole = |bytes: &[u8]| secret().hex(bytes);
        let (sha1, cut) = ("0".repeat(40), whole(BODY.as_bytes())[..10].to_owned());
        let (line_end, plain) = (whole(format!("{BODY}\n").as_bytes()), hex::encode(Sha256::digest(BODY)));
        let unknown = "ab".repeat(32);
        let cases: [Case<'_>; 8] = [
            (&[], "It carries no signature", "No lleva ninguna firma"),
            (&[("signature", "x")], "which is not read", "que no se lee"),
            (&[("x-partner-signature", "test")], "is no signature", "no es una firma"),
            (&[("x-partner-signature", &sha1)], "as long as a SHA-1", "tiene el largo de un SHA-1"),
            (&[("x-partner-signature", &cut)], "Was it cut?", "¿Se cortó?"),
            (&[("x-partner-signature", &line_end)], "with a line end behind it", "con un salto de línea al final"),
            (&[("x-partner-signature", &plain)], "That proves nothing", "Eso no prueba nada"),
            (&[("x-partner-signature", &unknown)], "No way of signing", "Ninguna forma conocida"),
        ];
        for (headers, english, spanish) in cases {
            let headers: Vec<_> =
                headers.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
            let received = Received { headers: &headers, body: BODY.as_bytes() };
            let told = |language| {
                let now = Timestamp::default();
                examine(SignatureCheck {
                    secrets: &[secret()],
                    reveal: Reveal::All,
                    rules: &RULES,
                    received,
                    now,
                    language,
                })
            };
            let (one, other) = (told(Language::English), told(Language::Spanish));
            assert_eq!(codes(&one), codes(&other));
            assert!(one.advice.iter().any(|advice| advice.text.contains(english)), "{:?}", one.advice);
            assert!(other.advice.iter().any(|advice| advice.text.contains(spanish)), "{:?}", other.advice);
        }
    }

    /// Who may not know a secret must not learn a signature of bytes that they choose.
    #[test]
    fn a_secret_stays_one() {
        let full = secret().hex(BODY.as_bytes());
        for reveal in [Reveal::Nothing, Reveal::Beginning] {
            let report = with(&RULES, reveal, &[("x-partner-signature", "test")], BODY);
            let text = serde_json::to_string(&report).expect("JSON");
            assert!(!text.contains(&full) && !text.contains(&full[..9]), "{reveal:?}");
            assert!(!text.contains(&secret().text().expose_secret()[6..]), "{reveal:?}");
            assert_eq!(text.contains(&full[..8]), reveal == Reveal::Beginning);
        }
        let known = with(&RULES, Reveal::All, &[("x-partner-signature", "test")], BODY);
        assert_eq!(known.tried[0].expected.as_deref(), Some(full.as_str()));
    }

    #[test]
    fn a_webhook_that_was_believed_is_explained_by_its_dialect() {
        let report =
            remember("sorted keys, default separators, ASCII in x-hmac-signature", BODY.as_bytes(), Language::Spanish);
        assert_eq!((report.accepted, codes(&report)), (true, vec!["sign-the-bytes"]));
        assert_eq!(report.tried[0].matches, ["x-hmac-signature"]);
        assert_eq!(codes(&remember("raw body in x-signature", BODY.as_bytes(), Language::Spanish)), Vec::<&str>::new());
    }
}
