//! What a template ever was: every write is kept, and each can be had back.

use reqwest::Method;
use serde_json::{Value, json};

use crate::harness::app::{App, seconds};
use crate::harness::pair::story;
use crate::harness::sample;

const TEMPLATES: &str = "/api/v1/notifications/templates/";

/// A text that fits the sample better than any of the seed.
fn own() -> Value {
    json!({
        "name": "Cita de mantenimiento", "subject": "Cita para {{Placa}}",
        "body": "Hola, {{Nombre}}:\nlo esperamos a las {{Hora}}.", "channel": "email", "target": "clients",
        "service_type": "mantenimiento-preventivo", "phase": "phase-schedule", "event_type": "appointment_scheduled"
    })
}

impl App {
    async fn new_template(&self) -> String {
        let created = self.post(TEMPLATES, &own()).await.must_be(201);
        assert_eq!(created["version"], 1);
        format!("{TEMPLATES}{}/", created["id"].as_str().expect("an id"))
    }

    async fn patch_template(&self, url: &str, changes: &Value) -> Value {
        self.send(self.request(Method::PATCH, url).json(changes)).await.must_be(200)
    }

    /// The changes of all versions, the newest first.
    async fn changes(&self, url: &str) -> Vec<(i64, String)> {
        let page = self.get(&format!("{url}versions/")).await.must_be(200);
        let versions = page["results"].as_array().expect("a page").iter();
        versions
            .map(|one| (one["version"].as_i64().expect("a number"), one["change"].as_str().expect("a word").to_owned()))
            .collect()
    }
}

fn told(versions: &[(i64, String)]) -> Vec<(i64, &str)> {
    versions.iter().map(|(number, change)| (*number, change.as_str())).collect()
}

// Written, changed, restored, deleted, and had back: each write is a version with its author.
story!(every_write_of_a_template_is_kept, async |app: &App| {
    let url = app.new_template().await;
    let changed = app.patch_template(&url, &json!({"body": "Hola, {{Nombre}}:\nvenga a las {{Hora}}."})).await;
    assert_eq!(changed["version"], 2);
    assert_eq!(told(&app.changes(&url).await), [(2, "changed"), (1, "created")]);
    let first = app.get(&format!("{url}versions/1/")).await.must_be(200);
    assert_eq!((&first["body"], &first["author"]), (&own()["body"], &json!("anonymous")));

    let diff = app.get(&format!("{url}versions/2/diff/")).await.must_be(200);
    assert_eq!((&diff["from"], &diff["to"], &diff["subject"]), (&json!(1), &json!(2), &json!([])));
    let lines: Vec<(&str, &str)> = diff["body"]
        .as_array()
        .expect("lines")
        .iter()
        .map(|line| (line["change"].as_str().expect("a word"), line["text"].as_str().expect("a text")))
        .collect();
    assert_eq!(
        lines,
        [
            ("equal", "Hola, {{Nombre}}:"),
            ("removed", "lo esperamos a las {{Hora}}."),
            ("added", "venga a las {{Hora}}.")
        ]
    );
    let same = app.get(&format!("{url}versions/2/diff/?against=2")).await.must_be(200);
    assert_eq!(same["changes"], json!([]));
    assert_eq!(app.get(&format!("{url}versions/1/diff/")).await.must_be(200)["from"], Value::Null);
    app.get(&format!("{url}versions/2/diff/?against=9")).await.must_be(400);
    for missing in ["versions/9/", "versions/9/diff/", "versions/x/"] {
        app.get(&format!("{url}{missing}")).await.must_be(404);
    }

    let restored = app.post(&format!("{url}versions/1/restore/"), &json!({})).await.must_be(200);
    assert_eq!((&restored["version"], &restored["body"]), (&json!(3), &own()["body"]));
    app.send(app.request(Method::DELETE, &url)).await.must_be(204);
    app.get(&url).await.must_be(404);
    assert_eq!(told(&app.changes(&url).await), [(4, "deleted"), (3, "restored"), (2, "changed"), (1, "created")]);
    let back = app.post(&format!("{url}versions/2/restore/"), &json!({})).await.must_be(200);
    assert_eq!((&back["version"], &back["body"]), (&json!(5), &changed["body"]));
    assert_eq!(app.get(&format!("{url}versions/5/")).await.must_be(200)["restored_from"], 2);
    app.post(&format!("{url}versions/9/restore/"), &json!({})).await.must_be(404);
    app.get(&format!("{TEMPLATES}0194830c-7d5a-7000-8000-00000000000c/versions/")).await.must_be(404);
});

