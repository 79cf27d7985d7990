//! What became of a message after the provider took it.

use recado_kernel::ids::Id;
use recado_notifications::channels::Channel;
use recado_notifications::journal::{self, Fact, FallbackReason, Line};
use recado_queue::operations;
use recado_sandbox::{EvolutionFault, SmtpFault, WhatsappStatus};
use reqwest::Method;
use serde_json::{Value, json};

use crate::harness::app::{App, at, operator, seconds};
use crate::harness::pair::story;
use crate::harness::sample::{self, likes};

const WEBHOOK: &str = "/api/v1/webhooks/evolution/";

impl App {
    /// Carlos hears of us by WhatsApp first and by email next; the message is taken by WhatsApp.
    async fn whatsapp_first(&self) -> Id {
        self.know_carlos().await;
        self.prefer("customer-001", &[likes(Channel::Whatsapp, 1), likes(Channel::Email, 2)]).await;
        let task = self.task_for(&sample::event()).await;
        self.drain().await;
        task
    }

    /// The same where the matrix waits ten minutes for a receipt.
    async fn whatsapp_awaiting(&self, receipt: &str) -> Id {
        self.sql("update phase_channel_configs set await_receipt = 'delivered', await_seconds = 600").await;
        if receipt == "read" {
            self.sql("update phase_channel_configs set await_receipt = 'read'").await;
        }
        self.whatsapp_first().await
    }

    /// The body of the receipt that the recipient's telephone causes for the n-th message.
    fn receipt(&self, number: usize, status: WhatsappStatus) -> Value {
        let message = &self.whatsapps()[number];
        self.sandbox.evolution.receipt(&message.id, status).expect("the message is kept")
    }

    /// Evolution posts a receipt for the first message, and the worker applies it.
    async fn report(&self, status: WhatsappStatus) {
        self.post(WEBHOOK, &self.receipt(0, status)).await.must_be(200);
        self.drain().await;
    }

    /// What the journal tells of a task after the door, each line as `kind detail`.
    async fn journal(&self, task: Id) -> Vec<String> {
        let lines = journal::of_task(&mut self.begin().await, task).await.expect("the journal is read");
        let later = lines.into_iter().filter(|line| line.kind != "skipped");
        later.map(|line| format!("{} {}", line.kind, told(&line))).collect()
    }
}

/// The facts of a line that these stories look at.
fn told(line: &Line) -> String {
    match line.fact().expect("facts of this version") {
        Fact::Receipt { report } => report.as_str().to_owned(),
        Fact::FellBack { to, why: FallbackReason::NoReceipt(awaited) } => {
            format!("to {to}: no receipt \"{}\" within {} s", awaited.receipt, awaited.seconds)
        }
        Fact::FellBack { to, why } => format!("to {to}: {why:?}"),
        other => format!("{other:?}"),
    }
}

// S002-70, d32: sent, delivered, read; the status and the journal tell when.
story!(receipts_move_a_message_forward, async |app: &App| {
    let task = app.whatsapp_first().await;
    assert_eq!(app.chain(task).await, ["whatsapp sent", "email pending"]);
    app.report(WhatsappStatus::DeliveryAck).await;
    assert_eq!(app.chain(task).await, ["whatsapp delivered", "email pending"]);
    app.clock.advance(seconds(30));
    app.report(WhatsappStatus::Read).await;
    assert_eq!(app.chain(task).await, ["whatsapp read", "email pending"]);

    let status = app.status(task).await;
    let whatsapp = &status["notifications"][0];
    assert_eq!((&status["status"], &whatsapp["status"]), (&json!("SUCCESS"), &json!("read")));
    assert_eq!(whatsapp["delivered_at"], json!(at("2026-01-20T14:30:00Z")));
    assert_eq!(whatsapp["read_at"], json!(at("2026-01-20T14:30:30Z")));
    assert_eq!(app.journal(task).await, ["receipt delivered", "receipt read"]);
    assert!(app.mails().is_empty());
});

