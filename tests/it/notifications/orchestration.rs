//! Staff decide who is told what on which channel.

use reqwest::Method;
use serde_json::{Value, json};

use crate::harness::app::App;
use crate::harness::pair::story;
use crate::harness::sample::{event, event_with};

const ORCHESTRATION: &str = "/api/v1/notifications/orchestration/";
const TEMPLATES: &str = "/api/v1/notifications/templates/";

impl App {
    /// The URL of the seed's configuration that the document's event uses.
    async fn sample_configuration(&self) -> String {
        let query = "service_type_id=mantenimiento-preventivo&target=clients&taller_id=null";
        let page = self.get(&format!("{ORCHESTRATION}?{query}")).await.must_be(200);
        assert_eq!(page["count"], 1);
        format!("{ORCHESTRATION}{}/", page["results"][0]["id"].as_str().expect("an id"))
    }

    async fn write_cells(&self, configuration: &str, cells: &[Value]) -> Value {
        self.post(&format!("{configuration}update_matrix/"), &json!({"configs": cells})).await.must_be(200)
    }
}

fn cell(phase: &str, channel: &str, enabled: bool) -> Value {
    json!({"phase_id": phase, "channel": channel, "enabled": enabled})
}

/// A template for every service and phase.
fn text(channel: &str, target: &str) -> Value {
    json!({"name": "T", "body": "Hola", "channel": channel, "target": target, "service_type": null, "phase": null})
}

// S002-13, S002-49: written, read, changed, replaced, deleted.
story!(the_life_of_a_configuration, async |app: &App| {
    let new = json!({"service_type": "averia-revision", "taller_id": "taller-1", "description": "Nuestro"});
    let created = app.post(ORCHESTRATION, &new).await.must_be(201);
    let url = format!("{ORCHESTRATION}{}/", created["id"].as_str().expect("an id"));
    assert_eq!(app.get(&url).await.must_be(200), created);
    let seen = ["service_type_name", "target", "is_active", "delivery_mode", "phase_configs"];
    assert_eq!(
        seen.map(|field| created[field].clone()),
        [json!("Avería/Revisión"), json!("clients"), json!(true), json!("fallback"), json!([])]
    );

    let changed = app.patch(&url, &json!({"delivery_mode": "all", "taller_id": "taller-2"})).await.must_be(200);
    assert_eq!((&changed["delivery_mode"], &changed["description"]), (&json!("all"), &json!("Nuestro")));
    let service = created["service_type"].clone();
    let replaced = app.put(&url, &json!({"service_type": service, "target": "staff", "taller_id": "t"})).await;
    let replaced = replaced.must_be(200);
    assert_eq!((&replaced["delivery_mode"], &replaced["description"]), (&json!("all"), &json!("Nuestro")));
    let answer = app.put(&url, &json!({"target": "nadie"})).await.must_be(400);
    assert!(answer["service_type"][0].is_string() && answer["target"][0].is_string(), "{answer}");

    app.send(app.request(Method::DELETE, &url)).await.must_be(204);
    app.get(&url).await.must_be(404);
    for answer in [app.patch(&url, &json!({})).await, app.send(app.request(Method::DELETE, &url)).await] {
        answer.must_be(404);
    }
    for action in ["update_matrix", "initialize_phases"] {
        app.post(&format!("{url}{action}/"), &json!({"configs": []})).await.must_be(404);
    }
});

// S002-13, S002-49: what is wrong is named; there is one configuration for a service, an audience and a workshop.
story!(a_wrong_configuration_is_refused, async |app: &App| {
    for (body, field) in [
        (json!({}), "service_type"),
        (json!({"service_type": null}), "service_type"),
        (json!({"service_type": "nada"}), "service_type"),
        (json!({"service_type": "averia-revision", "target": "nadie"}), "target"),
        (json!({"service_type": "averia-revision", "delivery_mode": "both"}), "delivery_mode"),
        (json!({"service_type": "averia-revision", "taller_id": "a\u{7}"}), "taller_id"),
        (json!({"service_type": "averia-revision", "is_active": "tal vez", "taller_id": "t"}), "is_active"),
        (json!({"service_type": "averia-revision", "target": "clients"}), "non_field_errors"),
        (json!({"service_type": "averia-revision", "taller_id": ""}), "non_field_errors"),
    ] {
        let answer = app.post(ORCHESTRATION, &body).await.must_be(400);
        assert!(answer[field][0].is_string(), "{body}: {answer}");
    }
    let several = json!({"service_type": "nada", "target": "nadie", "description": "x".repeat(1_001)});
    let answer = app.post(ORCHESTRATION, &several).await.must_be(400);
    assert_eq!(answer.as_object().map(serde_json::Map::len), Some(3), "all mistakes at once: {answer}");
    let own = json!({"service_type": "averia-revision", "taller_id": "taller-1"});
    let created = app.post(ORCHESTRATION, &own).await.must_be(201);
    let url = format!("{ORCHESTRATION}{}/", created["id"].as_str().expect("an id"));
    let answer = app.patch(&url, &json!({"taller_id": null})).await.must_be(400);
    assert!(answer["non_field_errors"][0].is_string(), "{answer}");
    assert_eq!(app.get(&url).await.must_be(200), created);
});

