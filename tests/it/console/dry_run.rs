//! Trying an event in the console, and sending it.

use recado_kernel::audit::{self, AuditFilter};
use recado_kernel::sql;

use crate::harness::app::App;
use crate::harness::pair::story;

const FIELDS: [(&str, &str); 10] = [
    ("event_type", "appointment_scheduled"),
    ("service_type_id", "mantenimiento-preventivo"),
    ("phase_id", "phase-schedule"),
    ("customer_id", "customer-001"),
    ("target", "clients"),
    ("var_nombre", "Carlos Mendoza"),
    ("var_placa", "ABC123"),
    ("var_vehiculo", "Haval H6 2024"),
    ("var_fecha", "20 de Enero, 2026"),
    ("var_hora", "14:30"),
];

fn with<'f>(more: &[(&'f str, &'f str)]) -> Vec<(&'f str, &'f str)> {
    let is_other = |(name, _): &(&str, &str)| !more.iter().any(|(other, _)| other == name);
    FIELDS.into_iter().filter(is_other).chain(more.iter().copied()).collect()
}

// On Sunday at 23:30 the workshop is quiet until Monday at 08:00, and on Tuesday morning it is not.
story!(an_event_is_tried_as_if_it_were_sunday_night, async |app: &App| {
    let viewer = app.operator("viewer").await;
    app.know_carlos().await;
    app.sql("update customers set quiet_from = '22:00', quiet_until = '08:00'").await;
    let now = viewer.post("/admin/try/", &with(&[])).await;
    let now = now.text;
    for said in
        ["If it came now", "Carlos Mendoza", "1 · email", "c***@example.com", "<div class=\"bubble\"", "Haval H6 2024"]
    {
        assert!(now.contains(said), "{said} in {now}");
    }
    assert!(now.contains("no device") || now.contains("<b>push</b>"), "why not push: {now}");
    assert!(!now.contains("carlos@example.com") && !now.contains("quiet hours until"), "{now}");
    assert!(!now.contains("Send it now"), "a viewer sends nothing");
    let sunday = viewer.post("/admin/try/", &with(&[("at", "2026-01-18T23:30")])).await;
    let sunday = sunday.text;
    assert!(sunday.contains("18 Jan 2026, 23:30") && sunday.contains("19 Jan 2026, 08:00"), "{sunday}");
    assert!(sunday.contains("quiet hours until 2026-01-19 08:00 (America/Guayaquil)"), "{sunday}");
    app.drain().await;
    assert!(app.mails().is_empty() && app.whatsapps().is_empty(), "nothing left");
});

// Errors stand beside their fields, and whatever is written is only text.
story!(what_is_wrong_with_an_event_stands_beside_its_field, async |app: &App| {
    let viewer = app.operator("viewer").await;
    app.know_carlos().await;
    assert!(viewer.page("/admin/try/").await.contains("See what would happen"));
    for (field, value, wrong) in [
        ("customer_id", "", "customer_id-wrong"),
        ("event_type", "party", "event_type-wrong"),
        ("phase_id", "", "phase_id-wrong"),
        ("at", "Sunday", "at-wrong"),
        ("at", "2036-01-18T23:30", "at-wrong"),
        ("context", "[1, 2]", "context-wrong"),
        ("var_hora", "", "var_hora-wrong"),
        ("customer_id", "nobody", "It would not be accepted"),
        ("customer_id", "<script>alert(1)</script>\u{202e}", "It would not be accepted"),
    ] {
        let answer = viewer.post("/admin/try/", &with(&[(field, value)])).await;
        assert_eq!(answer.status, 422, "{field}={value}");
        let page = answer.text;
        assert!(page.contains(wrong) && !page.contains("<script>alert"), "{field}={value}: {page}");
    }
    let long = "x".repeat(100_000);
    let hostile =
        with(&[("var_nombre", "<img src=x onerror=alert(1)>"), ("var_vehiculo", &long), ("channel", "whatsapp")]);
    let page = viewer.post("/admin/try/", &hostile).await.text;
    assert!(!page.contains("<img src=x"), "the bubble is text");
});

// The HTML of a mail is drawn in a frame that may do nothing.
story!(a_mail_is_drawn_in_a_frame_that_may_do_nothing, async |app: &App| {
    let viewer = app.operator("viewer").await;
    app.know_carlos().await;
    let page = viewer.post("/admin/try/", &with(&[("channel", "email")])).await.text;
    let Some(frame) = page.split("<iframe class=\"mail\" sandbox title=\"").nth(1) else {
        panic!("no frame in {page}");
    };
    let src = frame.split("src=\"").nth(1).and_then(|rest| rest.split('"').next()).expect("a source");
    let mail = viewer.get(&src.replace("&#38;", "&").replace("&amp;", "&")).await;
    assert_eq!(mail.status, 200);
    assert_eq!(
        mail.header("content-security-policy"),
        "sandbox; default-src 'none'; img-src data:; style-src 'unsafe-inline'"
    );
});

// Sending is an operator's, is told in the audit log, and leads to the story.
story!(an_event_is_sent_in_earnest, async |app: &App| {
    app.know_carlos().await;
    let operator = app.operator("operator").await;
    assert_eq!(app.operator("viewer").await.post("/admin/try/send/", &with(&[])).await.status, 403);
    let page = operator.post("/admin/try/", &with(&[])).await.text;
    assert!(page.contains("This is no dry run any more"), "{page}");
    let sent = operator.post("/admin/try/send/", &with(&[])).await;
    assert_eq!(sent.status, 303);
    assert!(sent.header("location").starts_with("/admin/events/"), "{}", sent.header("location"));
    app.drain().await;
    assert_eq!(app.mails().len(), 1);
    assert_eq!(operator.post("/admin/try/sample/", &[]).await.status, 303);
    app.drain().await;
    assert_eq!(app.mails().len(), 2);
    let filter = AuditFilter { action: Some("send".to_owned()), ..AuditFilter::default() };
    let told = audit::page(&mut app.begin().await, &filter, None, 10).await.expect("it is read");
    assert_eq!((told.len(), told[0].subject_kind.as_str()), (2, "event"));
});

// An event that could not be written down is not sent, and what could not be written down is not switched on.
story!(nothing_is_done_that_the_audit_log_does_not_know, async |app: &App| {
    app.know_carlos().await;
    let operator = app.operator("operator").await;
    let rename = async |statement: &'static str| {
        let mut session = app.begin().await;
        sql!(run, &mut session, (statement)).expect(statement);
        session.commit().await.expect("it is committed");
    };
    rename("alter table audit rename to audit_away").await;
    let sent = operator.post("/admin/try/send/", &with(&[])).await;
    assert_eq!(sent.status, 422, "{}", sent.text);
    let fault = [("channel", "email"), ("fault", "reject-550")];
    assert_eq!(operator.post("/admin/inbox/faults/", &fault).await.status, 503);
    rename("alter table audit_away rename to audit").await;
    app.drain().await;
    assert!(app.mails().is_empty(), "{:?}", app.mails());
    let page = operator.page("/admin/inbox/").await;
    assert!(!page.contains("aria-pressed=\"true\""), "{page}");
    assert_eq!(operator.post("/admin/try/send/", &with(&[])).await.status, 303);
    app.drain().await;
    assert_eq!(app.mails().len(), 1);
});
