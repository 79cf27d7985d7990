//! Storms and outages: whatever dies or forgets meanwhile, each message takes effect once, and so does each code.

use std::time::Duration;

use futures::{StreamExt, stream};
use recado_conversations::jobs::WatchSession;
use recado_conversations::sync;
use recado_kernel::clock::Clock;
use recado_kernel::sql;
use recado_sandbox::Writes;
use reqwest::Method;
use serde_json::{Value, json};
use tokio::process::Child;

use crate::conversations::codes::issue;
use crate::conversations::notices::{GROUP, know_told_experience};
use crate::conversations::webhooks::{CUSTOMER, WEBHOOK, hear, messages, reservations};
use crate::harness::app::{App, seconds};
use crate::harness::pair::{Pair, story};
use crate::harness::program::free_port;

/// Messages of the storm, the codes that they name, and how many are on their way at once.
const MESSAGES: usize = 2_000;
const CODES: usize = 40;
const AT_ONCE: usize = 48;

/// Longer than a notice of which it is not known whether it left is looked up: that happens when a worker is killed at just the
/// wrong moment.
const SETTLED_WITHIN: Duration = Duration::from_secs(120);

const QUICK: [(&str, &str); 2] = [("WORKER_LEASE_SECONDS", "2"), ("RUST_LOG", "error")];

/// The product beside the story's own API: with PostgreSQL and Redis two workers and a scheduler; embedded all in one process, which
/// is the API to which the bridge posts, too.
struct Product {
    url: String,
    settings: Vec<(String, String)>,
    pair: Pair,
    processes: Vec<Child>,
}

impl Product {
    fn start(app: &App, pair: Pair) -> Self {
        let listen = format!("127.0.0.1:{}", free_port());
        let mut settings: Vec<(String, String)> =
            QUICK.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        let url = match pair {
            Pair::PostgresRedis => app.url.clone(),
            Pair::Embedded => format!("http://{listen}"),
        };
        settings.push(("LISTEN".to_owned(), listen));
        let mut product = Self { url, settings, pair, processes: Vec::new() };
        match pair {
            Pair::PostgresRedis => ["recado-worker", "recado-worker", "recado-scheduler"]
                .into_iter()
                .for_each(|program| product.spawn(app, program, &[])),
            Pair::Embedded => product.spawn(app, "recado", &["up"]),
        }
        product
    }

    fn spawn(&mut self, app: &App, program: &str, arguments: &[&str]) {
        let settings: Vec<(&str, &str)> =
            self.settings.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
        let mut command = app.program(program, &settings);
        command.args(arguments).stdout(std::process::Stdio::null());
        self.processes.push(command.spawn().expect("it starts"));
    }

    /// The first worker dies as it stands, and another takes its place.
    async fn lose_a_worker(&mut self, app: &App) {
        self.processes.remove(0).kill().await.expect("it dies");
        match self.pair {
            Pair::PostgresRedis => self.spawn(app, "recado-worker", &[]),
            Pair::Embedded => self.spawn(app, "recado", &["up"]),
        }
    }

    async fn stop(mut self) {
        for process in &mut self.processes {
            process.kill().await.expect("it dies");
        }
    }

    /// Posts as a bridge does: again, until it is taken.
    async fn post(&self, app: &App, body: &Value) -> Value {
        let mut rounds = tokio::time::interval(Duration::from_millis(50));
        let posting = async {
            loop {
                rounds.tick().await;
                let mut request = app.request(Method::POST, WEBHOOK).json(body).build().expect("a request");
                *request.url_mut() = format!("{}{WEBHOOK}", self.url).parse().expect("a URL");
                match app.try_to(request).await {
                    Some(answer) if answer.status == 200 => return answer.json(),
                    Some(answer) => assert!(answer.status >= 500, "{} {}", answer.status, answer.text),
                    None => {}
                }
            }
        };
        tokio::time::timeout(SETTLED_WITHIN, posting).await.expect("the bridge is heard at last")
    }
}

