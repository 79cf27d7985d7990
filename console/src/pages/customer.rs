//! One customer: whether she can be reached now, on what, and if not why, each reason with what mends it; and all that is kept of
//! her.

use std::sync::Arc;

use askama::Template;
use axum::extract::State;
use axum::response::Response;
use chrono::{NaiveTime, Timelike};
use recado_kernel::audit::{self, AuditFilter, Entry};
use recado_kernel::clock::Timestamp;
use recado_kernel::db::keyset::Cursor;
use recado_kernel::db::{Session, Violation};
use recado_kernel::ids::Id;
use recado_kernel::users::Role;
use recado_notifications::channels::{self, Channel};
use recado_notifications::customers::{self, Customer, Move};
use recado_notifications::journal::{self, OptOut};
use recado_notifications::notifications::records::{self, NotificationFilter, Record};
use recado_notifications::push;
use recado_notifications::reachability::{self, Obstacle, Reach};
use recado_notifications::reminders::{self, Reminder, ReminderFilter};
use recado_notifications::suppressions::{self, Suppression, SuppressionDraft};
use recado_notifications::vehicles::{self, Vehicle};
use recado_systems::erasure;

use super::customers::{ADDRESSES, PATH, address, masked, path_of};
use crate::Console;
use crate::auth::{Administer, Edit, Look, May, Operate};
use crate::failure::Failure;
use crate::form::Form;
use crate::notice::{Notice, then};
use crate::page::{Page, html, refused};
use crate::path::Path;
use crate::urls::encoded;

/// So many of the newest messages stand on the card.
const MESSAGES: i64 = 20;

/// So many vehicles and reminders.
const ENTRIES: i64 = 50;

/// So many decisions about channels are looked through for who switched one off.
const DECISIONS: i64 = 50;

