//! The command line: what an operator types, and what it does.

use recado_queue::tasks::State;
use recado_sandbox::{EvolutionFault, SmtpFault};
use reqwest::Method;
use serde_json::{Value, json};

use crate::harness::app::{App, DISPATCH};
use crate::harness::pair::story;
use crate::harness::program::{errors, words};
use crate::harness::sample;

// "Why did María not get her message?", and what to do about it.
story!(a_dead_task_is_explained_and_retried, async |app: &App| {
    app.live_now();
    app.know_carlos().await;
    // About the mail and not about the mailbox: that one would be suppressed, and stay so until staff lift it.
    app.sandbox.smtp.misbehave(SmtpFault::reject_data(554));
    app.sandbox.evolution.misbehave(EvolutionFault::NotOnWhatsapp);
    let task = app.task_for(&sample::event()).await;
    app.drain().await;

    let dead = app.recado_json(&["tasks", "list", "--state", "dead", "--queue", "notifications"]).await;
    assert_eq!((dead.as_array().map(Vec::len), &dead[0]["id"]), (Some(1), &json!(task)));
    let story = words(&app.recado(&["tasks", "show", &task.to_string()]).await);
    for word in ["dead", "EMAIL_SEND_FAILED", "WHATSAPP_API_ERROR", "554", "carlos@example.com"] {
        assert!(story.contains(word), "{word} is missing in:\n{story}");
    }

    app.sandbox.smtp.behave();
    assert_eq!(app.recado_json(&["tasks", "retry", "--all-dead", "--dry-run"]).await, json!({"total": 1}));
    assert_eq!(app.recado_json(&["tasks", "retry", "--all-dead"]).await, json!({"retried": 1}));
    app.notice().await;
    assert_eq!(app.status(task).await["status"], "SUCCESS");
    assert_eq!(app.mails().len(), 1);
    let again = app.recado(&["tasks", "retry", &task.to_string()]).await;
    assert_eq!(again.status.code(), Some(1));
    assert!(errors(&again).contains("it is success"), "{}", errors(&again));
});

story!(a_task_is_cancelled, async |app: &App| {
    app.live_now();
    app.know_carlos().await;
    let task = app.task_for(&sample::event()).await;
    let cancelled = app.recado_json(&["tasks", "cancel", &task.to_string()]).await;
    assert_eq!(cancelled["cancelled"], json!([task]));
    app.notice().await;
    assert!(app.mails().is_empty());
    assert_eq!(app.task(task).await.state, State::Cancelled);
});

// d28: a queue that no one reads is told.
story!(an_unattended_queue_is_told, async |app: &App| {
    app.live_now();
    app.know_carlos().await;
    app.accepted(&sample::event()).await;
    let report = app.recado_json(&["queues"]).await;
    assert_eq!(report["unattended"].as_array().map(Vec::len), Some(7));
    let email = &report["lanes"][0];
    assert_eq!((&email["lane"], &email["queued"]), (&json!("notifications.email"), &json!(1)));
    assert!(words(&app.recado(&["queues"]).await).contains("notifications.email"));
    app.drain().await;
});

story!(schedules_are_listed_run_and_switched, async |app: &App| {
    app.live_now();
    let names: Vec<Value> = app
        .recado_json(&["schedules", "list"])
        .await
        .as_array()
        .expect("a list")
        .iter()
        .map(|s| s["name"].clone())
        .collect();
    assert_eq!(names, ["check_maintenance_reminders", "cleanup", "count_analytics", "retry_failed_notifications"]);
    let task: recado_kernel::ids::Id =
        serde_json::from_value(app.recado_json(&["schedules", "run", "cleanup"]).await["task_id"].clone())
            .expect("an id");
    app.notice().await;
    assert_eq!(app.status(task).await["status"], "SUCCESS");

    assert!(app.recado(&["schedules", "disable", "cleanup"]).await.status.success());
    assert_eq!(app.recado_json(&["schedules", "list"]).await[1]["enabled"], false);
    assert_eq!(app.recado(&["schedules", "run", "party"]).await.status.code(), Some(1));

    let set = async |arguments: &[&str]| app.recado(&[&["schedules", "set"], arguments].concat()).await;
    let changed =
        set(&["cleanup", "--cron", "30 9 * * 1-5", "--time-zone", "Europe/Madrid", "--enabled", "true"]).await;
    assert!(words(&changed).contains("cleanup: `30 9 * * 1-5` in Europe/Madrid; it runs next in "), "{changed:?}");
    let cleanup = app.recado_json(&["schedules", "list"]).await[1].clone();
    assert_eq!((&cleanup["time_zone"], &cleanup["enabled"]), (&json!("Europe/Madrid"), &json!(true)));
    assert!(set(&["cleanup", "--time-zone", "installation"]).await.status.success());
    assert_eq!(app.recado_json(&["schedules", "list"]).await[1]["time_zone"], Value::Null);
    for (arguments, status) in [
        (&["cleanup"][..], 2),
        (&["cleanup", "--cron", "60 * * * *"], 2),
        (&["cleanup", "--time-zone", "Quito"], 2),
        (&["party", "--enabled", "false"], 1),
    ] {
        assert_eq!(set(arguments).await.status.code(), Some(status), "{arguments:?}");
    }
});

