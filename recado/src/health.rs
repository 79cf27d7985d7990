//! `recado health`: whether a process is ready, for the health checks of containers.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::process::ExitCode;
use std::time::Duration;

use clap::Args;
use recado_kernel::tls;
use url::Url;

use crate::ledger;
use crate::output::{Outcome, say};

/// A check that takes longer has failed.
const TIMEOUT: Duration = Duration::from_secs(4);

#[derive(Args, Debug)]
pub(crate) struct Health {
    /// What to ask; a URL without a path means its /health. Default: the address of LISTEN
    #[arg(value_name = "URL", value_parser = parse_url)]
    url: Option<Url>,
}

fn parse_url(text: &str) -> Result<Url, String> {
    let url = Url::parse(text).map_err(|error| format!("{error}; write e.g. http://127.0.0.1:8000/health"))?;
    if url.has_host() { Ok(health_of(url)) } else { Err("write http://host:port/health".to_owned()) }
}

fn health_of(mut url: Url) -> Url {
    if url.path() == "/" {
        url.set_path("/health");
    }
    url
}

pub(crate) async fn run(options: Health) -> Outcome {
    let url = match options.url {
        Some(url) => url,
        None => Url::parse(&format!("http://{}/health", reachable(ledger::configure()?.listen[0])))?,
    };
    let client = loopback_client()?;
    let answer = client.get(url.clone()).timeout(TIMEOUT).send().await?;
    let status = answer.status();
    if status.as_u16() == 200 {
        say(&format!("{url} is ready"));
        return Ok(ExitCode::SUCCESS);
    }
    let body = answer.text().await.unwrap_or_default();
    eprintln!("{url} answers {status}: {}", body.trim());
    Ok(ExitCode::FAILURE)
}

/// A client for a process of our own, which no proxy of the environment applies to.
#[expect(clippy::disallowed_methods, reason = "it asks a process of our own, which the SSRF guard would refuse")]
pub(crate) fn loopback_client() -> reqwest::Result<reqwest::Client> {
    tls::http_client().no_proxy().connect_timeout(TIMEOUT).build()
}

/// The address at which to reach a server that listens on this one; a server that listens everywhere is on loopback too.
pub(crate) fn reachable(listen: SocketAddr) -> SocketAddr {
    let ip = match listen.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(ip) if ip.is_unspecified() => Ipv6Addr::LOCALHOST.into(),
        ip => ip,
    };
    SocketAddr::new(ip, listen.port())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_url_without_a_path_means_its_health() {
        let parsed = |text| parse_url(text).expect("a URL").to_string();
        assert_eq!(parsed("http://127.0.0.1:9100"), "http://127.0.0.1:9100/health");
        assert_eq!(parsed("http://127.0.0.1:9100/metrics"), "http://127.0.0.1:9100/metrics");
        assert!(parse_url("127.0.0.1:9100").is_err());
    }

    #[test]
    fn a_server_that_listens_everywhere_is_reached_on_loopback() {
        let reached = |text: &str| reachable(text.parse().expect("an address")).to_string();
        assert_eq!(reached("0.0.0.0:8000"), "127.0.0.1:8000");
        assert_eq!(reached("[::]:8000"), "[::1]:8000");
        assert_eq!(reached("10.1.2.3:80"), "10.1.2.3:80");
    }
}
