//! The whole service over the embedded database, as a client sees it.

use recado_systems::SYSTEMS;
use std::collections::BTreeSet;

use axum::body::{Body, to_bytes};
use axum::http::header::HOST;
use axum::http::{HeaderMap, HeaderValue, Method, Request, StatusCode};
use recado_kernel::api_keys::{self, Scope, Scopes};
use recado_kernel::audit::Actor;
use recado_kernel::clock::Clock;
use recado_kernel::config::Config;
use recado_kernel::ids::Id;
use recado_notifications::customers::{self, CustomerSync};
use recado_notifications::provider_accounts::{self, ProviderAccountDraft, Settings};
use recado_notifications::seed;
use recado_queue::context::Context;
use secrecy::ExposeSecret;
use serde_json::{Value, json};
use tempfile::TempDir;
use tower::ServiceExt;

use crate::{App, router};

const DISPATCH: &str = "/api/v1/notifications/events/dispatch/";
const SECRET: (&str, &str) = ("x-internal-secret", "the-internal-secret");

struct TestApi {
    app: App,
    context: Context,
    /// Deleted at the end of the test.
    _folder: TempDir,
}

struct Answer {
    status: StatusCode,
    headers: HeaderMap,
    text: String,
}

impl Answer {
    fn json(&self) -> Value {
        serde_json::from_str(&self.text).unwrap_or_else(|error| panic!("{error} in {:?}", self.text))
    }

    fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |value| value.to_str().unwrap())
    }
}

impl TestApi {
    /// An API that may be called without a key, with the seed and its customer.
    async fn open() -> Self {
        Self::with("true").await
    }

    async fn with(anonymous: &str) -> Self {
        let keys = [("API_KEYS", "a-key-of-the-environment"), ("INTERNAL_API_SECRET_KEY", SECRET.1)];
        Self::set(&[[("ALLOW_ANONYMOUS_API", anonymous)].as_slice(), &keys].concat()).await
    }

    /// As `recado up` opens it when stand-ins take all messages.
    async fn open_on_this_machine() -> Self {
        let stand_in =
            [("EMAIL_HOST", "127.0.0.1"), ("EMAIL_PORT", "2525"), ("DEFAULT_FROM_EMAIL", "taller@example.com")];
        Self::start(&stand_in, |config| config.access.open_on_this_machine = true).await
    }

    async fn set(settings: &[(&str, &str)]) -> Self {
        Self::start(settings, |_| {}).await
    }

    async fn start(settings: &[(&str, &str)], change: impl FnOnce(&mut Config)) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let home = folder.path().to_str().unwrap().to_owned();
        let own = [
            ("RECADO_HOME", home.as_str()),
            ("FRONTEND_URL", "https://app.example.com"),
            ("CORS_ALLOWED_ORIGINS", "http://localhost:3000"),
        ];
        let find = |name: &str| own.iter().chain(settings).find(|(key, _)| *key == name);
        let mut config = Config::read(|name| find(name).map(|(_, value)| (*value).to_owned())).unwrap();
        change(&mut config);
        let context = Context::open(config, Clock::system(), SYSTEMS).await.unwrap();
        context.db.migrate().await.unwrap();
        let now = context.clock.now();
        let mut session = context.db.begin().await.unwrap();
        seed::load(&mut session, false, now).await.unwrap();
        let carlos = CustomerSync {
            customer_id: "customer-001".into(),
            name: Some("Carlos Mendoza".into()),
            email: Some("carlos@example.com".into()),
            phone: Some("+593991234567".into()),
            ..CustomerSync::default()
        };
        customers::sync(&mut session, &carlos, now).await.unwrap();
        session.commit().await.unwrap();
        Self { app: router(context.clone()), context, _folder: folder }
    }

    async fn send(&self, mut request: Request<Body>) -> Answer {
        request.headers_mut().entry(HOST).or_insert(HeaderValue::from_static("taller.example.com"));
        let response = self.app.clone().oneshot(request).await.unwrap();
        let (parts, body) = response.into_parts();
        let bytes = to_bytes(body, usize::MAX).await.unwrap();
        assert!(!parts.headers["x-request-id"].is_empty(), "every answer has an id");
        let text = String::from_utf8(bytes.to_vec()).unwrap();
        Answer { status: parts.status, headers: parts.headers, text }
    }

    async fn call(&self, method: Method, path: &str, headers: &[(&str, &str)], body: impl Into<Body>) -> Answer {
        let mut request = Request::builder().method(method).uri(path);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        self.send(request.body(body.into()).unwrap()).await
    }

    async fn get(&self, path: &str) -> Answer {
        self.call(Method::GET, path, &[], Body::empty()).await
    }

    async fn post(&self, path: &str, body: &Value) -> Answer {
        self.call(Method::POST, path, &[("content-type", "application/json"), SECRET], body.to_string()).await
    }
}

/// The sample of seed 002.
fn sample() -> Value {
    json!({
        "event_type": "appointment_scheduled",
        "service_type_id": "mantenimiento-preventivo",
        "phase_id": "phase-schedule",
        "customer_id": "customer-001",
        "target": "clients",
        "context": {
            "nombre": "Carlos Mendoza",
            "placa": "ABC123",
            "vehiculo": "Haval H6 2024",
            "fecha": "20 de Enero, 2026",
            "hora": "14:30"
        }
    })
}

fn changed(key: &str, value: Value) -> Value {
    let mut event = sample();
    event[key] = value;
    event
}

