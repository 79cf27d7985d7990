//! Who is told that a service is due, and that failed messages get another chance: the work of the clock.

use recado_sandbox::{EvolutionFault, SmtpFault};
use recado_shared::ids::Id;
use recado_shared::queue::Job;
use recado_shared::sql;
use serde_json::json;

use crate::app::{App, at, seconds};
use crate::pair::story;
use crate::sample;

#[derive(sqlx::FromRow)]
struct Reminder {
    status: String,
}

impl App {
    /// Carlos has a car.
    async fn know_the_car(&self, kilometers: i32) {
        self.know_carlos().await;
        self.sync_vehicle(&json!({
            "customer_id": "customer-001", "plate": "ABC123", "brand": "Haval", "model": "H6", "year": 2024,
            "current_kilometers": kilometers
        }))
        .await;
    }

    /// A reminder for the car. There is no endpoint for reminders yet, so the row is written by hand.
    async fn remind(&self, kind: &str, date: Option<&str>, kilometers: Option<i32>) {
        let date: Option<chrono::NaiveDate> = date.map(|date| date.parse().expect("a date"));
        let now = self.clock.now();
        let mut session = self.begin().await;
        let written = sql!(run, &mut session,
            "insert into reminders (id, vehicle_id, kind, description, target_kilometers, target_date, notify_via, status,
                 notify_before_days, notify_before_km, due_cycle, created_at, updated_at)
             select $1, id, $2, 'Cambio de aceite', $3, $4, '[]', 'pending', 7, 500, 0, $5, $5 from vehicles where plate = 'ABC123'",
            Id::new(now), kind, kilometers, date, now
        );
        assert_eq!(written.expect("it is written"), 1);
        session.commit().await.expect("it is committed");
    }

    /// Sorted, because ids of the same moment are in no order.
    async fn reminder_statuses(&self) -> Vec<String> {
        let mut session = self.begin().await;
        let rows = sql!(all Reminder, &mut session, "select status from reminders").expect("they are read");
        let mut statuses: Vec<String> = rows.into_iter().map(|reminder| reminder.status).collect();
        statuses.sort_unstable();
        statuses
    }
}

// S002-80: every day at 08:00 in Guayaquil, whoever is due within a week.
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
        app.enqueue(&Job::CheckMaintenanceReminders {}).await;
    }
    app.drain().await;
    assert_eq!(app.mails().len(), 1);

    // The worker died after the dispatch and before it had marked the reminder.
    app.sql("update reminders set status = 'pending', last_notified_at = null").await;
    app.enqueue(&Job::CheckMaintenanceReminders {}).await;
    app.drain().await;
    assert_eq!(app.mails().len(), 1);
    assert_eq!(app.reminder_statuses().await, ["notified"]);
});

// S002-80: a date that passes after it was announced is overdue, without another message.
story!(a_date_that_passes_is_overdue, async |app: &App| {
    app.know_the_car(9_000).await;
    app.remind("date", Some("2026-01-21"), None).await;
    app.enqueue(&Job::CheckMaintenanceReminders {}).await;
    app.drain().await;
    app.clock.advance(seconds(3 * 24 * 3600));
    app.enqueue(&Job::CheckMaintenanceReminders {}).await;
    app.drain().await;
    assert_eq!(app.reminder_statuses().await, ["overdue"]);
    assert_eq!(app.mails().len(), 1);
});

// d18: kilometres count as soon as the vehicle is synced.
story!(kilometres_are_announced_with_the_sync, async |app: &App| {
    app.know_the_car(9_000).await;
    app.remind("kilometers", None, Some(10_000)).await;
    for (kilometers, mails) in [(9_499, 0), (9_500, 1), (9_600, 1), (10_001, 1)] {
        let body = json!({"customer_id": "customer-001", "plate": "ABC123", "current_kilometers": kilometers});
        app.sync_vehicle(&body).await;
        assert_eq!(app.mails().len(), mails, "{kilometers} km");
    }
    assert_eq!(app.reminder_statuses().await, ["overdue"]);
});

// S002-81, d13: every 15 minutes, what failed for passing reasons begins anew.
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
        app.enqueue(&Job::RetryFailedNotifications {}).await;
        app.drain().await;
        assert_eq!(app.attempts(task).await.len(), attempts);
    }
    let old = app.task_for(&sample::event()).await;
    app.drain().await;
    app.clock.advance(seconds(24 * 3600 + 1));
    app.enqueue(&Job::RetryFailedNotifications {}).await;
    app.drain().await;
    assert_eq!(app.attempts(old).await.len(), 1);
});

// d13: what can never work is left alone, and so is what another channel of the same event delivered.
story!(what_is_settled_is_left_alone, [("NOTIFICATION_MAX_ATTEMPTS", "1")], async |app: &App| {
    app.sync_customer(&sample::customer_with(json!({"phone": null}))).await;
    app.sandbox.smtp.misbehave_times(SmtpFault::reject_recipient(550), 1);
    let hopeless = app.task_for(&sample::event()).await;
    app.drain().await;

    app.know_carlos().await;
    app.sql("update orchestration_configs set delivery_mode = 'all'").await;
    app.sandbox.smtp.misbehave_times(SmtpFault::reject_recipient(451), 1);
    let receipt = app.accepted(&sample::event()).await;
    app.drain().await;
    assert_eq!((app.mails().len(), app.whatsapps().len()), (0, 1));

    app.enqueue(&Job::RetryFailedNotifications {}).await;
    app.drain().await;
    assert_eq!((app.mails().len(), app.whatsapps().len()), (0, 1));
    for task in [hopeless, receipt.task_id.expect("the mail's")] {
        assert_eq!(app.attempts(task).await.len(), 1);
    }
});
