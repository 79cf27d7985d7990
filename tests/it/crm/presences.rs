//! The commercial application's end: presences and sales, each kept once.

use recado_webhooks::signature::Secret;
use reqwest::Method;
use serde_json::{Value, json};

use crate::harness::answer::Answer;
use crate::harness::app::{App, CRM_TOKEN};
use crate::harness::pair::story;

const WEBHOOK: &str = "/api/webhook-presencia-crm/";
const CRM_SECRET: (&str, &str) = ("CRM_WEBHOOK_SECRET", "whsec_MDEyMzQ1Njc4OTAxMjM0NTY3ODkwMTIzNDU2Nzg5MDE=");
const PRESENCES: &str = "/api/v1/crm/presencias/";

/// The body of the document's own test.
fn presence() -> Value {
    json!({
        "id_presencia_crm": "TEST-001",
        "cliente": {
            "nombres_completos_razon_social": "Cliente Test", "tipo_documento": "DNI",
            "numero_documento": "12345678", "telefono_principal": "999888777",
        },
        "fecha_hora_presencia": "2024-01-15T14:30:00",
        "proyecto_interes": "OASIS 2 (AUCALLAMA)",
        "medio_captacion": "campo_opc",
        "modalidad": "presencial",
        "status_presencia": "realizada",
    })
}

async fn tell(app: &App, body: &Value) -> Answer {
    app.send(app.request(Method::POST, WEBHOOK).header("X-CRM-Webhook-Token", CRM_TOKEN).json(body)).await
}

async fn kept(app: &App, id: &str) -> Value {
    app.get(&format!("{PRESENCES}?id_presencia_crm={id}")).await.must_be(200)
}

// S004-2, S004-3, S004-5: the curl of the document.
story!(a_presence_is_kept, async |app: &App| {
    let answer = tell(app, &presence()).await.must_be(200);
    assert_eq!(answer["detail"], "Presencia y vinculación procesadas correctamente.");
    assert!(answer["id_presencia"].is_string() && answer["id_venta"].is_null(), "{answer}");
    let page = kept(app, "TEST-001").await;
    assert_eq!(page["count"], 1);
    let one = &page["results"][0];
    assert_eq!(one["id_presencia"], answer["id_presencia"]);
    assert_eq!(one["cliente"]["numero_documento"], "12345678");
    assert_eq!(one["fecha_hora_presencia"], "2024-01-15T19:30:00.000000Z", "the CRM's wall clock is Lima's");
});

// S004-2: the token, in two values while it is rotated; the API's being open does not count.
story!(only_a_crm_with_the_token_gets_in, [("CRM_WEBHOOK_TOKEN", "old-token-1,new-token-2")], async |app: &App| {
    let with = async |token: Option<&str>| {
        let request = app.request(Method::POST, WEBHOOK).json(&presence());
        app.send(token.into_iter().fold(request, |request, token| request.header("X-CRM-Webhook-Token", token))).await
    };
    for token in ["old-token-1", "new-token-2"] {
        with(Some(token)).await.must_be(200);
    }
    for wrong in [None, Some(""), Some("old-token"), Some("old-token-1,new-token-2")] {
        assert_eq!(with(wrong).await.must_be(401), json!({"detail": "Token de autenticación inválido."}), "{wrong:?}");
    }
});

story!(without_a_token_of_ours_no_one_gets_in, [("CRM_WEBHOOK_TOKEN", "")], async |app: &App| {
    assert_eq!(tell(app, &presence()).await.status, 401);
    let none = app.request(Method::POST, WEBHOOK).header("X-CRM-Webhook-Token", "").json(&presence());
    assert_eq!(app.send(none).await.status, 401);
});

// S004-4: also for twenty at once.
story!(one_presence_per_id_however_often_it_is_told, async |app: &App| {
    let body = presence();
    let answers = futures::future::join_all((0..20).map(|_| tell(app, &body))).await;
    let mut ids: Vec<String> = answers.into_iter().map(|one| one.must_be(200)["id_presencia"].to_string()).collect();
    ids.dedup();
    assert_eq!(ids.len(), 1, "{ids:?}");
    let mut other = presence();
    other["id_presencia_crm"] = "TEST-0011".into();
    let other = tell(app, &other).await.must_be(200);
    assert_ne!(other["id_presencia"].to_string(), ids[0], "an id that begins alike is another");
    assert_eq!(kept(app, "TEST-001").await["count"], 1);
});

