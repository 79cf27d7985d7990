//! The signature debugger in the console: it names the dialect and the byte, and keeps nothing.

use recado_webhooks::signature::Secret;
use reqwest::Method;

use crate::console::partners::link;
use crate::harness::app::{App, SECRET_KEY};
use crate::harness::pair::story;

const PATH: &str = "/admin/signatures/";
const INBOUND: &str = "/admin/webhooks/inbound/";
const SECRET: &str = "whsec_MDEyMzQ1Njc4OTAxMjM0NTY3ODkwMTIzNDU2Nzg5MDE=";
const BODY: &str = r#"{"event_type": "service.confirmed", "data": {"price": 250.0, "name": "<script>x</script>"}}"#;
const SORTED: &str = r#"{"data": {"name": "<script>x</script>", "price": 250.0}, "event_type": "service.confirmed"}"#;

fn hex(body: &str) -> String {
    Secret::stated(SECRET).expect("a secret").hex(body.as_bytes())
}

async fn receive(app: &App, signature: &str) -> u16 {
    let request =
        app.request(Method::POST, "/webhooks/partner/findyourwork").header("Content-Type", "application/json");
    let request = request.header("X-Partner-Signature", signature).header("Authorization", "Bearer of-somebody");
    app.send(request.body(BODY)).await.status
}

// d1: the form of the payload that was signed, and where its bytes part from those that were sent.
story!(the_debugger_names_the_dialect_and_the_byte, [SECRET_KEY], async |app: &App| {
    let partner = app.partner_page(SECRET).await;
    let id = partner.trim_end_matches('/').rsplit('/').next().expect("an id").to_owned();
    let operator = app.operator("operator").await;
    let look = async |signature: &str, secret: &str| {
        let headers = format!("X-Partner-Signature: {signature}\nHost: example.com");
        let partner = if secret.is_empty() { id.as_str() } else { "" };
        let fields = [("partner", partner), ("secret", secret), ("headers", &*headers), ("body", BODY)];
        operator.post(PATH, &fields).await
    };
    let taken = look(&hex(SORTED), "").await;
    assert_eq!(taken.status, 200);
    for said in
        ["The signature is right:", "sorted keys, default separators, ASCII in x-partner-signature", "byte 2", "✓"]
    {
        assert!(taken.text.contains(said), "{said} in {}", taken.text);
    }
    assert!(!taken.text.contains("<script>x"), "{}", taken.text);
    let refused = look(&hex(&format!("{BODY}\n")), "").await;
    assert!(refused.text.contains("would be refused") && refused.text.contains("line-end"), "{}", refused.text);
    assert!(refused.text.contains("Sign exactly the bytes that you send"), "{}", refused.text);
    operator.post("/admin/me/", &[("language", "es")]).await;
    let told = look(&hex(&format!("{BODY}\n")), "").await.text;
    assert!(told.contains("Firme exactamente los bytes") && told.contains("con un salto de línea al final"), "{told}");
    operator.post("/admin/me/", &[("language", "en")]).await;
    for said in ["python", "node", "curl", "hmac", "✗"] {
        assert!(refused.text.contains(said), "{said} in {}", refused.text);
    }
    assert!(!refused.text.contains(&hex(BODY)), "who sees a signature of stored secrets could forge");
    let pasted = look(&hex(BODY), SECRET).await;
    assert!(pasted.text.contains("The signature is right:") && !pasted.text.contains(SECRET), "{}", pasted.text);
    assert!(pasted.text.contains(&hex(BODY)), "the reader knows the secret");
    let nothing = operator.post(PATH, &[("body", BODY), ("headers", "no colon")]).await;
    assert!(nothing.status == 422 && nothing.text.contains("Choose a partner"), "{}", nothing.text);
});

story!(what_came_is_listed_with_its_verdict_and_explained, [SECRET_KEY], async |app: &App| {
    app.partner_page(SECRET).await;
    assert_eq!(receive(app, &hex(SORTED)).await, 200);
    assert_eq!(receive(app, &hex("something else")).await, 401);
    let operator = app.operator("operator").await;
    let list = operator.page(INBOUND).await;
    assert!(list.contains("service.confirmed") && list.contains("sorted keys"), "{list}");
    let taken = operator.page(&link(&list, INBOUND)).await;
    assert!(taken.contains("taken") && taken.contains("byte 2") && !taken.contains("<script>x"), "{taken}");
    let list = operator.page(&format!("{INBOUND}?verdict=refused")).await;
    let there = link(&list, INBOUND);
    let refused = operator.page(&there).await;
    for said in ["wrong signature", "x-partner-signature", "authorization: ***", "would be refused"] {
        assert!(refused.contains(said), "{said} in {refused}");
    }
    assert!(!refused.contains("of-somebody"));
    let debugger = operator.page(&link(&refused, "/admin/signatures/?inbound=")).await;
    assert!(debugger.contains("would be refused") && debugger.contains("service.confirmed"), "{debugger}");
    let viewer = app.operator("viewer").await;
    let seen = viewer.page(&there).await;
    assert!(seen.contains("wrong signature") && !seen.contains("script&#62;x") && seen.contains("•••"), "{seen}");
});
