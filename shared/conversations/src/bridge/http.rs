//! How any bridge is asked: limits of time and size, no redirect, and what a request means that got no answer.

use std::error::Error;
use std::time::Duration;

use recado_kernel::tls;
use reqwest::redirect::Policy;
use reqwest::{Client, Response};
use serde_json::Value;
use url::{Host, Url};

use super::Failure;
use super::reading::words;

/// The most that one answer may have. A chat with its picture and last message is below 2 KiB, a participant below 300 bytes; a
/// thousand messages are below 1 MiB unless they are very long.
pub(super) const MOST_BYTES: usize = 32 * 1024 * 1024;

/// The most of an answer that only says how it went.
pub(super) const MOST_BYTES_OF_A_WORD: usize = 64 * 1024;

/// A bridge is near; a connection that does not stand after this long will not stand.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

/// What a request that was to send a text means when there is no answer: before there was a connection nothing left.
pub(super) fn unsent(error: &reqwest::Error) -> Failure {
    if error.is_connect() || error.is_builder() { Failure::Unreachable(explain(error)) } else { Failure::Unknown }
}

pub(super) fn complaint(answer: &Value) -> String {
    let said = words(&answer["error"]).or_else(|| words(&answer["message"]));
    said.unwrap_or_else(|| "it does not say why".to_owned())
}

pub(super) fn nonsense(body: &[u8]) -> Failure {
    let start = body.iter().find(|byte| !byte.is_ascii_whitespace());
    Failure::Nonsense(match start {
        None => "an empty answer".to_owned(),
        Some(b'<') => "a page of HTML".to_owned(),
        Some(_) => "not the JSON of a bridge".to_owned(),
    })
}

/// The whole body, or why not. Never more than `limit`.
pub(super) async fn read(mut response: Response, limit: usize) -> Result<Vec<u8>, String> {
    let mut body = Vec::new();
    loop {
        match response.chunk().await {
            Ok(None) => return Ok(body),
            Ok(Some(chunk)) if body.len() + chunk.len() > limit => {
                return Err(format!("its answer has more than {} MiB", limit.div_ceil(1024 * 1024)));
            }
            Ok(Some(chunk)) => body.extend_from_slice(&chunk),
            Err(error) => return Err(explain(&error)),
        }
    }
}

/// What went wrong, in the words of the innermost cause.
pub(super) fn explain(error: &reqwest::Error) -> String {
    if error.is_timeout() {
        return "no answer in time".to_owned();
    }
    let innermost = std::iter::successors(error.source(), |cause| (*cause).source()).last();
    innermost.map_or_else(|| "the request failed".to_owned(), ToString::to_string)
}

/// A connection for each question: Node.js closes idle ones, and one that is closed as we write would leave it unknown whether a
/// text left. The limits of time are the requests' own.
#[expect(
    clippy::disallowed_methods,
    reason = "the bridge is the operator's own; the worker's clients are not within reach here"
)]
pub(super) fn client(base: &Url) -> Result<Client, reqwest::Error> {
    let builder =
        tls::http_client().connect_timeout(CONNECT_TIMEOUT).pool_max_idle_per_host(0).redirect(Policy::none());
    // The name of a container, or this machine: not what a proxy is for.
    let is_near = match base.host() {
        Some(Host::Domain(name)) => !name.contains('.'),
        Some(Host::Ipv4(ip)) => ip.is_loopback() || ip.is_private(),
        Some(Host::Ipv6(ip)) => ip.is_loopback(),
        None => true,
    };
    if is_near { builder.no_proxy() } else { builder }.build()
}
