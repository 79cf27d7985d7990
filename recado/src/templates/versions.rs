//! What a template ever was: listed, compared and restored; and where it is used.

use std::process::ExitCode;

use recado_kernel::clock::Timestamp;
use recado_kernel::ids::Id;
use recado_notifications::catalogue::{Catalogue, Use};
use recado_notifications::catalogue_version;
use recado_notifications::orchestration;
use recado_notifications::templates::versions::{self, LineChange, Version};
use recado_notifications::templates::{self, Template};
use recado_queue::context::Context;
use serde_json::{Value, json};

use super::{NAME_WIDTH, actor, catalogue, unknown};
use crate::output::{Outcome, print, print_json, printable, say};
use crate::table::{Table, shorten};
use crate::times::relative;

pub(super) async fn list(context: &Context, id: Id, limit: i64, json: bool) -> Outcome {
    let (found, total) = versions::list(&mut context.db.read().await?, id, limit, 0).await?;
    if total == 0 {
        return Err(format!("there never was a template {id}; see `recado templates list`").into());
    }
    if json {
        print_json(&found.iter().map(as_json).collect::<Vec<_>>())?;
        return Ok(ExitCode::SUCCESS);
    }
    let now = context.clock.now();
    let shown = i64::try_from(found.len()).unwrap_or(i64::MAX);
    let mut table = Table::new(&[">VERSION", "CHANGE", "WRITTEN", "BY", "USED", "NAME"]);
    for version in found {
        let change = version
            .restored_from
            .map_or_else(|| version.change.to_string(), |number| format!("{} from {number}", version.change));
        table.row([
            version.version.to_string(),
            change,
            relative(version.written_at, now),
            version.author.unwrap_or_else(|| "the program".to_owned()),
            if version.is_active { "yes" } else { "no" }.to_owned(),
            shorten(&version.name, NAME_WIDTH),
        ]);
    }
    print(&table.render());
    if total > shown {
        eprintln!("{} more; see --limit", total - shown);
    }
    Ok(ExitCode::SUCCESS)
}

pub(super) async fn diff(context: &Context, id: Id, number: i32, against: Option<i32>, json: bool) -> Outcome {
    let wanted = against.unwrap_or(number.saturating_sub(1));
    let found = versions::find_many(&mut context.db.read().await?, id, &[wanted, number]).await?;
    let of = |number: i32| found.iter().find(|version| version.version == number);
    let after = of(number).ok_or_else(|| no_version(id, number))?;
    let before = of(wanted);
    if before.is_none() && against.is_some() {
        return Err(no_version(id, wanted).into());
    }
    if json {
        print_json(&diff_as_json(before, after))?;
    } else {
        print(&describe(before, after, context.clock.now()));
    }
    Ok(ExitCode::SUCCESS)
}

fn no_version(id: Id, number: i32) -> String {
    format!("the template {id} has no version {number}; see `recado templates versions {id}`")
}

/// As `diff -u` writes it: what went begins with a minus, what came with a plus.
fn describe(before: Option<&Version>, after: &Version, now: Timestamp) -> String {
    let from = before.map_or_else(|| "nothing".to_owned(), |version| format!("version {}", version.version));
    let author = after.author.as_deref().unwrap_or("the program");
    let mut text =
        format!("From {from} to version {}, written {} by {author}\n", after.version, relative(after.written_at, now));
    let changes = versions::changed_fields(before, after);
    if changes.is_empty() {
        text.push_str("\nNothing differs.\n");
    }
    for (field, old, new) in changes.iter().filter(|(field, ..)| !TEXTS.contains(field)) {
        text.push_str(&format!("\n{field}\n"));
        let shown = |sign: char, value: &Value| match value {
            Value::Null => String::new(),
            Value::String(value) => format!("{sign} {}\n", printable(value)),
            other => format!("{sign} {other}\n"),
        };
        text.push_str(&format!("{}{}", shown('-', old), shown('+', new)));
    }
    for field in TEXTS.iter().filter(|field| changes.iter().any(|(changed, ..)| changed == *field)) {
        text.push_str(&format!("\n{field}\n"));
        for line in versions::lines(before.map_or("", |version| text_of(version, field)), text_of(after, field)) {
            let sign = match line.change {
                LineChange::Equal => ' ',
                LineChange::Removed => '-',
                LineChange::Added => '+',
            };
            text.push_str(format!("{sign} {}", printable(&line.text)).trim_end());
            text.push('\n');
        }
    }
    text
}

/// The fields that have lines.
const TEXTS: [&str; 2] = ["subject", "body"];

fn text_of<'v>(version: &'v Version, field: &str) -> &'v str {
    if field == "subject" { &version.subject } else { &version.body }
}

/// The same fields as `GET /api/v1/notifications/templates/{id}/versions/{version}/diff/`.
fn diff_as_json(before: Option<&Version>, after: &Version) -> Value {
    let changes = versions::changed_fields(before, after);
    let lines = |field: &str| -> Vec<Value> {
        if changes.iter().all(|(changed, ..)| *changed != field) {
            return Vec::new();
        }
        let lines = versions::lines(before.map_or("", |version| text_of(version, field)), text_of(after, field));
        lines.into_iter().map(|line| json!({ "change": line.change, "text": line.text })).collect()
    };
    let fields: Vec<Value> = changes
        .iter()
        .map(|(field, before, after)| json!({ "field": field, "before": before, "after": after }))
        .collect();
    json!({
        "from": before.map(|version| version.version),
        "to": after.version,
        "changes": fields,
        "subject": lines("subject"),
        "body": lines("body"),
    })
}

