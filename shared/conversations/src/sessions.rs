//! Sessions of WhatsApp: what the bridge says of them, and whether it can be believed.

use std::time::Duration;

use recado_kernel::clock::Timestamp;
use recado_kernel::db::{Result, Session, take_turns};
use recado_kernel::ids::Id;
use recado_kernel::{sql, word_enum};

use crate::bridge;
use crate::health::{self, Evidence, Standing, Verdict};
use crate::pacing::{Pacing, Purpose};
use crate::sends;

/// The session of the Node service.
pub const BRIDGE: &str = "bridge";

/// How many of the latest messages tell the usual rhythm.
const RHYTHM: i64 = 300;

/// How a session stands (S003-22).
#[derive(Clone, Copy, Debug, PartialEq, Eq, strum::IntoStaticStr, strum::VariantArray)]
#[strum(serialize_all = "snake_case", const_into_str)]
pub enum Status {
    Disconnected,
    QrPending,
    Connected,
    Expired,
}

word_enum!(Status, "a status of a session");

/// What a bridge tells of its session.
#[derive(Clone, Debug)]
pub enum Told {
    Status { status: Status, phone_number: Option<String>, push_name: Option<String> },
    Qr { qr: String },
}

/// A session as it is kept.
#[derive(Clone, Debug, sqlx::FromRow)]
pub struct WhatsappSession {
    pub id: Id,
    pub name: String,
    pub status: Status,
    pub phone_number: Option<String>,
    pub push_name: Option<String>,
    pub qr_code: Option<String>,
    pub last_seen_at: Option<Timestamp>,
    pub connected_at: Option<Timestamp>,
    pub lost_at: Option<Timestamp>,
    pub zombie_since: Option<Timestamp>,
    pub zombie_reason: Option<String>,
    pub caught_up_at: Option<Timestamp>,
    pub served_at: Option<Timestamp>,
    pub compared_at: Option<Timestamp>,
    pub announced: Option<Standing>,
    pub created_at: Timestamp,
}

const COLUMNS: &str =
    "id, name, status, phone_number, push_name, qr_code, last_seen_at, connected_at, lost_at, zombie_since,
    zombie_reason, caught_up_at, served_at, compared_at, announced, created_at";

/// The longest time in which no webhook was taken that is no outage, in which the public bridge posts all of it again. A bridge that
/// posts less often is asked sooner than that.
const LONGEST_ABSENCE: Duration = Duration::from_secs(2 * 60);

/// The session of this name.
pub async fn find(session: &mut Session, name: &str) -> Result<Option<WhatsappSession>> {
    sql!(one WhatsappSession, session, (&format!("select {COLUMNS} from whatsapp_sessions where name = $1")), name)
}

/// All sessions that were ever heard of, by name.
pub async fn all(session: &mut Session) -> Result<Vec<WhatsappSession>> {
    sql!(all WhatsappSession, session, (&format!("select {COLUMNS} from whatsapp_sessions order by name limit 200")))
}

/// Keeps what the bridge told.
pub async fn tell(session: &mut Session, told: &Told, now: Timestamp) -> Result<()> {
    tell_of(session, BRIDGE, told, now).await
}

/// Keeps what a bridge told of the session of this name. A session that is connected again is believed again.
pub async fn tell_of(session: &mut Session, name: &str, told: &Told, now: Timestamp) -> Result<()> {
    let (status, phone_number, push_name, qr) = match told {
        Told::Status { status, phone_number, push_name } => {
            (*status, phone_number.as_deref(), push_name.as_deref(), None)
        }
        Told::Qr { qr } => (Status::QrPending, None, None, Some(qr.as_str())),
    };
    sql!(
        run,
        session,
        "insert into whatsapp_sessions (id, name, status, phone_number, push_name, qr_code, qr_at, last_seen_at, connected_at,
             lost_at, created_at, updated_at)
         values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $8, $8)
         on conflict (name) do update set status = excluded.status,
             phone_number = coalesce(excluded.phone_number, whatsapp_sessions.phone_number),
             push_name = coalesce(excluded.push_name, whatsapp_sessions.push_name),
             qr_code = excluded.qr_code, qr_at = excluded.qr_at, last_seen_at = excluded.last_seen_at,
             connected_at = case when excluded.status = 'connected' and whatsapp_sessions.status = 'connected'
                 then whatsapp_sessions.connected_at else coalesce(excluded.connected_at, whatsapp_sessions.connected_at) end,
             lost_at = case when excluded.status <> 'connected' and whatsapp_sessions.status = 'connected'
                 then excluded.lost_at else whatsapp_sessions.lost_at end,
             zombie_since = case when whatsapp_sessions.status = 'connected' then whatsapp_sessions.zombie_since end,
             zombie_reason = case when whatsapp_sessions.status = 'connected' then whatsapp_sessions.zombie_reason end,
             updated_at = excluded.updated_at",
        Id::new(now),
        name,
        status,
        phone_number,
        push_name,
        qr,
        qr.map(|_| now),
        now,
        (status == Status::Connected).then_some(now),
        (status != Status::Connected).then_some(now)
    )?;
    Ok(())
}

