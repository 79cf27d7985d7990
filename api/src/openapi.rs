//! The document of the API (OpenAPI 3.1). Routes describe themselves; what is alike everywhere is added here.

use serde_json::{Map, Value, json};
use utoipa::OpenApi;
use utoipa::openapi;

use crate::body::LARGEST_BODY;

/// What the document says before any route has spoken.
#[derive(OpenApi)]
#[openapi(info(
    title = "Recado",
    description = "Accepts an event, and gets it to a person by email, WhatsApp or Web Push: retried, falling back to the \
                   next channel, on schedule, and able to say what happened and why."
))]
struct Base;

pub(crate) fn base() -> openapi::OpenApi {
    Base::openapi()
}

/// The finished document: canonical URLs, unique names, who may call, and every answer that an operation may give.
pub(crate) fn complete(document: &openapi::OpenApi) -> Value {
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
    document["components"]["securitySchemes"] = security_schemes();
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
    if operation.get("security").is_none() {
        operation["security"] = security(path);
    }
    name_envelope(operation);
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
        When::Paged => {
            operation["parameters"].as_array().is_some_and(|all| all.iter().any(|one| one["name"] == "page"))
        }
    });
    let answers: Vec<&Answer> = answers.collect();
    for Answer { status, description, schema, .. } in answers {
        let content_type = if *schema == "Problem" { "application/problem+json" } else { "application/json" };
        let schema = json!({ "$ref": format!("#/components/schemas/{schema}") });
        let content = json!({ content_type: { "schema": schema } });
        let responses = operation["responses"].as_object_mut().expect("every operation has responses");
        responses.entry(*status).or_insert_with(|| json!({ "description": description, "content": content }));
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
}

const ANSWERS: &[Answer] = &[
    Answer {
        status: "400",
        when: When::WithBody,
        description: "Fields are wrong, or the body is no JSON.",
        schema: "FieldErrors",
    },
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
        let mut silent = Vec::new();
        for (operation, one) in operations(&document) {
            let name = one["operationId"].as_str().expect("a name");
            assert!(names.insert(name.to_owned()), "{name} is there twice");
            assert!(one["tags"][0].is_string(), "{operation} has no tag");
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

    /// A field that may be null says so in one alternative, and what it is in the other.
    fn is_described(field: &Value) -> bool {
        field["description"].as_str().is_some_and(|text| !text.is_empty())
            || field.get("$ref").is_some()
            || field["oneOf"].as_array().is_some_and(|parts| parts.iter().any(is_described))
    }

    fn collect_silent(place: &str, schema: &Value, silent: &mut Vec<String>) {
        for (name, field) in schema["properties"].as_object().into_iter().flatten() {
            let place = format!("{place}.{name}");
            if !is_described(field) {
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
    fn every_reference_leads_somewhere() {
        let document = document();
        let text = document.to_string();
        for reference in text.split("\"$ref\":\"#").skip(1) {
            let pointer = reference.split('"').next().expect("a pointer");
            assert!(document.pointer(pointer).is_some(), "{pointer} leads nowhere");
        }
    }
}
