//! The signature debugger: what a sender did is named, and nothing is told by which somebody else could sign.

use recado_webhooks::signature::Secret;
use reqwest::Method;
use serde_json::{Value, json};

use crate::harness::app::{App, SECRET_KEY, seconds};
use crate::harness::pair::story;
use crate::harness::program::words;

const SECRET: &str = "whsec_MDEyMzQ1Njc4OTAxMjM0NTY3ODkwMTIzNDU2Nzg5MDE=";
const BODY: &str = r#"{"event_type": "service.confirmed", "data": {"price": 250.0}}"#;
const SORTED: &str = r#"{"data": {"price": 250.0}, "event_type": "service.confirmed"}"#;
const VERIFY: &str = "/api/v1/webhooks/verify/";
const INBOUND: &str = "/api/v1/webhooks/inbound/";
const MASTER: &str = "master-key-of-the-stories-about-webhooks";

fn hex(body: &str) -> String {
    Secret::stated(SECRET).expect("a secret").hex(body.as_bytes())
}

async fn register(app: &App) {
    let url = format!("{}/webhooks/partner/", app.sandbox.partner.url());
    let body = json!({"webhook_url": url, "shared_secret": SECRET});
    app.post("/partners/register/findyourwork", &body).await.must_be(201);
}

async fn send(app: &App, signature: &str, body: &'static str) -> u16 {
    let request =
        app.request(Method::POST, "/webhooks/partner/findyourwork").header("Content-Type", "application/json");
    let request = request.header("X-Partner-Signature", signature).header("Authorization", "Bearer of-somebody");
    app.send(request.body(body)).await.status
}

fn codes(report: &Value) -> Vec<String> {
    let advice = report["advice"].as_array().expect("advice");
    advice.iter().map(|one| one["code"].as_str().unwrap_or_default().to_owned()).collect()
}

// d1: dialect × secret × header, and the first byte that differs.
story!(a_webhook_is_explained, [SECRET_KEY], async |app: &App| {
    register(app).await;
    let ask = async |signature: &str, body: &str| {
        let asked = json!({"partner": "findyourwork", "headers": {"X-HMAC-Signature": signature}, "body": body});
        app.post(VERIFY, &asked).await.must_be(200)
    };
    let taken = ask(&hex(SORTED), BODY).await;
    assert_eq!((&taken["accepted"], &taken["refusal"]), (&json!(true), &Value::Null));
    assert_eq!(taken["dialect"], "sorted keys, default separators, ASCII in x-hmac-signature");
    let fits =
        taken["tried"].as_array().expect("rows").iter().find(|row| row["matches"] != json!([])).expect("one fits");
    assert_eq!(fits["first_difference"]["position"], 2, "{fits}");
    assert_eq!(codes(&taken), ["sign-the-bytes"]);

    let refused = ask(&hex(&format!("{BODY}\n")), BODY).await;
    assert_eq!((&refused["accepted"], &refused["refusal"]), (&json!(false), &json!("wrong")));
    assert_eq!(codes(&refused), ["line-end"]);
    for language in ["curl", "python", "node"] {
        assert!(refused["code"][language].as_str().is_some_and(|code| code.contains("SECRET")), "{language}");
    }

    // People are told in their language, programs by a code.
    let asked =
        json!({"partner": "findyourwork", "headers": {"X-HMAC-Signature": hex(&format!("{BODY}\n"))}, "body": BODY});
    let spoken = async |path: &str, header: &str| {
        let request = app.request(Method::POST, path).header("accept-language", header).json(&asked);
        let report = app.send(request).await.must_be(200);
        assert_eq!(codes(&report), ["line-end"]);
        report["advice"][0]["text"].as_str().unwrap_or_default().to_owned()
    };
    for (path, header, words) in [
        (VERIFY.to_owned(), "en", "Sign exactly the bytes that you send"),
        (VERIFY.to_owned(), "es-EC, en;q=0.5", "Firme exactamente los bytes que envía"),
        (VERIFY.to_owned(), "", "Firme exactamente los bytes que envía"),
        (format!("{VERIFY}?lang=en"), "es", "Sign exactly the bytes that you send"),
    ] {
        let text = spoken(&path, header).await;
        assert!(text.contains(words), "{path} {header}: {text}");
    }

    // After a rotation the one before counts, and the sender is told.
    app.post("/partners/findyourwork/rotate-secret", &json!({})).await.must_be(200);
    let former = ask(&hex(BODY), BODY).await;
    assert_eq!((&former["accepted"], codes(&former)), (&json!(true), vec!["previous-secret".to_owned()]));
    app.later(seconds(25 * 3_600)).await;
    assert_eq!(ask(&hex(BODY), BODY).await["accepted"], json!(false));
});

