//! Retrying messages that failed alike: how many go, how many do not and why, then some first and the rest at a pace.
//!
//! The same reasons are asked for again when their turn comes, because a person may have said no since.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::fmt;
use std::str::FromStr;

use recado_kernel::audit::Actor;
use recado_kernel::clock::Timestamp;
use recado_kernel::db::filter::Filter;
use recado_kernel::db::{self, Ids, Session};
use recado_kernel::ids::Id;
use recado_kernel::{sql, word_enum};
use recado_queue::bulk::{self, Action, Plan, Selection};
use recado_queue::context::Context;
use recado_queue::tasks::State;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::channels::Channel;
use crate::customers;
use crate::failures::Cause;
use crate::suppressions;

/// Rows that are looked at in one statement.
const BATCH: i64 = 2_000;

/// No operation retries more than this, so that what is kept of one stays small. The rest is another operation.
pub const MOST: usize = 100_000;

/// So many are tried first unless asked otherwise.
pub const USUAL_TRIAL: u16 = 5;

/// What messages that failed alike have in common.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Group {
    pub channel: Channel,
    /// The account that was tried last; none where no attempt was made.
    pub account: Option<String>,
    /// None where nothing is known but that it failed.
    pub code: Option<String>,
}

impl Group {
    pub fn of(cause: &Cause) -> Self {
        Self { channel: cause.channel, account: cause.account.clone(), code: cause.code.clone() }
    }

    fn conditions(&self, since: Timestamp, frozen_at: Timestamp) -> Filter {
        let mut asked = Filter::default();
        asked.when("n.created_at >= ?", Some(since));
        asked.when("n.created_at <= ?", Some(frozen_at));
        asked.when("n.closed_at <= ?", Some(frozen_at));
        asked.require("n.status in ('failed', 'bounced')");
        asked.equal("n.channel", Some(self.channel.as_str()));
        for (column, value) in [("n.provider", &self.account), ("n.error_code", &self.code)] {
            match value {
                Some(value) => asked.equal(column, Some(value.as_str())),
                None => asked.require(format!("{column} is null")),
            }
        }
        asked
    }
}

/// As it stands in URLs and on the command line: `email:env:EMAIL_SEND_FAILED`, with nothing where there is none. An account may have a
/// colon in its name; a channel and a code have none.
impl fmt::Display for Group {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (account, code) = (self.account.as_deref().unwrap_or_default(), self.code.as_deref().unwrap_or_default());
        write!(f, "{}:{account}:{code}", self.channel)
    }
}

/// A group was not written as one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("write channel:account:CODE, e.g. email:env:EMAIL_SEND_FAILED, with nothing where there is none")]
pub struct NoGroup;

impl FromStr for Group {
    type Err = NoGroup;

    fn from_str(text: &str) -> Result<Self, NoGroup> {
        // No database keeps a NUL in a text, so nothing has one.
        let (channel, rest) = text.split_once(':').filter(|_| !text.contains('\0')).ok_or(NoGroup)?;
        let (account, code) = rest.rsplit_once(':').ok_or(NoGroup)?;
        let some = |text: &str| (!text.is_empty()).then(|| text.to_owned());
        Ok(Self { channel: channel.parse().map_err(|_| NoGroup)?, account: some(account), code: some(code) })
    }
}

/// Why a message that failed is not tried again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, strum::IntoStaticStr, strum::VariantArray, ToSchema)]
#[strum(serialize_all = "snake_case", const_into_str)]
#[schema(as = RetryRefusal, rename_all = "snake_case")]
pub enum Refusal {
    /// The person got it already, on another channel.
    Reached,
    /// The person does not want messages on this channel.
    OptedOut,
    /// Nothing is sent to the address.
    Suppressed,
    /// Its words and address were erased.
    Erased,
    /// An operator cancelled it.
    Cancelled,
    /// It is being tried already.
    OnItsWay,
    /// Its task is not there any more.
    Gone,
}

word_enum!(Refusal, "a reason not to retry");

/// What a decision about a task rests on.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Facts {
    /// Something of its event was sent to the person.
    is_reached: bool,
    is_erased: bool,
    /// Of each message that had its turn: what stands against its channel.
    against: Vec<Option<Refusal>>,
}

impl Facts {
    /// Why the messages of the task are not to be retried; `None`: they may. A chain is tried as long as one of its channels may be.
    fn refusal(&self) -> Option<Refusal> {
        if self.is_erased {
            Some(Refusal::Erased)
        } else if self.is_reached {
            Some(Refusal::Reached)
        } else if self.against.iter().all(Option::is_some) {
            self.against.first().copied().flatten()
        } else {
            None
        }
    }
}