/// Keeps what a bridge answered when it was asked for its status: ready is connected, and whatever else it is, it is not. A QR
/// code that waits stays; a session that its bridge called expired stays so.
pub async fn observe(session: &mut Session, name: &str, status: &bridge::Status, now: Timestamp) -> Result<()> {
    let known = find(session, name).await?;
    let before = known.as_ref().map(|known| known.status);
    let stands = match (status.is_ready, status.has_qr, before) {
        (true, _, _) => Status::Connected,
        (false, true, _) => Status::QrPending,
        (false, false, Some(Status::Expired)) => Status::Expired,
        (false, false, _) => Status::Disconnected,
    };
    if stands == Status::QrPending
        && let Some(qr) = known.and_then(|known| known.qr_code)
    {
        return tell_of(session, name, &Told::Qr { qr }, now).await;
    }
    let Status::Connected = stands else {
        let told = Told::Status { status: stands, phone_number: None, push_name: None };
        return tell_of(session, name, &told, now).await;
    };
    let (phone_number, push_name) = (status.phone_number.clone(), status.push_name.clone());
    tell_of(session, name, &Told::Status { status: stands, phone_number, push_name }, now).await
}

/// The bridge does not answer: its session is not connected, for no message would leave. When it was last seen stays.
pub async fn miss(session: &mut Session, name: &str, now: Timestamp) -> Result<()> {
    sql!(
        run,
        session,
        "update whatsapp_sessions set status = 'disconnected', lost_at = $2, updated_at = $2
         where name = $1 and status = 'connected'",
        name,
        now
    )?;
    Ok(())
}

/// How far a session can be believed, and why.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Opinion {
    pub verdict: Verdict,
    /// Texts that did not come back.
    pub unconfirmed: i64,
    pub last_confirmed: Option<Timestamp>,
    /// No message has come for longer than is usual.
    pub is_silent: bool,
}

impl Opinion {
    /// What there is to be warned of, for people; each word has its paragraph in docs/whatsapp.md.
    pub fn warnings(&self) -> Vec<&'static str> {
        let mut warnings = Vec::new();
        match self.verdict {
            Verdict::Zombie { .. } => warnings.push("zombie"),
            Verdict::OnTrial { .. } => warnings.push("on_trial"),
            Verdict::Unproven => warnings.push("no_echo_ever"),
            Verdict::Sound => {}
        }
        if self.is_silent {
            warnings.push("silent");
        }
        warnings
    }
}

/// Looks at all that is known of a session that says it is connected. Nothing is written.
pub async fn judge(session: &mut Session, known: &WhatsappSession, now: Timestamp) -> Result<Opinion> {
    let since = health::trusted_from(known.connected_at, known.zombie_since, now);
    let register = sends::register(session, &known.name, since, now - health::ECHO_DUE).await?;
    let moments: Vec<(Timestamp,)> = sql!(
        all(Timestamp,),
        session,
        "select created_at from whatsapp_messages where direction = 'in' and processed_at is not null
         order by id desc limit $1",
        RHYTHM
    )?;
    let moments: Vec<Timestamp> = moments.into_iter().map(|(at,)| at).collect();
    let evidence = Evidence {
        unconfirmed: register.unconfirmed,
        oldest_unconfirmed: register.oldest_unconfirmed,
        last_confirmed: register.last_confirmed,
        zombie_since: known.zombie_since,
    };
    Ok(Opinion {
        verdict: health::judge(evidence, now),
        unconfirmed: register.unconfirmed,
        last_confirmed: register.last_confirmed,
        is_silent: health::is_silent(&moments, now),
    })
}

