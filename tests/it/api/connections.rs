//! Connections and bodies: more of them than there is room for, kept ones after a refusal, and heads that two servers would read
//! differently.

use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::harness::app::{App, BULK, DISPATCH, SYNC_CUSTOMER, until};
use crate::harness::pair::story;
use crate::harness::sample;

/// A connection as a stranger uses it.
struct Raw(TcpStream);

impl Raw {
    async fn open(app: &App) -> Self {
        Self(TcpStream::connect(app.url.trim_start_matches("http://")).await.expect("the server listens"))
    }

    async fn say(&mut self, words: impl AsRef<[u8]>) {
        // The server may have hung up, which is seen by what it answers.
        let _ = self.0.write_all(words.as_ref()).await;
    }

    /// One answer, with its head in lower case; empty when the server hung up.
    async fn answer(&mut self) -> String {
        let mut answer = Vec::new();
        loop {
            let text = String::from_utf8_lossy(&answer).to_lowercase();
            if let Some((head, body)) = text.split_once("\r\n\r\n") {
                let length = head.lines().find_map(|line| line.strip_prefix("content-length: "));
                if body.len() >= length.map_or(0, |length| length.parse().expect("a number")) {
                    return text;
                }
            }
            let mut piece = [0; 4096];
            match self.0.read(&mut piece).await {
                Ok(0) | Err(_) => return String::from_utf8_lossy(&answer).to_lowercase(),
                Ok(length) => answer.extend_from_slice(&piece[..length]),
            }
        }
    }

    /// Whether the server has hung up.
    async fn is_closed(&mut self) -> bool {
        let mut piece = [0; 1];
        matches!(
            tokio::time::timeout(std::time::Duration::from_millis(1), self.0.read(&mut piece)).await,
            Ok(Ok(0) | Err(_))
        )
    }
}

fn post(path: &str, headers: &str, length: usize) -> String {
    format!(
        "POST {path} HTTP/1.1\r\nHost: a\r\nContent-Type: application/json\r\nContent-Length: {length}\r\n{headers}\r\n"
    )
}

const GET_HEALTH: &str = "GET /health HTTP/1.1\r\nHost: a\r\n\r\n";

// 1,100 connections that said one letter, with 1,024 descriptors, kept `/health` waiting for 73 s: the oldest silent one makes
// room for the next.
story!(silent_connections_keep_no_one_out, [("API_MAX_CONNECTIONS", "20")], async |app: &App| {
    let mut silent = Vec::new();
    for _ in 0..60 {
        let mut one = Raw::open(app).await;
        one.say("G").await;
        silent.push(one);
    }
    let mut probe = Raw::open(app).await;
    probe.say(GET_HEALTH).await;
    assert!(probe.answer().await.starts_with("http/1.1 200"));
    for (number, one) in silent[..50].iter_mut().enumerate() {
        assert_eq!(one.answer().await, "", "{number} was told nothing");
    }
    // One address has half of the places, and the probe has one of them.
    assert!(!silent[59].is_closed().await, "the newest stays");
});

// When every place is taken by a request that is being served, probes are still answered, and others are told to come back.
story!(probes_have_a_way_in_when_all_are_busy, [("API_MAX_CONNECTIONS", "4")], async |app: &App| {
    let mut busy = Vec::new();
    for _ in 0..2 {
        let mut one = Raw::open(app).await;
        one.say(post(DISPATCH, "", 100)).await;
        busy.push(one);
    }
    until("both are being served", async || {
        let mut other = Raw::open(app).await;
        other.say("GET /api/v1/tasks/x/ HTTP/1.1\r\nHost: a\r\n\r\n").await;
        let answer = other.answer().await;
        answer.starts_with("http/1.1 503") && answer.contains("retry-after: ") && answer.contains("connection: close")
    })
    .await;
    let mut probe = Raw::open(app).await;
    probe.say(GET_HEALTH).await;
    assert!(probe.answer().await.starts_with("http/1.1 200"));
    for one in &mut busy {
        assert!(!one.is_closed().await, "who is served is not sent away");
    }
});

