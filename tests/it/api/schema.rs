//! The API does what its document says: schemathesis reads the document, makes up requests, and holds the answers to it.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::path::{Path, PathBuf};
use std::process::{Output, Stdio};
use std::time::Duration;

use recado_kernel::clock::{Clock, Timestamp};
use recado_kernel::db::Session;
use recado_queue::workers::{self, WorkerRow};
use recado_worker::{Options, Worker};
use reqwest::Method;
use serde_json::{Value, json};
use sqlx::types::Json;
use tokio::process::Command;
use tokio_util::sync::CancellationToken;

use crate::harness::app::{App, CRM_TOKEN, DISPATCH, SECRET, SECRET_KEY, until};
use crate::harness::pair::Pair;
use crate::harness::program::{errors, words};
use crate::harness::sample;

const KEY: &str = "key-of-the-document";
const IDLE: &str = "idle:1:0";

/// The same requests every time. Another number looks elsewhere.
const SEED: &str = "20260120";

/// The phases of a run, with how much is made up in each. By itself, each operation is asked with ids that are there, at the
/// limits of its fields and this often besides; then one operation after the other, with the ids that they answer.
const RUNS: [(&str, &str); 2] = [("examples,coverage,fuzzing", "8"), ("stateful", "20")];

/// Each request comes from an address of its own. It tries a wrong key on every operation, and many wrong keys of one address are
/// guesses, which are told to slow down (429) whatever they ask for.
///
/// What partners send us is signed with their secret, in the header that is in turn; every eighth stays without a signature.
const HOOKS: &str = r#"
import hashlib
import hmac
import itertools
import os
import requests

NUMBERS = itertools.count()
SEND = requests.Session.send
SECRET = os.environ["PARTNER_SECRET"].encode()
HEADERS = ["X-Partner-Signature", "X-HMAC-Signature", "X-Hub-Signature-256"]

def sign(request, number):
    body = request.body or b""
    body = body.encode() if isinstance(body, str) else body
    if isinstance(body, bytes):
        request.headers["X-Partner-ID"] = "sender"
        request.headers[HEADERS[number % len(HEADERS)]] = hmac.new(SECRET, body, hashlib.sha256).hexdigest()

def send(self, request, **options):
    number = next(NUMBERS)
    request.headers["X-Forwarded-For"] = f"10.{number >> 16 & 255}.{number >> 8 & 255}.{number & 255}"
    if "/webhooks/partner" in request.url and request.method == "POST" and number % 8:
        sign(request, number)
    return SEND(self, request, **options)

requests.Session.send = send
"#;

/// Operations with a token of their own, which the run has: each does what it is for at least once.
const WITH_CREDENTIALS: [&str; 2] = ["POST /api/webhook-presencia-crm/", "POST /api/gestion/webhook-presencia-crm/"];

/// On 2 cores a run takes a minute or two.
const LIMIT: Duration = Duration::from_secs(600);

/// What is not asked of the answers, and why.
const NOT_CHECKED: [(&str, &str); 2] = [
    // The façade of Django reads the number 5 where it wants a text, and "5" where it wants a number; the document names
    // the plain type (d23).
    ("negative_data_rejection", "what the document forbids may be accepted"),
    // A customer who exists, a variable that a template needs, a plate that is free: no schema says so.
    ("positive_data_acceptance", "what the document allows may be refused"),
];

