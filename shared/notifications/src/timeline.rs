//! The story of a message: every decision in its order, each as a sentence that staff understand. Pure, from the rows that
//! were written when it happened.

use chrono_tz::Tz;
use serde::Serialize;
use serde_json::{Map, Value, json};
use utoipa::ToSchema;

use crate::channels::Channel;
use crate::journal::{Fact, FallbackReason, Kind, Line};
use crate::notifications::Status;
use crate::notifications::attempts::{Attempt, Outcome};
use crate::notifications::records::Record;
use crate::orchestration::{self, Awaited};
use recado_kernel::clock::Timestamp;
use recado_kernel::ids::Id;
use recado_kernel::language::Language;

/// Something that happened to a message or an event.
#[derive(Clone, Debug, PartialEq, Serialize, ToSchema)]
pub struct TimelineEntry {
    /// When.
    pub at: Timestamp,
    /// A stable word: `accepted`, `chosen`, `skipped`, `deferred`, `throttled`, `attempt`, `retry_planned`, `failed`,
    /// `fell_back`, `delivered`, `read`, `receipt`, `suppressed`, `cancelled`, `resent`, `opted_out`.
    #[schema(examples("attempt"))]
    pub kind: String,
    /// On which channel; null when it concerns them all.
    pub channel: Option<Channel>,
    /// Which message; null when it concerns none, or the whole chain.
    pub notification_id: Option<Id>,
    /// What happened and why, in the language that was asked for. What a provider said is quoted as it said it.
    #[schema(examples("Intento 1 por email: el proveedor lo aceptó (250) en 84 ms."))]
    pub text: String,
    /// The same for programs; which fields there are depends on `kind`.
    #[schema(value_type = Object, examples(json!({"outcome": "sent", "provider_status": 250, "duration_ms": 84})))]
    pub facts: Map<String, Value>,
}

/// What the story is told from, and for whom.
pub struct Timeline<'t> {
    /// Whole chains, each in its order.
    pub chain: &'t [Record],
    /// Oldest first.
    pub attempts: &'t [Attempt],
    /// Oldest first.
    pub journal: &'t [Line],
    /// In which hours are written.
    pub zone: Tz,
    pub language: Language,
    /// Whether the answers of providers are shown, which may name addresses.
    pub shows_answers: bool,
}

/// Moments of the same time stand as they follow from each other.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Rank {
    Accepted,
    Chosen,
    Skipped,
    HeldBack,
    Attempt,
    Outcome,
    Consequence,
}

