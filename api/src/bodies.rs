//! The bodies of all requests: how much memory they have together, and what becomes of one that was not read.

use std::mem;
use std::pin::Pin;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use axum::body::{Body, Bytes, HttpBody};
use axum::extract::Request;
use axum::http::HeaderValue;
use axum::http::header::{CONNECTION, EXPECT};
use axum::response::Response;
use futures::StreamExt;
use hyper::body::{Frame, SizeHint};
use serde_json::Value;

use crate::problem::Problem;

/// How much of a body that no one read is still taken and thrown away, in bytes, and for how long. Then its connection can be
/// kept, and a client that reads the answer only after it has sent everything sees it.
const MAX_DRAINED_BYTES: usize = 4 * 1024 * 1024;
const DRAIN_TIMEOUT: Duration = Duration::from_secs(2);

/// The memory that all bodies have together.
pub(crate) struct Memory {
    all: usize,
    used: AtomicUsize,
}

impl Memory {
    pub(crate) fn new(bytes: usize) -> Arc<Self> {
        Arc::new(Self { all: bytes, used: AtomicUsize::new(0) })
    }

    /// Bytes that are taken now.
    #[cfg(test)]
    pub(crate) fn used(&self) -> usize {
        self.used.load(Ordering::Relaxed)
    }
}

/// What one request has of it. It is given back when the request is answered.
pub(crate) struct Share {
    memory: Arc<Memory>,
    bytes: AtomicUsize,
}

impl Share {
    pub(crate) fn of(memory: &Arc<Memory>) -> Arc<Self> {
        Arc::new(Self { memory: memory.clone(), bytes: AtomicUsize::new(0) })
    }

    /// Takes so many bytes more.
    ///
    /// # Errors
    /// [`Problem::Overloaded`] when others have taken what there is.
    pub(crate) fn take(&self, bytes: usize) -> Result<(), Problem> {
        let fits = |used: usize| used.checked_add(bytes).filter(|sum| *sum <= self.memory.all);
        let taken = self.memory.used.fetch_update(Ordering::Relaxed, Ordering::Relaxed, fits);
        taken.map_err(|_| Problem::Overloaded)?;
        self.bytes.fetch_add(bytes, Ordering::Relaxed);
        Ok(())
    }

    /// Gives back some of what was taken.
    pub(crate) fn give_back(&self, bytes: usize) {
        let given = bytes.min(self.bytes.load(Ordering::Relaxed));
        self.bytes.fetch_sub(given, Ordering::Relaxed);
        self.memory.used.fetch_sub(given, Ordering::Relaxed);
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        self.memory.used.fetch_sub(*self.bytes.get_mut(), Ordering::Relaxed);
    }
}

/// Bytes that grow as they come, within the share of a request where it has one.
#[derive(Default)]
pub(crate) struct Growing {
    bytes: Vec<u8>,
    share: Option<Arc<Share>>,
}

impl Growing {
    pub(crate) fn within(share: Option<Arc<Share>>) -> Self {
        Self { bytes: Vec::new(), share }
    }

    pub(crate) fn len(&self) -> usize {
        self.bytes.len()
    }

    pub(crate) fn as_slice(&self) -> &[u8] {
        &self.bytes
    }

    /// Appends. A single piece, as most bodies are, gets what it needs; more get room for as much again.
    ///
    /// # Errors
    /// [`Problem::Overloaded`] when there is no memory left.
    pub(crate) fn extend(&mut self, piece: &[u8], largest: usize) -> Result<(), Problem> {
        let (needed, had) = (self.bytes.len() + piece.len(), self.bytes.capacity());
        if needed > had {
            let room = needed.max(2 * had).min(largest.max(needed));
            if let Some(share) = &self.share {
                share.take(room - had)?;
            }
            self.bytes.reserve_exact(room - self.bytes.len());
        }
        self.bytes.extend_from_slice(piece);
        Ok(())
    }

    /// What was read out of the bytes stays, and they go.
    ///
    /// # Errors
    /// [`Problem::Overloaded`] when there is no memory for it.
    pub(crate) fn becomes(self, value: Value) -> Result<Value, Problem> {
        if let Some(share) = &self.share {
            share.take(weight(&value))?;
        }
        Ok(value)
    }
}

impl Drop for Growing {
    fn drop(&mut self) {
        if let Some(share) = &self.share {
            share.give_back(self.bytes.capacity());
        }
    }
}

