//! Webhooks that partners send us: believed only when they are signed, taken once, and answered with the itinerary.

use recado_webhooks::signature::Secret;
use reqwest::Method;
use serde_json::{Value, json};

use crate::harness::answer::Answer;
use crate::harness::app::{App, SECRET_KEY};
use crate::harness::pair::story;

/// The secret of the contract's vectors.
const SECRET: &str = "whsec_MDEyMzQ1Njc4OTAxMjM0NTY3ODkwMTIzNDU2Nzg5MDE=";

/// What `requests.post(json=payload)` sends, and what FindyourWork's sender signs of it: `json.dumps(payload, sort_keys=True)`.
const WIRE: &str = r#"{"event_type": "service.booked_for_event", "timestamp": "2026-01-19T16:00:00Z", "source": "findyourwork", "data": {"external_event_id": "RES-2026-001", "service_name": "Decoraci\u00f3n", "price": 250.0, "provider": {"id": 456, "name": "DJ Sounds Pro", "rating": 4.8}}}"#;
const SORTED_HEX: &str = "bc1d48f85e6a94e4cf7d05ce033fa01f9bf873218722e5ba3b8d9937d255fb2e";

async fn register(app: &App) {
    let url = format!("{}/webhooks/partner/", app.sandbox.partner.url());
    let body = json!({"webhook_url": url, "contact_email": "dev@findyourwork.com", "shared_secret": SECRET});
    let answer = app.post("/partners/register/findyourwork", &body).await.must_be(201);
    assert_eq!(answer["shared_secret"], SECRET);
    app.sandbox.partner.set_secret(SECRET);
}

fn hex(body: &str) -> String {
    Secret::stated(SECRET).expect("a secret").hex(body.as_bytes())
}

async fn send(app: &App, path: &str, headers: &[(&str, &str)], body: &str) -> Answer {
    let request = app.request(Method::POST, path).header("Content-Type", "application/json").body(body.to_owned());
    app.send(headers.iter().fold(request, |request, (name, value)| request.header(*name, *value))).await
}

/// Signed as our own document's sender does, over the bytes that travel.
async fn tell(app: &App, event_type: &str, timestamp: &str, data: Value) -> Value {
    let body =
        json!({"event_type": event_type, "timestamp": timestamp, "source": "findyourwork", "data": data}).to_string();
    let headers = [("X-Partner-ID", "findyourwork"), ("X-Partner-Signature", &*hex(&body))];
    send(app, "/webhooks/partner/findyourwork", &headers, &body).await.must_be(200)
}

// S000-8, d1, d6: the sender of the document, by each of the ways in.
story!(a_signed_webhook_is_acknowledged_by_whatever_path, [SECRET_KEY], async |app: &App| {
    register(app).await;
    let signed = ("X-HMAC-Signature", SORTED_HEX);
    let ack = json!({"status": "ack", "event_type": "service.booked_for_event"});
    let again = json!({"status": "ack", "event_type": "service.booked_for_event", "duplicate": true});
    let id = ("X-Partner-ID", "findyourwork");
    assert_eq!(send(app, "/webhooks/partner/findyourwork", &[id, signed], WIRE).await.must_be(200), ack);
    for (path, headers) in [
        ("/webhooks/partner/findyourwork", &[signed][..]),
        ("/webhooks/partner/partner_findyourwork/", &[signed][..]),
        ("/webhooks/partner/chuwue-grill", &[id, signed][..]),
        ("/webhooks/partner/", &[id, signed][..]),
        ("/webhooks/partner", &[("X-Partner-ID", "partner_findyourwork"), signed][..]),
    ] {
        assert_eq!(send(app, path, headers, WIRE).await.must_be(200), again, "{path}");
    }
    let page = app.get("/api/v1/webhooks/inbound/").await.must_be(200);
    assert_eq!(
        (&page["count"], &page["results"][0]["dialect"]),
        (&json!(1), &json!("sorted keys, default separators, ASCII in x-hmac-signature"))
    );
    app.drain().await;
});

