//! The server: takes connections, serves what comes through them, and closes those that are silent for too long.
//!
//! `axum::serve` has no time limit for a request that never comes and no bound on connections, so they are served here, with
//! hyper.

use recado_kernel::errors::explain;
use std::convert::Infallible;
use std::future::{Future, poll_fn};
use std::io;
use std::net::SocketAddr;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use axum::body::Body;
use axum::extract::{ConnectInfo, Request};
use axum::response::Response;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use hyper_util::server::graceful::{GracefulShutdown, Watcher};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::{Instant, Sleep, sleep, sleep_until};
use tokio_util::sync::CancellationToken;
use tower::{Service, ServiceExt};

use crate::connections::{Admitted, Connection, Connections, HEAD_TIMEOUT, IDLE_TIMEOUT};
use crate::framing::MAX_HEAD_BYTES;
use crate::wire::Wire;

/// How long no connection is accepted when the process has no file descriptor left.
const ACCEPT_RETRY_DELAY: Duration = Duration::from_secs(1);

/// A request came through one of the places that are left for probes.
#[derive(Clone, Copy)]
pub(crate) struct OnlyProbes;

/// Serves a listener until `stop`; then accepts nothing more, and returns when the last request is answered.
pub(crate) async fn serve<S>(listener: TcpListener, service: S, connections: Arc<Connections>, stop: CancellationToken)
where
    S: Service<Request, Response = Response, Error = Infallible> + Clone + Send + 'static,
    S::Future: Send,
{
    let graceful = GracefulShutdown::new();
    while let Some(accepted) = stop.run_until_cancelled(listener.accept()).await {
        match accepted {
            Ok((stream, peer)) => {
                // Without a place it is closed at once: that is all which can be said without one.
                if let Some(admitted) = connections.admit(peer.ip()) {
                    tokio::spawn(serve_connection(stream, peer, service.clone(), admitted, graceful.watcher()));
                }
            }
            Err(error) => refuse(&error, &stop).await,
        }
    }
    drop(listener);
    graceful.shutdown().await;
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
async fn serve_connection<S>(stream: TcpStream, peer: SocketAddr, service: S, admitted: Admitted, watcher: Watcher)
where
    S: Service<Request, Response = Response, Error = Infallible> + Clone + Send + 'static,
    S::Future: Send,
{
    let connection = admitted.connection.clone();
    // Answers are small and written at once; Nagle's algorithm would only hold them back.
    let _ = stream.set_nodelay(true);
    let serving = connection.clone();
    let answer = service_fn(move |request: hyper::Request<Incoming>| {
        // At once and not when the future is first polled: the bytes that come next are the body's.
        serving.begins_serving();
        let (service, connection) = (service.clone(), serving.clone());
        async move {
            let mut request = request.map(Body::new);
            request.extensions_mut().insert(ConnectInfo(peer));
            if connection.is_for_probes {
                request.extensions_mut().insert(OnlyProbes);
            }
            let answered = service.oneshot(request).await;
            connection.ends_serving();
            answered
        }
    });
    let served = http1::Builder::new()
        // It would end a connection that waits and one that says half a head alike; see `Overdue`.
        .header_read_timeout(None)
        .max_buf_size(MAX_HEAD_BYTES)
        .keep_alive(!connection.is_for_probes)
        .serve_connection(TokioIo::new(Wire::new(stream, connection.clone())), answer);
    let mut served = pin!(watcher.watch(served));
    let mut overdue = Overdue::new(&connection);
    let ended = poll_fn(|cx| match served.as_mut().poll(cx) {
        Poll::Ready(ended) => Poll::Ready(Some(ended)),
        Poll::Pending => overdue.poll(cx).map(|()| None),
    });
    match connection.leaves.run_until_cancelled(ended).await {
        // The caller hung up, or spoke no HTTP and was told so.
        Some(Some(Err(error))) => {
            let error = explain(&error);
            tracing::debug!(error, "a connection ended early: {error}");
        }
        Some(None) => tracing::debug!("a connection was silent for too long"),
        Some(Some(Ok(()))) | None => {}
    }
}

/// Is ready when a connection has been silent for too long. It is asked after each step of the connection, so that half a head
/// has its time from the first byte on.
struct Overdue<'a> {
    connection: &'a Connection,
    /// At the time that was due when it was last set, or earlier.
    alarm: Pin<Box<Sleep>>,
}

impl<'a> Overdue<'a> {
    fn new(connection: &'a Connection) -> Self {
        Self { connection, alarm: Box::pin(sleep(HEAD_TIMEOUT)) }
    }

    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        loop {
            let due = self.connection.due();
            // A later one is set when the alarm goes off: most requests need no alarm of their own.
            if let Some(due) = due.filter(|due| *due < self.alarm.deadline()) {
                self.alarm.as_mut().reset(due);
            }
            if self.alarm.as_mut().poll(cx).is_pending() {
                return Poll::Pending;
            }
            let now = Instant::now();
            match due {
                Some(due) if due <= now => return Poll::Ready(()),
                due => self.alarm.set(sleep_until(due.unwrap_or(now + IDLE_TIMEOUT))),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use axum::Router;
    use axum::routing::get;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    use super::*;
    use crate::connections::Limits;

    async fn start() -> (SocketAddr, CancellationToken) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let stop = CancellationToken::new();
        let peer = async |ConnectInfo(peer): ConnectInfo<SocketAddr>| peer.to_string();
        let connections = Arc::new(Connections::new(Limits::new(100, Vec::new())));
        tokio::spawn(serve(listener, Router::new().route("/peer", get(peer)), connections, stop.clone()));
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
        assert!(took <= HEAD_TIMEOUT + Duration::from_secs(1), "{took:?}");
    }

    /// 1,100 connections that said one letter kept a server busy for 73 s: an unfinished head has 10 s.
    #[tokio::test(start_paused = true)]
    async fn half_a_head_has_ten_seconds() {
        let (address, _stop) = start().await;
        let mut stream = TcpStream::connect(address).await.unwrap();
        stream.write_all(b"GET /peer HTTP/1.1\r\nHost: a\r\nX-Slow: ").await.unwrap();
        let (_, took) = listen(&mut stream).await;
        assert!(took <= HEAD_TIMEOUT + Duration::from_secs(1), "{took:?}");
    }

    /// The same after a request, where a connection may wait for long, but not in the middle of a head.
    #[tokio::test(start_paused = true)]
    async fn a_kept_connection_may_wait_and_then_has_ten_seconds_too() {
        for (said, least, most) in [(&b""[..], 70, 76), (b"G", 0, 11)] {
            let (address, _stop) = start().await;
            let mut stream = TcpStream::connect(address).await.unwrap();
            stream.write_all(b"GET /peer HTTP/1.1\r\nHost: a\r\n\r\n").await.unwrap();
            let mut answer = [0; 1024];
            assert!(stream.read(&mut answer).await.unwrap() > 0);
            stream.write_all(said).await.unwrap();
            let (_, took) = listen(&mut stream).await;
            assert!((least..=most).contains(&took.as_secs()), "{took:?} after {said:?}");
        }
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