pub(super) async fn restore(context: &Context, id: Id, number: i32, json: bool) -> Outcome {
    let found = versions::find_many(&mut context.db.read().await?, id, &[number]).await?;
    let version = found.into_iter().next().ok_or_else(|| no_version(id, number))?;
    // What was right once may be refused now: the rules for texts may have changed.
    let flaws = templates::flaws(&version.subject, &version.body, context.config.template_strict_case);
    if !flaws.is_empty() {
        let flaws: Vec<String> = flaws.iter().map(ToString::to_string).collect();
        return Err(format!("version {number} could not be rendered any more: {}", flaws.join(" ")).into());
    }
    let mut session = context.db.begin().await?;
    catalogue_version::touch(&mut session).await?;
    versions::restore(&mut session, &version, &actor(), context.clock.now()).await?;
    orchestration::forget_misfits(&mut session).await?;
    session.commit().await?;
    let catalogue = catalogue(context).await?;
    let template = catalogue.template(id).ok_or_else(|| unknown(id))?;
    if json {
        print_json(&super::as_json(template, &catalogue, context))?;
    } else {
        say(&format!(
            "{} is what it was in version {number}, as version {}; the next event is told in these words",
            template.name, template.version
        ));
    }
    Ok(ExitCode::SUCCESS)
}

/// The same fields as `GET /api/v1/notifications/templates/{id}/versions/`, and the texts.
fn as_json(version: &Version) -> Value {
    json!({
        "version": version.version,
        "change": version.change,
        "restored_from": version.restored_from,
        "author": version.author,
        "written_at": version.written_at,
        "name": version.name,
        "is_active": version.is_active,
        "subject": version.subject,
        "body": version.body,
        "channel": version.channel,
        "target": version.target,
        "event_type": version.event_type,
        "service_type": version.service_type_id,
        "subtype": version.subtype_id,
        "phase": version.phase_id,
        "taller_id": version.taller_id,
        "is_default": version.is_default,
    })
}

pub(super) async fn usage(context: &Context, id: Id, json: bool) -> Outcome {
    let catalogue = catalogue(context).await?;
    let template = catalogue.template(id).ok_or_else(|| unknown(id))?;
    let (uses, (beats, loses_to)) = (catalogue.uses(template), catalogue.rivals(template));
    if json {
        let rivals = |found: &[&Template]| -> Vec<Value> {
            found.iter().map(|one| json!({ "id": one.id, "name": one.name })).collect()
        };
        print_json(&json!({
            "cells": uses.iter().map(|one| use_as_json(one, &catalogue)).collect::<Vec<_>>(),
            "beats": rivals(&beats),
            "loses_to": rivals(&loses_to),
        }))?;
        return Ok(ExitCode::SUCCESS);
    }
    let mut table = Table::new(&["SERVICE", "SUBTYPE", "PHASE", "TARGET", "WORKSHOP", "HOW", "ON", "SENT"]);
    for one in &uses {
        let Names { service, subtype, phase } = Names::of(one, &catalogue);
        let or_any = |text: Option<String>| text.unwrap_or_else(|| "any".to_owned());
        let yes_or_no = |is_so: bool| if is_so { "yes" } else { "no" }.to_owned();
        table.row([
            or_any(service),
            or_any(subtype),
            or_any(phase),
            one.config.target.to_string(),
            or_any(one.config.taller_id.clone()),
            how(one).replace('_', " "),
            yes_or_no(is_on(one)),
            yes_or_no(one.is_sent),
        ]);
    }
    let mut text = if table.is_empty() { "no cell of the matrix uses it\n".to_owned() } else { table.render() };
    for (label, found) in [("Wins against", &beats), ("Loses against", &loses_to)] {
        if !found.is_empty() {
            let names: String = found.iter().map(|one| format!("  {} ({})\n", one.name, one.id)).collect();
            text.push_str(&format!("\n{label}\n{}", printable(&names)));
        }
    }
    print(&text);
    Ok(ExitCode::SUCCESS)
}

/// How a cell comes to send a template.
fn how(one: &Use<'_>) -> &'static str {
    if one.is_named { "named" } else { "best_match" }
}

fn is_on(one: &Use<'_>) -> bool {
    one.config.is_active && one.cell.enabled
}

/// Where a cell stands, in words.
struct Names {
    service: Option<String>,
    subtype: Option<String>,
    phase: Option<String>,
}

impl Names {
    fn of(one: &Use<'_>, catalogue: &Catalogue) -> Self {
        let service = |id: Id| catalogue.service(id).map(|service| service.name.clone());
        let phase = catalogue.phases.iter().find(|phase| phase.id == one.cell.phase_id);
        Self {
            service: service(one.config.service_type_id),
            subtype: one.subtype_id.and_then(service),
            phase: phase.map(|phase| phase.name.clone()),
        }
    }
}

/// The same fields as the cells of `GET /api/v1/notifications/templates/{id}/usage/`.
fn use_as_json(one: &Use<'_>, catalogue: &Catalogue) -> Value {
    let Names { service, phase, .. } = Names::of(one, catalogue);
    json!({
        "config_id": one.config.id,
        "service_type_id": one.config.service_type_id,
        "service_type_name": service,
        "subtype_id": one.subtype_id,
        "target": one.config.target,
        "taller_id": one.config.taller_id,
        "phase_id": one.cell.phase_id,
        "phase_name": phase,
        "channel": one.cell.channel,
        "enabled": is_on(one),
        "how": how(one),
        "is_sent": one.is_sent,
    })
}
