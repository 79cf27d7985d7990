//! The program as a new user runs it.

use std::process::{Command, Output};

/// Runs `recado` with these arguments, an empty environment and a data folder that does not exist.
fn recado(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_recado"))
        .args(arguments)
        .env_clear()
        .env("PATH", "/usr/bin:/bin")
        .env("TMPDIR", env!("CARGO_TARGET_TMPDIR"))
        .env("RECADO_HOME", concat!(env!("CARGO_TARGET_TMPDIR"), "/nowhere"))
        .current_dir(env!("CARGO_TARGET_TMPDIR"))
        .output()
        .expect("the program starts")
}

fn text(bytes: &[u8]) -> &str {
    std::str::from_utf8(bytes).expect("UTF-8")
}

#[cfg(feature = "sandbox")]
#[test]
fn the_demo_delivers_the_sample_and_leaves_nothing_behind() {
    let output = recado(&["demo"]);
    let printed = text(&output.stdout);
    assert!(output.status.success(), "{printed}\n{}", text(&output.stderr));
    for part in ["202 Accepted", "email: attempt 1, sent", "email: sent to carlos@example.com", "Haval H6 2024"] {
        assert!(printed.contains(part), "{part} is missing in:\n{printed}");
    }
    let folder = printed.split("SQLite in ").nth(1).and_then(|rest| rest.split("/recado.db").next());
    let folder = folder.expect("the database's folder is named");
    assert!(!std::path::Path::new(folder).exists(), "{folder} is still there");
}

#[cfg(not(feature = "sandbox"))]
#[test]
fn without_the_sandbox_the_demo_is_refused_with_the_remedy() {
    let output = recado(&["demo"]);
    assert_eq!(output.status.code(), Some(1));
    assert!(text(&output.stderr).contains("make demo"), "{}", text(&output.stderr));
}

#[test]
fn a_wrong_command_line_is_status_2_and_names_the_remedy() {
    let output = recado(&["tasks", "list", "--state", "tired"]);
    assert_eq!(output.status.code(), Some(2));
    assert!(text(&output.stderr).contains("scheduled, queued, started"), "{}", text(&output.stderr));
}

#[test]
fn reading_a_ledger_that_does_not_exist_does_not_create_it() {
    let output = recado(&["tasks", "list"]);
    assert_eq!(output.status.code(), Some(1));
    assert!(text(&output.stderr).contains("there is no database at"), "{}", text(&output.stderr));
    assert!(!std::path::Path::new(concat!(env!("CARGO_TARGET_TMPDIR"), "/nowhere")).exists());
}

#[test]
fn a_fleet_without_redis_is_refused() {
    for program in ["api", "worker", "scheduler"] {
        let output = recado(&[program]);
        assert_eq!(output.status.code(), Some(1), "{program}");
        assert!(text(&output.stderr).contains("REDIS_URL"), "{program}: {}", text(&output.stderr));
    }
}

#[test]
fn an_address_without_a_server_is_not_healthy() {
    let output = recado(&["health", "http://127.0.0.1:1"]);
    assert_eq!(output.status.code(), Some(1));
    assert!(text(&output.stderr).contains("http://127.0.0.1:1/health"), "{}", text(&output.stderr));
}
