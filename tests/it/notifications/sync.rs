//! What the Core service tells us: customers and vehicles, worked off on queue `sync`.

use recado_notifications::customers::{self, Customer};
use recado_notifications::vehicles::{self, Vehicle};
use reqwest::Method;
use serde_json::json;

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

    app.sync_customer(&json!({"customer_id": "customer-001", "sync_version": 6, "email": null, "phone": null})).await;
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
    app.sync_vehicle(&json!({"customer_id": "customer-001", "plate": "ABC123", "current_kilometers": 9500})).await;
    let vehicle = app.vehicle("ABC123").await;
    assert_eq!((vehicle.display_name().as_str(), vehicle.current_kilometers), ("Haval H6 2024", Some(9500)));
});

// Two vehicles cannot have one plate; the task says so and does not go on for ever.
story!(a_plate_that_is_taken_is_said, async |app: &App| {
    for (id, plate) in [("v-1", "AAA111"), ("v-2", "BBB222")] {
        app.sync_vehicle(&json!({"vehicle_id": id, "customer_id": "customer-001", "plate": plate})).await;
    }
    let accepted =
        app.sync_vehicle(&json!({"vehicle_id": "v-2", "customer_id": "customer-001", "plate": "AAA111"})).await;
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
        (SYNC_CUSTOMER, sample::customer_with(json!({"phone": "call me"})), "phone"),
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