// 200 real bodies of 4 MiB took 1 GiB: all bodies together have one budget, and who comes when it is spent may come back.
story!(bodies_share_one_memory, [("API_BODY_MEMORY_MIB", "8")], async |app: &App| {
    app.know_carlos().await;
    let mut held = Vec::new();
    for _ in 0..2 {
        let mut one = Raw::open(app).await;
        one.say(post(BULK, "", 4 * 1024 * 1024)).await;
        one.say(vec![b' '; 4 * 1024 * 1024 - 1]).await;
        held.push(one);
    }
    let send = async || app.dispatch(&sample::event()).await;
    until("the memory is spent", async || {
        let answer = send().await;
        answer.status == 503 && answer.header("retry-after") == "1"
    })
    .await;
    app.get("/health").await.must_be(200);
    held.clear();
    until("it is free again", async || send().await.status == 202).await;
    app.drain().await;
});

// A declared length takes nothing: many announce more than all memory, and one who sends is served.
story!(an_announced_body_takes_no_memory, [("API_BODY_MEMORY_MIB", "8")], async |app: &App| {
    app.know_carlos().await;
    let mut announced = Vec::new();
    for _ in 0..20 {
        let mut one = Raw::open(app).await;
        one.say(post(BULK, "", 4 * 1024 * 1024)).await;
        one.say("{").await;
        announced.push(one);
    }
    app.dispatch(&sample::event()).await.must_be(202);
    app.drain().await;
});

// 2 of 300 posts on kept connections ended in a reset, because a refusal before the body closed the connection without saying so.
story!(a_refusal_leaves_the_connection_in_order, async |app: &App| {
    for length in [300, 5_000] {
        let mut kept = Raw::open(app).await;
        for number in 0..150 {
            kept.say(post(SYNC_CUSTOMER, "X-Internal-Secret: wrong\r\n", length)).await;
            tokio::task::yield_now().await;
            kept.say(vec![b' '; length]).await;
            let answer = kept.answer().await;
            assert!(answer.starts_with("http/1.1 401"), "post {number} of {length} bytes: {answer:?}");
            if answer.contains("connection: close") {
                kept = Raw::open(app).await;
            }
        }
        kept.say(GET_HEALTH).await;
        assert!(kept.answer().await.starts_with("http/1.1 200"));
    }
    // What is too much to be thrown away, and what was not sent yet, is not waited for.
    for headers in ["X-Internal-Secret: wrong\r\n", "X-Internal-Secret: wrong\r\nExpect: 100-continue\r\n"] {
        let mut one = Raw::open(app).await;
        one.say(post(SYNC_CUSTOMER, headers, 100_000_000)).await;
        let answer = one.answer().await;
        assert!(answer.starts_with("http/1.1 401") && answer.contains("connection: close"), "{answer:?}");
    }
});

// Two `Host` headers, a bare LF, a body that is compressed on its way, and two lengths are read differently by different servers.
story!(ambiguous_heads_are_refused, async |app: &App| {
    let heads = [
        ("two hosts", "GET /health HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n"),
        ("a host that is none", "GET /health HTTP/1.1\r\nHost: a b\r\n\r\n"),
        ("a bare LF at the end", "GET /health HTTP/1.1\nHost: a\n\n"),
        ("a bare LF among others", "GET /health HTTP/1.1\r\nHost: a\nX-Other: b\r\n\r\n"),
        ("gzip, chunked", "POST /health HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n"),
        (
            "two lengths",
            "POST /health HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        ),
    ];
    for (what, head) in heads {
        let mut one = Raw::open(app).await;
        one.say(head).await;
        let answer = one.answer().await;
        assert!(answer.starts_with("http/1.1 400"), "{what}: {answer:?}");
        assert!(answer.contains("connection: close"), "{what}: {answer:?}");
        // The same on a kept connection.
        let mut kept = Raw::open(app).await;
        kept.say(GET_HEALTH).await;
        assert!(kept.answer().await.starts_with("http/1.1 200"));
        kept.say(head).await;
        assert!(kept.answer().await.starts_with("http/1.1 400"), "{what}, second");
    }
    let pretty = json!({"a": 1}).to_string().replace(',', ",\n") + "\n";
    let mut one = Raw::open(app).await;
    for _ in 0..3 {
        one.say(post(DISPATCH, "", pretty.len())).await;
        one.say(&pretty).await;
        assert!(one.answer().await.contains("este campo es requerido"), "line breaks in a body are its own");
    }
});
