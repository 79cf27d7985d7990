//! Messages that failed, by their cause: channel, account and code. What each code means and what to do about it, in both languages.

use std::collections::BTreeMap;
use std::time::Duration;

use recado_kernel::clock::Timestamp;
use recado_kernel::db::{Result, Rows, Session};
use recado_kernel::ids::Id;
use recado_kernel::language::Language;
use recado_kernel::sql;
use recado_queue::samples::{self, Sample, SampleFilter};
use serde_json::json;

use crate::channels::Channel;

/// Messages that failed alike.
#[derive(Clone, Debug, PartialEq)]
pub struct Cause {
    pub channel: Channel,
    /// The account that was tried last; none where no attempt was made.
    pub account: Option<String>,
    /// None where nothing is known but that it failed.
    pub code: Option<String>,
    pub count: i64,
    /// When the first and the last of them were accepted.
    pub first: Timestamp,
    pub last: Timestamp,
    /// One of the newest.
    pub example: Id,
    /// How many in each slot of the window, oldest first.
    pub series: Vec<i64>,
}

/// The slots of a window: a spark line has so many points.
pub const SLOTS: u32 = 24;

#[derive(sqlx::FromRow)]
struct Row {
    slot: Timestamp,
    #[sqlx(try_from = "String")]
    channel: Channel,
    provider: Option<String>,
    error_code: Option<String>,
    count: i64,
    first: Timestamp,
    last: Timestamp,
    example: String,
}

/// The causes of what was accepted in this window and failed or bounced, the most frequent first. The window is one range of
/// `notifications_closed`, so what is read are its failures: with the slots alone PostgreSQL reads all that ever failed.
pub async fn causes(session: &mut Session, window: Duration, now: Timestamp) -> Result<Vec<Cause>> {
    let slots = slots(window, now);
    let (begin, end) = (slots.first().map_or(now, |slot| slot.0), slots.last().map_or(now, |slot| slot.1));
    let rows: Vec<_> = slots.iter().map(|(from, until)| json!({ "starts_at": from, "ends_at": until })).collect();
    let found = sql!(all Row, session,
        "select d.starts_at as slot, n.channel, n.provider, n.error_code, count(*) as count,
                min(n.created_at) as first, max(n.created_at) as last, max(cast(n.id as text)) as example
         from rows($1 as analytics_days: starts_at, ends_at) d
         join notifications n on n.created_at >= d.starts_at and n.created_at < d.ends_at and n.closed_at is not null
         where n.status in ('failed', 'bounced') and n.created_at >= $2 and n.created_at < $3
         group by d.starts_at, n.channel, n.provider, n.error_code",
        Rows::new(&rows), begin, end
    )?;
    Ok(joined(found, &slots))
}

/// The window in slots, oldest first. The first begins a window ago, the last ends after `now`.
fn slots(window: Duration, now: Timestamp) -> Vec<(Timestamp, Timestamp)> {
    let slot = window / SLOTS;
    let end = |back: u32| if back == 0 { now + Duration::from_micros(1) } else { now - slot * back };
    (0..SLOTS).rev().map(|back| (now - slot * (back + 1), end(back))).collect()
}

fn joined(found: Vec<Row>, slots: &[(Timestamp, Timestamp)]) -> Vec<Cause> {
    let mut causes: BTreeMap<(&'static str, Option<String>, Option<String>), Cause> = BTreeMap::new();
    for row in found {
        let place = slots.iter().position(|(from, _)| *from == row.slot).unwrap_or_default();
        let key = (row.channel.as_str(), row.provider.clone(), row.error_code.clone());
        let example: Id = row.example.parse().unwrap_or_default();
        let cause = causes.entry(key).or_insert_with(|| Cause {
            channel: row.channel,
            account: row.provider,
            code: row.error_code,
            count: 0,
            first: row.first,
            last: row.last,
            example,
            series: vec![0; slots.len()],
        });
        cause.count += row.count;
        cause.first = cause.first.min(row.first);
        cause.last = cause.last.max(row.last);
        cause.example = cause.example.max(example);
        cause.series[place] += row.count;
    }
    let mut causes: Vec<Cause> = causes.into_values().collect();
    causes.sort_by_key(|cause| (std::cmp::Reverse(cause.count), cause.channel.as_str()));
    causes
}

/// The last that was heard of an account.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Sign {
    /// When it last took a message, to the span of its sample: a minute within the hour, then ten, then an hour.
    pub last_sent: Option<Timestamp>,
    /// Of the attempts since the last failure: how many it took, and how many there were.
    pub sent_since: i64,
    pub tried_since: i64,
}

