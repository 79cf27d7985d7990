//! Evolution API as a bridge: what its webhooks say of chats takes effect as the Node service's does.

use futures::future::join_all;
use recado_conversations::jobs::WatchSession;
use recado_kernel::sql;
use recado_sandbox::{EvolutionFault, EvolutionGroup, EvolutionWrites};
use serde_json::{Value, json};

use crate::conversations::codes::{issue, know_experience};
use crate::conversations::notices::{GROUP, know_told_experience, show};
use crate::conversations::webhooks::{CUSTOMER, SA, messages, reservations};
use crate::harness::app::{App, seconds};
use crate::harness::pair::story;

const WEBHOOK: &str = "/api/v1/webhooks/evolution/";
const CONVERSING: (&str, &str) = ("WHATSAPP_EVOLUTION_INSTANCES", "otra, tours");

/// `messages.upsert` of the instance whose chats are ours, as it was recorded.
fn upsert(key: &Value, message: &Value) -> Value {
    json!({"event": "messages.upsert", "instance": "tours", "data": {
        "key": key, "pushName": "Ana", "message": message, "messageType": "conversation", "messageTimestamp": 1_768_919_400,
        "source": "android", "instanceId": "b8261528-bdf2-4e8c-a553-55a9657a73de",
    }, "date_time": "2026-01-20T14:30:00.000Z", "apikey": "INSTTOKEN"})
}

fn said(id: &str, jid: &str, text: &str) -> Value {
    upsert(&json!({"id": id, "remoteJid": jid, "fromMe": false}), &json!({ "conversation": text }))
}

fn of_customer(id: &str, text: &str) -> Value {
    said(id, &format!("{CUSTOMER}@s.whatsapp.net"), text)
}

async fn count(app: &App, text: &'static str) -> i64 {
    let count: Option<(i64,)> = sql!(one(i64,), &mut app.begin().await, (text)).expect(text);
    count.expect("a count").0
}

async fn hear(app: &App, webhook: &Value) -> Value {
    app.post(WEBHOOK, webhook).await.must_be(200)
}

// S003-1, S003-23: a code is a request once, however often and by how many at once it is told; the group's "1" answers.
story!(a_reservation_goes_through_evolution, [CONVERSING], async |app: &App| {
    know_told_experience(app).await;
    let code = issue(app).await;
    let webhook = of_customer("3EB0A1", &format!("Hola, mi código es {code}, somos 4 personas"));
    let heard = join_all((0..20).map(|_| hear(app, &webhook))).await;
    assert!(heard.iter().all(|heard| heard["messages"] == 1 && heard["ignored"] == json!([])), "{heard:?}");
    let kept = messages(app, &format!("{CUSTOMER}@c.us")).await;
    assert_eq!(
        (kept.len(), &kept[0]["type"], &kept[0]["timestamp"]),
        (1, &json!("in"), &json!("2026-01-20T14:30:00.000000Z"))
    );
    assert_eq!((&kept[0]["metadata"]["sender_name"], &kept[0]["phone"]), (&json!("Ana"), &json!(CUSTOMER)));
    let requests = reservations(app, "").await;
    let [request] = requests.as_slice() else { panic!("{requests:?}") };
    assert_eq!((&request["passengers"], &request["customer_phone"]), (&json!(4), &json!(CUSTOMER)));
    app.drain().await;
    let key = json!({"id": "3EB0A2", "remoteJid": GROUP, "fromMe": false, "participant": "77@lid",
        "participantAlt": "593990000009@s.whatsapp.net"});
    hear(app, &upsert(&key, &json!({"conversation": "1"}))).await;
    let answered = show(app, request["id"].as_str().expect("an id")).await;
    assert_eq!(answered["status"], "availability_confirmed");
    assert_eq!(messages(app, GROUP).await[0]["metadata"]["sender_phone"], "593990000009");
});

