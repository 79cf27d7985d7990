//! The sandbox as a person sees it with curl: what has arrived, and what goes wrong on purpose.

use std::io;

use axum::{
    Json, Router,
    extract::{Path, Query, State, rejection::JsonRejection},
    response::{IntoResponse, Response},
    routing::{get, post},
};
use http::{
    StatusCode,
    header::{CONTENT_TYPE, HOST},
};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use crate::{
    bridge::{Bridge, BridgeFault, Writes},
    evolution::{Evolution, EvolutionFault},
    faults::{Fault, Rule},
    listen::{Listening, bind},
    partner::{Partner, PartnerFault},
    push::{Push, PushFault},
    smtp::{Smtp, SmtpFault},
    stand_in::{Arrival, StandIn},
};

/// How many messages are shown unless asked otherwise.
const SHOWN: usize = 100;

/// The stand-ins that the inbox looks at.
#[derive(Clone)]
pub(crate) struct Channels {
    pub(crate) smtp: Smtp,
    pub(crate) evolution: Evolution,
    pub(crate) push: Push,
    pub(crate) partner: Partner,
    pub(crate) bridge: Bridge,
}

/// The inbox on a port of its own.
pub(crate) struct Inbox {
    pub(crate) url: String,
    _listening: Listening,
}

impl Inbox {
    pub(crate) async fn start(port: u16, channels: Channels) -> io::Result<Self> {
        let (listener, address) = bind(port).await?;
        Ok(Self { url: format!("http://{address}/sandbox/"), _listening: Listening::http(listener, routes(channels)) })
    }
}

/// Everything below `/sandbox/`.
pub(crate) fn routes(channels: Channels) -> Router {
    Router::new()
        .route("/sandbox", get(links))
        .route("/sandbox/", get(links))
        .route("/sandbox/messages", get(messages).delete(clear))
        .route("/sandbox/messages/{n}", get(message))
        .route("/sandbox/messages/{n}/raw", get(raw))
        .route("/sandbox/faults", get(faults).put(plan).delete(behave))
        .route("/sandbox/subscriptions", post(subscribe))
        .route("/sandbox/partner", get(partner).put(connect))
        .route("/sandbox/bridge", post(say))
        .with_state(channels)
}

async fn links(State(channels): State<Channels>, headers: http::HeaderMap) -> Json<Value> {
    let host = headers.get(HOST).and_then(|host| host.to_str().ok()).unwrap_or_default();
    let here = format!("http://{host}/sandbox");
    let fault = r#"{"email": {"fault": "reject_recipient", "code": 550}}"#;
    let written = r#"{"chat_id": "593991234567@c.us", "text": "Hola"}"#;
    Json(json!({
        "messages": format!("{here}/messages"),
        "faults": format!("{here}/faults"),
        "subscriptions": format!("{here}/subscriptions"),
        "partner": format!("{here}/partner"),
        "providers": {
            "email": format!("smtp://{}", channels.smtp.addr()),
            "whatsapp": channels.evolution.url(),
            "push": channels.push.url(),
            "webhook": channels.partner.url(),
            "bridge": channels.bridge.url(),
        },
        "try": [
            format!("curl '{here}/messages?channel=email&limit=1'"),
            format!("curl -X PUT {here}/faults --json '{fault}'"),
            format!("curl -X DELETE {here}/faults"),
            format!("curl -X POST {here}/subscriptions"),
            format!("curl {here}/bridge --json '{written}'"),
        ],
    }))
}

#[derive(Deserialize)]
struct Shown {
    channel: Option<String>,
    limit: Option<usize>,
}

/// A message of any channel, with its place in the order of arrival.
#[derive(Serialize)]
struct Entry<M> {
    n: u64,
    channel: &'static str,
    #[serde(flatten)]
    message: M,
}

