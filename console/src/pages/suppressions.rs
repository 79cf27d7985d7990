//! Addresses to which nothing is sent: why, since when, and lifting it. They are hidden, and found as a whole.

use std::sync::Arc;

use askama::Template;
use axum::extract::State;
use axum::response::Response;
use recado_kernel::addresses::normalise_phone;
use recado_kernel::clock::Timestamp;
use recado_kernel::db::Violation;
use recado_kernel::db::keyset::Cursor;
use recado_kernel::ids::Id;
use recado_notifications::channels::{self, Channel};
use recado_notifications::suppressions::{self, Reason, Suppression, SuppressionDraft, SuppressionFilter};

use crate::Console;
use crate::auth::{Look, May, Operate};
use crate::failure::Failure;
use crate::form::Form;
use crate::lists::{Around, Query, ROWS};
use crate::notice::{Notice, is_local, then};
use crate::page::{Page, html, refused};
use crate::path::Path;
use crate::urls::encoded;

const PATH: &str = "/admin/suppressions/";

/// The channels that have addresses.
const CHANNELS: [Channel; 2] = [Channel::Email, Channel::Whatsapp];

#[derive(Template)]
#[template(path = "suppressions/list.html")]
struct ListPage {
    page: Page,
    channel: Option<Channel>,
    channels: [Channel; 2],
    reason: Option<Reason>,
    reasons: Vec<Reason>,
    search: String,
    is_filtered: bool,
    rows: Vec<Row>,
    around: Around,
}

struct Row {
    id: Id,
    channel: Channel,
    address: String,
    reason: Reason,
    detail: String,
    message: Option<Id>,
    since: Timestamp,
}

impl From<Suppression> for Row {
    fn from(one: Suppression) -> Self {
        Self {
            id: one.id,
            channel: one.channel,
            address: channels::mask(one.channel, &one.address).unwrap_or_default(),
            reason: one.reason,
            detail: channels::without(one.channel, &one.address, &one.detail).chars().take(300).collect(),
            message: one.notification_id,
            since: one.created_at,
        }
    }
}

/// `/admin/suppressions/`. The newest first, of all time: they hold until somebody lifts them.
pub(crate) async fn list(may: May<Look>, State(console): State<Arc<Console>>) -> Result<Response, Failure> {
    let asked = Query::read(&may.visit.query);
    let search = asked.text("search");
    let filter = SuppressionFilter {
        channel: asked.get("channel"),
        reason: asked.get("reason"),
        search: search.as_deref().map(|search| whole(search, &console.context.config.default_country)),
        is_whole: true,
    };
    let cursor =
        Cursor::of_link(asked.text("after").and_then(|at| read(&at)), asked.text("before").and_then(|at| read(&at)));
    let mut session = console.context.db.read().await?;
    let (found, has_more) = suppressions::page(&mut session, &filter, cursor, ROWS).await?;
    drop(session);
    let end = |one: Option<&Suppression>| one.map(|one| format!("{}.{}", one.created_at.as_micros(), one.id));
    html(&ListPage {
        page: Page::new(&console, &may.visit, "suppressions", "suppressions-title"),
        is_filtered: filter.channel.is_some() || filter.reason.is_some() || search.is_some(),
        channel: filter.channel,
        channels: CHANNELS,
        reason: filter.reason,
        reasons: Reason::ALL.to_vec(),
        search: search.unwrap_or_default(),
        around: Around::of_texts(&asked, PATH, end(found.first()), end(found.last()), has_more),
        rows: found.into_iter().map(Row::from).collect(),
    })
}

/// An address as suppressions keep it: a number in whatever spelling, or a mail address.
fn whole(search: &str, country: &str) -> String {
    if search.contains('@') { search.to_owned() } else { normalise_phone(search, country).unwrap_or(search.to_owned()) }
}

/// The place of a row: its moment and its id.
fn read(place: &str) -> Option<(Timestamp, Id)> {
    let (at, id) = place.split_once('.')?;
    Some((Timestamp::from_micros(at.parse().ok()?), id.parse().ok()?))
}

