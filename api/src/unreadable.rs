//! What a caller is told whose request cannot be read.
//!
//! Such a request reaches no route and no layer: hyper answers it alone, with a status line and nothing else. What it says is
//! recognised on its way out, and replaced by an answer like all others: a sentence in JSON, an id by which the log is searched,
//! and the headers that keep a browser from guessing.

use axum::http::StatusCode;
use recado_kernel::clock::host_time;
use recado_kernel::ids::Id;
use serde_json::json;

/// What makes a head ambiguous (RFC 9112, sections 2.2, 6.3 and 11.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Ambiguity {
    /// A line that ends with LF alone.
    BareLf,
    /// `Content-Length` beside `Transfer-Encoding`.
    TwoLengths,
}

/// Why a head is not passed on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Spoiled {
    By(Ambiguity),
    /// It is longer than is read.
    ByLength,
}

/// Where an answer of hyper's own begins in what is about to be written, and its status. It is the last thing that is said over
/// a connection, and has a length of 0, no type and no id: an answer of ours has the latter, and no body of ours has a raw line
/// break before such words.
pub(crate) fn find(bytes: &[u8]) -> Option<(usize, StatusCode)> {
    const VERSION: &[u8] = b"HTTP/1.1 ";
    let rest = bytes.strip_suffix(b"\r\n\r\n")?;
    let begin = rest.windows(VERSION.len()).rposition(|window| window == VERSION)?;
    let head = std::str::from_utf8(&rest[begin + VERSION.len()..]).ok()?;
    let mut lines = head.split("\r\n");
    let status = StatusCode::from_bytes(lines.next()?.get(..3)?.as_bytes()).ok().filter(StatusCode::is_client_error)?;
    let (mut is_last, mut is_empty) = (false, false);
    for line in lines {
        match line.to_ascii_lowercase().as_str() {
            "connection: close" => is_last = true,
            "content-length: 0" => is_empty = true,
            other if other.starts_with("date: ") => {}
            _ => return None,
        }
    }
    (is_last && is_empty).then_some((begin, status))
}

/// The answer, head and body.
pub(crate) fn answer(status: StatusCode, spoiled: Option<Spoiled>, longest_head: usize) -> Vec<u8> {
    let (status, ambiguity) = match spoiled {
        Some(Spoiled::ByLength) => (StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE, None),
        Some(Spoiled::By(ambiguity)) => (status, Some(ambiguity)),
        None => (status, None),
    };
    let id = Id::new(host_time());
    let reason = reason(status, ambiguity, longest_head);
    tracing::info!(request.id = %id, status = status.as_u16(), "a request could not be read: {reason}");
    let body = json!({ "detail": reason }).to_string();
    let length = body.len();
    format!(
        "HTTP/1.1 {status}\r\ncontent-type: application/json\r\ncontent-length: {length}\r\nconnection: close\r\n\
         x-request-id: {id}\r\nx-content-type-options: nosniff\r\ncache-control: no-store\r\n\r\n{body}"
    )
    .into_bytes()
}

fn reason(status: StatusCode, ambiguity: Option<Ambiguity>, longest_head: usize) -> String {
    match (status, ambiguity) {
        (StatusCode::BAD_REQUEST, Some(Ambiguity::BareLf)) => {
            "Una línea del encabezado termina solo en LF. Termine cada línea en CRLF (RFC 9112, sección 2.2)."
                .to_owned()
        }
        (StatusCode::BAD_REQUEST, Some(Ambiguity::TwoLengths)) => {
            "Content-Length y Transfer-Encoding se excluyen. Envíe solo uno (RFC 9112, sección 6.3).".to_owned()
        }
        (StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE, _) => {
            format!("El encabezado de la solicitud supera el máximo de {longest_head} bytes o de 100 campos.")
        }
        (StatusCode::URI_TOO_LONG, _) => "La URL de la solicitud es demasiado larga.".to_owned(),
        _ => "La solicitud no es HTTP/1.1 válido.".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HYPERS: &str = "HTTP/1.1 400 Bad Request\r\nconnection: close\r\ncontent-length: 0\r\ndate: Tue, 20 Jan 2026 14:30:00 GMT\r\n\r\n";

    #[test]
    fn only_what_hyper_says_by_itself_is_replaced() {
        assert_eq!(find(HYPERS.as_bytes()), Some((0, StatusCode::BAD_REQUEST)));
        let behind = format!("HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n{{}}{HYPERS}");
        assert_eq!(find(behind.as_bytes()), Some((behind.len() - HYPERS.len(), StatusCode::BAD_REQUEST)));
        for ours in [
            HYPERS.replace("date:", "x-request-id: a\r\ndate:"),
            HYPERS.replace("content-length: 0", "content-type: application/json"),
            HYPERS.replace("400 Bad Request", "204 No Content"),
            HYPERS.replace("connection: close\r\n", ""),
            format!("{HYPERS}{{}}"),
            "{\"detail\": \"HTTP/1.1 400 Bad Request\\r\\n\\r\\n\"}".to_owned(),
            String::new(),
        ] {
            assert_eq!(find(ours.as_bytes()), None, "{ours}");
        }
    }

    #[test]
    fn an_answer_says_how_long_it_is() {
        let text = String::from_utf8(answer(StatusCode::BAD_REQUEST, Some(Spoiled::By(Ambiguity::BareLf)), 9)).unwrap();
        let (head, body) = text.split_once("\r\n\r\n").unwrap();
        assert!(
            head.contains(&format!("content-length: {}", body.len())) && head.starts_with("HTTP/1.1 400 Bad Request")
        );
    }
}
