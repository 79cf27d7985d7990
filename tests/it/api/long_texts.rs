//! Long texts of letters that take several bytes, in every text field of every operation of the document: a database bounds its
//! columns, indexes and patterns in other units than people count in.

use reqwest::Method;
use serde_json::{Map, Value, json};
use url::form_urlencoded;

use crate::harness::answer::Answer;
use crate::harness::app::App;
use crate::harness::pair::story;
use crate::harness::sample;

/// How many letters: about the limits of fields, of an index of PostgreSQL (2,704 bytes), and of a pattern of SQLite (50,000).
const LENGTHS: [usize; 6] = [100, 255, 700, 1_925, 10_000, 60_000];

/// Bodies of these would be too many or stop the story: nothing of the kind is in them.
const NOT_CALLED: [&str; 1] = ["/health"];

/// Letters without a pattern, so that no index can hold them by compressing them. `bytes` is the size of one in UTF-8.
fn letters(bytes: usize, count: usize) -> String {
    let (first, range) = if bytes == 2 { (0x00E0, 0x100) } else { (0x4E00, 0x5000) };
    let mut state: u32 = 7;
    let mut next = || {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        char::from_u32(first + (state >> 8) % range).expect("a letter")
    };
    (0..count).map(|_| next()).collect()
}

/// What is long, beginning like what the field usually holds.
fn long_values(field: &str) -> Vec<String> {
    let dressed = |text: String| match field {
        "endpoint" | "url" | "image_url" => format!("https://push.example.com/{text}"),
        "email" | "address" | "from_email" => format!("{text}@example.com"),
        "body" | "subject" => format!("{{{{Nombre}}}} {text}"),
        _ => text,
    };
    let lengths = LENGTHS.into_iter();
    lengths.flat_map(|length| [2, 3].map(|bytes| letters(bytes, length))).map(dressed).collect()
}

/// What a body holds so that the field that is long is the only one to be refused.
fn usual(field: &str, vehicle: &str) -> Option<Value> {
    Some(match field {
        "customer_id" => json!("customer-001"),
        "vehicle" => json!(vehicle),
        "service_type" | "service_type_id" => json!("mantenimiento-preventivo"),
        "phase" | "phase_id" => json!("phase-schedule"),
        "subtype" | "subtype_id" | "taller_id" | "template_id" | "correlation_id" | "send_at" | "dry_run"
        | "await_receipt" | "await_seconds" | "status" => Value::Null,
        "event_type" => json!("appointment_scheduled"),
        "plate" => json!("LONG01"),
        "type" => json!("date"),
        "target_date" => json!("2027-01-20"),
        "context" => sample::event()["context"].clone(),
        "p256dh" => json!("BCVxsr7N_eNgVRqvHtD0zTZsEc6-VV-JvLexhqUzORcxaOzi6-AYWXvTBHm4bjyPjs7Vd8pZGH6SRpkNtoIAiw4"),
        "auth" => json!("BTBZMqHH6r4Tts7J_aSIgg"),
        _ => return None,
    })
}

/// The document, and what bodies need to name.
struct Operations<'d> {
    document: &'d Value,
    vehicle: String,
}

impl Operations<'_> {
    fn resolved<'s>(&'s self, schema: &'s Value) -> &'s Value {
        match schema["$ref"].as_str().and_then(|reference| reference.strip_prefix('#')) {
            Some(pointer) => self.resolved(self.document.pointer(pointer).unwrap_or(&Value::Null)),
            None => schema,
        }
    }

    /// A body as the document describes it.
    fn example(&self, schema: &Value) -> Value {
        let schema = self.resolved(schema);
        for example in [&schema["example"], &schema["examples"][0], &schema["default"], &schema["enum"][0]] {
            if !example.is_null() {
                return example.clone();
            }
        }
        if let Some(parts) = schema["allOf"].as_array() {
            let objects = parts.iter().filter_map(|part| self.example(part).as_object().cloned());
            return objects.flatten().collect::<Map<_, _>>().into();
        }
        for choice in ["oneOf", "anyOf"] {
            if let Some(first) = schema[choice].as_array().and_then(|all| all.iter().find(|one| one["type"] != "null"))
            {
                return self.example(first);
            }
        }
        if let Some(properties) = schema["properties"].as_object() {
            let field = |(name, schema): (&String, &Value)| {
                (name.clone(), usual(name, &self.vehicle).unwrap_or_else(|| self.example(schema)))
            };
            return properties.iter().map(field).collect::<Map<_, _>>().into();
        }
        match schema["type"].as_str().or_else(|| schema["type"][0].as_str()) {
            Some("string") => json!("x"),
            Some("integer" | "number") => schema.get("minimum").cloned().unwrap_or(json!(1)),
            Some("boolean") => json!(false),
            Some("array") => json!([self.example(&schema["items"])]),
            _ => json!({}),
        }
    }

    /// Methods and paths, with the operation's own part of the document.
    fn all(&self) -> Vec<(Method, String, &Value)> {
        let paths = self.document["paths"].as_object().expect("paths").iter();
        let operations = paths.flat_map(|(path, item)| {
            let methods = item.as_object().expect("methods").iter();
            methods.map(move |(method, operation)| {
                let method = method.to_uppercase().parse().expect("a method");
                (method, path.clone(), operation)
            })
        });
        operations.filter(|(_, path, _)| !NOT_CALLED.contains(&path.as_str())).collect()
    }
}