// S002-34, d23: whatever is sent, each operation answers with a status, a type, headers and a body of its document; asks
// for a key where it says so; knows its methods; and never answers with a 500.
async fn every_operation_keeps_to_the_document(pair: Pair) {
    let settings = [
        ("ALLOW_ANONYMOUS_API", "false"),
        ("API_KEYS", KEY),
        ("WORKER_CONCURRENCY", "4"),
        ("TRUSTED_PROXIES", "127.0.0.1"),
        SECRET_KEY,
    ];
    let app = App::start_at(pair, &settings, Clock::system()).await;
    let stop = CancellationToken::new();
    let worker = Worker::new(app.context.clone(), Options::from(&app.context)).expect("its settings work");
    let services = [
        tokio::spawn(worker.run(stop.clone())),
        tokio::spawn(recado_scheduler::run(app.context.clone(), stop.clone())),
    ];
    let task = deliver_the_sample(&app).await;
    let (integrations, secret) = know_partners(&app).await;
    let ana = json!({"name": "ana@example.com", "roles": ["operator"]});
    let request = app.request(Method::POST, "/api/v1/operations/users/").bearer_auth(KEY).json(&ana);
    app.send(request).await.must_be(201);
    let idle = app.context.db.write().await.expect("a session");
    start_idle_worker(idle, app.context.clock.now()).await;

    let document = app.get("/api/schema/").await.must_be(200);
    let hints = hints(&app, &document, &task, &integrations).await;
    let mut answers = Answers::default();
    for (phases, examples) in RUNS {
        let hints = if phases == "stateful" { "" } else { &hints };
        let mut run = schemathesis(&app, phases, examples, hints).await;
        run.env("PARTNER_SECRET", &secret);
        let output = tokio::time::timeout(LIMIT, run.output()).await.expect("it ends in time").expect("it runs");
        assert!(output.status.success(), "{}", explain(&app, phases, &output));
        answers.read(&app.folder().join(phases));
    }
    answers.keep_only(&operations(&document));
    println!("{}", answers.table());
    assert!(answers.untouched().is_empty(), "never called: {:#?}", answers.untouched());
    assert!(answers.outside().is_empty(), "met from outside only: {:#?}", answers.outside());

    stop.cancel();
    for service in services {
        service.await.expect("it stops without a panic");
    }
    app.leave_work();
    app.finish().await;
}

mod every_operation_keeps_to_the_document {
    #[tokio::test]
    async fn postgres_redis() {
        super::every_operation_keeps_to_the_document(super::Pair::PostgresRedis).await;
    }

    #[tokio::test]
    async fn embedded() {
        super::every_operation_keeps_to_the_document(super::Pair::Embedded).await;
    }
}

/// So that there is something to be found: a customer, a vehicle, a browser, and a message that was delivered. Returns its
/// task.
async fn deliver_the_sample(app: &App) -> String {
    let post = async |path: &str, body: Value| {
        let request = app.request(Method::POST, path).bearer_auth(KEY).json(&body);
        app.send(request).await
    };
    // Two of each: one to work with, and one to be deleted.
    for (customer, plate) in [("customer-001", "ABC123"), ("customer-002", "ABC124")] {
        let named = sample::customer_with(json!({"customer_id": customer}));
        post("/api/internal/v1/customers/sync/", named).await.must_be(202);
        let vehicle = json!({"customer_id": customer, "plate": plate, "brand": "Haval", "model": "H6"});
        post("/api/internal/v1/vehicles/sync/", vehicle).await.must_be(202);
    }
    until("the customer is known", async || post(DISPATCH, sample::event()).await.status == 202).await;
    let accepted = post(DISPATCH, sample::event()).await.must_be(202);
    until("both messages arrive", async || app.mails().len() == 2).await;
    accepted["task_id"].as_str().expect("something is sent").to_owned()
}

