//! Tour operators: who is told of requests, by which means, and in which group.

use std::sync::Arc;

use askama::Template;
use axum::extract::State;
use axum::response::Response;
use recado_conversations::bindings;
use recado_conversations::chats::listing;
use recado_conversations::operations::{self, OPERATOR};
use recado_conversations::operators::{self, Changes, Listed, Operator, OperatorFilter};
use recado_conversations::organizers::{self, WithoutOperator};
use recado_kernel::ids::Id;

use crate::Console;
use crate::auth::{Edit, Look, May, Operate};
use crate::failure::Failure;
use crate::form::Form;
use crate::lists::Query;
use crate::masking;
use crate::notice::{Notice, then};
use crate::page::{Page, html, refused};
use crate::path::Path;

const PATH: &str = "/admin/conversations/operators/";

/// There are hundreds of operators, and not thousands: a list that is longer is searched.
const ROWS: i64 = 200;

/// Groups that a choice offers.
const GROUPS: i64 = 300;

struct Row {
    id: Id,
    name: String,
    organizer: String,
    group: Option<String>,
    /// By which means they can be told: messages `means-…`.
    means: Vec<&'static str>,
    experiences: i64,
}

#[derive(Template)]
#[template(path = "operators/list.html")]
struct ListPage {
    page: Page,
    search: String,
    rows: Vec<Row>,
    has_more: bool,
    without: Vec<WithoutOperator>,
}

/// By which means they can be told, the first one that is tried first.
fn means(operator: &Operator) -> Vec<&'static str> {
    let contact = &operator.contact;
    [
        ("group", operator.default_group.is_some()),
        ("number", operator.whatsapp_number.is_some()),
        ("phone", contact.contact_phone.is_some()),
        ("email", contact.contact_email.is_some()),
    ]
    .into_iter()
    .filter_map(|(word, is_there)| is_there.then_some(word))
    .collect()
}

/// `/admin/conversations/operators/`
pub(crate) async fn list(may: May<Look>, State(console): State<Arc<Console>>) -> Result<Response, Failure> {
    let search = Query::read(&may.visit.query).text("search");
    let filter = OperatorFilter { search: search.clone(), organizer_id: None };
    let mut session = console.context.db.read().await?;
    let (found, count) = operators::list(&mut session, &filter, ROWS, 0).await?;
    let without = organizers::without_operator(&mut session).await?;
    drop(session);
    let row = |Listed { operator, organizer_name, group, experiences }: Listed| Row {
        id: operator.id,
        means: means(&operator),
        name: operator.name,
        organizer: organizer_name.or(operator.organizer_id).unwrap_or_default(),
        group: group.map(|group| group.name.unwrap_or(group.chat_id)),
        experiences,
    };
    html(&ListPage {
        page: Page::new(&console, &may.visit, "operators", "operators-title"),
        search: search.unwrap_or_default(),
        rows: found.into_iter().map(row).collect(),
        has_more: count > ROWS,
        without: without.into_iter().take(50).collect(),
    })
}

