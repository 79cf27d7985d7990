//! The story of a message and of an event, as it is printed.

use std::process::ExitCode;

use recado_kernel::ids::Id;
use recado_kernel::language::Language;
use recado_notifications::journal;
use recado_notifications::next::Next;
use recado_notifications::notifications::attempts;
use recado_notifications::notifications::records::{self, Record};
use recado_notifications::plain_text::plain_text;
use recado_notifications::story::Story;
use recado_notifications::timeline::{Timeline, TimelineEntry};
use recado_notifications::why::{Rule, Verdict, Why};
use recado_queue::context::Context;
use serde_json::{Value, json};

use super::{address_of, as_json, reason_of};
use crate::output::{Outcome, print, print_json, printable};
use crate::table::{Table, shorten};
use crate::times::{local, relative};

/// Characters of a text that are shown, as the API shows them.
const PREVIEW: usize = 500;

/// The most messages and decisions of one event's story, as the API tells it.
const MOST_ENTRIES: i64 = 500;

/// A story, and for whom it is told.
pub(super) struct StoryView<'t> {
    pub(super) story: &'t Story,
    /// The message that was asked for.
    pub(super) id: Id,
    pub(super) language: Language,
    /// With addresses and the answers of providers.
    pub(super) reveals: bool,
    pub(super) context: &'t Context,
}

impl StoryView<'_> {
    pub(super) fn describe(&self) -> String {
        let mut text = String::new();
        for record in self.story.chain.iter().filter(|record| record.id == self.id) {
            text.push_str(&self.describe_message(record));
        }
        if let Some(next) = &self.story.next {
            text.push_str(&format!("\nWhat happens next\n  {}\n", self.describe_next(next)));
        }
        text.push_str("\nMessages, in the order in which they are tried\n");
        text.push_str(&self.describe_chain());
        text.push_str("\nWhy these channels\n");
        text.push_str(&describe_channels(&self.story.channels, self.language));
        text.push_str("\nWhat happened\n");
        text.push_str(&describe_timeline(&self.timeline(), self.context));
        text.push_str(&self.describe_words());
        text
    }

    fn timeline(&self) -> Vec<TimelineEntry> {
        self.story.timeline(self.context.config.time_zone, self.language, self.reveals)
    }

    fn describe_message(&self, record: &Record) -> String {
        let (now, zone) = (self.context.clock.now(), self.context.config.time_zone);
        let mut text = format!("Message {}\n", record.id);
        let mut line = |label: &str, value: &str| {
            text.push_str(&format!("  {label:<9} {}\n", value.replace(char::is_control, " ")));
        };
        let to = address_of(record, self.reveals).map(|address| format!(" to {address}")).unwrap_or_default();
        line("status", record.status.as_str());
        line("channel", &format!("{}{to}", record.channel));
        line("event", &format!("{} for {} ({})", record.event_type, record.customer_id, record.target));
        if let Some(taller_id) = &record.taller_id {
            line("workshop", taller_id);
        }
        let version = record.template_version.map(|version| format!(", version {version}")).unwrap_or_default();
        line("text", &format!("{}{version}", record.template_name));
        line("accepted", &format!("{} ({} {zone})", relative(record.created_at, now), local(record.created_at, &zone)));
        let moments = [("sent", record.sent_at), ("delivered", record.delivered_at), ("read", record.read_at)];
        for (label, at) in moments.into_iter().filter_map(|(label, at)| Some((label, at?))) {
            line(label, &format!("{} ({} {zone})", relative(at, now), local(at, &zone)));
        }
        if let Some(code) = &record.error_code {
            line("error", &format!("{code}: {}", reason_of(record, self.reveals).unwrap_or_default()));
        }
        line("account", record.provider.as_deref().unwrap_or("-"));
        line("task", &record.task_id.to_string());
        line("event id", &record.correlation_id.to_string());
        text
    }

    fn describe_next(&self, next: &Next) -> String {
        let (now, zone) = (self.context.clock.now(), self.context.config.time_zone);
        let told = |at| format!("{} ({} {zone})", relative(at, now), local(at, &zone));
        let at = next.at.map(|at| format!(" → {}", told(at))).unwrap_or_default();
        let held = next.held_until.map(|until| format!(" It is held until then: {}", told(until))).unwrap_or_default();
        format!("{}{at}{held}", next.sentence(self.language))
    }

    fn describe_chain(&self) -> String {
        let now = self.context.clock.now();
        let mut table = Table::new(&[">#", "CHANNEL", "STATUS", "TO", ">FAILED", "CHANGED", "ERROR", "ID"]);
        for record in &self.story.chain {
            table.row([
                record.fallback_order.to_string(),
                record.channel.to_string(),
                record.status.to_string(),
                address_of(record, self.reveals).unwrap_or_else(|| "-".to_owned()),
                format!("{} of {}", record.retry_count, record.max_retries),
                relative(record.updated_at, now),
                record.error_code.clone().unwrap_or_else(|| "-".to_owned()),
                record.id.to_string(),
            ]);
        }
        indented(&table.render())
    }

    fn describe_words(&self) -> String {
        let Some(message) = self.story.messages.iter().find(|message| message.id == self.id) else {
            return String::new();
        };
        let body = if message.is_html { plain_text(&message.body) } else { message.body.clone() };
        if message.subject.is_empty() && body.is_empty() {
            return "\nIts words were erased.\n".to_owned();
        }
        let subject = Some(&message.subject).filter(|subject| !subject.is_empty());
        let subject = subject.map(|subject| format!("{subject}\n\n")).unwrap_or_default();
        let words = printable(&format!("{subject}{}\n", shorten(&body, PREVIEW)));
        format!("\nIts words\n{}", indented(&words))
    }

    /// The same fields as `GET /api/v1/notifications/{id}/`.
    pub(super) fn as_json(&self) -> Value {
        let Some(position) = self.story.chain.iter().position(|record| record.id == self.id) else {
            return Value::Null;
        };
        let (record, message) = (&self.story.chain[position], &self.story.messages[position]);
        let mut value = as_json(record, self.reveals);
        let next = self.story.next.as_ref().map(|next| {
            let mut told = json!(next);
            told["text"] = next.sentence(self.language).into();
            told
        });
        let sibling = |record: &Record| {
            json!({
                "id": record.id, "channel": record.channel, "status": record.status,
                "fallback_order": record.fallback_order,
            })
        };
        let own = [
            ("subject", json!(message.subject)),
            ("body_preview", message.body.chars().take(PREVIEW).collect::<String>().into()),
            ("is_html", message.is_html.into()),
            ("chain", self.story.chain.iter().map(sibling).collect()),
            ("timeline", json!(self.timeline())),
            ("next", json!(next)),
            ("channels", json!(self.story.channels)),
        ];
        for (name, field) in own {
            value[name] = field;
        }
        value
    }
}

