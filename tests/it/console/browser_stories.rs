//! What only a real browser can show: pages that follow what happens while somebody works on them, keys, tabs, and pages without
//! scripts.

use std::time::Duration;

use serde_json::{Value, json};
use tokio::time::Instant;
use url::Url;

use recado_notifications::channels::Channel;
use recado_queue::jobs::Ping;
use recado_sandbox::{SmtpFault, Writes};

use crate::console::browser::{fill, look_at_every_page};
use crate::console::partners::link;
use crate::harness::app::{App, SECRET_KEY, seconds};
use crate::harness::browser::{Browser, PASSWORD};
use crate::harness::chromium::{Chromium, Tab};
use crate::harness::pair::story;
use crate::harness::proxy::Proxy;
use crate::harness::sample;

const TASKS: &str = "/admin/tasks/";
const CARLOS: &str = "/admin/customers/customer-001/";
const MATRIX: &str = "/admin/matrix/mantenimiento-preventivo/";

/// A text for WhatsApp.
const OWN: [(&str, &str); 5] = [
    ("name", "Cita propia"),
    ("body", "Hola, {{Nombre}}."),
    ("channel", "whatsapp"),
    ("target", "clients"),
    ("is_active", "on"),
];

/// Pages show a change within 2 s, and a machine that does something else meanwhile has 3 s more.
const SOON: Duration = Duration::from_secs(5);

/// What the button says that new rows are behind.
const NEW: &str = "() => document.querySelector('#new').textContent.trim()";

/// What the browser itself says of answers that a story wants.
const LOST: [&str; 2] = ["net::ERR_", "htmx:sse:error"];
const LOGGED_OUT: [&str; 2] = ["401 (Unauthorized)", "htmx:sse:error"];
const CONFLICT: [&str; 1] = ["422 (Unprocessable"];

impl App {
    async fn chromium(&self) -> Chromium {
        Chromium::start(&self.url()).await
    }

    fn url(&self) -> Url {
        self.url.parse().expect("a URL")
    }

    /// Somebody with a password, logged in from a device.
    async fn logged_in(&self, name: &str) -> Browser {
        let mut device = self.browser();
        assert!(device.log_in(name, PASSWORD).await);
        device
    }

    /// Tasks come that no worker takes, a moment later than all before.
    async fn tasks_come(&self, count: usize) {
        self.clock.advance(seconds(1));
        for _ in 0..count {
            self.enqueue(&Ping {}).await;
        }
    }
}

// --- Pages that follow what happens ---

story!(pages_are_live_in_a_browser, async |app: &App| {
    app.leave_work();
    app.know_carlos().await;
    app.person("luis", "operator").await;
    app.sandbox.smtp.misbehave(SmtpFault::reject_recipient(550));
    let there = format!("/admin/notifications/{}/", app.accepted(&sample::event()).await.notifications[0].id);
    let network = Proxy::before(&app.url()).await;
    let chromium = Chromium::start(network.url()).await;
    let story = chromium.window(&app.logged_in("luis").await).await;
    let list = story.beside().await;

    a_fallback_is_seen(app, &story, &there).await;
    what_is_typed_stays(app, &list).await;
    a_pause_stops_everything(app, &story, &list).await;
    assert_eq!(chromium.complaints(&[]).await, Vec::<String>::new());
    what_was_missed_is_made_up_for(app, &list, &network).await;
    assert_eq!(chromium.complaints(&LOST).await, Vec::<String>::new());
    a_thirteenth_tab_loads(app, &story, &list, &there).await;
    assert_eq!(chromium.complaints(&[]).await, Vec::<String>::new());
    let phone = chromium.window(&app.logged_in("luis").await).await;
    a_session_ends_elsewhere(app, &story, &list, &phone, &there).await;
    assert_eq!(chromium.complaints(&LOGGED_OUT).await, Vec::<String>::new());
    chromium.finish().await;
});

/// Where the eye and the focus are, and that the page is the one that was opened.
const STANDS: &str =
    "() => [window.untouched, document.activeElement.textContent, document.activeElement.closest('.rail') !== null,
    Math.round(document.activeElement.getBoundingClientRect().top), scrollY]";

