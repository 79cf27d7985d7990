//! What the bridge tells: messages, its session, its QR code.

use futures::future::join_all;
use recado_kernel::sql;
use reqwest::Method;
use serde_json::{Value, json};

use crate::harness::answer::Answer;
use crate::harness::app::App;
use crate::harness::pair::story;

pub(super) const WEBHOOK: &str = "/api/v1/whatsapp/webhook/process-message/";
const STATUS: &str = "/api/v1/whatsapp/webhook/status/";
const QR: &str = "/api/v1/whatsapp/webhook/qr/";
pub(super) const SA: &str = "/api/v1/superadmin/whatsapp/";

pub(super) const CUSTOMER: &str = "593991234567";

/// A customer writes; the bridge tells of it.
pub(super) async fn hear(app: &App, phone: &str, text: &str) -> Value {
    let body = app.sandbox.bridge.message(phone, text);
    app.post(WEBHOOK, &body).await.must_be(200)
}

/// Requests, as staff see them.
pub(super) async fn reservations(app: &App, query: &str) -> Vec<Value> {
    let list = app.get(&format!("{SA}reservations/{query}")).await.must_be(200);
    list["reservations"].as_array().expect("a list").clone()
}

/// Messages of a chat, as staff see them.
pub(super) async fn messages(app: &App, chat_id: &str) -> Vec<Value> {
    let list = app.get(&format!("{SA}messages/?chat_id={chat_id}")).await.must_be(200);
    list["messages"].as_array().expect("a list").clone()
}

async fn count(app: &App, text: &'static str) -> i64 {
    let count: Option<(i64,)> = sql!(one(i64,), &mut app.begin().await, (text)).expect(text);
    count.expect("a count").0
}

// S003-1, S003-22: a message is kept as the bridge tells it.
story!(a_message_is_kept, async |app: &App| {
    let body = json!({
        "id": "false_593991234567@c.us_3EB0AB", "phone": CUSTOMER, "chat_id": "593991234567@c.us", "chat_type": "individual",
        "chat_name": "Ana", "whatsapp_name": "Anita", "text": "¿Hay cupo? 🏝 שלום", "timestamp": 1_768_919_400, "from_me": false,
        "sender_name": "Ana", "sender_phone": CUSTOMER, "media_type": "image", "reply_to_whatsapp_id": "3EB0AA",
    });
    let answer = app.post(WEBHOOK, &body).await.must_be(200);
    assert_eq!(answer, json!({"status": "processed", "message_id": answer["message_id"]}));
    let kept = messages(app, "593991234567@c.us").await;
    let [message] = kept.as_slice() else { panic!("{kept:?}") };
    assert_eq!(message["id"], answer["message_id"]);
    assert_eq!(
        (&message["whatsapp_id"], &message["type"], &message["phone"]),
        (&json!("3EB0AB"), &json!("in"), &json!(CUSTOMER))
    );
    assert_eq!(
        (&message["content"], &message["timestamp"]),
        (&json!("¿Hay cupo? 🏝 שלום"), &json!("2026-01-20T14:30:00.000000Z"))
    );
    assert_eq!((&message["media_type"], &message["reply_to_whatsapp_id"]), (&json!("image"), &json!("3EB0AA")));
    assert_eq!(message["metadata"], json!({"sender_name": "Ana", "sender_phone": CUSTOMER}));
    let ours = json!({"id": "3EB0AC", "chat_id": "593991234567@c.us", "text": "Sí", "timestamp": 1_768_919_460_000_i64, "from_me": true});
    assert_eq!(app.post(WEBHOOK, &ours).await.must_be(200)["status"], "saved");
    assert_eq!(messages(app, "593991234567@c.us").await[1]["type"], "out");
    let chat = "select count(*) from whatsapp_chats where message_count = 2 and unread_count = 0 and name = 'Ana'
                and whatsapp_name = 'Anita' and phone = '593991234567' and last_message_preview = 'Sí'";
    assert_eq!(count(app, chat).await, 1);
});

// S003-24: twenty at once are one message and one request, and so is whatever comes later with its id.
story!(a_message_is_kept_once, async |app: &App| {
    let body = app.sandbox.bridge.message(CUSTOMER, "RES-A1");
    let answers = join_all((0..20).map(|_| app.post(WEBHOOK, &body))).await;
    let answers: Vec<Value> = answers.into_iter().map(|answer| answer.must_be(200)).collect();
    let made = answers.iter().filter(|answer| answer["status"] == "reservation_created").count();
    let again = answers.iter().filter(|answer| answer["status"] == "already_processed").count();
    assert_eq!((made, again), (1, 19), "{answers:?}");
    assert!(answers.iter().all(|answer| answer["message_id"] == answers[0]["message_id"]), "{answers:?}");
    let mut other = body.clone();
    other["text"] = json!("RES-B2");
    assert_eq!(app.post(WEBHOOK, &other).await.must_be(200)["status"], "already_processed");
    assert_eq!(reservations(app, "").await.len(), 1);
    assert_eq!(count(app, "select count(*) from whatsapp_messages").await, 1);
    assert_eq!(count(app, "select sum(message_count) from whatsapp_chats").await, 1);
});