// d32: states only move forward, whatever comes twice or in disorder. A voice message that was played was read.
story!(receipts_twice_and_in_disorder_change_nothing, async |app: &App| {
    let task = app.whatsapp_first().await;
    app.report(WhatsappStatus::Read).await;
    for late in [
        WhatsappStatus::Pending,
        WhatsappStatus::ServerAck,
        WhatsappStatus::DeliveryAck,
        WhatsappStatus::Played,
        WhatsappStatus::Error,
        WhatsappStatus::Deleted,
    ] {
        app.report(late).await;
        assert_eq!(app.chain(task).await, ["whatsapp read", "email pending"], "{late:?}");
    }
    assert_eq!(app.journal(task).await, ["receipt read"]);
    assert_eq!((app.status(task).await["status"].clone(), app.mails().len()), (json!("SUCCESS"), 0));
});

// d32: one webhook may hold a list, in the event's name, in capitals, or only in the URL.
story!(receipts_come_in_every_shape, async |app: &App| {
    app.know_carlos().await;
    app.prefer("customer-001", &[likes(Channel::Whatsapp, 1)]).await;
    for _ in 0..3 {
        app.accepted(&sample::event()).await;
    }
    app.drain().await;
    let ids: Vec<String> = app.whatsapps().into_iter().map(|message| message.id).collect();
    let list = json!({"event": "MESSAGES_UPDATE", "data": [
        {"keyId": ids[0], "fromMe": true, "status": "DELIVERY_ACK"},
        {"key": {"id": ids[1], "fromMe": true}, "update": {"status": 3}},
        {"keyId": "of somebody else", "fromMe": false, "status": "READ"},
    ]});
    let taken = app.post(WEBHOOK, &list).await.must_be(200);
    assert_eq!((&taken["status"], &taken["accepted"]), (&json!("ok"), &json!(2)));
    assert_eq!(taken["ignored"].as_array().map(Vec::len), Some(1));
    let by_url = json!({"data": {"keyId": ids[2], "status": "READ"}});
    app.post(&format!("{WEBHOOK}messages-update"), &by_url).await.must_be(200);
    app.drain().await;
    for (id, status) in ids.iter().zip(["delivered", "delivered", "read"]) {
        let statement = "select id from notifications where provider_message_id = $1 and status = $2";
        let found = recado_kernel::sql!(one(Id,), &mut app.begin().await, (statement), id.as_str(), status);
        assert!(found.expect("it is asked").is_some(), "{id} is not {status}");
    }
});

// d32: refused after it was taken. The next channel has its turn, once, and the task lives again.
story!(a_refusal_after_sent_falls_back_once, async |app: &App| {
    let task = app.whatsapp_first().await;
    assert_eq!(app.status(task).await["status"], "SUCCESS");
    app.report(WhatsappStatus::Error).await;
    app.report(WhatsappStatus::Error).await;

    assert_eq!(app.chain(task).await, ["whatsapp failed WHATSAPP_RECEIPT_ERROR", "email sent"]);
    assert_eq!((app.mails().len(), app.whatsapps().len()), (1, 1));
    let status = app.status(task).await;
    assert_eq!((&status["status"], &status["result"]["channel"]), (&json!("SUCCESS"), &json!("email")));
    let journal = app.journal(task).await;
    let told = |kind: &str| journal.iter().filter(|line| line.starts_with(kind)).count();
    assert_eq!((told("receipt failed"), told("fell_back to email"), journal.len()), (1, 1, 2), "{journal:?}");
});

// d32: the same webhook in two requests at once, and two workers' runs, are still one fallback.
story!(a_refusal_told_twice_at_once_falls_back_once, async |app: &App| {
    let task = app.whatsapp_first().await;
    let body = app.receipt(0, WhatsappStatus::Error);
    for _ in 0..3 {
        app.post(WEBHOOK, &body).await.must_be(200);
    }
    app.drain().await;
    assert_eq!(app.mails().len(), 1);
    assert_eq!(app.chain(task).await, ["whatsapp failed WHATSAPP_RECEIPT_ERROR", "email sent"]);
});

