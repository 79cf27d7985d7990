//! The portal of a partner: what a link opens, for how long, and nothing of anybody else's.

use recado_sandbox::PartnerFault;
use reqwest::{Method, RequestBuilder};
use serde_json::{Value, json};

use crate::harness::answer::Answer;
use crate::harness::app::{App, SECRET_KEY, seconds};
use crate::harness::pair::story;

const LINKS: &str = "/api/v1/webhooks/portal-links/";
const SETTINGS: [(&str, &str); 2] = [SECRET_KEY, ("PUBLIC_URL", "https://avisos.example.com")];
const SECRET: &str = "whsec_MDEyMzQ1Njc4OTAxMjM0NTY3ODkwMTIzNDU2Nzg5MDE=";

/// A partner at the sandbox; returns its slug.
async fn register(app: &App, name: &str) -> String {
    app.sandbox.partner.set_secret(SECRET);
    let url = format!("{}/webhooks/partner/", app.sandbox.partner.url());
    let body = json!({"partner_name": name, "webhook_url": url, "events": ["event.updated"],
                      "contact_email": "dev@partner.example.com", "shared_secret": SECRET});
    app.post("/partners/register", &body).await.must_be(201)["slug"].as_str().expect("a slug").to_owned()
}

async fn tell(app: &App, slug: &str, id: &str) -> String {
    let event =
        json!({"event_type": "event.updated", "data": {"reservation_id": id, "secret_word": format!("word-{slug}")}});
    let told = app.working(app.post(&format!("/partners/{slug}/events"), &event)).await;
    told.json()["delivery_id"].as_str().expect("a delivery").to_owned()
}

/// A browser that has opened a link.
struct Browser<'a> {
    app: &'a App,
    cookie: String,
}

impl<'a> Browser<'a> {
    async fn open(app: &'a App, slug: &str) -> Self {
        let link = app.post(LINKS, &json!({"partner_id": slug})).await.must_be(201);
        Self { app, cookie: enter(app, &link).await }
    }

    fn request(&self, method: Method, path: &str) -> RequestBuilder {
        self.app.request(method, &format!("/portal{path}")).header("Cookie", &self.cookie)
    }

    async fn get(&self, path: &str) -> Answer {
        self.app.send(self.request(Method::GET, path)).await
    }

    async fn post(&self, path: &str, form: &[(&str, &str)]) -> Answer {
        let form = url::form_urlencoded::Serializer::new(String::new()).extend_pairs(form).finish();
        let request = self.request(Method::POST, path).header("Content-Type", "application/x-www-form-urlencoded");
        self.app.send(request.header("Sec-Fetch-Site", "same-origin").body(form)).await
    }
}

/// Opens a link as a browser does; returns the cookie that it gets.
async fn enter(app: &App, link: &Value) -> String {
    let url = link["url"].as_str().expect("a URL");
    let path = url.strip_prefix("https://avisos.example.com").expect("PUBLIC_URL");
    let page = app.get(path).await;
    assert_eq!(page.status, 200, "{}", page.text);
    let cookie = page.header("set-cookie").to_owned();
    for attribute in ["HttpOnly", "SameSite=Strict", "Secure", "Path=/portal"] {
        assert!(cookie.contains(attribute), "{cookie}");
    }
    assert!(page.text.contains("http-equiv=\"refresh\""), "it leads on by itself");
    cookie.split(';').next().expect("a pair").to_owned()
}

#[track_caller]
fn shows(page: &Answer, words: &[&str]) {
    assert_eq!(page.status, 200, "{}", page.text);
    for word in words {
        assert!(page.text.contains(word), "{word} in {}", page.text);
    }
}

story!(a_partner_sees_its_own_deliveries_and_no_one_elses, SETTINGS, async |app: &App| {
    let (own, other) = (register(app, "Uno").await, register(app, "Dos").await);
    let (mine, theirs) = (tell(app, &own, "RES-1").await, tell(app, &other, "RES-2").await);
    let browser = Browser::open(app, &own).await;

    let page = browser.get("").await;
    shows(&page, &["RES-1", "entregada", "Activo.", "Uno"]);
    assert!(!page.text.contains("RES-2") && !page.text.contains("Dos"), "{}", page.text);
    let policy = page.header("content-security-policy");
    for part in
        ["default-src 'none'", "style-src 'self'", "form-action 'self'", "frame-ancestors 'none'", "base-uri 'none'"]
    {
        assert!(policy.contains(part), "{policy}");
    }
    assert_eq!((page.header("cache-control"), page.header("referrer-policy")), ("no-store", "same-origin"));
    assert!(!page.text.contains("<script") && !page.text.contains("style="), "nothing inline");
    assert_eq!(browser.get("/style.css").await.header("content-type"), "text/css; charset=utf-8");

    shows(
        &browser.get(&format!("/deliveries/{mine}")).await,
        &["word-uno", "webhook-id", "HTTP 200", "webhook-signature"],
    );
    let (one, again) = (format!("/deliveries/{theirs}"), format!("/deliveries/{theirs}/replay"));
    assert_eq!(browser.get(&one).await.status, 404);
    assert_eq!(browser.post(&again, &[]).await.status, 404);
    assert_eq!(browser.get("/deliveries/nonsense").await.status, 404);

    shows(
        &browser.get("?status=delivered&subject=RES&event_type=event.updated&from=2020-01-01T00:00").await,
        &["RES-1"],
    );
    for nothing in ["?status=failed", "?subject=RES-2", "?until=2020-01-01T00:00"] {
        shows(&browser.get(nothing).await, &["No hay entregas así."]);
    }
    shows(&browser.get("?status=x&from=y&page=-3").await, &["Elija un estado de la lista.", "Escriba fechas"]);
    let english = browser.request(Method::GET, "").header("Accept-Language", "en");
    shows(&app.send(english).await, &["Your webhooks", "delivered", "lang=\"en\""]);
    app.drain().await;
});

