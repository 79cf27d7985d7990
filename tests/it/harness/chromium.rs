//! A real browser. Python drives Chromium: a whole script at once ([`run`]), or order by order, in turns with the story that
//! gives them ([`Chromium`]).

use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader, Lines};
use tokio::process::{Child, ChildStdin, ChildStdout, Command};
use tokio::sync::Mutex;
use url::Url;

use crate::harness::app::WAIT_TIMEOUT;
use crate::harness::browser::Browser;
use crate::harness::program::{errors, words};

/// Where the scripts of the console's tests are.
pub(crate) fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("it/console")
}

/// The Python that has Playwright, with one of our scripts.
async fn python(script: &str) -> Command {
    let setup = Path::new(env!("CARGO_MANIFEST_DIR")).join("../scripts/setup-playwright.sh");
    let setup = Command::new(setup).output().await.expect("the script runs");
    assert!(setup.status.success(), "Playwright cannot be had: {}", errors(&setup));
    let mut python = Command::new(words(&setup).trim());
    // `-B`: no bytecode beside the scripts.
    python.arg("-B").arg(folder().join(script));
    python.stdin(Stdio::piped()).stdout(Stdio::piped()).kill_on_drop(true);
    python
}

/// What a script prints that is given this task.
pub(crate) async fn run(script: &str, task: &Value, limit: Duration) -> String {
    let mut running = python(script).await.stderr(Stdio::piped()).spawn().expect("Python starts");
    running.stdin.take().expect("a pipe").write_all(task.to_string().as_bytes()).await.expect("it reads");
    let output = tokio::time::timeout(limit, running.wait_with_output()).await.expect("it ends in time");
    let output = output.expect("it ends");
    assert!(output.status.success(), "{}", errors(&output));
    words(&output)
}

/// A browser that waits for orders. Several windows and tabs of it can be in use at once.
pub(crate) struct Chromium {
    ends: Mutex<Ends>,
}

struct Ends {
    running: Child,
    orders: ChildStdin,
    answers: Lines<BufReader<ChildStdout>>,
}

impl Chromium {
    /// Launches it, for pages of this server.
    pub(crate) async fn start(server: &Url) -> Self {
        let mut running = python("stories.py").await.spawn().expect("Python starts");
        let orders = running.stdin.take().expect("a pipe");
        let answers = BufReader::new(running.stdout.take().expect("a pipe")).lines();
        let mut ends = Ends { running, orders, answers };
        ends.write(&json!({"url": server.as_str().trim_end_matches('/')})).await;
        Self { ends: Mutex::new(ends) }
    }

    async fn order(&self, order: Value) -> Value {
        let mut ends = self.ends.lock().await;
        ends.write(&order).await;
        let answer = tokio::time::timeout(WAIT_TIMEOUT, ends.answers.next_line()).await;
        let answer = answer.unwrap_or_else(|_| panic!("no answer to {order}")).expect("it answers");
        let answer: Value = serde_json::from_str(&answer.expect("it has not ended")).expect("JSON");
        assert!(answer["wrong"].is_null(), "{order}: {}", answer["wrong"].as_str().unwrap_or_default());
        answer["said"].clone()
    }

    /// A window of somebody who is logged in.
    pub(crate) async fn window(&self, person: &Browser) -> Tab<'_> {
        let cookie = person.cookie.split_once('=').expect("they are logged in").1;
        self.tab(json!({"do": "window", "cookie": cookie})).await
    }

    /// A window of a stranger, in which no script runs.
    pub(crate) async fn window_without_scripts(&self) -> Tab<'_> {
        self.tab(json!({"do": "window", "scripts": false})).await
    }

    async fn tab(&self, order: Value) -> Tab<'_> {
        Tab { chromium: self, number: self.order(order).await.as_u64().expect("a number") }
    }

    /// What no page should do and some page did since the last time: an error, a dialog, a request to a stranger. What holds one of
    /// these texts is expected.
    pub(crate) async fn complaints(&self, expected: &[&str]) -> Vec<String> {
        let heard = self.order(json!({"do": "listen"})).await;
        let heard = heard.as_array().cloned().unwrap_or_default();
        let heard = heard.iter().filter_map(Value::as_str);
        heard.filter(|one| !expected.iter().any(|text| one.contains(text))).map(str::to_owned).collect()
    }

    /// The end, at which nothing may be left to complain of.
    pub(crate) async fn finish(self) {
        let complaints = self.complaints(&[]).await;
        assert!(complaints.is_empty(), "{complaints:?}");
        let Ends { mut running, orders, .. } = self.ends.into_inner();
        drop(orders);
        let ended = tokio::time::timeout(WAIT_TIMEOUT, running.wait()).await.expect("it ends in time");
        assert!(ended.expect("it ends").success(), "the driver failed");
    }
}

