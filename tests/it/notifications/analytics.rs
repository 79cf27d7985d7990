//! Figures about what was sent.

use recado_notifications::jobs::CountAnalytics;
use recado_sandbox::SmtpFault;
use serde_json::{Value, json};

use crate::harness::app::{App, seconds};
use crate::harness::pair::story;
use crate::harness::sample;

const DAY: u64 = 24 * 60 * 60;

impl App {
    async fn summary(&self, query: &str) -> Value {
        self.get(&format!("/api/v1/analytics/summary/{query}")).await.must_be(200)
    }

    /// One mail that arrives, and one whose mailbox does not exist, for a customer without another channel.
    async fn send_one_and_fail_one(&self) {
        self.dispatch(&sample::event()).await.must_be(202);
        self.drain().await;
        self.clock.advance(seconds(1));
        self.sandbox.smtp.misbehave_times(SmtpFault::reject_recipient(550), 1);
        self.dispatch(&sample::event_with(json!({"event_type": "vehicle_ready"}))).await.must_be(202);
        self.drain().await;
    }

    async fn know_ana(&self) {
        let ana = json!({"customer_id": "customer-001", "name": "Ana", "email": "ana@example.com"});
        self.sync_customer(&ana).await;
    }
}

// S002-28, S002-56, d19: what was sent today, and nothing that only waits in reserve.
story!(a_summary_of_today, async |app: &App| {
    app.know_ana().await;
    let empty = app.summary("").await;
    assert_eq!((&empty["total_sent"], &empty["delivery_rate"]), (&json!(0), &json!(0.0)));
    assert_eq!(empty["avg_delivery_time_seconds"], Value::Null);
    assert_eq!(empty["daily_breakdown"].as_array().map(Vec::len), Some(30));

    app.send_one_and_fail_one().await;
    let summary = app.summary("?days=7").await;
    for (field, expected) in [
        ("period_start", json!("2026-01-14")),
        ("period_end", json!("2026-01-20")),
        ("total_sent", json!(1)),
        ("total_delivered", json!(0)),
        ("total_failed", json!(1)),
        ("total_pending", json!(0)),
        ("delivery_rate", json!(0.0)),
        ("acceptance_rate", json!(50.0)),
        ("avg_delivery_time_seconds", json!(0.0)),
        ("receipts_supported", json!({"email": false, "whatsapp": true, "push": false})),
        ("by_channel", json!({"email": 2, "whatsapp": 0, "push": 0})),
        ("by_event_type", json!({"appointment_scheduled": 1, "vehicle_ready": 1})),
    ] {
        assert_eq!(summary[field], expected, "{field}");
    }
    let days = summary["daily_breakdown"].as_array().expect("a list");
    assert_eq!((days.len(), &days[0]["total"]), (7, &json!(0)));
    assert_eq!(days[6], json!({"date": "2026-01-20", "total": 2, "sent": 1, "delivered": 0, "failed": 1}));
});

// S002-56: days that are over are counted once, and again when something changed on them.
story!(yesterday_is_counted_and_counted_again, async |app: &App| {
    app.know_ana().await;
    app.send_one_and_fail_one().await;
    app.clock.advance(seconds(DAY));
    let yesterday = |summary: &Value| summary["daily_breakdown"][28].clone();
    let counted = json!({"date": "2026-01-20", "total": 2, "sent": 1, "delivered": 0, "failed": 1});
    assert_eq!(yesterday(&app.summary("").await), counted);
    assert_eq!(yesterday(&app.summary("").await), counted, "the second summary reads what the first one counted");

    app.sql("update notifications set status = 'delivered', delivered_at = sent_at where status = 'sent'").await;
    assert_eq!(yesterday(&app.summary("").await)["delivered"], 0);
    app.enqueue(&CountAnalytics {}).await;
    app.drain().await;
    let again = app.summary("").await;
    assert_eq!((&yesterday(&again)["delivered"], &again["delivery_rate"]), (&json!(1), &json!(100.0)));
    assert_eq!(app.summary("?days=1").await["total_sent"], 0);
});

// S002-29, S002-57: the newest first, by channel and status.
story!(the_newest_messages, async |app: &App| {
    app.know_ana().await;
    app.send_one_and_fail_one().await;
    let recent = app.get("/api/v1/analytics/recent/").await.must_be(200);
    let [bounced, sent] = recent.as_array().expect("a list").as_slice() else { panic!("{recent}") };
    assert_eq!((&bounced["status"], &bounced["event_type"]), (&json!("bounced"), &json!("vehicle_ready")));
    assert!(bounced["error_reason"].is_string());
    assert_eq!((&sent["status"], &sent["inferred_status"]), (&json!("sent"), &json!("delivered")));
    assert_eq!((&sent["recipient_id"], &sent["channel"]), (&json!("customer-001"), &json!("email")));

    for (query, expected) in [("limit=1", 1), ("channel=email", 2), ("channel=push", 0), ("status=sent", 1)] {
        let found = app.get(&format!("/api/v1/analytics/recent/?{query}")).await.must_be(200);
        assert_eq!(found.as_array().map(Vec::len), Some(expected), "{query}");
    }
    for (query, field) in [
        ("recent/?limit=0", "limit"),
        ("recent/?limit=101", "limit"),
        ("recent/?channel=fax", "channel"),
        ("recent/?status=lost", "status"),
        ("summary/?days=0", "days"),
        ("summary/?days=x", "days"),
    ] {
        let refused = app.get(&format!("/api/v1/analytics/{query}")).await.must_be(400);
        assert!(refused[field][0].is_string(), "{query}: {refused}");
    }
});

// S002-30, S002-58: each channel over the last 24 hours.
story!(the_health_of_the_channels, async |app: &App| {
    let idle = json!({"total": 0, "success": 0, "failed": 0, "success_rate": 100.0, "is_healthy": true});
    let health = app.get("/api/v1/analytics/health/").await.must_be(200);
    assert_eq!(health, json!({"email": idle, "whatsapp": idle, "push": idle}));

    app.know_ana().await;
    app.send_one_and_fail_one().await;
    let health = app.get("/api/v1/analytics/health/").await.must_be(200);
    let half = json!({"total": 2, "success": 1, "failed": 1, "success_rate": 50.0, "is_healthy": false});
    assert_eq!((&health["email"], &health["push"]), (&half, &idle));
    app.clock.advance(seconds(DAY + 1));
    assert_eq!(app.get("/api/v1/analytics/health/").await.must_be(200)["email"], idle);
});
