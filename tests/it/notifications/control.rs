//! A message that was accepted is not out of hand: it leaves when its sender says, is cancelled before it leaves, and is sent
//! again afterwards.

use recado_kernel::config::UnknownCustomer;
use recado_kernel::ids::Id;
use recado_notifications::channels::Channel;
use recado_notifications::dispatch::{self, Accepted, DeferReason, Request};
use recado_notifications::system::Notifications;
use recado_queue::operations;
use recado_queue::tasks::State;
use recado_sandbox::{EvolutionFault, SmtpFault};
use reqwest::Method;
use serde_json::{Value, json};

use crate::harness::answer::Answer;
use crate::harness::app::{App, at, operator, seconds};
use crate::harness::pair::story;
use crate::harness::sample::{self, likes, refuses};

const HOUR: u64 = 60 * 60;

impl App {
    /// A message as staff see it.
    pub(crate) async fn notification(&self, id: impl std::fmt::Display) -> Value {
        self.get(&format!("/api/v1/notifications/{id}/")).await.must_be(200)
    }

    async fn cancel(&self, id: impl std::fmt::Display) -> Answer {
        self.send(self.request(Method::POST, &format!("/api/v1/notifications/{id}/cancel/"))).await
    }

    async fn resend(&self, id: impl std::fmt::Display, key: Option<&str>) -> Answer {
        let request = self.request(Method::POST, &format!("/api/v1/notifications/{id}/resend/"));
        let request = match key {
            Some(key) => request.header("Idempotency-Key", key),
            None => request,
        };
        self.send(request).await
    }
}

/// The kinds of moments in a story, in their order.
pub(crate) fn kinds(story: &Value) -> Vec<&str> {
    let moments = story["timeline"].as_array().expect("a timeline").iter();
    moments.map(|moment| moment["kind"].as_str().expect("a kind")).collect()
}

/// The first moment of a kind.
pub(crate) fn moment<'s>(story: &'s Value, kind: &str) -> &'s Value {
    let mut moments = story["timeline"].as_array().expect("a timeline").iter();
    moments.find(|moment| moment["kind"] == kind).unwrap_or_else(|| panic!("no `{kind}` in {story}"))
}

// S002-1: not before its time, and permission is asked again then.
story!(a_message_leaves_when_its_sender_says, async |app: &App| {
    app.know_carlos().await;
    let receipt = app.accepted(&sample::event_with(json!({"send_at": "2026-01-20T11:30:00-05:00"}))).await;
    assert_eq!((receipt.send_at, receipt.deferred), (Some(at("2026-01-20T16:30:00Z")), Some(DeferReason::SendAt)));
    let refused = app.accepted(&sample::event_with(json!({"send_at": "2026-01-20T16:30:00Z"}))).await;
    app.later(seconds(2 * HOUR - 1)).await;
    assert_eq!(
        (app.mails().len(), &app.status(receipt.task_id.expect("a task")).await["status"]),
        (0, &json!("PENDING"))
    );

    app.later(seconds(1)).await;
    assert_eq!(app.mails().len(), 2);
    let story = app.notification(receipt.notifications[0].id).await;
    assert_eq!(kinds(&story), ["accepted", "chosen", "chosen", "skipped", "deferred", "attempt"]);
    assert_eq!(moment(&story, "deferred")["facts"]["reason"], "send_at");
    assert!(moment(&story, "deferred")["text"].as_str().expect("a text").contains("2026-01-20 11:30"), "{story}");
    assert_eq!(app.chain(refused.task_id.expect("a task")).await, ["email sent", "whatsapp pending"]);
});

// d12: what she switched off while the message waited stays off.
story!(an_opt_out_while_it_waits_counts, async |app: &App| {
    app.know_carlos().await;
    let task = app.task_for(&sample::event_with(json!({"send_at": "2026-01-20T14:30:20Z"}))).await;
    app.prefer("customer-001", &[refuses(Channel::Email)]).await;
    app.later(seconds(20)).await;
    assert_eq!(app.chain(task).await, ["email failed OPTED_OUT", "whatsapp sent"]);
});