impl Timeline<'_> {
    /// The entries, oldest first.
    pub fn tell(&self) -> Vec<TimelineEntry> {
        let mut entries = Vec::new();
        for record in self.chain {
            if record.fallback_order == 0 {
                entries.push((Rank::Accepted, 0, self.accepted(record)));
            }
            entries.push((Rank::Chosen, record.fallback_order, self.chosen(record)));
            self.tell_attempts(record, &mut entries);
            let outcomes = self.outcomes(record).into_iter();
            entries.extend(outcomes.map(|entry| (Rank::Outcome, record.fallback_order, entry)));
        }
        entries.extend(self.journal.iter().map(|line| (Self::rank(line), self.place(line), self.told(line))));
        // What intake decided comes first, step by step; then a channel's whole story before that of its fallback.
        entries.sort_by_key(|(rank, place, entry)| {
            let is_after_intake = *rank >= Rank::Attempt;
            (entry.at, if is_after_intake { *place + 1 } else { 0 }, *rank, *place)
        });
        entries.into_iter().map(|(_, _, entry)| entry).collect()
    }

    fn accepted(&self, record: &Record) -> TimelineEntry {
        let (event, customer) = (&record.event_type, &record.customer_id);
        let text = match record.resend_of {
            None => self.language.pick(
                format!("Se aceptó el evento {event} para el cliente {customer}."),
                format!("The event {event} was accepted for customer {customer}."),
            ),
            Some(original) => self.language.pick(
                format!("Se volvió a enviar a pedido, con el texto de la notificación {original}."),
                format!("It was sent again on request, with the words of notification {original}."),
            ),
        };
        let mut facts = facts(json!({
            "event_type": event, "target": record.target, "correlation_id": record.correlation_id,
            "task_id": record.task_id, "critical": record.critical,
        }));
        for (name, value) in [("send_at", json!(record.send_at)), ("resend_of", json!(record.resend_of))] {
            if !value.is_null() {
                facts.insert(name.to_owned(), value);
            }
        }
        let kind = if record.resend_of.is_some() { "resent" } else { "accepted" };
        TimelineEntry { channel: None, notification_id: None, facts, ..entry(record.created_at, kind, record, text) }
    }

    fn tell_attempts(&self, record: &Record, entries: &mut Vec<(Rank, i32, TimelineEntry)>) {
        let own: Vec<&Attempt> = self.attempts.iter().filter(|attempt| attempt.notification_id == record.id).collect();
        for (number, attempt) in (1..).zip(&own) {
            let told = self.attempt(record, attempt, number);
            entries.push((Rank::Attempt, record.fallback_order, told));
        }
        if let (Some(last), Status::Queued, Some(next)) = (own.last(), record.status, record.next_retry_at)
            && record.updated_at >= last.started_at
        {
            let (channel, hour) = (record.channel, self.hour(next));
            let text = self.language.pick(
                format!("Se intentará de nuevo por {channel} el {hour}."),
                format!("It will be tried again by {channel} on {hour}."),
            );
            let facts = facts(
                json!({ "next_retry_at": next, "retry_count": record.retry_count, "max_retries": record.max_retries }),
            );
            let told = TimelineEntry { facts, ..entry(record.updated_at, "retry_planned", record, text) };
            entries.push((Rank::Outcome, record.fallback_order, told));
        }
    }

    fn attempt(&self, record: &Record, attempt: &Attempt, number: usize) -> TimelineEntry {
        let status = attempt.provider_status.map(|status| format!(" ({status})")).unwrap_or_default();
        let code = attempt.error_code.as_deref().unwrap_or_default();
        let (spanish, english) = match attempt.outcome {
            Outcome::Sent => ("el proveedor lo aceptó", "the provider took it"),
            Outcome::Transient => ("falló por un motivo pasajero, ", "it failed for a passing reason, "),
            Outcome::Permanent => ("el proveedor lo rechazó, ", "the provider refused it, "),
            Outcome::Misconfigured => ("el canal está mal configurado, ", "the channel is not configured well, "),
            Outcome::Unknown => (
                "no hubo respuesta y no se sabe si salió, ",
                "there was no answer, and it is unknown whether it left, ",
            ),
        };
        let why = format!("{}{code}{status}", self.language.pick(spanish, english));
        let reason = attempt.error_reason.as_deref().map(|reason| format!(": {reason}")).unwrap_or_default();
        let (channel, took) = (attempt.channel, attempt.duration_ms);
        let text = self.language.pick(
            format!("Intento {number} por {channel}: {why} en {took} ms{reason}."),
            format!("Attempt {number} by {channel}: {why} in {took} ms{reason}."),
        );
        let mut facts = facts(json!({
            "number": number, "outcome": attempt.outcome, "error_code": attempt.error_code,
            "error_reason": attempt.error_reason, "provider_status": attempt.provider_status,
            "duration_ms": attempt.duration_ms,
        }));
        if self.shows_answers {
            facts.insert("provider_answer".to_owned(), json!(attempt.provider_answer));
        }
        TimelineEntry { facts, ..entry(attempt.started_at, "attempt", record, text) }
    }

    /// What the row itself says, unless the journal says it better.
    fn outcomes(&self, record: &Record) -> Vec<TimelineEntry> {
        let in_journal = |kind: Kind| {
            let about = |line: &Line| line.task_id == Some(record.task_id) && line.kind == kind.as_str();
            self.journal.iter().any(about)
        };
        let channel = record.channel;
        let pick = |spanish: String, english: String| self.language.pick(spanish, english);
        let mut entries = Vec::new();
        for (at, kind, spanish, english) in [
            (
                record.delivered_at,
                "delivered",
                "El proveedor confirmó que llegó",
                "The provider confirmed that it arrived",
            ),
            (record.read_at, "read", "El proveedor confirmó que se leyó", "The provider confirmed that it was read"),
        ] {
            let text = pick(format!("{spanish} por {channel}."), format!("{english} by {channel}."));
            entries.extend(at.map(|at| entry(at, kind, record, text)));
        }
        let code = record.error_code.as_deref().unwrap_or(self.language.pick("sin código", "no code"));
        let reason = record.error_reason.as_deref().unwrap_or_default();
        let ended = match record.status {
            Status::Failed | Status::Bounced => Some((
                "failed",
                pick(
                    format!("El canal {channel} se dio por fallido, {code}: {reason}"),
                    format!("The channel {channel} was given up, {code}: {reason}"),
                ),
            )),
            Status::Cancelled if !in_journal(Kind::Cancelled) => Some((
                "cancelled",
                pick(
                    format!("El mensaje por {channel} se canceló: {reason}"),
                    format!("The message by {channel} was cancelled: {reason}"),
                ),
            )),
            _ => None,
        };
        if let Some((kind, text)) = ended {
            let facts = facts(json!({ "error_code": record.error_code, "error_reason": record.error_reason }));
            entries.push(TimelineEntry { facts, ..entry(record.updated_at, kind, record, text) });
        }
        entries
    }

    fn rank(line: &Line) -> Rank {
        if line.kind == Kind::Skipped.as_str() {
            Rank::Skipped
        } else if line.kind == Kind::Deferred.as_str() && line.notification_id.is_none() {
            // At intake; what is deferred later has an attempt before it.
            Rank::HeldBack
        } else {
            Rank::Consequence
        }
    }

    /// That of its message in the chain; channels for which no message was made stand in their own order.
    fn place(&self, line: &Line) -> i32 {
        let about = self.chain.iter().find(|record| Some(record.id) == line.notification_id);
        let channel = || Channel::ALL.iter().position(|channel| line.channel.as_deref() == Some(channel.as_str()));
        about.map_or_else(|| channel().unwrap_or_default() as i32, |record| record.fallback_order)
    }

    fn hour(&self, at: Timestamp) -> String {
        format!("{} ({})", at.to_utc().with_timezone(&self.zone).format("%Y-%m-%d %H:%M:%S"), self.zone)
    }

    fn chosen(&self, record: &Record) -> TimelineEntry {
        let (channel, place) = (record.channel, record.fallback_order + 1);
        let place = match record.fallback_order {
            0 => self
                .language
                .pick(format!("El canal {channel} va primero"), format!("The channel {channel} goes first")),
            _ => self.language.pick(
                format!("El canal {channel} queda de reserva, en el lugar {place}"),
                format!("The channel {channel} stays in reserve, in place {place}"),
            ),
        };
        let text = format!("{place}. {}", orchestration::reason(record.preferred, self.language));
        let facts = facts(json!({
            "fallback_order": record.fallback_order, "priority": record.preferred, "template": record.template_name,
            "template_version": record.template_version,
        }));
        TimelineEntry { facts, ..entry(record.created_at, "chosen", record, text) }
    }

    /// A line of the journal.
    fn told(&self, line: &Line) -> TimelineEntry {
        TimelineEntry {
            at: line.at,
            kind: line.kind.clone(),
            channel: line.channel.as_deref().and_then(|channel| channel.parse().ok()),
            notification_id: line.notification_id,
            text: text(line, self.zone, self.language),
            facts: facts(line.facts.0.clone()),
        }
    }
}

