//! Tells an operator of a request, by one means of those that are left: the group, the number, the contact phone, or mail.
//!
//! What may have left through the bridge is never sent again by guesswork. When a run was cut off, the chat's history tells; when
//! the bridge did not answer in time, only the echo does (d31a).

use std::sync::Arc;
use std::time::Duration;

use recado_conversations::bridge::{Bridge, Failure, Target};
use recado_conversations::jobs::TellOperator;
use recado_conversations::notices::{self, Means, Next, NextNotice, Notice, Way};
use recado_kernel::clock::Timestamp;
use recado_kernel::ids::Id;
use recado_notifications::channels::Channel;
use recado_notifications::fallback::FailureClass;
use recado_queue::tasks::Claimed;
use serde_json::json;

use super::ConversationJobs;
use crate::channels::{Message, Recipient};
use crate::registry::{JobError, Outcome};

/// What a run asks of a chat's history after an earlier one was cut off: our words are among the newest.
const LOOK_BACK: u32 = 50;

/// How long after words were about to leave a history is believed when it does not have them: by then a bridge that got them has
/// sent them, and its own time limits are over.
const SETTLED_AFTER: Duration = Duration::from_secs(60);

pub(super) async fn tell(
    conversations: Arc<ConversationJobs>,
    task: Arc<Claimed>,
    TellOperator { request_id }: TellOperator,
) -> Result<Outcome, JobError> {
    let context = &conversations.context;
    let mut session = context.db.begin().await?;
    let next = notices::prepare(&mut session, request_id, context.clock.now()).await?;
    session.commit().await?;
    match next {
        NextNotice::Nothing => Ok(Outcome::Done(json!({ "told": false, "reason": "nothing is left to tell" }))),
        NextNotice::NoWay => {
            tracing::warn!(request.id = %request_id, "there is no way to the operator of reservation request {request_id}");
            Ok(Outcome::Done(json!({ "told": false, "reason": "there is no way to the operator" })))
        }
        NextNotice::InDoubt { way, since, digest } => {
            look_up(&conversations, &task, request_id, &way, (since, digest)).await
        }
        NextNotice::Tell { way, notice, has_mail, failures } => {
            let outcome = conversations.send(request_id, &way, (&notice, has_mail)).await;
            conversations.settle(&task, request_id, &way, &outcome, failures).await
        }
    }
}

impl ConversationJobs {
    /// Keeps what came of an attempt, and says how the task goes on.
    async fn settle(
        &self,
        task: &Claimed,
        request: Id,
        way: &Way,
        outcome: &notices::Outcome,
        failures: u32,
    ) -> Result<Outcome, JobError> {
        let now = self.context.clock.now();
        let jitter = rand::random_range(-1.0..=1.0);
        let next = notices::next(way.means, outcome, failures, self.context.config.retry, jitter);
        let mut session = self.context.db.begin().await?;
        notices::record(&mut session, request, way, (outcome, &next), now).await?;
        session.commit().await?;
        log(request, way.means, outcome);
        let later = |wait: Duration, because: String| Outcome::Later {
            at: now + wait,
            lane: task.lane,
            because: Some(because),
        };
        Ok(match next {
            Next::Told => Outcome::Done(json!({ "told": true, "means": way.means })),
            Next::Again(wait) | Next::Wait(wait) => later(wait, outcome.reason().to_owned()),
            Next::Spent(_) => later(Duration::ZERO, outcome.reason().to_owned()),
            Next::InDoubt => Outcome::Done(json!({ "told": null, "reason": "the echo will tell" })),
        })
    }

    async fn send(&self, request: Id, way: &Way, (notice, has_mail): (&Notice, bool)) -> notices::Outcome {
        match way.means {
            Means::Email => self.mail(request, &way.to, notice).await,
            Means::Group | Means::Number | Means::Phone => self.write(&way.to, &notice.text(), has_mail).await,
        }
    }

