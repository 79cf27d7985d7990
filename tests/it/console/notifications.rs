//! Messages and their stories in the console.

use std::time::Duration;

use recado_kernel::audit::{self, AuditFilter};
use recado_kernel::ids::Id;
use recado_notifications::channels::Channel;
use recado_sandbox::{EvolutionFault, SmtpFault};
use serde_json::json;

use crate::harness::app::{App, DISPATCH, seconds};
use crate::harness::pair::story;
use crate::harness::sample::{self, likes, refuses};

const PATH: &str = "/admin/notifications/";

fn there(id: Id) -> String {
    format!("{PATH}{id}/")
}

impl App {
    /// The sample, accepted; its first message.
    async fn first_message(&self) -> Id {
        self.accepted(&sample::event()).await.notifications[0].id
    }

    /// What the audit log says of a message: who did what.
    async fn told_of(&self, id: Id) -> Vec<String> {
        let filter = AuditFilter {
            subject_kind: Some("notification".to_owned()),
            subject: Some(id.to_string()),
            ..AuditFilter::default()
        };
        let log = audit::page(&mut self.begin().await, &filter, None, 10).await.expect("the log is read");
        let mut told: Vec<String> = log.into_iter().map(|entry| format!("{} {}", entry.actor, entry.action)).collect();
        told.sort_unstable();
        told
    }
}

story!(messages_are_listed_filtered_and_turned_by_page, async |app: &App| {
    let viewer = app.operator("viewer").await;
    assert!(viewer.page(PATH).await.contains("No message fits"), "an empty page teaches");
    app.know_carlos().await;
    app.sandbox.smtp.misbehave(SmtpFault::reject_data(554));
    for number in 0..60 {
        app.accepted(&sample::event_with(json!({"context": {"placa": format!("P{number}")}}))).await;
    }
    app.drain().await;
    let page = viewer.page(&format!("{PATH}?channel=email")).await;
    assert_eq!(page.matches("<td class=\"what\">").count(), 50);
    assert!(!page.contains("carlos@"), "no address: {page}");
    let older = page.split("rel=\"next\"").next().and_then(|before| before.rsplit("href=\"").next());
    let older = older.and_then(|rest| rest.split('"').next()).expect("there are older ones").replace("&#38;", "&");
    let second = viewer.page(&older).await;
    assert!(second.contains("rel=\"prev\"") && !second.contains("rel=\"next\""), "{second}");
    let links = |page: &str| -> Vec<String> {
        page.split("<td class=\"what\"><a href=\"").skip(1).map(|rest| rest[..60].to_owned()).collect()
    };
    assert!(links(&second).iter().all(|link| !links(&page).contains(link)), "each message stands on one page");
    assert_eq!(links(&page).len() + links(&second).len(), 60);
    let newer = second.split("rel=\"prev\"").next().and_then(|before| before.rsplit("href=\"").next());
    let newer = newer.and_then(|rest| rest.split('"').next()).expect("there are newer ones").replace("&#38;", "&");
    let again = viewer.page(&newer).await;
    assert_eq!(links(&again), links(&page), "{newer}");

    for (query, rows) in [
        ("channel=email&status=failed", 50),
        ("error_code=EMAIL_SEND_FAILED&provider=env", 50),
        ("status=delivered", 0),
        ("customer_id=nobody", 0),
        ("taller_id=t-1", 0),
        ("event_type=appointment_scheduled&window=hour", 50),
        ("channel=fax&status=gone&after=x&window=year", 50),
    ] {
        let page = viewer.page(&format!("{PATH}?{query}")).await;
        assert_eq!(page.matches("<td class=\"what\">").count(), rows, "{query}");
    }
    let count = viewer.page(&format!("{PATH}count?channel=email&status=failed")).await;
    assert!(count.contains("60 messages"), "{count}");
    app.clock.advance(Duration::from_secs(2 * 24 * 60 * 60));
    assert!(app.operator("operator").await.page(PATH).await.contains("No message fits"), "the window is a day");
    assert_eq!(app.browser().get(PATH).await.status, 303, "nobody looks without a login");
});

