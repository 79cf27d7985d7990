//! What happens when a provider says no.

use std::time::Duration;

use recado_notifications::channels::Channel;
use recado_queue::operations;
use recado_sandbox::{EvolutionFault, SmtpFault, SmtpStage};
use serde_json::{Value, json};

use crate::harness::app::{App, operator, seconds};
use crate::harness::pair::story;
use crate::harness::sample::{self, likes, refuses};

/// The delay that was promised, and a fifth more or less.
#[track_caller]
fn about(promised: u64, waited: Duration) {
    let range = seconds(promised).mul_f64(0.8)..=seconds(promised).mul_f64(1.2);
    assert!(range.contains(&waited), "{waited:?} instead of {promised} s");
}

// d11, d12: three attempts, 60 s and 120 s apart; right after the third the next channel, in its own words.
story!(three_failures_and_then_the_next_channel, async |app: &App| {
    app.know_carlos().await;
    let task = app.task_for(&sample::event()).await;
    app.sandbox.smtp.misbehave(SmtpFault::reject_recipient(451));
    app.drain().await;
    about(60, app.until_due(task).await);
    assert_eq!(app.attempts(task).await.len(), 2);
    about(120, app.until_due(task).await);

    assert_eq!(
        app.attempts(task).await,
        ["email transient 451", "email transient 451", "email transient 451", "whatsapp sent 201"]
    );
    assert_eq!(app.chain(task).await, ["email failed EMAIL_SEND_FAILED", "whatsapp sent"]);
    let [message] = app.whatsapps().try_into().expect("one message");
    assert!(message.text.contains("*mantenimiento preventivo*") && !message.text.contains("<p>"), "{}", message.text);
    assert_eq!(app.status(task).await["status"], "SUCCESS");
});

// d11: the third attempt may still succeed, and then nothing else is sent.
story!(the_third_attempt_may_succeed, async |app: &App| {
    app.know_carlos().await;
    let task = app.task_for(&sample::event()).await;
    app.sandbox.smtp.misbehave_times(SmtpFault::GreetingBusy, 2);
    app.drain().await;
    app.until_due(task).await;
    app.until_due(task).await;
    assert_eq!(app.chain(task).await, ["email sent", "whatsapp pending"]);
    assert_eq!((app.mails().len(), app.whatsapps().len()), (1, 0));
});

// A server that says 421 in place of a greeting has not been asked for anything (RFC 5321, section 3.8): that is none of the
// message's three attempts.
story!(a_server_that_serves_no_one_costs_no_attempt, async |app: &App| {
    app.know_carlos().await;
    let task = app.task_for(&sample::event()).await;
    app.sandbox.smtp.misbehave_times(SmtpFault::GreetingBusy, 4);
    app.drain().await;
    for _ in 0..4 {
        assert!(app.until_due(task).await <= seconds(72), "it is no later attempt than the first");
    }
    assert_eq!(app.attempts(task).await[3..], ["email transient 421", "email sent 250"]);
});

// After five minutes it is one, and the next channel has its turn.
story!(a_server_that_serves_no_one_for_long_is_given_up, async |app: &App| {
    app.know_carlos().await;
    let task = app.task_for(&sample::event()).await;
    app.sandbox.smtp.misbehave(SmtpFault::GreetingBusy);
    let began = app.clock.now();
    app.drain().await;
    while app.whatsapps().is_empty() {
        app.until_due(task).await;
    }
    let waited = app.clock.now().since(began);
    assert!((seconds(300)..seconds(900)).contains(&waited), "{waited:?}");
    assert_eq!(app.chain(task).await, ["email failed EMAIL_SEND_FAILED", "whatsapp sent"]);
});

// d11: what can never work is not tried again.
story!(a_permanent_refusal_falls_back_at_once, async |app: &App| {
    app.know_carlos().await;
    let refusals = [
        SmtpFault::RejectRecipient { code: 550, text: "5.7.1 Refused by policy".to_owned() },
        SmtpFault::reject_data(554),
        SmtpFault::Reply { stage: SmtpStage::MailFrom, code: 553, text: String::new() },
        SmtpFault::Reply { stage: SmtpStage::Connect, code: 554, text: String::new() },
    ];
    for (sent, fault) in (1..).zip(refusals) {
        let task = app.task_for(&sample::event()).await;
        app.sandbox.smtp.misbehave_times(fault.clone(), 1);
        app.drain().await;
        assert_eq!(app.chain(task).await, ["email failed EMAIL_SEND_FAILED", "whatsapp sent"], "{fault:?}");
        assert_eq!(app.whatsapps().len(), sent, "{fault:?}");
    }
});

// S002-71, recorded exchanges: what Evolution says, and whether trying again makes sense.
story!(evolution_is_understood, async |app: &App| {
    app.know_carlos().await;
    app.prefer("customer-001", &[likes(Channel::Whatsapp, 1)]).await;
    let table = [
        (EvolutionFault::NotOnWhatsapp, "whatsapp permanent 400"),
        (EvolutionFault::Schema400, "whatsapp permanent 400"),
        (EvolutionFault::StringifiedError400, "whatsapp transient 400"),
        (EvolutionFault::Unauthorized, "whatsapp misconfigured 401"),
        (EvolutionFault::UnknownInstance, "whatsapp misconfigured 404"),
        (EvolutionFault::ConnectionClosed, "whatsapp transient 500"),
        (EvolutionFault::NeverStarted, "whatsapp transient 500"),
        (EvolutionFault::status(503), "whatsapp transient 503"),
    ];
    for (fault, expected) in table {
        let task = app.task_for(&sample::event()).await;
        app.sandbox.evolution.misbehave_times(fault.clone(), 1);
        app.drain().await;
        let attempts = app.attempts(task).await;
        assert_eq!(attempts[0], expected, "{fault:?}");
        let falls_back = !expected.contains("transient");
        assert_eq!(attempts.get(1).map(String::as_str), falls_back.then_some("email sent 250"), "{fault:?}");
        if !falls_back {
            operations::cancel(&app.context, &[task], &operator()).await.expect("cancelled");
        }
    }
});

