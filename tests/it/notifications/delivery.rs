//! What arrives at the person.

use std::collections::HashSet;

use recado_kernel::ids::Id;
use recado_notifications::channels::Channel;
use recado_notifications::notifications;
use recado_queue::tasks::State;
use recado_sandbox::{ChatName, EvolutionFault, Rule, SmtpFault, SmtpStage};
use serde_json::json;

use crate::harness::app::{App, seconds};
use crate::harness::pair::story;
use crate::harness::sample::{self, likes};

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
    assert_eq!(mail.from(), Some("Taller Ambacar <taller@example.com>"));
    assert_eq!(mail.subject(), Some("Mantenimiento agendado: 20 de Enero, 2026, 14:30"));
    for part in [mail.text(), mail.html()] {
        let part = part.expect("both a text and an HTML part");
        assert!(part.contains("Carlos Mendoza") && part.contains("Haval H6 2024"), "{part}");
    }
    assert!(!mail.text().expect("a text").contains('<'));
    let status = app.status(task).await;
    assert_eq!(status["status"], "SUCCESS");
    assert_eq!(
        (&status["ready"], &status["successful"], &status["failed"]),
        (&json!(true), &json!(true), &json!(false))
    );
    assert_eq!(status["result"]["channel"], "email");
    assert_eq!(app.chain(task).await, ["email sent", "whatsapp pending"]);
    assert_eq!(app.attempts(task).await, ["email sent 250"]);
});

// S002-62: what a client reads about a delivery, with no one's address in it.
story!(the_status_tells_the_whole_story, async |app: &App| {
    app.know_carlos().await;
    let task = app.task_for(&sample::event()).await;
    app.sandbox.smtp.misbehave_times(SmtpFault::reject_recipient(451), 1);
    app.drain().await;

    let retrying = app.status(task).await;
    assert_eq!((&retrying["status"], &retrying["ready"]), (&json!("RETRY"), &json!(false)));
    assert!(retrying["next_run_at"].is_string(), "{retrying}");
    app.until_due(task).await;

    let status = app.status(task).await;
    let [email, whatsapp] = status["notifications"].as_array().expect("a list").as_slice() else { panic!("{status}") };
    assert_eq!((&status["channel"], &status["queue"]), (&json!("email"), &json!("notifications")));
    assert_eq!((&email["status"], &whatsapp["status"]), (&json!("sent"), &json!("pending")));
    assert_eq!((&email["attempts"], &email["max_attempts"]), (&json!(2), &json!(3)));
    let [refused, taken] = email["attempts_log"].as_array().expect("a list").as_slice() else { panic!("{email}") };
    assert_eq!((&refused["outcome"], &refused["error_code"]), (&json!("transient"), &json!("EMAIL_SEND_FAILED")));
    assert_eq!((&refused["provider_status"], &taken["outcome"]), (&json!(451), &json!("sent")));
    assert!(refused["duration_ms"].is_u64() && refused["at"].is_string(), "{refused}");
    assert!(!status.to_string().contains("carlos@example.com"), "{status}");
    assert_eq!(app.get(&format!("/api/v1/tasks/{task}")).await.must_be(200), status);
});

// The second copy of a mail that was perhaps delivered bears the same Message-ID, so mailboxes show one.
story!(a_mail_keeps_its_message_id_over_attempts, async |app: &App| {
    app.know_carlos().await;
    let task = app.task_for(&sample::event()).await;
    app.sandbox.smtp.misbehave_times(SmtpFault::DropAfterData { record: true }, 1);
    app.drain().await;
    app.until_due(task).await;

    let ids: HashSet<_> = app.mails().iter().map(|mail| mail.message_id().map(str::to_owned)).collect();
    assert_eq!((app.mails().len(), ids.len()), (2, 1));
    assert_eq!(app.attempts(task).await, ["email transient", "email sent 250"]);
});