// d31: a person of whom a LID was known is one chat with her number, before and after.
story!(a_lid_and_its_number_are_one_chat, [CONVERSING], async |app: &App| {
    hear(app, &said("L1", "37881745801364@lid", "Hola")).await;
    assert_eq!(messages(app, "37881745801364@lid").await[0]["phone"], Value::Null);
    let key = json!({"id": "L2", "remoteJid": "37881745801364@lid", "remoteJidAlt": format!("{CUSTOMER}@s.whatsapp.net"),
        "fromMe": false, "addressingMode": "lid"});
    hear(app, &upsert(&key, &json!({"conversation": "RES-LID-1"}))).await;
    hear(app, &said("L3", "37881745801364:4@lid", "¿Hay cupo?")).await;
    let kept = messages(app, &format!("{CUSTOMER}@c.us")).await;
    let mut ids: Vec<&str> = kept.iter().filter_map(|message| message["whatsapp_id"].as_str()).collect();
    ids.sort_unstable();
    assert_eq!(ids, ["L1", "L2", "L3"]);
    assert_eq!(reservations(app, "").await[0]["customer_phone"], CUSTOMER);
});

// d31: however many webhooks tell at the same moment that a LID and a number are one, and whatever is said meanwhile, each message is
// counted once.
story!(a_lid_and_its_number_become_one_under_load, [CONVERSING], async |app: &App| {
    const PEOPLE: usize = 12;
    for person in 0..PEOPLE {
        for number in 0..3 {
            hear(app, &said(&format!("B{person}-{number}"), &format!("7700{person}@lid"), "Hola")).await;
        }
    }
    let webhooks = (0..PEOPLE * 6).map(|number| {
        let (person, id) = (number % PEOPLE, format!("C{number}"));
        let lid = format!("7700{person}@lid");
        match number / PEOPLE {
            0..4 => {
                let key = json!({"id": id, "remoteJid": lid, "remoteJidAlt": format!("59399000{person:04}@s.whatsapp.net"), "fromMe": false});
                upsert(&key, &json!({"conversation": "¿Hay cupo?"}))
            }
            4 => said(&id, &lid, "¿Y mañana?"),
            _ => said(&id, &format!("59399000{person:04}@s.whatsapp.net"), "Gracias"),
        }
    });
    let webhooks: Vec<Value> = webhooks.collect();
    join_all(webhooks.iter().map(|webhook| hear(app, webhook))).await;
    let chats = "select count(*) from whatsapp_chats where merged_into is null";
    assert_eq!(count(app, chats).await, PEOPLE as i64);
    assert_eq!(count(app, "select count(*) from whatsapp_messages").await, (PEOPLE * 9) as i64);
    let wrong = "select count(*) from whatsapp_chats c
                 where message_count <> (select count(*) from whatsapp_messages m where m.chat = c.id)";
    assert_eq!(count(app, wrong).await, 0, "a chat counts what was said in it");
});

// S003-20, S003-21: Evolution answers what a bridge is asked: lists, histories, sending, restarting.
story!(
    evolution_is_asked_as_a_bridge,
    [("WHATSAPP_SERVICE_URL", ""), ("WHATSAPP_EVOLUTION_INSTANCES", "sandbox")],
    async |app: &App| {
        let evolution = &app.sandbox.evolution;
        app.live_now();
        know_told_experience(app).await;
        evolution.add_group(EvolutionGroup::new("120363041", "Galápagos", &["593990000009"]));
        for number in 0..120 {
            evolution.hears(EvolutionWrites::person(CUSTOMER, &format!("Hola {number}")));
        }
        let chats = app.get(&format!("{SA}chats/")).await.must_be(200);
        assert_eq!((&chats["stale"], &chats["chats"][0]["last_message_preview"]), (&json!(false), &json!("Hola 119")));
        let groups = app.get(&format!("{SA}groups/")).await.must_be(200);
        assert_eq!(
            (&groups["groups"][0]["name"], &groups["groups"][0]["participants_count"]),
            (&json!("Galápagos"), &json!(1))
        );
        let accepted =
            app.post(&format!("{SA}chats/{CUSTOMER}@c.us/messages/sync/"), &json!({"limit": 110})).await.must_be(202);
        app.drain().await;
        let task = accepted["task_id"].as_str().expect("a task").parse().expect("an id");
        assert_eq!(app.status(task).await["result"], json!({"created": 110, "updated": 0, "total": 110}));

        // An operator is told through it; the echo and the answer come by its webhooks.
        let code = issue(app).await;
        hear(app, &evolution.hears(EvolutionWrites::person(CUSTOMER, &code))).await;
        app.drain().await;
        let texts = app.whatsapps();
        assert_eq!((texts.len(), texts[0].jid.as_str(), app.sandbox.bridge.texts().len()), (1, GROUP, 0));
        for echo in evolution.echoes() {
            hear(app, &echo).await;
        }
        let answer = EvolutionWrites { jid: GROUP.to_owned(), ..EvolutionWrites::person("", "1") };
        hear(app, &evolution.hears(answer)).await;
        assert_eq!(reservations(app, "").await[0]["status"], "availability_confirmed");

        let text = json!({"chat_id": format!("{CUSTOMER}@c.us"), "text": "Listo"});
        let sent = app.post(&format!("{SA}send-message/"), &text).await.must_be(200);
        assert_eq!(sent["message_id"], json!(app.whatsapps()[1].id));
        app.post(&format!("{SA}restart/"), &json!({})).await.must_be(202);
        assert_eq!(evolution.restarts(), 1);
        evolution.misbehave(EvolutionFault::status(500));
        assert_eq!(app.get(&format!("{SA}chats/?refresh=true")).await.must_be(200)["stale"], true);
        app.post(&format!("{SA}restart/"), &json!({})).await.must_be(503);
        app.leave_work();
    }
);

