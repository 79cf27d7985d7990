//! What there is to name: phases and types of service.

use reqwest::Method;
use serde_json::{Value, json};

use crate::harness::app::App;
use crate::harness::pair::story;

const PHASES: &str = "/api/v1/notifications/phases/";
const SERVICE_TYPES: &str = "/api/v1/notifications/service-types/";
const CATALOG: &str = "/api/v1/notifications/catalog/";

// S002-11, S002-47: in their order, by slug or UUID, and no one writes them.
story!(phases_are_read, async |app: &App| {
    let page = app.get(PHASES).await.must_be(200);
    let phases = page["results"].as_array().expect("a list");
    let slugs: Vec<&str> = phases.iter().filter_map(|phase| phase["slug"].as_str()).collect();
    assert_eq!(slugs, ["phase-schedule", "phase-reception", "phase-repair", "phase-quality", "phase-delivery"]);
    let orders: Vec<i64> = phases.iter().filter_map(|phase| phase["order"].as_i64()).collect();
    assert_eq!((&page["count"], orders), (&json!(5), vec![1, 2, 3, 4, 5]));
    let first = &phases[0];
    assert_eq!(
        (&first["name"], &first["icon"], &first["is_active"]),
        (&json!("Agendar Cita"), &json!("Calendar"), &json!(true))
    );
    assert!(first["description"].is_string());
    for reference in [first["id"].as_str().expect("an id"), "phase-schedule"] {
        assert_eq!(app.get(&format!("{PHASES}{reference}/")).await.must_be(200), *first);
    }
    app.get(&format!("{PHASES}nada/")).await.must_be(404);
    app.post(PHASES, &json!({})).await.must_be(405);

    // One that is out of use is still shown to staff, and no longer to callers.
    app.sql("update service_phases set is_active = false where slug = 'phase-quality'").await;
    assert_eq!(app.get(&format!("{PHASES}phase-quality/")).await.must_be(200)["is_active"], false);
    assert_eq!(app.get(CATALOG).await.must_be(200)["phases"].as_array().map(Vec::len), Some(4));
});

// S002-12, S002-48, d9: types with their subtypes; a slug that both carry means the type.
story!(types_of_service_are_read, async |app: &App| {
    let page = app.get(SERVICE_TYPES).await.must_be(200);
    let types = page["results"].as_array().expect("a list");
    assert_eq!(page["count"], 5);
    let subtypes: usize = types.iter().filter_map(|one| one["subtypes"].as_array()).map(Vec::len).sum();
    assert_eq!(subtypes, 6);
    let paint = app.get(&format!("{SERVICE_TYPES}colision-pintura/")).await.must_be(200);
    assert_eq!(
        (&paint["name"], &paint["subtypes"][2]["slug"]),
        (&json!("Colisión/Pintura"), &json!("colision-pintura"))
    );
    let by_id = app.get(&format!("{SERVICE_TYPES}{}/", paint["id"].as_str().expect("an id"))).await;
    assert_eq!(by_id.must_be(200), paint);
    for nothing in ["averia-frenos", "nada", "0197c1e0-7b3a-7c52-9d0e-2f6a1b4c8d90"] {
        app.get(&format!("{SERVICE_TYPES}{nothing}/")).await.must_be(404);
    }
    app.send(app.request(Method::DELETE, &format!("{SERVICE_TYPES}colision-pintura/"))).await.must_be(405);
});

// S002-2: a PWA reads the catalogue from whatever origin it was loaded; the rest is not for browsers of other sites.
story!(browsers_may_read_the_catalogue, async |app: &App| {
    let from =
        async |path: &str| app.send(app.request(Method::GET, path).header("Origin", "https://pwa.example.com")).await;
    let answer = from(CATALOG).await;
    assert_eq!((answer.status, answer.header("access-control-allow-origin")), (200, "*"));
    let answer = from(PHASES).await;
    assert_eq!((answer.status, answer.header("access-control-allow-origin")), (200, ""));
    let preflight = app.request(Method::OPTIONS, CATALOG).header("Origin", "https://pwa.example.com");
    let preflight = app.send(preflight.header("Access-Control-Request-Method", "GET")).await;
    assert_eq!((preflight.status, preflight.json()), (200, Value::Null));
});
