//! When a message may leave: the pace of a provider, and the throttle of a recipient.

use std::time::Duration;

use recado_kernel::clock::Timestamp;
use recado_kernel::db::{Result, Session};
use recado_kernel::sql;

use super::Notification;

/// Reserves the next free moment of a provider that takes `per_minute` messages: now, or later. All workers share it.
///
/// When it was last asked for in what is the future now, the clock was set back: the moments that are taken go back as far.
pub async fn reserve(session: &mut Session, provider: &str, per_minute: u32, now: Timestamp) -> Result<Timestamp> {
    let interval = 60_000_000 / i64::from(per_minute.max(1));
    let row: Option<(i64,)> = sql!(
        one(i64,),
        session,
        "insert into pacing (key, next_free_us, asked_us) values ($1, $2 + $3, $2)
         on conflict (key) do update set
             next_free_us = case when pacing.asked_us > $2 + $4 and pacing.next_free_us > pacing.asked_us
                                      then pacing.next_free_us - pacing.asked_us + $2
                                 when pacing.asked_us <= $2 + $4 and pacing.next_free_us > $2 then pacing.next_free_us
                                 else $2 end + $3,
             asked_us = $2
         returning next_free_us",
        provider,
        now.as_micros(),
        interval,
        INEXACT_US
    )?;
    Ok(row.map_or(now, |(next_free,)| Timestamp::from_micros(next_free - interval)))
}

/// The first moment that no paced provider has given away yet, where some are given away: until then messages wait for their turn.
pub async fn given_away_until(session: &mut Session, now: Timestamp) -> Result<Option<Timestamp>> {
    let last: Option<(Option<i64>,)> = sql!(
        one(Option<i64>),
        session,
        "select max(next_free_us) from pacing where next_free_us > $1",
        now.as_micros()
    )?;
    Ok(last.and_then(|(last,)| last).map(Timestamp::from_micros))
}

/// So far the times of two workers may lie apart, in microseconds.
const INEXACT_US: i64 = 5_000_000;

/// In which `RECIPIENT_THROTTLE_PER_HOUR` counts.
pub const THROTTLE_WINDOW: Duration = Duration::from_secs(60 * 60);

/// Takes a place among the messages of the notification's customer, so that no window of an hour holds more than `per_hour`
/// of them: now, or when the oldest of so many leaves the window. Messages that failed or were cancelled free their place.
///
/// The customer's row is locked meanwhile, for two messages that count at once would both find room.
pub async fn admit(
    session: &mut Session,
    notification: &Notification,
    per_hour: u32,
    now: Timestamp,
) -> Result<Timestamp> {
    let customer_id = notification.customer_id.as_str();
    let _locked: Option<(String,)> = sql!(
        one(String,),
        session,
        "select customer_id from customers where customer_id = $1 for update",
        customer_id
    )?;
    let oldest: Option<(Timestamp,)> = sql!(
        one(Timestamp,),
        session,
        "select admitted_at from notifications
         where customer_id = $1 and id <> $2 and admitted_at is not null and status not in ('failed', 'cancelled')
         order by admitted_at desc limit 1 offset $3",
        customer_id,
        notification.id,
        i64::from(per_hour.max(1)) - 1
    )?;
    let place = oldest.map_or(now, |(oldest,)| now.max(oldest + THROTTLE_WINDOW));
    super::call_up(session, &[notification.id]).await?;
    sql!(run, session, "update notifications set admitted_at = $2 where id = $1", notification.id, place)?;
    Ok(place)
}