// S002-13, S002-51, d15: ten configurations of 15 cells, found by service, audience and workshop.
story!(configurations_are_found, async |app: &App| {
    let count = async |query: &str| app.get(&format!("{ORCHESTRATION}?{query}")).await.must_be(200)["count"].clone();
    let page = app.get(ORCHESTRATION).await.must_be(200);
    assert_eq!(page["count"], 10);
    for config in page["results"].as_array().expect("a list") {
        assert_eq!(config["phase_configs"].as_array().map(Vec::len), Some(15), "{config}");
    }
    // d9: the type, and not its subtype of the same slug.
    let paint = app.get(&format!("{ORCHESTRATION}?service_type_id=colision-pintura")).await.must_be(200);
    assert_eq!((&paint["count"], &paint["results"][0]["service_type_name"]), (&json!(2), &json!("Colisión/Pintura")));
    let id = paint["results"][0]["service_type"].as_str().expect("an id");
    assert_eq!(count(&format!("service_type_id={id}&target=staff")).await, 1);
    assert_eq!((count("taller_id=taller-1").await, count("taller_id=null").await), (json!(0), json!(10)));
    for (query, field) in [("service_type_id=nada", "service_type_id"), ("target=nadie", "target")] {
        let answer = app.get(&format!("{ORCHESTRATION}?{query}")).await.must_be(400);
        assert!(answer[field][0].is_string(), "{answer}");
    }
});

// Flow 1 and 2, S002-14: a cell that is switched off counts for the next event.
story!(the_next_event_follows_the_matrix, async |app: &App| {
    app.know_carlos().await;
    let url = app.sample_configuration().await;
    let first = app.accepted(&event()).await;
    assert_eq!(first.notifications[0].channel.as_str(), "email");
    app.write_cells(&url, &[cell("phase-schedule", "email", false)]).await;
    let second = app.accepted(&event()).await;
    assert_eq!(second.notifications[0].channel.as_str(), "whatsapp");
    let off: Vec<_> = second.skipped.iter().map(|skip| (skip.channel.as_str(), skip.reason.as_str())).collect();
    assert!(off.contains(&("email", "disabled_in_matrix")), "{off:?}");
    app.patch(&url, &json!({"is_active": false})).await.must_be(200);
    app.dispatch(&event()).await.must_be(400);
    app.drain().await;
    assert_eq!((app.mails().len(), app.whatsapps().len()), (1, 1));
});

// Flow 1: a workshop's own configuration is used before the global one, and in mode `all` every channel carries the message.
story!(a_workshop_has_a_matrix_of_its_own, async |app: &App| {
    app.know_carlos().await;
    let new = json!({"service_type": "mantenimiento-preventivo", "taller_id": "taller-1", "delivery_mode": "all"});
    let created = app.post(ORCHESTRATION, &new).await.must_be(201);
    let url = format!("{ORCHESTRATION}{}/", created["id"].as_str().expect("an id"));
    let event = event_with(json!({"taller_id": "taller-1"}));
    assert_eq!(app.accepted(&event).await.notifications_queued, 0, "its matrix is empty");

    let whole = app.post(&format!("{url}initialize_phases/"), &json!({})).await.must_be(200);
    let cells = whole["phase_configs"].as_array().expect("a list");
    assert_eq!(cells.len(), 15);
    assert!(cells.iter().all(|cell| cell["enabled"] == false), "{cells:?}");
    assert_eq!((&cells[0]["phase_name"], &cells[14]["phase_name"]), (&json!("Agendar Cita"), &json!("Entrega")));

    app.write_cells(&url, &["email", "whatsapp"].map(|channel| cell("phase-schedule", channel, true))).await;
    assert_eq!(app.accepted(&event).await.notifications_queued, 2);
    app.drain().await;
    assert_eq!((app.mails().len(), app.whatsapps().len()), (1, 1));
});

