//! Whether a partner is who it says it is, and who decided that.

use recado_kernel::config::Config;
use recado_queue::context::Context;
use recado_sandbox::PartnerFault;
use recado_worker::Drain;
use reqwest::Method;
use serde_json::{Value, json};

use super::integrations::KEY;
use super::registry::{refused, text};
use crate::harness::app::{App, seconds};
use crate::harness::pair::story;

impl App {
    async fn verify(&self, partner: &str, body: &Value) -> Value {
        self.put(&format!("{partner}/kyc"), body).await.must_be(200)["partner"].clone()
    }

    async fn verification(&self, partner: &str, query: &str) -> Value {
        self.get(&format!("{partner}/kyc{query}")).await.must_be(200)
    }
}

// S001-6, S001-10: every state, documents that are added, and a history of who decided what, when and why.
story!(a_partner_is_verified, async |app: &App| {
    let url = app.partner("uno").await;
    let fresh = app.verification(&url, "").await;
    assert_eq!(
        (&fresh["estado_kyc"], &fresh["historial"], &fresh["total"]),
        (&json!("PENDIENTE"), &json!([]), &json!(0))
    );

    let asked = json!({"estado_kyc": "REQUIERE_DOCUMENTOS", "comentarios": "Falta la cédula\ny el RUT"});
    assert_eq!(app.verify(&url, &asked).await["estado_kyc"], "REQUIERE_DOCUMENTOS");
    app.clock.advance(seconds(60));
    // As the registry's own document does it.
    let approved = json!({
        "estado_kyc": "APROBADO",
        "documentos": {"cedula": "documento_cedula.pdf", "rut": "documento_rut.pdf"},
        "comentarios": "Documentos verificados correctamente"
    });
    let partner = app.verify(&url, &approved).await;
    assert_eq!((&partner["estado_kyc"], &partner["documentos_kyc"]), (&json!("APROBADO"), &approved["documentos"]));
    app.clock.advance(seconds(60));
    let more =
        json!({"estado_kyc": "APROBADO", "documentos": {"rut": null, "camara": {"url": "https://a.example/c.pdf"}}});
    let documents = json!({"cedula": "documento_cedula.pdf", "camara": {"url": "https://a.example/c.pdf"}});
    assert_eq!(app.verify(&url, &more).await["documentos_kyc"], documents);
    app.verify(&url, &json!({"estado_kyc": "APROBADO"})).await;
    for state in ["RECHAZADO", "PENDIENTE"] {
        app.clock.advance(seconds(60));
        assert_eq!(app.verify(&url, &json!({"estado_kyc": state})).await["estado_kyc"], state);
    }
    app.drain().await;

    let verification = app.verification(&url, "").await;
    assert_eq!((&verification["total"], &verification["documentos_kyc"]), (&json!(5), &documents));
    let history = verification["historial"].as_array().expect("a list");
    let steps: Vec<_> = history.iter().map(|entry| text(&entry["paso"])).collect();
    let expected = ["REAPERTURA", "RECHAZO", "COMPLEMENTO", "APROBACION", "SOLICITUD_DE_DOCUMENTOS"];
    assert_eq!(steps, expected, "newest first; what said nothing new is not there");
    let approval = &history[3];
    assert_eq!(
        *approval,
        json!({
            "fecha": "2026-01-20T14:31:00.000000Z",
            "paso": "APROBACION",
            "estado_anterior": "REQUIERE_DOCUMENTOS",
            "estado_nuevo": "APROBADO",
            "documentos": ["cedula", "rut"],
            "comentarios": "Documentos verificados correctamente",
            "decidido_por": "anonymous"
        })
    );
    let second = app.verification(&url, "?page=2&page_size=2").await;
    assert_eq!(
        (second["historial"].as_array().map(Vec::len), &second["historial"][0]["paso"]),
        (Some(2), &json!("COMPLEMENTO"))
    );
});

