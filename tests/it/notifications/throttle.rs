//! No one is flooded.

use recado_notifications::channels::Channel;
use serde_json::json;

use crate::harness::app::{App, seconds};
use crate::harness::pair::story;
use crate::harness::sample::{self, likes};
use crate::notifications::control::{kinds, moment};

const HOUR: u64 = 60 * 60;

// So many within an hour; the rest waits and is not dropped.
story!(a_customer_gets_so_many_messages_an_hour, [("RECIPIENT_THROTTLE_PER_HOUR", "2")], async |app: &App| {
    app.know_carlos().await;
    let mut last = None;
    for _ in 0..5 {
        last = Some(app.accepted(&sample::event()).await);
    }
    app.sync_customer(&sample::customer_with(json!({"customer_id": "c-2", "email": "ana@example.com"}))).await;
    app.accepted(&sample::event_with(json!({"customer_id": "c-2"}))).await;
    app.drain().await;
    let to_carlos = || app.mails().iter().filter(|mail| mail.envelope_to() == ["carlos@example.com"]).count();
    assert_eq!((to_carlos(), app.mails().len()), (2, 3));
    app.later(seconds(HOUR - 1)).await;
    assert_eq!(to_carlos(), 2);
    app.later(seconds(1)).await;
    assert_eq!(to_carlos(), 4);
    app.later(seconds(HOUR)).await;
    assert_eq!(to_carlos(), 5);
    assert!(app.whatsapps().is_empty(), "nobody is reached elsewhere instead");

    // Whichever waited, its story says so.
    let mut throttled = 0;
    let list = app.get("/api/v1/notifications/?channel=email&customer_id=customer-001").await.must_be(200);
    for listed in list["results"].as_array().expect("a list") {
        let story = app.notification(listed["id"].as_str().expect("an id")).await;
        if kinds(&story).contains(&"throttled") {
            throttled += 1;
            assert!(moment(&story, "throttled")["text"].as_str().expect("a text").contains("2 mensajes"), "{story}");
        }
    }
    assert_eq!(throttled, 3);
    assert!(last.is_some());
});

// The window slides: a place is free when the oldest has left it.
story!(the_window_slides, [("RECIPIENT_THROTTLE_PER_HOUR", "2")], async |app: &App| {
    app.know_carlos().await;
    for wait in [0, 40 * 60] {
        app.later(seconds(wait)).await;
        app.accepted(&sample::event()).await;
        app.drain().await;
    }
    app.accepted(&sample::event()).await;
    app.drain().await;
    assert_eq!(app.mails().len(), 2);
    app.later(seconds(20 * 60)).await;
    assert_eq!(app.mails().len(), 3, "the first was sent an hour ago");
});

story!(what_is_critical_passes, [("RECIPIENT_THROTTLE_PER_HOUR", "1")], async |app: &App| {
    app.know_carlos().await;
    for critical in [false, true, true] {
        app.accepted(&sample::event_with(json!({ "critical": critical }))).await;
    }
    app.drain().await;
    assert_eq!(app.mails().len(), 3);
});

// A message that fails gives its place to its fallback.
story!(
    a_failed_message_frees_its_place,
    [("RECIPIENT_THROTTLE_PER_HOUR", "1"), ("EMAIL_HOST", "")],
    async |app: &App| {
        app.know_carlos().await;
        app.prefer("customer-001", &[likes(Channel::Email, 1), likes(Channel::Whatsapp, 2)]).await;
        app.accepted(&sample::event()).await;
        app.drain().await;
        assert_eq!(app.whatsapps().len(), 1);
    }
);

story!(without_a_limit_nothing_waits, async |app: &App| {
    app.know_carlos().await;
    for _ in 0..10 {
        app.accepted(&sample::event()).await;
    }
    app.drain().await;
    assert_eq!(app.mails().len(), 10);
});
