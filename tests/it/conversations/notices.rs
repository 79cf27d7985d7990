//! Operators are told of requests: once, by the first means that leads to them.

use futures::future::join_all;
use recado_conversations::jobs::TellOperator;
use recado_conversations::notices::{self, NextNotice};
use recado_kernel::ids::Id;
use recado_kernel::sql;
use recado_queue::tasks;
use recado_sandbox::{BridgeFault, SmtpFault, Writes};
use serde_json::{Value, json};

use crate::conversations::codes::{issue, know_experience};
use crate::conversations::webhooks::{CUSTOMER, SA, WEBHOOK, hear, reservations};
use crate::harness::app::{App, seconds};
use crate::harness::pair::story;

pub(super) const GROUP: &str = "120363041@g.us";

/// Changes rows by hand.
async fn change(app: &App, statement: &'static str) {
    let mut session = app.begin().await;
    sql!(run, &mut session, (statement)).expect(statement);
    session.commit().await.expect("it is committed");
}

/// A group of WhatsApp.
async fn know_group(app: &App, chat_id: &str) -> Id {
    let (id, mut session) = (Id::of_name(chat_id), app.begin().await);
    sql!(
        run,
        &mut session,
        "insert into whatsapp_chats (id, chat_id, kind, name, participants, tags, is_active, message_count, unread_count, created_at, updated_at)
         values ($1, $2, 'group', $2, '[]', '[]', true, 0, 0, $3, $3)",
        id,
        chat_id,
        app.clock.now()
    )
    .expect("it is known");
    session.commit().await.expect("it is committed");
    id
}

/// The experience of the stories, of which a group is told.
pub(super) async fn know_told_experience(app: &App) {
    know_experience(app).await;
    let group = know_group(app, GROUP).await;
    let mut session = app.begin().await;
    sql!(run, &mut session, "update tour_operators set default_group = $1", group).expect("it is set");
    session.commit().await.expect("it is committed");
}

/// A customer names a new code; the request.
pub(super) async fn ask(app: &App) -> (String, String) {
    let code = issue(app).await;
    let id = hear(app, CUSTOMER, &code).await["reservation_id"].as_str().expect("a request").to_owned();
    (id, code)
}

pub(super) async fn show(app: &App, id: &str) -> Value {
    app.get(&format!("{SA}reservations/{id}/")).await.must_be(200)
}

async fn status(app: &App, id: &str) -> String {
    show(app, id).await["status"].as_str().expect("a status").to_owned()
}

/// What happened, in words.
pub(super) fn story_of(request: &Value) -> Vec<String> {
    let timeline = request["timeline"].as_array().expect("a story");
    timeline.iter().map(|entry| entry["what"].as_str().expect("a word").to_owned()).collect()
}

fn told(app: &App) -> Vec<String> {
    app.sandbox.bridge.texts().into_iter().map(|text| text.chat_id).collect()
}

// S003-23, d30: the words, and that the notice is accepted before it is said to be.
story!(the_operator_is_told, async |app: &App| {
    know_told_experience(app).await;
    let (id, code) = ask(app).await;
    assert_eq!(status(app, &id).await, "received");
    app.drain().await;
    let texts = app.sandbox.bridge.texts();
    assert_eq!(told(app), [GROUP]);
    for word in [code.as_str(), "Islas Ballestas", CUSTOMER] {
        assert!(texts[0].text.contains(word), "{}", texts[0].text);
    }
    let request = show(app, &id).await;
    assert_eq!((&request["status"], &request["told_by"]), (&json!("operator_notified"), &json!("group")));
    assert_eq!(story_of(&request), ["created", "told"]);
    assert_eq!(app.drain().await, 0);
});

// S003-25: every combination of override, operator's default and the experience's default.
story!(the_group_is_the_first_of_four_levels, async |app: &App| {
    know_experience(app).await;
    let [custom, operators, default] =
        [know_group(app, "111@g.us").await, know_group(app, "222@g.us").await, know_group(app, "333@g.us").await];
    for combination in 0..8_u8 {
        let has = |bit: u8| combination & bit != 0;
        let mut session = app.begin().await;
        sql!(run, &mut session, "delete from tour_group_bindings").expect("they are gone");
        let default_group = has(2).then_some(operators);
        sql!(run, &mut session, "update tour_operators set default_group = $1", default_group).expect("it is set");
        for (is_override, group, is_bound) in [(true, custom, has(1)), (false, default, has(4))] {
            if is_bound {
                let bind = "insert into tour_group_bindings (experience_id, is_override, chat, created_at) values ('exp-7', $1, $2, $3)";
                sql!(run, &mut session, (bind), is_override, group, app.clock.now()).expect("it is bound");
            }
        }
        session.commit().await.expect("it is committed");
        app.sandbox.bridge.clear();
        let (id, _) = ask(app).await;
        app.drain().await;
        let expected = [(1, "111@g.us"), (2, "222@g.us"), (4, "333@g.us")].into_iter().find(|(bit, _)| has(*bit));
        assert_eq!(told(app).first().map(String::as_str), expected.map(|(_, group)| group), "{combination:03b}");
        assert_eq!(status(app, &id).await, if expected.is_some() { "operator_notified" } else { "received" });
    }
});

