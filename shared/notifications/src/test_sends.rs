//! A text that staff send to themselves, to see how it arrives. It leaves through the usual accounts and is no notification: no list,
//! count or failure knows it. Its words say that it is a test, and what is kept of it is what became of it.

use std::time::Duration;

use recado_kernel::addresses::{Mailbox, normalise_phone};
use recado_kernel::audit::{self, Act, Actor};
use recado_kernel::clock::Timestamp;
use recado_kernel::db::{Result, Session, take_turns};
use recado_kernel::ids::Id;
use recado_kernel::language::Sentence;
use recado_kernel::sql;
use recado_queue::context::Context;
use recado_queue::tasks::{self, NewTask};
use serde::Serialize;
use serde_json::json;
use utoipa::ToSchema;

use crate::channels::Channel;
use crate::jobs::SendTest;
use crate::plain_text::plain_text;
use crate::templates::rendering::Rendered;
use crate::{push, suppressions};

/// So many may a person send within an hour.
pub const MOST_IN_AN_HOUR: i64 = 10;

const HOUR: Duration = Duration::from_secs(60 * 60);

/// Who asked for it does not wait longer, and would not know any more why it came.
pub const WORTHLESS_AFTER: Duration = Duration::from_secs(10 * 60);

/// What it begins with, so that the reader knows.
pub const MARK: &str = "[Prueba]";

/// What is to be sent.
#[derive(Clone, Debug)]
pub struct NewTest {
    pub template_id: Id,
    pub channel: Channel,
    /// Whose accounts it leaves through.
    pub taller_id: Option<String>,
    pub to: To,
    pub words: Rendered,
}

/// Whom it goes to.
#[derive(Clone, Debug)]
pub enum To {
    /// A mail address or a number, as it was typed.
    Address(String),
    /// All devices of a customer.
    Devices(String),
}

/// Why nothing is sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Refusal {
    TooMany,
    /// What the address lacks.
    Address(Sentence),
    Suppressed,
    NoDevice,
    /// A push has no address, and other channels have no devices.
    WrongKind,
}

impl Refusal {
    /// The field of a request that is to blame.
    pub fn field(&self) -> &'static str {
        match self {
            Self::NoDevice => "customer_id",
            Self::TooMany => "non_field_errors",
            Self::Address(_) | Self::Suppressed | Self::WrongKind => "address",
        }
    }

    /// A sentence with the remedy, for callers.
    pub fn sentence(&self) -> Sentence {
        match self {
            Self::TooMany => Sentence::new(
                format!("Ya envió {MOST_IN_AN_HOUR} pruebas en una hora: espere un poco."),
                format!("You sent {MOST_IN_AN_HOUR} tests within an hour: wait a little."),
            ),
            Self::Address(problem) => problem.clone(),
            Self::Suppressed => Sentence::new(
                "Esta dirección está suprimida (por ejemplo, porque rebotó): levante la supresión o use otra.",
                "This address is suppressed (for example because it bounced): lift the suppression, or use another.",
            ),
            Self::NoDevice => Sentence::new(
                "Este cliente no tiene dispositivos: elija otro, o suscriba uno.",
                "This customer has no devices: choose another, or subscribe one.",
            ),
            Self::WrongKind => Sentence::new(
                "Un email o WhatsApp va a una dirección (`address`); un push, a los dispositivos de un cliente (`customer_id`).",
                "An email or WhatsApp goes to an address (`address`); a push, to the devices of a customer (`customer_id`).",
            ),
        }
    }
}

/// A test, and what became of it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema, sqlx::FromRow)]
pub struct TestSend {
    /// Its id, and that of its task.
    pub id: Id,
    /// The template whose text it is.
    pub template_id: Id,
    /// The channel.
    pub channel: Channel,
    /// Who sent it, as the log names callers.
    #[schema(examples("panel"))]
    pub sent_by: String,
    /// When it was asked for.
    pub created_at: Timestamp,
    /// When that was known; null while it is under way.
    pub ended_at: Option<Timestamp>,
    /// Whether a provider took it.
    pub is_sent: bool,
    /// The account that took or refused it.
    #[schema(examples("env"))]
    pub account: Option<String>,
    /// The code of what went wrong.
    #[schema(examples("EMAIL_SEND_FAILED"))]
    pub code: Option<String>,
    /// What went wrong, in words.
    pub reason: Option<String>,
}