async fn a_fallback_is_seen(app: &App, story: &Tab<'_>, there: &str) {
    story.opens(there).await;
    story.sees("#live-bar.is-live").await;
    story.sees(".rail .stop.is-queued").await;
    story.focuses(".rail li:first-child a").await;
    story.tells("() => { window.untouched = true; scrollTo(0, 40); }").await;
    let stood = story.tells(STANDS).await;
    assert_eq!((&stood[0], &stood[2], &stood[4]), (&json!(true), &json!(true), &json!(40)), "{stood}");
    app.drain().await;
    let drained = Instant::now();
    story.sees(".rail .stop.is-failed, .rail .stop.is-bounced").await;
    story.sees(".rail .stop.is-sent").await;
    story.reads_in("#story .next", "it was sent by WhatsApp").await;
    assert!(drained.elapsed() < SOON, "it took {:?}", drained.elapsed());
    assert_eq!(story.tells(STANDS).await, stood, "it was not loaded again, and nothing moved");
}

/// What stands in the field, where the cursor is, and where the first row is.
const TYPED: &str = "() => { const field = document.querySelector('#filters [name=kind]');
    return [field.value, field.selectionStart, document.activeElement === field,
        document.querySelector('tbody tr').getBoundingClientRect().top, scrollY]; }";

async fn what_is_typed_stays(app: &App, list: &Tab<'_>) {
    list.opens(TASKS).await;
    list.sees("#live-bar.is-live").await;
    list.focuses("#filters [name=kind]").await;
    list.types("noti.email").await;
    list.keys(&["ArrowLeft"; 6]).await;
    let typed = list.tells(TYPED).await;
    assert_eq!((&typed[0], &typed[1], &typed[2]), (&json!("noti.email"), &json!(4), &json!(true)), "{typed}");
    app.tasks_come(3).await;
    list.reads_in("#new", "Show 3 new").await;
    assert_eq!(list.tells(TYPED).await, typed, "rows stay under the pointer");
    list.types("fications").await;
    assert_eq!(list.tells(TYPED).await[0], "notifications.email");
    list.presses_in("#new", "Show 3 new").await;
    list.reads_in("tbody tr:nth-child(3)", "ping").await;
    assert_eq!(list.tells(NEW).await, "");
}

async fn a_pause_stops_everything(app: &App, story: &Tab<'_>, list: &Tab<'_>) {
    list.opens(TASKS).await;
    list.sees("#live-bar.is-live").await;
    list.clicks("#live-pause").await;
    list.sees("#live-bar.is-paused").await;
    let watcher = story.beside().await;
    watcher.opens(TASKS).await;
    watcher.sees("#live-bar.is-live").await;
    app.tasks_come(1).await;
    watcher.reads_in("#new", "Show 1 new").await;
    list.reads_in("#live-state", "paused").await;
    assert_eq!(list.tells(NEW).await, "");
    list.clicks("#live-pause").await;
    list.sees("#live-bar.is-live").await;
    list.reads_in("#new", "Show 1 new").await;
    watcher.closes().await;
}

async fn what_was_missed_is_made_up_for(app: &App, list: &Tab<'_>, network: &Proxy) {
    network.refuse();
    list.sees("#live-bar.is-lost").await;
    list.reads_in("#live-state", "connection lost").await;
    app.tasks_come(1).await;
    network.recover();
    list.sees("#live-bar.is-live").await;
    list.reads_in("#new", "Show 2 new").await;
}

// A browser makes six connections to a host (HTTP/1.1), and each visible tab keeps one.
async fn a_thirteenth_tab_loads(app: &App, story: &Tab<'_>, list: &Tab<'_>, there: &str) {
    story.hides().await;
    list.hides().await;
    let mut behind = Vec::new();
    for _ in 3..=12 {
        let tab = list.beside().await;
        tab.opens(there).await;
        tab.sees("#live-bar.is-live").await;
        tab.hides().await;
        behind.push(tab);
    }
    let thirteenth = list.beside().await;
    thirteenth.opens(TASKS).await;
    thirteenth.sees("#live-bar.is-live").await;
    app.tasks_come(1).await;
    thirteenth.reads_in("#new", "Show 1 new").await;
    assert_eq!(list.tells(NEW).await, "Show 2 new", "nobody looks at it");
    thirteenth.closes().await;
    for tab in behind {
        tab.closes().await;
    }
    list.shows().await;
    list.reads_in("#new", "Show 3 new").await;
    story.shows().await;
}

