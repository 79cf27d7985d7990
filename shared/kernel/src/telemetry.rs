//! What the program reports about itself: logs on standard error, metrics for Prometheus.

use std::io;
use std::net::SocketAddr;
use std::sync::OnceLock;
use std::time::Duration;

use metrics_exporter_prometheus::{Matcher, PrometheusBuilder, PrometheusHandle};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::Handle;
use tokio_util::sync::CancellationToken;
use tracing_subscriber::EnvFilter;

use crate::health::Health;

static METRICS: OnceLock<PrometheusHandle> = OnceLock::new();

/// Starts logging. `json` for machines, else for people; `filter` chooses what, and [`is_filter`] is true of it. Later calls
/// change nothing.
pub fn start_logging(json: bool, filter: &str) {
    let filter = EnvFilter::new(filter);
    let colours = io::IsTerminal::is_terminal(&io::stderr());
    let logs = tracing_subscriber::fmt().with_env_filter(filter).with_writer(io::stderr).with_ansi(colours);
    // When the reader of the log has gone (`recado api 2>&1 | head`), printing an error about that would be a panic.
    let logs = logs.log_internal_errors(false);
    let _ = if json { logs.json().flatten_event(true).try_init() } else { logs.with_target(false).try_init() };
}

/// Whether this says what is logged. A word that is no level is the name of a crate, so that `warning`, which others write for
/// `warn`, would log nothing at all.
pub fn is_filter(text: &str) -> bool {
    const LEVELS_OF_OTHERS: [&str; 8] = ["warning", "critical", "fatal", "err", "notice", "verbose", "all", "none"];
    let level = |directive: &str| directive.rsplit('=').next().unwrap_or_default().trim().to_ascii_lowercase();
    EnvFilter::try_new(text).is_ok()
        && !text.split(',').any(|directive| LEVELS_OF_OTHERS.contains(&level(directive).as_str()))
}

/// Upper bounds of the histograms, in seconds: from a commit to the longest WhatsApp call.
const BUCKETS: [f64; 14] = [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0, 30.0, 120.0];

/// Starts counting; inside a Tokio runtime also the upkeep that keeps memory bounded where no scraper comes. Later calls
/// change nothing.
pub fn start_metrics() {
    METRICS.get_or_init(|| {
        let seconds = Matcher::Suffix("_seconds".to_owned());
        let builder = PrometheusBuilder::new().set_buckets_for_metric(seconds, &BUCKETS);
        let recorder = builder.expect("the buckets are a list that is not empty").build_recorder();
        let handle = recorder.handle();
        if let Ok(runtime) = Handle::try_current() {
            runtime.spawn(keep_up(handle.clone()));
        }
        // Another recorder can only be one that a test installed.
        let _ = metrics::set_global_recorder(recorder);
        handle
    });
}

/// What histograms record is kept one by one until it is read; this folds it into their buckets.
async fn keep_up(handle: PrometheusHandle) {
    loop {
        tokio::time::sleep(Duration::from_secs(5)).await;
        handle.run_upkeep();
    }
}

/// The metrics in Prometheus' text format; empty before [`start_metrics`].
pub fn metrics() -> String {
    METRICS.get().map(PrometheusHandle::render).unwrap_or_default()
}

/// The longest head of a request that [`serve`] reads, in bytes.
const LONGEST_HEAD: usize = 8 * 1024;

/// How long a client of [`serve`] may take for its request, and for taking the answer.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(5);

/// Answers `GET /metrics` and `GET /health` until told to stop, for processes that serve nothing else. Returns the address
/// when the port is taken. What is unhealthy is a `503` that names it.
///
/// A scraper asks for one page every few seconds; a web server would be ten times the code of the processes that need it.
pub async fn serve(address: SocketAddr, health: Health, stop: CancellationToken) -> io::Result<SocketAddr> {
    let listener = TcpListener::bind(address).await?;
    let address = listener.local_addr()?;
    tokio::spawn(async move {
        while let Some(accepted) = stop.run_until_cancelled(listener.accept()).await {
            match accepted {
                Ok((client, _)) => {
                    tokio::spawn(tokio::time::timeout(REQUEST_TIMEOUT, answer(client, health.clone())));
                }
                // Out of file descriptors, most likely: at once again would be a busy loop.
                Err(_) => tokio::time::sleep(Duration::from_millis(100)).await,
            }
        }
    });
    Ok(address)
}

