//! Whom to tell of a request, and by what means, pure; what was told.
//!
//! An operator is told once: by the group of the experience (S003-25), else at their number, else at their contact phone, else by
//! mail. Before words leave, the request says so; from then on it is never told again by guesswork. If the answer of the bridge
//! is lost, the message that comes back as one of ours settles it (d31a).

use std::time::Duration;

use recado_kernel::clock::Timestamp;
use recado_kernel::db::{Result, Session, columns};
use recado_kernel::ids::Id;
use recado_kernel::retry::RetryPolicy;
use recado_kernel::{columns, sql, word_enum};
use serde_json::json;

use crate::requests::{self, NewEvent, Status, Step, What};
use crate::{bindings, chats};

/// A way to an operator, in the order in which they are tried.
#[derive(Clone, Copy, Debug, PartialEq, Eq, strum::IntoStaticStr, strum::VariantArray)]
#[strum(serialize_all = "snake_case", const_into_str)]
pub enum Means {
    /// The group of the experience.
    Group,
    /// The operator's WhatsApp number.
    Number,
    /// The operator's contact phone.
    Phone,
    /// The operator's contact address.
    Email,
}

word_enum!(Means, "a means");

/// How an operator can be reached.
#[derive(Clone, Debug, Default, PartialEq, Eq, sqlx::FromRow)]
pub struct Contact {
    pub whatsapp_number: Option<String>,
    pub contact_phone: Option<String>,
    pub contact_email: Option<String>,
}

/// A means, and where it leads.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Way {
    pub means: Means,
    /// A chat id of WhatsApp; of an email, the address.
    pub to: String,
}

/// The first way that is not spent. Ways that lead to a place that was tried are left out.
pub fn first_way(group: Option<&str>, contact: &Contact, spent: &[Means]) -> Option<Way> {
    let phone = |text: Option<&String>| {
        let digits: String = text?.chars().filter(char::is_ascii_digit).collect();
        (!digits.is_empty()).then(|| chats::of_phone(&digits))
    };
    let to = |means| match means {
        Means::Group => group.map(str::to_owned),
        Means::Number => phone(contact.whatsapp_number.as_ref()),
        Means::Phone => phone(contact.contact_phone.as_ref()),
        Means::Email => contact.contact_email.clone().filter(|address| !address.trim().is_empty()),
    };
    let tried: Vec<String> = spent.iter().filter_map(|means| to(*means)).collect();
    let left = Means::ALL.into_iter().filter(|means| !spent.contains(means));
    left.filter_map(|means| to(means).map(|to| Way { means, to })).find(|way| !tried.contains(&way.to))
}

/// What came of an attempt.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    Accepted {
        message_id: Option<String>,
    },
    /// It may work later: not ready, 500, no connection.
    Passing(String),
    /// It does not lead there: a number without WhatsApp, no such group, no address.
    Refused(String),
    /// The bridge itself is of no use, so neither are its other ways.
    NoBridge(String),
    /// The number has sent what it may in a day. With a mail address there is another way; without one, the words wait.
    Limited {
        wait: Duration,
        has_mail: bool,
    },
    /// The answer never came; the words may have left.
    Unknown(String),
    /// A run was cut off before the words left.
    Lost,
}

impl Outcome {
    /// Why it did not work.
    pub fn reason(&self) -> &str {
        match self {
            Self::Accepted { .. } => "",
            Self::Passing(reason) | Self::Refused(reason) | Self::NoBridge(reason) | Self::Unknown(reason) => reason,
            Self::Limited { .. } => "the number has sent as much as WHATSAPP_DAILY_LIMIT allows in a day",
            Self::Lost => "an earlier run was cut off before it left",
        }
    }

