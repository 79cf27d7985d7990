//! Behind a transaction pooler, as Supabase offers one on port 6543: every transaction may meet another connection.

use std::cell::Cell;
use std::process::Stdio;

use recado_kernel::clock::Clock;
use recado_kernel::sql;
use sqlx::postgres::PgConnection;
use sqlx::{Connection, Executor};
use tokio::net::TcpStream;
use tokio::process::{Child, Command};

use crate::harness::app::{App, START, WAIT_TIMEOUT, at, until};
use crate::harness::pair::{Pair, Storage, server};
use crate::harness::program::{errors, free_port};
use crate::harness::sample;

/// The port by which Recado recognises a transaction pooler.
const POOLER: &str = "127.0.0.1:6543";

/// How often every process is started: what a process leaves behind on the pooler's connections shows at the second start, or
/// the third.
const RESTARTS: usize = 10;

/// PgBouncer, and the turn of the test that has it: there is one port.
struct Pooler {
    _process: Child,
    _turn: PgConnection,
}

/// PgBouncer where Recado recognises it by its port.
async fn pgbouncer(folder: &std::path::Path) -> Pooler {
    let postgres = server("TEST_DATABASE_URL");
    let mut turn = PgConnection::connect(postgres.as_str()).await.expect("PostgreSQL answers");
    turn.execute("select pg_advisory_lock(6543)").await.expect("its turn comes");
    Pooler { _process: pgbouncer_at(POOLER, "transaction", folder).await, _turn: turn }
}

/// PgBouncer in front of the tests' own PostgreSQL, with so few connections that transactions change places.
async fn pgbouncer_at(address: &str, mode: &str, folder: &std::path::Path) -> Child {
    let postgres = server("TEST_DATABASE_URL");
    let (_, listen_port) = address.rsplit_once(':').expect("an address ends with its port");
    let (host, port) = (postgres.host_str().expect("a host"), postgres.port().expect("a port"));
    let user = postgres.username();
    // Where each client keeps its connection, there is one for each.
    let pool_size = if mode == "session" { 20 } else { 3 };
    let settings = format!(
        "[databases]\n* = host={host} port={port} user={user}\n[pgbouncer]\nlisten_addr = 127.0.0.1\nlisten_port = {listen_port}\n\
         unix_socket_dir =\nauth_type = any\npool_mode = {mode}\ndefault_pool_size = {pool_size}\n\
         ignore_startup_parameters = extra_float_digits\n"
    );
    let file = folder.join("pgbouncer.ini");
    tokio::fs::write(&file, settings).await.expect("the settings are written");
    // It refuses to run as root, and no one else may look into the folder: the settings come in as its standard input.
    let settings = std::fs::File::open(&file).expect("they are there");
    let mut command = Command::new("/usr/sbin/pgbouncer");
    command
        .args(["-q", "/dev/stdin"])
        .stdin(settings)
        .stdout(Stdio::null())
        .stderr(Stdio::inherit())
        .kill_on_drop(true);
    if is_root().await {
        command.args(["-u", "nobody"]);
    }
    let process = command.spawn().expect("PgBouncer starts; `make test` installs it");
    until("PgBouncer listens", async || TcpStream::connect(address).await.is_ok()).await;
    process
}

async fn is_root() -> bool {
    let id = Command::new("id").arg("-u").output().await.expect("id runs");
    id.stdout.trim_ascii() == b"0"
}

/// A storage whose way leads through the pooler, and the URL of it.
async fn pooled(address: &str, clock: &Clock) -> (Storage, String) {
    let storage = Storage::create(Pair::PostgresRedis, clock.now()).await;
    let (_, database) = storage.database_url.rsplit_once('/').expect("the URL ends with the database");
    let url = format!("postgresql://recado@{address}/{database}");
    (storage, url)
}

// S002-P6, transact-rs/sqlx#67, sqlpage/SQLPage#131: the third `recado migrate` and every second start of the API ended with
// `prepared statement "sqlx_s_1" already exists`. Every program starts as often as one likes, and works.
#[tokio::test]
async fn every_process_restarts_behind_a_transaction_pooler() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let _pooler = pgbouncer(folder.path()).await;
    let clock = Clock::system();
    let (storage, url) = pooled(POOLER, &clock).await;
    let settings = [("DATABASE_URL", url.as_str()), ("RUST_LOG", "warn"), ("METRICS_LISTEN", "")];
    let app = App::start_in(storage, &settings, clock).await;
    app.know_carlos().await;

    for command in [&["migrate"][..], &["seed_initial_data"], &["queues"], &["tasks", "list"], &["schedules", "list"]] {
        for start in 0..RESTARTS {
            let output = app.program("recado", &settings).args(command).output().await.expect("the program runs");
            assert!(output.status.success(), "{command:?}, start {start}: {}", errors(&output));
        }
    }
    for start in 0..RESTARTS {
        let listen = free_address();
        let settings = [settings[0], settings[1], settings[2], ("LISTEN", listen.as_str())];
        let api = app.program("recado-api", &settings).spawn().expect("it starts");
        let worker = app.program("recado-worker", &settings).spawn().expect("it starts");
        let scheduler = app.program("recado-scheduler", &settings).spawn().expect("it starts");
        let healthy = async || ask(&app, &format!("http://{listen}"), "/health").await == Some(200);
        until("the API is well", healthy).await;
        app.dispatch(&sample::event()).await.must_be(202);
        app.sandbox.smtp.wait_for(start + 1, WAIT_TIMEOUT).await;
        for mut process in [api, worker, scheduler] {
            assert!(process.try_wait().expect("it can be asked").is_none(), "it runs, start {start}");
            // Without a word: what it held stays with the pooler.
            process.kill().await.expect("SIGKILL reaches it");
        }
    }
    app.leave_work();
    app.finish().await;
}

