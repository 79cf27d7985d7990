//! Saying no from inside a mail (RFC 8058).

use reqwest::Method;
use serde_json::json;

use crate::harness::answer::Answer;
use crate::harness::app::App;
use crate::harness::pair::story;
use crate::harness::sample;
use crate::notifications::control::{kinds, moment};

const SETTINGS: [(&str, &str); 4] = [
    ("PUBLIC_URL", "https://avisos.example.com/"),
    ("SECRET_KEY", "a-secret-key-of-the-stories-0123456789"),
    // A mail program has no key.
    ("ALLOW_ANONYMOUS_API", "false"),
    ("API_KEYS", "the-key-of-the-stories"),
];

impl App {
    /// Sends the sample, and returns the path of the link in its mail.
    async fn link(&self) -> String {
        self.know_carlos().await;
        self.keyed(Method::POST, crate::harness::app::DISPATCH, &sample::event()).await.must_be(202);
        self.drain().await;
        let mails = self.mails();
        let mail = mails.last().expect("a mail");
        assert_eq!(mail.header("List-Unsubscribe-Post"), Some("List-Unsubscribe=One-Click"));
        let header = mail.header("List-Unsubscribe").expect("the header").replace(char::is_whitespace, "");
        let url = header.trim_start_matches('<').trim_end_matches('>');
        url.strip_prefix("https://avisos.example.com").expect("the public address").to_owned()
    }

    async fn keyed(&self, method: Method, path: &str, body: &serde_json::Value) -> Answer {
        self.send(self.request(method, path).bearer_auth("the-key-of-the-stories").json(body)).await
    }

    /// What a mail program does when its button is pressed.
    async fn one_click(&self, path: &str) -> Answer {
        let request = self.request(Method::POST, path).header("Content-Type", "application/x-www-form-urlencoded");
        self.send(request.body("List-Unsubscribe=One-Click")).await
    }
}

// RFC 8058: one click, without a key, and no mail comes any more.
story!(one_click_switches_mails_off, SETTINGS, async |app: &App| {
    let path = app.link().await;
    for _ in 0..2 {
        let answer = app.one_click(&path).await;
        assert_eq!((answer.status, answer.header("content-type")), (200, "text/html; charset=utf-8"));
        assert!(answer.text.contains("Email"), "{}", answer.text);
    }
    let receipt = app.keyed(Method::POST, crate::harness::app::DISPATCH, &sample::event()).await.must_be(202);
    assert_eq!(receipt["notifications"][0]["channel"], "whatsapp");
    assert!(receipt["skipped"].to_string().contains("opted_out"), "{receipt}");
    app.drain().await;
    assert_eq!(app.mails().len(), 1);

    let list = app.keyed(Method::GET, "/api/v1/notifications/?channel=email", &json!({})).await.must_be(200);
    let id = list["results"][0]["id"].as_str().expect("an id");
    let story = app.keyed(Method::GET, &format!("/api/v1/notifications/{id}/"), &json!({})).await.must_be(200);
    assert_eq!(kinds(&story).iter().filter(|kind| **kind == "opted_out").count(), 1, "{story}");
    assert_eq!(moment(&story, "opted_out")["channel"], "email");
});

// Scanners of mail open every link; only the button counts.
story!(opening_the_link_changes_nothing, SETTINGS, async |app: &App| {
    let path = app.link().await;
    let answer = app.get(&path).await;
    assert_eq!(answer.status, 200);
    assert!(answer.text.contains("<form method=\"post\">") && !answer.text.contains("<script"), "{}", answer.text);
    assert!(answer.header("content-security-policy").contains("default-src 'none'"));
    assert_eq!(answer.header("referrer-policy"), "no-referrer");
    let receipt = app.keyed(Method::POST, crate::harness::app::DISPATCH, &sample::event()).await.must_be(202);
    assert_eq!(receipt["notifications"][0]["channel"], "email");
    app.drain().await;
    // The form posts to its own address.
    assert_eq!(app.one_click(&path).await.status, 200);
});

story!(a_wrong_link_is_a_page_that_says_so, SETTINGS, async |app: &App| {
    let path = app.link().await;
    let cut = format!("{}/", &path[..path.len() - 3]);
    for wrong in [cut.as_str(), "/api/v1/unsubscribe/x/", "/api/v1/unsubscribe/%00/"] {
        for answer in [app.get(wrong).await, app.one_click(wrong).await] {
            assert_eq!(answer.status, 404, "{wrong}");
        }
    }
    assert!(app.get(&cut).await.text.contains("Este enlace no sirve"));
});

// The link outlives the customer and the message.
story!(a_link_of_somebody_who_is_gone_is_harmless, SETTINGS, async |app: &App| {
    let path = app.link().await;
    app.sql("delete from notifications").await;
    app.sql("delete from customers").await;
    assert_eq!(app.one_click(&path).await.status, 200);
});

// Staff do not subscribe; and without a public address there is nowhere to lead.
story!(staff_get_no_link, SETTINGS, async |app: &App| {
    app.know_carlos().await;
    let event = sample::event_with(json!({"target": "staff"}));
    app.keyed(Method::POST, crate::harness::app::DISPATCH, &event).await.must_be(202);
    app.drain().await;
    assert_eq!(app.mails()[0].header("List-Unsubscribe"), None);
});

story!(without_a_public_address_there_is_no_link, async |app: &App| {
    app.know_carlos().await;
    app.accepted(&sample::event()).await;
    app.drain().await;
    assert_eq!(app.mails()[0].header("List-Unsubscribe"), None);
    assert_eq!(app.get("/api/v1/unsubscribe/x/").await.status, 404);
});
