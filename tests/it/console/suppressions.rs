//! Suppressions in the console.

use recado_notifications::channels::Channel;
use recado_notifications::suppressions;

use crate::harness::app::App;
use crate::harness::pair::story;
use crate::harness::sample;

const PATH: &str = "/admin/suppressions/";

impl App {
    pub(super) async fn is_suppressed(&self, channel: Channel, address: &str) -> bool {
        suppressions::contains_address(&mut self.begin().await, channel, address).await.expect("it is read")
    }
}

story!(an_address_is_suppressed_and_lifted_and_each_can_be_undone, async |app: &App| {
    let operator = app.operator("operator").await;
    let form = [("channel", "whatsapp"), ("address", "099 123 4567"), ("detail", "lo pidió")];
    let page = operator.post_and_follow(PATH, &form).await;
    assert!(page.contains("+593*****4567") && page.contains("by hand") && !page.contains("991234567"), "{page}");
    assert!(app.is_suppressed(Channel::Whatsapp, "+593991234567").await);
    let taken = operator.post(PATH, &form).await;
    assert!(taken.status == 422 && taken.text.contains("This address is suppressed already."), "{}", taken.text);
    operator.undo(&page).await;
    assert!(!app.is_suppressed(Channel::Whatsapp, "+593991234567").await);

    app.know_carlos().await;
    app.sandbox.smtp.misbehave(recado_sandbox::SmtpFault::reject_recipient(550));
    app.accepted(&sample::event()).await;
    app.drain().await;
    let page = operator.page(&format!("{PATH}?search=Carlos@example.com")).await;
    assert!(
        page.contains("bounced") && page.contains("/admin/notifications/") && !page.contains("carlos@example.com"),
        "{page}"
    );
    for (query, is_found) in [
        ("search=carlos", false),
        ("reason=manual", false),
        ("channel=email&reason=bounced", true),
        ("search=0991234567", false),
    ] {
        assert_eq!(operator.page(&format!("{PATH}?{query}")).await.contains("c***@example.com"), is_found, "{query}");
    }
    let lift =
        page.split("action=\"/admin/suppressions/").nth(2).and_then(|rest| rest.split('"').next()).expect("a button");
    let page = operator.post_and_follow(&format!("{PATH}{lift}"), &[]).await;
    assert!(
        page.contains("The address is written to again.")
            && !app.is_suppressed(Channel::Email, "carlos@example.com").await
    );
    let page = operator.undo(&page).await;
    assert!(
        page.contains("bounced") && page.contains("/admin/notifications/"),
        "its reason and its message are back: {page}"
    );
    assert!(app.is_suppressed(Channel::Email, "carlos@example.com").await);
    for entry in app.history("suppression").await {
        let said = format!("{:?} {:?}", entry.before, entry.after);
        assert!(!said.contains("example.com") && !said.contains("9912"), "{said}");
    }
    let viewer = app.operator("viewer").await;
    assert!(!viewer.page(PATH).await.contains("method=\"post\" action=\"/admin/suppressions/"));
    assert_eq!(viewer.post(PATH, &form).await.status, 403);
    app.leave_work();
});
