//! A loopback port, and everything that talks through it, until it is dropped.

use std::{
    fmt,
    future::Future,
    io,
    net::{Ipv4Addr, SocketAddr},
    time::Duration,
};

use axum::{
    Router,
    response::{IntoResponse, Response},
};
use hyper::{
    Request,
    body::Incoming,
    server::conn::http1,
    service::{Service, service_fn},
};
use hyper_util::{rt::TokioIo, service::TowerToHyperService};
use tokio::{
    net::{TcpListener, TcpStream},
    task::{JoinHandle, JoinSet},
};

/// Accepts connections until it is dropped. The sessions end with it, idle keep-alive connections included: a client
/// of a provider that is gone must notice at once.
#[derive(Debug)]
pub(crate) struct Listening {
    task: JoinHandle<()>,
}

impl Listening {
    /// Serves every connection to `listener` with a session of its own.
    pub(crate) fn start<Session, Served>(listener: TcpListener, session: Session) -> Self
    where
        Session: Fn(TcpStream) -> Served + Send + 'static,
        Served: Future<Output = ()> + Send + 'static,
    {
        Self { task: tokio::spawn(accept(listener, session)) }
    }

    /// Serves HTTP/1.1.
    pub(crate) fn http(listener: TcpListener, routes: Router) -> Self {
        Self::start(listener, move |stream| http_session(stream, routes.clone()))
    }
}

impl Drop for Listening {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// Takes a loopback port; `0` is any free one.
pub(crate) async fn bind(port: u16) -> io::Result<(TcpListener, SocketAddr)> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, port)).await?;
    let address = listener.local_addr()?;
    Ok((listener, address))
}

/// The answer of a handler that closes the connection instead of answering.
#[derive(Debug, Clone)]
pub(crate) struct HangUp;

impl IntoResponse for HangUp {
    fn into_response(self) -> Response {
        let mut response = Response::default();
        response.extensions_mut().insert(self);
        response
    }
}

impl fmt::Display for HangUp {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("the sandbox was told to hang up")
    }
}

impl std::error::Error for HangUp {}

async fn accept<Session, Served>(listener: TcpListener, session: Session)
where
    Session: Fn(TcpStream) -> Served,
    Served: Future<Output = ()> + Send + 'static,
{
    // Owned here, so that ending this task ends the sessions too.
    let mut sessions = JoinSet::new();
    loop {
        tokio::select! {
            accepted = listener.accept() => match accepted {
                Ok((stream, _)) => {
                    // Answers are small and awaited: Nagle's algorithm would add 40 ms to each.
                    stream.set_nodelay(true).ok();
                    sessions.spawn(session(stream));
                }
                Err(error) => {
                    tracing::warn!(%error, "the sandbox cannot accept a connection");
                    // Usually too many open files; they need a moment to be closed.
                    tokio::time::sleep(Duration::from_millis(50)).await;
                }
            },
            Some(_) = sessions.join_next() => {}
        }
    }
}

async fn http_session(stream: TcpStream, routes: Router) {
    let routes = TowerToHyperService::new(routes);
    let service = service_fn(move |request: Request<Incoming>| {
        let answer = routes.call(request);
        async move {
            let response: Response = answer.await.unwrap_or_else(|never| match never {});
            match response.extensions().get::<HangUp>() {
                Some(hang_up) => Err(hang_up.clone()),
                None => Ok(response),
            }
        }
    });
    let connection = http1::Builder::new().serve_connection(TokioIo::new(stream), service);
    if let Err(error) = connection.await {
        tracing::debug!(%error, "a connection to the sandbox ended early");
    }
}

#[cfg(test)]
mod tests {
    use axum::routing::get;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    use super::*;

    async fn ask(address: SocketAddr, path: &str) -> TcpStream {
        let mut stream = TcpStream::connect(address).await.expect("listening");
        let request = format!("GET {path} HTTP/1.1\r\nHost: {address}\r\n\r\n");
        stream.write_all(request.as_bytes()).await.expect("sent");
        stream
    }

    #[tokio::test]
    async fn hanging_up_answers_nothing() {
        let (listener, address) = bind(0).await.expect("a free port");
        let _listening = Listening::http(listener, Router::new().route("/", get(|| async { HangUp })));
        let mut stream = ask(address, "/").await;
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).await.expect("closed");
        assert_eq!(answer, b"");
    }

    #[tokio::test]
    async fn dropping_closes_open_connections_and_the_port() {
        let (listener, address) = bind(0).await.expect("a free port");
        let listening = Listening::http(listener, Router::new().route("/", get(|| async { "ok" })));
        let mut idle = ask(address, "/").await;
        let mut answer = [0; 15];
        idle.read_exact(&mut answer).await.expect("answered");
        assert_eq!(&answer, b"HTTP/1.1 200 OK");
        drop(listening);
        idle.read_to_end(&mut Vec::new()).await.ok();
        TcpStream::connect(address).await.expect_err("no listener");
    }
}
