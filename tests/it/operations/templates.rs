//! `recado templates` and `recado matrix`: texts, their versions and their places, as the API tells them, and one sent to yourself.

use reqwest::Method;
use serde_json::{Value, json};

use crate::harness::app::App;
use crate::harness::pair::story;
use crate::harness::program::{errors, words};

const TEMPLATES: &str = "/api/v1/notifications/templates/";

async fn write(app: &App) -> String {
    let own = json!({
        "name": "Cita de mantenimiento", "subject": "Cita para {{Placa}}",
        "body": "Hola, {{Nombre}}:\nlo esperamos a las {{Hora}}.", "channel": "email", "target": "clients",
        "service_type": "mantenimiento-preventivo", "phase": "phase-schedule", "event_type": "appointment_scheduled"
    });
    let made = app.post(TEMPLATES, &own).await.must_be(201);
    made["id"].as_str().expect("an id").to_owned()
}

async fn change(app: &App, id: &str, changes: Value) {
    app.send(app.request(Method::PATCH, &format!("{TEMPLATES}{id}/")).json(&changes)).await.must_be(200);
}

story!(the_versions_of_a_text_are_compared_and_restored, async |app: &App| {
    app.live_now();
    let id = write(app).await;
    change(app, &id, json!({"body": "Hola, {{Nombre}}:\nvenga a las {{Hora}}.", "is_active": false})).await;
    let there = format!("{TEMPLATES}{id}/");

    let versions = app.recado_json(&["templates", "versions", &id]).await;
    let same = app.get(&format!("{there}versions/")).await.must_be(200);
    for (told, version) in
        versions.as_array().expect("versions").iter().zip(same["results"].as_array().expect("a page"))
    {
        for (field, value) in version.as_object().expect("a version") {
            assert_eq!(&told[field], value, "{field}");
        }
    }
    assert_eq!(versions.as_array().map(Vec::len), Some(2));
    let diff = app.recado_json(&["templates", "diff", &id, "2"]).await;
    assert_eq!(diff, app.get(&format!("{there}versions/2/diff/")).await.must_be(200));
    let told = words(&app.recado(&["templates", "diff", &id, "2"]).await);
    for line in
        ["- lo esperamos a las {{Hora}}.", "+ venga a las {{Hora}}.", "  Hola, {{Nombre}}:", "- true", "+ false"]
    {
        assert!(told.contains(line), "{line} is missing in:\n{told}");
    }
    let first = app.recado_json(&["templates", "diff", &id, "1"]).await;
    assert_eq!(first["from"], Value::Null);

    let restored = app.recado_json(&["templates", "restore", &id, "1"]).await;
    assert_eq!((&restored["version"], &restored["is_active"]), (&json!(3), &json!(true)));
    let newest = app.get(&format!("{there}versions/3/")).await.must_be(200);
    assert_eq!((&newest["author"], &newest["restored_from"]), (&json!("recado templates"), &json!(1)));
    app.delete(&there, &json!({})).await.must_be(204);
    assert_eq!(app.recado(&["templates", "show", &id]).await.status.code(), Some(1));
    assert!(words(&app.recado(&["templates", "versions", &id]).await).contains("deleted"));
    assert!(app.recado(&["templates", "restore", &id, "3"]).await.status.success(), "a deleted one is had back");
    assert_eq!(app.acts("template").await.iter().filter(|action| *action == "restore").count(), 2);

    for arguments in [
        &["templates", "diff", &id, "9"][..],
        &["templates", "diff", &id, "1", "--against", "9"],
        &["templates", "restore", &id, "9"],
        &["templates", "versions", "0194830c-7d5a-7000-8000-000000000001"],
        &["templates", "usage", "0194830c-7d5a-7000-8000-000000000001"],
    ] {
        let output = app.recado(arguments).await;
        assert_eq!(output.status.code(), Some(1), "{arguments:?}: {}", errors(&output));
    }
});

