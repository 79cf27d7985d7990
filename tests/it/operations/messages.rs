//! `recado messages` and `recado failures`: the story of a message as the API tells it, and what is done about it.

use recado_kernel::ids::Id;
use recado_sandbox::{EvolutionFault, SmtpFault};
use serde_json::{Value, json};

use crate::harness::app::App;
use crate::harness::pair::story;
use crate::harness::program::{errors, words};
use crate::harness::sample;

/// The first message of a task.
async fn first_message(app: &App, task: Id) -> String {
    let listed = app.get(&format!("/api/v1/notifications/?task_id={task}")).await.must_be(200);
    let found = listed["results"].as_array().expect("a page").iter().find(|one| one["fallback_order"] == 0);
    found.expect("the first of its chain")["id"].as_str().expect("an id").to_owned()
}

// The same facts as the API's, masked unless they are asked for, and that is written down.
story!(the_story_of_a_message_is_told, async |app: &App| {
    app.live_now();
    app.know_carlos().await;
    app.sandbox.smtp.misbehave(SmtpFault::reject_data(554));
    let receipt = app.accepted(&sample::event()).await;
    app.drain().await;
    let task = receipt.task_id.expect("something is sent").to_string();
    let id = first_message(app, receipt.task_id.expect("a task")).await;

    let masked = app.recado_json(&["messages", "show", &id]).await;
    assert_eq!(masked["recipient_address"], "c***@example.com");
    assert!(!masked.to_string().contains("carlos@example.com"), "{masked}");
    let told = words(&app.recado(&["messages", "show", &task]).await);
    for word in [
        "EMAIL_SEND_FAILED",
        "c***@example.com",
        "What happens next",
        "Why these channels",
        "What happened",
        "Its words",
        "Carlos Mendoza",
    ] {
        assert!(told.contains(word), "{word} is missing in:\n{told}");
    }
    assert!(!told.contains("carlos@example.com"), "{told}");
    assert!(app.acts("notification").await.is_empty(), "nobody looked at an address");

    let whole = app.recado_json(&["messages", "show", &id, "--reveal", "--lang", "es"]).await;
    assert_eq!(whole, app.get(&format!("/api/v1/notifications/{id}/")).await.must_be(200));
    let log = app.audited("notification").await;
    assert_eq!((log.len(), &*log[0].action, &*log[0].actor, &*log[0].subject), (1, "reveal", "recado messages", &*id));

    let event = app.recado_json(&["messages", "event", &receipt.correlation_id.to_string(), "--lang", "es"]).await;
    let path = format!("/api/v1/notifications/events/{}/", receipt.correlation_id);
    let same = app.get(&path).await.must_be(200);
    assert_eq!(event["timeline"].as_array().map(Vec::len), same["timeline"].as_array().map(Vec::len));
    assert!(!event.to_string().contains("carlos@example.com"), "{event}");
    assert_eq!(app.audited("notification").await.len(), 1, "masked is not looked at");
});