async fn answer(mut client: TcpStream, health: Health) -> io::Result<()> {
    let mut head = Vec::new();
    while !head.windows(4).any(|end| end == b"\r\n\r\n") {
        if head.len() > LONGEST_HEAD || client.read_buf(&mut head).await? == 0 {
            return Ok(());
        }
    }
    client.write_all(response(&head, &health).as_bytes()).await?;
    client.shutdown().await
}

fn response(head: &[u8], health: &Health) -> String {
    let line = String::from_utf8_lossy(head.split(|byte| *byte == b'\r').next().unwrap_or_default());
    let mut words = line.split(' ');
    let (method, target) = (words.next().unwrap_or_default(), words.next().unwrap_or_default());
    let path = target.split('?').next().unwrap_or_default().trim_end_matches('/');
    let (status, kind, body) = match (method, path) {
        ("GET" | "HEAD", "/metrics") => ("200 OK", "text/plain; version=0.0.4; charset=utf-8", metrics()),
        ("GET" | "HEAD", "/health") => match health.report() {
            (true, report) => ("200 OK", "application/json", report.to_string()),
            (false, report) => ("503 Service Unavailable", "application/json", report.to_string()),
        },
        ("GET" | "HEAD", _) => ("404 Not Found", "text/plain", "here are /metrics and /health\n".to_owned()),
        _ => ("405 Method Not Allowed", "text/plain", "here is only GET\n".to_owned()),
    };
    let length = body.len();
    let body = if method == "HEAD" { "" } else { &body };
    format!("HTTP/1.1 {status}\r\nContent-Type: {kind}\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n{body}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_logged_is_levels_by_crate() {
        for good in ["info", "WARN", "info,recado_worker=debug", "off", "recado_api::server=trace,sqlx=warn"] {
            assert!(is_filter(good), "{good}");
        }
        for wrong in ["x==", "info,recado_worker=debg", "warning", "recado_api=WARNING", "sqlx=verbose"] {
            assert!(!is_filter(wrong), "{wrong}");
        }
    }

    #[test]
    fn the_request_line_decides() {
        let health = Health::default();
        let status = |line: &str| response(format!("{line}\r\nHost: x\r\n\r\n").as_bytes(), &health)[9..12].to_owned();
        assert_eq!(status("GET /health HTTP/1.1"), "200");
        health.expect("heartbeat", Duration::ZERO);
        assert_eq!(status("GET /health HTTP/1.1"), "503");
        assert_eq!(status("GET /metrics?name=a HTTP/1.1"), "200");
        assert_eq!(status("GET / HTTP/1.1"), "404");
        assert_eq!(status("POST /metrics HTTP/1.1"), "405");
        assert_eq!(status("nonsense"), "405");
    }

    #[tokio::test]
    async fn a_client_gets_its_page_and_the_end_of_the_connection() {
        let stop = CancellationToken::new();
        let address =
            serve(SocketAddr::from(([127, 0, 0, 1], 0)), Health::default(), stop.clone()).await.expect("a free port");
        let mut client = TcpStream::connect(address).await.expect("listening");
        // In two pieces, as a slow network would.
        client.write_all(b"GET /health HTTP/1.1\r\nHo").await.expect("sent");
        client.write_all(b"st: x\r\n\r\n").await.expect("sent");
        let mut page = String::new();
        client.read_to_string(&mut page).await.expect("answered");
        assert!(page.ends_with("\r\n\r\n{\"status\":\"ok\"}"), "{page}");
        stop.cancel();
    }
}
