//! The CRM's end: an appointment that took place is told to the commercial application, once.

use recado_sandbox::PartnerFault;
use serde_json::{Value, json};

use crate::harness::app::{App, COMMERCIAL_TOKEN, SECRET_KEY, seconds};
use crate::harness::pair::story;

fn appointment(estado: &str) -> Value {
    json!({
        "estado": estado,
        "lead": {
            "id": "7", "nombre": "Juan Pérez", "celular": "999888777", "distrito": "Lima",
            "proyecto_interes": "OASIS 2 (AUCALLAMA)", "medio": "OPC", "email": null,
        },
        "appointment": {"fecha_hora": "2024-01-15T14:30:00", "lugar": "Sala de ventas"},
    })
}

fn status_url(id: &str) -> String {
    format!("/api/v1/crm/appointments/{id}/status/")
}

fn lead_url(id: &str) -> String {
    format!("/api/v1/crm/leads/{id}/tipificacion/")
}

// S004-1, S004-5, S004-7, S004-10, S004-12: the body and the token of the document, signed besides, in the background.
story!(an_appointment_that_took_place_becomes_a_presence, [SECRET_KEY], async |app: &App| {
    app.post(&status_url("123"), &appointment("Confirmada")).await.must_be(202);
    app.drain().await;
    assert_eq!(app.webhooks().len(), 0, "it did not take place yet");

    let kept = app.post(&status_url("123"), &appointment("Realizada")).await.must_be(202);
    assert_eq!(kept["id_presencia_crm"], "CRM-123");
    assert_eq!(app.webhooks().len(), 0, "the caller waits for nobody else");
    app.drain().await;
    let [told] = app.webhooks().try_into().expect("one presence");
    assert_eq!(told.path, "/presencias/");
    assert_eq!(told.header("x-crm-webhook-token"), Some(COMMERCIAL_TOKEN));
    assert_eq!(told.header("webhook-id"), kept["delivery_id"].as_str());
    assert!(told.header("webhook-signature").is_some_and(|signature| signature.starts_with("v1,")));
    let expected = json!({
        "id_presencia_crm": "CRM-123",
        "cliente": {
            "nombres_completos_razon_social": "Juan Pérez", "tipo_documento": "DNI", "numero_documento": "999888777",
            "telefono_principal": "999888777", "email_principal": null, "direccion": "Lima", "distrito": "Lima",
        },
        "fecha_hora_presencia": "2024-01-15T14:30:00",
        "proyecto_interes": "OASIS 2 (AUCALLAMA)",
        "medio_captacion": "campo_opc",
        "modalidad": "presencial",
        "status_presencia": "realizada",
        "resultado_interaccion": "interesado_seguimiento",
        "observaciones": "Presencia desde CRM. Lugar: Sala de ventas.",
    });
    assert_eq!(told.json(), expected);
    let attempts = app.get(&format!("/api/v1/webhooks/deliveries/{}/", kept["delivery_id"].as_str().unwrap())).await;
    assert!(!attempts.text.contains(COMMERCIAL_TOKEN), "the token is shown nowhere: {}", attempts.text);
});

// What became of each, the one that was told of last first.
story!(appointments_are_listed_with_their_presence, [SECRET_KEY], async |app: &App| {
    let list = async |query: &str| app.get(&format!("/api/v1/crm/appointments/{query}")).await;
    for (id, estado) in [("1", "Confirmada"), ("2", "Realizada"), ("3", "Pendiente")] {
        app.post(&status_url(id), &appointment(estado)).await.must_be(202);
        app.clock.advance(seconds(60));
    }
    app.drain().await;
    let ids = |page: &Value| -> Vec<String> {
        let found = page["results"].as_array().expect("appointments").iter();
        found.map(|one| one["id"].as_str().expect("an id").to_owned()).collect()
    };
    let page = list("?page_size=2").await.must_be(200);
    assert_eq!(ids(&page), ["3", "2"]);
    let realized = &page["results"][1];
    assert!(realized["realized_at"].is_string() && realized["delivery_id"].is_string(), "{realized}");
    assert_eq!((&realized["estado"], &realized["celular"]), (&json!("Realizada"), &json!("999888777")));
    let next = page["next_before"].as_str().expect("there is one more");
    let rest = list(&format!("?page_size=2&before={next}")).await.must_be(200);
    assert_eq!((ids(&rest), &rest["next_before"]), (vec!["1".to_owned()], &Value::Null));
    assert_eq!(ids(&list("?id=2").await.must_be(200)), ["2"]);
    assert!(list("?page_size=0").await.must_be(400).to_string().contains("page_size"));
    assert!(list("?before=ayer").await.must_be(400).to_string().contains("before"));
});

