//! The document of the API (OpenAPI 3.1). Routes describe themselves; what is alike everywhere is added here.

use indexmap::IndexMap;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};
use sha2::{Digest, Sha256};
use utoipa::OpenApi;
use utoipa::openapi;

use crate::body::LARGEST_BODY;

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
        (name = "catalogue", description = "The phases and the types of service that an event may name."),
        (name = "templates", description = "The words, by phase, type of service, channel and audience."),
        (name = "orchestration", description = "On which channels each phase speaks: the matrix of phase × channel."),
        (name = "customers", description = "Who is told, where they are reached, and how they want to be."),
        (name = "vehicles", description = "What the customers own."),
        (name = "reminders", description = "What falls due on a day, or at a number of kilometres."),
        (name = "push", description = "Browsers that take Web Push."),
        (name = "suppressions", description = "Addresses to which nothing is sent any more, until staff lift it."),
        (name = "unsubscribe", description = "Where the link in a mail leads."),
        (name = "receipts", description = "What Evolution API says of the messages that it took."),
        (name = "workshops", description = "Workshops with settings of their own."),
        (name = "provider-accounts", description = "Further SMTP servers and Evolution instances, which take over from each other."),
        (name = "api-keys", description = "Who may call, and what for."),
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
stands in its scopes (`dispatch`, `read`, `admin`). `/api/internal/v1/` takes `X-Internal-Secret`. An installation that \
was opened on purpose (`ALLOW_ANONYMOUS_API`) takes everybody.

**Bodies** are JSON in UTF-8, 1 MiB at most. Fields that are not described are ignored. Texts may not contain control \
characters. Moments are RFC 3339 with a zone; answers give them in UTC.

**Lists** come in pages: `page` from 1, and `page_size`, 20 unless you say otherwise and 100 at most.

**URLs** end with a slash here; without it they mean the same.

**Errors.** A `400` names all wrong fields at once: `{\"plate\": [\"Este campo es requerido.\"]}`, nested as the fields are. \
Other refusals say `{\"detail\": \"…\"}`. Mistakes of ours are problems of RFC 9457. The texts are Spanish, for the people \
who use your application; programs go by the status, and by `code` where there is one.

**Requests have ids.** Each answer carries `X-Request-Id`, yours if you sent one; the log names it. After a `503` or a \
`429` come back when `Retry-After` says.";

pub(crate) fn base() -> openapi::OpenApi {
    Base::openapi()
}

/// Names a content by its digest, so that a copy can be told to be old. Twelve digits do: nobody attacks it.
pub(crate) fn edition<'a>(content: impl IntoIterator<Item = &'a [u8]>) -> String {
    let mut digest = Sha256::new();
    content.into_iter().for_each(|part| digest.update(part));
    digest.finalize().iter().take(6).map(|byte| format!("{byte:02x}")).collect()
}

/// The finished document as JSON, with everything in the order in which it is written in the code.
pub(crate) fn write(document: &openapi::OpenApi) -> String {
    let order = serde_json::to_string(document).and_then(|text| serde_json::from_str(&text));
    let arranged = Ordered::arrange(complete(document), order.as_ref().ok());
    serde_json::to_string(&arranged).expect("a document is plain data")
}

/// JSON that remembers the order of its fields. `Value` sorts them, and fields that were written in a sensible order are
/// easier to read in it.
#[derive(Deserialize, Serialize)]
#[serde(untagged)]
enum Ordered {
    Object(IndexMap<String, Ordered>),
    List(Vec<Ordered>),
    Plain(Value),
}

impl Ordered {
    /// The same value, its fields in the order of those of the model; what the model does not have comes last.
    fn arrange(value: Value, model: Option<&Self>) -> Self {
        match value {
            Value::Object(fields) => {
                let places = model.and_then(Self::fields);
                let place = |name: &str| places.and_then(|places| places.get_index_of(of_model(name)));
                let mut fields: Vec<(String, Value)> = fields.into_iter().collect();
                fields.sort_by_key(|(name, _)| place(name).unwrap_or(usize::MAX));
                let arranged = fields.into_iter().map(|(name, value)| {
                    let model = places.and_then(|places| places.get(of_model(&name)));
                    (name, Self::arrange(value, model))
                });
                Self::Object(arranged.collect())
            }
            Value::Array(items) => {
                let models = if let Some(Self::List(models)) = model { models.as_slice() } else { &[] };
                let items = items.into_iter().enumerate();
                Self::List(items.map(|(place, item)| Self::arrange(item, models.get(place))).collect())
            }
            plain => Self::Plain(plain),
        }
    }

    fn fields(&self) -> Option<&IndexMap<String, Self>> {
        if let Self::Object(fields) = self { Some(fields) } else { None }
    }
}

