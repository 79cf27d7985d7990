//! Staff write the texts, and the next event is told in them.

use recado_sandbox::Mail;
use reqwest::Method;
use serde_json::{Value, json};

use crate::harness::app::{App, DISPATCH};
use crate::harness::pair::story;
use crate::harness::sample::{event, event_with};

const TEMPLATES: &str = "/api/v1/notifications/templates/";
const PREVIEW: &str = "/api/v1/notifications/templates/preview/";
const ORCHESTRATION: &str = "/api/v1/notifications/orchestration/";

/// A text that fits the document's event better than any of the seed.
fn own() -> Value {
    json!({
        "name": "Cita de mantenimiento",
        "subject": "Cita para {{Placa}}",
        "body": "Hola, {{Nombre}}: lo esperamos a las {{Hora}}.",
        "channel": "email",
        "target": "clients",
        "service_type": "mantenimiento-preventivo",
        "phase": "phase-schedule",
        "event_type": "appointment_scheduled"
    })
}

fn own_with(field: &str, value: Value) -> Value {
    let mut template = own();
    template[field] = value;
    template
}

impl App {
    /// Saves a template; returns it and its URL.
    async fn save_template(&self, template: &Value) -> (Value, String) {
        let created = self.post(TEMPLATES, template).await.must_be(201);
        let url = format!("{TEMPLATES}{}/", created["id"].as_str().expect("an id"));
        (created, url)
    }

    async fn count(&self, query: &str) -> i64 {
        self.get(&format!("{TEMPLATES}?{query}")).await.must_be(200)["count"].as_i64().expect("a number")
    }
}

fn names(list: &Value) -> Vec<&str> {
    list.as_array().expect("a list").iter().map(|one| one["name"].as_str().expect("a name")).collect()
}

// S002-4 to S002-7, S002-44: written, read, changed, replaced, deleted.
story!(the_life_of_a_template, async |app: &App| {
    let (created, url) = app.save_template(&own()).await;
    assert_eq!(app.get(&url).await.must_be(200), created);
    let seen = ["service_type_name", "phase_name", "subtype_name", "target", "is_default", "is_active", "taller_id"];
    assert_eq!(
        seen.map(|field| created[field].clone()),
        [
            json!("Mantenimiento Preventivo"),
            json!("Agendar Cita"),
            Value::Null,
            json!("clients"),
            json!(false),
            json!(true),
            Value::Null
        ]
    );
    assert_eq!(created["service_type"], created["service_type_id"]);
    assert_eq!(created["variables"], json!(["Placa", "Nombre", "Hora"]));
    assert_eq!(created["preview"], "Hola, Carlos Mendoza: lo esperamos a las 14:30.");

    app.clock.advance(std::time::Duration::from_secs(60));
    let changed = app.patch(&url, &json!({"subject": "Cita", "phase": null})).await.must_be(200);
    assert_eq!((&changed["subject"], &changed["phase"]), (&json!("Cita"), &Value::Null));
    assert_eq!((&changed["body"], &changed["created_at"]), (&created["body"], &created["created_at"]));
    assert_ne!(changed["updated_at"], created["updated_at"]);

    let whole = json!({"name": "Otra", "body": "<p>{{Kilometraje}} km</p>", "channel": "push", "target": "staff",
                       "service_type": created["service_type"], "phase": null, "is_active": false});
    let replaced = app.put(&url, &whole).await.must_be(200);
    assert_eq!((&replaced["subject"], &replaced["event_type"]), (&changed["subject"], &changed["event_type"]));
    assert_eq!(
        (&replaced["variables"], &replaced["preview"]),
        (&json!(["Kilometraje"]), &json!("<p>[Kilometraje] km</p>"))
    );

    app.send(app.request(Method::DELETE, &url)).await.must_be(204);
    app.get(&url).await.must_be(404);
    app.patch(&url, &json!({})).await.must_be(404);
    app.send(app.request(Method::DELETE, &url)).await.must_be(404);
});