    /// For metrics.
    pub fn word(&self) -> &'static str {
        match self {
            Self::Accepted { .. } => "accepted",
            Self::Passing(_) => "passing",
            Self::Refused(_) => "refused",
            Self::NoBridge(_) => "no_bridge",
            Self::Limited { .. } => "limited",
            Self::Unknown(_) => "unknown",
            Self::Lost => "lost",
        }
    }
}

/// What follows an attempt.
#[derive(Clone, Debug, PartialEq)]
pub enum Next {
    Told,
    /// The same again, after a while.
    Again(Duration),
    /// The same after a while, and it does not count as a failure.
    Wait(Duration),
    /// These means are spent.
    Spent(Vec<Means>),
    /// Nothing: the echo will tell.
    InDoubt,
}

/// Decides what follows. `failures` counts those of this means that came before.
pub fn next(means: Means, outcome: &Outcome, failures: u32, policy: RetryPolicy, jitter: f64) -> Next {
    let through_bridge = || Means::ALL.into_iter().filter(|other| *other != Means::Email).collect();
    match outcome {
        Outcome::Accepted { .. } => Next::Told,
        Outcome::Lost => Next::Again(Duration::ZERO),
        Outcome::Passing(_) if failures + 1 < policy.max_attempts => Next::Again(policy.delay(failures + 1, jitter)),
        // All ways through the bridge fail alike.
        Outcome::Passing(_) | Outcome::NoBridge(_) if means != Means::Email => Next::Spent(through_bridge()),
        Outcome::Passing(_) | Outcome::NoBridge(_) | Outcome::Refused(_) => Next::Spent(vec![means]),
        Outcome::Limited { has_mail: true, .. } => Next::Spent(through_bridge()),
        Outcome::Limited { wait, has_mail: false } => Next::Wait(*wait),
        Outcome::Unknown(_) => Next::InDoubt,
    }
}

/// What a notice says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Notice {
    pub code: String,
    pub title: String,
    pub customer_phone: Option<String>,
    pub passengers: i32,
    /// The code had expired when it was named.
    pub is_expired: bool,
}

impl Notice {
    pub fn subject(&self) -> String {
        format!("Solicitud de reserva {}", self.code)
    }

    /// The words for WhatsApp, where an operator can answer.
    pub fn text(&self) -> String {
        format!(
            "*Nueva solicitud de reserva*\n\n{}\n\nResponda *1* si hay disponibilidad o *2* si no la hay.",
            self.facts()
        )
    }

    /// The words for a mail, to which no answer is read.
    pub fn mail(&self) -> String {
        format!(
            "Nueva solicitud de reserva\n\n{}\n\nComunique la disponibilidad a quien le envía estas reservas.",
            self.facts()
        )
    }

    fn facts(&self) -> String {
        let Self { code, title, passengers, .. } = self;
        let customer =
            self.customer_phone.as_deref().map_or("número desconocido".to_owned(), |phone| format!("+{phone}"));
        let expired = if self.is_expired { " (vencido)" } else { "" };
        format!("Código: {code}{expired}\nExperiencia: {title}\nCliente: {customer}\nPersonas: {passengers}")
    }
}

/// Recognises words that come back as a message of ours.
pub fn digest(text: &str) -> Id {
    Id::of_name(text.trim())
}

/// What is to be done about a request.
#[derive(Clone, Debug)]
pub enum NextNotice {
    /// Nothing is left to do: it was told, answered, or is gone.
    Nothing,
    /// An earlier run was about to tell, and what came of it is not known.
    InDoubt { way: Way, since: Timestamp, digest: Option<Id> },
    /// Tell this, by this way. Mail may be a way too.
    Tell { way: Way, notice: Notice, has_mail: bool, failures: u32 },
    /// There is no way left.
    NoWay,
}

#[derive(sqlx::FromRow)]
struct Row {
    code: String,
    experience_id: Option<String>,
    operator: Option<Id>,
    customer_phone: Option<String>,
    passengers: i32,
    status: Status,
    told_by: Option<Means>,
    told_to: Option<String>,
    telling_since: Option<Timestamp>,
    notice_digest: Option<Id>,
    tell_failures: i32,
    means_spent: String,
    created_at: Timestamp,
}

