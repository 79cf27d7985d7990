//! WhatsApp in the console: whether a message would leave, chats with their masks, requests with their stories, and why a group.

use serde_json::{Value, json};

use crate::console::partners::link;
use crate::harness::app::{App, seconds};
use crate::harness::browser::between;
use crate::harness::pair::story;

const SESSIONS: &str = "/admin/whatsapp/";
const CHATS: &str = "/admin/conversations/chats/";
const REQUESTS: &str = "/admin/conversations/requests/";
const OPERATORS: &str = "/admin/conversations/operators/";
const EXPERIENCE: &str = "/admin/conversations/experiences/exp%207/";
const API: &str = "/api/v1/superadmin/whatsapp/";
const WEBHOOK: &str = "/api/v1/whatsapp/webhook/process-message/";
const CUSTOMER: &str = "593991234567";
const GROUP: &str = "120363041@g.us";

impl App {
    /// An experience, its organizer's operator, and the group of WhatsApp that is told.
    pub(super) async fn know_a_tour(&self) {
        let body = json!({"title": "Islas Ballestas", "slug": "ballestas", "organizer": {
            "id": "org-1", "name": "Tours del Sur", "contact_phone": "+593987654321"}});
        self.put(&format!("{API}experiences/exp%207/"), &body).await.must_be(201);
        let hello = recado_sandbox::Writes {
            chat_id: GROUP.into(),
            text: "Hola".into(),
            sender: Some(("593990000009".into(), "Operador".into())),
            ..Default::default()
        };
        self.post(WEBHOOK, &self.sandbox.bridge.hears(hello)).await.must_be(200);
        let operators = self.get(&format!("{API}operators/")).await.must_be(200);
        let id = operators["operators"][0]["id"].as_str().expect("an operator").to_owned();
        let group = json!({"group_id": self.group_id().await});
        self.patch(&format!("{API}operators/{id}/default-group/"), &group).await.must_be(200);
    }

    async fn group_id(&self) -> String {
        let groups = self.get(&format!("{API}groups/")).await.must_be(200);
        let all = groups["groups"].as_array().expect("groups");
        let group = all.iter().find(|group| group["chat_id"] == GROUP).expect("the group");
        group["id"].as_str().expect("an id").to_owned()
    }

    /// A customer names a code in a chat. Returns the path of the request's page.
    pub(super) async fn ask_for_a_tour(&self) -> String {
        let issued = self.post("/api/v1/whatsapp/generate-reservation-code/", &json!({"experience_id": "exp 7"})).await;
        let code = issued.must_be(201)["code"].as_str().expect("a code").to_owned();
        let heard = self.post(WEBHOOK, &self.sandbox.bridge.message(CUSTOMER, &code)).await.must_be(200);
        format!("{REQUESTS}{}/", heard["reservation_id"].as_str().expect("a request"))
    }

    async fn ask_the_bridge(&self) -> Value {
        self.get(&format!("{API}status/")).await.must_be(200)
    }
}

// Connected means that a message would leave.
story!(a_session_says_whether_a_message_would_leave, [("WHATSAPP_DAILY_LIMIT", "100")], async |app: &App| {
    let operator = app.operator("operator").await;
    assert!(operator.page(SESSIONS).await.contains("No session was ever heard of"));
    let page = operator.post_and_follow(&format!("{SESSIONS}check/"), &[]).await;
    for said in ["The bridge answered.", "A message would leave now.", "connected", "Left until the limit"] {
        assert!(page.contains(said), "{said} in {page}");
    }
    assert!(!page.contains("593999000111"), "numbers are masked");
    app.sql(
        "insert into whatsapp_sends (id, session, chat_id, digest, sent_at, confirmed_at) values
         ('0197c1e0-7b3a-7c52-9d0e-2f6a1b4c8d01', 'bridge', 'a', '0197c1e0-7b3a-7c52-9d0e-2f6a1b4c8d01', '2026-01-20T14:31:00.000000Z', '2026-01-20T14:31:01.000000Z')",
    )
    .await;
    app.sql(
        "insert into whatsapp_sends (id, session, chat_id, digest, sent_at) values
         ('0197c1e0-7b3a-7c52-9d0e-2f6a1b4c8d02', 'bridge', 'a', '0197c1e0-7b3a-7c52-9d0e-2f6a1b4c8d02', '2026-01-20T14:32:00.000000Z')",
    )
    .await;
    app.clock.advance(seconds(20 * 60));
    let page = operator.page(SESSIONS).await;
    for said in ["No message would leave now.", "texts do not come back", "Restart the session, then the bridge"] {
        assert!(page.contains(said), "{said} in {page}");
    }
    app.sandbox.bridge.disconnects();
    app.sandbox.bridge.shows_qr("2@mJx,abc==");
    let page = operator.post_and_follow(&format!("{SESSIONS}check/"), &[]).await;
    assert!(
        page.contains("waits for its QR code") && page.contains("class=\"qr\"") && page.contains("<svg "),
        "{page}"
    );
    let viewer = app.operator("viewer").await;
    assert!(!viewer.page(SESSIONS).await.contains("class=\"qr\""), "who has the code gets in");
    assert_eq!(viewer.post(&format!("{SESSIONS}restart/"), &[]).await.status, 403);
    assert_eq!(operator.post(&format!("{SESSIONS}restart/"), &[]).await.status, 403);
    let page = app.operator("admin").await.post_and_follow(&format!("{SESSIONS}restart/"), &[]).await;
    assert!(page.contains("The session starts again."), "{page}");
    assert_eq!(app.acts("whatsapp_session").await, ["restart"]);
});