// d30: without a group the number, else the contact phone, else mail; else no one.
story!(without_a_group_another_means_leads_there, async |app: &App| {
    know_experience(app).await;
    let (id, _) = ask(app).await;
    app.drain().await;
    let request = show(app, &id).await;
    assert_eq!(
        (&request["status"], story_of(&request)),
        (&json!("received"), vec!["created".to_owned(), "nobody_told".to_owned()])
    );
    change(app, "update tour_operators set contact_email = 'tours@example.com'").await;
    ask(app).await;
    app.drain().await;
    let mails = app.mails();
    assert_eq!(mails.len(), 1);
    assert_eq!(mails[0].to(), ["tours@example.com"]);
    change(app, "update tour_operators set contact_phone = '+593 98-765 4321'").await;
    ask(app).await;
    app.drain().await;
    change(app, "update tour_operators set whatsapp_number = '+593 99 000 0001'").await;
    let (last, _) = ask(app).await;
    app.drain().await;
    assert_eq!(told(app), ["593987654321@c.us", "593990000001@c.us"]);
    assert_eq!(show(app, &last).await["told_by"], "number");
    assert_eq!(app.mails().len(), 1, "one means, once");
    // Staff may have it told after all.
    app.post(&format!("{SA}reservations/{id}/tell/"), &json!({})).await.must_be(200);
    app.drain().await;
    assert_eq!(status(app, &id).await, "operator_notified");
    assert_eq!(app.post(&format!("{SA}reservations/{id}/tell/"), &json!({})).await.status, 409);
});

// d30: what the bridge refuses leads to the next means.
story!(a_refused_notice_goes_by_the_next_means, async |app: &App| {
    know_told_experience(app).await;
    change(app, "update tour_operators set whatsapp_number = '593990000001', contact_email = 'tours@example.com'")
        .await;
    app.sandbox.bridge.misbehave_for(GROUP, BridgeFault::NotRegistered);
    let (id, _) = ask(app).await;
    app.drain().await;
    assert_eq!(told(app), ["593990000001@c.us"]);
    assert_eq!(story_of(&show(app, &id).await), ["created", "means_spent", "told"]);
    app.sandbox.bridge.misbehave_for("593990000001@c.us", BridgeFault::NotRegistered);
    let (id, _) = ask(app).await;
    app.drain().await;
    assert_eq!((told(app).len(), app.mails().len()), (1, 1));
    assert_eq!(show(app, &id).await["told_by"], "email");
});

// d30: 503 and 500 are tried again; nothing is said to be told before it was accepted.
story!(a_bridge_that_is_not_ready_is_waited_for, async |app: &App| {
    know_told_experience(app).await;
    app.sandbox.bridge.misbehave_times(BridgeFault::NotReady, 1);
    let (id, _) = ask(app).await;
    app.drain().await;
    assert_eq!((told(app).len(), status(app, &id).await.as_str()), (0, "processing"));
    app.sandbox.bridge.behave();
    app.sandbox.bridge.misbehave_times(BridgeFault::status(500), 1);
    app.later(seconds(80)).await;
    assert_eq!((told(app).len(), status(app, &id).await.as_str()), (0, "processing"));
    app.later(seconds(150)).await;
    assert_eq!((told(app).len(), status(app, &id).await.as_str()), (1, "operator_notified"));
    assert_eq!(story_of(&show(app, &id).await), ["created", "not_yet_told", "not_yet_told", "told"]);
});

// d30: when the bridge does not come back, mail is what is left.
story!(a_bridge_that_stays_away_leaves_mail, async |app: &App| {
    know_told_experience(app).await;
    change(app, "update tour_operators set contact_email = 'tours@example.com'").await;
    app.sandbox.bridge.misbehave(BridgeFault::NotReady);
    app.sandbox.smtp.misbehave_times(SmtpFault::RejectRecipient { code: 451, text: "later".into() }, 1);
    let (id, _) = ask(app).await;
    for _ in 0..6 {
        app.later(seconds(300)).await;
    }
    assert_eq!((told(app).len(), app.mails().len()), (0, 1));
    assert_eq!(show(app, &id).await["told_by"], "email");
});

