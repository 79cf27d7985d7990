//! Chats and groups, as a superadmin's page lists them.

use std::time::Duration;

use recado_sandbox::{BridgeChat, BridgeFault};
use serde_json::json;

use crate::harness::pair::story;

const CHATS: &str = "/api/v1/superadmin/whatsapp/chats/";
const GROUPS: &str = "/api/v1/superadmin/whatsapp/groups/";

// S003-6: the bridge is asked while the request waits, and the rows have the fields of the original.
story!(chats_are_listed_as_the_bridge_has_them, async |app| {
    app.sandbox.bridge.add_chat(BridgeChat::person("593991234567", "María"));
    app.sandbox.bridge.message("593991234567", "Hola");
    app.sandbox.bridge.add_chat(BridgeChat::lid("37881745801364", "Nina"));
    let list = app.get(CHATS).await.must_be(200);
    assert_eq!((list["stale"].as_bool(), list["total"].as_i64()), (Some(false), Some(2)), "{list}");
    let maria = &list["chats"][0];
    for field in [
        "id",
        "chat_id",
        "name",
        "nickname",
        "whatsapp_name",
        "profile_picture_url",
        "type",
        "assigned_operator",
        "is_active",
        "last_message_at",
        "last_message_preview",
        "message_count",
        "unread_count",
        "tags",
    ] {
        assert!(maria.get(field).is_some(), "{field}: {maria}");
    }
    assert_eq!(maria["chat_id"], "593991234567@c.us");
    assert_eq!((&maria["type"], &maria["last_message_preview"]), (&json!("individual"), &json!("Hola")));
    assert_eq!(list["chats"][1]["phone"], json!(null), "of a LID no number is known (d31)");
});

// S003-7: groups with those who take part; one by itself is refreshed; a person is none.
story!(groups_tell_who_takes_part, async |app| {
    app.sandbox.bridge.add_chat(BridgeChat::group("1203", "Galápagos", &["593991234567", "593997654321"]));
    app.sandbox.bridge.add_chat(BridgeChat::person("593991234567", "María"));
    let list = app.get(GROUPS).await.must_be(200);
    let group = &list["groups"][0];
    assert_eq!((list["groups"].as_array().map(Vec::len), group["participants_count"].as_i64()), (Some(1), Some(2)));
    assert_eq!((&group["type"], group.get("description").is_some()), (&json!("group"), true), "{group}");

    app.sandbox.bridge.add_chat(BridgeChat::group("1203", "Galápagos 2026", &["593991234567"]));
    let info = format!("{GROUPS}{}/info/", group["id"].as_str().expect("an id"));
    let shown = app.get(&info).await.must_be(200);
    assert_eq!(
        (&shown["name"], &shown["participants_count"], &shown["stale"]),
        (&json!("Galápagos 2026"), &json!(1), &json!(false))
    );
    app.sandbox.bridge.misbehave(BridgeFault::status(500));
    assert_eq!(app.get(&info).await.must_be(200)["stale"], true, "without the bridge what we have");
    app.sandbox.bridge.behave();

    let chats = app.get(CHATS).await.must_be(200);
    let person = chats["chats"].as_array().and_then(|chats| chats.iter().find(|chat| chat["type"] == "individual"));
    let person = person.and_then(|chat| chat["id"].as_str()).expect("a person");
    app.get(&format!("{GROUPS}{person}/info/")).await.must_be(400);
    app.get(&format!("{GROUPS}0199c2a4-7f3e-7c10-9d1a-0c8f4e1f2b3a/info/")).await.must_be(404);
    app.get(&format!("{GROUPS}nothing/info/")).await.must_be(404);
});