// d12: also when it has waited for a moment only: 91 of 120 queued mails left after the opt-out was answered.
story!(an_opt_out_that_was_answered_counts_for_what_has_not_begun_to_leave, async |app: &App| {
    app.know_carlos().await;
    let mut tasks = Vec::new();
    for _ in 0..3 {
        tasks.push(app.task_for(&sample::event()).await);
    }
    app.prefer("customer-001", &[refuses(Channel::Email)]).await;
    app.drain().await;
    for task in tasks {
        assert_eq!(app.chain(task).await, ["email failed OPTED_OUT", "whatsapp sent"]);
    }
    assert!(app.mails().is_empty());

    app.prefer("customer-001", &[likes(Channel::Email, 1)]).await;
    let task = app.task_for(&sample::event()).await;
    app.sql(
        "insert into suppressions (id, channel, address, reason, detail, created_at)
         values ('0194830c-7d5a-7000-8000-000000000001', 'email', 'carlos@example.com', 'manual', '', '2026-01-20T14:30:00.000000Z')",
    )
    .await;
    app.drain().await;
    assert_eq!(app.chain(task).await[0], "email failed SUPPRESSED");
});

story!(a_time_that_has_passed_means_now_and_a_far_one_is_refused, async |app: &App| {
    app.know_carlos().await;
    let receipt = app.accepted(&sample::event_with(json!({"send_at": "2020-01-01T00:00:00Z"}))).await;
    assert_eq!((receipt.send_at, receipt.deferred), (None, None));
    app.drain().await;
    assert_eq!(app.mails().len(), 1);
    for wrong in ["2027-02-01T00:00:00Z", "2026-01-21", "mañana", "2026-01-21T10:00:00"] {
        let body = app.dispatch(&sample::event_with(json!({ "send_at": wrong }))).await.must_be(400);
        assert!(body["send_at"][0].is_string(), "{wrong}: {body}");
    }
});

// Before it leaves: the whole chain, and twice is harmless.
story!(a_message_is_cancelled_before_it_leaves, async |app: &App| {
    app.know_carlos().await;
    let receipt = app.accepted(&sample::event_with(json!({"send_at": "2026-01-20T15:30:00Z"}))).await;
    let [email, whatsapp] = [&receipt.notifications[0], &receipt.notifications[1]].map(|planned| planned.id);
    // Whichever of the chain is named.
    let cancelled = app.cancel(whatsapp).await.must_be(200);
    assert_eq!(cancelled["status"], "cancelled");
    assert_eq!(app.cancel(email).await.must_be(200)["status"], "cancelled");
    app.later(seconds(HOUR)).await;
    assert!(app.mails().is_empty() && app.whatsapps().is_empty());
    assert_eq!(app.status(receipt.task_id.expect("a task")).await["status"], "REVOKED");
    let story = app.notification(email).await;
    assert_eq!(kinds(&story).iter().filter(|kind| **kind == "cancelled").count(), 1, "{story}");
});

story!(a_message_that_waits_for_its_retry_can_be_cancelled, async |app: &App| {
    app.know_carlos().await;
    let receipt = app.accepted(&sample::event()).await;
    app.sandbox.smtp.misbehave_times(SmtpFault::reject_recipient(451), 1);
    app.drain().await;
    let story = app.notification(receipt.notifications[0].id).await;
    assert_eq!(kinds(&story)[4..], ["attempt", "retry_planned"]);
    app.cancel(receipt.notifications[0].id).await.must_be(200);
    app.later(seconds(300)).await;
    assert!(app.mails().is_empty() && app.whatsapps().is_empty());
});

// Too late: the problem says when and how.
story!(a_message_that_has_left_cannot_be_cancelled, async |app: &App| {
    app.know_carlos().await;
    let sent = app.accepted(&sample::event()).await.notifications;
    app.drain().await;
    for planned in &sent {
        let problem = app.cancel(planned.id).await.must_be(409);
        assert_eq!(problem["code"], "notification_sent");
        let detail = problem["detail"].as_str().expect("a detail");
        assert!(detail.contains("email") && detail.contains("2026-01-20 09:30:00"), "{detail}");
    }
    app.sandbox.smtp.misbehave(SmtpFault::reject_recipient(550));
    app.sync_customer(&sample::customer_with(json!({"customer_id": "c-2", "phone": null}))).await;
    let failed = app.accepted(&sample::event_with(json!({"customer_id": "c-2"}))).await.notifications;
    app.drain().await;
    assert_eq!(app.cancel(failed[0].id).await.must_be(409)["code"], "notification_failed");
    app.cancel(Id::of_name("nothing")).await.must_be(404);
    app.cancel("not-an-id").await.must_be(404);
});