/// What a finished name was called before it was finished.
fn of_model(name: &str) -> &str {
    let path = if name.starts_with('/') { name.trim_end_matches('/') } else { name };
    path.strip_prefix("Patched").unwrap_or(path)
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
    simplify_nullable(&mut document, &schemas);
    forget_ids(&mut document);
    document["components"]["securitySchemes"] = security_schemes();
    document["components"]["headers"] = headers();
    for (name, schema) in error_schemas() {
        document["components"]["schemas"][name] = schema;
    }
    document
}

/// With the slash at its end that the clients of seed 002 write (d24); probes have none.
fn canonical(path: &str) -> String {
    if path.starts_with("/api/") && !path.ends_with('/') { format!("{path}/") } else { path.to_owned() }
}

fn finish_operation(path: &str, operation: &mut Value) {
    let tag = operation["tags"][0].as_str().unwrap_or_default().to_owned();
    let name = operation["operationId"].as_str().unwrap_or_default();
    operation["operationId"] = format!("{tag}_{name}").into();
    // `security(())` is how a route says that it is open to all.
    operation["security"] = match operation.get("security") {
        None => security(path),
        Some(open) if *open == json!([{}]) => json!([]),
        Some(own) => own.clone(),
    };
    name_envelope(operation);
    add_answers(path, operation);
    let responses = operation["responses"].as_object_mut().expect("every operation has responses");
    for (status, response) in responses {
        add_headers(status, response);
    }
}

/// What an operation did not say itself, because it is the same for all of its kind.
fn add_answers(path: &str, operation: &mut Value) {
    // An empty scheme among them means: or none at all.
    let is_secured = operation["security"]
        .as_array()
        .is_some_and(|schemes| !schemes.is_empty() && schemes.iter().all(|scheme| *scheme != json!({})));
    let answers = ANSWERS.iter().filter(|answer| match answer.when {
        When::Always => true,
        When::Secured => is_secured,
        When::WithBody => operation.get("requestBody").is_some(),
        When::WithPath => path.contains('{'),
        When::WithQuery => asks(operation, "query"),
        When::Paged => takes(operation, "page"),
        When::Repeatable => takes(operation, "Idempotency-Key"),
    });
    let answers: Vec<&Answer> = answers.collect();
    if operation.get("requestBody").is_some() {
        let refusal = operation.pointer_mut("/responses/400/content/application~1json/schema");
        refusal.into_iter().for_each(admit_field_errors);
    }
    for Answer { status, description, schema, .. } in answers {
        let content_type = if *schema == "Problem" { "application/problem+json" } else { "application/json" };
        let schema = json!({ "$ref": format!("#/components/schemas/{schema}") });
        let responses = operation["responses"].as_object_mut().expect("every operation has responses");
        let response = responses.entry(*status).or_insert_with(|| json!({ "description": description }));
        // A page that is not found may be a page, and what was no path at all is refused before anybody draws one.
        if response["content"].get(content_type).is_none() {
            response["content"][content_type] = json!({ "schema": schema });
        }
    }
}

/// A refusal that a route describes itself comes in the same envelope as all others.
fn name_envelope(operation: &mut Value) {
    for (status, response) in operation["responses"].as_object_mut().into_iter().flatten() {
        if status.starts_with('4') && response.get("content").is_none() {
            response["content"] =
                json!({ "application/json": { "schema": { "$ref": "#/components/schemas/Detail" } } });
        }
    }
}

/// A refusal with a shape of its own comes after the fields were read. Until then the operation refuses like all others.
fn admit_field_errors(refusal: &mut Value) {
    let field_errors = json!({ "$ref": "#/components/schemas/FieldErrors" });
    if !refusal.to_string().contains(&field_errors.to_string()) {
        *refusal = json!({ "anyOf": [refusal.take(), field_errors] });
    }
}

/// The headers that come with every answer, or with every answer of this status.
fn add_headers(status: &str, response: &mut Value) {
    let of_status = match status {
        "401" => Some("WWW-Authenticate"),
        "429" | "503" => Some("Retry-After"),
        _ => None,
    };
    for name in ["X-Request-Id"].into_iter().chain(of_status) {
        response["headers"][name] = json!({ "$ref": format!("#/components/headers/{name}") });
    }
}

fn headers() -> Value {
    let text =
        |description: &str| json!({ "description": description, "required": true, "schema": { "type": "string" } });
    json!({
        "X-Request-Id": text("The id of the request: yours, if you sent a sane one."),
        "WWW-Authenticate": text("What would open the door: `Bearer` or `X-Internal-Secret`."),
        "Retry-After": {
            "description": "Seconds after which it makes sense to try again.",
            "schema": { "type": "integer", "minimum": 0 },
        },
    })
}

