//! The product's own programs, started as an operator starts them: as processes.

use std::hash::{BuildHasher, Hasher, RandomState};
use std::net::TcpListener;
use std::path::PathBuf;
use std::process::{Output, Stdio};

use recado_kernel::clock::Clock;
use serde_json::Value;
use tokio::process::{Child, Command};

use crate::harness::app::{App, WAIT_TIMEOUT, seconds};

/// A port for a program that is started afterwards. Not one of those that the system gives away (32768 and above on Linux): another
/// story would get it before the program binds it.
pub(crate) fn free_port() -> u16 {
    let some = || 20_000 + (RandomState::new().build_hasher().finish() % 12_000) as u16;
    std::iter::repeat_with(some)
        .find(|port| TcpListener::bind(("127.0.0.1", *port)).is_ok())
        .expect("it goes on until then")
}

impl App {
    /// A program of the product that joins this telling, with further settings.
    pub(crate) fn program(&self, name: &str, settings: &[(&str, &str)]) -> Command {
        let mut command = Command::new(built(name));
        command.env_clear().envs(self.environment(settings)).current_dir(self.folder());
        command.stdin(Stdio::null()).kill_on_drop(true);
        command
    }

    /// Runs `recado` with these arguments to its end.
    pub(crate) async fn recado(&self, arguments: &[&str]) -> Output {
        self.program("recado", &[]).args(arguments).output().await.expect("the program runs")
    }

    /// What `recado --json` prints when it goes well.
    pub(crate) async fn recado_json(&self, arguments: &[&str]) -> Value {
        let output = self.recado(&[&["--json"], arguments].concat()).await;
        assert!(output.status.success(), "{arguments:?}: {}", errors(&output));
        serde_json::from_slice(&output.stdout).unwrap_or_else(|error| panic!("{arguments:?}: {error}"))
    }

    /// Programs read the system's clock, so a story that runs some of them begins now.
    pub(crate) fn live_now(&self) {
        self.clock.set(Clock::system().now());
    }

    /// A moment after what a program did just now: what it could not ring is found and worked off.
    pub(crate) async fn notice(&self) {
        self.clock.set(Clock::system().now() + seconds(6));
        self.later(seconds(0)).await;
    }
}

pub(crate) fn errors(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

pub(crate) fn words(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// The programs lie beside the folder of the tests.
pub(crate) fn built(name: &str) -> PathBuf {
    let tests = std::env::current_exe().expect("this program is a file");
    let folder = tests.parent().and_then(|deps| deps.parent()).expect("target/debug/deps");
    let path = folder.join(name);
    assert!(path.exists(), "{} is not built; run `make test`, which builds it", path.display());
    path
}

/// Asks a process to stop, and waits until it has: well, and in time.
pub(crate) async fn terminate(mut process: Child) {
    let id = process.id().expect("it runs").to_string();
    assert!(Command::new("kill").args(["-TERM", &id]).status().await.expect("kill runs").success());
    let status = tokio::time::timeout(WAIT_TIMEOUT, process.wait())
        .await
        .expect("it stops in time")
        .expect("it can be waited for");
    assert!(status.success(), "{status}");
}