// d32: no channel is left after the refusal: the delivery has failed and says so.
story!(a_refusal_without_a_next_channel_is_a_failure, async |app: &App| {
    app.sync_customer(&sample::customer_with(json!({"email": null}))).await;
    let task = app.task_for(&sample::event()).await;
    app.drain().await;
    app.report(WhatsappStatus::Error).await;
    let status = app.status(task).await;
    assert_eq!(status["status"], "FAILURE");
    assert!(status["error"].as_str().expect("a reason").contains("WHATSAPP_RECEIPT_ERROR"), "{status}");

    // What arrives after all was not refused.
    app.report(WhatsappStatus::DeliveryAck).await;
    assert_eq!(app.chain(task).await, ["whatsapp delivered"]);
});

// d32: the matrix waits for a receipt that never comes. The email leaves when the time is up, and not before.
story!(without_a_receipt_in_time_the_next_channel_is_tried, async |app: &App| {
    let task = app.whatsapp_awaiting("delivered").await;
    let status = app.status(task).await;
    assert_eq!((&status["status"], &status["ready"]), (&json!("STARTED"), &json!(false)), "{status}");
    assert_eq!(
        status["notifications"][0]["awaits"],
        json!({"receipt": "delivered", "until": at("2026-01-20T14:40:00Z")})
    );
    app.later(seconds(599)).await;
    assert!(app.mails().is_empty());
    app.later(seconds(1)).await;
    assert_eq!((app.mails().len(), app.whatsapps().len()), (1, 1));
    assert_eq!(app.chain(task).await, ["whatsapp sent", "email sent"], "the silent one stays sent");
    assert_eq!(app.journal(task).await, ["fell_back to email: no receipt \"delivered\" within 600 s"]);
    assert_eq!(app.status(task).await["result"]["channel"], "email");

    // Late, but true; nothing else follows from it.
    app.report(WhatsappStatus::DeliveryAck).await;
    assert_eq!(app.chain(task).await, ["whatsapp delivered", "email sent"]);
    app.later(seconds(3600)).await;
    assert_eq!((app.mails().len(), app.whatsapps().len()), (1, 1));
});

// d32: the receipt comes in time: the task is done at once, and nothing follows when the time is up.
story!(a_receipt_in_time_ends_the_wait, async |app: &App| {
    let task = app.whatsapp_awaiting("delivered").await;
    app.clock.advance(seconds(5));
    app.report(WhatsappStatus::DeliveryAck).await;
    let status = app.status(task).await;
    assert_eq!((&status["status"], &status["result"]["channel"]), (&json!("SUCCESS"), &json!("whatsapp")));
    app.later(seconds(3600)).await;
    assert!(app.mails().is_empty());
    assert_eq!(app.chain(task).await, ["whatsapp delivered", "email pending"]);
});

// d32: "delivered" is not yet "read"; who waits for the second goes on waiting.
story!(delivered_is_not_read, async |app: &App| {
    let task = app.whatsapp_awaiting("read").await;
    app.report(WhatsappStatus::DeliveryAck).await;
    assert_eq!(app.status(task).await["status"], "STARTED");
    app.later(seconds(600)).await;
    assert_eq!(app.chain(task).await, ["whatsapp delivered", "email sent"]);
    assert_eq!(app.journal(task).await.last().expect("a line"), "fell_back to email: no receipt \"read\" within 600 s");
});

// d32: refused while the task waits for the receipt: the next channel at once, and once.
story!(a_refusal_during_the_wait_falls_back_at_once, async |app: &App| {
    let task = app.whatsapp_awaiting("delivered").await;
    app.report(WhatsappStatus::Error).await;
    assert_eq!(app.chain(task).await, ["whatsapp failed WHATSAPP_RECEIPT_ERROR", "email sent"]);
    app.later(seconds(3600)).await;
    assert_eq!(app.mails().len(), 1);
});

