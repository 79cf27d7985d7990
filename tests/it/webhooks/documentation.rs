//! The programs of `docs/webhooks.md` and of the debugger, run as they stand.

use std::path::Path;
use std::process::Stdio;

use recado_webhooks::debugger::{Code, HEX_CODE, STANDARD_CODE};
use reqwest::Method;
use serde_json::json;
use tokio::io::AsyncWriteExt;
use tokio::process::Command;

use crate::harness::app::{App, SECRET_KEY};
use crate::harness::pair::story;

const SECRET: &str = "whsec_MDEyMzQ1Njc4OTAxMjM0NTY3ODkwMTIzNDU2Nzg5MDE=";

/// The blocks of the page that verify, each with its language.
fn verifiers() -> Vec<(String, String)> {
    let page = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/webhooks.md");
    let page = std::fs::read_to_string(page).expect("the page is there");
    let blocks = page.split("```").skip(1).step_by(2).filter_map(|block| block.split_once('\n'));
    let kept = blocks.filter_map(|(head, code)| Some((head.strip_suffix(" verify")?.to_owned(), code.to_owned())));
    kept.collect()
}

/// Runs a program; whether it ended well, and what it printed. `None`: its language is not installed here.
async fn run(
    app: &App,
    language: &str,
    code: &str,
    variables: &[(&str, String)],
    input: &str,
) -> Option<(bool, String)> {
    let (program, file) = match language {
        "sh" => ("sh", "program.sh"),
        "python" => ("python3", "program.py"),
        "js" => ("node", "program.mjs"),
        other => panic!("no program runs {other}"),
    };
    let file = app.folder().join(file);
    std::fs::write(&file, code).expect("a file");
    let mut command = Command::new(program);
    command.arg(&file).envs(variables.iter().map(|(name, value)| (*name, value.as_str())));
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().ok()?;
    // A program that does not read its input closes it.
    let _ = child.stdin.take().expect("a pipe").write_all(input.as_bytes()).await;
    let output = child.wait_with_output().await.expect("it ends");
    let said = [output.stdout, output.stderr].concat();
    Some((output.status.success(), String::from_utf8_lossy(&said).into_owned()))
}

// d1, d2: what we send is verified by the programs of the page, and what was changed on its way is not.
story!(the_programs_of_the_page_verify_what_we_send, [SECRET_KEY], async |app: &App| {
    app.live_now();
    let url = format!("{}/webhooks/partner/", app.sandbox.partner.url());
    let body = json!({"webhook_url": url, "shared_secret": SECRET});
    app.post("/partners/register/findyourwork", &body).await.must_be(201);
    let event = json!({"event_type": "event.updated", "data": {"name": "Decoración ñ", "price": 250.0}});
    app.working(app.post("/partners/findyourwork/events", &event)).await.must_be(200);
    let sent = app.webhooks().pop().expect("it is sent");
    let header = |name: &str| sent.header(name).expect("a header").to_owned();
    let variables = [
        ("SECRET", SECRET.to_owned()),
        ("X_PARTNER_SIGNATURE", header("x-partner-signature")),
        ("WEBHOOK_ID", header("webhook-id")),
        ("WEBHOOK_TIMESTAMP", header("webhook-timestamp")),
        ("WEBHOOK_SIGNATURE", header("webhook-signature")),
    ];
    let verifiers = verifiers();
    assert_eq!(verifiers.len(), 5);
    for (language, code) in verifiers {
        let Some((good, said)) = run(app, &language, &code, &variables, &sent.body).await else { continue };
        assert!(good && said.trim() == "ok", "{language}: {said}");
        let changed = sent.body.replace("250.0", "250.1");
        let (good, said) = run(app, &language, &code, &variables, &changed).await.expect("it ran before");
        assert!(!good, "{language} takes what was changed: {said}");
    }
});

// d1: what the debugger tells a sender to do is taken.
story!(the_programs_of_the_debugger_are_taken, [SECRET_KEY], async |app: &App| {
    app.live_now();
    let body = json!({"webhook_url": format!("{}/x/", app.sandbox.partner.url()), "shared_secret": SECRET});
    app.post("/partners/register/findyourwork", &body).await.must_be(201);
    let variables = [
        ("SECRET", SECRET.to_owned()),
        ("URL", format!("{}/webhooks/partner/findyourwork", app.url)),
        ("PARTNER", "findyourwork".to_owned()),
    ];
    for Code { scheme, curl, python, node } in [HEX_CODE, STANDARD_CODE] {
        for (language, code) in [("sh", curl), ("python", python), ("js", node)] {
            let Some((good, said)) = run(app, language, code, &variables, "").await else { continue };
            assert!(good && said.contains("\"ack\""), "{scheme} in {language}: {said}");
        }
    }
    let page = app.send(app.request(Method::GET, "/api/v1/webhooks/inbound/")).await.must_be(200);
    assert!(page["count"].as_i64() > Some(0), "{page}");
    app.drain().await;
});
