//! Who is told that a service is due, and that failed messages get another chance: the work of the clock.

use recado_notifications::channels::Channel;
use recado_notifications::jobs::{CheckMaintenanceReminders, RetryFailedNotifications};
use recado_sandbox::{EvolutionFault, SmtpFault};
use reqwest::Method;
use serde_json::{Value, json};

use crate::harness::app::{App, at, seconds};
use crate::harness::pair::story;
use crate::harness::sample;

const REMINDERS: &str = "/api/v1/notifications/reminders/";

impl App {
    /// Carlos has a car; returns its id.
    pub(crate) async fn know_the_car(&self, kilometers: i32) -> String {
        self.know_carlos().await;
        self.sync_vehicle(&json!({
            "customer_id": "customer-001", "plate": "ABC123", "brand": "Haval", "model": "H6", "year": 2024,
            "current_kilometers": kilometers
        }))
        .await;
        let found = self.get("/api/v1/notifications/vehicles/?plate=ABC123").await.must_be(200);
        found["results"][0]["id"].as_str().expect("an id").to_owned()
    }

    /// A reminder; returns its URL.
    pub(crate) async fn add_reminder(&self, reminder: &Value) -> String {
        let created = self.post(REMINDERS, reminder).await.must_be(201);
        format!("{REMINDERS}{}/", created["id"].as_str().expect("an id"))
    }

    /// A reminder for the car that Carlos has.
    async fn remind(&self, kind: &str, date: Option<&str>, kilometers: Option<i32>) -> String {
        let found = self.get("/api/v1/notifications/vehicles/?plate=ABC123").await.must_be(200);
        self.add_reminder(&json!({
            "vehicle": found["results"][0]["id"], "type": kind, "description": "Cambio de aceite",
            "target_date": date, "target_kilometers": kilometers
        }))
        .await
    }

    async fn check_reminders(&self) {
        self.enqueue(&CheckMaintenanceReminders {}).await;
        self.drain().await;
    }

    /// Sorted, because ids of the same moment are in no order.
    async fn reminder_statuses(&self) -> Vec<String> {
        let found = self.get(REMINDERS).await.must_be(200);
        let results = found["results"].as_array().expect("a list").iter();
        let mut statuses: Vec<String> =
            results.map(|reminder| reminder["status"].as_str().expect("a status").to_owned()).collect();
        statuses.sort_unstable();
        statuses
    }
}

fn oil(vehicle: &str) -> Value {
    json!({"vehicle": vehicle, "type": "both", "description": "Cambio de aceite", "target_date": "2026-07-20",
           "target_kilometers": 30_000})
}

// S002-23, S002-24, S002-54: written, read, changed, replaced, completed, deleted.
story!(the_life_of_a_reminder, async |app: &App| {
    let vehicle = app.know_the_car(9_000).await;
    let url = app.add_reminder(&oil(&vehicle)).await;
    let reminder = app.get(&url).await.must_be(200);
    let mut expected = oil(&vehicle);
    for (field, value) in [
        ("id", reminder["id"].clone()),
        ("vehicle_plate", json!("ABC123")),
        ("vehicle_display", json!("Haval H6 2024")),
        ("customer_id", json!("customer-001")),
        ("notify_via", json!([])),
        ("status", json!("pending")),
        ("notify_before_days", json!(7)),
        ("notify_before_km", json!(500)),
        ("last_notified_at", Value::Null),
        ("created_at", reminder["created_at"].clone()),
        ("updated_at", reminder["created_at"].clone()),
    ] {
        expected[field] = value;
    }
    assert_eq!(reminder, expected);

    let change = json!({"type": "date", "target_kilometers": null, "notify_via": ["push", "email", "push"]});
    let changed = app.patch(&url, &change).await.must_be(200);
    assert_eq!((&changed["type"], &changed["target_kilometers"]), (&json!("date"), &Value::Null));
    assert_eq!(
        (&changed["notify_via"], &changed["description"]),
        (&json!(["email", "push"]), &json!("Cambio de aceite"))
    );
    let whole =
        json!({"vehicle_id": vehicle, "type": "kilometers", "description": "Frenos", "target_kilometers": 50_000});
    let replaced = app.put(&url, &whole).await.must_be(200);
    assert_eq!((&replaced["target_kilometers"], &replaced["notify_via"]), (&json!(50_000), &changed["notify_via"]));
    let answer = app.put(&url, &json!({"target_kilometers": 1})).await.must_be(400);
    for field in ["vehicle", "type", "description"] {
        assert!(answer[field][0].is_string(), "a PUT names what is required: {answer}");
    }

    app.clock.advance(seconds(60));
    let completed = app.send(app.request(Method::POST, &format!("{url}complete/"))).await.must_be(200);
    assert_eq!(completed["status"], "completed");
    app.clock.advance(seconds(60));
    assert_eq!(app.send(app.request(Method::POST, &format!("{url}complete/"))).await.must_be(200), completed);

    app.send(app.request(Method::DELETE, &url)).await.must_be(204);
    app.get(&url).await.must_be(404);
    app.patch(&url, &json!({})).await.must_be(404);
    app.send(app.request(Method::DELETE, &url)).await.must_be(404);
    app.send(app.request(Method::POST, &format!("{url}complete/"))).await.must_be(404);
});

