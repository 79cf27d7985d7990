//! A text sent to oneself: the form of the editor goes to an address or a device, through a worker, and the page waits for what became
//! of it.

use std::sync::Arc;

use askama::Template;
use axum::extract::State;
use axum::response::Response;
use futures::FutureExt;
use futures::future::BoxFuture;
use recado_kernel::db;
use recado_kernel::ids::Id;
use recado_notifications::channels::Channel;
use recado_notifications::failures::Code;
use recado_notifications::test_sends::{self, MOST_IN_AN_HOUR, NewTest, Refusal, TestSend, To};
use recado_queue::context::Context;
use serde_json::{Value, json};

use super::template_preview::{off_runtime, words_for};
use super::templates::{draft_of, editor_page, find};
use super::texts::template_path;
use crate::Console;
use crate::auth::{Edit, Look, May};
use crate::failure::Failure;
use crate::form::Form;
use crate::live::Topic;
use crate::notice::{Notice, then};
use crate::page::{Page, html, refused};
use crate::path::Path;

/// What became of one test.
pub(crate) const TEST: Topic = Topic { name: "template-test", sample, draw };

fn sample<'a>(context: &'a Context, id: &'a str) -> BoxFuture<'a, db::Result<Value>> {
    async move {
        let Ok(id) = id.parse::<Id>() else { return Ok(Value::Null) };
        let found = test_sends::find(&mut context.db.read().await?, id).await?;
        Ok(found.map_or(Value::Null, |test| {
            json!({ "ended": test.ended_at.is_some(), "sent": test.is_sent, "account": test.account, "code": test.code,
                "reason": test.reason })
        }))
    }
    .boxed()
}

fn draw(value: &Value, page: &Page) -> Vec<(String, String)> {
    let text = |name: &str| value[name].as_str().map(str::to_owned);
    let outcome = Outcome {
        has_ended: value["ended"] == true,
        is_sent: value["sent"] == true,
        account: text("account"),
        code: text("code"),
        reason: text("reason"),
    };
    let drawn = OutcomePart { page, outcome: outcome.explained(page) }.render();
    drawn.map(|drawn| vec![("outcome".to_owned(), drawn)]).unwrap_or_default()
}

/// What became of a test, as it is told.
struct Outcome {
    has_ended: bool,
    is_sent: bool,
    account: Option<String>,
    code: Option<String>,
    reason: Option<String>,
}

impl Outcome {
    /// With the remedy of its code in the place of its reason, where we know it.
    fn explained(self, page: &Page) -> Told {
        let code = self.code.as_deref().and_then(Code::find);
        let language = page.visit.words.language;
        Told { remedy: code.map(|code| code.remedy(language)), outcome: self }
    }
}

struct Told {
    outcome: Outcome,
    remedy: Option<&'static str>,
}

impl From<&TestSend> for Outcome {
    fn from(test: &TestSend) -> Self {
        Self {
            has_ended: test.ended_at.is_some(),
            is_sent: test.is_sent,
            account: test.account.clone(),
            code: test.code.clone(),
            reason: test.reason.clone(),
        }
    }
}

#[derive(Template)]
#[template(path = "templates/outcome.html")]
struct OutcomePart<'p> {
    page: &'p Page,
    outcome: Told,
}

#[derive(Template)]
#[template(path = "templates/test.html")]
struct TestPage {
    page: Page,
    test: TestSend,
    /// Its template, where it is still there.
    template: Option<String>,
    path: String,
    outcome: Told,
}

/// `/admin/templates/tests/{id}/`
pub(crate) async fn show(
    may: May<Look>,
    State(console): State<Arc<Console>>,
    Path(id): Path<Id>,
) -> Result<Response, Failure> {
    let found = test_sends::find(&mut console.context.db.read().await?, id).await?;
    let test = found.ok_or(Failure::NotFound)?;
    let template = console.catalogue().await?.template(test.template_id).map(|template| template.name.clone());
    let page = Page::new(&console, &may.visit, "templates", "template-test").watching(format!("template-test:{id}"));
    html(&TestPage {
        outcome: Outcome::from(&test).explained(&page),
        path: template_path(test.template_id),
        page,
        template,
        test,
    })
}

/// Sends the text as it stands in the form, saved or not.
pub(crate) async fn send(
    may: May<Edit>,
    State(console): State<Arc<Console>>,
    Path(id): Path<Id>,
    mut form: Form,
) -> Result<Response, Failure> {
    let (template, catalogue) = (find(&console, id).await?, console.catalogue().await?);
    let page = Page::new(&console, &may.visit, "templates", "template-title");
    let (draft, _) = draft_of(&mut form, &page, &catalogue);
    let strict_case = console.context.config.template_strict_case;
    let texts = draft.clone();
    form.add_errors(page.speaks(), off_runtime(move || texts.flaws(strict_case)).await);
    if !form.is_wrong() {
        let channel = draft.channel.unwrap_or(template.channel);
        let to = match channel {
            Channel::Push => To::Devices(form.text("customer")),
            Channel::Email | Channel::Whatsapp => To::Address(form.text("address")),
        };
        match words_for(&console, &draft, &form.text("customer")).await? {
            Ok(words) => {
                let test = NewTest { template_id: id, channel, taller_id: draft.taller_id.clone(), to, words };
                match test_sends::start(&console.context, test, &may.visit.actor()).await? {
                    Ok(test) => {
                        return Ok(then(&format!("/admin/templates/tests/{test}/"), &Notice::new("template-test", 1)));
                    }
                    Err(refusal) => form.add_error("address", refusal_in(&page, &refusal)),
                }
            }
            Err(problem) => form.add_error("body", problem.told(page.speaks())),
        }
    }
    refused(&editor_page(&console, &may, Some(template), form, &draft, None).await?)
}

/// Why it is not sent, with the remedy.
fn refusal_in(page: &Page, refusal: &Refusal) -> String {
    match refusal {
        Refusal::TooMany => page.t1("template-test-too-many", "count", MOST_IN_AN_HOUR),
        Refusal::Address(problem) => problem.told(page.speaks()).to_owned(),
        Refusal::Suppressed => page.t("template-test-suppressed"),
        Refusal::NoDevice | Refusal::WrongKind => page.t("template-test-no-device"),
    }
}
