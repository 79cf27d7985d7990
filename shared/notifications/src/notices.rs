//! Mails of the house to its partners: words that are no template's, to an address that is no customer's. They leave through the
//! usual channel, with its accounts, retries and log.

use recado_kernel::clock::Timestamp;
use recado_kernel::db::{Result, Session};
use recado_kernel::ids::Id;
use recado_kernel::retry::RetryPolicy;
use recado_queue::ring::Ring;
use recado_queue::tasks::NewTask;

use crate::channels::Channel;
use crate::jobs::SendNotification;
use crate::notifications::{self, NewNotification, Status};
use crate::targets::Target;

/// A mail of plain text.
pub struct Notice {
    /// At most one mail ever carries this key.
    pub key: String,
    /// What happened, as the log of messages names it.
    pub event_type: String,
    /// Whom it is for, in the place of a customer: erasing that name erases the mails too.
    pub recipient: String,
    /// The address; a mail to one that bounced before is not sent.
    pub address: String,
    pub subject: String,
    pub body: String,
}

/// Writes a mail with the task that sends it, in the caller's transaction. Returns what to ring after the commit.
pub async fn mail(session: &mut Session, notice: Notice, retry: RetryPolicy, now: Timestamp) -> Result<Vec<Ring>> {
    let task_id = Id::new(now);
    let correlation_id = Id::new(now);
    let job = SendNotification { channel: Channel::Email };
    let task = NewTask::now(task_id, &job, now).correlated(correlation_id).unique(notice.key);
    let message = NewNotification {
        id: Id::new(now).at_place(0),
        correlation_id,
        task_id,
        event_type: notice.event_type,
        customer_id: notice.recipient,
        taller_id: None,
        target: Target::Staff,
        channel: Channel::Email,
        fallback_order: 0,
        status: Status::Queued,
        recipient_address: notice.address,
        template_id: None,
        template_version: None,
        template_name: String::new(),
        subject: notice.subject,
        body: notice.body,
        is_html: false,
        max_retries: retry.max_attempts as i32,
        awaits: None,
        preferred: None,
        critical: true,
        send_at: None,
        resend_of: None,
        reserve: Vec::new(),
        skipped: Vec::new(),
        decided: None,
        created_at: now,
    };
    Ok(notifications::insert(session, &[task], std::slice::from_ref(&message)).await?.rings)
}