#[derive(Template)]
#[template(path = "operators/show.html")]
struct ShowPage {
    page: Page,
    id: Id,
    name: String,
    organizer: String,
    means: Vec<&'static str>,
    is_made_for_organizer: bool,
    contact: Vec<(&'static str, String)>,
    is_revealed: bool,
    form: Form,
    groups: Vec<(String, String)>,
    experiences: i64,
}

/// `/admin/conversations/operators/{id}/`
pub(crate) async fn show(
    may: May<Look>,
    State(console): State<Arc<Console>>,
    Path(id): Path<Id>,
) -> Result<Response, Failure> {
    html(&load(&console, &may, id, false).await?)
}

/// The same with addresses, to be changed; that somebody looked is written down.
pub(crate) async fn reveal(
    may: May<Operate>,
    State(console): State<Arc<Console>>,
    Path(id): Path<Id>,
) -> Result<Response, Failure> {
    let shown = load(&console, &may, id, true).await?;
    super::chats::note_reveal(&console, &may, OPERATOR, id).await?;
    html(&shown)
}

async fn load<P>(console: &Console, may: &May<P>, id: Id, is_revealed: bool) -> Result<ShowPage, Failure> {
    let mut session = console.context.db.read().await?;
    let operator = operators::find(&mut session, id).await?.ok_or(Failure::NotFound)?;
    let listed = operators::describe(&mut session, vec![operator.clone()]).await?.pop().ok_or(Failure::NotFound)?;
    let page = Page::new(console, &may.visit, "operators", "operator-title").about(&operator.name);
    let groups = offered(&mut session, page.t("group-none")).await?;
    drop(session);
    let contact = [
        ("contact_name", operator.contact.contact_name.clone(), masking::name as fn(&str) -> String),
        ("whatsapp_number", operator.whatsapp_number.clone(), masking::phone),
        ("contact_phone", operator.contact.contact_phone.clone(), masking::phone),
        ("contact_email", operator.contact.contact_email.clone(), masking::text),
    ];
    let shown = |(field, value, mask): (&'static str, Option<String>, fn(&str) -> String)| {
        Some((field, value.map(|value| if is_revealed { value } else { mask(&value) })?))
    };
    Ok(ShowPage {
        page,
        id,
        means: means(&operator),
        is_made_for_organizer: operator.is_system_created,
        organizer: listed.organizer_name.or(operator.organizer_id.clone()).unwrap_or_default(),
        contact: contact.into_iter().filter_map(shown).collect(),
        is_revealed,
        form: form_of(&operator),
        groups,
        experiences: listed.experiences,
        name: operator.name,
    })
}

/// The groups that can be told, those of last first.
pub(crate) async fn offered(
    session: &mut recado_kernel::db::Session,
    none: String,
) -> Result<Vec<(String, String)>, Failure> {
    let (groups, _) = listing::list(session, true, GROUPS, 0).await?;
    let mut options = vec![(String::new(), none)];
    options.extend(groups.into_iter().map(|group| {
        let name = group.nickname.or(group.name).unwrap_or(group.chat_id);
        (group.id.to_string(), name)
    }));
    Ok(options)
}

fn form_of(operator: &Operator) -> Form {
    let or_empty = |text: &Option<String>| text.clone().unwrap_or_default();
    Form::of([
        ("name", operator.name.clone()),
        ("contact_name", or_empty(&operator.contact.contact_name)),
        ("whatsapp_number", or_empty(&operator.whatsapp_number)),
        ("contact_phone", or_empty(&operator.contact.contact_phone)),
        ("contact_email", or_empty(&operator.contact.contact_email)),
        ("group", operator.default_group.map(|group| group.to_string()).unwrap_or_default()),
    ])
}

/// Changes the group in which an operator is told, and how else they are reached. Only fields that were sent are changed.
pub(crate) async fn save(
    may: May<Edit>,
    State(console): State<Arc<Console>>,
    Path(id): Path<Id>,
    mut form: Form,
) -> Result<Response, Failure> {
    let page = Page::new(&console, &may.visit, "operators", "operator-title");
    let mut session = console.context.db.begin().await?;
    let before = operators::lock(&mut session, id).await?.ok_or(Failure::NotFound)?;
    let mut operator = before.clone();
    let field = |name: &str| form.has(name).then(|| form.optional(name));
    let changes = Changes {
        name: form.has("name").then(|| form.text("name")),
        contact_name: field("contact_name"),
        contact_phone: field("contact_phone"),
        contact_email: field("contact_email"),
        whatsapp_number: field("whatsapp_number"),
        organizer_id: None,
    };
    form.add_errors(page.speaks(), operator.change(changes, &console.context.config.default_country));
    if form.has("group") {
        operator.default_group = match form.optional("group") {
            None => None,
            Some(text) => {
                let group = match text.parse() {
                    Ok(group) => bindings::fit(&mut session, group).await?.ok(),
                    Err(_) => None,
                };
                if group.is_none() {
                    form.add_error("group", page.t("group-unknown"));
                }
                group.map(|group| group.id)
            }
        };
    }
    if form.is_wrong() {
        drop(session);
        let is_revealed = form.has("whatsapp_number");
        return refused(&ShowPage { form, ..load(&console, &may, id, is_revealed).await? });
    }
    operations::change_operator(&mut session, &before, &operator, &may.visit.actor(), may.visit.now).await?;
    session.commit().await?;
    let there = format!("{PATH}{id}/");
    // The undo stands in a cookie, and addresses of people do not belong there.
    let group = Form::of([("group", before.default_group.map(|group| group.to_string()).unwrap_or_default())]);
    let saved = Notice::new("saved", 1);
    Ok(then(&there, &if form.has("whatsapp_number") { saved } else { group.undo(saved, &there) }))
}