story!(a_text_is_found_and_where_it_is_used, async |app: &App| {
    app.live_now();
    let id = write(app).await;
    let list = async |arguments: &[&str]| app.recado_json(&[&["templates", "list"], arguments].concat()).await;
    let found = list(&["--search", "cita de mant", "--channel", "email", "--used"]).await;
    assert_eq!((found.as_array().map(Vec::len), &found[0]["id"]), (Some(1), &json!(id)));
    assert_eq!(list(&["--search", "cita de mant", "--unused"]).await, json!([]));
    let mut same = app.get(&format!("{TEMPLATES}{id}/")).await.must_be(200);
    for field in ["preview", "service_type", "subtype", "phase"] {
        same.as_object_mut().expect("a template").remove(field);
    }
    assert_eq!(found[0], same);
    let shown = words(&app.recado(&["templates", "show", &id]).await);
    for word in ["Cita para {{Placa}}", "lo esperamos", "mantenimiento-preventivo", "Nombre, Hora"] {
        assert!(shown.contains(word), "{word} is missing in:\n{shown}");
    }
    let usage = app.recado_json(&["templates", "usage", &id]).await;
    assert_eq!(usage, app.get(&format!("{TEMPLATES}{id}/usage/")).await.must_be(200));
    assert!(words(&app.recado(&["templates", "usage", &id]).await).contains("best match"));
});

story!(a_text_is_sent_to_oneself, async |app: &App| {
    app.live_now();
    let id = write(app).await;
    let test =
        async |arguments: &[&str]| app.recado(&[&["--json", "templates", "test", &id], arguments].concat()).await;
    let sent = test(&["--to", "ana@example.com", "--set", "nombre=Ana María"]).await;
    assert!(sent.status.success(), "{}", errors(&sent));
    app.notice().await;
    let mails = app.mails();
    assert_eq!(mails.len(), 1);
    assert!(format!("{:?}", mails[0]).contains("Ana María"), "{:?}", mails[0]);
    assert_eq!(app.acts("template").await, ["create", "test"]);

    change(app, &id, json!({"body": "Hola, {{Nombre}}: orden {{Kilometraje}}."})).await;
    for (arguments, status, word) in [
        (&["--to", "ana@example.com"][..], 1, "--set 'Kilometraje=…'"),
        (&["--to", "no-address", "--set", "Kilometraje=7"], 1, "the address is wrong"),
        (&["--customer", "customer-001", "--set", "Kilometraje=7"], 1, "--to"),
        (&[], 2, "--to"),
        (&["--to", "ana@example.com", "--set", "Orden"], 2, "VARIABLE=VALUE"),
    ] {
        let output = test(arguments).await;
        assert_eq!(output.status.code(), Some(status), "{arguments:?}: {}", errors(&output));
        assert!(errors(&output).contains(word), "{arguments:?}: {}", errors(&output));
    }
    assert_eq!(app.mails().len(), 1);
});

// The grid, with the fields of the API.
story!(the_matrix_is_shown, async |app: &App| {
    let shown = app.recado_json(&["matrix", "mantenimiento-preventivo", "--target", "clients"]).await;
    let id = shown[0]["id"].as_str().expect("a matrix");
    let same = app.get(&format!("/api/v1/notifications/orchestration/{id}/")).await.must_be(200);
    assert_eq!((&shown[0]["service_type_name"], &shown[0]["taller_id"]), (&same["service_type_name"], &Value::Null));
    let cells = same["phase_configs"].as_array().expect("cells");
    assert_eq!(shown[0]["phase_configs"].as_array().map(Vec::len), Some(cells.len()));
    for (told, cell) in shown[0]["phase_configs"].as_array().expect("cells").iter().zip(cells) {
        for (field, value) in told.as_object().expect("a cell") {
            assert_eq!(value, &cell[field], "{field}");
        }
    }
    let grid = words(&app.recado(&["matrix", "mantenimiento-preventivo", "--target", "clients"]).await);
    let name = cells.iter().find_map(|cell| cell["effective_template_name"].as_str()).expect("a cell has a text");
    let beginning: String = name.chars().take(20).collect();
    assert!(grid.contains("phase-schedule") && grid.contains(&beginning), "{grid}");
    assert!(words(&app.recado(&["matrix"]).await).contains("mantenimiento-preventivo"));
    assert_eq!(app.recado_json(&["matrix", "--workshop", "taller-1"]).await, json!([]));
    assert_eq!(app.recado(&["matrix", "unicornio"]).await.status.code(), Some(1));
});