/// Why a task is not retried, from where it stands and what is known of its messages.
fn decide(state: Option<State>, refusal: Option<Refusal>) -> Option<Refusal> {
    match state {
        None => Some(refusal.unwrap_or(Refusal::Gone)),
        Some(State::Cancelled) => Some(refusal.unwrap_or(Refusal::Cancelled)),
        Some(State::Scheduled | State::Queued | State::Started) => Some(Refusal::OnItsWay),
        // Its chain ended well on another channel.
        Some(State::Success) => Some(refusal.unwrap_or(Refusal::Reached)),
        Some(State::Dead) => refusal,
    }
}

#[derive(sqlx::FromRow)]
struct Message {
    task_id: Id,
    customer_id: String,
    #[sqlx(try_from = "String")]
    channel: Channel,
    recipient_address: String,
    erased_at: Option<Timestamp>,
}

/// Those of these tasks whose messages are not to be retried, each with its reason. Tasks without messages are none of them.
pub async fn refusals(session: &mut Session, tasks: &[Id]) -> db::Result<HashMap<Id, Refusal>> {
    let messages = sql!(all Message, session,
        "select task_id, customer_id, channel, recipient_address, erased_at from notifications
         where task_id = any($1) order by task_id, fallback_order",
        Ids(tasks)
    )?;
    if messages.is_empty() {
        return Ok(HashMap::new());
    }
    let reached: Vec<(Id,)> = sql!(
        all(Id,),
        session,
        "select distinct n.task_id from notifications n
         join notifications s on s.correlation_id = n.correlation_id and s.customer_id = n.customer_id
         where n.task_id = any($1) and s.status in ('sent', 'delivered', 'read')",
        Ids(tasks)
    )?;
    let reached: HashSet<Id> = reached.into_iter().map(|(id,)| id).collect();
    let customers: HashSet<&str> = messages.iter().map(|message| message.customer_id.as_str()).collect();
    let customers: Vec<String> = customers.into_iter().map(str::to_owned).collect();
    let preferences = customers::preferences(session, &customers).await?;
    let opted_out: HashSet<(&str, Channel)> = preferences
        .iter()
        .filter(|preference| !preference.enabled)
        .map(|preference| (preference.customer_id.as_str(), preference.channel))
        .collect();
    let keys: HashSet<String> =
        messages.iter().map(|message| suppressions::key(message.channel, &message.recipient_address)).collect();
    let suppressed = suppressions::among(session, &keys.into_iter().collect::<Vec<_>>()).await?;
    let mut facts: HashMap<Id, Facts> = HashMap::new();
    for message in &messages {
        let address = suppressions::key(message.channel, &message.recipient_address);
        let against = if opted_out.contains(&(message.customer_id.as_str(), message.channel)) {
            Some(Refusal::OptedOut)
        } else {
            suppressed.contains(&(message.channel, address)).then_some(Refusal::Suppressed)
        };
        let of_task = facts.entry(message.task_id).or_default();
        of_task.is_reached = reached.contains(&message.task_id);
        of_task.is_erased |= message.erased_at.is_some();
        of_task.against.push(against);
    }
    Ok(facts.into_iter().filter_map(|(task, facts)| Some((task, facts.refusal()?))).collect())
}

/// What a retry of a group would do.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Weighed {
    /// The tasks that would be tried again.
    pub tasks: Vec<Id>,
    /// How many would not, by reason.
    pub refused: BTreeMap<Refusal, i64>,
    /// There are more than [`MOST`], which were not looked at.
    pub is_more: bool,
}

impl Weighed {
    pub fn left_out(&self) -> i64 {
        self.refused.values().sum()
    }

    pub fn all(&self) -> i64 {
        self.left_out() + i64::try_from(self.tasks.len()).unwrap_or(i64::MAX)
    }

    fn reasons(&self) -> BTreeMap<String, i32> {
        let count = |count: &i64| i32::try_from(*count).unwrap_or(i32::MAX);
        self.refused.iter().map(|(reason, number)| (reason.as_str().to_owned(), count(number))).collect()
    }
}

#[derive(sqlx::FromRow)]
struct Failed {
    id: Id,
    created_at: Timestamp,
    task_id: Id,
    state: Option<State>,
}

/// Which messages of a group would be retried, and why the others would not: those that were accepted since then and had failed by
/// `frozen_at`.
pub async fn weigh(
    session: &mut Session,
    group: &Group,
    since: Timestamp,
    frozen_at: Timestamp,
) -> db::Result<Weighed> {
    let mut weighed = Weighed::default();
    let mut seen: HashSet<Id> = HashSet::new();
    let mut after: Option<(Timestamp, Id)> = None;
    loop {
        let mut asked = group.conditions(since, frozen_at);
        if let Some((created_at, id)) = after {
            let (created_at, id) = (asked.value(created_at), asked.value(id));
            asked.require(format!("(n.created_at, n.id) > ({created_at}, {id})"));
        }
        let failed: Vec<Failed> = asked
            .all(
                session,
                &format!(
                    "select n.id, n.created_at, n.task_id, t.state from notifications n left join tasks t on t.id = n.task_id
                     where {asked} order by n.created_at, n.id limit {BATCH}"
                ),
            )
            .await?;
        let Some(last) = failed.last() else { return Ok(weighed) };
        after = Some((last.created_at, last.id));
        let tasks: Vec<Id> = failed.iter().map(|one| one.task_id).collect();
        let refused = refusals(session, &tasks).await?;
        for one in failed.iter().filter(|one| seen.insert(one.task_id)) {
            match decide(one.state, refused.get(&one.task_id).copied()) {
                Some(reason) => *weighed.refused.entry(reason).or_default() += 1,
                None => weighed.tasks.push(one.task_id),
            }
        }
        if seen.len() >= MOST {
            weighed.is_more = true;
            return Ok(weighed);
        }
    }
}