/// What was heard of an account since a message failed through it: from the samples, which are written once a minute.
pub async fn sign(
    session: &mut Session,
    channel: Channel,
    account: &str,
    failed: Timestamp,
    now: Timestamp,
) -> Result<Sign> {
    let filter = SampleFilter { lanes: vec![channel.lane()], account: Some(account.to_owned()) };
    let samples = samples::since(session, now - samples::KEPT, &filter).await?;
    Ok(heard(&samples, failed))
}

fn heard(samples: &[Sample], failed: Timestamp) -> Sign {
    let mut sign = Sign::default();
    for Sample { at, figures, .. } in samples {
        if figures.sent > 0 {
            sign.last_sent = sign.last_sent.max(Some(*at));
        }
        if *at > failed {
            sign.sent_since += figures.sent;
            sign.tried_since += figures.sent + figures.deferred + figures.failed;
        }
    }
    sign
}

/// A code that a message may fail with.
#[derive(Clone, Copy, Debug)]
pub struct Code {
    pub code: &'static str,
    meaning: (&'static str, &'static str),
    remedy: (&'static str, &'static str),
}

impl Code {
    pub fn meaning(&self, language: Language) -> &'static str {
        language.pick(self.meaning.0, self.meaning.1)
    }

    pub fn remedy(&self, language: Language) -> &'static str {
        language.pick(self.remedy.0, self.remedy.1)
    }

    pub fn find(code: &str) -> Option<&'static Self> {
        CODES.iter().find(|known| known.code == code)
    }
}

const fn code(code: &'static str, meaning: (&'static str, &'static str), remedy: (&'static str, &'static str)) -> Code {
    Code { code, meaning, remedy }
}