const COLUMNS: &str = "id, template_id, channel, sent_by, created_at, ended_at, is_sent, account, code, reason";

pub async fn find(session: &mut Session, id: Id) -> Result<Option<TestSend>> {
    sql!(one TestSend, session, (&format!("select {COLUMNS} from test_sends where id = $1")), id)
}

/// The newest of a template.
pub async fn newest(session: &mut Session, template: Id, limit: i64) -> Result<Vec<TestSend>> {
    sql!(all TestSend, session,
        (&format!("select {COLUMNS} from test_sends where template_id = $1 order by id desc limit $2")),
        template, limit
    )
}

/// Writes a test with the task that sends it. `Err` within: it is not sent, for this reason.
///
/// # Errors
/// When the database does not do its part.
pub async fn start(context: &Context, new: NewTest, actor: &Actor) -> Result<std::result::Result<Id, Refusal>> {
    let now = context.clock.now();
    let (address, customer_id) = match destination(new.channel, new.to, &context.config.default_country) {
        Ok(destination) => destination,
        Err(refusal) => return Ok(Err(refusal)),
    };
    let mut session = context.db.begin().await?;
    if let Some(refusal) = refusal(&mut session, new.channel, &address, customer_id.as_deref(), actor, now).await? {
        return Ok(Err(refusal));
    }
    let id = Id::new(now);
    let words = marked(new.channel, new.words);
    sql!(run, &mut session,
        "insert into test_sends (id, template_id, channel, taller_id, customer_id, address, subject, body, is_html, sent_by,
             created_at, is_sent)
         values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12)",
        id, new.template_id, new.channel, new.taller_id.as_deref(), customer_id.as_deref(), address.as_str(),
        words.subject.as_str(), words.body.as_str(), words.html, actor.name.as_str(), now, false
    )?;
    let task = NewTask::now(id, &SendTest { channel: new.channel }, now);
    let inserted = tasks::insert(&mut session, std::slice::from_ref(&task)).await?;
    let act = Act::new("test", "template", new.template_id).made(json!({ "channel": new.channel }));
    audit::write(&mut session, actor, &act, now).await?;
    session.commit().await?;
    context.ring(&inserted.rings).await;
    Ok(Ok(id))
}

/// Address and customer, as they are kept.
fn destination(channel: Channel, to: To, country: &str) -> std::result::Result<(String, Option<String>), Refusal> {
    let wrong = |error: recado_kernel::addresses::AddressError| Refusal::Address(error.into());
    match (channel, to) {
        (Channel::Email, To::Address(address)) => {
            let mailbox: Mailbox = address.parse().map_err(wrong)?;
            Ok((mailbox.address, None))
        }
        (Channel::Whatsapp, To::Address(number)) => Ok((normalise_phone(&number, country).map_err(wrong)?, None)),
        (Channel::Push, To::Devices(customer_id)) => Ok((String::new(), Some(customer_id))),
        (Channel::Push, To::Address(_)) | (Channel::Email | Channel::Whatsapp, To::Devices(_)) => {
            Err(Refusal::WrongKind)
        }
    }
}

async fn refusal(
    session: &mut Session,
    channel: Channel,
    address: &str,
    customer_id: Option<&str>,
    actor: &Actor,
    now: Timestamp,
) -> Result<Option<Refusal>> {
    // Of those that come at once, the second counts the first.
    take_turns(session, &format!("test sends of {}", actor.name)).await?;
    let sent: Option<(i64,)> = sql!(
        one(i64),
        session,
        "select count(*) from test_sends where sent_by = $1 and created_at > $2",
        actor.name.as_str(),
        now - HOUR
    )?;
    if sent.is_some_and(|(sent,)| sent >= MOST_IN_AN_HOUR) {
        return Ok(Some(Refusal::TooMany));
    }
    if let Some(customer_id) = customer_id {
        let devices = push::of_customer(session, customer_id).await?;
        return Ok(devices.is_empty().then_some(Refusal::NoDevice));
    }
    Ok(suppressions::contains_address(session, channel, address).await?.then_some(Refusal::Suppressed))
}

/// The words with the mark that it is a test, as the channel carries them: only mails show HTML.
fn marked(channel: Channel, words: Rendered) -> Rendered {
    let Rendered { subject, body, html } = words;
    match channel {
        Channel::Email => Rendered { subject: format!("{MARK} {subject}"), body, html },
        Channel::Push => Rendered {
            subject: format!("{MARK} {subject}"),
            body: if html { plain_text(&body) } else { body },
            html: false,
        },
        Channel::Whatsapp => {
            let body = if html { plain_text(&body) } else { body };
            Rendered { subject, body: format!("{MARK} {body}"), html: false }
        }
    }
}

