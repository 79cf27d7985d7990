//! What the door accepts, and what it says when it does not.

use futures::future::join_all;
use recado_notifications::channels::Channel;
use recado_queue::tasks::State;
use reqwest::Method;
use serde_json::{Value, json};

use crate::harness::app::{App, DISPATCH, seconds};
use crate::harness::pair::story;
use crate::harness::sample::{self, likes, refuses};

// S002-41.
story!(an_accepted_event_is_receipted, async |app: &App| {
    app.know_carlos().await;
    let correlation_id = "0194830c-7d5a-7000-8000-000000000001";
    let event = sample::event_with(json!({"correlation_id": correlation_id}));
    let answer = app.dispatch(&event).await;
    assert!(!answer.header("x-request-id").is_empty());
    let body = answer.must_be(202);
    assert_eq!(body["success"], true);
    assert_eq!(body["correlation_id"], correlation_id);
    assert_eq!(body["notifications_queued"], 1);
    assert_eq!(body["errors"], json!([]));
    let planned = body["notifications"].as_array().expect("a list");
    let shown: Vec<_> = planned.iter().map(|n| (&n["channel"], &n["status"], &n["fallback_order"])).collect();
    assert_eq!(
        shown,
        [(&json!("email"), &json!("queued"), &json!(0)), (&json!("whatsapp"), &json!("pending"), &json!(1))]
    );
    assert_eq!(body["skipped"][0]["channel"], "push");
    assert_eq!(body["skipped"][0]["reason"], "no_push_subscription");
    app.drain().await;
});

// S002-42: what does not exist is a 400 that names it, and nothing is written.
story!(what_does_not_exist_is_named, async |app: &App| {
    app.know_carlos().await;
    for (patch, named) in [
        (json!({"customer_id": "nobody"}), "nobody"),
        (json!({"service_type_id": "lavado"}), "lavado"),
        (json!({"phase_id": "phase-party"}), "phase-party"),
        (json!({"subtype_id": "averia-frenos"}), "averia-frenos"),
        (json!({"service_type_id": "averia-frenos"}), "averia-frenos"),
    ] {
        let body = app.dispatch(&sample::event_with(patch.clone())).await.must_be(400);
        assert_eq!((&body["success"], &body["notifications_queued"]), (&json!(false), &json!(0)), "{patch}");
        assert!(body["error"].as_str().expect("an error").contains(named), "{patch}: {body}");
        assert_eq!(body["errors"][0], body["error"]);
    }
    assert!(app.counts(&[State::Queued, State::Scheduled]).await.is_empty());
});

// All that leads nowhere is told at once.
story!(all_that_does_not_exist_is_named, async |app: &App| {
    let event =
        sample::event_with(json!({"customer_id": "nobody", "service_type_id": "lavado", "phase_id": "phase-party"}));
    let body = app.dispatch(&event).await.must_be(400);
    let said = body["errors"].to_string();
    assert_eq!(body["errors"].as_array().map(Vec::len), Some(3), "{body}");
    assert!(["nobody", "lavado", "phase-party"].iter().all(|name| said.contains(name)), "{said}");
});