async fn a_session_ends_elsewhere(app: &App, story: &Tab<'_>, list: &Tab<'_>, phone: &Tab<'_>, there: &str) {
    phone.opens("/admin/me/").await;
    phone.presses_in("tr:not(:has(.is-success))", "End").await;
    phone.is_told("The session has ended.").await;
    list.sees("#live-bar.is-lost").await;
    phone.opens(TASKS).await;
    phone.sees("#live-bar.is-live").await;
    app.tasks_come(1).await;
    phone.reads_in("#new", "Show 1 new").await;
    assert_eq!(list.tells(NEW).await, "Show 3 new", "it is told nothing");

    story.presses_in("#story", "Send again").await;
    story.sees("[name=password]").await;
    assert!(story.path().await.starts_with("/admin/login/?back="), "{}", story.path().await);
    assert_eq!(story.tells("() => document.documentElement.outerHTML.includes('Carlos')").await, false);
    assert_eq!(app.whatsapps().len(), 1, "nothing was sent again");
    list.presses_in("#new", "Show 3 new").await;
    list.sees("[name=password]").await;
    // Back to where she was: the page, for the form is none.
    story.fills("name", "luis").await;
    story.fills("password", PASSWORD).await;
    story.presses("Log in").await;
    story.sees(".rail").await;
    assert_eq!(story.path().await, there);
}

// --- Undo ---

// Undo is a button beside what was done, whatever was done.
story!(what_was_done_is_undone_with_one_press, [SECRET_KEY], async |app: &App| {
    let car = app.know_the_car(24_500).await;
    let chromium = app.chromium().await;
    let ana = chromium.window(&app.operator("admin").await).await;

    ana.opens("/admin/queues/?queue=sync").await;
    ana.fills("reason", "cambio").await;
    ana.presses_in("#pause", "Pause").await;
    ana.is_told("The queue is paused.").await;
    assert_eq!(app.pauses().await.len(), 1);
    ana.undoes().await;
    ana.is_told("The queue goes on.").await;
    assert!(app.pauses().await.is_empty());

    let message = app.accepted(&sample::event()).await.notifications[0].id;
    ana.opens(&format!("/admin/notifications/{message}/")).await;
    ana.presses_in("#story", "Cancel").await;
    ana.is_told("The message is cancelled.").await;
    ana.undoes().await;
    ana.is_told("The chain begins again.").await;
    app.drain().await;
    assert_eq!(app.mails().len(), 1);

    let body = json!({"channel": "email", "address": "carlos@example.com", "detail": "lo pidió"});
    app.post("/api/v1/notifications/suppressions/", &body).await.must_be(201);
    ana.opens("/admin/suppressions/").await;
    ana.presses("Lift").await;
    ana.is_told("The address is written to again.").await;
    assert!(!app.is_suppressed(Channel::Email, "carlos@example.com").await);
    ana.undoes().await;
    ana.reads_in("tbody", "c***@example.com").await;
    assert!(app.is_suppressed(Channel::Email, "carlos@example.com").await);

    of_a_customer(app, &ana, &car).await;
    ana.opens("/admin/schedules/cleanup/").await;
    ana.presses("Disable").await;
    ana.is_told("The schedule is disabled.").await;
    ana.undoes().await;
    ana.is_told("The schedule is enabled.").await;
    chromium.finish().await;
});

/// Her channels in their order.
const ORDER: &str = "() => [...document.querySelectorAll('.prefer b')].map((one) => one.textContent).join(' ')";

async fn of_a_customer(app: &App, ana: &Tab<'_>, car: &str) {
    ana.opens(CARLOS).await;
    assert_eq!(ana.tells(ORDER).await, "email WhatsApp push");
    ana.presses("Move email down").await;
    ana.is_told("The order is changed.").await;
    assert_eq!(ana.tells(ORDER).await, "WhatsApp email push");
    ana.undoes().await;
    ana.is_told("The order is changed.").await;
    assert_eq!(ana.tells(ORDER).await, "email WhatsApp push");
    ana.presses("Switch off push").await;
    ana.is_told("The channel is switched off.").await;
    ana.undoes().await;
    ana.is_told("The channel is switched on.").await;

    ana.presses("Edit").await;
    ana.fills("last_name", "Paz").await;
    ana.fills("quiet_from", "22:00").await;
    ana.fills("quiet_until", "07:00").await;
    ana.presses("Save").await;
    ana.reads_in("h1", "Carlos Paz").await;
    ana.undoes().await;
    ana.reads_in("h1", "Carlos Mendoza").await;
    let customer = app.known_customer("customer-001").await.expect("he is known");
    assert_eq!(customer.email.as_deref(), Some("carlos@example.com"), "what the form did not show stayed");

    let day = json!({"vehicle": car, "type": "date", "description": "Frenos", "target_date": "2026-03-01"});
    let reminder = app.add_reminder(&day).await;
    let id = reminder.trim_end_matches('/').rsplit('/').next().expect("an id");
    ana.opens(&format!("/admin/reminders/{id}/")).await;
    ana.presses("Done").await;
    ana.is_told("The reminder is done.").await;
    ana.undoes().await;
    ana.is_told("The reminder is open again.").await;
}

