//! Requests that customers make by naming a reservation code: one for each code, for ever (S003-23, S003-24). How a request goes
//! on is decided here, pure; what happened to it is kept as facts, and told in sentences where it is read.

use recado_kernel::clock::Timestamp;
use recado_kernel::db::filter::{Filter, List};
use recado_kernel::db::keyset::{Cursor, Order};
use recado_kernel::db::{Ids, Result, Session, Texts, columns};
use recado_kernel::ids::Id;
use recado_kernel::language::Language;
use recado_kernel::{columns, sql, word_enum};
use serde_json::{Map, Value, json};
use sqlx::types::Json;

use crate::replies::{Reply, Waiting};

/// How a request stands (S003-22).
#[derive(Clone, Copy, Debug, PartialEq, Eq, strum::IntoStaticStr, strum::VariantArray, utoipa::ToSchema)]
#[strum(serialize_all = "snake_case", const_into_str)]
#[schema(as = ReservationStatus, rename_all = "snake_case")]
pub enum Status {
    /// It is here, and no operator is being told.
    Received,
    /// The operator is being told.
    Processing,
    /// The operator was told; an answer is awaited.
    OperatorNotified,
    /// The operator says that there is room.
    AvailabilityConfirmed,
    /// Staff confirmed it.
    Confirmed,
    /// The operator or staff refused it.
    Rejected,
    /// Time is up, and there was no answer.
    Timeout,
}

word_enum!(Status, "a status of a request");

/// What moves a request on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// Words to the operator are about to leave.
    Tell,
    /// They were accepted, or came back as a message of ours.
    Told,
    /// By none of the means it worked.
    NotTold,
    /// The operator answered.
    Answered(Reply),
    /// Staff decided.
    Confirm,
    Reject,
    /// No answer came in time.
    TimeOut,
}

impl Status {
    /// How a request stands after a step; `None`: the step is not for a request that stands like this.
    pub fn after(self, step: Step) -> Option<Self> {
        let is_open = matches!(self, Self::Received | Self::Processing | Self::OperatorNotified);
        match step {
            Step::Tell => matches!(self, Self::Received | Self::Processing).then_some(Self::Processing),
            Step::Told => matches!(self, Self::Received | Self::Processing).then_some(Self::OperatorNotified),
            Step::NotTold => matches!(self, Self::Received | Self::Processing).then_some(Self::Received),
            // An answer proves that the operator was told, also where our own word of it was lost.
            Step::Answered(reply) => {
                let answered = match reply {
                    Reply::Available => Self::AvailabilityConfirmed,
                    Reply::Rejected => Self::Rejected,
                };
                matches!(self, Self::Processing | Self::OperatorNotified).then_some(answered)
            }
            Step::Confirm => (is_open || self == Self::AvailabilityConfirmed).then_some(Self::Confirmed),
            Step::Reject => (is_open || self == Self::AvailabilityConfirmed).then_some(Self::Rejected),
            Step::TimeOut => is_open.then_some(Self::Timeout),
        }
    }
}

/// A request to be written.
#[derive(Clone, Debug)]
pub(crate) struct NewRequest {
    pub(crate) id: Id,
    pub(crate) code: String,
    pub(crate) experience_id: Option<String>,
    pub(crate) operator: Option<Id>,
    pub(crate) chat: Id,
    pub(crate) message: Id,
    pub(crate) customer_phone: Option<String>,
    pub(crate) passengers: i32,
    pub(crate) timeout_at: Timestamp,
    pub(crate) now: Timestamp,
}

columns!(NewRequest {
    id: uuid = |request| request.id,
    code: text = |request| request.code.as_str(),
    experience_id: text = |request| request.experience_id.as_deref(),
    operator: uuid = |request| request.operator,
    chat: uuid = |request| request.chat,
    message: uuid = |request| request.message,
    customer_phone: text = |request| request.customer_phone.as_deref(),
    passengers: int4 = |request| request.passengers,
    status: text = |_request| Status::Received.as_str(),
    tell_failures: int4 = |_request| 0,
    means_spent: text = |_request| "",
    timeout_at: timestamptz = |request| request.timeout_at,
    created_at: timestamptz = |request| request.now,
    updated_at: timestamptz = |request| request.now,
});