/// S002-1, S002-41 and S002-62.
#[tokio::test]
async fn an_event_is_accepted_and_its_task_can_be_looked_up() {
    let api = TestApi::open().await;
    let accepted = api.post(DISPATCH, &sample()).await;
    assert_eq!(accepted.status, StatusCode::ACCEPTED, "{}", accepted.text);
    let receipt = accepted.json();
    assert_eq!((&receipt["success"], &receipt["notifications_queued"]), (&json!(true), &json!(1)));

    let task_id = receipt["task_id"].as_str().unwrap();
    let internal = format!("/api/internal/v1/tasks/{task_id}/status/");
    let task = api.call(Method::GET, &internal, &[SECRET], "").await.json();
    assert_eq!(task, api.get(&format!("/api/v1/tasks/{task_id}")).await.json());
    assert_eq!(task["status"], "PENDING");
    assert_eq!((&task["ready"], &task["successful"], &task["failed"]), (&json!(false), &json!(false), &json!(false)));
    assert_eq!((&task["kind"], &task["queue"]), (&json!("send_notification"), &json!("notifications")));
    assert_eq!(task["correlation_id"], receipt["correlation_id"]);
    assert_eq!((&task["channel"], &task["notifications"][0]["status"]), (&json!("email"), &json!("queued")));
    assert_eq!(task["notifications"][0]["recipient"], "c***@example.com");
    assert_eq!(task["notifications"][1]["recipient"], "+593*****4567");
    assert!(task.get("result").is_none() && task.get("error").is_none());
}

/// S002-33, S002-62 and S002-63.
#[tokio::test]
async fn a_task_that_is_not_there_is_not_found_and_the_secret_is_asked_first() {
    let api = TestApi::open().await;
    for id in ["0192f0c1-2345-7000-8000-000000000000", "not-a-uuid", "%FF", "%00", "1"] {
        let path = format!("/api/internal/v1/tasks/{id}/status/");
        let found = api.call(Method::GET, &path, &[SECRET], "").await;
        assert_eq!((found.status, found.json()), (StatusCode::NOT_FOUND, json!({"detail": "No encontrado."})), "{id}");
        for headers in [&[][..], &[("x-internal-secret", "wrong")]] {
            let refused = api.call(Method::GET, &path, headers, "").await;
            assert_eq!(refused.status, StatusCode::UNAUTHORIZED, "{id}");
            assert!(refused.json()["detail"].is_string());
        }
    }
}

/// S002-42: every mistake is a 400 that names it.
#[tokio::test]
async fn mistakes_of_a_caller_are_named() {
    let api = TestApi::open().await;
    let fields = [
        ("customer_id", json!([5])),
        ("customer_id", json!("a\r\nb")),
        ("event_type", json!("explosion")),
        ("target", json!("everybody")),
        ("context", json!("nombre")),
        ("correlation_id", json!("1")),
        ("phase_id", json!({"id": 1})),
    ];
    for (field, value) in fields {
        let answer = api.post(DISPATCH, &changed(field, value)).await;
        assert_eq!(answer.status, StatusCode::BAD_REQUEST);
        assert!(answer.json()[field][0].is_string(), "{field}: {}", answer.text);
    }
    let empty = api.post(DISPATCH, &json!({})).await.json();
    let named: Vec<&String> = empty.as_object().unwrap().keys().collect();
    assert_eq!(named, ["customer_id", "event_type", "phase_id", "service_type_id"]);

    for (field, value) in [("customer_id", "nobody"), ("service_type_id", "nothing"), ("phase_id", "nowhere")] {
        let answer = api.post(DISPATCH, &changed(field, json!(value))).await;
        assert_eq!(answer.status, StatusCode::BAD_REQUEST);
        let body = answer.json();
        assert!(body["error"].as_str().unwrap().contains(value), "{body}");
        assert_eq!((&body["success"], &body["notifications_queued"]), (&json!(false), &json!(0)));
    }

    let incomplete = api.post(DISPATCH, &changed("context", json!({"nombre": "Carlos"}))).await;
    assert_eq!(incomplete.status, StatusCode::BAD_REQUEST);
    let body = incomplete.json();
    assert_eq!(body["error"], "Faltan variables de contexto requeridas");
    assert_eq!(body["minimum_fields"], json!(["nombre", "placa", "vehiculo"]));
    assert!(body["missing_fields"].as_array().unwrap().contains(&json!("placa")), "{body}");
}

/// S002-43: the caller brings the words, and no slugs.
#[tokio::test]
async fn an_event_of_ones_own_needs_a_subject_and_a_body() {
    let api = TestApi::open().await;
    let custom = |context: Value| {
        json!({
            "event_type": "custom", "service_type_id": null, "phase_id": null, "customer_id": "customer-001", "context": context,
        })
    };
    let accepted = api.post(DISPATCH, &custom(json!({"subject": "Aviso", "body": "Hola"}))).await;
    assert_eq!(accepted.status, StatusCode::ACCEPTED, "{}", accepted.text);
    let blank = api.post(DISPATCH, &custom(json!({"subject": "Aviso", "body": "  "}))).await;
    assert_eq!((blank.status, &blank.json()["missing_fields"]), (StatusCode::BAD_REQUEST, &json!(["body"])));
    let refused = api.post(DISPATCH, &custom(json!({"subject": "Aviso"}))).await.json();
    assert_eq!(
        (&refused["missing_fields"], &refused["minimum_fields"]),
        (&json!(["body"]), &json!(["subject", "body"]))
    );
}

