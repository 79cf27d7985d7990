//! The pages on which people read the document, as a browser without internet shows them.

use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use serde_json::Value;
use tokio::process::Command;

use crate::harness::app::App;
use crate::harness::pair::Pair;
use crate::harness::program::{errors, words};

/// Starting a browser takes seconds on a busy machine.
const LIMIT: Duration = Duration::from_secs(180);

/// A page of this size without anything on it has about 10 kB; with a table of operations it has 200 or more.
const SOMETHING_TO_SEE: u64 = 80_000;

/// A page draws every operation of the document, asks no one but us for anything, gets what it asks for, and complains of
/// nothing.
async fn a_page_draws_the_whole_document(path: &str, title: &str) {
    let app = App::start(Pair::Embedded, &[]).await;
    let seen = Seen::of(&app, path).await;
    assert!(seen.page.contains(&format!("<title>{title}</title>")), "{path} has another title");
    let document = app.get("/api/schema/").await.must_be(200);
    for operation in document["paths"].as_object().expect("paths").keys() {
        assert!(seen.page.contains(operation.as_str()), "{path} does not show {operation}");
    }
    assert!(seen.complaints.is_empty(), "{path}: {:#?}", seen.complaints);
    assert!(seen.requests.len() > 3, "{path} asked for {:#?} only", seen.requests);
    for request in &seen.requests {
        assert!(request.starts_with(&app.url), "{path} asks a stranger: {request}");
    }
    for answer in &seen.answers {
        assert!(answer.contains(" 200 ") || answer.contains(" 304 "), "{path} got {answer}");
    }
    assert!(seen.picture > SOMETHING_TO_SEE, "{path} looks empty: its picture has {} bytes", seen.picture);
    app.finish().await;
}

/// ReDoc says this while it makes up an example of an answer that is one thing or a list of them. The example is right.
const HARMLESS: &str = "OpenAPI Sampler: found allOf with \"array\" type";

// S002-34: `/api/docs/`.
#[tokio::test]
async fn swagger_ui_draws_the_whole_document() {
    a_page_draws_the_whole_document("/api/docs/", "Recado API").await;
}

// S002-34: `/api/redoc/`.
#[tokio::test]
async fn redoc_draws_the_whole_document() {
    a_page_draws_the_whole_document("/api/redoc/", "Recado API reference").await;
}

/// What a browser made of a page.
struct Seen {
    /// The page after its scripts have run.
    page: String,
    /// What the browser's console says: errors of scripts, and whatever the page's own policy forbade.
    complaints: Vec<String>,
    /// All URLs that the page, and not the browser for itself, asked for.
    requests: Vec<String>,
    /// The first line of each answer.
    answers: Vec<String>,
    /// The size of its picture in bytes. It stays in `target` to be looked at.
    picture: u64,
}

impl Seen {
    async fn of(app: &App, path: &str) -> Self {
        let folder = app.folder();
        let log = folder.join("net.json");
        let picture =
            Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("{}.png", path.trim_matches('/').replace('/', "-")));
        let mut browser = Command::new("chromium");
        // The window is as tall as the page: of a long list Swagger UI draws only what is in sight.
        // Names are not even looked up. What the browser would do for itself, such as updates, would only slow it down.
        browser.args(["--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run"]);
        browser.args(["--disable-background-networking", "--disable-component-update", "--disable-sync"]);
        browser.args(["--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1", "--window-size=1400,16000"]);
        // As much time as the page takes, without waiting for it: the page's clock runs while nothing happens.
        browser.args(["--virtual-time-budget=20000", "--dump-dom", "--enable-logging=stderr"]);
        browser.arg(format!("--user-data-dir={}", folder.join("browser").display()));
        browser.arg(format!("--log-net-log={}", log.display()));
        browser.arg(format!("--screenshot={}", picture.display()));
        browser.arg(format!("{}{path}", app.url)).env("HOME", folder).stdin(Stdio::null()).kill_on_drop(true);
        let output = tokio::time::timeout(LIMIT, browser.output()).await.expect("the browser ends in time");
        let output = output.expect("chromium is installed; `make test` sees to it");
        assert!(output.status.success(), "{}", errors(&output));
        let (requests, answers) = conversation(&log, &app.url);
        Self {
            page: words(&output),
            complaints: complaints(&errors(&output)),
            requests,
            answers,
            picture: std::fs::metadata(picture).expect("there is a picture").len(),
        }
    }
}

fn complaints(log: &str) -> Vec<String> {
    log.lines().filter(|line| line.contains(":CONSOLE:") && !line.contains(HARMLESS)).map(str::to_owned).collect()
}

/// Requests and answers from the browser's log of the network.
fn conversation(log: &Path, origin: &str) -> (Vec<String>, Vec<String>) {
    let log: Value = serde_json::from_slice(&std::fs::read(log).expect("the log is there")).expect("it is JSON");
    let kind = |name: &str| &log["constants"]["logEventTypes"][name];
    let (mut requests, mut answers) = (Vec::new(), Vec::new());
    for event in log["events"].as_array().expect("events") {
        let said = &event["params"];
        if event["type"] == *kind("URL_REQUEST_START_JOB") && said["initiator"] == origin {
            requests.push(said["url"].as_str().expect("a URL").to_owned());
        }
        if event["type"] == *kind("HTTP_TRANSACTION_READ_RESPONSE_HEADERS") {
            answers.push(said["headers"][0].as_str().expect("a status line").to_owned());
        }
    }
    (requests, answers)
}