/// Every code that the product gives a message that failed.
pub const CODES: [Code; 17] = [
    code(
        "EMAIL_SEND_FAILED",
        (
            "El servidor SMTP no aceptó el correo, o no respondió.",
            "The SMTP server did not take the mail, or did not answer.",
        ),
        (
            "Lea la respuesta del servidor en un ejemplo: si rechaza el buzón, corrija la dirección; si rechaza la cuenta, revise EMAIL_HOST_USER y EMAIL_HOST_PASSWORD. Después reintente.",
            "Read the server's answer in an example: if it refuses the mailbox, correct the address; if it refuses the account, look at EMAIL_HOST_USER and EMAIL_HOST_PASSWORD. Then retry.",
        ),
    ),
    code(
        "TEST_TOO_LATE",
        (
            "La prueba de un texto esperó demasiado antes de que un worker la tomara.",
            "The test of a text waited too long before a worker took it.",
        ),
        (
            "Compruebe que haya workers y que la cola no esté en pausa. Después envíe otra prueba.",
            "See that workers run and that the queue is not paused. Then send another test.",
        ),
    ),
    code(
        "EMAIL_NOT_CONFIGURED",
        ("No hay ninguna cuenta de correo configurada.", "No mail account is configured."),
        (
            "Defina EMAIL_HOST y DEFAULT_FROM_EMAIL, o añada una cuenta de proveedor. Después reintente.",
            "Set EMAIL_HOST and DEFAULT_FROM_EMAIL, or add a provider account. Then retry.",
        ),
    ),
    code(
        "WHATSAPP_API_ERROR",
        ("Evolution API rechazó el mensaje.", "Evolution API refused the message."),
        (
            "Lea la respuesta en un ejemplo: si el número no está en WhatsApp, corríjalo; si la sesión está caída, conecte la instancia con su código QR. Después reintente.",
            "Read the answer in an example: if the number is not on WhatsApp, correct it; if the session is down, connect the instance with its QR code. Then retry.",
        ),
    ),
    code(
        "WHATSAPP_HTTP_ERROR",
        (
            "No se pudo hablar con Evolution API, o respondió algo que no se entiende.",
            "Evolution API could not be talked to, or answered something that is not understood.",
        ),
        (
            "Compruebe que Evolution API funciona y que EVOLUTION_API_URL lleva a ella. Después reintente.",
            "See that Evolution API runs and that EVOLUTION_API_URL leads to it. Then retry.",
        ),
    ),
    code(
        "WHATSAPP_TIMEOUT",
        (
            "Evolution API no respondió a tiempo, y no consta que el mensaje saliera.",
            "Evolution API did not answer in time, and nothing shows that the message left.",
        ),
        (
            "Compruebe la carga de Evolution API y su sesión. Antes de reintentar se le pregunta de nuevo si el mensaje salió.",
            "Look at Evolution API's load and its session. Before a retry it is asked again whether the message left.",
        ),
    ),
    code(
        "WHATSAPP_SESSION_RESTS",
        (
            "La sesión del servicio de WhatsApp dice estar conectada, pero sus mensajes no salen, o el número ya envió lo que se le permite en un día; descansa y luego se prueba otra vez.",
            "The session of the WhatsApp bridge says that it is connected, but its messages do not leave, or the number has sent what it may in a day; it rests, and is tried again.",
        ),
        (
            "Mire `recado whatsapp status`. Reinicie la sesión o escanee el código QR; docs/whatsapp.md dice qué significa cada aviso.",
            "Look at `recado whatsapp status`. Restart the session or scan the QR code; docs/whatsapp.md says what each warning means.",
        ),
    ),
    code(
        "WHATSAPP_RECEIPT_ERROR",
        (
            "WhatsApp rechazó el mensaje después de que Evolution API lo tomara.",
            "WhatsApp refused the message after Evolution API had taken it.",
        ),
        (
            "Suele ser un número bloqueado o una sesión restringida: revise la sesión en el teléfono antes de reintentar.",
            "Usually a blocked number or a restricted session: look at the session on the phone before you retry.",
        ),
    ),
    code(
        "WHATSAPP_NOT_CONFIGURED",
        ("No hay ninguna cuenta de WhatsApp configurada.", "No WhatsApp account is configured."),
        (
            "Defina EVOLUTION_API_URL, EVOLUTION_API_KEY y EVOLUTION_INSTANCE, o añada una cuenta de proveedor. Después reintente.",
            "Set EVOLUTION_API_URL, EVOLUTION_API_KEY and EVOLUTION_INSTANCE, or add a provider account. Then retry.",
        ),
    ),
    code(
        "PUSH_NOT_CONFIGURED",
        ("Faltan las claves de Web Push.", "The keys of Web Push are missing."),
        (
            "Cree un par con `recado vapid-keys` y defina VAPID_PUBLIC_KEY y VAPID_PRIVATE_KEY. Después reintente.",
            "Make a pair with `recado vapid-keys` and set VAPID_PUBLIC_KEY and VAPID_PRIVATE_KEY. Then retry.",
        ),
    ),
    code(
        "NO_PUSH_SUBSCRIPTION",
        ("El cliente no tiene ningún navegador suscrito.", "The customer has no subscribed browser."),
        (
            "Nada que reintentar: el cliente debe permitir las notificaciones en su navegador.",
            "Nothing to retry: the customer has to allow notifications in the browser.",
        ),
    ),
    code(
        "PUSH_SUBSCRIPTION_NOT_FOUND",
        (
            "El servicio de push ya no conoce los navegadores del cliente.",
            "The push service does not know the customer's browsers any more.",
        ),
        (
            "Nada que reintentar: el cliente debe volver a permitir las notificaciones en su navegador.",
            "Nothing to retry: the customer has to allow notifications in the browser again.",
        ),
    ),
    code(
        "PUSH_SUBSCRIPTION_EXPIRED",
        (
            "Las suscripciones de sus navegadores caducaron.",
            "The subscriptions of the customer's browsers have expired.",
        ),
        (
            "Nada que reintentar: el cliente debe volver a permitir las notificaciones en su navegador.",
            "Nothing to retry: the customer has to allow notifications in the browser again.",
        ),
    ),
    code(
        "WEBPUSH_ERROR",
        (
            "El servicio de push no aceptó el mensaje, o no respondió.",
            "The push service did not take the message, or did not answer.",
        ),
        (
            "Lea la respuesta en un ejemplo; un 401 o 403 apunta a las claves VAPID. Después reintente.",
            "Read the answer in an example; a 401 or 403 points to the VAPID keys. Then retry.",
        ),
    ),
    code(
        "ACCOUNT_UNUSABLE",
        (
            "La cuenta de proveedor no se puede usar: sus ajustes o su secreto no se leen.",
            "The provider account cannot be used: its settings or its secret cannot be read.",
        ),
        (
            "Revise la cuenta y que SECRET_KEY sea la misma con la que se guardó. Después reintente.",
            "Look at the account, and that SECRET_KEY is the one with which it was kept. Then retry.",
        ),
    ),
    code(
        "OPTED_OUT",
        (
            "El cliente apagó este canal después de que se aceptara el evento.",
            "The customer switched this channel off after the event was accepted.",
        ),
        ("No se reintenta: es su decisión.", "It is not retried: that is the customer's choice."),
    ),
    code(
        "SUPPRESSED",
        (
            "La dirección está suprimida: rebotó, o alguien pidió que no se le escriba.",
            "The address is suppressed: it bounced, or somebody asked that nothing be sent to it.",
        ),
        (
            "Si la dirección ya es buena, levante la supresión y reintente.",
            "If the address is good now, lift the suppression and retry.",
        ),
    ),
];