/// Messages of a day at once: every fifth names a code, and some name two; several name the same.
fn told(app: &App, codes: &[String]) -> Vec<Value> {
    let one = |number: usize| {
        let code = |number: usize| codes[number % CODES].as_str();
        let text = match number % 10 {
            0 => format!("Quiero {} para 2 personas", code(number / 10)),
            5 => format!("{} y también {}", code(number / 10), code(number / 10 + 7)),
            _ => format!("¿Hay cupo mañana? {number}"),
        };
        match number % 3 {
            0 => app.sandbox.bridge.group_message("120363099", &format!("59398{:07}", number % 50), &text),
            _ => app.sandbox.bridge.message(&format!("59399{:07}", number % 150), &text),
        }
    };
    (0..MESSAGES).map(one).collect()
}

async fn count(app: &App, text: &'static str) -> i64 {
    let count: Option<(i64,)> = sql!(one(i64,), &mut app.begin().await, (text)).expect(text);
    count.expect("a count").0
}

// S003-24: a storm of 2,000 messages with duplicates while Redis is flushed and a worker is killed: every message once, every code one
// request, every operator told once.
async fn storm_takes_effect_once(pair: Pair) {
    let app = App::start_at(pair, &QUICK, Clock::system()).await;
    know_told_experience(&app).await;
    let mut codes = Vec::new();
    for _ in 0..CODES {
        codes.push(issue(&app).await);
    }
    let told = told(&app, &codes);
    let mut product = Product::start(&app, pair);
    // Each once, twice or three times, in rounds; the second and the third come while the first is under way.
    let rounds = |from: usize, to: usize| {
        let part = told[from..to].iter().enumerate();
        part.flat_map(|(number, body)| std::iter::repeat_n(body, 1 + number % 3)).collect::<Vec<_>>()
    };
    let mut answers = Vec::new();
    for (part, from) in (0..MESSAGES).step_by(MESSAGES / 4).enumerate() {
        match part {
            1 => app.lose_rings().await,
            2 => product.lose_a_worker(&app).await,
            _ => {}
        }
        let bodies = rounds(from, from + MESSAGES / 4);
        let posted = stream::iter(bodies).map(|body| product.post(&app, body)).buffer_unordered(AT_ONCE);
        answers.extend(posted.collect::<Vec<_>>().await);
    }
    for body in &told[..200] {
        assert_eq!(product.post(&app, body).await["status"], "already_processed");
    }
    assert!(answers.iter().all(|answer| answer["message_id"].is_string()));

    let all_told = async {
        let mut looks = tokio::time::interval(Duration::from_millis(100));
        loop {
            looks.tick().await;
            let told = "select count(*) from reservation_requests where status = 'operator_notified'";
            let unfinished = "select count(*) from tasks where kind = 'tell_operator' and finished_at is null";
            if count(&app, told).await == CODES as i64 && count(&app, unfinished).await == 0 {
                return;
            }
        }
    };
    tokio::time::timeout(SETTLED_WITHIN, all_told).await.expect("every operator is told");
    product.stop().await;

    assert_eq!(count(&app, "select count(*) from whatsapp_messages").await, MESSAGES as i64);
    assert_eq!(count(&app, "select sum(message_count) from whatsapp_chats").await, MESSAGES as i64);
    let wrong = "select count(*) from whatsapp_chats c where message_count <> (select count(*) from whatsapp_messages m where m.chat = c.id)";
    assert_eq!(count(&app, wrong).await, 0, "each chat counts what was said in it");
    assert_eq!(count(&app, "select count(*) from reservation_requests").await, CODES as i64);
    let notices = app.sandbox.bridge.texts();
    assert!(notices.iter().all(|notice| notice.chat_id == GROUP));
    for code in &codes {
        let times = notices.iter().filter(|notice| notice.text.contains(code.as_str())).count();
        assert_eq!(times, 1, "{code}");
    }
    assert_eq!(notices.len(), CODES);
    app.leave_work();
    app.finish().await;
}

mod a_storm_takes_effect_once {
    use super::*;

    #[tokio::test]
    async fn postgres_redis() {
        Box::pin(storm_takes_effect_once(Pair::PostgresRedis)).await;
    }

    #[tokio::test]
    async fn embedded() {
        Box::pin(storm_takes_effect_once(Pair::Embedded)).await;
    }
}