impl Row {
    fn spent(&self) -> Vec<Means> {
        self.means_spent.split(',').filter_map(|word| word.parse().ok()).collect()
    }
}

/// Looks what is to be done, and notes in the request that words are about to leave. To be committed before they do.
pub async fn prepare(session: &mut Session, request: Id, now: Timestamp) -> Result<NextNotice> {
    let row: Option<Row> = sql!(one Row, session,
        "select code, experience_id, operator, customer_phone, passengers, status, told_by, told_to, telling_since, notice_digest, tell_failures,
             means_spent, created_at
         from reservation_requests where id = $1 for update",
        request
    )?;
    let Some(row) = row else { return Ok(NextNotice::Nothing) };
    if row.status.after(Step::Tell).is_none() {
        return Ok(NextNotice::Nothing);
    }
    if let (Some(since), Some(means), Some(to)) = (row.telling_since, row.told_by, row.told_to.clone()) {
        // A mail that goes twice has one Message-ID, and is one in a mailbox.
        if means != Means::Email {
            return Ok(NextNotice::InDoubt { way: Way { means, to }, since, digest: row.notice_digest });
        }
    }
    let Some((way, notice, has_mail)) = way_of(session, &row).await? else {
        no_way(session, request, row.status, now).await?;
        return Ok(NextNotice::NoWay);
    };
    begin(session, request, &way, &notice, now).await?;
    Ok(NextNotice::Tell { way, notice, has_mail, failures: row.tell_failures.unsigned_abs() })
}

/// The way, the words, and whether mail is a way too.
async fn way_of(session: &mut Session, row: &Row) -> Result<Option<(Way, Notice, bool)>> {
    let Some(experience) = row.experience_id.as_deref() else { return Ok(None) };
    let known: Option<(String, Option<Timestamp>)> = sql!(
        one(String, Option<Timestamp>),
        session,
        "select e.title, c.expires_at from tour_experiences e left join reservation_codes c on c.code = $2 where e.id = $1",
        experience,
        row.code.as_str()
    )?;
    let Some((title, expires_at)) = known else { return Ok(None) };
    let binding = bindings::current(session, &[experience]).await?.into_iter().next();
    let (group, operator) = binding.map_or((None, None), |binding| (binding.group, binding.operator));
    let contact: Option<Contact> = sql!(one Contact, session,
        "select whatsapp_number, contact_phone, contact_email from tour_operators where id = $1", operator.or(row.operator))?;
    let group = group.map(|group| group.chat_id);
    let (contact, spent) = (contact.unwrap_or_default(), row.spent());
    let way = first_way(group.as_deref(), &contact, &spent);
    let without_bridge = [&spent[..], &[Means::Group, Means::Number, Means::Phone]].concat();
    let has_mail = first_way(None, &contact, &without_bridge).is_some();
    let notice = Notice {
        code: row.code.clone(),
        title,
        customer_phone: row.customer_phone.clone(),
        passengers: row.passengers,
        is_expired: expires_at.is_some_and(|expires_at| expires_at <= row.created_at),
    };
    Ok(way.map(|way| (way, notice, has_mail)))
}

async fn begin(session: &mut Session, request: Id, way: &Way, notice: &Notice, now: Timestamp) -> Result<()> {
    sql!(
        run,
        session,
        "update reservation_requests set status = 'processing', told_by = $2, told_to = $3, telling_since = $4,
             notice_digest = $5, updated_at = $4 where id = $1",
        request,
        way.means,
        way.to.as_str(),
        now,
        digest(&notice.text())
    )?;
    Ok(())
}

