//! Reservation requests: how each stands, who was told when and by which means, and what staff decide.

use std::sync::Arc;

use askama::Template;
use axum::extract::State;
use axum::response::Response;
use futures::FutureExt;
use futures::future::BoxFuture;
use recado_conversations::operations::{self, REQUEST};
use recado_conversations::requests::{self, Request, RequestFilter, Status, Step, What};
use recado_kernel::clock::Timestamp;
use recado_kernel::db;
use recado_kernel::ids::Id;
use recado_kernel::language::Language;
use recado_queue::context::Context;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::Console;
use crate::auth::{Look, May, Operate};
use crate::failure::Failure;
use crate::lists::{Around, Query, ROWS};
use crate::live::Topic;
use crate::masking;
use crate::notice::{Notice, then};
use crate::page::{Page, html};
use crate::pages::endpoints::commit;
use crate::pages::experiences::path_of;
use crate::path::Path;

const PATH: &str = "/admin/conversations/requests/";

fn tone(status: Status) -> &'static str {
    match status {
        Status::Received => "scheduled",
        Status::Processing | Status::OperatorNotified => "started",
        Status::AvailabilityConfirmed => "warning",
        Status::Confirmed => "success",
        Status::Rejected | Status::Timeout => "dead",
    }
}

struct Row {
    id: Id,
    code: String,
    experience: String,
    operator: String,
    passengers: i64,
    status: Status,
    tone: &'static str,
    timeout_at: Timestamp,
    created_at: Timestamp,
}

impl From<Request> for Row {
    fn from(one: Request) -> Self {
        Self {
            id: one.id,
            code: one.code,
            experience: one.experience_title.unwrap_or_default(),
            operator: one.operator_name.unwrap_or_default(),
            passengers: one.passengers.into(),
            status: one.status,
            tone: tone(one.status),
            timeout_at: one.timeout_at,
            created_at: one.created_at,
        }
    }
}

#[derive(Template)]
#[template(path = "requests/list.html")]
struct ListPage {
    page: Page,
    status: Option<Status>,
    statuses: [Status; 7],
    code: String,
    rows: Vec<Row>,
    around: Around,
    is_filtered: bool,
}

/// `/admin/conversations/requests/`
pub(crate) async fn list(may: May<Look>, State(console): State<Arc<Console>>) -> Result<Response, Failure> {
    let asked = Query::read(&may.visit.query);
    let filter = RequestFilter {
        code: asked.text("code").map(|code| code.to_ascii_uppercase()),
        status: asked.get("status"),
        operator: asked.get("operator"),
    };
    let mut session = console.context.db.read().await?;
    let (found, has_more) = requests::page(&mut session, &filter, asked.cursor(), ROWS).await?;
    drop(session);
    let ends = (found.first().map(|one| one.id), found.last().map(|one| one.id));
    html(&ListPage {
        page: Page::new(&console, &may.visit, "requests", "requests-title"),
        is_filtered: filter.code.is_some() || filter.status.is_some() || filter.operator.is_some(),
        status: filter.status,
        statuses: Status::ALL,
        code: filter.code.unwrap_or_default(),
        around: Around::of(&asked, PATH, ends.0, ends.1, has_more),
        rows: found.into_iter().map(Row::from).collect(),
    })
}

/// How a request stands and what happened to it, as plain data.
#[derive(Clone, Debug, Deserialize, Serialize)]
struct Facts {
    id: Id,
    status: Status,
    told_by: Option<String>,
    told_to: Option<String>,
    notified_us: Option<i64>,
    answered_us: Option<i64>,
    timeout_us: i64,
    story: Vec<Happened>,
}

/// Something that happened, in both languages.
#[derive(Clone, Debug, Deserialize, Serialize)]
struct Happened {
    at_us: i64,
    what: What,
    spanish: String,
    english: String,
}

impl Facts {
    async fn read(context: &Context, id: Id) -> db::Result<Option<Self>> {
        let mut session = context.db.read().await?;
        let Some(one) = requests::find(&mut session, id).await? else { return Ok(None) };
        let story = requests::story(&mut session, id).await?;
        let happened = |event: &requests::Event| Happened {
            at_us: event.at.as_micros(),
            what: event.what,
            spanish: masking::text(&event.sentence(Language::Spanish)),
            english: masking::text(&event.sentence(Language::English)),
        };
        Ok(Some(Self {
            id,
            status: one.status,
            told_by: one.told_by,
            told_to: one.told_to.map(|to| {
                if to.contains('.') && !to.ends_with("@c.us") && !to.ends_with("@g.us") {
                    masking::text(&to)
                } else {
                    masking::chat(&to)
                }
            }),
            notified_us: one.notified_at.map(Timestamp::as_micros),
            answered_us: one.answered_at.map(Timestamp::as_micros),
            timeout_us: one.timeout_at.as_micros(),
            story: story.iter().map(happened).collect(),
        }))
    }

    fn tone(&self) -> &'static str {
        tone(self.status)
    }

    fn at(&self, us: &i64) -> Timestamp {
        Timestamp::from_micros(*us)
    }

    fn can_be(&self, step: Step) -> bool {
        self.status.after(step).is_some()
    }

    fn can_be_decided(&self) -> bool {
        self.can_be(Step::Confirm)
    }

    fn can_be_told(&self) -> bool {
        self.can_be(Step::Tell)
    }

    fn is_open(&self) -> bool {
        self.can_be(Step::TimeOut)
    }
}

