//! Staff keep the list of vehicles.

use reqwest::Method;
use serde_json::{Value, json};

use crate::harness::app::App;
use crate::harness::pair::story;

const VEHICLES: &str = "/api/v1/notifications/vehicles/";

fn haval() -> Value {
    json!({"customer_id": "customer-001", "brand": "Haval", "model": "H6", "year": 2024, "plate": " abc123 ",
           "current_kilometers": 24_500, "next_service_kilometers": 30_000})
}

impl App {
    async fn add_vehicle(&self, vehicle: &Value) -> String {
        let created = self.post(VEHICLES, vehicle).await.must_be(201);
        format!("{VEHICLES}{}/", created["id"].as_str().expect("an id"))
    }
}

fn plates(page: &Value) -> Vec<&str> {
    let results = page["results"].as_array().expect("a list").iter();
    results.map(|vehicle| vehicle["plate"].as_str().expect("a plate")).collect()
}

// S002-22, S002-53: written, read, changed, replaced, deleted.
story!(the_life_of_a_vehicle, async |app: &App| {
    app.know_carlos().await;
    let url = app.add_vehicle(&haval()).await;
    let vehicle = app.get(&url).await.must_be(200);
    assert_eq!(
        (&vehicle["plate"], &vehicle["display_name"], &vehicle["remaining_km"]),
        (&json!("ABC123"), &json!("Haval H6 2024"), &json!(5_500))
    );

    let changed = app.patch(&url, &json!({"current_kilometers": 31_000, "year": null})).await.must_be(200);
    assert_eq!(
        (&changed["remaining_km"], &changed["year"], &changed["model"]),
        (&json!(-1_000), &Value::Null, &json!("H6"))
    );
    let whole = json!({"customer_id": "customer-001", "brand": "Haval", "model": "Jolion", "plate": "XYZ789"});
    let replaced = app.put(&url, &whole).await.must_be(200);
    assert_eq!((&replaced["plate"], &replaced["current_kilometers"]), (&json!("XYZ789"), &json!(31_000)));

    app.send(app.request(Method::DELETE, &url)).await.must_be(204);
    app.get(&url).await.must_be(404);
    app.send(app.request(Method::DELETE, &url)).await.must_be(404);
    app.patch(&url, &json!({})).await.must_be(404);
});

// S002-22, S002-64: found by customer or part of a plate, a page at a time.
story!(vehicles_are_found_by_customer_and_by_plate, async |app: &App| {
    app.know_carlos().await;
    for plate in ["PBA_1", "PBA-2", "GYE%3"] {
        let mut vehicle = haval();
        vehicle["plate"] = plate.into();
        app.add_vehicle(&vehicle).await;
    }
    let all = app.get(VEHICLES).await.must_be(200);
    assert_eq!((all["count"].as_i64(), plates(&all)), (Some(3), vec!["GYE%3", "PBA-2", "PBA_1"]));
    for (query, expected) in [
        ("plate=pba", vec!["PBA-2", "PBA_1"]),
        ("plate=_", vec!["PBA_1"]),
        ("search=%25", vec!["GYE%3"]),
        ("customer_id=customer-002", vec![]),
        ("customer_id=customer-001&plate=3", vec!["GYE%3"]),
    ] {
        let found = app.get(&format!("{VEHICLES}?{query}")).await.must_be(200);
        assert_eq!(plates(&found), expected, "{query}");
    }

    let first = app.get(&format!("{VEHICLES}?page_size=2")).await.must_be(200);
    let next = first["next"].as_str().expect("there is another page").strip_prefix(&app.url).expect("our own URL");
    let second = app.get(next).await.must_be(200);
    assert_eq!((plates(&second), &second["next"]), (vec!["PBA_1"], &Value::Null));
    let previous = second["previous"].as_str().expect("there was a page before");
    assert_eq!(app.get(previous.strip_prefix(&app.url).expect("our own URL")).await.must_be(200), first);
    let behind = app.get(&format!("{VEHICLES}?page=9")).await.must_be(404);
    assert_eq!(behind, json!({"detail": "Página inválida."}));
});

// S002-22: what is wrong is named.
story!(a_wrong_vehicle_is_refused, async |app: &App| {
    app.know_carlos().await;
    app.add_vehicle(&haval()).await;
    for (body, field) in [
        (json!({}), "plate"),
        (haval(), "plate"),
        (json!({"customer_id": "nobody", "brand": "Haval", "model": "H6", "plate": "NEW1"}), "customer_id"),
        (json!({"customer_id": "customer-001", "brand": "Haval", "model": "H6", "plate": "NEW1", "year": 3}), "year"),
        (json!({"customer_id": "customer-001", "brand": "Haval", "model": " ", "plate": "NEW1"}), "model"),
    ] {
        let answer = app.post(VEHICLES, &body).await.must_be(400);
        assert!(answer[field][0].is_string(), "{body}: {answer}");
    }
    // URLs are checked, and a vehicle with several mistakes hears of all, what only the database knows included.
    let wrong = json!({"customer_id": "nobody", "brand": "Haval", "model": true, "plate": "abc123", "year": 3,
                       "image_url": "foto.jpg", "last_service_date": "12026-01-01"});
    let answer = app.post(VEHICLES, &wrong).await.must_be(400);
    for field in ["customer_id", "model", "plate", "year", "image_url", "last_service_date"] {
        assert!(answer[field][0].is_string(), "{field}: {answer}");
    }
    let mut other = haval();
    other["plate"] = "XYZ789".into();
    let url = app.add_vehicle(&other).await;
    for answer in [app.put(&url, &json!({"plate": "ABC123"})).await, app.put(&url, &json!({"year": "old"})).await] {
        let answer = answer.must_be(400);
        for field in ["customer_id", "brand", "model"] {
            assert!(answer[field][0].is_string(), "a PUT names what is required: {answer}");
        }
    }
    let answer = app.patch(&url, &json!({"plate": "ABC123", "image_url": "//x"})).await.must_be(400);
    assert!(answer["plate"][0].is_string() && answer["image_url"][0].is_string(), "{answer}");
    let good = json!({"plate": "XYZ789", "image_url": " https://example.com/h6.jpg ", "current_kilometers": "15000.0", "year": ""});
    let changed = app.patch(&url, &good).await.must_be(200);
    assert_eq!(
        (&changed["image_url"], &changed["current_kilometers"]),
        (&json!("https://example.com/h6.jpg"), &json!(15_000))
    );
    app.get(&format!("{VEHICLES}no-uuid/")).await.must_be(404);
    let control = app.get(&format!("{VEHICLES}?plate=%00")).await.must_be(400);
    assert!(control["plate"][0].is_string());
});