// S003-24: many messages with duplicates at once, while Redis forgets everything: each is kept once, each code is one request.
story!(a_storm_of_duplicates_stores_each_once, async |app: &App| {
    let one = |number: usize| {
        let phone = format!("59399{:07}", number % 40);
        app.sandbox.bridge.message(&phone, &format!("Quiero RES-STORM-{}", number % 50))
    };
    let told: Vec<Value> = (0..200).map(one).collect();
    for round in 0..3 {
        let answers = join_all(told.iter().chain(&told).map(|body| app.post(WEBHOOK, body))).await;
        for answer in answers {
            answer.must_be(200);
        }
        if round == 1 {
            app.lose_rings().await;
        }
    }
    assert_eq!(count(app, "select count(*) from whatsapp_messages").await, 200);
    assert_eq!(count(app, "select sum(message_count) from whatsapp_chats").await, 200);
    assert_eq!(reservations(app, "").await.len(), 50);
});

// S003-24: what a sync stored first still takes effect by its webhook, once.
story!(a_message_that_a_sync_stored_takes_effect, async |app: &App| {
    let body = app.sandbox.bridge.message(CUSTOMER, "RES-A1");
    app.post(WEBHOOK, &app.sandbox.bridge.message(CUSTOMER, "hola")).await.must_be(200);
    let mut session = app.begin().await;
    sql!(
        run,
        &mut session,
        "insert into whatsapp_messages (id, whatsapp_id, chat, direction, content, sent_at, created_at)
         select $1, $2, id, 'in', 'RES-A1', $3, $3 from whatsapp_chats",
        recado_kernel::ids::Id::of_name("synced"),
        body["id"].as_str(),
        app.clock.now()
    )
    .expect("it is stored");
    session.commit().await.expect("it is committed");
    let answer = app.post(WEBHOOK, &body).await.must_be(200);
    assert_eq!(answer["status"], "reservation_created", "{answer}");
    assert_eq!(answer["message_id"], recado_kernel::ids::Id::of_name("synced").to_string());
    assert_eq!(app.post(WEBHOOK, &body).await.must_be(200)["status"], "already_processed");
});

// S003-1, d31: who the customer is.
story!(a_lid_is_no_number, async |app: &App| {
    let bridge = &app.sandbox.bridge;
    let by_lid = json!({"id": "L1", "chat_id": "37881745801364@lid", "phone": "37881745801364", "text": "RES-L1"});
    app.post(WEBHOOK, &by_lid).await.must_be(200);
    app.post(WEBHOOK, &bridge.group_message("120363041", "593987654321", "RES-G1")).await.must_be(200);
    app.post(WEBHOOK, &json!({"id": "P1", "chat_id": "593991234567@c.us", "text": "RES-P1"})).await.must_be(200);
    for (code, phone) in [("RES-L1", Value::Null), ("RES-G1", json!("593987654321")), ("RES-P1", json!(CUSTOMER))] {
        assert_eq!(reservations(app, &format!("?tour_code={code}")).await[0]["customer_phone"], phone, "{code}");
    }
    assert_eq!(count(app, "select count(*) from whatsapp_chats where phone is null").await, 2);
});