/// Looking takes `read`; whatever changes the next message takes `admin`. A preview changes nothing.
#[tokio::test]
async fn staff_who_may_look_may_not_write() {
    let api = TestApi::with("false").await;
    let mut session = api.context.db.begin().await.unwrap();
    let now = api.context.clock.now();
    let (_, reader) =
        api_keys::create(&mut session, "reader", &Scopes(vec![Scope::Read]), &Actor::command("story"), now)
            .await
            .unwrap();
    let (_, admin) =
        api_keys::create(&mut session, "admin", &Scopes(vec![Scope::Admin]), &Actor::command("story"), now)
            .await
            .unwrap();
    session.commit().await.unwrap();
    let send = async |key: &str, method: Method, path: &str| {
        let key = format!("Bearer {key}");
        let headers = [("authorization", key.as_str()), ("content-type", "application/json")];
        api.call(method, &format!("/api/v1/notifications/{path}"), &headers, "{}").await.status.as_u16()
    };
    let unknown = "0197c1e0-7b3a-7c52-9d0e-2f6a1b4c8d90";
    let one = |noun: &str| format!("{noun}/{unknown}/");
    let (template, config) = (one("templates"), one("orchestration"));
    for (method, path, as_reader, as_admin) in [
        (Method::GET, "templates/", 200, 200),
        (Method::GET, "templates/variables/", 200, 200),
        (Method::GET, "templates/for_context/", 400, 400),
        (Method::POST, "templates/preview/", 400, 400),
        (Method::GET, "phases/phase-repair/", 200, 200),
        (Method::GET, "service-types/", 200, 200),
        (Method::GET, "orchestration/", 200, 200),
        (Method::POST, "templates/", 403, 400),
        (Method::PATCH, &template, 403, 404),
        (Method::PUT, &template, 403, 404),
        (Method::DELETE, &template, 403, 404),
        (Method::POST, "orchestration/", 403, 400),
        (Method::PATCH, &config, 403, 404),
        (Method::PUT, &config, 403, 404),
        (Method::DELETE, &config, 403, 404),
        (Method::POST, &format!("{config}update_matrix/"), 403, 400),
        (Method::POST, &format!("{config}initialize_phases/"), 403, 404),
    ] {
        assert_eq!(send(reader.expose_secret(), method.clone(), path).await, as_reader, "{method} {path}");
        assert_eq!(send(admin.expose_secret(), method.clone(), path).await, as_admin, "{method} {path}");
    }
}

#[tokio::test]
async fn the_same_idempotency_key_gets_the_same_answer() {
    let api = TestApi::open().await;
    let send = async |key: &str, event: Value| {
        let headers = [("idempotency-key", key), ("content-type", "application/json")];
        api.call(Method::POST, DISPATCH, &headers, event.to_string()).await
    };
    let first = send("k-1", sample()).await;
    let again = send("k-1", sample()).await;
    assert_eq!((first.header("idempotent-replayed"), again.header("idempotent-replayed")), ("", "true"));
    assert_eq!((again.status, again.json()), (first.status, first.json()));
    assert_ne!(send("k-2", sample()).await.json()["task_id"], first.json()["task_id"]);

    let conflict = send("k-1", changed("phase_id", json!("phase-delivery"))).await;
    assert_eq!(conflict.status, StatusCode::UNPROCESSABLE_ENTITY);
    assert_eq!(conflict.header("content-type"), "application/problem+json");
    assert_eq!(conflict.json()["instance"], conflict.header("x-request-id"));
    for bad in ["", "with blank", &"x".repeat(256)] {
        let answer = send(bad, sample()).await;
        assert_eq!(answer.status, StatusCode::BAD_REQUEST);
        assert!(answer.json()["Idempotency-Key"].is_array());
    }
}

/// S002-2.
#[tokio::test]
async fn the_catalogue_looks_as_in_the_seed() {
    let api = TestApi::open().await;
    let catalogue = api.get("/api/v1/notifications/catalog/").await;
    let start = r#"{"service_types":[{"slug":"mantenimiento-preventivo","name":"Mantenimiento Preventivo","icon":"Settings"},{"slug":"averia-revision","name":"Avería/Revisión","icon":"AlertTriangle","subtypes":[{"slug":"averia-frenos","name":"Frenos","icon":"Circle"},{"slug":"averia-diagnostico","name":"Diagnóstico","icon":"Search"},"#;
    assert!(catalogue.text.starts_with(start), "{}", catalogue.text);
    let phases = r#""phases":[{"slug":"phase-schedule","name":"Agendar Cita","icon":"Calendar","order":1},{"slug":"phase-reception","name":"Recepción","icon":"ClipboardCheck","order":2},"#;
    assert!(catalogue.text.contains(phases), "{}", catalogue.text);
}

/// S002-60, S002-61 and S002-63.
#[tokio::test]
async fn customers_and_vehicles_are_taken_in() {
    let api = TestApi::open().await;
    let customer = json!({"customer_id": "c-9", "name": "Ana", "email": "ana@example.com", "phone": "+593991234567"});
    let answer = api.post("/api/internal/v1/customers/sync/", &customer).await;
    assert_eq!(answer.status, StatusCode::ACCEPTED);
    let body = answer.json();
    assert_eq!((&body["status"], &body["message"]), (&json!("accepted"), &json!("Customer sync queued")));
    assert_eq!(body["customer_id"], "c-9");

    let vehicle = json!({"customer_id": "c-9", "plate": " abc123", "brand": "Haval", "model": "H6", "year": 2024,
                         "last_service_date": "2026-01-20T10:00:00Z"});
    let answer = api.post("/api/internal/v1/vehicles/sync", &vehicle).await;
    assert_eq!(answer.status, StatusCode::ACCEPTED);
    assert_eq!((&answer.json()["message"], &answer.json()["plate"]), (&json!("Vehicle sync queued"), &json!("ABC123")));
    let path = format!("/api/internal/v1/tasks/{}/status/", answer.json()["task_id"].as_str().unwrap());
    let task = api.call(Method::GET, &path, &[SECRET], "").await.json();
    assert_eq!((&task["kind"], &task["queue"]), (&json!("sync_vehicle"), &json!("sync")));

    let wrong =
        api.post("/api/internal/v1/vehicles/sync/", &json!({"plate": 7, "year": "MMXX", "brand": "a\nb"})).await;
    assert_eq!(wrong.status, StatusCode::BAD_REQUEST);
    let mut named: Vec<String> = wrong.json().as_object().unwrap().keys().cloned().collect();
    named.sort_unstable();
    assert_eq!(named, ["brand", "customer_id", "model", "year"]);
    // Read as a number it would be the id of another customer too.
    let rounded = r#"{"customer_id": 12345678901234567890123, "name": "Ana"}"#;
    let headers = [("content-type", "application/json"), SECRET];
    let wrong = api.call(Method::POST, "/api/internal/v1/customers/sync/", &headers, rounded).await;
    assert!(wrong.status == StatusCode::BAD_REQUEST && wrong.json()["customer_id"].is_array(), "{}", wrong.text);
    let wrong = api.post("/api/internal/v1/customers/sync/", &json!({"customer_id": "c", "email": "nobody"})).await;
    assert!(wrong.json()["email"].is_array(), "{}", wrong.text);

    for headers in [&[][..], &[("x-internal-secret", "wrong")]] {
        let answer = api.call(Method::POST, "/api/internal/v1/customers/sync/", headers, customer.to_string()).await;
        assert_eq!(answer.status, StatusCode::UNAUTHORIZED);
    }
}