// A receipt that comes while the next channel is being retried: the person has it, so the email is not needed any more.
story!(a_late_receipt_stops_the_next_channels_retries, async |app: &App| {
    let task = app.whatsapp_awaiting("delivered").await;
    app.sandbox.smtp.misbehave(SmtpFault::reject_recipient(451));
    app.later(seconds(600)).await;
    assert_eq!(app.chain(task).await, ["whatsapp sent", "email queued EMAIL_SEND_FAILED"]);
    app.sandbox.smtp.behave();
    app.report(WhatsappStatus::DeliveryAck).await;
    assert_eq!(app.status(task).await["result"]["channel"], "whatsapp");
    app.later(seconds(3600)).await;
    assert!(app.mails().is_empty());
});

// A message whose receipt never came was sent; that the channel after it failed makes it no failure.
story!(sent_without_a_receipt_is_no_failure, async |app: &App| {
    let task = app.whatsapp_awaiting("delivered").await;
    app.sandbox.smtp.misbehave(SmtpFault::reject_data(554));
    app.later(seconds(600)).await;
    let status = app.status(task).await;
    assert_eq!((&status["status"], &status["result"]["channel"]), (&json!("SUCCESS"), &json!("whatsapp")));
    assert_eq!(app.chain(task).await, ["whatsapp sent", "email failed EMAIL_SEND_FAILED"]);
});

// Where no channel comes next, and on channels without receipts, no one waits.
story!(who_has_nowhere_to_go_does_not_wait, async |app: &App| {
    app.sql("update phase_channel_configs set await_receipt = 'delivered', await_seconds = 600").await;
    app.know_carlos().await;
    let email_first = app.task_for(&sample::event()).await;
    app.drain().await;
    assert_eq!(app.status(email_first).await["status"], "SUCCESS");
    app.sync_customer(&json!({"customer_id": "customer-002", "name": "Ana", "phone": "+593991234568"})).await;
    let whatsapp_only = app.task_for(&sample::event_with(json!({"customer_id": "customer-002"}))).await;
    app.drain().await;
    assert_eq!(app.status(whatsapp_only).await["status"], "SUCCESS");
});

// An operator may end the wait; the receipt that comes later changes the message and nothing else.
story!(a_wait_can_be_cancelled, async |app: &App| {
    let task = app.whatsapp_awaiting("delivered").await;
    operations::cancel(&app.context, &[task], &operator()).await.expect("cancelled");
    app.report(WhatsappStatus::DeliveryAck).await;
    app.later(seconds(3600)).await;
    assert_eq!(app.chain(task).await, ["whatsapp delivered", "email cancelled"]);
    assert!(app.mails().is_empty());
});

// d32: a receipt may overtake our own commit of "sent"; it is looked at again until its message is known.
story!(a_receipt_may_overtake_the_commit, async |app: &App| {
    let task = app.whatsapp_first().await;
    app.sql("update notifications set provider_message_id = null where channel = 'whatsapp'").await;
    app.report(WhatsappStatus::DeliveryAck).await;
    assert_eq!(app.chain(task).await, ["whatsapp sent", "email pending"]);
    restore_id(app).await;
    app.later(seconds(1)).await;
    assert_eq!(app.chain(task).await, ["whatsapp delivered", "email pending"]);
});

async fn restore_id(app: &App) {
    let id = app.whatsapps()[0].id.clone();
    let mut session = app.begin().await;
    let statement = "update notifications set provider_message_id = $1 where channel = 'whatsapp'";
    recado_kernel::sql!(run, &mut session, (statement), id.as_str()).expect("it is written");
    session.commit().await.expect("it is committed");
}

