//! For each webhook of a provider: writes what became of messages, and looks again for those that are not known yet.

use std::sync::Arc;
use std::time::Duration;

use recado_kernel::clock::Timestamp;
use recado_notifications::channels::Channel;
use recado_notifications::jobs::ApplyReceipts;
use recado_notifications::receipts;
use recado_queue::lanes::SYNC;

use super::Notifier;
use recado_queue::tasks::Claimed;

use crate::registry::{JobError, Outcome};

pub(crate) async fn apply(
    notifier: Arc<Notifier>,
    task: Arc<Claimed>,
    ApplyReceipts { receipts }: ApplyReceipts,
) -> Result<Outcome, JobError> {
    let context = &notifier.system.context;
    let now = context.clock.now();
    let mut session = context.db.begin().await?;
    let applied = receipts::apply(&mut session, &receipts, now).await?;
    session.commit().await?;
    context.ring(&applied.rings).await;
    for account in &applied.arrived_through {
        context.samples.delivered(Channel::Whatsapp.lane(), account);
    }
    let next_look = look_again(task.created_at, now, receipts::match_window(&context.config));
    if let Some(at) = next_look.filter(|_| applied.unknown > 0) {
        return Ok(Outcome::Later { at, lane: SYNC, because: None });
    }
    // Counted once, at the last look.
    metrics::counter!("recado_receipts_total", "outcome" => "applied")
        .increment((receipts.len() - applied.unknown) as u64);
    metrics::counter!("recado_receipts_total", "outcome" => "unknown").increment(applied.unknown as u64);
    if applied.unknown == 0 {
        return Ok(Outcome::Done(serde_json::Value::Null));
    }
    tracing::info!(task.id = %task.id, unknown = applied.unknown, "{} receipts are of messages that are not ours", applied.unknown);
    Ok(Outcome::Done(serde_json::Value::Null))
}

/// After 1 s, 2 s, 4 s, … and a last time when the time is up.
fn look_again(came: Timestamp, now: Timestamp, within: Duration) -> Option<Timestamp> {
    let age = now.since(came);
    let wait = age.max(Duration::from_secs(1));
    (age < within).then(|| now + wait.min(within.saturating_sub(age)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_receipt_waits_twice_as_long_each_time_and_not_for_ever() {
        let came = Timestamp::from_micros(1_000_000_000);
        let mut now = came;
        let mut looks = Vec::new();
        while let Some(at) = look_again(came, now, Duration::from_secs(60)) {
            now = at;
            looks.push(at.since(came).as_secs());
        }
        assert_eq!(looks, [1, 2, 4, 8, 16, 32, 60]);
    }
}
