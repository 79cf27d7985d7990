//! A text that staff send to themselves: once, through the accounts that a message would take, and what became of it is told at once.

use std::sync::Arc;

use recado_kernel::db;
use recado_kernel::ids::Id;
use recado_notifications::channels::Channel;
use recado_notifications::jobs::SendTest;
use recado_notifications::notifications::pacing;
use recado_notifications::push;
use recado_notifications::test_sends::{self, Ended, WORTHLESS_AFTER, Waiting};
use recado_queue::tasks::Claimed;
use serde_json::json;

use super::Notifier;
use crate::channels::{
    Account, Message, Recipient, SendFailure, Subscription, channels_failure, is_accounts_fault, not_configured,
};
use crate::registry::{JobError, Outcome};

pub(crate) async fn send(
    notifier: Arc<Notifier>,
    task: Arc<Claimed>,
    SendTest { channel }: SendTest,
) -> Result<Outcome, JobError> {
    let (context, id) = (&notifier.system.context, task.id);
    let Some(waiting) = test_sends::waiting(&mut context.db.read().await?, id).await? else {
        return Ok(Outcome::Done(json!({ "sent": false, "reason": "it has ended, or was erased" })));
    };
    let now = context.clock.now();
    let ended = if now.since(waiting.created_at) > WORTHLESS_AFTER {
        let reason = "it waited too long to be of use; look at the queue and send another";
        Ended { code: Some("TEST_TOO_LATE".to_owned()), reason: Some(reason.to_owned()), ..Ended::default() }
    } else {
        let accounts = notifier.providers.accounts(waiting.taller_id.as_deref(), channel, None).await?;
        if let Some(slot) = paced(&notifier, id, &waiting, accounts.first()).await?.filter(|slot| *slot > now) {
            return Ok(Outcome::Later { at: slot, lane: channel.lane(), because: None });
        }
        attempt(&notifier, &accounts, &message(&notifier, id, waiting).await?).await
    };
    let mut session = context.db.begin().await?;
    test_sends::end(&mut session, id, &ended, context.clock.now()).await?;
    session.commit().await?;
    Ok(Outcome::Done(json!({ "sent": ended.is_sent, "account": ended.account, "code": ended.code })))
}

/// The accounts one after the other, as a message would try them; but it is not tried again later.
async fn attempt(notifier: &Notifier, accounts: &[Arc<Account>], message: &Message) -> Ended {
    let mut failures: Vec<SendFailure> = Vec::new();
    for account in accounts {
        match notifier.providers.send(account, message).await {
            Ok(_) => return Ended { is_sent: true, account: Some(account.name.clone()), ..Ended::default() },
            Err(failure) if is_accounts_fault(&failure) => failures.push(failure),
            Err(failure) => return failed(Some(account.name.clone()), failure),
        }
    }
    match failures.pop() {
        Some(last) => failed(accounts.last().map(|account| account.name.clone()), channels_failure(&failures, last)),
        None => failed(None, not_configured(message.recipient.channel())),
    }
}

fn failed(account: Option<String>, failure: SendFailure) -> Ended {
    Ended { is_sent: false, account, code: Some(failure.code.to_owned()), reason: Some(failure.reason) }
}

/// Its place at a paced account, reserved once: a test keeps to the pace of the number that it leaves from.
async fn paced(
    notifier: &Notifier,
    id: Id,
    waiting: &Waiting,
    account: Option<&Arc<Account>>,
) -> db::Result<Option<recado_kernel::clock::Timestamp>> {
    let Some(pace) = account.and_then(|account| account.pace.as_ref()) else { return Ok(None) };
    if waiting.paced_until.is_some() {
        return Ok(waiting.paced_until);
    }
    let context = &notifier.system.context;
    let mut session = context.db.begin().await?;
    let slot = pacing::reserve(&mut session, &pace.key, pace.per_minute, context.clock.now()).await?;
    test_sends::pace(&mut session, id, slot).await?;
    session.commit().await?;
    Ok(Some(slot))
}

async fn message(notifier: &Notifier, id: Id, waiting: Waiting) -> db::Result<Message> {
    let context = &notifier.system.context;
    let recipient = match waiting.channel {
        Channel::Email => Recipient::Email(waiting.address),
        Channel::Whatsapp => Recipient::Whatsapp(waiting.address),
        Channel::Push => {
            let customer_id = waiting.customer_id.unwrap_or_default();
            let devices = push::of_customer(&mut context.db.read().await?, &customer_id).await?;
            Recipient::Push(devices.into_iter().map(Subscription::from).collect())
        }
    };
    Ok(Message {
        notification_id: id,
        correlation_id: id,
        recipient,
        subject: waiting.subject,
        body: waiting.body,
        is_html: waiting.is_html,
        click_url: context.config.frontend_url.clone(),
        unsubscribe_url: None,
        sender: notifier.providers.sender(waiting.taller_id.as_deref()).await?,
    })
}
