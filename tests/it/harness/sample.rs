//! The people and the event of the document that describes the service, word for word.

use recado_notifications::channels::Channel;
use recado_notifications::customers::Choice;
use serde_json::{Value, json};

use crate::harness::app::App;

/// The body of the document's curl.
pub(crate) fn event() -> Value {
    json!({
        "event_type": "appointment_scheduled",
        "service_type_id": "mantenimiento-preventivo",
        "phase_id": "phase-schedule",
        "customer_id": "customer-001",
        "target": "clients",
        "context": {
            "nombre": "Carlos Mendoza",
            "placa": "ABC123",
            "vehiculo": "Haval H6 2024",
            "fecha": "20 de Enero, 2026",
            "hora": "14:30"
        }
    })
}

/// The same event, changed by a merge patch (RFC 7396): `null` removes.
pub(crate) fn event_with(patch: Value) -> Value {
    let mut event = event();
    merge(&mut event, patch);
    event
}

pub(crate) fn customer() -> Value {
    json!({
        "customer_id": "customer-001",
        "name": "Carlos Mendoza",
        "email": "carlos@example.com",
        "phone": "+593991234567"
    })
}

pub(crate) fn customer_with(patch: Value) -> Value {
    let mut customer = customer();
    merge(&mut customer, patch);
    customer
}

impl App {
    /// `customer-001` is known, with an address and a telephone.
    pub(crate) async fn know_carlos(&self) {
        self.sync_customer(&customer()).await;
    }
}

pub(crate) fn likes(channel: Channel, priority: i32) -> Choice {
    Choice { channel, enabled: true, priority }
}

pub(crate) fn refuses(channel: Channel) -> Choice {
    Choice { channel, enabled: false, priority: 9 }
}

fn merge(target: &mut Value, patch: Value) {
    let Value::Object(patch) = patch else {
        *target = patch;
        return;
    };
    if !target.is_object() {
        *target = json!({});
    }
    let target = target.as_object_mut().expect("it was made one");
    for (key, value) in patch {
        if value.is_null() {
            target.remove(&key);
        } else {
            merge(target.entry(key).or_insert(Value::Null), value);
        }
    }
}
