//! Every page of the console in a real browser: both languages, both themes, a desk and a phone.

use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use recado_console::Sort;
use recado_kernel::audit::Actor;
use recado_kernel::users::{self, Roles};
use recado_kernel::{ids::Id, sessions};
use recado_notifications::channels::Channel;
use recado_queue::bulk::{self, Action, Selection};
use recado_queue::jobs::Ping;
use recado_queue::tasks::TaskFilter;
use secrecy::ExposeSecret;
use serde_json::json;
use tokio::io::AsyncWriteExt;
use tokio::process::Command;

use crate::harness::app::App;
use crate::harness::pair::Pair;
use crate::harness::program::{errors, words};
use crate::harness::sample;

/// Starting a browser takes seconds on a busy machine.
const LIMIT: Duration = Duration::from_secs(300);

#[tokio::test]
async fn every_page_is_sound_for_everyone() {
    let app = App::start(Pair::Embedded, &[("ENVIRONMENT_NAME", "Pruebas"), ("ENVIRONMENT_COLOR", "amber")]).await;
    app.leave_work();
    fill(&app).await;
    let mut looks = Vec::new();
    for (language, theme) in [("es", "light"), ("es", "dark"), ("en", "light"), ("en", "dark")] {
        looks.push(json!({"language": language, "theme": theme, "cookie": admin(&app, language, theme).await}));
    }
    let mut pages: Vec<&str> = recado_console::entries()
        .into_iter()
        .filter(|entry| entry.sort == Sort::Page)
        .map(|entry| entry.path)
        .collect();
    // Those that only a link leads to come last, when the links are known.
    pages.sort_by_key(|path| path.contains('{'));
    let here = Path::new(env!("CARGO_MANIFEST_DIR")).join("it/console");
    let task = json!({
        "url": app.url, "pages": pages, "looks": looks,
        "axe": here.join("axe.min.js.gz"),
        "pictures": Path::new(env!("CARGO_TARGET_TMPDIR")).join("../console"),
    });
    let complaints = look(&here.join("pages.py"), &task.to_string()).await;
    assert!(complaints.is_empty(), "{complaints}");
    app.finish().await;
}

/// Something to show on each page.
async fn fill(app: &App) {
    app.know_carlos().await;
    app.sandbox.smtp.misbehave(recado_sandbox::SmtpFault::reject_data(554));
    app.sandbox.evolution.misbehave(recado_sandbox::EvolutionFault::NotOnWhatsapp);
    app.accepted(&sample::event()).await;
    app.drain().await;
    app.enqueue(&Ping {}).await;
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
        "insert into pauses (queue, reason, paused_by, paused_at)
         select 'sync', 'cambio', 'ana', created_at from schedules where name = 'cleanup'",
    )
    .await;
    bulk::start(&app.context, Action::Retry, &selection, 20, &actor).await.expect("an operation");
    fill_people(app).await;
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
    let id = users::create(&mut session, &name, &Roles::from("admin".to_owned()), now).await.expect("it is written");
    let id = id.expect("a new name");
    users::set_choices(&mut session, id, Some(language), Some(theme), false).await.expect("they are kept");
    let (_, token) = sessions::begin(&mut session, id, "Chromium", "127.0.0.1", now).await.expect("a session");
    session.commit().await.expect("it is committed");
    token.expose_secret().to_owned()
}

async fn look(script: &Path, task: &str) -> String {
    let setup = Path::new(env!("CARGO_MANIFEST_DIR")).join("../scripts/setup-playwright.sh");
    let setup = Command::new(setup).output().await.expect("the script runs");
    assert!(setup.status.success(), "Playwright cannot be had: {}", errors(&setup));
    let mut python = Command::new(words(&setup).trim());
    python.arg(script).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).kill_on_drop(true);
    let mut running = python.spawn().expect("Python starts");
    running.stdin.take().expect("a pipe").write_all(task.as_bytes()).await.expect("it reads");
    let output = tokio::time::timeout(LIMIT, running.wait_with_output()).await.expect("it ends in time");
    let output = output.expect("it ends");
    assert!(output.status.success(), "{}", errors(&output));
    words(&output)
}