// S002-43: the words of a custom event are rendered with its context; the braces used to arrive at the customer.
story!(custom_words_are_rendered, async |app: &App| {
    app.know_carlos().await;
    let custom = |context: Value| json!({"event_type": "custom", "customer_id": "customer-001", "context": context});
    let words = json!({"subject": "Aviso para {{Nombre}}", "body": "<p>{{ Nombre }} y {{Placa|default:\"su auto\"}}</p>",
                       "nombre": "<Zoë>"});
    app.accepted(&custom(words)).await;
    app.accepted(&custom(json!({"subject": "Sin llaves", "body": "Hola"}))).await;
    app.drain().await;
    let mails = app.mails();
    let by_subject = |subject: &str| mails.iter().find(|mail| mail.subject() == Some(subject)).expect(subject);
    let html = by_subject("Aviso para <Zoë>").html().expect("an HTML part");
    assert!(html.contains("<p>&lt;Zoë&gt; y su auto</p>"), "{html}");
    by_subject("Sin llaves");

    let missing = app.dispatch(&custom(json!({"subject": "Hola {{Nombre}}", "body": "{{Código}}"}))).await.must_be(400);
    assert_eq!(missing["missing_fields"], json!(["Nombre", "Código"]));
    let wrong = custom(json!({"subject": "{{ Nombre", "body": "uno\n{% include 'x' %}"}));
    let answer = app.dispatch(&wrong).await.must_be(400);
    assert!(answer["context"][0].as_str().is_some_and(|error| error.starts_with("`subject`: Línea 1: ")), "{answer}");
    assert!(answer["context"][1].as_str().is_some_and(|error| error.starts_with("`body`: Línea 2: ")), "{answer}");
    for subject in ["ñ".repeat(201), "{{nombre}}".repeat(30)] {
        let long = custom(json!({"subject": subject, "body": "Hola", "nombre": "Carlos Mendoza"}));
        app.dispatch(&long).await.must_be(400);
    }
    app.accepted(&custom(json!({"subject": "ñ".repeat(200), "body": "Hola"}))).await;
    app.drain().await;
});

// Flow 1 of the document: without a configuration the request is refused.
story!(no_configuration_is_a_refusal, async |app: &App| {
    app.know_carlos().await;
    app.sql("update orchestration_configs set is_active = false where target = 'clients'").await;
    let body = app.dispatch(&sample::event()).await.must_be(400);
    assert!(body["error"].as_str().expect("an error").contains("mantenimiento-preventivo"), "{body}");
});

// S002-42: missing variables are named, all at once, with the remedy.
story!(missing_variables_are_named, async |app: &App| {
    app.know_carlos().await;
    let event = sample::event_with(json!({"context": {"nombre": null, "hora": null}}));
    let body = app.dispatch(&event).await.must_be(400);
    assert_eq!(body["missing_fields"], json!(["Hora", "nombre"]), "as it stands in the text; the minimum by its ids");
    assert_eq!(body["minimum_fields"], json!(["nombre", "placa", "vehiculo"]));
    assert!(body["hint"].as_str().expect("a hint").contains("Hora"), "{body}");

    let body = app.dispatch(&sample::event_with(json!({"context": null}))).await.must_be(400);
    assert_eq!(body["missing_fields"], json!(["Fecha", "Hora", "nombre", "placa", "vehiculo"]));

    let custom = json!({"event_type": "custom", "customer_id": "customer-001", "context": {"subject": "x"}});
    assert_eq!(app.dispatch(&custom).await.must_be(400)["missing_fields"], json!(["body"]));
});

// S002-42: errors of the fields have Django's shape.
story!(wrong_fields_are_named, async |app: &App| {
    app.know_carlos().await;
    for (patch, fields) in [
        (json!({"event_type": null}), vec!["event_type"]),
        (json!({"event_type": "party"}), vec!["event_type"]),
        (json!({"customer_id": [5], "target": "everybody"}), vec!["customer_id", "target"]),
        (
            json!({"target": "everybody", "context": {"hora": [1]}, "phase_id": true}),
            vec!["context", "phase_id", "target"],
        ),
        (json!({"customer_id": " "}), vec!["customer_id"]),
        (json!({"service_type_id": null, "phase_id": null}), vec!["phase_id", "service_type_id"]),
        (json!({"context": [1, 2]}), vec!["context"]),
        (json!({"context": {"hora": ["14:30"]}}), vec!["context"]),
        (json!({"context": {"Vehículo": "otro"}}), vec!["context"]),
        (json!({"context": {"nombre": "Carlos\r\nBcc: x@example.com"}}), vec!["context"]),
        (json!({"correlation_id": "not-a-uuid"}), vec!["correlation_id"]),
        (json!({"taller_id": "x".repeat(101)}), vec!["taller_id"]),
    ] {
        let body = app.dispatch(&sample::event_with(patch.clone())).await.must_be(400);
        let mut named: Vec<&str> = body.as_object().expect("an object").keys().map(String::as_str).collect();
        named.sort_unstable();
        assert_eq!(named, fields, "{patch}");
        assert!(body[fields[0]][0].is_string(), "{patch}: {body}");
    }
});