/// Writes requests; returns the ids of those whose code had none.
pub(crate) async fn insert(session: &mut Session, requests: &[NewRequest]) -> Result<Vec<Id>> {
    let insert = "insert into reservation_requests ({columns}) select {columns} from {rows} r where true
        on conflict (code) do nothing returning id";
    let written: Vec<(Id,)> = columns::all(session, insert, requests).await?;
    Ok(written.into_iter().map(|(id,)| id).collect())
}

/// The requests of these codes.
pub(crate) async fn of_codes(session: &mut Session, codes: &[&str]) -> Result<Vec<(String, Id)>> {
    sql!(all(String, Id), session, "select code, id from reservation_requests where code = any($1)", Texts(codes))
}

/// The requests of which operators were told in these chats and that wait for an answer, the newest first, held until the end of
/// the transaction.
pub(crate) async fn waiting_in(session: &mut Session, chats: &[&str]) -> Result<Vec<Waiting>> {
    sql!(all Waiting, session,
        "select id, told_to, notice_whatsapp_id from reservation_requests
         where told_to = any($1) and (status = 'operator_notified' or (status = 'processing' and telling_since is not null))
         order by id desc for update",
        Texts(chats)
    )
}

/// An operator's answer to a request.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Answer {
    pub(crate) request: Id,
    pub(crate) status: Status,
    pub(crate) now: Timestamp,
}

columns!(Answer {
    id: uuid = |answer| answer.request,
    status: text = |answer| answer.status.as_str(),
    answered_at: timestamptz = |answer| answer.now,
});

/// Writes answers to requests that are held.
pub(crate) async fn answer(session: &mut Session, answers: &[Answer]) -> Result<()> {
    let update =
        "update reservation_requests set status = r.status, answered_at = r.answered_at, updated_at = r.answered_at,
            notified_at = coalesce(reservation_requests.notified_at, r.answered_at), telling_since = null
        from {rows} r where reservation_requests.id = r.id";
    columns::run(session, update, answers).await?;
    Ok(())
}

/// What happened to a request, in the order of its life: so is told what happened at one moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq, strum::IntoStaticStr, strum::VariantArray, utoipa::ToSchema)]
#[strum(serialize_all = "snake_case", const_into_str)]
#[schema(as = ReservationEventKind, rename_all = "snake_case")]
pub enum What {
    Created,
    /// An attempt to tell the operator did not work; there will be another.
    NotYetTold,
    /// This means does not lead to the operator.
    MeansSpent,
    /// Whether the words left is not known.
    Unknown,
    /// There is no means, or none is left.
    NobodyTold,
    Told,
    Answered,
    Confirmed,
    Rejected,
    TimedOut,
    Erased,
}

word_enum!(What, "what happens to a request");

/// Something that happened to a request.
#[derive(Clone, Debug)]
pub(crate) struct NewEvent {
    pub(crate) request: Id,
    pub(crate) what: What,
    pub(crate) facts: Value,
    pub(crate) now: Timestamp,
}

columns!(NewEvent {
    id: uuid = |event| Id::new(event.now),
    request: uuid = |event| event.request,
    what: text = |event| event.what.as_str(),
    facts: jsonb = |event| Json(&event.facts),
    at: timestamptz = |event| event.now,
});

/// Adds to the stories of requests.
pub(crate) async fn note(session: &mut Session, events: &[NewEvent]) -> Result<()> {
    if events.is_empty() {
        return Ok(());
    }
    let insert = "insert into reservation_request_events ({columns}) select {columns} from {rows} r";
    columns::run(session, insert, events).await?;
    Ok(())
}

/// Something that happened, as it is kept.
#[derive(Clone, Debug, sqlx::FromRow)]
pub struct Event {
    pub id: Id,
    pub what: What,
    pub facts: Json<Map<String, Value>>,
    pub at: Timestamp,
}

