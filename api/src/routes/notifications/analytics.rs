//! What was sent and how it went (S002-28 to S002-30, S002-56 to S002-58).

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use axum::extract::State;
use chrono::NaiveDate;
use recado_kernel::clock::Timestamp;
use recado_kernel::ids::Id;
use recado_notifications::analytics::{self, ChannelHealth, Count, LONGEST_PERIOD, Recent, percent};
use recado_notifications::channels::Channel;
use recado_notifications::notifications::Status;
use serde::Serialize;
use utoipa::{IntoParams, ToSchema};

use crate::auth::{May, Read};
use crate::extract::query::Query;
use crate::extract::request::request;
use crate::problem::Problem;
use crate::routing::routes;
use crate::state::{Api, Routes};

pub(crate) fn routes() -> Routes {
    Routes::new().routes(routes!(summary)).routes(routes!(recent)).routes(routes!(health))
}

/// What was sent in the last days, by channel, status, event type and day.
#[utoipa::path(get, path = "/summary", tag = "analytics", params(SummaryQuery),
    responses((status = 200, description = "The summary", body = Summary)))]
async fn summary(
    _: May<Read>,
    State(api): State<Arc<Api>>,
    Query(SummaryQuery { days }): Query<SummaryQuery>,
) -> Result<axum::Json<Summary>, Problem> {
    let (zone, now) = (api.context.config.time_zone, api.context.clock.now());
    let (first, last) = analytics::period(days, zone, now);
    let mut counts = analytics::finished(&api.context.db, first, zone, now).await?;
    counts.extend(today(&api, last).await?.iter().cloned());
    Ok(axum::Json(Summary::of(first, last, &counts)))
}

/// Today's counts, shared by all who ask for as long as counting them is costly. Yesterday's are not taken for today's.
async fn today(api: &Api, today: NaiveDate) -> Result<Arc<Vec<Count>>, Problem> {
    let count = async || {
        let counted = analytics::today(&api.context.db, api.context.config.time_zone, api.context.clock.now()).await?;
        Ok::<_, Problem>((today, Arc::new(counted)))
    };
    let (day, counts) = api.today.try_get(count(), |(day, _)| *day == today).await?;
    debug_assert_eq!(day, today, "another day is counted again");
    Ok(counts)
}

/// The newest messages.
#[utoipa::path(get, path = "/recent", tag = "analytics", params(RecentQuery),
    responses((status = 200, description = "The newest first", body = Vec<RecentView>)))]
async fn recent(
    _: May<Read>,
    State(api): State<Arc<Api>>,
    Query(RecentQuery { limit, channel, status }): Query<RecentQuery>,
) -> Result<axum::Json<Vec<RecentView>>, Problem> {
    let found = analytics::recent(&mut api.context.db.read().await?, channel, status, limit).await?;
    Ok(axum::Json(found.into_iter().map(RecentView::from).collect()))
}

/// How the channels did in the last 24 hours.
#[utoipa::path(get, path = "/health", tag = "analytics",
    responses((status = 200, description = "Each channel", body = HealthView)))]
async fn health(_: May<Read>, State(api): State<Arc<Api>>) -> Result<axum::Json<HealthView>, Problem> {
    let since = api.context.clock.now() - Duration::from_secs(24 * 60 * 60);
    let health = analytics::health(&mut api.context.db.read().await?, since).await?;
    let of = |channel| ChannelView::from(health.get(&channel).copied().unwrap_or_default());
    let (email, whatsapp, push) = (of(Channel::Email), of(Channel::Whatsapp), of(Channel::Push));
    Ok(axum::Json(HealthView { email, whatsapp, push }))
}

request! {
    /// How far a summary looks back.
    #[derive(IntoParams)]
    #[into_params(parameter_in = Query)]
    struct SummaryQuery {
        /// Days, today included.
        #[param(minimum = 1, maximum = 365, default = 30, required = false)]
        days: i64 = 30,
    }

    fn errors(&self) -> Vec<(&'static str, String)> {
        out_of_range("days", self.days, LONGEST_PERIOD)
    }
}

request! {
    /// Which messages to show.
    #[derive(IntoParams)]
    #[into_params(parameter_in = Query)]
    struct RecentQuery {
        /// How many at most.
        #[param(minimum = 1, maximum = 100, default = 10, required = false)]
        limit: i64 = 10,
        /// Only of this channel.
        #[param(inline)]
        channel: Option<Channel>,
        /// Only with this status.
        #[param(inline)]
        status: Option<Status>,
    }

    fn errors(&self) -> Vec<(&'static str, String)> {
        out_of_range("limit", self.limit, 100)
    }
}

/// What is wrong with a number that may be from 1 to `max`.
fn out_of_range(name: &'static str, number: i64, max: i64) -> Vec<(&'static str, String)> {
    let error = || (name, format!("Debe estar entre 1 y {max}."));
    (!(1..=max).contains(&number)).then(error).into_iter().collect()
}

/// What was sent in a period.
#[derive(Debug, Serialize, ToSchema)]
struct Summary {
    /// First day.
    period_start: NaiveDate,
    /// Last day: today where the workshops are.
    period_end: NaiveDate,
    /// Messages that a provider took, whatever became of them afterwards.
    total_sent: i64,
    /// Of those, the ones whose receipt says that they arrived or were read.
    total_delivered: i64,
    /// Messages that failed for good, or came back.
    total_failed: i64,
    /// Messages that may still leave.
    total_pending: i64,
    /// `total_delivered` of `total_sent`, in per cent. Email and push have no receipts: see `acceptance_rate`.
    delivery_rate: f64,
    /// `total_sent` of all that left or failed, in per cent.
    acceptance_rate: f64,
    /// From the event to the receipt, or to the provider's yes where there is no receipt; null when nothing left.
    avg_delivery_time_seconds: Option<f64>,
    /// Whether a channel's providers tell us about delivery.
    receipts_supported: BTreeMap<Channel, bool>,
    /// Messages by channel.
    by_channel: BTreeMap<Channel, i64>,
    /// Messages by status.
    by_status: BTreeMap<&'static str, i64>,
    /// Messages by type of event.
    by_event_type: BTreeMap<String, i64>,
    /// Every day of the period, the oldest first.
    daily_breakdown: Vec<DayView>,
}