// d9: a type and a subtype share a slug; each is found in its own field.
story!(a_slug_may_name_a_type_and_a_subtype, async |app: &App| {
    app.know_carlos().await;
    let of_type = json!({"service_type_id": "colision-pintura"});
    let of_subtype = json!({"service_type_id": "colision-pintura", "subtype_id": "colision-pintura"});
    let id = &app.get("/api/v1/notifications/catalog").await.must_be(200)["service_types"];
    assert!(id.to_string().contains("colision-pintura"));
    for patch in [of_type, of_subtype] {
        assert_eq!(app.accepted(&sample::event_with(patch)).await.notifications_queued, 1);
    }
    app.drain().await;
    assert_eq!(app.mails().len(), 2);
});

// S002-51: whatever the seed's matrix switches on has words, for every service, phase and audience.
story!(every_enabled_cell_has_words, async |app: &App| {
    app.know_carlos().await;
    app.subscribe("customer-001").await;
    let catalogue = app.get("/api/v1/notifications/catalog/").await.must_be(200);
    for service in catalogue["service_types"].as_array().expect("a list") {
        for phase in catalogue["phases"].as_array().expect("a list") {
            for target in ["clients", "staff"] {
                let patch = json!({"service_type_id": service["slug"], "phase_id": phase["slug"], "target": target});
                let receipt = app.accepted(&sample::event_with(patch.clone())).await;
                let is_expected = |reason: &str| reason == "disabled_in_matrix";
                assert!(
                    receipt.skipped.iter().all(|skipped| is_expected(skipped.reason.as_str())),
                    "{patch}: {receipt:?}"
                );
            }
        }
    }
    app.drain().await;
    assert_eq!(app.counts(&[State::Dead, State::Scheduled]).await, []);
});

// Flow 4: a subtype may have words of its own, and a cell may name a template.
story!(the_most_specific_words_win, async |app: &App| {
    app.know_carlos().await;
    let frenos = sample::event_with(json!({"service_type_id": "averia-revision", "subtype_id": "averia-frenos"}));
    app.sql(
        "insert into templates (id, name, subject, body, channel, target, service_type_id, subtype_id, is_default, is_active,
             is_seed, created_at, updated_at)
         select '0194830c-7d5a-7000-8000-00000000000c', 'Frenos', 'Frenos de {{Placa}}', 'Hola', 'email', 'clients', parent_id, id,
             false, true, false, '2026-01-20T14:30:00.000000Z', '2026-01-20T14:30:00.000000Z'
         from service_types where slug = 'averia-frenos'",
    )
    .await;
    assert_eq!(app.accepted(&frenos).await.notifications[0].template, "Frenos");
    let diagnosis =
        sample::event_with(json!({"service_type_id": "averia-revision", "subtype_id": "averia-diagnostico"}));
    assert_ne!(app.accepted(&diagnosis).await.notifications[0].template, "Frenos");

    app.sql(
        "update phase_channel_configs set template_id = '0194830c-7d5a-7000-8000-00000000000c' where channel = 'email'",
    )
    .await;
    assert_eq!(app.accepted(&sample::event()).await.notifications[0].template, "Frenos");
    app.drain().await;
    assert_eq!(app.mails().iter().filter(|mail| mail.subject() == Some("Frenos de ABC123")).count(), 2);
});

// d10: who wants the document's rule to the letter may have it.
story!(spelling_may_be_strict, [("TEMPLATE_STRICT_CASE", "true")], async |app: &App| {
    app.know_carlos().await;
    app.dispatch(&sample::event()).await.must_be(400);
});

// d15: a UUID does as well as a slug.
story!(ids_do_as_well_as_slugs, async |app: &App| {
    use recado_kernel::ids::Id;
    app.know_carlos().await;
    let event = sample::event_with(json!({
        "service_type_id": Id::of_name("service:mantenimiento-preventivo"),
        "phase_id": Id::of_name("phase:phase-schedule"),
    }));
    app.accepted(&event).await;
    app.drain().await;
    assert_eq!(app.mails().len(), 1);
});