story!(a_link_is_good_for_a_while_and_until_it_is_revoked, SETTINGS, async |app: &App| {
    let (slug, other) = (register(app, "Uno").await, register(app, "Dos").await);
    for (body, field) in [
        (json!({}), "partner_id"),
        (json!({"partner_id": slug, "expires_in_seconds": 59}), "expires_in_seconds"),
        (json!({"partner_id": slug, "expires_in_seconds": 604_801}), "expires_in_seconds"),
    ] {
        let answer = app.post(LINKS, &body).await.must_be(400);
        assert!(answer[field].is_array(), "{answer}");
    }
    app.post(LINKS, &json!({"partner_id": "nobody"})).await.must_be(404);
    let short = app.post(LINKS, &json!({"partner_id": slug, "expires_in_seconds": 60})).await.must_be(201);
    assert_eq!(short["expires_at"], "2026-01-20T14:31:00.000000Z");
    let brief = Browser { app, cookie: enter(app, &short).await };
    let browser = Browser::open(app, &slug).await;
    let neighbour = Browser::open(app, &other).await;
    assert_eq!(brief.get("").await.status, 200);
    app.clock.advance(seconds(60));
    assert_eq!((brief.get("").await.status, browser.get("").await.status), (401, 200));
    shows(&Answer { status: 200, ..brief.get("").await }, &["ya venció"]);

    app.send(app.request(Method::DELETE, &format!("{LINKS}{slug}/"))).await.must_be(204);
    assert_eq!((browser.get("").await.status, neighbour.get("").await.status), (401, 200));
    assert_eq!(Browser::open(app, &slug).await.get("").await.status, 200, "a new one is good");
    app.send(app.request(Method::DELETE, &format!("{LINKS}nobody/"))).await.must_be(404);

    for cookie in ["", "recado_portal=", "recado_portal=AAAA", "other=1"] {
        let page = app.send(app.request(Method::GET, "/portal").header("Cookie", cookie)).await;
        assert_eq!(page.status, 401, "{cookie}");
    }
    assert_eq!(app.get("/portal/enter/AAAA").await.status, 401);
    shows(&browser_leaves(&neighbour).await, &["Hasta luego"]);
    app.drain().await;
});

async fn browser_leaves(browser: &Browser<'_>) -> Answer {
    let left = browser.post("/leave", &[]).await;
    assert!(left.header("set-cookie").contains("Max-Age=0"), "{}", left.header("set-cookie"));
    left
}

story!(a_partner_sends_again_what_it_missed, SETTINGS, async |app: &App| {
    let slug = register(app, "Uno").await;
    app.sandbox.partner.misbehave(PartnerFault::status(410));
    let gone = tell_unheard(app, &slug).await;
    let browser = Browser::open(app, &slug).await;
    shows(&browser.get("").await, &["respondió 410", "Reactivar"]);
    assert_eq!(browser.post(&format!("/deliveries/{gone}/replay"), &[]).await.status, 409);
    assert_eq!(browser.post("/test", &[("event_type", "webhook.test")]).await.status, 409);

    app.sandbox.partner.behave();
    shows(&browser.post("/resume", &[]).await, &["Su endpoint está activo", "Activo."]);
    assert_eq!(browser.post("/resume", &[]).await.status, 409, "it is active already");
    shows(&browser.post(&format!("/deliveries/{gone}/replay"), &[]).await, &["Reenviada", "pendiente"]);
    app.drain().await;
    assert_eq!(app.webhooks().len(), 2, "the first attempt, and the one that was asked for");

    app.clock.advance(seconds(1));
    shows(&browser.post("/replays", &[("which", "all"), ("since", "2026-01-19T00:00")]).await, &["en curso"]);
    app.drain().await;
    assert_eq!(app.webhooks().len(), 3, "the message once more, and not each of its deliveries");
    shows(&browser.get("").await, &["1 reenviada"]);
    assert_eq!(browser.post("/replays", &[("since", "yesterday")]).await.status, 409);
    app.later(seconds(2)).await;
});

