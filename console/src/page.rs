//! What every page has: its frame, and the verbs with which a template writes words, numbers and times.

use std::collections::BTreeSet;
use std::fmt;
use std::sync::Arc;

use askama::Template;
use askama::filters::HtmlSafe;
use axum::http::header::CONTENT_TYPE;
use axum::http::{HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use chrono::NaiveDate;
use fluent_bundle::FluentArgs;
use recado_kernel::clock::Timestamp;
use recado_kernel::errors::explain;
use recado_kernel::language::Language;
use recado_kernel::users::Role;
use url::form_urlencoded;

use crate::auth::Visit;
use crate::failure::Failure;
use crate::lists::{CURSOR, Window};
use crate::navigation::{self, Link};
use crate::notice::Notice;
use crate::words::Value;
use crate::{Console, assets};

/// The frame of a page, and its verbs. A template's struct holds one as `page`.
pub(crate) struct Page {
    pub(crate) visit: Arc<Visit>,
    /// The message that is its title.
    title: &'static str,
    /// What the title says besides: a name, an id.
    pub(crate) about: String,
    /// Which entry of the navigation it belongs to.
    pub(crate) section: &'static str,
    /// What it watches; see `live.rs`.
    pub(crate) topics: Vec<String>,
    pub(crate) notice: Option<Notice>,
    /// The installation, as its operators call it, and its colour.
    pub(crate) environment: String,
    pub(crate) colour: &'static str,
    /// A sandbox stands in for the providers.
    pub(crate) has_sandbox: bool,
}

impl Page {
    pub(crate) fn new(console: &Console, visit: &Arc<Visit>, section: &'static str, title: &'static str) -> Self {
        let settings = &console.context.config.console;
        Self {
            visit: visit.clone(),
            title,
            about: String::new(),
            section,
            topics: Vec::new(),
            notice: visit.notice.as_deref().and_then(Notice::read),
            environment: settings.environment.clone().unwrap_or_default(),
            colour: settings.colour.as_str(),
            has_sandbox: console.sandbox.is_some(),
        }
    }

    #[must_use]
    #[expect(clippy::needless_pass_by_value, reason = "templates give some values as they are, and others borrowed")]
    pub(crate) fn about(mut self, about: impl ToString) -> Self {
        self.about = about.to_string();
        self
    }

    /// Watches a topic while the page is open.
    #[must_use]
    pub(crate) fn watching(mut self, topic: String) -> Self {
        self.topics.push(topic);
        self
    }

    // --- What templates write with ---

    /// A message.
    pub(crate) fn t(&self, message: &str) -> String {
        self.visit.words.say(message, None)
    }

    /// A message with a value.
    pub(crate) fn t1(&self, message: &str, name: &str, value: impl Value) -> String {
        let mut args = FluentArgs::new();
        args.set(name.to_owned(), value.value());
        self.visit.words.say(message, Some(&args))
    }

    /// A message with two values.
    pub(crate) fn t2(&self, message: &str, name: &str, value: impl Value, other: &str, second: impl Value) -> String {
        let mut args = FluentArgs::new();
        args.set(name.to_owned(), value.value());
        args.set(other.to_owned(), second.value());
        self.visit.words.say(message, Some(&args))
    }

    /// The message of a word: `word("task-state", "dead")` is `task-state-dead`.
    pub(crate) fn word(&self, family: &str, word: impl fmt::Display) -> String {
        let word = word.to_string().replace(['_', '.'], "-");
        self.visit.words.say(&format!("{family}-{word}"), None)
    }

    /// A number as it is written in this language.
    pub(crate) fn number(&self, number: &i64) -> String {
        self.visit.words.number(*number as f64, 0)
    }

    /// How much a minute, with one place behind the point.
    pub(crate) fn rate(&self, rate: &f64) -> String {
        self.visit.words.number(*rate, 1)
    }

    /// How long something takes: `84 ms`, `1.5 s`, `12 min`, `3 h`.
    pub(crate) fn took(&self, ms: &f64) -> String {
        let number = |value: f64, decimals| self.visit.words.number(value, decimals);
        match *ms {
            ms if ms < 1_000.0 => self.t1("took-ms", "value", number(ms, 0)),
            ms if ms < 120_000.0 => self.t1("took-s", "value", number(ms / 1_000.0, 1)),
            ms if ms < 7_200_000.0 => self.t1("took-min", "value", number(ms / 60_000.0, 0)),
            ms => self.t1("took-h", "value", number(ms / 3_600_000.0, 0)),
        }
    }

    /// A moment: the absolute time in the zone of this visit. The script adds how long ago that is.
    pub(crate) fn time(&self, at: &Timestamp) -> Markup {
        let shown = self.visit.words.timestamp(*at, self.visit.zone);
        let ago = self.visit.words.ago(*at, self.visit.now);
        Markup(format!(
            "<time class=\"ago\" datetime=\"{}\" title=\"{shown} {}\"><span>{shown}</span><i aria-hidden=\"true\">{ago}</i></time>",
            at.to_utc().format("%Y-%m-%dT%H:%M:%S%.3fZ"),
            self.visit.zone.name(),
        ))
    }

    /// A day on a wall calendar.
    pub(crate) fn date(&self, day: &NaiveDate) -> String {
        self.visit.words.date(*day)
    }

    pub(crate) fn heading(&self) -> String {
        self.t(self.title)
    }

    pub(crate) fn language(&self) -> &'static str {
        self.speaks().as_str()
    }

    /// In which language its reader is told something that is no message.
    pub(crate) fn speaks(&self) -> Language {
        self.visit.words.language
    }

    pub(crate) fn theme(&self) -> &str {
        self.visit.user.as_ref().and_then(|user| user.theme.as_deref()).unwrap_or("system")
    }

    pub(crate) fn zone(&self) -> &'static str {
        self.visit.zone.name()
    }

    pub(crate) fn edition(&self) -> &'static str {
        assets::edition()
    }

    pub(crate) fn name(&self) -> &str {
        self.visit.user.as_ref().map_or("", |user| user.name.as_str())
    }

    pub(crate) fn is_inside(&self) -> bool {
        self.visit.is_inside()
    }

    pub(crate) fn may_operate(&self) -> bool {
        self.visit.may(Role::Operator)
    }

    pub(crate) fn may_edit(&self) -> bool {
        self.visit.may(Role::Editor)
    }

    pub(crate) fn may_administer(&self) -> bool {
        self.visit.may(Role::Admin)
    }

    /// The navigation, as far as this person may follow it.
    pub(crate) fn groups(&self) -> Vec<Group> {
        let may = |role| self.visit.may(role);
        let group = |group: &'static navigation::Group| Group {
            word: group.word,
            is_current: group.holds(self.section),
            links: group.links(may).into_iter().filter(|link| self.has_sandbox || !link.is_of_sandbox).collect(),
        };
        navigation::groups(may).into_iter().map(group).collect()
    }

    /// How many filters of this list are set. A day is what it looks back by itself.
    pub(crate) fn filters_set(&self) -> i64 {
        filters_set(&self.visit.query)
    }

    /// Where the named views of this list are.
    pub(crate) fn views(&self) -> String {
        let path = format!("{}/", self.visit.path.trim_end_matches('/'));
        let mut query = form_urlencoded::Serializer::new(String::new());
        query.append_pair("of", &path).extend_pairs(form_urlencoded::parse(self.visit.query.as_bytes()));
        format!("/admin/views?{}", query.finish())
    }

    /// The stream of this page.
    pub(crate) fn stream(&self) -> String {
        let topics = self.topics.iter().map(|topic| ("topics", topic));
        let query: String = form_urlencoded::Serializer::new(String::new()).extend_pairs(topics).finish();
        format!("/admin/live?{query}")
    }

    /// How the notice reads.
    pub(crate) fn told(&self, notice: &Notice) -> String {
        self.t1(&format!("notice-{}", notice.word), "count", notice.count)
    }
}

