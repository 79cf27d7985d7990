//! The answers and headers that are the same for many operations.

use serde_json::{Value, json};

use crate::envelope::{Body, Envelope};
use crate::extract::fields::MAX_BODY_BYTES;

/// What an operation did not say itself, because it is the same for all of its kind.
pub(super) fn add(path: &str, envelope: Envelope, operation: &mut Value) {
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
        let status = envelope.status_of_fields();
        let place = format!("/responses/{}/content/application~1json/schema", status.as_u16());
        let refusal = operation.pointer_mut(&place);
        refusal.into_iter().for_each(|refusal| admit_field_errors(envelope, refusal));
    }
    for Answer { status, description, body, .. } in answers {
        let of_fields = envelope.status_of_fields();
        let status = if *body == Body::Fields { of_fields.as_str() } else { *status };
        let (content_type, schema) = content(envelope, *body);
        let responses = operation["responses"].as_object_mut().expect("every operation has responses");
        let response = responses.entry(status).or_insert_with(|| json!({ "description": description }));
        // A route may answer 404 with a page of its own; a path that is no path at all still gets the JSON.
        if response["content"].get(content_type).is_none() {
            response["content"][content_type] = json!({ "schema": schema });
        }
    }
}

/// A refusal that a route describes itself comes in the same envelope as all others.
pub(super) fn name_envelope(envelope: Envelope, operation: &mut Value) {
    for (status, response) in operation["responses"].as_object_mut().into_iter().flatten() {
        if status.starts_with('4') && response.get("content").is_none() {
            // What cannot be done any more, or not again with this key, is a problem wherever the envelope knows problems.
            let body = if matches!(status.as_str(), "409" | "422") { Body::Mistake } else { Body::Sentence };
            let (content_type, schema) = content(envelope, body);
            response["content"] = json!({ content_type: { "schema": schema } });
        }
    }
}

/// The type of a body, and the reference to its schema.
fn content(envelope: Envelope, body: Body) -> (&'static str, Value) {
    let schema = envelope.schema(body);
    let content_type = if schema == "Problem" { "application/problem+json" } else { "application/json" };
    (content_type, json!({ "$ref": format!("#/components/schemas/{schema}") }))
}

/// A refusal with a shape of its own comes after the fields were read. Until then the operation refuses like all others.
fn admit_field_errors(envelope: Envelope, refusal: &mut Value) {
    let field_errors = json!({ "$ref": format!("#/components/schemas/{}", envelope.schema(Body::Fields)) });
    if !refusal.to_string().contains(&field_errors.to_string()) {
        *refusal = json!({ "anyOf": [refusal.take(), field_errors] });
    }
}

/// The headers that come with every answer, or with every answer of this status.
pub(super) fn add_headers(status: &str, response: &mut Value) {
    let of_status = match status {
        "401" => Some("WWW-Authenticate"),
        "429" | "503" => Some("Retry-After"),
        _ => None,
    };
    for name in ["X-Request-Id"].into_iter().chain(of_status) {
        response["headers"][name] = json!({ "$ref": format!("#/components/headers/{name}") });
    }
}