/// The story of a request, from its beginning.
pub async fn story(session: &mut Session, request: Id) -> Result<Vec<Event>> {
    let mut events: Vec<Event> = sql!(all Event, session, "select id, what, facts, at from reservation_request_events where request = $1", request)?;
    events.sort_by_key(|event| (event.at, event.what as u8));
    Ok(events)
}

impl Event {
    /// What happened, in a sentence.
    pub fn sentence(&self, language: Language) -> String {
        let means = self.means(language);
        let by = self.fact("by");
        let reason = match self.fact("reason") {
            "" => String::new(),
            reason => format!(": {reason}"),
        };
        let plain = |spanish: &str, english: &str| language.pick(spanish, english).to_owned();
        let with = |spanish: String, english: String| language.pick(spanish, english);
        match self.what {
            What::Created => self.creation(language).to_owned(),
            What::Told if self.is("echo") => with(
                format!("El aviso al operador {means} salió: volvió como mensaje propio."),
                format!("The notice to the operator {means} left: it came back as a message of ours."),
            ),
            What::Told => with(format!("Se avisó al operador {means}."), format!("The operator was told {means}.")),
            What::NotYetTold => with(
                format!("No se pudo avisar al operador {means}{reason}. Se intentará de nuevo."),
                format!("The operator could not be told {means}{reason}. It will be tried again."),
            ),
            What::MeansSpent => with(
                format!("No se puede avisar al operador {means}{reason}."),
                format!("The operator cannot be told {means}{reason}."),
            ),
            What::Unknown => with(
                format!("No se sabe si el aviso al operador {means} salió{reason}. No se repite; su eco lo aclara."),
                format!(
                    "Whether the notice to the operator {means} left is not known{reason}. It is not repeated; its echo will tell."
                ),
            ),
            What::NobodyTold => plain("No hay a quién avisar.", "There is no one to tell."),
            What::Answered if self.fact("status") == "rejected" => {
                plain("El operador la rechazó.", "The operator rejected it.")
            }
            What::Answered => {
                plain("El operador confirmó la disponibilidad.", "The operator confirmed that there is room.")
            }
            What::Confirmed => with(format!("{by} la confirmó."), format!("{by} confirmed it.")),
            What::Rejected => with(format!("{by} la rechazó."), format!("{by} rejected it.")),
            What::TimedOut => {
                plain("Venció el plazo sin respuesta del operador.", "Time was up without an answer of the operator.")
            }
            What::Erased => plain("Se borraron los datos del cliente.", "What was the customer's was erased."),
        }
    }

    fn creation(&self, language: Language) -> &'static str {
        if self.is("expired") {
            language.pick(
                "Un mensaje nombró el código, que ya había vencido.",
                "A message named the code, which had expired.",
            )
        } else if self.is("unregistered") {
            language.pick(
                "Un mensaje nombró el código, que no fue emitido aquí; no se avisa a nadie.",
                "A message named the code, which was not issued here; no one is told.",
            )
        } else {
            language.pick("Un mensaje nombró el código.", "A message named the code.")
        }
    }

    /// By which means an operator was told.
    fn means(&self, language: Language) -> &'static str {
        match self.fact("means") {
            "group" => language.pick("en su grupo de WhatsApp", "in their WhatsApp group"),
            "number" => language.pick("en su número de WhatsApp", "at their WhatsApp number"),
            "phone" => language.pick("en su teléfono de contacto", "at their contact phone"),
            "email" => language.pick("por correo", "by email"),
            _ => language.pick("por ningún medio", "by no means"),
        }
    }

    fn fact(&self, name: &str) -> &str {
        self.facts.get(name).and_then(Value::as_str).unwrap_or_default()
    }

    fn is(&self, name: &str) -> bool {
        self.facts.get(name) == Some(&Value::Bool(true))
    }
}

