//! What strangers, broken clients and attackers send: always an answer in JSON that blames them, never a 5xx.

use proptest::prelude::*;
use proptest::strategy::ValueTree;
use proptest::test_runner::TestRunner;
use reqwest::Method;
use serde_json::{Map, Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::harness::answer::Answer;
use crate::harness::app::{App, BULK, DISPATCH, SUBSCRIBE, SYNC_CUSTOMER, SYNC_VEHICLE};
use crate::harness::pair::story;
use crate::harness::sample;

const ENDPOINTS: [&str; 5] = [DISPATCH, BULK, SYNC_CUSTOMER, SYNC_VEHICLE, SUBSCRIBE];

/// Where records are written.
const FORMS: [&str; 9] = [
    "/api/v1/notifications/customers/",
    "/api/v1/notifications/customers/customer-001/update_preferences/",
    "/api/v1/notifications/vehicles/",
    "/api/v1/notifications/reminders/",
    "/api/v1/notifications/templates/",
    "/api/v1/notifications/templates/preview/",
    "/api/v1/notifications/orchestration/",
    "/api/v1/webhooks/endpoints/",
    "/api/v1/webhooks/verify/",
];

impl App {
    async fn post_bytes(&self, path: &str, content_type: &str, body: Vec<u8>) -> Answer {
        self.send(self.request(Method::POST, path).header("Content-Type", content_type).body(body)).await
    }

    /// Says something that no HTTP client would say, and returns the status line of the answer; empty when the server
    /// hung up.
    async fn say(&self, words: &[u8]) -> String {
        self.hear(words).await.lines().next().unwrap_or_default().to_owned()
    }

    /// The same with the whole of what comes back.
    async fn hear(&self, words: &[u8]) -> String {
        let address = self.url.trim_start_matches("http://");
        let mut stream = TcpStream::connect(address).await.expect("the server listens");
        // The server may answer and hang up before everything is said.
        let _ = stream.write_all(words).await;
        let _ = stream.shutdown().await;
        let mut answer = Vec::new();
        let _ = stream.read_to_end(&mut answer).await;
        String::from_utf8_lossy(&answer).into_owned()
    }
}

#[track_caller]
fn blames_the_caller(answer: &Answer, what: &str) {
    assert!((400..500).contains(&answer.status), "{what}: {} {}", answer.status, answer.text);
    assert!(answer.json().is_object(), "{what}: {}", answer.text);
    assert!(!answer.header("x-request-id").is_empty(), "{what}");
}

fn nasty_bodies() -> Vec<(&'static str, Vec<u8>)> {
    let nested = |open: &str, close: &str| {
        format!("{{\"context\":{}{}}}", open.repeat(10_000), close.repeat(10_000)).into_bytes()
    };
    vec![
        ("nothing", Vec::new()),
        ("blanks", b" \n\t ".to_vec()),
        ("null", b"null".to_vec()),
        ("a list", b"[]".to_vec()),
        ("a number", b"5".to_vec()),
        ("a text", b"\"hola\"".to_vec()),
        ("no fields", b"{}".to_vec()),
        ("half an object", b"{\"customer_id\": ".to_vec()),
        ("a comma too many", b"{\"customer_id\": \"a\",}".to_vec()),
        ("something after the end", b"{} {}".to_vec()),
        ("not JSON", b"customer_id=a&plate=b".to_vec()),
        ("NaN", b"{\"customer_id\": NaN}".to_vec()),
        ("a number without end", b"{\"sync_version\": 1e999}".to_vec()),
        ("a long number", format!("{{\"sync_version\": {}}}", "9".repeat(10_000)).into_bytes()),
        ("no UTF-8", b"{\"customer_id\": \"\xff\xfe\"}".to_vec()),
        ("no UTF-8 as a key", b"{\"\xc3\x28\": 1}".to_vec()),
        ("a lone surrogate", b"{\"customer_id\": \"\\ud800\"}".to_vec()),
        ("NUL", b"{\"customer_id\": \"a\\u0000b\"}".to_vec()),
        ("NUL as a key", b"{\"\\u0000\": 1}".to_vec()),
        ("a raw control character", b"{\"customer_id\": \"a\x01b\"}".to_vec()),
        ("a key twice", b"{\"customer_id\": \"a\", \"customer_id\": \"b\"}".to_vec()),
        ("lists in lists", nested("[", "]")),
        ("objects in objects", nested("{\"a\":", "}").into_iter().collect()),
        ("UTF-16", "{\"customer_id\": \"a\"}".encode_utf16().flat_map(u16::to_le_bytes).collect()),
        ("a line break in a name", b"{\"customer_id\": \"a\\r\\nBcc: x@example.com\", \"plate\": \"\\n\"}".to_vec()),
        ("a long id", format!("{{\"customer_id\": \"{}\", \"plate\": 1}}", "x".repeat(100_000)).into_bytes()),
        (
            "every field of a wrong type",
            br#"{"customer_id": [], "event_type": {}, "plate": true, "subscription": [1], "email": 5}"#.to_vec(),
        ),
    ]
}

story!(nasty_bodies_are_the_callers_fault, async |app: &App| {
    app.know_carlos().await;
    for (what, body) in nasty_bodies() {
        for endpoint in ENDPOINTS.into_iter().chain(FORMS) {
            let answer = app.post_bytes(endpoint, "application/json", body.clone()).await;
            blames_the_caller(&answer, &format!("{what} to {endpoint}"));
        }
        let answer = app
            .send(app.request(Method::DELETE, SUBSCRIBE).header("Content-Type", "application/json").body(body))
            .await;
        blames_the_caller(&answer, &format!("DELETE with {what}"));
    }
});

// 1 MiB is the most that is read. Who sends more gets an answer, not a broken connection.
story!(large_bodies_are_refused, async |app: &App| {
    for endpoint in ENDPOINTS.into_iter().chain(FORMS) {
        let body = format!("{{\"customer_id\": \"{}\"}}", "x".repeat(10 * 1024 * 1024));
        let answer = app.post_bytes(endpoint, "application/json", body.into_bytes()).await;
        assert_eq!(answer.status, 413, "{endpoint}");
        blames_the_caller(&answer, endpoint);
    }
});

story!(other_content_types_are_refused, async |app: &App| {
    for kind in
        ["text/plain", "application/x-www-form-urlencoded", "multipart/form-data; boundary=x", "image/png", "\u{ff}"]
    {
        for endpoint in ENDPOINTS {
            let answer = app.post_bytes(endpoint, kind, b"{}".to_vec()).await;
            assert_eq!(answer.status, 415, "{kind} to {endpoint}");
            blames_the_caller(&answer, kind);
        }
    }
});

// A server that is spoken to in gibberish blames the speaker and goes on.
story!(gibberish_on_the_wire_is_survived, async |app: &App| {
    let long_header = format!("GET /health HTTP/1.1\r\nHost: a\r\nX-Long: {}\r\n\r\n", "x".repeat(1024 * 1024));
    let post = |headers: &str, body: &str| {
        format!("POST {DISPATCH} HTTP/1.1\r\nHost: a\r\n{headers}\r\n\r\n{body}").into_bytes()
    };
    let cases: Vec<(&str, Vec<u8>)> = vec![
        ("nothing", Vec::new()),
        ("noise", vec![0, 159, 146, 150, 13, 10, 13, 10]),
        ("TLS", b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03".to_vec()),
        ("another protocol", b"EHLO localhost\r\n".to_vec()),
        ("HTTP/2", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_vec()),
        ("no host", b"GET /health HTTP/1.1\r\n\r\n".to_vec()),
        ("bytes in the path", b"GET /api/v1/notifications/push/status/\xff\xfe/ HTTP/1.1\r\nHost: a\r\n\r\n".to_vec()),
        (
            "half an escape",
            b"GET /api/v1/notifications/push/status/%/ HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n".to_vec(),
        ),
        (
            "no UTF-8 in the path",
            b"GET /api/v1/notifications/push/status/%ff%fe/ HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n".to_vec(),
        ),
        (
            "NUL in the path",
            b"GET /api/v1/notifications/push/status/%00/ HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n".to_vec(),
        ),
        ("a way out", b"GET /../../etc/passwd HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n".to_vec()),
        ("an unknown method", b"BREW /health HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n".to_vec()),
        ("a long header", long_header.into_bytes()),
        ("a length that is no number", post("Content-Length: many", "{}")),
        ("a negative length", post("Content-Length: -5", "{}")),
        ("two lengths", post("Content-Length: 2\r\nContent-Length: 200", "{}")),
        ("less than was promised", post("Content-Length: 200", "{}")),
        ("chunks that are none", post("Transfer-Encoding: chunked", "zz\r\n{}\r\n")),
        ("an id that is no text", post("Content-Length: 2\r\nConnection: close\r\nX-Request-Id: \u{1}", "{}")),
    ];
    for (what, words) in cases {
        let status = app.say(&words).await;
        // HTTP/2 is answered in frames.
        let is_good = status.is_empty() || status.starts_with("HTTP/1.1 4") || !status.starts_with("HTTP/");
        assert!(is_good, "{what}: {status}");
    }
    app.get("/health").await.must_be(200);
});

// hyper answers alone what it cannot read: with a status and nothing else. Such a caller too is told what to mend, has an id for
// whom they ask, and a browser guesses no type.
story!(what_cannot_be_read_is_answered_like_the_rest, async |app: &App| {
    let get = "GET /api/v1/health/ HTTP/1.1\r\nHost: a\r\n";
    let long = format!("{get}X-Long: {}\r\n\r\n", "x".repeat(40 * 1024));
    let many = format!("{get}{}\r\n", "X-Many: x\r\n".repeat(200));
    for (words, status, remedy) in [
        ("GET /health HTTP/1.1\nHost: a\n\n".to_owned(), "400 Bad Request", "CRLF"),
        (
            format!(
                "POST {DISPATCH} HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n{{}}"
            ),
            "400 Bad Request",
            "Transfer-Encoding",
        ),
        ("BREW\r\n\r\n".to_owned(), "400 Bad Request", "HTTP/1.1"),
        (long, "431 Request Header Fields Too Large", "32768"),
        (many, "431 Request Header Fields Too Large", "100"),
    ] {
        let answer = app.hear(words.as_bytes()).await;
        let (head, body) = answer.split_once("\r\n\r\n").unwrap_or_else(|| panic!("{words:.60}: {answer}"));
        assert!(head.starts_with(&format!("HTTP/1.1 {status}")), "{words:.60}: {answer}");
        for header in ["x-request-id: ", "x-content-type-options: nosniff", "connection: close", "application/json"] {
            assert!(head.contains(header), "{words:.60}: {header} is missing in {answer}");
        }
        assert!(body.starts_with("{\"detail\":") && body.contains(remedy), "{words:.60}: {answer}");
    }
});

story!(other_methods_are_answered, async |app: &App| {
    for endpoint in ENDPOINTS {
        for method in [Method::GET, Method::PUT, Method::PATCH] {
            let answer = app.send(app.request(method.clone(), endpoint)).await;
            assert_eq!(answer.status, 405, "{method} {endpoint}");
            assert!(!answer.header("allow").is_empty(), "{method} {endpoint}");
            blames_the_caller(&answer, endpoint);
        }
        for method in [Method::HEAD, Method::OPTIONS, Method::TRACE] {
            assert!(app.send(app.request(method, endpoint)).await.status < 500);
        }
    }
    assert_eq!(app.send(app.request(Method::HEAD, "/health")).await.status, 200);
});

// A line break in a subject or a name ends no header of a mail.
story!(line_breaks_inject_no_headers, async |app: &App| {
    let injected = "Carlos\r\nBcc: thief@example.com";
    app.post(SYNC_CUSTOMER, &sample::customer_with(json!({"name": injected}))).await.must_be(400);
    app.post(SYNC_CUSTOMER, &sample::customer_with(json!({"email": format!("a@example.com{}", &injected[6..])})))
        .await
        .must_be(400);
    app.know_carlos().await;
    for ending in ["\r\n", "\n", "\r", "\u{2028}", "\u{85}", "\n\n"] {
        let subject = format!("Hola{ending}Bcc: thief@example.com{ending}{ending}cuerpo");
        let event = json!({"event_type": "custom", "customer_id": "customer-001", "context": {"subject": subject, "body": "Hola"}});
        let answer = app.dispatch(&event).await;
        assert!([202, 400].contains(&answer.status), "{ending:?}: {}", answer.text);
        let event = sample::event_with(json!({"context": {"nombre": format!("Carlos{ending}Bcc: thief@example.com")}}));
        assert!([202, 400].contains(&app.dispatch(&event).await.status), "{ending:?}");
    }
    app.drain().await;
    assert!(!app.mails().is_empty());
    for mail in app.mails() {
        assert_eq!(mail.envelope_to(), ["carlos@example.com"]);
        assert!(mail.header("Bcc").is_none(), "{:?}", mail.headers());
    }
});

// Values that make a text too long are the caller's fault; the template is not.
story!(values_may_be_too_long, async |app: &App| {
    app.know_carlos().await;
    let body = app.dispatch(&sample::event_with(json!({"context": {"hora": "1".repeat(300)}}))).await.must_be(400);
    assert!(body["context"][0].as_str().expect("an error").contains("200"), "{body}");
    let body = app.dispatch(&sample::event_with(json!({"context": {"hora": "1".repeat(10_001)}}))).await.must_be(400);
    assert!(body["context"][0].as_str().expect("an error").contains("hora"), "{body}");
});

// SQL is never made of words.
story!(quotes_are_only_quotes, async |app: &App| {
    let bobby = "Robert'); drop table tasks;--";
    app.sync_customer(&sample::customer_with(json!({"customer_id": bobby, "name": bobby}))).await;
    app.accepted(&sample::event_with(json!({"customer_id": bobby, "context": {"nombre": bobby}}))).await;
    app.drain().await;
    assert!(app.mails()[0].text().expect("a text").contains(bobby));
});

fn any_json() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        ".{0,40}".prop_map(Value::from),
        "[{%}a-z|. ]{0,20}".prop_map(Value::from),
    ];
    leaf.prop_recursive(4, 32, 6, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..6).prop_map(Value::from),
            prop::collection::vec((".{0,12}", inner), 0..6).prop_map(|fields| Value::Object(Map::from_iter(fields))),
        ]
    })
}

