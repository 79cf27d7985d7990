//! A database under failure: full, locked, read-only, vanished. What was accepted is delivered, what was refused is not,
//! everything goes on by itself, and health tells the truth meanwhile.

use std::collections::HashSet;
use std::process::Stdio;
use std::time::{Duration, Instant};

use futures::future::join_all;
use recado_kernel::clock::Clock;
use serde_json::{Value, json};
use sqlx::postgres::PgConnection;
use sqlx::{AssertSqlSafe, Connection, Executor};
use tokio::process::{Child, Command};

use crate::harness::answer::Answer;
use crate::harness::app::{App, DISPATCH, START, at, until};
use crate::harness::pair::{Pair, Storage};
use crate::harness::program::free_port;
use crate::harness::proxy::Proxy;
use crate::harness::sample;

/// An event that can be told from the others by its plate.
fn event(plate: &str) -> Value {
    sample::event_with(json!({"context": {"placa": plate}}))
}

/// The plates of the mails that arrived.
fn arrived(app: &App, plates: &[String]) -> Vec<String> {
    let mails = app.mails();
    let times = |plate: &String| {
        mails
            .iter()
            .filter(|mail| mail.html().or(mail.text()).is_some_and(|words| words.contains(plate.as_str())))
            .count()
    };
    plates.iter().flat_map(|plate| vec![plate.clone(); times(plate)]).collect()
}

/// The whole product as one process that cannot write files larger than this.
async fn limited(app: &App, settings: &[(&str, &str)], bytes: u64) -> Child {
    let plain = app.program("recado", settings);
    // A write beyond the limit is an error then, and no signal.
    let script = "trap '' XFSZ; exec prlimit --fsize=\"$0\": \"$@\"";
    let mut command = Command::new("sh");
    command.args(["-c", script, &bytes.to_string()]).arg(plain.as_std().get_program()).arg("up");
    command.env_clear().envs(app.environment(settings)).env("PATH", "/usr/bin:/bin").current_dir(app.folder());
    command.stdin(Stdio::null()).stdout(Stdio::null()).kill_on_drop(true);
    command.spawn().expect("it starts")
}

/// There is room again.
async fn unlimited(process: &Child) {
    let id = process.id().expect("it runs").to_string();
    let done = Command::new("prlimit").args(["--pid", &id, "--fsize=unlimited:"]).status().await;
    assert!(done.expect("prlimit runs").success());
}

/// Asks another process of the product.
async fn ask(app: &App, url: &str, method: reqwest::Method, path: &str, body: Option<&Value>) -> Answer {
    let request = app.request(method, path);
    let mut request = body.map_or(request.try_clone().expect("it has no body"), |body| request.json(body));
    request = request.timeout(Duration::from_secs(60));
    let mut request = request.build().expect("a request");
    *request.url_mut() = format!("{url}{path}").parse().expect("a URL");
    app.execute(request).await
}