// Who may only read could sign with what is shown of a stored secret; who states the secret knows it.
story!(
    what_could_be_signed_with_is_not_shown,
    [SECRET_KEY, ("ALLOW_ANONYMOUS_API", "false"), ("API_KEYS", MASTER)],
    async |app: &App| {
        let ask = async |key: &str, path: &str, body: &Value| {
            app.send(app.request(Method::POST, path).bearer_auth(key).json(body)).await
        };
        let url = format!("{}/webhooks/partner/", app.sandbox.partner.url());
        let partner = json!({"webhook_url": url, "shared_secret": SECRET});
        ask(MASTER, "/partners/register/findyourwork", &partner).await.must_be(201);
        let key = json!({"name": "reader", "scopes": ["read"]});
        let reader = ask(MASTER, "/api/v1/notifications/api-keys/", &key).await.must_be(201)["key"].clone();
        let reader = reader.as_str().expect("a key");
        let wanted = hex(BODY);
        let stored = json!({"partner": "findyourwork", "headers": {"X-Signature": "test"}, "body": BODY});
        for (key, shown) in [(reader, None), (MASTER, Some(format!("{}…", &wanted[..8])))] {
            let answer = ask(key, VERIFY, &stored).await;
            assert!(!answer.text.contains(&wanted[..12]) && !answer.text.contains(&SECRET[6..]), "{}", answer.text);
            let report = answer.must_be(200);
            assert_eq!(report["tried"][0]["expected"], json!(shown));
            assert_eq!(codes(&report), ["not-a-signature"]);
        }
        let stated = json!({"secret": SECRET, "headers": {"X-Signature": "test"}, "body": BODY});
        assert_eq!(ask(reader, VERIFY, &stated).await.must_be(200)["tried"][0]["expected"], json!(wanted));
        app.leave_work();
    }
);

story!(a_question_that_cannot_be_answered_says_why, [SECRET_KEY], async |app: &App| {
    register(app).await;
    let headers = json!({"X-Signature": "test"});
    for (body, field) in [
        (json!({"headers": headers, "body": ""}), "partner"),
        (json!({"partner": "nobody", "headers": headers, "body": ""}), "partner"),
        (json!({"endpoint": "0199c2a4-7f3e-7c10-9d1a-0c8f4e1f2b3a", "headers": headers, "body": ""}), "endpoint"),
        (json!({"partner": "findyourwork", "headers": headers}), "body"),
        (json!({"partner": "findyourwork", "headers": headers, "body": {}}), "body"),
        (json!({"partner": "findyourwork", "headers": headers, "body": "", "body_base64": ""}), "body_base64"),
        (json!({"partner": "findyourwork", "headers": headers, "body_base64": "*"}), "body_base64"),
        (json!({"partner": "findyourwork", "headers": "x", "body": ""}), "headers"),
        (json!({"partner": "findyourwork", "headers": {"x": 1}, "body": ""}), "headers"),
        (json!({"partner": "findyourwork", "body": ""}), "headers"),
    ] {
        let answer = app.post(VERIFY, &body).await.must_be(400);
        assert!(answer.to_string().contains(field), "{body}: {answer}");
    }
    app.leave_work();
});