#[derive(Template)]
#[template(path = "customers/show.html")]
struct ShowPage {
    page: Page,
    customer: Customer,
    path: String,
    /// Its identifier as a part of a URL.
    segment: String,
    /// Addresses stand there as they are.
    is_revealed: bool,
    /// Field and what is shown of it.
    addresses: Vec<(&'static str, Option<String>)>,
    is_reachable: bool,
    reach: Vec<ReachRow>,
    preferences: Vec<PreferenceRow>,
    quiet: Quiet,
    devices: Vec<DeviceRow>,
    suppressions: Vec<SuppressionRow>,
    vehicles: Vec<Vehicle>,
    reminders: Vec<Reminder>,
    messages: Vec<Record>,
    form: Form,
}

#[derive(Template)]
#[template(path = "customers/erased.html")]
struct ErasedPage {
    page: Page,
    customer_id: String,
    segment: String,
    entry: Entry,
}

/// A channel of the customer.
struct ReachRow {
    channel: Channel,
    place: Option<i64>,
    address: Option<String>,
    obstacle: Option<Obstacle>,
    explanation: &'static str,
    until: Option<Timestamp>,
    remedy: Remedy,
}

/// What mends an obstacle.
enum Remedy {
    None,
    Lift(Id),
    SwitchOn,
    Write,
    Resume,
    Workshops,
}

/// A channel in the order in which it is tried.
struct PreferenceRow {
    channel: Channel,
    is_on: bool,
    /// The customer has an opinion about it; otherwise it has its usual place.
    is_stated: bool,
    is_first: bool,
    is_last: bool,
    off: Option<Off>,
}

/// Who switched a channel off.
enum Off {
    Link { at: Timestamp, message: Option<Id> },
    Staff { at: Timestamp, by: String },
}

struct DeviceRow {
    id: Id,
    name: String,
    service: String,
    failing_since: Option<Timestamp>,
    updated_at: Timestamp,
}

struct SuppressionRow {
    id: Id,
    channel: Channel,
    reason: suppressions::Reason,
    detail: String,
    message: Option<Id>,
    since: Timestamp,
}

/// The quiet hours as a strip of a day, in minutes.
#[derive(Debug, Default, PartialEq, Eq)]
struct Quiet {
    from: String,
    until: String,
    /// Where they lie: beginning and length.
    spans: Vec<(u32, u32)>,
    now: u32,
    now_shown: String,
    zone: String,
}

impl Quiet {
    fn of(customer: &Customer, zone: chrono_tz::Tz, now: Timestamp) -> Self {
        let zone = customer.time_zone.as_deref().and_then(|zone| zone.parse().ok()).unwrap_or(zone);
        let minutes = |time: NaiveTime| time.hour() * 60 + time.minute();
        let clock = now.to_utc().with_timezone(&zone).time();
        let ends = customer.quiet_from.zip(customer.quiet_until).map(|(from, until)| (from.to_time(), until.to_time()));
        let spans = match ends.map(|(from, until)| (minutes(from), minutes(until))) {
            None => Vec::new(),
            Some((from, until)) if from < until => vec![(from, until - from)],
            // It crosses midnight.
            Some((from, until)) => vec![(0, until), (from, DAY - from)],
        };
        let shown = |time: Option<recado_kernel::time_of_day::TimeOfDay>| time.map(|time| time.to_string());
        Self {
            from: shown(customer.quiet_from).unwrap_or_default(),
            until: shown(customer.quiet_until).unwrap_or_default(),
            spans,
            now: minutes(clock),
            now_shown: clock.format("%H:%M").to_string(),
            zone: zone.name().to_owned(),
        }
    }
}

/// Minutes of a day.
const DAY: u32 = 24 * 60;

/// `/admin/customers/{customer_id}/`
pub(crate) async fn show(
    may: May<Look>,
    State(console): State<Arc<Console>>,
    Path(customer_id): Path<String>,
) -> Result<Response, Failure> {
    let mut session = console.context.db.read().await?;
    match customers::find(&mut session, &customer_id).await? {
        Some(customer) => html(&card(&console, &may, &mut session, customer, false).await?),
        None => {
            let filter = AuditFilter {
                action: Some("erase".to_owned()),
                subject_kind: Some("customer".to_owned()),
                subject: Some(customer_id.clone()),
                ..AuditFilter::default()
            };
            let entry = audit::page(&mut session, &filter, None, 1).await?.pop().ok_or(Failure::NotFound)?;
            let page = Page::new(&console, &may.visit, "customers", "customer-erased").about(&customer_id);
            html(&ErasedPage { page, segment: encoded(&customer_id), customer_id, entry })
        }
    }
}

/// The card with its addresses as they are. That somebody looked at them is kept.
pub(crate) async fn reveal(
    may: May<Operate>,
    State(console): State<Arc<Console>>,
    Path(customer_id): Path<String>,
) -> Result<Response, Failure> {
    let mut session = console.context.db.begin().await?;
    let customer = customers::find(&mut session, &customer_id).await?.ok_or(Failure::NotFound)?;
    customers::reveal(&mut session, &customer_id, &may.visit.actor(), may.visit.now).await?;
    session.commit().await?;
    let mut session = console.context.db.read().await?;
    html(&card(&console, &may, &mut session, customer, true).await?)
}

async fn card<P>(
    console: &Console,
    may: &May<P>,
    session: &mut Session,
    customer: Customer,
    is_revealed: bool,
) -> Result<ShowPage, Failure> {
    let (id, now) = (customer.customer_id.clone(), may.visit.now);
    let suppressed = suppressions::of_customer(session, &customer).await?;
    let reach = reachability::of_customer(&console.notifications, session, &id, None, now).await?.unwrap_or_default();
    let preferences = preference_rows(session, &id).await?;
    let devices = push::devices(session, &id).await?;
    let (vehicles, _) = vehicles::page(session, Some(&id), None, Cursor::Start, ENTRIES).await?;
    let filter = ReminderFilter { customer_id: Some(id.clone()), ..ReminderFilter::default() };
    let (reminders, _) = reminders::page(session, &filter, Cursor::Start, ENTRIES).await?;
    let filter = NotificationFilter { customer_id: Some(id.clone()), ..NotificationFilter::default() };
    let (messages, _) = records::list(session, &filter, MESSAGES, 0).await?;
    let shown = |field| match is_revealed {
        true => address(&customer, field).map(str::to_owned),
        false => masked(&customer, field),
    };
    Ok(ShowPage {
        page: Page::new(console, &may.visit, "customers", "customer-title").about(&id),
        path: path_of(&id),
        segment: encoded(&id),
        is_revealed,
        addresses: ADDRESSES.into_iter().map(|(field, _)| (field, shown(field))).collect(),
        is_reachable: reach.iter().any(|one| one.obstacle.is_none()),
        reach: reach.into_iter().map(|one| reach_row(may, &customer, &suppressed, &one)).collect(),
        preferences,
        quiet: Quiet::of(&customer, console.context.config.time_zone, now),
        devices: devices.into_iter().map(DeviceRow::from).collect(),
        suppressions: suppressed.into_iter().map(SuppressionRow::from).collect(),
        vehicles,
        reminders,
        messages,
        customer,
        form: Form::default(),
    })
}

fn reach_row<P>(may: &May<P>, customer: &Customer, suppressed: &[Suppression], reach: &Reach) -> ReachRow {
    let suppression = suppressed.iter().find(|one| one.channel == reach.channel);
    let visit = &may.visit;
    let remedy = match reach.obstacle {
        Some(Obstacle::Suppressed) if visit.may(Role::Operator) => {
            suppression.map_or(Remedy::None, |one| Remedy::Lift(one.id))
        }
        Some(Obstacle::OptedOut) if visit.may(Role::Editor) => Remedy::SwitchOn,
        Some(Obstacle::NoAddress) if visit.may(Role::Editor) => Remedy::Write,
        Some(Obstacle::Paused) => Remedy::Resume,
        Some(Obstacle::DisabledByWorkshop) => Remedy::Workshops,
        _ => Remedy::None,
    };
    ReachRow {
        channel: reach.channel,
        place: reach.place.and_then(|place| i64::try_from(place + 1).ok()),
        address: customer.address(reach.channel).and_then(|address| channels::mask(reach.channel, address)),
        obstacle: reach.obstacle,
        explanation: reach.obstacle.map_or("", |obstacle| obstacle.explanation(visit.words.language)),
        until: reach.until,
        remedy,
    }
}

/// The channels in their order, and of those that are off who switched them off: the later of a link and a person.
async fn preference_rows(session: &mut Session, customer_id: &str) -> Result<Vec<PreferenceRow>, Failure> {
    let preferences = customers::preferences(session, &[customer_id.to_owned()]).await?;
    let order = customers::order(&preferences);
    let (mut links, mut decisions) = (Vec::new(), Vec::new());
    if order.iter().any(|(_, is_on)| !is_on) {
        links = journal::opt_outs(session, customer_id, DECISIONS).await?;
        let filter = AuditFilter {
            action: Some("set_preferences".to_owned()),
            subject_kind: Some("customer".to_owned()),
            subject: Some(customer_id.to_owned()),
            ..AuditFilter::default()
        };
        decisions = audit::page(session, &filter, None, DECISIONS).await?;
    }
    let last = order.len().saturating_sub(1);
    let row = |(place, (channel, is_on)): (usize, &(Channel, bool))| PreferenceRow {
        channel: *channel,
        is_on: *is_on,
        is_stated: preferences.iter().any(|one| one.channel == *channel),
        is_first: place == 0,
        is_last: place == last,
        off: if *is_on { None } else { switched_off(*channel, &links, &decisions) },
    };
    Ok(order.iter().enumerate().map(row).collect())
}

fn switched_off(channel: Channel, links: &[OptOut], decisions: &[Entry]) -> Option<Off> {
    let link = links.iter().find(|one| one.channel == Some(channel));
    let is_off = |entry: &&Entry| {
        entry.after.as_ref().is_some_and(|after| after.0[channel.as_str()]["enabled"] == serde_json::json!(false))
    };
    let staff = decisions.iter().find(is_off);
    match (link, staff) {
        (Some(link), staff) if staff.is_none_or(|staff| staff.at < link.at) => {
            Some(Off::Link { at: link.at, message: link.notification_id })
        }
        (_, Some(staff)) => Some(Off::Staff { at: staff.at, by: staff.actor.clone() }),
        _ => None,
    }
}

impl From<push::Device> for DeviceRow {
    fn from(device: push::Device) -> Self {
        Self {
            service: device.service(),
            id: device.id,
            name: device.user_agent.unwrap_or_default().chars().take(120).collect(),
            failing_since: device.failing_since,
            updated_at: device.updated_at,
        }
    }
}

impl From<Suppression> for SuppressionRow {
    fn from(one: Suppression) -> Self {
        Self {
            id: one.id,
            channel: one.channel,
            reason: one.reason,
            detail: channels::without(one.channel, &one.address, &one.detail).chars().take(300).collect(),
            message: one.notification_id,
            since: one.created_at,
        }
    }
}

// --- What is done on the card ---

/// Moves a channel up or down, or switches it on or off: `channel` and `move`. Each undoes another.
pub(crate) async fn arrange(
    may: May<Edit>,
    State(console): State<Arc<Console>>,
    Path(customer_id): Path<String>,
    form: Form,
) -> Result<Response, Failure> {
    let (channel, by) = (form.text("channel").parse::<Channel>(), form.text("move").parse::<Move>());
    let (Ok(channel), Ok(by)) = (channel, by) else { return Err(Failure::Malformed) };
    let there = path_of(&customer_id);
    let mut session = console.context.db.begin().await?;
    customers::lock(&mut session, &customer_id).await?.ok_or(Failure::NotFound)?;
    let before = customers::preferences(&mut session, std::slice::from_ref(&customer_id)).await?;
    let choices = customers::moved(&before, channel, by);
    if choices.is_empty() {
        return Ok(then(&there, &Notice::new("nothing-to-do", 0)));
    }
    customers::set_preferences(&mut session, &customer_id, &choices, &may.visit.actor(), may.visit.now).await?;
    session.commit().await?;
    let (notice, back) = match by {
        Move::Up => (Notice::new("preference-moved", 1), Move::Down),
        Move::Down => (Notice::new("preference-moved", 1), Move::Up),
        Move::On => (Notice::new("preference-on", 1), Move::Off),
        Move::Off => (Notice::new("preference-off", 1), Move::On),
    };
    let undo = format!("{there}preferences/?channel={channel}&move={back}");
    Ok(then(&there, &notice.undone_by(undo)))
}

/// Suppresses the address of a channel.
pub(crate) async fn suppress(
    may: May<Operate>,
    State(console): State<Arc<Console>>,
    Path(customer_id): Path<String>,
    form: Form,
) -> Result<Response, Failure> {
    let channel: Channel = form.text("channel").parse().map_err(|_| Failure::Malformed)?;
    let there = path_of(&customer_id);
    let mut session = console.context.db.begin().await?;
    let customer = customers::find(&mut session, &customer_id).await?.ok_or(Failure::NotFound)?;
    let Some(address) = customer.address(channel) else { return Ok(then(&there, &Notice::new("nothing-to-do", 0))) };
    let draft = SuppressionDraft {
        channel: Some(channel),
        address: suppressions::key(channel, address),
        detail: form.text("detail").chars().filter(|one| !one.is_control()).take(500).collect(),
    };
    match suppressions::insert(&mut session, &draft, &may.visit.actor(), may.visit.now).await {
        Ok(made) => {
            session.commit().await?;
            let undo = format!("/admin/suppressions/{}/lift/?back={}", made.id, encoded(&there));
            Ok(then(&there, &Notice::new("suppressed", 1).undone_by(undo)))
        }
        Err(error) if error.violates("suppressions_key", "suppressions.channel, suppressions.address") => {
            Ok(then(&there, &Notice::new("nothing-to-do", 0)))
        }
        Err(error) => Err(error.into()),
    }
}

/// Removes a device. Its browser comes back by itself, so no number is typed; the box beside the button says that it is meant.
pub(crate) async fn remove_device(
    may: May<Edit>,
    State(console): State<Arc<Console>>,
    Path((customer_id, id)): Path<(String, Id)>,
    form: Form,
) -> Result<Response, Failure> {
    let there = path_of(&customer_id);
    if !form.is_ticked("sure") {
        return Ok(then(&there, &Notice::new("device-unsure", 0)));
    }
    let mut session = console.context.db.begin().await?;
    let is_removed = push::remove_device(&mut session, &customer_id, id, &may.visit.actor(), may.visit.now).await?;
    session.commit().await?;
    let notice = if is_removed { Notice::new("device-removed", 1) } else { Notice::new("nothing-to-do", 0) };
    Ok(then(&there, &notice))
}

/// Deletes the customer and what is theirs; what was sent stays in the log. Its identifier is typed.
pub(crate) async fn delete(
    may: May<Edit>,
    State(console): State<Arc<Console>>,
    Path(customer_id): Path<String>,
    form: Form,
) -> Result<Response, Failure> {
    if form.text("typed") != customer_id.trim() {
        return mistyped(&console, &may, customer_id, form, "delete").await;
    }
    let mut session = console.context.db.begin().await?;
    let deleted = customers::delete(&mut session, &customer_id, &may.visit.actor(), may.visit.now).await?;
    session.commit().await?;
    if deleted.customers == 0 { Err(Failure::NotFound) } else { Ok(then(PATH, &Notice::new("customer-deleted", 1))) }
}

/// Forgets the person: what is theirs, and of what was sent to them addresses and words. Its identifier is typed.
pub(crate) async fn erase(
    may: May<Administer>,
    State(console): State<Arc<Console>>,
    Path(customer_id): Path<String>,
    form: Form,
) -> Result<Response, Failure> {
    if form.text("typed") != customer_id.trim() {
        return mistyped(&console, &may, customer_id, form, "erase").await;
    }
    let erased = erasure::erase(&console.context, &customer_id, &may.visit.actor()).await?.ok_or(Failure::NotFound)?;
    let messages = usize::try_from(erased.erased.notifications).unwrap_or(usize::MAX);
    Ok(then(&path_of(&customer_id), &Notice::new("customer-erased", messages)))
}

/// The card once more: what was typed is not its identifier, and nothing was done.
async fn mistyped<P>(
    console: &Console,
    may: &May<P>,
    customer_id: String,
    mut form: Form,
    action: &str,
) -> Result<Response, Failure> {
    let mut session = console.context.db.read().await?;
    let customer = customers::find(&mut session, &customer_id).await?.ok_or(Failure::NotFound)?;
    let mut shown = card(console, may, &mut session, customer, false).await?;
    form.add_error(action, shown.page.t("people-mistyped"));
    shown.form = form;
    refused(&shown)
}

#[cfg(test)]
mod tests {
    use chrono_tz::Tz;

