//! A WhatsApp provider: the routes of Evolution API 2.3.6 that a sender and a bridge need, with the answers of the real one.
//!
//! It makes the bodies of its webhooks, and its owner posts them.

mod fault;
mod message;
mod replies;
mod world;

use std::{
    io,
    ops::Deref,
    sync::{Arc, Mutex},
};

use axum::{
    Json, Router,
    body::{Body, Bytes},
    extract::{Path, State},
    middleware::{Next, from_fn_with_state},
    response::{IntoResponse, Response},
    routing::{get, post},
};
use http::{HeaderMap, Method, Request, StatusCode, Uri, header::CONTENT_TYPE};
use serde::Deserialize;
use serde_json::{Value, json};

pub use self::{
    fault::EvolutionFault,
    message::{ChatName, WhatsappMessage, WhatsappStatus},
    world::{EvolutionGroup, EvolutionWrites},
};
use self::{
    replies::{Query, Refusal},
    world::{Heard, World},
};
use crate::{
    listen::{HangUp, Listening, bind},
    stand_in::{KEEP, StandIn, lock, new_id, now},
};

/// How the Evolution API is set up.
#[derive(Debug, Clone)]
pub struct EvolutionOptions {
    /// What clients send in the header `apikey`.
    pub api_key: String,
    /// The one instance that exists; it is connected.
    pub instance: String,
    /// `0` is any free port.
    pub port: u16,
    /// How many messages are kept; the oldest make room.
    pub keep: usize,
}

impl Default for EvolutionOptions {
    fn default() -> Self {
        Self { api_key: "sandbox".to_owned(), instance: "sandbox".to_owned(), port: 0, keep: KEEP }
    }
}

/// The Evolution API. It stops when the last clone is dropped.
#[derive(Clone)]
pub struct Evolution {
    url: String,
    server: Arc<Server>,
    _listening: Arc<Listening>,
}

impl Evolution {
    /// Takes a loopback port and listens.
    ///
    /// # Errors
    /// When the port is taken.
    pub async fn start(options: EvolutionOptions) -> io::Result<Self> {
        let (listener, address) = bind(options.port).await?;
        let server = Arc::new(Server {
            stand_in: StandIn::new(options.keep),
            api_key: options.api_key,
            instance: options.instance,
            instance_id: new_id().to_string(),
            filing: Mutex::default(),
            world: Mutex::default(),
        });
        let listening = Listening::http(listener, routes(&server));
        Ok(Self { url: format!("http://{address}"), server, _listening: Arc::new(listening) })
    }

    /// Without a slash at its end.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// What to send in the header `apikey`.
    pub fn api_key(&self) -> &str {
        &self.server.api_key
    }

    /// The last part of each route.
    pub fn instance(&self) -> &str {
        &self.server.instance
    }

    /// From now on chats have these names.
    pub fn name_chats(&self, name: ChatName) {
        lock(&self.server.filing).chat = name;
    }

    /// From now on chats have disappearing messages.
    pub fn wrap_messages(&self) {
        lock(&self.server.filing).is_wrapped = true;
    }

    /// From now on a message is filed under the name that its sender gave it (`messageId`), as newer versions do.
    pub fn take_names(&self) {
        lock(&self.server.filing).takes_names = true;
    }

    /// Somebody writes by hand, on the instance's own telephone.
    pub fn write_by_hand(&self, number: &str, text: &str) {
        self.server.record(number, text, None);
    }

    /// The recipient's telephone reports on a message. Returns the body of the webhook `messages.update` that the real
    /// program would post, without `destination`; the caller posts it. `None` when no such message is kept.
    pub fn receipt(&self, id: &str, status: WhatsappStatus) -> Option<Value> {
        let message = self.server.stand_in.update(
            |message| message.id == id,
            |message| {
                message.status = status;
                message.receipts.push(status);
                message.clone()
            },
        )?;
        Some(replies::receipt(&message, status, now(), &self.sender()))
    }

