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
    /// What happened and why.
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
    /// The moments, oldest first.
    pub fn tell(&self) -> Vec<TimelineEntry> {
        let mut moments = Vec::new();
        for record in self.chain {
            if record.fallback_order == 0 {
                moments.push((Rank::Accepted, 0, self.accepted(record)));
            }
            moments.push((Rank::Chosen, record.fallback_order, chosen(record)));
            self.tell_attempts(record, &mut moments);
            let outcomes = self.outcomes(record).into_iter();
            moments.extend(outcomes.map(|moment| (Rank::Outcome, record.fallback_order, moment)));
        }
        moments.extend(self.journal.iter().map(|line| (Self::rank(line), self.place(line), told(line, self.zone))));
        // What the door decided comes first, step by step; then a channel's whole story before that of its fallback.
        moments.sort_by_key(|(rank, place, moment)| {
            let is_behind_the_door = *rank >= Rank::Attempt;
            (moment.at, if is_behind_the_door { *place + 1 } else { 0 }, *rank, *place)
        });
        moments.into_iter().map(|(_, _, moment)| moment).collect()
    }

    fn accepted(&self, record: &Record) -> TimelineEntry {
        let (event, customer) = (&record.event_type, &record.customer_id);
        let text = match record.resend_of {
            None => format!("Se aceptó el evento {event} para el cliente {customer}."),
            Some(original) => format!("Se volvió a enviar a pedido, con el texto de la notificación {original}."),
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
        TimelineEntry { channel: None, notification_id: None, facts, ..moment(record.created_at, kind, record, text) }
    }

    fn tell_attempts(&self, record: &Record, moments: &mut Vec<(Rank, i32, TimelineEntry)>) {
        let own: Vec<&Attempt> = self.attempts.iter().filter(|attempt| attempt.notification_id == record.id).collect();
        for (number, attempt) in (1..).zip(&own) {
            let told = self.attempt(record, attempt, number);
            moments.push((Rank::Attempt, record.fallback_order, told));
        }
        if let (Some(last), Status::Queued, Some(next)) = (own.last(), record.status, record.next_retry_at)
            && record.updated_at >= last.started_at
        {
            let text = format!("Se intentará de nuevo por {} el {}.", record.channel, self.hour(next));
            let facts = facts(
                json!({ "next_retry_at": next, "retry_count": record.retry_count, "max_retries": record.max_retries }),
            );
            let told = TimelineEntry { facts, ..moment(record.updated_at, "retry_planned", record, text) };
            moments.push((Rank::Outcome, record.fallback_order, told));
        }
    }

    fn attempt(&self, record: &Record, attempt: &Attempt, number: usize) -> TimelineEntry {
        let status = attempt.provider_status.map(|status| format!(" ({status})")).unwrap_or_default();
        let code = attempt.error_code.as_deref().unwrap_or_default();
        let why = match attempt.outcome {
            Outcome::Sent => format!("el proveedor lo aceptó{status}"),
            Outcome::Transient => format!("falló por un motivo pasajero, {code}{status}"),
            Outcome::Permanent => format!("el proveedor lo rechazó, {code}{status}"),
            Outcome::Misconfigured => format!("el canal está mal configurado, {code}{status}"),
            Outcome::Unknown => format!("no hubo respuesta y no se sabe si salió, {code}{status}"),
        };
        let reason = attempt.error_reason.as_deref().map(|reason| format!(": {reason}")).unwrap_or_default();
        let text = format!("Intento {number} por {}: {why} en {} ms{reason}.", attempt.channel, attempt.duration_ms);
        let mut facts = facts(json!({
            "number": number, "outcome": attempt.outcome, "error_code": attempt.error_code,
            "error_reason": attempt.error_reason, "provider_status": attempt.provider_status,
            "duration_ms": attempt.duration_ms,
        }));
        if self.shows_answers {
            facts.insert("provider_answer".to_owned(), json!(attempt.provider_answer));
        }
        TimelineEntry { facts, ..moment(attempt.started_at, "attempt", record, text) }
    }

    /// What the row itself says, unless the journal says it better.
    fn outcomes(&self, record: &Record) -> Vec<TimelineEntry> {
        let in_journal = |kind: Kind| {
            let about = |line: &Line| line.task_id == Some(record.task_id) && line.kind == kind.as_str();
            self.journal.iter().any(about)
        };
        let mut moments = Vec::new();
        for (at, kind, words) in [
            (record.delivered_at, "delivered", "El proveedor confirmó que llegó"),
            (record.read_at, "read", "El proveedor confirmó que se leyó"),
        ] {
            moments.extend(at.map(|at| moment(at, kind, record, format!("{words} por {}.", record.channel))));
        }
        let code = record.error_code.as_deref().unwrap_or("sin código");
        let reason = record.error_reason.as_deref().unwrap_or_default();
        let ended = match record.status {
            Status::Failed | Status::Bounced => {
                Some(("failed", format!("El canal {} se dio por fallido, {code}: {reason}", record.channel)))
            }
            Status::Cancelled if !in_journal(Kind::Cancelled) => {
                Some(("cancelled", format!("El mensaje por {} se canceló: {reason}", record.channel)))
            }
            _ => None,
        };
        if let Some((kind, text)) = ended {
            let facts = facts(json!({ "error_code": record.error_code, "error_reason": record.error_reason }));
            moments.push(TimelineEntry { facts, ..moment(record.updated_at, kind, record, text) });
        }
        moments
    }

    fn rank(line: &Line) -> Rank {
        if line.kind == Kind::Skipped.as_str() {
            Rank::Skipped
        } else if line.kind == Kind::Deferred.as_str() && line.notification_id.is_none() {
            // At the door; what is deferred later has an attempt before it.
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
}

fn chosen(record: &Record) -> TimelineEntry {
    let place = if record.fallback_order == 0 {
        format!("El canal {} va primero", record.channel)
    } else {
        format!("El canal {} queda de reserva, en el lugar {}", record.channel, record.fallback_order + 1)
    };
    let text = format!("{place}. {}", orchestration::reason(record.preferred));
    let facts = facts(json!({
        "fallback_order": record.fallback_order, "priority": record.preferred, "template": record.template_name,
    }));
    TimelineEntry { facts, ..moment(record.created_at, "chosen", record, text) }
}

/// A line of the journal.
fn told(line: &Line, zone: Tz) -> TimelineEntry {
    let channel: Option<Channel> = line.channel.as_deref().and_then(|channel| channel.parse().ok());
    TimelineEntry {
        at: line.at,
        kind: line.kind.clone(),
        channel,
        notification_id: line.notification_id,
        text: text(line, zone),
        facts: facts(line.facts.0.clone()),
    }
}

/// What a line of the journal tells, with hours of this zone.
pub fn text(line: &Line, zone: Tz) -> String {
    let channel = line.channel.as_deref().and_then(|channel| channel.parse().ok());
    line.fact().map_or_else(
        || "Los detalles se borraron, o los escribió una versión más nueva.".to_owned(),
        |fact| sentence(&fact, channel, zone),
    )
}

/// What staff read about a decision, in Spanish.
fn sentence(fact: &Fact, channel: Option<Channel>, zone: Tz) -> String {
    let on = channel.map(|channel| format!(" por {channel}")).unwrap_or_default();
    match fact {
        Fact::Skipped { reason } => format!("No se envía{on}. {}", reason.explanation()),
        Fact::Deferred { reason, until } => format!("El mensaje espera. {}", reason.sentence(*until, zone)),
        Fact::Throttled { per_hour, until } => {
            let until = until.to_utc().with_timezone(&zone).format("%Y-%m-%d %H:%M");
            format!(
                "El mensaje espera su turno. El cliente ya recibió {per_hour} mensajes en una hora; saldrá el {until} ({zone})."
            )
        }
        Fact::FellBack { to, why } => format!("Se pasa al canal siguiente, {to}: {}.", fallback_reason(why)),
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

fn fallback_reason(why: &FallbackReason) -> String {
    match why {
        FallbackReason::Failed { code, reason } => format!("{code} {reason}").trim().to_owned(),
        FallbackReason::NoReceipt(Awaited { receipt, seconds }) => {
            format!("no llegó el recibo \"{receipt}\" en {seconds} s")
        }
        FallbackReason::RefusedLater => "el proveedor rechazó el mensaje después de aceptarlo".to_owned(),
    }
}

fn moment(at: Timestamp, kind: &str, record: &Record, text: String) -> TimelineEntry {
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
    use crate::journal::Entry;
    use crate::orchestration::SkipReason;
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
        Timeline { chain, attempts, journal, zone: Tz::America__Guayaquil, shows_answers }.tell()
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
        let moments = tell(&chain, &attempts, &journal, false);
        let shown: Vec<_> = moments.iter().map(|m| (m.kind.as_str(), m.channel.map(Channel::as_str))).collect();
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
        assert_eq!(moments[3].facts["reason"], "no_push_subscription");
        assert!(moments[3].text.ends_with("suscrito a notificaciones push."), "{}", moments[3].text);
    }

    #[test]
    fn a_retry_that_is_planned_says_when() {
        let mut email = record(Channel::Email, 0, Status::Queued);
        email.next_retry_at = Some(at(60));
        let moments = tell(&[email], &[attempt(Channel::Email, 1, Outcome::Transient)], &[], false);
        let last = moments.last().expect("moments");
        assert_eq!(last.kind, "retry_planned");
        assert!(last.text.contains("2026-01-20 09:31:00 (America/Guayaquil)"), "{}", last.text);
    }

    #[test]
    fn what_a_provider_said_is_only_for_those_who_may_see_addresses() {
        let told = |shows| {
            let moments = tell(
                &[record(Channel::Email, 0, Status::Sent)],
                &[attempt(Channel::Email, 1, Outcome::Sent)],
                &[],
                shows,
            );
            serde_json::to_string(&moments).expect("plain data")
        };
        assert!(told(true).contains("carlos@example.com"));
        assert!(!told(false).contains("carlos@example.com"));
    }

    #[test]
    fn an_event_that_reached_nobody_has_its_story_too() {
        let mut opted_out = line(Fact::Skipped { reason: SkipReason::OptedOut }, 0, None);
        (opted_out.task_id, opted_out.channel) = (None, Some("email".into()));
        let moments = tell(&[], &[], &[opted_out], false);
        assert_eq!(moments[0].text, "No se envía por email. El cliente desactivó este canal en sus preferencias.");
    }
}
