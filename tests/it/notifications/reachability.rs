//! On which channels a customer can be reached now.

use recado_notifications::channels::Channel;
use serde_json::{Value, json};

use crate::harness::app::{App, BULK, DISPATCH};
use crate::harness::pair::story;
use crate::harness::sample::{self, likes, refuses};

const REACHABILITY: &str = "/api/v1/notifications/customers/customer-001/reachability/";

impl App {
    /// Each channel with what is in its way.
    async fn reach(&self) -> Vec<String> {
        let reach = self.get(REACHABILITY).await.must_be(200);
        let channels = reach["channels"].as_array().cloned().expect("channels");
        channels.iter().map(|one| format!("{} {}", one["channel"], one["obstacle"]).replace('"', "")).collect()
    }
}

story!(a_customer_is_reachable_or_it_is_said_why_not, async |app: &App| {
    app.know_carlos().await;
    assert_eq!(app.reach().await, ["email null", "whatsapp null", "push no_push_subscription"]);
    app.prefer("customer-001", &[likes(Channel::Whatsapp, 1), refuses(Channel::Email)]).await;
    let paused = json!({"reason": "sesión caída"});
    app.post("/api/v1/operations/queues/notifications.whatsapp/pause/", &paused).await.must_be(200);
    assert_eq!(app.reach().await, ["whatsapp paused", "email opted_out", "push no_push_subscription"]);
    let english = app.get(&format!("{REACHABILITY}?lang=en")).await.must_be(200);
    assert_eq!((&english["reachable"], &english["channels"][0]["place"]), (&json!(false), &json!(0)));
    assert_eq!(english["channels"][1]["explanation"], "The customer switched this channel off in their preferences.");
    app.get("/api/v1/notifications/customers/nobody/reachability/").await.must_be(404);
});

// The dry run answers for another hour as for this one: on Sunday at 23:30 the quiet hours count.
story!(a_dry_run_decides_as_if_it_were_another_hour, async |app: &App| {
    app.know_carlos().await;
    app.sql("update customers set quiet_from = '21:00', quiet_until = '07:00'").await;
    let dry_run = async |patch: Value| app.post(&format!("{DISPATCH}?dry_run=true"), &sample::event_with(patch)).await;
    let now = dry_run(json!({})).await.must_be(200);
    assert_eq!((&now["deferred"], &now["as_if_at"]), (&Value::Null, &Value::Null));
    let sunday = dry_run(json!({"at": "2026-01-25T23:30:00-05:00"})).await.must_be(200);
    assert_eq!(
        (&sunday["deferred"], &sunday["send_at"]),
        (&json!("quiet_hours"), &json!("2026-01-26T12:00:00.000000Z"))
    );
    assert_eq!(sunday["as_if_at"], "2026-01-26T04:30:00.000000Z");
    for at in ["2027-06-01T00:00:00Z", "ayer"] {
        assert!(dry_run(json!({"at": at})).await.must_be(400)["at"][0].is_string(), "{at}");
    }
    let real = app.post(DISPATCH, &sample::event_with(json!({"at": "2026-01-25T23:30:00-05:00"}))).await.must_be(400);
    assert!(real["at"][0].as_str().is_some_and(|text| text.contains("send_at")), "{real}");
    let bulk = json!({"events": [sample::event()], "dry_run": true, "at": "2026-01-25T23:30:00-05:00"});
    assert_eq!(app.post(BULK, &bulk).await.must_be(200)["results"][0]["deferred"], "quiet_hours");
});