fn takes(operation: &Value, parameter: &str) -> bool {
    operation["parameters"].as_array().is_some_and(|all| all.iter().any(|one| one["name"] == parameter))
}

fn asks(operation: &Value, place: &str) -> bool {
    operation["parameters"].as_array().is_some_and(|all| all.iter().any(|one| one["in"] == place))
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

/// The comments that the descriptions come from name lines of the contract for whoever changes the code. Whoever calls the
/// API has never seen it.
fn forget_ids(part: &mut Value) {
    match part {
        Value::Object(fields) => {
            for (name, field) in fields {
                match field {
                    Value::String(text) if name == "description" || name == "summary" => *text = without_ids(text),
                    field => forget_ids(field),
                }
            }
        }
        Value::Array(items) => items.iter_mut().for_each(forget_ids),
        _ => {}
    }
}

/// Without the brackets that name a line (`S002-41`) or a decision (`d16`).
fn without_ids(text: &str) -> String {
    let is_id = |word: &str| {
        let number = word.strip_prefix('d').or(word.strip_prefix("S00"));
        number.is_some_and(|number| number.starts_with(|c: char| c.is_ascii_digit()))
    };
    let mut kept = String::with_capacity(text.len());
    let mut rest = text;
    while let Some((before, bracket)) = rest.split_once(" (") {
        let (inside, after) = bracket.split_once(')').unwrap_or((bracket, ""));
        kept.push_str(before);
        if !inside.split([' ', ',']).any(is_id) {
            kept.push_str(" (");
            kept.push_str(&bracket[..bracket.len() - after.len()]);
        }
        rest = after;
    }
    kept + rest
}

/// A field that may be null is described as "either null, or what stands over there". Where that is a plain value, such as a
/// moment, it is said in one piece, because people read a choice of two as two kinds of answers.
fn simplify_nullable(part: &mut Value, schemas: &Value) {
    if let Some(simple) = nullable(part).and_then(|other| said_in_one_piece(other, schemas)) {
        *part = simple;
    }
    match part {
        Value::Object(fields) => fields.values_mut().for_each(|field| simplify_nullable(field, schemas)),
        Value::Array(items) => items.iter_mut().for_each(|item| simplify_nullable(item, schemas)),
        _ => {}
    }
}

/// The other of a choice of two, one of which is null.
fn nullable(schema: &Value) -> Option<&Value> {
    match schema.get("oneOf")?.as_array()?.as_slice() {
        [other, null] | [null, other] if *null == json!({ "type": "null" }) => Some(other),
        _ => None,
    }
}

fn said_in_one_piece(other: &Value, schemas: &Value) -> Option<Value> {
    let name = other.get("$ref")?.as_str()?.strip_prefix("#/components/schemas/")?;
    let mut schema = schemas.get(name)?.clone();
    let is_plain = schema["type"].is_string() && schema["type"] != "object" && schema["type"] != "array";
    let description = other.get("description").cloned();
    if is_plain {
        schema["type"] = json!([schema["type"], "null"]);
        if let Some(words) = schema.get_mut("enum").and_then(Value::as_array_mut) {
            words.push(Value::Null);
        }
    } else {
        schema = json!({ "oneOf": [{ "type": "null" }, { "$ref": other["$ref"] }] });
    }
    if let Some(description) = description {
        schema["description"] = description;
    }
    Some(schema)
}

/// By whom an operation may be called, unless it says otherwise itself.
fn security(path: &str) -> Value {
    if path.starts_with("/api/internal/") {
        json!([{ "internalSecret": [] }])
    } else if path.starts_with("/api/v1/unsubscribe/") {
        // The link in the mail is the proof.
        json!([])
    } else if path.starts_with("/api/v1/") {
        json!([{ "apiKey": [] }])
    } else {
        json!([])
    }
}

fn security_schemes() -> Value {
    json!({
        "apiKey": {
            "type": "http",
            "scheme": "bearer",
            "description": "A key made with `recado api-key create`, or one of `API_KEYS`.",
        },
        "evolutionToken": {
            "type": "apiKey",
            "in": "header",
            "name": "X-Webhook-Token",
            "description": "`EVOLUTION_WEBHOOK_TOKEN`, for the webhooks of Evolution API; also as `?token=`.",
        },
        "evolutionJwt": {
            "type": "http",
            "scheme": "bearer",
            "bearerFormat": "JWT",
            "description": "What Evolution API signs with `EVOLUTION_WEBHOOK_JWT_KEY` (HS256), when that is set.",
        },
        "internalSecret": {
            "type": "apiKey",
            "in": "header",
            "name": "X-Internal-Secret",
            "description": "`INTERNAL_API_SECRET_KEY`, for services of the same house.",
        },
    })
}

/// An answer that many operations give.
struct Answer {
    status: &'static str,
    when: When,
    description: &'static str,
    schema: &'static str,
}

enum When {
    Always,
    Secured,
    WithBody,
    WithPath,
    WithQuery,
    Paged,
    /// It understands `Idempotency-Key`.
    Repeatable,
}

const ANSWERS: &[Answer] = &[
    Answer {
        status: "400",
        when: When::WithBody,
        description: "Fields are wrong, or the body is no JSON.",
        schema: "FieldErrors",
    },
    Answer { status: "400", when: When::Repeatable, description: "A header is wrong.", schema: "FieldErrors" },
    Answer { status: "400", when: When::WithQuery, description: "A query parameter is wrong.", schema: "FieldErrors" },
    Answer {
        status: "401",
        when: When::Secured,
        description: "The credential is missing or not in force.",
        schema: "Detail",
    },
    Answer { status: "403", when: When::Secured, description: "The key lacks the scope.", schema: "Detail" },
    Answer { status: "404", when: When::WithPath, description: "There is no such thing.", schema: "Detail" },
    Answer { status: "404", when: When::Paged, description: "There is no such page.", schema: "Detail" },
    Answer { status: "408", when: When::WithBody, description: "The body came too slowly.", schema: "Detail" },
    Answer { status: "413", when: When::WithBody, description: "The body is larger than 1 MiB.", schema: "Detail" },
    Answer { status: "415", when: When::WithBody, description: "The body is not JSON by its type.", schema: "Detail" },
    Answer {
        status: "429",
        when: When::Secured,
        description: "Too many requests; `Retry-After` says when to come back.",
        schema: "Detail",
    },
    Answer {
        status: "500",
        when: When::Always,
        description: "A mistake of ours; `instance` finds it in the logs.",
        schema: "Problem",
    },
    Answer { status: "503", when: When::Always, description: "Not now; `Retry-After` says when.", schema: "Detail" },
];

const _: () = assert!(LARGEST_BODY == 1024 * 1024, "the description of 413 names the limit");

fn error_schemas() -> [(&'static str, Value); 3] {
    let detail = json!({
        "type": "object",
        "description": "What went wrong, in a sentence for people.",
        "required": ["detail"],
        "properties": { "detail": { "type": "string", "description": "The sentence.", "examples": ["No encontrado."] } },
    });
    let field_errors = json!({
        "type": "object",
        "description": "For each wrong field the list of what is wrong with it, nested as the fields are; or `detail` when the body could not be read at all.",
        "additionalProperties": true,
        "examples": [{ "plate": ["Este campo es requerido."] }],
    });
    let problem = json!({
        "type": "object",
        "description": "A problem (RFC 9457).",
        "required": ["type", "title", "status", "detail", "code"],
        "properties": {
            "type": { "type": "string", "description": "Names the kind of problem.", "examples": ["urn:recado:problem:internal-error"] },
            "title": { "type": "string", "description": "The kind of problem, for people." },
            "status": { "type": "integer", "description": "The status of the answer." },
            "detail": { "type": "string", "description": "What happened and what to do." },
            "instance": { "type": ["string", "null"], "description": "The id of the request." },
            "code": { "type": "string", "description": "The kind of problem, for programs." },
        },
    });
    [("Detail", detail), ("FieldErrors", field_errors), ("Problem", problem)]
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
        let table = [
            ("A vehicle (S002-53). Plates.", "A vehicle. Plates."),
            ("Old ids are 404 (S002-33, d20).", "Old ids are 404."),
            ("Where it stands (S002-70, and `cancelled`)", "Where it stands"),
            ("A problem (RFC 9457) (d23), with (two (x) in it", "A problem (RFC 9457), with (two (x) in it"),
            ("Plain", "Plain"),
        ];
        for (comment, read) in table {
            assert_eq!(without_ids(comment), read);
        }
        let text = write(&routes::all().1);
        assert!(!text.contains("S002-"), "{}", text.split("S002-").nth(1).unwrap_or_default());
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
    fn what_may_be_null_is_said_in_one_piece() {
        let schemas = json!({ "Id": { "type": "string", "format": "uuid" }, "Thing": { "type": "object" } });
        let choice = |name| json!({ "oneOf": [{ "type": "null" }, { "$ref": name, "description": "Whose." }] });
        let mut fields = json!([choice("#/components/schemas/Id"), choice("#/components/schemas/Thing")]);
        simplify_nullable(&mut fields, &schemas);
        assert_eq!(fields[0], json!({ "type": ["string", "null"], "format": "uuid", "description": "Whose." }));
        let thing = json!({ "$ref": "#/components/schemas/Thing" });
        assert_eq!(fields[1], json!({ "oneOf": [{ "type": "null" }, thing], "description": "Whose." }));
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
