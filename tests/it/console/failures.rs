//! Why messages did not arrive, by their cause.

use recado_kernel::ids::Id;
use recado_notifications::channels::Channel;
use recado_queue::bulk::{self, Bulk, BulkState, Verdict};
use recado_queue::tasks::State;
use recado_sandbox::{EvolutionFault, SmtpFault};
use serde_json::json;

use crate::harness::app::{App, seconds};
use crate::harness::pair::story;
use crate::harness::program::words;
use crate::harness::sample;

story!(failures_are_told_by_cause_with_their_remedy, async |app: &App| {
    let viewer = app.operator("viewer").await;
    assert!(viewer.page("/admin/failures/").await.contains("Nothing failed in this time"), "an empty page teaches");
    app.know_carlos().await;
    app.sandbox.smtp.misbehave(SmtpFault::reject_data(554));
    app.sandbox.evolution.misbehave(EvolutionFault::NotOnWhatsapp);
    for number in 0..2 {
        app.accepted(&sample::event_with(json!({"context": {"placa": format!("P{number}")}}))).await;
        app.drain().await;
        app.clock.advance(seconds(3_600));
    }
    app.clock.advance(seconds(60));
    let page = viewer.page("/admin/failures/").await;
    for said in [
        "email · env",
        "EMAIL_SEND_FAILED",
        "WHATSAPP_API_ERROR",
        "SMTP server",
        "lane=notifications.email&amp;state=dead",
    ] {
        assert!(page.contains(said), "{said} in {page}");
    }
    assert!(page.contains("<path d=\"M") && page.contains("at most 1 at once"), "{page}");
    assert!(!page.contains("carlos@"), "no address: {page}");
    assert!(viewer.page("/admin/failures/?hours=1").await.contains("Nothing failed in this time"));
    assert_eq!(viewer.get("/admin/failures/?hours=-7&hours=x").await.status, 200);
    assert_eq!(app.browser().get("/admin/failures/").await.status, 303, "nobody looks without a login");
    // The code of a message is what its provider said.
    app.sql("update notifications set error_code = '<script>alert(1)</script>' where status = 'failed'").await;
    let page = viewer.page("/admin/failures/").await;
    assert!(page.contains("This version does not know the code.") && !page.contains("<script>alert"), "{page}");
});

const GROUP: &str = "email:env:EMAIL_SEND_FAILED";

impl App {
    /// Events of one cause that died: email is refused, and WhatsApp does not know the number.
    async fn die_of_email(&self, count: usize) -> Vec<Id> {
        self.sandbox.smtp.misbehave(SmtpFault::reject_data(554));
        self.sandbox.evolution.misbehave(EvolutionFault::NotOnWhatsapp);
        let mut tasks = Vec::new();
        for number in 0..count {
            tasks.push(self.task_for(&sample::event_with(json!({"context": {"placa": format!("P{number}")}}))).await);
        }
        self.drain().await;
        for task in &tasks {
            assert_eq!(self.task(*task).await.state, State::Dead);
        }
        tasks
    }

    async fn operation(&self) -> Bulk {
        let found = bulk::page(&mut self.begin().await, None, 1).await.expect("they are read").pop();
        found.expect("there is one")
    }
}

// The cause is still there: five are tried, most fail again, and the operation stops by itself. Then it is gone, and the rest follows
// at the pace that was chosen.
story!(a_cause_is_retried_after_a_trial, async |app: &App| {
    let operator = app.operator("operator").await;
    app.know_carlos().await;
    let tasks = app.die_of_email(12).await;
    app.clock.advance(seconds(60));
    let page = operator.page(&format!("/admin/failures/{GROUP}/")).await;
    assert!(page.contains("Retry…") && page.contains("12") && page.contains("Last sign of the account"), "{page}");
    let confirm = operator.page(&format!("/admin/failures/{GROUP}/retry/")).await;
    assert!(confirm.contains("Retry 12 of 12") && confirm.contains("5 first, then the rest"), "{confirm}");
    let path = format!("/admin/failures/{GROUP}/retry/");
    let fields = [("hours", "24"), ("total", "12"), ("how", "trial"), ("pace", "60")];

    let page = operator.post_and_follow(&path, &fields).await;
    assert!(page.contains("The operation is on its way."), "{page}");
    app.drain().await;
    app.later(seconds(3)).await;
    let failed = app.operation().await;
    assert_eq!((failed.state, failed.verdict, failed.done), (BulkState::Stopped, Some(Verdict::Failed), 5));
    let told = operator.page(&format!("/admin/bulk/{}/", failed.id)).await;
    assert!(told.contains("Most of them failed again") && told.contains("Go on all the same"), "{told}");
    let untouched = async || {
        let mut count = 0;
        for task in &tasks {
            count += usize::from(app.task(*task).await.finished_at.is_some_and(|at| at < failed.created_at));
        }
        count
    };
    assert_eq!(untouched().await, 7, "the rest stays as it is");

    app.sandbox.smtp.behave();
    let page = operator.post_and_follow(&path, &fields).await;
    assert!(page.contains("The operation is on its way."), "{page}");
    app.drain().await;
    assert_eq!((app.mails().len(), app.operation().await.state), (5, BulkState::Trying));
    let told = operator.page(&format!("/admin/bulk/{}/", app.operation().await.id)).await;
    assert!(told.contains("Their result is awaited"), "{told}");
    app.later(seconds(3)).await;
    assert_eq!(
        (app.mails().len(), app.operation().await.verdict),
        (10, Some(Verdict::Passed)),
        "a twelfth of a minute's"
    );
    app.later(seconds(6)).await;
    assert_eq!(app.mails().len(), 12);
    let done = app.operation().await;
    assert_eq!((done.state, done.done, done.seen()), (BulkState::Done, 12, 12));
    assert!(operator.page(&format!("/admin/bulk/{}/", done.id)).await.contains("Most of them did well"));
});