/// The newest messages, oldest first.
async fn messages(State(channels): State<Channels>, Query(shown): Query<Shown>) -> Response {
    let limit = shown.limit.unwrap_or(SHOWN);
    let wanted = |channel: &str| shown.channel.as_deref().is_none_or(|wanted| wanted == channel);
    if !CHANNELS.iter().any(|channel| wanted(channel)) {
        return mistake(&format!("`channel` is one of {}", CHANNELS.join(", ")));
    }
    let mut entries = Vec::new();
    if wanted(EMAIL) {
        entries.extend(newest(EMAIL, &channels.smtp, limit));
    }
    if wanted(WHATSAPP) {
        entries.extend(newest(WHATSAPP, &channels.evolution, limit));
    }
    if wanted(PUSH) {
        entries.extend(newest(PUSH, &channels.push, limit));
    }
    if wanted(WEBHOOK) {
        entries.extend(newest(WEBHOOK, &channels.partner, limit));
    }
    if wanted(BRIDGE) {
        entries.extend(newest(BRIDGE, &channels.bridge, limit));
    }
    entries.sort_by_key(|(n, _)| *n);
    let skip = entries.len().saturating_sub(limit);
    let newest: Vec<_> = entries.into_iter().skip(skip).map(|(_, entry)| entry).collect();
    Json(newest).into_response()
}

/// One message, by its number.
async fn message(State(channels): State<Channels>, Path(n): Path<u64>) -> Response {
    let found = one(EMAIL, &channels.smtp, n)
        .or_else(|| one(WHATSAPP, &channels.evolution, n))
        .or_else(|| one(PUSH, &channels.push, n))
        .or_else(|| one(WEBHOOK, &channels.partner, n))
        .or_else(|| one(BRIDGE, &channels.bridge, n));
    match found {
        Some(entry) => Json(entry).into_response(),
        None => missing(&format!("no message has the number {n}; the list of messages has each one's `n`")),
    }
}

async fn clear(State(channels): State<Channels>) -> StatusCode {
    channels.smtp.clear();
    channels.evolution.clear();
    channels.push.clear();
    channels.partner.clear();
    channels.bridge.clear();
    StatusCode::NO_CONTENT
}

/// An e-mail as it came over the wire.
async fn raw(State(channels): State<Channels>, Path(n): Path<u64>) -> Response {
    let mut mails = channels.smtp.arrivals().into_iter();
    match mails.find(|arrival| arrival.order == n) {
        Some(Arrival { message, .. }) => {
            // Not message/rfc822, which a web browser would download instead of showing it.
            let kind = [(CONTENT_TYPE, "text/plain; charset=utf-8")];
            (kind, message.raw().to_vec()).into_response()
        }
        None => missing(&format!("no e-mail has the number {n}; the list of messages has each one's `n`")),
    }
}

async fn faults(State(channels): State<Channels>) -> Json<Value> {
    Json(current_faults(&channels))
}

/// Sets the faults of the channels that the body names, and leaves the others alone. All or nothing.
async fn plan(State(channels): State<Channels>, body: Result<Json<Value>, JsonRejection>) -> Response {
    let plan = body.map_err(|error| error.body_text()).and_then(|Json(body)| Plan::read(&body));
    match plan {
        Ok(plan) => {
            plan.apply(&channels);
            Json(current_faults(&channels)).into_response()
        }
        Err(error) => mistake(&error),
    }
}

async fn behave(State(channels): State<Channels>) -> StatusCode {
    channels.smtp.behave();
    channels.evolution.behave();
    channels.push.behave();
    channels.partner.behave();
    channels.bridge.behave();
    StatusCode::NO_CONTENT
}

async fn subscribe(State(channels): State<Channels>) -> (StatusCode, Json<Value>) {
    (StatusCode::CREATED, Json(channels.push.subscribe().to_json()))
}

/// The webhooks that the partner sent itself, oldest first.
async fn partner(State(channels): State<Channels>) -> Json<Value> {
    let partner = &channels.partner;
    Json(json!({ "url": partner.url(), "told": partner.told().messages() }))
}

