//! Attempts: each as the provider answered it.

use recado_kernel::clock::Timestamp;
use recado_kernel::db::columns::bounded;
use recado_kernel::db::{Ids, Result, Session, Texts, columns};
use recado_kernel::ids::Id;
use recado_kernel::{columns, sql, word_enum};
use serde::{Deserialize, Serialize};

use crate::channels::Channel;

/// How an attempt ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, strum::IntoStaticStr, strum::VariantArray)]
#[strum(serialize_all = "lowercase", const_into_str)]
pub enum Outcome {
    /// The provider took the message.
    Sent,
    Transient,
    Permanent,
    Misconfigured,
    Unknown,
}

word_enum!(Outcome, "an outcome");

/// One attempt, as the provider answered it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, sqlx::FromRow)]
pub struct Attempt {
    pub id: Id,
    pub notification_id: Id,
    /// Its place among the attempts of one run, from 1: accounts are tried one after the other, and on a coarse clock their
    /// attempts begin in the same moment.
    pub number: i32,
    pub channel: Channel,
    pub started_at: Timestamp,
    pub duration_ms: i32,
    pub outcome: Outcome,
    pub error_code: Option<String>,
    pub error_reason: Option<String>,
    /// The code of HTTP or SMTP.
    pub provider_status: Option<i32>,
    /// The beginning of the provider's answer.
    pub provider_answer: Option<String>,
    /// The account that was tried: `env`, or the name of a provider account.
    pub provider: Option<String>,
    /// The name that the provider gave the message, where its receipts will use it.
    pub provider_message_id: Option<String>,
}

columns!(Attempt {
    id: uuid = |attempt| attempt.id,
    notification_id: uuid = |attempt| attempt.notification_id,
    number: int4 = |attempt| attempt.number,
    channel: text = |attempt| attempt.channel.as_str(),
    started_at: timestamptz = |attempt| attempt.started_at,
    duration_ms: int4 = |attempt| attempt.duration_ms,
    outcome: text = |attempt| attempt.outcome.as_str(),
    error_code: text = |attempt| attempt.error_code.as_deref(),
    error_reason: text = |attempt| attempt.error_reason.as_deref().map(|reason| bounded(reason, LONGEST_WORDS)),
    provider_status: int4 = |attempt| attempt.provider_status,
    provider_answer: text = |attempt| attempt.provider_answer.as_deref().map(|answer| bounded(answer, LONGEST_WORDS)),
    provider: text = |attempt| attempt.provider.as_deref(),
    provider_message_id: text = |attempt| attempt.provider_message_id.as_deref().map(|id| bounded(id, LONGEST_NAME)),
});

/// The most that is kept of what a provider says, in characters. Adapters keep less; this is the last place that asks.
const LONGEST_WORDS: usize = 2_000;

/// The same for the name that it gives a message, which stands in an index.
pub(super) const LONGEST_NAME: usize = 500;

/// Writes attempts down. Writing one twice is harmless.
pub async fn record(session: &mut Session, attempts: &[Attempt]) -> Result<()> {
    if attempts.is_empty() {
        return Ok(());
    }
    columns::run(
        session,
        "insert into attempts ({columns}) select {columns} from {rows} r where true on conflict do nothing",
        attempts,
    )
    .await?;
    Ok(())
}

/// The attempts of these tasks' chains, oldest first.
pub async fn of_tasks(session: &mut Session, task_ids: &[Id]) -> Result<Vec<Attempt>> {
    sql!(all Attempt, session,
        "select a.id, a.notification_id, a.number, a.channel, a.started_at, a.duration_ms, a.outcome, a.error_code,
                a.error_reason, a.provider_status, a.provider_answer, a.provider, a.provider_message_id
         from attempts a join notifications n on n.id = a.notification_id
         where n.task_id = any($1) order by a.started_at, n.fallback_order, a.number, a.id",
        Ids(task_ids)
    )
}

/// The attempts of a task's chain, oldest first.
pub async fn of_task(session: &mut Session, task_id: Id) -> Result<Vec<Attempt>> {
    of_tasks(session, &[task_id]).await
}

/// The messages that a provider knows by this name, also those that were found at it without an answer.
pub async fn of_provider_id(session: &mut Session, name: &str, limit: i64) -> Result<Vec<Id>> {
    let found: Vec<(Id,)> = sql!(
        all(Id,),
        session,
        "select notification_id from attempts where provider_message_id = $1
         union select notification_id from found_messages where provider_message_id = $1 limit $2",
        name,
        limit
    )?;
    Ok(found.into_iter().map(|(id,)| id).collect())
}

/// Empties what attempts say whose message was erased while they were under way. For the attempts of claims that were lost;
/// an attempt whose claim was in force ended before the erasure.
pub async fn forget_late_answers(session: &mut Session, attempts: &[(Id, Id)]) -> Result<()> {
    if attempts.is_empty() {
        return Ok(());
    }
    let (notifications, ids): (Vec<Id>, Vec<Id>) = attempts.iter().copied().unzip();
    sql!(
        run,
        session,
        "update attempts set error_reason = null, provider_answer = null
         where notification_id = any($1) and id = any($2)
           and exists (select 1 from notifications n where n.id = attempts.notification_id and n.erased_at is not null)",
        Ids(&notifications),
        Ids(&ids)
    )?;
    Ok(())
}

/// The messages that providers know by these names: the name, and the message's id.
pub async fn named(session: &mut Session, names: &[String]) -> Result<Vec<(String, Id)>> {
    sql!(
        all(String, Id),
        session,
        "select provider_message_id, notification_id from attempts where provider_message_id = any($1)",
        Texts(names)
    )
}