#[cfg(test)]
mod tests {
    use super::*;

    fn now() -> Timestamp {
        Timestamp::from_micros(1_768_919_400_000_000)
    }

    #[test]
    fn a_window_has_slots_without_gaps() {
        let slots = slots(Duration::from_secs(24 * 3600), now());
        assert_eq!(slots.len(), 24);
        assert!(slots.windows(2).all(|pair| pair[0].1 == pair[1].0));
        assert!(slots.last().is_some_and(|(from, until)| *from <= now() && *until > now()));
        assert_eq!(slots[0].0, now() - Duration::from_secs(24 * 3600), "what is just as old belongs to it");
    }

    #[test]
    fn rows_of_one_cause_are_one_entry() {
        let slots = slots(Duration::from_secs(24 * 3600), now());
        let row = |slot: usize, code: &str, count| Row {
            slot: slots[slot].0,
            channel: Channel::Email,
            provider: Some("env".into()),
            error_code: Some(code.into()),
            count,
            first: slots[slot].0,
            last: slots[slot].0,
            example: Id::new(slots[slot].0).to_string(),
        };
        let causes = joined(vec![row(3, "A", 2), row(20, "A", 5), row(4, "B", 9)], &slots);
        assert_eq!(causes.iter().map(|cause| cause.count).collect::<Vec<_>>(), [9, 7]);
        assert_eq!((causes[1].first, causes[1].last), (slots[3].0, slots[20].0));
        assert_eq!((causes[1].series[3], causes[1].series[20], causes[1].series.iter().sum::<i64>()), (2, 5, 7));
    }

    #[test]
    fn every_code_is_explained_once_in_both_languages() {
        for known in &CODES {
            assert_eq!(CODES.iter().filter(|other| other.code == known.code).count(), 1, "{}", known.code);
            for language in Language::ALL {
                assert!(known.meaning(language).len() > 20 && known.remedy(language).len() > 20, "{}", known.code);
            }
            assert_ne!(known.meaning.0, known.meaning.1, "{}", known.code);
        }
    }
}