/// What the worker sends. No `Debug`: it names a person.
#[derive(Clone, sqlx::FromRow)]
pub struct Waiting {
    pub channel: Channel,
    pub taller_id: Option<String>,
    pub customer_id: Option<String>,
    pub address: String,
    pub subject: String,
    pub body: String,
    pub is_html: bool,
    pub paced_until: Option<Timestamp>,
    pub created_at: Timestamp,
}

/// A test that has not ended.
pub async fn waiting(session: &mut Session, id: Id) -> Result<Option<Waiting>> {
    sql!(one Waiting, session,
        "select channel, taller_id, customer_id, address, subject, body, is_html, paced_until, created_at
         from test_sends where id = $1 and ended_at is null",
        id
    )
}

/// Remembers the place that a test has at a paced provider.
pub async fn pace(session: &mut Session, id: Id, until: Timestamp) -> Result<()> {
    sql!(run, session, "update test_sends set paced_until = $2 where id = $1", id, until)?;
    Ok(())
}

/// How a test ended.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Ended {
    pub is_sent: bool,
    pub account: Option<String>,
    pub code: Option<String>,
    pub reason: Option<String>,
}

/// Writes how a test ended, and forgets where it went and what it said.
pub async fn end(session: &mut Session, id: Id, ended: &Ended, now: Timestamp) -> Result<()> {
    sql!(
        run,
        session,
        "update test_sends set ended_at = $2, is_sent = $3, account = $4, code = $5, reason = $6, address = '', subject = '',
             body = '', customer_id = null
         where id = $1 and ended_at is null",
        id,
        now,
        ended.is_sent,
        ended.account.as_deref(),
        ended.code.as_deref(),
        ended.reason.as_deref()
    )?;
    Ok(())
}

/// Forgets tests that are on their way to a person. Their jobs then find nothing to send.
pub async fn erase(session: &mut Session, customer_id: &str, addresses: &[String]) -> Result<u64> {
    sql!(
        run,
        session,
        "delete from test_sends where customer_id = $1 or (address <> '' and address = any($2))",
        customer_id,
        recado_kernel::db::Texts(addresses)
    )
}

/// Deletes tests that were asked for before `before`.
pub async fn delete_before(session: &mut Session, before: Timestamp, limit: i64) -> Result<u64> {
    sql!(
        run,
        session,
        "delete from test_sends where id in (select id from test_sends where created_at < $1 order by created_at limit $2)",
        before,
        limit
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_test_says_that_it_is_one() {
        let words = |html| Rendered { subject: "Cita".into(), body: "<p>Hola</p>".into(), html };
        let of = |channel, html| {
            let marked = marked(channel, words(html));
            (marked.subject, marked.body, marked.html)
        };
        assert_eq!(of(Channel::Email, true), ("[Prueba] Cita".into(), "<p>Hola</p>".into(), true));
        assert_eq!(of(Channel::Push, true), ("[Prueba] Cita".into(), "Hola".into(), false));
        assert_eq!(of(Channel::Whatsapp, true).1, "[Prueba] Hola");
        assert_eq!(of(Channel::Whatsapp, false).1, "[Prueba] <p>Hola</p>", "what is no HTML is text");
    }

    #[test]
    fn a_test_goes_where_its_channel_leads() {
        let to = |channel, to| destination(channel, to, "EC");
        let typed = |text: &str| To::Address(text.to_owned());
        assert_eq!(to(Channel::Email, typed("ana@example.com")), Ok(("ana@example.com".to_owned(), None)));
        assert_eq!(to(Channel::Whatsapp, typed("099 123 4567")), Ok(("+593991234567".to_owned(), None)));
        assert!(matches!(to(Channel::Email, typed("ana")), Err(Refusal::Address(_))));
        assert!(matches!(to(Channel::Whatsapp, typed("")), Err(Refusal::Address(_))));
        assert_eq!(to(Channel::Push, typed("ana@example.com")), Err(Refusal::WrongKind));
        assert_eq!(to(Channel::Push, To::Devices("c".into())), Ok((String::new(), Some("c".into()))));
        assert_eq!(to(Channel::Email, To::Devices("c".into())), Err(Refusal::WrongKind));
    }
}