// S002-5, S002-6, S002-44: what is wrong is named, and nothing is written.
story!(a_wrong_template_is_refused, async |app: &App| {
    let before = app.count("").await;
    for (body, field) in [
        (json!({}), "body"),
        (own_with("name", json!(" ")), "name"),
        (own_with("body", json!("")), "body"),
        (own_with("body", json!("Hola {{ Nombre")), "body"),
        (own_with("body", json!("{% include 'x' %}")), "body"),
        (own_with("body", json!("Hola \u{7}")), "body"),
        (own_with("subject", json!("{% if %}")), "subject"),
        (own_with("subject", json!("uno\ndos")), "subject"),
        (own_with("channel", json!("fax")), "channel"),
        (own_with("channel", Value::Null), "channel"),
        (own_with("target", json!("todos")), "target"),
        (own_with("event_type", json!("custom")), "event_type"),
        (own_with("service_type", json!("nada")), "service_type"),
        (own_with("phase", json!("mantenimiento-preventivo")), "phase"),
        (own_with("subtype", json!("averia-frenos")), "subtype"),
        (own_with("taller_id", json!("x".repeat(101))), "taller_id"),
    ] {
        let answer = app.post(TEMPLATES, &body).await.must_be(400);
        assert!(answer[field][0].is_string(), "{field} in {body}: {answer}");
        assert_eq!(
            answer.as_object().map_or(0, serde_json::Map::len),
            if body == json!({}) { 6 } else { 1 },
            "{answer}"
        );
    }
    assert_eq!(app.count("").await, before);

    // All mistakes at once: of a field, of a name that leads nowhere, and of both texts.
    let wrong = json!({"name": "", "channel": "fax", "target": "clients", "subject": "{{ Hora", "body": "{{Placa-Vieja}}",
                       "service_type": "nada", "phase": "nada", "is_active": "quizás"});
    let answer = app.post(TEMPLATES, &wrong).await.must_be(400);
    for field in ["name", "channel", "subject", "body", "service_type", "phase", "is_active"] {
        assert!(answer[field][0].is_string(), "{field}: {answer}");
    }
    // What is not sent is no general text: that has to be said.
    for field in ["target", "service_type", "phase"] {
        let mut whole = own();
        whole.as_object_mut().expect("an object").remove(field);
        let answer = app.post(TEMPLATES, &whole).await.must_be(400);
        assert!(answer[field][0].is_string(), "{field}: {answer}");
        whole[field] = Value::Null;
        assert_eq!(app.post(TEMPLATES, &whole).await.status, if field == "target" { 400 } else { 201 });
    }

    // A subtype must go on belonging to its type.
    let mut brakes = own_with("service_type", json!("averia-revision"));
    brakes["subtype"] = "averia-frenos".into();
    let (_, url) = app.save_template(&brakes).await;
    let answer = app.patch(&url, &json!({"service_type": "colision-pintura"})).await.must_be(400);
    assert!(answer["subtype"][0].is_string(), "{answer}");
    // d9: the subtype of the same slug as its type.
    let paint = json!({"service_type": "colision-pintura", "subtype": "colision-pintura"});
    let painted = app.patch(&url, &paint).await.must_be(200);
    assert_eq!(
        (&painted["service_type_name"], &painted["subtype_name"]),
        (&json!("Colisión/Pintura"), &json!("Pintura"))
    );
});

// Flow 4: a change counts for the next event, in every process, and what was accepted before keeps its words.
story!(the_next_event_is_told_in_the_new_words, async |app: &App| {
    app.know_carlos().await;
    app.accepted(&event()).await;
    let (_, url) = app.save_template(&own()).await;
    app.accepted(&event()).await;
    app.patch(&url, &json!({"body": "<p>{{Nombre}} & compañía</p>"})).await.must_be(200);
    app.accepted(&event_with(json!({"context": {"nombre": "<b>María</b>"}}))).await;
    app.patch(&url, &json!({"is_active": false})).await.must_be(200);
    app.accepted(&event()).await;
    app.drain().await;
    let mails = app.mails();
    let subjects: Vec<&str> = mails.iter().filter_map(Mail::subject).collect();
    let seed = "Mantenimiento agendado: 20 de Enero, 2026, 14:30";
    let mut sorted = subjects.clone();
    sorted.sort_unstable();
    assert_eq!(sorted, ["Cita para ABC123", "Cita para ABC123", seed, seed], "{subjects:?}");
    let says = |words: &str| {
        let texts = mails.iter().filter_map(|mail| mail.html().or(mail.text()));
        texts.filter(|text| text.contains(words)).count()
    };
    assert_eq!(says("lo esperamos a las 14:30."), 1);
    assert_eq!(says("&lt;b&gt;María&lt;/b&gt; & compañía"), 1);
});

