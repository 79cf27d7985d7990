//! Figures by the minute.

use recado_sandbox::{SmtpFault, WhatsappStatus};
use serde_json::{Value, json};

use recado_notifications::channels::Channel;

use crate::harness::app::{App, seconds};
use crate::harness::pair::story;
use crate::harness::sample::{self, likes};

impl App {
    async fn samples(&self, query: &str) -> Value {
        self.get(&format!("/api/v1/operations/samples/{query}")).await.must_be(200)
    }
}

// What was accepted, sent, retried, refused and delivered is counted where it happens, by lane and account.
story!(what_happens_is_counted_by_lane_and_account, async |app: &App| {
    app.know_carlos().await;
    app.prefer("customer-001", &[likes(Channel::Whatsapp, 1), likes(Channel::Email, 2)]).await;
    app.accepted(&sample::event()).await;
    app.drain().await;
    let receipt =
        app.sandbox.evolution.receipt(&app.whatsapps()[0].id, WhatsappStatus::DeliveryAck).expect("it is kept");
    for _ in 0..2 {
        app.post("/api/v1/webhooks/evolution/", &receipt).await.must_be(200);
        app.drain().await;
    }
    app.prefer("customer-001", &[likes(Channel::Email, 1)]).await;
    app.sandbox.smtp.misbehave_times(SmtpFault::reject_recipient(451), 1);
    app.accepted(&sample::event()).await;
    app.drain().await;
    app.later(seconds(75)).await;
    app.sweep().await;

    let whatsapp = app.samples("?lane=notifications.whatsapp&account=env").await["total"].clone();
    assert_eq!((&whatsapp["sent"], &whatsapp["delivered"], &whatsapp["failed"]), (&json!(1), &json!(1), &json!(0)));
    let email = app.samples("?lane=notifications.email").await;
    let total = &email["total"];
    assert_eq!((&total["accepted"], &total["retried"], &total["done"]), (&json!(1), &json!(1), &json!(1)));
    // The scheduler looked when the second try was due and not begun.
    assert_eq!((&total["sent"], &total["deferred"], &total["depth"]), (&json!(1), &json!(1), &json!(1)));
    let all = app.samples("?window=24h").await;
    assert_eq!((all["points"].as_array().map(Vec::len), &all["total"]["sent"]), (Some(144), &json!(2)));
    assert_eq!(app.samples("?account=nobody").await["total"]["sent"], 0);
    for wrong in ["?window=7d", "?lane=party"] {
        assert_eq!(app.get(&format!("/api/v1/operations/samples/{wrong}")).await.status, 400, "{wrong}");
    }
});

// Minutes are joined as they grow old, nothing is counted twice, and what is older than thirty days goes.
story!(old_minutes_are_joined, async |app: &App| {
    app.know_carlos().await;
    for _ in 0..3 {
        app.accepted(&sample::event()).await;
        app.drain().await;
        app.sweep().await;
        app.clock.advance(seconds(60));
    }
    let accepted = async |window: &str| {
        app.samples(&format!("?lane=notifications&window={window}")).await["total"]["accepted"].clone()
    };
    assert_eq!((accepted("60m").await, accepted("24h").await), (json!(3), json!(3)));
    for hours in [2, 30] {
        app.clock.advance(seconds(hours * 3600));
        app.sweep().await;
        app.sweep().await;
        assert_eq!((accepted("60m").await, accepted("30d").await), (json!(0), json!(3)), "{hours}");
    }
    app.clock.advance(seconds(31 * 24 * 3600));
    app.sweep().await;
    assert_eq!(accepted("30d").await, json!(0));
    app.drain().await;
});
