//! The document of the API (OpenAPI 3.1). Routes describe themselves; what is alike everywhere is added here.

mod answers;
mod nullable;
mod order;
mod security;
mod wording;

use axum::body::Bytes;
use recado_console::files;
use serde_json::{Map, Value, json};
use utoipa::OpenApi;
use utoipa::openapi;

use self::order::Ordered;
use crate::envelope::Envelope;

/// What the document says before any route has spoken. The tags stand in the order in which a newcomer needs them.
#[derive(OpenApi)]
#[openapi(
    info(title = "Recado", description = INTRODUCTION, license(name = "Apache-2.0", identifier = "Apache-2.0")),
    servers((url = "/", description = "This installation")),
    tags(
        (name = "events", description = "Say what happened. Who is told, on which channel and in which words is decided \
            here and now; the delivery follows."),
        (name = "notifications", description = "The messages that came of it: each with its story, to be cancelled or sent again."),
        (name = "tasks", description = "What became of it: every job has a task, and a task can be looked up by its id."),
        (name = "operations", description = "How the work goes: what is wrong, what waits and runs, what failed and why, and what operators do about it."),
        (name = "catalogue", description = "The phases and the types of service that an event may name."),
        (name = "templates", description = "The words, by phase, type of service, channel and audience."),
        (name = "orchestration", description = "On which channels each phase speaks: the matrix of phase × channel."),
        (name = "customers", description = "Who is told, where they are reached, and how they want to be."),
        (name = "vehicles", description = "What the customers own."),
        (name = "reminders", description = "What falls due on a day, or at a number of kilometres."),
        (name = "partners", description = "Businesses whose systems work with ours, and whether they are verified."),
        (name = "integrations", description = "How a partner's systems are connected with ours."),
        (name = "partner-webhooks", description = "Partners that exchange webhooks with us: registering them, telling them of events, changing their secret."),
        (name = "push", description = "Browsers that take Web Push."),
        (name = "suppressions", description = "Addresses to which nothing is sent any more, until staff lift it."),
        (name = "unsubscribe", description = "Where the link in a mail leads."),
        (name = "receipts", description = "What Evolution API says of the messages that it took."),
        (name = "webhooks", description = "Signed requests to partners: where they go, what was sent, how it was taken, and sending it again."),
        (name = "conversations", description = "WhatsApp of a tour operator: chats, reservation codes, and the operators who answer."),
        (name = "crm", description = "Appointments of a CRM that took place become presences of the commercial application, at either end."),
        (name = "whatsapp-webhooks", description = "What a WhatsApp bridge tells: messages, its session, its QR code."),
        (name = "reservations", description = "Reservation codes, the requests that customers make by naming them in a chat, and what was said there."),
        (name = "workshops", description = "Workshops with settings of their own."),
        (name = "provider-accounts", description = "Further SMTP servers and Evolution instances, which take over from each other."),
        (name = "api-keys", description = "Who may call, and what for."),
        (name = "users", description = "Who logs in to the console, and what each may do there."),
        (name = "audit", description = "Who changed what: every write by a person, a key, a command or a schedule."),
        (name = "analytics", description = "How much was sent, and how well that went."),
        (name = "sync", description = "For services of the same house: what they know about customers and vehicles."),
        (name = "health", description = "Whether it works, for load balancers, for Prometheus and for people."),
        (name = "schema", description = "This document, and the pages that show it."),
    )
)]
struct Base;

const INTRODUCTION: &str = "\
Accepts an event, and gets it to a person by email, WhatsApp or Web Push: retried, falling back to the next channel, on \
schedule, and able to say what happened and why.

**Keys.** `/api/v1/` takes `Authorization: Bearer <key>`. Keys are made with `recado api-key create`; what a key may do \
stands in its scopes (`dispatch`, `subscribe`, `read`, `contacts`, `admin`). `/api/internal/v1/` takes `X-Internal-Secret`. An installation that \
was opened on purpose (`ALLOW_ANONYMOUS_API`) takes requests without a key.

**Bodies** are JSON in UTF-8, 1 MiB at most. Fields that are not described are ignored. Texts may not contain control \
characters. Moments are RFC 3339 with a zone; answers give them in UTC.

**Lists** come in pages: `page` from 1, and `page_size`, 20 unless you say otherwise and 100 at most.

