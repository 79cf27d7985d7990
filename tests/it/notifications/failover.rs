//! Several accounts on one channel: who takes over from whom, and when no one may.

use recado_kernel::ids::Id;
use recado_notifications::channels::Channel;
use recado_notifications::notifications;
use recado_notifications::notifications::attempts::{self, Attempt};
use recado_sandbox::{Evolution, EvolutionFault, EvolutionOptions, Smtp, SmtpFault, SmtpOptions, SmtpStage};
use reqwest::Method;
use serde_json::{Value, json};

use crate::harness::app::{App, seconds};
use crate::harness::pair::story;
use crate::harness::sample::{self, likes};

const ACCOUNTS: &str = "/api/v1/notifications/provider-accounts/";
const KEY: [(&str, &str); 1] = [("SECRET_KEY", "a-secret-key-for-stories-of-32-or-more")];

fn smtp_account(name: &str, smtp: &Smtp) -> Value {
    let settings = json!({"host": "127.0.0.1", "port": smtp.addr().port(), "security": "plain"});
    json!({"channel": "email", "name": name, "settings": settings})
}

fn evolution_account(name: &str, evolution: &Evolution) -> Value {
    let settings = json!({"url": evolution.url(), "instance": evolution.instance(), "rate_per_minute": 0});
    json!({"channel": "whatsapp", "name": name, "settings": settings, "secret": evolution.api_key()})
}

async fn second_evolution() -> Evolution {
    let options = EvolutionOptions {
        instance: "taller-norte".to_owned(),
        api_key: "otra-clave".to_owned(),
        ..EvolutionOptions::default()
    };
    Evolution::start(options).await.expect("a second server")
}

async fn second_smtp() -> Smtp {
    Smtp::start(SmtpOptions::default()).await.expect("a second server")
}

impl App {
    async fn add_account(&self, account: &Value) -> String {
        let created = self.post(ACCOUNTS, account).await.must_be(201);
        format!("{ACCOUNTS}{}/", created["id"].as_str().expect("an id"))
    }

    /// The attempts of a task with the account of each: `env transient 421`, `second sent 250`.
    async fn tried(&self, task: Id) -> Vec<String> {
        let attempts = attempts::of_task(&mut self.begin().await, task).await.expect("the attempts are read");
        let word = |attempt: Attempt| {
            let status = attempt.provider_status.map(|status| format!(" {status}")).unwrap_or_default();
            format!("{} {}{status}", attempt.provider.unwrap_or_default(), attempt.outcome)
        };
        attempts.into_iter().map(word).collect()
    }

    /// The account that each message of a task left through, or was last tried at.
    async fn used(&self, task: Id) -> Vec<Option<String>> {
        let chain = notifications::chains(&mut self.begin().await, &[task]).await.expect("the chain is read");
        chain.into_iter().map(|notification| notification.provider).collect()
    }
}

// A server that is out of order is passed over within one attempt, and is the last one to be asked for half a minute.
story!(a_second_server_takes_over_at_once, KEY, async |app: &App| {
    app.know_carlos().await;
    let second = second_smtp().await;
    app.add_account(&smtp_account("second", &second)).await;
    app.sandbox.smtp.misbehave(SmtpFault::GreetingBusy);

    let task = app.task_for(&sample::event()).await;
    app.drain().await;
    assert_eq!(app.tried(task).await, ["env transient 421", "second sent 250"]);
    assert_eq!(app.chain(task).await, ["email sent", "whatsapp pending"]);
    assert_eq!(app.used(task).await, [Some("second".to_owned()), None]);
    let retries = notifications::chains(&mut app.begin().await, &[task]).await.expect("the chain")[0].retry_count;
    assert_eq!((second.messages().len(), retries), (1, 0), "what the next account made good is no failed attempt");

    let next = app.task_for(&sample::event()).await;
    app.drain().await;
    assert_eq!(app.tried(next).await, ["second sent 250"]);
    app.sandbox.smtp.behave();
    app.later(seconds(31)).await;
    let later = app.task_for(&sample::event()).await;
    app.drain().await;
    assert_eq!(app.tried(later).await, ["env sent 250"]);
});