/// A line for each channel: how each rule decided, and why the channel was not used.
fn describe_channels(channels: &[Why], language: Language) -> String {
    let mut table = Table::new(&[
        "CHANNEL",
        ">PLACE",
        "MATRIX",
        "WORKSHOP",
        "PREFERENCE",
        "ADDRESS",
        "SUPPRESSION",
        "TEMPLATE",
        "WHY NOT",
    ]);
    for why in channels {
        let rules = [why.matrix, why.workshop, why.preference, why.address, why.suppression, why.template];
        let place = why.place.map_or_else(|| "-".to_owned(), |place| place.to_string());
        let reason = why.reason.map_or("", |reason| reason.explanation(language)).to_owned();
        let row = [why.channel.to_string(), place].into_iter().chain(rules.map(told)).chain([reason]);
        table.row(row);
    }
    let has_changed = |why: &Why| {
        let rules = [why.matrix, why.workshop, why.preference, why.address, why.suppression, why.template];
        rules.iter().any(|rule| rule.has_changed)
    };
    let note = if channels.iter().any(has_changed) { "  * its setting is another one by now\n" } else { "" };
    format!("{}{note}", indented(&table.render()))
}

fn told(rule: Rule) -> String {
    let word = match rule.then {
        Verdict::Passed => "passed",
        Verdict::Stopped => "stopped",
        Verdict::NotAsked => "not asked",
        Verdict::NotApplicable => "-",
    };
    format!("{word}{}", if rule.has_changed { "*" } else { "" })
}

fn describe_timeline(timeline: &[TimelineEntry], context: &Context) -> String {
    let zone = context.config.time_zone;
    let line = |entry: &TimelineEntry| {
        format!("  {}  {}\n", local(entry.at, &zone), entry.text.replace(char::is_control, " "))
    };
    timeline.iter().map(line).collect()
}

fn indented(text: &str) -> String {
    text.lines().map(|line| if line.is_empty() { "\n".to_owned() } else { format!("  {line}\n") }).collect()
}

/// The story of an event, also when it reached no one.
pub(super) async fn of_event(context: &Context, id: Id, language: Language, json: bool) -> Outcome {
    let mut session = context.db.read().await?;
    let chain = records::of_correlation(&mut session, id, MOST_ENTRIES).await?;
    let mut journal = journal::of_correlation(&mut session, id, MOST_ENTRIES).await?;
    if chain.is_empty() && journal.is_empty() {
        return Err(format!("there is no event {id}; its correlation_id stands in the answer to the dispatch").into());
    }
    let mut tasks: Vec<Id> = chain.iter().map(|record| record.task_id).collect();
    tasks.dedup();
    let attempts = attempts::of_tasks(&mut session, &tasks).await?;
    journal.extend(records::skipped(&mut session, &tasks).await?);
    drop(session);
    let zone = context.config.time_zone;
    let timeline =
        Timeline { chain: &chain, attempts: &attempts, journal: &journal, zone, language, shows_answers: false }.tell();
    if json {
        let messages: Vec<Value> = chain.iter().map(|record| as_json(record, false)).collect();
        print_json(&json!({ "correlation_id": id, "notifications": messages, "timeline": timeline }))?;
        return Ok(ExitCode::SUCCESS);
    }
    let mut text = format!("Event {id}\n");
    if chain.is_empty() {
        text.push_str("  It reached no one.\n");
    } else {
        text.push_str(&format!("\nMessages\n{}", indented(&super::table(&chain, context.clock.now()))));
    }
    text.push_str(&format!("\nWhat happened\n{}", describe_timeline(&timeline, context)));
    print(&text);
    Ok(ExitCode::SUCCESS)
}