async fn no_way(session: &mut Session, request: Id, status: Status, now: Timestamp) -> Result<()> {
    let status = status.after(Step::NotTold).unwrap_or(status);
    sql!(
        run,
        session,
        "update reservation_requests set status = $2, told_by = null, told_to = null, telling_since = null, updated_at = $3
         where id = $1",
        request,
        status,
        now
    )?;
    requests::note(session, &[NewEvent { request, what: What::NobodyTold, facts: json!({}), now }]).await
}

/// Keeps what came of an attempt. The echo, or an answer, may have settled it meanwhile; then nothing is changed.
pub async fn record(
    session: &mut Session,
    request: Id,
    way: &Way,
    (outcome, next): (&Outcome, &Next),
    now: Timestamp,
) -> Result<()> {
    let open: Option<(i32, String)> = sql!(
        one(i32, String),
        session,
        "select tell_failures, means_spent from reservation_requests
         where id = $1 and status = 'processing' and telling_since is not null for update",
        request
    )?;
    let Some((failures, spent)) = open else { return Ok(()) };
    let reason = outcome.reason();
    let what = match next {
        Next::Told => What::Told,
        Next::Again(_) | Next::Wait(_) => What::NotYetTold,
        Next::Spent(_) => What::MeansSpent,
        Next::InDoubt => What::Unknown,
    };
    match next {
        Next::Told => told(session, request, outcome, now).await?,
        Next::Again(_) => again(session, request, failures + 1, &spent, now).await?,
        Next::Wait(_) => again(session, request, failures, &spent, now).await?,
        Next::Spent(means) => {
            let more = means.iter().map(|means| means.as_str());
            let spent: Vec<&str> = spent.split(',').filter(|word| !word.is_empty()).chain(more).collect();
            again(session, request, 0, &spent.join(","), now).await?;
        }
        Next::InDoubt => {}
    }
    let facts = json!({ "means": way.means.as_str(), "reason": reason });
    requests::note(session, &[NewEvent { request, what, facts, now }]).await
}

async fn told(session: &mut Session, request: Id, outcome: &Outcome, now: Timestamp) -> Result<()> {
    let message_id = match outcome {
        Outcome::Accepted { message_id } => message_id.as_deref(),
        _ => None,
    };
    sql!(
        run,
        session,
        "update reservation_requests set status = 'operator_notified', notified_at = $2, telling_since = null,
             notice_whatsapp_id = coalesce($3, notice_whatsapp_id), updated_at = $2 where id = $1",
        request,
        now,
        message_id
    )?;
    Ok(())
}

async fn again(session: &mut Session, request: Id, failures: i32, spent: &str, now: Timestamp) -> Result<()> {
    sql!(
        run,
        session,
        "update reservation_requests set telling_since = null, tell_failures = $2, means_spent = $3, updated_at = $4 where id = $1",
        request,
        failures,
        spent,
        now
    )?;
    Ok(())
}

/// Staff want the operator to be told again, by any means. Returns whether that is possible as the request stands.
pub async fn restart(session: &mut Session, request: Id, status: Status, now: Timestamp) -> Result<bool> {
    if status.after(Step::Tell).is_none() {
        return Ok(false);
    }
    again(session, request, 0, "", now).await?;
    Ok(true)
}

/// A message of ours in which a notice may have come back.
#[derive(Clone, Debug)]
pub(crate) struct Echo<'m> {
    pub(crate) whatsapp_id: &'m str,
    /// The chat, under both ids where there are two.
    pub(crate) chats: Vec<String>,
    pub(crate) is_group: bool,
    pub(crate) text: &'m str,
}

#[derive(sqlx::FromRow)]
struct Told {
    id: Id,
    status: Status,
    told_by: Option<Means>,
    told_to: Option<String>,
    notice_digest: Option<Id>,
}

struct Settled<'m> {
    request: Id,
    whatsapp_id: &'m str,
    status: Status,
    now: Timestamp,
}