/// S002-25 to S002-27, S002-55, d16.
#[tokio::test]
async fn a_browser_subscribes_and_leaves() {
    let api = TestApi::open().await;
    let path = "/api/v1/notifications/push/subscribe/";
    let point = "BJhuxFu-9UtxRgDlpZBNryOusWUPuBXPXrXJCoenZ1neH2GaECr7RgRVSuBDkpDfcQDx1tjOFugw3n16HpmcHd8";
    let subscription = |endpoint: &str, auth: &str| {
        json!({
            "customer_id": "customer-001",
            "subscription": {"endpoint": endpoint, "keys": {"p256dh": point, "auth": auth}},
        })
    };
    let auth = "AAAAAAAAAAAAAAAAAAAAAA";
    let status = async || api.get("/api/v1/notifications/push/status/customer-001/").await.json();
    assert_eq!(status().await, json!({"has_subscription": false, "subscription_count": 0}));
    let first = api.post(path, &subscription("https://push.example.com/1", auth)).await;
    assert_eq!(first.status, StatusCode::CREATED, "{}", first.text);
    let again = api.post(path, &subscription("https://push.example.com/1", auth)).await;
    assert_eq!((again.status, again.json()), (StatusCode::CREATED, first.json()));
    assert_eq!(status().await, json!({"has_subscription": true, "subscription_count": 1}));

    let private = api.post(path, &subscription("https://127.0.0.1/1", auth)).await;
    assert_eq!(private.status, StatusCode::BAD_REQUEST);
    assert!(private.json()["subscription"]["endpoint"].is_array(), "{}", private.text);
    let short = api.post(path, &subscription("https://push.example.com/2", "AAAA")).await;
    assert!(short.json()["subscription"]["keys"]["auth"].is_array(), "{}", short.text);

    let end = json!({"endpoint": "https://push.example.com/1"}).to_string();
    for expected in [StatusCode::NO_CONTENT, StatusCode::NOT_FOUND] {
        assert_eq!(api.call(Method::DELETE, path, &[], end.clone()).await.status, expected);
    }
    assert_eq!(api.get("/api/v1/notifications/push/status/nobody/").await.status, StatusCode::NOT_FOUND);
    assert_eq!(api.get("/api/v1/notifications/push/vapid-public-key/").await.status, StatusCode::NOT_FOUND);
}

/// d21.
#[tokio::test]
async fn without_anonymous_access_a_key_with_the_scope_is_needed() {
    let api = TestApi::with("false").await;
    let mut session = api.context.db.begin().await.unwrap();
    let (_, reader) = api_keys::create(
        &mut session,
        "reader",
        &Scopes(vec![Scope::Read]),
        &Actor::command("story"),
        api.context.clock.now(),
    )
    .await
    .unwrap();
    session.commit().await.unwrap();
    let reader = format!("Bearer {}", reader.expose_secret());

    let send = async |key: &str| {
        let headers: &[(&str, &str)] = if key.is_empty() { &[] } else { &[("authorization", key)] };
        let catalogue = api.call(Method::GET, "/api/v1/notifications/catalog/", headers, "").await;
        let dispatch = api.call(Method::POST, DISPATCH, headers, sample().to_string()).await;
        (catalogue.status.as_u16(), dispatch.status.as_u16())
    };
    assert_eq!(send("").await, (401, 401));
    assert_eq!(send("Bearer wrong").await, (401, 401));
    assert_eq!(send("Bearer a-key-of-the-environment").await, (200, 202));
    assert_eq!(send(&reader).await, (200, 403));
    assert_eq!(send(&reader).await, (200, 403), "from memory too");
    let keys = api_keys::list(&mut api.context.db.read().await.unwrap()).await.unwrap();
    assert!(keys[0].last_used_at.is_some());
    let open = ["/health", "/api/v1/health/database/", "/api/v1/health/redis/", "/metrics"];
    for path in open {
        assert_eq!(api.get(path).await.status, StatusCode::OK, "{path}");
    }
}