// S000-8, S000-20, d2, d6: no one learns what was wrong, or who is known.
story!(what_is_not_signed_by_the_partner_is_a_401, [SECRET_KEY], async |app: &App| {
    register(app).await;
    let (id, good) = (("X-Partner-ID", "findyourwork"), ("X-Partner-Signature", SORTED_HEX));
    let path = "/webhooks/partner/findyourwork";
    for (path, headers, body) in [
        (path, &[id][..], WIRE),
        (path, &[id, ("X-Partner-Signature", "test")][..], WIRE),
        (path, &[id, good, ("X-HMAC-Signature", "00")][..], WIRE),
        (path, &[id, good][..], "{}"),
        (path, &[id, good][..], "not json"),
        (path, &[("X-Partner-ID", "somebody"), good][..], WIRE),
        ("/webhooks/partner/somebody", &[good][..], WIRE),
        ("/webhooks/partner/", &[good][..], WIRE),
        ("/webhooks/partner/chuwue-grill", &[good][..], WIRE),
    ] {
        assert_eq!(
            send(app, path, headers, body).await.must_be(401),
            json!({"detail": "Firma inválida"}),
            "{path} {headers:?}"
        );
    }
    assert_eq!(app.get("/api/v1/webhooks/inbound/").await.must_be(200)["count"], 0);
    app.drain().await;
});

// S000-17, S000-18: booked, confirmed, cancelled; each change is told back, signed.
story!(services_make_an_itinerary, [SECRET_KEY], async |app: &App| {
    register(app).await;
    let service = |id: u32, name: &str| {
        json!({
            "external_event_id": "RES-2026-001", "service_id": id, "service_name": name, "price": 250.0, "currency": "USD",
            "provider": {"id": 456, "name": "DJ Sounds Pro"}, "scheduled_time": "19:00", "status": "booked",
        })
    };
    tell(app, "service.booked_for_event", "2026-01-19T16:00:00Z", service(123, "DJ Profesional")).await;
    tell(app, "service.booked_for_event", "2026-01-19T16:05:00Z", service(124, "Foto")).await;
    app.drain().await;
    tell(
        app,
        "service.confirmed",
        "2026-01-19T17:00:00Z",
        json!({"external_event_id": "RES-2026-001", "service_id": 123}),
    )
    .await;
    app.drain().await;
    // One that comes late changes nothing that is known.
    tell(app, "service.booked_for_event", "2026-01-19T16:01:00Z", service(123, "DJ Profesional")).await;
    app.drain().await;
    tell(
        app,
        "service.cancelled",
        "2026-01-19T18:00:00Z",
        json!({"external_event_id": "RES-2026-001", "service_id": 124}),
    )
    .await;
    app.drain().await;
    let told = app.webhooks();
    let last = told.last().expect("it is told");
    assert!(last.verdict.raw && last.verdict.rewritten && last.verdict.standard, "{last:?}");
    let body = last.json();
    assert_eq!(
        (&body["event_type"], &body["data"]["reservation_id"]),
        (&json!("event.updated"), &json!("RES-2026-001"))
    );
    let dj = json!({"service_id": 123, "name": "DJ Profesional", "provider": "DJ Sounds Pro", "price": 250.0, "time": "19:00", "status": "confirmed"});
    let photo = json!({"service_id": 124, "name": "Foto", "provider": "DJ Sounds Pro", "price": 250.0, "time": "19:00", "status": "cancelled"});
    let services = body["data"]["updates"]["services"].as_array().expect("services");
    assert!(services.len() == 2 && services.contains(&dj) && services.contains(&photo), "{body}");
});