// S003-28: whatever the bridge does, the list is the database's, and says that it is stale.
story!(a_bridge_in_trouble_makes_a_list_stale_and_never_an_error, [("WHATSAPP_SERVICE_TIMEOUT", "0.3")], async |app| {
    app.sandbox.bridge.add_chat(BridgeChat::group("1203", "Galápagos", &[]));
    app.get(CHATS).await.must_be(200);
    for fault in [
        BridgeFault::NotReady,
        BridgeFault::status(500),
        BridgeFault::status(404),
        BridgeFault::Nonsense,
        BridgeFault::Drop,
        BridgeFault::Hang,
        BridgeFault::Slow { delay: Duration::from_secs(5) },
        BridgeFault::Status { status: 200, body: r#"{"groups":"many"}"#.to_owned() },
        BridgeFault::Status { status: 200, body: String::new() },
    ] {
        app.sandbox.bridge.misbehave(fault.clone());
        let list = app.get(GROUPS).await.must_be(200);
        assert_eq!((&list["stale"], list["groups"].as_array().map(Vec::len)), (&json!(true), Some(1)), "{fault:?}");
    }
    app.sandbox.bridge.misbehave(BridgeFault::Nonsense);
    assert_eq!(app.get(CHATS).await.must_be(200)["stale"], true);
    app.sandbox.bridge.behave();
    assert_eq!(app.get(GROUPS).await.must_be(200)["stale"], false);
});

// Without a bridge lists come from the database.
story!(without_a_bridge_lists_are_stale, [("WHATSAPP_SERVICE_URL", "")], async |app| {
    for url in [CHATS, GROUPS] {
        assert_eq!(app.get(url).await.must_be(200)["stale"], true, "{url}");
    }
});

// S003-29 "caché", and one shared question for those who ask at the same time.
story!(many_who_ask_share_one_question, [("WHATSAPP_CACHE_SECONDS", "60")], async |app| {
    app.sandbox.bridge.add_chat(BridgeChat::person("593991234567", "María"));
    app.sandbox.bridge.misbehave(BridgeFault::Slow { delay: Duration::from_millis(300) });
    let asking = (0..20).map(|_| app.get(CHATS));
    for answer in futures::future::join_all(asking).await {
        let list = answer.must_be(200);
        assert_eq!((&list["stale"], &list["total"]), (&json!(false), &json!(1)));
    }
    assert_eq!(app.sandbox.bridge.asked("/api/chats"), 1, "one question for all");
    app.sandbox.bridge.behave();
    app.get(CHATS).await.must_be(200);
    assert_eq!(app.sandbox.bridge.asked("/api/chats"), 1, "it is young enough");
    app.get(&format!("{CHATS}?refresh=true")).await.must_be(200);
    assert_eq!(app.sandbox.bridge.asked("/api/chats"), 2);
    app.clock.advance(Duration::from_secs(61));
    app.get(CHATS).await.must_be(200);
    assert_eq!(app.sandbox.bridge.asked("/api/chats"), 3, "it is too old");
});

// All rows are listed; pages only where one is asked for.
story!(a_list_has_all_rows_unless_a_page_is_asked_for, async |app| {
    app.sandbox.bridge.fill(130, 1);
    let all = app.get(CHATS).await.must_be(200);
    assert_eq!(all["chats"].as_array().map(Vec::len), Some(130));
    let page = app.get(&format!("{CHATS}?page=2&page_size=100")).await.must_be(200);
    assert_eq!((page["chats"].as_array().map(Vec::len), &page["total"]), (Some(30), &json!(130)));
    app.get(&format!("{CHATS}?page=9")).await.must_be(404);
});

// d31: a LID and a number that turn out to be one person are one chat.
story!(a_lid_and_a_number_of_one_person_become_one_chat, async |app| {
    app.sandbox.bridge.add_chat(BridgeChat::lid("37881745801364", "Nina"));
    app.get(CHATS).await.must_be(200);
    let known = BridgeChat { phone: Some("593995550000".to_owned()), ..BridgeChat::lid("37881745801364", "Nina") };
    app.sandbox.bridge.add_chat(known);
    let list = app.get(CHATS).await.must_be(200);
    assert_eq!((&list["total"], &list["chats"][0]["chat_id"]), (&json!(1), &json!("593995550000@c.us")), "{list}");
    assert_eq!(list["chats"][0]["phone"], "593995550000");
    let again = app.get(CHATS).await.must_be(200);
    assert_eq!(again["chats"], list["chats"], "it stays so");
});
