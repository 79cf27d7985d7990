//! Reminders as an agenda: whom we write to on which morning; what would become of each message on the next one; and each reminder
//! with what is done about it.

use std::sync::Arc;

use askama::Template;
use axum::extract::State;
use axum::response::Response;
use chrono::NaiveDate;
use recado_kernel::clock::Timestamp;
use recado_kernel::ids::Id;
use recado_notifications::channels::Channel;
use recado_notifications::dispatch::{Preview, Rejection};
use recado_notifications::reminders::{
    self, Kind, Planned, Reached, Reminder, ReminderDraft, ReminderFilter, SCHEDULE, Standing, Status, TriedReminder,
};
use recado_notifications::vehicles;

use super::customers;
use crate::Console;
use crate::auth::{Edit, Look, May};
use crate::failure::Failure;
use crate::form::Form;
use crate::lists::{Around, Query, ROWS};
use crate::notice::{Notice, then};
use crate::page::{Page, html, refused};
use crate::path::Path;

const PATH: &str = "/admin/reminders/";

/// So many days the agenda looks ahead.
const DAYS: u64 = 30;

/// So many reminders are tried.
const MOST_TRIED: i64 = 100;

// --- The agenda, and lists by status ---

#[derive(Template)]
#[template(path = "reminders/agenda.html")]
struct AgendaPage {
    page: Page,
    /// False: the schedule is switched off.
    is_enabled: bool,
    schedule: &'static str,
    days: Vec<Day>,
    statuses: [Status; 5],
    older: Option<String>,
    is_continued: bool,
}

/// A morning with those to whom we write on it.
struct Day {
    day: NaiveDate,
    /// When the schedule runs.
    at: Timestamp,
    rows: Vec<Entry>,
}

struct Entry {
    id: Id,
    customer_id: String,
    customer_path: String,
    name: String,
    plate: String,
    vehicle: String,
    description: String,
    target: Option<NaiveDate>,
    target_kilometers: Option<i64>,
    /// It was due before: the last run refused it, or reached no one.
    is_late: bool,
}

impl Entry {
    fn of(planned: Planned, today: NaiveDate) -> Self {
        let Planned { reminder, due_on } = planned;
        let names = [reminder.first_name.as_deref(), reminder.last_name.as_deref()];
        Self {
            id: reminder.id,
            customer_path: customers::path_of(&reminder.customer_id),
            name: names.into_iter().flatten().collect::<Vec<_>>().join(" ").trim().to_owned(),
            vehicle: vehicles::display_name(&reminder.brand, &reminder.model, reminder.year),
            customer_id: reminder.customer_id,
            plate: reminder.plate,
            description: reminder.description,
            target: reminder.target_date,
            target_kilometers: reminder.target_kilometers.map(i64::from),
            is_late: due_on.is_none_or(|due_on| due_on < today),
        }
    }
}

#[derive(Template)]
#[template(path = "reminders/list.html")]
struct ListPage {
    page: Page,
    status: Option<Status>,
    statuses: [Status; 5],
    customer_id: String,
    rows: Vec<Reminder>,
    around: Around,
}