// S003-22, S003-23: who was told when and by which means, the answer, and staff's decision.
story!(a_request_tells_its_story_and_staff_decide, async |app: &App| {
    app.know_a_tour().await;
    app.ask_the_bridge().await;
    let there = app.ask_for_a_tour().await;
    app.drain().await;
    let operator = app.operator("operator").await;
    let page = operator.page(&there).await;
    for said in ["operator told", "WhatsApp group", "The operator was told in their WhatsApp group.", "Islas Ballestas"]
    {
        assert!(page.contains(said), "{said} in {page}");
    }
    assert!(!page.contains(CUSTOMER), "{page}");
    let answer = recado_sandbox::Writes {
        chat_id: GROUP.into(),
        text: "1".into(),
        sender: Some(("593990000009".into(), "Operador".into())),
        ..Default::default()
    };
    app.post(WEBHOOK, &app.sandbox.bridge.hears(answer)).await.must_be(200);
    assert!(operator.page(&format!("{REQUESTS}?status=availability_confirmed")).await.contains("there is room"));
    let page = operator.post_and_follow(&format!("{there}confirm/"), &[]).await;
    assert!(page.contains("The request is confirmed.") && page.contains("operator-1 confirmed it."), "{page}");
    assert!(operator.post_and_follow(&format!("{there}reject/"), &[]).await.contains("Nothing was done"));
    let revealed = operator.post(&format!("{there}reveal/"), &[]).await;
    assert!(revealed.status == 200 && revealed.text.contains(CUSTOMER), "{}", revealed.text);
    assert_eq!(app.acts("reservation_request").await, ["confirm", "reveal"]);
    assert_eq!(app.operator("viewer").await.post(&format!("{there}reveal/"), &[]).await.status, 403);
});

// S003-25: the level that won, and those that it beat.
story!(it_is_said_why_a_group_is_told, async |app: &App| {
    app.know_a_tour().await;
    let editor = app.operator("editor").await;
    let page = editor.page(EXPERIENCE).await;
    let level = |page: &str, name: &str| between(&page.replace('\n', ""), name, "</tr>").to_owned();
    assert!(level(&page, "Chosen by staff").contains("has none"), "{page}");
    assert!(level(&page, "2. Group of the operator of").contains("wins"), "{page}");
    let group = app.group_id().await;
    let page = editor.post_and_follow(EXPERIENCE, &[("group", &group)]).await;
    assert!(level(&page, "Chosen by staff").contains("wins"), "{page}");
    assert!(level(&page, "2. Group of the operator of").contains("beaten"), "{page}");
    assert!(editor.page("/admin/conversations/experiences/").await.contains("chosen for it"));
    let page = editor.undo(&page).await;
    assert!(level(&page, "2. Group of the operator of").contains("wins"), "{page}");
    assert_eq!(editor.post(EXPERIENCE, &[("group", "nonsense")]).await.status, 422);
    assert_eq!(app.acts("experience").await, ["choose_group", "choose_group"]);
    let operators = editor.page(OPERATORS).await;
    assert!(operators.contains("Tours del Sur") && operators.contains("WhatsApp group → contact phone"), "{operators}");
    let there = link(&operators, OPERATORS);
    assert!(!editor.page(&there).await.contains("987654321"));
    let page = editor.post_and_follow(&there, &[("group", "")]).await;
    assert!(page.contains("contact phone") && !page.contains("WhatsApp group →"), "{page}");
    assert_eq!(app.operator("operator").await.post(&there, &[("group", "")]).await.status, 403);
});

story!(a_chat_is_read_masked_and_written_into, async |app: &App| {
    app.ask_the_bridge().await;
    let text = format!("<script>alert(1)</script>\u{202e}{}", "x".repeat(100_000));
    app.post(WEBHOOK, &app.sandbox.bridge.message(CUSTOMER, &text)).await.must_be(200);
    let operator = app.operator("operator").await;
    let list = operator.page(CHATS).await;
    assert!(!list.contains(CUSTOMER) && !list.contains("<script>alert"), "{list}");
    let there = link(&list, CHATS);
    let page = operator.page(&there).await;
    assert!(page.contains("&#60;script&#62;alert") && page.contains("(cut)") && page.len() < 60_000, "{}", page.len());
    assert!(!page.contains(CUSTOMER), "{page}");
    let viewer = app.operator("viewer").await;
    let seen = viewer.page(&there).await;
    assert!(!seen.contains("alert(1)") && !seen.contains("/send/\""), "{seen}");
    assert_eq!(viewer.post(&format!("{there}send/"), &[("text", "Hola")]).await.status, 403);
    let revealed = operator.post(&format!("{there}reveal/"), &[]).await;
    assert!(revealed.text.contains(CUSTOMER), "{}", revealed.text);
    let page = operator.post_and_follow(&format!("{there}send/"), &[("text", "Su reserva está confirmada")]).await;
    assert!(page.contains("The bridge took it.") && page.contains("Su reserva está confirmada"), "{page}");
    assert_eq!(app.sandbox.bridge.texts().len(), 1);
    assert_eq!(operator.post(&format!("{there}send/"), &[("text", " ")]).await.status, 422);
    let log = app.audited("whatsapp_chat").await;
    assert_eq!(app.acts("whatsapp_chat").await, ["reveal", "send"]);
    assert!(!format!("{log:?}").contains("reserva"), "what was said stands nowhere in the log");
    app.sandbox.bridge.disconnects();
    app.ask_the_bridge().await;
    assert!(operator.page(&there).await.contains("This may be old"));
    let refused = operator.post(&format!("{there}send/"), &[("text", "Hola")]).await;
    assert!(refused.status == 422 && refused.text.contains("It did not leave"), "{}", refused.text);
});
