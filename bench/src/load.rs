//! The load generator: callers that keep their connection and wait for each answer.
//!
//! It shares the processors with what it measures, so it does little: prepared requests, and no more of HTTP/1.1 than to
//! find the end of an answer.

use std::error::Error;
use std::io::{self, ErrorKind};
use std::net::SocketAddr;
use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::task::JoinSet;

use crate::dispatch::event;
use crate::stage::{CUSTOMERS, customer_id};

/// What the callers saw.
pub(crate) struct Answered {
    /// From the first request to the last answer.
    pub(crate) within: Duration,
    /// How long each caller waited, shortest first.
    pub(crate) waits: Vec<Duration>,
}

impl Answered {
    /// How long the given share of the callers waited at most, in milliseconds.
    pub(crate) fn quantile_ms(&self, share: f64) -> f64 {
        let place = (self.waits.len() as f64 * share) as usize;
        self.waits[place.min(self.waits.len() - 1)].as_secs_f64() * 1_000.0
    }
}

/// Posts the sample event once for each of the numbers, over so many connections.
///
/// # Errors
/// When an answer is not 202, or a connection ends.
pub(crate) async fn post_events(
    address: SocketAddr,
    connections: usize,
    numbers: Range<usize>,
) -> Result<Answered, Box<dyn Error + Send + Sync>> {
    let mut opened = Vec::with_capacity(connections);
    for _ in 0..connections {
        opened.push(Connection::open(address).await?);
    }
    let next = Arc::new(AtomicUsize::new(numbers.start));
    let started = Instant::now();
    let mut callers = JoinSet::new();
    for connection in opened {
        callers.spawn(call(connection, Arc::clone(&next), numbers.end));
    }
    let mut waits = Vec::with_capacity(numbers.len());
    while let Some(called) = callers.join_next().await {
        waits.append(&mut called??);
    }
    let within = started.elapsed();
    waits.sort_unstable();
    Ok(Answered { within, waits })
}

/// Sends these requests, over so many connections.
///
/// # Errors
/// When an answer is not 200, or a connection ends.
pub(crate) async fn post_all(
    address: SocketAddr,
    connections: usize,
    requests: Vec<Vec<u8>>,
) -> Result<Answered, Box<dyn Error + Send + Sync>> {
    let mut opened = Vec::with_capacity(connections);
    for _ in 0..connections {
        opened.push(Connection::open(address).await?);
    }
    let (next, requests) = (Arc::new(AtomicUsize::new(0)), Arc::new(requests));
    let started = Instant::now();
    let mut callers = JoinSet::new();
    for mut connection in opened {
        let (next, requests) = (Arc::clone(&next), Arc::clone(&requests));
        callers.spawn(async move {
            let mut waits = Vec::new();
            while let Some(request) = requests.get(next.fetch_add(1, Ordering::Relaxed)) {
                let asked = Instant::now();
                connection.expect(200, request).await?;
                waits.push(asked.elapsed());
            }
            Ok::<_, io::Error>(waits)
        });
    }
    let mut waits = Vec::with_capacity(requests.len());
    while let Some(called) = callers.join_next().await {
        waits.append(&mut called??);
    }
    let within = started.elapsed();
    waits.sort_unstable();
    Ok(Answered { within, waits })
}

/// What a page answers.
///
/// # Errors
/// When it is not 200 and JSON.
pub(crate) async fn get(address: SocketAddr, path: &str) -> io::Result<Value> {
    let mut connection = Connection::open(address).await?;
    connection.expect(200, format!("GET {path} HTTP/1.1\r\nHost: bench\r\n\r\n").as_bytes()).await?;
    connection.body()
}

/// What is answered to a job.
///
/// # Errors
/// When it is not 202 and JSON.
pub(crate) async fn ask(address: SocketAddr, path: &str, body: &Value) -> io::Result<Value> {
    let mut connection = Connection::open(address).await?;
    connection.expect(202, &post(path, body)).await?;
    connection.body()
}

async fn call(mut connection: Connection, next: Arc<AtomicUsize>, end: usize) -> io::Result<Vec<Duration>> {
    let mut request = EventRequest::new();
    let mut waits = Vec::new();
    loop {
        let number = next.fetch_add(1, Ordering::Relaxed);
        if number >= end {
            return Ok(waits);
        }
        let asked = Instant::now();
        connection.expect(202, request.of(number)).await?;
        waits.push(asked.elapsed());
    }
}

/// Adds the customers of the benchmarks.
///
/// # Errors
/// When an answer is not 201, or the connection ends.
pub(crate) async fn post_customers(address: SocketAddr) -> io::Result<()> {
    let mut connection = Connection::open(address).await?;
    for number in 0..CUSTOMERS {
        let customer = json!({
            "customer_id": customer_id(number),
            "name": "Carlos Mendoza",
            "email": format!("carlos.{number}@example.com"),
        });
        connection.expect(201, &post("/api/v1/notifications/customers/", &customer)).await?;
    }
    Ok(())
}