// Who may look sees who came, and not how they are reached.
story!(
    the_list_masks_how_people_are_reached,
    [("ALLOW_ANONYMOUS_API", "false"), ("API_KEYS", "a-key-of-the-environment"), SECRET_KEY],
    async |app: &App| {
        let post = async |path: &str, body: &Value| {
            app.send(app.request(reqwest::Method::POST, path).bearer_auth("a-key-of-the-environment").json(body)).await
        };
        post(&status_url("1"), &appointment("Pendiente")).await.must_be(202);
        let made = post("/api/v1/notifications/api-keys/", &json!({"name": "panel", "scopes": ["read"]})).await;
        let made = made.must_be(201);
        let reader = made["key"].as_str().expect("a key");
        let request = app.request(reqwest::Method::GET, "/api/v1/crm/appointments/").bearer_auth(reader);
        let masked = app.send(request).await.must_be(200);
        assert_eq!(
            (&masked["results"][0]["nombre"], &masked["results"][0]["email"]),
            (&json!("Juan Pérez"), &Value::Null)
        );
        assert!(!masked.to_string().contains("999888777"), "{masked}");
        app.get("/api/v1/crm/appointments/").await.must_be(401);
    }
);

// S004-6: three triggers, one presence, whichever comes first.
story!(whatever_comes_later_sends_no_second_presence, [SECRET_KEY], async |app: &App| {
    for estado in ["Realizada", "Realizada", "Reprogramada", "Realizada", "Cancelada"] {
        app.post(&status_url("9"), &appointment(estado)).await.must_be(202);
    }
    app.post(&lead_url("7"), &json!({"tipificacion": "YA ASISTIO"})).await.must_be(202);
    app.drain().await;
    assert_eq!(app.webhooks().len(), 1);
});

// S004-6: the lead's latest appointment by its hour, not by when it was told.
story!(a_lead_that_attended_becomes_a_presence, [SECRET_KEY], async |app: &App| {
    let mut early = appointment("Pendiente");
    early["appointment"]["fecha_hora"] = "2024-01-10T09:00:00".into();
    app.post(&status_url("2"), &appointment("Confirmada")).await.must_be(202);
    app.post(&status_url("1"), &early).await.must_be(202);
    app.post(&lead_url("7"), &json!({"tipificacion": "NO CONTESTA"})).await.must_be(202);
    app.drain().await;
    assert_eq!(app.webhooks().len(), 0, "other words change nothing");

    app.post(&lead_url("7"), &json!({"tipificacion": "YA ASISTIO"})).await.must_be(202);
    app.post(&lead_url("7"), &json!({"tipificacion": "YA ASISTIO"})).await.must_be(202);
    app.post(&status_url("2"), &appointment("Realizada")).await.must_be(202);
    app.drain().await;
    let [told] = app.webhooks().try_into().expect("one presence");
    assert_eq!(told.json()["id_presencia_crm"], "CRM-2");
    let unknown = app.post(&lead_url("8"), &json!({"tipificacion": "YA ASISTIO"})).await.must_be(404);
    assert!(unknown["detail"].as_str().is_some_and(|text| text.contains('8')), "{unknown}");
});

// S004-6: two triggers in the same moment.
story!(twenty_tellings_at_once_are_one_presence, [SECRET_KEY], async |app: &App| {
    let (url, realized) = (status_url("5"), appointment("Realizada"));
    let answers = futures::future::join_all((0..20).map(|_| app.post(&url, &realized))).await;
    assert!(answers.iter().all(|answer| answer.status == 202), "{:?}", answers.first().map(|answer| &answer.text));
    app.drain().await;
    assert_eq!(app.webhooks().len(), 1);
});

// S004-12: retried by the schedule; the application is down for a while.
story!(a_presence_waits_for_the_application, [SECRET_KEY, ("WEBHOOK_RETRY_SCHEDULE", "10,60")], async |app: &App| {
    app.sandbox.partner.misbehave_times(PartnerFault::status(500), 2);
    app.post(&status_url("1"), &appointment("Realizada")).await.must_be(202);
    app.drain().await;
    app.later(seconds(13)).await;
    assert_eq!(app.webhooks().len(), 2);
    app.later(seconds(73)).await;
    assert_eq!(app.webhooks().len(), 3, "the third attempt arrives");
    let ids: Vec<_> = app.webhooks().iter().map(|one| one.header("webhook-id").map(str::to_owned)).collect();
    assert!(ids.windows(2).all(|pair| pair[0] == pair[1]), "one id for all attempts: {ids:?}");
    app.later(seconds(86_400)).await;
    assert_eq!(app.webhooks().len(), 3);
});

// S004-12: off is no error.
story!(
    without_the_application_everything_else_goes_on,
    [SECRET_KEY, ("COMERCIAL_WEBHOOK_TOKEN", "")],
    async |app: &App| {
        let kept = app.post(&status_url("1"), &appointment("Realizada")).await.must_be(202);
        assert_eq!((&kept["id_presencia_crm"], &kept["delivery_id"]), (&json!("CRM-1"), &Value::Null));
        app.drain().await;
        assert_eq!(app.webhooks().len(), 0);
    }
);