/// `/admin/reminders/`: the agenda; with `status`, or `view=all`, a list.
pub(crate) async fn list(may: May<Look>, State(console): State<Arc<Console>>) -> Result<Response, Failure> {
    let asked = Query::read(&may.visit.query);
    let status: Option<Status> = asked.get("status");
    if status.is_some() || asked.text("view").is_some() || asked.text("customer_id").is_some() {
        return by_status(&console, &may, &asked, status).await;
    }
    let (now, zone) = (may.visit.now, console.context.config.time_zone);
    let (today, after) = (now.date_in(zone), asked.text("after").and_then(|place| read(&place)));
    let mut session = console.context.db.read().await?;
    let mornings = reminders::mornings(&mut session, zone, now, DAYS).await?;
    let runs = mornings.days();
    let mut planned = Vec::new();
    if let (Some(first), None) = (runs.first(), after) {
        planned = reminders::due_by_distance(&mut session, *first, ROWS).await?;
    }
    let mut dated = match runs.last() {
        Some(last) => reminders::agenda(&mut session, *last, after, ROWS + 1).await?,
        None => Vec::new(),
    };
    drop(session);
    let has_more = dated.len() > ROWS as usize;
    dated.truncate(ROWS as usize);
    let last = dated.last().and_then(|one| Some(format!("{}.{}", one.due_on?, one.reminder.id)));
    planned.extend(dated);
    let mut days: Vec<Day> =
        mornings.runs.iter().map(|(at, day)| Day { day: *day, at: *at, rows: Vec::new() }).collect();
    for one in planned {
        let morning = reminders::morning(one.due_on, &runs);
        if let Some(day) = days.iter_mut().find(|day| Some(day.day) == morning) {
            day.rows.push(Entry::of(one, today));
        }
    }
    days.retain(|day| !day.rows.is_empty());
    html(&AgendaPage {
        page: Page::new(&console, &may.visit, "reminders", "reminders-title"),
        is_enabled: mornings.is_enabled,
        schedule: SCHEDULE,
        days,
        statuses: STATUSES,
        older: last.filter(|_| has_more).map(|last| format!("{PATH}?after={last}")),
        is_continued: after.is_some(),
    })
}

const STATUSES: [Status; 5] =
    [Status::Pending, Status::Notified, Status::Overdue, Status::Completed, Status::Cancelled];

/// Behind which row the agenda goes on: its day and its id.
fn read(place: &str) -> Reached {
    let (day, id) = place.split_once('.')?;
    Some((day.parse().ok()?, id.parse().ok()?))
}

async fn by_status(
    console: &Console,
    may: &May<Look>,
    asked: &Query,
    status: Option<Status>,
) -> Result<Response, Failure> {
    let filter = ReminderFilter { status, customer_id: asked.text("customer_id"), ..ReminderFilter::default() };
    let cursor = asked.cursor();
    let (rows, has_more) = reminders::page(&mut console.context.db.read().await?, &filter, cursor, ROWS).await?;
    let ends = (rows.first().map(|one| one.id), rows.last().map(|one| one.id));
    html(&ListPage {
        page: Page::new(console, &may.visit, "reminders", "reminders-title"),
        status,
        statuses: STATUSES,
        customer_id: filter.customer_id.unwrap_or_default(),
        around: Around::of(asked, PATH, ends.0, ends.1, has_more),
        rows,
    })
}

// --- What would be sent ---

#[derive(Template)]
#[template(path = "reminders/dry_run.html")]
struct DryRunPage {
    page: Page,
    /// When the schedule runs next; `None`: it never does.
    at: Option<Timestamp>,
    day: NaiveDate,
    is_enabled: bool,
    schedule: &'static str,
    rows: Vec<Outcome>,
    has_more: bool,
    sent: i64,
}

/// What would become of a reminder.
struct Outcome {
    id: Id,
    customer_id: String,
    customer_path: String,
    plate: String,
    description: String,
    is_overdue: bool,
    /// In the order in which they would be tried.
    messages: Vec<Message>,
    /// Channel, and why it is not used.
    skipped: Vec<(Channel, String)>,
    /// When the first message leaves, where that is later.
    deferred_until: Option<Timestamp>,
    /// Why the event would be refused.
    refused: Option<String>,
}

struct Message {
    channel: Channel,
    address: Option<String>,
    template: String,
}