// S002-21, S002-23, d17: by status, by what is open, by customer and by vehicle.
story!(reminders_are_found, async |app: &App| {
    let vehicle = app.know_the_car(9_000).await;
    let statuses = ["pending", "notified", "overdue", "completed", "cancelled"];
    for status in statuses {
        let mut reminder = oil(&vehicle);
        reminder["status"] = status.into();
        app.add_reminder(&reminder).await;
        app.clock.advance(seconds(1));
    }
    let found = |page: &Value| -> Vec<String> {
        let results = page.as_array().or_else(|| page["results"].as_array()).expect("a list").iter();
        results.map(|reminder| reminder["status"].as_str().expect("a status").to_owned()).collect()
    };
    let newest_first = ["cancelled", "completed", "overdue", "notified", "pending"];
    for (query, expected) in [
        ("", &newest_first[..]),
        ("status=completed", &["completed"]),
        ("open=true", &newest_first[2..]),
        ("open=false", &newest_first[..2]),
        ("open=false&status=pending", &[]),
        ("customer_id=customer-001&page_size=100", &newest_first),
        ("customer_id=customer-002", &[]),
        (&format!("vehicle_id={vehicle}&status=overdue"), &["overdue"]),
        ("vehicle_id=0194830c-7d5a-7000-8000-000000000001", &[]),
    ] {
        assert_eq!(found(&app.get(&format!("{REMINDERS}?{query}")).await.must_be(200)), expected, "{query}");
    }
    let of_carlos = "/api/v1/notifications/customers/customer-001/reminders/";
    assert_eq!(found(&app.get(of_carlos).await.must_be(200)), newest_first);
    assert_eq!(found(&app.get(&format!("{of_carlos}?status=pending")).await.must_be(200)), ["pending"]);
    assert_eq!(app.get(&format!("{REMINDERS}?page_size=2")).await.must_be(200)["count"], 5);
    for (query, field) in [("status=due", "status"), ("open=maybe", "open"), ("vehicle_id=ABC123", "vehicle_id")] {
        let answer = app.get(&format!("{REMINDERS}?{query}")).await.must_be(400);
        assert!(answer[field][0].is_string(), "{query}: {answer}");
    }
    app.get("/api/v1/notifications/customers/customer-002/reminders/").await.must_be(404);
});

// S002-23: what is wrong is named.
story!(a_wrong_reminder_is_refused, async |app: &App| {
    let vehicle = app.know_the_car(9_000).await;
    let oil_with = |field: &str, value: Value| {
        let mut reminder = oil(&vehicle);
        reminder[field] = value;
        reminder
    };
    for (body, field) in [
        (json!({}), "vehicle"),
        (json!({}), "type"),
        (json!({}), "description"),
        (oil_with("vehicle", json!("0194830c-7d5a-7000-8000-000000000001")), "vehicle"),
        (oil_with("vehicle", json!("ABC123")), "vehicle"),
        (oil_with("type", json!("weekly")), "type"),
        (oil_with("target_date", Value::Null), "target_date"),
        (oil_with("target_date", json!("+12026-01-01")), "target_date"),
        (oil_with("target_kilometers", Value::Null), "target_kilometers"),
        (oil_with("target_kilometers", json!(-1)), "target_kilometers"),
        (oil_with("notify_via", json!(["fax"])), "notify_via"),
        (oil_with("notify_via", json!("email")), "notify_via"),
        (oil_with("status", json!("due")), "status"),
        (oil_with("notify_before_days", json!(400)), "notify_before_days"),
        (oil_with("description", json!(" ")), "description"),
    ] {
        let answer = app.post(REMINDERS, &body).await.must_be(400);
        assert!(answer[field][0].is_string(), "{body}: {answer}");
    }
    let nowhere = json!({"vehicle": "0194830c-7d5a-7000-8000-000000000001", "type": "weekly", "description": ""});
    let answer = app.post(REMINDERS, &nowhere).await.must_be(400);
    for field in ["vehicle", "type", "description"] {
        assert!(answer[field][0].is_string(), "all mistakes at once: {answer}");
    }
    let url = app.add_reminder(&oil(&vehicle)).await;
    let answer = app.patch(&url, &json!({"type": "date", "target_date": null})).await.must_be(400);
    assert!(answer["target_date"][0].is_string(), "{answer}");
});

