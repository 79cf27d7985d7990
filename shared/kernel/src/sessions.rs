//! Who is logged in. A cookie holds 256 random bits, and a row their digest: who reads the table can not use it.

use std::time::Duration;

use secrecy::{ExposeSecret, SecretString};

use crate::api_keys::digest;
use crate::clock::Timestamp;
use crate::db::columns::bounded;
use crate::db::{Ids, Result, Session};
use crate::ids::Id;
use crate::sql;
use crate::users::{COLUMNS, User, random_token};

/// A session that is not used for so long has ended.
pub const IDLE: Duration = Duration::from_secs(12 * 60 * 60);

/// No session lasts longer, however much it is used.
pub const LONGEST: Duration = Duration::from_secs(7 * 24 * 60 * 60);

/// `seen_at` is written at most so often: looking at pages costs no write each.
const SEEN_EVERY: Duration = Duration::from_secs(60);

/// The longest name of a browser that is kept.
const LONGEST_AGENT: usize = 300;

/// A session as its owner sees it.
#[derive(Clone, Debug, sqlx::FromRow)]
pub struct OpenSession {
    pub id: Id,
    pub agent: String,
    pub address: String,
    pub created_at: Timestamp,
    pub seen_at: Timestamp,
}

/// Begins a session, and returns what the cookie holds. A login always makes a new one, so that a cookie that somebody planted
/// before it is worth nothing.
pub async fn begin(
    session: &mut Session,
    user: Id,
    agent: &str,
    address: &str,
    now: Timestamp,
) -> Result<(Id, SecretString)> {
    let (id, token) = (Id::new(now), random_token());
    sql!(
        run,
        session,
        "delete from sessions where user_id = $1 and (seen_at < $2 or created_at < $3)",
        user,
        now - IDLE,
        now - LONGEST
    )?;
    sql!(
        run,
        session,
        "insert into sessions (id, digest, user_id, agent, address, created_at, seen_at) values ($1, $2, $3, $4, $5, $6, $6)",
        id,
        digest(token.expose_secret()),
        user,
        bounded(agent, LONGEST_AGENT),
        address,
        now
    )?;
    sql!(run, session, "update users set logged_in_at = $2 where id = $1", user, now)?;
    Ok((id, token))
}

/// The person of a session that is in force, the session's id, and when it was last written that it is used.
pub async fn find(session: &mut Session, token: &str, now: Timestamp) -> Result<Option<LoggedIn>> {
    sql!(one LoggedIn, session,
        (&format!("select sessions.id as session_id, sessions.seen_at, {COLUMNS} from sessions join users on users.id = sessions.user_id
                   where sessions.digest = $1 and sessions.seen_at > $2 and sessions.created_at > $3
                   and users.disabled_at is null")),
        digest(token), now - IDLE, now - LONGEST
    )
}

/// A person who is logged in.
#[derive(Clone, Debug, sqlx::FromRow)]
pub struct LoggedIn {
    pub session_id: Id,
    pub seen_at: Timestamp,
    #[sqlx(flatten)]
    pub user: User,
}

impl LoggedIn {
    /// Whether [`touch`] has something to write.
    pub fn is_stale(&self, now: Timestamp) -> bool {
        now.since(self.seen_at) >= SEEN_EVERY
    }
}

/// Notes that a session is used.
pub async fn touch(session: &mut Session, id: Id, now: Timestamp) -> Result<()> {
    sql!(run, session, "update sessions set seen_at = $2 where id = $1", id, now)?;
    Ok(())
}

/// Those of these sessions that are in force.
pub async fn in_force(session: &mut Session, ids: &[Id], now: Timestamp) -> Result<Vec<Id>> {
    let found = sql!(all(Id,), session,
        "select sessions.id from sessions join users on users.id = sessions.user_id
         where sessions.id = any($1) and sessions.seen_at > $2 and sessions.created_at > $3 and users.disabled_at is null",
        Ids(ids), now - IDLE, now - LONGEST
    )?;
    Ok(found.into_iter().map(|(id,)| id).collect())
}

/// The sessions of a person that are in force, newest first.
pub async fn of_user(session: &mut Session, user: Id, now: Timestamp) -> Result<Vec<OpenSession>> {
    sql!(all OpenSession, session,
        "select id, agent, address, created_at, seen_at from sessions
         where user_id = $1 and seen_at > $2 and created_at > $3 order by id desc limit 50",
        user, now - IDLE, now - LONGEST
    )
}

/// Ends one session of this person. False: it had ended.
pub async fn end(session: &mut Session, user: Id, id: Id) -> Result<bool> {
    Ok(sql!(run, session, "delete from sessions where id = $1 and user_id = $2", id, user)? > 0)
}

/// Ends all sessions of a person: her password is another.
pub async fn end_all(session: &mut Session, user: Id) -> Result<u64> {
    sql!(run, session, "delete from sessions where user_id = $1", user)
}