// What a worker holds may leave this very moment; no one is told that it will not.
story!(a_message_that_is_leaving_is_not_cancelled, async |app: &App| {
    app.know_carlos().await;
    let planned = app.accepted(&sample::event()).await.notifications;
    app.sql("update tasks set state = 'started', attempt = 1 where state = 'queued'").await;
    assert_eq!(app.cancel(planned[0].id).await.must_be(409)["code"], "notification_leaving");
    app.leave_work();
});

// Of 100 cancellations that raced with sending, some were told that the delivery had failed when the message was sent. The
// answer is what really happened.
story!(the_answer_of_a_race_is_what_happened, async |app: &App| {
    app.know_carlos().await;
    for round in 0..5 {
        let mut planned = Vec::new();
        for number in 0..10 {
            let event = json!({
                "event_type": "custom", "service_type_id": null, "phase_id": null, "customer_id": "customer-001",
                "context": {"subject": format!("Aviso {round}-{number}"), "body": "Hola"}
            });
            planned.push((format!("Aviso {round}-{number}"), app.accepted(&event).await.notifications[0].id));
        }
        let cancelling = async {
            let mut answers = Vec::new();
            for (subject, id) in &planned {
                answers.push((subject, *id, app.cancel(id).await));
            }
            answers
        };
        let (_, answers) = tokio::join!(app.drain(), cancelling);
        // What the cancelled ones had rung for finds nothing.
        app.drain().await;
        let mails = app.mails();
        for (subject, id, answer) in answers {
            let arrived = mails.iter().filter(|mail| mail.subject() == Some(subject)).count();
            let status = app.notification(id).await["status"].clone();
            match answer.status {
                200 => assert_eq!((arrived, status), (0, json!("cancelled")), "{subject}"),
                409 => {
                    let code = answer.json()["code"].clone();
                    assert!(code == "notification_sent" || code == "notification_leaving", "{subject}: {code}");
                    assert_eq!((arrived, status), (1, json!("sent")), "{subject}: {code}");
                }
                other => panic!("{subject}: {other}"),
            }
        }
    }
});

// It may have left: no one is told that it will not.
story!(a_message_in_doubt_is_not_cancelled, async |app: &App| {
    app.sync_customer(&sample::customer_with(json!({"email": null}))).await;
    app.sandbox.evolution.misbehave_times(EvolutionFault::AcceptThenDrop, 1);
    let receipt = app.accepted(&sample::event()).await;
    app.drain().await;
    let id = receipt.notifications[0].id;
    assert_eq!(app.cancel(id).await.must_be(409)["code"], "notification_leaving");
    app.until_due(receipt.task_id.expect("a task")).await;
    assert_eq!(app.cancel(id).await.must_be(409)["code"], "notification_sent");

    // A worker died with it in its hands.
    let receipt = app.accepted(&sample::event()).await;
    app.sql("update tasks set cut_off = true where state = 'queued'").await;
    let id = receipt.notifications[0].id;
    assert_eq!(app.cancel(id).await.must_be(409)["code"], "notification_leaving");
    app.drain().await;
    let task = receipt.task_id.expect("a task");
    while app.task(task).await.state == State::Scheduled {
        assert_eq!(app.cancel(id).await.must_be(409)["code"], "notification_leaving");
        app.until_due(task).await;
    }
    assert_eq!(app.cancel(id).await.must_be(409)["code"], "notification_sent");
});

// Cancelled by mistake days before it was to leave: taken back, it leaves on its day, and not at this moment.
story!(a_cancel_that_is_taken_back_keeps_the_time, async |app: &App| {
    app.know_carlos().await;
    let later = app.accepted(&sample::event_with(json!({"send_at": "2026-01-22T15:00:00Z"}))).await;
    let task = later.task_id.expect("a task");
    let run_at = app.task(task).await.run_at;
    app.cancel(later.notifications[0].id).await.must_be(200);
    operations::retry(&app.context, &[task], &operator()).await.expect("it is taken back");
    app.drain().await;
    let row = app.task(task).await;
    assert_eq!((row.state, row.run_at, app.mails().len()), (State::Scheduled, run_at, 0));
    app.until_due(task).await;
    assert_eq!(app.mails().len(), 1);
});

