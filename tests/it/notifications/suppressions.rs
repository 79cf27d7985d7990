//! Addresses to which nothing is sent any more.

use recado_kernel::ids::Id;
use recado_notifications::journal::{self, Fact, Line};
use recado_notifications::notifications::records;
use recado_notifications::orchestration::SkipReason;
use recado_sandbox::SmtpFault;
use reqwest::Method;
use serde_json::{Value, json};

use crate::harness::app::{App, seconds};
use crate::harness::pair::story;
use crate::harness::sample;

const SUPPRESSIONS: &str = "/api/v1/notifications/suppressions/";

impl App {
    /// What the journal tells of suppressed addresses of an event, each line as `channel kind`.
    async fn told(&self, correlation_id: Id) -> Vec<String> {
        let mut session = self.begin().await;
        let rows = records::of_correlation(&mut session, correlation_id, 100).await.expect("the messages are read");
        let tasks: Vec<Id> = rows.iter().map(|record| record.task_id).collect();
        let mut lines = records::skipped(&mut session, &tasks).await.expect("the chains are read");
        lines.extend(journal::of_correlation(&mut session, correlation_id, 100).await.expect("the journal is read"));
        let is_told = |line: &Line| match line.fact() {
            Some(Fact::Skipped { reason }) => reason == SkipReason::Suppressed,
            fact => fact == Some(Fact::Suppressed {}),
        };
        let told = lines.iter().filter(|line| is_told(line));
        let mut told: Vec<String> =
            told.map(|line| format!("{} {}", line.channel.as_deref().unwrap_or_default(), line.kind)).collect();
        told.sort_unstable();
        told
    }
}

// S002-70: a mailbox that does not exist is written to once. Staff lift it, and it works again.
story!(a_bounce_is_suppressed_until_it_is_lifted, async |app: &App| {
    app.know_carlos().await;
    app.sandbox.smtp.misbehave_times(SmtpFault::reject_recipient(550), 1);
    let bounced = app.task_for(&sample::event()).await;
    app.drain().await;
    assert_eq!(app.chain(bounced).await, ["email bounced EMAIL_SEND_FAILED", "whatsapp sent"]);

    let receipt = app.accepted(&sample::event()).await;
    let skipped = receipt.skipped.iter().find(|skipped| skipped.channel.as_str() == "email").expect("it is named");
    assert_eq!(skipped.reason.as_str(), "suppressed");
    assert!(skipped.detail.contains("/api/v1/notifications/suppressions/"), "the remedy: {}", skipped.detail);
    assert_eq!(app.told(receipt.correlation_id).await, ["email skipped"]);
    app.drain().await;
    assert_eq!((app.mails().len(), app.whatsapps().len()), (0, 2));

    let page = app.get(SUPPRESSIONS).await.must_be(200);
    let [suppression] = page["results"].as_array().expect("a list").as_slice() else { panic!("{page}") };
    assert_eq!(
        (&suppression["channel"], &suppression["address"], &suppression["reason"]),
        (&json!("email"), &json!("carlos@example.com"), &json!("bounced"))
    );
    assert!(suppression["detail"].as_str().expect("the server's words").starts_with("550"), "{suppression}");
    let url = format!("{SUPPRESSIONS}{}/", suppression["id"].as_str().expect("an id"));
    assert_eq!(app.get(&url).await.must_be(200), *suppression);
    app.send(app.request(Method::DELETE, &url)).await.must_be(204);
    app.send(app.request(Method::DELETE, &url)).await.must_be(404);

    app.accepted(&sample::event()).await;
    app.drain().await;
    assert_eq!(app.mails().len(), 1);
});

