//! Evolution API as a bridge: the same questions by its routes (2.3.6; contract, appendix 3).
//!
//! Its webhooks are read in `crate::evolution`; what notifications send through it is the worker's adapter.

use std::time::Duration;

use recado_kernel::config::BridgeSettings;
use reqwest::header::HeaderValue;
use reqwest::{Client, RequestBuilder, StatusCode};
use secrecy::{ExposeSecret, SecretString};
use serde_json::{Value, json};
use url::Url;

use super::http::{MOST_BYTES, MOST_BYTES_OF_A_WORD, client, explain, nonsense, read, unsent};
use super::reading::words;
use super::{
    BridgeError, CHATS_LIMIT, Failure, HISTORY_LIMIT, LastMessage, Listed, Remembered, Sent, Status, Target, baileys,
};

/// Records on a page of a history. Those of pictures bring their preview along.
const PAGE: usize = 100;

pub(super) struct Evolution {
    http: Client,
    base: Url,
    instance: String,
    api_key: HeaderValue,
    timeout: Duration,
}

impl Evolution {
    pub(super) fn new(settings: &BridgeSettings, instance: &str, api_key: &SecretString) -> Result<Self, BridgeError> {
        let base = Url::parse(&settings.url)?;
        let mut key = HeaderValue::from_str(api_key.expose_secret()).map_err(|_| BridgeError::Key)?;
        key.set_sensitive(true);
        Ok(Self { http: client(&base)?, base, instance: instance.to_owned(), api_key: key, timeout: settings.timeout })
    }

    pub(super) async fn send(&self, to: &Target, text: &str) -> Result<Sent, Failure> {
        let number = match to {
            Target::Group(id) | Target::Chat(id) | Target::Phone(id) => id,
        };
        let request = self.post("message", "sendText").json(&json!({ "number": number, "text": text }));
        let response = request.timeout(self.timeout).send().await.map_err(|error| unsent(&error))?;
        let status = response.status();
        let body = read(response, MOST_BYTES).await;
        if !status.is_success() {
            return Err(match status.as_u16() {
                // A proxy gave up waiting for Evolution, which may well be sending.
                504 | 524 => Failure::Unknown,
                _ => refusal(status, &body.unwrap_or_default()),
            });
        }
        // It answers when WhatsApp has the message, so an answer that broke off is a good one.
        let Ok(body) = body else { return Ok(Sent::default()) };
        let answer: Value = serde_json::from_slice(&body).map_err(|_| nonsense(&body))?;
        let id = answer["key"]["id"].as_str().ok_or_else(|| nonsense(&body))?;
        Ok(Sent { message_id: Some(id.to_owned()) })
    }

    pub(super) async fn status(&self) -> Result<Status, Failure> {
        let answer = self.ask(self.get("instance", "connectionState")).await?;
        let state = answer["instance"]["state"].as_str().or_else(|| answer["state"].as_str());
        let state = state.ok_or_else(|| Failure::Nonsense("its answer does not say the state".to_owned()))?;
        if state != "open" {
            let is_connecting = state == "connecting";
            return Ok(Status { has_qr: is_connecting, is_connecting, ..Status::default() });
        }
        // Whose telephone it is stands elsewhere; a version that does not say costs nothing.
        let owner = self.owner().await.unwrap_or_default();
        Ok(Status { is_ready: true, ..owner })
    }

    async fn owner(&self) -> Option<Status> {
        let mut url = self.base.clone();
        url.path_segments_mut().ok()?.pop_if_empty().extend(["instance", "fetchInstances"]);
        url.query_pairs_mut().append_pair("instanceName", &self.instance);
        let answer = self.ask(self.with_key(self.http.get(url))).await.ok()?;
        let ours = answer.as_array()?.iter().find(|one| one["name"] == self.instance)?;
        let number = ours["ownerJid"].as_str().and_then(baileys::jid);
        Some(Status {
            push_name: words(&ours["profileName"]),
            phone_number: number.and_then(|jid| baileys::digits_of(&jid).map(str::to_owned)),
            ..Status::default()
        })
    }

    pub(super) async fn qr(&self) -> Result<Option<String>, Failure> {
        let answer = self.ask(self.get("instance", "connect")).await?;
        let code = baileys::text(&answer["code"]).or_else(|| baileys::text(&answer["qrcode"]["code"]));
        Ok(code.filter(|code| code.len() <= 4_096))
    }

