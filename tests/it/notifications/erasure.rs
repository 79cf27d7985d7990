//! A person asks to be forgotten.

use std::collections::BTreeSet;
use std::time::Duration;

use futures::future::join_all;
use recado_kernel::db::Db;
use recado_kernel::ids::Id;
use recado_kernel::sql;
use recado_notifications::channels::Channel;
use recado_queue::operations;
use recado_sandbox::{PartnerFault, SmtpFault};
use recado_webhooks::deliveries::attempts::{self, Attempt};
use recado_webhooks::signature::Secret;
use reqwest::Method;
use serde_json::{Value, json};
use sqlx::types::Json;

use crate::harness::app::{App, CRM_TOKEN, DISPATCH, SECRET_KEY, SUBSCRIBE, SYNC_CUSTOMER, operator, seconds, until};
use crate::harness::pair::story;
use crate::harness::sample;
use crate::notifications::customers::CUSTOMERS;

const ZORAIDA: &str = "customer-777";

/// Words that stand nowhere but in what is about her, in lower case.
const HERS: [&str; 8] =
    ["zoraida", "quishpe", "old-mail@", "new-mail@", "985550123", "zqx987", "zqx000", "push-device-of-hers"];

/// What the partner of these stories signs with.
const PARTNERS_SECRET: &str = "whsec_MDEyMzQ1Njc4OTAxMjM0NTY3ODkwMTIzNDU2Nzg5MDE=";

/// A word of the name that several tables know of the other customer.
const HIS: &str = "mendoza";

impl App {
    /// The tables in which a word stands, in whatever column: the schema says which tables and columns there are, so those
    /// that come later count too.
    async fn tables_with(&self, word: &str) -> Vec<String> {
        let mut session = self.begin().await;
        let columns: Vec<(String, String)> = match &self.context.db {
            Db::Postgres { .. } => sql!(
                all(String, String),
                &mut session,
                "select table_name::text, string_agg('coalesce(cast(\"' || column_name || '\" as text), '''')', ' || ' order by ordinal_position)
                 from information_schema.columns where table_schema = 'public' group by table_name order by table_name"
            ),
            Db::Sqlite { .. } => sql!(
                all(String, String),
                &mut session,
                "select m.name, group_concat('coalesce(cast(\"' || c.name || '\" as text), '''')', ' || ')
                 from sqlite_master m join pragma_table_info(m.name) c where m.type = 'table' group by m.name order by m.name"
            ),
        }
        .expect("the schema is read");
        assert!(columns.len() > 15, "{columns:?}");
        let mut found = Vec::new();
        for (table, text) in columns {
            let count: Option<(i64,)> = sql!(
                one(i64,),
                &mut session,
                (&format!("select count(*) from \"{table}\" where lower({text}) like '%{word}%'"))
            )
            .expect("the table is read");
            if count.is_some_and(|(count,)| count > 0) {
                found.push(table);
            }
        }
        found
    }

    async fn sync_zoraida(&self, email: &str) {
        let body = json!({"customer_id": ZORAIDA, "name": "Zoraida Quishpe", "email": email, "phone": "+593985550123"});
        self.sync_customer(&body).await;
    }

    /// Rows that parts of the product write which this story does not play.
    async fn suppress_and_journal(&self) {
        let (mut session, now) = (self.begin().await, self.clock.now());
        for (channel, address) in
            [("email", "old-mail@example.com"), ("whatsapp", "+593985550123"), ("email", "carlos@example.com")]
        {
            sql!(
                run,
                &mut session,
                "insert into suppressions (id, channel, address, reason, detail, created_at)
                 values ($1, $2, $3, 'bounced', $4, $5)",
                Id::new(now),
                channel,
                address,
                format!("550 <{address}>"),
                now
            )
            .expect("it is suppressed");
        }
        sql!(
            run,
            &mut session,
            "insert into journal (id, at, correlation_id, customer_id, kind, facts)
             values ($1, $2, $1, $3, 'skipped', '{\"reason\": \"Zoraida Quishpe has no device\"}')",
            Id::new(now),
            now,
            ZORAIDA
        )
        .expect("it is written");
        session.commit().await.expect("it is committed");
    }