    fn sender(&self) -> replies::Sender<'_> {
        replies::Sender {
            instance: &self.server.instance,
            instance_id: &self.server.instance_id,
            server_url: &self.url,
            api_key: &self.server.api_key,
        }
    }

    /// Somebody writes. Returns the body of the webhook `messages.upsert`.
    pub fn hears(&self, writes: EvolutionWrites) -> Value {
        let (id, at) = (writes.id.clone().unwrap_or_else(new_key_id), writes.at.unwrap_or_else(now));
        let heard = Heard::new(writes, id, at, &self.server.instance_id);
        let webhook = replies::webhook("messages.upsert", &heard.record, now(), &self.sender());
        lock(&self.server.world).heard.push(heard);
        webhook
    }

    /// From now on the telephone is in this group.
    pub fn add_group(&self, group: EvolutionGroup) {
        lock(&self.server.world).groups.push(group);
    }

    /// The bodies of the webhooks `send.message` about what was sent. Each is told once.
    pub fn echoes(&self) -> Vec<Value> {
        let messages = self.server.stand_in.messages();
        let mut world = lock(&self.server.world);
        let told = std::mem::replace(&mut world.echoed, messages.len());
        let echo = |message: &WhatsappMessage| {
            let record = replies::record(message, &self.server.instance_id);
            replies::webhook("send.message", &record, now(), &self.sender())
        };
        messages.iter().skip(told).map(echo).collect()
    }

    /// The telephone is unlinked and a QR code waits. Returns the body of the webhook `qrcode.updated`.
    pub fn shows_qr(&self, qr: &str) -> Value {
        lock(&self.server.world).qr = Some(qr.to_owned());
        let data = json!({"qrcode": {"instance": self.server.instance, "pairingCode": null, "code": qr, "base64": "data:image/png;base64,AAAA"}});
        replies::webhook("qrcode.updated", &data, now(), &self.sender())
    }

    /// The telephone is connected. Returns the body of the webhook `connection.update`.
    pub fn connects(&self) -> Value {
        let mut world = lock(&self.server.world);
        world.qr = None;
        world.is_closed = false;
        let data = json!({"instance": self.server.instance, "wuid": replies::OWNER, "profileName": "Tours", "state": "open", "statusReason": 200});
        replies::webhook("connection.update", &data, now(), &self.sender())
    }

    /// The session ends. Returns the body of the webhook `connection.update`.
    pub fn disconnects(&self) -> Value {
        lock(&self.server.world).is_closed = true;
        let data = json!({"instance": self.server.instance, "state": "close", "statusReason": 428});
        replies::webhook("connection.update", &data, now(), &self.sender())
    }

    /// How often its session was started again.
    pub fn restarts(&self) -> usize {
        lock(&self.server.world).restarts
    }
}

impl Deref for Evolution {
    type Target = StandIn<WhatsappMessage, EvolutionFault>;

    fn deref(&self) -> &Self::Target {
        &self.server.stand_in
    }
}

/// What the handlers share.
struct Server {
    stand_in: StandIn<WhatsappMessage, EvolutionFault>,
    api_key: String,
    instance: String,
    instance_id: String,
    filing: Mutex<Filing>,
    world: Mutex<World>,
}

/// How messages are put on record.
#[derive(Debug, Clone, Copy, Default)]
struct Filing {
    chat: ChatName,
    is_wrapped: bool,
    takes_names: bool,
}

impl Server {
    /// A fault for all recipients, without using it up: only sending counts.
    fn general_fault(&self) -> Option<EvolutionFault> {
        self.stand_in.peek_fault(&[], |_| true)
    }

    fn record(&self, number: &str, text: &str, name: Option<&str>) -> WhatsappMessage {
        let Filing { chat, is_wrapped, takes_names } = *lock(&self.filing);
        let (jid, jid_alt) = replies::chat(number, chat);
        let message = WhatsappMessage {
            id: name.filter(|_| takes_names).map_or_else(new_key_id, str::to_owned),
            number: number.to_owned(),
            jid,
            jid_alt,
            is_wrapped,
            text: text.to_owned(),
            at: now(),
            status: WhatsappStatus::Pending,
            receipts: Vec::new(),
        };
        self.stand_in.record(message.clone());
        message
    }

    fn accepted(&self, message: &WhatsappMessage) -> Response {
        let body = replies::accepted(message, &self.instance_id);
        (StatusCode::CREATED, Json(body)).into_response()
    }
}

