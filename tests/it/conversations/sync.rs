//! What the bridge has on record is brought here, by jobs and by commands.

use recado_kernel::ids::Id;
use recado_sandbox::{BridgeChat, BridgeFault};
use serde_json::{Value, json};

use crate::harness::app::{App, until};
use crate::harness::pair::story;
use crate::harness::program::errors;

const CHATS: &str = "/api/v1/superadmin/whatsapp/chats/sync/";
const GROUPS: &str = "/api/v1/superadmin/whatsapp/groups/sync/";
const HISTORIES: &str = "/api/v1/superadmin/whatsapp/messages/sync/";
const SYNCS: &str = "/api/v1/superadmin/whatsapp/syncs/";
const MESSAGE: &str = "/api/v1/whatsapp/webhook/process-message/";

fn history_of(chat_id: &str) -> String {
    format!("/api/v1/superadmin/whatsapp/chats/{chat_id}/messages/sync/")
}

impl App {
    /// A sync that is accepted, worked off; its task's status.
    async fn synced(&self, path: &str, body: Value) -> Value {
        let accepted = self.post(path, &body).await.must_be(202);
        assert_eq!(accepted["status"], "accepted");
        let task: Id = accepted["task_id"].as_str().and_then(|id| id.parse().ok()).expect("a task");
        self.drain().await;
        self.status(task).await
    }
}

// S003-21: jobs with counts; a second run changes nothing.
story!(chats_and_groups_are_fetched_by_jobs, async |app| {
    app.sandbox.bridge.add_chat(BridgeChat::group("1203", "Galápagos", &["593991234567"]));
    app.sandbox.bridge.add_chat(BridgeChat::person("593991234567", "María"));
    let groups = app.synced(GROUPS, json!({})).await;
    assert_eq!(
        (&groups["status"], &groups["result"]),
        (&json!("SUCCESS"), &json!({"created": 1, "updated": 0, "total": 1}))
    );
    let chats = app.synced(CHATS, json!({})).await;
    assert_eq!(chats["result"], json!({"created": 1, "updated": 0, "total": 2}));
    app.sandbox.bridge.add_chat(BridgeChat::person("593991234567", "María José"));
    assert_eq!(app.synced(CHATS, json!({})).await["result"], json!({"created": 0, "updated": 1, "total": 2}));
    assert_eq!(app.synced(CHATS, json!({})).await["result"], json!({"created": 0, "updated": 0, "total": 2}));
});

// A message that a sync stored first asks for nothing, and is still processed by its webhook: once, whichever name the history
// gives it.
story!(a_history_and_its_webhooks_are_one, async |app| {
    app.sandbox.bridge.serialize_ids();
    let asked = app.sandbox.bridge.message("593991234567", "RES-GALAPA-20260120-0A1B2C3D para 2 personas");
    let chat = history_of("593991234567@c.us");
    assert_eq!(
        app.synced(&chat, json!({"limit": 50})).await["result"],
        json!({"created": 1, "updated": 0, "total": 1})
    );
    let reservations = "/api/v1/superadmin/whatsapp/reservations/";
    assert_eq!(app.get(reservations).await.must_be(200)["reservations"], json!([]), "a history asks for nothing");

    assert_eq!(app.post(MESSAGE, &asked).await.must_be(200)["status"], "reservation_created");
    assert_eq!(app.post(MESSAGE, &asked).await.must_be(200)["status"], "already_processed");
    let later = app.sandbox.bridge.message("593991234567", "¿Hay cupo?");
    app.post(MESSAGE, &later).await.must_be(200);
    assert_eq!(app.synced(&chat, json!({})).await["result"]["created"], 0, "what webhooks brought is not stored again");
    let said = app.get("/api/v1/superadmin/whatsapp/messages/?chat_id=593991234567@c.us").await.must_be(200);
    assert_eq!(said["messages"].as_array().map(Vec::len), Some(2), "{said}");
    app.leave_work();
});

// A thousand messages, and only the newest that were asked for.
story!(a_long_history_is_fetched_as_far_as_it_is_asked_for, async |app| {
    app.sandbox.bridge.fill(1, 1_000);
    let chat = history_of("593970000000@c.us");
    assert_eq!(app.synced(&chat, json!({"limit": 10})).await["result"]["created"], 10);
    assert_eq!(app.synced(&chat, json!({})).await["result"], json!({"created": 990, "updated": 0, "total": 1000}));
});

// S003-21: the histories of all chats: how far they are is seen while they run, and what was cut off goes on where it was.
story!(histories_go_on_where_they_were_cut_off, async |app| {
    app.sandbox.bridge.fill(6, 30);
    app.sandbox.bridge.misbehave_for("593970000003@c.us", BridgeFault::status(500));
    let accepted = app.post(HISTORIES, &json!({"limit": 20})).await.must_be(202);
    let task = accepted["task_id"].as_str().expect("a task").to_owned();
    app.get(&format!("{SYNCS}{task}/")).await.must_be(404);
    app.drain().await;
    let sync = app.get(&format!("{SYNCS}{task}/")).await.must_be(200);
    assert_eq!((&sync["what"], &sync["limit"], &sync["finished_at"]), (&json!("histories"), &json!(20), &Value::Null));
    assert_eq!((&sync["chats_done"], &sync["chats_total"], &sync["created"]), (&json!(3), &json!(6), &json!(60)));
    assert!(sync["problem"].as_str().is_some_and(|problem| problem.contains("500")), "{sync}");

    app.sandbox.bridge.behave();
    app.later(std::time::Duration::from_secs(31)).await;
    let status = app.status(task.parse().expect("an id")).await;
    let result = json!({"created": 120, "updated": 0, "total": 120, "chats_done": 6, "chats_total": 6});
    assert_eq!((&status["status"], &status["result"]), (&json!("SUCCESS"), &result));
    let first = "/api/chats/593970000000@c.us/messages";
    assert_eq!(app.sandbox.bridge.asked(first), 1, "what was done is not asked for again");
    let listed = app.get(SYNCS).await.must_be(200);
    assert_eq!((&listed["syncs"][0]["id"], listed["syncs"][0]["problem"].is_null()), (&json!(task), true));
    assert!(listed["syncs"][0]["finished_at"].is_string());
    app.get(&format!("{SYNCS}nothing/")).await.must_be(404);
    app.post(HISTORIES, &json!({"limit": 0})).await.must_be(400);
});