/// An event with one of its fields, or of its context's, replaced.
fn almost_an_event() -> impl Strategy<Value = Value> {
    const FIELDS: [&str; 9] = [
        "event_type",
        "service_type_id",
        "phase_id",
        "subtype_id",
        "customer_id",
        "target",
        "taller_id",
        "correlation_id",
        "context",
    ];
    const WORDS: [&str; 5] = ["nombre", "placa", "vehiculo", "hora", "otra"];
    let outer = (prop::sample::select(&FIELDS), any_json()).prop_map(|(field, value)| {
        let mut event = sample::event();
        event[field] = value;
        event
    });
    let inner = (prop::sample::select(&WORDS), any_json()).prop_map(|(word, value)| {
        let mut event = sample::event();
        event["context"][word] = value;
        event
    });
    prop_oneof![1 => any_json(), 1 => outer, 2 => inner]
}

// Whatever JSON comes: it is accepted, or its sender is told why not. And whatever was accepted can be delivered.
story!(no_json_upsets_the_door, async |app: &App| {
    app.know_carlos().await;
    let mut runner = TestRunner::default();
    for _ in 0..256 {
        let body = almost_an_event().new_tree(&mut runner).expect("a value").current();
        let answer = app.dispatch(&body).await;
        assert!(
            answer.status == 202 || (400..500).contains(&answer.status),
            "{body}: {} {}",
            answer.status,
            answer.text
        );
        assert!(answer.json().is_object(), "{body}");
    }
    app.drain().await;
    assert_eq!(app.counts(&[recado_queue::tasks::State::Dead, recado_queue::tasks::State::Scheduled]).await, []);
});