// A server that takes two mails per connection and says so at RCPT delays none: each mail has one attempt
// (knadh/smtppool#19, chatmail/filtermail#143, letsencrypt/boulder#2262).
story!(a_limit_per_connection_costs_no_attempt, async |app: &App| {
    app.know_carlos().await;
    let text = "4.7.1 Error: too many messages in this session".to_owned();
    let stage = SmtpStage::Recipient;
    app.sandbox.smtp.misbehave(SmtpFault::MailsPerConnection { limit: 2, stage, code: 450, text, hang_up: false });
    for number in 1..=6 {
        let task = app.task_for(&sample::event()).await;
        app.drain().await;
        assert_eq!(app.attempts(task).await, ["email sent 250"], "mail {number}");
    }
});

// 10 kB of nested rows in a custom event held a core for minutes: heartbeats stopped, and no other mail left.
story!(costly_words_hold_no_other_mail_up, async |app: &App| {
    app.know_carlos().await;
    let rows = "<table><tr rowspan=999><td>".repeat(360);
    let body = format!("<p>Hola</p>{rows}");
    let event = json!({
        "event_type": "custom", "service_type_id": null, "phase_id": null, "customer_id": "customer-001",
        "context": {"subject": "Feriado", "body": body}
    });
    for _ in 0..20 {
        app.accepted(&event).await;
    }
    let began = std::time::Instant::now();
    app.drain().await;
    assert!(began.elapsed() < std::time::Duration::from_secs(30), "{:?}", began.elapsed());
    assert_eq!(app.mails().len(), 20);
    assert_eq!(app.mails()[0].text().map(str::trim_end), Some("Hola"));
});

// What a server says reaches the database bounded and clean: 40,000 letters and control characters jammed every lane.
story!(a_server_that_talks_much_jams_nothing, async |app: &App| {
    app.know_carlos().await;
    let text = format!("2.0.0 Ok \0\u{1b}[2J{}", "ñ".repeat(40_000));
    app.sandbox.smtp.misbehave(SmtpFault::Reply { stage: SmtpStage::EndOfData, code: 250, text });
    for _ in 0..3 {
        let task = app.task_for(&sample::event()).await;
        app.drain().await;
        assert_eq!(app.attempts(task).await, ["email sent 250"]);
    }
    assert_eq!(app.mails().len(), 3);
});

// S002-40, d12: a person's own order of channels decides, and the words are those of the channel.
story!(preferences_decide_the_order, async |app: &App| {
    app.know_carlos().await;
    app.prefer("customer-001", &[likes(Channel::Whatsapp, 1), likes(Channel::Email, 2)]).await;
    let receipt = app.accepted(&sample::event()).await;
    let planned: Vec<_> = receipt.notifications.iter().map(|planned| planned.channel.as_str()).collect();
    assert_eq!(planned, ["whatsapp", "email"]);
    app.drain().await;

    let [message] = app.whatsapps().try_into().expect("one message");
    assert_eq!(message.jid, "593991234567@s.whatsapp.net");
    assert!(
        message.text.contains("*mantenimiento preventivo*") && message.text.contains("Haval H6 2024"),
        "{}",
        message.text
    );
    assert!(app.mails().is_empty());
});

// d12: every enabled channel at once, each a task of its own, where a workshop wants that.
story!(all_channels_at_once_where_configured, async |app: &App| {
    app.know_carlos().await;
    app.subscribe("customer-001").await;
    app.sql(
        "update orchestration_configs set delivery_mode = 'all' where target = 'clients' and service_type_id in
             (select id from service_types where slug = 'mantenimiento-preventivo')",
    )
    .await;
    let receipt = app.accepted(&sample::event()).await;
    assert_eq!(receipt.notifications_queued, 3);
    let tasks: HashSet<_> = receipt.notifications.iter().map(|planned| planned.task_id).collect();
    assert_eq!(tasks.len(), 3);
    app.drain().await;
    assert_eq!((app.mails().len(), app.whatsapps().len(), app.pushes().len()), (1, 1, 1));
});

// S002-43: a custom event brings its own words, and needs no service and no phase.
story!(a_custom_event_brings_its_own_words, async |app: &App| {
    app.know_carlos().await;
    let event = json!({
        "event_type": "custom", "service_type_id": null, "phase_id": null, "customer_id": "customer-001",
        "context": {"subject": "Feriado del lunes", "body": "Mañana no abrimos.\nGracias & saludos <3"}
    });
    app.accepted(&event).await;
    app.drain().await;
    let [mail] = app.mails().try_into().expect("one mail");
    assert_eq!(mail.subject(), Some("Feriado del lunes"));
    assert!(mail.text().expect("a text").contains("Gracias & saludos <3"));
});