// S003-21: a command that is killed in the midst of it: its progress was seen, and the next one goes on there.
story!(a_command_that_is_killed_goes_on, async |app| {
    app.live_now();
    app.sandbox.bridge.fill(8, 10);
    app.sandbox.bridge.misbehave(BridgeFault::Slow { delay: std::time::Duration::from_millis(150) });
    let mut command = app.program("recado", &[]);
    let mut command = command.args(["whatsapp", "sync", "--histories"]).spawn().expect("it starts");
    until("two chats are done", async || {
        let listed = app.get(SYNCS).await.must_be(200);
        listed["syncs"][0]["chats_done"].as_i64().is_some_and(|done| done >= 2)
    })
    .await;
    command.kill().await.expect("it dies");
    app.sandbox.bridge.behave();
    let done = app.recado_json(&["whatsapp", "sync", "--histories"]).await;
    assert_eq!(done, json!({"created": 80, "updated": 0, "total": 80, "chats_done": 8, "chats_total": 8}));
    assert_eq!(app.sandbox.bridge.asked("/api/chats/593970000000@c.us/messages"), 1);
    let syncs = app.recado_json(&["whatsapp", "syncs"]).await;
    assert_eq!(syncs.as_array().map(Vec::len), Some(1), "{syncs}");
    let again = app.recado_json(&["whatsapp", "sync", "--histories"]).await;
    assert_eq!(
        (&again["created"], &again["chats_done"]),
        (&json!(0), &json!(8)),
        "one that came to its end begins again"
    );
});

// A bridge that cannot be read, or that does not know the chat, is never SUCCESS.
story!(a_sync_that_cannot_be_done_is_no_success, async |app| {
    let unknown = app.synced(&history_of("593990000000@c.us"), json!({})).await;
    assert_eq!(unknown["status"], "FAILURE", "{unknown}");
    app.post(&history_of("nonsense"), &json!({})).await.must_be(400);
    for limit in [json!(0), json!(10_001), json!("many")] {
        let answer = app.post(&history_of("593990000000@c.us"), &json!({"limit": limit})).await.must_be(400);
        assert!(answer.get("limit").is_some(), "{answer}");
    }
    app.sandbox.bridge.misbehave(BridgeFault::NotReady);
    assert_eq!(app.synced(CHATS, json!({})).await["status"], "RETRY");
    app.sandbox.bridge.misbehave(BridgeFault::Nonsense);
    assert_ne!(app.synced(GROUPS, json!({})).await["status"], "SUCCESS");
});

story!(without_a_bridge_a_sync_fails, [("WHATSAPP_SERVICE_URL", "")], async |app| {
    assert_eq!(app.synced(CHATS, json!({})).await["status"], "FAILURE");
});

// S003-21: the commands of the original, with their exit statuses.
story!(commands_fetch_too, async |app| {
    app.live_now();
    app.sandbox.bridge.message("593991234567", "Hola");
    assert_eq!(app.recado_json(&["sync_whatsapp_chats"]).await, json!({"created": 1, "updated": 0, "total": 1}));
    let messages = app.recado_json(&["sync_whatsapp_messages", "593991234567@c.us"]).await;
    assert_eq!(messages, json!({"created": 1, "updated": 0, "total": 1}));
    assert_eq!(app.recado(&["sync_whatsapp_messages"]).await.status.code(), Some(2), "it needs an id");
    let unknown = app.recado(&["sync_whatsapp_messages", "593990000000@c.us"]).await;
    assert_eq!(unknown.status.code(), Some(1));
    assert!(errors(&unknown).contains("refuses"), "{}", errors(&unknown));

    let status = app.recado(&["whatsapp", "status"]).await;
    assert_eq!(status.status.code(), Some(0), "{}", errors(&status));
    app.sandbox.bridge.shows_qr("2@abc");
    let qr = app.recado(&["whatsapp", "qr"]).await;
    assert!(String::from_utf8_lossy(&qr.stdout).contains('█'));
    assert_eq!(app.recado(&["whatsapp", "status"]).await.status.code(), Some(1), "no message would leave");
    app.sandbox.bridge.connects();
    app.recado_json(&["whatsapp", "send", "593991234567@c.us", "Listo"]).await;
    assert_eq!(app.sandbox.bridge.texts().len(), 1);
    let chats = app.recado_json(&["whatsapp", "chats"]).await;
    assert_eq!(chats[0]["chat_id"], "593991234567@c.us");
    app.recado_json(&["whatsapp", "requests"]).await;
    app.sandbox.bridge.misbehave(BridgeFault::NotReady);
    assert_eq!(app.recado(&["sync_whatsapp_chats"]).await.status.code(), Some(1));
});
