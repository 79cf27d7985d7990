//! Which group is told of each experience, and why: the four levels, the one that won and those that it beat.

use std::sync::Arc;

use askama::Template;
use axum::extract::State;
use axum::response::Response;
use recado_conversations::bindings::{self, Candidates, Group};
use recado_conversations::experiences::{self, Experience, ExperienceFilter};
use recado_conversations::operations;
use recado_kernel::ids::Id;

use crate::Console;
use crate::auth::{Edit, Look, May};
use crate::failure::Failure;
use crate::form::Form;
use crate::lists::Query;
use crate::notice::{Notice, then};
use crate::page::{Page, html, refused};
use crate::pages::operators::offered;
use crate::path::Path;
use crate::urls::encoded;

const PATH: &str = "/admin/conversations/experiences/";

/// A list that is longer is searched.
const ROWS: i64 = 200;

/// Where an experience is.
pub(crate) fn path_of(id: &str) -> String {
    format!("{PATH}{}/", encoded(id))
}

struct Row {
    path: String,
    id: String,
    title: String,
    organizer: String,
    group: Option<String>,
    /// Staff chose it for this experience.
    is_chosen: bool,
}

#[derive(Template)]
#[template(path = "experiences/list.html")]
struct ListPage {
    page: Page,
    search: String,
    rows: Vec<Row>,
    has_more: bool,
}

/// `/admin/conversations/experiences/`
pub(crate) async fn list(may: May<Look>, State(console): State<Arc<Console>>) -> Result<Response, Failure> {
    let search = Query::read(&may.visit.query).text("search");
    let filter = ExperienceFilter { search: search.clone(), organizer_id: None };
    let mut session = console.context.db.read().await?;
    let (found, count) = experiences::list(&mut session, &filter, ROWS, 0).await?;
    let ids: Vec<&str> = found.iter().map(|one| one.id.as_str()).collect();
    let bound = bindings::current(&mut session, &ids).await?;
    drop(session);
    let row = |one: Experience| {
        let binding = bound.iter().find(|binding| binding.experience_id == one.id);
        Row {
            path: path_of(&one.id),
            title: one.title,
            organizer: one.organizer_name.or(one.organizer_id).unwrap_or_default(),
            group: binding.and_then(|binding| binding.group.as_ref()).map(name_of),
            is_chosen: binding.is_some_and(|binding| binding.is_override),
            id: one.id,
        }
    };
    html(&ListPage {
        page: Page::new(&console, &may.visit, "experiences", "experiences-title"),
        search: search.unwrap_or_default(),
        rows: found.into_iter().map(row).collect(),
        has_more: count > ROWS,
    })
}

fn name_of(group: &Group) -> String {
    group.name.clone().unwrap_or_else(|| group.chat_id.clone())
}

/// A level that might decide: messages `group-level-…`.
struct Level {
    word: &'static str,
    group: Option<(Id, String)>,
    /// `won`, `beaten` or `empty`: messages `group-level-is-…`.
    outcome: &'static str,
    tone: &'static str,
}

/// The levels in their order. The last one is no group: then the operator is told by other means.
fn levels(candidates: Candidates, groups: &[Group]) -> Vec<Level> {
    let group = |id: Option<Id>| {
        id.map(|id| (id, groups.iter().find(|group| group.id == id).map_or_else(|| id.to_string(), name_of)))
    };
    let mut is_decided = false;
    let mut level = |word: &'static str, group: Option<(Id, String)>, stands: bool| {
        let (outcome, tone) = match (stands, is_decided) {
            (false, _) => ("empty", "cancelled"),
            (true, false) => ("won", "success"),
            (true, true) => ("beaten", "cancelled"),
        };
        is_decided |= stands;
        Level { word, group, outcome, tone }
    };
    vec![
        level("chosen", group(candidates.chosen), candidates.chosen.is_some()),
        level("operator", group(candidates.of_operator), candidates.of_operator.is_some()),
        level("first", group(candidates.at_first), candidates.at_first.is_some()),
        level("none", None, true),
    ]
}

