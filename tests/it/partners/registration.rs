//! Registering partners for webhooks, and what their clients are answered.

use reqwest::Method;
use serde_json::{Value, json};

use super::integrations::KEY;
use super::registry::text;
use crate::harness::app::{App, SECRET_KEY};
use crate::harness::pair::story;

pub(super) const SECRET: &str = "whsec_MDEyMzQ1Njc4OTAxMjM0NTY3ODkwMTIzNDU2Nzg5MDE=";

pub(super) const EVENTS: [&str; 4] =
    ["event.reservation_confirmed", "event.updated", "event.cancelled", "payment.success"];

impl App {
    /// FindyourWork at the sandbox's partner, with a secret that both know.
    pub(super) async fn findyourwork(&self) -> Value {
        self.sandbox.partner.set_secret(SECRET);
        let url = format!("{}/webhooks/partner/", self.sandbox.partner.url());
        let body = json!({"webhook_url": url, "contact_email": "dev@findyourwork.com", "shared_secret": SECRET});
        self.post("/partners/register/findyourwork", &body).await.must_be(201)
    }

    pub(super) async fn act_on(&self, path: &str) -> Value {
        self.send(self.request(Method::POST, path)).await.must_be(200)
    }
}

// S000-1, S000-2, S000-4, S000-5, S000-9: option A of the document, from registering to leaving.
story!(findyourwork_is_registered_once, KEY, async |app: &App| {
    let none = app.get("/partners/findyourwork/status").await.must_be(200);
    assert_eq!((&none["registered"], none["message"].is_string()), (&json!(false), true), "{none}");
    let body = json!({"webhook_url": "http://127.0.0.1:9/webhooks/partner/", "contact_email": "dev@findyourwork.com"});
    let first = app.post("/partners/register/findyourwork", &body).await.must_be(201);
    assert_eq!(
        (&first["partner_id"], &first["partner_name"], &first["status"], &first["already_registered"]),
        (&json!("partner_findyourwork"), &json!("FindyourWork"), &json!("active"), &json!(false))
    );
    assert_eq!(first["subscribed_events"], json!(EVENTS));
    let secret = text(&first["shared_secret"]);
    assert!(secret.starts_with("whsec_"), "{first}");

    // By any route, it is the same, and its secret is not shown again.
    let option_b = json!({"partner_name": "FindyourWork", "webhook_url": "http://127.0.0.1:8/", "events": ["a"]});
    for (path, body) in
        [("register/findyourwork", &body), ("findyourwork/register", &json!({})), ("register", &option_b)]
    {
        let again = app.post(&format!("/partners/{path}"), body).await.must_be(200);
        assert_eq!((&again["shared_secret"], &again["already_registered"]), (&Value::Null, &json!(true)), "{path}");
        assert_eq!((&again["partner_id"], &again["webhook_url"]), (&first["partner_id"], &first["webhook_url"]));
    }
    let status = app.get("/partners/findyourwork/status/").await.must_be(200);
    assert_eq!(
        status,
        json!({
            "registered": true, "partner_id": "partner_findyourwork", "is_active": true, "status": "active",
            "webhook_url": "http://127.0.0.1:9/webhooks/partner/", "subscribed_events": EVENTS,
            "stats": {"webhooks_sent": 0, "webhooks_failed": 0, "last_webhook": null},
        })
    );
    let list = app.get("/partners/").await;
    assert!(!list.text.contains(&secret), "{}", list.text);
    assert_eq!(list.must_be(200).as_array().map(Vec::len), Some(1));
    let shown = app.get("/partners/partner_findyourwork").await;
    assert!(!shown.text.contains(&secret), "{}", shown.text);
    assert_eq!(shown.must_be(200)["webhook_success_count"], 0);

    // It leaves, and comes back by registering.
    app.send(app.request(Method::DELETE, "/partners/findyourwork")).await.must_be(200);
    assert_eq!(app.get("/partners/findyourwork").await.must_be(200)["is_active"], false);
    let back = app.post("/partners/register/findyourwork", &body).await.must_be(200);
    assert_eq!(back["status"], "active");
    app.get("/partners/nobody").await.must_be(404);
    app.drain().await;
});

