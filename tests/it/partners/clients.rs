//! What partners run: the requests and the code of the documents, and the libraries of Standard Webhooks, against a server.
//! The programs are in tests/clients.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::process::{Output, Stdio};

use recado_sandbox::Webhook;
use reqwest::header::HeaderMap;
use serde_json::{Value, json};
use tokio::io::AsyncWriteExt;
use tokio::process::Command;

use super::registration::SECRET;
use super::registry::text;
use crate::harness::answer::Answer;
use crate::harness::app::{App, SECRET_KEY, seconds};
use crate::harness::pair::story;
use crate::harness::program::{errors, words};

const INBOUND: &str = "/webhooks/partner/findyourwork";
const RECORDS: &str = "/api/v1/webhooks/inbound/";

/// What runs the programs; `make test` installs it beforehand.
struct Clients {
    python: PathBuf,
    node_packages: PathBuf,
}

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("clients")
}

impl Clients {
    async fn find() -> Self {
        let script = folder().join("../../scripts/setup-clients.sh");
        let output = Command::new(script).output().await.expect("the script runs");
        assert!(output.status.success(), "the clients cannot be had: {}", errors(&output));
        let told = words(&output);
        let mut lines = told.lines().map(PathBuf::from);
        let mut next = || lines.next().expect("a line for each");
        Self { python: next(), node_packages: next() }
    }

    fn python(&self) -> Command {
        let mut command = Command::new(&self.python);
        command.args(["-W", "error", "-W", "ignore::DeprecationWarning"]).arg(folder().join("documents.py"));
        command
    }

    fn node(&self) -> Command {
        let mut command = Command::new("node");
        command.env("NODE_PATH", &self.node_packages).arg(folder().join("standard.js"));
        command
    }
}

/// Runs a client to its end; what it prints is JSON.
async fn told(mut client: Command, arguments: &[&str], input: &Value) -> Value {
    client.args(arguments).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).kill_on_drop(true);
    client.env("NO_PROXY", "*");
    let mut running = client.spawn().expect("the client runs");
    let mut stdin = running.stdin.take().expect("it is a pipe");
    // A client that does not read has closed it.
    let _ = stdin.write_all(input.to_string().as_bytes()).await;
    drop(stdin);
    let output = running.wait_with_output().await.expect("it ends");
    assert!(output.status.success(), "{arguments:?}: {}", errors(&output));
    serde_json::from_slice(&output.stdout).unwrap_or_else(|error| panic!("{arguments:?}: {error}: {}", words(&output)))
}

// d1, d5, S000-8, S000-12, appendix 1: the senders of either end of the document, whose bodies are not what they signed, and the
// libraries for Python and Node. Each again is one that was here.
story!(the_senders_that_partners_run_are_believed, [SECRET_KEY], async |app: &App| {
    app.live_now();
    app.findyourwork().await;
    let clients = Clients::find().await;
    let url = format!("{}{INBOUND}", app.url);
    let ack = json!({"status": "ack", "event_type": "service.booked_for_event"});
    for (client, sender, dialect) in [
        (clients.python(), &["requests"][..], "sorted keys, default separators, ASCII in x-hmac-signature"),
        (clients.python(), &["httpx"][..], "sorted keys, compact, ASCII in x-partner-signature"),
        (clients.python(), &["standard"][..], "Standard Webhooks in webhook-signature"),
        (clients.node(), &[][..], "Standard Webhooks in webhook-signature"),
    ] {
        // So that the newest is the last one.
        app.clock.advance(seconds(1));
        let arguments = [&["send"], sender, &[&url, SECRET]].concat();
        assert_eq!(told(client, &arguments, &Value::Null).await, json!({"status": 200, "body": ack}), "{arguments:?}");
        app.drain().await;
        let newest = app.get(RECORDS).await.must_be(200)["results"][0].clone();
        assert_eq!(newest["dialect"], dialect, "{arguments:?}");
        assert!(newest["processed_at"].is_string(), "{newest}");
    }
    assert_eq!(app.get(RECORDS).await.must_be(200)["count"], 4);

    let wrong = "whsec_d3JvbmctNTY3ODkwMTIzNDU2Nzg5MDEyMzQ1Njc4OTA=";
    for (client, sender) in
        [(clients.python(), &["requests"][..]), (clients.python(), &["standard"][..]), (clients.node(), &[][..])]
    {
        let arguments = [&["send"], sender, &[&url, wrong]].concat();
        let refused = told(client, &arguments, &Value::Null).await;
        assert_eq!(refused, json!({"status": 401, "body": {"detail": "Firma inválida"}}), "{arguments:?}");
    }
    assert_eq!(app.get(RECORDS).await.must_be(200)["count"], 4);
});