/// What a line of the journal tells, with hours of this zone.
pub fn text(line: &Line, zone: Tz, language: Language) -> String {
    let channel = line.channel.as_deref().and_then(|channel| channel.parse().ok());
    line.fact().map_or_else(
        || {
            let erased = language.pick(
                "Los detalles se borraron, o los escribió una versión más nueva.",
                "The details were erased, or a newer version wrote them.",
            );
            erased.to_owned()
        },
        |fact| match language {
            Language::Spanish => in_spanish(&fact, channel, zone),
            Language::English => in_english(&fact, channel, zone),
        },
    )
}

/// What staff read about a decision. Every fact has its sentence here and in [`in_english`], or neither compiles.
fn in_spanish(fact: &Fact, channel: Option<Channel>, zone: Tz) -> String {
    let language = Language::Spanish;
    let on = channel.map(|channel| format!(" por {channel}")).unwrap_or_default();
    match fact {
        Fact::Skipped { reason } => format!("No se envía{on}. {}", reason.explanation(language)),
        Fact::Deferred { reason, until } => format!("El mensaje espera. {}", reason.sentence(*until, zone, language)),
        Fact::Throttled { per_hour, until } => {
            let until = until.to_utc().with_timezone(&zone).format("%Y-%m-%d %H:%M");
            format!(
                "El mensaje espera su turno. El cliente ya recibió {per_hour} mensajes en una hora; saldrá el {until} ({zone})."
            )
        }
        Fact::FellBack { to, why } => format!("Se pasa al canal siguiente, {to}: {}.", fallback_reason(why, language)),
        Fact::Receipt { report } => format!("El proveedor informó{on}: {}", report.as_str()),
        Fact::Suppressed {} => format!(
            "Lista de supresión{on}: la dirección rebotó; no se le envía nada hasta que se levante la supresión."
        ),
        Fact::Cancelled {} => "Se canceló a pedido, antes de que saliera.".to_owned(),
        Fact::Resent { copy } => format!("Se volvió a enviar a pedido, como la notificación {copy}."),
        Fact::OptedOut {} => {
            format!("El cliente desactivó el canal {} con el enlace del mensaje.", channel.map_or("", Channel::as_str))
        }
    }
}