impl Outcome {
    fn of(one: TriedReminder, language: recado_kernel::language::Language) -> Self {
        let reminder = one.reminder;
        let mut outcome = Self {
            id: reminder.id,
            customer_path: customers::path_of(&reminder.customer_id),
            customer_id: reminder.customer_id,
            plate: reminder.plate,
            description: reminder.description,
            is_overdue: one.standing == Standing::Overdue,
            messages: Vec::new(),
            skipped: Vec::new(),
            deferred_until: None,
            refused: None,
        };
        match one.outcome {
            Ok(preview) => outcome.fill(preview.masked(), language),
            Err(Rejection::Refused(sentences)) => {
                let said: Vec<&str> = sentences.iter().map(|sentence| sentence.told(language)).collect();
                outcome.refused = Some(said.join(" "));
            }
            Err(other) => outcome.refused = Some(other.to_string()),
        }
        outcome
    }

    fn fill(&mut self, preview: Preview, language: recado_kernel::language::Language) {
        self.deferred_until = preview.deferred.map(|_| preview.send_at);
        self.skipped =
            preview.skipped.into_iter().map(|one| (one.channel, one.reason.explanation(language).to_owned())).collect();
        let message = |one: recado_notifications::dispatch::PreviewMessage| Message {
            channel: one.channel,
            address: one.recipient_address,
            template: one.template,
        };
        self.messages = preview.messages.into_iter().map(message).collect();
    }
}

/// `/admin/reminders/dry-run/`: what the schedule would send at its next run. Nothing is sent.
pub(crate) async fn dry_run(may: May<Look>, State(console): State<Arc<Console>>) -> Result<Response, Failure> {
    let (now, zone) = (may.visit.now, console.context.config.time_zone);
    let mut session = console.context.db.read().await?;
    let mornings = reminders::mornings(&mut session, zone, now, YEAR).await?;
    drop(session);
    let next = mornings.runs.first().copied();
    let (tried, has_more) = match next {
        Some((at, _)) => reminders::dry_run(&console.notifications, at, MOST_TRIED).await?,
        None => (Vec::new(), false),
    };
    let language = may.visit.words.language;
    let rows: Vec<Outcome> = tried.into_iter().map(|one| Outcome::of(one, language)).collect();
    html(&DryRunPage {
        page: Page::new(&console, &may.visit, "reminders", "reminders-run-title"),
        at: next.map(|(at, _)| at),
        day: next.map_or_else(|| now.date_in(zone), |(_, day)| day),
        is_enabled: mornings.is_enabled,
        schedule: SCHEDULE,
        sent: rows.iter().filter(|row| !row.messages.is_empty()).count() as i64,
        rows,
        has_more,
    })
}

/// A schedule that does not run within so many days has no next morning.
const YEAR: u64 = 366;

// --- One reminder ---

#[derive(Template)]
#[template(path = "reminders/show.html")]
struct ShowPage {
    page: Page,
    form: Form,
    path: String,
    reminder: Option<Reminder>,
    customer_path: String,
    /// When it is announced, as far as its date tells.
    morning: Option<NaiveDate>,
    /// Kinds as a field offers them.
    kinds: Vec<(String, String)>,
    channels: [Channel; 3],
}

impl ShowPage {
    fn is_ticked(&self, channel: &Channel) -> bool {
        self.form.all("notify_via").contains(&channel.as_str())
    }
}

/// `/admin/reminders/new/?vehicle=`
pub(crate) async fn new(may: May<Edit>, State(console): State<Arc<Console>>) -> Result<Response, Failure> {
    let draft = ReminderDraft { vehicle: Query::read(&may.visit.query).get("vehicle"), ..ReminderDraft::default() };
    html(&page_of(&console, &may, None, form_of(&draft)))
}

/// `/admin/reminders/{id}/`
pub(crate) async fn show(
    may: May<Look>,
    State(console): State<Arc<Console>>,
    Path(id): Path<Id>,
) -> Result<Response, Failure> {
    let (now, zone) = (may.visit.now, console.context.config.time_zone);
    let mut session = console.context.db.read().await?;
    let found = reminders::find(&mut session, id).await?.ok_or(Failure::NotFound)?;
    let mornings = reminders::mornings(&mut session, zone, now, YEAR).await?;
    drop(session);
    let due_on = ReminderDraft::from(found.clone()).due_on();
    let is_pending = found.status == Status::Pending;
    let form = form_of(&ReminderDraft::from(found.clone())).read_at(found.updated_at.as_micros());
    let mut shown = page_of(&console, &may, Some(found), form);
    shown.morning = due_on.filter(|_| is_pending).and_then(|day| reminders::morning(Some(day), &mornings.days()));
    html(&shown)
}