// S000-3: the generic registration; a name that is another's makes another partner.
story!(other_names_are_other_partners, KEY, async |app: &App| {
    let body = json!({"partner_name": "Decoración Ñandú", "webhook_url": "https://a.example.com/hooks", "events": ["event.updated"]});
    let one = app.post("/partners/register", &body).await.must_be(201);
    let two = app.post("/partners/register", &body).await.must_be(201);
    assert_ne!(one["partner_id"], two["partner_id"]);
    assert_eq!(one["slug"], "decoracion-nandu");
    let id = text(&one["partner_id"]);
    assert!(id.strip_prefix("partner_").is_some_and(|hex| hex.len() == 12), "{id}");
    for reference in [&one["slug"], &one["partner_id"]] {
        let found = app.get(&format!("/partners/{}", text(reference))).await.must_be(200);
        assert_eq!(found["partner_id"], one["partner_id"]);
    }
    // A name that is a word of the URLs is no slug.
    let body = json!({"partner_name": "Register", "webhook_url": "https://a.example.com/hooks", "events": []});
    assert_ne!(app.post("/partners/register", &body).await.must_be(201)["slug"], "register");
    app.drain().await;
});

// d22: one registry. The partner and its integration are there for clients of the other document.
story!(a_registration_is_in_the_registry, KEY, async |app: &App| {
    let registered = app.findyourwork().await;
    let found = app.get("/api/v1/partners?nombre=FindyourWork").await.must_be(200)["partners"][0].clone();
    assert_eq!(
        (&found["estado"], &found["estado_kyc"], &found["email"]),
        (&json!("ACTIVO"), &json!("PENDIENTE"), &Value::Null)
    );
    let whole = app.get(&format!("/api/v1/partners/{}", text(&found["id"]))).await;
    assert!(!whole.text.contains(SECRET), "{}", whole.text);
    let integration = whole.json()["partner"]["integraciones"][0].clone();
    assert_eq!((&integration["tipo"], &integration["activa"]), (&json!("WEBHOOK"), &json!(true)));
    assert_eq!(integration["configuracion"], json!({"webhook_url": registered["webhook_url"], "events": EVENTS}));
    app.drain().await;
});

// S000-1: twenty at once make one partner, and one of them sees the secret.
story!(registrations_at_once_make_one_partner, KEY, async |app: &App| {
    let body = json!({"webhook_url": "http://127.0.0.1:9/", "contact_email": "dev@findyourwork.com"});
    let answers = futures::future::join_all((0..20).map(|_| app.post("/partners/register/findyourwork", &body))).await;
    let created = answers.iter().filter(|answer| answer.status == 201).count();
    let found = answers.iter().filter(|answer| answer.status == 200).count();
    assert_eq!((created, found), (1, 19));
    assert_eq!(app.get("/partners/").await.must_be(200).as_array().map(Vec::len), Some(1));
    app.drain().await;
});

// d23: FastAPI's envelope names the field; a wrong body is never a 5xx.
story!(bad_registrations_name_the_field, KEY, async |app: &App| {
    let good = || json!({"partner_name": "P", "webhook_url": "https://a.example.com/", "events": ["a"]});
    let table = [
        ("partner_name", json!(null)),
        ("partner_name", json!("  ")),
        ("webhook_url", json!(7)),
        ("webhook_url", json!("ftp://a.example.com/")),
        ("webhook_url", json!("https://user:pass@a.example.com/")),
        ("webhook_url", json!("http://169.254.169.254/latest/")),
        ("events", json!("event.updated")),
        ("events", json!([1])),
        ("events", json!([""])),
        ("contact_email", json!("nobody")),
        ("shared_secret", json!("short")),
    ];
    for (field, value) in table {
        let mut body = good();
        body[field] = value;
        let answer = app.post("/partners/register", &body).await.must_be(422);
        assert_eq!(answer["detail"][0]["loc"], json!(["body", field]), "{body}: {answer}");
    }
    let several = json!({"partner_name": 5, "webhook_url": "http://169.254.169.254/"});
    let several = app.post("/partners/register", &several).await.must_be(422);
    let named: Vec<&Value> = several["detail"].as_array().expect("a list").iter().map(|one| &one["loc"][1]).collect();
    assert_eq!(named, ["partner_name", "webhook_url", "events"], "all at once: {several}");
    let empty = app.post("/partners/register", &json!({})).await.must_be(422);
    assert_eq!(
        empty["detail"][0],
        json!({"loc": ["body", "partner_name"], "msg": "Este campo es requerido.", "type": "missing"})
    );
    let broken = app
        .request(Method::POST, "/partners/register")
        .header("content-type", "application/json")
        .body("{\"a\":1,\"a\":2}");
    assert_eq!(app.send(broken).await.must_be(422)["detail"][0]["type"], "json_invalid");
    app.get("/partners/x/y/z").await.must_be(404)["detail"].as_str().expect("a sentence");
});