/// A request as staff see it.
#[derive(Clone, Debug, sqlx::FromRow)]
pub struct Request {
    pub id: Id,
    pub code: String,
    pub experience_id: Option<String>,
    pub experience_title: Option<String>,
    pub operator: Option<Id>,
    pub operator_name: Option<String>,
    pub chat: Id,
    pub message: Id,
    pub customer_phone: Option<String>,
    pub passengers: i32,
    pub status: Status,
    pub told_by: Option<String>,
    pub told_to: Option<String>,
    pub notified_at: Option<Timestamp>,
    pub answered_at: Option<Timestamp>,
    pub timeout_at: Timestamp,
    pub created_at: Timestamp,
}

const SELECT: &str =
    "select q.id, q.code, q.experience_id, e.title as experience_title, q.operator, o.name as operator_name,
        q.chat, q.message, q.customer_phone, q.passengers, q.status, q.told_by, q.told_to, q.notified_at, q.answered_at,
        q.timeout_at, q.created_at
    from reservation_requests q
    left join tour_experiences e on e.id = q.experience_id
    left join tour_operators o on o.id = q.operator";

/// Which requests to list; `None` leaves a question out.
#[derive(Clone, Debug, Default)]
pub struct RequestFilter {
    pub code: Option<String>,
    pub status: Option<Status>,
    pub operator: Option<Id>,
}

impl RequestFilter {
    fn asked(&self) -> Filter {
        let mut asked = Filter::default();
        asked.equal("q.code", self.code.as_deref());
        asked.equal("q.status", self.status.map(Status::as_str));
        asked.equal("q.operator", self.operator);
        asked
    }
}

const LIST: List<'_> =
    List { select: SELECT, from: "reservation_requests q", key: "q.id", order: &["q.id"], descending: true };

/// A page of the requests that fit, the newest first, and how many fit in all.
pub async fn list(
    session: &mut Session,
    filter: &RequestFilter,
    limit: i64,
    offset: i64,
) -> Result<(Vec<Request>, i64)> {
    LIST.page(session, &filter.asked(), limit, offset).await
}

/// A page of the requests that fit, the newest first, and whether there are more in its direction.
pub async fn page(
    session: &mut Session,
    filter: &RequestFilter,
    cursor: Cursor<Id>,
    limit: i64,
) -> Result<(Vec<Request>, bool)> {
    filter.asked().page(session, SELECT, ("q.id", Order::Descending), cursor, limit).await
}

/// One request.
pub async fn find(session: &mut Session, id: Id) -> Result<Option<Request>> {
    sql!(one Request, session, (&format!("{SELECT} where q.id = $1")), id)
}

/// How a request stands, held until the end of the transaction. `None`: there is none.
pub async fn lock(session: &mut Session, id: Id) -> Result<Option<Status>> {
    let found: Option<(Status,)> =
        sql!(one(Status,), session, "select status from reservation_requests where id = $1 for update", id)?;
    Ok(found.map(|(status,)| status))
}

/// What staff decide about a request that is held. `Err`: it stands so that this is not possible.
pub async fn decide(
    session: &mut Session,
    id: Id,
    status: Status,
    step: Step,
    by: &str,
    now: Timestamp,
) -> Result<std::result::Result<Status, Status>> {
    let Some(next) = status.after(step) else { return Ok(Err(status)) };
    set_status(session, id, next, now).await?;
    let what = if next == Status::Confirmed { What::Confirmed } else { What::Rejected };
    note(session, &[NewEvent { request: id, what, facts: json!({ "by": by }), now }]).await?;
    Ok(Ok(next))
}

async fn set_status(session: &mut Session, id: Id, status: Status, now: Timestamp) -> Result<()> {
    sql!(
        run,
        session,
        "update reservation_requests set status = $2, telling_since = null, updated_at = $3 where id = $1",
        id,
        status,
        now
    )?;
    Ok(())
}

/// Ends a request whose time is up. Returns whether it did: it may have been answered, or its time was changed.
pub async fn expire(session: &mut Session, id: Id, now: Timestamp) -> Result<bool> {
    let found: Option<(Status, Timestamp)> = sql!(
        one(Status, Timestamp),
        session,
        "select status, timeout_at from reservation_requests where id = $1 for update",
        id
    )?;
    let Some((status, _)) = found.filter(|(_, timeout_at)| *timeout_at <= now) else { return Ok(false) };
    let Some(next) = status.after(Step::TimeOut) else { return Ok(false) };
    set_status(session, id, next, now).await?;
    let facts = json!({ "status": status.as_str() });
    note(session, &[NewEvent { request: id, what: What::TimedOut, facts, now }]).await?;
    Ok(true)
}

