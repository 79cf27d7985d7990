//! How a partner's systems are connected with ours, and what becomes of their secrets.

use recado_kernel::sql;
use recado_partners::integrations;
use serde_json::{Value, json};

use super::registry::{PARTNERS, refused, text};
use crate::harness::app::App;
use crate::harness::pair::story;

pub(super) const KEY: [(&str, &str); 1] = [("SECRET_KEY", "a-secret-key-for-stories-of-32-or-more")];

/// As the registry's own document makes one.
fn rest() -> Value {
    json!({
        "tipo": "API",
        "nombre": "Integración API REST",
        "descripcion": "Integración para sincronización de datos",
        "configuracion": {"endpoint": "https://api.partner.com/webhook", "api_key": "secret_key_here"}
    })
}

impl App {
    /// Makes an integration, and returns where it is revoked.
    async fn integration(&self, partner: &str, body: &Value) -> String {
        let created = self.post(&format!("{partner}/integraciones"), body).await.must_be(201);
        format!("{PARTNERS}/integraciones/{}/revocar", text(&created["integracion"]["id"]))
    }
}

// S001-7, S001-8, S001-10: every kind; revoked once, with a reason or without.
story!(the_life_of_an_integration, KEY, async |app: &App| {
    let partner = app.partner("uno").await;
    let created = app.post(&format!("{partner}/integraciones"), &rest()).await.must_be(201);
    let made = &created["integracion"];
    assert_eq!((&made["tipo"], &made["activa"]), (&json!("API"), &json!(true)));
    assert_eq!((&made["nombre"], &made["descripcion"]), (&rest()["nombre"], &rest()["descripcion"]));
    assert_eq!(format!("{PARTNERS}/{}", text(&made["partner_id"])), partner);
    assert_eq!(made["fecha_creacion"], "2026-01-20T14:30:00.000000Z");

    let revoke = format!("{PARTNERS}/integraciones/{}/revocar", text(&made["id"]));
    let reason = json!({"motivo": "Cambio de proveedor de servicios"});
    let revoked = app.put(&revoke, &reason).await.must_be(200);
    assert_eq!((&revoked["integracion_id"], &revoked["motivo"]), (&made["id"], &reason["motivo"]));
    refused(&app.put(&revoke, &reason).await, 410, "INTEGRACION_YA_REVOCADA");
    let shown = app.get(&partner).await.must_be(200)["partner"]["integraciones"][0].clone();
    assert_eq!((&shown["activa"], &shown["motivo_revocacion"]), (&json!(false), &reason["motivo"]));
    assert!(shown["fecha_revocacion"].is_string());

    for kind in ["WEBHOOK", "BATCH", "REAL_TIME"] {
        let revoke = app.integration(&partner, &json!({"tipo": kind, "nombre": kind})).await;
        let without_body = app.request(reqwest::Method::PUT, &revoke);
        assert_eq!(app.send(without_body).await.must_be(200)["motivo"], Value::Null);
    }
    for nothing in ["0198c0de-0000-7000-8000-000000000000", "x", "%00"] {
        let url = format!("{PARTNERS}/integraciones/{nothing}/revocar");
        refused(&app.put(&url, &json!({})).await, 404, "INTEGRACION_NO_ENCONTRADA");
    }
    app.drain().await;
});

// S001-7, S001-11: each wrong field is named.
story!(a_wrong_integration_is_refused, KEY, async |app: &App| {
    let partner = app.partner("uno").await;
    let url = format!("{partner}/integraciones");
    let with = |field: &str, value: Value| {
        let mut body = rest();
        body[field] = value;
        body
    };
    for (body, fields) in [
        (json!({}), &["tipo", "nombre"][..]),
        (with("tipo", json!("FTP")), &["tipo"]),
        (with("tipo", json!("api")), &["tipo"]),
        (with("tipo", json!(null)), &["tipo"]),
        (with("tipo", json!(1)), &["tipo"]),
        (with("nombre", json!("")), &["nombre"]),
        (with("nombre", json!("x".repeat(256))), &["nombre"]),
        (with("descripcion", json!([1])), &["descripcion"]),
        (with("configuracion", json!("{}")), &["configuracion"]),
        (with("configuracion", json!([1])), &["configuracion"]),
        (with("configuracion", json!({"a": "x".repeat(70_000)})), &["configuracion"]),
    ] {
        let error = refused(&app.post(&url, &body).await, 400, "DATOS_INVALIDOS");
        for field in fields {
            assert!(error.contains(&format!("{field}: ")), "{field}: {error}");
        }
    }
    refused(&app.post(&format!("{PARTNERS}/x/integraciones"), &rest()).await, 404, "PARTNER_NO_ENCONTRADO");
    let error = refused(
        &app.put(&app.integration(&partner, &rest()).await, &json!({"motivo": 5})).await,
        400,
        "DATOS_INVALIDOS",
    );
    assert!(error.starts_with("motivo: "), "{error}");
    app.drain().await;
});

// S001-13: secrets are in no answer and in no table, and can be opened with SECRET_KEY.
story!(secrets_are_sealed_and_masked, KEY, async |app: &App| {
    let partner = app.partner("uno").await;
    let configuration = json!({
        "endpoint": "https://api.partner.com/webhook",
        "api_key": "leak-1",
        "oauth": {"client_id": "abc", "client_secret": "leak-2", "scopes": ["read"]},
        "servidores": [{"host": "db.example.com", "contraseña": "leak-3"}],
        "headers": [{"name": "Authorization", "value": "leak-4"}],
        "dsn": "https://ana:leak-5@example.com/",
        "activo": true
    });
    let body = json!({"tipo": "API", "nombre": "REST", "configuracion": configuration});
    let created = app.post(&format!("{partner}/integraciones"), &body).await;
    let shown = app.get(&partner).await;
    assert!(!created.text.contains("leak-") && !shown.text.contains("leak-"), "{} {}", created.text, shown.text);
    let shown = shown.must_be(200)["partner"]["integraciones"][0]["configuracion"].clone();
    assert_eq!((&shown["api_key"], &shown["oauth"]["client_id"]), (&json!("********"), &json!("abc")));
    assert_eq!((&shown["endpoint"], &shown["activo"]), (&configuration["endpoint"], &json!(true)));

    let rows: Vec<(String, String)> = sql!(
        all(String, String),
        &mut app.begin().await,
        "select cast(configuration as text), secrets from integraciones"
    )
    .expect("the table is read");
    assert!(rows.len() == 1 && !format!("{rows:?}").contains("leak-"), "{rows:?}");
    let id = text(&created.json()["integracion"]["id"]).parse().expect("an id");
    let integration = integrations::lock(&mut app.begin().await, id).await.expect("read").expect("it is there");
    let opened = integration.open_configuration(app.context.config.secret_key.as_ref());
    assert_eq!(opened, Ok(configuration));
    app.drain().await;
});

// S001-13: without SECRET_KEY no secret is kept, and a caller who asks is told what is missing.
story!(without_a_secret_key_no_secret_is_kept, async |app: &App| {
    let partner = app.partner("uno").await;
    let error = refused(&app.post(&format!("{partner}/integraciones"), &rest()).await, 400, "DATOS_INVALIDOS");
    assert!(error.starts_with("configuracion: ") && error.contains("SECRET_KEY"), "{error}");
    app.integration(
        &partner,
        &json!({"tipo": "API", "nombre": "A", "configuracion": {"endpoint": "https://a.example"}}),
    )
    .await;
    assert_eq!(app.get(&partner).await.must_be(200)["partner"]["integraciones"].as_array().map(Vec::len), Some(1));
    app.drain().await;
});
