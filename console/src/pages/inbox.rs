//! What arrived at the sandbox that stands in for the providers, and what goes wrong there on purpose. Where no sandbox runs, there is no
//! such page.

use std::collections::HashMap;
use std::sync::Arc;

use askama::Template;
use axum::extract::State;
use axum::http::HeaderValue;
use axum::http::header::{CONTENT_SECURITY_POLICY, CONTENT_TYPE};
use axum::response::{IntoResponse, Response};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use futures::FutureExt;
use futures::future::BoxFuture;
use recado_kernel::audit::{self, Act};
use recado_kernel::clock::Timestamp;
use recado_kernel::db;
use recado_kernel::ids::Id;
use recado_notifications::notifications::attempts;
use recado_queue::context::Context;
use serde_json::{Map, Value, json};

use crate::Console;
use crate::auth::{Look, May, Operate};
use crate::bubble;
use crate::failure::Failure;
use crate::form::Form;
use crate::lists::Query;
use crate::live::Topic;
use crate::masking;
use crate::notice::{Notice, then};
use crate::page::{Markup, Page, html};
use crate::path::Path;
use crate::sandbox::{Arrived, NEWEST, Sandbox};

const PATH: &str = "/admin/inbox/";

/// A mail is drawn in a frame that runs nothing, asks for nothing, and is of no origin.
pub(crate) const MAILS_POLICY: &str = "sandbox; default-src 'none'; img-src data:; style-src 'unsafe-inline'";

/// What stands in for a provider: the messages `inbox-channel-…`.
const CHANNELS: [&str; 5] = ["email", "whatsapp", "push", "webhook", "bridge"];

