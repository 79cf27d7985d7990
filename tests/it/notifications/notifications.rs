//! Staff ask what became of a message, and why.

use recado_kernel::api_keys;
use recado_kernel::ids::Id;
use recado_notifications::channels::Channel;
use recado_sandbox::SmtpFault;
use reqwest::Method;
use secrecy::ExposeSecret;
use serde_json::{Value, json};

use crate::harness::app::{App, DISPATCH, operator, seconds};
use crate::harness::pair::story;
use crate::harness::sample::{self, likes, refuses};
use crate::notifications::control::{kinds, moment};

const LIST: &str = "/api/v1/notifications/";

impl App {
    async fn found(&self, query: &str) -> Vec<Value> {
        let page = self.get(&format!("{LIST}?{query}")).await.must_be(200);
        let results = page["results"].as_array().expect("a list").clone();
        assert_eq!(page["count"], json!(results.len()), "{query}");
        results
    }

    async fn keyed_story(&self, scope: &str, id: Id) -> Value {
        let mut session = self.begin().await;
        let (_, key) = api_keys::create(&mut session, scope, &scope.to_owned().into(), &operator(), self.clock.now())
            .await
            .expect("a key");
        session.commit().await.expect("kept");
        let request = self.request(Method::GET, &format!("{LIST}{id}/")).bearer_auth(key.expose_secret());
        self.send(request).await.must_be(200)
    }
}

// S002-70, S002-64: newest first, by whatever one knows; no words, and no one's address.
story!(messages_are_found_by_what_one_knows, async |app: &App| {
    app.know_carlos().await;
    app.sync_customer(&sample::customer_with(json!({"customer_id": "c-2", "phone": null}))).await;
    let first = app.accepted(&sample::event()).await;
    app.drain().await;
    app.clock.advance(seconds(60));
    let second = app
        .accepted(&sample::event_with(json!({"customer_id": "c-2", "event_type": "vehicle_ready", "taller_id": "t-1"})))
        .await;
    app.drain().await;

    let all = app.found("").await;
    assert_eq!(all.len(), 3);
    assert_eq!(all[0]["id"], json!(second.notifications[0].id));
    assert_eq!(all[0]["recipient_address"], "c***@example.com");
    assert!(all[0].get("subject").is_none() && all[0].get("body_preview").is_none());
    for (query, expected) in [
        ("customer_id=customer-001", 2),
        ("status=sent", 2),
        ("status=pending&channel=whatsapp", 1),
        ("channel=email", 2),
        ("event_type=vehicle_ready", 1),
        (&format!("correlation_id={}", first.correlation_id), 2),
        (&format!("task_id={}", second.task_id.expect("a task")), 1),
        ("taller_id=t-1", 1),
        ("from=2026-01-20T14:31:00Z", 1),
        ("to=2026-01-20T09:31:00-05:00", 2),
        ("customer_id=nobody", 0),
    ] {
        assert_eq!(app.found(query).await.len(), expected, "{query}");
    }
    let whatsapp = app.found("channel=whatsapp").await;
    assert_eq!((&whatsapp[0]["parent_log"], &all[0]["parent_log"]), (&json!(first.notifications[0].id), &Value::Null));
    let page = app.get(&format!("{LIST}?page_size=2&page=2")).await.must_be(200);
    assert_eq!((&page["count"], page["results"].as_array().map(Vec::len)), (&json!(3), Some(1)));

    for (query, field) in
        [("status=gone", "status"), ("channel=fax", "channel"), ("from=ayer", "from"), ("task_id=5", "task_id")]
    {
        assert!(app.get(&format!("{LIST}?{query}")).await.must_be(400)[field][0].is_string(), "{query}");
    }
});

// S002-70: why this channel, what was skipped, what each provider said, why the next one was tried.
story!(a_message_tells_its_story, async |app: &App| {
    app.know_carlos().await;
    app.prefer("customer-001", &[likes(Channel::Email, 1)]).await;
    app.sandbox.smtp.misbehave_times(SmtpFault::reject_recipient(451), 1);
    let receipt = app.accepted(&sample::event()).await;
    app.drain().await;
    let [email, whatsapp] = [&receipt.notifications[0], &receipt.notifications[1]].map(|planned| planned.id);
    let story = app.notification(email).await;
    assert_eq!(kinds(&story), ["accepted", "chosen", "chosen", "skipped", "attempt", "retry_planned"]);
    assert!(moment(&story, "chosen")["text"].as_str().expect("a text").contains("Prioridad 1"), "{story}");
    assert_eq!(moment(&story, "skipped")["facts"]["reason"], "no_push_subscription");
    let attempt = moment(&story, "attempt");
    assert_eq!(
        (&attempt["facts"]["outcome"], &attempt["facts"]["provider_status"], &attempt["channel"]),
        (&json!("transient"), &json!(451), &json!("email"))
    );

    app.sandbox.smtp.misbehave(SmtpFault::reject_recipient(550));
    app.until_due(receipt.task_id.expect("a task")).await;
    let story = app.notification(whatsapp).await;
    assert_eq!((&story["status"], &story["parent_log"]), (&json!("sent"), &json!(email)));
    let kinds = kinds(&story);
    let told = |kind: &str| kinds.iter().filter(|one| **one == kind).count();
    assert_eq!((told("attempt"), told("failed"), told("retry_planned")), (3, 1, 0), "{story}");
    assert_eq!(kinds.last(), Some(&"attempt"));
    assert_eq!(story["chain"].as_array().map(Vec::len), Some(2));
    assert_eq!(story["body_preview"].as_str().map(|text| text.chars().count() <= 500), Some(true));
    assert_eq!(app.whatsapps().len(), 1);

    app.get(&format!("{LIST}{}/", Id::of_name("nothing"))).await.must_be(404);
    app.get(&format!("{LIST}not-an-id/")).await.must_be(404);
});

