//! Partners in the console: from the registration to what goes out, by buttons.

use serde_json::json;

use crate::harness::app::{App, SECRET_KEY};
use crate::harness::browser::{Browser, between};
use crate::harness::pair::story;

const PATH: &str = "/admin/partners/";

impl App {
    /// Where the sandbox's partner takes webhooks.
    pub(super) fn partner_url(&self) -> String {
        format!("{}/webhooks/partner/", self.sandbox.partner.url())
    }

    /// A partner with webhooks, who takes them with this secret. Returns the path of its page.
    pub(super) async fn partner_page(&self, secret: &str) -> String {
        // The registry tells of it, and not every story waits for that.
        self.leave_work();
        let body =
            json!({"webhook_url": self.partner_url(), "contact_email": "dev@example.com", "shared_secret": secret});
        self.post("/partners/register/findyourwork", &body).await.must_be(201);
        self.sandbox.partner.set_secret(secret);
        let list = self.get("/api/v1/partners/").await.must_be(200);
        format!("{PATH}{}/", list["partners"][0]["id"].as_str().expect("an id"))
    }
}

/// The path of the first link on a page that begins so.
pub(super) fn link(page: &str, start: &str) -> String {
    let all = page.split("href=\"").skip(1).filter_map(|rest| rest.split('"').next());
    let mut long = all.filter(|url| url.starts_with(start) && url.len() > start.len() + 30);
    long.next().unwrap_or_else(|| panic!("no link to {start} in {page}")).to_owned()
}

/// Registers a partner as the form does; the page that shows its secret.
async fn register(app: &App, browser: &Browser) -> String {
    let (url, events) = (app.partner_url(), "event.updated payment.success");
    let fields =
        [("nombre", "Empresa ABC"), ("contact_email", "dev@example.com"), ("webhook_url", &*url), ("events", events)];
    let answer = browser.post(PATH, &fields).await;
    assert_eq!(answer.status, 200, "{}", answer.text);
    answer.text
}

// S000-1, S001-6: nothing goes out before the verification is approved.
story!(
    a_partner_is_registered_verified_and_active_by_buttons,
    [SECRET_KEY, ("PARTNER_REQUIRE_KYC", "true")],
    async |app: &App| {
        app.leave_work();
        let operator = app.operator("operator").await;
        let shown = register(app, &operator).await;
        assert!(shown.contains("The partner is registered") && shown.contains("shown this once"), "{shown}");
        let secret = between(&shown, "<pre tabindex=\"0\">", "</pre>").to_owned();
        assert!(secret.len() >= 16);
        app.sandbox.partner.set_secret(&secret);
        let there = link(&shown, PATH);
        let page = operator.page(&there).await;
        assert!(page.contains("verification awaited") && !page.contains(&secret), "{page}");
        let stopped = operator.post_and_follow(&format!("{there}test/"), &[]).await;
        assert!(stopped.contains("Nothing was sent"), "{stopped}");

        let kyc = format!("{there}kyc/");
        let documents = [("estado_kyc", "REQUIERE_DOCUMENTOS"), ("documentos", "rut: https://example.com/rut.pdf")];
        operator.post_and_follow(&kyc, &documents).await;
        let fields = [("estado_kyc", "APROBADO"), ("comentarios", "Revisado")];
        let page = operator.post_and_follow(&kyc, &fields).await;
        for said in ["takes part", "approved", "wants documents", "Revisado", "operator-1", "rut.pdf"] {
            assert!(page.contains(said), "{said} in {page}");
        }
        let test = operator.post_and_follow(&format!("{there}test/"), &[]).await;
        assert!(test.contains("The test is on its way") && test.contains("webhook.test"), "{test}");
        app.drain().await;
        let page = operator.page(&link(&operator.page(&there).await, "/admin/webhooks/deliveries/")).await;
        assert!(page.contains("delivered") && page.contains("X-Partner-Signature"), "{page}");

        let page = operator.post_and_follow(&format!("{there}state/"), &[("status", "SUSPENDIDO")]).await;
        assert!(page.contains("Nothing goes out to it and nothing of it is taken"), "{page}");
        assert!(operator.undo(&page).await.contains("takes part"));
        assert_eq!(app.acts("partner").await, ["change", "change", "register", "verify", "verify"]);
    }
);

// d4: the new secret stands on the answer and nowhere else; both count for a day.
story!(a_rotated_secret_is_shown_once, [SECRET_KEY], async |app: &App| {
    let there = app.partner_page("whsec_MDEyMzQ1Njc4OTAxMjM0NTY3ODkwMTIzNDU2Nzg5MDE=").await;
    assert_eq!(app.operator("operator").await.post(&format!("{there}rotate/"), &[]).await.status, 403);
    let admin = app.operator("admin").await;
    let answer = admin.post(&format!("{there}rotate/"), &[]).await;
    assert_eq!(answer.status, 200);
    assert_eq!(answer.header("cache-control"), "no-store");
    assert!(answer.text.contains("The former secret counts for another 24 hours"), "{}", answer.text);
    let secret = between(&answer.text, "<pre tabindex=\"0\">", "</pre>").to_owned();
    for path in [&*there, PATH, "/admin/audit/", "/admin/webhooks/endpoints/"] {
        assert!(!admin.page(path).await.contains(&secret), "{path}");
    }
    assert_eq!(app.acts("partner").await, ["register", "rotate_secret"]);
});