// A variable that no one listed must come with the event.
story!(an_unknown_variable_is_allowed_and_then_asked_for, async |app: &App| {
    app.know_carlos().await;
    let (created, _) = app.save_template(&own_with("body", json!("Código {{Código}}"))).await;
    assert_eq!(created["variables"], json!(["Placa", "Código"]));
    let refused = app.dispatch(&event()).await.must_be(400);
    assert_eq!(refused["missing_fields"], json!(["Código"]));
    app.accepted(&event_with(json!({"context": {"codigo": "7"}}))).await;
    app.drain().await;
});

// S002-3, S002-64, d15: found by every filter, with slugs or UUIDs, a page at a time.
story!(templates_are_found, async |app: &App| {
    let all = app.count("").await;
    assert!(all >= 40, "{all}");
    let mut of_workshop = own();
    of_workshop["taller_id"] = "taller-1".into();
    let (own, _) = app.save_template(&of_workshop).await;
    assert_eq!(app.count("").await, all + 1);
    assert_eq!(app.count("search=CITA%20DE%20mantén").await, 1);
    assert_eq!(app.count("taller_id=taller-1&is_active=true&channel=email&target=clients").await, 1);
    assert_eq!(app.count("taller_id=null").await, all);
    assert_eq!(app.count("event_type=appointment_scheduled&taller_id=taller-1").await, 1);
    assert_eq!(app.count("is_active=false").await, 0);
    let [by_slug, by_id] = ["mantenimiento-preventivo", own["service_type"].as_str().expect("an id")]
        .map(|reference| format!("service_type_id={reference}&phase_id=phase-schedule"));
    assert_eq!(app.count(&by_slug).await, app.count(&by_id).await);
    assert!(app.count(&by_slug).await >= 1);
    assert_eq!(app.count("phase_id=0197c1e0-7b3a-7c52-9d0e-2f6a1b4c8d90").await, 0);
    for (query, field) in [
        ("service_type_id=nada", "service_type_id"),
        ("phase_id=nada", "phase_id"),
        ("subtype_id=nada", "subtype_id"),
        ("channel=fax", "channel"),
        ("is_active=quizas", "is_active"),
    ] {
        let answer = app.get(&format!("{TEMPLATES}?{query}")).await.must_be(400);
        assert!(answer[field][0].is_string(), "{answer}");
    }

    let page = app.get(&format!("{TEMPLATES}?page_size=5&search=clientes")).await.must_be(200);
    assert_eq!(page["results"].as_array().map(Vec::len), Some(5));
    let next = page["next"].as_str().expect("there is another page").strip_prefix(&app.url).expect("our own URL");
    let second = app.get(next).await.must_be(200);
    let shown = [names(&page["results"]), names(&second["results"])].concat();
    assert!(shown.is_sorted(), "{shown:?}");
    app.get(&format!("{TEMPLATES}?page=99")).await.must_be(404);
    app.get(&format!("{TEMPLATES}no-uuid/")).await.must_be(404);
});

// S002-8, S002-45: a text is shown as the message would be, and what is missing is listed.
story!(a_text_is_shown_before_it_is_saved, async |app: &App| {
    let shown = async |body: Value| app.post(PREVIEW, &body).await;
    let sample = shown(json!({"body": "Hola {{Nombre}}, {{Vehículo}} ({{Fase}})"})).await.must_be(200);
    assert_eq!(sample, json!({"preview": "Hola Carlos Mendoza, Haval H6 2024 (Recepción)", "is_html": false}));
    let context = json!({"nombre": "<b>Ana</b>", "vehiculo": "H6"});
    let html =
        shown(json!({"subject": "A {{Nombre}}", "body": "<p>{{Nombre}} {{Fase}}</p>", "context": context})).await;
    assert_eq!(
        html.must_be(200),
        json!({"preview": "<p>&lt;b&gt;Ana&lt;/b&gt; Recepción</p>", "subject": "A <b>Ana</b>", "is_html": true})
    );

    let missing = json!({"subject": "{{Orden}}", "body": "{{Nombre}} {{Código}} {% if Hora %}{{Hora}}{% endif %}",
                         "context": {"nombre": "Ana"}});
    assert_eq!(
        shown(missing).await.must_be(400),
        json!({
            "error": "Faltan variables de contexto requeridas",
            "missing_variables": ["Orden", "Código"],
            "hint": "Agregue a `context`: Orden, Código.",
            "template_variables": ["Orden", "Nombre", "Código", "Hora"]
        })
    );
    for (body, field) in [
        (json!({}), "body"),
        (json!({"body": " "}), "body"),
        (json!({"body": "{{ Nombre"}), "body"),
        (json!({"body": "x", "subject": "{% for %}"}), "subject"),
        (json!({"body": "x", "context": {"a": [1]}}), "context"),
        (json!({"body": "x", "context": {"Nombre": "a", "nombre": "b"}}), "context"),
        (json!({"body": "x", "context": 5}), "context"),
        (json!({"body": "{{a}}".repeat(3), "context": {"a": "x".repeat(20_000)}}), "context"),
        (json!({"body": "x", "subject": "{{a}}", "context": {"a": "x".repeat(201)}}), "subject"),
    ] {
        let answer = shown(body.clone()).await.must_be(400);
        assert!(answer[field][0].is_string(), "{body}: {answer}");
    }
});