#[derive(Template)]
#[template(path = "suppressions/new.html")]
struct NewPage {
    page: Page,
    form: Form,
    /// Channels as a field offers them.
    options: Vec<(String, String)>,
}

impl NewPage {
    fn of(console: &Console, may: &May<Operate>, form: Form) -> Self {
        let page = Page::new(console, &may.visit, "suppressions", "suppression-new");
        let options =
            CHANNELS.into_iter().map(|channel| (channel.to_string(), page.word("channel", channel))).collect();
        Self { page, form, options }
    }
}

/// `/admin/suppressions/new/`
pub(crate) async fn new(may: May<Operate>, State(console): State<Arc<Console>>) -> Result<Response, Failure> {
    html(&NewPage::of(&console, &may, Form::default()))
}

/// Suppresses an address by hand.
pub(crate) async fn create(
    may: May<Operate>,
    State(console): State<Arc<Console>>,
    mut form: Form,
) -> Result<Response, Failure> {
    let shown = NewPage::of(&console, &may, Form::default());
    let draft = SuppressionDraft {
        channel: form.parsed("channel", || shown.page.t("people-required")),
        address: form.text("address"),
        detail: form.text("detail"),
    };
    match draft.checked(&console.context.config.default_country) {
        Err(errors) => form.add_errors(shown.page.speaks(), errors),
        Ok(draft) => {
            let mut session = console.context.db.begin().await?;
            match suppressions::insert(&mut session, &draft, &may.visit.actor(), may.visit.now).await {
                Ok(made) => {
                    session.commit().await?;
                    let undo = format!("{PATH}{}/lift/", made.id);
                    return Ok(then(PATH, &Notice::new("suppressed", 1).undone_by(undo)));
                }
                Err(error) if error.violates("suppressions_key", "suppressions.channel, suppressions.address") => {
                    form.add_error("address", shown.page.t("suppression-taken"));
                }
                Err(error) => return Err(error.into()),
            }
        }
    }
    refused(&NewPage { form, ..shown })
}

/// Lifts a suppression. `back`: where to go afterwards.
pub(crate) async fn lift(
    may: May<Operate>,
    State(console): State<Arc<Console>>,
    Path(id): Path<Id>,
    form: Form,
) -> Result<Response, Failure> {
    let mut session = console.context.db.begin().await?;
    let lifted = suppressions::lift(&mut session, id, &may.visit.actor(), may.visit.now).await?;
    session.commit().await?;
    let there = back(&form);
    let notice = match lifted {
        Some(_) => {
            let undo = format!("{PATH}{id}/restore/?back={}", encoded(&there));
            Notice::new("suppression-lifted", 1).undone_by(undo)
        }
        None => Notice::new("nothing-to-do", 0),
    };
    Ok(then(&there, &notice))
}

/// Takes it back that a suppression was lifted.
pub(crate) async fn restore(
    may: May<Operate>,
    State(console): State<Arc<Console>>,
    Path(id): Path<Id>,
    form: Form,
) -> Result<Response, Failure> {
    let mut session = console.context.db.begin().await?;
    let restored = suppressions::restore(&mut session, id, &may.visit.actor(), may.visit.now).await?;
    session.commit().await?;
    let notice = match restored {
        Some(_) => Notice::new("suppressed", 1),
        None => Notice::new("nothing-to-do", 0),
    };
    Ok(then(&back(&form), &notice))
}

fn back(form: &Form) -> String {
    Some(form.text("back")).filter(|back| is_local(back)).unwrap_or_else(|| PATH.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_found_in_whatever_spelling() {
        assert_eq!(whole("099 123-4567", "EC"), "+593991234567");
        assert_eq!(whole("Maria@Example.com", "EC"), "Maria@Example.com");
        assert_eq!(whole("?", "EC"), "?");
        assert!(read("12.0197c1e0-7b3a-7c52-9d0e-2f6a1b4c8d90").is_some());
        assert!(read("x.y").is_none() && read("12").is_none());
    }
}
