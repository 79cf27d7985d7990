//! A WhatsApp bridge: the Node service around `whatsapp-web.js` that a tour operator runs, with its routes and its answers.
//!
//! It makes the bodies of its webhooks, and its owner posts them; once it is told where to, it posts its echoes by itself.

mod fault;
mod world;

use std::{
    io,
    ops::Deref,
    sync::{Arc, Mutex},
    time::Duration,
};

use axum::{
    Json, Router,
    body::Bytes,
    extract::{Path, Query, Request, State},
    middleware::{Next, from_fn_with_state},
    response::{Html, IntoResponse, Response},
    routing::{get, post},
};
use chrono::{DateTime, Utc};
use http::StatusCode;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use self::world::{PostsTo, Said, World};
pub use self::{fault::BridgeFault, world::BridgeChat};
use crate::{
    faults::Rule,
    listen::{HangUp, Listening, bind},
    post as outgoing,
    stand_in::{KEEP, StandIn, lock, new_id, now},
};

/// How many messages a history has when none is asked for.
const HISTORY: usize = 1000;

/// How often an echo is posted that is not taken, and the time between. The public bridge posts what is five minutes old again.
const POSTS: u32 = 5;
const BETWEEN_POSTS: Duration = Duration::from_secs(1);

/// How a bridge is set up.
#[derive(Debug, Clone)]
pub struct BridgeOptions {
    /// `0` is any free port.
    pub port: u16,
    /// How many texts are kept; the oldest make room.
    pub keep: usize,
    /// The number of its telephone, in digits.
    pub number: String,
}

impl Default for BridgeOptions {
    fn default() -> Self {
        Self { port: 0, keep: KEEP, number: "593999000111".to_owned() }
    }
}

/// A text that it was given to send.
#[derive(Debug, Clone, Serialize)]
pub struct BridgeText {
    /// The id that WhatsApp gave it. The sender is not told.
    pub id: String,
    /// WhatsApp's id of the chat.
    pub chat_id: String,
    /// What it says.
    pub text: String,
    /// When it was given.
    pub at: DateTime<Utc>,
}

/// How a webhook was answered.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Answered {
    /// `None`: no answer came.
    pub status: Option<u16>,
    /// The answer; a text where it is no JSON, or why there was none.
    pub body: Value,
}

/// A bridge. It stops when the last clone is dropped.
#[derive(Clone)]
pub struct Bridge {
    url: String,
    server: Arc<Server>,
    _listening: Arc<Listening>,
}

struct Server {
    stand_in: StandIn<BridgeText, BridgeFault>,
    world: Mutex<World>,
}

/// A message as a person writes it.
#[derive(Debug, Clone, Default)]
pub struct Writes {
    /// WhatsApp's id of the chat.
    pub chat_id: String,
    /// What it says.
    pub text: String,
    /// In a group, who: digits and name.
    pub sender: Option<(String, String)>,
    /// Which message is quoted.
    pub reply_to: Option<String>,
    /// By default now.
    pub at: Option<DateTime<Utc>>,
    /// By default a new one.
    pub id: Option<String>,
    /// Written by hand on the bridge's own telephone.
    pub from_me: bool,
}

impl Bridge {
    /// Takes a loopback port and listens. Its session is connected.
    ///
    /// # Errors
    /// When the port is taken.
    pub async fn start(options: BridgeOptions) -> io::Result<Self> {
        let (listener, address) = bind(options.port).await?;
        let world = World { push_name: "Tours".to_owned(), number: options.number, ..World::default() };
        let server = Arc::new(Server { stand_in: StandIn::new(options.keep), world: Mutex::new(world) });
        let listening = Listening::http(listener, routes(&server));
        Ok(Self { url: format!("http://{address}"), server, _listening: Arc::new(listening) })
    }

    /// Without a slash at its end.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// What it was given to send, oldest first.
    pub fn texts(&self) -> Vec<BridgeText> {
        self.server.stand_in.messages()
    }

    /// How often a path such as `/api/chats` was asked.
    pub fn asked(&self, path: &str) -> usize {
        lock(&self.server.world).asked.get(path).copied().unwrap_or_default()
    }

    /// How often its session was started again.
    pub fn restarts(&self) -> usize {
        lock(&self.server.world).restarts
    }

    /// From now on the telephone has this chat.
    pub fn add_chat(&self, chat: BridgeChat) {
        let mut world = lock(&self.server.world);
        world.chats.retain(|known| known.chat_id != chat.chat_id);
        world.chats.push(chat);
    }

