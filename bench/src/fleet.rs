//! The product's own programs as processes, of whichever version: they are configured by the environment and spoken to
//! over HTTP alone.

use std::error::Error;
use std::fs::{self, File};
use std::io;
use std::net::{SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use tokio::process::{Child, Command};

use crate::load;
use crate::processes::{peak_memory, processor_time};

/// Until the API answers.
const START_TIMEOUT: Duration = Duration::from_secs(30);

/// What the programs are told to use.
pub(crate) struct Settings<'a> {
    pub(crate) database_url: &'a str,
    pub(crate) redis_url: &'a str,
    pub(crate) smtp: SocketAddr,
    /// URL and secret of a WhatsApp bridge.
    pub(crate) bridge: Option<(&'a str, &'a str)>,
}

/// One API, one worker, one scheduler. They end when this is dropped.
pub(crate) struct Fleet {
    pub(crate) address: SocketAddr,
    api: Child,
    worker: Child,
    scheduler: Child,
    home: Home,
}

impl Fleet {
    /// Makes the schema and the catalogue in the database, and starts the programs of a folder.
    ///
    /// # Errors
    /// When a program cannot be started or ends. The error holds what it said.
    pub(crate) async fn start(programs: &Path, settings: &Settings<'_>) -> Result<Self, Box<dyn Error + Send + Sync>> {
        let home = Home::new()?;
        let address = free_address()?;
        let command = |name| home.command(programs, name, address, settings);
        let seeded = command("recado")?.arg("seed_initial_data").status().await?;
        if !seeded.success() {
            return Err(home.told("recado").into());
        }
        let [api, worker, scheduler] =
            ["recado-api", "recado-worker", "recado-scheduler"].map(|name| command(name)?.spawn());
        let mut fleet = Self { address, api: api?, worker: worker?, scheduler: scheduler?, home };
        fleet.until_ready().await?;
        Ok(fleet)
    }

    async fn until_ready(&mut self) -> Result<(), Box<dyn Error + Send + Sync>> {
        let started = Instant::now();
        while !load::is_ready(self.address).await {
            if self.api.try_wait()?.is_some() || started.elapsed() > START_TIMEOUT {
                return Err(self.home.told("recado-api").into());
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        Ok(())
    }

    /// Of all three, since their start.
    pub(crate) fn processor_time(&self) -> io::Result<Duration> {
        [&self.api, &self.worker, &self.scheduler].map(pid).into_iter().map(|pid| processor_time(pid?)).sum()
    }

    /// MiB, since its start.
    pub(crate) fn peak_memory_of_api(&self) -> io::Result<f64> {
        peak_memory(pid(&self.api)?)
    }

    /// MiB, since its start.
    pub(crate) fn peak_memory_of_worker(&self) -> io::Result<f64> {
        peak_memory(pid(&self.worker)?)
    }

    /// What the worker said last, to explain why mails are missing.
    pub(crate) fn told_by_worker(&self) -> String {
        self.home.told("recado-worker")
    }

    /// At once: what they leave undone goes with the database.
    pub(crate) async fn stop(mut self) -> io::Result<()> {
        for child in [&mut self.api, &mut self.worker, &mut self.scheduler] {
            child.kill().await?;
        }
        Ok(())
    }
}

fn pid(child: &Child) -> io::Result<u32> {
    child.id().ok_or_else(|| io::Error::other("a program of the product has ended"))
}

/// The programs are told their port, because only the log would say which one they took.
fn free_address() -> io::Result<SocketAddr> {
    TcpListener::bind("127.0.0.1:0")?.local_addr()
}

/// The folder in which the programs run, with their logs. It goes when this is dropped.
struct Home(PathBuf);

impl Home {
    fn new() -> io::Result<Self> {
        let folder = std::env::temp_dir().join(format!("recado-bench-{}", std::process::id()));
        fs::create_dir_all(&folder)?;
        Ok(Self(folder))
    }

    fn command(&self, programs: &Path, name: &str, address: SocketAddr, settings: &Settings) -> io::Result<Command> {
        let log = File::create(self.log(name))?;
        let mut command = Command::new(programs.join(name));
        command
            // There, so that no .env is found.
            .current_dir(&self.0)
            .env("RECADO_HOME", &self.0)
            .env("DATABASE_URL", settings.database_url)
            .env("REDIS_URL", settings.redis_url)
            .env("LISTEN", address.to_string())
            .env("EMAIL_HOST", settings.smtp.ip().to_string())
            .env("EMAIL_PORT", settings.smtp.port().to_string())
            .env("DEFAULT_FROM_EMAIL", "Taller <taller@example.com>")
            .env("ALLOW_ANONYMOUS_API", "true")
            .envs(settings.bridge.map(|(url, _)| ("WHATSAPP_SERVICE_URL", url)))
            .envs(settings.bridge.map(|(_, secret)| ("WHATSAPP_WEBHOOK_SECRET", secret)))
            .stdout(log.try_clone()?)
            .stderr(log)
            .kill_on_drop(true);
        Ok(command)
    }

    fn log(&self, name: &str) -> PathBuf {
        self.0.join(format!("{name}.log"))
    }

    /// The last lines of a program's log.
    fn told(&self, name: &str) -> String {
        let log = fs::read_to_string(self.log(name)).unwrap_or_default();
        let lines: Vec<&str> = log.lines().collect();
        let last = lines[lines.len().saturating_sub(20)..].join("\n");
        format!("{name} did not do its work; it said last:\n{last}")
    }
}

impl Drop for Home {
    fn drop(&mut self) {
        // What stays is a few logs in the folder for temporary files.
        let _ = fs::remove_dir_all(&self.0);
    }
}