    pub(super) async fn chats(&self) -> Result<Vec<Listed>, Failure> {
        let request = self.post("chat", "findChats").json(&json!({})).timeout(CHATS_LIMIT);
        rows(&answer(request, MOST_BYTES).await?, chat)
    }

    pub(super) async fn groups(&self) -> Result<Vec<Listed>, Failure> {
        let request = self.get_with("group", "fetchAllGroups", ("getParticipants", "true"));
        rows(&answer(request.timeout(CHATS_LIMIT), MOST_BYTES).await?, group)
    }

    pub(super) async fn group_info(&self, chat_id: &str) -> Result<Listed, Failure> {
        let request = self.get_with("group", "findGroupInfos", ("groupJid", chat_id));
        let answer = answer(request.timeout(self.timeout), MOST_BYTES).await?;
        let read = group(&answer).filter(|group| group.chat_id == chat_id);
        read.ok_or_else(|| Failure::Nonsense("its answer is not about that group".to_owned()))
    }

    /// Page by page, the newest first; what it says is turned round. Of a chat of which it has nothing on record it does not know.
    pub(super) async fn messages(&self, chat_id: &str, limit: u32) -> Result<Vec<Remembered>, Failure> {
        let reading = self.newest(chat_id, limit as usize);
        let late = |_| Failure::Unreachable("no answer in time".to_owned());
        let mut messages = tokio::time::timeout(HISTORY_LIMIT, reading).await.map_err(late)??;
        messages.reverse();
        Ok(messages)
    }

    async fn newest(&self, chat_id: &str, limit: usize) -> Result<Vec<Remembered>, Failure> {
        let jid = chat_id.strip_suffix("@c.us").map_or(chat_id.to_owned(), |user| format!("{user}@s.whatsapp.net"));
        let size = PAGE.min(limit.max(1));
        let mut messages = Vec::new();
        for page in 1..=limit.div_ceil(size) {
            let question = json!({"where": {"key": {"remoteJid": jid}}, "page": page, "offset": size});
            let request = self.post("chat", "findMessages").json(&question).timeout(HISTORY_LIMIT);
            let answer = answer(request, MOST_BYTES).await?;
            let records = answer.pointer("/messages/records").unwrap_or(&answer);
            let records =
                records.as_array().ok_or_else(|| Failure::Nonsense("its answer has no records".to_owned()))?;
            if page == 1 && records.is_empty() {
                return Err(Failure::Refused("it has no message of this chat on record".to_owned()));
            }
            messages.extend(records.iter().filter_map(remembered));
            let pages = answer.pointer("/messages/pages").and_then(Value::as_u64).unwrap_or(1);
            if records.is_empty() || pages <= page as u64 {
                break;
            }
        }
        messages.truncate(limit);
        Ok(messages)
    }

    /// One that is connected starts again; one that is not is connected, which makes a QR code where it needs one.
    pub(super) async fn restart(&self) -> Result<(), Failure> {
        match self.ask(self.post("instance", "restart")).await {
            Err(Failure::Refused(_) | Failure::NotReady) => self.ask(self.get("instance", "connect")).await.map(drop),
            answer => answer.map(drop),
        }
    }

    async fn ask(&self, request: RequestBuilder) -> Result<Value, Failure> {
        answer(request.timeout(self.timeout), MOST_BYTES_OF_A_WORD).await
    }

    fn get(&self, group: &str, action: &str) -> RequestBuilder {
        self.with_key(self.http.get(self.url(group, action)))
    }

    fn get_with(&self, group: &str, action: &str, (name, value): (&str, &str)) -> RequestBuilder {
        let mut url = self.url(group, action);
        url.query_pairs_mut().append_pair(name, value);
        self.with_key(self.http.get(url))
    }

    fn post(&self, group: &str, action: &str) -> RequestBuilder {
        self.with_key(self.http.post(self.url(group, action)))
    }

    fn with_key(&self, request: RequestBuilder) -> RequestBuilder {
        request.header("apikey", &self.api_key)
    }

    fn url(&self, group: &str, action: &str) -> Url {
        let mut url = self.base.clone();
        // Segments are percent-encoded here: an instance may be called `Tours Norte`.
        if let Ok(mut path) = url.path_segments_mut() {
            path.pop_if_empty().extend([group, action, &self.instance]);
        }
        url
    }
}

