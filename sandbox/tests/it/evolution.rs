//! The Evolution API, compared with what was recorded from the real one.

use std::time::Duration;

use recado_sandbox::{Evolution, EvolutionFault, EvolutionOptions, Rule, WhatsappStatus};
use reqwest::{Client, Method, RequestBuilder, Response};
use serde_json::{Value, json};

use crate::{SOON, http};

const NUMBER: &str = "593991234567";

#[tokio::test]
async fn a_text_is_taken_for_sending() {
    let api = Api::start().await;
    let text = "Hola Carlos, su vehículo está listo 🚗";
    let response = api.send(&json!({"number": NUMBER, "text": text, "linkPreview": false})).await;
    assert_eq!(response.status(), 201);
    let body: Value = response.json().await.expect("JSON");
    let message = &api.evolution.messages()[0];
    assert_eq!(
        body,
        json!({
            "key": {"remoteJid": "593991234567@s.whatsapp.net", "fromMe": true, "id": message.id},
            "pushName": "Você",
            "status": "PENDING",
            "message": {"conversation": text},
            "contextInfo": null,
            "messageType": "conversation",
            "messageTimestamp": message.at.timestamp(),
            "instanceId": body["instanceId"],
            "source": "web",
        })
    );
    assert_eq!((message.number.as_str(), message.text.as_str()), (NUMBER, text));
    assert_eq!(message.status, WhatsappStatus::Pending);
}

#[tokio::test]
async fn mistakes_are_answered_as_recorded() {
    let api = Api::start().await;
    let right = || json!({"number": NUMBER, "text": "Hola"});
    let send = |path: &str| api.request(Method::POST, path);
    for (request, expected) in [
        (
            api.client.post(api.url("/message/sendText/taller")).json(&right()),
            error(401, "Unauthorized", &json!("Unauthorized")),
        ),
        (
            api.client.post(api.url("/message/sendText/taller")).header("apikey", "otra").json(&right()),
            error(401, "Unauthorized", &json!("Unauthorized")),
        ),
        (
            send("/message/sendText/noexiste").json(&right()),
            error(404, "Not Found", &json!(["The \"noexiste\" instance does not exist"])),
        ),
        (
            send("/message/sendText/taller").json(&json!({"number": NUMBER})),
            error(400, "Bad Request", &json!([["instance requires property \"text\""]])),
        ),
        (
            send("/message/sendText/taller").json(&json!({"number": NUMBER, "textMessage": {"text": "Hola"}})),
            error(400, "Bad Request", &json!([["instance requires property \"text\""]])),
        ),
        (
            send("/message/sendText/taller").json(&json!({"number": 593_991_234_567_u64, "text": "Hola"})),
            error(400, "Bad Request", &json!([["Invalid format"]])),
        ),
        (
            send("/message/sendText/taller").json(&json!({"number": NUMBER, "text": " "})),
            error(400, "Bad Request", &json!(["Text is required"])),
        ),
        (
            send("/message/sendText/taller").header("content-type", "application/json").body("{oops"),
            error(400, "Internal Server Error", &json!("Expected property name or '}' in JSON at position 1")),
        ),
        (api.request(Method::GET, "/no/such"), error(404, "Not Found", &json!(["Cannot GET /no/such"]))),
    ] {
        assert_eq!(answer(request.send().await.expect("an answer")).await, expected);
    }
    assert_eq!(api.evolution.received(), 0);
}

#[tokio::test]
async fn faults_are_answered_as_recorded() {
    let api = Api::start().await;
    let gone = json!([{"jid": "593991234567@s.whatsapp.net", "exists": false, "number": NUMBER}]);
    let undefined = "Cannot read properties of undefined (reading 'onWhatsApp')";
    for (fault, expected) in [
        (EvolutionFault::NotOnWhatsapp, error(400, "Bad Request", &gone)),
        (EvolutionFault::Unauthorized, error(401, "Unauthorized", &json!("Unauthorized"))),
        (EvolutionFault::UnknownInstance, error(404, "Not Found", &json!(["The \"taller\" instance does not exist"]))),
        (EvolutionFault::ConnectionClosed, error(500, "Internal Server Error", &json!("Connection Closed"))),
        (EvolutionFault::NeverStarted, error(500, "Internal Server Error", &json!(undefined))),
        (EvolutionFault::StringifiedError400, error(400, "Bad Request", &json!(["Error: Timed Out"]))),
        (EvolutionFault::Schema400, error(400, "Bad Request", &json!([["instance requires property \"text\""]]))),
        (EvolutionFault::status(503), error(503, "Service Unavailable", &json!("Service Unavailable"))),
    ] {
        api.evolution.misbehave_times(fault.clone(), 1);
        assert_eq!(answer(api.hello(NUMBER).await).await, expected, "{fault:?}");
    }
    assert_eq!(api.evolution.received(), 0);
    assert_eq!(api.hello(NUMBER).await.status(), 201);
}

