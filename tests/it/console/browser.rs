//! Every page of the console in a real browser: both languages, both themes, a desk and a phone.

use std::path::Path;
use std::time::Duration;

use recado_console::Sort;
use recado_kernel::audit::Actor;
use recado_kernel::users::{self, Roles};
use recado_kernel::{ids::Id, sessions};
use recado_notifications::channels::Channel;
use recado_notifications::retry::{self, Group, How};
use recado_queue::bulk::{self, Action, Selection};
use recado_queue::jobs::Ping;
use recado_queue::tasks::TaskFilter;
use recado_webhooks::signature::Secret;
use secrecy::ExposeSecret;
use serde_json::{Value, json};

use crate::harness::app::{App, SECRET_KEY, operator};
use crate::harness::chromium;
use crate::harness::pair::Pair;
use crate::harness::sample;

/// What a partner signs with.
const SECRET: &str = "whsec_MDEyMzQ1Njc4OTAxMjM0NTY3ODkwMTIzNDU2Nzg5MDE=";

/// Only a browser that hangs takes so long: some four minutes are usual on two processors.
const LIMIT: Duration = Duration::from_secs(900);

#[tokio::test]
async fn every_page_is_sound_for_everyone() {
    let app =
        App::start(Pair::Embedded, &[("ENVIRONMENT_NAME", "Pruebas"), ("ENVIRONMENT_COLOR", "amber"), SECRET_KEY])
            .await;
    app.leave_work();
    let links = fill(&app).await;
    let looks = [("es", "light"), ("es", "dark"), ("en", "light"), ("en", "dark")];
    let mut wants = json!({
        "links": links,
        "axe": chromium::folder().join("axe.min.js.gz"),
        "pictures": Path::new(env!("CARGO_TARGET_TMPDIR")).join("../console"),
    });
    if are_pictures_updated() {
        wants["shown"] = json!(Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/pictures/console"));
    }
    let complaints = look_at_every_page(&app, &looks, wants).await;
    assert!(complaints.is_empty(), "{complaints}");
    app.finish().await;
}

/// `UPDATE_PICTURES=1` takes the pictures that documents show.
#[expect(clippy::disallowed_methods, reason = "what a test run is for is no setting of the product")]
fn are_pictures_updated() -> bool {
    std::env::var_os("UPDATE_PICTURES").is_some_and(|value| !value.is_empty())
}

/// What is wrong with the pages for an administrator, in each of these languages and themes.
pub(super) async fn look_at_every_page(app: &App, looks: &[(&str, &str)], wants: Value) -> String {
    let mut task = wants;
    let mut seen = Vec::new();
    for (language, theme) in looks {
        seen.push(json!({"language": language, "theme": theme, "cookie": admin(app, language, theme).await}));
    }
    let mut pages: Vec<&str> = recado_console::entries()
        .into_iter()
        .filter(|entry| entry.sort == Sort::Page)
        .map(|entry| entry.path)
        .collect();
    // Those that only a link leads to come last, when the links are known.
    pages.sort_by_key(|path| path.contains('{'));
    task["url"] = json!(app.url);
    task["now"] = json!(app.clock.now().to_utc().to_rfc3339());
    task["pages"] = json!(pages);
    task["looks"] = json!(seen);
    chromium::run("pages.py", &task, LIMIT).await
}

/// Something to show on each page. Returns where the most telling is, of pages of which there are many.
pub(super) async fn fill(app: &App) -> Value {
    app.know_carlos().await;
    app.sandbox.smtp.misbehave(recado_sandbox::SmtpFault::reject_data(554));
    app.sandbox.evolution.misbehave(recado_sandbox::EvolutionFault::NotOnWhatsapp);
    app.accepted(&sample::event()).await;
    app.drain().await;
    app.enqueue(&Ping {}).await;
    let message = fill_messages(app).await;
    let actor = Actor::command("ana");
    let selection =
        Selection::of(&TaskFilter { ids: vec![Id::new(app.clock.now())], ..TaskFilter::default() }, app.clock.now());
    app.sql(
        "insert into workers (id, queues, concurrency, held, version, started_at, seen_at, running, running_tasks, clock_ahead_ms)
         select 'host:1:a', 'notifications', 4, 1, '0', created_at, created_at, 0, '[]', 0 from schedules where name = 'cleanup'",
    )
    .await;
    app.sql(
        "insert into workshops (id, taller_id, name, is_active, email_enabled, whatsapp_enabled, push_enabled, created_at, updated_at)
         select id, 'norte', 'Taller Norte', true, true, true, false, created_at, created_at from schedules where name = 'cleanup'",
    )
    .await;
    app.sql(
        "insert into provider_accounts (id, channel, name, priority, is_enabled, settings, created_at, updated_at)
         select id, 'email', 'norte', 1, false, '{\"host\": \"smtp.example.com\"}', created_at, created_at from schedules where name = 'cleanup'",
    )
    .await;
    fill_partners(app).await;
    fill_whatsapp(app).await;
    fill_developers(app).await;
    let text = fill_texts(app).await;
    fill_people(app).await;
    // From now on nothing is taken from this queue.
    app.sql(
        "insert into pauses (queue, reason, paused_by, paused_at)
         select 'sync', 'cambio', 'ana', created_at from schedules where name = 'cleanup'",
    )
    .await;
    bulk::start(&app.context, Action::Retry, &selection, 20, &actor).await.expect("an operation");
    json!({
        "/admin/notifications/{id}": format!("/admin/notifications/{message}"),
        "/admin/templates/{id}": text.trim_end_matches('/'),
        "/admin/customers/{customer_id}": "/admin/customers/customer-001",
    })
}

/// A cause that is retried, whose trial failed, and messages in the inbox.
async fn fill_developers(app: &App) {
    app.subscribe("customer-001").await;
    app.sandbox.smtp.behave();
    app.accepted(&sample::event_with(json!({"context": {"placa": "INBOX-1"}}))).await;
    app.drain().await;
    app.sandbox.smtp.misbehave(recado_sandbox::SmtpFault::reject_recipient(550));
    let group: Group = "email:env:EMAIL_SEND_FAILED".parse().expect("a cause");
    let now = app.clock.now();
    let how = How { trial: 5, pace: 60 };
    let actor = Actor::command("ana");
    let since = now - Duration::from_secs(3_600);
    retry::start(&app.context, &group, since, now, how, &actor).await.expect("an operation");
}

/// A chain that waits for a receipt, one that leaves tomorrow, and one that reached no one on a channel.
///
/// The message that waits for the receipt.
async fn fill_messages(app: &App) -> Id {
    app.sandbox.evolution.behave();
    app.sql(
        "update phase_channel_configs set await_receipt = 'delivered', await_seconds = 600 where channel = 'whatsapp'",
    )
    .await;
    app.subscribe("customer-001").await;
    app.accepted(&sample::event_with(json!({"event_type": "vehicle_ready", "send_at": "2026-01-21T14:30:00Z"}))).await;
    let receipt = app.accepted(&sample::event_with(json!({"context": {"placa": "PBA-0042"}}))).await;
    app.drain().await;
    receipt.notifications[0].id
}

/// A text with versions, remarks and a test; and a workshop with a matrix of its own. The path of the text.
async fn fill_texts(app: &App) -> String {
    let editor = app.operator("editor").await;
    let own = [
        ("name", "Cita de mantenimiento"),
        ("subject", "Su cita: {{Fecha}}, {{Hora}}"),
        (
            "body",
            "<p>Hola, <strong>{{Nombre}}</strong>:</p>\n<p>Orden {{Orden}} de su {{Vehículo}}, kilometraje {{Kilometraje}}.</p>\n{% if Técnico %}<p>Lo atiende {{Técnico}}.</p>{% endif %}",
        ),
        ("channel", "email"),
        ("target", "clients"),
        ("taller_id", "norte"),
        ("is_active", "on"),
    ];
    let page = editor.post_and_follow("/admin/templates/", &own).await;
    let there =
        page.split("action=\"/admin/templates/").nth(1).and_then(|rest| rest.split('/').next()).expect("its id");
    let there = format!("/admin/templates/{there}/");
    let mut changed = own.to_vec();
    changed[2].1 = "<p>Hola, <strong>{{Nombre}}</strong>:</p>\n<p>Orden {{Orden}}.</p>";
    editor.post_and_follow(&there, &changed).await;
    let mut sent = own.to_vec();
    sent.push(("address", "ana@example.com"));
    assert_eq!(editor.post(&format!("{there}test/"), &sent).await.status, 303);
    app.drain().await;
    let path = "/admin/matrix/mantenimiento-preventivo/";
    let of_norte = editor.page(&format!("{path}?taller_id=norte")).await;
    let mut form = super::matrix::fields(&of_norte);
    form.retain(|(name, _)| name != "phase-schedule.push.on");
    let form: Vec<(&str, &str)> = form.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
    editor.post_and_follow(path, &form).await;
    there
}

/// A partner with an endpoint that failed and came back, webhooks both ways, and a CRM.
async fn fill_partners(app: &App) {
    app.partner_page(SECRET).await;
    let data = json!({"event_type": "event.updated", "data": {"reservation_id": "RES-2026-001", "name": "Ana"}});
    app.sandbox.partner.misbehave_times(recado_sandbox::PartnerFault::status(500), 1);
    app.working(app.post("/partners/findyourwork/events", &data)).await;
    app.drain().await;
    let body =
        r#"{"event_type": "service.confirmed", "data": {"external_event_id": "RES-2026-001", "service_name": "DJ"}}"#;
    let good = Secret::stated(SECRET).expect("a secret").hex(body.as_bytes());
    for signature in [&*good, "00ff"] {
        let request = app.request(reqwest::Method::POST, "/webhooks/partner/findyourwork");
        let request = request.header("X-Partner-Signature", signature).header("Content-Type", "application/json");
        app.send(request.body(body)).await;
    }
    app.drain().await;
    let appointment = json!({"estado": "Pendiente", "lead": {"nombre": "Juan Pérez", "celular": "999888777"},
        "appointment": {"fecha_hora": "2026-01-21T14:30:00"}});
    app.post("/api/v1/crm/appointments/123/status/", &appointment).await;
}

/// A session, a chat, a request of which an operator was told.
async fn fill_whatsapp(app: &App) {
    app.know_a_tour().await;
    app.ask_for_a_tour().await;
    app.drain().await;
    app.get("/api/v1/superadmin/whatsapp/status/").await;
}

/// A customer with all that a card shows: a device, a suppression, an opt-out, quiet hours, a car and what is due on it.
async fn fill_people(app: &App) {
    let car = app.know_the_car(24_500).await;
    app.subscribe("customer-001").await;
    app.prefer("customer-001", &[sample::likes(Channel::Whatsapp, 1), sample::refuses(Channel::Push)]).await;
    app.sql("update customers set quiet_from = '22:00', quiet_until = '07:00' where customer_id = 'customer-001'")
        .await;
    app.sync_customer(&json!({"customer_id": "customer-002", "name": "Ana de la Torre", "email": "ana@example.com"}))
        .await;
    app.sync_customer(&json!({"customer_id": "customer-003", "name": "Luis Paz"})).await;
    app.sync_vehicle(&json!({"customer_id": "customer-003", "plate": "PBX4410", "brand": "Jetour", "model": "X70"}))
        .await;
    let found = app.get("/api/v1/notifications/vehicles/?plate=PBX4410").await.must_be(200);
    for (vehicle, day, what) in [
        (json!(car), "2026-01-26", "Cambio de aceite"),
        (found["results"][0]["id"].clone(), "2026-01-27", "Alineación y balanceo"),
        (json!(car), "2026-02-14", "Revisión de frenos"),
    ] {
        app.add_reminder(&json!({"vehicle": vehicle, "type": "date", "description": what, "target_date": day})).await;
    }
    for (channel, address) in [("email", "carlos@example.com"), ("whatsapp", "+593991230000")] {
        let body =
            json!({"channel": channel, "address": address, "detail": "Pidió por teléfono que no le escribamos."});
        let answer = app.post("/api/v1/notifications/suppressions/", &body).await;
        assert!([201, 400].contains(&answer.status), "{}", answer.text);
    }
}

/// A person who sees all, in this language and theme; what her cookie holds.
async fn admin(app: &App, language: &str, theme: &str) -> String {
    let now = app.clock.now();
    let mut session = app.begin().await;
    let name = format!("ana-{language}-{theme}");
    let id = users::create(&mut session, &name, &Roles::from("admin".to_owned()), &operator(), now)
        .await
        .expect("it is written");
    let id = id.expect("a new name");
    users::set_choices(&mut session, id, Some(language), Some(theme), false).await.expect("they are kept");
    let (_, token) = sessions::begin(&mut session, id, "Chromium", "127.0.0.1", now).await.expect("a session");
    session.commit().await.expect("it is committed");
    token.expose_secret().to_owned()
}