// S003-23: captions count; ours ask for nothing; statuses, reactions and what has no id are left aside.
story!(evolution_tells_of_all_kinds_of_messages, [CONVERSING], async |app: &App| {
    know_experience(app).await;
    let jid = format!("{CUSTOMER}@s.whatsapp.net");
    let key = |id: &str, from_me: bool| json!({"id": id, "remoteJid": jid, "fromMe": from_me});
    let photo = json!({"ephemeralMessage": {"message": {"imageMessage": {"caption": "RES-FOTO-1", "jpegThumbnail": "x".repeat(100_000),
        "contextInfo": {"stanzaId": "K0"}}}}});
    hear(app, &upsert(&key("K1", false), &photo)).await;
    hear(app, &upsert(&key("K2", true), &json!({"extendedTextMessage": {"text": "Su código es RES-OURS-1"}}))).await;
    let long = format!("{} RES-LARGO-1", "x".repeat(30_000));
    hear(app, &upsert(&key("K3", false), &json!({ "conversation": long }))).await;
    for aside in [
        said("K4", "status@broadcast", "RES-STATUS-1"),
        said("K5", "123@newsletter", "RES-CANAL-1"),
        upsert(&key("K6", false), &json!({"reactionMessage": {"text": "RES-X-1", "key": {"id": "K1"}}})),
        upsert(&json!({"remoteJid": jid}), &json!({"conversation": "RES-X-2"})),
        upsert(&json!([1]), &json!(7)),
        json!({"event": "messages.upsert", "instance": "tours"}),
    ] {
        let heard = hear(app, &aside).await;
        assert_eq!((&heard["messages"], heard["ignored"].as_array().map(Vec::len)), (&json!(0), Some(1)), "{aside}");
    }
    let kept = messages(app, &format!("{CUSTOMER}@c.us")).await;
    let facts: Vec<_> = kept.iter().map(|one| (&one["whatsapp_id"], &one["type"], &one["media_type"])).collect();
    let (into, out) = (json!("in"), json!("out"));
    assert_eq!(facts.len(), 3, "{kept:?}");
    assert!(
        facts.contains(&(&json!("K1"), &into, &json!("image"))) && facts.contains(&(&json!("K2"), &out, &Value::Null))
    );
    let photo = kept.iter().find(|one| one["whatsapp_id"] == "K1").expect("a photograph");
    assert_eq!((&photo["full_content"], &photo["reply_to_whatsapp_id"]), (&json!("RES-FOTO-1"), &json!("K0")));
    let mut codes: Vec<String> = reservations(app, "")
        .await
        .iter()
        .map(|one| one["tour_code"].as_str().unwrap_or_default().to_owned())
        .collect();
    codes.sort();
    assert_eq!(codes, ["RES-FOTO-1", "RES-LARGO-1"]);
});