fn page_of<P>(console: &Console, may: &May<P>, reminder: Option<Reminder>, form: Form) -> ShowPage {
    let page = match &reminder {
        Some(reminder) => Page::new(console, &may.visit, "reminders", "reminder-title").about(&reminder.plate),
        None => Page::new(console, &may.visit, "reminders", "reminder-new"),
    };
    let kinds = Kind::ALL.into_iter().map(|kind| (kind.to_string(), page.word("reminder-kind", kind))).collect();
    let path = reminder.as_ref().map_or_else(|| PATH.to_owned(), |one| format!("{PATH}{}/", one.id));
    let customer_path = reminder.as_ref().map(|one| customers::path_of(&one.customer_id)).unwrap_or_default();
    ShowPage { page, form, path, reminder, customer_path, morning: None, kinds, channels: CHANNELS }
}

const CHANNELS: [Channel; 3] = [Channel::Email, Channel::Whatsapp, Channel::Push];

fn form_of(draft: &ReminderDraft) -> Form {
    let number = |number: Option<i32>| number.map(|number| number.to_string()).unwrap_or_default();
    let mut fields = vec![
        ("vehicle", draft.vehicle.map(|id| id.to_string()).unwrap_or_default()),
        ("kind", draft.kind.to_string()),
        ("description", draft.description.clone()),
        ("target_date", draft.target_date.map(|day| day.to_string()).unwrap_or_default()),
        ("target_kilometers", number(draft.target_kilometers)),
        ("notify_before_days", draft.notify_before_days.to_string()),
        ("notify_before_km", draft.notify_before_km.to_string()),
    ];
    fields.extend(draft.notify_via.iter().map(|channel| ("notify_via", channel.to_string())));
    Form::of(fields)
}

fn draft_of(form: &mut Form, page: &Page) -> ReminderDraft {
    let wrong = || page.t("people-wrong-number");
    let usual = ReminderDraft::default();
    let mut notify_via: Vec<Channel> = form.all("notify_via").iter().filter_map(|word| word.parse().ok()).collect();
    notify_via.sort_unstable();
    notify_via.dedup();
    let draft = ReminderDraft {
        vehicle: form.parsed("vehicle", || page.t("reminder-no-vehicle")),
        kind: form.parsed("kind", || page.t("people-required")).unwrap_or_default(),
        description: form.text("description"),
        target_kilometers: form.parsed("target_kilometers", wrong),
        target_date: form.parsed("target_date", || page.t("people-wrong-day")),
        notify_via,
        status: None,
        notify_before_days: form.parsed("notify_before_days", wrong).unwrap_or(usual.notify_before_days),
        notify_before_km: form.parsed("notify_before_km", wrong).unwrap_or(usual.notify_before_km),
    };
    form.add_errors(page.speaks(), draft.errors());
    draft
}

/// Adds a reminder to a vehicle.
pub(crate) async fn create(
    may: May<Edit>,
    State(console): State<Arc<Console>>,
    mut form: Form,
) -> Result<Response, Failure> {
    let mut shown = page_of(&console, &may, None, Form::default());
    let draft = draft_of(&mut form, &shown.page);
    if !form.is_wrong() {
        let mut session = console.context.db.begin().await?;
        match reminders::insert(&mut session, &draft, &may.visit.actor(), may.visit.now).await? {
            Some(made) => {
                session.commit().await?;
                let there = format!("{PATH}{}/", made.id);
                return Ok(then(&there, &Notice::new("reminder-made", 1).undone_by(format!("{there}cancel/"))));
            }
            None => form.add_error("vehicle", shown.page.t("reminder-no-vehicle")),
        }
    }
    shown.form = form;
    refused(&shown)
}

