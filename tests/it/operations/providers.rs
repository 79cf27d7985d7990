//! `recado providers`: the accounts through which messages leave, and whether one works.

use std::time::Duration;

use recado_sandbox::EvolutionFault;
use serde_json::{Value, json};

use crate::harness::app::{App, SECRET_KEY};
use crate::harness::pair::story;
use crate::harness::program::{errors, words};

const ACCOUNTS: &str = "/api/v1/notifications/provider-accounts/";

/// Runs a check to its end, while a worker works.
async fn checked(app: &App, arguments: &[&str]) -> std::process::Output {
    let arguments = [&["--json", "providers", "check"], arguments, &["--wait"]].concat();
    let running = app.recado(&arguments);
    tokio::pin!(running);
    let mut rounds = tokio::time::interval(Duration::from_millis(50));
    loop {
        tokio::select! {
            output = &mut running => return output,
            _ = rounds.tick() => app.notice().await,
        }
    }
}

story!(an_account_is_listed_and_tried, [SECRET_KEY], async |app: &App| {
    app.live_now();
    let smtp = app.sandbox.smtp.addr();
    let account = json!({
        "channel": "email", "name": "norte", "priority": 1, "secret": "cuatro palabras",
        "settings": {"host": smtp.ip().to_string(), "port": smtp.port(), "user": "norte"},
    });
    let made = app.post(ACCOUNTS, &account).await.must_be(201);
    let listed = app.recado_json(&["providers", "list", "--channel", "email"]).await;
    assert_eq!(listed, json!([made]));
    let table = words(&app.recado(&["providers", "list"]).await);
    assert!(table.contains("norte") && table.contains("kept") && !table.contains("cuatro palabras"), "{table}");
    assert!(table.contains("the account of the environment for email is set"), "{table}");
    assert_eq!(app.recado_json(&["providers", "list", "--workshop", "sur"]).await, json!([]));

    let works = checked(app, &["email"]).await;
    let found: Value = serde_json::from_slice(&works.stdout).expect("JSON");
    assert_eq!((works.status.code(), &found["works"]), (Some(0), &json!(true)), "{found}");
    app.sandbox.evolution.misbehave(EvolutionFault::ConnectionClosed);
    let broken = checked(app, &["whatsapp", "env"]).await;
    let found: Value = serde_json::from_slice(&broken.stdout).expect("JSON");
    assert_eq!((broken.status.code(), &found["works"]), (Some(1), &json!(false)), "{found}");

    assert!(app.recado_json(&["providers", "check", "email", "norte"]).await["task_id"].is_string());
    app.notice().await;
    for (channel, name) in [("email", "sur"), ("whatsapp", "norte")] {
        let output = app.recado(&["providers", "check", channel, name]).await;
        assert_eq!(output.status.code(), Some(1), "{channel} {name}");
        assert!(errors(&output).contains("recado providers list"), "{}", errors(&output));
    }
    assert_eq!(app.recado(&["providers", "check", "push"]).await.status.code(), Some(2));
    assert_eq!(app.acts("provider_account").await, ["check", "check", "check", "create"]);
});