// A webhook that was refused is kept for its partner's people, without what lets somebody in.
story!(what_was_refused_can_be_looked_at, [SECRET_KEY], async |app: &App| {
    register(app).await;
    assert_eq!(send(app, &hex(&format!("{BODY}\n")), BODY).await, 401);
    assert_eq!(send(app, &hex(SORTED), BODY).await, 200);
    app.drain().await;
    let page = app.get(&format!("{INBOUND}rejected/")).await.must_be(200);
    assert_eq!((&page["count"], &page["results"][0]["refusal"]), (&json!(1), &json!("wrong")));
    assert!(!page.to_string().contains("of-somebody"), "{page}");
    let id = page["results"][0]["id"].as_str().expect("an id").to_owned();
    let report = app.get(&format!("{INBOUND}{id}/verification/")).await.must_be(200);
    assert_eq!((&report["accepted"], codes(&report)), (&json!(false), vec!["line-end".to_owned()]));
    let taken = app.get(INBOUND).await.must_be(200)["results"][0]["id"].as_str().expect("an id").to_owned();
    let report = app.get(&format!("{INBOUND}{taken}/verification/")).await.must_be(200);
    assert_eq!((&report["accepted"], codes(&report)), (&json!(true), vec!["sign-the-bytes".to_owned()]));
    // Strangers fill no table: few per minute, and the newest of each partner.
    for _ in 0..20 {
        send(app, "test", BODY).await;
    }
    assert_eq!(app.get(&format!("{INBOUND}rejected/")).await.must_be(200)["count"], 10);
    for _ in 0..10 {
        app.later(seconds(61)).await;
        for _ in 0..10 {
            send(app, "test", BODY).await;
        }
    }
    assert_eq!(app.get(&format!("{INBOUND}rejected/?page_size=100")).await.must_be(200)["count"], 50);
    let gone = "/api/v1/webhooks/inbound/0199c2a4-7f3e-7c10-9d1a-0c8f4e1f2b3a/verification/";
    app.get(gone).await.must_be(404);
});

// The same on the command line, with its exit status.
story!(the_command_line_explains_too, [SECRET_KEY], async |app: &App| {
    register(app).await;
    let file = |name: &str, text: &str| {
        let path = app.folder().join(name);
        std::fs::write(&path, text).expect("a file");
        path.to_str().expect("a path").to_owned()
    };
    let (body, secret) = (file("body.json", BODY), file("secret.txt", &format!("{SECRET}\n")));
    let headers = file("headers.txt", &format!("HTTP/1.1 200 OK\nX-HMAC-Signature: {}\n", hex(SORTED)));
    let verify = async |arguments: &[&str]| {
        let output = app.program("recado", &[SECRET_KEY]).args(["webhooks", "verify"]).args(arguments).output().await;
        let output = output.expect("the program runs");
        (output.status.code(), words(&output))
    };
    let (status, text) = verify(&["--partner", "findyourwork", "--headers", &headers, "--body", &body]).await;
    assert!(status == Some(0) && text.contains("It would be taken: sorted keys"), "{status:?} {text}");
    let wrong = format!("X-Signature: {}", hex(&format!("{BODY}\n")));
    let (status, text) = verify(&["--secret-file", &secret, "-H", &wrong, "--body", &body]).await;
    assert_eq!(status, Some(1), "{text}");
    for expected in
        ["It would be refused: wrong", "a line end", "What to change:", "hmac.new(", "createHmac(", "openssl"]
    {
        assert!(text.contains(expected), "{expected}: {text}");
    }
    for usage in [&["--body", &*body][..], &["--secret-file", "nowhere", "-H", "a: b", "--body", &body][..]] {
        assert_eq!(verify(usage).await.0, Some(2), "{usage:?}");
    }
    app.leave_work();
});