fn in_english(fact: &Fact, channel: Option<Channel>, zone: Tz) -> String {
    let language = Language::English;
    let on = channel.map(|channel| format!(" by {channel}")).unwrap_or_default();
    match fact {
        Fact::Skipped { reason } => format!("Nothing is sent{on}. {}", reason.explanation(language)),
        Fact::Deferred { reason, until } => format!("The message waits. {}", reason.sentence(*until, zone, language)),
        Fact::Throttled { per_hour, until } => {
            let until = until.to_utc().with_timezone(&zone).format("%Y-%m-%d %H:%M");
            format!(
                "The message waits for its turn. The customer already got {per_hour} messages within an hour; it leaves on {until} ({zone})."
            )
        }
        Fact::FellBack { to, why } => format!("The next channel is tried, {to}: {}.", fallback_reason(why, language)),
        Fact::Receipt { report } => format!("The provider reported{on}: {}", report.as_str()),
        Fact::Suppressed {} => {
            format!("Suppression list{on}: the address bounced; nothing is sent to it until the suppression is lifted.")
        }
        Fact::Cancelled {} => "It was cancelled on request, before it left.".to_owned(),
        Fact::Resent { copy } => format!("It was sent again on request, as notification {copy}."),
        Fact::OptedOut {} => {
            let channel = channel.map_or("", Channel::as_str);
            format!("The customer switched the channel {channel} off with the link in the message.")
        }
    }
}

fn fallback_reason(why: &FallbackReason, language: Language) -> String {
    match why {
        FallbackReason::Failed { code, reason } => format!("{code} {reason}").trim().to_owned(),
        FallbackReason::NoReceipt(Awaited { receipt, seconds }) => language.pick(
            format!("no llegó el recibo \"{receipt}\" en {seconds} s"),
            format!("the receipt \"{receipt}\" did not come within {seconds} s"),
        ),
        FallbackReason::RefusedLater => language
            .pick(
                "el proveedor rechazó el mensaje después de aceptarlo",
                "the provider refused the message after it had taken it",
            )
            .to_owned(),
    }
}

fn entry(at: Timestamp, kind: &str, record: &Record, text: String) -> TimelineEntry {
    TimelineEntry {
        at,
        kind: kind.to_owned(),
        channel: Some(record.channel),
        notification_id: Some(record.id),
        text,
        facts: Map::new(),
    }
}