// d10: names of variables lose case and accents.
story!(variables_are_known_by_any_spelling, async |app: &App| {
    app.know_carlos().await;
    let event =
        json!({"context": {"nombre": null, "vehiculo": null, "NOMBRE": "Carlos Mendoza", "VEHÍCULO": "Haval H6 2024"}});
    app.accepted(&sample::event_with(event)).await;
    app.drain().await;
    let [mail] = app.mails().try_into().expect("one mail");
    assert!(mail.text().expect("a text").contains("Haval H6 2024"));
});

// Values are text: neither HTML nor another template.
story!(values_are_never_markup, async |app: &App| {
    app.know_carlos().await;
    let event = json!({"context": {"nombre": "<script>alert(1)</script>{{Placa}}"}});
    app.accepted(&sample::event_with(event)).await;
    app.drain().await;
    let [mail] = app.mails().try_into().expect("one mail");
    let html = mail.html().expect("an HTML part");
    assert!(html.contains("&lt;script&gt;") && !html.contains("<script>") && html.contains("{{Placa}}"), "{html}");
});

// d27: the message left and the answer never came. It is looked up at the provider, and not sent twice.
story!(a_whatsapp_that_left_without_an_answer_is_found, [("EVOLUTION_TIMEOUT", "0.3")], async |app: &App| {
    app.sync_customer(&sample::customer_with(json!({"email": null}))).await;
    let task = app.task_for(&sample::event()).await;
    app.sandbox.evolution.misbehave_times(EvolutionFault::AcceptThenHang, 1);
    app.drain().await;
    assert_eq!(app.attempts(task).await, ["whatsapp unknown"]);
    assert_eq!(app.chain(task).await, ["whatsapp queued WHATSAPP_TIMEOUT"]);

    let waited = app.until_due(task).await;
    assert!(waited <= seconds(10), "{waited:?}");
    assert_eq!(app.whatsapps().len(), 1);
    assert_eq!(app.chain(task).await, ["whatsapp sent"]);
    assert_eq!(app.status(task).await["result"]["provider_message_id"], app.whatsapps()[0].id);
});

// d27: the provider never knew it. When the window closes, the attempt counts as failed and another one follows.
story!(a_whatsapp_that_never_left_is_sent_after_the_window, async |app: &App| {
    app.sync_customer(&sample::customer_with(json!({"email": null}))).await;
    let task = app.task_for(&sample::event()).await;
    app.sandbox.evolution.misbehave_times(EvolutionFault::Drop, 1);
    app.drain().await;
    assert_eq!(app.attempts(task).await, ["whatsapp unknown"]);

    let mut waited = seconds(0);
    while app.whatsapps().is_empty() {
        waited += app.until_due(task).await;
        assert!(waited < seconds(180), "it is never sent again");
    }
    assert!(waited >= seconds(60 + 48), "not before the window of 60 s and the delay of 60 s have passed: {waited:?}");
    assert_eq!(app.attempts(task).await, ["whatsapp unknown", "whatsapp sent 201"]);
});

/// Carlos, whom only WhatsApp reaches.
async fn know_carlos_by_telephone(app: &App) {
    app.sync_customer(&sample::customer_with(json!({"email": null}))).await;
}

/// Time passes until a task is done, however often it goes on.
async fn until_done(app: &App, task: Id) {
    for _ in 0..60 {
        if app.task(task).await.state != State::Scheduled {
            return;
        }
        app.until_due(task).await;
    }
    panic!("it goes on for ever: {:?}", app.task(task).await);
}

async fn provider_message_id(app: &App, task: Id) -> Option<String> {
    let chain = notifications::chains(&mut app.begin().await, &[task]).await.expect("the chain is read");
    chain[0].provider_message_id.clone()
}

