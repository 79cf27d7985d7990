//! One field for everything.

use recado_kernel::ids::Id;
use serde_json::json;

use crate::harness::app::App;
use crate::harness::browser::Browser;
use crate::harness::pair::story;
use crate::harness::sample;

/// Where a search leads straight.
async fn leads(browser: &Browser, query: &str) -> String {
    let answer = browser.get(&format!("/admin/search/?q={}", query.replace('+', "%2B").replace(' ', "%20"))).await;
    assert_eq!(answer.status, 303, "{query}: {}", answer.text);
    answer.header("location").to_owned()
}

story!(everything_is_found_by_what_one_knows, async |app: &App| {
    app.know_carlos().await;
    app.sync_vehicle(&json!({"customer_id": "customer-001", "plate": "ABC-1234", "brand": "Haval", "model": "H6"}))
        .await;
    app.sql(
        "insert into workshops (id, taller_id, name, is_active, email_enabled, whatsapp_enabled, push_enabled, created_at, updated_at)
         select id, 'norte 1', 'Taller del Norte', true, true, true, true, created_at, created_at from schedules where name = 'cleanup'",
    )
    .await;
    app.sql(
        "insert into reservation_requests (id, code, chat, message, passengers, status, means_spent, tell_failures, timeout_at, created_at, updated_at)
         select id, 'RES-ISLAS-20260120-9F86D081', id, id, 2, 'received', '', 0, created_at, created_at, created_at from schedules where name = 'cleanup'",
    )
    .await;
    app.sql(
        "insert into partners (id, name, email, email_key, status, kyc_status, kyc_documents, created_at, updated_at)
         select id, 'Islas Vivas', 'ventas@example.org', 'ventas@example.org', 'ACTIVO', 'PENDIENTE', '{}', created_at, created_at
         from schedules where name = 'cleanup'",
    )
    .await;
    app.sandbox.smtp.misbehave(recado_sandbox::SmtpFault::reject_data(554));
    let receipt = app.accepted(&sample::event()).await;
    app.drain().await;
    let (task, event) = (receipt.task_id.expect("a task"), receipt.correlation_id);
    let [email, whatsapp] = [&receipt.notifications[0], &receipt.notifications[1]].map(|planned| planned.id);
    let provider = app.whatsapps()[0].id.clone();

    let (operator, viewer) = (app.operator("operator").await, app.operator("viewer").await);
    let customer = "/admin/customers/customer-001/";
    for (query, there) in [
        ("customer-001", customer.to_owned()),
        ("mendoza", customer.to_owned()),
        ("Carlos Mendoza", customer.to_owned()),
        ("CARLOS@example.com", customer.to_owned()),
        ("099 123-4567", customer.to_owned()),
        ("+593 (0)99 123 4567", customer.to_owned()),
        ("00593991234567", customer.to_owned()),
        (&task.to_string(), format!("/admin/tasks/{task}/")),
        (&email.to_string(), format!("/admin/notifications/{email}/")),
        (&whatsapp.to_string(), format!("/admin/notifications/{whatsapp}/")),
        (&provider, format!("/admin/notifications/{whatsapp}/")),
        ("norte 1", "/admin/workshops/norte%201/".to_owned()),
        ("taller del norte", "/admin/workshops/norte%201/".to_owned()),
    ] {
        for browser in [&operator, &viewer] {
            assert_eq!(leads(browser, query).await, there, "{query}");
        }
    }
    assert_eq!(leads(&viewer, &event.to_string()).await, format!("/admin/events/{event}/"));
    for plate in ["abc-1234", "ABC1234", "abc 1234"] {
        assert!(leads(&viewer, plate).await.starts_with("/admin/vehicles/"), "{plate}");
    }
    assert!(leads(&viewer, "res-islas-20260120-9f86d081").await.starts_with("/admin/conversations/requests/"));
    assert!(leads(&viewer, "islas vivas").await.starts_with("/admin/partners/"));
    assert!(leads(&operator, "ventas@example").await.starts_with("/admin/partners/"));

    let page = viewer.page("/admin/search/?q=appointment").await;
    assert!(page.contains("Nothing fits"), "{page}");
    // A part of an address is for those who may see addresses.
    assert!(viewer.page("/admin/search/?q=carlos@exa").await.contains("Nothing fits"));
    assert_eq!(leads(&operator, "carlos@exa").await, customer);
    assert!(viewer.page("/admin/search/?q=ventas@exam").await.contains("Nothing fits"));
});

story!(many_answers_stand_in_groups_and_no_more_than_some, async |app: &App| {
    for number in 0..12 {
        let name = format!("Pedro {number}");
        let customer = json!({"customer_id": format!("p-{number}"), "name": name, "email": null, "phone": null});
        app.sync_customer(&sample::customer_with(customer)).await;
    }
    let viewer = app.operator("viewer").await;
    let page = viewer.page("/admin/search/?q=pedro").await;
    assert_eq!(page.matches("/admin/customers/p-").count(), 10, "{page}");
    assert!(page.contains("There are more"), "{page}");
    let hostile = "%3Cscript%3Ealert(1)%3C/script%3E";
    let page = viewer.page(&format!("/admin/search/?q={hostile}")).await;
    assert!(!page.contains("<script>alert"), "{page}");
    for odd in ["", "%25", "_", "%27%22", "%00", "RES-", &"x".repeat(5_000), &Id::of_name("nothing").to_string()] {
        assert_eq!(viewer.get(&format!("/admin/search/?q={odd}")).await.status, 200, "{odd}");
    }
    assert_eq!(app.browser().get("/admin/search/?q=pedro").await.status, 303);
    let found = app.get("/api/v1/operations/search/?q=pedro").await.must_be(200);
    assert_eq!((found["results"].as_array().map(Vec::len), &found["more_of"]), (Some(10), &json!(["customer"])));
    assert_eq!(found["results"][0]["kind"], "customer");
    app.get(&format!("/api/v1/operations/search/?q={}", "x".repeat(201))).await.must_be(400);
});