// S004-11
story!(the_integration_can_be_tried, [SECRET_KEY, ("API_KEYS", "a-key-of-the-stories-of-16")], async |app: &App| {
    let url = "/api/test-webhook/";
    assert_eq!(app.send(app.request(reqwest::Method::POST, url)).await.status, 401, "also where the API is open");
    let wrong = app.request(reqwest::Method::POST, url).bearer_auth("a-key-of-somebody-else");
    assert_eq!(app.send(wrong).await.status, 401);

    let with_key = || app.request(reqwest::Method::POST, url).bearer_auth("a-key-of-the-stories-of-16");
    let good = app.working(app.send(with_key())).await.must_be(200);
    assert_eq!((&good["success"], &good["status_code"]), (&json!(true), &json!(200)), "{good}");
    assert_eq!(app.webhooks()[0].json()["cliente"]["numero_documento"], "999888777");

    app.sandbox.partner.misbehave(PartnerFault::status(401));
    let bad = app.working(app.send(with_key())).await.must_be(200);
    assert_eq!((&bad["success"], &bad["status_code"]), (&json!(false), &json!(401)), "{bad}");
    app.later(seconds(86_400)).await;
    assert_eq!(app.webhooks().len(), 2, "a test is tried once");
});

story!(
    the_integration_can_be_tried_when_it_is_off,
    [("COMERCIAL_WEBHOOK_URL", ""), ("API_KEYS", "a-key-of-the-stories-of-16")],
    async |app: &App| {
        let request =
            app.request(reqwest::Method::POST, "/api/test-webhook/").bearer_auth("a-key-of-the-stories-of-16");
        let off = app.send(request).await.must_be(200);
        assert_eq!(off["success"], false);
        assert!(off["response"].as_str().is_some_and(|text| text.contains("COMERCIAL_WEBHOOK_URL")), "{off}");
    }
);

// What is wrong is named, and nothing is sent.
story!(a_wrong_appointment_is_refused, [SECRET_KEY], async |app: &App| {
    let refused = async |pointer: &str, value: Value, field: &str| {
        let mut body = appointment("Realizada");
        *body.pointer_mut(pointer).expect("a field") = value;
        let answer = app.post(&status_url("1"), &body).await;
        assert_eq!(answer.status, 400, "{pointer}: {}", answer.text);
        assert!(answer.text.contains(field), "{pointer}: {}", answer.text);
    };
    refused("/estado", "Hecha".into(), "estado").await;
    refused("/estado", Value::Null, "estado").await;
    refused("/lead/nombre", "".into(), "nombre").await;
    refused("/lead/nombre", Value::Null, "nombre").await;
    refused("/lead/celular", " ".into(), "celular").await;
    refused("/lead", json!([]), "lead").await;
    refused("/appointment/fecha_hora", "mañana".into(), "fecha_hora").await;
    refused("/appointment", Value::Null, "appointment").await;
    app.drain().await;
    assert_eq!(app.webhooks().len(), 0);

    let mut sparse = appointment("Realizada");
    sparse["lead"] = json!({"nombre": "Ana", "celular": "999", "distrito": "", "medio": null});
    sparse["appointment"] = json!({"fecha_hora": "2024-01-15T19:30:00Z"});
    app.post(&status_url("1"), &sparse).await.must_be(202);
    app.drain().await;
    let told = app.webhooks()[0].json();
    assert_eq!(
        (&told["medio_captacion"], &told["fecha_hora_presencia"]),
        (&json!("otro"), &json!("2024-01-15T14:30:00"))
    );
});

// S004-7, d25: the mapping is data.
story!(staff_change_the_mapping, [SECRET_KEY], async |app: &App| {
    let url = "/api/v1/crm/mapping/";
    let mut mapping = app.get(url).await.must_be(200);
    mapping["fields"]["observaciones"] = "Visita de {lead.nombre} ({lead.id})".into();
    mapping["media"]["OPC"] = "campo".into();
    let preview = app.post(&format!("{url}preview/"), &mapping).await.must_be(200);
    assert_eq!(preview["presence"]["observaciones"], "Visita de Juan Pérez (7)");
    assert_eq!(app.get(url).await.must_be(200)["media"]["OPC"], "campo_opc", "a preview keeps nothing");

    mapping["fields"]["edad"] = "{lead.edad}".into();
    let wrong = app.put(url, &mapping).await.must_be(400).to_string();
    assert!(wrong.contains("edad") && wrong.contains("lead.edad"), "{wrong}");
    mapping["fields"].as_object_mut().expect("an object").remove("edad");
    mapping["fields"]["id_presencia_crm"] = "LIMA-{id}".into();
    app.put(url, &mapping).await.must_be(200);
    let kept = app.post(&status_url("1"), &appointment("Realizada")).await.must_be(202);
    assert_eq!(kept["id_presencia_crm"], "LIMA-1", "the answer names what is sent");
    app.drain().await;
    let told = app.webhooks()[0].json();
    assert_eq!(
        (&told["observaciones"], &told["medio_captacion"]),
        (&json!("Visita de Juan Pérez (7)"), &json!("campo"))
    );
});