async fn answer(request: RequestBuilder, limit: usize) -> Result<Value, Failure> {
    let response = request.send().await.map_err(|error| Failure::Unreachable(explain(&error)))?;
    let status = response.status();
    let body = read(response, limit).await.map_err(Failure::Unreachable)?;
    if !status.is_success() {
        return Err(refusal(status, &body));
    }
    serde_json::from_slice(&body).map_err(|_| nonsense(&body))
}

/// What a status that is no success means. `response.message` is a text, a list of texts, or a list of objects about numbers.
fn refusal(status: StatusCode, body: &[u8]) -> Failure {
    let answer: Value = serde_json::from_slice(body).unwrap_or_default();
    let message = answer.pointer("/response/message").unwrap_or(&Value::Null);
    let number = status.as_u16();
    if mentions(message, "Connection Closed") || mentions(message, "reading 'onWhatsApp'") {
        return Failure::NotReady;
    }
    match number {
        300..=399 => Failure::Nonsense(format!("it redirects, with HTTP {number}")),
        401 | 403 => Failure::Unreachable(format!("HTTP {number}: Evolution refuses the key; check EVOLUTION_API_KEY")),
        404 if mentions(message, "instance does not exist") => Failure::Unreachable(
            "Evolution has no such instance; check WHATSAPP_EVOLUTION_INSTANCES and EVOLUTION_API_URL".to_owned(),
        ),
        400 if message
            .as_array()
            .is_some_and(|parts| parts.iter().any(|part| part["exists"] == Value::Bool(false))) =>
        {
            Failure::Refused("the number is not on WhatsApp".to_owned())
        }
        // Whatever WhatsApp threw, put into a text: nothing says that it would be thrown again.
        400 if mentions(message, "Error:") => Failure::Unreachable(format!("HTTP 400: {}", first_words(message))),
        408 | 425 | 429 | 500.. => Failure::Unreachable(format!("HTTP {number}: {}", first_words(message))),
        _ => Failure::Refused(first_words(message)),
    }
}

fn mentions(message: &Value, sought: &str) -> bool {
    match message {
        Value::String(text) => text.contains(sought),
        Value::Array(parts) => parts.iter().any(|part| mentions(part, sought)),
        _ => false,
    }
}

fn first_words(message: &Value) -> String {
    match message {
        Value::Array(parts) => parts.first().map(first_words).unwrap_or_default(),
        message => words(message).unwrap_or_else(|| "it does not say why".to_owned()),
    }
}

/// The rows of a list; those that are none are left out.
fn rows<T>(answer: &Value, read: impl Fn(&Value) -> Option<T>) -> Result<Vec<T>, Failure> {
    let rows = answer.as_array().ok_or_else(|| Failure::Nonsense("its answer is no list".to_owned()))?;
    Ok(rows.iter().filter_map(read).collect())
}

/// A row of `findChats`.
fn chat(row: &Value) -> Option<Listed> {
    let last = &row["lastMessage"];
    let jid = baileys::jid(row["remoteJid"].as_str()?)?;
    let is_group = jid.ends_with("@g.us");
    if jid.ends_with("@broadcast") || jid.ends_with("@newsletter") {
        return None;
    }
    // The chat stays under its own id; a LID and its number become one where chats are kept.
    let phone = match jid.ends_with("@lid") {
        true => baileys::digits_of(&baileys::person(&last["key"], jid.clone()).0).map(str::to_owned),
        false => baileys::digits_of(&jid).map(str::to_owned),
    };
    let name = words(&row["pushName"]);
    let last_message = baileys::content(&last["message"])
        .map(|content| LastMessage { text: content.text, timestamp: baileys::seconds(&last["messageTimestamp"]) });
    Some(Listed {
        is_group,
        name: name.clone().filter(|_| is_group),
        whatsapp_name: name.filter(|_| !is_group),
        profile_picture_url: picture(&row["profilePicUrl"]),
        phone,
        unread_count: row["unreadCount"].as_u64().and_then(|count| u32::try_from(count).ok()).unwrap_or_default(),
        last_message,
        chat_id: jid,
        ..Listed::default()
    })
}

/// A row of `fetchAllGroups`, and the answer of `findGroupInfos`.
fn group(row: &Value) -> Option<Listed> {
    let chat_id = baileys::jid(row["id"].as_str()?).filter(|jid| jid.ends_with("@g.us"))?;
    let participants = row["participants"].as_array().map(|all| all.iter().filter_map(participant).collect());
    Some(Listed {
        chat_id,
        is_group: true,
        name: words(&row["subject"]),
        profile_picture_url: picture(&row["pictureUrl"]),
        description: baileys::text(&row["desc"]),
        participants,
        ..Listed::default()
    })
}