// What waits in reserve is listed where it is asked for, and there alone.
story!(messages_in_reserve_are_found, async |app: &App| {
    app.know_carlos().await;
    app.first_message().await;
    app.drain().await;
    let viewer = app.operator("viewer").await;
    assert_eq!(viewer.page(PATH).await.matches("<td class=\"what\">").count(), 1);
    let page = viewer.page(&format!("{PATH}?status=pending")).await;
    assert_eq!(page.matches("<td class=\"what\">").count(), 1, "{page}");
    assert!(page.contains("in reserve"), "{page}");
});

// A fallback is seen while it happens: the stream of the page tells it.
story!(a_fallback_is_seen_live, async |app: &App| {
    app.know_carlos().await;
    app.sandbox.smtp.misbehave(SmtpFault::reject_recipient(550));
    let receipt = app.accepted(&sample::event()).await;
    let (id, task) = (receipt.notifications[0].id, receipt.task_id.expect("a task"));
    let viewer = app.operator("viewer").await;
    let page = viewer.page(&there(id)).await;
    assert!(page.contains(&format!("story:{task}").replace(':', "%3A")), "{page}");
    assert!(page.contains("Email goes out as soon as a worker takes it. If it fails, WhatsApp is next."), "{page}");
    let request = viewer.request(reqwest::Method::GET, &format!("/admin/live?topics=story:{task}"));
    let mut stream = request.send().await.expect("it answers");
    let mut said = String::new();
    let mut is_drained = false;
    while !(said.contains("Nothing more: it was sent by WhatsApp.") && said.contains("550")) {
        said.push_str(&String::from_utf8_lossy(&stream.chunk().await.expect("it goes on").expect("more")));
        if !is_drained && said.contains("class=\"stop is-queued\"") {
            app.drain().await;
            is_drained = true;
        }
    }
    assert!(is_drained, "the page began before the fallback: {said}");
    let last = said.rsplit("hx-target=\"#story\"").next().expect("a part");
    assert!(last.contains("class=\"stop is-sent\"") && last.contains("550"), "{last}");
    assert!(last.contains("Nothing more: it was sent by WhatsApp.") && !last.contains("carlos@"), "{last}");
});

// What happens next, and until when: receipts, retries, wished times, pauses.
story!(the_next_step_is_told_with_its_moment, async |app: &App| {
    app.leave_work();
    app.know_carlos().await;
    app.sql("update phase_channel_configs set await_receipt = 'delivered', await_seconds = 600").await;
    app.prefer("customer-001", &[likes(Channel::Whatsapp, 1), likes(Channel::Email, 2)]).await;
    let viewer = app.operator("viewer").await;
    let id = app.first_message().await;
    app.drain().await;
    let page = viewer.page(&there(id)).await;
    for said in [
        "WhatsApp was sent and waits for the receipt of delivery. If it does not come in time, Email is next.",
        "waits for “delivered” until",
        "data-countdown",
        "datetime=\"2026-01-20T14:40:00.000Z\"",
        "in reserve",
        "priority 1",
    ] {
        assert!(page.contains(said), "{said} in {page}");
    }
    let wished = app.accepted(&sample::event_with(json!({"send_at": "2026-01-21T14:30:00Z"}))).await;
    let page = viewer.page(&there(wished.notifications[0].id)).await;
    assert!(page.contains("goes out at the time that the sender of the event asked for"), "{page}");
    let operator = app.operator("operator").await;
    operator.post_and_follow("/admin/queues/pause/", &[("queue", "notifications"), ("reason", "cambio")]).await;
    let page = viewer.page(&there(wished.notifications[0].id)).await;
    assert!(page.contains("But its queue is paused."), "{page}");
    let told = app.get(&format!("/api/v1/notifications/{}/?lang=en", wished.notifications[0].id)).await.must_be(200);
    assert_eq!((&told["next"]["what"], &told["next"]["held"]), (&json!("leaves_as_wished"), &json!("paused")));
    assert!(told["next"]["at"].as_str().is_some_and(|at| at.starts_with("2026-01-21T14:30:00")), "{told}");
});

/// The row of a channel in the table of reasons.
fn row<'p>(page: &'p str, channel: &str) -> &'p str {
    let table = page.split("<table class=\"why\">").nth(1).expect("the table of reasons");
    let rows = table.split("<th scope=\"row\">").skip(1);
    let is_of =
        |row: &&str| row.trim_start_matches(|one: char| one.is_ascii_digit() || one == ' ').starts_with(channel);
    rows.into_iter().find(is_of).and_then(|row| row.split("</tr>").next()).expect("a row for the channel")
}