/// Deletes a batch of requests, with their stories, that were made before this moment. Returns how many there were.
pub async fn delete_before(session: &mut Session, before: Timestamp, limit: i64) -> Result<u64> {
    let old: Vec<(Id,)> = sql!(
        all(Id,),
        session,
        "select id from reservation_requests where id < $1 order by id limit $2",
        Id::earliest(before),
        limit
    )?;
    let old: Vec<Id> = old.into_iter().map(|(id,)| id).collect();
    sql!(run, session, "delete from reservation_request_events where request = any($1)", Ids(&old))?;
    sql!(run, session, "delete from reservation_requests where id = any($1)", Ids(&old))
}

/// Empties what is the customer's in requests from these numbers and chats; returns their ids.
pub(crate) async fn erase(session: &mut Session, chats: &[Id], phones: &[String], now: Timestamp) -> Result<Vec<Id>> {
    let found: Vec<(Id, String)> = sql!(
        all(Id, String),
        session,
        "select id, code from reservation_requests where chat = any($1) or customer_phone = any($2) order by id for update",
        Ids(chats),
        Texts(phones)
    )?;
    let (ids, codes): (Vec<Id>, Vec<String>) = found.into_iter().unzip();
    if ids.is_empty() {
        return Ok(ids);
    }
    sql!(
        run,
        session,
        "update reservation_requests set customer_phone = null, notice_digest = null, updated_at = $2 where id = any($1)",
        Ids(&ids),
        now
    )?;
    sql!(run, session, "update reservation_codes set checkout_data = '{}' where code = any($1)", Texts(&codes))?;
    let events: Vec<NewEvent> =
        ids.iter().map(|id| NewEvent { request: *id, what: What::Erased, facts: json!({}), now }).collect();
    note(session, &events).await?;
    Ok(ids)
}

#[cfg(test)]
mod tests {
    use super::*;

    const STEPS: [Step; 8] = [
        Step::Tell,
        Step::Told,
        Step::NotTold,
        Step::Answered(Reply::Available),
        Step::Answered(Reply::Rejected),
        Step::Confirm,
        Step::Reject,
        Step::TimeOut,
    ];

    /// S003-22: every status with every step. A dot: the step is not for it.
    #[test]
    fn a_request_goes_on_like_this() {
        let table = [
            (Status::Received, "processing operator_notified received . . confirmed rejected timeout"),
            (
                Status::Processing,
                "processing operator_notified received availability_confirmed rejected confirmed rejected timeout",
            ),
            (Status::OperatorNotified, ". . . availability_confirmed rejected confirmed rejected timeout"),
            (Status::AvailabilityConfirmed, ". . . . . confirmed rejected ."),
            (Status::Confirmed, ". . . . . . . ."),
            (Status::Rejected, ". . . . . . . ."),
            (Status::Timeout, ". . . . . . . ."),
        ];
        for (status, expected) in table {
            let after = STEPS.map(|step| status.after(step).map_or(".", Status::as_str));
            assert_eq!(after.join(" "), expected, "{status}");
        }
    }

    #[test]
    fn every_event_has_a_sentence_in_both_languages() {
        for what in What::ALL {
            for facts in [json!({}), json!({"means": "group", "reason": "503", "by": "Ana", "status": "rejected"})] {
                let Value::Object(facts) = facts else { unreachable!("an object") };
                let at = Timestamp::from_micros(0);
                let event = Event { id: Id::new(at), what, facts: Json(facts), at };
                let [spanish, english] = Language::ALL.map(|language| event.sentence(language));
                assert!(spanish.ends_with('.') && english.ends_with('.') && spanish != english, "{spanish} {english}");
            }
        }
    }
}