// d1, S000-11, S000-12: what we send is accepted by the receivers of either end and by the libraries; a changed body by none.
story!(the_verifiers_that_partners_run_believe_us, [SECRET_KEY], async |app: &App| {
    app.live_now();
    app.findyourwork().await;
    let data = json!({
        "reservation_id": "RES-Ñ", "price": 250.0, "small": 1e-7, "large": 1e16, "whole": 12_345_678_901_234_567_u64,
        "note": "🎉 \u{7f} \" \\ / \n", "none": null, "z": [1, {"b": true, "a": []}],
    });
    let event = json!({"event_type": "event.updated", "data": data});
    app.working(app.post("/partners/findyourwork/events", &event)).await.must_be(200);
    let [webhook] = app.webhooks().try_into().expect("one webhook");
    let clients = Clients::find().await;
    let all = [
        (clients.python(), json!({"raw": true, "rewritten": true, "standard": true})),
        (clients.node(), json!({"standard": true})),
    ];
    for (client, accepted) in all {
        assert_eq!(told(client, &["verify", SECRET], &as_received(&webhook)).await, accepted, "{}", webhook.body);
    }
    let forged = Webhook { body: webhook.body.replace("250.0", "250.1"), ..webhook };
    let none = [
        (clients.python(), json!({"raw": false, "rewritten": false, "standard": false})),
        (clients.node(), json!({"standard": false})),
    ];
    for (client, accepted) in none {
        assert_eq!(told(client, &["verify", SECRET], &as_received(&forged)).await, accepted);
    }
});

fn as_received(webhook: &Webhook) -> Value {
    let headers: HashMap<&String, &String> = webhook.headers.iter().map(|(name, value)| (name, value)).collect();
    json!({"headers": headers, "body": webhook.body})
}

// Appendix 1: CPython and the two libraries make the vectors of the contract, and we take each body with each signature that the
// contract names.
story!(the_vectors_of_the_contract_are_those_of_python, [SECRET_KEY], async |app: &App| {
    app.findyourwork().await;
    let made = told(Clients::find().await.python(), &["vectors"], &Value::Null).await;
    assert_eq!(
        made["hex"],
        json!({
            "A": "37106c76b3186eb7032ffa5edb6dbe5f5e0331df8842fcf9674f782dec4d12ec",
            "B": "21311560eb7a7a7fcd20f55c3a29c868ad6895e20a9917a551d39ffd90a6f4b0",
            "C": "bc1d48f85e6a94e4cf7d05ce033fa01f9bf873218722e5ba3b8d9937d255fb2e",
            "D": "186e1cfa7cfeb398ffcac01988e1e093825442151ecb45b18fbefbeb5de6197b",
        })
    );
    assert_eq!(made["standard"], "v1,bFfLVIrI/fjtY1gVAmeKWOX82PGQOkm48Br+CFj3bCE=");
    for (wire, signature) in [("A", "C"), ("B", "D"), ("A", "A"), ("B", "B"), ("C", "C"), ("D", "D"), ("C", "D")] {
        let (body, hex) = (text(&made["wires"][wire]), text(&made["hex"][signature]));
        let request = app.request(reqwest::Method::POST, INBOUND).header("X-Partner-Signature", hex);
        let answer = app.send(request.header("Content-Type", "application/json").body(body)).await;
        assert_eq!(answer.must_be(200)["status"], "ack", "body {wire}, signature of {signature}");
    }
    app.drain().await;
});

/// A request of curls.sh, sent by curl as it stands there. Ports lead to the story's server.
async fn curl(app: &App, name: &str, put_in: &[(&str, &str)]) -> Answer {
    let all = std::fs::read_to_string(folder().join("curls.sh")).expect("the file is there");
    let command = all.split("## ").find_map(|one| one.strip_prefix(name)?.strip_prefix('\n'));
    let mut command = command.unwrap_or_else(|| panic!("curls.sh has no {name}")).to_owned();
    for (before, after) in put_in {
        assert!(command.contains(before), "{before} is not in {name}");
        command = command.replace(before, after);
    }
    let address = app.url.trim_start_matches("http://");
    let leads = [5001, 8000, 8001, 8002].map(|port| format!("connect-to = \"localhost:{port}:{address}\"\n")).concat();
    let settings = format!("{leads}silent\nshow-error\nnoproxy = \"*\"\nwrite-out = \"\\n%{{http_code}}\"\n");
    std::fs::write(app.folder().join(".curlrc"), settings).expect("the folder can be written to");
    let mut bash = Command::new("bash");
    bash.args(["-c", &command]).env("CURL_HOME", app.folder()).stdin(Stdio::null()).kill_on_drop(true);
    let output: Output = bash.output().await.expect("curl runs");
    assert!(output.status.success(), "{name}: {}", errors(&output));
    let told = words(&output);
    let (text, status) = told.rsplit_once('\n').expect("a body and a status");
    Answer { status: status.parse().expect("a status"), headers: HeaderMap::new(), text: text.to_owned() }
}