/// One day of a summary.
#[derive(Clone, Debug, Serialize, ToSchema)]
struct DayView {
    /// The day where the workshops are.
    date: NaiveDate,
    /// All messages.
    total: i64,
    /// Messages that a provider took.
    sent: i64,
    /// Messages with a receipt.
    delivered: i64,
    /// Messages that failed for good, or came back.
    failed: i64,
}

impl Summary {
    fn of(first: NaiveDate, last: NaiveDate, counts: &[Count]) -> Self {
        let sum = |is_meant: fn(Status) -> bool| -> i64 {
            counts.iter().filter(|count| is_meant(count.status)).map(|count| count.total).sum()
        };
        let (sent, failed) = (sum(Status::is_sent), sum(has_failed));
        let (timed, seconds) = counts.iter().fold((0, 0.0), |sum, one| (sum.0 + one.timed, sum.1 + one.seconds));
        Self {
            period_start: first,
            period_end: last,
            total_sent: sent,
            total_delivered: sum(has_arrived),
            total_failed: failed,
            total_pending: sum(Status::is_open),
            delivery_rate: percent(sum(has_arrived), sent),
            acceptance_rate: percent(sent, sent + failed),
            avg_delivery_time_seconds: (timed > 0).then(|| (seconds * 1_000.0 / timed as f64).round() / 1_000.0),
            receipts_supported: Channel::ALL.map(|channel| (channel, channel.has_receipts())).into(),
            by_channel: totals(Channel::ALL, counts, |count| count.channel),
            by_status: totals(Status::ALL.map(Status::as_str), counts, |count| count.status.as_str()),
            by_event_type: totals([], counts, |count| count.event_type.clone()),
            daily_breakdown: daily(first, last, counts),
        }
    }
}

fn has_arrived(status: Status) -> bool {
    matches!(status, Status::Delivered | Status::Read)
}

fn has_failed(status: Status) -> bool {
    matches!(status, Status::Failed | Status::Bounced)
}

/// Totals by a property of the counts; what is known beforehand is there even when it is zero.
fn totals<K: Ord, const N: usize>(known: [K; N], counts: &[Count], key: impl Fn(&Count) -> K) -> BTreeMap<K, i64> {
    let mut totals: BTreeMap<K, i64> = known.into_iter().map(|key| (key, 0)).collect();
    for count in counts {
        *totals.entry(key(count)).or_default() += count.total;
    }
    totals
}

fn daily(first: NaiveDate, last: NaiveDate, counts: &[Count]) -> Vec<DayView> {
    let empty = |date| (date, DayView { date, total: 0, sent: 0, delivered: 0, failed: 0 });
    let mut days: BTreeMap<NaiveDate, DayView> = first.iter_days().take_while(|day| *day <= last).map(empty).collect();
    for count in counts {
        let Some(day) = days.get_mut(&count.day) else { continue };
        day.total += count.total;
        day.sent += if count.status.is_sent() { count.total } else { 0 };
        day.delivered += if has_arrived(count.status) { count.total } else { 0 };
        day.failed += if has_failed(count.status) { count.total } else { 0 };
    }
    days.into_values().collect()
}

/// A message of the log.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = RecentNotification)]
struct RecentView {
    /// Id of the notification.
    id: Id,
    /// What it was about.
    event_type: String,
    /// How it went.
    channel: Channel,
    /// The customer's `customer_id`.
    recipient_id: String,
    /// Where it stands.
    status: Status,
    /// When the provider took it.
    sent_at: Option<Timestamp>,
    /// When the event was accepted.
    created_at: Timestamp,
    /// The template of its words, or the event's type where the caller brought the words.
    template_name: String,
    /// Why it failed.
    error_reason: Option<String>,
    /// What is most likely true: on a channel without receipts, what was sent counts as delivered.
    inferred_status: Status,
}

impl From<Recent> for RecentView {
    fn from(recent: Recent) -> Self {
        Self {
            inferred_status: analytics::inferred(recent.channel, recent.status),
            id: recent.id,
            event_type: recent.event_type,
            channel: recent.channel,
            recipient_id: recent.customer_id,
            status: recent.status,
            sent_at: recent.sent_at,
            created_at: recent.created_at,
            template_name: recent.template_name,
            error_reason: recent.error_reason,
        }
    }
}

/// How each channel did in the last 24 hours.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = ChannelsHealth)]
struct HealthView {
    /// Email.
    email: ChannelView,
    /// WhatsApp.
    whatsapp: ChannelView,
    /// Web Push.
    push: ChannelView,
}

/// How a channel did.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = ChannelHealth)]
struct ChannelView {
    /// Messages that left or failed for good.
    total: i64,
    /// Messages that a provider took.
    success: i64,
    /// Messages that failed for good, or came back.
    failed: i64,
    /// `success` of `total`, in per cent; 100 without traffic.
    success_rate: f64,
    /// Whether there was no traffic, or at least 90 % of it succeeded.
    is_healthy: bool,
}

impl From<ChannelHealth> for ChannelView {
    fn from(health: ChannelHealth) -> Self {
        Self {
            total: health.total(),
            success: health.success,
            failed: health.failed,
            success_rate: health.success_rate(),
            is_healthy: health.is_healthy(),
        }
    }
}
