//! What is to be sent, and to whom.

use std::fmt;

use recado_kernel::clock::Timestamp;
use recado_kernel::ids::Id;
use recado_notifications::channels::Channel;

/// One message, as it was rendered at intake, for one person on one channel. `Debug` shows only its ids.
#[derive(Clone)]
pub(crate) struct Message {
    pub(crate) notification_id: Id,
    pub(crate) correlation_id: Id,
    pub(crate) recipient: Recipient,
    /// Subject of an email, title of a push; WhatsApp has none.
    pub(crate) subject: String,
    pub(crate) body: String,
    /// The body is HTML; otherwise what looks like it is only text.
    pub(crate) is_html: bool,
    /// What a click on a push opens.
    pub(crate) click_url: Option<String>,
    /// With which the person switches this channel off (RFC 8058); only emails carry it.
    pub(crate) unsubscribe_url: Option<String>,
    /// The mail's sender, `Name <address>`; `None` for the account's own.
    pub(crate) sender: Option<String>,
}

/// Whom to reach, and thereby on which channel.
#[derive(Clone)]
pub(crate) enum Recipient {
    Email(String),
    /// E.164, with its `+`.
    Whatsapp(String),
    /// Every device of the person.
    Push(Vec<Subscription>),
}

/// A browser that asked for pushes (RFC 8030). The endpoint is a secret: who knows it may send to that browser.
#[derive(Clone)]
pub(crate) struct Subscription {
    pub(crate) id: Id,
    pub(crate) endpoint: String,
    /// The browser's public key, base64url.
    pub(crate) p256dh: String,
    /// Its authentication secret, base64url.
    pub(crate) auth: String,
    /// Since when no push has reached it; `None` when the last one did.
    pub(crate) failing_since: Option<Timestamp>,
}

impl Recipient {
    pub(crate) fn channel(&self) -> Channel {
        match self {
            Self::Email(_) => Channel::Email,
            Self::Whatsapp(_) => Channel::Whatsapp,
            Self::Push(_) => Channel::Push,
        }
    }
}

impl fmt::Debug for Message {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Message")
            .field("notification_id", &self.notification_id)
            .field("correlation_id", &self.correlation_id)
            .field("channel", &self.recipient.channel())
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn neither_addresses_nor_words_show() {
        let push = Recipient::Push(vec![Subscription {
            id: Id::of_name("device"),
            endpoint: "https://push.example.com/secret".into(),
            p256dh: "key".into(),
            auth: "secret".into(),
            failing_since: None,
        }]);
        for recipient in
            [Recipient::Email("maria@example.com".into()), Recipient::Whatsapp("+593991234567".into()), push]
        {
            let message = Message {
                notification_id: Id::of_name("notification"),
                correlation_id: Id::of_name("correlation"),
                recipient,
                subject: "Su vehículo está listo".into(),
                body: "Hola, María".into(),
                is_html: false,
                click_url: Some("https://taller.example.com/ordenes/7".into()),
                unsubscribe_url: None,
                sender: None,
            };
            let shown = format!("{message:?}");
            for private in ["maria", "593", "secret", "Hola", "vehículo", "taller"] {
                assert!(!shown.contains(private), "{shown}");
            }
        }
    }
}