    /// So many persons with so many messages each: a telephone that was used for years.
    pub fn fill(&self, chats: usize, messages: usize) {
        for n in 0..chats {
            let number = format!("59397{n:07}");
            self.add_chat(BridgeChat::person(&number, &format!("Cliente {n}")));
            let chat_id = format!("{number}@c.us");
            for m in 0..messages {
                let at = now() - chrono::Duration::seconds(i64::try_from(messages - m).unwrap_or_default());
                let text = format!("Mensaje {m}");
                self.hears(Writes { chat_id: chat_id.clone(), text, at: Some(at), ..Writes::default() });
            }
        }
    }

    /// From now on histories have ids as `false_593991234567@c.us_3EB0…`, where webhooks say `3EB0…`.
    pub fn serialize_ids(&self) {
        lock(&self.server.world).serializes_ids = true;
    }

    /// From now on it posts its webhooks to this URL, with the secret as a bearer; its echoes by itself.
    pub fn post_to(&self, url: &str, secret: Option<&str>) {
        lock(&self.server.world).posts_to = Some(PostsTo { url: url.to_owned(), secret: secret.map(str::to_owned) });
    }

    /// Posts a webhook to where it was told to. `None`: it was not told.
    pub async fn post(&self, webhook: &Value) -> Option<Answered> {
        let to = lock(&self.server.world).posts_to.clone()?;
        Some(to.post(webhook).await)
    }

    /// Somebody writes. Returns the body of the webhook `process-message`.
    pub fn hears(&self, writes: Writes) -> Value {
        let said = Said {
            id: writes.id.unwrap_or_else(new_key_id),
            chat_id: writes.chat_id,
            from_me: writes.from_me,
            text: writes.text,
            at: writes.at.unwrap_or_else(now),
            sender: writes.sender,
            reply_to: writes.reply_to,
        };
        let mut world = lock(&self.server.world);
        world.say(said.clone());
        world.webhook(&said)
    }

    /// A person writes in a chat of her own.
    pub fn message(&self, digits: &str, text: &str) -> Value {
        self.hears(Writes { chat_id: format!("{digits}@c.us"), text: text.to_owned(), ..Writes::default() })
    }

    /// Somebody writes in a group.
    pub fn group_message(&self, group: &str, digits: &str, text: &str) -> Value {
        let sender = Some((digits.to_owned(), format!("+{digits}")));
        self.hears(Writes { chat_id: format!("{group}@g.us"), text: text.to_owned(), sender, ..Writes::default() })
    }

    /// The bodies of the webhooks with which what we sent comes back, as `from_me`. Each is told once; those that the bridge posts
    /// by itself are not among them.
    pub fn echoes(&self) -> Vec<Value> {
        let mut world = lock(&self.server.world);
        let echoes = std::mem::take(&mut world.echoes);
        echoes.iter().map(|said| world.webhook(said)).collect()
    }

    /// The telephone logs out and shows a QR code. Returns the body of the webhook `qr`.
    pub fn shows_qr(&self, qr: &str) -> Value {
        let mut world = lock(&self.server.world);
        world.qr = Some(qr.to_owned());
        world.logged_out = true;
        json!({ "qr": qr })
    }

    /// The telephone is connected. Returns the body of the webhook `status`.
    pub fn connects(&self) -> Value {
        let mut world = lock(&self.server.world);
        world.qr = None;
        world.logged_out = false;
        json!({"status": "connected", "phone_number": world.number, "name": world.push_name})
    }

    /// The telephone loses its session. The Node service tells of it to no one.
    pub fn disconnects(&self) {
        lock(&self.server.world).logged_out = true;
    }
}

impl Deref for Bridge {
    type Target = StandIn<BridgeText, BridgeFault>;

    fn deref(&self) -> &Self::Target {
        &self.server.stand_in
    }
}

fn routes(server: &Arc<Server>) -> Router {
    Router::new()
        .route("/api/status", get(status))
        .route("/api/qr", get(qr))
        .route("/api/chats", get(chats))
        .route("/api/groups", get(groups))
        .route("/api/chats/{chat_id}/messages", get(history))
        .route("/api/group-info/{chat_id}", get(group_info))
        .route("/api/send-message", post(send))
        .route("/api/request-new-qr", post(restart))
        .layer(from_fn_with_state(Arc::clone(server), count))
        .with_state(Arc::clone(server))
}