// S002-54: the reminder's own channels announce it, and no others; an opt-out still counts.
story!(a_reminder_comes_by_the_channels_that_it_names, async |app: &App| {
    app.know_the_car(9_000).await;
    let url = app.remind("date", Some("2026-01-21"), None).await;
    app.patch(&url, &json!({"notify_via": ["whatsapp", "push"]})).await.must_be(200);
    app.prefer("customer-001", &[sample::refuses(Channel::Whatsapp)]).await;
    app.check_reminders().await;
    assert_eq!((app.mails().len(), app.whatsapps().len()), (0, 0));
    assert_eq!(app.reminder_statuses().await, ["pending"], "it is tried again tomorrow");

    app.prefer("customer-001", &[sample::likes(Channel::Whatsapp, 2)]).await;
    app.check_reminders().await;
    assert_eq!((app.mails().len(), app.whatsapps().len()), (0, 1));
    assert_eq!(app.reminder_statuses().await, ["notified"]);
});

// d17, d18: a reminder that is opened again is announced again, once.
story!(a_reminder_that_is_opened_again_is_announced_again, async |app: &App| {
    app.know_the_car(9_000).await;
    let url = app.remind("date", Some("2026-01-21"), None).await;
    app.check_reminders().await;
    app.send(app.request(Method::POST, &format!("{url}complete/"))).await.must_be(200);
    app.check_reminders().await;
    assert_eq!(app.mails().len(), 1);

    app.patch(&url, &json!({"status": "pending", "target_date": "2026-01-22"})).await.must_be(200);
    app.patch(&url, &json!({"status": "pending"})).await.must_be(200);
    app.check_reminders().await;
    app.check_reminders().await;
    assert_eq!(app.mails().len(), 2);
    let reminder = app.get(&url).await.must_be(200);
    assert_eq!((&reminder["status"], reminder["last_notified_at"].is_string()), (&json!("notified"), true));

    // Written as a whole it stays announced.
    let vehicle = reminder["vehicle"].clone();
    let whole = json!({"vehicle": vehicle, "type": "date", "description": "Frenos", "target_date": "2026-01-22"});
    assert_eq!(app.put(&url, &whole).await.must_be(200)["status"], "notified");
    app.check_reminders().await;
    assert_eq!(app.mails().len(), 2);
});

// S002-80: every day at 08:00 in Guayaquil, all who are due within a week.
story!(a_date_that_is_near_is_announced_at_eight, async |app: &App| {
    app.know_the_car(9_000).await;
    app.remind("date", Some("2026-01-28"), None).await;
    app.remind("date", Some("2026-01-29"), None).await;
    app.sweep().await;
    app.clock.set(at("2026-01-21T12:59:59Z"));
    app.later(seconds(0)).await;
    assert!(app.mails().is_empty());
    app.later(seconds(1)).await;

    let [mail] = app.mails().try_into().expect("one mail: the other reminder is due tomorrow");
    let text = mail.text().expect("a text");
    for word in ["Carlos Mendoza", "Haval H6 2024", "Cambio de aceite"] {
        assert!(text.contains(word), "{word}: {text}");
    }
    assert_eq!(app.reminder_statuses().await, ["notified", "pending"]);

    app.clock.set(at("2026-01-22T13:00:00Z"));
    app.later(seconds(0)).await;
    assert_eq!(app.mails().len(), 2, "each is announced once");
});

// d18: also when the job runs twice at the same time, or again after a crash.
story!(a_cycle_is_announced_once, async |app: &App| {
    app.know_the_car(9_000).await;
    app.remind("date", Some("2026-01-21"), None).await;
    for _ in 0..3 {
        app.enqueue(&CheckMaintenanceReminders {}).await;
    }
    app.drain().await;
    assert_eq!(app.mails().len(), 1);

    // The worker died after the dispatch and before it had marked the reminder.
    app.sql("update reminders set status = 'pending', last_notified_at = null").await;
    app.enqueue(&CheckMaintenanceReminders {}).await;
    app.drain().await;
    assert_eq!(app.mails().len(), 1);
    assert_eq!(app.reminder_statuses().await, ["notified"]);
});

