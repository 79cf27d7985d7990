//! The ledger of work, as those who ask and those who operate see it.

use recado_kernel::ids::Id;
use recado_queue::jobs::{Cleanup, Ping};
use recado_queue::operations;
use recado_queue::tasks::{self, NewTask, State};
use serde_json::json;

use crate::harness::app::{App, operator, seconds};
use crate::harness::pair::story;
use crate::harness::sample;

// S002-33, S002-62, d20: unknown and impossible ids are 404.
story!(an_unknown_task_is_not_found, async |app: &App| {
    for id in ["0194830c-7d5a-7000-8000-000000000001", "not-a-uuid", "%00", "%ff%fe", "1' or '1'='1"] {
        for path in [format!("/api/internal/v1/tasks/{id}/status/"), format!("/api/v1/tasks/{id}/")] {
            assert!(app.get(&path).await.must_be(404)["detail"].is_string(), "{path}");
        }
    }
});

// A job shows that a worker listens.
story!(a_ping_is_answered, async |app: &App| {
    let task = app.enqueue(&Ping {}).await;
    app.drain().await;
    let status = app.status(task).await;
    assert_eq!((&status["status"], &status["queue"]), (&json!("SUCCESS"), &json!("maintenance")));
});

// A kind or a payload that this version does not know is parked with the reason, and no worker falls over it.
story!(what_cannot_be_read_is_parked, async |app: &App| {
    let unknown = app.enqueue(&Ping {}).await;
    app.sql("update tasks set kind = 'teleport'").await;
    let garbled = app.enqueue(&Cleanup {}).await;
    app.sql("update tasks set payload = '[1, 2]', kind = 'sync_customer' where kind = 'cleanup'").await;
    app.drain().await;
    for (task, word) in [(unknown, "teleport"), (garbled, "sync_customer")] {
        let status = app.status(task).await;
        assert_eq!(status["status"], "FAILURE");
        assert!(status["error"].as_str().expect("a reason").contains(word), "{status}");
    }
    let ping = app.enqueue(&Ping {}).await;
    app.drain().await;
    assert_eq!(app.status(ping).await["status"], "SUCCESS", "the worker goes on");
});

// An operator's cancel: nothing is sent, in whichever state the task was.
story!(a_cancelled_task_sends_nothing, async |app: &App| {
    app.know_carlos().await;
    let queued = app.task_for(&sample::event()).await;
    assert_eq!(operations::cancel(&app.context, &[queued], &operator()).await.expect("cancelled"), [queued]);
    app.drain().await;

    app.sandbox.smtp.misbehave_times(recado_sandbox::SmtpFault::GreetingBusy, 1);
    let scheduled = app.task_for(&sample::event()).await;
    app.drain().await;
    assert_eq!(
        operations::cancel(&app.context, &[scheduled, queued], &operator()).await.expect("cancelled"),
        [scheduled]
    );
    app.later(seconds(3600)).await;

    assert!(app.mails().is_empty());
    for task in [queued, scheduled] {
        let status = app.status(task).await;
        assert_eq!((&status["status"], &status["ready"]), (&json!("REVOKED"), &json!(true)));
        assert!(
            app.chain(task).await.iter().all(|message| message.contains("cancelled")),
            "{:?}",
            app.chain(task).await
        );
    }
    assert_eq!(operations::retry(&app.context, &[queued], &operator()).await.expect("revived"), [queued]);
    app.drain().await;
    assert_eq!(app.mails().len(), 1);
});

// At most one task ever carries a unique key, also after it has ended.
story!(a_unique_key_is_used_once, async |app: &App| {
    let put = async || {
        let now = app.clock.now();
        let task = NewTask::now(Id::new(now), &Ping {}, now).unique("daily:2026-01-20".to_owned());
        let mut session = app.begin().await;
        let inserted = tasks::insert(&mut session, &[task]).await.expect("it is written");
        session.commit().await.expect("it is committed");
        app.context.ring(&inserted.rings).await;
        inserted.ids.len()
    };
    assert_eq!((put().await, put().await), (1, 0));
    assert_eq!(app.drain().await, 1);
    assert_eq!(put().await, 0);
});

// A task for later runs later, and not before.
story!(a_scheduled_task_waits_for_its_time, async |app: &App| {
    let now = app.clock.now();
    let task = NewTask::at(Id::new(now), &Ping {}, now + seconds(90), now);
    let id = task.id;
    let mut session = app.begin().await;
    tasks::insert(&mut session, &[task]).await.expect("it is written");
    session.commit().await.expect("it is committed");

    app.later(seconds(89)).await;
    assert_eq!(app.task(id).await.state, State::Scheduled);
    app.later(seconds(1)).await;
    assert_eq!(app.task(id).await.state, State::Success);
});

// S002-82: what is past its retention is deleted; the dead stay longer.
story!(cleanup_deletes_what_is_past_its_retention, async |app: &App| {
    const DAY: u64 = 24 * 3600;
    app.know_carlos().await;
    let sent = app.task_for(&sample::event()).await;
    app.drain().await;
    app.sandbox.smtp.misbehave(recado_sandbox::SmtpFault::reject_recipient(550));
    app.sandbox.evolution.misbehave(recado_sandbox::EvolutionFault::NotOnWhatsapp);
    let dead = app.task_for(&sample::event()).await;
    app.drain().await;
    let clean_after = async |days: u64| {
        app.clock.advance(seconds(days * DAY));
        app.enqueue(&Cleanup {}).await;
        app.drain().await;
    };

    clean_after(6).await;
    assert_eq!(app.status(sent).await["status"], "SUCCESS");
    clean_after(2).await;
    app.get(&format!("/api/internal/v1/tasks/{sent}/status/")).await.must_be(404);
    assert_eq!(app.status(dead).await["status"], "FAILURE");
    assert_eq!(app.chain(sent).await.len(), 2, "the log of what was sent stays");

    clean_after(21).await;
    app.get(&format!("/api/internal/v1/tasks/{dead}/status/")).await.must_be(404);
    clean_after(160).await;
    assert_eq!(app.chain(sent).await, [] as [&str; 0], "also the channel that was never needed");
});