// d27: the same words to the same person twice. The second one's answer never came and it never left: the record of the first
// is the first's, and the second leaves.
story!(the_record_of_a_twin_is_not_ours, async |app: &App| {
    know_carlos_by_telephone(app).await;
    let first = app.task_for(&sample::event()).await;
    app.drain().await;
    app.sandbox.evolution.misbehave_times(EvolutionFault::Drop, 1);
    let second = app.task_for(&sample::event()).await;
    app.drain().await;
    until_done(app, second).await;
    assert_eq!((app.chain(second).await, app.whatsapps().len()), (vec!["whatsapp sent".to_owned()], 2));
    assert_ne!(provider_message_id(app, first).await, provider_message_id(app, second).await);
});

// d27: two of the same, both without an answer; of one there is a record, and it belongs to one of them.
story!(two_in_doubt_do_not_share_a_record, async |app: &App| {
    know_carlos_by_telephone(app).await;
    let mut tasks = Vec::new();
    for fault in [EvolutionFault::AcceptThenDrop, EvolutionFault::Drop, EvolutionFault::AcceptThenDrop] {
        app.sandbox.evolution.misbehave_times(fault, 1);
        tasks.push(app.task_for(&sample::event()).await);
        app.drain().await;
    }
    let mut ids = HashSet::new();
    for task in tasks {
        until_done(app, task).await;
        assert_eq!(app.chain(task).await, ["whatsapp sent"]);
        ids.insert(provider_message_id(app, task).await.expect("a name"));
    }
    assert_eq!((app.whatsapps().len(), ids.len()), (3, 3));
});

// The chat is known by another name than the number, and the record does not tell the number at all (evolution-api#1872, #2687,
// #2062): one message.
story!(a_whatsapp_in_a_hidden_chat_is_found, async |app: &App| {
    know_carlos_by_telephone(app).await;
    for name in [ChatName::Hidden, ChatName::HiddenWithNumber] {
        app.sandbox.evolution.clear();
        app.sandbox.evolution.name_chats(name);
        app.sandbox.evolution.wrap_messages();
        app.sandbox.evolution.misbehave_times(EvolutionFault::AcceptThenDrop, 1);
        let task = app.task_for(&sample::event()).await;
        app.drain().await;
        until_done(app, task).await;
        assert_eq!((app.chain(task).await, app.whatsapps().len()), (vec!["whatsapp sent".to_owned()], 1), "{name:?}");
    }
});

// A record that names no one could be that of another person's message with the same words, which is in doubt as well: then it
// is no one's, and neither is sent a second time.
story!(a_record_that_could_be_anothers_is_not_taken, async |app: &App| {
    know_carlos_by_telephone(app).await;
    let other = json!({"customer_id": "c-2", "email": "eva@example.com", "phone": "+593990000000", "whatsapp": null});
    app.sync_customer(&sample::customer_with(other)).await;
    app.prefer("c-2", &[likes(Channel::Whatsapp, 1), likes(Channel::Email, 2)]).await;
    app.sandbox.evolution.name_chats(ChatName::Hidden);
    app.sandbox.evolution.misbehave_times(EvolutionFault::AcceptThenDrop, 1);
    let left = app.task_for(&sample::event()).await;
    app.drain().await;
    app.sandbox.evolution.misbehave_times(EvolutionFault::Drop, 1);
    let lost = app.task_for(&sample::event_with(json!({"customer_id": "c-2"}))).await;
    app.drain().await;
    for task in [left, lost] {
        until_done(app, task).await;
    }
    assert_eq!(app.whatsapps().len(), 1, "the person who has it gets no second one");
    assert_eq!(app.chain(lost).await[..2], ["whatsapp failed WHATSAPP_TIMEOUT", "email sent"]);
});