columns!(Settled<'m> {
    id: uuid = |settled| settled.request,
    notice_whatsapp_id: text = |settled| settled.whatsapp_id,
    status: text = |settled| settled.status.as_str(),
    notified_at: timestamptz = |settled| settled.now,
});

/// Notices that came back as messages of ours have left: that settles those of which it was not known, and an answer can quote
/// them. `codes` are those that the messages name.
pub(crate) async fn settle(session: &mut Session, codes: &[&str], echoes: &[Echo<'_>], now: Timestamp) -> Result<()> {
    let told: Vec<Told> = sql!(all Told, session,
        "select id, status, told_by, told_to, notice_digest from reservation_requests
         where code = any($1) and notice_digest is not null and notice_whatsapp_id is null order by id desc for update",
        recado_kernel::db::Texts(codes)
    )?;
    let (mut settled, mut events) = (Vec::new(), Vec::new());
    for request in &told {
        let Some(echo) = echoes.iter().find(|echo| request.came_back_as(echo)) else { continue };
        let next = request.status.after(Step::Told);
        if next.is_some() {
            let facts = json!({ "means": request.told_by.map(Means::as_str), "echo": true });
            events.push(NewEvent { request: request.id, what: What::Told, facts, now });
        }
        let status = next.unwrap_or(request.status);
        settled.push(Settled { request: request.id, whatsapp_id: echo.whatsapp_id, status, now });
    }
    if settled.is_empty() {
        return Ok(());
    }
    let update = "update reservation_requests set notice_whatsapp_id = r.notice_whatsapp_id, status = r.status,
            notified_at = coalesce(reservation_requests.notified_at, r.notified_at), telling_since = null,
            updated_at = r.notified_at
        from {rows} r where reservation_requests.id = r.id";
    columns::run(session, update, &settled).await?;
    requests::note(session, &events).await
}

impl Told {
    /// The same words, in the chat that was told. The chat of a number may be known under the person's LID.
    fn came_back_as(&self, echo: &Echo<'_>) -> bool {
        let is_there = self.told_to.as_ref().is_some_and(|told_to| echo.chats.contains(told_to))
            || (!echo.is_group
                && matches!(self.told_by, Some(Means::Number | Means::Phone))
                && echo.chats.iter().any(|chat| chats::is_lid(chat)));
        is_there && self.notice_digest == Some(digest(echo.text))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const POLICY: RetryPolicy = RetryPolicy { max_attempts: 3, base: Duration::from_secs(60) };

    fn contact(number: Option<&str>, phone: Option<&str>, email: Option<&str>) -> Contact {
        let owned = |text: Option<&str>| text.map(str::to_owned);
        Contact { whatsapp_number: owned(number), contact_phone: owned(phone), contact_email: owned(email) }
    }

    /// S003-25, d30: every set of means, and every set of those that are spent.
    #[test]
    fn the_first_way_that_is_left_is_taken() {
        for has in 0..16_u8 {
            let given = |bit: u8, text: &'static str| (has & bit != 0).then_some(text);
            let contact = contact(given(2, "+593 99-111"), given(4, "(099) 222"), given(8, "ana@example.com"));
            for spent_bits in 0..16_u8 {
                let spent: Vec<Means> = Means::ALL
                    .into_iter()
                    .enumerate()
                    .filter(|(bit, _)| spent_bits & (1 << bit) != 0)
                    .map(|(_, means)| means)
                    .collect();
                let found = first_way(given(1, "120@g.us"), &contact, &spent).map(|way| way.to);
                let places = ["120@g.us", "59399111@c.us", "099222@c.us", "ana@example.com"];
                let expected = (0..4).find(|bit| has & (1 << bit) != 0 && spent_bits & (1 << bit) == 0);
                assert_eq!(found.as_deref(), expected.map(|bit| places[bit]), "{has:04b} {spent_bits:04b}");
            }
        }
        let twice = contact(Some("+593991"), Some("593 991"), None);
        assert_eq!(first_way(None, &twice, &[Means::Number]), None, "the same number is not asked twice");
        assert_eq!(first_way(None, &contact(Some("-"), Some(""), Some(" ")), &[]), None);
    }

    /// S003-24, d31a: what follows each outcome.
    #[test]
    fn what_may_have_left_is_not_sent_again() {
        let after = |means, outcome: Outcome, failures| next(means, &outcome, failures, POLICY, 0.0);
        let passing = || Outcome::Passing("503".into());
        assert_eq!(after(Means::Group, Outcome::Accepted { message_id: None }, 0), Next::Told);
        assert_eq!(after(Means::Group, passing(), 0), Next::Again(Duration::from_secs(60)));
        assert_eq!(after(Means::Group, passing(), 1), Next::Again(Duration::from_secs(120)));
        assert_eq!(after(Means::Group, passing(), 2), Next::Spent(vec![Means::Group, Means::Number, Means::Phone]));
        assert_eq!(after(Means::Email, passing(), 2), Next::Spent(vec![Means::Email]));
        assert_eq!(after(Means::Group, Outcome::Refused("400".into()), 0), Next::Spent(vec![Means::Group]));
        let none = Outcome::NoBridge("there is none".into());
        assert_eq!(after(Means::Number, none, 0), Next::Spent(vec![Means::Group, Means::Number, Means::Phone]));
        let limited = |has_mail| Outcome::Limited { wait: Duration::from_secs(600), has_mail };
        assert_eq!(after(Means::Group, limited(true), 0), after(Means::Group, Outcome::NoBridge(String::new()), 0));
        assert_eq!(after(Means::Group, limited(false), 9), Next::Wait(Duration::from_secs(600)));
        for means in Means::ALL {
            assert_eq!(after(means, Outcome::Unknown("10 s".into()), 0), Next::InDoubt);
        }
    }

    #[test]
    fn a_notice_names_code_title_and_number() {
        let mut notice = Notice {
            code: "RES-ISLAS-20260120-9F86D081".into(),
            title: "Islas Ballestas".into(),
            customer_phone: Some("593991234567".into()),
            passengers: 4,
            is_expired: false,
        };
        let words = [notice.text(), notice.mail()];
        for word in ["RES-ISLAS-20260120-9F86D081", "Islas Ballestas", "593991234567", "Personas: 4"] {
            assert!(words.iter().all(|text| text.contains(word)), "{words:?}");
        }
        notice.customer_phone = None;
        notice.is_expired = true;
        assert!(notice.text().contains("número desconocido") && notice.text().contains("(vencido)"));
        assert_eq!(digest(" a\n"), digest("a"));
        assert_ne!(digest("a"), digest("b"));
    }

    proptest! {
        #[test]
        fn telling_ends(outcomes in proptest::collection::vec(0..3_u8, 0..40), email in any::<bool>()) {
            let contact = contact(Some("1"), Some("2"), email.then_some("a@example.com"));
            let (mut spent, mut failures, mut attempts) = (Vec::new(), 0, 0);
            for outcome in outcomes {
                let Some(way) = first_way(Some("1@g.us"), &contact, &spent) else { break };
                attempts += 1;
                let outcome = match outcome {
                    0 => Outcome::Passing(String::new()),
                    1 => Outcome::Refused(String::new()),
                    _ => Outcome::NoBridge(String::new()),
                };
                match next(way.means, &outcome, failures, POLICY, 0.0) {
                    Next::Again(_) => failures += 1,
                    Next::Spent(means) => {
                        prop_assert!(means.contains(&way.means));
                        spent.extend(means);
                        failures = 0;
                    }
                    Next::Told | Next::Wait(_) | Next::InDoubt => prop_assert!(false, "nothing was accepted"),
                }
            }
            prop_assert!(attempts <= 4 * POLICY.max_attempts);
        }
    }
}
