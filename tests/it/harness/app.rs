//! A whole Recado inside one test: the API on a real port, the worker and the scheduler as verbs, a clock that stands
//! still until the story moves it, and providers that can be told to misbehave.

use recado_notifications::notifications::attempts::{self, Attempt};
use recado_queue::jobs::Job;
use recado_systems::SYSTEMS;
use std::collections::HashMap;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use recado_kernel::audit::{self, Actor, AuditFilter};
use recado_kernel::clock::{Clock, Timestamp};
use recado_kernel::config::Config;
use recado_kernel::db::Session;
use recado_kernel::ids::Id;
use recado_kernel::{sql, tls};
use recado_notifications::customers::{self, Choice};
use recado_notifications::dispatch::Receipt;
use recado_notifications::{catalogue_version, notifications};
use recado_queue::context::Context;
use recado_queue::ring::Queue;
use recado_queue::tasks::{self, NewTask, State, Task};
use recado_sandbox::{Mail, PushMessage, PushSubscription, Sandbox, Webhook, WhatsappMessage};
use recado_scheduler::Swept;
use recado_worker::Drain;
use reqwest::{Client, Method, RequestBuilder};
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio_util::sync::{CancellationToken, DropGuard};

use crate::harness::answer::Answer;
use crate::harness::pair::{self, Pair, Storage};

/// When stories begin: 09:30 on a Tuesday in Guayaquil.
pub(crate) const START: &str = "2026-01-20T14:30:00Z";

pub(crate) const DISPATCH: &str = "/api/v1/notifications/events/dispatch/";
pub(crate) const BULK: &str = "/api/v1/notifications/events/dispatch/bulk/";
pub(crate) const SYNC_CUSTOMER: &str = "/api/internal/v1/customers/sync/";
pub(crate) const SYNC_VEHICLE: &str = "/api/internal/v1/vehicles/sync/";
pub(crate) const SUBSCRIBE: &str = "/api/v1/notifications/push/subscribe/";

/// What `X-Internal-Secret` must be.
pub(crate) const SECRET: &str = "internal-secret-of-the-stories";

/// What presences are sent with, and what they must come with.
pub(crate) const COMMERCIAL_TOKEN: &str = "commercial-token-of-the-stories";
pub(crate) const CRM_TOKEN: &str = "crm-token-of-the-stories";

/// For stories about what is kept sealed.
pub(crate) const SECRET_KEY: (&str, &str) = ("SECRET_KEY", "a-secret-key-for-stories-of-32-or-more");

const VAPID_PUBLIC_KEY: &str =
    "BJhuxFu-9UtxRgDlpZBNryOusWUPuBXPXrXJCoenZ1neH2GaECr7RgRVSuBDkpDfcQDx1tjOFugw3n16HpmcHd8";
const VAPID_PRIVATE_KEY: &str = "zWGRIHXhNdYzq_e6VZATVURE8fLXlji3u4zP-bzYcIs";

pub(crate) struct App {
    pub(crate) context: Context,
    pub(crate) clock: Clock,
    pub(crate) sandbox: Sandbox,
    pub(crate) url: String,
    http: Client,
    worker: Drain,
    storage: Storage,
    leaves_work: AtomicBool,
    _serving: DropGuard,
}

/// Tells a story to its end, and sees that no work is left over.
pub(crate) async fn tell(pair: Pair, settings: &[(&str, &str)], story: impl AsyncFn(&App)) {
    let app = App::start(pair, settings).await;
    Box::pin(story(&app)).await;
    app.finish().await;
}

impl App {
    pub(crate) async fn start(pair: Pair, settings: &[(&str, &str)]) -> Self {
        Self::start_at(pair, settings, Clock::manual(at(START))).await
    }

    /// With a clock of your own: the system's, for stories in which real workers run.
    pub(crate) async fn start_at(pair: Pair, settings: &[(&str, &str)], clock: Clock) -> Self {
        Self::start_in(Storage::create(pair, clock.now()).await, settings, clock).await
    }

    /// In a storage that the story has made, because its settings name it.
    pub(crate) async fn start_in(storage: Storage, settings: &[(&str, &str)], clock: Clock) -> Self {
        let sandbox = Sandbox::start().await.expect("the sandbox starts");
        let variables = variables(&sandbox, &storage, settings);
        let config = Config::read(|name| variables.get(name).cloned()).expect("the settings are valid");
        let config = Config { sandbox_url: Some(sandbox.inbox_url().to_owned()), ..config };
        let context = Context::open(config, clock.clone(), SYSTEMS).await.expect("database and queue open");

        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let url = format!("http://{}", listener.local_addr().expect("it is bound"));
        let stop = CancellationToken::new();
        tokio::spawn(recado_api::serve(context.clone(), vec![listener], stop.clone()));
        #[expect(clippy::disallowed_methods, reason = "it speaks to this test's own server on loopback")]
        let http = tls::http_client().no_proxy().build().expect("a client");
        let worker = Drain::new(context.clone()).expect("the providers' settings work");
        Self {
            context,
            clock,
            sandbox,
            url,
            http,
            worker,
            storage,
            leaves_work: AtomicBool::new(false),
            _serving: stop.drop_guard(),
        }
    }