// Templates of Django move over: minified style sheets (`{#` that is no comment, because comments end on their line), comments,
// `verbatim` and `|default:"…"` are read; what is not is refused with the line and what to write instead.
story!(templates_of_django_move_over, async |app: &App| {
    let css = "<style>@media only screen{#wrap{width:100%}}</style>";
    let body =
        format!("{css}{{% comment %}}\n{{{{ nadie }}}}\n{{% endcomment %}}<p>{{{{ Nombre|default:\"cliente\" }}}}</p>");
    let (created, _) = app.save_template(&own_with("body", json!(body))).await;
    assert_eq!(created["variables"], json!(["Placa", "Nombre"]));
    let shown = app.post(PREVIEW, &json!({"body": body, "context": {}})).await.must_be(200);
    assert_eq!(shown["preview"], format!("{css}<p>cliente</p>"));
    for (text, line, remedy) in [
        ("\n{{ Fecha|date:\"d/m/Y\" }}", "Línea 2: ", "envíe la fecha"),
        ("{% load i18n %}", "Línea 1: ", "quítela"),
        ("{% include \"pie.html\" %}", "Línea 1: ", "escriba aquí"),
        ("{{Placa-Vieja}}", "Línea 1: ", "Placa_Vieja"),
        ("a\n{# nota\n#}", "Línea 2: ", "{% comment %}"),
    ] {
        let answer = app.post(PREVIEW, &json!({"body": text})).await.must_be(400);
        let said = answer["body"][0].as_str().expect("a complaint");
        assert!(said.starts_with(line) && said.contains(remedy), "{text}: {said}");
    }
});

// A value of 10,000 letters that a template repeats 150 times was a 500; it is the caller's to shorten, like a value that is no
// number where the template calculates.
story!(costly_values_are_the_callers_to_mend, async |app: &App| {
    app.know_carlos().await;
    app.save_template(&own_with("body", json!("{{Nota}}".repeat(150)))).await;
    let event = |value: Value| event_with(json!({"context": {"nota": value}}));
    for path in [DISPATCH, &format!("{DISPATCH}?dry_run=true")] {
        let answer = app.post(path, &event(json!("ñ".repeat(10_000)))).await.must_be(400);
        assert!(answer["context"][0].is_string(), "{answer}");
    }
    let shown = json!({"body": "{{Nota}}".repeat(150), "context": {"nota": "ñ".repeat(10_000)}});
    let answer = app.post(PREVIEW, &shown).await.must_be(400);
    assert!(answer["body"][0].is_string(), "{answer}");
    app.clock.advance(std::time::Duration::from_secs(1));
    app.save_template(&own_with("body", json!("{{ Nota|int + 1 }}"))).await;
    app.dispatch(&event(json!("mucho"))).await.must_be(400);
    assert_eq!(app.accepted(&event(json!("1"))).await.notifications_queued, 1);
    app.drain().await;
});

// S002-9, S002-46: the variables, as the document lists them.
story!(the_variables_are_the_documents, async |app: &App| {
    let list = app.get(&format!("{TEMPLATES}variables/")).await.must_be(200);
    let labels: Vec<&str> = list.as_array().expect("a list").iter().filter_map(|one| one["label"].as_str()).collect();
    let expected = "{{Nombre}} {{Placa}} {{Vehículo}} {{Fase}} {{Fecha}} {{Hora}} {{Orden}} {{Técnico}} {{Taller}}";
    assert_eq!(labels.join(" "), expected);
    let third = json!({"id": "vehiculo", "label": "{{Vehículo}}", "description": "Marca y modelo del vehículo",
                       "example": "Haval H6 2024"});
    assert_eq!(list[2], third);
});