/// About how many bytes a value takes: a list of digits is sixteen times as large as its text.
fn weight(value: &Value) -> usize {
    let inside: usize = match value {
        Value::Null | Value::Bool(_) | Value::Number(_) => 0,
        Value::String(text) => text.len(),
        Value::Array(values) => values.iter().map(weight).sum(),
        Value::Object(fields) => fields.iter().map(|(name, value)| NODE + name.len() + weight(value)).sum(),
    };
    size_of::<Value>() + inside
}

/// What a key costs besides its letters.
const NODE: usize = 48;

/// Lends the body to whatever answers the request, and takes it back. What was not read is drained, so that the next request
/// on this connection is understood; where that would take too much, the answer says that the connection closes.
pub(crate) async fn lend<F: Future<Output = Response>>(
    memory: &Arc<Memory>,
    request: Request,
    next: impl FnOnce(Request) -> F,
) -> Response {
    if request.body().is_end_stream() {
        return next(request).await;
    }
    let asks_first = request.headers().contains_key(EXPECT);
    let share = Share::of(memory);
    let (mut parts, body) = request.into_parts();
    let lent = Lent(Arc::new(Mutex::new(Loan { body, was_asked: false, has_ended: false })));
    parts.extensions.insert(share.clone());
    let request = Request::from_parts(parts, Body::new(Lent(lent.0.clone())));
    let mut response = next(request).await;
    drop(share);
    if !lent.is_read(asks_first).await {
        response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
    }
    response
}

/// A body that its owner gets back.
struct Lent(Arc<Mutex<Loan>>);

struct Loan {
    body: Body,
    was_asked: bool,
    has_ended: bool,
}

impl Lent {
    fn loan(&self) -> MutexGuard<'_, Loan> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether all of it has come, after what is left was drained.
    async fn is_read(&self, asks_first: bool) -> bool {
        let body = {
            let mut loan = self.loan();
            if loan.has_ended {
                return true;
            }
            // Who asked before sending need not send; to read would mean to ask for it.
            if asks_first && !loan.was_asked {
                return false;
            }
            mem::take(&mut loan.body)
        };
        if body.size_hint().lower() > MAX_DRAINED_BYTES as u64 {
            return false;
        }
        tokio::time::timeout(DRAIN_TIMEOUT, drain(body)).await.unwrap_or_default()
    }
}

async fn drain(body: Body) -> bool {
    let (mut drained, mut pieces) = (0, body.into_data_stream());
    while let Some(piece) = pieces.next().await {
        let Ok(piece) = piece else { return false };
        drained += piece.len();
        if drained > MAX_DRAINED_BYTES {
            return false;
        }
    }
    true
}

impl HttpBody for Lent {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        let mut loan = self.loan();
        loan.was_asked = true;
        let frame = ready!(Pin::new(&mut loan.body).poll_frame(cx));
        loan.has_ended |= frame.is_none();
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.loan().body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.loan().body.size_hint()
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn memory_is_taken_as_bytes_come_and_given_back() {
        let memory = Memory::new(100_000);
        let share = Share::of(&memory);
        let mut growing = Growing::within(Some(share.clone()));
        growing.extend(&[b' '; 10], 60_000).unwrap();
        assert_eq!(memory.used(), 10, "what came, and not what was announced");
        for _ in 0..5 {
            growing.extend(&[b' '; 10_000], 60_000).unwrap();
        }
        assert!((50_010..=60_000).contains(&memory.used()), "{}", memory.used());
        let other = Share::of(&memory);
        assert!(matches!(other.take(50_000), Err(Problem::Overloaded)));
        drop(growing);
        assert_eq!(memory.used(), 0);
        other.take(50_000).unwrap();
        drop(other);
        assert_eq!(memory.used(), 0);
    }

    #[test]
    fn a_value_is_larger_than_its_text() {
        assert!(weight(&json!([1, 2, 3])) >= 4 * size_of::<Value>());
        assert!(weight(&json!({"a": "0123456789"})) >= 11 + 2 * size_of::<Value>());
        let memory = Memory::new(10_000);
        let text = Value::from("x".repeat(5_000));
        let share = Share::of(&memory);
        let growing = || Growing::within(Some(share.clone()));
        assert!(growing().becomes(text.clone()).is_ok() && growing().becomes(text).is_err());
    }
}