**URLs** mean the same with and without a slash at their end.

**Errors.** A `400` names all wrong fields at once: `{\"plate\": [\"Este campo es requerido.\"]}`, nested as the fields are. \
Other refusals say `{\"detail\": \"…\"}`. Mistakes of ours are problems of RFC 9457. Below `/api/v1/partners` all of them are \
`{\"error\": \"…\", \"codigo\": \"…\"}`; below `/partners` wrong fields are a 422 that lists their places, and the URLs of the \
CRM say `{\"detail\": \"…\", \"errors\": {…}}`; webhooks of a WhatsApp bridge say `{\"status\": \"error\", \"message\": \"…\"}`. The texts are Spanish, for the people \
who use your application; programs go by the status, and by `code` where there is one.

**Requests have ids.** Each answer carries `X-Request-Id`, yours if you sent one; the log names it. After a `503` or a \
`429` come back when `Retry-After` says.";

pub(crate) fn base() -> openapi::OpenApi {
    Base::openapi()
}

/// The document as it is sent.
pub(crate) struct Document {
    pub(crate) text: Bytes,
    /// Names this edition of it.
    pub(crate) etag: String,
}

impl Document {
    pub(crate) fn of(document: &openapi::OpenApi) -> Self {
        let text = write(document);
        Self { etag: format!("\"{}\"", files::edition([text.as_bytes()])), text: text.into() }
    }
}

/// The finished document as JSON, with everything in the order in which it is written in the code.
fn write(document: &openapi::OpenApi) -> String {
    let order = serde_json::to_string(document).and_then(|text| serde_json::from_str(&text));
    let arranged = Ordered::arrange(complete(document), order.as_ref().ok());
    serde_json::to_string(&arranged).expect("a document is plain data")
}

/// Canonical URLs, unique names, who may call, and every answer that an operation may give.
fn complete(document: &openapi::OpenApi) -> Value {
    let mut document = serde_json::to_value(document).expect("a document is plain data");
    let mut patched = Vec::new();
    let paths = document["paths"].as_object_mut().map(std::mem::take).unwrap_or_default();
    let paths: Map<String, Value> = paths
        .into_iter()
        .map(|(path, mut item)| {
            let path = canonical(&path);
            for (method, operation) in item.as_object_mut().into_iter().flatten() {
                finish_operation(&path, operation);
                patched.extend(loosen_patch(method, operation));
            }
            (path, item)
        })
        .collect();
    document["paths"] = paths.into();
    for (name, whole) in patched {
        let mut schema = document["components"]["schemas"][&whole].clone();
        if let Some(schema) = schema.as_object_mut() {
            schema.remove("required");
        }
        document["components"]["schemas"][&name] = schema;
    }
    let schemas = document["components"]["schemas"].clone();
    nullable::simplify(&mut document, &schemas);
    wording::forget_ids(&mut document);
    document["components"]["securitySchemes"] = security::schemes();
    document["components"]["headers"] = answers::headers();
    for (name, schema) in answers::error_schemas() {
        document["components"]["schemas"][name] = schema;
    }
    document
}

/// With the slash at its end where clients write one (d24); probes have none.
fn canonical(path: &str) -> String {
    if !path.starts_with("/api/") {
        return path.to_owned();
    }
    let path = path.trim_end_matches('/');
    if Envelope::of(path).ends_with_slash() { format!("{path}/") } else { path.to_owned() }
}

fn finish_operation(path: &str, operation: &mut Value) {
    let tag = operation["tags"][0].as_str().unwrap_or_default().to_owned();
    let name = operation["operationId"].as_str().unwrap_or_default();
    operation["operationId"] = format!("{tag}_{name}").into();
    // `security(())` is how a route says that it is open to all.
    operation["security"] = match operation.get("security") {
        None => security::of(path),
        Some(open) if *open == json!([{}]) => json!([]),
        Some(own) => own.clone(),
    };
    let envelope = Envelope::of(path);
    answers::name_envelope(envelope, operation);
    answers::add(path, envelope, operation);
    let responses = operation["responses"].as_object_mut().expect("every operation has responses");
    for (status, response) in responses {
        answers::add_headers(status, response);
    }
}