// d21: a key opens what its scopes say, from the moment it is made; a revoked one opens nothing.
story!(keys_are_made_and_revoked, [("ALLOW_ANONYMOUS_API", "false"), ("API_KEYS", "")], async |app: &App| {
    app.know_carlos().await;
    let create =
        async |name: &str, scopes: &str| app.recado_json(&["api-key", "create", name, "--scopes", scopes]).await;
    let dispatch = async |key: &Value| {
        let key = key["key"].as_str().expect("a key");
        app.send(app.request(Method::POST, DISPATCH).bearer_auth(key).json(&sample::event())).await.status
    };
    let (reader, sender) = (create("tablero", "read").await, create("taller", "dispatch,read").await);
    let revoked = create("antiguo", "dispatch").await;
    assert!(app.recado(&["api-key", "revoke", revoked["id"].as_str().expect("an id")]).await.status.success());
    assert_eq!((dispatch(&reader).await, dispatch(&sender).await, dispatch(&revoked).await), (403, 202, 401));

    let listed = app.recado_json(&["api-key", "list"]).await;
    assert_eq!(listed.as_array().map(Vec::len), Some(3));
    assert!(!listed.to_string().contains(sender["key"].as_str().expect("a key")), "a key is shown once");
    app.drain().await;
});

// S002-P5, S002-51: the commands that deployments of the document call.
story!(the_documents_commands_are_there, async |app: &App| {
    assert!(app.recado(&["migrate"]).await.status.success());
    assert!(app.recado(&["collectstatic", "--noinput"]).await.status.success());
    for arguments in [&["seed_initial_data"][..], &["seed_initial_data", "--force"]] {
        let totals = app.recado_json(arguments).await;
        assert_eq!((&totals["phases"], &totals["subtypes"], &totals["cells"]), (&json!(5), &json!(6), &json!(150)));
    }
});

// Exit statuses: 0 it went well, 1 it did not, 2 the command line is wrong.
story!(mistakes_are_told_with_a_status, async |app: &App| {
    for (arguments, status) in [
        (&["tasks", "show", "0194830c-7d5a-7000-8000-000000000001"][..], 1),
        (&["tasks", "show", "not-an-id"], 2),
        (&["tasks", "list", "--state", "tired"], 2),
        (&["tasks", "retry"], 2),
        (&["tasks", "retry", "0192f0c1-2345-7000-8000-000000000000", "--dry-run"], 2),
        (&["tasks", "retry", "--all-dead", "--pace", "5"], 2),
        (&["tasks", "retry", "--where", "state=success"], 1),
        (&["api-key", "create", " "], 1),
        (&["party"], 2),
        (&["health", "http://127.0.0.1:1"], 1),
        (&["health", &app.url], 0),
        (&["config"], 0),
        (&["vapid-keys"], 0),
        (&["--help"], 0),
    ] {
        let output = app.recado(arguments).await;
        assert_eq!(output.status.code(), Some(status), "{arguments:?}: {}", errors(&output));
        assert_eq!(output.stderr.is_empty(), status == 0, "{arguments:?}: {}", errors(&output));
    }
    assert!(!words(&app.recado(&["config"]).await).contains(crate::harness::app::SECRET), "secrets are masked");
});