// S000-18: webhooks about one event that come together miss nothing of one another: neither what the other says of the same service, nor
// the other's service in what the partner is told.
story!(services_that_come_together_make_one_itinerary, [SECRET_KEY], async |app: &App| {
    register(app).await;
    let about = |id: u32, more: Value| {
        let mut data = json!({"external_event_id": "RES-2026-001", "service_id": id});
        data.as_object_mut().expect("an object").extend(more.as_object().expect("an object").clone());
        data
    };
    for id in 1..=6 {
        let booked = about(id, json!({"service_name": format!("Servicio {id}"), "price": 10 * id, "status": "booked"}));
        tell(app, "service.booked_for_event", "2026-01-19T16:00:00Z", booked).await;
        tell(app, "service.confirmed", "2026-01-19T17:00:00Z", about(id, json!({}))).await;
    }
    app.drain().await;
    let of_six = |body: &Value| body["data"]["updates"]["services"].as_array().is_some_and(|all| all.len() == 6);
    let whole = app.webhooks().into_iter().map(|told| told.json()).filter(of_six).collect::<Vec<_>>();
    let is_known = |service: &Value| service["price"].is_number() && service["status"] == "confirmed";
    let all_known = |body: &&Value| body["data"]["updates"]["services"].as_array().expect("six").iter().all(is_known);
    assert!(whole.iter().any(|body| all_known(&body)), "{whole:#?}");
});

// S000-19, S000-21: without an id of the service, and of a type that we do not know.
story!(sparse_and_unknown_webhooks_are_taken, [SECRET_KEY], async |app: &App| {
    register(app).await;
    let sparse = json!({"external_event_id": "RES-TEST-001", "service_name": "DJ Test", "price": 150});
    tell(app, "service.booked_for_event", "2026-01-19T16:00:00Z", sparse).await;
    tell(app, "invoice.paid", "2026-01-19T16:00:00Z", json!({})).await;
    tell(app, "provider.assigned", "2026-01-19T16:00:00Z", json!("nonsense")).await;
    app.drain().await;
    let services = &app.webhooks()[0].json()["data"]["updates"]["services"];
    assert_eq!((&services[0]["name"], &services[0]["service_id"]), (&json!("DJ Test"), &Value::Null));
    assert_eq!(app.webhooks().len(), 1);
    assert_eq!(app.get("/api/v1/webhooks/inbound/?event_type=invoice.paid").await.must_be(200)["count"], 1);
});

// d5: sent twenty times at once, it is taken once.
story!(twenty_at_once_are_one, [SECRET_KEY], async |app: &App| {
    register(app).await;
    let headers = [("X-Partner-ID", "findyourwork"), ("X-Partner-Signature", SORTED_HEX)];
    let sending = (0..20).map(|_| send(app, "/webhooks/partner/findyourwork", &headers, WIRE));
    let answers: Vec<Value> =
        futures::future::join_all(sending).await.into_iter().map(|one| one.must_be(200)).collect();
    assert_eq!(answers.iter().filter(|one| one.get("duplicate").is_none()).count(), 1, "{answers:?}");
    app.drain().await;
    assert_eq!(app.webhooks().len(), 1);
});