// The same words to the same address, with the channels that came after it.
story!(a_message_is_sent_again, async |app: &App| {
    app.know_carlos().await;
    let first = app.accepted(&sample::event()).await;
    assert_eq!(app.resend(first.notifications[0].id, None).await.must_be(409)["code"], "notification_on_its_way");
    app.drain().await;
    app.sync_customer(&sample::customer_with(json!({"email": "other@example.com"}))).await;

    let again = app.resend(first.notifications[0].id, Some("otra-vez")).await.must_be(202);
    assert_eq!(again["correlation_id"], json!(first.correlation_id));
    let repeated = app.resend(first.notifications[0].id, Some("otra-vez")).await;
    assert_eq!((repeated.header("idempotent-replayed"), repeated.json()), ("true", again.clone()));
    assert_eq!(app.resend(first.notifications[1].id, Some("otra-vez")).await.status, 422);
    app.drain().await;
    let [one, two] = app.mails().try_into().expect("two mails");
    assert_eq!((one.subject(), one.html()), (two.subject(), two.html()));
    assert_eq!(two.envelope_to(), ["carlos@example.com"]);

    let story = app.notification(again["notifications"][0]["id"].as_str().expect("an id")).await;
    assert_eq!(story["resend_of"], json!(first.notifications[0].id));
    assert_eq!(story["chain"].as_array().map(Vec::len), Some(2));
    assert_eq!(kinds(&story)[0], "resent");
    assert!(kinds(&app.notification(first.notifications[0].id).await).contains(&"resent"));

    // A channel that was never needed, alone.
    let reserve = app.resend(first.notifications[1].id, None).await.must_be(202);
    assert_eq!(reserve["notifications"].as_array().map(Vec::len), Some(1));
    app.drain().await;
    assert_eq!(app.whatsapps().len(), 1);
});

// d12: permission is asked again.
story!(no_one_gets_again_what_she_does_not_want, async |app: &App| {
    app.know_carlos().await;
    let sent = app.accepted(&sample::event()).await.notifications;
    app.drain().await;
    app.prefer("customer-001", &[refuses(Channel::Email)]).await;
    assert_eq!(app.resend(sent[0].id, Some("k")).await.must_be(409)["code"], "customer_opted_out");
    app.prefer("customer-001", &[likes(Channel::Email, 1)]).await;
    app.sql(
        "insert into suppressions (id, channel, address, reason, detail, created_at)
         values ('0194830c-7d5a-7000-8000-000000000001', 'email', 'carlos@example.com', 'bounced', '', '2026-01-20T14:30:00.000000Z')",
    )
    .await;
    assert_eq!(app.resend(sent[0].id, Some("k")).await.must_be(409)["code"], "address_suppressed");
    app.sql("delete from suppressions").await;
    // The key was never used up by a refusal.
    app.resend(sent[0].id, Some("k")).await.must_be(202);
    app.drain().await;
    assert_eq!(app.mails().len(), 2);
    app.resend(Id::of_name("nothing"), None).await.must_be(404);
});

// d14: a job that runs again after a crash speaks of what it wrote the first time.
story!(what_was_dispatched_before_is_receipted_as_it_was, async |app: &App| {
    app.know_carlos().await;
    let request = Request {
        event: serde_json::from_value(sample::event()).expect("an event"),
        idempotency: None,
        unique_key: Some("deferred:1".into()),
        unknown_customer: UnknownCustomer::Reject,
        only: Vec::new(),
        by: None,
    };
    let mut receipts = Vec::new();
    for _ in 0..2 {
        let answer =
            dispatch::accept(&Notifications::new(app.context.clone()), std::slice::from_ref(&request)).await.pop();
        let Some(Ok(Accepted { receipt, .. })) = answer else { panic!("{answer:?}") };
        receipts.push(receipt);
    }
    let ids = |number: usize| {
        let planned = receipts[number].notifications.iter();
        (receipts[number].task_id, receipts[number].correlation_id, planned.map(|one| one.id).collect::<Vec<_>>())
    };
    assert_eq!(ids(0), ids(1));
    app.drain().await;
    assert_eq!(app.mails().len(), 1);
});
