//! HTTP clients for requests to others, and what their answers have in common.

use std::error::Error;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use chrono::DateTime;
use http::HeaderMap;
use http::header::{DATE, RETRY_AFTER};
use recado_kernel::clock::Timestamp;
use recado_kernel::outbound::{OutboundError, Reach as Outside};
use recado_kernel::tls;
use reqwest::dns::{Addrs, Name, Resolve, Resolving};
use reqwest::redirect::Policy;
use reqwest::{Client, ClientBuilder, Response};
use url::{Host, Url};

/// A connection that does not stand after this long will not stand.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

/// Node.js closes an idle connection after 5 s. We close ours before, so that a request does not cross the server's
/// close: it would be unknown whether that message left.
const IDLE_TIMEOUT: Duration = Duration::from_secs(4);

/// A connection whose other end does not answer probes for so long (15 s, then three times 5 s), or does not confirm what we
/// sent, is broken: its host died, or a firewall forgot it. Without this only the time limit of the whole request would tell.
const KEEPALIVE_AFTER: Duration = Duration::from_secs(15);
const KEEPALIVE_EVERY: Duration = Duration::from_secs(5);
const KEEPALIVE_PROBES: u32 = 3;
#[cfg(target_os = "linux")]
const UNCONFIRMED_TIMEOUT: Duration = Duration::from_secs(30);

/// Whether connections are used again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Connections {
    /// For requests that may be made twice: a connection that is closed as we write costs a second request.
    Kept,
    /// One per request. A server that closes a kept connection just as we write (after so many requests, or because it was
    /// idle) leaves it unknown whether the request was carried out.
    OneEach,
}

/// To which addresses a client of ours connects.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Reach {
    /// The operator configured it.
    Anywhere,
    /// It was written through the API: only addresses that [`is_allowed`](recado_kernel::outbound::is_allowed) lets pass.
    Guarded { allow_private: bool },
}

/// A client for URLs that customers chose: push endpoints and webhooks.
///
/// It only connects to addresses that `outside` permits, and to the very address that was judged, so a name that
/// resolves differently a moment later (DNS rebinding) gains nothing. It follows no redirect and uses no proxy. A URL
/// with a literal address does not pass the resolver: call [`recado_kernel::outbound::check_url`] as well.
///
/// # Errors
/// When the TLS library cannot be set up, e.g. because the system's trust store is unreadable.
pub(crate) fn client(
    outside: impl Into<Outside>,
    timeout: Duration,
    connections: Connections,
) -> Result<Client, reqwest::Error> {
    let resolver = GuardedResolver { outside: Arc::new(outside.into()) };
    builder(timeout, connections).dns_resolver(Arc::new(resolver)).no_proxy().build()
}

/// A client for the server at `url`, which the operator configured (Evolution API): wherever it is, and through the
/// operator's proxy (`HTTPS_PROXY`) unless it runs on this machine.
///
/// # Errors
/// As [`client`].
pub(crate) fn trusted_client(url: &Url, timeout: Duration, connections: Connections) -> Result<Client, reqwest::Error> {
    let here = match url.host() {
        Some(Host::Domain(name)) => name == "localhost",
        Some(Host::Ipv4(ip)) => ip.is_loopback(),
        Some(Host::Ipv6(ip)) => ip.is_loopback(),
        None => false,
    };
    let builder = builder(timeout, connections);
    if here { builder.no_proxy() } else { builder }.build()
}

#[expect(clippy::disallowed_methods, reason = "the one place where clients are made")]
fn builder(timeout: Duration, connections: Connections) -> ClientBuilder {
    let builder = tls::http_client()
        .timeout(timeout)
        // Shorter than the whole, so that a timeout says which it was: before connecting nothing can have been sent.
        .connect_timeout(CONNECT_TIMEOUT.min(timeout / 2))
        .pool_idle_timeout(IDLE_TIMEOUT)
        .tcp_keepalive(KEEPALIVE_AFTER)
        .tcp_keepalive_interval(KEEPALIVE_EVERY)
        .tcp_keepalive_retries(KEEPALIVE_PROBES)
        .redirect(Policy::none());
    #[cfg(target_os = "linux")]
    let builder = builder.tcp_user_timeout(UNCONFIRMED_TIMEOUT);
    match connections {
        Connections::Kept => builder,
        Connections::OneEach => builder.pool_max_idle_per_host(0),
    }
}

