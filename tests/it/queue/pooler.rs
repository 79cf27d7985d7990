//! Behind a transaction pooler, as Supabase offers one on port 6543: every transaction may meet another connection.

use std::process::Stdio;

use recado_kernel::clock::Clock;
use tokio::net::TcpStream;
use tokio::process::{Child, Command};

use crate::harness::app::{App, START, at, until};
use crate::harness::pair::{Pair, Storage, server};
use crate::harness::sample;

/// The port by which Recado recognises a transaction pooler.
const POOLER: &str = "127.0.0.1:6543";

/// PgBouncer in front of the tests' own PostgreSQL, with so few connections that transactions change places.
async fn pgbouncer(folder: &std::path::Path) -> Child {
    let postgres = server("TEST_DATABASE_URL");
    let (host, port) = (postgres.host_str().expect("a host"), postgres.port().expect("a port"));
    let user = postgres.username();
    let settings = format!(
        "[databases]\n* = host={host} port={port} user={user}\n[pgbouncer]\nlisten_addr = 127.0.0.1\nlisten_port = 6543\n\
         unix_socket_dir =\nauth_type = any\npool_mode = transaction\ndefault_pool_size = 3\n\
         ignore_startup_parameters = extra_float_digits\n"
    );
    let file = folder.join("pgbouncer.ini");
    tokio::fs::write(&file, settings).await.expect("the settings are written");
    // It refuses to run as root, and nobody else may look into the folder: the settings come in as its standard input.
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
    let pooler = command.spawn().expect("PgBouncer starts; `make test` installs it");
    until("PgBouncer listens", async || TcpStream::connect(POOLER).await.is_ok()).await;
    pooler
}

async fn is_root() -> bool {
    let id = Command::new("id").arg("-u").output().await.expect("id runs");
    id.stdout.trim_ascii() == b"0"
}

// S002-P6: migrations, events, deliveries and their status through a pooler that hands every transaction another
// connection, where no prepared statement has a home.
#[tokio::test]
async fn a_transaction_pooler_is_no_obstacle() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let _pooler = pgbouncer(folder.path()).await;
    let clock = Clock::manual(at(START));
    let storage = Storage::create(Pair::PostgresRedis, clock.now()).await;
    let (_, database) = storage.database_url.rsplit_once('/').expect("the URL ends with the database");
    let url = format!("postgresql://recado@{POOLER}/{database}");
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