fn routes(server: &Arc<Server>) -> Router {
    let reading = Router::new()
        .route("/instance/connectionState/{instance}", get(connection_state))
        .route("/instance/fetchInstances", get(fetch_instances))
        .route("/instance/connect/{instance}", get(connect))
        .route("/instance/restart/{instance}", post(restart))
        .route("/chat/findChats/{instance}", post(find_chats))
        .route("/group/fetchAllGroups/{instance}", get(fetch_groups))
        .route("/group/findGroupInfos/{instance}", get(find_group))
        .route("/chat/findMessages/{instance}", post(find_messages))
        .route("/chat/findStatusMessage/{instance}", post(find_receipts))
        .route("/chat/whatsappNumbers/{instance}", post(whatsapp_numbers))
        .route_layer(from_fn_with_state(Arc::clone(server), outage));
    Router::new()
        .route("/message/sendText/{instance}", post(send_text))
        .merge(reading)
        .fallback(|method: Method, uri: Uri| async move { replies::unknown_route(method.as_str(), uri.path()) })
        .with_state(Arc::clone(server))
}

async fn send_text(
    State(server): State<Arc<Server>>,
    Path(instance): Path<String>,
    headers: HeaderMap,
    body: Bytes,
) -> Result<Response, Refusal> {
    let body = admitted(&server, &instance, &headers, &body)?;
    let complaints = text_complaints(&body);
    let (Some(number), Some(text), true) = (body["number"].as_str(), body["text"].as_str(), complaints.is_empty())
    else {
        return Err(replies::schema(&complaints));
    };
    if text.trim().is_empty() {
        return Err(replies::bad_request("Text is required"));
    }
    let name = body["messageId"].as_str();
    match server.stand_in.take_fault(&[number], |rule| rule.fault != EvolutionFault::NoRecords) {
        None => Ok(server.accepted(&server.record(number, text, name))),
        Some(fault) => misbehave(&server, fault, || server.record(number, text, name), number).await,
    }
}

async fn misbehave(
    server: &Server,
    fault: EvolutionFault,
    record: impl FnOnce() -> WhatsappMessage,
    number: &str,
) -> Result<Response, Refusal> {
    match fault {
        EvolutionFault::NotOnWhatsapp => Err(replies::not_on_whatsapp(number)),
        EvolutionFault::ConnectionClosed => Err(replies::connection_closed()),
        EvolutionFault::NeverStarted => Err(replies::never_started()),
        EvolutionFault::StringifiedError400 => Err(replies::bad_request("Error: Timed Out")),
        EvolutionFault::Schema400 => Err(replies::schema(&["instance requires property \"text\"".to_owned()])),
        EvolutionFault::Slow { delay } => {
            let message = record();
            tokio::time::sleep(delay).await;
            Ok(server.accepted(&message))
        }
        EvolutionFault::AcceptThenHang => {
            record();
            std::future::pending().await
        }
        EvolutionFault::AcceptThenDrop => {
            record();
            Ok(HangUp.into_response())
        }
        EvolutionFault::Unauthorized
        | EvolutionFault::UnknownInstance
        | EvolutionFault::NoRecords
        | EvolutionFault::Status { .. }
        | EvolutionFault::Drop => Ok(down(server, &fault)),
    }
}

/// The answer of a server that is down as a whole.
fn down(server: &Server, fault: &EvolutionFault) -> Response {
    match fault {
        EvolutionFault::Unauthorized => replies::unauthorized().into_response(),
        EvolutionFault::UnknownInstance => replies::unknown_instance(&server.instance).into_response(),
        EvolutionFault::Status { status, body, retry_after } => replies::status(*status, body, *retry_after),
        EvolutionFault::NoRecords => replies::status(503, &Value::Null, None),
        _ => HangUp.into_response(),
    }
}

/// Routes that only read fail with the server as a whole.
async fn outage(State(server): State<Arc<Server>>, request: Request<Body>, next: Next) -> Response {
    match server.general_fault() {
        Some(fault) if fault.is_outage() => down(&server, &fault),
        _ => next.run(request).await,
    }
}

async fn connection_state(
    State(server): State<Arc<Server>>,
    Path(instance): Path<String>,
    headers: HeaderMap,
) -> Result<Json<Value>, Refusal> {
    admitted(&server, &instance, &headers, b"")?;
    let state = match server.general_fault() {
        Some(EvolutionFault::ConnectionClosed | EvolutionFault::NeverStarted) => "close",
        _ => lock(&server.world).state(),
    };
    Ok(Json(replies::connection_state(&instance, state)))
}

