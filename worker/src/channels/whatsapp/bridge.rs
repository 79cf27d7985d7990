//! WhatsApp by way of the bridge that conversations go through (`WHATSAPP_PROVIDER=bridge`).
//!
//! A bridge knows no idempotency key. What became of a text that got no answer is looked for in the chat's history (d27). While its
//! session calls itself connected and nothing leaves, messages go to the person's next channel at once.

use std::time::Duration;

use async_trait::async_trait;
use recado_conversations::bridge::{Bridge, Failure, Target, moment};
use recado_conversations::pacing::{Pacing, Purpose};
use recado_conversations::sends;
use recado_conversations::sessions::{self, BRIDGE};
use recado_kernel::clock::{Clock, Timestamp};
use recado_kernel::db::{self, Db};
use recado_kernel::ids::Id;
use recado_notifications::fallback::FailureClass;

use super::super::failure::{Fault, SendFailure};
use super::super::message::Message;
use super::super::provider::{Likeness, Lookup, Provider, Record, SendReceipt};
use super::{API_ERROR, CLOCK_TOLERANCE, HTTP_ERROR, TIMEOUT, number};

/// How many of a chat's newest messages are looked at for one of ours.
const LOOK_BACK: u32 = 50;

/// The session is not to be trusted, or the number has sent enough.
const RESTS: &str = "WHATSAPP_SESSION_RESTS";

const ZOMBIE: &str = "the WhatsApp session calls itself connected, and nothing leaves; it rests";
const SPENT: &str = "the number has sent as much as WHATSAPP_DAILY_LIMIT allows in a day";

pub(in crate::channels) struct ThroughBridge {
    bridge: Bridge,
    db: Db,
    clock: Clock,
    pacing: Pacing,
}

impl ThroughBridge {
    pub(in crate::channels) fn new(bridge: Bridge, db: Db, clock: Clock, pacing: Pacing) -> Self {
        Self { bridge, db, clock, pacing }
    }

    /// Why nothing is given to the session now, if so.
    async fn reason_to_rest(&self) -> db::Result<Option<&'static str>> {
        let now = self.clock.now();
        let mut session = self.db.read().await?;
        if !sessions::is_used(&mut session, BRIDGE, now).await? {
            return Ok(Some(ZOMBIE));
        }
        let is_spent = !sessions::wait(&mut session, BRIDGE, (self.pacing, Purpose::Other), now).await?.is_zero();
        Ok(is_spent.then_some(SPENT))
    }

    /// Takes a place for a text within what the number may send in a day. `Err` within: why nothing is given to the session now.
    async fn take_place(&self, chat_id: &str, text: &str) -> db::Result<Result<Id, &'static str>> {
        let now = self.clock.now();
        let mut session = self.db.begin().await?;
        if !sessions::is_used(&mut session, BRIDGE, now).await? {
            return Ok(Err(ZOMBIE));
        }
        let pacing = (self.pacing, Purpose::Other);
        let place = sessions::take_place(&mut session, BRIDGE, (chat_id, text), pacing, now).await?;
        session.commit().await?;
        Ok(place.map_err(|_| SPENT))
    }

    async fn settle_place(&self, place: Id, is_given: bool) -> db::Result<()> {
        let mut session = self.db.write().await?;
        match is_given {
            true => sends::given(&mut session, place, None, self.clock.now()).await?,
            false => sends::give_back(&mut session, place).await?,
        }
        session.commit().await
    }
}

#[async_trait]
impl Provider for ThroughBridge {
    async fn send(&self, message: &Message) -> Result<SendReceipt, SendFailure> {
        let target = Target::Phone(number(message)?);
        // A database that is away says nothing against the session.
        let place = match self.take_place(&target.chat_id(), &message.body).await {
            Ok(Err(reason)) => return Err(SendFailure::new(FailureClass::Misconfigured, RESTS, reason)),
            Ok(Ok(place)) => Some(place),
            Err(_) => None,
        };
        let sent = self.bridge.send(&target, &message.body).await;
        let is_given = matches!(sent, Ok(_) | Err(Failure::Unknown));
        if let Some(place) = place
            && let Err(error) = self.settle_place(place, is_given).await
        {
            tracing::warn!(%error, notification.id = %message.notification_id, "a text that was sent could not be noted");
        }
        match sent {
            Ok(sent) => {
                Ok(SendReceipt { provider_message_id: sent.message_id, status: Some(200), ..SendReceipt::default() })
            }
            Err(failure) => Err(meaning(&failure)),
        }
    }

    async fn check(&self) -> Result<String, SendFailure> {
        if let Ok(Some(reason)) = self.reason_to_rest().await {
            return Err(SendFailure::new(FailureClass::Misconfigured, RESTS, reason));
        }
        let status = self.bridge.status().await.map_err(|failure| meaning(&failure))?;
        let is_ready = status.is_ready.then(|| "the bridge was reached, and its session is ready".to_owned());
        is_ready.ok_or_else(|| meaning(&Failure::NotReady))
    }

    async fn find(&self, message: &Message, since: Timestamp) -> Lookup {
        let Ok(digits) = number(message) else { return Lookup::Records(Vec::new()) };
        let chat_id = Target::Phone(digits).chat_id();
        let history = match self.bridge.messages(&chat_id, LOOK_BACK).await {
            Ok(history) => history,
            // It knows no such chat, so nothing was said in it.
            Err(Failure::Refused(_)) => return Lookup::Records(Vec::new()),
            Err(_) => return Lookup::CannotTell,
        };
        let earliest = since - CLOCK_TOLERANCE.max(Duration::from_secs(1));
        let is_ours = |text: &str| text.trim() == message.body.trim();
        let records = history
            .into_iter()
            .filter(|said| said.from_me && is_ours(&said.text))
            .filter(|said| said.timestamp.and_then(moment).is_some_and(|at| at >= earliest))
            .map(|said| Record { provider_message_id: said.id, likeness: Likeness::Recipient });
        Lookup::Records(records.collect())
    }
}

fn meaning(failure: &Failure) -> SendFailure {
    let reason = failure.to_string();
    let (class, code, fault) = match failure {
        Failure::NotReady => (FailureClass::Transient, API_ERROR, Fault::Account),
        Failure::Refused(_) => (FailureClass::Permanent, API_ERROR, Fault::Message),
        Failure::Unknown => (FailureClass::Unknown, TIMEOUT, Fault::Message),
        Failure::Unreachable(_) => (FailureClass::Transient, HTTP_ERROR, Fault::Account),
        Failure::Nonsense(_) => (FailureClass::Misconfigured, HTTP_ERROR, Fault::Account),
    };
    SendFailure { fault, ..SendFailure::new(class, code, reason) }
}