// A full mailbox, a policy, and a refusal of the mail say nothing about the address.
story!(only_the_mailbox_itself_bounces, async |app: &App| {
    app.know_carlos().await;
    let faults = [
        SmtpFault::RejectRecipient { code: 552, text: "5.2.2 Mailbox full".to_owned() },
        SmtpFault::RejectRecipient { code: 550, text: "5.7.1 Your host is on a list".to_owned() },
        SmtpFault::reject_data(554),
    ];
    for fault in faults {
        app.sandbox.smtp.misbehave_times(fault.clone(), 1);
        let task = app.task_for(&sample::event()).await;
        app.drain().await;
        assert_eq!(app.chain(task).await, ["email failed EMAIL_SEND_FAILED", "whatsapp sent"], "{fault:?}");
    }
    assert_eq!(app.get(SUPPRESSIONS).await.must_be(200)["count"], 0);
});

// A wrong password at a shared host, which refuses at RCPT, put everybody who was written to on the list: relaying, a login, the
// sender, SPF, a block list and a name in EHLO are ours, and the failure says what to repair (hyvor/relay#258,
// getconversio/email-deep-validator#9, postalserver/postal#266, postalserver/postal#647).
story!(a_refusal_that_is_ours_suppresses_no_address, async |app: &App| {
    app.know_carlos().await;
    let refusals = [
        (550, "relay not permitted", "EMAIL_HOST_PASSWORD"),
        (550, "Please turn on SMTP Authentication in your mail client.", "EMAIL_HOST_USER"),
        (553, "sorry, that domain isn't in my list of allowed rcpthosts (#5.7.1)", "EMAIL_HOST_USER"),
        (550, "5.1.0 <avisos@taller.ec>: Sender address rejected: User unknown", "DEFAULT_FROM_EMAIL"),
        (550, "SPF check failed", "DEFAULT_FROM_EMAIL"),
        (550, "Access denied - Invalid HELO name (See RFC2821 4.1.1.1)", "EMAIL_HELO_NAME"),
        (551, "Se requiere autenticación", "EMAIL_HOST_PASSWORD"),
        (550, "Access denied", "refuses the recipient"),
    ];
    for (code, text, remedy) in refusals {
        app.sandbox.smtp.misbehave_times(SmtpFault::RejectRecipient { code, text: text.to_owned() }, 1);
        let task = app.task_for(&sample::event()).await;
        app.drain().await;
        assert_eq!(app.chain(task).await, ["email failed EMAIL_SEND_FAILED", "whatsapp sent"], "{text}");
        let status = app.status(task).await;
        let reason = status["notifications"][0]["error_reason"].as_str().unwrap_or_default();
        assert!(reason.contains(remedy), "{text}: {status}");
    }
    assert_eq!(app.get(SUPPRESSIONS).await.must_be(200)["count"], 0);
    app.accepted(&sample::event()).await;
    app.drain().await;
    assert_eq!(app.mails().len(), 1, "repaired");
});

// Many people who are refused in a row by one server are never the reason: a server that says "no such user" to everybody
// suppresses none of them, and those who were believed to bounce first are written to again.
story!(a_streak_of_refusals_is_about_the_account, async |app: &App| {
    app.sandbox.smtp.misbehave(SmtpFault::reject_recipient(550));
    let mut last = None;
    for number in 1..=7 {
        let (id, email) = (format!("customer-{number}"), format!("cliente{number}@example.com"));
        app.sync_customer(&sample::customer_with(json!({"customer_id": id, "email": email}))).await;
        last = Some(app.task_for(&sample::event_with(json!({"customer_id": id}))).await);
        app.drain().await;
    }
    assert_eq!(app.get(SUPPRESSIONS).await.must_be(200)["count"], 0);
    let status = app.status(last.expect("the last one")).await;
    let reason = status["notifications"][0]["error_reason"].as_str().unwrap_or_default();
    assert!(reason.contains("in a row") && reason.contains("check the account"), "{status}");

    app.sandbox.smtp.behave();
    app.accepted(&sample::event_with(json!({"customer_id": "customer-1"}))).await;
    app.drain().await;
    assert_eq!(app.mails().len(), 1);
});