// S003-24: what was said while no API took webhooks takes effect when one is there again, though a worker went on looking at the
// session. What was said before is left alone.
story!(an_absence_of_the_api_is_made_up_for, async |app: &App| {
    app.live_now();
    hear(app, CUSTOMER, "hola").await;
    app.enqueue(&WatchSession {}).await;
    app.drain().await;
    sync::attend(&app.context).await.expect("it is noted");
    app.clock.advance(seconds(90));
    sync::attend(&app.context).await.expect("it is noted");
    app.drain().await;
    assert_eq!(app.sandbox.bridge.asked("/api/chats/593991234567@c.us/messages"), 0, "that was no outage");

    for _ in 0..5 {
        app.later(seconds(45)).await;
    }
    // No one takes this webhook.
    app.sandbox.bridge.message("593991230002", "Quiero RES-GALAPA-20260120-11112222 para 3 personas");
    sync::attend(&app.context).await.expect("it is noted");
    app.drain().await;
    let made = reservations(app, "").await;
    assert_eq!((made.len(), &made[0]["tour_code"]), (1, &json!("RES-GALAPA-20260120-11112222")));
    assert_eq!(messages(app, "593991234567@c.us").await.len(), 1);
    app.leave_work();
});

/// What a customer writes at this moment.
fn said(app: &App, id: &str, text: &str) -> Writes {
    Writes {
        chat_id: "593991230002@c.us".to_owned(),
        text: text.to_owned(),
        id: Some(id.to_owned()),
        at: Some(app.clock.now().to_utc()),
        ..Writes::default()
    }
}

// The same where the API is there all the time and webhooks do not arrive: the bridge's chats are compared with ours.
story!(webhooks_that_do_not_come_are_made_up_for, async |app: &App| {
    app.live_now();
    app.sandbox.bridge.message("593991230001", "RES-ANTES-1 antes de que hubiera Recado");
    app.clock.advance(seconds(600));
    app.enqueue(&WatchSession {}).await;
    app.drain().await;
    app.clock.advance(seconds(20));
    let taken = app.sandbox.bridge.hears(said(app, "A1", "hola"));
    app.post(WEBHOOK, &taken).await.must_be(200);
    app.clock.advance(seconds(10));
    app.sandbox.bridge.hears(said(app, "A2", "Quiero RES-GALAPA-20260120-11112222"));
    app.later(seconds(45)).await;
    assert_eq!(reservations(app, "").await.len(), 0, "it may be on its way");
    for _ in 0..8 {
        app.later(seconds(45)).await;
    }
    let made = reservations(app, "").await;
    assert_eq!((made.len(), &made[0]["tour_code"]), (1, &json!("RES-GALAPA-20260120-11112222")));
    assert_eq!(messages(app, "593991230002@c.us").await.len(), 2);
    let asked = app.sandbox.bridge.asked("/api/chats/593991230002@c.us/messages");
    for _ in 0..8 {
        app.later(seconds(45)).await;
    }
    assert_eq!(app.sandbox.bridge.asked("/api/chats/593991230002@c.us/messages"), asked, "nothing is behind any more");
    app.leave_work();
});

// Staff who see that a message is missing press "sync", which stores it without effect: what it orders is made up for all the same.
story!(what_a_sync_stored_meanwhile_is_made_up_for, async |app: &App| {
    app.live_now();
    app.enqueue(&WatchSession {}).await;
    app.drain().await;
    app.clock.advance(seconds(20));
    let taken = app.sandbox.bridge.hears(said(app, "A1", "hola"));
    app.post(WEBHOOK, &taken).await.must_be(200);
    app.clock.advance(seconds(10));
    app.sandbox.bridge.hears(said(app, "A2", "Quiero RES-GALAPA-20260120-11112222"));
    let sync = "/api/v1/superadmin/whatsapp/chats/593991230002@c.us/messages/sync/";
    assert_eq!(app.working(app.post(sync, &json!({}))).await.status / 100, 2);
    app.drain().await;
    assert_eq!((messages(app, "593991230002@c.us").await.len(), reservations(app, "").await.len()), (2, 0));
    for _ in 0..8 {
        app.later(seconds(45)).await;
    }
    assert_eq!(reservations(app, "").await.len(), 1);
    app.leave_work();
});