    /// The end of a story.
    pub(crate) async fn finish(self) {
        if !self.leaves_work.load(Ordering::Relaxed) {
            let left = self.counts(&[State::Queued, State::Started]).await;
            assert!(left.is_empty(), "work is left: {left:?}; drain it, or say `app.leave_work()`");
        }
        drop(self._serving);
        self.context.db.close().await;
        self.storage.remove().await;
    }

    /// This story ends in the middle of work, on purpose.
    pub(crate) fn leave_work(&self) {
        self.leaves_work.store(true, Ordering::Relaxed);
    }

    /// A folder that goes when the story ends.
    pub(crate) fn folder(&self) -> &Path {
        self.storage.folder.path()
    }

    /// The environment in which a program of the product would join this telling.
    pub(crate) fn environment(&self, settings: &[(&str, &str)]) -> HashMap<String, String> {
        variables(&self.sandbox, &self.storage, settings)
    }
}

/// The environment of a telling: its storage, the sandbox, and what the story sets.
fn variables(sandbox: &Sandbox, storage: &Storage, settings: &[(&str, &str)]) -> HashMap<String, String> {
    let smtp = sandbox.smtp.addr();
    let own = [
        ("RECADO_HOME", storage.folder.path().display().to_string()),
        ("DATABASE_URL", storage.database_url.clone()),
        ("DATABASE_MAX_CONNECTIONS", "5".to_owned()),
        ("REDIS_URL", storage.redis_url.clone().unwrap_or_default()),
        ("ALLOW_ANONYMOUS_API", "true".to_owned()),
        ("INTERNAL_API_SECRET_KEY", SECRET.to_owned()),
        ("EMAIL_HOST", smtp.ip().to_string()),
        ("EMAIL_PORT", smtp.port().to_string()),
        ("DEFAULT_FROM_EMAIL", "Taller Ambacar <taller@example.com>".to_owned()),
        ("EVOLUTION_API_URL", sandbox.evolution.url().to_owned()),
        ("EVOLUTION_API_KEY", sandbox.evolution.api_key().to_owned()),
        ("EVOLUTION_INSTANCE", sandbox.evolution.instance().to_owned()),
        ("WHATSAPP_RATE_PER_MINUTE", "0".to_owned()),
        ("VAPID_PUBLIC_KEY", VAPID_PUBLIC_KEY.to_owned()),
        ("VAPID_PRIVATE_KEY", VAPID_PRIVATE_KEY.to_owned()),
        ("VAPID_CONTACT_EMAIL", "taller@example.com".to_owned()),
        ("OUTBOUND_ALLOW_PRIVATE_NETWORKS", "true".to_owned()),
        ("WHATSAPP_SERVICE_URL", sandbox.bridge.url().to_owned()),
        ("COMERCIAL_WEBHOOK_URL", format!("{}/presencias/", sandbox.partner.url())),
        ("COMERCIAL_WEBHOOK_TOKEN", COMMERCIAL_TOKEN.to_owned()),
        ("CRM_WEBHOOK_TOKEN", CRM_TOKEN.to_owned()),
    ];
    let own = own.map(|(name, value)| (name.to_owned(), value));
    let settings = settings.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
    own.into_iter().chain(settings).collect()
}

/// What a client does.
impl App {
    pub(crate) fn request(&self, method: Method, path: &str) -> RequestBuilder {
        let request = self.http.request(method, format!("{}{path}", self.url));
        if path.starts_with("/api/internal/") { request.header("X-Internal-Secret", SECRET) } else { request }
    }

    pub(crate) async fn send(&self, request: RequestBuilder) -> Answer {
        Answer::read(request.send().await.expect("the API answers")).await
    }

    /// Sends a request as it is.
    pub(crate) async fn execute(&self, request: reqwest::Request) -> Answer {
        Answer::read(self.http.execute(request).await.expect("the API answers")).await
    }

    /// The same where the one that is asked may be away.
    pub(crate) async fn try_to(&self, request: reqwest::Request) -> Option<Answer> {
        match self.http.execute(request).await {
            Ok(response) => Some(Answer::read(response).await),
            Err(_) => None,
        }
    }