// Why not: each reason, at the rule that it belongs to, and whether its setting is another one now.
story!(each_channel_says_why_it_was_not_used, async |app: &App| {
    app.leave_work();
    app.know_carlos().await;
    app.sql(
        "insert into workshops (id, taller_id, name, is_active, email_enabled, whatsapp_enabled, push_enabled, created_at, updated_at)
         select id, 'norte', 'Taller Norte', true, true, false, true, created_at, created_at from schedules where name = 'cleanup'",
    )
    .await;
    let viewer = app.operator("viewer").await;
    let look = async |patch: serde_json::Value| {
        let receipt = app.accepted(&sample::event_with(patch)).await;
        viewer.page(&there(receipt.notifications[0].id)).await
    };
    let told = |page: &str, channel: &str, said: &str, links: &str| {
        let row = row(page, channel);
        assert!(row.contains(said), "{said} in {row}");
        let stopped = row.split("is-stopped").nth(1).expect("a rule that stopped it");
        assert!(stopped.contains(links), "{links} in {stopped}");
    };
    let page = look(json!({})).await;
    told(&page, "push", "no device that is subscribed", "/admin/customers/customer-001/");
    assert!(row(&page, "email").contains("v1") && !row(&page, "email").contains("is-stopped"), "{page}");
    assert!(row(&page, "email").contains("/admin/matrix/mantenimiento-preventivo/"), "{page}");
    let page = look(json!({"taller_id": "norte"})).await;
    told(&page, "WhatsApp", "The workshop has switched this channel off", "/admin/workshops/norte/");
    assert!(!row(&page, "WhatsApp").contains("changed since"));
    app.sql("update workshops set whatsapp_enabled = true where taller_id = 'norte'").await;
    app.sql("update phase_channel_configs set enabled = false where channel = 'whatsapp'").await;
    let page = look(json!({})).await;
    told(&page, "WhatsApp", "switched off in the orchestration matrix", "/admin/matrix/mantenimiento-preventivo/");
    assert!(row(&page, "WhatsApp").contains("not asked"), "the rules behind it: {page}");
    app.sql("update phase_channel_configs set enabled = true where channel = 'whatsapp'").await;
    app.sql("update templates set is_active = false where channel = 'whatsapp'").await;
    told(&look(json!({})).await, "WhatsApp", "no active template", "");
    app.sql("update templates set is_active = true where channel = 'whatsapp'").await;
    let suppress = json!({"channel": "whatsapp", "address": "+593991234567"});
    app.post("/api/v1/notifications/suppressions/", &suppress).await.must_be(201);
    told(&look(json!({})).await, "WhatsApp", "on the suppression list", "/admin/suppressions/");
    app.prefer("customer-001", &[likes(Channel::Email, 1), refuses(Channel::Whatsapp)]).await;
    let receipt = app.accepted(&sample::event()).await;
    let id = receipt.notifications[0].id;
    let page = viewer.page(&there(id)).await;
    told(&page, "WhatsApp", "switched this channel off in their preferences", "/admin/customers/customer-001/");
    assert!(!row(&page, "WhatsApp").contains("changed since"), "{page}");
    // Since then they said yes, and gave email another place.
    app.prefer("customer-001", &[likes(Channel::Whatsapp, 1), likes(Channel::Email, 2)]).await;
    let page = viewer.page(&there(id)).await;
    told(&page, "WhatsApp", "switched this channel off in their preferences", "changed since");
    assert!(row(&page, "email").contains("changed since") && row(&page, "email").contains("priority 1"), "{page}");
    app.sync_customer(&sample::customer_with(json!({"customer_id": "c-2", "phone": null}))).await;
    told(&look(json!({"customer_id": "c-2"})).await, "WhatsApp", "no address or number", "/admin/customers/c-2/");
    let told = app.get(&format!("/api/v1/notifications/{id}/")).await.must_be(200);
    let whatsapp = told["channels"].as_array().and_then(|all| all.iter().find(|one| one["channel"] == "whatsapp"));
    let whatsapp = whatsapp.expect("the API tells it too");
    assert_eq!(
        (&whatsapp["reason"], &whatsapp["preference"]),
        (&json!("opted_out"), &json!({"then": "stopped", "has_changed": true}))
    );
});