/// S002-16 to S002-24: a key with `read` sees the people, and only `admin` changes them.
#[tokio::test]
async fn people_are_read_with_one_scope_and_changed_with_another() {
    let api = TestApi::with("false").await;
    let mut session = api.context.db.begin().await.unwrap();
    let (_, reader) = api_keys::create(
        &mut session,
        "reader",
        &Scopes(vec![Scope::Read]),
        &Actor::command("story"),
        api.context.clock.now(),
    )
    .await
    .unwrap();
    session.commit().await.unwrap();
    let reader = format!("Bearer {}", reader.expose_secret());
    let id = "0194830c-7d5a-7000-8000-000000000001";
    let reads = [
        "customers/".to_owned(),
        "customers/customer-001".to_owned(),
        "customers/customer-001/preferences/".to_owned(),
        "customers/customer-001/vehicles/".to_owned(),
        "customers/customer-001/reminders/".to_owned(),
        "reminders/".to_owned(),
    ];
    let writes = [
        (Method::POST, "customers/".to_owned()),
        (Method::PUT, "customers/customer-001/".to_owned()),
        (Method::PATCH, "customers/customer-001/".to_owned()),
        (Method::DELETE, "customers/customer-001/".to_owned()),
        (Method::DELETE, "customers/customer-001/?erase=true".to_owned()),
        (Method::POST, "customers/customer-001/update_preferences/".to_owned()),
        (Method::POST, "reminders/".to_owned()),
        (Method::PUT, format!("reminders/{id}/")),
        (Method::PATCH, format!("reminders/{id}/")),
        (Method::DELETE, format!("reminders/{id}/")),
        (Method::POST, format!("reminders/{id}/complete/")),
    ];
    let reads = reads.map(|path| (Method::GET, path, 200)).into_iter();
    for (method, path, status) in reads.chain(writes.map(|(method, path)| (method, path, 403))) {
        let path = format!("/api/v1/notifications/{path}");
        let anonymous = api.call(method.clone(), &path, &[], "{}").await;
        assert_eq!(anonymous.status, StatusCode::UNAUTHORIZED, "{method} {path}");
        let answer = api.call(method.clone(), &path, &[("authorization", &reader)], "{}").await;
        assert_eq!(answer.status.as_u16(), status, "{method} {path}: {}", answer.text);
    }
}

/// S002-59.
#[tokio::test]
async fn health_tells_what_stands_behind() {
    let api = TestApi::open().await;
    assert_eq!(api.get("/health/").await.json()["status"], "ok");
    let database = api.get("/api/v1/health/database/").await.json();
    assert_eq!((&database["status"], &database["database"]["engine"]), (&json!("healthy"), &json!("sqlite")));
    assert!(database["database"]["name"].as_str().unwrap().ends_with("recado.db"));
    api.post(DISPATCH, &sample()).await;
    let redis = api.get("/api/v1/health/redis/").await.json();
    assert_eq!((&redis["mode"], &redis["queues"]["notifications"]), (&json!("in-process"), &json!(1)));
    assert_eq!(redis["lanes"]["notifications.email"], 1);
    api.context.db.close().await;
    let lost = api.post(DISPATCH, &sample()).await;
    assert_eq!((lost.status.as_u16(), lost.header("retry-after")), (503, "1"));
    assert_eq!(lost.json()["success"], false);
    for path in ["/health", "/api/v1/health/database/"] {
        let answer = api.get(path).await;
        assert_eq!((answer.status.as_u16(), &answer.json()["status"]), (503, &json!("unhealthy")), "{path}");
    }
    assert_eq!(api.get("/api/v1/notifications/catalog/").await.status.as_u16(), 503);
}

#[tokio::test]
async fn requests_and_tasks_are_counted() {
    recado_kernel::telemetry::start_metrics();
    let api = TestApi::open().await;
    api.post(DISPATCH, &sample()).await;
    let metrics = api.get("/metrics").await.text;
    let route =
        r#"recado_http_requests_total{method="POST",route="/api/v1/notifications/events/dispatch",status="202"} 1"#;
    let task = r#"recado_tasks{queue="notifications",lane="notifications.email",state="queued"} 1"#;
    for line in
        [route, task, "recado_http_request_duration_seconds_bucket", "recado_queue_depth", "recado_oldest_task_seconds"]
    {
        assert!(metrics.contains(line), "{line} is missing in {metrics}");
    }
}

#[tokio::test]
async fn hostile_bodies_get_a_4xx() {
    let api = TestApi::open().await;
    let deep = format!("{}1{}", "[".repeat(10_000), "]".repeat(10_000));
    let sampled = |from: &str, to: &str| sample().to_string().replace(from, to).into_bytes();
    let bodies: Vec<(&str, Vec<u8>, u16)> = vec![
        ("empty", vec![], 400),
        ("null", b"null".to_vec(), 400),
        ("a list", b"[]".to_vec(), 400),
        ("a number", b"1e400".to_vec(), 400),
        ("broken", b"{\"event_type\":".to_vec(), 400),
        ("deep", format!("{{\"context\":{deep}}}").into_bytes(), 400),
        ("not UTF-8", b"{\"event_type\":\"\xff\"}".to_vec(), 400),
        ("NUL", sampled("ABC123", "A\\u0000"), 400),
        ("half a surrogate", sampled("ABC123", "\\ud800"), 400),
        ("a key twice", b"{\"a\":1,\"a\":2}".to_vec(), 400),
        ("huge number", sampled("\"customer-001\"", "99999999999999999999999999999"), 400),
        ("10 MB", vec![b' '; 10 * 1024 * 1024], 413),
        ("a line break in an id", sampled("customer-001", "a\\r\\nSubject: b"), 400),
    ];
    for (name, body, status) in bodies {
        let answer = api.call(Method::POST, DISPATCH, &[("content-type", "application/json")], body).await;
        assert_eq!(answer.status.as_u16(), status, "{name}: {}", answer.text);
        assert!(answer.json().is_object());
    }
    for (content_type, status) in
        [("text/plain", 415), ("application/x-www-form-urlencoded", 415), ("application/json;x", 202)]
    {
        let answer = api.call(Method::POST, DISPATCH, &[("content-type", content_type)], sample().to_string()).await;
        assert_eq!(answer.status.as_u16(), status, "{content_type}");
    }
}