#[tokio::test]
async fn any_status_may_come_with_a_page_and_a_time_to_wait() {
    let api = Api::start().await;
    api.evolution.misbehave(EvolutionFault::Status {
        status: 429,
        body: json!("<h1>nginx</h1>"),
        retry_after: Some(7),
    });
    let response = api.hello(NUMBER).await;
    assert_eq!((response.status().as_u16(), &response.headers()["retry-after"]), (429, &"7".parse().expect("a value")));
    assert!(response.headers()["content-type"].to_str().expect("ASCII").starts_with("text/html"));
    assert_eq!(response.text().await.expect("a page"), "<h1>nginx</h1>");
}

#[tokio::test]
async fn a_client_may_be_left_without_an_answer() {
    let api = Api::start().await;
    for (fault, recorded) in [(EvolutionFault::Drop, 0), (EvolutionFault::AcceptThenDrop, 1)] {
        api.evolution.misbehave(fault);
        let request = api.request(Method::POST, "/message/sendText/taller");
        let error = request.json(&json!({"number": NUMBER, "text": "Hola"})).send().await.expect_err("no answer");
        assert!(!error.is_timeout() && !error.is_connect(), "{error:?}");
        assert_eq!(api.evolution.received(), recorded);
    }
    for fault in [EvolutionFault::AcceptThenHang, EvolutionFault::Slow { delay: Duration::from_secs(3600) }] {
        api.evolution.clear();
        api.evolution.misbehave(fault);
        let request = api.request(Method::POST, "/message/sendText/taller").timeout(Duration::from_millis(200));
        let error = request.json(&json!({"number": NUMBER, "text": "Hola"})).send().await.expect_err("no answer");
        assert!(error.is_timeout(), "{error:?}");
        assert_eq!(api.evolution.messages()[0].number, NUMBER);
    }
}

#[tokio::test]
async fn what_was_sent_without_an_answer_can_be_found() {
    let api = Api::start().await;
    api.evolution.misbehave_times(EvolutionFault::AcceptThenDrop, 1);
    let request = api.request(Method::POST, "/message/sendText/taller");
    request.json(&json!({"number": NUMBER, "text": "Hola"})).send().await.expect_err("no answer");
    api.hello("593987654321").await;
    let message = &api.evolution.messages()[0];
    let query = json!({"where": {"key": {"remoteJid": message.jid}}});
    let (status, found) = api.post("/chat/findMessages/taller", &query).await;
    let instance = &found["messages"]["records"][0]["instanceId"];
    assert_eq!(status, 200);
    assert_eq!(
        found,
        json!({"messages": {"total": 1, "pages": 1, "currentPage": 1, "records": [{
            "id": format!("cm{}", message.id.to_lowercase()),
            "key": {"remoteJid": message.jid, "fromMe": true, "id": message.id},
            "pushName": "Você",
            "messageType": "conversation",
            "message": {"conversation": "Hola"},
            "messageTimestamp": message.at.timestamp(),
            "instanceId": instance,
            "source": "web",
            "contextInfo": null,
            "MessageUpdate": [],
        }]}})
    );
}

#[tokio::test]
async fn receipts_can_be_asked_for_and_are_told() {
    let api = Api::start().await;
    api.hello(NUMBER).await;
    let message = api.evolution.messages().remove(0);
    let told = api.evolution.receipt(&message.id, WhatsappStatus::DeliveryAck).expect("a webhook");
    let mut expected = json!({
        "event": "messages.update",
        "instance": "taller",
        "data": {
            "keyId": message.id,
            "remoteJid": message.jid,
            "fromMe": true,
            "status": "DELIVERY_ACK",
            "instanceId": told["data"]["instanceId"],
            "messageId": format!("cm{}", message.id.to_lowercase()),
        },
        "date_time": told["date_time"],
        "server_url": api.evolution.url(),
        "apikey": "secreto",
    });
    assert_eq!(told, expected);
    assert_eq!(api.evolution.messages()[0].status, WhatsappStatus::DeliveryAck);
    assert_eq!(api.evolution.receipt("3EB0", WhatsappStatus::Read), None);

    let (_, rows) = api.post("/chat/findStatusMessage/taller", &json!({"where": {"id": message.id}})).await;
    let data = expected["data"].as_object_mut().expect("an object");
    data.insert("id".to_owned(), rows[0]["id"].clone());
    data.insert("participant".to_owned(), Value::Null);
    data.insert("pollUpdates".to_owned(), Value::Null);
    assert_eq!(rows, json!([data]));
}

