//! How programs start: what they read, and what they say when something is wrong.

use std::process::Output;
use std::time::{Duration, Instant};

use sqlx::Executor;
use sqlx::postgres::PgPool;

use crate::harness::app::App;
use crate::harness::pair::{Pair, story};
use crate::harness::program::{errors, words};

impl App {
    /// Writes `.env` into the folder in which programs run.
    fn write_dotenv(&self, text: &[u8]) {
        std::fs::write(self.folder().join(".env"), text).expect("the folder can be written");
    }

    /// `recado config` with nothing in its environment but these.
    async fn config(&self, settings: &[(&str, &str)]) -> Output {
        let mut command = self.program("recado", &[]);
        command.env_clear().envs(settings.iter().copied()).args(["--json", "config"]);
        command.output().await.expect("the program runs")
    }

    /// What a scheduler that starts with these settings complains about, and that it does so at once.
    async fn complaint(&self, settings: &[(&str, &str)]) -> String {
        let began = Instant::now();
        let output = self.program("recado-scheduler", settings).arg("--once").output().await.expect("it runs");
        let told = errors(&output);
        assert!(!output.status.success(), "{settings:?} was taken: {told}");
        assert!(began.elapsed() < Duration::from_secs(8), "it took {:?}: {told}", began.elapsed());
        told
    }
}

// `$` in a value cut it off without a word, in quotes the start failed with the password in its message, and of a name that stood
// twice the first value counted (dotenvy#100, django-dotenv#53, dotenvx#240, motdotla/dotenv#633).
story!(dotenv_is_read_as_it_is_written, async |app: &App| {
    app.write_dotenv(
        b"\xef\xbb\xbfEVOLUTION_API_URL=http://h\r\nEVOLUTION_API_KEY=k\r\nEVOLUTION_INSTANCE=first\r\n\
          export EVOLUTION_INSTANCE=ab$cd # the one of the workshop\r\nFRONTEND_URL=https://set.in.the/file\r\n",
    );
    let output = app.config(&[("FRONTEND_URL", "https://set.in.the/environment")]).await;
    let config: serde_json::Value = serde_json::from_slice(&output.stdout).expect("JSON");
    assert_eq!(config["EVOLUTION_INSTANCE"], "ab$cd");
    assert_eq!(config["FRONTEND_URL"], "https://set.in.the/environment");

    for (text, expected) in [
        (&b"A=1\nEMAIL_HOST_PASSWORD=\"S3cret$x9\nB=2"[..], "line 2 (EMAIL_HOST_PASSWORD) opens a quote"),
        (b"EMAIL_HOST_PASSWORD='S3cret'x9'", "line 1 (EMAIL_HOST_PASSWORD) goes on after"),
        (b"\nEMAIL_HOST_PASSWORD=S3cret\xf1\n", "line 2 (EMAIL_HOST_PASSWORD) has letters that are not UTF-8"),
        (b"# x\nEMAIL_PORT=S3cret", "EMAIL_PORT (line 2 of .env) cannot be used: write a number"),
        (
            b"DATABASE_URL=mysql://u:S3cret@h/d",
            "DATABASE_URL (line 1 of .env) cannot be used: begin with postgresql://",
        ),
    ] {
        app.write_dotenv(text);
        let output = app.config(&[]).await;
        let told = errors(&output);
        assert!(!output.status.success() && told.contains(expected), "{told}");
        assert!(!format!("{told}{}", words(&output)).contains("S3cret"), "{told}");
    }
});

// Every mistake is told at once, with the remedy.
story!(wrong_settings_are_told_at_the_start, async |app: &App| {
    let told = app
        .complaint(&[
            ("EMAIL_HOST", "smtp.example.com:587"),
            ("DEFAULT_COUNTRY", "Ecuador"),
            ("VAPID_CONTACT_EMAIL", "admin@localhost"),
            ("RUST_LOG", "x=="),
            ("REDIS_URL", "rediss://h/0?ssl_cert_reqs=none"),
        ])
        .await;
    for name in ["EMAIL_HOST", "DEFAULT_COUNTRY", "VAPID_CONTACT_EMAIL", "RUST_LOG", "REDIS_URL"] {
        assert!(told.contains(&format!("- {name} cannot be used: ")), "{name}: {told}");
    }
});

// A database that cannot be reached was a pool that timed out, after ten seconds (sqlx#744, #3808, #865).
#[tokio::test]
async fn a_database_that_refuses_us_is_told_with_its_cause() {
    let app = App::start(Pair::PostgresRedis, &[]).await;
    let changed = |change: &dyn Fn(&mut url::Url)| {
        let mut url: url::Url = app.environment(&[])["DATABASE_URL"].parse().expect("a URL");
        change(&mut url);
        url.to_string()
    };
    let role = format!("limited_{}", std::process::id());
    let pool = PgPool::connect(&changed(&|_| {})).await.expect("PostgreSQL answers");
    let create = format!("create role {role} login connection limit 0");
    pool.execute(sqlx::AssertSqlSafe(create)).await.expect("a role");
    for (url, cause) in [
        (changed(&|url| url.set_port(Some(1)).expect("a port")), "refused"),
        (changed(&|url| url.set_path("nowhere")), "database \"nowhere\" does not exist"),
        (changed(&|url| url.set_username("nobody").expect("a user")), "role \"nobody\" does not exist"),
        (changed(&|url| url.set_username(&role).expect("a user")), "too many connections"),
    ] {
        let told = app.complaint(&[("DATABASE_URL", &url)]).await;
        assert!(told.contains(cause), "{url}: {told}");
    }
    pool.execute(sqlx::AssertSqlSafe(format!("drop role {role}"))).await.expect("dropped");
    pool.close().await;
    app.finish().await;
}

// A wrong password of Redis started everything, and the log did not say what was wrong.
#[tokio::test]
async fn a_redis_that_refuses_us_is_told_with_its_cause() {
    let app = App::start(Pair::PostgresRedis, &[]).await;
    let changed = |change: &dyn Fn(&mut url::Url)| {
        let mut url: url::Url = app.environment(&[])["REDIS_URL"].parse().expect("a URL");
        change(&mut url);
        url.to_string()
    };
    let wrong_password = changed(&|url| url.set_password(Some("S3cret")).expect("a password"));
    let told = app.complaint(&[("REDIS_URL", &wrong_password)]).await;
    assert!(told.contains("REDIS_URL") && told.contains("Password authentication failed"), "{told}");
    assert!(!told.contains("S3cret"), "{told}");
    let no_such_database = changed(&|url| url.set_path("999999"));
    let told = app.complaint(&[("REDIS_URL", &no_such_database)]).await;
    assert!(told.contains("refused to switch database"), "{told}");

    // One that is away may come later: work is taken meanwhile, and the log says why nothing moves.
    let away = changed(&|url| url.set_port(Some(1)).expect("a port"));
    let output =
        app.program("recado-scheduler", &[("REDIS_URL", &away)]).arg("--once").output().await.expect("it runs");
    assert!(errors(&output).contains("Redis does not answer, work waits until it does: "), "{}", errors(&output));
    assert!(errors(&output).contains("refused"), "{}", errors(&output));
    app.finish().await;
}