#[derive(Template)]
#[template(path = "experiences/show.html")]
struct ShowPage {
    page: Page,
    path: String,
    /// Its id, as a part of a path.
    encoded: String,
    experience: Experience,
    operator: Option<Id>,
    levels: Vec<Level>,
    form: Form,
    groups: Vec<(String, String)>,
}

/// `/admin/conversations/experiences/{id}/`
pub(crate) async fn show(
    may: May<Look>,
    State(console): State<Arc<Console>>,
    Path(id): Path<String>,
) -> Result<Response, Failure> {
    html(&load(&console, &may, &id).await?)
}

async fn load<P>(console: &Console, may: &May<P>, id: &str) -> Result<ShowPage, Failure> {
    let mut session = console.context.db.read().await?;
    let experience = experiences::find(&mut session, id).await?.ok_or(Failure::NotFound)?;
    let candidates = bindings::levels(&mut session, id).await?.unwrap_or_default();
    let ids: Vec<Id> = [candidates.chosen, candidates.of_operator, candidates.at_first].into_iter().flatten().collect();
    let groups = bindings::groups(&mut session, &ids).await?;
    let binding = bindings::current(&mut session, &[id]).await?.pop();
    let page = Page::new(console, &may.visit, "experiences", "experience-title").about(&experience.title);
    let offered = offered(&mut session, page.t("group-none-chosen")).await?;
    Ok(ShowPage {
        page,
        path: path_of(id),
        encoded: encoded(id),
        operator: binding.and_then(|binding| binding.operator),
        levels: levels(candidates, &groups),
        form: form_of(candidates.chosen),
        groups: offered,
        experience,
    })
}

fn form_of(chosen: Option<Id>) -> Form {
    Form::of([("group", chosen.map(|group| group.to_string()).unwrap_or_default())])
}

/// Chooses the group of an experience, or takes the choice back.
pub(crate) async fn choose(
    may: May<Edit>,
    State(console): State<Arc<Console>>,
    Path(id): Path<String>,
    mut form: Form,
) -> Result<Response, Failure> {
    let mut session = console.context.db.begin().await?;
    experiences::find(&mut session, &id).await?.ok_or(Failure::NotFound)?;
    let before = bindings::levels(&mut session, &id).await?.and_then(|levels| levels.chosen);
    let mut chosen = None;
    if let Some(text) = form.optional("group") {
        if let Ok(group) = text.parse() {
            chosen = bindings::fit(&mut session, group).await?.ok().map(|group| group.id);
        }
        if chosen.is_none() {
            drop(session);
            let shown = load(&console, &may, &id).await?;
            form.add_error("group", shown.page.t("group-unknown"));
            return refused(&ShowPage { form, ..shown });
        }
    }
    operations::choose_group(&mut session, &id, chosen, &may.visit.actor(), may.visit.now).await?;
    session.commit().await?;
    let there = path_of(&id);
    Ok(then(&there, &form_of(before).undo(Notice::new("saved", 1), &there)))
}

#[cfg(test)]
mod tests {
    use recado_kernel::clock::Timestamp;

    use super::*;

    #[test]
    fn the_first_level_that_stands_wins_and_beats_the_rest() {
        let id = |number: i64| Id::new(Timestamp::from_micros(number * 1_000_000));
        let outcomes = |candidates: Candidates| -> Vec<&str> {
            levels(candidates, &[]).into_iter().map(|level| level.outcome).collect()
        };
        assert_eq!(outcomes(Candidates::default()), ["empty", "empty", "empty", "won"]);
        let all = Candidates { chosen: Some(id(1)), of_operator: Some(id(2)), at_first: Some(id(3)) };
        assert_eq!(outcomes(all), ["won", "beaten", "beaten", "beaten"]);
        assert_eq!(outcomes(Candidates { chosen: None, ..all }), ["empty", "won", "beaten", "beaten"]);
        let at_first = Candidates { at_first: Some(id(3)), ..Candidates::default() };
        assert_eq!(outcomes(at_first), ["empty", "empty", "won", "beaten"]);
    }
}
