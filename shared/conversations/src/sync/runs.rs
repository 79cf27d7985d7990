//! How far a sync is. What it has written and where it goes on stand in one row, which is written in the transaction of each
//! batch: so a sync that is cut off goes on behind its last batch, and its counts are those of all its runs.

use recado_kernel::clock::Timestamp;
use recado_kernel::db::columns::bounded;
use recado_kernel::db::{Result, Session, Texts};
use recado_kernel::ids::Id;
use recado_kernel::{sql, word_enum};
use serde::Serialize;

use crate::chats::listing::Counts;

/// The longest reason that is kept, in characters.
const LONGEST_PROBLEM: usize = 500;

/// How many of the newest are listed.
pub const SHOWN: i64 = 50;

/// What is brought here.
#[derive(Clone, Copy, Debug, PartialEq, Eq, strum::IntoStaticStr, strum::VariantArray)]
#[strum(serialize_all = "snake_case", const_into_str)]
pub enum What {
    Chats,
    Groups,
    /// The history of one chat.
    Messages,
    /// The histories of all chats.
    Histories,
}

word_enum!(What, "what a sync brings");

/// A sync, and how far it is.
#[derive(Clone, Debug, sqlx::FromRow)]
pub struct Run {
    /// The task that runs it; of a command, an id of its own.
    pub id: Id,
    pub what: What,
    /// WhatsApp's id of the chat, of one chat's history.
    pub chat_id: Option<String>,
    pub message_limit: Option<i32>,
    /// Of histories: how many chats there are, how many are done, and the last of those.
    pub chats_total: i32,
    pub chats_done: i32,
    pub last_chat_id: Option<String>,
    pub created: i64,
    pub updated: i64,
    pub total: i64,
    pub problem: Option<String>,
    pub started_at: Timestamp,
    pub updated_at: Timestamp,
    pub finished_at: Option<Timestamp>,
}

impl Run {
    /// What was written so far.
    pub fn counts(&self) -> Counts {
        Counts {
            created: self.created.unsigned_abs(),
            updated: self.updated.unsigned_abs(),
            total: self.total.unsigned_abs(),
        }
    }

    /// The same for the task, which shows it while it runs.
    pub fn progress(&self) -> Progress {
        let is_of_all = self.what == What::Histories;
        Progress {
            counts: self.counts(),
            chats_done: is_of_all.then_some(self.chats_done),
            chats_total: is_of_all.then_some(self.chats_total),
        }
    }
}

/// How far a sync is, in numbers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Progress {
    #[serde(flatten)]
    pub counts: Counts,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub chats_done: Option<i32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub chats_total: Option<i32>,
}

const COLUMNS: &str =
    "id, what, chat_id, message_limit, chats_total, chats_done, last_chat_id, created, updated, total, problem,
    started_at, updated_at, finished_at";

/// A sync that begins.
#[derive(Clone, Copy, Debug)]
pub struct NewRun<'r> {
    pub id: Id,
    pub what: What,
    pub chat_id: Option<&'r str>,
    pub limit: Option<u32>,
}

/// Begins a sync, or goes on with it if one of this id was cut off.
pub async fn begin(session: &mut Session, new: NewRun<'_>, now: Timestamp) -> Result<Run> {
    let run: Option<Run> = sql!(one Run, session,
        (&format!("insert into whatsapp_syncs (id, what, chat_id, message_limit, chats_total, chats_done, created, updated, total,
                       started_at, updated_at)
                   values ($1, $2, $3, $4, 0, 0, 0, 0, 0, $5, $5)
                   on conflict (id) do update set problem = null, finished_at = null, updated_at = excluded.updated_at
                   returning {COLUMNS}")),
        new.id,
        new.what,
        new.chat_id,
        new.limit.map(|limit| i32::try_from(limit).unwrap_or(i32::MAX)),
        now
    )?;
    run.ok_or(recado_kernel::db::Error::RowNotFound)
}

/// Adds what a batch has written, in its transaction.
pub(super) async fn add(session: &mut Session, id: Id, counts: Counts, now: Timestamp) -> Result<Option<Run>> {
    let number = |count: u64| i64::try_from(count).unwrap_or(i64::MAX);
    sql!(one Run, session,
        (&format!("update whatsapp_syncs set created = created + $2, updated = updated + $3, total = total + $4, updated_at = $5
                   where id = $1 returning {COLUMNS}")),
        id,
        number(counts.created),
        number(counts.updated),
        number(counts.total),
        now
    )
}

/// It is known now of how many things the bridge tells, and of how many chats.
pub(super) async fn expect(session: &mut Session, id: Id, total: u64, chats: usize, now: Timestamp) -> Result<()> {
    sql!(
        run,
        session,
        "update whatsapp_syncs set total = $2, chats_total = $3, updated_at = $4 where id = $1",
        id,
        i64::try_from(total).unwrap_or(i64::MAX),
        i32::try_from(chats).unwrap_or(i32::MAX),
        now
    )?;
    Ok(())
}

/// The history of this chat is here.
pub(super) async fn chat_done(session: &mut Session, id: Id, chat_id: &str, now: Timestamp) -> Result<Option<Run>> {
    sql!(one Run, session,
        (&format!("update whatsapp_syncs set chats_done = chats_done + 1, last_chat_id = $2, updated_at = $3
                   where id = $1 returning {COLUMNS}")),
        id,
        chat_id,
        now
    )
}

/// It came to its end, or why not.
pub async fn end(session: &mut Session, id: Id, problem: Option<&str>, now: Timestamp) -> Result<()> {
    sql!(
        run,
        session,
        "update whatsapp_syncs set problem = $2, finished_at = $3, updated_at = $4 where id = $1",
        id,
        problem.map(|problem| bounded(problem, LONGEST_PROBLEM)).as_deref(),
        problem.is_none().then_some(now),
        now
    )?;
    Ok(())
}

/// A sync by its id.
pub async fn find(session: &mut Session, id: Id) -> Result<Option<Run>> {
    sql!(one Run, session, (&format!("select {COLUMNS} from whatsapp_syncs where id = $1")), id)
}

/// The newest syncs.
pub async fn newest(session: &mut Session, limit: i64) -> Result<Vec<Run>> {
    sql!(all Run, session, (&format!("select {COLUMNS} from whatsapp_syncs order by id desc limit $1")), limit)
}

/// Forgets that histories of these chats were fetched. A sync that stopped at one of them begins again at the first chat.
pub(crate) async fn erase(session: &mut Session, chat_ids: &[&str]) -> Result<u64> {
    sql!(
        run,
        session,
        "update whatsapp_syncs set chat_id = null, last_chat_id = null where chat_id = any($1) or last_chat_id = any($1)",
        Texts(chat_ids)
    )
}

/// Deletes a batch of those that began before this moment. Returns how many there were.
pub async fn delete_before(session: &mut Session, before: Timestamp, limit: i64) -> Result<u64> {
    sql!(
        run,
        session,
        "delete from whatsapp_syncs where id in (select id from whatsapp_syncs where id < $1 order by id limit $2)",
        Id::earliest(before),
        limit
    )
}