/// Two partners with webhooks, one that was told of something and sold something for it; an appointment; a partner of the
/// registry. Returns the integrations of the last, and the secret of one that only sends.
async fn know_partners(app: &App) -> (Vec<Value>, String) {
    let post = async |path: &str, body: Value| {
        let answer = app.send(app.request(Method::POST, path).bearer_auth(KEY).json(&body)).await;
        assert!((200..300).contains(&answer.status), "{path}: {}", answer.text);
        answer.json()
    };
    let partner = &app.sandbox.partner;
    let url = format!("{}/webhooks/partner/", partner.url());
    let secret = partner.make_secret();
    partner.answer_to(&format!("{}/webhooks/partner/findyourwork", app.url));
    post("/partners/register/findyourwork", json!({"webhook_url": url, "shared_secret": &secret})).await;
    let other = json!({"partner_name": "other", "webhook_url": url, "events": ["event.updated"]});
    post("/partners/register", other).await;
    let reservation = json!({
        "reservation_id": "RES-1", "event_name": "Cena", "date": "2026-02-15", "time": "19:00", "guests": 50,
        "contact_name": "María García", "contact_phone": "0991234567",
    });
    post("/partners/findyourwork/notify-event", reservation).await;
    let lead = json!({"id": "7", "nombre": "Juan Pérez", "celular": "999888777"});
    let appointment = json!({"fecha_hora": "2024-01-15T14:30:00"});
    let told = json!({"estado": "Realizada", "lead": lead, "appointment": appointment});
    post("/api/v1/crm/appointments/7/status/", told).await;
    until("the itinerary is told", async || app.webhooks().len() >= 3).await;
    let made = post("/api/v1/partners", json!({"nombre": "Empresa ABC", "email": "contacto@empresaabc.com"})).await;
    let id = made["partner"]["id"].as_str().expect("an id");
    let mut integrations = Vec::new();
    for name in ["a", "b"] {
        let body = json!({"tipo": "API", "nombre": name});
        let integration = post(&format!("/api/v1/partners/{id}/integraciones"), body).await;
        integrations.push(integration["integracion"]["id"].clone());
    }
    // The secrets of the others are changed in the run.
    let sender =
        json!({"partner_name": "sender", "webhook_url": url, "events": ["event.updated"], "shared_secret": &secret});
    post("/partners/register", sender).await;
    (integrations, secret)
}

/// The row of a worker that is there to be drained.
async fn start_idle_worker(mut session: Session, now: Timestamp) {
    let row = WorkerRow {
        id: IDLE.to_owned(),
        queues: "maintenance".to_owned(),
        concurrency: 1,
        held: 0,
        version: "0".to_owned(),
        started_at: now,
        seen_at: now,
        running: 0,
        running_tasks: Json(Vec::new()),
        drain_since: None,
        drain_by: None,
        clock_ahead_ms: 0,
    };
    workers::upsert(&mut session, &row).await.expect("it is written");
    session.commit().await.expect("it is kept");
}

/// The program with all it needs to know. What it writes goes into the story's folder.
async fn schemathesis(app: &App, phases: &str, examples: &str, hints: &str) -> Command {
    let file = app.folder().join("schemathesis.toml");
    std::fs::write(&file, [KNOWN, hints].concat()).expect("the folder can be written to");
    std::fs::write(app.folder().join("hooks.py"), HOOKS).expect("the folder can be written to");
    let exclude = NOT_CHECKED.map(|(check, _)| check).join(",");
    let mut command = Command::new(program().await);
    command.arg("--config-file").arg(file).arg("run").arg(format!("{}/api/schema/", app.url));
    command.args(["--seed", SEED, "--max-examples", examples, "--generation-database", "none"]);
    command.args(["--phases", phases, "--exclude-checks", &exclude]);
    command.args(["--header", &format!("Authorization: Bearer {KEY}")]);
    command.args(["--header", &format!("X-Internal-Secret: {SECRET}")]);
    command.args(["--header", &format!("X-CRM-Webhook-Token: {CRM_TOKEN}")]);
    command.args(["--request-timeout", "30", "--max-failures", "20", "--warnings", "off", "--no-color"]);
    command.args(["--report", "ndjson", "--report-dir", phases]);
    command.env("SCHEMATHESIS_HOOKS", "hooks").env("PYTHONPATH", app.folder());
    command.current_dir(app.folder()).stdin(Stdio::null()).kill_on_drop(true);
    command
}