pub(super) fn headers() -> Value {
    let text =
        |description: &str| json!({ "description": description, "required": true, "schema": { "type": "string" } });
    json!({
        "X-Request-Id": text("The id of the request: yours, if you sent a sane one."),
        "WWW-Authenticate": text("The credential that is asked for: `Bearer` or `X-Internal-Secret`."),
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

/// An answer that many operations give.
struct Answer {
    status: &'static str,
    when: When,
    description: &'static str,
    body: Body,
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
        body: Body::Fields,
    },
    Answer { status: "400", when: When::Repeatable, description: "A header is wrong.", body: Body::Fields },
    Answer { status: "400", when: When::WithQuery, description: "A query parameter is wrong.", body: Body::Fields },
    Answer {
        status: "401",
        when: When::Secured,
        description: "The credential is missing or not in force.",
        body: Body::Sentence,
    },
    Answer { status: "403", when: When::Secured, description: "The key lacks the scope.", body: Body::Sentence },
    Answer { status: "404", when: When::WithPath, description: "There is no such thing.", body: Body::Sentence },
    Answer { status: "404", when: When::Paged, description: "There is no such page.", body: Body::Sentence },
    Answer { status: "408", when: When::WithBody, description: "The body came too slowly.", body: Body::Sentence },
    Answer { status: "413", when: When::WithBody, description: "The body is larger than 1 MiB.", body: Body::Sentence },
    Answer {
        status: "415",
        when: When::WithBody,
        description: "The body is not JSON in UTF-8 by its type, or it is compressed.",
        body: Body::Sentence,
    },
    Answer {
        status: "429",
        when: When::Secured,
        description: "Too many requests; `Retry-After` says when to come back.",
        body: Body::Sentence,
    },
    Answer {
        status: "500",
        when: When::Always,
        description: "A mistake of ours; `instance` finds it in the logs.",
        body: Body::Mistake,
    },
    Answer {
        status: "503",
        when: When::Always,
        description: "Not now; `Retry-After` says when.",
        body: Body::Sentence,
    },
];

const _: () = assert!(MAX_BODY_BYTES == 1024 * 1024, "the description of 413 names the limit");

pub(super) fn error_schemas() -> [(&'static str, Value); 7] {
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
    let registry_error = json!({
        "type": "object",
        "description": "What went wrong in the registry of partners.",
        "required": ["error", "codigo"],
        "properties": {
            "error": { "type": "string", "description": "A sentence for people; it names the fields that are wrong.", "examples": ["email: Este campo es requerido."] },
            "codigo": { "type": "string", "description": "A word for programs.", "examples": ["DATOS_INVALIDOS", "EMAIL_EXISTENTE", "PARTNER_NO_ENCONTRADO", "PARTNER_ELIMINADO", "INTEGRACION_NO_ENCONTRADA", "INTEGRACION_YA_REVOCADA", "KYC_INVALIDO", "ERROR_INTERNO"] },
        },
    });
    let validation_error = json!({
        "type": "object",
        "description": "Where a request is wrong.",
        "required": ["detail"],
        "properties": { "detail": {
            "type": "array",
            "description": "Each place, with what is wrong there.",
            "items": {
                "type": "object",
                "required": ["loc", "msg", "type"],
                "properties": {
                    "loc": { "type": "array", "items": { "type": "string" }, "description": "`body`, and the field in it.", "examples": [["body", "webhook_url"]] },
                    "msg": { "type": "string", "description": "What is wrong, for people." },
                    "type": { "type": "string", "description": "`missing`, `value_error` or `json_invalid`." },
                },
            },
        } },
    });
    let detail_and_errors = json!({
        "type": "object",
        "description": "What went wrong; `errors` is there when fields are wrong.",
        "required": ["detail"],
        "properties": {
            "detail": { "type": "string", "description": "A sentence for people; it names the fields that are wrong." },
            "errors": { "type": "object", "additionalProperties": true, "description": "For each wrong field the list of what is wrong with it, nested as the fields are." },
        },
    });
    let bridge_error = json!({
        "type": "object",
        "description": "What went wrong with a webhook of the bridge.",
        "required": ["status", "message"],
        "properties": {
            "status": { "type": "string", "description": "Always `error`.", "examples": ["error"] },
            "message": { "type": "string", "description": "A sentence for people; it names the field that is wrong.", "examples": ["Missing message ID"] },
        },
    });
    [
        ("Detail", detail),
        ("FieldErrors", field_errors),
        ("Problem", problem),
        ("RegistryError", registry_error),
        ("ValidationError", validation_error),
        ("DetailAndErrors", detail_and_errors),
        ("BridgeError", bridge_error),
    ]
}