/// Whether the server takes requests in.
pub(crate) async fn is_ready(address: SocketAddr) -> bool {
    let Ok(mut connection) = Connection::open(address).await else { return false };
    connection.expect(200, b"GET /health/ HTTP/1.1\r\nHost: bench\r\n\r\n").await.is_ok()
}

fn post(path: &str, body: &Value) -> Vec<u8> {
    let body = body.to_string();
    let length = body.len();
    let head = "HTTP/1.1\r\nHost: bench\r\nContent-Type: application/json";
    format!("POST {path} {head}\r\nContent-Length: {length}\r\n\r\n{body}").into_bytes()
}

/// The sample event, in which only the customer changes.
struct EventRequest {
    bytes: Vec<u8>,
    customer: Range<usize>,
}

impl EventRequest {
    fn new() -> Self {
        let bytes = post("/api/v1/notifications/events/dispatch/", &event(0));
        let customer = customer_id(0);
        let at = bytes.windows(customer.len()).position(|part| part == customer.as_bytes());
        let at = at.expect("the event names its customer");
        Self { bytes, customer: at..at + customer.len() }
    }

    fn of(&mut self, number: usize) -> &[u8] {
        // All ids are equally long.
        self.bytes[self.customer.clone()].copy_from_slice(customer_id(number).as_bytes());
        &self.bytes
    }
}

struct Connection {
    stream: TcpStream,
    answer: Vec<u8>,
}

impl Connection {
    async fn open(address: SocketAddr) -> io::Result<Self> {
        let stream = TcpStream::connect(address).await?;
        stream.set_nodelay(true)?;
        Ok(Self { stream, answer: Vec::with_capacity(16 * 1024) })
    }

    /// Of the answer that was read.
    fn body(&self) -> io::Result<Value> {
        let head = self.answer.windows(4).position(|part| part == b"\r\n\r\n").map_or(0, |end| end + 4);
        serde_json::from_slice(&self.answer[head..]).map_err(io::Error::other)
    }

    /// Sends a request and reads its answer to the end.
    async fn expect(&mut self, status: u16, request: &[u8]) -> io::Result<()> {
        self.stream.write_all(request).await?;
        self.answer.clear();
        loop {
            if self.stream.read_buf(&mut self.answer).await? == 0 {
                return Err(io::Error::new(ErrorKind::UnexpectedEof, "the API closed the connection"));
            }
            match Head::read(&self.answer) {
                Some(head) if self.answer.len() < head.length => {}
                Some(head) if head.status == status => return Ok(()),
                Some(_) => return Err(io::Error::other(String::from_utf8_lossy(&self.answer))),
                None => {}
            }
        }
    }
}

#[derive(Debug, PartialEq)]
struct Head {
    status: u16,
    /// Bytes of the whole answer, with its head.
    length: usize,
}

impl Head {
    /// `None` while the head is not complete. The API tells the length of every body.
    fn read(answer: &[u8]) -> Option<Self> {
        let end = answer.windows(4).position(|part| part == b"\r\n\r\n")?;
        let head = std::str::from_utf8(&answer[..end]).ok()?;
        let mut lines = head.split("\r\n");
        let status = lines.next()?.split(' ').nth(1)?.parse().ok()?;
        let length = lines.filter_map(|line| line.split_once(':')).find_map(|(name, value)| {
            name.eq_ignore_ascii_case("content-length").then(|| value.trim().parse::<usize>().ok())?
        });
        Some(Self { status, length: end + 4 + length.unwrap_or(0) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_ends_where_its_head_says() {
        let answer = b"HTTP/1.1 202 Accepted\r\nContent-Type: application/json\r\nContent-Length: 2\r\n\r\n{}";
        assert_eq!(Head::read(answer), Some(Head { status: 202, length: answer.len() }));
        let cut = &answer[..answer.len() - 1];
        assert_eq!(Head::read(cut), Some(Head { status: 202, length: cut.len() + 1 }));
        assert_eq!(Head::read(&answer[..30]), None);
    }

    #[test]
    fn the_request_names_another_customer_each_time() {
        let mut request = EventRequest::new();
        let length = request.bytes.len();
        for number in [7, 999, CUSTOMERS + 1] {
            let text = String::from_utf8(request.of(number).to_vec()).expect("JSON is UTF-8");
            let (_, body) = text.split_once("\r\n\r\n").expect("a head and a body");
            assert_eq!(serde_json::from_str::<Value>(body).expect("JSON"), event(number));
            assert_eq!(text.len(), length);
        }
    }
}
