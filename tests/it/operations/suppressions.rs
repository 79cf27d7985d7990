//! `recado suppressions`: addresses to which nothing is sent.

use serde_json::{Value, json};

use crate::harness::app::App;
use crate::harness::pair::story;
use crate::harness::program::{errors, words};
use crate::harness::sample;

story!(an_address_is_suppressed_and_lifted, async |app: &App| {
    app.live_now();
    app.know_carlos().await;
    let add = ["suppressions", "add", "email", "Carlos@Example.com", "--detail", "carlos@example.com no quiere"];
    let made = app.recado_json(&add).await;
    assert_eq!((&made["address"], &made["reason"]), (&json!("c***@example.com"), &json!("manual")));
    assert!(!made.to_string().contains("carlos@example.com"), "{made}");
    let id = made["id"].as_str().expect("an id");
    let again = app.recado(&add).await;
    assert!(again.status.code() == Some(1) && errors(&again).contains("suppressed already"), "{}", errors(&again));

    let list = async |arguments: &[&str]| app.recado_json(&[&["suppressions", "list"], arguments].concat()).await;
    assert_eq!(list(&["--search", "carlos@example.com"]).await, json!([made]));
    assert_eq!(list(&["--search", "carlos@"]).await, json!([]), "a part of an address finds nothing");
    assert_eq!(list(&["--reason", "bounced"]).await, json!([]));
    app.accepted(&sample::event()).await;
    app.drain().await;
    assert!(app.mails().is_empty(), "it went another way");

    assert!(words(&app.recado(&["suppressions", "lift", id]).await).contains("written to again"));
    assert_eq!(app.recado(&["suppressions", "lift", id]).await.status.code(), Some(1));
    assert_eq!(app.recado_json(&["suppressions", "restore", id]).await["id"], made["id"]);
    assert_eq!(app.recado_json(&["suppressions", "lift", id]).await["id"], made["id"]);
    app.accepted(&sample::event()).await;
    app.drain().await;
    assert_eq!(app.mails().len(), 1);
    assert_eq!(app.acts("suppression").await, ["lift", "lift", "suppress", "suppress"]);
});

story!(a_wrong_address_is_named, async |app: &App| {
    for (arguments, status) in [
        (&["suppressions", "add", "email", "no-address"][..], 1),
        (&["suppressions", "add", "whatsapp", "12"], 1),
        (&["suppressions", "add", "push", "x"], 2),
        (&["suppressions", "restore", "0194830c-7d5a-7000-8000-000000000001"], 1),
    ] {
        let output = app.recado(arguments).await;
        assert_eq!(output.status.code(), Some(status), "{arguments:?}: {}", errors(&output));
    }
    let wrong = app.recado(&["suppressions", "add", "email", "no-address"]).await;
    assert!(errors(&wrong).contains("address: "), "{}", errors(&wrong));
    assert_eq!(app.recado_json(&["suppressions", "list"]).await, Value::Array(Vec::new()));
});
