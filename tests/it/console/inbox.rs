//! The inbox of the sandbox, and its faults.

use recado_sandbox::EvolutionFault;

use crate::harness::app::App;
use crate::harness::pair::story;
use crate::harness::sample;

// What was sent is seen as its reader sees it, and leads to its story.
story!(what_arrived_is_shown_with_its_story, async |app: &App| {
    app.know_carlos().await;
    app.subscribe("customer-001").await;
    let operator = app.operator("operator").await;
    app.sandbox.evolution.misbehave(EvolutionFault::ConnectionClosed);
    app.accepted(&sample::event()).await;
    app.drain().await;
    let list = operator.page("/admin/inbox/?channel=email").await;
    assert!(list.contains("carlos@example.com") && list.contains("Mantenimiento agendado"), "{list}");
    assert!(list.contains("/admin/notifications/"), "by its Message-ID: {list}");
    let path = list
        .split("href=\"/admin/inbox/")
        .filter_map(|rest| rest.split('"').next())
        .find(|n| n.starts_with(|one: char| one.is_ascii_digit()));
    let path = format!("/admin/inbox/{}", path.expect("a message"));
    let mail = operator.page(&path).await;
    for said in ["<iframe class=\"mail\" sandbox", "Message-ID", "Its story", "curl "] {
        assert!(mail.contains(said), "{said} in {mail}");
    }
    let frame = operator.get(&format!("{path}html/")).await;
    assert_eq!(
        (frame.status, frame.header("content-security-policy")),
        (200, "sandbox; default-src 'none'; img-src data:; style-src 'unsafe-inline'")
    );
    let viewer = app.operator("viewer").await;
    let list = viewer.page("/admin/inbox/").await;
    assert!(!list.contains("carlos@") && !list.contains("name=\"fault\""), "{list}");
    assert_eq!(viewer.get("/admin/inbox/999999999/").await.status, 404);
    assert_eq!(viewer.post("/admin/inbox/faults/", &[("channel", "push")]).await.status, 403);
});

// A fault is switched on, the next channel takes over, and the fault is lifted.
story!(a_fault_that_is_switched_on_makes_a_fallback, async |app: &App| {
    app.know_carlos().await;
    let operator = app.operator("operator").await;
    let fault = [("channel", "email"), ("fault", "reject-550")];
    let page = operator.post_and_follow("/admin/inbox/faults/", &fault).await;
    assert!(page.contains("The fault is on.") && page.contains("aria-pressed=\"true\""), "{page}");
    operator.post("/admin/try/sample/", &[("back", "inbox")]).await;
    app.drain().await;
    assert_eq!((app.mails().len(), app.whatsapps().len()), (0, 1), "WhatsApp took over");
    let list = operator.page("/admin/inbox/").await;
    assert!(list.contains("/admin/notifications/") && list.contains("WhatsApp"), "by the key of its message: {list}");
    let undone = operator.undo(&page).await;
    assert!(undone.contains("The fault is off.") && !undone.contains("aria-pressed=\"true\""), "{undone}");
    for odd in [vec![], vec![("channel", "fax")], vec![("channel", "email"), ("fault", "nonsense")]] {
        assert_eq!(operator.post("/admin/inbox/faults/", &odd).await.status, 400, "{odd:?}");
    }
});