// --- Keys ---

story!(texts_and_the_matrix_are_changed_by_keyboard, async |app: &App| {
    let editor = app.operator("editor").await;
    let text = app.written(&editor, &OWN).await;
    let chromium = app.chromium().await;
    let ana = chromium.window(&editor).await;
    a_variable_is_completed(app, &ana, &text).await;
    the_matrix_is_a_grid(app, &ana).await;
    assert_eq!(chromium.complaints(&[]).await, Vec::<String>::new());
    the_second_editor_sees_what_the_first_changed(app, &ana, &text).await;
    assert_eq!(chromium.complaints(&CONFLICT).await, Vec::<String>::new());
    chromium.finish().await;
});

async fn a_variable_is_completed(app: &App, ana: &Tab<'_>, text: &str) {
    ana.opens(&format!("/admin/templates/{text}/")).await;
    ana.reads_in("#preview .bubble", "Hola,").await;
    ana.focuses("textarea[name=body]").await;
    ana.keys(&["Control+End"]).await;
    ana.types(" Su {{pla").await;
    ana.reads_in("[role=listbox]", "Placa").await;
    assert_eq!(ana.tells("() => document.activeElement.getAttribute('aria-expanded')").await, "true");
    ana.keys(&["Enter"]).await;
    let value = "() => document.querySelector('textarea[name=body]').value";
    assert_eq!(ana.tells(value).await, "Hola, {{Nombre}}. Su {{Placa}}");
    // Of several, arrows choose; the preview follows what is written.
    ana.types(" a las {{").await;
    ana.sees("[role=listbox] li:nth-child(2)").await;
    ana.keys(&["ArrowDown"]).await;
    let second = ana
        .tells("() => document.querySelector('[role=listbox]:not([hidden]) [aria-selected=true]').textContent")
        .await;
    let second = second.as_str().expect("a name").to_owned();
    ana.keys(&["Tab"]).await;
    assert_eq!(ana.tells(value).await, format!("Hola, {{{{Nombre}}}}. Su {{{{Placa}}}} a las {{{{{second}}}}}"));
    assert_eq!(ana.tells("() => document.querySelector('[role=listbox]').hidden").await, true);
    ana.reads_in("#preview .bubble", "a las").await;
    assert_eq!(
        ana.tells("() => document.activeElement.name").await,
        "body",
        "the preview leaves the focus where it is"
    );
    app.clock.advance(seconds(1));
    ana.presses("Save as version 2").await;
    ana.is_told("Saved.").await;
    assert!(app.text(text).await.expect("it is there").body.ends_with(&format!("{{{{{second}}}}}")));
    ana.undoes().await;
    ana.is_told("The template is as it was in that version.").await;
    assert_eq!(app.text(text).await.expect("it is there").body, "Hola, {{Nombre}}.");
}

async fn the_matrix_is_a_grid(app: &App, ana: &Tab<'_>) {
    ana.opens(MATRIX).await;
    ana.focuses("[data-cell][tabindex='0']").await;
    ana.keys(&["ArrowRight", "ArrowRight", " "]).await;
    ana.reads_in("[data-changes]", "1 change not saved").await;
    ana.keys(&["ArrowDown", " "]).await;
    ana.reads_in("[data-changes]", "2 changes not saved").await;
    assert_eq!(ana.tells("() => document.activeElement.matches('[data-cell]')").await, true);
    assert_eq!(app.matrix_cell("null", "Agendar Cita", "push").await["enabled"], true, "it is staged");
    ana.presses("Review the changes…").await;
    app.clock.advance(seconds(1));
    ana.presses("Save 2 changes").await;
    ana.is_told("The matrix is saved.").await;
    let pushes = async || {
        let of = async |phase: &str| app.matrix_cell("null", phase, "push").await["enabled"].clone();
        (of("Agendar Cita").await, of("Recepción").await)
    };
    let switched = pushes().await;
    assert_eq!(switched.0, false);
    app.clock.advance(seconds(1));
    ana.undoes().await;
    ana.is_told("The matrix is as it was before.").await;
    let (first, second) = pushes().await;
    assert!(first == true && second != switched.1, "both cells are as before: {first} {second}");
}