fn facts(value: Value) -> Map<String, Value> {
    match value {
        Value::Object(facts) => facts,
        _ => Map::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dispatch::DeferReason;
    use crate::journal::Entry;
    use crate::orchestration::{AwaitedReceipt, SkipReason};
    use crate::reports::Report;
    use crate::targets::Target;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_micros((1_768_919_400 + second) * 1_000_000)
    }

    fn record(channel: Channel, order: i32, status: Status) -> Record {
        Record {
            id: Id::of_name(channel.as_str()),
            correlation_id: Id::of_name("event"),
            task_id: Id::of_name("task"),
            event_type: "vehicle_ready".into(),
            customer_id: "customer-001".into(),
            taller_id: None,
            target: Target::Clients,
            channel,
            fallback_order: order,
            status,
            recipient_address: "carlos@example.com".into(),
            template_id: None,
            template_version: None,
            template_name: "t".into(),
            error_code: None,
            error_reason: None,
            retry_count: 0,
            max_retries: 3,
            next_retry_at: None,
            provider_message_id: None,
            provider: None,
            preferred: None,
            critical: false,
            send_at: None,
            resend_of: None,
            sent_at: None,
            delivered_at: None,
            read_at: None,
            created_at: at(0),
            updated_at: at(9),
        }
    }

    fn attempt(channel: Channel, second: i64, outcome: Outcome) -> Attempt {
        Attempt {
            id: Id::of_name(&format!("{channel} {second}")),
            notification_id: Id::of_name(channel.as_str()),
            channel,
            started_at: at(second),
            duration_ms: 84,
            number: 1,
            outcome,
            error_code: (outcome != Outcome::Sent).then(|| "EMAIL_SEND_FAILED".into()),
            error_reason: None,
            provider_status: Some(451),
            provider_answer: Some("451 carlos@example.com".into()),
            provider: None,
            provider_message_id: None,
        }
    }

    fn line(fact: Fact, second: i64, about: Option<Channel>) -> Line {
        Line::from(Entry {
            id: Id::of_name(fact.kind().as_str()),
            at: at(second),
            correlation_id: Id::of_name("event"),
            customer_id: "customer-001".into(),
            task_id: Some(Id::of_name("task")),
            notification_id: about.map(|channel| Id::of_name(channel.as_str())),
            channel: about,
            fact,
        })
    }

    fn tell(chain: &[Record], attempts: &[Attempt], journal: &[Line], shows_answers: bool) -> Vec<TimelineEntry> {
        tell_in(Language::Spanish, chain, attempts, journal, shows_answers)
    }

    fn tell_in(
        language: Language,
        chain: &[Record],
        attempts: &[Attempt],
        journal: &[Line],
        shows_answers: bool,
    ) -> Vec<TimelineEntry> {
        Timeline { chain, attempts, journal, zone: Tz::America__Guayaquil, language, shows_answers }.tell()
    }

    /// Every fact that the journal can hold, with each of its reasons.
    fn every_fact() -> Vec<Fact> {
        let awaited = Awaited { receipt: AwaitedReceipt::Delivered, seconds: 90 };
        let reasons = [
            FallbackReason::Failed { code: "EMAIL_SEND_FAILED".into(), reason: "554".into() },
            FallbackReason::NoReceipt(awaited),
            FallbackReason::RefusedLater,
        ];
        let mut facts = vec![
            Fact::Throttled { per_hour: 5, until: at(60) },
            Fact::Suppressed {},
            Fact::Cancelled {},
            Fact::Resent { copy: Id::of_name("copy") },
            Fact::OptedOut {},
        ];
        facts.extend(SkipReason::ALL.iter().map(|reason| Fact::Skipped { reason: *reason }));
        facts.extend(DeferReason::ALL.iter().map(|reason| Fact::Deferred { reason: *reason, until: at(60) }));
        facts.extend(Report::ALL.iter().map(|report| Fact::Receipt { report: *report }));
        facts.extend(reasons.map(|why| Fact::FellBack { to: Channel::Whatsapp, why }));
        facts
    }

    /// Letters that no English sentence of ours has, and words that no Spanish one has.
    fn is_spanish(text: &str) -> bool {
        text.contains(['á', 'é', 'í', 'ó', 'ú', 'ñ'])
            || ["El ", "Se ", " el ", " la ", " se ", " por ", " en "].iter().any(|w| text.contains(w))
    }

    fn is_english(text: &str) -> bool {
        [" the ", " by ", " was ", " is ", "The "].iter().any(|word| text.contains(word))
    }

    #[test]
    fn every_fact_is_told_in_both_languages() {
        let facts = every_fact();
        let kinds: std::collections::BTreeSet<&str> = facts.iter().map(|fact| fact.kind().as_str()).collect();
        assert_eq!(kinds.len(), Kind::ALL.len(), "a kind of fact is missing here: {kinds:?}");
        for fact in facts {
            let line = line(fact, 0, Some(Channel::Email));
            let told = |language| text(&line, Tz::America__Guayaquil, language);
            let (spanish, english) = (told(Language::Spanish), told(Language::English));
            assert!(is_spanish(&spanish) && !is_english(&spanish), "{spanish}");
            assert!(!is_spanish(&english), "{english}");
            // What is a figure or a name in one is so in the other.
            for word in ["email", "whatsapp", "2026-01-20 09:31", "90 s", "554"] {
                assert_eq!(spanish.contains(word), english.contains(word), "{word}: {spanish} / {english}");
            }
        }
        let mut erased = line(Fact::Cancelled {}, 0, None);
        (erased.kind, erased.facts) = ("unheard_of".into(), sqlx::types::Json(json!({})));
        assert!(text(&erased, Tz::UTC, Language::English).starts_with("The details were erased"));
    }

    /// What rows tell besides the journal: each status and outcome, a retry and a message that was sent again.
    #[test]
    fn every_entry_of_a_row_is_told_in_both_languages() {
        for status in Status::ALL {
            let mut first = record(Channel::Email, 0, status);
            first.next_retry_at = Some(at(60));
            (first.delivered_at, first.read_at) = (Some(at(10)), Some(at(11)));
            let mut copy = record(Channel::Whatsapp, 0, status);
            (copy.resend_of, copy.preferred) = (Some(Id::of_name("original")), Some(1));
            let chain = [first, copy, record(Channel::Push, 1, status)];
            let attempts: Vec<Attempt> =
                (1..).zip(Outcome::ALL).map(|(second, outcome)| attempt(Channel::Email, second, outcome)).collect();
            let spanish = tell_in(Language::Spanish, &chain, &attempts, &[], false);
            let english = tell_in(Language::English, &chain, &attempts, &[], false);
            let kinds = |told: &[TimelineEntry]| told.iter().map(|entry| entry.kind.clone()).collect::<Vec<_>>();
            assert_eq!(kinds(&spanish), kinds(&english));
            for (spanish, english) in spanish.iter().zip(&english) {
                assert_eq!(spanish.facts, english.facts);
                assert!(is_spanish(&spanish.text), "{}", spanish.text);
                assert!(is_english(&english.text) && !is_spanish(&english.text), "{}", english.text);
            }
        }
    }

    /// In a second in which everything happens, causes still come before their effects.
    #[test]
    fn a_fallback_is_told_in_its_order() {
        let mut skipped = line(Fact::Skipped { reason: SkipReason::NoPushSubscription }, 0, None);
        skipped.channel = Some("push".into());
        let mut email = record(Channel::Email, 0, Status::Failed);
        email.updated_at = at(0);
        let chain = [email, record(Channel::Whatsapp, 1, Status::Sent)];
        let attempts = [attempt(Channel::Email, 0, Outcome::Permanent), attempt(Channel::Whatsapp, 0, Outcome::Sent)];
        let why = FallbackReason::Failed { code: "EMAIL_SEND_FAILED".into(), reason: "rechazado".into() };
        let fell_back = Fact::FellBack { to: Channel::Whatsapp, why };
        let journal = [skipped, line(fell_back, 0, Some(Channel::Email))];
        let entries = tell(&chain, &attempts, &journal, false);
        let shown: Vec<_> = entries.iter().map(|m| (m.kind.as_str(), m.channel.map(Channel::as_str))).collect();
        assert_eq!(
            shown,
            [
                ("accepted", None),
                ("chosen", Some("email")),
                ("chosen", Some("whatsapp")),
                ("skipped", Some("push")),
                ("attempt", Some("email")),
                ("failed", Some("email")),
                ("fell_back", Some("email")),
                ("attempt", Some("whatsapp")),
            ]
        );
        assert_eq!(entries[3].facts["reason"], "no_push_subscription");
        assert!(entries[3].text.ends_with("suscrito a notificaciones push."), "{}", entries[3].text);
    }

    #[test]
    fn a_retry_that_is_planned_says_when() {
        let mut email = record(Channel::Email, 0, Status::Queued);
        email.next_retry_at = Some(at(60));
        let entries = tell(&[email], &[attempt(Channel::Email, 1, Outcome::Transient)], &[], false);
        let last = entries.last().expect("entries");
        assert_eq!(last.kind, "retry_planned");
        assert!(last.text.contains("2026-01-20 09:31:00 (America/Guayaquil)"), "{}", last.text);
    }

    #[test]
    fn what_a_provider_said_is_only_for_those_who_may_see_addresses() {
        let told = |shows| {
            let entries = tell(
                &[record(Channel::Email, 0, Status::Sent)],
                &[attempt(Channel::Email, 1, Outcome::Sent)],
                &[],
                shows,
            );
            serde_json::to_string(&entries).expect("plain data")
        };
        assert!(told(true).contains("carlos@example.com"));
        assert!(!told(false).contains("carlos@example.com"));
    }

    #[test]
    fn an_event_that_reached_no_one_has_its_story_too() {
        let mut opted_out = line(Fact::Skipped { reason: SkipReason::OptedOut }, 0, None);
        (opted_out.task_id, opted_out.channel) = (None, Some("email".into()));
        let entries = tell(&[], &[], &[opted_out], false);
        assert_eq!(entries[0].text, "No se envía por email. El cliente desactivó este canal en sus preferencias.");
    }
}