/// Ids that no one could make up, for each operation that wants one.
async fn hints(app: &App, document: &Value, task: &str, integrations: &[Value]) -> String {
    let mut text = String::new();
    for operation in operations(document) {
        let (method, path) = operation.split_once(' ').expect("a method and a path");
        let parameter = path.split_once('{').and_then(|(before, rest)| Some((before, rest.split_once('}')?.0)));
        let Some((collection, parameter)) = parameter else { continue };
        let ids = match parameter {
            "task_id" => vec![json!(task)],
            "ref" => vec![json!("findyourwork"), json!("other")],
            "reference" => vec![json!("sender")],
            "lead_id" => vec![json!("7")],
            "id" if collection == "/api/v1/partners/" => ids_of(app, "/api/v1/partners", parameter).await,
            "id" if collection == "/api/v1/partners/integraciones/" => integrations.to_vec(),
            "customer_id" => vec![json!("customer-001"), json!("customer-002")],
            // A queue that nothing here waits for is paused, and a worker that holds nothing is drained.
            "name" if collection.ends_with("/queues/") => vec![json!("maintenance"); 2],
            "id" if collection.ends_with("/workers/") => vec![json!(IDLE); 2],
            _ if document["paths"][collection]["get"].is_null() => continue,
            _ => ids_of(app, collection, parameter).await,
        };
        // What is deleted is not what the others work with.
        let id = if method == "DELETE" { ids.get(1) } else { ids.first() };
        text += &id.map_or(String::new(), |id| hint(&operation, parameter, id));
    }
    text
}

/// What a list shows.
async fn ids_of(app: &App, collection: &str, parameter: &str) -> Vec<Value> {
    let list = app.send(app.request(Method::GET, collection).bearer_auth(KEY)).await.must_be(200);
    let items = list["results"].as_array().or(list["partners"].as_array()).or(list.as_array()).into_iter().flatten();
    items.map(|item| item[parameter].clone()).filter(Value::is_string).collect()
}

/// A request that writes needs the thing to be there, or no body would ever be looked at. The others sometimes find nothing.
fn hint(operation: &str, parameter: &str, id: &Value) -> String {
    let sometimes = format!("{{ dictionary = \"{operation}\", probability = 0.7 }}");
    let has_body = ["POST ", "PUT ", "PATCH "].iter().any(|method| operation.starts_with(method));
    let value = if has_body { id.to_string() } else { sometimes };
    format!(
        "[dictionaries.\"{operation}\"]\nvalues = [{id}]\n\
         [[operations]]\ninclude-name = \"{operation}\"\nparameters = {{ \"path.{parameter}\" = {value} }}\n\n"
    )
}

/// What bodies may name: the customer, and what the seed brings. And deleting what others found, before they have looked at
/// it closely, is for the end of the run.
const KNOWN: &str = r#"
[dictionaries.customers]
values = ["customer-001"]
[dictionaries.services]
values = ["mantenimiento-preventivo", "averia-revision"]
[dictionaries.phases]
values = ["phase-schedule", "phase-delivery"]

[parameters]
"body.customer_id" = { dictionary = "customers", probability = 0.8 }
"body.service_type_id" = { dictionary = "services", probability = 0.8 }
"body.service_type" = { dictionary = "services", probability = 0.8 }
"body.phase_id" = { dictionary = "phases", probability = 0.8 }
"body.phase" = { dictionary = "phases", probability = 0.8 }

[[operations]]
include-method = "DELETE"
phases.examples.extra-data-sources.responses = false
phases.coverage.extra-data-sources.responses = false
phases.fuzzing.extra-data-sources.responses = false

# For monitors: 503 is what it says while no message would leave.
[[operations]]
include-path = "/api/v1/superadmin/whatsapp/health/"
checks.not_a_server_error.enabled = false

"#;