// S001-6, S001-11: a state that does not exist is KYC_INVALIDO; one that is missing or no text is DATOS_INVALIDOS.
story!(a_wrong_verification_is_refused, async |app: &App| {
    let url = app.partner("uno").await;
    let kyc = format!("{url}/kyc");
    for state in ["APROBADA", "aprobado", "", " APROBADO", "ELIMINADO"] {
        refused(&app.put(&kyc, &json!({"estado_kyc": state})).await, 400, "KYC_INVALIDO");
    }
    let many: serde_json::Map<String, Value> = (0..101).map(|number| (number.to_string(), json!("x"))).collect();
    for (body, field) in [
        (json!({}), "estado_kyc"),
        (json!({"estado_kyc": null}), "estado_kyc"),
        (json!({"estado_kyc": true}), "estado_kyc"),
        (json!({"estado_kyc": "APROBADO", "documentos": ["cedula.pdf"]}), "documentos"),
        (json!({"estado_kyc": "APROBADO", "documentos": {"": "x"}}), "documentos"),
        (json!({"estado_kyc": "APROBADO", "documentos": many}), "documentos"),
        (json!({"estado_kyc": "APROBADO", "documentos": {"archivo": "x".repeat(70_000)}}), "documentos"),
        (json!({"estado_kyc": "APROBADO", "comentarios": 5}), "comentarios"),
        (json!({"estado_kyc": "APROBADO", "comentarios": "x".repeat(2_001)}), "comentarios"),
    ] {
        let error = refused(&app.put(&kyc, &body).await, 400, "DATOS_INVALIDOS");
        assert!(error.starts_with(&format!("{field}: ")), "{field}: {error}");
    }
    refused(&app.put("/api/v1/partners/x/kyc", &json!({"estado_kyc": "APROBADO"})).await, 404, "PARTNER_NO_ENCONTRADO");
    refused(&app.get("/api/v1/partners/x/kyc").await, 404, "PARTNER_NO_ENCONTRADO");
    assert_eq!(app.verification(&url, "").await["total"], 0);
    app.drain().await;
});

// S001-6: the history says which key decided, and does not show it.
story!(
    the_history_names_the_key,
    [("ALLOW_ANONYMOUS_API", "false"), ("API_KEYS", "a-key-of-the-environment")],
    async |app: &App| {
        let ask = async |method: Method, path: &str, body: Value| {
            app.send(app.request(method, path).bearer_auth("a-key-of-the-environment").json(&body)).await
        };
        let partner = json!({"nombre": "uno", "email": "uno@example.com"});
        let created = ask(Method::POST, "/api/v1/partners", partner).await.must_be(201);
        let kyc = format!("/api/v1/partners/{}/kyc", text(&created["partner"]["id"]));
        ask(Method::PUT, &kyc, json!({"estado_kyc": "RECHAZADO"})).await.must_be(200);
        let history = ask(Method::GET, &kyc, json!({})).await.must_be(200)["historial"].clone();
        let who = text(&history[0]["decidido_por"]);
        assert!(who != "anonymous" && who.len() >= 8 && !"a-key-of-the-environment".contains(&who), "{who}");
        app.drain().await;
    }
);

// d22: PARTNER_REQUIRE_KYC counts from the start of the next worker on, for what is being tried as well as for what is new; and
// so does switching it off.
story!(demanding_verification_later_counts_at_once, KEY, async |app: &App| {
    app.findyourwork().await;
    app.drain().await;
    app.sandbox.partner.misbehave(PartnerFault::status(503));
    let event = json!({"event_type": "event.updated", "data": {"reservation_id": "R"}});
    let waiting = app.working(app.post("/partners/findyourwork/events", &event)).await.must_be(202);
    app.sandbox.partner.behave();
    let calls = app.webhooks().len();
    let worker = async |require_kyc: &str| {
        let variables = app.environment(&[KEY[0], ("PARTNER_REQUIRE_KYC", require_kyc)]);
        let config = Config::read(|name| variables.get(name).cloned()).expect("the settings are valid");
        let queue = app.context.queue.clone();
        let context = Context { config: config.into(), queue, ..app.context.clone() };
        Drain::new(context).expect("a worker").run().await.expect("it works");
    };

    worker("true").await;
    app.later(seconds(3600)).await;
    assert_eq!(app.webhooks().len(), calls, "nothing more was tried");
    let url = format!("/api/v1/webhooks/deliveries/{}/", text(&waiting["delivery_id"]));
    assert_eq!(app.get(&url).await.must_be(200)["status"], "cancelled");
    worker("false").await;
    let again = app.working(app.post("/partners/findyourwork/events", &event)).await.must_be(200);
    assert_eq!(again["success"], true, "what it stopped goes on: {again}");
});
