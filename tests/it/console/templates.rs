//! Texts in the console: what an editor sees while writing, what was there before, and how a text arrives.

use futures::future::join_all;
use recado_kernel::ids::Id;
use recado_notifications::templates::{self, Template};
use recado_notifications::test_sends;
use serde_json::json;

use crate::harness::app::{App, seconds};
use crate::harness::browser::{Browser, between};
use crate::harness::pair::story;
use crate::harness::sample;

const PATH: &str = "/admin/templates/";
const PREVIEW: &str = "/admin/templates/preview/";

const OWN: [(&str, &str); 6] = [
    ("name", "Cita propia"),
    ("subject", "Su cita: {{Fecha}}"),
    ("body", "<p>Hola, <b>{{Nombre}}</b>:</p>\n<p>venga a las {{Hora}}.</p>"),
    ("channel", "email"),
    ("target", "clients"),
    ("is_active", "on"),
];

fn with<'f>(changes: &[(&'f str, &'f str)]) -> Vec<(&'f str, &'f str)> {
    let mut form: Vec<(&str, &str)> =
        OWN.iter().copied().filter(|(name, _)| changes.iter().all(|(changed, _)| changed != name)).collect();
    form.extend(changes);
    form
}

impl App {
    pub(super) async fn text(&self, id: &str) -> Option<Template> {
        let id: Id = id.parse().expect("an id");
        templates::find(&mut self.begin().await, id).await.expect("it is read")
    }

    /// A text that the editor wrote; its id.
    pub(super) async fn written(&self, editor: &Browser, form: &[(&str, &str)]) -> String {
        let page = editor.post_and_follow(PATH, form).await;
        assert!(page.contains("The template is written."), "{page}");
        between(&page, "name=\"id\" value=\"", "\"").to_owned()
    }
}

story!(a_text_is_written_changed_compared_restored_and_deleted, async |app: &App| {
    let editor = app.operator("editor").await;
    let id = app.written(&editor, &OWN).await;
    let there = format!("{PATH}{id}/");
    assert!(editor.page(PATH).await.contains(&there));

    app.clock.advance(seconds(1));
    let page = editor
        .post_and_follow(&there, &with(&[("body", "<p>Hola, <b>{{Nombre}}</b>:</p>\n<p>lo esperamos.</p>")]))
        .await;
    assert!(page.contains("Saved. It counts from the next event on.") && page.contains("Version 2"), "{page}");
    let versions = editor.page(&format!("{there}versions/")).await;
    assert!(
        versions.contains("editor-1") && versions.contains("written") && versions.contains("changed"),
        "{versions}"
    );
    let diff = editor.page(&format!("{there}versions/2/")).await;
    assert!(diff.contains("</span>&#60;p&#62;venga a las {{Hora}}.&#60;/p&#62;</del>"), "{diff}");
    assert!(diff.contains("&#60;p&#62;lo esperamos.&#60;/p&#62;</ins>"), "{diff}");
    assert!(editor.page(&format!("{there}versions/1/?against=2")).await.contains("Restore this version"));

    let page = editor.post_and_follow(&format!("{there}versions/1/restore/"), &[]).await;
    assert!(app.text(&id).await.expect("it is there").body.contains("venga a las"));
    editor.undo(&page).await;
    assert!(app.text(&id).await.expect("it is there").body.contains("lo esperamos"));

    let page = editor.post_and_follow(&format!("{there}disable/"), &[]).await;
    assert!(!app.text(&id).await.expect("it is there").is_active);
    editor.undo(&page).await;
    assert!(app.text(&id).await.expect("it is there").is_active);

    let page = editor.post_and_follow(&format!("{there}delete/"), &[]).await;
    assert!(app.text(&id).await.is_none());
    assert!(editor.page(&format!("{there}versions/")).await.contains("This template was deleted."));
    editor.undo(&page).await;
    assert!(app.text(&id).await.expect("it is back").body.contains("lo esperamos"));
    let actions = ["change", "change", "change", "create", "delete", "restore", "restore", "restore"];
    assert_eq!(app.acts("template").await, actions);
    assert!(editor.page(&format!("/admin/audit/of/template/{id}")).await.contains("restore"));
});