// Flow 1: the workshop's own configuration first, then the global one.
story!(a_workshop_may_have_its_own_configuration, async |app: &App| {
    app.know_carlos().await;
    app.sql(
        "insert into orchestration_configs (id, service_type_id, target, taller_id, is_active, description, delivery_mode,
             created_at, updated_at)
         select '0194830c-7d5a-7000-8000-00000000000a', id, 'clients', 'taller-norte', true, '', 'fallback',
             '2026-01-20T14:30:00.000000Z', '2026-01-20T14:30:00.000000Z'
         from service_types where slug = 'mantenimiento-preventivo'",
    )
    .await;
    app.sql(
        "insert into phase_channel_configs (id, config_id, phase_id, channel, enabled)
         select '0194830c-7d5a-7000-8000-00000000000b', '0194830c-7d5a-7000-8000-00000000000a', id, 'whatsapp', true
         from service_phases where slug = 'phase-schedule'",
    )
    .await;
    for (taller, channels) in [("taller-norte", vec!["whatsapp"]), ("taller-sur", vec!["email", "whatsapp"])] {
        let receipt = app.accepted(&sample::event_with(json!({"taller_id": taller}))).await;
        let planned: Vec<_> = receipt.notifications.iter().map(|planned| planned.channel.as_str()).collect();
        assert_eq!(planned, channels, "{taller}");
    }
    app.drain().await;
});

// Flow 2, d16: why a channel is not used, and a 202 also when none is left.
story!(channels_that_are_left_out_have_a_reason, async |app: &App| {
    app.sync_customer(&sample::customer_with(json!({"phone": null}))).await;
    app.prefer("customer-001", &[refuses(Channel::Email)]).await;
    let receipt = app.accepted(&sample::event()).await;
    assert_eq!((receipt.notifications_queued, receipt.task_id), (0, None));
    let reasons: Vec<_> = receipt.skipped.iter().map(|s| (s.channel.as_str(), s.reason.as_str())).collect();
    assert_eq!(reasons, [("email", "opted_out"), ("whatsapp", "no_address"), ("push", "no_push_subscription")]);

    app.sql("update phase_channel_configs set enabled = false").await;
    let receipt = app.accepted(&sample::event()).await;
    assert!(receipt.skipped.iter().all(|skipped| skipped.reason.as_str() == "disabled_in_matrix"), "{receipt:?}");
    assert_eq!(app.drain().await, 0);
});

// Flow 2: a preference for a channel that the matrix switches off does not switch it on.
story!(a_preference_does_not_overrule_the_matrix, async |app: &App| {
    app.know_carlos().await;
    app.prefer("customer-001", &[likes(Channel::Whatsapp, 1)]).await;
    app.sql("update phase_channel_configs set enabled = false where channel = 'whatsapp'").await;
    let receipt = app.accepted(&sample::event()).await;
    assert_eq!(receipt.notifications.len(), 1);
    app.drain().await;
    assert_eq!((app.mails().len(), app.whatsapps().len()), (1, 0));
});

// d14: an event may come before its customer.
story!(an_event_may_wait_for_its_customer, [("DISPATCH_UNKNOWN_CUSTOMER", "defer")], async |app: &App| {
    let receipt = app.accepted(&sample::event()).await;
    assert_eq!(receipt.notifications_queued, 0);
    app.later(seconds(2)).await;
    assert!(app.mails().is_empty());
    app.know_carlos().await;
    app.later(seconds(4)).await;
    assert_eq!(app.mails().len(), 1);
    assert_eq!(app.status(receipt.task_id.expect("it waits")).await["status"], "SUCCESS");

    let nobody = app.task_for(&sample::event_with(json!({"customer_id": "nobody"}))).await;
    for wait in [2, 4, 8] {
        app.later(seconds(wait)).await;
    }
    let status = app.status(nobody).await;
    assert_eq!(status["status"], "FAILURE");
    assert!(status["error"].as_str().expect("a reason").contains("nobody"), "{status}");
});