async fn the_second_editor_sees_what_the_first_changed(app: &App, ana: &Tab<'_>, text: &str) {
    let there = format!("/admin/templates/{text}/");
    ana.opens(&there).await;
    let other = ana.beside().await;
    other.opens(&there).await;
    app.clock.advance(seconds(1));
    other.fills("body", "Buenas, {{Nombre}}.").await;
    other.presses("Save as version 4").await;
    other.is_told("Saved.").await;
    ana.fills("body", "Hola otra vez, {{Nombre}}.").await;
    ana.presses("Save as version 4").await;
    ana.reads_in("[role=alert] del", "Buenas, {{Nombre}}.").await;
    ana.reads_in("[role=alert] ins", "Hola otra vez, {{Nombre}}.").await;
    let value = "() => document.querySelector('textarea[name=body]').value";
    assert_eq!(ana.tells(value).await, "Hola otra vez, {{Nombre}}.", "what was written is there");
    ana.presses("Save as version 5").await;
    ana.is_told("Saved.").await;
}

// --- Without scripts ---

story!(without_scripts_pages_are_links_and_actions_forms, async |app: &App| {
    app.know_carlos().await;
    app.person("luis", "operator editor").await;
    let event = app.accepted(&sample::event()).await;
    let editor = app.operator("editor").await;
    let text = app.written(&editor, &OWN).await;
    let chromium = app.chromium().await;
    let luis = chromium.window_without_scripts().await;
    luis.opens("/admin/").await;
    luis.fills("name", "luis").await;
    luis.fills("password", PASSWORD).await;
    luis.presses("Log in").await;
    luis.sees("#findings").await;

    // From the search to the story, and there is an end to it.
    luis.fills("q", &event.correlation_id.to_string()).await;
    luis.keys(&["Enter"]).await;
    luis.clicks(".rail li:first-child a").await;
    luis.sees("table.why").await;
    luis.presses_in("#story", "Cancel").await;
    luis.is_told("The message is cancelled.").await;

    luis.presses("customer-001").await;
    luis.presses("Switch off push").await;
    luis.is_told("The channel is switched off.").await;
    luis.undoes().await;
    luis.is_told("The channel is switched on.").await;

    luis.opens("/admin/templates/").await;
    luis.fills("search", "Cita propia").await;
    luis.presses("Filter").await;
    luis.presses("Cita propia").await;
    luis.fills("body", "Buenas, {{Nombre}}.").await;
    luis.presses("Preview").await;
    luis.reads_in(".bubble", "Buenas,").await;
    luis.presses("Save as version 2").await;
    luis.is_told("Saved.").await;
    assert_eq!(app.text(&text).await.expect("it is there").body, "Buenas, {{Nombre}}.");

    luis.opens("/admin/queues/").await;
    luis.presses("Pause sync").await;
    luis.fills("reason", "cambio").await;
    luis.presses_in("#pause", "Pause").await;
    luis.is_told("The queue is paused.").await;
    assert_eq!(app.pauses().await.len(), 1);
    luis.presses_in("#lanes", "Go on").await;
    luis.is_told("The queue goes on.").await;
    assert!(app.pauses().await.is_empty());
    assert_eq!(luis.tells("() => document.querySelector('#live-bar').hidden").await, true, "no script ran");
    chromium.finish().await;
    app.drain().await;
    assert!(app.mails().is_empty() && app.whatsapps().is_empty(), "it was cancelled");
});

// --- Strangers' words ---

/// What would be run if it were no text, in letters that turn the direction of what follows.
const HOSTILE: &str = "<script>window.hurt=1</script><img src=x onerror=\"window.hurt=1\">\u{202e}livE";