/// Where the texts of a value stand, as JSON pointers with the name of the field.
fn texts(value: &Value, at: &str, name: &str, found: &mut Vec<(String, String)>) {
    match value {
        Value::Object(fields) => {
            for (field, inner) in fields {
                texts(inner, &format!("{at}/{}", field.replace('~', "~0").replace('/', "~1")), field, found);
            }
        }
        Value::Array(items) => {
            for (number, item) in items.iter().enumerate() {
                texts(item, &format!("{at}/{number}"), name, found);
            }
        }
        // A null stands for a text that is left out.
        Value::String(_) | Value::Null => found.push((at.to_owned(), name.to_owned())),
        Value::Bool(_) | Value::Number(_) => {}
    }
}

impl App {
    /// A path with ids that are there.
    async fn filled(&self, path: &str) -> String {
        let mut filled = path.to_owned();
        while let Some((before, rest)) = filled.clone().split_once('{') {
            let (parameter, after) = rest.split_once('}').expect("a closing brace");
            let list = if parameter == "id" { self.get(before).await.json() } else { Value::Null };
            let first = list["results"][0]["id"].as_str().or(list[0]["id"].as_str());
            let id = match parameter {
                "customer_id" => "customer-001",
                _ => first.unwrap_or("0194830c-7d5a-7000-8000-000000000001"),
            };
            filled = format!("{before}{id}{after}");
        }
        filled
    }

    async fn sent(&self, method: &Method, path: &str, body: Option<&Value>) -> Answer {
        let request = self.request(method.clone(), path);
        self.send(match body {
            Some(body) => request.json(body),
            None => request,
        })
        .await
    }
}

// 1,925 letters of a push endpoint were a 500: PostgreSQL's index counts bytes. SQLite's patterns do, too. Every text of every
// operation is bounded before it meets a database.
story!(long_texts_are_never_our_fault, async |app: &App| {
    let vehicle = app.know_the_car(9_000).await;
    app.subscribe("customer-001").await;
    app.accepted(&sample::event()).await;
    app.drain().await;
    let document = app.get("/api/schema/").await.must_be(200);
    let operations = Operations { document: &document, vehicle };
    let mut asked = 0;
    for (method, path, operation) in operations.all() {
        let filled = app.filled(&path).await;
        let schema = &operation["requestBody"]["content"]["application/json"]["schema"];
        let body = (!schema.is_null()).then(|| operations.example(schema));
        let mut places = Vec::new();
        if let Some(body) = &body {
            texts(body, "", "", &mut places);
        }
        for (place, field) in places {
            for long in long_values(&field) {
                let mut body = body.clone().expect("it has a body");
                *body.pointer_mut(&place).expect("it is there") = long.clone().into();
                let answer = app.sent(&method, &filled, Some(&body)).await;
                asked += 1;
                let length = long.chars().count();
                assert!(answer.status < 500, "{method} {path} {place} of {length}: {} {}", answer.status, answer.text);
            }
        }
        for parameter in operation["parameters"].as_array().into_iter().flatten().filter(|one| one["in"] == "query") {
            let name = parameter["name"].as_str().expect("a name");
            for long in [letters(2, 700), letters(3, 2_000), "%_\\".repeat(5_000)] {
                let query = form_urlencoded::Serializer::new(String::new()).append_pair(name, &long).finish();
                let answer = app.sent(&method, &format!("{filled}?{query}"), body.as_ref()).await;
                asked += 1;
                assert!(answer.status < 500, "{method} {path}?{name}: {} {}", answer.status, answer.text);
            }
        }
        app.drain().await;
    }
    assert!(asked > 1_000, "only {asked} requests were made up");
    app.leave_work();
});
