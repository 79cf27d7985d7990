//! What happened to partners, as others hear of it.

use recado_kernel::clock::Timestamp;
use recado_kernel::ids::Id;
use recado_kernel::sql;
use recado_partners::events;
use recado_partners::jobs::PublishPartnerEvent;
use recado_queue::tasks::State;
use recado_webhooks::endpoints::{self, NewEndpoint, Sealer};
use recado_webhooks::signature::Secret;
use reqwest::Method;
use serde_json::{Value, json};

use super::integrations::KEY;
use super::registry::{PARTNERS, text};
use crate::harness::app::{App, seconds};
use crate::harness::pair::story;

const SECRET: &str = "whsec_MDEyMzQ1Njc4OTAxMjM0NTY3ODkwMTIzNDU2Nzg5MDE=";

const ALL: [&str; 6] = [
    "PartnerCreado",
    "PartnerActualizado",
    "PartnerEliminado",
    "KYCVerificado",
    "IntegracionCreada",
    "IntegracionRevocada",
];

impl App {
    /// The sandbox's partner asks for these types of event, or for all.
    async fn listen(&self, path: &str, events: Option<&[&str]>) {
        self.sandbox.partner.set_secret(SECRET);
        let key = self.context.config.secret_key.as_ref().expect("the story sets SECRET_KEY");
        let secret = Secret::stated(SECRET).expect("a secret");
        let url = format!("{}/{path}", self.sandbox.partner.url());
        let id = Id::new(self.clock.now());
        let endpoint = NewEndpoint {
            events: events.map(|events| events.iter().map(|event| (*event).to_owned()).collect()),
            ..NewEndpoint::new(id, "partners", path, &url, secret)
        };
        let mut session = self.begin().await;
        endpoints::insert(&mut session, Sealer(key), &endpoint, self.clock.now()).await.expect("it is written");
        session.commit().await.expect("it is committed");
    }

    /// What arrived there: the type and the data of each.
    fn heard(&self, path: &str) -> Vec<(String, Value)> {
        let webhooks = self.sandbox.partner.messages();
        let heard = webhooks.iter().filter(|webhook| webhook.path == format!("/{path}"));
        heard.map(|webhook| (text(&webhook.json()["event_type"]), webhook.json()["data"].clone())).collect()
    }
}

// S001-16: whatever happens to a partner is told to those who ask for it by name, signed; ids and states, no addresses.
story!(what_happens_is_told_to_those_who_ask, KEY, async |app: &App| {
    app.listen("all", Some(&ALL)).await;
    app.listen("kyc", Some(&["KYCVerificado", "payment.success"])).await;
    app.listen("everything", None).await;

    let url = app.partner("uno").await;
    let partner = url.rsplit('/').next().expect("an id").to_owned();
    app.put(&url, &json!({"nombre": "Uno S.A.", "estado": "SUSPENDIDO"})).await.must_be(200);
    app.put(&format!("{url}/kyc"), &json!({"estado_kyc": "APROBADO"})).await.must_be(200);
    let integrate = async |name: &str| {
        let body = json!({"tipo": "API", "nombre": name});
        text(&app.post(&format!("{url}/integraciones"), &body).await.must_be(201)["integracion"]["id"])
    };
    let (first, second) = (integrate("a").await, integrate("b").await);
    let revoke = format!("{PARTNERS}/integraciones/{first}/revocar");
    app.put(&revoke, &json!({"motivo": "Cambio de proveedor"})).await.must_be(200);
    app.send(app.request(Method::DELETE, &url)).await.must_be(200);
    // Nothing changes, and nothing is told.
    app.put(&url, &json!({})).await;
    app.drain().await;

    let mut heard = app.heard("all");
    heard.sort_by_key(|(event_type, data)| (event_type.clone(), data.to_string()));
    let mut expected = vec![
        ("IntegracionCreada", json!({"partner_id": partner, "integracion_id": first})),
        ("IntegracionCreada", json!({"partner_id": partner, "integracion_id": second})),
        (
            "IntegracionRevocada",
            json!({"partner_id": partner, "integracion_id": first, "motivo": "Cambio de proveedor"}),
        ),
        (
            "IntegracionRevocada",
            json!({"partner_id": partner, "integracion_id": second, "motivo": "Partner eliminado"}),
        ),
        (
            "KYCVerificado",
            json!({"partner_id": partner, "estado_kyc_anterior": "PENDIENTE", "estado_kyc_nuevo": "APROBADO"}),
        ),
        (
            "PartnerActualizado",
            json!({"partner_id": partner, "campos": ["nombre", "estado"], "estado_anterior": "ACTIVO", "estado_nuevo": "SUSPENDIDO"}),
        ),
        ("PartnerCreado", json!({"partner_id": partner, "estado": "ACTIVO", "estado_kyc": "PENDIENTE"})),
        ("PartnerEliminado", json!({"partner_id": partner})),
    ];
    expected.sort_by_key(|(event_type, data)| (*event_type, data.to_string()));
    let heard: Vec<(&str, Value)> =
        heard.iter().map(|(event_type, data)| (event_type.as_str(), data.clone())).collect();
    assert_eq!(heard, expected);
    assert_eq!(app.heard("kyc").len(), 1);
    assert_eq!(app.heard("everything"), [], "what happens to others is told to those who ask for it by name");
    for webhook in app.sandbox.partner.messages() {
        let verdict = webhook.verdict;
        assert!(verdict.raw && verdict.rewritten && verdict.standard, "{verdict:?}: {}", webhook.body);
        assert!(!webhook.body.contains("@example.com"), "{}", webhook.body);
    }
});

// S001-16: no one who listens, or a partner that is down, fails no request, and what failed is tried again.
story!(a_receiver_that_is_down_fails_no_request, KEY, async |app: &App| {
    app.listen("down", Some(&["PartnerCreado"])).await;
    app.sandbox.partner.misbehave(recado_sandbox::PartnerFault::status(503));
    app.partner("uno").await;
    app.drain().await;
    assert_eq!(app.counts(&[State::Scheduled]).await, [("webhooks".to_owned(), 1)]);
    app.sandbox.partner.behave();
    app.later(seconds(10)).await;
    assert_eq!(app.heard("down").last().map(|(event_type, _)| event_type.as_str()), Some("PartnerCreado"));
    assert_eq!(app.counts(&[State::Scheduled, State::Dead]).await, []);
});

// S001-16: an event is told once, however often its job runs; and not when its change was taken back.
story!(an_event_is_told_once, KEY, async |app: &App| {
    app.listen("once", Some(&ALL)).await;
    app.partner("uno").await;
    let taken = json!({"nombre": "Otro", "email": "UNO@example.com"});
    app.post(PARTNERS, &taken).await.must_be(409);
    app.drain().await;
    let events: Vec<(Id, Option<Timestamp>)> =
        sql!(all(Id, Option<Timestamp>), &mut app.begin().await, "select id, published_at from partner_events")
            .expect("read");
    assert_eq!((events.len(), events[0].1.is_some()), (1, true));
    let mut session = app.begin().await;
    let (deliveries, rings) = events::fan_out(&mut session, events[0].0, app.clock.now()).await.expect("it runs again");
    assert_eq!((deliveries, rings.len()), (0, 0));
    drop(session);
    // Its row is past its retention.
    app.enqueue(&PublishPartnerEvent {}).await;
    app.drain().await;
    assert_eq!(app.heard("once").len(), 1);
});
