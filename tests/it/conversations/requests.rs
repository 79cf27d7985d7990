//! What becomes of a request: the operator's answer, what staff decide, the end of its time.

use serde_json::{Value, json};

use crate::conversations::notices::{GROUP, ask, know_told_experience, show, story_of};
use crate::conversations::webhooks::{CUSTOMER, SA, WEBHOOK, hear, reservations};
use crate::harness::app::{App, seconds};
use crate::harness::pair::story;
use crate::harness::program::{built, words};

const OPERATOR: &str = "593990000009";

/// Somebody answers in the group of the stories.
async fn answer(app: &App, text: &str, quoted: Option<&str>) -> Value {
    let writes = recado_sandbox::Writes {
        chat_id: GROUP.into(),
        text: text.into(),
        sender: Some((OPERATOR.into(), "Operador".into())),
        reply_to: quoted.map(str::to_owned),
        ..Default::default()
    };
    app.post(WEBHOOK, &app.sandbox.bridge.hears(writes)).await.must_be(200)
}

/// A request of which the group was told.
async fn told(app: &App) -> String {
    let (id, _) = ask(app).await;
    app.drain().await;
    id
}

async fn status(app: &App, id: &str) -> Value {
    show(app, id).await["status"].clone()
}

// S003-22: the operator's word, in each of its forms.
story!(the_operator_answers, async |app: &App| {
    know_told_experience(app).await;
    for (words, expected) in [
        (&["1", " SÍ ", "si", "yes", "Confirmar"][..], "availability_confirmed"),
        (&["2", "no", "RECHAZAR"][..], "rejected"),
    ] {
        for word in words {
            let id = told(app).await;
            let said = answer(app, word, None).await;
            assert_eq!(
                (&said["status"], &said["reservation_status"]),
                (&json!("operator_response_processed"), &json!(expected)),
                "{word}"
            );
            let request = show(app, &id).await;
            assert_eq!(
                (&request["status"], story_of(&request)),
                (&json!(expected), vec!["created".to_owned(), "told".to_owned(), "answered".to_owned()])
            );
        }
    }
    assert_eq!(answer(app, "1", None).await["status"], "processed", "nothing waits");
});

// S003-22: what is no answer, and an answer from elsewhere.
story!(not_everything_is_an_answer, async |app: &App| {
    know_told_experience(app).await;
    let id = told(app).await;
    for word in ["1.", "sí, claro", "3", "", "ok", "1 2"] {
        assert_eq!(answer(app, word, None).await["status"], "processed", "{word}");
    }
    assert_eq!(hear(app, CUSTOMER, "1").await["status"], "processed");
    assert_eq!(hear(app, OPERATOR, "1").await["status"], "processed", "the group was told, not the person");
    let ours = json!({"id": "OURS", "chat_id": GROUP, "text": "1", "from_me": true});
    assert_eq!(app.post(WEBHOOK, &ours).await.must_be(200)["status"], "saved");
    assert_eq!(status(app, &id).await, "operator_notified");
});

// d30: two requests waiting in one group: the quoted notice decides, else the newest.
story!(a_quoted_notice_is_answered_else_the_newest, async |app: &App| {
    know_told_experience(app).await;
    let first = told(app).await;
    app.clock.advance(seconds(60));
    let second = told(app).await;
    app.clock.advance(seconds(60));
    let third = told(app).await;
    for echo in app.sandbox.bridge.echoes() {
        app.post(WEBHOOK, &echo).await.must_be(200);
    }
    let notices = app.sandbox.bridge.texts();
    answer(app, "2", Some(&notices[0].id)).await;
    assert_eq!((status(app, &first).await, status(app, &third).await), (json!("rejected"), json!("operator_notified")));
    answer(app, "1", None).await;
    assert_eq!(
        (status(app, &second).await, status(app, &third).await),
        (json!("operator_notified"), json!("availability_confirmed"))
    );
    let again = answer(app, "1", Some("something else")).await;
    assert_eq!(
        (&again["status"], status(app, &second).await),
        (&json!("operator_response_processed"), json!("availability_confirmed"))
    );
});

// S003-22: an operator who was told at their number answers from there.
story!(an_operator_answers_from_their_number, async |app: &App| {
    crate::conversations::codes::know_experience(app).await;
    app.sql("update tour_operators set whatsapp_number = '+593 99 000 0009'").await;
    let id = told(app).await;
    let said = hear(app, OPERATOR, "sí").await;
    assert_eq!(said["status"], "operator_response_processed", "{said}");
    assert_eq!(status(app, &id).await, "availability_confirmed");
});

// S003-22: time is up, and the story says so; an answer comes too late.
story!(a_request_without_an_answer_times_out, [("WHATSAPP_REQUEST_TIMEOUT_HOURS", "2")], async |app: &App| {
    know_told_experience(app).await;
    let id = told(app).await;
    assert_eq!(show(app, &id).await["timeout_at"], "2026-01-20T16:30:00.000000Z");
    app.later(seconds(2 * 3600 - 60)).await;
    let answered = told(app).await;
    answer(app, "1", None).await;
    app.later(seconds(120)).await;
    let request = show(app, &id).await;
    assert_eq!(
        (&request["status"], story_of(&request)),
        (&json!("timeout"), vec!["created".to_owned(), "told".to_owned(), "timed_out".to_owned()])
    );
    assert_eq!(request["timeline"][2]["text"], "Venció el plazo sin respuesta del operador.");
    let english = app.get(&format!("{SA}reservations/{id}/?lang=en")).await.must_be(200);
    assert_eq!(english["timeline"][2]["text"], "Time was up without an answer of the operator.");
    assert_eq!(answer(app, "1", None).await["status"], "processed");
    app.later(seconds(3 * 3600)).await;
    assert_eq!(status(app, &answered).await, "availability_confirmed");
});

