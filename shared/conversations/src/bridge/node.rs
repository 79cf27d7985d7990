//! The Node service around `whatsapp-web.js` (C-003, "Node service contract").

use std::time::Duration;

use recado_kernel::config::BridgeSettings;
use reqwest::{Client, RequestBuilder, StatusCode};
use serde::Deserialize;
use serde_json::{Value, json};
use url::Url;

use super::http::{MOST_BYTES, MOST_BYTES_OF_A_WORD, client, complaint, explain, nonsense, read, unsent};
use super::reading::{self, Row, Rows, text};
use super::{BridgeError, CHATS_LIMIT, Failure, HISTORY_LIMIT, Listed, Remembered, Sent, Status, Target};

pub(super) struct Node {
    http: Client,
    base: Url,
    timeout: Duration,
}

#[derive(Deserialize)]
struct Chats {
    chats: Rows<Listed>,
}

#[derive(Deserialize)]
struct Groups {
    groups: Rows<Listed>,
}

#[derive(Deserialize)]
struct History {
    messages: Rows<Remembered>,
}

impl Node {
    pub(super) fn new(settings: &BridgeSettings) -> Result<Self, BridgeError> {
        let base = Url::parse(&settings.url)?;
        Ok(Self { http: client(&base)?, base, timeout: settings.timeout })
    }

    pub(super) async fn send(&self, to: &Target, text: &str) -> Result<Sent, Failure> {
        let body = match to {
            Target::Group(id) => json!({"text": text, "groupId": id}),
            Target::Chat(id) => json!({"text": text, "chatId": id}),
            Target::Phone(digits) => json!({"text": text, "phone": digits}),
        };
        let request = self.http.post(self.url(&["api", "send-message"])).json(&body).timeout(self.timeout);
        let response = request.send().await.map_err(|error| unsent(&error))?;
        let status = response.status();
        // It left, or may have, once the bridge has begun to say yes.
        let body = read(response, MOST_BYTES_OF_A_WORD).await;
        if !status.is_success() {
            return Err(refusal(status, &body.unwrap_or_default()));
        }
        let body = body.map_err(|_| Failure::Unknown)?;
        let answer: Value = serde_json::from_slice(&body).map_err(|_| nonsense(&body))?;
        if answer["success"] == Value::Bool(false) {
            return Err(Failure::Refused(complaint(&answer)));
        }
        if !answer.is_object() {
            return Err(nonsense(&body));
        }
        let id = ["message_id", "messageId", "id"].iter().find_map(|name| text_of_id(&answer[*name]));
        Ok(Sent { message_id: id })
    }

    pub(super) async fn status(&self) -> Result<Status, Failure> {
        let answer: Value = self.ask(&["api", "status"], self.timeout).await?;
        reading::status(&answer).ok_or_else(|| Failure::Nonsense("its status does not say isReady".to_owned()))
    }

    pub(super) async fn qr(&self) -> Result<Option<String>, Failure> {
        // Older services answer 404 when there is none.
        let answer: Value = match self.ask(&["api", "qr"], self.timeout).await {
            Err(Failure::Refused(_) | Failure::NotReady) => return Ok(None),
            answer => answer?,
        };
        if answer.get("qr").is_none() {
            return Err(Failure::Nonsense("its answer has no qr".to_owned()));
        }
        Ok(text(&answer["qr"]).filter(|qr| qr.len() <= 4096))
    }

    pub(super) async fn chats(&self) -> Result<Vec<Listed>, Failure> {
        Ok(self.ask::<Chats>(&["api", "chats"], CHATS_LIMIT).await?.chats.0)
    }

    pub(super) async fn groups(&self) -> Result<Vec<Listed>, Failure> {
        let mut groups = self.ask::<Groups>(&["api", "groups"], self.timeout).await?.groups.0;
        groups.retain(|group| group.is_group);
        Ok(groups)
    }

