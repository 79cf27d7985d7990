//! A person asks to be forgotten; and what is old goes by itself.

use std::time::Duration;

use recado_conversations::bridge::Bridge;
use recado_conversations::sync::{self, Followed};
use recado_kernel::ids::Id;
use recado_kernel::sql;
use recado_queue::jobs::Cleanup;
use reqwest::Method;
use serde_json::json;

use crate::conversations::codes::{CODES, know_experience};
use crate::conversations::notices::show;
use crate::conversations::webhooks::{CUSTOMER, SA, WEBHOOK, hear, messages, reservations};
use crate::harness::app::App;
use crate::harness::pair::story;

const OTHER: &str = "593987654321";

async fn count(app: &App, text: &'static str) -> i64 {
    let count: Option<(i64,)> = sql!(one(i64,), &mut app.begin().await, (text)).expect(text);
    count.expect("a count").0
}

fn bridge(app: &App) -> Bridge {
    Bridge::new(&app.context.config).expect("usable settings").expect("there is one")
}

fn followed(app: &App) -> Followed {
    Followed::Run { id: Id::new(app.clock.now()), shown: |_| {} }
}

/// The customer writes in a chat of hers, in a group, and asks for a reservation; another does too.
async fn write(app: &App) -> String {
    know_experience(app).await;
    let body = json!({"experience_id": "exp-7", "checkout_data": {"name": "Zoraida"}});
    let code = app.post(CODES, &body).await.must_be(201)["code"].as_str().expect("a code").to_owned();
    let id = hear(app, CUSTOMER, &code).await["reservation_id"].as_str().expect("a request").to_owned();
    hear(app, OTHER, "RES-OTHER").await;
    for (phone, text) in [(CUSTOMER, "soy Zoraida"), (OTHER, "hola")] {
        app.post(WEBHOOK, &app.sandbox.bridge.group_message("120363041", phone, text)).await.must_be(200);
    }
    id
}

// S003-22: chats, messages and requests, by a number in any spelling; the operator who was about to be told is not.
story!(a_person_is_forgotten_by_number, async |app: &App| {
    let id = write(app).await;
    let text = json!({"chat_id": "593991234567@c.us", "text": "Buenos días"});
    app.post(&format!("{SA}send-message/"), &text).await.must_be(200);
    sync::follow_messages(&app.context, &bridge(app), ("593991234567@c.us", 10), followed(app))
        .await
        .expect("it is synced");
    let path = format!("{SA}people/+593%20(0)99-123%204567/");
    let erased = app.send(app.request(Method::DELETE, &path)).await.must_be(200);
    assert_eq!(erased["erased"], json!({"chats": 1, "messages": 3, "requests": 1, "cancelled": 1}));
    assert_eq!(app.drain().await, 0);
    assert!(messages(app, "593991234567@c.us").await.is_empty());
    assert_eq!(messages(app, "120363041@g.us").await.len(), 1);
    let request = show(app, &id).await;
    assert!(request["customer_phone"].is_null() && request["timeline"][1]["what"] == "erased", "{request}");
    for (table, text) in [
        (
            "chats",
            "select count(*) from whatsapp_chats where chat_id like '%593991234567%' or phone like '%593991234567%'",
        ),
        (
            "messages",
            "select count(*) from whatsapp_messages where sender_phone like '%593991234567%' or content like '%Zoraida%'",
        ),
        ("sends", "select count(*) from whatsapp_sends where chat_id like '%593991234567%'"),
        ("syncs", "select count(*) from whatsapp_syncs where chat_id like '%593991234567%'"),
        ("codes", "select count(*) from reservation_codes where cast(checkout_data as text) like '%Zoraida%'"),
    ] {
        assert_eq!(count(app, text).await, 0, "{table}");
    }
    assert_eq!(reservations(app, "?tour_code=RES-OTHER").await[0]["customer_phone"], OTHER);
    assert_eq!(app.send(app.request(Method::DELETE, &path)).await.status, 404, "there is nothing left");
    assert_eq!(app.send(app.request(Method::DELETE, &format!("{SA}people/nobody/"))).await.status, 404);
});

// S003-22: a customer of notifications is forgotten in both.
story!(a_customer_is_forgotten_with_her_chats, async |app: &App| {
    app.sync_customer(&json!({"customer_id": "z-1", "name": "Zoraida Quishpe", "phone": "0991234567"})).await;
    write(app).await;
    let answer =
        app.send(app.request(Method::DELETE, "/api/v1/notifications/customers/z-1/?erase=true")).await.must_be(200);
    assert_eq!((&answer["erased"]["customers"], &answer["conversations"]["messages"]), (&json!(1), &json!(2)));
    assert!(messages(app, "593991234567@c.us").await.is_empty());
    // She is looked for in what other systems keep, too.
    app.drain().await;
});

// S003-22: messages and requests go when they are old, each by a setting of its own.
story!(
    what_is_old_is_deleted,
    [("WHATSAPP_MESSAGE_RETENTION_DAYS", "10"), ("WHATSAPP_REQUEST_RETENTION_DAYS", "20")],
    async |app: &App| {
        write(app).await;
        app.drain().await;
        let days = |days: u64| Duration::from_secs(days * 86_400);
        let counts = async || {
            [
                count(app, "select count(*) from whatsapp_messages").await,
                count(app, "select count(*) from reservation_requests").await,
                count(app, "select count(*) from reservation_codes").await,
            ]
        };
        assert_eq!(counts().await, [4, 2, 1]);
        for (after, expected) in [(9, [4, 2, 1]), (2, [0, 2, 1]), (8, [0, 2, 1]), (3, [0, 0, 0])] {
            app.later(days(after)).await;
            app.enqueue(&Cleanup {}).await;
            app.drain().await;
            assert_eq!(counts().await, expected);
        }
        assert_eq!(count(app, "select count(*) from reservation_request_events").await, 0);
    }
);
