//! What the Core service tells us: customers and vehicles, worked off on queue `sync`.

use recado_notifications::customers::{self, Customer};
use recado_notifications::vehicles::{self, Vehicle};
use reqwest::Method;
use serde_json::{Value, json};

use crate::harness::app::{App, SYNC_CUSTOMER, SYNC_VEHICLE};
use crate::harness::pair::story;
use crate::harness::sample;

impl App {
    async fn customer(&self, customer_id: &str) -> Customer {
        customers::find(&mut self.begin().await, customer_id).await.expect("it is read").expect("it exists")
    }

    async fn vehicle(&self, plate: &str) -> Vehicle {
        vehicles::find_by_plate(&mut self.begin().await, plate).await.expect("it is read").expect("it exists")
    }
}

fn haval(id: &str, plate: &str) -> Value {
    json!({"vehicle_id": id, "customer_id": "customer-001", "plate": plate, "brand": "Haval", "model": "H6"})
}

// S002-32, S002-60: the document's body, and where to look for what became of it.
story!(a_customer_is_taken_in, async |app: &App| {
    let accepted = app.sync_customer(&sample::customer()).await;
    assert_eq!((&accepted["status"], &accepted["message"]), (&json!("accepted"), &json!("Customer sync queued")));
    assert_eq!(accepted["customer_id"], "customer-001");
    let carlos = app.customer("customer-001").await;
    assert_eq!((carlos.first_name.as_str(), carlos.last_name.as_str()), ("Carlos", "Mendoza"));
    assert_eq!((carlos.email.as_deref(), carlos.phone.as_deref()), (Some("carlos@example.com"), Some("+593991234567")));

    let task: recado_kernel::ids::Id = accepted["task_id"].as_str().expect("an id").parse().expect("a UUID");
    let status = app.status(task).await;
    assert_eq!((&status["status"], &status["queue"]), (&json!("SUCCESS"), &json!("sync")));
    assert_eq!(status["result"]["outcome"], "created");
});

// S002-60: the body of the wild, with two names and a version.
story!(the_other_form_of_a_customer_is_understood, async |app: &App| {
    app.sync_customer(&json!({
        "customer_id": "customer-001", "first_name": "Ana María", "last_name": "de la Torre", "email": "ANA@example.com",
        "phone": "099 123 4567", "whatsapp": "+593 98 765 4321", "sync_version": 3
    }))
    .await;
    let ana = app.customer("customer-001").await;
    assert_eq!(ana.full_name(), "Ana María de la Torre");
    assert_eq!((ana.phone.as_deref(), ana.whatsapp.as_deref()), (Some("+593991234567"), Some("+593987654321")));
});

// d29: older versions are acknowledged and ignored; what is null or absent erases nothing.
story!(old_and_empty_news_erase_nothing, async |app: &App| {
    app.sync_customer(&sample::customer_with(json!({"sync_version": 5}))).await;
    app.sync_customer(&sample::customer_with(json!({"sync_version": 4, "email": "old@example.com"}))).await;
    assert_eq!(app.customer("customer-001").await.email.as_deref(), Some("carlos@example.com"));

    let empty =
        json!({"customer_id": "customer-001", "name": "Carlos Mendoza", "sync_version": 6, "email": null, "phone": ""});
    app.sync_customer(&empty).await;
    let carlos = app.customer("customer-001").await;
    assert_eq!((carlos.email.as_deref(), carlos.phone.as_deref()), (Some("carlos@example.com"), Some("+593991234567")));

    app.sync_customer(&sample::customer_with(json!({"sync_version": 6, "email": "new@example.com"}))).await;
    assert_eq!(app.customer("customer-001").await.email.as_deref(), Some("new@example.com"));
});