story!(a_preview_shows_what_would_be_sent_on_all_channels, async |app: &App| {
    app.know_carlos().await;
    let editor = app.operator("editor").await;
    let part = async |form: &[(&str, &str)]| {
        let request = editor.request(reqwest::Method::POST, PREVIEW).header("sec-fetch-site", "same-origin");
        let answer = editor.send(request.header("hx-request", "true").form(form)).await;
        assert_eq!(answer.status, 200, "{}", answer.text);
        answer.text
    };
    let schedule = app.get("/api/v1/notifications/phases/?page_size=50").await.must_be(200);
    let phases =
        schedule.as_array().cloned().unwrap_or_else(|| schedule["results"].as_array().cloned().expect("a page"));
    let phase = phases.iter().find(|phase| phase["slug"] == "phase-schedule").expect("the seed has it");
    let phase = phase["id"].as_str().expect("an id");
    let shown = part(&with(&[("phase", phase), ("customer", "customer-001")])).await;
    assert!(!shown.contains("<html") && shown.contains("Su cita: 20 de Enero, 2026"), "{shown}");
    assert!(shown.contains("Carlos Mendoza") && shown.contains("is-whatsapp") && shown.contains("is-push"), "{shown}");

    // The mail as HTML, in a frame that loads and runs nothing.
    let frame = between(&shown, "<iframe sandbox src=\"", "\"").replace("&#38;", "&");
    let mail = editor.get(&frame).await;
    assert_eq!(mail.status, 200);
    assert_eq!(
        mail.header("content-security-policy"),
        "sandbox; default-src 'none'; img-src data:; style-src 'unsafe-inline'"
    );
    assert!(mail.text.contains("<b>Carlos Mendoza</b>") && mail.text.contains("max-width:600px"), "{}", mail.text);

    // A long one is shown on demand, by the form itself.
    let long = format!("<p>{}</p>", "palabra ".repeat(1_000));
    let shown = part(&with(&[("body", &long)])).await;
    assert!(shown.contains("formtarget=\"mail\""), "{shown}");
    assert!(editor.post("/admin/templates/frame/", &with(&[("body", &long)])).await.text.contains("palabra"));

    // What is wrong, at its line; without scripts it is the whole page.
    let broken = editor.post(PREVIEW, &with(&[("body", "uno\ndos {% if %}")])).await;
    assert!(broken.text.contains("<html") && broken.text.contains("line 2"), "{}", broken.text);
    let unknown = part(&with(&[("body", "Hola,\n{{Nombra}}")])).await;
    assert!(unknown.contains("line 2") && unknown.contains("Did you mean {{Nombre}}?"), "{unknown}");

    let push = with(&[
        ("channel", "push"),
        ("subject", "{{Nombre}} y un título que no cabe de ninguna manera en un teléfono"),
        ("body", "corto"),
    ]);
    let push = part(&push).await;
    assert!(push.contains("of 60") && push.contains("class=\"over\"") && push.contains("5 of 140"), "{push}");
    let bubble = part(&with(&[("channel", "whatsapp"), ("body", "*Hola* a < b & \"c\"")])).await;
    assert!(bubble.contains("<b>Hola</b> a &lt; b &amp; &quot;c&quot;"), "{bubble}");
    let nobody = part(&with(&[("customer", "nadie")])).await;
    assert!(nobody.contains("No customer has this id or name."), "{nobody}");
});

story!(a_text_that_can_not_be_rendered_is_not_saved, async |app: &App| {
    let editor = app.operator("editor").await;
    let refused =
        editor.post(PATH, &with(&[("body", "uno\ndos {% if %}"), ("name", "<script>alert(1)</script>")])).await;
    assert_eq!(refused.status, 422);
    assert!(
        refused.text.contains("Line 2: `{% if %}` is not closed") && !refused.text.contains("<script>alert"),
        "{}",
        refused.text
    );
    let huge = "x".repeat(100_000);
    let answer = editor.post(PATH, &with(&[("body", &huge), ("name", "\u{202e}")])).await;
    assert!(answer.status == 422 || answer.status == 303, "{}", answer.status);
});

story!(the_second_of_two_editors_sees_the_difference, async |app: &App| {
    let editor = app.operator("editor").await;
    let id = app.written(&editor, &OWN).await;
    let there = format!("{PATH}{id}/");
    let read = between(&editor.page(&there).await, "name=\"read_at\" value=\"", "\"").to_owned();
    app.clock.advance(seconds(1));
    assert_eq!(editor.post(&there, &with(&[("name", "Primera"), ("read_at", &read)])).await.status, 303);
    let second = editor.post(&there, &with(&[("name", "Segunda"), ("read_at", &read)])).await;
    assert_eq!(second.status, 422);
    assert!(second.text.contains("<del>Primera</del>"), "{}", second.text);
    assert_eq!(app.text(&id).await.expect("it is there").name, "Primera");
});