    async fn erase(&self, customer_id: &str) -> Value {
        let url = format!("{CUSTOMERS}{customer_id}/?erase=true");
        self.send(self.request(Method::DELETE, &url)).await.must_be(200)["erased"].clone()
    }
}

fn event() -> Value {
    sample::event_with(json!({
        "customer_id": ZORAIDA,
        "context": {"nombre": "Zoraida Quishpe", "placa": "ZQX987", "vehiculo": "Haval Jolion 2025"}
    }))
}

/// What other systems know of her: webhooks both ways, with what was answered; an itinerary; an appointment, its presence and
/// its sale.
async fn others_know_zoraida(app: &App) {
    app.sandbox.partner.set_secret(PARTNERS_SECRET);
    let url = format!("{}/webhooks/partner/", app.sandbox.partner.url());
    let body = json!({"webhook_url": url, "shared_secret": PARTNERS_SECRET});
    app.post("/partners/register/findyourwork", &body).await.must_be(201);
    let repeats =
        PartnerFault::Status { status: 500, body: "no such guest: NEW-MAIL@example.com".into(), retry_after: None };
    app.sandbox.partner.misbehave_times(repeats, 1);
    for data in [
        json!({"reservation_id": "RES-1", "contact_name": "Zoraida Quishpe", "contact_phone": "098 555-0123"}),
        json!({"reservation_id": "RES-2", "customer_id": ZORAIDA, "notes": "Zoraida"}),
        json!({"reservation_id": "RES-3", "contact_name": "Carlos Mendoza", "contact_phone": "0991234567"}),
    ] {
        let event = json!({"event_type": "event.updated", "data": data});
        app.working(app.post("/partners/findyourwork/events", &event)).await;
    }
    let told = json!({"event_type": "service.booked_for_event", "timestamp": "2026-01-20T14:30:00Z", "source": "findyourwork",
        "data": {"external_event_id": "RES-1", "service_name": "Foto de Zoraida +593 98 555 0123", "provider": "new-mail@example.com"}});
    let told = told.to_string();
    let signature = Secret::stated(PARTNERS_SECRET).expect("a secret").hex(told.as_bytes());
    let request = app.request(Method::POST, "/webhooks/partner/findyourwork").header("X-Partner-Signature", signature);
    app.send(request.header("Content-Type", "application/json").body(told)).await.must_be(200);
    // Refused ones are kept too, in base64.
    for phone in ["098 555-0123", "0991234567"] {
        let refused = json!({"event_type": "service.booked_for_event", "data": {"contact_phone": phone}});
        let request = app.request(Method::POST, "/webhooks/partner/findyourwork").header("X-Partner-Signature", "00");
        app.send(request.json(&refused)).await.must_be(401);
    }

    let appointment = json!({
        "estado": "Realizada",
        "lead": {"nombre": "Zoraida Quishpe", "celular": "985550123", "email": "New-Mail@Example.com"},
        "appointment": {"fecha_hora": "2024-01-15T14:30:00", "lugar": "Casa de Zoraida"},
    });
    app.post("/api/v1/crm/appointments/7/status/", &appointment).await.must_be(202);
    app.drain().await;
    let presence =
        app.webhooks().into_iter().find(|one| one.path.starts_with("/presencias/")).expect("it was told").json();
    let told = app.request(Method::POST, "/api/webhook-presencia-crm/").header("X-CRM-Webhook-Token", CRM_TOKEN);
    let answer = app.send(told.json(&presence)).await;
    assert!(answer.status < 300, "{}", answer.text);
    app.drain().await;
}