/// Installed beforehand by `make test`; the script knows where.
async fn program() -> PathBuf {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("../scripts/setup-schemathesis.sh");
    let output = Command::new(script).output().await.expect("the script runs");
    assert!(output.status.success(), "schemathesis cannot be had: {}", errors(&output));
    words(&output).trim().into()
}

/// What went wrong, and how to look at it again.
fn explain(app: &App, phases: &str, output: &Output) -> String {
    format!(
        "{}{}\nTo see it again, with `recado up` and API_KEYS={KEY} INTERNAL_API_SECRET_KEY={SECRET}:\n  \
         scripts/setup-schemathesis.sh prints the program; then\n  \
         schemathesis run {}/api/schema/ --seed {SEED} --phases {phases} -H 'Authorization: Bearer {KEY}' \
         -H 'X-Internal-Secret: {SECRET}' --exclude-checks {}",
        words(output),
        errors(output),
        app.url,
        NOT_CHECKED.map(|(check, _)| check).join(","),
    )
}

/// `GET /api/v1/…` of the document.
fn operations(document: &Value) -> Vec<String> {
    let paths = document["paths"].as_object().expect("paths").iter();
    paths
        .flat_map(|(path, item)| {
            let methods = item.as_object().expect("methods").keys();
            methods.map(move |method| format!("{} {path}", method.to_uppercase()))
        })
        .collect()
}

/// How often each operation gave each status.
#[derive(Default)]
struct Answers(BTreeMap<String, BTreeMap<u64, usize>>);

impl Answers {
    /// From the events of the run, one JSON object in a line.
    fn read(&mut self, folder: &Path) {
        for file in std::fs::read_dir(folder).expect("there is a report") {
            let events = std::fs::read_to_string(file.expect("a file").path()).expect("the report is text");
            for event in events.lines() {
                let event: Value = serde_json::from_str(event).expect("an event is JSON");
                self.count(&event["ScenarioFinished"]["recorder"]);
            }
        }
    }

    fn count(&mut self, recorder: &Value) {
        for (case, exchange) in recorder["interactions"].as_object().into_iter().flatten() {
            let request = &recorder["cases"][case]["value"];
            let word = |name: &str| request[name].as_str().unwrap_or_default().to_owned();
            let status = exchange["response"]["status_code"].as_u64().unwrap_or_default();
            let operation = format!("{} {}", word("method"), word("path"));
            *self.0.entry(operation).or_default().entry(status).or_default() += 1;
        }
    }

    /// Methods that an operation does not have are tried too; they are not what is counted here.
    fn keep_only(&mut self, operations: &[String]) {
        self.0.retain(|operation, _| operations.contains(operation));
        for operation in operations {
            self.0.entry(operation.clone()).or_default();
        }
    }

    /// The document itself is read at the beginning, and never called.
    fn untouched(&self) -> Vec<&String> {
        let silent = self.0.iter().filter(|(_, statuses)| statuses.is_empty());
        silent.map(|(operation, _)| operation).filter(|operation| *operation != "GET /api/schema/").collect()
    }

    /// Those of [`WITH_CREDENTIALS`] that never got in.
    fn outside(&self) -> Vec<&str> {
        let is_inside =
            |operation: &str| self.0.get(operation).is_some_and(|found| found.range(200..300).next().is_some());
        WITH_CREDENTIALS.into_iter().filter(|operation| !is_inside(operation)).collect()
    }

    /// One line for each operation; those that never did what they are for are marked.
    fn table(&self) -> String {
        self.0.iter().fold(String::new(), |mut table, (operation, statuses)| {
            let good: usize = statuses.range(200..300).map(|(_, count)| count).sum();
            let mark = if good == 0 { "!" } else { " " };
            writeln!(
                table,
                "{mark} {good:>5} good of {:>5}  {operation}  {statuses:?}",
                statuses.values().sum::<usize>()
            )
            .expect("a text can be written to");
            table
        })
    }
}
