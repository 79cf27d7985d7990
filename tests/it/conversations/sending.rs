//! Staff write into a chat.

use futures::future::join_all;
use recado_notifications::channels::Channel;
use recado_sandbox::BridgeFault;
use serde_json::{Value, json};

use crate::conversations::notices::{ask, know_told_experience, show, story_of};
use crate::harness::app::{App, seconds};
use crate::harness::pair::story;
use crate::harness::program::errors;
use crate::harness::sample::{event, likes};

const SEND: &str = "/api/v1/superadmin/whatsapp/send-message/";
const WEBHOOK: &str = "/api/v1/whatsapp/webhook/process-message/";

impl App {
    async fn writes(&self, chat_id: &str, text: &str) -> crate::harness::answer::Answer {
        self.post(SEND, &json!({"chat_id": chat_id, "text": text})).await
    }

    async fn said_in(&self, chat_id: &str) -> Vec<Value> {
        let path = format!("/api/v1/superadmin/whatsapp/messages/?chat_id={chat_id}");
        let answer = self.get(&path).await.must_be(200);
        answer["messages"].as_array().cloned().expect("a list")
    }
}

// A group, a LID as it is (d31) and a number; each is stored, and comes back as the same message (d31a).
story!(a_text_leaves_and_comes_back_as_one_message, async |app| {
    for chat_id in ["593991234567@c.us", "120363041@g.us", "37881745801364@lid"] {
        let sent = app.writes(chat_id, "¡Hola! 👋").await.must_be(200);
        assert_eq!((&sent["success"], sent["message_id"].is_string()), (&json!(true), true), "{sent}");
        assert_eq!(app.sandbox.bridge.texts().last().map(|text| text.chat_id.clone()).as_deref(), Some(chat_id));
        let said = app.said_in(chat_id).await;
        assert_eq!((said.len(), &said[0]["type"], &said[0]["full_content"]), (1, &json!("out"), &json!("¡Hola! 👋")));
        let echoes = app.sandbox.bridge.echoes();
        assert_eq!(app.post(WEBHOOK, &echoes[0]).await.must_be(200)["status"], "saved");
        let said = app.said_in(chat_id).await;
        assert_eq!(
            (said.len(), &said[0]["whatsapp_id"]),
            (1, &echoes[0]["id"]),
            "once, by WhatsApp's own name: {said:?}"
        );
    }
    app.drain().await;
});

// A bridge that did not answer may have sent it: it is not sent again, and the echo settles it (d27, d31a).
story!(a_text_of_unknown_outcome_is_not_sent_again, [("WHATSAPP_SERVICE_TIMEOUT", "0.3")], async |app| {
    app.sandbox.bridge.misbehave(BridgeFault::AcceptThenHang);
    app.writes("593991234567@c.us", "Hola").await.must_be(202);
    assert_eq!(app.sandbox.bridge.texts().len(), 1);
    let echo = app.sandbox.bridge.echoes().remove(0);
    app.post(WEBHOOK, &echo).await.must_be(200);
    assert_eq!(app.said_in("593991234567@c.us").await.len(), 1);
});

// Each mistake names its field, and each failure of the bridge is 503; nothing is stored of what did not leave.
story!(what_cannot_be_sent_says_why, [("WHATSAPP_SERVICE_TIMEOUT", "0.3")], async |app| {
    for (body, field) in [
        (json!({"text": "Hola"}), "chat_id"),
        (json!({"chat_id": "593991234567", "text": "Hola"}), "chat_id"),
        (json!({"chat_id": "status@broadcast", "text": "Hola"}), "chat_id"),
        (json!({"chat_id": 7, "text": "Hola"}), "chat_id"),
        (json!({"chat_id": "593991234567@c.us"}), "text"),
        (json!({"chat_id": "593991234567@c.us", "text": "  "}), "text"),
        (json!({"chat_id": "593991234567@c.us", "text": "x".repeat(65_537)}), "text"),
    ] {
        let answer = app.post(SEND, &body).await.must_be(400);
        assert!(answer.get(field).is_some(), "{field}: {answer}");
    }
    app.sandbox.bridge.misbehave(BridgeFault::NotRegistered);
    assert!(app.writes("593991234567@c.us", "Hola").await.must_be(400).get("chat_id").is_some());
    for fault in [BridgeFault::NotReady, BridgeFault::status(500), BridgeFault::Nonsense] {
        app.sandbox.bridge.misbehave(fault);
        let answer = app.writes("593991234567@c.us", "Hola").await;
        assert!(!answer.header("retry-after").is_empty());
        answer.must_be(503);
    }
    assert_eq!(app.said_in("593991234567@c.us").await.len(), 0);
});

// WhatsApp bans numbers that send too much: a daily limit, shown in the status.
story!(a_number_has_a_daily_limit, [("WHATSAPP_DAILY_LIMIT", "2")], async |app| {
    for text in ["uno", "dos"] {
        app.writes("593991234567@c.us", text).await.must_be(200);
    }
    let answer = app.writes("593991234567@c.us", "tres").await;
    assert!(answer.header("retry-after").parse::<u64>().is_ok_and(|seconds| seconds > 80_000));
    answer.must_be(429);
    let pacing = app.get("/api/v1/superadmin/whatsapp/status/").await.must_be(200)["pacing"].clone();
    assert_eq!(pacing, json!({"sent_last_24_hours": 2, "limit_24_hours": 2, "reserved_for_operators": 0}));
});