fn free_address() -> String {
    format!("127.0.0.1:{}", free_port())
}

/// The status with which another process answers; nothing while it does not.
async fn ask(app: &App, url: &str, path: &str) -> Option<u16> {
    TcpStream::connect(url.trim_start_matches("http://")).await.ok()?;
    let mut request = app.request(reqwest::Method::GET, path).build().expect("a request");
    *request.url_mut() = format!("{url}{path}").parse().expect("a URL");
    Some(app.execute(request).await.status)
}

// S002-P6: migrations, events, deliveries and their status through a pooler that hands every transaction another
// connection, where no prepared statement has a home.
#[tokio::test]
async fn a_transaction_pooler_is_no_obstacle() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let _pooler = pgbouncer(folder.path()).await;
    let clock = Clock::manual(at(START));
    let (storage, url) = pooled(POOLER, &clock).await;
    let app = App::start_in(storage, &[("DATABASE_URL", url.as_str())], clock).await;
    app.context.db.migrate().await.expect("the migrations run through the pooler");

    app.know_carlos().await;
    let event = sample::event();
    let tasks = futures::future::join_all((0..20).map(|_| app.task_for(&event))).await;
    app.drain().await;
    for task in tasks {
        let status = app.status(task).await;
        assert_eq!(status["status"], "SUCCESS", "{status}");
    }
    assert_eq!(app.mails().len(), 20);
    app.get("/api/v1/analytics/summary/").await.must_be(200);
    assert_eq!(app.get("/api/v1/health/database/").await.must_be(200)["database"]["port"], 6543);
    app.finish().await;
}

// PgBouncer's own port is 6432, and that of Supabase and RDS is 5432: a transaction pooler is recognised by what it does.
#[tokio::test]
async fn a_transaction_pooler_is_recognised_on_any_port() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let address = free_address();
    let _pooler = pgbouncer_at(&address, "transaction", folder.path()).await;
    let clock = Clock::manual(at(START));
    let (storage, url) = pooled(&address, &clock).await;
    let app = App::start_in(storage, &[("DATABASE_URL", url.as_str())], clock).await;
    assert_eq!(prepared_statements(&app).await, 0);
    twenty_mails_leave(&app).await;
    assert_eq!(prepared_statements(&app).await, 0, "nothing was left on the pooler's connections");
    app.finish().await;
}

// The pooler's mode is changed under a running process: the statement that is lost says so, and no further one is prepared.
#[tokio::test]
async fn a_pooler_that_changes_its_mode_is_noticed() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let address = free_address();
    let mut pooler = pgbouncer_at(&address, "session", folder.path()).await;
    let clock = Clock::manual(at(START));
    let (storage, url) = pooled(&address, &clock).await;
    let app = App::start_in(storage, &[("DATABASE_URL", url.as_str())], clock).await;
    twenty_mails_leave(&app).await;
    assert!(prepared_statements(&app).await > 0, "a pooler of sessions is no reason to do without");

    pooler.kill().await.expect("SIGKILL reaches it");
    let _pooler = pgbouncer_at(&address, "transaction", folder.path()).await;
    let noticed = Cell::new(false);
    until("a statement is lost", async || {
        // Several at once, so that statements change places.
        let asked = (0..8).map(|_| app.get("/api/v1/notifications/customers/"));
        let answers = futures::future::join_all(asked).await;
        assert!(answers.iter().all(|answer| [200, 503].contains(&answer.status)), "it is no mistake of ours");
        noticed.set(noticed.get() || answers.iter().any(|answer| answer.status == 503));
        noticed.get()
    })
    .await;
    assert!(!matches!(app.get("/api/v1/notifications/customers/").await.status, 503), "the next one is not prepared");
    twenty_mails_leave(&app).await;
    app.finish().await;
}

/// How many named statements the server has for a connection of ours, asked several times: each time it may be another.
async fn prepared_statements(app: &App) -> i64 {
    let mut most = 0;
    for _ in 0..5 {
        let mut session = app.begin().await;
        let count: Option<(i64,)> =
            sql!(one(i64,), &mut session, "select count(*) from pg_prepared_statements where name <> ''")
                .expect("it is counted");
        most = most.max(count.expect("a row").0);
    }
    most
}

async fn twenty_mails_leave(app: &App) {
    let before = app.mails().len();
    app.know_carlos().await;
    let event = sample::event();
    let tasks = futures::future::join_all((0..20).map(|_| app.task_for(&event))).await;
    app.drain().await;
    for task in tasks {
        let status = app.status(task).await;
        assert_eq!(status["status"], "SUCCESS", "{status}");
    }
    assert_eq!(app.mails().len(), before + 20);
}