/// Changes a reminder.
pub(crate) async fn save(
    may: May<Edit>,
    State(console): State<Arc<Console>>,
    Path(id): Path<Id>,
    mut form: Form,
) -> Result<Response, Failure> {
    let mut session = console.context.db.begin().await?;
    let reminder = reminders::lock(&mut session, id).await?.ok_or(Failure::NotFound)?;
    let before = form_of(&ReminderDraft::from(reminder.clone()));
    let mut shown = page_of(&console, &may, Some(reminder.clone()), Form::default());
    let draft = draft_of(&mut form, &shown.page);
    form.find_conflicts(reminder.updated_at.as_micros(), &before);
    if !form.is_wrong() {
        match reminders::replace(&mut session, &reminder, &draft, &may.visit.actor(), may.visit.now).await? {
            Some(_) => {
                session.commit().await?;
                let there = format!("{PATH}{id}/");
                return Ok(then(&there, &before.undo(Notice::new("saved", 1), &there)));
            }
            None => form.add_error("vehicle", shown.page.t("reminder-no-vehicle")),
        }
    }
    shown.form = form;
    refused(&shown)
}

/// The service was done.
pub(crate) async fn complete(
    may: May<Edit>,
    State(console): State<Arc<Console>>,
    Path(id): Path<Id>,
) -> Result<Response, Failure> {
    end(&console, &may, id, Status::Completed).await
}

/// It is not wanted any more.
pub(crate) async fn cancel(
    may: May<Edit>,
    State(console): State<Arc<Console>>,
    Path(id): Path<Id>,
) -> Result<Response, Failure> {
    end(&console, &may, id, Status::Cancelled).await
}

async fn end(console: &Console, may: &May<Edit>, id: Id, status: Status) -> Result<Response, Failure> {
    let (actor, now) = (may.visit.actor(), may.visit.now);
    let mut session = console.context.db.begin().await?;
    let before = reminders::lock(&mut session, id).await?.ok_or(Failure::NotFound)?;
    let notice = match status {
        Status::Completed => {
            reminders::complete(&mut session, id, &actor, now).await?;
            Notice::new("reminder-completed", 1)
        }
        _ => {
            reminders::cancel(&mut session, id, &actor, now).await?;
            Notice::new("reminder-cancelled", 1)
        }
    };
    session.commit().await?;
    let there = format!("{PATH}{id}/");
    // What had ended before has nothing to go back to.
    let notice = if before.status.is_open() {
        notice.undone_by(format!("{there}reopen/?status={}", before.status))
    } else {
        notice
    };
    Ok(then(&there, &notice))
}

/// Takes back that it was done or is not wanted: `status` is what it was.
pub(crate) async fn reopen(
    may: May<Edit>,
    State(console): State<Arc<Console>>,
    Path(id): Path<Id>,
    form: Form,
) -> Result<Response, Failure> {
    let status: Status = form.text("status").parse().unwrap_or(Status::Pending);
    let mut session = console.context.db.begin().await?;
    let reopened = reminders::reopen(&mut session, id, status, &may.visit.actor(), may.visit.now).await?;
    session.commit().await?;
    reopened.ok_or(Failure::NotFound)?;
    Ok(then(&format!("{PATH}{id}/"), &Notice::new("reminder-reopened", 1)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_of_the_agenda_is_read() {
        let (day, id) = read("2026-03-29.0197c1e0-7b3a-7c52-9d0e-2f6a1b4c8d90").expect("a place");
        assert_eq!((day.to_string().as_str(), id.to_string().len()), ("2026-03-29", 36));
        assert!(read("2026-03-29").is_none() && read("x.y").is_none());
    }
}