impl Ends {
    async fn write(&mut self, order: &Value) {
        self.orders.write_all(format!("{order}\n").as_bytes()).await.expect("the driver reads");
    }
}

/// One tab, and what a person does and sees there. What is not there in a moment fails the story.
pub(crate) struct Tab<'c> {
    chromium: &'c Chromium,
    number: u64,
}

impl<'c> Tab<'c> {
    async fn order(&self, verb: &str, with: Value) -> Value {
        let mut order = with;
        order["do"] = json!(verb);
        order["tab"] = json!(self.number);
        self.chromium.order(order).await
    }

    /// Another tab of the same window.
    pub(crate) async fn beside(&self) -> Tab<'c> {
        self.chromium.tab(json!({"do": "beside", "tab": self.number})).await
    }

    /// The page, which must be there.
    pub(crate) async fn opens(&self, path: &str) {
        let status = self.order("open", json!({"path": path})).await;
        assert_eq!(status, 200, "{path}");
    }

    /// A button or a link of this name that leads to another page; the main part of this one has one of them.
    pub(crate) async fn presses(&self, name: &str) {
        self.presses_in("main", name).await;
    }

    pub(crate) async fn presses_in(&self, within: &str, name: &str) {
        self.order("press", json!({"within": within, "name": name})).await;
    }

    /// What changes something on this page.
    pub(crate) async fn clicks(&self, selector: &str) {
        self.order("click", json!({"selector": selector})).await;
    }

    pub(crate) async fn fills(&self, field: &str, text: &str) {
        self.order("fill", json!({"field": field, "text": text})).await;
    }

    pub(crate) async fn focuses(&self, selector: &str) {
        self.order("focus", json!({"selector": selector})).await;
    }

    pub(crate) async fn types(&self, text: &str) {
        self.order("type", json!({"text": text})).await;
    }

    pub(crate) async fn keys(&self, keys: &[&str]) {
        self.order("keys", json!({"keys": keys})).await;
    }

    /// Waits until it can be seen.
    pub(crate) async fn sees(&self, selector: &str) {
        self.order("see", json!({"selector": selector})).await;
    }

    /// Waits until it can be seen with this text in it.
    pub(crate) async fn reads_in(&self, selector: &str, text: &str) {
        self.order("see", json!({"selector": selector, "text": text})).await;
    }

    /// What the notice says that follows an action.
    pub(crate) async fn is_told(&self, text: &str) {
        self.reads_in(".notice", text).await;
    }

    /// Takes back what was done last.
    pub(crate) async fn undoes(&self) {
        self.presses_in(".notice", "Undo").await;
    }

    /// What a function in the page returns.
    pub(crate) async fn tells(&self, function: &str) -> Value {
        self.order("tell", json!({"expression": function})).await
    }

    pub(crate) async fn path(&self) -> String {
        self.order("where", json!({})).await.as_str().expect("a path").to_owned()
    }

    /// Other tabs stand before it.
    pub(crate) async fn hides(&self) {
        self.order("hide", json!({})).await;
    }

    pub(crate) async fn shows(&self) {
        self.order("show", json!({})).await;
    }

    pub(crate) async fn closes(self) {
        self.order("close", json!({})).await;
    }
}
