//! The programs as they run in production: three processes and their signals.

use std::process::Stdio;

use recado_kernel::clock::Clock;
use serde_json::Value;
use tokio::io::{AsyncBufReadExt, AsyncRead, BufReader};

use crate::harness::app::{App, DISPATCH, SYNC_CUSTOMER, WAIT_TIMEOUT, until};
use crate::harness::pair::Pair;
use crate::harness::program::{errors, terminate, words};
use crate::harness::sample;

/// Reads the log of a process until a line has this word, and returns what follows the word. The log is closed then, which
/// is nothing to the process.
pub(super) async fn until_it_says(word: &str, log: impl AsyncRead + Unpin) -> String {
    let mut lines = BufReader::new(log).lines();
    let reading = async {
        while let Some(line) = lines.next_line().await.expect("the log is text") {
            if let Some((_, rest)) = line.split_once(word) {
                return rest.trim().to_owned();
            }
        }
        panic!("it ended without saying: {word}");
    };
    tokio::time::timeout(WAIT_TIMEOUT, reading).await.unwrap_or_else(|_| panic!("it never said: {word}"))
}

// S002-P1 to S002-P3: api, worker and scheduler, each a process; events go in by HTTP and mails come out, and a signal
// ends each of them well.
#[tokio::test]
async fn three_processes_deliver_together() {
    let settings = [("NOTIFICATION_RETRY_BASE_SECONDS", "0.2"), ("RUST_LOG", "info"), ("LISTEN", "127.0.0.1:0")];
    let app = App::start_at(Pair::PostgresRedis, &settings, Clock::system()).await;
    let mut api =
        app.program("recado-api", &settings).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("it starts");
    let worker = app
        .program("recado-worker", &settings)
        .args(["-Q", "notifications,sync,maintenance"])
        .spawn()
        .expect("it starts");
    let scheduler = app.program("recado-scheduler", &settings).spawn().expect("it starts");
    let log = api.stderr.take().expect("a pipe");
    let url = until_it_says("listening on ", log).await;

    let post = async |path: &str, body: &Value| {
        let mut request = app.request(reqwest::Method::POST, path).json(body).build().expect("a request");
        *request.url_mut() = format!("{url}{path}").parse().expect("a URL");
        app.execute(request).await.must_be(202)
    };
    post(SYNC_CUSTOMER, &sample::customer()).await;
    // Worked off by another process; until then the event is refused.
    until("the customer is known", async || app.dispatch(&sample::event()).await.status == 202).await;
    app.sandbox.smtp.misbehave_times(recado_sandbox::SmtpFault::reject_recipient(451), 1);
    post(DISPATCH, &sample::event()).await;
    assert_eq!(app.sandbox.smtp.wait_for(2, WAIT_TIMEOUT).await.len(), 2, "also the one that was refused at first");

    for process in [api, worker, scheduler] {
        terminate(process).await;
    }
    app.finish().await;
}

// d21, and a queue that lives in one process: what cannot work is said at the start, with the remedy.
#[tokio::test]
async fn programs_refuse_what_cannot_work() {
    let app = App::start(Pair::PostgresRedis, &[]).await;
    for (program, arguments, settings, remedy) in [
        ("recado-api", &[][..], &[("ALLOW_ANONYMOUS_API", "false")][..], "recado api-key create"),
        ("recado-api", &[], &[("REDIS_URL", "")], "REDIS_URL"),
        ("recado-worker", &[], &[("REDIS_URL", "")], "REDIS_URL"),
        ("recado-worker", &["-Q", "emails"], &[], "notifications"),
        ("recado-scheduler", &[], &[("REDIS_URL", "")], "REDIS_URL"),
        ("recado-worker", &[], &[("TIME_ZONE", "Quito"), ("EMAIL_PORT", "many")], "EMAIL_PORT"),
    ] {
        let mut command = app.program(program, settings);
        let output = tokio::time::timeout(WAIT_TIMEOUT, command.args(arguments).output()).await;
        let output = output.unwrap_or_else(|_| panic!("{program} {settings:?} runs on")).expect("it starts");
        assert!(!output.status.success(), "{program} {settings:?}");
        assert!(errors(&output).contains(remedy), "{program} {settings:?}: {}", errors(&output));
    }
    app.finish().await;
}

// The first thing that a newcomer sees: one command, no server, no setting, and a message that arrives.
#[tokio::test]
async fn the_demo_delivers() {
    let app = App::start(Pair::Embedded, &[]).await;
    let mut demo = app.program("recado", &[]);
    let output = tokio::time::timeout(WAIT_TIMEOUT, demo.env_clear().arg("demo").output()).await;
    let output = output.expect("it ends in time").expect("it starts");
    assert!(output.status.success(), "{}", errors(&output));
    assert!(words(&output).contains("Mantenimiento agendado"), "{}", words(&output));
    app.finish().await;
}