// S004-3, S004-4: a sale comes with it or later, once.
story!(a_sale_joins_its_presence, async |app: &App| {
    let first = tell(app, &presence()).await.must_be(200);
    let mut sold = presence();
    sold["venta"] = json!({
        "fecha_venta": "2024-01-15", "lote": "A-12", "tipo_venta": "credito", "plazo_meses_credito": 36,
        "vendedor_principal": "V-7", "valor_lote_venta": "45000.00", "cuota_inicial_requerida": "4500.00", "moneda": "PEN",
    });
    let second = tell(app, &sold).await.must_be(200);
    assert_eq!(second["id_presencia"], first["id_presencia"]);
    assert!(second["id_venta"].is_string(), "{second}");
    assert_eq!(tell(app, &sold).await.must_be(200), second);
    assert_eq!(tell(app, &presence()).await.must_be(200), second);
    assert_eq!(kept(app, "TEST-001").await["results"][0]["id_venta"], second["id_venta"]);
});

// S004-5: what is required, and what the public CRM leaves out.
story!(a_wrong_presence_is_refused_and_a_sparse_one_is_not, async |app: &App| {
    let refused = async |pointer: &str, value: Option<Value>, field: &str| {
        let mut body = presence();
        match value {
            Some(value) => *body.pointer_mut(pointer).expect("a field") = value,
            None => {
                let (object, name) = pointer.rsplit_once('/').expect("a pointer");
                body.pointer_mut(object).and_then(Value::as_object_mut).expect("an object").remove(name);
            }
        }
        let answer = tell(app, &body).await;
        assert_eq!(answer.status, 400, "{pointer}: {}", answer.text);
        assert!(answer.text.contains(field), "{pointer}: {}", answer.text);
    };
    refused("/id_presencia_crm", None, "id_presencia_crm").await;
    refused("/id_presencia_crm", Some(" ".into()), "id_presencia_crm").await;
    refused("/cliente", None, "cliente").await;
    refused("/cliente", Some("Ana".into()), "cliente").await;
    refused("/cliente/nombres_completos_razon_social", None, "nombres_completos_razon_social").await;
    refused("/cliente/numero_documento", Some("".into()), "numero_documento").await;
    refused("/fecha_hora_presencia", None, "fecha_hora_presencia").await;
    refused("/fecha_hora_presencia", Some("ayer".into()), "fecha_hora_presencia").await;
    assert_eq!(kept(app, "TEST-001").await["count"], 0);

    let sparse = json!({
        "id_presencia_crm": "CRM-5",
        "cliente": {
            "nombres_completos_razon_social": "Ana", "numero_documento": "999", "email_principal": null,
            "direccion": "", "distrito": "",
        },
        "fecha_hora_presencia": "2024-01-15T14:30:00Z",
    });
    let answer = app
        .send(
            app.request(Method::POST, "/api/gestion/webhook-presencia-crm/")
                .header("X-CRM-Webhook-Token", CRM_TOKEN)
                .json(&sparse),
        )
        .await;
    answer.must_be(200);
    assert_eq!(kept(app, "CRM-5").await["results"][0]["fecha_hora_presencia"], "2024-01-15T14:30:00.000000Z");
});

// d26: a token can be replayed by anyone who saw it. With a signature demanded the bytes and their time are proved, too; the
// sending end of ours signs so by itself.
story!(a_signature_may_be_demanded, [("CRM_WEBHOOK_REQUIRE_SIGNATURE", "true"), CRM_SECRET], async |app: &App| {
    let secret = Secret::stated(CRM_SECRET.1).expect("a secret");
    let body = presence().to_string();
    let now = app.clock.now().to_utc().timestamp();
    let send = async |headers: &[(&str, &str)], body: &str| {
        let request = app.request(Method::POST, WEBHOOK).header("X-CRM-Webhook-Token", CRM_TOKEN);
        let request = request.header("Content-Type", "application/json").body(body.to_owned());
        app.send(headers.iter().fold(request, |request, (name, value)| request.header(*name, *value))).await
    };
    let at = async |seconds: i64, body: &str, signed: &str| {
        let signature = secret.standard("m", seconds, signed.as_bytes()).expect("base64");
        let time = seconds.to_string();
        send(&[("webhook-id", "m"), ("webhook-timestamp", &time), ("webhook-signature", &signature)], body).await
    };
    at(now, &body, &body).await.must_be(200);
    let other = body.replace("Cliente Test", "Otro");
    let raw = secret.hex(body.as_bytes());
    for refused in [
        send(&[], &body).await,
        send(&[("X-Partner-Signature", &raw)], &body).await,
        at(now - 301, &body, &body).await,
        at(now, &other, &body).await,
    ] {
        assert_eq!(refused.must_be(401), json!({"detail": "Firma inválida"}));
    }
    at(now, "{}", "{}").await.must_be(400);
});