// A provider's Retry-After may push an attempt later, never earlier.
story!(retry_after_is_honoured, async |app: &App| {
    app.sync_customer(&sample::customer_with(json!({"email": null}))).await;
    for (wish, wait) in [(600, 600..=600), (5, 48..=72)] {
        let task = app.task_for(&sample::event()).await;
        let fault = EvolutionFault::Status { status: 429, body: Value::Null, retry_after: Some(wish) };
        app.sandbox.evolution.misbehave_times(fault, 1);
        app.drain().await;
        let waited = app.until_due(task).await.as_secs();
        assert!(wait.contains(&waited), "Retry-After: {wish} and waited {waited} s");
        assert_eq!(app.attempts(task).await, ["whatsapp transient 429", "whatsapp sent 201"]);
    }
});

// S002-71: a channel without settings says so and does not hold the message up.
story!(an_unconfigured_channel_falls_back_at_once, [("EMAIL_HOST", "")], async |app: &App| {
    app.know_carlos().await;
    let task = app.task_for(&sample::event()).await;
    app.drain().await;
    assert_eq!(app.chain(task).await, ["email failed EMAIL_NOT_CONFIGURED", "whatsapp sent"]);
    assert_eq!(app.attempts(task).await, ["email misconfigured", "whatsapp sent 201"]);
});

// S002-62: every channel refuses. The status says why, the dead list keeps it, and an operator's retry delivers it.
story!(a_dead_delivery_says_why_and_can_be_retried, async |app: &App| {
    app.know_carlos().await;
    let task = app.task_for(&sample::event()).await;
    app.sandbox.smtp.misbehave(SmtpFault::reject_data(554));
    app.sandbox.evolution.misbehave(EvolutionFault::NotOnWhatsapp);
    app.drain().await;

    let status = app.status(task).await;
    assert_eq!((&status["status"], &status["failed"]), (&json!("FAILURE"), &json!(true)));
    let error = status["error"].as_str().expect("a reason");
    assert!(error.contains("email: EMAIL_SEND_FAILED") && error.contains("whatsapp: WHATSAPP_API_ERROR"), "{error}");
    assert_eq!(app.chain(task).await, ["email failed EMAIL_SEND_FAILED", "whatsapp failed WHATSAPP_API_ERROR"]);

    app.sandbox.smtp.behave();
    assert_eq!(operations::retry(&app.context, &[task], &operator()).await.expect("revived"), [task]);
    app.drain().await;
    assert_eq!(app.status(task).await["status"], "SUCCESS");
    assert_eq!(app.chain(task).await, ["email sent", "whatsapp pending"]);
    assert_eq!(app.mails().len(), 1);
    assert_eq!(
        operations::retry(&app.context, &[task], &operator()).await.expect("nothing to do"),
        [],
        "a success is not repeated"
    );
});

// d12: an opt-out between dispatch and fallback counts, and no attempt is made.
story!(an_opt_out_before_the_fallback_counts, async |app: &App| {
    app.know_carlos().await;
    let task = app.task_for(&sample::event()).await;
    app.sandbox.smtp.misbehave(SmtpFault::reject_recipient(451));
    app.drain().await;
    app.prefer("customer-001", &[refuses(Channel::Whatsapp)]).await;
    app.until_due(task).await;
    app.until_due(task).await;

    assert_eq!(app.chain(task).await, ["email failed EMAIL_SEND_FAILED", "whatsapp failed OPTED_OUT"]);
    assert_eq!(app.attempts(task).await.len(), 3);
    assert!(app.whatsapps().is_empty());
    assert_eq!(app.status(task).await["status"], "FAILURE");
});

// d12: an opt-out between two attempts on the same channel counts too.
story!(an_opt_out_before_a_retry_counts, async |app: &App| {
    app.know_carlos().await;
    let task = app.task_for(&sample::event()).await;
    app.sandbox.smtp.misbehave_times(SmtpFault::reject_recipient(451), 1);
    app.drain().await;
    app.prefer("customer-001", &[refuses(Channel::Email)]).await;
    app.until_due(task).await;
    assert_eq!(app.chain(task).await, ["email failed OPTED_OUT", "whatsapp sent"]);
    assert!(app.mails().is_empty());
});

// The number of attempts and the first delay are settings.
story!(
    attempts_are_configurable,
    [("NOTIFICATION_MAX_ATTEMPTS", "1"), ("NOTIFICATION_RETRY_BASE_SECONDS", "0.2")],
    async |app: &App| {
        app.know_carlos().await;
        let task = app.task_for(&sample::event()).await;
        app.sandbox.smtp.misbehave(SmtpFault::reject_recipient(451));
        app.drain().await;
        assert_eq!(app.attempts(task).await, ["email transient 451", "whatsapp sent 201"]);
    }
);