// An address is shown to those who may, once, and the log says who looked.
story!(a_reveal_is_written_down_and_a_viewer_is_refused, async |app: &App| {
    app.leave_work();
    app.know_carlos().await;
    let id = app.first_message().await;
    let (viewer, operator) = (app.operator("viewer").await, app.operator("operator").await);
    let page = viewer.page(&there(id)).await;
    assert!(page.contains("c***@example.com") && !page.contains("/reveal/") && !page.contains("carlos@"), "{page}");
    assert!(page.contains("What is written to people is for operators and editors."), "{page}");
    assert_eq!(viewer.post(&format!("{}reveal/", there(id)), &[]).await.status, 403);
    assert!(app.told_of(id).await.is_empty());
    let shown = operator.post(&format!("{}reveal/", there(id)), &[]).await;
    assert_eq!(shown.status, 200);
    assert!(shown.text.contains("carlos@example.com") && shown.text.contains("+593991234567"), "{}", shown.text);
    assert!(!operator.page(&there(id)).await.contains("carlos@example.com"), "it is shown once");
    assert_eq!(app.told_of(id).await, ["operator-1 reveal"]);
    let filter = AuditFilter { action: Some("reveal".to_owned()), ..AuditFilter::default() };
    let log = audit::page(&mut app.begin().await, &filter, None, 10).await.expect("the log is read");
    assert!(!format!("{log:?}").contains("carlos"), "the log holds no address");
    assert_eq!(operator.post(&format!("{PATH}{}/reveal/", Id::of_name("none")), &[]).await.status, 404);
});

story!(a_message_is_cancelled_and_sent_again_from_its_page, async |app: &App| {
    app.know_carlos().await;
    let (viewer, operator) = (app.operator("viewer").await, app.operator("operator").await);
    let id = app.first_message().await;
    for act in ["cancel", "resend", "retry"] {
        assert!(!viewer.page(&there(id)).await.contains(&format!("/{act}/\"><")), "a viewer sees no button");
        assert_eq!(viewer.post(&format!("{}{act}/", there(id)), &[]).await.status, 403);
    }
    let page = operator.post_and_follow(&format!("{}resend/", there(id)), &[]).await;
    assert!(page.contains("Not sent again: it is still on its way."), "{page}");
    let page = operator.post_and_follow(&format!("{}cancel/", there(id)), &[]).await;
    assert!(page.contains("The message is cancelled.") && page.contains("Nothing more: it was cancelled."), "{page}");
    // Taking it back begins the chain again, and then it has left.
    operator.undo(&page).await;
    app.drain().await;
    assert_eq!(app.mails().len(), 1);
    let page = operator.post_and_follow(&format!("{}cancel/", there(id)), &[]).await;
    assert!(page.contains("Not cancelled: it has left."), "{page}");

    // Sent twice by a nervous finger, it goes out once.
    let once = Id::of_name("once").to_string();
    let form = [("once", once.as_str())];
    let page = operator.post_and_follow(&format!("{}resend/", there(id)), &form).await;
    assert!(page.contains("It is sent again, as this message."), "{page}");
    let again = operator.post(&format!("{}resend/", there(id)), &form).await;
    assert_eq!(again.status, 303);
    app.drain().await;
    assert_eq!(app.mails().len(), 2);
    let copy: Id =
        again.header("location").trim_end_matches('/').rsplit('/').next().expect("an id").parse().expect("one");
    assert!(operator.page(&there(copy)).await.contains(&there(id)), "it names the one that it repeats");
    assert_eq!(app.told_of(id).await, ["operator-1 cancel", "operator-1 resend"]);

    app.prefer("customer-001", &[refuses(Channel::Email)]).await;
    let page = operator.post_and_follow(&format!("{}resend/", there(id)), &[]).await;
    assert!(page.contains("the customer switched this channel off"), "{page}");
});

// A failure says what it means, how many failed alike, and begins again.
story!(a_failed_message_is_explained_and_tried_again, async |app: &App| {
    app.know_carlos().await;
    app.sandbox.smtp.misbehave(SmtpFault::reject_data(554));
    app.sandbox.evolution.misbehave(EvolutionFault::NotOnWhatsapp);
    let id = app.first_message().await;
    app.accepted(&sample::event_with(json!({"context": {"placa": "P2"}}))).await;
    app.drain().await;
    let operator = app.operator("operator").await;
    let page = operator.page(&there(id)).await;
    for said in ["Nothing more: every channel failed.", "1 more failed like this", "SMTP server", "EMAIL_SEND_FAILED"] {
        assert!(page.contains(said), "{said} in {page}");
    }
    app.sandbox.smtp.behave();
    let page = operator.post_and_follow(&format!("{}retry/", there(id)), &[]).await;
    assert!(page.contains("The chain begins again."), "{page}");
    app.drain().await;
    assert!(operator.page(&there(id)).await.contains("it was sent by Email"));
});

