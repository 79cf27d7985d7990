//! Redis in trouble, under three processes as in production: the first message after it is delivered within five seconds, by
//! itself, and health tells the truth meanwhile. The reports are redis-rb/redis-client#65, redis/go-redis#790,
//! n8n-io/n8n#25038 (a failover), comet-ml/opik#5525 and ag2ai/faststream#2611 (consumer groups that are gone).

use std::path::PathBuf;
use std::process::Stdio;
use std::sync::Arc;
use std::sync::atomic::{AtomicU16, Ordering};
use std::time::{Duration, Instant};

use recado_kernel::clock::Clock;
use serde_json::Value;
use tempfile::TempDir;
use tokio::net::{TcpListener, TcpStream};
use tokio::process::{Child, Command};

use super::fleet::until_it_says;
use crate::harness::app::{App, DISPATCH, SYNC_CUSTOMER, seconds, until};
use crate::harness::pair::Pair;
use crate::harness::program::{free_port, terminate};
use crate::harness::sample;

/// As late as a first message may be.
const SOON: Duration = Duration::from_secs(5);

/// A Redis of the story's own, which it may harm.
struct Redis {
    process: Child,
    port: u16,
    _folder: TempDir,
}

impl Redis {
    async fn start() -> Self {
        Self::start_at(free_port()).await
    }

    async fn start_at(port: u16) -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder");
        #[expect(clippy::disallowed_methods, reason = "the servers of the tests are no setting of the product")]
        let program = std::env::var("TEST_REDIS_SERVER").unwrap_or_else(|_| "redis-server".to_owned());
        let process = Command::new(program)
            .args(["--bind", "127.0.0.1", "--save", "", "--port", &port.to_string()])
            .args(["--repl-diskless-sync-delay", "0", "--dir"])
            .arg(folder.path())
            .stdout(Stdio::null())
            .kill_on_drop(true)
            .spawn()
            .expect("Redis starts");
        let redis = Self { process, port, _folder: folder };
        until("Redis answers", async || redis.try_to_do(&["PING"]).await.is_ok()).await;
        redis
    }

    async fn try_to_do(&self, words: &[&str]) -> redis::RedisResult<redis::Value> {
        let client = redis::Client::open(format!("redis://127.0.0.1:{}/", self.port)).expect("a URL");
        let mut connection = client.get_multiplexed_async_connection().await?;
        let mut command = redis::cmd(words[0]);
        words[1..].iter().for_each(|word| {
            command.arg(*word);
        });
        command.query_async(&mut connection).await
    }

    async fn does(&self, words: &[&str]) {
        self.try_to_do(words).await.unwrap_or_else(|error| panic!("{words:?}: {error}"));
    }
}

/// A name that leads new connections to another server when it is told to; those that are open stay where they are.
struct Name {
    address: String,
    leads_to: Arc<AtomicU16>,
}

impl Name {
    async fn of(redis: &Redis) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let address = listener.local_addr().expect("it is bound").to_string();
        let leads_to = Arc::new(AtomicU16::new(redis.port));
        let port = leads_to.clone();
        tokio::spawn(async move {
            while let Ok((mut client, _)) = listener.accept().await {
                let to = ("127.0.0.1", port.load(Ordering::Relaxed));
                tokio::spawn(async move {
                    if let Ok(mut server) = TcpStream::connect(to).await {
                        let _ = tokio::io::copy_bidirectional(&mut client, &mut server).await;
                    }
                });
            }
        });
        Self { address, leads_to }
    }

    fn leads_to(&self, redis: &Redis) {
        self.leads_to.store(redis.port, Ordering::Relaxed);
    }
}

/// Three processes of the product.
struct Fleet {
    app: App,
    processes: Vec<Child>,
    url: String,
    /// Where the worker and the scheduler tell how they are.
    worker: u16,
    scheduler: u16,
    sent: usize,
}

impl Fleet {
    /// With a customer who is known.
    async fn start(redis_address: &str) -> Self {
        let redis_url = format!("redis://{redis_address}/");
        let settings = [("REDIS_URL", redis_url.as_str()), ("RUST_LOG", "info"), ("LISTEN", "127.0.0.1:0")];
        let app = App::start_at(Pair::PostgresRedis, &settings, Clock::system()).await;
        let (worker, scheduler) = (free_port(), free_port());
        let mut api = app.program("recado-api", &settings).stderr(Stdio::piped()).spawn().expect("it starts");
        let log = api.stderr.take().expect("a pipe");
        let listening = |port: u16| format!("127.0.0.1:{port}");
        let (at_worker, at_scheduler) = (listening(worker), listening(scheduler));
        let start = |program: &str, address: &str| {
            let settings = [&settings[..2], &[("METRICS_LISTEN", address)]].concat();
            app.program(program, &settings).spawn().expect("it starts")
        };
        let processes = vec![start("recado-worker", &at_worker), start("recado-scheduler", &at_scheduler), api];
        let url = until_it_says("listening on ", log).await;
        let fleet = Self { app, processes, url, worker, scheduler, sent: 0 };
        fleet.post(SYNC_CUSTOMER, &sample::customer()).await;
        let known = async || fleet.app.dispatch(&sample::event()).await.status == 202;
        until("the customer is known", known).await;
        fleet.app.sandbox.smtp.wait_for(1, seconds(60)).await;
        Self { sent: 1, ..fleet }
    }

