//! What a bridge knows: its session, the chats, and what was said in them.

use std::collections::HashMap;

use chrono::{DateTime, Utc};
use serde_json::{Value, json};

/// A chat of the telephone.
#[derive(Debug, Clone)]
pub struct BridgeChat {
    /// WhatsApp's id: `…@c.us`, `…@g.us` or `…@lid`.
    pub chat_id: String,
    /// As the telephone shows it.
    pub name: String,
    /// As the person calls herself; a group has none.
    pub whatsapp_name: Option<String>,
    /// Of a group.
    pub description: Option<String>,
    /// Digits of a group's members.
    pub participants: Vec<String>,
    /// The number of a person of whom only a LID is the id, where WhatsApp tells it.
    pub phone: Option<String>,
    /// How many messages were not read.
    pub unread: u32,
}

impl BridgeChat {
    /// A person.
    pub fn person(digits: &str, name: &str) -> Self {
        let phone = Some(digits.to_owned());
        Self { whatsapp_name: Some(name.to_owned()), phone, ..Self::new(&format!("{digits}@c.us"), name) }
    }

    /// A group.
    pub fn group(id: &str, name: &str, participants: &[&str]) -> Self {
        let participants = participants.iter().map(|&digits| digits.to_owned()).collect();
        Self { participants, ..Self::new(&format!("{id}@g.us"), name) }
    }

    /// A person of whom only a LID is known.
    pub fn lid(id: &str, name: &str) -> Self {
        Self { whatsapp_name: Some(name.to_owned()), ..Self::new(&format!("{id}@lid"), name) }
    }

    fn new(chat_id: &str, name: &str) -> Self {
        Self {
            chat_id: chat_id.to_owned(),
            name: name.to_owned(),
            whatsapp_name: None,
            description: None,
            participants: Vec::new(),
            phone: None,
            unread: 0,
        }
    }

    fn is_group(&self) -> bool {
        self.chat_id.ends_with("@g.us")
    }
}

/// Something that was said.
#[derive(Debug, Clone)]
pub(super) struct Said {
    pub(super) id: String,
    pub(super) chat_id: String,
    pub(super) from_me: bool,
    pub(super) text: String,
    pub(super) at: DateTime<Utc>,
    pub(super) sender: Option<(String, String)>,
    pub(super) reply_to: Option<String>,
}

/// Where webhooks are posted.
#[derive(Clone, Debug)]
pub(super) struct PostsTo {
    pub(super) url: String,
    /// Shown as a bearer.
    pub(super) secret: Option<String>,
}

/// Everything that the bridge knows.
#[derive(Debug, Default)]
pub(super) struct World {
    pub(super) qr: Option<String>,
    pub(super) logged_out: bool,
    pub(super) push_name: String,
    pub(super) number: String,
    pub(super) chats: Vec<BridgeChat>,
    pub(super) said: HashMap<String, Vec<Said>>,
    /// Where its webhooks go. `None`: its owner posts them.
    pub(super) posts_to: Option<PostsTo>,
    /// Ours that have not come back yet.
    pub(super) echoes: Vec<Said>,
    /// How often each path was asked.
    pub(super) asked: HashMap<String, usize>,
    /// How often the session was started again.
    pub(super) restarts: usize,
    /// Serialized ids in histories, as `whatsapp-web.js` has them, where webhooks have the bare ones.
    pub(super) serializes_ids: bool,
}

impl World {
    pub(super) fn chat(&self, chat_id: &str) -> Option<&BridgeChat> {
        self.chats.iter().find(|chat| chat.chat_id == chat_id)
    }

    /// A chat comes to be when something is said in it.
    pub(super) fn say(&mut self, said: Said) {
        if self.chat(&said.chat_id).is_none() {
            let name = said.chat_id.split('@').next().unwrap_or_default().to_owned();
            self.chats.push(BridgeChat::new(&said.chat_id, &name));
        }
        self.said.entry(said.chat_id.clone()).or_default().push(said);
    }