/// What the partner needs to know of the installation that it trades with.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Connect {
    /// What both sign with; absent, it stays as it is.
    shared_secret: Option<String>,
    /// Where it tells of what it sold; absent, it stays as it is.
    answers_to: Option<String>,
}

async fn connect(State(channels): State<Channels>, body: Result<Json<Connect>, JsonRejection>) -> Response {
    match body {
        Ok(Json(Connect { shared_secret, answers_to })) => {
            shared_secret.iter().for_each(|secret| channels.partner.set_secret(secret));
            answers_to.iter().for_each(|url| channels.partner.answer_to(url));
            partner(State(channels)).await.into_response()
        }
        Err(error) => mistake(&error.body_text()),
    }
}

/// What a person writes to the bridge's telephone, or somebody in a group.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Written {
    chat_id: String,
    text: String,
    /// In a group, who: digits.
    sender_phone: Option<String>,
}

/// Somebody writes: the bridge posts it, and tells how it was answered.
async fn say(State(channels): State<Channels>, body: Result<Json<Written>, JsonRejection>) -> Response {
    let Written { chat_id, text, sender_phone } = match body {
        Ok(Json(written)) => written,
        Err(error) => return mistake(&error.body_text()),
    };
    let sender = sender_phone.map(|digits| (digits.clone(), format!("+{digits}")));
    let webhook = channels.bridge.hears(Writes { chat_id, text, sender, ..Writes::default() });
    let answered = channels.bridge.post(&webhook).await;
    Json(json!({ "webhook": webhook, "answered": answered })).into_response()
}

const EMAIL: &str = "email";
const WHATSAPP: &str = "whatsapp";
const PUSH: &str = "push";
const WEBHOOK: &str = "webhook";
const BRIDGE: &str = "bridge";
const CHANNELS: [&str; 5] = [EMAIL, WHATSAPP, PUSH, WEBHOOK, BRIDGE];

/// The rules that a request sets; `None` where it does not say anything.
#[derive(Debug, Default, PartialEq)]
struct Plan {
    email: Option<Vec<Rule<SmtpFault>>>,
    whatsapp: Option<Vec<Rule<EvolutionFault>>>,
    push: Option<Vec<Rule<PushFault>>>,
    webhook: Option<Vec<Rule<PartnerFault>>>,
    bridge: Option<Vec<Rule<BridgeFault>>>,
}

impl Plan {
    /// `"none"` for everything, or an object with `"none"`, a rule, or a list of rules for each channel.
    fn read(body: &Value) -> Result<Self, String> {
        let channels = match body {
            Value::String(none) if none == "none" => {
                &CHANNELS.iter().map(|channel| ((*channel).to_owned(), json!("none"))).collect::<Map<_, _>>()
            }
            Value::Object(channels) => channels,
            _ => {
                return Err(format!("the body is \"none\" or an object with some of {}", CHANNELS.join(", ")));
            }
        };
        let mut plan = Self::default();
        for (channel, rules) in channels {
            match channel.as_str() {
                EMAIL => plan.email = Some(read_rules(EMAIL, rules)?),
                WHATSAPP => plan.whatsapp = Some(read_rules(WHATSAPP, rules)?),
                PUSH => plan.push = Some(read_rules(PUSH, rules)?),
                WEBHOOK => plan.webhook = Some(read_rules(WEBHOOK, rules)?),
                BRIDGE => plan.bridge = Some(read_rules(BRIDGE, rules)?),
                other => return Err(format!("`{other}` is not a channel; they are {}", CHANNELS.join(", "))),
            }
        }
        Ok(plan)
    }

    fn apply(self, channels: &Channels) {
        set(&channels.smtp, self.email);
        set(&channels.evolution, self.whatsapp);
        set(&channels.push, self.push);
        set(&channels.partner, self.webhook);
        set(&channels.bridge, self.bridge);
    }
}