// S002-15, S002-50: what is there is left as it is, and twice is like once.
story!(initialising_changes_nothing_that_is_there, async |app: &App| {
    let url = app.sample_configuration().await;
    let before = app.get(&url).await.must_be(200);
    app.sql("delete from phase_channel_configs where channel = 'push'").await;
    let once = app.send(app.request(Method::POST, &format!("{url}initialize_phases/"))).await.must_be(200);
    let cells = |config: &Value| config["phase_configs"].as_array().expect("a list").clone();
    assert_eq!(cells(&once).len(), 15);
    for (was, is) in cells(&before).iter().zip(cells(&once)) {
        if was["channel"] == "push" { assert_eq!(is["enabled"], false) } else { assert_eq!(*was, is) }
    }
    assert_eq!(app.send(app.request(Method::POST, &format!("{url}initialize_phases/"))).await.must_be(200), once);
});

// S002-14, S002-50, d15: cells by slug or UUID, new or known; what is not sent stays.
story!(cells_are_written, async |app: &App| {
    let url = app.sample_configuration().await;
    let template = text("email", "clients");
    let template = app.post(TEMPLATES, &template).await.must_be(201)["id"].clone();
    let before = app.get(&url).await.must_be(200);
    let phase = before["phase_configs"][0]["phase"].as_str().expect("an id");
    app.sql("delete from phase_channel_configs where channel = 'whatsapp'").await;

    let mut email = cell(phase, "email", true);
    email["template_id"] = template.clone();
    email["await_receipt"] = "delivered".into();
    email["await_seconds"] = 3_600.into();
    let after = app.write_cells(&url, &[email, cell("phase-schedule", "whatsapp", true)]).await;
    let first = &after["phase_configs"][0];
    assert_eq!((&first["template"], &first["template_name"]), (&template, &json!("T")));
    assert_eq!((&first["await_receipt"], &first["await_seconds"]), (&json!("delivered"), &json!(3_600)));
    assert_eq!(first["id"], before["phase_configs"][0]["id"], "it is still the same cell");
    assert_eq!(after["phase_configs"].as_array().map(Vec::len), Some(11), "10 were left, and one is new");
    assert_eq!(app.get(&url).await.must_be(200), after);

    let off = app.write_cells(&url, &[cell("phase-schedule", "email", false)]).await;
    assert_eq!(
        (&off["phase_configs"][0]["template"], &off["phase_configs"][0]["await_seconds"]),
        (&template, &json!(3_600))
    );
    let mut without = cell("phase-schedule", "email", true);
    without["template_id"] = Value::Null;
    without["await_receipt"] = Value::Null;
    let without = &app.write_cells(&url, &[without]).await["phase_configs"][0];
    assert_eq!(
        (&without["template"], &without["await_receipt"], &without["await_seconds"]),
        (&Value::Null, &Value::Null, &Value::Null)
    );
});

// Flow 4: a template of the event's subtype goes before the one that a cell names for the whole service, and reading the matrix
// says which text is really sent.
story!(cells_say_which_text_is_sent, async |app: &App| {
    app.know_carlos().await;
    let page = app.get(&format!("{ORCHESTRATION}?service_type_id=averia-revision&target=clients")).await.must_be(200);
    let url = format!("{ORCHESTRATION}{}/", page["results"][0]["id"].as_str().expect("an id"));
    let first = &page["results"][0]["phase_configs"][0];
    let best = (first["effective_template"].clone(), first["effective_template_name"].clone());
    assert!(best.0.is_string() && first["template"].is_null(), "{first}");
    assert_eq!(first["effective_by_subtype"], json!([]));

    let mut named = text("email", "clients");
    named["name"] = "Nombrada".into();
    let named = app.post(TEMPLATES, &named).await.must_be(201)["id"].clone();
    let mut pinned = cell("phase-schedule", "email", true);
    pinned["template_id"] = named.clone();
    let mut brakes = text("email", "clients");
    brakes["name"] = "Frenos".into();
    brakes["service_type"] = "averia-revision".into();
    brakes["subtype"] = "averia-frenos".into();
    let brakes = app.post(TEMPLATES, &brakes).await.must_be(201)["id"].clone();
    let after = &app.write_cells(&url, &[pinned]).await["phase_configs"][0];
    assert_eq!((&after["template"], &after["effective_template"]), (&named, &named));
    assert_eq!(after["effective_template_name"], "Nombrada");
    let of_brakes = &after["effective_by_subtype"][0];
    assert_eq!((&of_brakes["subtype_name"], &of_brakes["template"]), (&json!("Frenos"), &brakes));
    assert_eq!(after["effective_by_subtype"].as_array().map(Vec::len), Some(1));

    let template = async |subtype: Value| {
        let event = event_with(json!({"service_type_id": "averia-revision", "subtype_id": subtype}));
        app.accepted(&event).await.notifications[0].template.clone()
    };
    assert_eq!(template(json!("averia-frenos")).await, "Frenos");
    assert_eq!(template(json!("averia-diagnostico")).await, "Nombrada");
    assert_eq!(template(json!("")).await, "Nombrada");

    // A template that is out of use is not what is sent.
    app.patch(&format!("{TEMPLATES}{}/", named.as_str().expect("an id")), &json!({"is_active": false}))
        .await
        .must_be(200);
    let off = &app.get(&url).await.must_be(200)["phase_configs"][0];
    assert_eq!((&off["template"], &off["effective_template"]), (&named, &best.0));
    app.drain().await;
});