#[tokio::test]
async fn the_state_of_the_session_is_told() {
    let api = Api::start().await;
    for (fault, state) in [
        (None, "open"),
        (Some(EvolutionFault::ConnectionClosed), "close"),
        (Some(EvolutionFault::NotOnWhatsapp), "open"),
    ] {
        api.evolution.behave();
        if let Some(fault) = fault {
            api.evolution.misbehave_times(fault, 1); // Asking does not use it up.
        }
        for _ in 0..2 {
            let request = api.request(Method::GET, "/instance/connectionState/taller");
            let (status, body) = answer(request.send().await.expect("an answer")).await;
            assert_eq!((status, body), (200, json!({"instance": {"instanceName": "taller", "state": state}})));
        }
    }
}

#[tokio::test]
async fn numbers_can_be_checked_before_sending() {
    let api = Api::start().await;
    api.evolution.misbehave_for("+593 98 765 4321", EvolutionFault::NotOnWhatsapp);
    let numbers = json!({"numbers": [NUMBER, "593987654321"]});
    let (status, body) = api.post("/chat/whatsappNumbers/taller", &numbers).await;
    assert_eq!(
        (status, body),
        (
            200,
            json!([
                {"jid": "593991234567@s.whatsapp.net", "exists": true, "number": NUMBER},
                {"jid": "593987654321@s.whatsapp.net", "exists": false, "number": "593987654321"},
            ])
        )
    );
    api.evolution.misbehave(EvolutionFault::ConnectionClosed);
    let (status, body) = api.post("/chat/whatsappNumbers/taller", &numbers).await;
    assert_eq!((status, &body["output"]["payload"]["statusCode"]), (400, &json!(428)));
}

#[tokio::test]
async fn a_server_in_trouble_does_not_answer_questions_either() {
    let api = Api::start().await;
    api.evolution.misbehave(EvolutionFault::status(502));
    let (status, _) = api.post("/chat/findMessages/taller", &json!({})).await;
    assert_eq!(status, 502);
    api.evolution.misbehave(EvolutionFault::Drop);
    let request = api.request(Method::GET, "/instance/connectionState/taller");
    request.send().await.expect_err("no answer");
}

#[tokio::test]
async fn a_fault_may_concern_one_number_and_end_by_itself() {
    let api = Api::start().await;
    api.evolution.plan(Rule::always(EvolutionFault::ConnectionClosed).only(NUMBER).times(2));
    let mut statuses = Vec::new();
    for number in [NUMBER, "593987654321", "+593991234567", NUMBER] {
        statuses.push(api.hello(number).await.status().as_u16());
    }
    assert_eq!(statuses, [500, 201, 500, 201]);
    assert_eq!(api.evolution.wait_for(2, SOON).await.len(), 2);
}

struct Api {
    evolution: Evolution,
    client: Client,
}

impl Api {
    async fn start() -> Self {
        let options = EvolutionOptions {
            api_key: "secreto".to_owned(),
            instance: "taller".to_owned(),
            ..EvolutionOptions::default()
        };
        Self { evolution: Evolution::start(options).await.expect("a free port"), client: http() }
    }

    fn url(&self, path: &str) -> String {
        format!("{}{path}", self.evolution.url())
    }

    fn request(&self, method: Method, path: &str) -> RequestBuilder {
        self.client.request(method, self.url(path)).header("apikey", self.evolution.api_key())
    }

    async fn send(&self, body: &Value) -> Response {
        let request = self.request(Method::POST, "/message/sendText/taller").json(body);
        request.send().await.expect("an answer")
    }

    async fn hello(&self, number: &str) -> Response {
        self.send(&json!({"number": number, "text": "Hola"})).await
    }

    async fn post(&self, path: &str, body: &Value) -> (u16, Value) {
        let request = self.request(Method::POST, path).json(body);
        answer(request.send().await.expect("an answer")).await
    }
}

fn error(status: u16, error: &str, message: &Value) -> (u16, Value) {
    (status, json!({"status": status, "error": error, "response": {"message": message}}))
}

async fn answer(response: Response) -> (u16, Value) {
    let status = response.status().as_u16();
    (status, response.json().await.expect("JSON"))
}