story!(without_a_bridge_there_is_mail, [("WHATSAPP_SERVICE_URL", "")], async |app: &App| {
    know_told_experience(app).await;
    change(app, "update tour_operators set contact_email = 'tours@example.com'").await;
    ask(app).await;
    app.drain().await;
    assert_eq!(app.mails().len(), 1);
});

// d27, d31a: a timeout is not repeated; the echo settles it.
story!(what_may_have_left_is_settled_by_its_echo, [("WHATSAPP_SERVICE_TIMEOUT", "0.2")], async |app: &App| {
    know_told_experience(app).await;
    change(app, "update tour_operators set whatsapp_number = '593990000001', contact_email = 'tours@example.com'")
        .await;
    app.sandbox.bridge.misbehave_times(BridgeFault::AcceptThenHang, 1);
    let (id, code) = ask(app).await;
    app.drain().await;
    let request = show(app, &id).await;
    assert_eq!(
        (&request["status"], story_of(&request)),
        (&json!("processing"), vec!["created".to_owned(), "unknown".to_owned()])
    );
    for _ in 0..4 {
        app.later(seconds(600)).await;
    }
    assert_eq!((told(app).len(), app.mails().len()), (1, 0), "it is not repeated, by whatever means");
    // The same words elsewhere, and other words there, are no echo.
    let notice = app.sandbox.bridge.texts()[0].text.clone();
    for (number, (chat, text)) in [("999@g.us", notice.as_str()), (GROUP, code.as_str())].into_iter().enumerate() {
        let other = json!({"id": format!("X{number}"), "chat_id": chat, "text": text, "from_me": true});
        app.post(WEBHOOK, &other).await.must_be(200);
        assert_eq!(status(app, &id).await, "processing");
    }
    for echo in app.sandbox.bridge.echoes() {
        assert_eq!(app.post(WEBHOOK, &echo).await.must_be(200)["status"], "saved");
    }
    let request = show(app, &id).await;
    assert_eq!((&request["status"], request["notified_at"].is_string()), (&json!("operator_notified"), true));
    assert_eq!(story_of(&request).last().map(String::as_str), Some("told"));
});

// S003-24: a worker dies after it noted that words are about to leave. The chat's history tells whether they did.
story!(a_worker_that_dies_tells_nothing_twice, async |app: &App| {
    know_told_experience(app).await;
    for left in [true, false] {
        app.sandbox.bridge.clear();
        let (id, code) = ask(app).await;
        let request: Id = id.parse().expect("an id");
        let mut session = app.begin().await;
        let errand = notices::prepare(&mut session, request, app.clock.now()).await.expect("it is read");
        session.commit().await.expect("it is committed");
        let NextNotice::Tell { notice, .. } = errand else { panic!("{errand:?}") };
        assert!(notice.text().contains(&code));
        let said = if left { notice.text() } else { "hola".to_owned() };
        app.sandbox.bridge.hears(Writes { chat_id: GROUP.into(), text: said, from_me: true, ..Default::default() });
        app.drain().await;
        app.later(seconds(120)).await;
        assert_eq!(told(app).len(), usize::from(!left), "the history has it: {left}");
        assert_eq!(status(app, &id).await, "operator_notified");
    }
});

// S003-24: told again by duplicates, lost rings and a second task, the operator is told once.
story!(each_operator_is_told_once, async |app: &App| {
    know_told_experience(app).await;
    let mut codes = Vec::new();
    for _ in 0..10 {
        codes.push(issue(app).await);
    }
    let told_of: Vec<Value> = (0..40).map(|number| app.sandbox.bridge.message(CUSTOMER, &codes[number % 10])).collect();
    for answer in join_all(told_of.iter().chain(&told_of).map(|body| app.post(WEBHOOK, body))).await {
        answer.must_be(200);
    }
    app.lose_rings().await;
    app.later(seconds(6)).await;
    assert_eq!(told(app).len(), 10);
    for request in reservations(app, "").await {
        let request_id: Id = request["id"].as_str().expect("an id").parse().expect("an id");
        app.enqueue(&TellOperator { request_id }).await;
    }
    app.drain().await;
    assert_eq!(told(app).len(), 10);
    assert_eq!(reservations(app, "?status=operator_notified").await.len(), 10);
    let unfinished = tasks::find(
        &mut app.begin().await,
        reservations(app, "").await[0]["id"].as_str().expect("an id").parse().expect("an id"),
    )
    .await;
    assert!(unfinished.expect("it is read").is_some(), "a request's id is that of the task that tells of it");
});