// A disk that fills and empties again under load (screenpipe#4607, zipline#1369, transact-rs/sqlx#4031): SQLite ends a
// transaction by itself then, and who counts transactions beside it was wrong for ever: `attempted to call begin_with at
// non-zero transaction depth`, 503 until a restart, and health said ok.
#[tokio::test]
async fn a_disk_that_fills_and_empties_again_loses_nothing() {
    let app = App::start_at(Pair::Embedded, &[], Clock::system()).await;
    app.know_carlos().await;
    let file = app.folder().join("recado.db");
    let port = free_port();
    let (url, listen) = (format!("http://127.0.0.1:{port}"), format!("127.0.0.1:{port}"));
    let settings = [("LISTEN", listen.as_str()), ("RUST_LOG", "warn")];
    let room = std::fs::metadata(&file).expect("the database exists").len() + 300_000;
    let process = limited(&app, &settings, room).await;
    let health = async || ask(&app, &url, reqwest::Method::GET, "/health", None).await;
    until("it listens", async || tokio::net::TcpStream::connect(&listen).await.is_ok()).await;
    until("it is well", async || health().await.status == 200).await;

    let (mut accepted, mut refused) = (Vec::new(), Vec::new());
    let mut dispatch = async |round: usize| {
        let plates: Vec<String> = (0..20).map(|number| format!("R{round:03}N{number:02}")).collect();
        let events: Vec<Value> = plates.iter().map(|plate| event(plate)).collect();
        let answers =
            join_all(events.iter().map(|event| ask(&app, &url, reqwest::Method::POST, DISPATCH, Some(event)))).await;
        for (plate, answer) in plates.into_iter().zip(answers) {
            match answer.status {
                202 => accepted.push(plate),
                503 => refused.push(plate),
                other => panic!("{other}: {}", answer.text),
            }
        }
        refused.len()
    };
    let mut round = 0;
    while dispatch(round).await < 40 {
        round += 1;
        assert!(round < 500, "the disk never fills");
    }
    let said = health().await;
    assert_eq!((said.status, said.json()["status"].clone()), (503, json!("unhealthy")), "{}", said.text);
    let word = said.json()["database"].clone();
    assert!(word == "full" || word == "disk", "{}", said.text);

    unlimited(&process).await;
    until("it is well again, by itself", async || health().await.status == 200).await;
    dispatch(round + 1).await;
    until("all that was accepted is delivered", async || {
        let arrived: HashSet<String> = arrived(&app, &accepted).into_iter().collect();
        arrived.len() == accepted.len()
    })
    .await;
    assert_eq!(arrived(&app, &refused), Vec::<String>::new(), "what was refused is not sent");
    app.leave_work();
    drop(process);
    app.finish().await;
}

/// A Recado whose way to PostgreSQL leads through a proxy, and a connection of the tests' own that does not.
async fn behind_proxy(settings: &[(&str, &str)]) -> (App, Proxy, PgConnection) {
    let clock = Clock::manual(at(START));
    let storage = Storage::create(Pair::PostgresRedis, clock.now()).await;
    let straight = PgConnection::connect(&storage.database_url).await.expect("PostgreSQL answers");
    let proxy = Proxy::before(&storage.database_url.parse().expect("a URL")).await;
    let url = proxy.url().to_string();
    let settings: Vec<(&str, &str)> = settings.iter().copied().chain([("DATABASE_URL", url.as_str())]).collect();
    let app = App::start_in(storage, &settings, clock).await;
    app.know_carlos().await;
    (app, proxy, straight)
}

async fn run(connection: &mut PgConnection, statement: &str) {
    connection.execute(AssertSqlSafe(statement.to_owned())).await.expect("PostgreSQL does as it is told");
}

// Refused but sent: while a table is locked, events are refused, and none of them is sent when it is free again: the
// caller's next try would be a second message.
#[tokio::test]
async fn what_is_refused_while_a_table_is_locked_is_never_sent() {
    let (app, _proxy, mut straight) = behind_proxy(&[]).await;
    run(&mut straight, "begin; lock table notifications in access exclusive mode").await;
    let plates: Vec<String> = (0..32).map(|number| format!("L{number:02}")).collect();
    let events: Vec<Value> = plates.iter().map(|plate| event(plate)).collect();
    let answers = join_all(events.iter().map(|event| app.dispatch(event))).await;
    assert_eq!(answers.iter().map(|answer| answer.status).collect::<HashSet<_>>(), HashSet::from([503]));
    let said = app.get("/health").await.must_be(503);
    assert_eq!(said["database"], "locked", "{said}");
    run(&mut straight, "rollback").await;

    let again = app.dispatch(&event("AGAIN")).await;
    assert_eq!(again.status, 202, "{}", again.text);
    app.later(Duration::from_secs(60)).await;
    assert_eq!(arrived(&app, &plates), Vec::<String>::new());
    assert_eq!(app.mails().len(), 1);
    app.finish().await;
}