// S002-10, d16: the best match, or all that match; 404 when there is none.
story!(a_template_is_found_for_its_context, async |app: &App| {
    let ask = async |query: &str| {
        let context = "service_type_id=averia-revision&phase_id=phase-schedule&channel=email&target=clients";
        app.get(&format!("{TEMPLATES}for_context/?{context}&{query}")).await
    };
    let general = ask("").await.must_be(200);
    assert_eq!(general["channel"], "email");
    let mut brakes = own_with("service_type", json!("averia-revision"));
    brakes["subtype"] = "averia-frenos".into();
    brakes["event_type"] = Value::Null;
    let (brakes, url) = app.save_template(&brakes).await;
    assert_eq!(ask("").await.must_be(200), general, "the variant is for the subtype only");
    assert_eq!(ask("subtype_id=averia-frenos").await.must_be(200), brakes);
    let subtype = brakes["subtype"].as_str().expect("an id");
    let list = ask(&format!("subtype_id={subtype}&all=true")).await.must_be(200);
    assert_eq!((&list[0], &list[1]), (&brakes, &general));

    app.patch(&url, &json!({"taller_id": "taller-1"})).await.must_be(200);
    assert_eq!(ask("subtype_id=averia-frenos").await.must_be(200), general);
    assert_eq!(ask("subtype_id=averia-frenos&taller_id=taller-1").await.must_be(200)["id"], brakes["id"]);

    let refused = app.get(&format!("{TEMPLATES}for_context/?channel=fax")).await.must_be(400);
    for field in ["service_type_id", "phase_id", "channel", "target"] {
        assert!(refused[field][0].is_string(), "{refused}");
    }
    let unknown = ask("subtype_id=colision-golpe").await.must_be(404);
    assert!(unknown["detail"].as_str().is_some_and(|detail| detail.contains("colision-golpe")), "{unknown}");
    app.sql("update templates set is_active = false where channel = 'email'").await;
    ask("").await.must_be(404);
    assert_eq!(ask("all=true").await.must_be(200), json!([]));
});

// Flow 4: a cell may name its template; when that is deleted or no longer fits, the best match is sent again.
story!(a_named_template_may_go, async |app: &App| {
    app.know_carlos().await;
    let unmatched = json!({"name": "Nombrada", "subject": "Nombrada", "body": "Hola", "channel": "email",
                           "target": "clients", "service_type": "avaluo-mg", "phase": null});
    let page = app.get(&format!("{ORCHESTRATION}?service_type_id=mantenimiento-preventivo&target=clients")).await;
    let config = page.must_be(200)["results"][0]["id"].as_str().expect("an id").to_owned();
    let subject = async || {
        app.accepted(&event()).await;
        app.drain().await;
        app.mails().last().and_then(|mail| mail.subject().map(str::to_owned)).expect("a mail with a subject")
    };
    for deed in ["delete", "another channel"] {
        let (named, url) = app.save_template(&unmatched).await;
        let cell =
            json!({"phase_id": "phase-schedule", "channel": "email", "enabled": true, "template_id": named["id"]});
        let matrix = format!("{ORCHESTRATION}{config}/update_matrix/");
        let written = app.post(&matrix, &json!({"configs": [cell]})).await.must_be(200);
        assert_eq!(written["phase_configs"][0]["template_name"], "Nombrada");
        assert_eq!(subject().await, "Nombrada");
        if deed == "delete" {
            app.send(app.request(Method::DELETE, &url)).await.must_be(204);
        } else {
            app.patch(&url, &json!({"channel": "push"})).await.must_be(200);
        }
        let after = app.get(&format!("{ORCHESTRATION}{config}/")).await.must_be(200);
        assert_eq!(after["phase_configs"][0]["template"], Value::Null, "{deed}");
        assert_eq!(subject().await, "Mantenimiento agendado: 20 de Enero, 2026, 14:30", "{deed}");
    }
});

// S002-6: writers wait for each other, so two people who change different fields at once both get what they wrote.
story!(two_editors_lose_nothing, async |app: &App| {
    let (_, url) = app.save_template(&own()).await;
    for round in 0..10 {
        let (name, subject) = (format!("Nombre {round}"), format!("Asunto {round}"));
        let [names, subjects] = [json!({"name": name}), json!({"subject": subject})];
        let (one, other) = tokio::join!(app.patch(&url, &names), app.patch(&url, &subjects));
        one.must_be(200);
        other.must_be(200);
        let template = app.get(&url).await.must_be(200);
        assert_eq!((&template["name"], &template["subject"]), (&json!(name), &json!(subject)));
    }
});