// d27, d32: Evolution took the message and never answered. Its receipt waits until the look-up has found the id.
story!(a_receipt_settles_an_unknown_outcome, [("EVOLUTION_TIMEOUT", "0.3")], async |app: &App| {
    app.sync_customer(&sample::customer_with(json!({"email": null}))).await;
    let task = app.task_for(&sample::event()).await;
    app.sandbox.evolution.misbehave_times(EvolutionFault::AcceptThenHang, 1);
    app.drain().await;
    app.report(WhatsappStatus::DeliveryAck).await;
    assert_eq!(app.chain(task).await, ["whatsapp queued WHATSAPP_TIMEOUT"]);
    app.later(seconds(5)).await;
    app.later(seconds(5)).await;
    assert_eq!(app.chain(task).await, ["whatsapp delivered"]);
    assert_eq!(app.whatsapps().len(), 1);
});

// A receipt of a message that is not ours is looked for during its window, and then it is over.
// An account in the database may take 300 s for a message, and its outcome is looked up for 60 s more.
story!(a_receipt_of_a_stranger_is_dropped, [("EVOLUTION_TIMEOUT", "1")], async |app: &App| {
    let stranger = json!({"event": "messages.update", "data": {"keyId": "3EB0F00", "status": "READ"}});
    let taken = app.post(WEBHOOK, &stranger).await.must_be(200);
    let task: Id = taken["task_id"].as_str().expect("a task").parse().expect("an id");
    app.drain().await;
    let mut waited = seconds(0);
    for _ in 0..20 {
        if app.status(task).await["ready"] == true {
            break;
        }
        waited += app.until_due(task).await;
    }
    assert_eq!((app.status(task).await["status"].clone(), waited), (json!("SUCCESS"), seconds(360)));
});

// d32: what is not about our messages is 200 and says what was left aside, so that Evolution does not try again.
story!(other_events_are_left_aside, async |app: &App| {
    let bodies = [
        json!({"event": "qrcode.updated", "instance": "taller", "data": {}}),
        json!({"event": "messages.upsert", "data": {"key": {"id": "IN-1", "fromMe": false}, "message": {"conversation": "Gracias"}}}),
        json!({"event": "send.message", "data": {"key": {"id": "152efeb2", "fromMe": true}, "status": "PENDING"}}),
        json!({"event": "messages.update", "data": {"keyId": 5, "status": "READ"}}),
        json!({"event": "messages.update", "data": {"keyId": "a\nb", "status": "READ"}}),
        json!({"event": "messages.update", "data": ["x", 1, null, {}, []]}),
        json!({"event": ["x"], "data": null}),
        json!({}),
        json!([]),
        json!("hola"),
        json!(null),
    ];
    for body in bodies {
        let taken = app.post(WEBHOOK, &body).await.must_be(200);
        assert_eq!((&taken["status"], &taken["accepted"]), (&json!("ok"), &json!(0)), "{body}");
        assert!(taken["ignored"][0].is_string(), "{body}: {taken}");
    }
    let session = json!({"event": "connection.update", "instance": "sandbox", "data": {"state": "close"}});
    let taken = app.post(&format!("{WEBHOOK}connection-update/"), &session).await.must_be(200);
    assert_eq!(taken["ignored"], json!([]));
    assert_eq!(app.drain().await, 0);
});