/// A PATCH takes the same fields as a PUT, none of which is required: the schema's name and its whole.
fn loosen_patch(method: &str, operation: &mut Value) -> Option<(String, String)> {
    let schema = operation.get_mut("requestBody")?.pointer_mut("/content/application~1json/schema")?;
    let whole = schema["$ref"].as_str()?.strip_prefix("#/components/schemas/")?.to_owned();
    if method != "patch" {
        return None;
    }
    let name = format!("Patched{whole}");
    *schema = json!({ "$ref": format!("#/components/schemas/{name}") });
    Some((name, whole))
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;
    use crate::routes;

    fn document() -> Value {
        complete(&routes::all().1)
    }

    /// `GET /api/v1/…` and the operation.
    fn operations(document: &Value) -> Vec<(String, &Value)> {
        let paths = document["paths"].as_object().expect("paths").iter();
        paths
            .flat_map(|(path, item)| {
                let methods = item.as_object().expect("methods").iter();
                methods.map(move |(method, one)| (format!("{} {path}", method.to_uppercase()), one))
            })
            .collect()
    }

    #[test]
    fn every_operation_explains_itself() {
        let document = document();
        let mut names = HashSet::new();
        let tags = document["tags"].as_array().expect("tags").iter();
        let tags: HashSet<&str> = tags.map(|tag| tag["name"].as_str().expect("a name")).collect();
        let mut silent = Vec::new();
        for (operation, one) in operations(&document) {
            let name = one["operationId"].as_str().expect("a name");
            assert!(names.insert(name.to_owned()), "{name} is there twice");
            let tag = one["tags"][0].as_str().unwrap_or_default();
            assert!(tags.contains(&tag), "{operation} has no tag that is described: {tag}");
            let parameters = one["parameters"].as_array().into_iter().flatten();
            let without = parameters.filter(|parameter| parameter["description"].as_str().is_none_or(str::is_empty));
            silent.extend(without.map(|parameter| format!("{operation}: {}", parameter["name"])));
            if one["summary"].as_str().is_none_or(str::is_empty) {
                silent.push(operation);
            }
        }
        assert!(silent.is_empty(), "without a description: {silent:#?}");
    }

    /// A field is described where it stands, or by the schema that it refers to.
    #[test]
    fn every_field_is_described() {
        let document = document();
        let mut silent = Vec::new();
        for (name, schema) in document["components"]["schemas"].as_object().expect("schemas") {
            collect_silent(name, schema, &mut silent);
        }
        assert!(silent.is_empty(), "without a description: {silent:#?}");
    }

    fn collect_silent(place: &str, schema: &Value, silent: &mut Vec<String>) {
        for (name, field) in schema["properties"].as_object().into_iter().flatten() {
            let place = format!("{place}.{name}");
            if field["description"].as_str().is_none_or(str::is_empty) && field.get("$ref").is_none() {
                silent.push(place.clone());
            }
            collect_silent(&place, field, silent);
        }
        for part in schema["allOf"].as_array().into_iter().chain(schema["oneOf"].as_array()).flatten() {
            collect_silent(place, part, silent);
        }
        if let Some(items) = schema.get("items") {
            collect_silent(place, items, silent);
        }
    }

    #[test]
    fn a_reader_sees_no_id_of_the_contract() {
        let text = write(&routes::all().1);
        for id in ["S000-", "S001-", "S002-", "S004-"] {
            assert!(!text.contains(id), "{}", text.split(id).nth(1).unwrap_or_default());
        }
    }

    /// `Value` would sort them.
    #[test]
    fn fields_stand_in_the_order_of_the_code() {
        let text = write(&routes::all().1);
        let stands_before = |text: &str, first: &str, second: &str| {
            assert!(text.find(first).expect(first) < text.find(second).expect(second), "{first} {second}");
        };
        stands_before(&text, "\"servers\":", "\"paths\":");
        let task = text.split("\"Task\":{").nth(1).expect("the schema of a task");
        stands_before(task, "\"task_id\":{", "\"attempts\":{");
        assert_eq!(serde_json::from_str::<Value>(&text).expect("JSON"), document(), "nothing else was changed");
    }

    #[test]
    fn every_reference_leads_somewhere() {
        let document = document();
        let text = document.to_string();
        for reference in text.split("\"$ref\":\"#").skip(1) {
            let pointer = reference.split('"').next().expect("a pointer");
            assert!(document.pointer(pointer).is_some(), "{pointer} leads nowhere");
        }
    }
}