    pub(crate) async fn get(&self, path: &str) -> Answer {
        self.send(self.request(Method::GET, path)).await
    }

    pub(crate) async fn post(&self, path: &str, body: &Value) -> Answer {
        self.send(self.request(Method::POST, path).json(body)).await
    }

    pub(crate) async fn put(&self, path: &str, body: &Value) -> Answer {
        self.send(self.request(Method::PUT, path).json(body)).await
    }

    pub(crate) async fn patch(&self, path: &str, body: &Value) -> Answer {
        self.send(self.request(Method::PATCH, path).json(body)).await
    }

    pub(crate) async fn delete(&self, path: &str, body: &Value) -> Answer {
        self.send(self.request(Method::DELETE, path).json(body)).await
    }

    pub(crate) async fn dispatch(&self, event: &Value) -> Answer {
        self.post(DISPATCH, event).await
    }

    /// Dispatches an event that must be accepted.
    pub(crate) async fn accepted(&self, event: &Value) -> Receipt {
        let body = self.dispatch(event).await.must_be(202);
        serde_json::from_value(body).expect("the shape of S002-41")
    }

    /// Dispatches an event that must be accepted, and returns the task that delivers it.
    pub(crate) async fn task_for(&self, event: &Value) -> Id {
        self.accepted(event).await.task_id.expect("something is sent")
    }

    /// The task's status as a client polls it (S002-33).
    pub(crate) async fn status(&self, task: Id) -> Value {
        self.get(&format!("/api/internal/v1/tasks/{task}/status/")).await.must_be(200)
    }

    /// A customer as the Core service tells us about one, worked off.
    pub(crate) async fn sync_customer(&self, customer: &Value) -> Value {
        let accepted = self.post(SYNC_CUSTOMER, customer).await.must_be(202);
        self.drain().await;
        accepted
    }

    /// A vehicle, likewise.
    pub(crate) async fn sync_vehicle(&self, vehicle: &Value) -> Value {
        let accepted = self.post(SYNC_VEHICLE, vehicle).await.must_be(202);
        self.drain().await;
        accepted
    }

    /// A browser of this customer allows pushes.
    pub(crate) async fn subscribe(&self, customer_id: &str) -> PushSubscription {
        let browser = self.sandbox.push.subscribe();
        let body = json!({"customer_id": customer_id, "subscription": browser.to_json()});
        self.post(SUBSCRIBE, &body).await.must_be(201);
        browser
    }
}

/// Who acts where a story does what an operator does.
pub(crate) fn operator() -> Actor {
    Actor::command("a story")
}

/// What happens after the answer.
impl App {
    /// The worker runs all that is due, until nothing is. Returns how many runs that took.
    pub(crate) async fn drain(&self) -> usize {
        self.worker.run().await.expect("the worker works")
    }

    /// The worker works while a request waits for what it does.
    pub(crate) async fn working(&self, request: impl Future<Output = Answer>) -> Answer {
        let mut rounds = tokio::time::interval(Duration::from_millis(5));
        tokio::pin!(request);
        loop {
            tokio::select! {
                answer = &mut request => return answer,
                _ = rounds.tick() => drop(self.drain().await),
            }
        }
    }

    /// One pass of the scheduler.
    pub(crate) async fn sweep(&self) -> Swept {
        recado_scheduler::sweep(&self.context).await.expect("the scheduler passes")
    }

    /// Time passes, the scheduler looks, the worker works.
    pub(crate) async fn later(&self, time: Duration) {
        self.clock.advance(time);
        self.sweep().await;
        self.drain().await;
    }

    /// Time passes until a task is due again; returns how long that was.
    pub(crate) async fn until_due(&self, task: Id) -> Duration {
        let row = self.task(task).await;
        assert_eq!(row.state, State::Scheduled, "{row:?}");
        let wait = row.run_at.since(self.clock.now());
        self.later(wait).await;
        wait
    }

    /// Puts a job into the ledger and rings for it, as the product does.
    pub(crate) async fn enqueue(&self, job: &impl Job) -> Id {
        let now = self.clock.now();
        let task = NewTask::now(Id::new(now), job, now);
        let mut session = self.begin().await;
        let inserted = tasks::insert(&mut session, std::slice::from_ref(&task)).await.expect("it is written");
        session.commit().await.expect("it is committed");
        self.context.ring(&inserted.rings).await;
        task.id
    }

    /// Every ring that waits is lost: Redis is flushed, or the process that held the queue starts again.
    pub(crate) async fn lose_rings(&self) {
        match (&self.context.queue, &self.storage.redis_url) {
            (Queue::Local(queue), _) => queue.forget_everything(),
            (Queue::Redis(_), Some(url)) => pair::flush(url).await,
            (Queue::Redis(_), None) => unreachable!("Redis has a URL"),
        }
    }