// An installation that only sends stores no chats, and neither do instances that are not named.
story!(chats_of_other_instances_are_not_stored, async |app: &App| {
    let heard = hear(app, &of_customer("N1", "RES-NADA-1")).await;
    assert_eq!((&heard["messages"], heard["ignored"].as_array().map(Vec::len)), (&Value::Null, Some(1)));
    assert!(messages(app, &format!("{CUSTOMER}@c.us")).await.is_empty() && reservations(app, "").await.is_empty());
    let nothing = app.get(&format!("{SA}chats/")).await.must_be(200);
    assert_eq!(nothing["chats"], json!([]));
});

// S003-22: the session and its QR code, where Evolution is the only bridge.
story!(
    evolution_tells_of_its_session,
    [("WHATSAPP_SERVICE_URL", ""), ("WHATSAPP_EVOLUTION_INSTANCES", "sandbox")],
    async |app: &App| {
        let evolution = &app.sandbox.evolution;
        let kept = async || {
            let known: Option<(String, Option<String>)> = sql!(
                one(String, Option<String>),
                &mut app.begin().await,
                "select status, phone_number from whatsapp_sessions"
            )
            .expect("it is read");
            known.expect("a session")
        };
        let status = async || app.get(&format!("{SA}status/")).await.must_be(200);
        hear(app, &evolution.shows_qr("2@abc")).await;
        assert_eq!(kept().await.0, "qr_pending");
        assert_eq!(status().await["session"]["status"], "qr_pending");
        assert_eq!(app.get(&format!("{SA}qr/")).await.must_be(200)["qr"], "2@abc");
        let connecting = json!({"instance": "sandbox", "state": "connecting", "statusReason": 200});
        hear(app, &json!({"event": "connection.update", "instance": "sandbox", "data": connecting})).await;
        assert_eq!(kept().await.0, "qr_pending");

        let open = evolution.connects();
        let by_event = json!({"instance": "sandbox", "data": open["data"]});
        app.post(&format!("{WEBHOOK}connection-update"), &by_event).await.must_be(200);
        assert_eq!(kept().await, ("connected".to_owned(), Some("593999000111".to_owned())));
        let service = status().await["service_status"].clone();
        assert_eq!(
            (&service["isReady"], &service["phone_number"]),
            (&json!(true), &json!("593999000111")),
            "{service}"
        );
        assert_eq!(app.get(&format!("{SA}qr/")).await.must_be(200)["qr"], Value::Null);

        hear(app, &evolution.disconnects()).await;
        assert_eq!(kept().await.0, "disconnected");
        let unlinked = json!({"state": "close", "statusReason": 401});
        hear(app, &json!({"event": "connection.update", "instance": "sandbox", "data": unlinked})).await;
        assert_eq!(status().await["session"]["status"], "expired");
    }
);

// A telephone that loses its network for a moment is no outage; one that stays away is.
story!(
    a_short_reconnect_alerts_no_one,
    [
        ("WHATSAPP_SERVICE_URL", ""),
        ("WHATSAPP_EVOLUTION_INSTANCES", "sandbox"),
        ("WHATSAPP_ALERT_EMAIL", "turno@example.com"),
    ],
    async |app: &App| {
        let evolution = &app.sandbox.evolution;
        let look = async || app.later(seconds(45)).await;
        hear(app, &evolution.connects()).await;
        app.enqueue(&WatchSession {}).await;
        app.drain().await;

        evolution.shows_qr("2@abc");
        look().await;
        let known = app.get(&format!("{SA}status/")).await.must_be(200);
        assert_eq!(known["session"]["status"], "qr_pending", "it is known at once that nothing leaves");
        look().await;
        evolution.connects();
        look().await;
        assert!(app.mails().is_empty(), "{:?}", app.mails());

        evolution.shows_qr("2@def");
        for _ in 0..3 {
            look().await;
        }
        assert!(app.mails().is_empty(), "90 s after it was seen to be lost: {:?}", app.mails());
        look().await;
        assert_eq!(app.mails().len(), 1, "after two minutes people are told");
        evolution.disconnects();
        look().await;
        assert_eq!(app.mails().len(), 1, "once");
        evolution.connects();
        look().await;
        assert_eq!(app.mails().len(), 2, "it is back");

        // A session that ended is told at once.
        evolution.disconnects();
        look().await;
        assert_eq!(app.mails().len(), 3);
        app.leave_work();
    }
);