// What is no JSON is refused as everywhere. What is large is not: Evolution repeats a 413 ten times, so every photograph cost tens of
// megabytes of traffic (evolution-api#956, #942, #1555). Only what no message can be is refused, with the 400 that ends it.
story!(hostile_bodies_are_refused, async |app: &App| {
    let send = async |body: String| {
        let request = app.request(Method::POST, WEBHOOK).header("Content-Type", "application/json").body(body);
        app.send(request).await.status
    };
    for (body, status) in [
        (String::new(), 400),
        ("{".to_owned(), 400),
        ("{\"event\": \"messages.update\"} x".to_owned(), 400),
        ("[".repeat(100_000), 400),
        (format!("\"{}\"", "x".repeat(1024 * 1024)), 200),
        (json!({"event": "messages.upsert", "data": {"base64": "x".repeat(20_000_000)}}).to_string(), 200),
        (json!({"event": "messages.upsert", "data": vec![[1, 2]; 400_000]}).to_string(), 200),
        ("x".repeat(65 * 1024 * 1024), 400),
    ] {
        assert_eq!(send(body.clone()).await, status, "{}", body.chars().take(40).collect::<String>());
    }
    let receipt = json!({"event": "send.message", "data": {"key": {"id": "x", "fromMe": true}, "status": "READ",
        "message": {"imageMessage": {"jpegThumbnail": "x".repeat(2_000_000)}}}});
    assert_eq!(app.post(WEBHOOK, &receipt).await.must_be(200)["accepted"], 1, "a receipt with a photograph is one");
    let other =
        app.request(Method::POST, WEBHOOK).header("Content-Type", "text/plain").header("Sec-Fetch-Site", "none");
    assert_eq!(app.send(other.body("{}")).await.status, 400, "a 415 would be repeated");
    let many = json!({"event": "messages.update", "data": vec![json!({"keyId": "x", "status": "READ"}); 20_000]});
    let taken = app.post(WEBHOOK, &many).await.must_be(200);
    assert_eq!(taken["accepted"], 20_000);
    app.drain().await;
});

const TOKEN: &str = "token-of-the-stories";

// The fixed interface: a token where one is set, as a header or in the URL.
story!(only_evolution_may_report, [("EVOLUTION_WEBHOOK_TOKEN", TOKEN)], async |app: &App| {
    let body = json!({"event": "qrcode.updated"});
    let post = |path: &str| app.request(Method::POST, path).json(&body);
    app.send(post(WEBHOOK)).await.must_be(401);
    app.send(post(WEBHOOK).header("X-Webhook-Token", "wrong")).await.must_be(401);
    app.send(post(WEBHOOK).bearer_auth(TOKEN)).await.must_be(401);
    app.send(post(&format!("{WEBHOOK}?token=wrong"))).await.must_be(401);
    app.send(post(WEBHOOK).header("X-Webhook-Token", TOKEN)).await.must_be(200);
    app.send(post(&format!("{WEBHOOK}messages-update/?token={TOKEN}"))).await.must_be(200);
});

/// Written by Evolution API 2.3.6 with the key `jwtsecret`; it ends at 2026-11-22T22:45:53Z.
const RECORDED: &str = "eyJhbGciOiJIUzI1NiIsInR5cCI6IkpXVCJ9.eyJpYXQiOjE3OTUzODY5NTMsImV4cCI6MTc5NTM4NzU1MywiYXBwIjoiZXZvbHV0aW9uIiwiYWN0aW9uIjoid2ViaG9vayJ9.clo_xFxT_f1CAdJz-j4N-EDEdktqsdsg2_m8WfT1M20";

// d32: where a jwt_key is set, only its tokens count, and only until they end.
story!(
    a_jwt_key_wants_tokens,
    [("EVOLUTION_WEBHOOK_JWT_KEY", "jwtsecret"), ("EVOLUTION_WEBHOOK_TOKEN", TOKEN)],
    async |app: &App| {
        let body = json!({"event": "qrcode.updated"});
        let post = |token: &str| app.request(Method::POST, WEBHOOK).bearer_auth(token).json(&body);
        app.send(post(RECORDED)).await.must_be(200);
        app.send(post(&RECORDED.replace("clo_", "clo-"))).await.must_be(401);
        app.send(app.request(Method::POST, WEBHOOK).header("X-Webhook-Token", TOKEN).json(&body)).await.must_be(401);
        app.clock.advance(seconds(400 * 24 * 60 * 60));
        app.send(post(RECORDED)).await.must_be(401);
    }
);