// S000-1, S000-3, S000-4, S000-5, S000-6, S000-7, S000-20: the requests of document 000.
story!(the_requests_of_document_000, [SECRET_KEY], async |app: &App| {
    // The document's partner is at a port that is not ours to take; nothing is sent there before it has another address.
    let there = format!("{}/webhooks/partner/", app.sandbox.partner.url());
    let lead = [("http://localhost:8000/webhooks/partner/", there.as_str())];
    let first = curl(app, "000 register A", &lead).await.must_be(201);
    assert_eq!((&first["partner_id"], &first["status"]), (&json!("partner_findyourwork"), &json!("active")));
    let secret = text(&first["shared_secret"]);
    app.sandbox.partner.set_secret(&secret);
    let again = curl(app, "000 register B", &[]).await.must_be(200);
    assert_eq!((&again["partner_id"], &again["shared_secret"]), (&first["partner_id"], &Value::Null));

    let told = app.working(curl(app, "000 notify", &[])).await.must_be(200);
    let expected = json!({
        "success": true, "message": "Webhook enviado a FindyourWork", "event_type": "event.reservation_confirmed",
        "reservation_id": "RES-2026-001", "webhook_url": there,
    });
    for (field, value) in expected.as_object().expect("fields") {
        assert_eq!(&told[field], value, "{field}");
    }
    let tested = app.working(curl(app, "000 test 1", &[])).await.must_be(200);
    assert_eq!((&tested["success"], &tested["status_code"]), (&json!(true), &json!(200)));
    let refused = curl(app, "000 test 2", &[]).await.must_be(401);
    assert_eq!(refused, json!({"detail": "Firma inválida"}));
    let status = curl(app, "000 status", &[]).await.must_be(200);
    assert_eq!((&status["registered"], &status["is_active"]), (&json!(true), &json!(true)));
    assert_eq!(status["stats"]["webhooks_sent"], 2);
    let [reservation, test] = app.webhooks().try_into().expect("both arrived");
    assert!(reservation.verdict.raw && reservation.verdict.rewritten && reservation.verdict.standard);
    assert_eq!(test.json()["data"]["guests"], 30);
    assert!(!app.get("/partners/").await.text.contains(&secret));
});

// S001-1, S001-6, S001-7, S001-8, S001-13: the requests of document 001.
story!(the_requests_of_document_001, [SECRET_KEY], async |app: &App| {
    let made = curl(app, "001 create", &[]).await.must_be(201);
    assert_eq!((&made["partner"]["estado"], &made["partner"]["estado_kyc"]), (&json!("ACTIVO"), &json!("PENDIENTE")));
    assert_eq!(curl(app, "001 create", &[]).await.must_be(409)["codigo"], "EMAIL_EXISTENTE");
    let id = text(&made["partner"]["id"]);
    let partner = [("{partner_id}", id.as_str())];
    let verified = curl(app, "001 kyc", &partner).await.must_be(200);
    assert_eq!(verified["partner"]["estado_kyc"], "APROBADO");
    assert_eq!(verified["partner"]["documentos_kyc"]["rut"], "documento_rut.pdf");
    let connected = curl(app, "001 integration", &partner).await;
    assert!(!connected.text.contains("secret_key_here"), "{}", connected.text);
    let integration = text(&connected.must_be(201)["integracion"]["id"]);
    let revoke = [("{integracion_id}", integration.as_str())];
    let revoked = curl(app, "001 revoke", &revoke).await.must_be(200);
    assert_eq!(revoked["motivo"], "Cambio de proveedor de servicios");
    assert_eq!(curl(app, "001 revoke", &revoke).await.must_be(410)["codigo"], "INTEGRACION_YA_REVOCADA");
    app.drain().await;
});

// S004-2, S004-4, S004-11: the requests of document 004, at either end.
story!(
    the_requests_of_document_004,
    [SECRET_KEY, ("API_KEYS", "a-key-of-the-stories-of-16"), ("CRM_WEBHOOK_TOKEN", "your-secret-webhook-token-here")],
    async |app: &App| {
        let kept = curl(app, "004 from the application", &[]).await.must_be(200);
        assert_eq!(kept["detail"], "Presencia y vinculación procesadas correctamente.");
        assert_eq!(curl(app, "004 from the application", &[]).await.must_be(200)["id_presencia"], kept["id_presencia"]);
        let other = [("your-secret-webhook-token-here", "another-token")];
        curl(app, "004 from the application", &other).await.must_be(401);
        let key = [("YOUR_TOKEN", "a-key-of-the-stories-of-16")];
        let tested = app.working(curl(app, "004 from the CRM", &key)).await.must_be(200);
        assert_eq!((&tested["success"], &tested["status_code"]), (&json!(true), &json!(200)));
        curl(app, "004 from the CRM", &[]).await.must_be(401);
        assert_eq!(app.webhooks().len(), 1);
    }
);