#[tokio::test]
async fn urls_and_methods_that_do_not_exist() {
    let api = TestApi::open().await;
    let wrong = api.call(Method::PUT, DISPATCH, &[], "").await;
    assert_eq!((wrong.status.as_u16(), wrong.header("allow")), (405, "POST"));
    assert_eq!(wrong.json(), json!({"detail": "Método \"PUT\" no permitido."}));
    for path in ["/", "/nothing", "/api/v1/notifications/events/dispatch/x", "//", "/%2e%2e/etc/passwd", "/api/v1/%FF"]
    {
        let answer = api.get(path).await;
        assert_eq!((answer.status.as_u16(), answer.json()), (404, json!({"detail": "No encontrado."})), "{path}");
    }
    for path in
        ["/api/v1/notifications/push/status/%FF/", "/api/v1/notifications/push/status/%00", "/api/v1/tasks/%C3%28"]
    {
        assert_eq!(api.get(path).await.status.as_u16(), 404, "{path}");
    }
    let head = api.call(Method::HEAD, "/health", &[], "").await;
    assert_eq!((head.status.as_u16(), head.text.as_str()), (200, ""));
    // As Django REST framework answers it.
    let options = api.call(Method::OPTIONS, DISPATCH, &[], "").await;
    assert_eq!((options.status.as_u16(), options.header("allow")), (200, "POST"));
    assert_eq!(options.json()["parses"], json!(["application/json"]));
}

/// The front end of the service before could not call the API from a browser: 405 without CORS for its preflights. Its origin,
/// and the others of CORS_ALLOWED_ORIGINS, may call everything, and read errors too.
#[tokio::test]
async fn pages_of_the_front_end_may_call_and_others_may_subscribe() {
    let api = TestApi::with("false").await;
    let preflight = |origin: &'static str| {
        [
            ("origin", origin),
            ("access-control-request-method", "POST"),
            ("access-control-request-headers", "authorization"),
        ]
    };
    let (app, other, pwa) = ("https://app.example.com", "http://localhost:3000", "https://pwa.example.com");
    let allowed = async |origin, path: &str| {
        let answer = api.call(Method::OPTIONS, path, &preflight(origin), "").await;
        assert_eq!((answer.status.as_u16(), answer.header("vary")), (200, "origin"), "{path}");
        (
            answer.header("access-control-allow-origin").to_owned(),
            answer.header("access-control-allow-headers").to_owned(),
        )
    };
    let customers = "/api/v1/notifications/customers/customer-001/";
    for path in [DISPATCH, customers, "/api/v1/analytics/summary", "/nothing", "/api/v1/notifications/push/subscribe/"]
    {
        for origin in [app, other] {
            assert_eq!(allowed(origin, path).await, (origin.to_owned(), "authorization".to_owned()), "{path}");
        }
    }
    assert_eq!(allowed(pwa, "/api/v1/notifications/push/subscribe/").await.0, "*");
    assert_eq!(allowed(pwa, customers).await, (String::new(), String::new()));
    for (path, status) in [(customers, 401), ("/nothing", 404), ("/health", 200)] {
        let answer = api.call(Method::GET, path, &[("origin", app)], "").await;
        assert_eq!((answer.status.as_u16(), answer.header("access-control-allow-origin")), (status, app), "{path}");
        assert!(answer.header("access-control-expose-headers").contains("x-request-id"));
        assert_eq!(api.call(Method::GET, path, &[("origin", pwa)], "").await.header("access-control-allow-origin"), "");
    }
}

/// Answers hold data of people, and some a key: no cache keeps them, and no browser guesses what they are.
#[tokio::test]
async fn answers_are_kept_by_no_one_and_are_what_they_say() {
    let api = TestApi::open().await;
    let named = ["/api/v1/notifications/customers/", "/nothing", "/health", "/api/schema/", "/api/docs/"];
    for path in named {
        let answer = api.get(path).await;
        let is_document = ["/api/schema/", "/api/docs/"].contains(&path);
        let expected = if is_document { "no-cache" } else { "no-store" };
        assert_eq!(
            (answer.header("cache-control"), answer.header("x-content-type-options")),
            (expected, "nosniff"),
            "{path}"
        );
    }
}

/// With `ALLOW_ANONYMOUS_API` a form on another site could resend a message: it can be sent without asking first, as a text and
/// as nothing in particular can.
#[tokio::test]
async fn a_page_of_another_site_cannot_write_where_no_key_is_asked_for() {
    let api = TestApi::open().await;
    let resend = "/api/v1/notifications/0198c0de-0000-7000-8000-000000000000/resend/";
    let post =
        async |path: &str, headers: &[(&str, &str)]| api.call(Method::POST, path, headers, "{}").await.status.as_u16();
    for kind in ["application/x-www-form-urlencoded", "text/plain", "multipart/form-data; boundary=x", ""] {
        for path in [resend, DISPATCH, "/api/v1/webhooks/evolution/"] {
            assert_eq!(
                post(path, &[("content-type", kind), ("origin", "https://evil.example.com")]).await,
                415,
                "{kind}"
            );
            assert_eq!(post(path, &[("content-type", kind)]).await, 415, "{kind} {path}");
        }
    }
    assert_eq!(post(resend, &[("content-length", "2")]).await, 415, "a body of no type");
    assert_eq!(post(resend, &[("origin", "null")]).await, 415, "a browser that says nothing");
    assert_eq!(post(resend, &[]).await, 404, "curl -X POST");
    assert_eq!(post(resend, &[("content-type", "application/json")]).await, 404, "there is no such message");
    assert_eq!(post(resend, &[("sec-fetch-site", "same-origin")]).await, 404);
    assert_eq!(post(resend, &[("origin", "http://taller.example.com")]).await, 404);
    assert_eq!(post(resend, &[("origin", "https://app.example.com")]).await, 404, "the front end");
    let with_key = TestApi::with("false").await;
    let headers = [("authorization", "Bearer a-key-of-the-environment")];
    assert_eq!(with_key.call(Method::POST, resend, &headers, "").await.status.as_u16(), 404, "a key is proof enough");
}