// S002-61, d29: a vehicle may come before its owner.
story!(a_vehicle_is_taken_in_before_its_owner, async |app: &App| {
    let accepted = app
        .sync_vehicle(&json!({
            "vehicle_id": "v-1", "customer_id": "customer-001", "plate": "abc123", "brand": "Haval", "model": "H6",
            "year": 2024, "current_kilometers": 9000, "last_service_date": "2025-12-01", "sync_version": 1
        }))
        .await;
    assert_eq!((&accepted["message"], &accepted["plate"]), (&json!("Vehicle sync queued"), &json!("ABC123")));
    app.sync_vehicle(&json!({"customer_id": "customer-001", "plate": "ABC123", "brand": "Haval", "model": "H6",
                             "current_kilometers": 9500}))
        .await;
    let vehicle = app.vehicle("ABC123").await;
    assert_eq!((vehicle.display_name().as_str(), vehicle.current_kilometers), ("Haval H6 2024", Some(9500)));
});

// Two vehicles cannot have one plate; the task says so and does not go on for ever.
story!(a_plate_that_is_taken_is_said, async |app: &App| {
    for (id, plate) in [("v-1", "AAA111"), ("v-2", "BBB222")] {
        app.sync_vehicle(&haval(id, plate)).await;
    }
    let accepted = app.sync_vehicle(&haval("v-2", "AAA111")).await;
    let task = accepted["task_id"].as_str().expect("an id").parse().expect("a UUID");
    let status = app.status(task).await;
    assert_eq!(status["status"], "FAILURE");
    assert!(status["error"].as_str().expect("a reason").contains("plate"), "{status}");
});

// S002-32: 400 names the fields.
story!(wrong_fields_are_named, async |app: &App| {
    for (path, body, field) in [
        (SYNC_CUSTOMER, json!({"name": "Carlos"}), "customer_id"),
        (SYNC_CUSTOMER, sample::customer_with(json!({"email": "no-at-sign"})), "email"),
        (SYNC_CUSTOMER, sample::customer_with(json!({"phone": "call me after five o'clock"})), "phone"),
        (SYNC_CUSTOMER, sample::customer_with(json!({"name": null})), "name"),
        (SYNC_CUSTOMER, sample::customer_with(json!({"name": " "})), "name"),
        (SYNC_CUSTOMER, sample::customer_with(json!({"name": "x".repeat(256)})), "name"),
        (SYNC_VEHICLE, json!({"customer_id": "customer-001", "plate": "ABC123", "model": "H6"}), "brand"),
        (
            SYNC_VEHICLE,
            json!({"customer_id": "customer-001", "plate": "ABC123", "brand": "Haval", "model": ""}),
            "model",
        ),
        (SYNC_VEHICLE, json!({"customer_id": "customer-001", "plate": "ABC123", "image_url": "S/N"}), "image_url"),
        (SYNC_CUSTOMER, sample::customer_with(json!({"sync_version": "five"})), "sync_version"),
        (SYNC_VEHICLE, json!({"customer_id": "customer-001"}), "plate"),
        (SYNC_VEHICLE, json!({"customer_id": "customer-001", "plate": "ABC123", "year": 3}), "year"),
        (
            SYNC_VEHICLE,
            json!({"customer_id": "customer-001", "plate": "ABC123", "last_service_date": "ayer"}),
            "last_service_date",
        ),
    ] {
        let answer = app.post(path, &body).await.must_be(400);
        assert!(answer[field][0].is_string(), "{body}: {answer}");
    }
});