/// Keeps a verdict. Returns whether it changes what is known, so that it is announced once.
pub async fn keep(session: &mut Session, name: &str, opinion: &Opinion, now: Timestamp) -> Result<bool> {
    let since = match opinion.verdict {
        Verdict::Zombie { since } | Verdict::OnTrial { since } => Some(since),
        Verdict::Sound | Verdict::Unproven => None,
    };
    let reason = since.map(|_| format!("{} texts did not come back", opinion.unconfirmed));
    let changed = sql!(
        run,
        session,
        "update whatsapp_sessions set zombie_since = $2, zombie_reason = coalesce($3, zombie_reason), updated_at = $4
         where name = $1 and (zombie_since is null) <> ($2 is null)",
        name,
        since,
        reason.as_deref(),
        now
    )?;
    if changed == 0 && since.is_some() {
        // Tried again in vain: it rests once more, which is no news.
        sql!(run, session, "update whatsapp_sessions set zombie_since = $2 where name = $1", name, since)?;
    }
    Ok(changed > 0)
}

/// Whether messages may be given to a session: it is connected as far as is known, and no zombie that rests. Of a session that was
/// never heard of, it is: the first message will tell.
pub async fn is_used(session: &mut Session, name: &str, now: Timestamp) -> Result<bool> {
    let known: Option<(Option<Timestamp>,)> =
        sql!(one(Option<Timestamp>), session, "select zombie_since from whatsapp_sessions where name = $1", name)?;
    let since = known.and_then(|(since,)| since);
    Ok(since.is_none_or(|since| now.since(since) >= health::REST))
}

/// Whether a message would leave: the session is connected, and messages may be given to it.
pub async fn is_connected(session: &mut Session, name: &str, now: Timestamp) -> Result<bool> {
    let is_connected = find(session, name).await?.is_some_and(|known| known.status == Status::Connected);
    Ok(is_connected && is_used(session, name, now).await?)
}

/// All that was missed before this moment has been fetched.
pub async fn caught_up(session: &mut Session, name: &str, now: Timestamp) -> Result<()> {
    sql!(run, session, "update whatsapp_sessions set caught_up_at = $2 where name = $1", name, now)?;
    Ok(())
}

/// Keeps how a session stands, as those who are told know it from now on.
pub async fn announce(session: &mut Session, name: &str, standing: Standing) -> Result<()> {
    sql!(run, session, "update whatsapp_sessions set announced = $2 where name = $1", name, standing)?;
    Ok(())
}

/// An API takes webhooks at this moment. Returns since when none did, where that is an outage.
pub async fn serve(session: &mut Session, name: &str, now: Timestamp) -> Result<Option<Timestamp>> {
    let served: Option<(Option<Timestamp>,)> = sql!(
        one(Option<Timestamp>),
        session,
        "select served_at from whatsapp_sessions where name = $1 for update",
        name
    )?;
    let Some((served,)) = served else { return Ok(None) };
    sql!(run, session, "update whatsapp_sessions set served_at = $2 where name = $1", name, now)?;
    Ok(served.filter(|served| now.since(*served) > LONGEST_ABSENCE))
}

/// The bridge's chats were compared with ours.
pub async fn compared(session: &mut Session, name: &str, now: Timestamp) -> Result<()> {
    sql!(run, session, "update whatsapp_sessions set compared_at = $2 where name = $1", name, now)?;
    Ok(())
}

/// Takes a place within what a number may send in a day, for a text that is about to be given to the bridge; then [`sends::given`] or
/// [`sends::give_back`]. `Err` within: how long it has to wait. Of texts that come at once, the second counts the first.
pub async fn take_place(
    session: &mut Session,
    name: &str,
    (chat_id, text): (&str, &str),
    (pacing, purpose): (Pacing, Purpose),
    now: Timestamp,
) -> Result<std::result::Result<Id, Duration>> {
    if pacing.daily_limit > 0 {
        take_turns(session, &format!("sends through {name}")).await?;
    }
    let wait = wait(session, name, (pacing, purpose), now).await?;
    if wait.is_zero() { sends::hold(session, name, chat_id, text, now).await.map(Ok) } else { Ok(Err(wait)) }
}

/// How long the next text has to wait, by what a number may send in a day; zero when it may leave.
pub async fn wait(
    session: &mut Session,
    name: &str,
    (pacing, purpose): (Pacing, Purpose),
    now: Timestamp,
) -> Result<Duration> {
    if pacing.daily_limit == 0 {
        return Ok(Duration::ZERO);
    }
    let known_since = find(session, name).await?.map(|known| known.created_at);
    let lately = sends::lately(session, name, now).await?;
    Ok(pacing.wait(purpose, known_since, lately, now))
}