// d26: with the guard on, private and loopback addresses are refused where they are registered.
story!(
    private_addresses_are_refused_at_registration,
    [SECRET_KEY, ("OUTBOUND_ALLOW_PRIVATE_NETWORKS", "false")],
    async |app: &App| {
        for host in ["127.0.0.1", "10.0.0.1", "[::1]", "localhost", "169.254.1.1", "[::ffff:10.0.0.1]"] {
            let body = json!({"webhook_url": format!("https://{host}/hook")});
            let answer = app.post("/partners/register/findyourwork", &body).await.must_be(422);
            assert_eq!(answer["detail"][0]["loc"], json!(["body", "webhook_url"]), "{host}");
        }
    }
);

// d3: a secret that is no base64 works for HMAC, and the answer says what is missing.
story!(a_secret_that_is_no_base64_is_told_so, KEY, async |app: &App| {
    let body = json!({"webhook_url": "https://a.example.com/", "shared_secret": "whsec_a-b_c-d_e-f_g-h_"});
    let registered = app.post("/partners/register/findyourwork", &body).await.must_be(201);
    assert_eq!(registered["standard_webhooks"], false);
    assert!(text(&registered["message"]).contains("Standard Webhooks"), "{registered}");
    app.drain().await;
});

// d21: where the API is closed, each URL wants a key with its scope.
story!(
    a_closed_api_wants_keys,
    [SECRET_KEY, ("ALLOW_ANONYMOUS_API", "false"), ("API_KEYS", "a-key-for-reading-of-the-stories-1:read")],
    async |app: &App| {
        for path in ["/partners/", "/partners/findyourwork", "/partners/findyourwork/status"] {
            app.get(path).await.must_be(401);
        }
        let body = json!({});
        for path in ["register", "register/findyourwork", "x/notify-event", "x/send-webhook", "x/rotate-secret"] {
            app.post(&format!("/partners/{path}"), &body).await.must_be(401);
        }
        app.send(app.request(Method::DELETE, "/partners/findyourwork")).await.must_be(401);
    }
);

// S000-22: the ports of the document are configuration and nothing else; we listen on another one here.
story!(no_port_means_anything, [SECRET_KEY], async |app: &App| {
    assert!(![":8000", ":8002", ":8010", ":4000"].iter().any(|port| app.url.ends_with(port)), "{}", app.url);
    for (number, port) in [8000, 8002, 8010, 4000].into_iter().enumerate() {
        let url = format!("http://127.0.0.1:{port}/webhooks/partner/");
        let body =
            json!({"partner_name": format!("Partner {number}"), "webhook_url": url, "events": ["event.updated"]});
        let answer = app.post("/partners/register", &body).await.must_be(201);
        assert_eq!(answer["webhook_url"], url);
    }
    app.drain().await;
});

// S000-23: what the other side keeps of us, `name`, `code`, `webhook_url`, `description`, `contact_email`, `api_key` and
// `webhook_secret`, has its place in the registry, and its secrets are not shown.
story!(the_partners_own_model_has_its_place, [SECRET_KEY], async |app: &App| {
    let draft = json!({"nombre": "Chuwue Grill", "email": "ops@example.com", "contact_email": "dev@example.com"});
    let partner = app.post("/api/v1/partners", &draft).await.must_be(201)["partner"].clone();
    let url = format!("/api/v1/partners/{}/integraciones", partner["id"].as_str().expect("an id"));
    let integration = json!({
        "tipo": "WEBHOOK", "nombre": "chuwue-grill", "descripcion": "Eventos del restaurante",
        "configuracion": {
            "code": "chuwue-grill", "webhook_url": "https://example.com/webhooks/", "api_key": "sk-0123456789abcdef",
            "webhook_secret": "whsec_c2VjcmV0LXNlY3JldC1zZWNyZXQ=",
        },
    });
    let made = app.post(&url, &integration).await.must_be(201).to_string();
    for shown in ["chuwue-grill", "Eventos del restaurante", "https://example.com/webhooks/"] {
        assert!(made.contains(shown), "{shown}: {made}");
    }
    let partner = app.get(&format!("/api/v1/partners/{}", partner["id"].as_str().expect("an id"))).await.must_be(200);
    for hidden in ["sk-0123456789abcdef", "c2VjcmV0"] {
        assert!(!made.contains(hidden) && !partner.to_string().contains(hidden), "{hidden}: {made}");
    }
    app.drain().await;
});
