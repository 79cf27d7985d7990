//! What the log of the API never holds.

use std::process::Stdio;

use recado_kernel::clock::Clock;
use reqwest::Method;
use reqwest::header::COOKIE;
use serde_json::json;
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::Child;
use tokio::task::JoinHandle;

use crate::harness::app::{App, SECRET_KEY, WAIT_TIMEOUT};
use crate::harness::pair::Pair;
use crate::harness::program::terminate;
use crate::harness::sample;

/// A search for a person, an address in a body, a mistyped password, a link with a secret: none of it is in the log, however much
/// the log tells.
#[tokio::test]
async fn no_address_no_search_and_no_secret_stand_in_it() {
    let settings = [("RUST_LOG", "debug"), ("LISTEN", "127.0.0.1:0"), SECRET_KEY];
    let app = App::start_at(Pair::PostgresRedis, &settings, Clock::system()).await;
    app.know_carlos().await;
    let browser = app.operator("admin").await;
    let api = Api::start(&app, &settings).await;
    let ask = async |request: reqwest::RequestBuilder, path: &str| {
        let mut request = request.header(COOKIE, &browser.cookie).header("sec-fetch-site", "same-origin").build();
        let request = request.as_mut().expect("a request");
        *request.url_mut() = format!("{}{path}", api.url).parse().expect("a URL");
        let copy = request.try_clone().expect("its body is in memory");
        app.execute(copy).await
    };
    for path in [
        "/admin/search/?q=carlos@example.com",
        "/admin/search/?q=099%20123%204567",
        "/admin/search/?q=Mendoza",
        "/admin/customers/?search=carlos@example.com",
        "/admin/password/a-token-that-nobody-may-see/",
        "/api/v1/operations/search/?q=carlos@example.com",
        "/api/v1/notifications/customers/?search=Mendoza",
    ] {
        ask(app.request(Method::GET, path), path).await;
    }
    let login = app.request(Method::POST, "/").form(&[("name", "ana"), ("password", "a sentence that is mistyped")]);
    assert_eq!(ask(login, "/admin/login/").await.status, 422);
    let address = json!({"channel": "email", "address": "carlos@example.com", "detail": "Mendoza lo pidió."});
    assert_eq!(
        ask(app.request(Method::POST, "/").json(&address), "/api/v1/notifications/suppressions/").await.status,
        201
    );
    let wrong = json!({"customer_id": "customer-001", "name": "Mendoza", "email": "carlos@example.com@"});
    ask(app.request(Method::POST, "/").json(&wrong), "/api/v1/notifications/customers/").await;
    ask(app.request(Method::POST, "/").json(&sample::event()), "/api/v1/notifications/events/dispatch/").await;

    let log = api.stop().await;
    assert!(log.contains("/admin/search") && log.contains("/api/v1/notifications/suppressions"), "{log}");
    let token = browser.cookie.split('=').nth(1).expect("a cookie");
    for hidden in ["carlos@", "991234567", "123%204567", "Mendoza", "a-token-that", "mistyped", token, SECRET_KEY.1] {
        let line = log.find(hidden).map(|place| &log[place.saturating_sub(200)..(place + 60).min(log.len())]);
        assert!(line.is_none(), "{hidden}: {line:?}");
    }
    // The event waits: no worker runs.
    app.leave_work();
    app.finish().await;
}

/// The API as a process, and what it logs.
struct Api {
    process: Child,
    url: String,
    log: JoinHandle<String>,
}

impl Api {
    async fn start(app: &App, settings: &[(&str, &str)]) -> Self {
        let mut process = app.program("recado-api", settings).stderr(Stdio::piped()).spawn().expect("it starts");
        let mut lines = BufReader::new(process.stderr.take().expect("a pipe")).lines();
        let mut log = String::new();
        let starting = async {
            loop {
                let line = lines.next_line().await.expect("the log is text").expect("it goes on");
                log.push_str(&line);
                if let Some((_, url)) = line.split_once("listening on ") {
                    return url.trim().to_owned();
                }
            }
        };
        let url = tokio::time::timeout(WAIT_TIMEOUT, starting).await.expect("it starts in time");
        let log = tokio::spawn(async move {
            while let Ok(Some(line)) = lines.next_line().await {
                log.push_str(&line);
            }
            log
        });
        Self { process, url, log }
    }

    async fn stop(self) -> String {
        terminate(self.process).await;
        self.log.await.expect("the log is read")
    }
}
