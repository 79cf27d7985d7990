//! What stand-ins post by themselves, to a server on loopback.

use std::error::Error;

use axum::body::{Body, to_bytes};
use http::{
    Request, Uri,
    header::{CONTENT_TYPE, HOST},
};
use hyper::client::conn::http1::handshake;
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;

/// How much of an answer is kept, in bytes.
const LARGEST_ANSWER: usize = 4_096;

/// One request with JSON, on a connection of its own. Returns the status and the body of the answer.
pub(crate) async fn post(
    url: &str,
    headers: &[(&str, &str)],
    body: Vec<u8>,
) -> Result<(u16, String), Box<dyn Error + Send + Sync>> {
    let url: Uri = url.parse()?;
    let authority = url.authority().ok_or("the URL names no host")?;
    let stream = TcpStream::connect((authority.host(), authority.port_u16().unwrap_or(80))).await?;
    let (mut sender, connection) = handshake(TokioIo::new(stream)).await?;
    let connection = tokio::spawn(connection);
    let request = Request::post(url.path_and_query().map_or("/", |path| path.as_str()))
        .header(HOST, authority.as_str())
        .header(CONTENT_TYPE, "application/json");
    let request = headers.iter().fold(request, |request, (name, value)| request.header(*name, *value));
    let answer = sender.send_request(request.body(Body::from(body))?).await?;
    let status = answer.status().as_u16();
    let answer = to_bytes(Body::new(answer.into_body()), LARGEST_ANSWER).await?;
    connection.abort();
    Ok((status, String::from_utf8_lossy(&answer).into_owned()))
}