story!(messages_are_found_by_what_became_of_them, async |app: &App| {
    app.live_now();
    app.know_carlos().await;
    app.sandbox.smtp.misbehave(SmtpFault::reject_data(554));
    app.sandbox.evolution.misbehave(EvolutionFault::NotOnWhatsapp);
    let failed = app.task_for(&sample::event()).await;
    app.drain().await;
    let list = async |arguments: &[&str]| app.recado_json(&[&["messages", "list"], arguments].concat()).await;
    let found = list(&["--status", "failed", "--customer", "customer-001", "--since", "1h"]).await;
    assert_eq!(found.as_array().map(Vec::len), Some(2));
    assert!(found.as_array().into_iter().flatten().all(|one| one["task_id"] == json!(failed)), "{found}");
    assert!(
        !found.to_string().contains("carlos@example.com") && !found.to_string().contains("593991234567"),
        "{found}"
    );
    assert_eq!(
        list(&["--channel", "whatsapp", "--error", "WHATSAPP_API_ERROR"]).await.as_array().map(Vec::len),
        Some(1)
    );
    assert_eq!(list(&["--customer", "nobody"]).await, json!([]));
    let newest = app.recado(&["messages", "list", "-n", "1"]).await;
    let id = words(&newest).lines().nth(1).and_then(|row| row.split(' ').next()).expect("a row").to_owned();
    assert!(errors(&newest).contains(&format!("--before {id}")), "{}", errors(&newest));
    assert_eq!(list(&["--before", &id]).await.as_array().map(Vec::len), Some(1));

    let causes = app.recado_json(&["failures"]).await;
    let email = causes["causes"].as_array().expect("causes").iter().find(|one| one["channel"] == "email");
    let email = email.expect("the mail failed");
    assert_eq!((&email["count"], &email["code"]), (&json!(1), &json!("EMAIL_SEND_FAILED")));
    let api = app.get("/api/v1/operations/failures/?lang=en").await.must_be(200);
    let same = api["causes"].as_array().expect("causes").iter().find(|one| one["channel"] == "email");
    for field in ["account", "example_id", "meaning", "remedy", "first_at", "last_at"] {
        assert_eq!(email[field], same.expect("the same cause")[field], "{field}");
    }
    let told = words(&app.recado(&["failures", "--hours", "1"]).await);
    let cause = email["cause"].as_str().expect("a cause");
    assert!(told.contains(cause) && told.contains(email["remedy"].as_str().expect("a remedy")), "{told}");
    let retried = app.recado_json(&["tasks", "retry", "--cause", cause, "--dry-run"]).await;
    assert!(retried["total"].is_number(), "the cause is written as it is taken: {retried}");
});

story!(a_message_is_cancelled_and_sent_again, async |app: &App| {
    app.live_now();
    app.know_carlos().await;
    let waiting = first_message(app, app.task_for(&sample::event()).await).await;
    for _ in 0..2 {
        assert_eq!(app.recado_json(&["messages", "cancel", &waiting]).await, json!({ "cancelled": waiting }));
    }
    app.notice().await;
    assert!(app.mails().is_empty());

    let sent = first_message(app, app.task_for(&sample::event()).await).await;
    app.drain().await;
    assert_eq!(app.mails().len(), 1);
    let late = app.recado(&["messages", "cancel", &sent]).await;
    assert_eq!(late.status.code(), Some(1));
    assert!(errors(&late).contains("left by email at "), "{}", errors(&late));
    let receipt = app.recado_json(&["messages", "resend", &sent]).await;
    let copy = receipt["notifications"][0]["id"].as_str().expect("an id").to_owned();
    app.notice().await;
    assert_eq!(app.mails().len(), 2);
    assert_eq!(app.recado_json(&["messages", "show", &copy]).await["resend_of"], json!(sent));
    assert_eq!(app.acts("notification").await, ["cancel", "resend"]);

    app.prefer("customer-001", &[sample::refuses(recado_notifications::channels::Channel::Email)]).await;
    let refused = app.recado(&["messages", "resend", &sent]).await;
    assert!(errors(&refused).contains("switched this channel off"), "{}", errors(&refused));
});

story!(what_is_no_message_is_told, async |app: &App| {
    let nothing = "0194830c-7d5a-7000-8000-000000000001";
    for (arguments, status) in [
        (&["messages", "show", nothing][..], 1),
        (&["messages", "show", nothing, "--reveal"], 1),
        (&["messages", "event", nothing], 1),
        (&["messages", "cancel", nothing], 1),
        (&["messages", "resend", nothing], 1),
        (&["messages", "show", "x"], 2),
        (&["messages", "list", "--status", "tired"], 2),
        (&["messages", "list", "--since", "yesterday"], 2),
        (&["failures", "--hours", "0"], 2),
        (&["messages", "list"], 0),
        (&["failures"], 0),
    ] {
        let output = app.recado(arguments).await;
        assert_eq!(output.status.code(), Some(status), "{arguments:?}: {}", errors(&output));
        assert_eq!(output.stderr.is_empty(), status == 0, "{arguments:?}: {}", errors(&output));
    }
    assert_eq!(app.acts("notification").await, Vec::<String>::new());
    assert_eq!(app.recado_json(&["failures"]).await["causes"], Value::Array(Vec::new()));
});