    /// The row of `/api/chats`.
    pub(super) fn listed(&self, chat: &BridgeChat) -> Value {
        let last = self.said.get(&chat.chat_id).and_then(|said| said.last());
        let last = last.map(|last| json!({"text": last.text, "timestamp": last.at.timestamp()}));
        let mut row = json!({
            "chat_id": chat.chat_id,
            "type": if chat.is_group() { "group" } else { "individual" },
            "name": chat.name,
            "unread_count": chat.unread,
            "profile_picture_url": null,
            "last_message": last,
        });
        if chat.is_group() {
            row["description"] = json!(chat.description);
            row["participants"] = chat.participants.iter().map(|digits| participant(digits)).collect();
        } else {
            row["whatsapp_name"] = json!(chat.whatsapp_name);
            row["phone"] = json!(chat.phone.as_ref().map(|digits| format!("+{digits}")));
        }
        row
    }

    /// The row of `/api/groups` and the answer of `/api/group-info/`.
    pub(super) fn group(&self, chat: &BridgeChat) -> Value {
        let mut row = self.listed(chat);
        row["participants_count"] = json!(chat.participants.len());
        if let Some(row) = row.as_object_mut() {
            row.remove("type");
        }
        row
    }

    /// The newest `limit` of a chat, oldest first, as `fetchMessages` has them.
    pub(super) fn history(&self, chat_id: &str, limit: usize) -> Vec<Value> {
        let said = self.said.get(chat_id).map_or(&[][..], Vec::as_slice);
        said[said.len().saturating_sub(limit)..].iter().map(|said| self.remembered(said)).collect()
    }

    fn remembered(&self, said: &Said) -> Value {
        let id = match (&said.sender, self.serializes_ids) {
            (_, false) => said.id.clone(),
            (Some((phone, _)), true) if said.chat_id.ends_with("@g.us") => {
                format!("{}_{}_{}_{phone}@c.us", said.from_me, said.chat_id, said.id)
            }
            (_, true) => format!("{}_{}_{}", said.from_me, said.chat_id, said.id),
        };
        json!({
            "id": id,
            "whatsapp_id": id,
            "phone": digits(&said.chat_id),
            "chat_id": said.chat_id,
            "chat_type": if said.chat_id.ends_with("@g.us") { "group" } else { "individual" },
            "type": if said.from_me { "out" } else { "in" },
            "content": said.text,
            "timestamp": said.at.timestamp(),
            "from_me": said.from_me,
            "sender_name": said.sender.as_ref().map(|(_, name)| name),
            "sender_phone": said.sender.as_ref().map(|(phone, _)| phone),
            "media_type": "chat",
            "reply_to_whatsapp_id": said.reply_to,
        })
    }

    /// The webhook `process-message` about something that was said.
    pub(super) fn webhook(&self, said: &Said) -> Value {
        let chat = self.chat(&said.chat_id);
        json!({
            "id": said.id,
            "phone": digits(&said.chat_id),
            "chat_id": said.chat_id,
            "chat_type": if said.chat_id.ends_with("@g.us") { "group" } else { "individual" },
            "chat_name": chat.map(|chat| &chat.name),
            "whatsapp_name": chat.and_then(|chat| chat.whatsapp_name.as_ref()),
            "profile_picture_url": null,
            "text": said.text,
            "timestamp": said.at.timestamp(),
            "from_me": said.from_me,
            "sender_name": said.sender.as_ref().map(|(_, name)| name),
            "sender_phone": said.sender.as_ref().map(|(phone, _)| phone),
            "media_type": "chat",
            "reply_to_whatsapp_id": said.reply_to,
        })
    }
}

fn participant(digits: &str) -> Value {
    json!({
        "id": format!("{digits}@c.us"),
        "phone": digits,
        "formattedPhone": format!("+{digits}"),
        "name": null,
        "pushname": null,
        "displayName": format!("+{digits}"),
        "isAdmin": false,
        "profile_picture_url": null,
    })
}

/// The Node service has the digits of any id here, those of a LID and of a group too.
fn digits(chat_id: &str) -> &str {
    chat_id.split('@').next().unwrap_or_default()
}