async fn fetch_instances(
    State(server): State<Arc<Server>>,
    axum::extract::Query(wanted): axum::extract::Query<InstanceName>,
    headers: HeaderMap,
) -> Result<Json<Value>, Refusal> {
    let name = wanted.instance_name.unwrap_or_else(|| server.instance.clone());
    admitted(&server, &name, &headers, b"")?;
    let state = lock(&server.world).state();
    Ok(Json(json!([replies::instance(&server.instance_id, &name, state)])))
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct InstanceName {
    instance_name: Option<String>,
}

/// Makes a QR code where the telephone is not linked.
async fn connect(
    State(server): State<Arc<Server>>,
    Path(instance): Path<String>,
    headers: HeaderMap,
) -> Result<Json<Value>, Refusal> {
    admitted(&server, &instance, &headers, b"")?;
    let mut world = lock(&server.world);
    world.is_closed = false;
    Ok(Json(match &world.qr {
        Some(qr) => json!({"pairingCode": null, "code": qr, "base64": "data:image/png;base64,AAAA", "count": 1}),
        None => replies::connection_state(&instance, "open"),
    }))
}

async fn restart(
    State(server): State<Arc<Server>>,
    Path(instance): Path<String>,
    headers: HeaderMap,
) -> Result<Json<Value>, Refusal> {
    admitted(&server, &instance, &headers, b"")?;
    let mut world = lock(&server.world);
    if world.is_closed {
        return Err(replies::bad_request(&format!("The \"{instance}\" instance is not connected")));
    }
    world.restarts += 1;
    Ok(Json(replies::connection_state(&instance, world.state())))
}

async fn find_chats(
    State(server): State<Arc<Server>>,
    Path(instance): Path<String>,
    headers: HeaderMap,
    body: Bytes,
) -> Result<Json<Value>, Refusal> {
    admitted(&server, &instance, &headers, &body)?;
    let messages = server.stand_in.messages();
    let world = lock(&server.world);
    Ok(Json(replies::found_chats(&messages, &world.heard, &server.instance_id)))
}

async fn fetch_groups(
    State(server): State<Arc<Server>>,
    Path(instance): Path<String>,
    headers: HeaderMap,
) -> Result<Json<Value>, Refusal> {
    admitted(&server, &instance, &headers, b"")?;
    let rows: Vec<Value> = lock(&server.world).groups.iter().map(EvolutionGroup::row).collect();
    Ok(Json(json!(rows)))
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct GroupJid {
    group_jid: String,
}

async fn find_group(
    State(server): State<Arc<Server>>,
    Path(instance): Path<String>,
    axum::extract::Query(wanted): axum::extract::Query<GroupJid>,
    headers: HeaderMap,
) -> Result<Json<Value>, Refusal> {
    admitted(&server, &instance, &headers, b"")?;
    let world = lock(&server.world);
    let found = world.groups.iter().find(|group| group.jid == wanted.group_jid);
    found.map(|group| Json(group.row())).ok_or_else(replies::unknown_group)
}

async fn find_messages(
    State(server): State<Arc<Server>>,
    Path(instance): Path<String>,
    headers: HeaderMap,
    body: Bytes,
) -> Result<Json<Value>, Refusal> {
    let query = query(&server, &instance, &headers, &body)?;
    let messages = server.stand_in.messages();
    let world = lock(&server.world);
    Ok(Json(replies::found_messages(&messages, &world.heard, &query, &server.instance_id)))
}

async fn find_receipts(
    State(server): State<Arc<Server>>,
    Path(instance): Path<String>,
    headers: HeaderMap,
    body: Bytes,
) -> Result<Json<Value>, Refusal> {
    let query = query(&server, &instance, &headers, &body)?;
    let messages = server.stand_in.messages();
    Ok(Json(replies::found_receipts(&messages, &query, &server.instance_id)))
}

async fn whatsapp_numbers(
    State(server): State<Arc<Server>>,
    Path(instance): Path<String>,
    headers: HeaderMap,
    body: Bytes,
) -> Result<Response, Refusal> {
    let body = admitted(&server, &instance, &headers, &body)?;
    let numbers = strings(&body["numbers"]);
    let numbers =
        numbers.ok_or_else(|| replies::schema(&["\"numbers\" must be an array of numeric strings".to_owned()]))?;
    match server.general_fault() {
        Some(EvolutionFault::ConnectionClosed) => return Ok(replies::precondition_required()),
        Some(EvolutionFault::NeverStarted) => return Err(replies::never_started()),
        _ => {}
    }
    let rows = numbers.into_iter().map(|number| {
        let fault = server.stand_in.peek_fault(&[number], |_| true);
        replies::on_whatsapp(number, fault != Some(EvolutionFault::NotOnWhatsapp))
    });
    Ok(Json(rows.collect::<Vec<_>>()).into_response())
}

/// The order in which the real program looks: the body's JSON, the instance, the key.
fn admitted(server: &Server, instance: &str, headers: &HeaderMap, body: &[u8]) -> Result<Value, Refusal> {
    let body = body_of(headers, body)?;
    if instance != server.instance {
        return Err(replies::unknown_instance(instance));
    }
    let key = headers.get("apikey").map(http::HeaderValue::as_bytes);
    if key != Some(server.api_key.as_bytes()) {
        return Err(replies::unauthorized());
    }
    Ok(body)
}

fn query(server: &Server, instance: &str, headers: &HeaderMap, body: &[u8]) -> Result<Query, Refusal> {
    let body = admitted(server, instance, headers, body)?;
    serde_json::from_value(body).map_err(|error| replies::schema(&[error.to_string()]))
}

/// Express reads a body only if it says that it is JSON; otherwise the program sees an empty object.
fn body_of(headers: &HeaderMap, body: &[u8]) -> Result<Value, Refusal> {
    let kind = headers.get(CONTENT_TYPE).and_then(|kind| kind.to_str().ok()).unwrap_or_default();
    if body.is_empty() || !kind.starts_with("application/json") {
        return Ok(json!({}));
    }
    match serde_json::from_slice(body) {
        Ok(value @ (Value::Object(_) | Value::Array(_))) => Ok(value),
        Ok(_) => Err(replies::invalid_json(0)),
        Err(error) => Err(replies::invalid_json(position(body, error.line(), error.column()))),
    }
}

/// Where in the body a parser stopped, from the line and column that it tells, both counted from one.
fn position(body: &[u8], line: usize, column: usize) -> usize {
    let before: usize = body.split_inclusive(|byte| *byte == b'\n').take(line - 1).map(<[u8]>::len).sum();
    before + column.saturating_sub(1)
}

/// What the JSON schema of `sendText` says about a body, in its words and its order.
fn text_complaints(body: &Value) -> Vec<String> {
    let mut complaints = Vec::new();
    if body.get("number").is_some_and(|number| !number.is_string()) {
        complaints.push("Invalid format".to_owned());
    }
    if body.get("text").is_some_and(|text| !text.is_string()) {
        complaints.push("text is not of a type(s) string".to_owned());
    }
    let missing = ["number", "text"].into_iter().filter(|name| body.get(name).is_none());
    complaints.extend(missing.map(|name| format!("instance requires property \"{name}\"")));
    complaints
}

fn strings(value: &Value) -> Option<Vec<&str>> {
    let rows = value.as_array()?;
    rows.iter().map(Value::as_str).collect()
}

/// WhatsApp Web's: `3EB0` and 18 hexadecimal digits, by which Evolution knows its source.
fn new_key_id() -> String {
    let random = new_id().simple().to_string().to_ascii_uppercase();
    format!("3EB0{}", &random[..18])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_schema_complains_in_its_own_words() {
        for (body, complaints) in [
            (json!({"number": "593", "text": "Hola"}), vec![]),
            (json!({"number": "593"}), vec!["instance requires property \"text\""]),
            (json!({"number": "593", "textMessage": {"text": "Hola"}}), vec!["instance requires property \"text\""]),
            (json!({"number": 593, "text": "Hola"}), vec!["Invalid format"]),
            (json!({"text": 1}), vec!["text is not of a type(s) string", "instance requires property \"number\""]),
            (json!([]), vec!["instance requires property \"number\"", "instance requires property \"text\""]),
        ] {
            assert_eq!(text_complaints(&body), complaints, "{body}");
        }
    }

    #[test]
    fn a_parser_stops_at_a_byte() {
        for (body, expected) in [("{oops", 1), ("{\"a\":1,\n\"b\" 2}", 12)] {
            let error = serde_json::from_str::<Value>(body).expect_err("not JSON");
            assert_eq!(position(body.as_bytes(), error.line(), error.column()), expected, "{body}");
        }
    }

    #[test]
    fn key_ids_look_like_those_of_whatsapp_web() {
        let id = new_key_id();
        assert!(id.starts_with("3EB0") && id.len() == 22, "{id}");
        assert_ne!(id, new_key_id());
    }
}