// An address that is suppressed while its message waits for a retry is not tried again; the next channel is.
story!(a_suppression_counts_before_the_next_attempt, async |app: &App| {
    app.know_carlos().await;
    app.sandbox.smtp.misbehave_times(SmtpFault::reject_recipient(451), 1);
    let task = app.task_for(&sample::event()).await;
    app.drain().await;
    let by_hand = json!({"channel": "email", "address": "Carlos@Example.com", "detail": "Pidió que no le escribamos."});
    let created = app.post(SUPPRESSIONS, &by_hand).await.must_be(201);
    assert_eq!((&created["address"], &created["reason"]), (&json!("carlos@example.com"), &json!("manual")));
    app.until_due(task).await;
    assert_eq!(app.chain(task).await, ["email failed SUPPRESSED", "whatsapp sent"]);
    assert!(app.mails().is_empty());
});

// All channels are suppressed: the event is accepted, and says that no one is reached.
story!(a_person_may_be_beyond_reach, async |app: &App| {
    app.know_carlos().await;
    for (channel, address) in [("email", "carlos@example.com"), ("whatsapp", "0991234567")] {
        app.post(SUPPRESSIONS, &json!({"channel": channel, "address": address})).await.must_be(201);
    }
    let receipt = app.accepted(&sample::event()).await;
    assert_eq!((receipt.notifications_queued, receipt.task_id), (0, None));
    assert_eq!(app.told(receipt.correlation_id).await, ["email skipped", "whatsapp skipped"]);
});

// Found by channel and by a part of the address, a page at a time.
story!(suppressions_are_listed, async |app: &App| {
    for number in 0..3 {
        let address = format!("cliente_{number}@example.com");
        app.post(SUPPRESSIONS, &json!({"channel": "email", "address": address})).await.must_be(201);
        app.clock.advance(seconds(1));
    }
    app.post(SUPPRESSIONS, &json!({"channel": "whatsapp", "address": "+593991234567"})).await.must_be(201);
    let addresses = |page: &Value| {
        let results = page["results"].as_array().expect("a list").clone();
        results.iter().map(|one| one["address"].as_str().expect("an address").to_owned()).collect::<Vec<_>>()
    };
    for (query, expected) in [
        ("channel=whatsapp", vec!["+593991234567"]),
        ("search=E_1", vec!["cliente_1@example.com"]),
        ("search=%25", vec![]),
        ("channel=email&page_size=2", vec!["cliente_2@example.com", "cliente_1@example.com"]),
    ] {
        let page = app.get(&format!("{SUPPRESSIONS}?{query}")).await.must_be(200);
        assert_eq!(addresses(&page), expected, "{query}");
    }
    app.get(&format!("{SUPPRESSIONS}?channel=fax")).await.must_be(400);
});

// What is wrong is named, and no one is put on the list twice.
story!(a_wrong_suppression_is_refused, async |app: &App| {
    app.post(SUPPRESSIONS, &json!({"channel": "email", "address": "a@example.com"})).await.must_be(201);
    for (body, field) in [
        (json!({}), "address"),
        (json!({"channel": "email", "address": "A@example.com"}), "address"),
        (json!({"channel": "email", "address": "no-mail"}), "address"),
        (json!({"channel": "whatsapp", "address": "12"}), "address"),
        (json!({"channel": "push", "address": "https://push.example.com"}), "channel"),
        (json!({"channel": null, "address": "b@example.com"}), "channel"),
        (json!({"channel": "fax", "address": "b@example.com"}), "channel"),
        (json!({"channel": "email", "address": "b@example.com", "detail": "x".repeat(501)}), "detail"),
    ] {
        let answer = app.post(SUPPRESSIONS, &body).await.must_be(400);
        assert!(answer[field][0].is_string(), "{body}: {answer}");
    }
    app.get(&format!("{SUPPRESSIONS}nobody/")).await.must_be(404);
});