// Addresses, and answers of providers that may name them, are for admins.
story!(
    whoever_may_only_look_sees_no_addresses,
    [("ALLOW_ANONYMOUS_API", "false"), ("API_KEYS", "the-key-of-the-stories")],
    async |app: &App| {
        app.know_carlos().await;
        app.sandbox.smtp.misbehave_times(SmtpFault::reject_recipient(451), 1);
        let request = app.request(Method::POST, DISPATCH).bearer_auth("the-key-of-the-stories");
        let receipt = app.send(request.json(&sample::event())).await.must_be(202);
        app.drain().await;
        let id: Id = receipt["notifications"][0]["id"].as_str().expect("an id").parse().expect("a UUID");
        let seen = app.keyed_story("read", id).await;
        assert!(!seen.to_string().contains("carlos@example.com"), "{seen}");
        assert!(moment(&seen, "attempt")["facts"].get("provider_answer").is_none());
        let seen = app.keyed_story("admin", id).await;
        assert_eq!(seen["recipient_address"], "carlos@example.com");
        assert!(moment(&seen, "attempt")["facts"]["provider_answer"].is_string());
        let request = app.request(Method::POST, &format!("{LIST}{id}/cancel/"));
        assert_eq!(app.send(request).await.status, 401);
        let request = app.request(Method::POST, &format!("{LIST}{id}/cancel/")).bearer_auth("the-key-of-the-stories");
        assert_eq!(app.send(request).await.status, 200);
    }
);

// d16: an event that reaches no one has a story too.
story!(an_event_that_reaches_no_one_says_why, async |app: &App| {
    app.know_carlos().await;
    app.prefer("customer-001", &[refuses(Channel::Email), refuses(Channel::Whatsapp)]).await;
    let receipt = app.accepted(&sample::event()).await;
    assert_eq!((receipt.notifications_queued, receipt.task_id), (0, None));
    let url = format!("{LIST}events/{}/", receipt.correlation_id);
    let story = app.get(&url).await.must_be(200);
    assert_eq!((&story["notifications"], kinds(&story)), (&json!([]), vec!["skipped"; 3]));
    assert!(story["timeline"].to_string().contains("desactivó"), "{story}");
    // The same in English, for those who ask for it.
    let english = app.get(&format!("{url}?lang=en")).await.must_be(200);
    assert!(english["timeline"].to_string().contains("switched this channel off"), "{english}");
    assert_eq!(english["timeline"][0]["facts"], story["timeline"][0]["facts"]);
    let accepted = app.send(app.request(Method::GET, &url).header("Accept-Language", "en-GB, es;q=0.5")).await;
    assert_eq!(accepted.must_be(200)["timeline"], english["timeline"]);
    app.get(&format!("{url}?lang=de")).await.must_be(400);

    let reached = {
        app.prefer("customer-001", &[likes(Channel::Email, 1)]).await;
        app.accepted(&sample::event()).await
    };
    app.drain().await;
    let story = app.get(&format!("{LIST}events/{}/", reached.correlation_id)).await.must_be(200);
    assert_eq!(story["notifications"][0]["status"], "sent");
    assert!(kinds(&story).contains(&"attempt"), "{story}");
    app.get(&format!("{LIST}events/{}/", Id::of_name("nothing"))).await.must_be(404);
});

// What has a name of its own is not taken for an id.
story!(names_win_over_ids, async |app: &App| {
    for path in ["catalog/", "vehicles/", "push/vapid-public-key/", ""] {
        assert_eq!(app.get(&format!("{LIST}{path}")).await.status, 200, "{path}");
    }
    assert_eq!(app.send(app.request(Method::GET, DISPATCH)).await.status, 405, "`dispatch` is no correlation_id");
    assert_eq!(app.get(LIST.trim_end_matches('/')).await.status, 200);
});