// Connections that vanish: the host died, a firewall forgot. New ones work, so as usual within 30 s; it took 123 s, and
// 360 s in one run. An event whose answer never came is looked up: it was written once, and is sent once.
#[tokio::test]
async fn connections_that_vanish_are_left() {
    // One connection, which has prepared the statement: else the answer that never comes may be that of its preparation.
    let (app, proxy, mut straight) = behind_proxy(&[("DATABASE_MAX_CONNECTIONS", "1")]).await;
    app.task_for(&event("BEFORE")).await;
    // A statement is under way and waits; the question was asked, and its answer will not come.
    run(&mut straight, "begin; lock table notifications in access exclusive mode").await;
    let started = Instant::now();
    let asking = event("MIDDLE");
    let mut middle = Box::pin(app.dispatch(&asking));
    let waits = async || {
        let waiting =
            "select count(*) from pg_stat_activity where wait_event_type = 'Lock' and datname = current_database()";
        let waiting: i64 = sqlx::query_scalar(waiting).fetch_one(&mut straight).await.expect("PostgreSQL answers");
        (waiting > 0).then_some(())
    };
    tokio::select! {
        answer = &mut middle => panic!("{}", answer.text),
        () = wait_for(waits) => {}
    }
    proxy.vanish();
    run(&mut straight, "rollback").await;
    let answer = middle.await;
    assert_eq!(answer.status, 202, "it stands: {}", answer.text);
    assert_eq!(app.dispatch(&event("AFTER")).await.status, 202);
    assert!(started.elapsed() < Duration::from_secs(30), "{:?}", started.elapsed());

    app.later(Duration::from_secs(60)).await;
    let plates = ["BEFORE", "MIDDLE", "AFTER"].map(str::to_owned);
    assert_eq!(arrived(&app, &plates), plates);
    app.finish().await;
}

/// Looks until there is something.
async fn wait_for<T>(mut look: impl AsyncFnMut() -> Option<T>) -> T {
    let mut looks = tokio::time::interval(Duration::from_millis(20));
    loop {
        looks.tick().await;
        if let Some(found) = look().await {
            return found;
        }
    }
}

// A server that hangs while it is asked: everything is refused in time, and health says so; when it is back, the next
// event is taken at once.
#[tokio::test]
async fn a_server_that_hangs_is_said_and_left_behind() {
    let (app, proxy, _straight) = behind_proxy(&[]).await;
    proxy.hang();
    let started = Instant::now();
    let refused = app.dispatch(&event("HUNG")).await;
    assert_eq!(refused.status, 503, "{}", refused.text);
    assert!(started.elapsed() < Duration::from_secs(30), "{:?}", started.elapsed());
    assert_eq!(app.get("/health").await.must_be(503)["database"], "unavailable");
    proxy.recover();
    until("events are taken", async || app.dispatch(&event("BACK")).await.status == 202).await;
    until("health says so", async || app.get("/health").await.status == 200).await;
    app.later(Duration::from_secs(60)).await;
    assert_eq!(arrived(&app, &["HUNG".to_owned(), "BACK".to_owned()]), ["BACK"]);
    app.finish().await;
}

// A primary that became read-only was left after 600 s at the latest, and health said ok: a connection that is told so is
// not used again, and neither are its neighbours of the same age.
#[tokio::test]
async fn a_read_only_server_is_said_and_left() {
    let (app, proxy, mut straight) = behind_proxy(&[]).await;
    let (name,): (String,) =
        sqlx::query_as("select current_database()").fetch_one(&mut straight).await.expect("PostgreSQL answers");
    run(&mut straight, &format!("alter database {name} set default_transaction_read_only = on")).await;
    proxy.cut();
    assert_eq!(app.dispatch(&event("REFUSED")).await.status, 503);
    let said = app.get("/health").await.must_be(503);
    assert_eq!((&said["status"], &said["database"]), (&json!("unhealthy"), &json!("read_only")), "{said}");
    app.get("/api/v1/health/database/").await.must_be(503);

    // Connections that stand stay read-only; new ones meet the new primary.
    join_all((0..5).map(|_| app.get("/api/v1/notifications/customers/"))).await;
    run(&mut straight, "set default_transaction_read_only = off").await;
    run(&mut straight, &format!("alter database {name} reset default_transaction_read_only")).await;
    let started = Instant::now();
    assert_eq!(app.dispatch(&event("TAKEN")).await.status, 202, "the first event after");
    assert!(started.elapsed() < Duration::from_secs(5), "{:?}", started.elapsed());
    until("health says so", async || app.get("/health").await.status == 200).await;
    app.later(Duration::from_secs(60)).await;
    assert_eq!(arrived(&app, &["REFUSED".to_owned(), "TAKEN".to_owned()]), ["TAKEN"]);
    app.finish().await;
}