/// Everything that the product can know of her. Returns the task of a delivery that is still open.
async fn know_zoraida(app: &App) -> Id {
    // Before she is known, and before she changed her address.
    let deferred = app.post(DISPATCH, &event()).await.must_be(202);
    assert_eq!(deferred["notifications_queued"], 0);
    app.sync_zoraida("old-mail@example.com").await;
    app.later(seconds(2)).await;
    app.sync_zoraida("new-mail@example.com").await;
    for (vehicle_id, plate) in [("v-1", "ZQX987"), ("v-2", "ZQX000"), ("v-2", "ZQX987")] {
        app.sync_vehicle(
            &json!({"vehicle_id": vehicle_id, "customer_id": ZORAIDA, "plate": plate, "brand": "Haval", "model": "H6"}),
        )
        .await;
    }
    let vehicles = app.get(&format!("{CUSTOMERS}{ZORAIDA}/vehicles/")).await.must_be(200);
    app.add_reminder(&json!({
        "vehicle": vehicles[1]["id"], "type": "date", "target_date": "2027-01-20", "description": "Llamar a Zoraida"
    }))
    .await;
    let browser = json!({"customer_id": ZORAIDA, "subscription": app.sandbox.push.subscribe().to_json(),
                         "user_agent": "push-device-of-hers"});
    app.post(SUBSCRIBE, &browser).await.must_be(201);
    app.prefer(ZORAIDA, &[sample::likes(Channel::Email, 1), sample::refuses(Channel::Push)]).await;

    let refusal = |code| SmtpFault::RejectRecipient { code, text: "<new-mail@example.com> Zoraida is away".into() };
    // For good, and not because of the mailbox: that would suppress the address.
    app.sandbox.smtp.misbehave_times(refusal(552), 1);
    let keyed = app.request(Method::POST, DISPATCH).header("Idempotency-Key", "once").json(&event());
    app.send(keyed).await.must_be(202);
    app.drain().await;
    app.sandbox.smtp.misbehave_times(refusal(451), 1);
    let open = app.task_for(&event()).await;
    app.drain().await;
    app.suppress_and_journal().await;
    // News that no one has read yet.
    let news = json!({"customer_id": ZORAIDA, "name": "Zoraida Quishpe"});
    app.post(SYNC_CUSTOMER, &news).await.must_be(202);
    open
}

// Erasing leaves ids, states, times and codes, and nothing that says who it was.
story!(nothing_personal_is_left, [("DISPATCH_UNKNOWN_CUSTOMER", "defer")], async |app: &App| {
    app.know_carlos().await;
    app.task_for(&sample::event()).await;
    app.drain().await;
    let his = app.tables_with(HIS).await;
    let open = know_zoraida(app).await;
    for word in HERS {
        assert!(!app.tables_with(word).await.is_empty(), "{word} is known");
    }
    let (mails, whatsapps) = (app.mails().len(), app.whatsapps().len());

    let erased = app.erase(ZORAIDA).await;
    app.drain().await;
    let expected = [
        ("customers", 1),
        ("preferences", 2),
        ("subscriptions", 1),
        ("vehicles", 2),
        ("reminders", 1),
        // Three events, on mail and WhatsApp each.
        ("notifications", 6),
        // The first event's mail, the second's mail and WhatsApp, the third's mail.
        ("attempts", 4),
        ("cancelled", 2),
        ("suppressions", 2),
        // What was written by hand, and the fallback of the second event.
        ("journal", 2),
    ];
    for (kind, count) in expected {
        assert_eq!(erased[kind], count, "{kind} of {erased}");
    }
    for word in HERS {
        assert_eq!(app.tables_with(word).await, [""; 0], "{word} is forgotten");
    }
    assert_eq!(app.tables_with(HIS).await, his, "nobody else is touched");
    assert!(app.tables_with("carlos@example.com").await.contains(&"suppressions".to_owned()));

    // The log still says what happened, and when.
    assert_eq!(app.chain(open).await, ["email cancelled EMAIL_SEND_FAILED", "whatsapp cancelled"]);
    assert_eq!(app.attempts(open).await, ["email transient 451"]);
    assert_eq!(app.status(open).await["status"], "REVOKED");

    // Nothing leaves any more, no matter who tries, and no one comes back.
    app.later(seconds(2 * 3600)).await;
    let tasks = operations::retry(&app.context, &[open], &operator()).await.expect("it is tried");
    app.drain().await;
    app.later(seconds(3600)).await;
    assert_eq!((tasks, app.mails().len(), app.whatsapps().len()), (vec![open], mails, whatsapps));
    for path in ["", "?erase=true"] {
        app.send(app.request(Method::DELETE, &format!("{CUSTOMERS}{ZORAIDA}/{path}"))).await.must_be(404);
    }
});

