//! Reservation codes: issued, and found in what customers write.

use recado_kernel::sql;
use serde_json::{Value, json};

use crate::conversations::webhooks::{CUSTOMER, WEBHOOK, hear, reservations};
use crate::harness::app::{App, seconds};
use crate::harness::pair::story;

pub(super) const CODES: &str = "/api/v1/whatsapp/generate-reservation-code/";

/// The experience of the stories, with its organizer and its operator.
pub(super) async fn know_experience(app: &App) {
    for statement in [
        "insert into tour_organizers (id, name, created_at, updated_at) values ('org-1', 'Tours del Sur', '2026-01-01T00:00:00.000000Z', '2026-01-01T00:00:00.000000Z')",
        "insert into tour_operators (id, organizer_id, name, is_system_created, created_at, updated_at)
         values ('0197c1e0-7b3a-7c52-9d0e-2f6a1b4c8d90', 'org-1', 'Tours del Sur', true, '2026-01-01T00:00:00.000000Z', '2026-01-01T00:00:00.000000Z')",
        "insert into tour_experiences (id, title, slug, organizer_id, created_at, updated_at)
         values ('exp-7', 'Islas Ballestas', 'ballestas-paracas', 'org-1', '2026-01-01T00:00:00.000000Z', '2026-01-01T00:00:00.000000Z')",
    ] {
        let mut session = app.begin().await;
        sql!(run, &mut session, (statement)).expect(statement);
        session.commit().await.expect("it is committed");
    }
}

/// A code for the experience of the stories.
pub(super) async fn issue(app: &App) -> String {
    let issued = app.post(CODES, &json!({"experience_id": "exp-7"})).await.must_be(201);
    issued["code"].as_str().expect("a code").to_owned()
}

// S003-23: the shape of a code, and how long it holds.
story!(a_code_is_issued, async |app: &App| {
    know_experience(app).await;
    let body = json!({"experience_id": "exp-7", "checkout_data": {"participants": {"total": 3}}});
    let issued = app.post(CODES, &body).await.must_be(201);
    let code = issued["code"].as_str().expect("a code");
    let random = code.strip_prefix("RES-BALLES-20260120-").expect(code);
    assert!(random.len() == 8 && random.bytes().all(|byte| byte.is_ascii_hexdigit()), "{code}");
    assert_eq!(issued["expires_at"], "2026-01-21T14:30:00.000000Z");
    assert_eq!(issued["product_type"], "experience");
    assert!(issued["code_id"].is_string());
    assert_ne!(issue(app).await, code);
});

// S003-23: what is wrong is named.
story!(without_an_experience_there_is_no_code, async |app: &App| {
    for body in [
        json!({}),
        json!({"experience_id": null}),
        json!({"experience_id": " "}),
        json!({"experience_id": "exp-8"}),
        json!({"experience_id": ["exp-7"]}),
        json!({"experience_id": "x".repeat(101)}),
        json!({"experience_id": "exp\u{7}"}),
    ] {
        let refused = app.post(CODES, &body).await.must_be(400);
        assert!(refused["experience_id"][0].is_string(), "{body} {refused}");
    }
    know_experience(app).await;
    let refused = app.post(CODES, &json!({"experience_id": "exp-7", "checkout_data": [1]})).await.must_be(400);
    assert!(refused["checkout_data"][0].is_string(), "{refused}");
});

// S003-23: an issued code leads to its experience; a code in any case and dress is one code.
story!(a_code_in_a_message_becomes_a_request, async |app: &App| {
    know_experience(app).await;
    let body = json!({"experience_id": "exp-7", "checkout_data": {"participants": {"total": 3}}});
    let code = app.post(CODES, &body).await.must_be(201)["code"].as_str().expect("a code").to_owned();
    let text = format!("Hola, quiero reservar *{}* por favor", code.to_lowercase());
    let answer = hear(app, CUSTOMER, &text).await;
    assert_eq!(answer["status"], "reservation_created", "{answer}");
    let listed = reservations(app, "").await;
    let [request] = listed.as_slice() else { panic!("{listed:?}") };
    assert_eq!(request["id"], answer["reservation_id"]);
    assert_eq!(request["tour_code"], code);
    assert_eq!(request["experience"], json!({"id": "exp-7", "title": "Islas Ballestas"}));
    assert_eq!(request["operator"]["name"], "Tours del Sur");
    assert_eq!((&request["passengers"], &request["customer_phone"]), (&json!(3), &json!(CUSTOMER)));
    app.drain().await;
});