    pub(super) async fn messages(&self, chat_id: &str, limit: u32) -> Result<Vec<Remembered>, Failure> {
        let mut url = self.url(&["api", "chats", chat_id, "messages"]);
        url.query_pairs_mut().append_pair("limit", &limit.to_string());
        let mut messages = self.get::<History>(url, HISTORY_LIMIT).await?.messages.0;
        // One that does not know `limit` says everything.
        let beyond = messages.len().saturating_sub(limit as usize);
        messages.drain(..beyond);
        Ok(messages)
    }

    pub(super) async fn group_info(&self, chat_id: &str) -> Result<Listed, Failure> {
        let answer: Value = self.ask(&["api", "group-info", chat_id], self.timeout).await?;
        let read = Listed::read(&answer).filter(|group| group.chat_id == chat_id);
        read.ok_or_else(|| Failure::Nonsense("its answer is not about that group".to_owned()))
    }

    pub(super) async fn restart(&self) -> Result<(), Failure> {
        let request = self.http.post(self.url(&["api", "request-new-qr"])).timeout(self.timeout);
        match answer::<Value>(request, MOST_BYTES_OF_A_WORD).await {
            Err(Failure::Refused(_)) => {
                Err(Failure::Refused("it has no POST /api/request-new-qr; restart its process".to_owned()))
            }
            answer => answer.map(drop),
        }
    }

    async fn ask<T: for<'de> Deserialize<'de>>(&self, path: &[&str], limit: Duration) -> Result<T, Failure> {
        self.get(self.url(path), limit).await
    }

    async fn get<T: for<'de> Deserialize<'de>>(&self, url: Url, limit: Duration) -> Result<T, Failure> {
        answer(self.http.get(url).timeout(limit), MOST_BYTES).await
    }

    fn url(&self, path: &[&str]) -> Url {
        let mut url = self.base.clone();
        // Segments are percent-encoded here: an id may have any characters.
        if let Ok(mut segments) = url.path_segments_mut() {
            segments.pop_if_empty().extend(path);
        }
        url
    }
}

async fn answer<T: for<'de> Deserialize<'de>>(request: RequestBuilder, limit: usize) -> Result<T, Failure> {
    let response = request.send().await.map_err(|error| Failure::Unreachable(explain(&error)))?;
    let status = response.status();
    let body = read(response, limit).await.map_err(Failure::Unreachable)?;
    if !status.is_success() {
        return Err(refusal(status, &body));
    }
    serde_json::from_slice(&body).map_err(|_| nonsense(&body))
}

/// What a status that is no success means.
fn refusal(status: StatusCode, body: &[u8]) -> Failure {
    let answer: Value = serde_json::from_slice(body).unwrap_or_default();
    match status.as_u16() {
        503 => Failure::NotReady,
        300..=399 => Failure::Nonsense(format!("it redirects, with HTTP {}", status.as_u16())),
        // Later, it says itself; a proxy that asks who we are may be set right too.
        401 | 403 | 407 | 408 | 425 | 429 | 500.. => {
            Failure::Unreachable(format!("HTTP {}: {}", status.as_u16(), complaint(&answer)))
        }
        _ => Failure::Refused(complaint(&answer)),
    }
}

fn text_of_id(value: &Value) -> Option<String> {
    text(value).or_else(|| text(&value["_serialized"])).map(|id| reading::bare_id(&id).to_owned())
}

#[cfg(test)]
mod tests {
    use recado_kernel::config::BridgeKind;
    use recado_sandbox::{Bridge as StandIn, BridgeChat, BridgeFault, BridgeOptions};

    use super::*;

    async fn pair() -> (StandIn, Node) {
        let stand_in = StandIn::start(BridgeOptions::default()).await.expect("a free port");
        let settings = BridgeSettings {
            url: stand_in.url().to_owned(),
            timeout: Duration::from_millis(500),
            kind: BridgeKind::Node,
        };
        (stand_in, Node::new(&settings).expect("usable settings"))
    }

    fn phone() -> Target {
        Target::Phone("593991234567".to_owned())
    }

    #[tokio::test]
    async fn texts_go_to_whom_they_are_for() {
        let (stand_in, node) = pair().await;
        for to in [phone(), Target::Group("1203@g.us".to_owned()), Target::Chat("37881745801364@lid".to_owned())] {
            assert_eq!(node.send(&to, "Hola 👋").await, Ok(Sent { message_id: None }));
            let texts = stand_in.texts();
            let last = texts.last().expect("it arrived");
            assert_eq!((last.chat_id.as_str(), last.text.as_str()), (to.chat_id().as_str(), "Hola 👋"));
        }
    }