/// As the Node service has them.
fn participant(row: &Value) -> Option<Value> {
    let jid = baileys::jid(row["id"].as_str()?)?;
    let numbers = [&row["phoneNumber"], &row["id"]].into_iter().filter_map(Value::as_str).filter_map(baileys::jid);
    let phone = numbers.filter_map(|jid| baileys::digits_of(&jid).map(str::to_owned)).next();
    Some(json!({
        "id": jid,
        "phone": phone,
        "formattedPhone": phone.as_ref().map(|digits| format!("+{digits}")),
        "name": words(&row["name"]),
        "isAdmin": row["admin"].is_string(),
    }))
}

fn picture(value: &Value) -> Option<String> {
    baileys::text(value).filter(|url| url.starts_with("http") && url.len() <= 2_048)
}

fn remembered(item: &Value) -> Option<Remembered> {
    let record = baileys::read(item).ok()?;
    Some(Remembered {
        written_id: record.id.clone(),
        id: record.id,
        from_me: record.is_ours,
        text: record.text,
        timestamp: record.sent_at,
        sender_name: record.sender_name,
        sender_phone: record.sender_phone,
        media_type: record.media_type,
        reply_to: record.quoted,
    })
}

#[cfg(test)]
mod tests {
    use recado_kernel::config::BridgeKind;
    use recado_sandbox::{Evolution as StandIn, EvolutionFault, EvolutionGroup, EvolutionOptions, EvolutionWrites};

    use super::*;

    const CUSTOMER: &str = "593991234567";

    async fn pair() -> (StandIn, Evolution) {
        let options = EvolutionOptions { instance: "Tours Norte/1".to_owned(), ..EvolutionOptions::default() };
        let stand_in = StandIn::start(options).await.expect("a free port");
        let settings = BridgeSettings {
            url: stand_in.url().to_owned(),
            timeout: Duration::from_millis(500),
            kind: BridgeKind::Node,
        };
        let evolution = Evolution::new(&settings, stand_in.instance(), &stand_in.api_key().into());
        let evolution = evolution.expect("usable settings");
        (stand_in, evolution)
    }

    #[tokio::test]
    async fn texts_go_to_whom_they_are_for() {
        let (stand_in, evolution) = pair().await;
        for (to, jid) in [
            (Target::Phone(CUSTOMER.to_owned()), "593991234567@s.whatsapp.net"),
            (Target::Group("1203-99@g.us".to_owned()), "1203-99@g.us"),
            (Target::Chat("37881745801364@lid".to_owned()), "37881745801364@lid"),
        ] {
            let sent = evolution.send(&to, "Hola 👋").await.expect("it is taken");
            let last = stand_in.messages().pop().expect("it arrived");
            assert_eq!((last.jid.as_str(), last.text.as_str(), Some(last.id)), (jid, "Hola 👋", sent.message_id));
        }
    }

    #[tokio::test]
    async fn every_fault_of_sending_says_whether_the_text_may_have_left() {
        let (stand_in, evolution) = pair().await;
        let to = Target::Phone(CUSTOMER.to_owned());
        for (fault, expected, arrives) in [
            (EvolutionFault::NotOnWhatsapp, "Refused", false),
            (EvolutionFault::Schema400, "Refused", false),
            (EvolutionFault::StringifiedError400, "Unreachable", false),
            (EvolutionFault::ConnectionClosed, "NotReady", false),
            (EvolutionFault::NeverStarted, "NotReady", false),
            (EvolutionFault::Unauthorized, "Unreachable", false),
            (EvolutionFault::UnknownInstance, "Unreachable", false),
            (EvolutionFault::status(429), "Unreachable", false),
            (EvolutionFault::status(500), "Unreachable", false),
            (EvolutionFault::status(504), "Unknown", false),
            (EvolutionFault::Slow { delay: Duration::from_secs(5) }, "Unknown", true),
            (EvolutionFault::AcceptThenHang, "Unknown", true),
            (EvolutionFault::AcceptThenDrop, "Unknown", true),
            (EvolutionFault::Drop, "Unknown", false),
        ] {
            stand_in.clear();
            stand_in.misbehave_times(fault.clone(), 1);
            let failure = evolution.send(&to, "Hola").await.expect_err("it fails");
            assert!(format!("{failure:?}").starts_with(expected), "{fault:?}: {failure:?}");
            assert_eq!(stand_in.messages().len(), usize::from(arrives), "{fault:?}");
            stand_in.behave();
        }
        drop(stand_in);
        assert!(matches!(evolution.send(&to, "Hola").await, Err(Failure::Unreachable(_))), "nothing listens");
    }