    async fn write(&self, chat_id: &str, text: &str, has_mail: bool) -> notices::Outcome {
        let Some(bridge) = &self.bridge else {
            return notices::Outcome::NoBridge("WHATSAPP_SERVICE_URL is not set".to_owned());
        };
        let Some(target) = Target::of(chat_id) else {
            return notices::Outcome::Refused("WhatsApp has no such chat".to_owned());
        };
        if !self.is_session_used().await {
            return notices::Outcome::NoBridge("the session is connected, and nothing leaves; it rests".to_owned());
        }
        // A database that is away says nothing against the text.
        let place = match self.take_place(&target.chat_id(), text).await {
            Ok(Err(wait)) => return notices::Outcome::Limited { wait, has_mail },
            Ok(Ok(place)) => Some(place),
            Err(_) => None,
        };
        let sent = bridge.send(&target, text).await;
        if let Some(place) = place {
            self.settle_place(place, matches!(sent, Ok(_) | Err(Failure::Unknown))).await;
        }
        match sent {
            Ok(sent) => notices::Outcome::Accepted { message_id: sent.message_id },
            Err(failure @ Failure::Refused(_)) => notices::Outcome::Refused(failure.to_string()),
            Err(failure @ Failure::Unknown) => notices::Outcome::Unknown(failure.to_string()),
            Err(failure @ (Failure::NotReady | Failure::Unreachable(_) | Failure::Nonsense(_))) => {
                notices::Outcome::Passing(failure.to_string())
            }
        }
    }

    /// Through the first account that takes it. A mail of unknown outcome goes again: it has the same Message-ID.
    async fn mail(&self, request: Id, address: &str, notice: &Notice) -> notices::Outcome {
        let Ok(accounts) = self.providers.accounts(None, Channel::Email, None).await else {
            return notices::Outcome::Passing("the database did not answer".to_owned());
        };
        let message = mail(request, address, notice);
        let mut last = notices::Outcome::Refused("no mail server is configured".to_owned());
        for account in accounts {
            last = match self.providers.send(&account, &message).await {
                Ok(receipt) => return notices::Outcome::Accepted { message_id: receipt.provider_message_id },
                Err(failure) => match failure.class {
                    FailureClass::Permanent => return notices::Outcome::Refused(failure.reason),
                    FailureClass::Unknown => return notices::Outcome::Passing(failure.reason),
                    FailureClass::Transient | FailureClass::Misconfigured => notices::Outcome::Passing(failure.reason),
                },
            };
        }
        last
    }
}

fn mail(request: Id, address: &str, notice: &Notice) -> Message {
    Message {
        notification_id: request,
        correlation_id: request,
        recipient: Recipient::Email(address.to_owned()),
        subject: notice.subject(),
        body: notice.mail(),
        is_html: false,
        click_url: None,
        unsubscribe_url: None,
        sender: None,
    }
}

/// An earlier run was cut off when words were about to leave: the history of the chat tells whether they did. One that cannot be
/// asked, or that knows of nothing at all, proves nothing; then the echo settles it, or staff do.
async fn look_up(
    conversations: &ConversationJobs,
    task: &Claimed,
    request: Id,
    way: &Way,
    (since, digest): (Timestamp, Option<Id>),
) -> Result<Outcome, JobError> {
    let now = conversations.context.clock.now();
    let settled_at = since + SETTLED_AFTER;
    let found = match &conversations.bridge {
        Some(bridge) => find(bridge, &way.to, digest).await,
        None => Found::Unknown,
    };
    let outcome = match found {
        Found::There(id) => notices::Outcome::Accepted { message_id: Some(id) },
        _ if now < settled_at => {
            let because = Some("whether the notice left is looked up".to_owned());
            return Ok(Outcome::Later { at: settled_at, lane: task.lane, because });
        }
        Found::NotThere => notices::Outcome::Lost,
        Found::Unknown => notices::Outcome::Unknown("an earlier run was cut off".to_owned()),
    };
    conversations.settle(task, request, way, &outcome, 0).await
}

/// What a history says of our words.
enum Found {
    There(String),
    NotThere,
    Unknown,
}

async fn find(bridge: &Bridge, chat_id: &str, digest: Option<Id>) -> Found {
    let Ok(history) = bridge.messages(chat_id, LOOK_BACK).await else { return Found::Unknown };
    let ours = history.iter().rev().find(|message| message.from_me && Some(notices::digest(&message.text)) == digest);
    match ours {
        Some(message) => Found::There(message.id.clone()),
        None if history.is_empty() => Found::Unknown,
        None => Found::NotThere,
    }
}

fn log(request: Id, means: Means, outcome: &notices::Outcome) {
    let (means, reason) = (means.as_str(), outcome.reason());
    match outcome {
        notices::Outcome::Accepted { .. } => {
            tracing::info!(request.id = %request, means, "the operator of reservation request {request} was told");
        }
        _ => {
            tracing::warn!(request.id = %request, means, "the operator of reservation request {request} was not told by {means}: {reason}");
        }
    }
    metrics::counter!("recado_whatsapp_notices_total", "means" => means, "outcome" => outcome.word()).increment(1);
}