fn read_rules<F: Fault>(channel: &str, rules: &Value) -> Result<Vec<Rule<F>>, String> {
    let rules = match rules {
        Value::String(none) if none == "none" => &[],
        Value::Array(rules) => rules.as_slice(),
        rule => std::slice::from_ref(rule),
    };
    let rules = rules.iter().map(Rule::from_json);
    rules.collect::<Result<_, _>>().map_err(|error| format!("{channel}: {error}"))
}

fn set<M: Clone, F: Fault>(stand_in: &StandIn<M, F>, rules: Option<Vec<Rule<F>>>) {
    if let Some(rules) = rules {
        stand_in.behave();
        rules.into_iter().for_each(|rule| stand_in.plan(rule));
    }
}

fn current_faults(channels: &Channels) -> Value {
    json!({
        EMAIL: rules_of(&channels.smtp),
        WHATSAPP: rules_of(&channels.evolution),
        PUSH: rules_of(&channels.push),
        WEBHOOK: rules_of(&channels.partner),
        BRIDGE: rules_of(&channels.bridge),
    })
}

fn rules_of<M: Clone, F: Fault>(stand_in: &StandIn<M, F>) -> Vec<Value> {
    stand_in.rules().iter().map(Rule::to_json).collect()
}

/// The last messages of one channel, each with its place among all of them.
fn newest<M: Clone + Serialize, F: Fault>(
    channel: &'static str,
    stand_in: &StandIn<M, F>,
    limit: usize,
) -> Vec<(u64, Value)> {
    let arrivals = stand_in.arrivals();
    let skip = arrivals.len().saturating_sub(limit);
    let entries = arrivals.into_iter().skip(skip).map(|Arrival { order, message }| {
        let entry = Entry { n: order, channel, message };
        (order, json!(entry))
    });
    entries.collect()
}

/// The message of this number, if it is of this channel.
fn one<M: Clone + Serialize, F: Fault>(channel: &'static str, stand_in: &StandIn<M, F>, n: u64) -> Option<Value> {
    let found = stand_in.arrivals().into_iter().find(|arrival| arrival.order == n)?;
    Some(json!(Entry { n, channel, message: found.message }))
}

fn missing(error: &str) -> Response {
    (StatusCode::NOT_FOUND, Json(json!({"error": error}))).into_response()
}

fn mistake(error: &str) -> Response {
    (StatusCode::BAD_REQUEST, Json(json!({"error": error}))).into_response()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn plans_that_are_understood() {
        assert_eq!(Plan::read(&json!({})), Ok(Plan::default()));
        assert_eq!(
            Plan::read(&json!("none")),
            Ok(Plan {
                email: Some(vec![]),
                whatsapp: Some(vec![]),
                push: Some(vec![]),
                webhook: Some(vec![]),
                bridge: Some(vec![]),
            })
        );
        assert_eq!(
            Plan::read(&json!({
                "email": {"fault": "reject_recipient", "code": 550},
                "whatsapp": [{"fault": "drop", "times": 1}, {"fault": "not_on_whatsapp", "only": "59399"}],
            })),
            Ok(Plan {
                email: Some(vec![Rule::always(SmtpFault::reject_recipient(550))]),
                whatsapp: Some(vec![
                    Rule::always(EvolutionFault::Drop).times(1),
                    Rule::always(EvolutionFault::NotOnWhatsapp).only("59399"),
                ]),
                push: None,
                webhook: None,
                bridge: None,
            })
        );
    }

    #[test]
    fn plans_that_are_refused() {
        for (body, named) in [
            (json!("all"), "\"none\" or an object"),
            (json!([]), "\"none\" or an object"),
            (json!({"mail": "none"}), "`mail` is not a channel"),
            (json!({"email": "broken"}), "email: a fault is an object"),
            (json!({"push": {"fault": "slow"}}), "push: missing field `delay_ms`"),
            (json!({"push": {"fault": "drop", "delay": 1}}), "push: unknown field `delay`"),
        ] {
            let error = Plan::read(&body).expect_err(named);
            assert!(error.contains(named), "{body}: {error}");
        }
    }
}
