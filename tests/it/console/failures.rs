//! Why messages did not arrive, by their cause.

use recado_sandbox::{EvolutionFault, SmtpFault};
use serde_json::json;

use crate::harness::app::{App, seconds};
use crate::harness::pair::story;
use crate::harness::sample;

story!(failures_are_told_by_cause_with_their_remedy, async |app: &App| {
    let viewer = app.operator("viewer").await;
    assert!(viewer.page("/admin/failures/").await.contains("Nothing failed in this time"), "an empty page teaches");
    app.know_carlos().await;
    app.sandbox.smtp.misbehave(SmtpFault::reject_data(554));
    app.sandbox.evolution.misbehave(EvolutionFault::NotOnWhatsapp);
    for number in 0..2 {
        app.accepted(&sample::event_with(json!({"context": {"placa": format!("P{number}")}}))).await;
        app.drain().await;
        app.clock.advance(seconds(3_600));
    }
    app.clock.advance(seconds(60));
    let page = viewer.page("/admin/failures/").await;
    for said in [
        "email · env",
        "EMAIL_SEND_FAILED",
        "WHATSAPP_API_ERROR",
        "SMTP server",
        "lane=notifications.email&amp;state=dead",
    ] {
        assert!(page.contains(said), "{said} in {page}");
    }
    assert!(page.contains("<path d=\"M") && page.contains("at most 1 at once"), "{page}");
    assert!(!page.contains("carlos@"), "no address: {page}");
    assert!(viewer.page("/admin/failures/?hours=1").await.contains("Nothing failed in this time"));
    assert_eq!(viewer.get("/admin/failures/?hours=-7&hours=x").await.status, 200);
    assert_eq!(app.browser().get("/admin/failures/").await.status, 303, "nobody looks without a login");
    // The code of a message is what its provider said.
    app.sql("update notifications set error_code = '<script>alert(1)</script>' where status = 'failed'").await;
    let page = viewer.page("/admin/failures/").await;
    assert!(page.contains("This version does not know the code.") && !page.contains("<script>alert"), "{page}");
});