/// What can be switched on: the channel, the message `fault-…`, and the rule in the sandbox's own words.
const FAULTS: [(&str, &str, &str); 17] = [
    ("email", "reject-550", r#"{"fault": "reject_recipient", "code": 550}"#),
    ("email", "busy-451", r#"{"fault": "reject_recipient", "code": 451}"#),
    ("email", "content-554", r#"{"fault": "reject_data", "code": 554}"#),
    ("email", "slow", r#"{"fault": "slow", "delay_ms": 30000}"#),
    ("whatsapp", "session-down", r#"{"fault": "connection_closed"}"#),
    ("whatsapp", "no-whatsapp", r#"{"fault": "not_on_whatsapp"}"#),
    ("whatsapp", "status-503", r#"{"fault": "status", "status": 503}"#),
    ("whatsapp", "hang", r#"{"fault": "accept_then_hang"}"#),
    ("push", "gone-410", r#"{"fault": "status", "status": 410}"#),
    ("push", "status-503", r#"{"fault": "status", "status": 503}"#),
    ("push", "hang", r#"{"fault": "hang"}"#),
    ("webhook", "status-500", r#"{"fault": "status", "status": 500}"#),
    ("webhook", "gone-410", r#"{"fault": "status", "status": 410}"#),
    ("webhook", "hang", r#"{"fault": "hang"}"#),
    ("bridge", "session-down", r#"{"fault": "not_ready"}"#),
    ("bridge", "zombie", r#"{"fault": "zombie"}"#),
    ("bridge", "hang", r#"{"fault": "hang"}"#),
];

fn sandbox(console: &Console) -> Result<&Sandbox, Failure> {
    console.sandbox.as_ref().ok_or(Failure::NotFound)
}

// --- The list ---

#[derive(Template)]
#[template(path = "inbox/list.html")]
struct ListPage {
    page: Page,
    channel: String,
    channels: [&'static str; 5],
    rows: Vec<Row>,
    faults: Vec<Switches>,
    url: String,
}

/// A message in the list.
struct Row {
    n: u64,
    channel: String,
    title: String,
    to: String,
    at: Option<Timestamp>,
    story: Option<String>,
}

impl Row {
    fn of(arrived: &Arrived, story: Option<String>, sees_addresses: bool) -> Self {
        let to = whom(arrived);
        Self {
            n: arrived.n,
            channel: arrived.channel.clone(),
            title: title(arrived),
            to: if sees_addresses { to } else { masking::text(&to) },
            at: arrived.at.map(Timestamp::from),
            story,
        }
    }
}

fn whom(arrived: &Arrived) -> String {
    let named = [&arrived.number, &arrived.chat_id, &arrived.path, &arrived.token];
    if arrived.envelope_to.is_empty() {
        named.into_iter().flatten().next().cloned().unwrap_or_default()
    } else {
        arrived.envelope_to.join(", ")
    }
}

/// What a message is about, in a line.
fn title(arrived: &Arrived) -> String {
    let payload: Value =
        arrived.payload.as_deref().and_then(|text| serde_json::from_str(text).ok()).unwrap_or_default();
    let text = match arrived.channel.as_str() {
        "email" => arrived.subject.clone(),
        "push" => payload["title"].as_str().map(str::to_owned).or_else(|| arrived.payload.clone()),
        "webhook" => arrived.body.as_deref().map(event_of),
        _ => arrived.text.clone(),
    };
    text.unwrap_or_default()
        .lines()
        .find(|line| !line.trim().is_empty())
        .unwrap_or_default()
        .chars()
        .take(140)
        .collect()
}

/// The type of an event in the body of a webhook, or its beginning.
fn event_of(body: &str) -> String {
    let read: Value = serde_json::from_str(body).unwrap_or_default();
    ["event_type", "type", "event"].into_iter().find_map(|name| read[name].as_str()).unwrap_or(body).to_owned()
}

/// What goes wrong on one channel.
struct Switches {
    channel: &'static str,
    switches: Vec<Switch>,
    /// Rules that were set elsewhere.
    others: Vec<String>,
}

struct Switch {
    word: &'static str,
    is_on: bool,
}

impl Switches {
    fn all(current: &Map<String, Value>) -> Vec<Self> {
        CHANNELS.into_iter().map(|channel| Self::of(channel, current.get(channel))).collect()
    }

    fn of(channel: &'static str, rules: Option<&Value>) -> Self {
        let rules: &[Value] = rules.and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
        let own: Vec<(&'static str, Value)> = FAULTS
            .into_iter()
            .filter(|(of, _, _)| *of == channel)
            .map(|(_, word, rule)| (word, rule_of(rule)))
            .collect();
        let is_known = |rule: &Value| own.iter().any(|(_, wanted)| is_the_same(rule, wanted));
        Self {
            channel,
            others: rules.iter().filter(|rule| !is_known(rule)).map(Value::to_string).collect(),
            switches: own
                .iter()
                .map(|(word, wanted)| Switch { word, is_on: rules.iter().any(|rule| is_the_same(rule, wanted)) })
                .collect(),
        }
    }
}

fn rule_of(text: &str) -> Value {
    serde_json::from_str(text).unwrap_or_default()
}

/// Whether a rule is for everybody, for good, and says what is wanted.
fn is_the_same(rule: &Value, wanted: &Value) -> bool {
    let is_limited = !rule["times"].is_null() || !rule["only"].is_null();
    !is_limited && wanted.as_object().is_some_and(|fields| fields.iter().all(|(name, value)| rule[name] == *value))
}

/// `/admin/inbox/`
pub(crate) async fn list(may: May<Look>, State(console): State<Arc<Console>>) -> Result<Response, Failure> {
    let sandbox = sandbox(&console)?;
    let asked = Query::read(&may.visit.query).text("channel");
    let channel = asked.filter(|asked| CHANNELS.contains(&asked.as_str()));
    let arrived = sandbox.newest(channel.as_deref(), NEWEST).await?;
    let stories = stories(&console.context, &arrived).await?;
    let page = Page::new(&console, &may.visit, "inbox", "inbox-title");
    let newest = arrived.first().map_or(0, |first| first.n);
    let page = page.watching(format!("inbox:{newest}&{}", channel.as_deref().unwrap_or_default()));
    let sees_addresses = page.may_operate();
    let row = |arrived: &Arrived| Row::of(arrived, stories.get(&arrived.n).cloned(), sees_addresses);
    html(&ListPage {
        rows: arrived.iter().map(row).collect(),
        channel: channel.unwrap_or_default(),
        channels: CHANNELS,
        faults: Switches::all(&sandbox.faults().await?),
        url: sandbox.url.clone(),
        page,
    })
}

/// The page on which each message's story is told: by the id in a mail's Message-ID and in a push's topic, by the name that WhatsApp gave
/// the message, and by a webhook's id.
async fn stories(context: &Context, arrived: &[Arrived]) -> db::Result<HashMap<u64, String>> {
    let names: Vec<String> =
        arrived.iter().filter(|one| one.channel == "whatsapp").filter_map(|one| one.id.clone()).collect();
    let named: HashMap<String, Id> = match names.is_empty() {
        true => HashMap::new(),
        false => attempts::named(&mut context.db.read().await?, &names).await?.into_iter().collect(),
    };
    let story = |one: &Arrived| {
        let id = match one.channel.as_str() {
            "email" => of_message_id(one.message_id.as_deref()?)?,
            "push" => of_topic(one.topic.as_deref()?)?,
            "whatsapp" => *named.get(one.id.as_deref()?)?,
            "webhook" => {
                let id: Id = one.header("webhook-id")?.parse().ok()?;
                return Some(format!("/admin/search/?q={id}"));
            }
            _ => return None,
        };
        Some(format!("/admin/notifications/{id}/"))
    };
    Ok(arrived.iter().filter_map(|one| Some((one.n, story(one)?))).collect())
}

/// The notification whose id a Message-ID begins with.
fn of_message_id(message_id: &str) -> Option<Id> {
    message_id.trim_start_matches('<').split('@').next()?.parse().ok()
}

/// The notification whose id is a push's topic.
fn of_topic(topic: &str) -> Option<Id> {
    hex::encode(URL_SAFE_NO_PAD.decode(topic).ok()?).parse().ok()
}

/// How many are newer than the first of the list: rows do not move by themselves, a button shows them.
pub(crate) const NEW: Topic = Topic { name: "inbox", sample, draw };

fn sample<'a>(context: &'a Context, argument: &'a str) -> BoxFuture<'a, db::Result<Value>> {
    async move {
        let (newest, channel) = argument.split_once('&').unwrap_or((argument, ""));
        let newest: u64 = newest.parse().unwrap_or_default();
        let channel = CHANNELS.into_iter().find(|known| *known == channel);
        let Some(sandbox) = Sandbox::of(&context.config) else { return Ok(Value::Null) };
        let Ok(arrived) = sandbox.newest(channel, NEWEST).await else { return Ok(Value::Null) };
        let count = arrived.iter().filter(|one| one.n > newest).count();
        Ok(json!({ "count": count, "is_more": count == NEWEST, "channel": channel.unwrap_or_default() }))
    }
    .boxed()
}

#[derive(Template)]
#[template(path = "inbox/new.html")]
struct NewPart<'a> {
    page: &'a Page,
    count: i64,
    is_more: bool,
    channel: &'a str,
}

fn draw(value: &Value, page: &Page) -> Vec<(String, String)> {
    let count = value["count"].as_i64().unwrap_or_default();
    let (is_more, channel) = (value["is_more"] == true, value["channel"].as_str().unwrap_or_default());
    let part = NewPart { page, count, is_more, channel };
    part.render().map(|html| vec![("new".to_owned(), html)]).unwrap_or_default()
}

// --- One message ---

#[derive(Template)]
#[template(path = "inbox/show.html")]
struct ShowPage {
    page: Page,
    row: Row,
    from: String,
    has_html: bool,
    text: Option<String>,
    bubble: Option<Markup>,
    status: Option<String>,
    push: Option<PushCard>,
    body: Option<String>,
    headers: Vec<(String, String)>,
    verdicts: Vec<(&'static str, bool)>,
    source: Option<String>,
    url: String,
}

/// A push as a browser shows it.
struct PushCard {
    title: String,
    body: String,
    urgency: String,
}

/// The words of a push, read.
fn push_card(arrived: &Arrived) -> Option<PushCard> {
    let read: Value = serde_json::from_str(arrived.payload.as_deref()?).unwrap_or_default();
    let text = |name: &str| read[name].as_str().unwrap_or_default().to_owned();
    Some(PushCard { title: text("title"), body: text("body"), urgency: arrived.urgency.clone().unwrap_or_default() })
}

fn pretty(text: &str) -> String {
    let read: Option<Value> = serde_json::from_str(text).ok();
    read.and_then(|value| serde_json::to_string_pretty(&value).ok()).unwrap_or_else(|| text.to_owned())
}

/// The longest source that is drawn.
const LONGEST_SOURCE: usize = 200_000;

/// `/admin/inbox/{n}/`
pub(crate) async fn show(
    may: May<Look>,
    State(console): State<Arc<Console>>,
    Path(n): Path<u64>,
) -> Result<Response, Failure> {
    let sandbox = sandbox(&console)?;
    let arrived = sandbox.find(n).await?.ok_or(Failure::NotFound)?;
    let story = stories(&console.context, std::slice::from_ref(&arrived)).await?.remove(&n);
    let page = Page::new(&console, &may.visit, "inbox", "inbox-message").about(n);
    let sees_addresses = page.may_operate();
    // Its headers name people.
    let source = match arrived.channel.as_str() {
        "email" if sees_addresses => Some(sandbox.raw(n).await?.chars().take(LONGEST_SOURCE).collect()),
        _ => None,
    };
    let is_said = ["whatsapp", "bridge"].contains(&arrived.channel.as_str());
    let text = arrived.text.clone().filter(|_| arrived.channel == "email");
    let from = arrived.from.clone().unwrap_or_default();
    let verdict = |name| (name, arrived.verdict[name] == true);
    html(&ShowPage {
        from: if sees_addresses { from } else { masking::text(&from) },
        has_html: arrived.html.is_some(),
        text,
        bubble: arrived.text.as_deref().filter(|_| is_said).map(bubble::bubble),
        status: arrived.status.clone(),
        push: push_card(&arrived),
        body: arrived.body.as_deref().or(arrived.payload.as_deref()).filter(|_| sees_addresses).map(pretty),
        headers: if arrived.channel == "webhook" { arrived.headers.clone() } else { Vec::new() },
        verdicts: match arrived.channel.as_str() {
            "webhook" => ["raw", "rewritten", "compact", "standard"].map(verdict).to_vec(),
            _ => Vec::new(),
        },
        source,
        url: sandbox.url.clone(),
        row: Row::of(&arrived, story, sees_addresses),
        page,
    })
}

/// A mail's HTML, for the frame of its page.
pub(crate) async fn mail(
    _: May<Look>,
    State(console): State<Arc<Console>>,
    Path(n): Path<u64>,
) -> Result<Response, Failure> {
    let arrived = sandbox(&console)?.find(n).await?.ok_or(Failure::NotFound)?;
    Ok(framed(arrived.html.ok_or(Failure::NotFound)?))
}

/// HTML that others wrote, which may do nothing.
pub(crate) fn framed(html: String) -> Response {
    let headers = [
        (CONTENT_TYPE, HeaderValue::from_static("text/html; charset=utf-8")),
        (CONTENT_SECURITY_POLICY, HeaderValue::from_static(MAILS_POLICY)),
    ];
    (headers, html).into_response()
}

// --- What goes wrong ---

/// Switches a fault on, or all of a channel off.
pub(crate) async fn set_fault(
    may: May<Operate>,
    State(console): State<Arc<Console>>,
    form: Form,
) -> Result<Response, Failure> {
    let sandbox = sandbox(&console)?;
    let channel = CHANNELS.into_iter().find(|known| *known == form.value("channel")).ok_or(Failure::Malformed)?;
    let word = form.value("fault");
    let found = FAULTS.into_iter().find(|(of, known, _)| *of == channel && *known == word);
    if found.is_none() && !word.is_empty() {
        return Err(Failure::Malformed);
    }
    let before = Switches::of(channel, sandbox.faults().await?.get(channel));
    let was = before.switches.iter().find(|switch| switch.is_on).map_or("", |switch| switch.word);
    let act = Act::new("set", "sandbox", channel).changed(json!({ "fault": was }), json!({ "fault": word }));
    let mut session = console.context.db.begin().await?;
    audit::write(&mut session, &may.visit.actor(), &act, may.visit.now).await?;
    session.commit().await?;
    // After its entry: what was done without one could not be found out.
    sandbox.set_fault(channel, found.map(|(_, _, rule)| rule_of(rule))).await?;
    let notice = if word.is_empty() { Notice::new("fault-off", 1) } else { Notice::new("fault-on", 1) };
    Ok(then(PATH, &notice.undone_by(format!("{PATH}faults/?channel={channel}&fault={was}"))))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_leads_to_its_story() {
        let id: Id = "0197c1e0-7b3a-7c52-9d0e-2f6a1b4c8d90".parse().expect("an id");
        assert_eq!(of_message_id("0197c1e0-7b3a-7c52-9d0e-2f6a1b4c8d90@taller.example.com"), Some(id));
        assert_eq!(of_message_id("<0197c1e0-7b3a-7c52-9d0e-2f6a1b4c8d90@x>"), Some(id));
        let topic = URL_SAFE_NO_PAD.encode(hex::decode(id.to_string().replace('-', "")).expect("hex"));
        assert_eq!(of_topic(&topic), Some(id));
        assert_eq!((of_message_id("hello@x"), of_topic("%%")), (None, None));
    }

    #[test]
    fn a_switch_is_on_when_its_rule_holds_for_everybody() {
        let rules = json!([{"fault": "reject_recipient", "code": 550, "text": ""}, {"fault": "slow", "delay_ms": 5}]);
        let email = Switches::of("email", Some(&rules));
        let on: Vec<&str> = email.switches.iter().filter(|switch| switch.is_on).map(|switch| switch.word).collect();
        assert_eq!((on, email.others.len()), (vec!["reject-550"], 1));
        let only = json!([{"fault": "reject_recipient", "code": 550, "only": "a@b.ec"}]);
        assert!(Switches::of("email", Some(&only)).switches.iter().all(|switch| !switch.is_on));
    }

    #[test]
    fn every_rule_is_json() {
        assert!(FAULTS.iter().all(|(channel, _, rule)| CHANNELS.contains(channel) && rule_of(rule).is_object()));
    }
}