// Counted and held in one turn, before the bridge is asked; what it refuses gives its place back.
story!(twenty_texts_at_once_keep_the_daily_limit, [("WHATSAPP_DAILY_LIMIT", "5")], async |app| {
    app.sandbox.bridge.misbehave(BridgeFault::status(404));
    for text in ["uno", "dos", "tres"] {
        assert_ne!(app.writes("593991234567@c.us", text).await.status, 200);
    }
    app.sandbox.bridge.behave();
    let texts: Vec<String> = (0..20).map(|number| format!("texto {number}")).collect();
    let answers = join_all(texts.iter().map(|text| app.writes("593991234567@c.us", text))).await;
    let count = |status: u16| answers.iter().filter(|answer| answer.status == status).count();
    assert_eq!((count(200), count(429)), (5, 15));
    assert_eq!(app.sandbox.bridge.texts().len(), 5);
});

// The same holds for the command.
story!(a_command_keeps_the_daily_limit, async |app| {
    app.live_now();
    let send = async |text: &str| {
        let mut command = app.program("recado", &[("WHATSAPP_DAILY_LIMIT", "2")]);
        command.args(["whatsapp", "send", "593991234567@c.us", text]).output().await.expect("it runs")
    };
    for text in ["uno", "dos"] {
        assert!(send(text).await.status.success());
    }
    let refused = send("tres").await;
    assert!(!refused.status.success() && errors(&refused).contains("WHATSAPP_DAILY_LIMIT"), "{}", errors(&refused));
    assert_eq!(app.sandbox.bridge.texts().len(), 2);
});

// A tenth of the limit is left to notices to operators. When that is used too, they go by mail; without an address they wait.
story!(notices_have_a_part_of_the_limit, [("WHATSAPP_DAILY_LIMIT", "10")], async |app| {
    app.live_now();
    know_told_experience(app).await;
    for number in 0..9 {
        app.writes("593991234567@c.us", &format!("texto {number}")).await.must_be(200);
    }
    app.writes("593991234567@c.us", "uno más").await.must_be(429);
    let (first, _) = ask(app).await;
    app.drain().await;
    assert_eq!((&show(app, &first).await["told_by"], app.sandbox.bridge.texts().len()), (&json!("group"), 10));

    let (waits, _) = ask(app).await;
    app.drain().await;
    let request = show(app, &waits).await;
    assert_eq!(
        (&request["status"], story_of(&request)),
        (&json!("processing"), vec!["created".to_owned(), "not_yet_told".to_owned()])
    );
    app.sql("update tour_operators set contact_email = 'tours@example.com'").await;
    let (mailed, _) = ask(app).await;
    app.drain().await;
    assert_eq!((&show(app, &mailed).await["told_by"], app.mails().len()), (&json!("email"), 1));
    app.sql("update tour_operators set contact_email = null").await;
    app.sql("update reservation_requests set timeout_at = '2100-01-01T00:00:00.000000Z'").await;
    app.sql("update tasks set run_at = '2100-01-01T00:00:00.000000Z' where kind = 'expire_reservation_request'").await;
    app.later(seconds(24 * 60 * 60)).await;
    assert_eq!(show(app, &waits).await["status"], "operator_notified", "a day later it leaves");
    assert_eq!(app.sandbox.bridge.texts().len(), 11);
});

// Notifications of seed 002 go through the bridge where it is the provider; a number that is not on WhatsApp falls back at once.
story!(notifications_go_through_the_bridge, [("WHATSAPP_PROVIDER", "bridge")], async |app| {
    app.know_carlos().await;
    app.prefer("customer-001", &[likes(Channel::Whatsapp, 1), likes(Channel::Email, 2)]).await;
    app.accepted(&event()).await;
    app.drain().await;
    let texts = app.sandbox.bridge.texts();
    assert_eq!((texts.len(), texts[0].chat_id.as_str()), (1, "593991234567@c.us"), "{texts:?}");
    assert_eq!((app.mails().len(), app.sandbox.evolution.messages().len()), (0, 0));

    app.sandbox.bridge.misbehave(BridgeFault::NotRegistered);
    app.accepted(&event()).await;
    app.drain().await;
    assert_eq!((app.sandbox.bridge.texts().len(), app.mails().len()), (1, 1), "the next channel");
});

// An answer that never came is looked up in the chat's history, and the text is not sent twice (d27).
story!(
    what_may_have_left_through_the_bridge_is_looked_up,
    [("WHATSAPP_PROVIDER", "bridge"), ("WHATSAPP_SERVICE_TIMEOUT", "0.3")],
    async |app| {
        app.live_now();
        app.know_carlos().await;
        app.prefer("customer-001", &[likes(Channel::Whatsapp, 1), likes(Channel::Email, 2)]).await;
        app.sandbox.bridge.misbehave_times(BridgeFault::AcceptThenHang, 1);
        let task = app.task_for(&event()).await;
        app.drain().await;
        app.until_due(task).await;
        assert_eq!((app.sandbox.bridge.texts().len(), app.mails().len()), (1, 0), "once");
        assert_eq!(app.status(task).await["status"], "SUCCESS");
    }
);

// A session that is a zombie gets no notifications: they go to the next channel.
story!(notifications_pass_a_zombie_by, [("WHATSAPP_PROVIDER", "bridge")], async |app| {
    app.know_carlos().await;
    app.prefer("customer-001", &[likes(Channel::Whatsapp, 1), likes(Channel::Email, 2)]).await;
    app.get("/api/v1/superadmin/whatsapp/status/").await.must_be(200);
    app.sql("update whatsapp_sessions set zombie_since = '2026-01-20T14:30:00.000000Z'").await;
    app.accepted(&event()).await;
    app.drain().await;
    assert_eq!((app.sandbox.bridge.texts().len(), app.mails().len()), (0, 1));
});