// No one is written to who got it, said no, or was forgotten; and what is decided when the question is asked is asked again when its
// turn comes.
story!(who_is_not_retried_is_told_with_the_reason, async |app: &App| {
    let operator = app.operator("operator").await;
    let people = ["reached", "refuses", "forgotten", "cancelled", "willing", "changes"];
    for (number, person) in people.into_iter().enumerate() {
        let patch = json!({"customer_id": person, "email": format!("{person}@example.com"), "phone": format!("+59399123450{number}")});
        app.sync_customer(&sample::customer_with(patch)).await;
    }
    app.sandbox.smtp.misbehave(SmtpFault::reject_data(554));
    let event = |person: &str| sample::event_with(json!({ "customer_id": person }));
    app.accepted(&event("reached")).await;
    app.drain().await;
    assert_eq!(app.whatsapps().len(), 1, "the fallback");
    app.sandbox.evolution.misbehave(EvolutionFault::NotOnWhatsapp);
    let mut tasks = Vec::new();
    for person in &people[1..] {
        tasks.push(app.task_for(&event(person)).await);
    }
    app.drain().await;
    app.prefer("refuses", &[sample::refuses(Channel::Email), sample::refuses(Channel::Whatsapp)]).await;
    app.sql("update notifications set erased_at = created_at where customer_id = 'forgotten'").await;
    app.sql("update tasks set state = 'cancelled' where id in (select task_id from notifications where customer_id = 'cancelled')").await;
    app.clock.advance(seconds(1));

    let confirm = operator.page(&format!("/admin/failures/{GROUP}/retry/?hours=1")).await;
    for said in
        ["Retry 2 of 6", "already reached on another channel", "do not want messages", "were erased", "were cancelled"]
    {
        assert!(confirm.contains(said), "{said} in {confirm}");
    }
    let outlook = json!({"action": "retry", "cause": GROUP, "dry_run": true});
    let outlook = app.post("/api/v1/operations/bulk/", &outlook).await.must_be(200);
    assert_eq!(
        outlook,
        json!({"total": 2, "is_more": false, "left_out": {"reached": 1, "opted_out": 1, "erased": 1, "cancelled": 1}})
    );
    let command = words(&app.recado(&["tasks", "retry", "--cause", GROUP, "--dry-run"]).await);
    // The command's clock is the system's, by which nothing failed lately.
    assert!(command.contains("0 tasks would be retried"), "{command}");

    app.sandbox.smtp.behave();
    let fields = [("hours", "1"), ("total", "2"), ("how", "all"), ("pace", "0")];
    operator.post_and_follow(&format!("/admin/failures/{GROUP}/retry/"), &fields).await;
    app.prefer("changes", &[sample::refuses(Channel::Email), sample::refuses(Channel::Whatsapp)]).await;
    app.drain().await;
    let done = app.operation().await;
    assert_eq!((done.state, done.done, done.skipped.0["opted_out"]), (BulkState::Done, 1, 1), "she said no meanwhile");
    let addressed: Vec<String> = app.mails().iter().flat_map(|mail| mail.envelope_to().to_vec()).collect();
    assert_eq!(addressed, ["willing@example.com"]);
    let told = operator.page(&format!("/admin/bulk/{}/", done.id)).await;
    assert!(told.contains("Left out from the beginning") && told.contains("were erased"), "{told}");
});

// A viewer sees no button, an unknown cause is no page, and what a provider calls itself or says is only text.
story!(a_cause_is_seen_by_all_and_retried_by_operators, async |app: &App| {
    let viewer = app.operator("viewer").await;
    app.know_carlos().await;
    app.die_of_email(1).await;
    app.clock.advance(seconds(1));
    let page = viewer.page(&format!("/admin/failures/{GROUP}/")).await;
    assert!(!page.contains("Retry…") && !page.contains("carlos@"), "{page}");
    assert_eq!(viewer.get(&format!("/admin/failures/{GROUP}/retry/")).await.status, 403);
    assert_eq!(viewer.post(&format!("/admin/failures/{GROUP}/retry/"), &[]).await.status, 403);
    let shown = app.get(&format!("/api/v1/operations/failures/{GROUP}/")).await.must_be(200);
    assert_eq!((&shown["count"], &shown["would_retry"]), (&json!(1), &json!(1)), "{shown}");
    assert_eq!(shown["example_ids"].as_array().map(Vec::len), Some(1));
    assert_eq!(viewer.get("/admin/failures/nonsense/").await.status, 404);
    assert!(viewer.page("/admin/failures/push::NEVER/").await.contains("Nothing failed like this"));
    app.sql(
        "update notifications set provider = '<script>a</script>:/\"b', error_reason = '<img src=x onerror=alert(1)>'",
    )
    .await;
    let hostile = "/admin/failures/email:%3Cscript%3Ea%3C%2Fscript%3E:%2F%22b:EMAIL_SEND_FAILED/";
    let page = viewer.page(hostile).await;
    assert!(page.contains("The newest messages"), "{page}");
    assert!(!page.contains("<script>a") && !page.contains("<img src=x"), "{page}");
    app.get(&format!("/api/v1/operations/failures/{GROUP}/")).await.must_be(404);
    app.get("/api/v1/operations/failures/nonsense/").await.must_be(404);
});