// d12: all accounts fail: that is one failed attempt of the channel, and it is tried again as ever.
story!(all_accounts_out_of_order_is_one_failure, KEY, async |app: &App| {
    app.know_carlos().await;
    let second = second_smtp().await;
    app.add_account(&smtp_account("second", &second)).await;
    for smtp in [&app.sandbox.smtp, &second] {
        smtp.misbehave(SmtpFault::RejectMailFrom { code: 451, text: String::new() });
    }
    let task = app.task_for(&sample::event()).await;
    app.drain().await;
    assert_eq!(app.tried(task).await, ["env transient 451", "second transient 451"]);
    let chain = notifications::chains(&mut app.begin().await, &[task]).await.expect("the chain");
    assert_eq!(chain[0].retry_count, 1);

    second.behave();
    app.until_due(task).await;
    assert_eq!(app.tried(task).await[2..], ["env transient 451", "second sent 250"]);
});

// A second account that cannot work (its login is wrong) does not end the channel that the first could still serve.
story!(a_backup_that_never_works_costs_nothing, KEY, async |app: &App| {
    app.know_carlos().await;
    let auth = Some(("taller".to_owned(), "clave".to_owned()));
    let second = Smtp::start(SmtpOptions { auth, ..SmtpOptions::default() }).await.expect("a second server");
    let mut account = smtp_account("second", &second);
    account["settings"]["user"] = "taller".into();
    account["secret"] = "otra".into();
    app.add_account(&account).await;
    app.sandbox.smtp.misbehave_times(SmtpFault::GreetingBusy, 1);
    let task = app.task_for(&sample::event()).await;
    app.drain().await;
    assert_eq!(app.tried(task).await, ["env transient 421", "second misconfigured 535"]);
    app.until_due(task).await;
    assert_eq!(app.tried(task).await[2..], ["env sent 250"]);
});

// The recipient's fault is the recipient's at every server, and greylisting is not gone round.
story!(the_recipients_fault_does_not_fail_over, KEY, async |app: &App| {
    app.know_carlos().await;
    let (second, evolution) = (second_smtp().await, second_evolution().await);
    app.add_account(&smtp_account("second", &second)).await;
    app.add_account(&evolution_account("phone", &evolution)).await;
    app.sandbox.smtp.misbehave_times(SmtpFault::reject_recipient(451), 1);
    let greylisted = app.task_for(&sample::event()).await;
    app.drain().await;
    assert_eq!(app.tried(greylisted).await, ["env transient 451"]);
    app.until_due(greylisted).await;
    assert_eq!(app.tried(greylisted).await[1..], ["env sent 250"]);

    app.sandbox.smtp.misbehave_times(SmtpFault::reject_recipient(550), 1);
    app.sandbox.evolution.misbehave_times(EvolutionFault::NotOnWhatsapp, 1);
    let task = app.task_for(&sample::event()).await;
    app.drain().await;
    assert_eq!(app.tried(task).await, ["env permanent 550", "env permanent 400"]);
    assert_eq!((second.received(), evolution.received()), (0, 0));
});

// d27: what may have left leaves through no second door; the account that was used is asked what became of it.
story!(an_unknown_outcome_does_not_fail_over, KEY, async |app: &App| {
    app.know_carlos().await;
    app.prefer("customer-001", &[likes(Channel::Whatsapp, 1)]).await;
    let evolution = second_evolution().await;
    let url = app.add_account(&evolution_account("phone", &evolution)).await;
    app.sandbox.evolution.misbehave_times(EvolutionFault::AcceptThenDrop, 1);
    let task = app.task_for(&sample::event()).await;
    app.drain().await;
    assert_eq!(app.tried(task).await, ["env unknown"]);
    app.until_due(task).await;
    assert_eq!(app.tried(task).await, ["env unknown", "env sent"]);
    assert_eq!((app.whatsapps().len(), evolution.received()), (1, 0));

    // The same at the second instance: the first is out of order, the second falls silent and is asked.
    app.sandbox.evolution.misbehave(EvolutionFault::ConnectionClosed);
    evolution.misbehave_times(EvolutionFault::AcceptThenDrop, 1);
    let task = app.task_for(&sample::event()).await;
    app.drain().await;
    assert_eq!(app.tried(task).await, ["env transient 500", "phone unknown"]);
    assert_eq!(app.used(task).await[0].as_deref(), Some("phone"));
    app.until_due(task).await;
    assert_eq!(app.tried(task).await[2..], ["phone sent"]);
    assert_eq!((app.whatsapps().len(), evolution.received()), (1, 1));

    // Staff switch the silent account off, as one does. It is asked all the same, and nothing is sent twice.
    evolution.misbehave_times(EvolutionFault::AcceptThenDrop, 1);
    let task = app.task_for(&sample::event()).await;
    app.drain().await;
    assert_eq!(app.tried(task).await.last().expect("an attempt"), "phone unknown");
    app.patch(&url, &json!({"is_enabled": false})).await.must_be(200);
    app.sandbox.evolution.behave();
    app.until_due(task).await;
    assert_eq!(app.tried(task).await.last().expect("an attempt"), "phone sent");
    assert_eq!((app.whatsapps().len(), evolution.received()), (1, 2));
    app.send(app.request(Method::DELETE, &url)).await.must_be(204);
});