// A message says with which version it was written, also one that waits in reserve, and one that is sent again.
story!(a_message_names_the_version_of_its_words, async |app: &App| {
    app.know_carlos().await;
    let url = app.new_template().await;
    app.patch_template(&url, &json!({"subject": "Su cita: {{Placa}}"})).await;
    let receipt = app.accepted(&sample::event()).await;
    app.drain().await;
    let page = format!("/api/v1/notifications/?task_id={}", receipt.task_id.expect("a task"));
    let page = app.get(&page).await.must_be(200);
    let of = |channel: &str| {
        let mut found = page["results"].as_array().expect("a page").iter();
        found.find(|one| one["channel"] == channel).cloned().expect("its message")
    };
    let email = of("email");
    assert_eq!((&email["template_version"], &of("whatsapp")["template_version"]), (&json!(2), &json!(1)));
    let version = format!("{TEMPLATES}{}/versions/2/", email["template_id"].as_str().expect("an id"));
    assert_eq!(app.get(&version).await.must_be(200)["subject"], "Su cita: {{Placa}}");

    app.patch_template(&url, &json!({"subject": "Otra cosa"})).await;
    let again = format!("/api/v1/notifications/{}/resend/", email["id"].as_str().expect("an id"));
    let again = app.post(&again, &json!({})).await.must_be(202);
    app.drain().await;
    let id = again["notifications"][0]["id"].as_str().expect("an id");
    assert_eq!(app.get(&format!("/api/v1/notifications/{id}/")).await.must_be(200)["template_version"], 2);
});

// Where a template is used: the cells for which it fits best, and those that name it.
story!(a_template_says_where_it_is_used, async |app: &App| {
    let general = json!({
        "name": "General", "subject": "Aviso", "body": "Hola, {{Nombre}}.", "channel": "email", "target": "clients",
        "service_type": "mantenimiento-preventivo", "phase": "phase-schedule", "is_default": true
    });
    let created = app.post(TEMPLATES, &general).await.must_be(201);
    let url = format!("{TEMPLATES}{}/usage/", created["id"].as_str().expect("an id"));
    let usage = app.get(&url).await.must_be(200);
    let cells = usage["cells"].as_array().expect("cells");
    assert!(!cells.is_empty(), "{usage}");
    for cell in cells {
        assert_eq!(
            (&cell["channel"], &cell["how"], &cell["is_sent"], &cell["phase_name"]),
            (&json!("email"), &json!("best_match"), &json!(true), &cells[0]["phase_name"]),
        );
    }
    assert!(usage["beats"].as_array().is_some_and(|beaten| !beaten.is_empty()), "{usage}");
    assert_eq!(usage["loses_to"], json!([]));
    let beaten = usage["beats"][0]["id"].as_str().expect("an id");
    let of_beaten = app.get(&format!("{TEMPLATES}{beaten}/usage/")).await.must_be(200);
    assert!(of_beaten["loses_to"].as_array().is_some_and(|all| all.iter().any(|one| one["name"] == "General")));
    app.get(&format!("{TEMPLATES}0194830c-7d5a-7000-8000-00000000000c/usage/")).await.must_be(404);
});

// A new variable says how many callers have not sent it; what the door notes are names.
story!(a_new_variable_says_who_does_not_send_it, async |app: &App| {
    app.know_carlos().await;
    app.accepted(&sample::event()).await;
    app.drain().await;
    let url = app.new_template().await;
    let changed = app.patch_template(&url, &json!({"body": "Hola, {{Nombre}}: {{Kilometraje}}."})).await;
    assert_eq!(changed["warnings"], json!(["Kilometraje: 1 de 1 emisores no la enviaron en 30 días."]));
    let text = json!({"body": "{{Kilometraje}}", "context": {"kilometraje": "1"}});
    let preview = app.post(&format!("{TEMPLATES}preview/?lang=en"), &text).await.must_be(200);
    assert_eq!(preview["warnings"], json!(["Kilometraje: 1 of 1 callers did not send it in 30 days."]));
    let other = json!({"body": "{{Kilometraje}}", "context": {"kilometraje": "1"}, "event_type": "vehicle_ready"});
    assert!(app.post(&format!("{TEMPLATES}preview/"), &other).await.must_be(200).get("warnings").is_none());

    app.accepted(&sample::event_with(json!({"context": {"kilometraje": "52.000"}}))).await;
    app.drain().await;
    let kept = app.patch_template(&url, &json!({"name": "Cita"})).await;
    assert!(kept.get("warnings").is_none(), "{kept}");
    app.clock.advance(seconds(31 * 24 * 3600));
    let nobody = app.patch_template(&url, &json!({"name": "Cita 2"})).await;
    assert!(nobody.get("warnings").is_none(), "who sends nothing lacks nothing: {nobody}");
});