/// ALLOWED_HOSTS holds for all but probes, and two hosts are none.
#[tokio::test]
async fn a_request_is_for_a_host_of_ours() {
    let settings = [("ALLOWED_HOSTS", "taller.example.com,.ambacar.ec"), ("ALLOW_ANONYMOUS_API", "true")];
    let api = TestApi::set(&settings).await;
    let status =
        async |path: &str, host: &str| api.call(Method::GET, path, &[("host", host)], "").await.status.as_u16();
    let customers = "/api/v1/notifications/customers/";
    for (host, expected) in [
        ("taller.example.com", 200),
        ("taller.example.com:8000", 200),
        ("api.ambacar.ec", 200),
        ("evil.example.com", 400),
        ("127.0.0.1:8000", 400),
        ("", 400),
    ] {
        assert_eq!(status(customers, host).await, expected, "{host}");
        assert_eq!(status("/health", host).await, 200, "probes ask by address");
    }
    let refused = api.call(Method::GET, customers, &[("host", "evil.example.com")], "").await;
    assert!(refused.json()["detail"].as_str().unwrap().contains("ALLOWED_HOSTS"), "{}", refused.text);
    let mut request = Request::get("http://evil.example.com/api/v1/tasks/").body(Body::empty()).unwrap();
    request.headers_mut().insert(HOST, HeaderValue::from_static("taller.example.com"));
    assert_eq!(api.send(request).await.status.as_u16(), 400, "the target counts, and not the header");
}

/// `recado up` without a key answered for any host (DNS rebinding), and stayed open when an account of the database leads to
/// people.
#[tokio::test]
async fn an_api_that_is_open_to_this_machine_closes_by_itself() {
    let api = TestApi::open_on_this_machine().await;
    let customers = "/api/v1/notifications/customers/";
    let status = async |headers: &[(&str, &str)]| api.call(Method::GET, customers, headers, "").await.status.as_u16();
    for (host, expected) in
        [("localhost:8000", 200), ("127.0.0.5", 200), ("[::1]:8000", 200), ("evil.example.com", 400)]
    {
        assert_eq!(status(&[("host", host)]).await, expected, "{host}");
    }
    assert_eq!(
        status(&[("host", "localhost"), ("x-forwarded-for", "203.0.113.7")]).await,
        401,
        "a proxy asks for another"
    );
    let sync = async || {
        let headers = [("host", "localhost"), ("content-type", "application/json")];
        api.call(Method::POST, "/api/internal/v1/customers/sync/", &headers, "{}").await.status.as_u16()
    };
    assert_eq!(sync().await, 400, "it is let in, and says nothing");

    let account = async |port: i32, is_enabled| {
        let draft = ProviderAccountDraft {
            name: format!("smtp-{port}"),
            is_enabled,
            settings: Settings { host: Some("127.0.0.1".into()), port: Some(port), ..Settings::default() },
            ..ProviderAccountDraft::default()
        };
        let now = api.context.clock.now();
        let mut session = api.context.db.begin().await.unwrap();
        provider_accounts::insert(&mut session, Id::new(now), &draft, None, &Actor::command("story"), now)
            .await
            .unwrap();
        session.commit().await.unwrap();
        (status(&[("host", "localhost")]).await, sync().await)
    };
    assert_eq!(account(2525, true).await, (200, 400), "the stand-in's own address");
    assert_eq!(account(25, false).await, (200, 400), "it is switched off");
    assert_eq!(account(26, true).await, (401, 401), "a mail server on loopback sends on");
    assert_eq!(status(&[("host", "evil.example.com")]).await, 401, "there is nothing to be had");
}

#[tokio::test]
async fn a_request_keeps_its_id() {
    let api = TestApi::open().await;
    let with_id = async |id: &str| api.call(Method::GET, "/nothing", &[("x-request-id", id)], "").await;
    assert_eq!(with_id("my-own-id").await.header("x-request-id"), "my-own-id");
    assert_ne!(with_id("my own id").await.header("x-request-id"), "my own id");
}

/// A panic costs one answer; what follows is served.
#[tokio::test]
async fn a_panic_is_an_answer() {
    let response = crate::answer_panic(&"boom");
    assert_eq!(response.status().as_u16(), 500);
    assert_eq!(response.headers()["content-type"], "application/problem+json");
}

/// d24, and the graceful stop.
#[tokio::test]
async fn it_listens_on_several_addresses_until_it_is_told_to_stop() {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    let api = TestApi::open().await;
    let stop = tokio_util::sync::CancellationToken::new();
    let mut listeners = Vec::new();
    for _ in 0..2 {
        listeners.push(tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap());
    }
    let addresses: Vec<_> = listeners.iter().map(|listener| listener.local_addr().unwrap()).collect();
    let server = tokio::spawn(crate::serve(api.context.clone(), listeners, stop.clone()));
    for address in addresses {
        let mut client = tokio::net::TcpStream::connect(address).await.unwrap();
        client.write_all(b"GET /health/ HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").await.unwrap();
        let mut answer = String::new();
        client.read_to_string(&mut answer).await.unwrap();
        assert!(answer.starts_with("HTTP/1.1 200 OK\r\n"), "{answer}");
    }
    stop.cancel();
    server.await.unwrap().unwrap();
}

/// What the router serves and the document leaves out, each with the reason.
const UNDOCUMENTED: [(&str, &str); 1] = [("GET /api/docs/assets/{file}", "what the two pages are drawn with")];

/// S002-34: the document names every operation that there is, and none that there is not.
#[tokio::test]
async fn the_document_and_the_router_agree() {
    let api = TestApi::open().await;
    let mut served = BTreeSet::new();
    for path in routes_of(&crate::routes::all().0) {
        for method in api.allowed_methods(&path).await {
            served.insert(format!("{method} {}", path.trim_end_matches('/')));
        }
    }
    let document = api.get("/api/schema/").await.json();
    let mut documented = BTreeSet::new();
    for (path, item) in document["paths"].as_object().unwrap() {
        for method in item.as_object().unwrap().keys() {
            documented.insert(format!("{} {}", method.to_uppercase(), path.trim_end_matches('/')));
        }
    }
    // Pages for people, each with its story in tests/it.
    served.retain(|operation| !operation.contains(" /portal"));
    for (operation, why) in UNDOCUMENTED {
        assert!(served.remove(operation), "{operation} is not served, so it needs no excuse: {why}");
    }
    let missing: Vec<_> = served.difference(&documented).collect();
    let invented: Vec<_> = documented.difference(&served).collect();
    assert!(missing.is_empty() && invented.is_empty(), "undocumented: {missing:#?}\nnot served: {invented:#?}");
}