    use super::*;

    fn quiet(from: &str, until: &str) -> Vec<(u32, u32)> {
        let customer =
            Customer { quiet_from: from.parse().ok(), quiet_until: until.parse().ok(), ..Customer::default() };
        Quiet::of(&customer, Tz::America__Guayaquil, Timestamp::from_micros(0)).spans
    }

    #[test]
    fn quiet_hours_are_drawn_where_they_lie() {
        assert_eq!(quiet("22:00", "07:30"), [(0, 450), (1320, 120)]);
        assert_eq!(quiet("13:00", "14:00"), [(780, 60)]);
        assert!(quiet("", "").is_empty());
        let now = Quiet::of(&Customer::default(), Tz::America__Guayaquil, Timestamp::from_micros(0));
        assert_eq!((now.now, now.now_shown.as_str()), (19 * 60, "19:00"));
    }

    #[test]
    fn the_later_of_link_and_person_switched_it_off() {
        let link = |micros| OptOut {
            at: Timestamp::from_micros(micros),
            notification_id: None,
            channel: Some(Channel::Email),
        };
        assert!(matches!(switched_off(Channel::Email, &[link(5)], &[]), Some(Off::Link { .. })));
        assert!(switched_off(Channel::Push, &[link(5)], &[]).is_none());
    }
}