story!(a_new_variable_tells_which_callers_do_not_send_it, async |app: &App| {
    app.know_carlos().await;
    app.accepted(&sample::event()).await;
    app.drain().await;
    let editor = app.operator("editor").await;
    let id = app.written(&editor, &OWN).await;
    let changed = with(&[("body", "Hola, {{Nombre}}:\norden {{Orden}}"), ("id", &id)]);
    let page = editor.post(PREVIEW, &changed).await.text;
    assert!(page.contains("{{Orden}} is new and obligatory, and 1 of 1 callers did not send it in 30 days"), "{page}");
    assert!(page.contains("Write {% if Orden %}…{% endif %}.") && page.contains("line 2"), "{page}");
    let kept = with(&[("body", "Hola, {{Nombre}}: {% if Orden %}{{Orden}}{% endif %}"), ("id", &id)]);
    assert!(!editor.post(PREVIEW, &kept).await.text.contains("is new and obligatory"));
});

story!(a_test_arrives_and_is_counted_nowhere, async |app: &App| {
    app.know_carlos().await;
    let editor = app.operator("editor").await;
    let id = app.written(&editor, &OWN).await;
    let test = format!("{PATH}{id}/test/");
    let unsaved =
        with(&[("address", "ana@example.com"), ("body", "<p>Nuevo, {{Nombre}}</p>"), ("customer", "customer-001")]);
    let page = editor.post_and_follow(&test, &unsaved).await;
    assert!(page.contains("on its way"), "{page}");
    let there = between(&page, "href=\"/admin/templates/tests/", "/\"").to_owned();
    app.drain().await;
    let mails = app.mails();
    assert_eq!(mails.len(), 1);
    let (mail, text) = (&mails[0], mails[0].text().unwrap_or_default().to_owned());
    assert!(mail.envelope_to().contains(&"ana@example.com".to_owned()), "{mail:?}");
    assert!(mail.subject().is_some_and(|subject| subject.starts_with("[Prueba] Su cita")), "{mail:?}");
    assert!(text.contains("Nuevo, Carlos Mendoza"), "{text}");
    let page = editor.page(&format!("{PATH}tests/{there}/")).await;
    assert!(page.contains(">sent<") && !page.contains("ana@"), "{page}");
    let counted = app.get("/api/v1/notifications/").await.must_be(200);
    assert_eq!(counted["count"], 0, "{counted}");
    let log = app.acts("template").await;
    assert_eq!(log, ["create", "test"]);
    for word in ["ana@", "Nuevo"] {
        let left = app.get(&format!("/api/v1/notifications/templates/tests/{there}/")).await.must_be(200);
        assert!(!left.to_string().contains(word), "{left}");
    }

    // A failure is told at once, with its code, and nothing is tried again.
    app.sandbox.smtp.misbehave(recado_sandbox::SmtpFault::reject_data(554));
    let page = editor.post_and_follow(&test, &unsaved).await;
    let failed = between(&page, "href=\"/admin/templates/tests/", "/\"").to_owned();
    app.drain().await;
    assert!(editor.page(&format!("{PATH}tests/{failed}/")).await.contains("did not leave"));

    // A number, in any spelling.
    let whatsapp = with(&[("channel", "whatsapp"), ("body", "Hola, {{Nombre}}"), ("address", "099 123 4567")]);
    assert_eq!(editor.post(&test, &whatsapp).await.status, 303);
    app.later(seconds(60)).await;
    assert!(app.whatsapps().iter().any(|sent| format!("{sent:?}").contains("[Prueba] Hola")), "{:?}", app.whatsapps());

    let wrong = editor.post(&test, &with(&[("address", "ana")])).await;
    assert!(wrong.status == 422 && wrong.text.contains("Email must have exactly one @"), "{}", wrong.text);
    let push = editor.post(&test, &with(&[("channel", "push"), ("customer", "customer-001")])).await;
    assert!(push.status == 422 && push.text.contains("a customer who has a subscribed device"), "{}", push.text);
});

