//! What an instance knows besides what it was given to send: its session, groups, and what people wrote.

use chrono::{DateTime, Utc};
use serde_json::{Value, json};

/// A message as a person writes it.
#[derive(Debug, Clone, Default)]
pub struct EvolutionWrites {
    /// The chat: `…@s.whatsapp.net`, `…@g.us` or `…@lid`.
    pub jid: String,
    /// The number behind a LID, where WhatsApp tells it.
    pub jid_alt: Option<String>,
    /// What it says.
    pub text: String,
    /// In a group, who.
    pub participant: Option<String>,
    /// As the writer calls herself.
    pub push_name: Option<String>,
    /// By default a new one.
    pub id: Option<String>,
    /// By default now.
    pub at: Option<DateTime<Utc>>,
}

impl EvolutionWrites {
    /// A person writes in a chat of her own.
    pub fn person(digits: &str, text: &str) -> Self {
        Self { jid: format!("{digits}@s.whatsapp.net"), text: text.to_owned(), ..Self::default() }
    }
}

/// A group of the telephone.
#[derive(Debug, Clone)]
pub struct EvolutionGroup {
    /// `…@g.us`
    pub jid: String,
    /// Its name.
    pub subject: String,
    /// Digits of its members.
    pub participants: Vec<String>,
}

impl EvolutionGroup {
    /// `id` is what stands before `@g.us`.
    pub fn new(id: &str, subject: &str, participants: &[&str]) -> Self {
        let participants = participants.iter().map(|&digits| digits.to_owned()).collect();
        Self { jid: format!("{id}@g.us"), subject: subject.to_owned(), participants }
    }

    /// A row of `fetchAllGroups`.
    pub(super) fn row(&self) -> Value {
        let members =
            self.participants.iter().map(|digits| json!({"id": format!("{digits}@s.whatsapp.net"), "admin": null}));
        json!({
            "id": self.jid,
            "subject": self.subject,
            "subjectTime": 1_768_919_400,
            "pictureUrl": null,
            "size": self.participants.len(),
            "creation": 1_768_919_400,
            "desc": null,
            "restrict": false,
            "announce": false,
            "participants": members.collect::<Vec<_>>(),
        })
    }
}

/// Something that a person wrote.
#[derive(Debug, Clone)]
pub(super) struct Heard {
    pub(super) id: String,
    pub(super) jid: String,
    pub(super) at: DateTime<Utc>,
    /// The record as histories and webhooks have it.
    pub(super) record: Value,
}

impl Heard {
    pub(super) fn new(writes: EvolutionWrites, id: String, at: DateTime<Utc>, instance_id: &str) -> Self {
        let EvolutionWrites { jid, jid_alt, text, participant, push_name, .. } = writes;
        let mut key = json!({"id": id, "remoteJid": jid, "fromMe": false});
        for (name, value) in [("remoteJidAlt", jid_alt), ("participant", participant)] {
            if let Some(value) = value {
                key[name] = json!(value);
            }
        }
        let record = json!({
            "key": key,
            "pushName": push_name,
            "message": {"conversation": text},
            "messageType": "conversation",
            "messageTimestamp": at.timestamp(),
            "source": "android",
            "instanceId": instance_id,
            "contextInfo": null,
            "MessageUpdate": [],
        });
        Self { id, jid, at, record }
    }
}

/// Everything that the instance knows.
#[derive(Debug, Default)]
pub(super) struct World {
    pub(super) heard: Vec<Heard>,
    pub(super) groups: Vec<EvolutionGroup>,
    /// The QR code that waits to be scanned; the telephone is not linked then.
    pub(super) qr: Option<String>,
    pub(super) is_closed: bool,
    pub(super) restarts: usize,
    /// How many of the messages that were sent have been told of.
    pub(super) echoed: usize,
}

impl World {
    /// `open`, `connecting` or `close`.
    pub(super) fn state(&self) -> &'static str {
        match (self.is_closed, &self.qr) {
            (true, _) => "close",
            (false, Some(_)) => "connecting",
            (false, None) => "open",
        }
    }
}
