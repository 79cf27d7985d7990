//! `recado customers` and `recado search`: who is known, who can be reached, and forgetting a person.

use std::process::{Output, Stdio};

use recado_notifications::channels::Channel;
use serde_json::{Value, json};
use tokio::io::AsyncWriteExt;

use crate::harness::app::App;
use crate::harness::pair::story;
use crate::harness::program::{errors, words};
use crate::harness::sample::{self, refuses};

const CUSTOMERS: &str = "/api/v1/notifications/customers/";

/// Runs the program, and types this.
async fn typing(app: &App, arguments: &[&str], typed: &str) -> Output {
    let mut command = app.program("recado", &[]);
    command.args(arguments).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut program = command.spawn().expect("the program runs");
    let mut keyboard = program.stdin.take().expect("it reads");
    keyboard.write_all(typed.as_bytes()).await.expect("it listens");
    drop(keyboard);
    program.wait_with_output().await.expect("it ends")
}

story!(a_customer_is_shown_masked_and_as_they_are, async |app: &App| {
    app.live_now();
    app.know_carlos().await;
    app.sync_customer(&json!({"customer_id": "ana_1", "name": "Ana Ñandú", "email": "ana@example.com"})).await;
    let list = async |arguments: &[&str]| app.recado_json(&[&["customers", "list"], arguments].concat()).await;
    let ids = |found: &Value| -> Vec<String> {
        let found = found.as_array().expect("a list").iter();
        found.map(|one| one["customer_id"].as_str().expect("an id").to_owned()).collect()
    };
    let all = list(&[]).await;
    assert_eq!(ids(&all), ["ana_1", "customer-001"]);
    assert!(!all.to_string().contains("carlos@") && !all.to_string().contains("593991234567"), "{all}");
    assert_eq!(ids(&list(&["--search", "MENDOZA"]).await), ["customer-001"]);
    assert_eq!(ids(&list(&["--search", "099 123-4567"]).await), ["customer-001"]);
    assert!(ids(&list(&["--search", "carlos@exam"]).await).is_empty(), "a part of an address finds nobody");
    assert_eq!(ids(&list(&["--after", "ana_1"]).await), ["customer-001"]);
    assert!(errors(&app.recado(&["customers", "list", "-n", "1"]).await).contains("--after ana_1"));

    let shown = words(&app.recado(&["customers", "show", "customer-001"]).await);
    for word in ["Carlos Mendoza", "c***@example.com", "Reachable now", "no_push_subscription"] {
        assert!(shown.contains(word), "{word} is missing in:\n{shown}");
    }
    assert!(!shown.contains("carlos@example.com"), "{shown}");
    assert_eq!(app.acts("customer").await, Vec::<String>::new());

    let mut whole = app.recado_json(&["customers", "show", "customer-001", "--reveal"]).await;
    let (reach, devices) = (whole["reachability"].take(), whole["devices"].take());
    let card = app.get(&format!("{CUSTOMERS}customer-001/")).await.must_be(200);
    for (field, value) in card.as_object().expect("a customer") {
        assert_eq!(&whole[field], value, "{field}");
    }
    assert_eq!((&reach["reachable"], devices), (&json!(true), json!([])));
    let log = app.audited("customer").await;
    assert_eq!((log.len(), &*log[0].action, &*log[0].actor), (1, "reveal", "recado customers"));
    assert_eq!(app.recado(&["customers", "show", "nobody", "--reveal"]).await.status.code(), Some(1));
    assert_eq!(app.audited("customer").await.len(), 1);
});

story!(whether_a_customer_can_be_reached_is_a_status, async |app: &App| {
    app.live_now();
    app.know_carlos().await;
    let reachable = ["customers", "reachable", "customer-001"];
    let output = app.recado(&reachable).await;
    assert_eq!(output.status.code(), Some(0), "{}", errors(&output));
    assert!(words(&output).contains("can be reached now, first by Email"), "{}", words(&output));
    let mut same = app.get(&format!("{CUSTOMERS}customer-001/reachability/?lang=en")).await.must_be(200);
    let mut told = app.recado_json(&reachable).await;
    (same["now"], told["now"]) = (Value::Null, Value::Null);
    assert_eq!(told, same);

    app.prefer("customer-001", &[refuses(Channel::Email), refuses(Channel::Whatsapp)]).await;
    let output = app.recado(&[&reachable[..], &["--lang", "es"]].concat()).await;
    assert_eq!(output.status.code(), Some(1));
    assert!(words(&output).contains("El cliente desactivó este canal"), "{}", words(&output));
    let nobody = app.recado(&["customers", "reachable", "nobody"]).await;
    assert!(errors(&nobody).contains("there is no customer nobody"), "{}", errors(&nobody));
});

// It cannot be undone, so the name is typed.
story!(a_person_is_forgotten_when_the_name_is_typed, async |app: &App| {
    app.live_now();
    app.know_carlos().await;
    app.accepted(&sample::event()).await;
    app.drain().await;
    let erase = ["customers", "erase", "customer-001"];
    for typed in ["", "\n", "customer-002\n", "yes\n"] {
        let output = typing(app, &erase, typed).await;
        assert_eq!(output.status.code(), Some(1), "{typed}");
        assert!(errors(&output).contains("nothing was erased"), "{}", errors(&output));
    }
    app.get(&format!("{CUSTOMERS}customer-001/")).await.must_be(200);
    let output = typing(app, &erase, "customer-001\n").await;
    assert_eq!(output.status.code(), Some(0), "{}", errors(&output));
    assert!(words(&output).contains("customer-001 is forgotten"), "{}", words(&output));
    app.get(&format!("{CUSTOMERS}customer-001/")).await.must_be(404);
    app.notice().await;
    let log = app.audited("customer").await;
    assert_eq!((log.len(), &*log[0].action, &*log[0].actor), (1, "erase", "recado customers"));
    let again = app.recado(&[&erase[..], &["--yes"]].concat()).await;
    assert!(errors(&again).contains("nothing is known of"), "{}", errors(&again));

    app.know_carlos().await;
    let erased = app.recado_json(&[&erase[..], &["--yes"]].concat()).await;
    assert_eq!(erased["erased"]["customers"], 1);
    app.notice().await;
});

story!(everything_is_found_from_the_command_line, async |app: &App| {
    app.live_now();
    app.know_carlos().await;
    let task = app.task_for(&sample::event()).await.to_string();
    app.drain().await;
    for (text, kind, key) in [("mendoza", "customer", "customer-001"), (&*task, "task", &*task)] {
        let found = app.recado_json(&["search", text]).await;
        let is_it = |one: &Value| one["kind"] == kind && one["key"] == key;
        assert!(found["results"].as_array().expect("results").iter().any(is_it), "{text}: {found}");
    }
    let found = app.recado(&["search", "+593 99 123 4567"]).await;
    assert!(words(&found).contains("Carlos Mendoza") && !words(&found).contains("carlos@"), "{}", words(&found));
    assert_eq!(app.recado(&["search", "unicornio"]).await.status.code(), Some(1));
    assert_eq!(app.recado(&["search", " "]).await.status.code(), Some(1));
});