    /// S003-20: every question has a failure, and none that says it would never work because of an outage.
    #[tokio::test]
    async fn every_fault_of_a_question_has_its_failure() {
        let (stand_in, evolution) = pair().await;
        for fault in [
            EvolutionFault::Unauthorized,
            EvolutionFault::UnknownInstance,
            EvolutionFault::NoRecords,
            EvolutionFault::status(500),
            EvolutionFault::Drop,
        ] {
            stand_in.misbehave(fault.clone());
            for failure in [
                evolution.chats().await.map(drop),
                evolution.groups().await.map(drop),
                evolution.messages("593991234567@c.us", 10).await.map(drop),
                evolution.status().await.map(drop),
            ] {
                assert!(matches!(failure, Err(Failure::Unreachable(_))), "{fault:?}: {failure:?}");
            }
            stand_in.behave();
        }
        stand_in.misbehave(EvolutionFault::Status { status: 200, body: json!("<html>"), retry_after: None });
        assert!(matches!(evolution.chats().await, Err(Failure::Nonsense(_))));
    }

    #[tokio::test]
    async fn it_tells_what_it_knows() {
        let (stand_in, evolution) = pair().await;
        stand_in.add_group(EvolutionGroup::new("1203", "Galápagos", &[CUSTOMER]));
        for number in 0..250 {
            stand_in.hears(EvolutionWrites::person(CUSTOMER, &format!("Hola {number}")));
        }
        evolution.send(&Target::Phone(CUSTOMER.to_owned()), "Sí").await.expect("it is taken");
        stand_in.hears(EvolutionWrites {
            jid: "77@lid".to_owned(),
            jid_alt: None,
            ..EvolutionWrites::person("1", "?")
        });

        let chats = evolution.chats().await.expect("chats");
        let person = chats.iter().find(|chat| chat.chat_id == "593991234567@c.us").expect("the customer's chat");
        assert_eq!(person.last_message.as_ref().map(|last| last.text.as_str()), Some("Sí"));
        assert_eq!((person.phone.as_deref(), person.is_group), (Some(CUSTOMER), false));
        let lid = chats.iter().find(|chat| chat.chat_id == "77@lid").expect("the chat of the LID");
        assert_eq!(lid.phone, None);
        let groups = evolution.groups().await.expect("groups");
        assert_eq!((groups.len(), groups[0].name.as_deref()), (1, Some("Galápagos")));
        let group = evolution.group_info("1203@g.us").await.expect("a group");
        let participants = group.participants.expect("they are told");
        assert_eq!((participants.len(), &participants[0]["phone"]), (1, &json!(CUSTOMER)));
        assert!(matches!(evolution.group_info("99@g.us").await, Err(Failure::Refused(_))));

        let history = evolution.messages("593991234567@c.us", 1_000).await.expect("a history");
        assert_eq!((history.len(), history[0].text.as_str()), (251, "Hola 0"));
        assert!(history[250].from_me && history[250].text == "Sí");
        let newest = evolution.messages("593991234567@c.us", 120).await.expect("a history");
        assert_eq!((newest.len(), newest[0].text.as_str()), (120, "Hola 131"));
        assert!(matches!(evolution.messages("1@c.us", 10).await, Err(Failure::Refused(_))));

        let status = evolution.status().await.expect("a status");
        assert_eq!((status.is_ready, status.phone_number.as_deref()), (true, Some("593999000111")));
        assert_eq!(evolution.qr().await, Ok(None));
        stand_in.shows_qr("2@abc");
        assert_eq!(evolution.qr().await, Ok(Some("2@abc".to_owned())));
        assert_eq!(evolution.status().await.map(|status| (status.is_ready, status.has_qr)), Ok((false, true)));
        stand_in.connects();
        evolution.restart().await.expect("it starts again");
        assert_eq!(stand_in.restarts(), 1);
    }
}
