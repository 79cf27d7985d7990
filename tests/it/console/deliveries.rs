//! Deliveries and endpoints in the console: what was sent, sending it again, and an endpoint that is disabled and comes back.

use recado_sandbox::PartnerFault;
use serde_json::json;

use crate::console::partners::link;
use crate::harness::app::{App, SECRET_KEY, seconds};
use crate::harness::browser::between;
use crate::harness::pair::story;

const DELIVERIES: &str = "/admin/webhooks/deliveries/";
const ENDPOINTS: &str = "/admin/webhooks/endpoints/";
const SECRET: &str = "whsec_MDEyMzQ1Njc4OTAxMjM0NTY3ODkwMTIzNDU2Nzg5MDE=";

/// An event on its way to the partner.
async fn send(app: &App, number: u32) {
    let body = json!({"event_type": "event.updated", "data": {"reservation_id": format!("RES-{number}"), "name": "<b>Ana</b>"}});
    let answer = app.working(app.post("/partners/findyourwork/events", &body)).await;
    assert!(matches!(answer.status, 200 | 202 | 409 | 410), "{}", answer.text);
}

story!(a_delivery_is_shown_with_its_attempts_and_replayed, [SECRET_KEY], async |app: &App| {
    app.partner_page(SECRET).await;
    app.sandbox.partner.misbehave_times(PartnerFault::status(500), 1);
    send(app, 1).await;
    app.later(seconds(60)).await;
    let operator = app.operator("operator").await;
    let list = operator.page(DELIVERIES).await;
    assert!(list.contains("event.updated") && list.contains("RES-1") && list.contains("delivered"), "{list}");
    let page = operator.page(&link(&list, DELIVERIES)).await;
    for said in ["Attempt 1", "Attempt 2", "answered 500", "X-Partner-Signature", "&#60;b&#62;Ana", "webhook-id"] {
        assert!(page.contains(said), "{said} in {page}");
    }
    let before = app.webhooks().len();
    let replay = between(&page, "action=\"/admin/webhooks/deliveries/", "/replay/").to_owned();
    let again = operator.post_and_follow(&format!("{DELIVERIES}{replay}/replay/"), &[]).await;
    assert!(again.contains("It is sent again.") && again.contains("Repeats"), "{again}");
    app.drain().await;
    assert_eq!(app.webhooks().len(), before + 1);
    let only_failed = operator.page(&format!("{DELIVERIES}?status=failed")).await;
    assert!(only_failed.contains("No delivery fits"), "{only_failed}");
    assert!(operator.page(&format!("{DELIVERIES}count/")).await.contains('2'));
    let viewer = app.operator("viewer").await;
    let seen = viewer.page(&link(&list, DELIVERIES)).await;
    assert!(!seen.contains("Ana") && !seen.contains("data-retry"), "{seen}");
    assert_eq!(viewer.post(&format!("{DELIVERIES}{replay}/replay/"), &[]).await.status, 403);
    assert_eq!(app.acts("webhook_delivery").await, ["replay"]);
});

// Appendix 2: what was cancelled while it was disabled goes out when it is enabled and replayed.
story!(an_endpoint_is_enabled_again_and_gets_what_it_missed, [SECRET_KEY], async |app: &App| {
    app.partner_page(SECRET).await;
    let operator = app.operator("operator").await;
    let there = link(&operator.page(ENDPOINTS).await, ENDPOINTS);
    app.sandbox.partner.misbehave_times(PartnerFault::status(500), 1);
    send(app, 1).await;
    app.sandbox.partner.misbehave_times(PartnerFault::status(410), 1);
    send(app, 2).await;
    app.drain().await;
    app.clock.advance(seconds(1));
    let page = operator.page(&there).await;
    assert!(page.contains("It answered 410") && page.contains("Enable"), "{page}");
    app.sandbox.partner.behave();
    let before = app.webhooks().len();
    let page = operator.post_and_follow(&format!("{there}resume/"), &[]).await;
    assert!(
        page.contains("The endpoint is enabled") && page.contains("Replay everything since it was disabled"),
        "{page}"
    );
    let confirm = operator.page(&format!("{there}replay/?since_disabled=on")).await;
    assert!(confirm.contains("1 delivery"), "{confirm}");
    let frozen = between(&confirm, "name=\"frozen\" value=\"", "\"").replace("&#34;", "\"").replace("&quot;", "\"");
    let page = operator.post_and_follow(&format!("{there}replay/"), &[("frozen", &frozen)]).await;
    assert!(page.contains("running"), "{page}");
    app.drain().await;
    app.drain().await;
    assert_eq!(app.webhooks().len(), before + 1, "what was cancelled, and not what had failed");
    assert!(operator.page(&there).await.contains("1 sent again"));
    assert_eq!(app.acts("webhook_endpoint").await, ["replay", "resume"]);
});

story!(an_endpoint_is_paused_changed_and_its_url_guarded, [SECRET_KEY], async |app: &App| {
    app.partner_page(SECRET).await;
    let admin = app.operator("admin").await;
    let there = link(&admin.page(ENDPOINTS).await, ENDPOINTS);
    let page = admin.post_and_follow(&format!("{there}pause/"), &[]).await;
    assert!(page.contains("The endpoint is paused."), "{page}");
    send(app, 1).await;
    assert_eq!(app.webhooks().len(), 0);
    admin.undo(&page).await;
    app.drain().await;
    assert_eq!(app.webhooks().len(), 1);
    let url = app.partner_url();
    let form = |url: &str, rate: &str| -> Vec<(&'static str, String)> {
        vec![
            ("name", "F".into()),
            ("url", url.into()),
            ("events", "event.updated".into()),
            ("timeout_seconds", "30".into()),
            ("concurrency", "4".into()),
            ("rate_per_minute", rate.into()),
        ]
    };
    let post = async |fields: Vec<(&'static str, String)>| {
        let fields: Vec<(&str, &str)> = fields.iter().map(|(name, value)| (*name, value.as_str())).collect();
        admin.post(&there, &fields).await
    };
    let refused = post(form("http://169.254.169.254/latest/", "0")).await;
    assert_eq!(refused.status, 422);
    for said in ["never connected to", "Write a number from 1 to 60000"] {
        assert!(refused.text.replace("60,000", "60000").contains(said), "{said} in {}", refused.text);
    }
    assert_eq!(post(form(&url, "120")).await.status, 303);
    assert!(admin.page(&there).await.contains("value=\"120\""));
    let change = &app.audited("webhook_endpoint").await[0];
    assert!(change.action == "change" && !format!("{:?}", change.after).contains("/webhooks/partner/"), "{change:?}");
    let operator = app.operator("operator").await;
    assert_eq!(operator.post(&there, &[("name", "X")]).await.status, 403);
    assert!(!operator.page(&there).await.contains("name=\"url\""));
});