fn filters_set(query: &str) -> i64 {
    let is_set = |name: &str, value: &str| {
        let is_cursor = CURSOR.contains(&name) || (name == "window" && value == Window::default().as_str());
        !is_cursor && !value.trim().is_empty()
    };
    let names: BTreeSet<_> = form_urlencoded::parse(query.as_bytes())
        .filter(|(name, value)| is_set(name, value))
        .map(|(name, _)| name)
        .collect();
    names.len() as i64
}

/// A part of the navigation, for the frame.
pub(crate) struct Group {
    pub(crate) word: &'static str,
    pub(crate) is_current: bool,
    pub(crate) links: Vec<&'static Link>,
}

/// HTML that was made by us, and is not escaped again.
#[derive(Clone, Debug, Default)]
pub(crate) struct Markup(pub(crate) String);

impl fmt::Display for Markup {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl HtmlSafe for Markup {}

/// A page, drawn.
pub(crate) fn html(template: &impl Template) -> Result<Response, Failure> {
    let headers = [(CONTENT_TYPE, "text/html; charset=utf-8")];
    Ok((headers, template.render().map_err(Failure::Drawing)?).into_response())
}

/// The same with a status: a form that is shown again with what is wrong in it.
pub(crate) fn refused(template: &impl Template) -> Result<Response, Failure> {
    let mut response = html(template)?;
    *response.status_mut() = StatusCode::UNPROCESSABLE_ENTITY;
    Ok(response)
}

#[derive(Template)]
#[template(path = "failure.html")]
struct FailurePage {
    page: Page,
    word: &'static str,
    role: Option<Role>,
    request_id: String,
}

/// The page that tells a failure.
pub(crate) fn failure(console: &Console, visit: &Arc<Visit>, failure: &Failure) -> Response {
    if failure.status().is_server_error() {
        tracing::error!("a page of the console failed: {}", explain(failure));
    }
    let role = if let Failure::Forbidden(role) = failure { Some(*role) } else { None };
    let page = Page::new(console, visit, "", "failure-title");
    let request_id = visit.visitor.request_id.clone();
    let drawn = html(&FailurePage { page, word: failure.word(), role, request_id });
    let mut response = drawn.unwrap_or_else(|failure| failure.status().into_response());
    *response.status_mut() = failure.status();
    response
}

/// Where to log in, and where to go on then.
pub(crate) fn login_url(path: &str, query: &str) -> HeaderValue {
    let back = if query.is_empty() { path.to_owned() } else { format!("{path}?{query}") };
    let query = form_urlencoded::Serializer::new(String::new()).append_pair("back", &back).finish();
    HeaderValue::try_from(format!("/admin/login/?{query}")).unwrap_or(HeaderValue::from_static("/admin/login/"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn filters_that_are_set_are_counted() {
        let table = [
            ("", 0),
            ("state=&lane=&kind=&error=&window=day", 0),
            ("state=dead&lane=&window=day&after=x", 1),
            ("state=dead&error=a%26b&window=all", 3),
            ("id=1&id=2", 1),
        ];
        for (query, count) in table {
            assert_eq!(filters_set(query), count, "{query}");
        }
    }
}