// What core systems hold in the field of a telephone, typed years ago: the service before took 20 characters of anything. It
// costs that field and is told in the answer and in the task; the customer is synced, and the mail arrives.
story!(a_telephone_that_is_none_costs_that_field, async |app: &App| {
    for (number, phone) in ["S/N", "0", "0991234567 / 0987654321", "no tiene"].into_iter().enumerate() {
        let customer_id = format!("c-{number}");
        let body = json!({"customer_id": customer_id, "name": "Ana Peña", "email": "ana@example.com", "phone": phone});
        let accepted = app.sync_customer(&body).await;
        let warning = &accepted["warnings"][0];
        assert_eq!(
            (&warning["field"], &warning["code"]),
            (&json!("phone"), &json!("not_a_number")),
            "{phone}: {accepted}"
        );
        let task = accepted["task_id"].as_str().expect("an id").parse().expect("a UUID");
        assert_eq!(app.status(task).await["result"]["warnings"], accepted["warnings"]);
        let ana = app.customer(&customer_id).await;
        assert_eq!((ana.email.as_deref(), ana.phone.as_deref()), (Some("ana@example.com"), None));
        app.accepted(&sample::event_with(json!({"customer_id": customer_id}))).await;
    }
    app.drain().await;
    assert_eq!(app.mails().len(), 4);
    let unusual = app.sync_customer(&sample::customer_with(json!({"phone": "+593 0 900 123 456"}))).await;
    assert_eq!(unusual["warnings"][0]["code"], "unusual_number");
    assert_eq!(app.customer("customer-001").await.phone.as_deref(), Some("+593900123456"));
    let good = app.sync_customer(&sample::customer()).await;
    assert_eq!(good["warnings"], Value::Null);
});

// Integers where texts are meant and the other way round, blanks, empty texts, names in front of addresses, names of 255
// characters, the day first: what Django REST framework and the people behind a core system make of it.
story!(a_core_service_syncs_unchanged, async |app: &App| {
    let body = json!({"customer_id": 42, "name": "Ana Peña", "email": " Ana <ana@example.com> ", "phone": 593_991_234_567_i64,
                      "whatsapp": "", "sync_version": "3.0"});
    app.sync_customer(&body).await;
    let ana = app.customer("42").await;
    assert_eq!((ana.email.as_deref(), ana.phone.as_deref()), (Some("ana@example.com"), Some("+593991234567")));
    let long = format!("Ana {}", "ñ".repeat(251));
    app.sync_customer(&json!({"customer_id": "42", "name": long})).await;
    assert_eq!(app.customer("42").await.last_name.chars().count(), 251);

    let body = json!({"vehicle_id": 5, "customer_id": "42", "plate": " abc-1234 ", "brand": "Haval", "model": 6, "year": 2024.0,
                      "current_kilometers": 15000.0, "next_service_kilometers": "20000.00", "last_service_date": "20/01/2026",
                      "image_url": "", "sync_version": ""});
    let accepted = app.sync_vehicle(&body).await;
    assert_eq!((&accepted["customer_id"], &accepted["plate"]), (&json!("42"), &json!("ABC-1234")));
    let vehicle = app.vehicle("ABC-1234").await;
    assert_eq!((vehicle.vehicle_id.as_deref(), vehicle.model.as_str(), vehicle.year), (Some("5"), "6", Some(2024)));
    assert_eq!((vehicle.current_kilometers, vehicle.next_service_kilometers), (Some(15_000), Some(20_000)));
    assert_eq!(vehicle.last_service_date.map(|date| date.to_string()).as_deref(), Some("2026-01-20"));
});

// S002-63: missing or wrong is a 401, on every internal endpoint.
story!(the_internal_secret_is_asked_for, async |app: &App| {
    let task = format!("/api/internal/v1/tasks/{}/status/", "0194830c-7d5a-7000-8000-000000000001");
    for (method, path) in [(Method::POST, SYNC_CUSTOMER), (Method::POST, SYNC_VEHICLE), (Method::GET, task.as_str())] {
        for secret in [None, Some(""), Some("wrong"), Some("internal-secret-of-the-storie")] {
            // Not by `app.request`, which knows the secret.
            let request = app.request(method.clone(), "/");
            let url = format!("{}{path}", app.url).parse().expect("a URL");
            let mut request = request.json(&sample::customer()).build().expect("a request");
            *request.url_mut() = url;
            if let Some(secret) = secret {
                request.headers_mut().insert("X-Internal-Secret", secret.parse().expect("a header"));
            }
            let answer = app.execute(request).await;
            assert_eq!(answer.status, 401, "{method} {path} {secret:?}");
            assert!(answer.json()["detail"].is_string());
        }
    }
});