// d27: the look-up itself has no answer. It is asked again, also after the window; until it answers the message does not leave
// on this channel a second time, and in the end the next channel takes over.
story!(without_a_look_up_nothing_is_sent_again, async |app: &App| {
    app.know_carlos().await;
    app.prefer("customer-001", &[likes(Channel::Whatsapp, 1), likes(Channel::Email, 2)]).await;
    let in_silence = async || {
        app.sandbox.evolution.plan(Rule::always(EvolutionFault::AcceptThenDrop).times(1).only("593991234567"));
        app.sandbox.evolution.misbehave(EvolutionFault::NoRecords);
        let task = app.task_for(&sample::event()).await;
        app.drain().await;
        task
    };
    let task = in_silence().await;
    until_done(app, task).await;
    assert_eq!(app.chain(task).await, ["whatsapp failed WHATSAPP_TIMEOUT", "email sent"]);
    assert_eq!((app.whatsapps().len(), app.mails().len()), (1, 1));

    // It answers again after the window: the message is found, and no one is told twice.
    app.sandbox.evolution.clear();
    let task = in_silence().await;
    while app.status(task).await["notifications"][0]["attempts"] != json!(1) {
        app.until_due(task).await;
    }
    app.sandbox.evolution.behave();
    until_done(app, task).await;
    assert_eq!(app.chain(task).await, ["whatsapp sent", "email pending"]);
    assert_eq!((app.whatsapps().len(), app.mails().len()), (1, 1));
});

// A worker died in the middle of a call, and Evolution does not answer the look-up: 8 of 8 persons got two messages.
story!(a_run_that_was_cut_off_is_not_sent_again_without_a_look_up, async |app: &App| {
    know_carlos_by_telephone(app).await;
    let task = app.task_for(&sample::event()).await;
    app.sql("update tasks set cut_off = true where state = 'queued'").await;
    let chain = notifications::chains(&mut app.begin().await, &[task]).await.expect("the chain is read");
    app.sandbox.evolution.write_by_hand("593991234567", &chain[0].body);
    app.sandbox.evolution.misbehave(EvolutionFault::NoRecords);
    app.drain().await;
    app.until_due(task).await;
    assert_eq!((app.whatsapps().len(), app.status(task).await["status"].clone()), (1, json!("RETRY")));

    app.sandbox.evolution.behave();
    until_done(app, task).await;
    assert_eq!((app.chain(task).await, app.whatsapps().len()), (vec!["whatsapp sent".to_owned()], 1));
});

// A process stopped while a slow Evolution was still working on the message, and the next one looked for it a moment later: nothing was
// there yet, and the person got it twice.
story!(one_look_that_finds_nothing_does_not_settle_a_run_that_was_cut_off, async |app: &App| {
    know_carlos_by_telephone(app).await;
    let task = app.task_for(&sample::event()).await;
    app.sql("update tasks set cut_off = true where state = 'queued'").await;
    app.drain().await;
    assert_eq!((app.whatsapps().len(), app.status(task).await["status"].clone()), (0, json!("RETRY")));

    let chain = notifications::chains(&mut app.begin().await, &[task]).await.expect("the chain is read");
    app.sandbox.evolution.write_by_hand("593991234567", &chain[0].body);
    until_done(app, task).await;
    assert_eq!((app.chain(task).await, app.whatsapps().len()), (vec!["whatsapp sent".to_owned()], 1));
});

// It never reached the provider: when the window has closed, it is sent.
story!(a_run_that_was_cut_off_before_it_sent_is_sent_in_the_end, async |app: &App| {
    know_carlos_by_telephone(app).await;
    let task = app.task_for(&sample::event()).await;
    app.sql("update tasks set cut_off = true where state = 'queued'").await;
    app.drain().await;
    until_done(app, task).await;
    assert_eq!((app.chain(task).await, app.whatsapps().len()), (vec!["whatsapp sent".to_owned()], 1));
});

// A number that sends too fast is banned: 20 a minute are one every 3 seconds, over all workers.
story!(whatsapps_leave_at_the_pace_of_the_instance, [("WHATSAPP_RATE_PER_MINUTE", "20")], async |app: &App| {
    app.sync_customer(&sample::customer_with(json!({"email": null}))).await;
    for _ in 0..3 {
        app.accepted(&sample::event()).await;
    }
    let mut arrived = Vec::new();
    for _ in 0..7 {
        app.later(seconds(1)).await;
        arrived.push(app.whatsapps().len());
    }
    assert_eq!(arrived, [1, 1, 1, 2, 2, 2, 3]);
});