/// Looks names up and keeps only the addresses to which we may connect.
struct GuardedResolver {
    outside: Arc<Outside>,
}

impl Resolve for GuardedResolver {
    fn resolve(&self, name: Name) -> Resolving {
        let outside = self.outside.clone();
        Box::pin(async move {
            // The port is the URL's; 0 lets the client fill it in.
            match addresses(name.as_str(), 0, &outside).await {
                Ok(allowed) => Ok(Box::new(allowed.into_iter()) as Addrs),
                Err(NoAddress::Unknown(error)) => Err(error.into()),
                // By itself, so that `refusal` finds it.
                Err(NoAddress::Refused(error)) => Err(error.into()),
            }
        })
    }
}

/// Why there is no address to connect to.
#[derive(Debug, thiserror::Error)]
pub(crate) enum NoAddress {
    #[error("the name cannot be looked up")]
    Unknown(#[source] std::io::Error),
    #[error(transparent)]
    Refused(OutboundError),
}

/// The addresses of a server that others chose, as far as `outside` permits them; never an empty list.
/// Connect to these very addresses.
///
/// # Errors
/// When the name is unknown, or none of its addresses passes.
pub(crate) async fn addresses(host: &str, port: u16, outside: &Outside) -> Result<Vec<SocketAddr>, NoAddress> {
    let found = tokio::net::lookup_host((host, port)).await.map_err(NoAddress::Unknown)?;
    let allowed: Vec<_> = found.filter(|address| outside.permits(address.ip())).collect();
    if allowed.is_empty() { Err(NoAddress::Refused(OutboundError::NotPublic)) } else { Ok(allowed) }
}

/// The guard's refusal, where that is why a request failed.
pub(crate) fn refusal(error: &reqwest::Error) -> Option<&OutboundError> {
    causes(error).find_map(|cause| cause.downcast_ref())
}

/// Whether a request failed because its host's name does not exist, as far as the resolver knows. A resolver that is out of
/// order says something else (`EAI_AGAIN`).
pub(crate) fn is_unknown_name(error: &reqwest::Error) -> bool {
    error.is_connect() && causes(error).any(|cause| denies_a_name(&cause.to_string()))
}

/// `getaddrinfo` has codes for it, of which the standard library keeps the text alone: glibc's, musl's, macOS'.
fn denies_a_name(words: &str) -> bool {
    const SAYINGS: [&str; 4] = [
        "Name or service not known",
        "No address associated with hostname",
        "Name does not resolve",
        "nodename nor servname provided",
    ];
    SAYINGS.iter().any(|saying| words.contains(saying))
}

/// Whether a request failed because no TLS could be agreed on: a certificate of another name, or one that has run out, or a
/// server that speaks no TLS.
pub(crate) fn is_tls_refused(error: &reqwest::Error) -> bool {
    // OpenSSL's errors, and those of the other libraries behind native-tls.
    let is_tls = |words: &str| ["SSL routines", "certificate", "handshake"].iter().any(|saying| words.contains(saying));
    error.is_connect() && causes(error).any(|cause| is_tls(&cause.to_string()))
}

/// Whether the connection broke before an answer began, on a connection that stood.
pub(crate) fn is_broken_connection(error: &reqwest::Error) -> bool {
    !error.is_connect() && !error.is_timeout() && (error.is_request() || error.is_body())
}

/// What went wrong, in the words of the innermost cause. The URL is left out: a push endpoint's is a secret.
pub(crate) fn explain(error: &reqwest::Error) -> String {
    match causes(error).last() {
        Some(cause) => cause.to_string(),
        None => "the request failed".to_owned(),
    }
}

fn causes(error: &reqwest::Error) -> impl Iterator<Item = &(dyn Error + 'static)> {
    std::iter::successors(error.source(), |cause| (*cause).source())
}

/// The first `limit` bytes of an answer: what a stranger's server sends must not fill our memory. `None` when the
/// connection broke or the time was up before the end.
pub(crate) async fn read(mut response: Response, limit: usize) -> Option<Vec<u8>> {
    let mut body = Vec::new();
    while body.len() < limit {
        match response.chunk().await {
            Ok(Some(chunk)) => body.extend_from_slice(&chunk[..chunk.len().min(limit - body.len())]),
            Ok(None) => break,
            Err(_) => return None,
        }
    }
    Some(body)
}

/// How long the server asks us to wait: `Retry-After` in seconds or as an HTTP date (RFC 9110, section 10.2.3).
pub(crate) fn retry_after(headers: &HeaderMap, now: Timestamp) -> Option<Duration> {
    let value = headers.get(RETRY_AFTER)?.to_str().ok()?.trim();
    match value.parse() {
        Ok(seconds) => Some(Duration::from_secs(seconds)),
        Err(_) => DateTime::parse_from_rfc2822(value).ok().map(|date| Timestamp::from(date.to_utc()).since(now)),
    }
}

/// What time it is at the server, as far as it says (RFC 9110, section 6.6.1).
pub(crate) fn date(headers: &HeaderMap) -> Option<Timestamp> {
    let value = headers.get(DATE)?.to_str().ok()?;
    DateTime::parse_from_rfc2822(value.trim()).ok().map(|date| date.to_utc().into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn retry_after_is_read_as_seconds_and_as_a_date() {
        let now: Timestamp = DateTime::parse_from_rfc3339("2026-01-20T14:30:00Z").unwrap().to_utc().into();
        let read = |value: &str| {
            let headers = HeaderMap::from_iter([(RETRY_AFTER, value.parse().unwrap())]);
            retry_after(&headers, now)
        };
        assert_eq!(read("120"), Some(Duration::from_secs(120)));
        assert_eq!(read(" 0 "), Some(Duration::ZERO));
        assert_eq!(read("Tue, 20 Jan 2026 14:31:30 GMT"), Some(Duration::from_secs(90)));
        assert_eq!(read("Tue, 20 Jan 2026 14:00:00 GMT"), Some(Duration::ZERO), "a date in the past means now");
        for nonsense in ["soon", "-5", "1.5", "", "99999999999999999999999999"] {
            assert_eq!(read(nonsense), None, "{nonsense}");
        }
        assert_eq!(retry_after(&HeaderMap::new(), now), None);
    }

    #[test]
    fn a_name_that_does_not_exist_is_told_from_a_resolver_that_is_out_of_order() {
        let said = |words: &str| denies_a_name(&format!("failed to lookup address information: {words}"));
        assert!(said("Name or service not known") && said("No address associated with hostname"));
        assert!(!said("Temporary failure in name resolution") && !said("System error"));
    }

    #[tokio::test]
    async fn a_name_that_leads_inside_is_refused_before_connecting() {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://localhost:{}/", listener.local_addr().unwrap().port());

        let guarded = client(false, Duration::from_secs(5), Connections::Kept).unwrap();
        let error = guarded.get(&url).send().await.expect_err("localhost is not public");
        assert_eq!(refusal(&error), Some(&OutboundError::NotPublic));
        assert!(error.is_connect(), "nothing was sent");

        let open = client(true, Duration::from_secs(5), Connections::Kept).unwrap();
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            answer = open.get(&url).send() => panic!("no answer was expected: {answer:?}"),
        };
        accepted.expect("with private networks allowed the connection arrives");
    }
}