// S002-80: a date that passes after it was announced is overdue, without another message.
story!(a_date_that_passes_is_overdue, async |app: &App| {
    app.know_the_car(9_000).await;
    app.remind("date", Some("2026-01-21"), None).await;
    app.enqueue(&CheckMaintenanceReminders {}).await;
    app.drain().await;
    app.clock.advance(seconds(3 * 24 * 3600));
    app.enqueue(&CheckMaintenanceReminders {}).await;
    app.drain().await;
    assert_eq!(app.reminder_statuses().await, ["overdue"]);
    assert_eq!(app.mails().len(), 1);
});

// d18: kilometres count as soon as the vehicle is synced.
story!(kilometres_are_announced_with_the_sync, async |app: &App| {
    app.know_the_car(9_000).await;
    app.remind("kilometers", None, Some(10_000)).await;
    for (kilometers, mails) in [(9_499, 0), (9_500, 1), (9_600, 1), (10_001, 1)] {
        let body = json!({"customer_id": "customer-001", "plate": "ABC123", "brand": "Haval", "model": "H6",
                          "current_kilometers": kilometers});
        app.sync_vehicle(&body).await;
        assert_eq!(app.mails().len(), mails, "{kilometers} km");
    }
    assert_eq!(app.reminder_statuses().await, ["overdue"]);
});

// S002-81, d13: every 15 minutes, what failed for passing reasons begins again.
story!(what_failed_for_passing_reasons_is_tried_again, [("NOTIFICATION_MAX_ATTEMPTS", "1")], async |app: &App| {
    app.know_carlos().await;
    app.sweep().await;
    app.sandbox.smtp.misbehave(SmtpFault::reject_recipient(451));
    app.sandbox.evolution.misbehave(EvolutionFault::ConnectionClosed);
    let task = app.task_for(&sample::event()).await;
    app.drain().await;
    assert_eq!(app.status(task).await["status"], "FAILURE");

    app.sandbox.smtp.behave();
    app.later(seconds(14 * 60)).await;
    assert!(app.mails().is_empty());
    app.later(seconds(60)).await;
    assert_eq!(app.mails().len(), 1);
    assert_eq!(app.status(task).await["status"], "SUCCESS");
});

// d13: at most three times, and not for what is older than a day.
story!(chances_are_limited, [("NOTIFICATION_MAX_ATTEMPTS", "1")], async |app: &App| {
    app.sync_customer(&sample::customer_with(json!({"phone": null}))).await;
    app.sandbox.smtp.misbehave(SmtpFault::reject_recipient(451));
    let task = app.task_for(&sample::event()).await;
    app.drain().await;
    for attempts in [2, 3, 4, 4] {
        app.enqueue(&RetryFailedNotifications {}).await;
        app.drain().await;
        assert_eq!(app.attempts(task).await.len(), attempts);
    }
    let old = app.task_for(&sample::event()).await;
    app.drain().await;
    app.clock.advance(seconds(24 * 3600 + 1));
    app.enqueue(&RetryFailedNotifications {}).await;
    app.drain().await;
    assert_eq!(app.attempts(old).await.len(), 1);
});

// d13: what can never work is left alone, and so is what another channel of the same event delivered.
story!(what_is_settled_is_left_alone, [("NOTIFICATION_MAX_ATTEMPTS", "1")], async |app: &App| {
    app.sync_customer(&sample::customer_with(json!({"phone": null}))).await;
    app.sandbox.smtp.misbehave_times(SmtpFault::reject_data(554), 1);
    let hopeless = app.task_for(&sample::event()).await;
    app.drain().await;

    app.know_carlos().await;
    app.sql("update orchestration_configs set delivery_mode = 'all'").await;
    app.sandbox.smtp.misbehave_times(SmtpFault::reject_recipient(451), 1);
    let receipt = app.accepted(&sample::event()).await;
    app.drain().await;
    assert_eq!((app.mails().len(), app.whatsapps().len()), (0, 1));

    app.enqueue(&RetryFailedNotifications {}).await;
    app.drain().await;
    assert_eq!((app.mails().len(), app.whatsapps().len()), (0, 1));
    for task in [hopeless, receipt.task_id.expect("the mail's")] {
        assert_eq!(app.attempts(task).await.len(), 1);
    }
});