// The session with WhatsApp is down, the key was changed: another instance takes over.
story!(a_second_instance_takes_over, KEY, async |app: &App| {
    app.know_carlos().await;
    app.prefer("customer-001", &[likes(Channel::Whatsapp, 1)]).await;
    let evolution = second_evolution().await;
    app.add_account(&evolution_account("phone", &evolution)).await;
    for (sent, (fault, outcome)) in (1..).zip([
        (EvolutionFault::ConnectionClosed, "env transient 500"),
        (EvolutionFault::Unauthorized, "env misconfigured 401"),
        (EvolutionFault::status(503), "env transient 503"),
    ]) {
        app.sandbox.evolution.misbehave_times(fault, 1);
        let task = app.task_for(&sample::event()).await;
        app.drain().await;
        assert_eq!(app.tried(task).await, [outcome, "phone sent 201"]);
        assert_eq!(evolution.messages().len(), sent);
        app.later(seconds(31)).await;
    }
});

// The pace belongs to the instance: the one that takes over keeps its own, and a place that was reserved is kept.
story!(each_instance_has_its_own_pace, KEY, async |app: &App| {
    app.know_carlos().await;
    app.prefer("customer-001", &[likes(Channel::Whatsapp, 1)]).await;
    let evolution = second_evolution().await;
    let mut account = evolution_account("phone", &evolution);
    account["settings"]["rate_per_minute"] = 6.into();
    app.add_account(&account).await;
    app.sandbox.evolution.misbehave(EvolutionFault::ConnectionClosed);
    let mut tasks = Vec::new();
    for _ in 0..3 {
        tasks.push(app.task_for(&sample::event()).await);
    }
    app.drain().await;
    assert_eq!(evolution.messages().len(), 1);
    app.later(seconds(10)).await;
    assert_eq!(evolution.messages().len(), 2);
    app.later(seconds(10)).await;
    assert_eq!(evolution.messages().len(), 3);
    for task in tasks {
        assert_eq!(app.tried(task).await.last().map(String::as_str), Some("phone sent 201"));
    }
});

// A workshop's own accounts are used instead of everybody's; changes count within a second.
story!(a_workshop_has_its_own_accounts, KEY, async |app: &App| {
    app.know_carlos().await;
    let (own, spare) = (second_smtp().await, second_smtp().await);
    let mut first = smtp_account("norte-1", &own);
    first["taller_id"] = "quito-norte".into();
    let mut second = smtp_account("norte-2", &spare);
    (second["taller_id"], second["priority"]) = ("quito-norte".into(), 2.into());
    let url = app.add_account(&first).await;
    app.add_account(&second).await;
    let event = sample::event_with(json!({"taller_id": "quito-norte"}));
    let sent_by = async |event: &Value| {
        let task = app.task_for(event).await;
        app.drain().await;
        app.tried(task).await
    };
    assert_eq!(sent_by(&event).await, ["norte-1 sent 250"]);
    assert_eq!(sent_by(&sample::event()).await, ["env sent 250"]);

    // Not the greeting, for the connection is kept.
    own.misbehave(SmtpFault::Reply { stage: SmtpStage::MailFrom, code: 421, text: String::new() });
    assert_eq!(sent_by(&event).await, ["norte-1 transient 421", "norte-2 sent 250"]);
    app.patch(&url, &json!({"is_enabled": false})).await.must_be(200);
    app.later(seconds(60)).await;
    assert_eq!(sent_by(&event).await, ["norte-2 sent 250"]);
    assert_eq!(spare.connections(), 1, "who did not change keeps its connections");
    assert_eq!(app.mails().len(), 1);
});