async fn tell_unheard(app: &App, slug: &str) -> String {
    let event = json!({"event_type": "event.updated", "data": {"reservation_id": "RES-1"}});
    app.working(app.post(&format!("/partners/{slug}/events"), &event)).await.must_be(410);
    let page = app.get("/api/v1/webhooks/deliveries/?event_type=event.updated").await.must_be(200);
    page["results"][0]["id"].as_str().expect("an id").to_owned()
}

story!(a_partner_tests_its_endpoint_and_its_signature_and_rotates_its_secret, SETTINGS, async |app: &App| {
    let slug = register(app, "Uno").await;
    let browser = Browser::open(app, &slug).await;
    let test = app.working(browser.post("/test", &[("event_type", "webhook.test")])).await;
    shows(&test, &["Prueba enviada", "webhook.test", "HTTP 200"]);
    assert_eq!(app.webhooks()[0].json()["event_type"], "webhook.test");
    assert_eq!(browser.post("/test", &[("event_type", "event.of_others")]).await.status, 400);

    // What we signed for it, pasted into the form as a browser writes it.
    let told = &app.webhooks()[0];
    let headers =
        format!("> X-Partner-Signature: {}\r\nX-Other: 1", told.header("x-partner-signature").expect("signed"));
    let body = told.body.clone();
    let right = browser.post("/signature", &[("headers", &headers), ("body", &body)]).await;
    shows(&right, &["La firma es correcta", "x-partner-signature"]);
    let wrong = browser.post("/signature", &[("headers", &headers), ("body", "{\"a\": \"<b>\"}")]).await;
    shows(&wrong, &["no coincide con ninguno", "&#60;b&#62;"]);
    shows(&browser.post("/signature", &[("body", "{}")]).await, &["No hay firma", "No lleva ninguna firma"]);
    shows(&browser.get("/signature").await, &["Probar una firma"]);

    let rotated = browser.post("/secret", &[]).await;
    shows(&rotated, &["whsec_", "no se muestra otra vez"]);
    let at = rotated.text.find("whsec_").expect("shown");
    let secret: String = rotated.text[at..].chars().take_while(|letter| *letter != '<').collect();
    let secret = secret.replace("&#43;", "+");
    assert!(secret.len() > 40 && secret != SECRET);
    for path in ["", "/signature"] {
        assert!(!browser.get(path).await.text.contains("whsec_"), "{path}");
    }
    app.sandbox.partner.set_secret(&secret);
    tell(app, &slug, "RES-9").await;
    let last = app.webhooks().pop().expect("it arrived");
    assert!(last.verdict.raw && last.verdict.standard, "signed with the new one: {:?}", last.verdict);
    app.drain().await;

    // Everything that was done stands in the history of the partner.
    let mut session = app.begin().await;
    let done: Vec<(String,)> = recado_kernel::sql!(
        all(String,),
        &mut session,
        "select data ->> 'accion' from partner_events where type = 'PortalUsado' order by 1"
    )
    .expect("it is read");
    let done: Vec<&str> = done.iter().map(|(action,)| action.as_str()).collect();
    assert_eq!(done, ["enlace_creado", "prueba_enviada", "secreto_rotado"]);
});

story!(a_form_of_another_page_does_nothing, SETTINGS, async |app: &App| {
    let slug = register(app, "Uno").await;
    let browser = Browser::open(app, &slug).await;
    for (name, value) in [
        ("Sec-Fetch-Site", "cross-site"),
        ("Sec-Fetch-Site", "same-site"),
        ("Origin", "https://evil.example.com"),
        ("Origin", "null"),
    ] {
        for path in ["/secret", "/test", "/replays", "/resume", "/leave", "/signature"] {
            let answer = app.send(browser.request(Method::POST, path).header(name, value)).await;
            assert_eq!(answer.status, 403, "{path} from {value}");
        }
    }
    let behind_a_proxy = browser.request(Method::POST, "/leave").header("Origin", "https://avisos.example.com");
    assert_eq!(app.send(behind_a_proxy).await.status, 200);
    app.drain().await;
});

// Where links cannot be made, the answer says what is missing; and making them wants a key.
story!(a_link_wants_a_public_address, [SECRET_KEY], async |app: &App| {
    let slug = register(app, "Uno").await;
    let refused = app.post(LINKS, &json!({"partner_id": slug})).await.must_be(409);
    assert!(refused["detail"].as_str().is_some_and(|detail| detail.contains("PUBLIC_URL")), "{refused}");
    app.drain().await;
});

story!(links_are_made_by_staff, [SECRET_KEY, ("ALLOW_ANONYMOUS_API", "false")], async |app: &App| {
    app.post(LINKS, &json!({"partner_id": "x"})).await.must_be(401);
    app.send(app.request(Method::DELETE, &format!("{LINKS}x/"))).await.must_be(401);
});