type Headers = Vec<(&'static str, String)>;

/// The headers of Standard Webhooks.
fn standard(app: &App, id: &str, body: &str) -> Headers {
    let seconds = app.clock.now().to_utc().timestamp();
    let signature = Secret::stated(SECRET).expect("a secret").standard(id, seconds, body.as_bytes());
    let signature = signature.expect("base64");
    vec![("webhook-id", id.to_owned()), ("webhook-timestamp", seconds.to_string()), ("webhook-signature", signature)]
}

fn legacy(body: &str) -> Headers {
    vec![("X-Partner-Signature", hex(body))]
}

/// Whether it is taken as a webhook that was not there before.
async fn is_new(app: &App, headers: &Headers, body: &str) -> bool {
    let headers: Vec<(&str, &str)> = headers.iter().map(|(name, value)| (*name, value.as_str())).collect();
    send(app, "/webhooks/partner/findyourwork", &headers, body).await.must_be(200).get("duplicate").is_none()
}

fn booked(reservation: &str) -> String {
    WIRE.replace("RES-2026-001", reservation)
}

// d5, d2: a request that bears both kinds of signatures is one webhook, whichever of them it comes with first or again.
story!(a_request_without_some_of_its_signatures_is_the_same_webhook, [SECRET_KEY], async |app: &App| {
    register(app).await;
    for (number, order) in [[0, 1, 2], [0, 2, 1], [1, 0, 2], [1, 2, 0], [2, 0, 1], [2, 1, 0]].into_iter().enumerate() {
        let (id, body) = (format!("msg_{number}"), booked(&format!("RES-{number}")));
        let both = [standard(app, &id, &body), legacy(&body)].concat();
        let forms = [both, standard(app, &id, &body), legacy(&body)];
        let mut new = Vec::new();
        for form in order.into_iter().chain(order) {
            new.push(is_new(app, &forms[form], &body).await);
        }
        assert_eq!(new, [true, false, false, false, false, false], "{order:?}");
    }
    assert_eq!(app.get("/api/v1/webhooks/inbound/").await.must_be(200)["count"], 6);
    app.drain().await;
    assert_eq!(app.webhooks().len(), 6, "each takes effect once");
});

// d5: what is not signed makes no other webhook of it: blanks between the parts, an id beside the one that is signed.
story!(what_is_not_signed_makes_no_other_webhook, [SECRET_KEY], async |app: &App| {
    register(app).await;
    let signed = vec![("X-HMAC-Signature", SORTED_HEX.to_owned())];
    assert!(is_new(app, &signed, WIRE).await);
    assert!(!is_new(app, &signed, &WIRE.replace(", \"", ",\n  \"")).await);
    let body = booked("RES-SVIX");
    let svix = |(name, value): (&'static str, String)| match name {
        "webhook-id" => ("svix-id", value),
        "webhook-timestamp" => ("svix-timestamp", value),
        _ => ("svix-signature", value),
    };
    let svix: Headers = standard(app, "msg_svix", &body).into_iter().map(svix).collect();
    assert!(is_new(app, &svix, &body).await);
    for other in ["1", "2"] {
        assert!(!is_new(app, &[svix.clone(), vec![("webhook-id", other.to_owned())]].concat(), &body).await);
    }
    let two = [svix, standard(app, "msg_other", &body)].concat();
    let two: Vec<(&str, &str)> = two.iter().map(|(name, value)| (*name, value.as_str())).collect();
    send(app, "/webhooks/partner/findyourwork", &two, &body).await.must_be(401);
    app.drain().await;
});

// d5: an id that is signed says what is one webhook: the same payload under two ids is two, another payload under the same id is one.
story!(a_signed_id_tells_webhooks_apart, [SECRET_KEY], async |app: &App| {
    register(app).await;
    let body = booked("RES-TWICE");
    for (id, is_expected) in [("a", true), ("b", true), ("a", false), ("b", false)] {
        assert_eq!(is_new(app, &standard(app, id, &body), &body).await, is_expected, "{id}");
    }
    assert!(!is_new(app, &standard(app, "a", &booked("RES-ELSE")), &booked("RES-ELSE")).await);
    assert!(!is_new(app, &legacy(&body), &body).await);
    app.drain().await;
});

// d5: twenty at once, each with other headers of the same request; and the same payload under two ids.
story!(twenty_at_once_with_mixed_headers_are_one, [SECRET_KEY], async |app: &App| {
    register(app).await;
    let (body, twice) = (&booked("RES-MIXED"), &booked("RES-MIXED-TWICE"));
    let forms = |id: &str, body: &str| {
        [[standard(app, id, body), legacy(body)].concat(), standard(app, id, body), legacy(body)]
    };
    let one = forms("msg_1", body);
    let sending = (0..20).map(|number| is_new(app, &one[number % 3], body));
    let new = futures::future::join_all(sending).await;
    assert_eq!(new.into_iter().filter(|is_new| *is_new).count(), 1);
    let two = [forms("msg_2", twice), forms("msg_3", twice)].concat();
    let sending = (0..20).map(|number| is_new(app, &two[number % 6], twice));
    let new = futures::future::join_all(sending).await;
    assert_eq!(new.into_iter().filter(|is_new| *is_new).count(), 2);
    app.drain().await;
    assert_eq!(app.webhooks().len(), 3);
});

// d22: a good signature of a partner that is not active is a 403; a bad one stays a 401.
story!(a_suspended_partner_is_not_heard, [SECRET_KEY], async |app: &App| {
    register(app).await;
    let partners = app.get("/api/v1/partners?nombre=FindyourWork").await.must_be(200);
    let id = partners["partners"][0]["id"].as_str().expect("an id").to_owned();
    app.put(&format!("/api/v1/partners/{id}"), &json!({"estado": "SUSPENDIDO"})).await.must_be(200);
    let path = "/webhooks/partner/findyourwork";
    send(app, path, &[("X-Partner-Signature", SORTED_HEX)], WIRE).await.must_be(403);
    send(app, path, &[("X-Partner-Signature", "test")], WIRE).await.must_be(401);
    app.put(&format!("/api/v1/partners/{id}"), &json!({"estado": "ACTIVO"})).await.must_be(200);
    send(app, path, &[("X-Partner-Signature", SORTED_HEX)], WIRE).await.must_be(200);
    app.drain().await;
});

// Signed, and still nothing that can be read: an error that names it, in the façade's own envelope.
story!(bad_bodies_that_are_signed_are_named, [SECRET_KEY], async |app: &App| {
    register(app).await;
    for (body, word) in [
        ("{}", "event_type"),
        (r#"{"event_type": 7}"#, "event_type"),
        (r#"{"event_type": " "}"#, "event_type"),
        ("not json", "JSON"),
        ("[1]", "event_type"),
        (r#"{"event_type": "a", "event_type": "b"}"#, ""),
        (r#"{"event_type": "a", "x": NaN}"#, "JSON"),
        (r#"{"event_type": "a", "x": "\ud800"}"#, ""),
    ] {
        let answer = send(app, "/webhooks/partner/findyourwork", &[("X-Partner-Signature", &*hex(body))], body).await;
        assert!(matches!(answer.status, 200 | 400 | 422), "{body}: {} {}", answer.status, answer.text);
        assert!(answer.status == 200 || answer.json()["detail"] != Value::Null, "{body}: {}", answer.text);
        assert!(answer.text.contains(word), "{body}: {}", answer.text);
    }
    app.drain().await;
});

// d5: what Standard Webhooks signs has a time, which may lie so far off and no further; a partner may have a tolerance of its own.
story!(
    a_signed_time_is_held_to_the_tolerance,
    [SECRET_KEY, ("WEBHOOK_TOLERANCE_SECONDS", "120")],
    async |app: &App| {
        register(app).await;
        let secret = Secret::stated(SECRET).expect("a secret");
        let now = app.clock.now().to_utc().timestamp();
        let at = async |id: &str, seconds: i64, body: &str| {
            let signature = secret.standard(id, seconds, body.as_bytes()).expect("base64");
            let time = seconds.to_string();
            let headers = [
                ("X-Partner-ID", "findyourwork"),
                ("webhook-id", id),
                ("webhook-timestamp", &*time),
                ("webhook-signature", &*signature),
            ];
            send(app, "/webhooks/partner/", &headers, body).await.status
        };
        assert_eq!(at("a", now - 120, WIRE).await, 200);
        assert_eq!(at("b", now - 121, WIRE).await, 401);
        assert_eq!(at("c", now + 121, WIRE).await, 401);
        // The time in a payload of seed 000 is not looked at until the partner is given a tolerance.
        let signed = [("X-Partner-ID", "findyourwork"), ("X-Partner-Signature", SORTED_HEX)];
        send(app, "/webhooks/partner/", &signed, WIRE).await.must_be(200);
        let endpoint = app.get("/partners/findyourwork").await.must_be(200)["endpoint_id"].clone();
        let url = format!("/api/v1/webhooks/endpoints/{}/", endpoint.as_str().expect("an id"));
        app.patch(&url, &json!({"inbound_tolerance_seconds": 30})).await.must_be(200);
        assert_eq!(send(app, "/webhooks/partner/", &signed, WIRE).await.status, 401);
        assert_eq!((at("d", now - 30, WIRE).await, at("e", now - 31, WIRE).await), (200, 401));
        app.patch(&url, &json!({"inbound_tolerance_seconds": 0})).await.must_be(200);
        assert_eq!(at("f", now - 86_400, WIRE).await, 200);
        app.drain().await;
    }
);
