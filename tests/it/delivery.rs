//! What arrives at the person.

use serde_json::json;

use crate::app::App;
use crate::pair::story;
use crate::sample;

// S002-1, S002-41, S002-62: the document's own example, from the curl to the inbox.
story!(the_sample_event_arrives_as_a_mail, async |app: &App| {
    app.know_carlos().await;
    let receipt = app.accepted(&sample::event()).await;
    assert_eq!((receipt.success, receipt.notifications_queued), (true, 1));
    let task = receipt.task_id.expect("one task");
    assert_eq!(app.status(task).await["status"], "PENDING");

    app.drain().await;

    let [mail] = app.mails().try_into().expect("one mail");
    assert_eq!(mail.envelope_to(), ["carlos@example.com"]);
    assert_eq!(mail.subject(), Some("Su cita está confirmada: 20 de Enero, 2026, 14:30"));
    for part in [mail.text(), mail.html()] {
        let part = part.expect("both a text and an HTML part");
        assert!(part.contains("Carlos Mendoza") && part.contains("Haval H6 2024"), "{part}");
    }
    let status = app.status(task).await;
    assert_eq!(status["status"], "SUCCESS");
    assert_eq!((&status["ready"], &status["successful"], &status["failed"]), (&json!(true), &json!(true), &json!(false)));
    assert_eq!(app.chain(task).await, ["email sent", "whatsapp pending"]);
    assert_eq!(app.attempts(task).await, ["email sent 250"]);
});
