//! Workshops with settings of their own, and what these change about an event.

use recado_sandbox::{Smtp, SmtpOptions};
use reqwest::Method;
use serde_json::{Value, json};

use crate::harness::app::{App, seconds};
use crate::harness::pair::story;
use crate::harness::sample;

const WORKSHOPS: &str = "/api/v1/notifications/workshops/";

fn norte() -> Value {
    json!({"taller_id": "quito-norte", "name": "Ambacar Quito Norte"})
}

fn norte_with(field: &str, value: Value) -> Value {
    let mut workshop = norte();
    workshop[field] = value;
    workshop
}

/// The sample, from this workshop.
fn event() -> Value {
    sample::event_with(json!({"taller_id": "quito-norte"}))
}

// d15: written, read, changed, replaced, deleted, by the caller's own identifier.
story!(the_life_of_a_workshop, async |app: &App| {
    let created = app.post(WORKSHOPS, &norte_with("quiet_from", "21:00".into())).await.must_be(400);
    assert!(created["quiet_until"][0].is_string(), "{created}");
    let created = app.post(WORKSHOPS, &norte()).await.must_be(201);
    assert_eq!((&created["is_active"], &created["push_enabled"]), (&json!(true), &json!(true)));

    let url = format!("{WORKSHOPS}quito-norte/");
    let night = json!({"quiet_from": "21:00", "quiet_until": "07:00", "time_zone": "Pacific/Galapagos"});
    let changed = app.patch(&url, &night).await.must_be(200);
    assert_eq!((&changed["quiet_until"], &changed["name"]), (&json!("07:00"), &json!("Ambacar Quito Norte")));
    assert_eq!(app.get(&url).await.must_be(200), changed);
    let replaced = app.put(&url, &norte_with("whatsapp_enabled", false.into())).await.must_be(200);
    assert_eq!((&replaced["quiet_from"], &replaced["whatsapp_enabled"]), (&json!("21:00"), &json!(false)));

    app.post(WORKSHOPS, &json!({"taller_id": "Cuenca 1", "name": "Cuenca", "is_active": false})).await.must_be(201);
    let names = async |query: &str| {
        let page = app.get(&format!("{WORKSHOPS}{query}")).await.must_be(200);
        page["results"].as_array().expect("a list").iter().map(|one| one["name"].clone()).collect::<Vec<_>>()
    };
    assert_eq!(names("").await, ["Cuenca", "Ambacar Quito Norte"]);
    assert_eq!(names("?is_active=false").await, ["Cuenca"]);
    assert_eq!(names("?search=NORTE").await, ["Ambacar Quito Norte"]);
    assert_eq!(app.get(&format!("{WORKSHOPS}Cuenca%201/")).await.must_be(200)["is_active"], false);

    app.send(app.request(Method::DELETE, &url)).await.must_be(204);
    app.get(&url).await.must_be(404);
    app.send(app.request(Method::DELETE, &url)).await.must_be(404);
    app.patch(&url, &json!({})).await.must_be(404);
});

// What is wrong is named.
story!(a_wrong_workshop_is_refused, async |app: &App| {
    app.post(WORKSHOPS, &norte()).await.must_be(201);
    for (body, field) in [
        (json!({}), "taller_id"),
        (norte(), "taller_id"),
        (json!({"taller_id": "a/b", "name": "B"}), "taller_id"),
        (json!({"taller_id": "b", "name": "B", "time_zone": "Quito"}), "time_zone"),
        (json!({"taller_id": "b", "name": "B", "from_email": "B <b>"}), "from_email"),
        (json!({"taller_id": "b", "name": "B", "from_email": "a@b.ec\r\nBcc: c@d.ec"}), "from_email"),
        (json!({"taller_id": "b", "name": "B", "push_enabled": "quizás"}), "push_enabled"),
    ] {
        let answer = app.post(WORKSHOPS, &body).await.must_be(400);
        assert!(answer[field][0].is_string(), "{body}: {answer}");
    }
});

// S002-40, flow 2: a channel that the workshop switched off is skipped with that reason, from the next event on.
story!(a_workshop_switches_a_channel_off, async |app: &App| {
    app.know_carlos().await;
    app.post(WORKSHOPS, &norte_with("email_enabled", false.into())).await.must_be(201);
    let receipt = app.accepted(&event()).await;
    let skipped: Vec<String> = receipt.skipped.iter().map(|one| format!("{} {}", one.channel, one.reason)).collect();
    assert!(skipped.contains(&"email disabled_by_workshop".to_owned()), "{skipped:?}");
    app.drain().await;
    assert_eq!((app.mails().len(), app.whatsapps().len()), (0, 1));

    // Everybody else's events are as before.
    app.accepted(&sample::event()).await;
    app.accepted(&sample::event_with(json!({"taller_id": "unknown-to-us"}))).await;
    app.drain().await;
    assert_eq!(app.mails().len(), 2);

    app.patch(&format!("{WORKSHOPS}quito-norte/"), &json!({"email_enabled": true})).await.must_be(200);
    app.accepted(&event()).await;
    app.drain().await;
    assert_eq!(app.mails().len(), 3);
});

// S002-42: a workshop that was switched off sends nothing, and the caller is told why.
story!(an_inactive_workshops_events_are_refused, async |app: &App| {
    app.know_carlos().await;
    app.post(WORKSHOPS, &norte_with("is_active", false.into())).await.must_be(201);
    let refused = app.dispatch(&event()).await.must_be(400);
    assert_eq!(refused["success"], false);
    assert!(refused["error"].as_str().is_some_and(|error| error.contains("quito-norte")), "{refused}");
    app.send(app.request(Method::DELETE, &format!("{WORKSHOPS}quito-norte/"))).await.must_be(204);
    app.accepted(&event()).await;
    app.drain().await;
    assert_eq!(app.mails().len(), 1);
});

// The sender of a mail: the workshop's, else the account's, else DEFAULT_FROM_EMAIL.
story!(
    a_mail_comes_from_its_workshop,
    [("SECRET_KEY", "a-secret-key-for-stories-of-32-or-more")],
    async |app: &App| {
        app.know_carlos().await;
        app.post(WORKSHOPS, &norte_with("from_email", "Ambacar Norte <norte@taller.example.com>".into()))
            .await
            .must_be(201);
        app.accepted(&event()).await;
        app.accepted(&sample::event()).await;
        app.drain().await;
        let mut senders: Vec<String> =
            app.mails().iter().map(|mail| mail.from().unwrap_or_default().to_owned()).collect();
        senders.sort();
        assert_eq!(senders, ["Ambacar Norte <norte@taller.example.com>", "Taller Ambacar <taller@example.com>"]);

        let own = Smtp::start(SmtpOptions::default()).await.expect("a second server");
        let account = json!({"channel": "email", "name": "norte", "taller_id": "quito-norte", "settings":
        {"host": "127.0.0.1", "port": own.addr().port(), "security": "plain", "from_email": "cuenta@taller.example.com"}});
        app.post("/api/v1/notifications/provider-accounts/", &account).await.must_be(201);
        app.patch(&format!("{WORKSHOPS}quito-norte/"), &json!({"from_email": null})).await.must_be(200);
        app.later(seconds(1)).await;
        app.accepted(&event()).await;
        app.drain().await;
        assert_eq!(
            own.messages().last().and_then(|mail| mail.from().map(str::to_owned)).as_deref(),
            Some("cuenta@taller.example.com")
        );
    }
);