    pub(crate) async fn begin(&self) -> Session {
        self.context.db.begin().await.expect("a transaction")
    }

    /// What the audit log says was done to things of this kind, sorted by what it was.
    pub(crate) async fn audited(&self, kind: &str) -> Vec<audit::Entry> {
        let filter = AuditFilter { subject_kind: Some(kind.to_owned()), ..AuditFilter::default() };
        let mut log = audit::page(&mut self.begin().await, &filter, None, 100).await.expect("the log is read");
        log.sort_by(|one, other| one.action.cmp(&other.action));
        log
    }

    /// The same, as words.
    pub(crate) async fn acts(&self, kind: &str) -> Vec<String> {
        self.audited(kind).await.into_iter().map(|entry| entry.action).collect()
    }

    /// Changes rows by hand, where the product has no endpoint or a story wants what no endpoint would do.
    pub(crate) async fn sql(&self, statement: &'static str) {
        let mut session = self.begin().await;
        let changed = sql!(run, &mut session, (statement)).expect(statement);
        assert!(changed > 0, "nothing was changed by: {statement}");
        catalogue_version::touch(&mut session).await.expect("the catalogue is told");
        session.commit().await.expect("it is committed");
    }

    /// The customer's own choice of channels, in this order; the rest is switched off.
    pub(crate) async fn prefer(&self, customer_id: &str, choices: &[Choice]) {
        let mut session = self.begin().await;
        let now = self.clock.now();
        customers::set_preferences(&mut session, customer_id, choices, &operator(), now).await.expect("they are kept");
        session.commit().await.expect("it is committed");
    }
}

/// What one sees afterwards.
impl App {
    pub(crate) fn mails(&self) -> Vec<Mail> {
        self.sandbox.smtp.messages()
    }

    pub(crate) fn whatsapps(&self) -> Vec<WhatsappMessage> {
        self.sandbox.evolution.messages()
    }

    pub(crate) fn pushes(&self) -> Vec<PushMessage> {
        self.sandbox.push.messages()
    }

    pub(crate) fn webhooks(&self) -> Vec<Webhook> {
        self.sandbox.partner.messages()
    }

    pub(crate) async fn task(&self, task: Id) -> Task {
        let mut session = self.begin().await;
        tasks::find(&mut session, task).await.expect("the ledger is read").expect("the task exists")
    }

    /// The messages of a task in a word each: `email failed EMAIL_SEND_FAILED`, `whatsapp sent`.
    pub(crate) async fn chain(&self, task: Id) -> Vec<String> {
        let chain = notifications::chains(&mut self.begin().await, &[task]).await.expect("the chain is read");
        let word = |notification: notifications::Notification| {
            let code = notification.error_code.map(|code| format!(" {code}")).unwrap_or_default();
            format!("{} {}{code}", notification.channel, notification.status.as_str())
        };
        chain.into_iter().map(word).collect()
    }

    /// The attempts of a task in a word each: `email transient 451`, `whatsapp sent 201`.
    pub(crate) async fn attempts(&self, task: Id) -> Vec<String> {
        let attempts = attempts::of_task(&mut self.begin().await, task).await.expect("the attempts are read");
        let word = |attempt: Attempt| {
            let status = attempt.provider_status.map(|status| format!(" {status}")).unwrap_or_default();
            format!("{} {}{status}", attempt.channel, attempt.outcome)
        };
        attempts.into_iter().map(word).collect()
    }

    /// How many tasks there are in these states, by lane.
    pub(crate) async fn counts(&self, states: &[State]) -> Vec<(String, i64)> {
        let counts =
            tasks::count_unfinished(&mut self.begin().await, &SYSTEMS.lanes()).await.expect("the ledger is counted");
        counts
            .into_iter()
            .filter(|count| states.contains(&count.state))
            .map(|count| (count.lane, count.count))
            .collect()
    }
}

pub(crate) fn at(time: &str) -> Timestamp {
    chrono::DateTime::parse_from_rfc3339(time).expect("a time").to_utc().into()
}

/// Long enough for a machine that compiles something else meanwhile.
pub(crate) const WAIT_TIMEOUT: Duration = Duration::from_secs(60);

/// Looks until it is so. For what real workers and processes do in their own time.
pub(crate) async fn until(what: &str, is_so: impl AsyncFn() -> bool) {
    let looking = async {
        let mut looks = tokio::time::interval(Duration::from_millis(20));
        while !is_so().await {
            looks.tick().await;
        }
    };
    tokio::time::timeout(WAIT_TIMEOUT, looking).await.unwrap_or_else(|_| panic!("in vain: {what}"));
}

pub(crate) const fn seconds(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}