// Names, texts and answers of strangers are text on every page: no script, no dialog, no request, and all fits on a telephone.
story!(words_of_strangers_are_harmless_on_every_page, [SECRET_KEY], async |app: &App| {
    app.leave_work();
    let mut links = fill(app).await;
    for (path, there) in strangers_write(app).await.as_object().expect("paths") {
        links[path] = there.clone();
    }
    // A mail's HTML stands in a frame of its own, whose policy is stricter than the page's.
    let expected = ["the document's frame is sandboxed", "directive: \"img-src data:\""];
    let wants = json!({"links": links, "expected": expected});
    let complaints = look_at_every_page(app, &[("en", "light")], wants).await;
    assert!(complaints.is_empty(), "{complaints}");
});

/// Writes it wherever strangers can write. Returns where it stands, for pages of which there are many.
async fn strangers_write(app: &App) -> Value {
    let long = format!("{HOSTILE} {}", "x".repeat(50_000));
    app.clock.advance(seconds(1));
    let names = json!({"first_name": HOSTILE, "last_name": "x".repeat(250)});
    app.patch("/api/v1/notifications/customers/customer-001/", &names).await.must_be(200);
    let car = json!({"customer_id": "customer-001", "plate": "HURT1", "brand": HOSTILE, "model": "x".repeat(90)});
    let car = app.post("/api/v1/notifications/vehicles/", &car).await.must_be(201);
    let text = [("name", HOSTILE), ("subject", HOSTILE), ("body", &*long), ("channel", "email"), ("target", "clients")];
    let editor = app.operator("editor viewer").await;
    let own = app.written(&editor, &text).await;
    let test = [&text[..], &[("address", "ana@example.com")]].concat();
    assert_eq!(editor.post(&format!("/admin/templates/{own}/test/"), &test).await.status, 303);
    let event = json!({"event_type": "custom", "customer_id": "customer-001",
        "context": {"subject": HOSTILE, "body": format!("{HOSTILE} {}", "x".repeat(9_000))}});
    app.sandbox.smtp.misbehave(SmtpFault::reject_data(554));
    let receipt = app.accepted(&event).await;
    app.drain().await;
    app.sql(
        "update attempts set provider_answer = '<script>window.hurt=1</script><img src=x onerror=\"window.hurt=1\">'",
    )
    .await;
    app.sql(
        "update tasks set error = '<script>window.hurt=1</script><img src=x onerror=\"window.hurt=1\">' where error is not null",
    )
    .await;
    let operator = app.operator("operator").await;
    let url = app.partner_url();
    let partner = [
        ("nombre", HOSTILE),
        ("contact_email", "dev@example.com"),
        ("webhook_url", &*url),
        ("events", "event.updated"),
    ];
    let partner = operator.post("/admin/partners/", &partner).await;
    assert_eq!(partner.status, 200, "{}", partner.text);
    operator.post_and_follow("/admin/queues/pause/", &[("queue", "maintenance"), ("reason", HOSTILE)]).await;
    let said = Writes { chat_id: "593995550000@c.us".into(), text: long, ..Writes::default() };
    let heard = app.post("/api/v1/whatsapp/webhook/process-message/", &app.sandbox.bridge.hears(said)).await;
    assert_eq!(heard.status, 200, "{}", heard.text);
    let lead = json!({"estado": "Pendiente", "lead": {"nombre": HOSTILE, "celular": "999888777"},
        "appointment": {"fecha_hora": "2026-01-21T14:30:00"}});
    app.post("/api/v1/crm/appointments/124/status/", &lead).await;
    app.drain().await;
    json!({
        "/admin/customers/{customer_id}": "/admin/customers/customer-001",
        "/admin/vehicles/{id}": format!("/admin/vehicles/{}", car["id"].as_str().expect("an id")),
        "/admin/templates/{id}": format!("/admin/templates/{own}"),
        "/admin/templates/{id}/versions": format!("/admin/templates/{own}/versions"),
        "/admin/templates/{id}/versions/{version}": format!("/admin/templates/{own}/versions/1"),
        "/admin/notifications/{id}": format!("/admin/notifications/{}", receipt.notifications[0].id),
        "/admin/events/{correlation_id}": format!("/admin/events/{}", receipt.correlation_id),
        "/admin/partners/{id}": link(&partner.text, "/admin/partners/").trim_end_matches('/'),
    })
}