    async fn post(&self, path: &str, body: &Value) {
        let mut request = self.app.request(reqwest::Method::POST, path).json(body).build().expect("a request");
        *request.url_mut() = format!("{}{path}", self.url).parse().expect("a URL");
        self.app.execute(request).await.must_be(202);
    }

    /// An event goes in, and its mail comes out soon.
    async fn delivers(&mut self, when: &str) {
        self.post(DISPATCH, &sample::event()).await;
        self.arrives(1, when).await;
    }

    /// So many more mails come out soon.
    async fn arrives(&mut self, mails: usize, when: &str) {
        let since = Instant::now();
        self.sent += mails;
        self.app.sandbox.smtp.wait_for(self.sent, seconds(60)).await;
        assert!(since.elapsed() < SOON, "{when}: it took {:?}", since.elapsed());
    }

    /// What a process says of itself.
    async fn health(&self, url: &str) -> Value {
        let mut request = self.app.request(reqwest::Method::GET, "/health").build().expect("a request");
        *request.url_mut() = format!("{url}/health").parse().expect("a URL");
        self.app.execute(request).await.json()
    }

    async fn until_all_say(&self, status: &str) {
        let (worker, scheduler) = (self.worker, self.scheduler);
        for url in [self.url.clone(), format!("http://127.0.0.1:{scheduler}"), format!("http://127.0.0.1:{worker}")] {
            let what = format!("{url} says {status}");
            until(&what, async || self.health(&url).await["status"] == status).await;
        }
    }

    /// Everything arrived once.
    async fn stop(self) {
        for process in self.processes {
            terminate(process).await;
        }
        assert_eq!(self.app.mails().len(), self.sent, "nothing arrives twice");
        self.app.finish().await;
    }
}

// Field case 01: the primary is demoted, the name leads to the new one, open connections stay. redis-rb/redis-client#65,
// redis/go-redis#790, n8n-io/n8n#25038, rajnandan1/kener#711.
#[tokio::test]
async fn a_failover_is_followed() {
    let (old, new) = (Redis::start().await, Redis::start().await);
    new.does(&["REPLICAOF", "127.0.0.1", &old.port.to_string()]).await;
    until("it is a replica", async || is_replicated(&new).await).await;
    let name = Name::of(&old).await;
    let mut fleet = Fleet::start(&name.address).await;
    fleet.until_all_say("ok").await;

    new.does(&["REPLICAOF", "NO", "ONE"]).await;
    old.does(&["REPLICAOF", "127.0.0.1", &new.port.to_string()]).await;
    name.leads_to(&new);
    for number in 1..=5 {
        fleet.delivers(&format!("message {number} after a failover")).await;
    }
    fleet.until_all_say("ok").await;
    fleet.stop().await;
}

async fn is_replicated(redis: &Redis) -> bool {
    let info = redis.try_to_do(&["INFO", "replication"]).await.expect("it answers");
    format!("{info:?}").contains("master_link_status:up")
}

/// Its code, how it begins, and how it ends.
type Fault = (&'static str, &'static [&'static [&'static str]], &'static [&'static str]);

// The kind of field case 01: a server that answers and takes no rings. What cannot be rung is delivered all the same, and
// health says what is wrong until it is mended.
#[tokio::test]
async fn a_redis_that_refuses_writes_is_done_without() {
    let redis = Redis::start().await;
    let folder: PathBuf = redis._folder.path().into();
    let mut fleet = Fleet::start(&format!("127.0.0.1:{}", redis.port)).await;
    let faults: [Fault; 3] = [
        ("READONLY", &[&["REPLICAOF", "127.0.0.1", "1"]], &["REPLICAOF", "NO", "ONE"]),
        ("OOM", &[&["CONFIG", "SET", "maxmemory", "1"]], &["CONFIG", "SET", "maxmemory", "0"]),
        ("MISCONF", &[&["CONFIG", "SET", "save", "3600 1"], &["BGSAVE"]], &["CONFIG", "SET", "save", ""]),
    ];
    for (fault, begin, end) in faults {
        if fault == "MISCONF" {
            std::fs::remove_dir_all(&folder).expect("it cannot be written any more");
        }
        for command in begin {
            redis.does(command).await;
        }
        let refuses = async || {
            let written = redis.try_to_do(&["SET", "story", "1"]).await;
            written.is_err_and(|error| error.to_string().to_uppercase().replace('-', "").contains(fault))
        };
        until(fault, refuses).await;
        fleet.delivers(&format!("the first message at {fault}")).await;
        fleet.delivers(&format!("the second message at {fault}")).await;
        for url in [fleet.url.clone(), format!("http://127.0.0.1:{}", fleet.scheduler)] {
            until("health says so", async || fleet.health(&url).await["status"] == "degraded").await;
        }
        redis.does(end).await;
        fleet.until_all_say("ok").await;
        fleet.delivers(&format!("the first message after {fault}")).await;
    }
    fleet.stop().await;
}

