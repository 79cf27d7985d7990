//! What a request says of itself in its head: for which host it is, and in which form its body comes.

use axum::extract::Request;
use axum::http::header::{CONNECTION, HOST, TRANSFER_ENCODING};
use axum::http::request::Parts;
use axum::http::uri::Authority;
use axum::http::{HeaderMap, HeaderValue, Uri, Version};
use axum::response::{IntoResponse, Response};
use recado_kernel::host_names;

use crate::auth::openness;
use crate::client;
use crate::problem::Problem;
use crate::server::OnlyProbes;
use crate::state::Api;

/// Refuses what cannot be understood, what is not for us, and on the last places what is no probe.
pub(crate) async fn check<F: Future<Output = Response>>(
    api: &Api,
    request: Request,
    next: impl FnOnce(Request) -> F,
) -> Response {
    if let Err(problem) = well_formed(request.version(), request.headers()) {
        return closing(problem.into_response());
    }
    if !is_probe(request.uri()) {
        if request.extensions().get::<OnlyProbes>().is_some() {
            return closing(Problem::Overloaded.into_response());
        }
        let (parts, body) = request.into_parts();
        return match for_us(api, &parts).await {
            Ok(()) => next(Request::from_parts(parts, body)).await,
            Err(problem) => problem.into_response(),
        };
    }
    next(request).await
}

/// Paths that are asked by load balancers and monitors, by address and not by name.
fn is_probe(uri: &Uri) -> bool {
    let path = uri.path();
    ["/health", "/metrics", "/api/v1/health"]
        .iter()
        .any(|probe| path.strip_prefix(probe).is_some_and(|rest| rest.is_empty() || rest.starts_with('/')))
}

/// hyper leaves to us: that a request of HTTP/1.1 names its host, no request names two (RFC 9112, section 3.2), and that a body
/// comes as it is, or in chunks and nothing else (section 6.1).
fn well_formed(version: Version, headers: &HeaderMap) -> Result<(), Problem> {
    let malformed = |text: &str| Err(Problem::Malformed(text.to_owned()));
    let mut hosts = headers.get_all(HOST).iter();
    match (hosts.next(), hosts.next()) {
        (None, _) if version == Version::HTTP_11 => return malformed("Falta el encabezado Host."),
        (_, Some(_)) => return malformed("Hay más de un encabezado Host."),
        (Some(host), None) if !host.is_empty() && !is_host(host) => {
            return malformed("El encabezado Host no nombra un servidor.");
        }
        _ => {}
    }
    let mut encodings = headers.get_all(TRANSFER_ENCODING).iter();
    let is_chunked = |value: &HeaderValue| value.as_bytes().trim_ascii().eq_ignore_ascii_case(b"chunked");
    match (encodings.next(), encodings.next()) {
        (None, _) => Ok(()),
        (Some(only), None) if is_chunked(only) => Ok(()),
        _ => malformed("Transfer-Encoding solo puede ser chunked."),
    }
}

fn is_host(value: &HeaderValue) -> bool {
    Authority::try_from(value.as_bytes()).is_ok_and(|authority| !authority.as_str().contains('@'))
}

/// Whether the request is for a name of ours. Where `recado up` is open without a key only names of this machine are: a page of
/// another site whose name leads here (DNS rebinding) would otherwise be let in.
async fn for_us(api: &Api, parts: &Parts) -> Result<(), Problem> {
    let access = &api.context.config.access;
    let host = client::host(parts);
    let is_ours = if !access.allowed_hosts.is_empty() {
        access.allowed_hosts.allows(host)
    } else {
        // In a box: what asks the database is large, and would lie in the future of every request.
        host_names::is_loopback(host) || !Box::pin(openness::stands_open(api)).await?
    };
    if is_ours {
        return Ok(());
    }
    let text = format!("El servidor \"{}\" no está permitido. Agréguelo a ALLOWED_HOSTS.", host.escape_debug());
    Err(Problem::Malformed(text))
}

/// What comes next on this connection may not be what its sender means.
fn closing(mut response: Response) -> Response {
    response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    fn is_good(version: Version, lines: &[(&'static str, &str)]) -> bool {
        let mut headers = HeaderMap::new();
        for (name, value) in lines {
            headers.append(*name, HeaderValue::from_bytes(value.as_bytes()).unwrap());
        }
        well_formed(version, &headers).is_ok()
    }

    #[test]
    fn one_host_and_one_way_to_send_a_body() {
        let host = ("host", "taller.example.com:8000");
        assert!(is_good(Version::HTTP_11, &[host]) && is_good(Version::HTTP_11, &[("host", "[::1]:80")]));
        assert!(is_good(Version::HTTP_10, &[]) && !is_good(Version::HTTP_11, &[]));
        assert!(!is_good(Version::HTTP_11, &[host, host]) && !is_good(Version::HTTP_10, &[host, host]));
        for wrong in ["a b", "a/b", "user@a", "ñ", "a,b"] {
            let is_list = wrong == "a,b";
            assert_eq!(
                is_good(Version::HTTP_11, &[("host", wrong)]),
                is_list,
                "{wrong}: a comma is a letter of a name"
            );
        }
        let with = |encodings: &[&'static str]| {
            let encodings = encodings.iter().map(|encoding| ("transfer-encoding", *encoding));
            is_good(Version::HTTP_11, &[host].into_iter().chain(encodings).collect::<Vec<_>>())
        };
        assert!(with(&["chunked"]) && with(&["Chunked"]));
        assert!(!with(&["gzip, chunked"]) && !with(&["gzip", "chunked"]) && !with(&["chunked, chunked"]));
    }

    #[test]
    fn probes_are_known_by_their_path() {
        let probes = |path: &str| is_probe(&path.parse().unwrap());
        assert!(probes("/health") && probes("/health/live") && probes("/metrics") && probes("/api/v1/health/redis"));
        assert!(!probes("/healthy") && !probes("/api/v1/tasks") && !probes("/"));
    }
}