story!(tests_are_ten_an_hour_and_go_to_devices_too, async |app: &App| {
    app.know_carlos().await;
    app.subscribe("customer-001").await;
    let url = "/api/v1/notifications/templates/";
    let push = json!({"name": "Aviso", "subject": "Listo", "body": "Hola, {{Nombre}}", "channel": "push", "target": "clients",
        "service_type": null, "phase": null});
    let made = app.post(url, &push).await.must_be(201);
    let test = format!("{url}{}/test/", made["id"].as_str().expect("an id"));
    app.post(&test, &json!({"address": "ana@example.com"})).await.must_be(400);
    app.post(&test, &json!({})).await.must_be(400);
    let sent = app.post(&test, &json!({"customer_id": "customer-001"})).await.must_be(202);
    app.drain().await;
    assert_eq!(app.pushes().len(), 1);
    let told = app.get(&format!("{url}tests/{}/", sent["id"].as_str().expect("an id"))).await.must_be(200);
    assert_eq!((&told["is_sent"], &told["account"]), (&json!(true), &json!("env")));
    for _ in 1..test_sends::MOST_IN_AN_HOUR {
        app.post(&test, &json!({"customer_id": "customer-001"})).await.must_be(202);
    }
    app.post(&test, &json!({"customer_id": "customer-001"})).await.must_be(400);
    app.drain().await;
    app.clock.advance(seconds(3_601));
    app.post(&test, &json!({"customer_id": "customer-001"})).await.must_be(202);
    app.drain().await;
});

// Counted and written in one turn: of twenty that come at once, ten are the limit.
story!(twenty_tests_at_once_are_ten, async |app: &App| {
    let url = "/api/v1/notifications/templates/";
    let mail = json!({"name": "Aviso", "subject": "Listo", "body": "Hola, {{Nombre}}", "channel": "email", "target": "clients",
        "service_type": null, "phase": null});
    let made = app.post(url, &mail).await.must_be(201);
    let test = format!("{url}{}/test/", made["id"].as_str().expect("an id"));
    let address = json!({"address": "ana@example.com"});
    let answers = join_all((0..20).map(|_| app.post(&test, &address))).await;
    let count = |status: u16| answers.iter().filter(|answer| answer.status == status).count();
    assert_eq!((count(202), count(400)), (10, 10));
    app.drain().await;
    assert_eq!(app.mails().len(), 10);
});

// Who is to be forgotten gets no test that waits, and a test that waited too long is not sent.
story!(a_test_that_waits_is_forgotten_with_its_person, async |app: &App| {
    app.know_carlos().await;
    let editor = app.operator("editor").await;
    let id = app.written(&editor, &OWN).await;
    let test = format!("{PATH}{id}/test/");
    editor.post_and_follow(&test, &with(&[("address", "carlos@example.com")])).await;
    let erase = app.request(reqwest::Method::DELETE, "/api/v1/notifications/customers/customer-001/?erase=true");
    app.send(erase).await.must_be(200);
    app.drain().await;
    assert!(app.mails().is_empty(), "{:?}", app.mails());

    let page = editor.post_and_follow(&test, &with(&[("address", "ana@example.com")])).await;
    let late = between(&page, "href=\"/admin/templates/tests/", "/\"").to_owned();
    app.clock.advance(test_sends::WORTHLESS_AFTER + seconds(1));
    app.drain().await;
    assert!(app.mails().is_empty(), "{:?}", app.mails());
    assert!(editor.page(&format!("{PATH}tests/{late}/")).await.contains("TEST_TOO_LATE"));
});

story!(who_may_only_look_changes_no_text, async |app: &App| {
    app.know_carlos().await;
    let editor = app.operator("editor").await;
    let id = app.written(&editor, &OWN).await;
    let viewer = app.operator("viewer").await;
    let there = format!("{PATH}{id}/");
    let page = viewer.page(&there).await;
    assert!(page.contains("<fieldset class=\"stack\" disabled") && !page.contains("/delete/"), "{page}");
    assert!(!viewer.page(PATH).await.contains("/admin/templates/new/"));
    for path in [
        PATH.to_owned(),
        there.clone(),
        format!("{there}delete/"),
        format!("{there}test/"),
        format!("{there}versions/1/restore/"),
    ] {
        assert_eq!(viewer.post(&path, &OWN).await.status, 403, "{path}");
    }
    // Nor does a preview tell a viewer who a customer is.
    let preview =
        viewer.post(PREVIEW, &with(&[("id", &id), ("customer", "customer-001"), ("body", "{{Nombre}}")])).await;
    assert!(preview.status == 200 && !preview.text.contains("(customer-001)"), "{}", preview.text);
});