// Field case 08: comet-ml/opik#5525, eggai-tech/EggAI#204, ag2ai/faststream#2611. A flush and a restart without persistence take
// all rings with them. And with a backlog, which no one rings again but who looks for it.
#[tokio::test]
async fn what_redis_forgets_is_delivered_soon() {
    const BACKLOG: usize = 200;
    let redis = Redis::start().await;
    let port = redis.port;
    let mut fleet = Fleet::start(&format!("127.0.0.1:{port}")).await;
    for number in 1..=3 {
        redis.does(&["FLUSHALL"]).await;
        fleet.delivers(&format!("the first message after flush {number}")).await;
    }
    let Redis { mut process, _folder, .. } = redis;
    process.kill().await.expect("it is ours");
    let redis = Redis::start_at(port).await;
    fleet.delivers("the first message after a restart").await;
    fleet.delivers("the second message after a restart").await;

    // The worker and the scheduler stand still, and what is accepted meanwhile is forgotten. The worker goes on alone.
    for process in &fleet.processes[..2] {
        signal("-STOP", process).await;
    }
    for _ in 0..BACKLOG {
        fleet.post(DISPATCH, &sample::event()).await;
    }
    redis.does(&["FLUSHALL"]).await;
    signal("-CONT", &fleet.processes[0]).await;
    fleet.arrives(1, "the first of a backlog after a flush").await;
    fleet.sent += BACKLOG - 1;
    fleet.app.sandbox.smtp.wait_for(fleet.sent, seconds(60)).await;
    signal("-CONT", &fleet.processes[1]).await;
    fleet.stop().await;
}

async fn signal(which: &str, process: &Child) {
    let id = process.id().expect("it runs").to_string();
    assert!(Command::new("kill").args([which, &id]).status().await.expect("kill runs").success());
}

// There may be no Redis at all: tasks are found in the ledger, also those that wait for their time.
#[tokio::test]
async fn without_redis_messages_are_delivered_at_a_modest_pace() {
    let mut fleet = Fleet::start(&format!("127.0.0.1:{}", free_port())).await;
    fleet.until_all_say("degraded").await;
    for _ in 0..100 {
        fleet.post(DISPATCH, &sample::event()).await;
    }
    fleet.arrives(1, "the first without Redis").await;
    fleet.sent += 99;
    fleet.app.sandbox.smtp.wait_for(fleet.sent, seconds(60)).await;
    fleet.stop().await;
}

// A worker whose heartbeat is not written loses what it holds, and says that it is not well: a `503` for whatever watches it.
#[tokio::test]
async fn a_worker_that_cannot_beat_says_so() {
    let port = free_port();
    let address = format!("127.0.0.1:{port}");
    let settings = [("WORKER_LEASE_SECONDS", "1"), ("METRICS_LISTEN", address.as_str())];
    let app = App::start_at(Pair::PostgresRedis, &[], Clock::system()).await;
    let worker = app.program("recado-worker", &settings).spawn().expect("it starts");
    until("it listens", async || TcpStream::connect(&address).await.is_ok()).await;
    let status = async || {
        let mut request = app.request(reqwest::Method::GET, "/health").build().expect("a request");
        *request.url_mut() = format!("http://{address}/health").parse().expect("a URL");
        app.execute(request).await.status
    };
    until("it is well", async || status().await == 200).await;
    let sql = async |statement: &'static str| {
        let mut session = app.begin().await;
        recado_kernel::sql!(run, &mut session, (statement)).expect(statement);
        session.commit().await.expect("it is committed");
    };
    sql("alter table workers rename to hidden").await;
    until("it is not well", async || status().await == 503).await;
    sql("alter table hidden rename to workers").await;
    until("it is well again", async || status().await == 200).await;
    terminate(worker).await;
    // What the worker plans by itself may wait when it is stopped.
    app.leave_work();
    app.finish().await;
}