impl Happened {
    fn sentence(&self, page: &Page) -> String {
        page.visit.words.language.pick(self.spanish.clone(), self.english.clone())
    }
}

/// One request.
pub(crate) const ONE: Topic = Topic { name: "request", sample, draw };

fn sample<'a>(context: &'a Context, id: &'a str) -> BoxFuture<'a, db::Result<Value>> {
    async move {
        let Ok(id) = id.parse() else { return Ok(Value::Null) };
        Ok(Facts::read(context, id).await?.map_or(Value::Null, |facts| json!(facts)))
    }
    .boxed()
}

#[derive(Template)]
#[template(path = "requests/facts.html")]
struct FactsPart<'a> {
    page: &'a Page,
    facts: Facts,
}

fn draw(value: &Value, page: &Page) -> Vec<(String, String)> {
    let Ok(facts) = Facts::deserialize(value) else { return Vec::new() };
    FactsPart { page, facts }.render().map(|html| vec![("facts".to_owned(), html)]).unwrap_or_default()
}

#[derive(Template)]
#[template(path = "requests/show.html")]
struct ShowPage {
    page: Page,
    facts: Facts,
    code: String,
    /// Where it is, and its title.
    experience: Option<(String, String)>,
    operator: Option<(Id, String)>,
    passengers: i64,
    customer: Option<String>,
    chat: Id,
    created_at: Timestamp,
    is_revealed: bool,
}

/// `/admin/conversations/requests/{id}/`
pub(crate) async fn show(
    may: May<Look>,
    State(console): State<Arc<Console>>,
    Path(id): Path<Id>,
) -> Result<Response, Failure> {
    html(&load(&console, &may, id, false).await?)
}

/// The same with the customer's number; that somebody looked is written down.
pub(crate) async fn reveal(
    may: May<Operate>,
    State(console): State<Arc<Console>>,
    Path(id): Path<Id>,
) -> Result<Response, Failure> {
    let shown = load(&console, &may, id, true).await?;
    super::chats::note_reveal(&console, &may, REQUEST, id).await?;
    html(&shown)
}

async fn load<P>(console: &Console, may: &May<P>, id: Id, is_revealed: bool) -> Result<ShowPage, Failure> {
    let facts = Facts::read(&console.context, id).await?.ok_or(Failure::NotFound)?;
    let found = requests::find(&mut console.context.db.read().await?, id).await?.ok_or(Failure::NotFound)?;
    let page = Page::new(console, &may.visit, "requests", "request-title").about(&found.code);
    Ok(ShowPage {
        page: page.watching(format!("request:{id}")),
        facts,
        experience: found.experience_id.zip(found.experience_title).map(|(id, title)| (path_of(&id), title)),
        operator: found.operator.zip(found.operator_name),
        passengers: found.passengers.into(),
        customer: found.customer_phone.map(|phone| if is_revealed { phone } else { masking::phone(&phone) }),
        chat: found.chat,
        created_at: found.created_at,
        code: found.code,
        is_revealed,
    })
}

/// Staff confirm it.
pub(crate) async fn confirm(
    may: May<Operate>,
    State(console): State<Arc<Console>>,
    Path(id): Path<Id>,
) -> Result<Response, Failure> {
    decide(&console, &may, id, Step::Confirm).await
}

/// Staff refuse it.
pub(crate) async fn reject(
    may: May<Operate>,
    State(console): State<Arc<Console>>,
    Path(id): Path<Id>,
) -> Result<Response, Failure> {
    decide(&console, &may, id, Step::Reject).await
}

async fn decide(console: &Console, may: &May<Operate>, id: Id, step: Step) -> Result<Response, Failure> {
    let mut session = console.context.db.begin().await?;
    let status = requests::lock(&mut session, id).await?.ok_or(Failure::NotFound)?;
    let decided = operations::decide(&mut session, id, status, step, &may.visit.actor(), may.visit.now).await?;
    session.commit().await?;
    let there = format!("{PATH}{id}/");
    let notice = match (decided, step) {
        (Err(_), _) => Notice::new("nothing-to-do", 0),
        (Ok(_), Step::Confirm) => Notice::new("request-confirmed", 1),
        (Ok(_), _) => Notice::new("request-rejected", 1),
    };
    Ok(then(&there, &notice))
}

/// Tells the operator again.
pub(crate) async fn tell(
    may: May<Operate>,
    State(console): State<Arc<Console>>,
    Path(id): Path<Id>,
) -> Result<Response, Failure> {
    let mut session = console.context.db.begin().await?;
    let status = requests::lock(&mut session, id).await?.ok_or(Failure::NotFound)?;
    let there = format!("{PATH}{id}/");
    match operations::tell_again(&mut session, id, status, &may.visit.actor(), may.visit.now).await? {
        Some(rings) => {
            commit(&console, session, &rings).await?;
            Ok(then(&there, &Notice::new("request-told", 1)))
        }
        None => Ok(then(&there, &Notice::new("nothing-to-do", 0))),
    }
}