// S003-22: staff confirm and refuse, once.
story!(staff_decide, async |app: &App| {
    know_told_experience(app).await;
    let decide = async |id: &str, word: &str| app.post(&format!("{SA}reservations/{id}/{word}/"), &json!({})).await;
    let id = told(app).await;
    answer(app, "1", None).await;
    assert_eq!(decide(&id, "confirm").await.must_be(200)["status"], "confirmed");
    for word in ["confirm", "reject", "tell"] {
        let refused = decide(&id, word).await.must_be(409);
        assert_eq!(refused["code"], "reservation_not_open", "{word}");
    }
    let id = told(app).await;
    let refused = decide(&id, "reject").await.must_be(200);
    assert_eq!(
        (&refused["status"], story_of(&refused).last().map(String::as_str)),
        (&json!("rejected"), Some("rejected"))
    );
    let nothing = "0197c1e0-7b3a-7c52-9d0e-2f6a1b4c8d99";
    for word in ["confirm", "reject", "tell"] {
        assert_eq!(decide(nothing, word).await.status, 404);
    }
    assert_eq!(app.get(&format!("{SA}reservations/{nothing}/")).await.status, 404);
});

// A reservation as newcomers see it, and how it ends when the operator refuses, or nothing leaves.
#[tokio::test]
async fn a_demo_plays_a_reservation() {
    let folder = tempfile::tempdir().expect("a folder");
    let demo = async |arguments: &[&str]| {
        let mut program = tokio::process::Command::new(built("recado"));
        let program = program.env_clear().current_dir(folder.path()).args(["demo", "conversations"]).args(arguments);
        let output = program.kill_on_drop(true).output().await.expect("it runs");
        (output.status.code(), words(&output))
    };
    let (status, shown) = demo(&["--fault", "503"]).await;
    assert_eq!(status, Some(0), "{shown}");
    for line in [
        "RES-BALLES-",
        r#""status":"reservation_created""#,
        "told in the group",
        r#""reservation_status":"availability_confirmed""#,
        "4 passengers, status availability_confirmed",
    ] {
        assert!(shown.contains(line), "{line} is missing in:\n{shown}");
    }
    let (status, shown) = demo(&["--fault", "400"]).await;
    assert!(status == Some(0) && shown.contains("told at the operator's number"), "{shown}");
    let (status, shown) = demo(&["--answer", "2"]).await;
    assert!(
        status == Some(1) && shown.contains(r#"The availability was not confirmed: the request is "rejected"."#),
        "{shown}"
    );
}

// S003-22: filters and pages; without pages all of them.
story!(requests_are_listed, async |app: &App| {
    for number in 0..25 {
        hear(app, CUSTOMER, &format!("RES-L{number}")).await;
        app.clock.advance(seconds(1));
    }
    let all = reservations(app, "").await;
    assert_eq!((all.len(), &all[0]["tour_code"], &all[24]["tour_code"]), (25, &json!("RES-L24"), &json!("RES-L0")));
    assert_eq!(reservations(app, "?tour_code=res-l7").await.len(), 1);
    assert_eq!(reservations(app, "?status=received").await.len(), 25);
    assert_eq!(reservations(app, "?status=timeout").await.len(), 0);
    let page = app.get(&format!("{SA}reservations/?page=2&page_size=10")).await.must_be(200);
    assert_eq!((&page["count"], &page["reservations"][0]["tour_code"]), (&json!(25), &json!("RES-L14")));
    assert!(page["next"].is_string() && page["previous"].is_string(), "{page}");
    assert_eq!(app.get(&format!("{SA}reservations/?page=9")).await.status, 404);
    for wrong in ["status=waiting", "operator_id=x"] {
        assert_eq!(app.get(&format!("{SA}reservations/?{wrong}")).await.status, 400, "{wrong}");
    }
});

// d21, S003-29: who may look and decide.
story!(
    only_superadmins_see_conversations,
    [("ALLOW_ANONYMOUS_API", "false"), ("API_KEYS", "a-master-key-of-the-stories")],
    async |app: &App| {
        let with = async |path: &str, key: &str| {
            let request = app.request(reqwest::Method::GET, path);
            app.send(if key.is_empty() { request } else { request.bearer_auth(key) }).await.status
        };
        let body = json!({"name": "checkout", "scopes": ["dispatch"]});
        let make = app
            .request(reqwest::Method::POST, "/api/v1/notifications/api-keys/")
            .bearer_auth("a-master-key-of-the-stories")
            .json(&body);
        let dispatch = app.send(make).await.must_be(201)["key"].as_str().expect("a key").to_owned();
        for path in ["reservations/", "messages/", "reservations/0197c1e0-7b3a-7c52-9d0e-2f6a1b4c8d99/"] {
            let path = format!("{SA}{path}");
            assert_eq!(with(&path, "").await, 401, "{path}");
            assert_eq!(with(&path, &dispatch).await, 403, "{path}");
            assert_ne!(with(&path, "a-master-key-of-the-stories").await, 403, "{path}");
        }
        let issue =
            app.request(reqwest::Method::POST, "/api/v1/whatsapp/generate-reservation-code/").bearer_auth(&dispatch);
        assert_eq!(app.send(issue.json(&json!({"experience_id": "x"}))).await.status, 400, "it may ask");
    }
);