// S003-23: one message, several codes, and the number of people.
story!(several_codes_are_several_requests, async |app: &App| {
    let answer = hear(app, CUSTOMER, "RES-A1 y RES-B2, también res-a1; somos 4 personas. EXPRES-SO").await;
    assert_eq!(answer["status"], "reservation_created");
    let ids = answer["reservation_ids"].as_array().expect("all of them");
    assert_eq!((ids.len(), &ids[0]), (2, &answer["reservation_id"]));
    let listed = reservations(app, "").await;
    assert!(listed.iter().all(|request| request["passengers"] == 4 && request["experience"].is_null()), "{listed:?}");
    let first = reservations(app, "?tour_code=RES-A1").await;
    assert_eq!(first[0]["id"], ids[0]);
});

// S003-23: the same code is one request for ever, however many name it, also when the first was long ago.
story!(a_code_is_one_request_for_ever, async |app: &App| {
    let first = hear(app, CUSTOMER, "RES-A1").await;
    for (phone, text) in [(CUSTOMER, "otra vez RES-A1"), ("593987654321", "res-a1")] {
        let answer = hear(app, phone, text).await;
        assert_eq!(answer["status"], "processed", "{answer}");
        assert!(answer["reservation_id"].is_null());
    }
    app.later(seconds(100 * 24 * 60 * 60)).await;
    assert_eq!(hear(app, CUSTOMER, "RES-A1").await["status"], "processed");
    let mixed = hear(app, CUSTOMER, "RES-A1 RES-B2").await;
    assert_eq!(mixed["status"], "reservation_created");
    assert!(mixed["reservation_ids"].is_null() && mixed["reservation_id"] != first["reservation_id"], "{mixed}");
    assert_eq!(reservations(app, "").await.len(), 2);
});

// d30: no one is told of a code that was not issued here,
story!(an_unknown_code_is_a_request_of_which_no_one_is_told, async |app: &App| {
    let id = hear(app, CUSTOMER, "RES-A1").await["reservation_id"].clone();
    assert_eq!(app.drain().await, 0);
    let request = &reservations(app, "").await[0];
    assert_eq!(
        (&request["status"], &request["operator"], &request["experience"]),
        (&json!("received"), &Value::Null, &Value::Null)
    );
    let story = app
        .get(&format!("/api/v1/superadmin/whatsapp/reservations/{}/", id.as_str().expect("an id")))
        .await
        .must_be(200);
    assert_eq!(
        story["timeline"][0]["text"],
        "Un mensaje nombró el código, que no fue emitido aquí; no se avisa a nadie."
    );
    assert!(app.sandbox.bridge.texts().is_empty());
});

// d30: and where codes must be registered, it is no request.
story!(
    an_unknown_code_is_no_request_where_codes_are_registered,
    [("WHATSAPP_REQUIRE_REGISTERED_CODES", "true")],
    async |app: &App| {
        know_experience(app).await;
        let answer = hear(app, CUSTOMER, "RES-A1").await;
        assert_eq!(answer["status"], "processed", "{answer}");
        let kept =
            app.get(&format!("/api/v1/superadmin/whatsapp/messages/?chat_id={CUSTOMER}@c.us")).await.must_be(200);
        assert_eq!(kept["messages"][0]["reservation_code"], "RES-A1");
        assert!(reservations(app, "").await.is_empty());
        let code = issue(app).await;
        assert_eq!(hear(app, CUSTOMER, &code).await["status"], "reservation_created");
        app.drain().await;
    }
);

// S003-23: what is ours, a status or a channel asks for nothing; a caption does.
story!(only_who_writes_to_us_asks, async |app: &App| {
    let bodies = [
        json!({"id": "1", "chat_id": "593991234567@c.us", "text": "RES-A1", "from_me": true}),
        json!({"id": "2", "chat_id": "status@broadcast", "text": "RES-A1"}),
        json!({"id": "3", "chat_id": "12036@newsletter", "text": "RES-A1"}),
    ];
    for body in bodies {
        let answer = app.post(WEBHOOK, &body).await.must_be(200);
        assert_ne!(answer["status"], "reservation_created", "{answer}");
    }
    assert!(reservations(app, "").await.is_empty());
    let body = json!({"id": "4", "chat_id": "593991234567@c.us", "text": "", "caption": "mi código: RES-A1", "media_type": "image"});
    assert_eq!(app.post(WEBHOOK, &body).await.must_be(200)["status"], "reservation_created");
});