// S003-1: what is missing is named, in the bridge's own envelope (d23).
story!(what_a_message_lacks_is_named, async |app: &App| {
    let refused = async |path: &str, body: &Value| {
        let refused = app.post(path, body).await.must_be(400);
        assert_eq!(
            (refused["status"].as_str(), refused.as_object().map(serde_json::Map::len)),
            (Some("error"), Some(2)),
            "{refused}"
        );
        refused["message"].as_str().expect("a sentence").to_owned()
    };
    for body in [json!({}), json!({"id": null, "chat_id": "1@c.us"}), json!({"id": " ", "chat_id": "1@c.us"})] {
        assert_eq!(refused(WEBHOOK, &body).await, "Missing message ID");
    }
    for body in [
        json!({"id": "1"}),
        json!({"id": "1", "chat_id": ""}),
        json!({"id": "1", "chat_id": [1]}),
        json!({"id": "1", "chat_id": "1".repeat(256)}),
    ] {
        assert!(refused(WEBHOOK, &body).await.starts_with("chat_id: "));
    }
    assert!(refused(WEBHOOK, &json!({"id": {"a": 1}, "chat_id": "1@c.us"})).await.starts_with("id: "));
    for body in [json!([]), json!("id"), json!(null)] {
        refused(WEBHOOK, &body).await;
    }
    for body in [json!({}), json!({"status": null}), json!({"status": "asleep"}), json!({"status": ["connected"]})] {
        assert!(refused(STATUS, &body).await.starts_with("status: "));
    }
    for body in [json!({}), json!({"qr": null}), json!({"qr": ""}), json!({"qr": 7}), json!({"qr": "x".repeat(5_000)})]
    {
        assert!(refused(QR, &body).await.starts_with("qr: "));
    }
    let broken =
        app.send(app.request(Method::POST, WEBHOOK).header("Content-Type", "application/json").body("{\"id\":")).await;
    assert_eq!(broken.must_be(400)["status"], "error");
    let nothing = app.post("/api/v1/whatsapp/webhook/nothing/", &json!({})).await.must_be(404);
    assert_eq!(nothing["status"], "error");
    assert_eq!(count(app, "select count(*) from whatsapp_messages").await, 0);
});

// S003-1: odd values are no reason to lose a message.
story!(odd_values_cost_no_message, async |app: &App| {
    let odd: Vec<(&str, Value)> = vec![
        ("timestamp", json!("mañana")),
        ("timestamp", json!(0)),
        ("timestamp", json!(-5)),
        ("timestamp", json!(4_102_444_800_i64)),
        ("timestamp", json!(4_102_444_800_000_i64)),
        ("timestamp", json!(1e300)),
        ("timestamp", json!({})),
        ("timestamp", json!("1768919400.5")),
        ("text", json!(null)),
        ("text", json!(42)),
        ("text", json!({"a": 1})),
        ("text", json!("x".repeat(64 * 1024))),
        ("text", json!("🏝".repeat(16 * 1024))),
        ("text", json!("\u{202e}RTL\u{200f}")),
        ("text", json!("a\u{0}b")),
        ("chat_type", json!("channel")),
        ("chat_type", json!(7)),
        ("from_me", json!("maybe")),
        ("phone", json!([])),
        ("phone", json!("+593 (99) 123-4567")),
        ("chat_name", json!("n".repeat(5_000))),
        ("sender_phone", json!(593_991_234_567_i64)),
        ("profile_picture_url", json!("javascript:x")),
        ("reply_to_whatsapp_id", json!({"_serialized": "true_1@c.us_R"})),
        ("media_type", json!("m".repeat(3_000))),
        ("id", json!("ñ/%00?#\\\"'")),
        ("id", json!(12345)),
        ("chat_id", json!("593@s.whatsapp.net")),
        ("chat_id", json!("sin arroba")),
        ("chat_id", json!("1203-99@g.us")),
    ];
    for (number, (field, value)) in odd.iter().enumerate() {
        let mut body = json!({"id": format!("ODD{number}"), "chat_id": "593991234567@c.us", "text": "hola", "timestamp": 1_768_919_400});
        body[*field] = value.clone();
        let answer = app.post(WEBHOOK, &body).await;
        assert_eq!(
            answer.status,
            200,
            "{field} {} {}",
            value.to_string().chars().take(40).collect::<String>(),
            answer.text
        );
    }
    let raw = async |body: &'static str| {
        app.send(app.request(Method::POST, WEBHOOK).header("Content-Type", "application/json").body(body)).await
    };
    raw(r#"{"id":"SUR","chat_id":"593@c.us","text":"\ud83d RES-A1"}"#).await.must_be(200);
    assert_eq!(messages(app, "593@c.us").await[0]["content"], "\u{fffd} RES-A1");
    assert_eq!(count(app, "select count(*) from whatsapp_messages").await, i64::try_from(odd.len()).expect("few") + 1);
    let huge = json!({"id": "HUGE", "chat_id": "593991234567@c.us", "text": "x".repeat(2 * 1024 * 1024)});
    assert_eq!(app.post(WEBHOOK, &huge).await.must_be(413)["status"], "error");
});

const SIGNED: &str = r#"{"id":"3EB0SIGNED","chat_id":"593991234567@c.us","text":"hola"}"#;
const BY_OLD: &str = "73c4fb6a00f00903463343623fa41c8ff197b08bebdbf556ad49f6aad8500f12";
const BY_NEW: &str = "4281026f900bb8afe0ff2b1b289a29d9c8921df45c659b50798c80f20e77d517";
const CLOSED: [(&str, &str); 2] = [
    ("WHATSAPP_WEBHOOK_SECRET", "old-secret-of-the-bridge,new-secret-of-the-bridge"),
    ("API_RATE_LIMIT_PER_MINUTE", "0"),
];

