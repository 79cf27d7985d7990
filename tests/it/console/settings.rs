//! Keys, people and provider accounts in the console.

use recado_kernel::api_keys;
use recado_kernel::audit::{self, AuditFilter};
use recado_kernel::users::{self, User};
use recado_sandbox::EvolutionFault;

use crate::harness::app::{App, SECRET_KEY};
use crate::harness::browser::between;
use crate::harness::pair::story;

impl App {
    async fn user(&self, name: &str) -> User {
        users::find_by_name(&mut self.begin().await, name).await.expect("it is read").expect("there is one")
    }

    /// What the audit log has of one kind, in the order of words.
    async fn acts_on(&self, kind: &str) -> Vec<String> {
        let filter = AuditFilter { subject_kind: Some(kind.to_owned()), ..AuditFilter::default() };
        let log = audit::page(&mut self.begin().await, &filter, None, 100).await.expect("the log is read");
        let mut acts: Vec<String> =
            log.into_iter().map(|entry| format!("{} by {}", entry.action, entry.actor)).collect();
        acts.sort_unstable();
        acts
    }
}

story!(
    a_key_is_shown_once_and_refused_as_soon_as_it_is_revoked,
    [("ALLOW_ANONYMOUS_API", "false")],
    async |app: &App| {
        let admin = app.operator("admin").await;
        let answer = admin.post("/admin/keys/", &[("name", "crm"), ("read", "on")]).await;
        assert_eq!(answer.status, 200, "{}", answer.text);
        let key = between(&answer.text, "<pre tabindex=\"0\">", "</pre>").to_owned();
        let ask = async |key: &str| {
            let caller = app.browser();
            let request = caller.request(reqwest::Method::GET, "/api/v1/notifications/catalog/").bearer_auth(key);
            caller.send(request).await.status
        };
        assert_eq!(ask(&key).await, 200);
        let list = admin.page("/admin/keys/").await;
        assert!(list.contains("crm") && !list.contains(&key), "{list}");
        let known = api_keys::list(&mut app.begin().await).await.expect("they are read");
        let path =
            format!("/admin/keys/{}/revoke/", known.iter().find(|one| one.name == "crm").expect("it is there").id);
        let mistyped = admin.post(&path, &[("name", "crn")]).await;
        assert!(mistyped.status == 422 && mistyped.text.contains("That is not its name"), "{}", mistyped.text);
        assert_eq!(ask(&key).await, 200);
        assert!(admin.post_and_follow(&path, &[("name", "crm")]).await.contains("The key is revoked."));
        assert_eq!(ask(&key).await, 401);
        let wrong = admin.post("/admin/keys/", &[("name", " ")]).await;
        assert!(wrong.status == 422 && wrong.text.contains("aria-invalid"), "{}", wrong.text);
        assert_eq!(app.acts_on("api_key").await, ["create by admin-1", "revoke by admin-1"]);
        assert_eq!(app.operator("operator").await.get("/admin/keys/").await.status, 403);
    }
);

story!(people_are_let_in_and_out, async |app: &App| {
    let admin = app.operator("admin").await;
    let answer = admin.post("/admin/users/", &[("name", " Ana@Example.com "), ("operator", "on")]).await;
    assert_eq!(answer.status, 200, "{}", answer.text);
    let link = between(&answer.text, "<pre tabindex=\"0\">", "</pre>").to_owned();
    let path = link.split_once("/admin/").map(|(_, path)| format!("/admin/{path}")).expect("it leads to the console");
    let mut ana = app.browser();
    assert_eq!(ana.post(&path, &[("password", "quesadillas con queso")]).await.status, 303);
    assert!(ana.log_in("ana@example.com", "quesadillas con queso").await);
    assert!(
        admin
            .post("/admin/users/", &[("name", "ana@example.com"), ("viewer", "on")])
            .await
            .text
            .contains("There is a person")
    );

    let known = app.user("ana@example.com").await;
    let there = format!("/admin/users/{}/", known.id);
    let page = admin.post_and_follow(&format!("{there}roles/"), &[("editor", "on")]).await;
    assert_eq!(app.user("ana@example.com").await.roles.to_string(), "editor");
    admin.undo(&page).await;
    assert_eq!(app.user("ana@example.com").await.roles.to_string(), "operator");

    let page = admin.post_and_follow(&format!("{there}disable/"), &[]).await;
    assert_eq!(ana.get("/admin/tasks/").await.status, 303, "her session has ended");
    assert!(!ana.log_in("ana@example.com", "quesadillas con queso").await);
    admin.undo(&page).await;
    assert!(ana.log_in("ana@example.com", "quesadillas con queso").await);
});

story!(the_last_administrator_stays, async |app: &App| {
    let admin = app.operator("admin").await;
    let own = format!("/admin/users/{}/", app.user("admin-1").await.id);
    for (action, form) in [("disable/", vec![]), ("roles/", vec![("viewer", "on")])] {
        let page = admin.post_and_follow(&format!("{own}{action}"), &form).await;
        assert!(page.contains("no administrator could log in"), "{page}");
    }
    assert!(app.user("admin-1").await.disabled_at.is_none());
    app.person("second", "admin").await;
    assert!(admin.post_and_follow(&format!("{own}roles/"), &[("viewer", "on")]).await.contains("You may not do this"));
});