// d14.
story!(a_customer_may_be_made_from_the_event, [("DISPATCH_UNKNOWN_CUSTOMER", "create")], async |app: &App| {
    app.accepted(&sample::event_with(json!({"context": {"email": "carlos@example.com"}}))).await;
    app.drain().await;
    assert_eq!(app.mails()[0].envelope_to(), ["carlos@example.com"]);
});

async fn dispatch_with_key(app: &App, key: &str, event: &Value) -> (u16, String, Value) {
    let request = app.request(Method::POST, DISPATCH).header("Idempotency-Key", key).json(event);
    let answer = app.send(request).await;
    (answer.status, answer.header("idempotent-replayed").to_owned(), answer.json())
}

// draft-ietf-httpapi-idempotency-key-header: the same answer again, and one message.
story!(a_repeated_request_is_answered_again, async |app: &App| {
    app.know_carlos().await;
    let (status, replayed, first) = dispatch_with_key(app, "cita-7", &sample::event()).await;
    assert_eq!((status, replayed.as_str()), (202, ""));
    let (status, replayed, again) = dispatch_with_key(app, "cita-7", &sample::event()).await;
    assert_eq!((status, replayed.as_str(), again), (202, "true", first));

    let other = sample::event_with(json!({"context": {"hora": "15:00"}}));
    let (status, _, problem) = dispatch_with_key(app, "cita-7", &other).await;
    assert_eq!((status, &problem["code"]), (422, &json!("idempotency_key_reused")));
    assert_eq!(dispatch_with_key(app, "cita-8", &other).await.0, 202);
    assert_eq!(dispatch_with_key(app, "not visible", &other).await.0, 400);
    app.drain().await;
    assert_eq!(app.mails().len(), 2);
});

// The keys of different callers never meet.
story!(
    callers_have_keys_of_their_own,
    [("ALLOW_ANONYMOUS_API", "false"), ("API_KEYS", "the-key-of-the-first,the-key-of-the-second")],
    async |app: &App| {
        app.know_carlos().await;
        for caller in ["the-key-of-the-first", "the-key-of-the-second"] {
            let request = app.request(Method::POST, DISPATCH).bearer_auth(caller).header("Idempotency-Key", "cita-7");
            let answer = app.send(request.json(&sample::event())).await;
            assert_eq!((answer.status, answer.header("idempotent-replayed")), (202, ""), "{caller}");
        }
        app.drain().await;
        assert_eq!(app.mails().len(), 2);
    }
);

// A request that was refused may be mended and sent again with the same key.
story!(a_refused_request_frees_its_key, async |app: &App| {
    assert_eq!(dispatch_with_key(app, "cita-7", &sample::event()).await.0, 400);
    app.know_carlos().await;
    assert_eq!(dispatch_with_key(app, "cita-7", &sample::event()).await.0, 202);
    app.drain().await;
    assert_eq!(app.mails().len(), 1);
});

// A caller who repeats a request before it was answered still gets one message.
story!(simultaneous_repeats_are_one_message, async |app: &App| {
    app.know_carlos().await;
    let event = sample::event();
    let answers = join_all((0..20).map(|_| dispatch_with_key(app, "cita-7", &event))).await;
    assert!(answers.iter().all(|(status, ..)| *status == 202));
    assert!(answers.windows(2).all(|two| two[0].2 == two[1].2), "all get the same receipt");
    app.drain().await;
    assert_eq!(app.mails().len(), 1);
});

// Group commit: what arrives together is written together, and no one's mistake is anybody else's.
story!(simultaneous_events_do_not_disturb_each_other, async |app: &App| {
    app.know_carlos().await;
    let events: Vec<Value> = (0..60)
        .map(|number| {
            let customer = if number % 3 == 0 { "nobody" } else { "customer-001" };
            sample::event_with(json!({"customer_id": customer, "context": {"placa": format!("P{number:03}")}}))
        })
        .collect();
    let answers = join_all(events.iter().map(|event| app.dispatch(event))).await;
    for (number, answer) in answers.iter().enumerate() {
        assert_eq!(answer.status, if number % 3 == 0 { 400 } else { 202 }, "{number}");
    }
    app.drain().await;
    assert_eq!(app.mails().len(), 40);
});