// What a stranger wrote does nothing on our pages, and its HTML lives in a frame that may do nothing.
story!(hostile_words_are_harmless, async |app: &App| {
    app.know_carlos().await;
    let script = "<script>alert(1)</script>";
    let body = format!("<p>Hola {script}</p>{}", "\u{202e}x".repeat(4_000));
    let event = json!({
        "event_type": "custom", "customer_id": "customer-001",
        "context": {"subject": format!("\u{202e}{script}"), "body": body}
    });
    let receipt = app.accepted(&event).await;
    let id = receipt.notifications[0].id;
    app.drain().await;
    app.sql("update notifications set error_code = '<script>alert(2)</script>', event_type = '<img src=x onerror=alert(3)>'").await;
    app.sql("update attempts set provider_answer = '<script>alert(4)</script> carlos@example.com +593991234567'").await;
    let operator = app.operator("operator").await;
    for path in [PATH.to_owned(), there(id), format!("/admin/events/{}/", receipt.correlation_id)] {
        let page = operator.page(&path).await;
        assert!(!page.contains("<script>alert") && !page.contains("<img src=x"), "{path}");
        assert!(!page.contains("carlos@example.com") && !page.contains("991234567"), "{path}");
    }
    let frame = operator.get(&format!("{}html/", there(id))).await;
    assert_eq!(frame.status, 200);
    let policy = frame.header("content-security-policy");
    assert!(policy.starts_with("sandbox; default-src 'none'; img-src data:; style-src 'unsafe-inline'"), "{policy}");
    assert_eq!(app.operator("viewer").await.get(&format!("{}html/", there(id))).await.status, 404);
    for odd in ["x", "00000000-0000-0000-0000-000000000000"] {
        assert!(matches!(operator.get(&format!("{PATH}{odd}/")).await.status, 400 | 404), "{odd}");
        assert!(matches!(operator.get(&format!("/admin/events/{odd}/")).await.status, 400 | 404), "{odd}");
    }
});

story!(an_event_shows_all_that_it_caused, async |app: &App| {
    app.know_carlos().await;
    app.sql("update orchestration_configs set delivery_mode = 'all'").await;
    let receipt = app.accepted(&sample::event()).await;
    app.drain().await;
    let viewer = app.operator("viewer").await;
    let page = viewer.page(&format!("/admin/events/{}/", receipt.correlation_id)).await;
    for planned in &receipt.notifications {
        assert!(page.contains(&there(planned.id)), "{} in {page}", planned.id);
    }
    assert_eq!(page.matches("Nothing more: it was sent by").count(), 2, "{page}");
    assert!(viewer.page(&there(receipt.notifications[0].id)).await.contains("Not in this chain"));
    app.prefer("customer-001", &[refuses(Channel::Email), refuses(Channel::Whatsapp)]).await;
    let receipt = app.accepted(&sample::event_with(json!({"context": {"placa": "P2"}}))).await;
    let page = viewer.page(&format!("/admin/events/{}/", receipt.correlation_id)).await;
    assert!(page.contains("Reached no one") && page.contains("switched this channel off"), "{page}");
});

// What cancels over the API is in the audit log, too.
story!(a_cancellation_over_the_api_is_written_down, async |app: &App| {
    app.know_carlos().await;
    let receipt = app.post(DISPATCH, &sample::event()).await.must_be(202);
    let id: Id = receipt["notifications"][0]["id"].as_str().and_then(|id| id.parse().ok()).expect("an id");
    app.post(&format!("/api/v1/notifications/{id}/cancel/"), &json!({})).await.must_be(200);
    app.post(&format!("/api/v1/notifications/{id}/cancel/"), &json!({})).await.must_be(200);
    assert_eq!(app.told_of(id).await.len(), 1, "the second changed nothing");
    app.clock.advance(seconds(1));
});