async fn signed(app: &App, path: &str, headers: &[(&str, &str)]) -> Answer {
    let request = app.request(Method::POST, path).header("Content-Type", "application/json").body(SIGNED);
    app.send(headers.iter().fold(request, |request, (name, value)| request.header(*name, *value))).await
}

// d21, S003-29: a signature of the raw body or the secret as a bearer, of either value; nothing else, and nothing is stored.
story!(only_the_bridge_gets_in, CLOSED, async |app: &App| {
    let prefixed = format!("sha256={BY_OLD}");
    let upper = format!("sha256={}", BY_NEW.to_uppercase());
    let wrong = format!("sha256={}", BY_OLD.replace(['a', 'b'], "0"));
    for path in [WEBHOOK, STATUS, QR] {
        for headers in [
            &[][..],
            &[("X-Hub-Signature-256", "")],
            &[("X-Hub-Signature-256", wrong.as_str())],
            &[("Authorization", "Bearer old-secret-of-the-bridge,new-secret-of-the-bridge")],
            &[("Authorization", "Basic old-secret-of-the-bridge")],
        ] {
            let refused = signed(app, path, headers).await.must_be(401);
            assert_eq!(refused["status"], "error", "{path} {headers:?}");
        }
    }
    assert_eq!(count(app, "select count(*) from whatsapp_messages").await, 0);
    for headers in [
        ("X-Hub-Signature-256", prefixed.as_str()),
        ("X-Hub-Signature-256", BY_OLD),
        ("X-Hub-Signature-256", upper.as_str()),
        ("Authorization", "Bearer new-secret-of-the-bridge"),
    ] {
        signed(app, WEBHOOK, &[headers]).await.must_be(200);
    }
    let other = app.request(Method::POST, WEBHOOK).header("X-Hub-Signature-256", &prefixed).json(&json!({"id": "1"}));
    assert_eq!(app.send(other).await.status, 401, "a signature is of one body");
});

// d21: no secret of ours opens nothing where the API is closed.
story!(
    without_a_secret_only_an_open_api_is_open,
    [("ALLOW_ANONYMOUS_API", "false"), ("API_KEYS", "a-master-key-of-the-stories")],
    async |app: &App| {
        for headers in [&[][..], &[("Authorization", "Bearer a-master-key-of-the-stories")]] {
            assert_eq!(signed(app, WEBHOOK, headers).await.status, 401, "{headers:?}");
        }
        assert_eq!(count(app, "select count(*) from whatsapp_messages").await, 0);
    }
);

// d21: guessing the secret ends in 429, with the time to come back.
story!(guessing_the_secret_of_the_bridge_is_slowed_down, CLOSED, async |app: &App| {
    let mut statuses = Vec::new();
    for number in 0..25 {
        let guess = format!("Bearer guess-number-{number}");
        let answer = signed(app, WEBHOOK, &[("Authorization", guess.as_str())]).await;
        assert!(answer.status != 429 || !answer.header("retry-after").is_empty());
        statuses.push(answer.status);
    }
    assert_eq!((statuses[0], statuses[24]), (401, 429), "{statuses:?}");
});

// S003-2, S003-3: what the bridge says of its session is kept.
story!(the_session_is_what_the_bridge_says, async |app: &App| {
    assert_eq!(app.post(QR, &app.sandbox.bridge.shows_qr("2@abc")).await.must_be(200), json!({"status": "ok"}));
    let pending = "select count(*) from whatsapp_sessions where status = 'qr_pending' and qr_code = '2@abc'";
    assert_eq!(count(app, pending).await, 1);
    assert_eq!(app.post(STATUS, &app.sandbox.bridge.connects()).await.must_be(200), json!({"status": "ok"}));
    let connected = "select count(*) from whatsapp_sessions where status = 'connected' and qr_code is null and phone_number = '593999000111'";
    assert_eq!(count(app, connected).await, 1);
});

// S003-29: what came in is counted.
story!(webhooks_are_counted, async |app: &App| {
    recado_kernel::telemetry::start_metrics();
    hear(app, CUSTOMER, "hola").await;
    app.post(QR, &json!({"qr": "2@abc"})).await.must_be(200);
    app.post(STATUS, &json!({"status": "connected"})).await.must_be(200);
    let metrics = app.get("/metrics").await.text;
    for kind in ["message", "status", "qr"] {
        assert!(metrics.contains(&format!("recado_whatsapp_webhooks_total{{kind=\"{kind}\"")), "{metrics}");
    }
});
