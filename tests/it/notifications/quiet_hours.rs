//! No one is disturbed at night.

use recado_notifications::dispatch::DeferReason;
use recado_sandbox::SmtpFault;
use serde_json::json;

use crate::harness::app::{App, DISPATCH, at, seconds};
use crate::harness::pair::story;
use crate::harness::sample;
use crate::notifications::control::{kinds, moment};

const MINUTE: u64 = 60;

// Her own quiet hours: deferred, not dropped. Stories begin at 09:30 in Guayaquil.
story!(a_message_waits_until_the_quiet_hours_end, async |app: &App| {
    app.know_carlos().await;
    app.sql("update customers set quiet_from = '22:00', quiet_until = '11:00'").await;
    let preview = app.post(&format!("{DISPATCH}?dry_run=true"), &sample::event()).await.must_be(200);
    assert_eq!(
        (&preview["send_at"], &preview["deferred"]),
        (&json!("2026-01-20T16:00:00.000000Z"), &json!("quiet_hours"))
    );

    let receipt = app.accepted(&sample::event()).await;
    assert_eq!((receipt.send_at, receipt.deferred), (Some(at("2026-01-20T16:00:00Z")), Some(DeferReason::QuietHours)));
    app.later(seconds(90 * MINUTE - 1)).await;
    assert!(app.mails().is_empty());
    app.later(seconds(1)).await;
    assert_eq!(app.mails().len(), 1);
    let story = app.notification(receipt.notifications[0].id).await;
    assert_eq!(moment(&story, "deferred")["facts"]["reason"], "quiet_hours");
});

// By her own clock, wherever the workshop is.
story!(her_own_clock_counts, async |app: &App| {
    app.know_carlos().await;
    app.sql("update customers set quiet_from = '15:00', quiet_until = '16:00', time_zone = 'Europe/Madrid'").await;
    let receipt = app.accepted(&sample::event()).await;
    assert_eq!(receipt.send_at, Some(at("2026-01-20T15:00:00Z")));
    app.later(seconds(30 * MINUTE)).await;
    assert_eq!(app.mails().len(), 1);
});

// A time that the sender chose is moved out of them as well; what is critical is not.
story!(what_is_critical_does_not_wait, async |app: &App| {
    app.know_carlos().await;
    app.sql("update customers set quiet_from = '09:00', quiet_until = '11:00'").await;
    let wished = app.accepted(&sample::event_with(json!({"send_at": "2026-01-20T15:30:00Z"}))).await;
    assert_eq!(wished.send_at, Some(at("2026-01-20T16:00:00Z")));
    let critical = app.accepted(&sample::event_with(json!({"critical": true}))).await;
    assert_eq!((critical.send_at, critical.deferred), (None, None));
    app.drain().await;
    assert_eq!(app.mails().len(), 1);
    app.later(seconds(90 * MINUTE)).await;
    assert_eq!(app.mails().len(), 2);
});

// Customers without hours of their own rest when their workshop does.
story!(the_workshops_hours_are_for_those_who_have_none, async |app: &App| {
    app.know_carlos().await;
    app.sql(
        "insert into workshops (id, taller_id, name, is_active, quiet_from, quiet_until, email_enabled, whatsapp_enabled,
             push_enabled, created_at, updated_at)
         values ('0194830c-7d5a-7000-8000-000000000001', 'quito-norte', 'Quito Norte', true, '09:00', '10:00', true, true, true,
             '2026-01-20T14:30:00.000000Z', '2026-01-20T14:30:00.000000Z')",
    )
    .await;
    let named = sample::event_with(json!({"taller_id": "quito-norte"}));
    assert_eq!(app.accepted(&named).await.send_at, Some(at("2026-01-20T15:00:00Z")));
    assert_eq!(app.accepted(&sample::event()).await.send_at, None);
    app.sql("update customers set quiet_from = '23:00', quiet_until = '05:00'").await;
    assert_eq!(app.accepted(&named).await.send_at, None);
    app.later(seconds(30 * MINUTE)).await;
    assert_eq!(app.mails().len(), 3);
});

// d12: asked again before each later attempt, and waiting costs none.
story!(a_retry_waits_for_the_morning, async |app: &App| {
    app.know_carlos().await;
    app.sql("update customers set quiet_from = '10:00', quiet_until = '12:00'").await;
    app.clock.advance(seconds(30 * MINUTE - 30));
    app.sandbox.smtp.misbehave_times(SmtpFault::reject_recipient(451), 1);
    let receipt = app.accepted(&sample::event()).await;
    let task = receipt.task_id.expect("a task");
    app.drain().await;
    app.until_due(task).await;
    assert_eq!(app.attempts(task).await, ["email transient 451"]);
    assert_eq!(app.task(task).await.run_at, at("2026-01-20T17:00:00Z"));
    let story = app.notification(receipt.notifications[0].id).await;
    assert_eq!(story["next_retry_at"], "2026-01-20T17:00:00.000000Z");
    assert!(kinds(&story).contains(&"deferred"), "{story}");
    app.until_due(task).await;
    assert_eq!(app.attempts(task).await, ["email transient 451", "email sent 250"]);
});
