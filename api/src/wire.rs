//! What travels over a connection, looked at before it is understood: how far a request has come, and whether its head is one
//! that every server would read alike.
//!
//! hyper takes a bare LF for the end of a line, and drops `Content-Length` beside `Transfer-Encoding`. A proxy that reads such a
//! head in another way sees other requests than we do (RFC 9112, sections 2.2 and 11.2). The byte that makes it ambiguous is
//! replaced by NUL, which hyper answers with 400. hyper's own answers are replaced too, by ours ([`unreadable`]).

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use axum::http::StatusCode;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;

use crate::connections::Connection;
use crate::framing::{Framing, MAX_HEAD_BYTES};
use crate::unreadable;

pub(crate) struct Wire {
    stream: TcpStream,
    connection: Arc<Connection>,
    framing: Framing,
    /// What is said in place of hyper's own words, and how much of it has been written.
    replaced: Option<(Vec<u8>, usize)>,
}

impl Wire {
    pub(crate) fn new(stream: TcpStream, connection: Arc<Connection>) -> Self {
        Self { stream, connection, framing: Framing::default(), replaced: None }
    }

    /// Writes to the end what stands for these last words of hyper's.
    fn poll_replace(&mut self, cx: &mut Context<'_>, words: &[u8], status: StatusCode) -> Poll<io::Result<usize>> {
        let spoiled = self.framing.spoiled();
        let (answer, written) =
            self.replaced.get_or_insert_with(|| (unreadable::answer(status, spoiled, MAX_HEAD_BYTES), 0));
        while *written < answer.len() {
            let more = ready!(Pin::new(&mut self.stream).poll_write(cx, &answer[*written..]))?;
            if more == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            *written += more;
            self.connection.told();
        }
        Poll::Ready(Ok(words.len()))
    }
}

impl AsyncRead for Wire {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let Self { stream, connection, framing, .. } = self.get_mut();
        let before = buffer.filled().len();
        ready!(Pin::new(stream).poll_read(cx, buffer))?;
        let bytes = &mut buffer.filled_mut()[before..];
        if !bytes.is_empty() {
            connection.heard();
            framing.read(bytes);
        }
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Wire {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let wire = self.get_mut();
        let bytes = match unreadable::find(bytes) {
            Some((0, status)) => return wire.poll_replace(cx, bytes, status),
            // What comes before is an answer of ours.
            Some((begin, _)) => &bytes[..begin],
            None => bytes,
        };
        let Self { stream, connection, .. } = wire;
        let written = ready!(Pin::new(stream).poll_write(cx, bytes))?;
        connection.told();
        Poll::Ready(Ok(written))
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        // hyper's own words have no body, so they come alone or last.
        let slices = match slices {
            [only] => return self.poll_write(cx, only),
            [before @ .., last] if unreadable::find(last).is_some() => before,
            slices => slices,
        };
        let Self { stream, connection, .. } = self.get_mut();
        let written = ready!(Pin::new(stream).poll_write_vectored(cx, slices))?;
        connection.told();
        Poll::Ready(Ok(written))
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}