// What partners were told of her, told us and answered, and what a CRM knows, is emptied too; what is about others stays.
story!(webhooks_and_appointments_forget_her, [SECRET_KEY], async |app: &App| {
    app.sync_zoraida("old-mail@example.com").await;
    app.later(seconds(2)).await;
    app.sync_zoraida("new-mail@example.com").await;
    others_know_zoraida(app).await;
    let words = ["zoraida", "quishpe", "985550123", "555-0123", "555 0123", "new-mail@", "98 555"];
    for word in words {
        assert!(!app.tables_with(word).await.is_empty(), "{word} is known");
    }
    let tables = [
        "webhook_deliveries",
        "webhook_attempts",
        "partner_inbound_events",
        "partner_event_services",
        "crm_appointments",
        "crm_presences",
    ];
    let known: BTreeSet<String> =
        join_all(words.iter().map(|word| app.tables_with(word))).await.concat().into_iter().collect();
    for table in tables {
        assert!(known.contains(table), "{table} is one of {known:?}");
    }
    let his = app.tables_with(HIS).await;
    let sent = app.webhooks().len();
    let refused = async || app.get("/api/v1/webhooks/inbound/rejected/").await.must_be(200)["count"].clone();
    assert_eq!(refused().await, 2);

    let url = format!("{CUSTOMERS}{ZORAIDA}/?erase=true");
    let answer = app.send(app.request(Method::DELETE, &url)).await.must_be(200);
    assert!(answer["search_id"].is_string(), "{answer}");
    app.drain().await;
    for word in words {
        assert_eq!(app.tables_with(word).await, [""; 0], "{word} is forgotten");
    }
    assert_eq!(app.tables_with(HIS).await, his, "nobody else is touched");
    assert_eq!(refused().await, 1);

    // What was still to be tried is not tried any more, and cannot be sent again.
    app.later(seconds(86_400)).await;
    assert_eq!(app.webhooks().len(), sent);
    let cancelled = app.get("/api/v1/webhooks/deliveries/?status=cancelled").await.must_be(200);
    let id = cancelled["results"][0]["id"].as_str().expect("the one that was open");
    app.send(app.request(Method::POST, &format!("/api/v1/webhooks/deliveries/{id}/replay/"))).await.must_be(409);
    // The same presence again brings nothing back.
    assert_eq!(app.tables_with("quishpe").await, [""; 0]);
});

// An answer that comes after she was forgotten is not kept.
story!(a_late_answer_of_a_partner_is_forgotten, [SECRET_KEY], async |app: &App| {
    app.sync_zoraida("new-mail@example.com").await;
    let url = format!("{}/webhooks/partner/", app.sandbox.partner.url());
    app.post("/partners/register/findyourwork", &json!({"webhook_url": url})).await.must_be(201);
    app.drain().await;
    let slow = PartnerFault::Status { status: 500, body: "Zoraida Quishpe?".into(), retry_after: None };
    app.sandbox.partner.misbehave_times(slow, 1);
    let event =
        json!({"event_type": "event.updated", "data": {"reservation_id": "R", "email": "new-mail@example.com"}});
    app.working(app.post("/partners/findyourwork/events", &event)).await.must_be(202);
    app.send(app.request(Method::DELETE, &format!("{CUSTOMERS}{ZORAIDA}/?erase=true"))).await.must_be(200);
    app.drain().await;
    let mut session = app.begin().await;
    let page: Vec<(Id,)> = sql!(all(Id,), &mut session, "select id from webhook_deliveries").expect("it is read");
    let late = Attempt {
        id: Id::new(app.clock.now()),
        delivery_id: page[0].0,
        number: 2,
        started_at: app.clock.now(),
        duration_ms: 1,
        status_code: Some(500),
        error: None,
        request_headers: Json(json!({})),
        response: Some("Zoraida Quishpe".into()),
    };
    attempts::record(&mut session, &[late]).await.expect("it is written");
    session.commit().await.expect("it is committed");
    assert_eq!(app.tables_with("quishpe").await, [""; 0]);
});