story!(
    a_link_to_the_portal_is_made_and_revoked,
    [SECRET_KEY, ("PUBLIC_URL", "https://example.com")],
    async |app: &App| {
        let there = app.partner_page("whsec_MDEyMzQ1Njc4OTAxMjM0NTY3ODkwMTIzNDU2Nzg5MDE=").await;
        let browser = app.operator("operator").await;
        let request = |path: &str| {
            browser.request(reqwest::Method::POST, path).header("sec-fetch-site", "same-origin").form(&[("hours", "1")])
        };
        let answer = browser.send(request(&format!("{there}link/"))).await;
        assert!(answer.status == 200 && answer.text.contains("https://example.com/portal/enter/"), "{}", answer.text);
        let path = between(&answer.text, "https://example.com", "<").to_owned();
        assert_eq!(app.get(&path).await.status, 200);
        assert_eq!(browser.send(request(&format!("{there}revoke-links/"))).await.status, 303);
        assert_ne!(app.get(&path).await.status, 200);
    }
);

// S001-13: secrets of a configuration are written and never shown; what is wrong with a field stands beside it.
story!(an_integration_keeps_its_secrets, [SECRET_KEY], async |app: &App| {
    let there = app.partner_page("whsec_MDEyMzQ1Njc4OTAxMjM0NTY3ODkwMTIzNDU2Nzg5MDE=").await;
    let operator = app.operator("operator").await;
    let path = format!("{there}integrations/");
    let fields = |configuration| [("tipo", "API"), ("nombre", "Pedidos"), ("configuracion", configuration)];
    let wrong = operator.post(&path, &fields("{\"token\": \"s3cret-word\"")).await;
    assert!(wrong.status == 422 && wrong.text.contains("not a JSON object") && !wrong.text.contains("s3cret-word"));
    let page =
        operator.post_and_follow(&path, &fields(r#"{"token": "s3cret-word", "site": "https://a.example"}"#)).await;
    assert!(page.contains("Pedidos") && page.contains("https://a.example") && !page.contains("s3cret-word"), "{page}");
    let revoke = between(&page, "/integrations/", "/revoke/");
    let page = operator.post_and_follow(&format!("{path}{revoke}/revoke/"), &[]).await;
    assert!(page.contains("The integration is revoked."), "{page}");
});

story!(who_only_looks_changes_nothing_and_sees_no_address, [SECRET_KEY], async |app: &App| {
    let there = app.partner_page("whsec_MDEyMzQ1Njc4OTAxMjM0NTY3ODkwMTIzNDU2Nzg5MDE=").await;
    let viewer = app.operator("viewer").await;
    let page = viewer.page(&there).await;
    assert!(!page.contains("dev@example.com") && page.contains("d***@example.com"), "{page}");
    assert!(!page.contains("action=\"/admin/partners/"), "{page}");
    for act in ["", "state/", "kyc/", "integrations/", "rotate/", "link/", "revoke-links/", "test/", "delete/"] {
        assert_eq!(viewer.post(&format!("{there}{act}"), &[("status", "SUSPENDIDO")]).await.status, 403, "{act}");
    }
});

story!(a_hostile_name_is_harmless, [SECRET_KEY], async |app: &App| {
    app.leave_work();
    let admin = app.operator("admin").await;
    let name = format!("<script>alert(1)</script>\u{202e}{}", "x".repeat(200));
    let page = admin.post_and_follow(PATH, &[("nombre", &name), ("email", "ana@example.com")]).await;
    assert!(!page.contains("<script>alert") && page.contains("&#60;script&#62;alert"), "{page}");
    assert!(!admin.page(PATH).await.contains("<script>alert"));
    let again = admin.post(PATH, &[("nombre", "\"><b>"), ("email", "ana@example.com")]).await;
    assert!(again.status == 422 && again.text.contains("aria-invalid") && !again.text.contains("\"><b>"));
    let blocked = [("nombre", "X"), ("webhook_url", "http://169.254.169.254/"), ("events", "a")];
    let refused = admin.post(PATH, &blocked).await;
    assert!(refused.status == 422 && refused.text.contains("never connected to"), "{}", refused.text);
    let there = link(&admin.page(PATH).await, PATH);
    let kept = admin.post(&format!("{there}delete/"), &[("typed", "another")]).await;
    assert!(kept.status == 422 && kept.text.contains("Nothing was deleted"));
    let page = admin.post_and_follow(&format!("{there}delete/"), &[("typed", &name)]).await;
    assert!(page.contains("The partner is deleted."), "{page}");
});