const NORTH: [(&str, &str); 6] = [
    ("name", "norte"),
    ("is_enabled", "on"),
    ("priority", "1"),
    ("settings.host", "smtp.example.com"),
    ("settings.user", "norte"),
    ("secret", "cuatro palabras"),
];

story!(an_account_is_written_and_its_secret_never_shown, [SECRET_KEY], async |app: &App| {
    let admin = app.operator("admin").await;
    let page = admin.post_and_follow("/admin/providers/new/email/", &NORTH).await;
    assert!(page.contains("The account is written.") && page.contains("smtp.example.com"), "{page}");
    assert!(!page.contains("cuatro palabras"), "{page}");
    let there = format!("/admin/providers/{}/", between(&page, "action=\"/admin/providers/", "/"));
    // A form that does not show the secret does not remove it, and one that leads elsewhere must bring it.
    app.later(std::time::Duration::from_secs(1)).await;
    let mut changed = NORTH[..5].to_vec();
    changed[2].1 = "7";
    let page = admin.post_and_follow(&there, &changed).await;
    assert!(page.contains("One is kept") && page.contains("value=\"7\""), "{page}");
    changed[3].1 = "smtp.evil.example.com";
    let moved = admin.post(&there, &changed).await;
    assert!(moved.status == 422 && moved.text.contains("id=\"secret-wrong\""), "{}", moved.text);
    changed[3].1 = "a b";
    let guarded = admin.post("/admin/providers/new/email/", &changed).await;
    assert!(guarded.status == 422 && guarded.text.contains("id=\"settings.host-wrong\""), "{}", guarded.text);
    let kept = admin.post_and_follow(&format!("{there}delete/"), &[("name", "sur")]).await;
    assert!(kept.contains("Nothing was deleted"), "{kept}");
    assert!(admin.post_and_follow(&format!("{there}delete/"), &[("name", "norte")]).await.contains("is deleted"));
    let log = admin.page("/admin/audit/").await;
    assert!(!log.contains("cuatro palabras"), "{log}");
    assert_eq!(app.acts_on("provider_account").await, ["change by admin-1", "create by admin-1", "delete by admin-1"]);
});

story!(a_worker_tests_an_account_and_the_page_tells, async |app: &App| {
    let admin = app.operator("admin").await;
    let page = admin.post_and_follow("/admin/providers/email/env/check/", &[]).await;
    assert!(page.contains("a worker is testing it"), "{page}");
    let there =
        format!("/admin/providers/checks/{}/", between(&page, "<p class=\"after\"><a href=\"/admin/tasks/", "/"));
    app.drain().await;
    let page = admin.page(&there).await;
    assert!(page.contains("is-success") && page.contains("the SMTP server was reached"), "{page}");
    assert!(app.mails().is_empty(), "nothing is sent");

    app.sandbox.evolution.misbehave(EvolutionFault::ConnectionClosed);
    let page = admin.post_and_follow("/admin/providers/whatsapp/env/check/", &[]).await;
    let there =
        format!("/admin/providers/checks/{}/", between(&page, "<p class=\"after\"><a href=\"/admin/tasks/", "/"));
    app.drain().await;
    let page = admin.page(&there).await;
    assert!(page.contains("is-error") && page.contains("QR code"), "{page}");
    assert_eq!(admin.post("/admin/providers/pigeon/env/check/", &[]).await.status, 404);
});

story!(a_list_is_found_again_under_a_name, async |app: &App| {
    let operator = app.operator("operator").await;
    let view = [("name", "Muertas"), ("path", "/admin/tasks/"), ("query", "state=dead&window=week")];
    let page = operator.post_and_follow("/admin/views/", &view).await;
    assert!(page.contains("The view is kept.") && page.contains("value=\"dead\" selected"), "{page}");
    let part = operator.page("/admin/views?of=%2Fadmin%2Ftasks%2F&state=dead&window=week").await;
    assert!(part.contains("Muertas") && part.contains("aria-current"), "{part}");
    assert!(!app.operator("viewer").await.page("/admin/me/").await.contains("Muertas"), "views are one's own");
    let account = operator.page("/admin/me/").await;
    let delete = format!("/admin/views/{}/delete/", between(&account, "action=\"/admin/views/", "/delete"));
    let page = operator.post_and_follow(&delete, &[]).await;
    operator.undo(&page).await;
    assert!(operator.page("/admin/me/").await.contains("Muertas"));
    for hostile in ["https://evil.example.com/", "//evil.example.com", "/api/v1/"] {
        let answer = operator.post("/admin/views/", &[("name", "x"), ("path", hostile), ("query", "")]).await;
        assert_eq!(answer.status, 400, "{hostile}");
    }
});