// Those behind a partner are forgotten too, whether it was deleted before or not.
story!(the_people_behind_a_partner_are_forgotten, [SECRET_KEY], async |app: &App| {
    let partner = json!({"nombre": "Quishpe Hermanos", "email": "zoraida@quishpe.example.com", "telefono": "+593 98 555 0123",
                         "direccion": "Casa de Zoraida"});
    let made = app.post("/api/v1/partners", &partner).await.must_be(201);
    let id = made["partner"]["id"].as_str().expect("an id").to_owned();
    let url = format!("/api/v1/partners/{id}");
    app.put(
        &format!("{url}/kyc"),
        &json!({"estado_kyc": "APROBADO", "documentos": {"cedula": "zoraida.pdf"},
                                           "comentarios": "Habló con Zoraida"}),
    )
    .await
    .must_be(200);
    let connected =
        json!({"tipo": "API", "nombre": "De Zoraida", "configuracion": {"contacto": "zoraida@quishpe.example.com"}});
    app.post(&format!("{url}/integraciones"), &connected).await.must_be(201);
    app.drain().await;
    app.send(app.request(Method::DELETE, &url)).await.must_be(200);
    app.drain().await;
    assert!(!app.tables_with("quishpe").await.is_empty(), "a deletion alone keeps them");
    app.send(app.request(Method::DELETE, &format!("{url}?erase=true"))).await.must_be(200);
    for word in ["zoraida", "quishpe", "555 0123"] {
        assert_eq!(app.tables_with(word).await, [""; 0], "{word} is forgotten");
    }
    assert_eq!(app.get(&url).await.must_be(200)["partner"]["estado"], "ELIMINADO");
    app.post("/api/v1/partners", &partner).await.must_be(201);
    app.drain().await;
});

// What a plain deletion left in the log can be erased later.
story!(the_log_of_a_deleted_customer_is_erased, async |app: &App| {
    app.sync_zoraida("old-mail@example.com").await;
    app.task_for(&event()).await;
    app.drain().await;
    app.send(app.request(Method::DELETE, &format!("{CUSTOMERS}{ZORAIDA}/"))).await.must_be(204);
    assert!(!app.tables_with("quishpe").await.is_empty());
    let erased = app.erase(ZORAIDA).await;
    assert_eq!((&erased["customers"], &erased["notifications"]), (&json!(0), &json!(2)));
    app.drain().await;
    assert_eq!(app.tables_with("quishpe").await, [""; 0]);
});

// An address that somebody else has too stays suppressed.
story!(a_shared_address_stays_suppressed, async |app: &App| {
    app.sync_zoraida("carlos@example.com").await;
    app.know_carlos().await;
    app.suppress_and_journal().await;
    assert_eq!(app.erase(ZORAIDA).await["suppressions"], 1, "her number");
    assert!(app.tables_with("carlos@example.com").await.contains(&"suppressions".to_owned()));
    assert_eq!(app.erase("customer-001").await["suppressions"], 1, "nobody else has it any more");
    app.drain().await;
});

// A provider that answers after the person was erased: that the message left is kept, its words are not.
story!(a_late_answer_is_forgotten, async |app: &App| {
    app.sync_zoraida("old-mail@example.com").await;
    app.sandbox.smtp.misbehave_times(SmtpFault::Slow { delay: Duration::from_millis(500) }, 1);
    let task = app.task_for(&event()).await;
    let erasing = async {
        until("the mail is on its way", async || !app.mails().is_empty()).await;
        app.erase(ZORAIDA).await
    };
    let (_, erased) = tokio::join!(app.drain(), erasing);
    assert_eq!((&erased["cancelled"], &erased["attempts"]), (&json!(1), &json!(0)), "the answer came later");
    app.drain().await;
    assert_eq!(app.attempts(task).await, ["email sent 250"]);
    assert_eq!(app.status(task).await["status"], "REVOKED");
    let mut session = app.begin().await;
    let answers: Vec<(Option<String>,)> =
        sql!(all(Option<String>), &mut session, "select provider_answer from attempts").expect("they are read");
    assert_eq!(answers, [(None,)]);
});