/// The router's own paths. There is no other way to ask it than to read what it prints; should that change, the health
/// check is missing here.
fn routes_of(router: &axum::Router<std::sync::Arc<crate::state::Api>>) -> BTreeSet<String> {
    let printed = format!("{router:?}");
    let paths = printed.split('"').skip(1).step_by(2).filter(|text| text.len() > 1 && text.starts_with('/'));
    let paths: BTreeSet<String> = paths.filter(|path| !path.contains("/{*")).map(str::to_owned).collect();
    assert!(paths.contains("/health"), "the router prints itself in another way now: {printed}");
    paths
}

impl TestApi {
    /// The answer to a method that exists nowhere names those that do. A HEAD comes with every GET.
    async fn allowed_methods(&self, path: &str) -> Vec<String> {
        let some_path: String = path.replace(['{', '}'], "");
        let refused = self.call(Method::TRACE, &some_path, &[], Body::empty()).await;
        assert_eq!(refused.status, StatusCode::METHOD_NOT_ALLOWED, "{path}");
        refused.header("allow").split(',').filter(|method| *method != "HEAD").map(str::to_owned).collect()
    }
}

/// S002-34: the document is sent once, and again when it has changed.
#[tokio::test]
async fn the_document_has_editions() {
    let api = TestApi::open().await;
    let document = api.get("/api/schema/").await;
    assert_eq!((document.status, document.header("content-type")), (StatusCode::OK, "application/json"));
    assert_eq!(document.json()["openapi"], "3.1.0");
    assert_eq!(document.header("cache-control"), "no-cache");
    let etag = document.header("etag").to_owned();
    for known in [etag.clone(), format!("W/{etag}"), format!("\"other\", {etag}")] {
        let again = api.call(Method::GET, "/api/schema", &[("if-none-match", &known)], "").await;
        assert_eq!((again.status, again.text.as_str()), (StatusCode::NOT_MODIFIED, ""), "{known}");
        assert_eq!(again.header("etag"), etag);
    }
    let changed = api.call(Method::GET, "/api/schema", &[("if-none-match", "\"other\"")], "").await;
    assert_eq!(changed.status, StatusCode::OK);
}

/// S002-34: the pages need no key and name nothing outside; what they name is kept for ever, and only that edition.
#[tokio::test]
async fn the_pages_are_served_with_all_they_need() {
    let api = TestApi::with("false").await;
    for path in ["/api/docs/", "/api/docs", "/api/redoc/", "/api/redoc"] {
        let page = api.get(path).await;
        assert_eq!((page.status, page.header("content-type")), (StatusCode::OK, "text/html; charset=utf-8"), "{path}");
        assert!(page.header("content-security-policy").starts_with("default-src 'none'"), "{path}");
        let mentions = page.text.match_indices("http").count();
        assert_eq!(mentions, page.text.match_indices("http://www.w3.org/2000/svg").count(), "{path}: {}", page.text);
        for link in page.text.split('"').filter(|text| text.starts_with("/api/")) {
            let request = Request::get(link).header(HOST, "taller.example.com").body(Body::empty()).unwrap();
            let found = api.app.clone().oneshot(request).await.unwrap();
            assert_eq!(found.status(), StatusCode::OK, "{link}");
            let is_asset = link.contains("/assets/");
            assert_eq!(found.headers()["cache-control"].to_str().unwrap().contains("immutable"), is_asset, "{link}");
        }
    }
    for unknown in ["x", "0-docs.js", "000000000000-docs.js", "..%2Fdocs.js"] {
        assert_eq!(api.get(&format!("/api/docs/assets/{unknown}")).await.status, StatusCode::NOT_FOUND, "{unknown}");
    }
}

/// S002-63: missing or wrong is refused, whatever else is configured; two count while one is replaced by the other.
#[tokio::test]
async fn the_internal_secret() {
    let sync = async |api: &TestApi, secret: Option<&str>| {
        let json = ("content-type", "application/json");
        let headers: Vec<_> = [json].into_iter().chain(secret.map(|secret| ("x-internal-secret", secret))).collect();
        api.call(Method::POST, "/api/internal/v1/customers/sync/", &headers, "{}").await.status.as_u16()
    };
    for anonymous in ["false", "true"] {
        let open = ("ALLOW_ANONYMOUS_API", anonymous);
        let two = TestApi::set(&[open, ("INTERNAL_API_SECRET_KEY", "old-secret,new-secret")]).await;
        for good in ["old-secret", "new-secret"] {
            assert_eq!(sync(&two, Some(good)).await, 400, "the body says nothing");
        }
        for wrong in [None, Some(""), Some("old-secre"), Some("old-secret ")] {
            assert_eq!(sync(&two, wrong).await, 401, "{wrong:?}");
        }
        let none = TestApi::set(&[open]).await;
        for any in [None, Some("")] {
            assert_eq!(sync(&none, any).await, if anonymous == "true" { 400 } else { 401 }, "{any:?}");
        }
    }
}

/// A webhook without a token or a key for tokens is open exactly where the whole API is.
#[tokio::test]
async fn the_webhook_is_open_where_all_is() {
    for (anonymous, status) in [("true", 200), ("false", 401)] {
        let api = TestApi::set(&[("ALLOW_ANONYMOUS_API", anonymous)]).await;
        assert_eq!(api.post("/api/v1/webhooks/evolution/", &json!({"event": "x"})).await.status.as_u16(), status);
    }
}