/// How a group is retried.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct How {
    /// So many are tried first; 0: none.
    pub trial: u16,
    /// Then so many a minute; 0: as fast as it goes.
    pub pace: u16,
}

/// Begins to retry a group. `None`: none of it may be retried.
pub async fn start(
    context: &Context,
    group: &Group,
    since: Timestamp,
    frozen_at: Timestamp,
    how: How,
    actor: &Actor,
) -> db::Result<Option<(Id, Weighed)>> {
    let weighed = weigh(&mut context.db.read().await?, group, since, frozen_at).await?;
    if weighed.tasks.is_empty() {
        return Ok(None);
    }
    let selection = Selection {
        ids: Vec::new(),
        state: Some(State::Dead),
        lanes: Vec::new(),
        kind: None,
        error: None,
        since_us: Some(since.as_micros()),
        listed: true,
        cause: Some(group.to_string()),
        frozen_at_us: frozen_at.as_micros(),
    };
    let left_out = weighed.reasons();
    let How { trial, pace } = how;
    let plan = Plan { action: Action::Retry, selection: &selection, pace, trial, left_out: &left_out };
    let id = bulk::begin(context, &plan, &weighed.tasks, actor).await?;
    Ok(Some((id, weighed)))
}

/// A message of a group.
#[derive(Clone, Debug, sqlx::FromRow)]
pub struct Example {
    pub id: Id,
    pub correlation_id: Id,
    pub task_id: Id,
    pub created_at: Timestamp,
    pub error_reason: Option<String>,
}

/// The newest messages of a group.
pub async fn examples(
    session: &mut Session,
    group: &Group,
    since: Timestamp,
    now: Timestamp,
    limit: i64,
) -> db::Result<Vec<Example>> {
    let asked = group.conditions(since, now);
    asked
        .all(
            session,
            &format!(
                "select n.id, n.correlation_id, n.task_id, n.created_at, n.error_reason from notifications n
                 where {asked} order by n.created_at desc, n.id desc limit {limit}"
            ),
        )
        .await
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_group_is_written_and_read() {
        for (channel, account, code) in [
            (Channel::Email, Some("env"), Some("EMAIL_SEND_FAILED")),
            (Channel::Whatsapp, Some("a:b: c"), None),
            (Channel::Push, None, Some("X")),
            (Channel::Push, None, None),
        ] {
            let group = Group { channel, account: account.map(str::to_owned), code: code.map(str::to_owned) };
            assert_eq!(group.to_string().parse(), Ok(group));
        }
        for bad in ["", "email", "email:env", "fax:env:X", "email:\0:X"] {
            assert_eq!(bad.parse::<Group>(), Err(NoGroup), "{bad}");
        }
    }

    #[test]
    fn a_chain_is_refused_only_when_no_channel_may_be_tried() {
        let facts = |against: &[Option<Refusal>]| Facts { against: against.to_vec(), ..Facts::default() };
        let (out, suppressed) = (Some(Refusal::OptedOut), Some(Refusal::Suppressed));
        assert_eq!(facts(&[None]).refusal(), None);
        assert_eq!(facts(&[suppressed, None]).refusal(), None, "the other channel may");
        assert_eq!(facts(&[suppressed, out]).refusal(), suppressed);
        assert_eq!(Facts { is_reached: true, ..facts(&[None]) }.refusal(), Some(Refusal::Reached));
        assert_eq!(Facts { is_reached: true, is_erased: true, ..facts(&[out]) }.refusal(), Some(Refusal::Erased));
    }

    #[test]
    fn only_the_dead_begin_again() {
        assert_eq!(decide(Some(State::Dead), None), None);
        assert_eq!(decide(Some(State::Dead), Some(Refusal::OptedOut)), Some(Refusal::OptedOut));
        assert_eq!(decide(Some(State::Cancelled), None), Some(Refusal::Cancelled));
        assert_eq!(decide(Some(State::Success), None), Some(Refusal::Reached));
        assert_eq!(decide(Some(State::Started), None), Some(Refusal::OnItsWay));
        assert_eq!(decide(None, None), Some(Refusal::Gone));
    }
}
