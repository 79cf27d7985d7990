//! The server: connections, and how long a silent one is kept.
//!
//! `axum::serve` has no time limit for a request that never comes, so connections are served here, with hyper.

use recado_kernel::errors::explain;
use std::convert::Infallible;
use std::io;
use std::net::SocketAddr;
use std::pin::pin;
use std::time::Duration;

use axum::body::Body;
use axum::extract::{ConnectInfo, Request};
use axum::response::Response;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::graceful::{GracefulShutdown, Watcher};
use hyper_util::service::TowerToHyperService;
use tokio::net::{TcpListener, TcpStream};
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;
use tower::{Service, ServiceExt};

/// How long a new connection may stay silent before it is closed.
const FIRST_BYTE_TIMEOUT: Duration = Duration::from_secs(10);

/// How long the head of a request may take, and how long a connection waits for the next one. Load balancers keep
/// connections for 60 s; a server that closes them earlier turns a request that arrives at that moment into a 502.
const HEAD_TIMEOUT: Duration = Duration::from_secs(75);

/// How long no connection is accepted when the process has no file descriptor left.
const ACCEPT_RETRY_DELAY: Duration = Duration::from_secs(1);

/// Serves a listener until `stop`; then accepts nothing more, and returns when the last request is answered.
pub(crate) async fn serve<S>(listener: TcpListener, service: S, stop: CancellationToken)
where
    S: Service<Request, Response = Response, Error = Infallible> + Clone + Send + 'static,
    S::Future: Send,
{
    let connections = GracefulShutdown::new();
    while let Some(accepted) = stop.run_until_cancelled(listener.accept()).await {
        match accepted {
            Ok((stream, peer)) => {
                let (service, watcher, stop) = (service.clone(), connections.watcher(), stop.clone());
                tokio::spawn(serve_connection(stream, peer, service, watcher, stop));
            }
            Err(error) => refuse(&error, &stop).await,
        }
    }
    drop(listener);
    connections.shutdown().await;
}

/// A client that closed the connection before it was accepted is no error of ours. Anything else passes, but not at once.
async fn refuse(error: &io::Error, stop: &CancellationToken) {
    use io::ErrorKind::{ConnectionAborted, ConnectionRefused, ConnectionReset};
    if !matches!(error.kind(), ConnectionAborted | ConnectionRefused | ConnectionReset) {
        let error = explain(error);
        tracing::error!(error, "no connection can be accepted: {error}");
        let _ = stop.run_until_cancelled(sleep(ACCEPT_RETRY_DELAY)).await;
    }
}

/// All requests of one connection.
async fn serve_connection<S>(stream: TcpStream, peer: SocketAddr, service: S, watcher: Watcher, stop: CancellationToken)
where
    S: Service<Request, Response = Response, Error = Infallible> + Clone + Send + 'static,
    S::Future: Send,
{
    // Answers are small and written at once; Nagle's algorithm would only hold them back.
    let _ = stream.set_nodelay(true);
    // Looked at and not taken: `readable` alone may say so of a silent connection.
    let mut first = [0];
    let peeked = stop.run_until_cancelled(timeout(FIRST_BYTE_TIMEOUT, stream.peek(&mut first))).await;
    if !matches!(peeked, Some(Ok(Ok(1)))) {
        return;
    }
    let service = service.map_request(move |request: hyper::Request<Incoming>| {
        let mut request = request.map(Body::new);
        request.extensions_mut().insert(ConnectInfo(peer));
        request
    });
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_TIMEOUT)
        .serve_connection(TokioIo::new(stream), TowerToHyperService::new(service));
    if let Err(error) = pin!(watcher.watch(connection)).await {
        // The caller hung up, or spoke no HTTP and was told so.
        let error = explain(&error);
        tracing::debug!(error, "a connection ended early: {error}");
    }
}

#[cfg(test)]
mod tests {
    use axum::Router;
    use axum::routing::get;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::time::Instant;

    use super::*;

    async fn start() -> (SocketAddr, CancellationToken) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let stop = CancellationToken::new();
        let peer = async |ConnectInfo(peer): ConnectInfo<SocketAddr>| peer.to_string();
        tokio::spawn(serve(listener, Router::new().route("/peer", get(peer)), stop.clone()));
        (address, stop)
    }

    /// What the server says until it hangs up, and how long that took. The clock of these tests jumps from timer to timer.
    async fn listen(stream: &mut TcpStream) -> (String, Duration) {
        let (began, mut text) = (Instant::now(), String::new());
        stream.read_to_string(&mut text).await.unwrap();
        (text, began.elapsed())
    }

    #[tokio::test(start_paused = true)]
    async fn a_silent_connection_is_closed() {
        let (address, _stop) = start().await;
        let (text, took) = listen(&mut TcpStream::connect(address).await.unwrap()).await;
        assert_eq!(text, "");
        assert!(took <= FIRST_BYTE_TIMEOUT + Duration::from_secs(1), "{took:?}");
    }

    #[tokio::test(start_paused = true)]
    async fn half_a_head_is_not_waited_for_without_end() {
        let (address, _stop) = start().await;
        let mut stream = TcpStream::connect(address).await.unwrap();
        stream.write_all(b"GET /peer HTTP/1.1\r\nHost: a\r\nX-Slow: ").await.unwrap();
        let (_, took) = listen(&mut stream).await;
        assert!(took <= HEAD_TIMEOUT + FIRST_BYTE_TIMEOUT, "{took:?}");
    }

    #[tokio::test]
    async fn a_request_knows_its_peer_and_a_stop_closes_what_is_idle() {
        let (address, stop) = start().await;
        let mut stream = TcpStream::connect(address).await.unwrap();
        stream.write_all(b"GET /peer HTTP/1.1\r\nHost: a\r\n\r\n").await.unwrap();
        let mut answer = [0; 1024];
        let length = stream.read(&mut answer).await.unwrap();
        let text = String::from_utf8_lossy(&answer[..length]).into_owned();
        assert!(text.ends_with(&stream.local_addr().unwrap().to_string()), "{text}");
        stop.cancel();
        assert_eq!(listen(&mut stream).await.0, "");
        assert!(TcpStream::connect(address).await.is_err(), "no connection is accepted any more");
    }
}
