//! The sandbox as seen with curl.

use lettre::{AsyncSmtpTransport, AsyncTransport, Message, Tokio1Executor};
use recado_sandbox::{EvolutionFault, Rule, Sandbox, SmtpFault};
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};

use crate::http;

#[tokio::test]
async fn the_links_lead_somewhere() {
    let sandbox = Sandbox::start().await.expect("free ports");
    let (_, links) = ask(&sandbox, Method::GET, "", None).await;
    for name in ["messages", "faults"] {
        let link = links[name].as_str().expect("a link");
        assert_eq!(http().get(link).send().await.expect("an answer").status(), 200, "{link}");
    }
    assert_eq!(links["providers"]["email"], format!("smtp://{}", sandbox.smtp.addr()));
    assert_eq!(links["providers"]["whatsapp"], sandbox.evolution.url());
    let (status, subscription) = ask(&sandbox, Method::POST, "subscriptions", None).await;
    assert_eq!(status, 201);
    assert!(subscription["endpoint"].as_str().expect("an endpoint").starts_with(sandbox.push.url()));
}

#[tokio::test]
async fn messages_of_all_channels_are_listed_as_they_came() {
    let sandbox = Sandbox::start().await.expect("free ports");
    whatsapp(&sandbox, "uno").await;
    email(&sandbox, "dos").await;
    whatsapp(&sandbox, "tres").await;
    let (_, messages) = ask(&sandbox, Method::GET, "messages", None).await;
    let told: Vec<_> = messages.as_array().expect("a list").iter().map(summary).collect();
    assert_eq!(told, ["whatsapp: uno", "email: dos", "whatsapp: tres"]);
    assert_eq!(messages[0]["status"], "PENDING");
    assert_eq!(messages[1]["envelope_to"], json!(["maria@cliente.ec"]));

    let (_, newest) = ask(&sandbox, Method::GET, "messages?limit=2", None).await;
    assert_eq!(newest, json!([messages[1], messages[2]]));
    let (_, mails) = ask(&sandbox, Method::GET, "messages?channel=email", None).await;
    assert_eq!(mails, json!([messages[1]]));
    let (status, error) = ask(&sandbox, Method::GET, "messages?channel=sms", None).await;
    assert_eq!(
        (status, error["error"].as_str()),
        (StatusCode::BAD_REQUEST, Some("`channel` is one of email, whatsapp, push, webhook, bridge"))
    );

    let raw = format!("{}messages/{}/raw", sandbox.inbox_url(), messages[1]["n"]);
    let raw = http().get(raw).send().await.expect("an answer").bytes().await.expect("a body");
    assert_eq!(raw, sandbox.smtp.messages()[0].raw());
    let (status, _) = ask(&sandbox, Method::GET, "messages/0/raw", None).await;
    assert_eq!(status, 404);

    ask(&sandbox, Method::DELETE, "messages", None).await;
    assert_eq!(ask(&sandbox, Method::GET, "messages", None).await.1, json!([]));
}

#[tokio::test]
async fn faults_are_set_listed_and_ended() {
    let sandbox = Sandbox::start().await.expect("free ports");
    let none = json!({"email": [], "whatsapp": [], "push": [], "webhook": [], "bridge": []});
    assert_eq!(ask(&sandbox, Method::GET, "faults", None).await.1, none);

    sandbox.evolution.misbehave(EvolutionFault::Drop);
    let plan = json!({"email": {"fault": "reject_recipient", "code": 550, "times": 2, "only": "Maria@cliente.ec"}});
    let (status, faults) = ask(&sandbox, Method::PUT, "faults", Some(&plan)).await;
    let rule = json!({"fault": "reject_recipient", "code": 550, "text": "", "times": 2, "only": "maria@cliente.ec"});
    assert_eq!(
        (status, faults),
        (
            StatusCode::OK,
            json!({"email": [rule], "whatsapp": [{"fault": "drop"}], "push": [], "webhook": [], "bridge": []})
        )
    );
    let expected = Rule::always(SmtpFault::reject_recipient(550)).times(2).only("maria@cliente.ec");
    assert_eq!(sandbox.smtp.rules(), [expected]);

    let (_, faults) = ask(&sandbox, Method::PUT, "faults", Some(&json!({"whatsapp": "none"}))).await;
    assert_eq!((&faults["email"], &faults["whatsapp"]), (&json!([rule]), &json!([])));
    assert_eq!(ask(&sandbox, Method::PUT, "faults", Some(&json!("none"))).await.1, none);
    sandbox.evolution.misbehave(EvolutionFault::Drop);
    assert_eq!(ask(&sandbox, Method::DELETE, "faults", None).await.0, 204);
    assert_eq!(sandbox.evolution.rules(), []);
}

#[tokio::test]
async fn a_plan_with_a_mistake_changes_nothing() {
    let sandbox = Sandbox::start().await.expect("free ports");
    let plan = json!({"email": {"fault": "greeting_busy"}, "whatsapp": {"fault": "drop", "time": 2}});
    let (status, body) = ask(&sandbox, Method::PUT, "faults", Some(&plan)).await;
    assert_eq!(status, 400);
    let error = body["error"].as_str().expect("a reason");
    assert!(error.contains("whatsapp: unknown field `time`"), "{error}");
    assert_eq!(sandbox.smtp.rules(), []);

    let url = format!("{}faults", sandbox.inbox_url());
    let request = http().put(url).header("content-type", "application/json").body("{oops");
    let response = request.send().await.expect("an answer");
    assert_eq!(response.status(), 400);
    assert!(response.text().await.expect("a reason").contains("JSON"));
}

async fn ask(sandbox: &Sandbox, method: Method, path: &str, body: Option<&Value>) -> (StatusCode, Value) {
    let mut request = http().request(method, format!("{}{path}", sandbox.inbox_url()));
    if let Some(body) = body {
        request = request.json(body);
    }
    let response = request.send().await.expect("an answer");
    let status = response.status();
    (status, response.json().await.unwrap_or(Value::Null))
}

async fn whatsapp(sandbox: &Sandbox, text: &str) {
    let evolution = &sandbox.evolution;
    let url = format!("{}/message/sendText/{}", evolution.url(), evolution.instance());
    let request = http().post(url).header("apikey", evolution.api_key());
    let response = request.json(&json!({"number": "593991234567", "text": text})).send().await;
    assert_eq!(response.expect("an answer").status(), 201);
}

async fn email(sandbox: &Sandbox, subject: &str) {
    let port = sandbox.smtp.addr().port();
    let client = AsyncSmtpTransport::<Tokio1Executor>::builder_dangerous("127.0.0.1").port(port).build();
    let message = Message::builder()
        .from("avisos@taller.ec".parse().expect("an address"))
        .to("maria@cliente.ec".parse().expect("an address"))
        .subject(subject)
        .body("Hola".to_owned())
        .expect("a message");
    client.send(message).await.expect("accepted");
}

fn summary(message: &Value) -> String {
    let words = message["text"].as_str().filter(|_| message["channel"] != "email");
    let words = words.or_else(|| message["subject"].as_str()).unwrap_or_default();
    format!("{}: {words}", message["channel"].as_str().unwrap_or_default())
}