async fn count(State(server): State<Arc<Server>>, request: Request, next: Next) -> Response {
    *lock(&server.world).asked.entry(request.uri().path().to_owned()).or_default() += 1;
    next.run(request).await
}

/// What a question meets before it is answered.
async fn meet(server: &Server, subjects: &[&str], is_send: bool) -> Result<(), Response> {
    let applies = |rule: &Rule<BridgeFault>| match rule.fault {
        BridgeFault::NotRegistered
        | BridgeFault::Zombie
        | BridgeFault::AcceptThenHang
        | BridgeFault::AcceptThenDrop => is_send,
        _ => true,
    };
    match server.stand_in.take_fault(subjects, applies) {
        None | Some(BridgeFault::Zombie) => Ok(()),
        Some(BridgeFault::Slow { delay }) => {
            tokio::time::sleep(delay).await;
            Ok(())
        }
        Some(BridgeFault::NotReady) => Err(not_ready()),
        Some(BridgeFault::NotRegistered) => {
            Err(error(StatusCode::BAD_REQUEST, "El número no está registrado en WhatsApp"))
        }
        Some(BridgeFault::Status { status, body }) => {
            Err((StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR), body).into_response())
        }
        Some(BridgeFault::Nonsense) => Err(Html("<!doctype html><title>Login</title>").into_response()),
        Some(BridgeFault::Hang | BridgeFault::AcceptThenHang) => std::future::pending().await,
        Some(BridgeFault::Drop | BridgeFault::AcceptThenDrop) => Err(HangUp.into_response()),
    }
}

/// The routes that need WhatsApp.
async fn connected(server: &Server, subjects: &[&str]) -> Result<(), Response> {
    meet(server, subjects, false).await?;
    if lock(&server.world).logged_out { Err(not_ready()) } else { Ok(()) }
}

async fn status(State(server): State<Arc<Server>>) -> Result<Json<Value>, Response> {
    let is_up = |rule: &Rule<BridgeFault>| rule.fault == BridgeFault::NotReady;
    let not_ready = server.stand_in.peek_fault(&["/api/status"], is_up).is_some();
    if !not_ready {
        meet(&server, &["/api/status"], false).await?;
    }
    let world = lock(&server.world);
    let is_ready = !not_ready && !world.logged_out;
    Ok(Json(json!({
        "isReady": is_ready,
        "number": is_ready.then_some(&world.push_name),
        "phone_number": is_ready.then_some(&world.number),
        "hasQR": world.qr.is_some(),
    })))
}

async fn qr(State(server): State<Arc<Server>>) -> Result<Json<Value>, Response> {
    let is_other = |rule: &Rule<BridgeFault>| rule.fault != BridgeFault::NotReady;
    if server.stand_in.peek_fault(&["/api/qr"], is_other).is_some() {
        meet(&server, &["/api/qr"], false).await?;
    }
    Ok(Json(json!({"qr": lock(&server.world).qr})))
}

async fn chats(State(server): State<Arc<Server>>) -> Result<Json<Value>, Response> {
    connected(&server, &["/api/chats"]).await?;
    let world = lock(&server.world);
    let rows: Vec<_> = world.chats.iter().map(|chat| world.listed(chat)).collect();
    Ok(Json(json!({ "chats": rows })))
}

async fn groups(State(server): State<Arc<Server>>) -> Result<Json<Value>, Response> {
    connected(&server, &["/api/groups"]).await?;
    let world = lock(&server.world);
    let groups = world.chats.iter().filter(|chat| chat.chat_id.ends_with("@g.us"));
    let rows: Vec<_> = groups.map(|chat| world.group(chat)).collect();
    Ok(Json(json!({ "groups": rows })))
}

#[derive(Deserialize)]
struct Limit {
    limit: Option<usize>,
}

async fn history(
    State(server): State<Arc<Server>>,
    Path(chat_id): Path<String>,
    Query(Limit { limit }): Query<Limit>,
) -> Result<Json<Value>, Response> {
    connected(&server, &[&chat_id, "/api/chats/messages"]).await?;
    let world = lock(&server.world);
    if world.chat(&chat_id).is_none() {
        return Err(error(StatusCode::NOT_FOUND, "Chat not found"));
    }
    let messages = world.history(&chat_id, limit.unwrap_or(HISTORY));
    Ok(Json(json!({"chat_id": chat_id, "total": messages.len(), "messages": messages})))
}