    #[tokio::test]
    async fn every_fault_of_sending_says_whether_the_text_may_have_left() {
        let (stand_in, node) = pair().await;
        let long = Duration::from_secs(5);
        for (fault, expected, arrives) in [
            (BridgeFault::NotReady, "NotReady", false),
            (BridgeFault::NotRegistered, "Refused", false),
            (BridgeFault::status(500), "Unreachable", false),
            (BridgeFault::status(429), "Unreachable", false),
            (BridgeFault::status(404), "Refused", false),
            (BridgeFault::status(302), "Nonsense", false),
            (BridgeFault::Nonsense, "Nonsense", false),
            (BridgeFault::Slow { delay: long }, "Unknown", true),
            (BridgeFault::AcceptThenHang, "Unknown", true),
            (BridgeFault::AcceptThenDrop, "Unknown", true),
            (BridgeFault::Hang, "Unknown", false),
            (BridgeFault::Drop, "Unknown", false),
        ] {
            stand_in.clear();
            stand_in.misbehave_times(fault.clone(), 1);
            let failure = node.send(&phone(), "Hola").await.expect_err("it fails");
            assert!(format!("{failure:?}").starts_with(expected), "{fault:?}: {failure:?}");
            assert_eq!(stand_in.texts().len(), usize::from(arrives), "{fault:?}");
            stand_in.behave();
        }
        drop(stand_in);
        assert!(matches!(node.send(&phone(), "Hola").await, Err(Failure::Unreachable(_))), "nothing listens");
    }

    /// S003-20: within its time limit, whatever the bridge does.
    #[tokio::test]
    async fn every_fault_of_a_question_has_its_failure() {
        let (stand_in, node) = pair().await;
        for (fault, expected) in [
            (BridgeFault::NotReady, "NotReady"),
            (BridgeFault::status(500), "Unreachable"),
            (BridgeFault::Nonsense, "Nonsense"),
            (BridgeFault::Hang, "Unreachable"),
            (BridgeFault::Drop, "Unreachable"),
            (BridgeFault::Status { status: 200, body: r#"{"groups": {}}"#.to_owned() }, "Nonsense"),
            (BridgeFault::Status { status: 200, body: "[]".to_owned() }, "Nonsense"),
            (BridgeFault::Status { status: 200, body: String::new() }, "Nonsense"),
        ] {
            stand_in.misbehave(fault.clone());
            let failure = node.groups().await.expect_err("it fails");
            assert!(format!("{failure:?}").starts_with(expected), "{fault:?}: {failure:?}");
        }
    }

    #[tokio::test]
    async fn it_tells_what_it_knows() {
        let (stand_in, node) = pair().await;
        stand_in.add_chat(BridgeChat::group("1203", "Galápagos", &["593991234567"]));
        stand_in.message("593991234567", "Hola");
        stand_in.serialize_ids();
        assert_eq!(node.chats().await.expect("chats").len(), 2);
        assert_eq!(node.groups().await.expect("groups").len(), 1);
        assert_eq!(node.group_info("1203@g.us").await.expect("a group").participants.map(|all| all.len()), Some(1));
        assert!(matches!(node.group_info("593991234567@c.us").await, Err(Failure::Refused(_))));
        let history = node.messages("593991234567@c.us", 10).await.expect("a history");
        assert!(history[0].id.starts_with("3EB0"), "{history:?}");
        assert!(matches!(node.messages("nobody/@c.us", 10).await, Err(Failure::Refused(_))));
        assert_eq!(node.qr().await, Ok(None));
        stand_in.shows_qr("2@abc");
        assert_eq!(node.qr().await, Ok(Some("2@abc".to_owned())));
        let status = node.status().await.expect("a status");
        assert!(!status.is_ready && status.has_qr);
        stand_in.connects();
        assert_eq!(node.status().await.expect("a status").phone_number.as_deref(), Some("593999000111"));
    }
}