// A password is sealed: no answer, no row and no log has it, and mails are sent with it all the same.
story!(secrets_go_in_and_never_come_out, KEY, async |app: &App| {
    app.know_carlos().await;
    let auth = Some(("taller".to_owned(), "clave-secreta".to_owned()));
    let smtp = Smtp::start(SmtpOptions { auth, ..SmtpOptions::default() }).await.expect("a server");
    let mut account = smtp_account("norte", &smtp);
    (account["taller_id"], account["settings"]["user"]) = ("quito-norte".into(), "taller".into());
    let without = app.post(ACCOUNTS, &account).await.must_be(400);
    assert!(without["secret"][0].is_string(), "{without}");
    account["secret"] = "clave-secreta".into();
    let url = app.add_account(&account).await;

    for answer in [app.get(&url).await, app.get(ACCOUNTS).await, app.patch(&url, &json!({"priority": 3})).await] {
        assert_eq!(answer.status, 200);
        assert!(!answer.text.contains("clave-secreta") && !answer.text.contains("v1."), "{}", answer.text);
        assert!(answer.text.contains("\"has_secret\":true"), "{}", answer.text);
    }
    let moved = app.patch(&url, &json!({"settings": {"port": 2525}})).await.must_be(400);
    assert!(moved["secret"][0].is_string(), "it would be sent to another server: {moved}");
    let task = app.task_for(&sample::event_with(json!({"taller_id": "quito-norte"}))).await;
    app.drain().await;
    assert_eq!(app.tried(task).await, ["norte sent 250"]);
    assert_eq!(smtp.messages()[0].user(), Some("taller"));
});

// What is wrong is named.
story!(a_wrong_account_is_refused, KEY, async |app: &App| {
    let smtp = second_smtp().await;
    app.add_account(&smtp_account("second", &smtp)).await;
    let with = |path: &str, value: Value| {
        let mut account = smtp_account("third", &smtp);
        *account.pointer_mut(path.rsplit_once('/').expect("a path").0).expect("an object") = match path {
            "/settings/port" => json!({"host": "127.0.0.1", "port": value}),
            "/settings/security" => json!({"host": "127.0.0.1", "security": value}),
            _ => json!({"host": value}),
        };
        account
    };
    for (body, path) in [
        (json!({}), "/channel/0"),
        (smtp_account("second", &smtp), "/name/0"),
        (smtp_account("env", &smtp), "/name/0"),
        (json!({"channel": "push", "name": "p", "settings": {}}), "/channel/0"),
        (json!({"channel": "email", "name": "p", "settings": {}}), "/settings/host/0"),
        (json!({"channel": "email", "name": "p", "settings": []}), "/settings/0"),
        (with("/settings/port", 0.into()), "/settings/port/0"),
        (with("/settings/security", "ssl".into()), "/settings/security/0"),
        (with("/settings/host", "169.254.169.254".into()), "/settings/host/0"),
        (
            json!({"channel": "whatsapp", "name": "p", "settings": {"url": "evolution", "instance": "i"}, "secret": "k"}),
            "/settings/url/0",
        ),
        (
            json!({"channel": "whatsapp", "name": "p", "settings": {"url": "https://e.example.com", "instance": "i"}}),
            "/secret/0",
        ),
    ] {
        let answer = app.post(ACCOUNTS, &body).await.must_be(400);
        assert!(answer.pointer(path).is_some_and(Value::is_string), "{path} {body}: {answer}");
    }
});

// Without SECRET_KEY no secret is kept, and a caller who asks is told what is missing.
story!(without_a_secret_key_no_secret_is_kept, async |app: &App| {
    let evolution = second_evolution().await;
    let answer = app.post(ACCOUNTS, &evolution_account("phone", &evolution)).await.must_be(400);
    assert!(answer["secret"][0].as_str().is_some_and(|error| error.contains("SECRET_KEY")), "{answer}");
    app.post(ACCOUNTS, &smtp_account("open", &second_smtp().await)).await.must_be(201);
});