// S002-14: every wrong element is named by its number, and nothing is written.
story!(a_matrix_is_written_as_a_whole_or_not_at_all, async |app: &App| {
    let url = app.sample_configuration().await;
    let before = app.get(&url).await.must_be(200);
    let template = text("push", "staff");
    let template = app.post(TEMPLATES, &template).await.must_be(201)["id"].clone();
    let good = || cell("phase-schedule", "email", false);
    let with = |field: &str, value: Value| {
        let mut cell = cell("phase-repair", "email", true);
        cell[field] = value;
        cell
    };
    let staff_push = json!({"phase_id": "phase-repair", "channel": "push", "enabled": true, "template_id": template});
    let post = async |body: &Value| app.post(&format!("{url}update_matrix/"), body).await.must_be(400);
    for (wrong, field) in [
        (json!({}), "phase_id"),
        (with("phase_id", json!("nada")), "phase_id"),
        (with("phase_id", json!(5)), "phase_id"),
        (with("channel", json!("fax")), "channel"),
        (with("channel", Value::Null), "channel"),
        (with("enabled", json!("tal vez")), "enabled"),
        (with("template_id", json!("x")), "template_id"),
        (with("template_id", json!("0197c1e0-7b3a-7c52-9d0e-2f6a1b4c8d90")), "template_id"),
        (with("template_id", template.clone()), "template_id"),
        (staff_push, "template_id"),
        (with("await_receipt", json!("bounced")), "await_receipt"),
        (with("await_receipt", json!("read")), "await_seconds"),
        (with("await_seconds", json!(60)), "await_seconds"),
        (good(), "non_field_errors"),
    ] {
        let answer = post(&json!({"configs": [good(), cell("phase-quality", "push", false), wrong]})).await;
        assert!(answer["configs"]["2"][field][0].is_string(), "{wrong}: {answer}");
        assert_eq!(answer["configs"].as_object().map(serde_json::Map::len), Some(1), "{answer}");
    }
    for body in [json!({}), json!({"configs": null}), json!({"configs": {}}), json!({"configs": [5]})] {
        assert!(post(&body).await["configs"][0].is_string(), "{body}");
    }
    let many = vec![good(); 1_001];
    assert!(post(&json!({"configs": many})).await["configs"][0].is_string());
    assert_eq!(app.get(&url).await.must_be(200), before);
});

// A configuration that is for others now does not go on naming texts that are not for them.
story!(another_audience_gets_no_old_texts, async |app: &App| {
    let created = app.post(ORCHESTRATION, &json!({"service_type": "avaluo-mg", "taller_id": "t"})).await.must_be(201);
    let url = format!("{ORCHESTRATION}{}/", created["id"].as_str().expect("an id"));
    let template = app.post(TEMPLATES, &text("email", "clients")).await.must_be(201);
    let mut named = cell("phase-repair", "email", true);
    named["template_id"] = template["id"].clone();
    assert_eq!(app.write_cells(&url, &[named]).await["phase_configs"][0]["template"], template["id"]);
    let changed = app.patch(&url, &json!({"target": "staff"})).await.must_be(200);
    assert_eq!(changed["phase_configs"][0]["template"], Value::Null);
    assert_eq!(changed["phase_configs"][0]["enabled"], true);
});