async fn group_info(State(server): State<Arc<Server>>, Path(chat_id): Path<String>) -> Result<Json<Value>, Response> {
    connected(&server, &[&chat_id, "/api/group-info"]).await?;
    let world = lock(&server.world);
    match world.chat(&chat_id) {
        // `getChatById` throws.
        None => Err(error(StatusCode::INTERNAL_SERVER_ERROR, "Error getting group info")),
        Some(chat) if !chat.chat_id.ends_with("@g.us") => Err(error(StatusCode::BAD_REQUEST, "Chat is not a group")),
        Some(chat) => Ok(Json(world.group(chat))),
    }
}

async fn send(State(server): State<Arc<Server>>, body: Bytes) -> Result<Json<Value>, Response> {
    let body: Value = serde_json::from_slice(&body).map_err(|_| error(StatusCode::BAD_REQUEST, "Unexpected token"))?;
    let of = |name: &str| body[name].as_str().filter(|value| !value.is_empty());
    let phone = of("phone").map(|digits| format!("{digits}@c.us"));
    let target = of("groupId").or(of("chatId")).map(str::to_owned).or(phone);
    let (Some(target), Some(text)) = (target, of("text")) else {
        return Err(error(StatusCode::BAD_REQUEST, "text es requerido"));
    };
    if lock(&server.world).logged_out {
        return Err(not_ready());
    }
    let subjects = [target.as_str(), "/api/send-message"];
    let fault = server.stand_in.peek_fault(&subjects, |_| true);
    let sends = matches!(
        fault,
        None | Some(
            BridgeFault::Slow { .. } | BridgeFault::AcceptThenHang | BridgeFault::AcceptThenDrop | BridgeFault::Zombie
        )
    );
    if sends {
        server.accept(&target, text, fault != Some(BridgeFault::Zombie));
    }
    meet(&server, &subjects, true).await?;
    Ok(Json(json!({"success": true, "targetId": target})))
}

async fn restart(State(server): State<Arc<Server>>) -> Result<Json<Value>, Response> {
    meet(&server, &["/api/request-new-qr"], false).await?;
    lock(&server.world).restarts += 1;
    Ok(Json(json!({"success": true, "message": "WhatsApp client re-initialized"})))
}

impl Server {
    fn accept(&self, chat_id: &str, text: &str, leaves: bool) {
        let text = BridgeText { id: new_key_id(), chat_id: chat_id.to_owned(), text: text.to_owned(), at: now() };
        if leaves {
            let said = Said {
                id: text.id.clone(),
                chat_id: text.chat_id.clone(),
                from_me: true,
                text: text.text.clone(),
                at: text.at,
                sender: None,
                reply_to: None,
            };
            let mut world = lock(&self.world);
            world.say(said.clone());
            match world.posts_to.clone() {
                Some(to) => {
                    let echo = world.webhook(&said);
                    tokio::spawn(async move { to.insist(&echo).await });
                }
                None => world.echoes.push(said),
            }
        }
        self.stand_in.record(text);
    }
}

impl PostsTo {
    async fn post(&self, webhook: &Value) -> Answered {
        let bearer = self.secret.as_ref().map(|secret| format!("Bearer {secret}"));
        let headers: Vec<(&str, &str)> = bearer.iter().map(|bearer| ("Authorization", bearer.as_str())).collect();
        match outgoing::post(&self.url, &headers, webhook.to_string().into_bytes()).await {
            Ok((status, body)) => {
                Answered { status: Some(status), body: serde_json::from_str(&body).unwrap_or(Value::String(body)) }
            }
            Err(error) => Answered { status: None, body: Value::String(error.to_string()) },
        }
    }

    /// Posts again what was not taken, unless it was refused for good.
    async fn insist(&self, webhook: &Value) {
        for left in (0..POSTS).rev() {
            let Answered { status, body } = self.post(webhook).await;
            match status {
                Some(200) => return,
                Some(400) => return tracing::warn!(%body, "an echo of the stand-in bridge is refused: {body}"),
                _ if left == 0 => tracing::warn!(?status, "an echo of the stand-in bridge is not taken: {body}"),
                _ => tokio::time::sleep(BETWEEN_POSTS).await,
            }
        }
    }
}

fn not_ready() -> Response {
    error(StatusCode::SERVICE_UNAVAILABLE, "WhatsApp no listo")
}

fn error(status: StatusCode, words: &str) -> Response {
    (status, Json(json!({ "error": words }))).into_response()
}

/// WhatsApp Web's: `3EB0` and 18 hexadecimal digits.
fn new_key_id() -> String {
    let random = new_id().simple().to_string().to_ascii_uppercase();
    format!("3EB0{}", &random[..18])
}
