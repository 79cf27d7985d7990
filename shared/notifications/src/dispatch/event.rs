//! An event of the workshop's flow, as a caller states it.

use std::time::Duration;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use utoipa::ToSchema;

use crate::customers::LONGEST_CUSTOMER_ID;
use crate::targets::Target;
use recado_kernel::clock::Timestamp;
use recado_kernel::fields::{Wrong, blank, check_text, required};
use recado_kernel::ids::Id;
use recado_kernel::language::Sentence;

/// The types of event that callers may send (S002-43).
pub const EVENT_TYPES: [&str; 8] = [
    "appointment_scheduled",
    "vehicle_received",
    "repair_started",
    "quality_check",
    "vehicle_ready",
    "maintenance_reminder",
    "maintenance_overdue",
    CUSTOM,
];

/// The event whose words the caller brings along; no template is used for it.
pub const CUSTOM: &str = "custom";

/// What the context of every event but `custom` holds (S002-42).
pub const MINIMUM_FIELDS: [&str; 3] = ["nombre", "placa", "vehiculo"];

/// An event for a customer who may just be on the way is looked at again after 2, 4 and 8 seconds (d14).
pub const DEFERRED_BY: [Duration; 3] = [Duration::from_secs(2), Duration::from_secs(4), Duration::from_secs(8)];

/// What happened in the workshop, and whom it concerns (S002-40).
///
/// References are slugs or UUIDs, whichever the caller has (d15).
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct Event {
    /// What happened: `appointment_scheduled`, `vehicle_received`, `repair_started`, `quality_check`, `vehicle_ready`,
    /// `maintenance_reminder`, `maintenance_overdue`, or `custom` with the caller's own words in `context`.
    #[schema(examples("appointment_scheduled"))]
    pub event_type: String,
    /// Type of service, slug or UUID. Not needed for `custom`.
    #[serde(default)]
    #[schema(max_length = 100, examples("mantenimiento-preventivo"))]
    pub service_type_id: Option<String>,
    /// Phase of the service, slug or UUID. Not needed for `custom`.
    #[serde(default)]
    #[schema(max_length = 100, examples("phase-schedule"))]
    pub phase_id: Option<String>,
    /// Subtype of the service, slug or UUID.
    #[serde(default)]
    #[schema(max_length = 100)]
    pub subtype_id: Option<String>,
    /// Whom it concerns; synced before.
    #[schema(max_length = 100, examples("customer-001"))]
    pub customer_id: String,
    /// The audience.
    #[serde(default)]
    pub target: Target,
    /// The workshop, where it has a configuration of its own.
    #[serde(default)]
    #[schema(max_length = 100)]
    pub taller_id: Option<String>,
    /// The values of the template's variables: texts. At least `nombre`, `placa` and `vehiculo`; for `custom`, `subject` and
    /// `body`.
    #[serde(default)]
    #[schema(value_type = Object, example = json!({"nombre": "Carlos Mendoza", "placa": "ABC123", "vehiculo": "Haval H6 2024",
        "fecha": "20 de Enero, 2026", "hora": "14:30"}))]
    pub context: Map<String, Value>,
    /// The caller's own id of the event; one is made where it is absent.
    #[serde(default)]
    pub correlation_id: Option<Id>,
    /// Not before this time, at most a year ahead. The words are fixed now; permission is asked again when it leaves.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub send_at: Option<Timestamp>,
    /// True: quiet hours and the throttle do not hold it back. What the customer switched off stays off.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    #[schema(default = false)]
    pub critical: bool,
}

impl Event {
    pub fn is_custom(&self) -> bool {
        self.event_type == CUSTOM
    }

    /// A text of the context, by its exact key.
    pub fn text(&self, key: &str) -> Option<String> {
        self.context.get(key)?.as_str().map(str::to_owned)
    }

    /// What is wrong with the fields themselves; every error names its field.
    pub fn field_errors(&self) -> Vec<(String, Sentence)> {
        let mut errors = Wrong::new();
        let texts = [
            ("customer_id", Some(&self.customer_id)),
            ("service_type_id", self.service_type_id.as_ref()),
            ("phase_id", self.phase_id.as_ref()),
            ("subtype_id", self.subtype_id.as_ref()),
            ("taller_id", self.taller_id.as_ref()),
        ];
        for (field, value) in texts {
            check_text(&mut errors, field, value.map(String::as_str), LONGEST_CUSTOMER_ID);
        }
        if self.customer_id.trim().is_empty() {
            errors.push(("customer_id", blank()));
        }
        if !EVENT_TYPES.contains(&self.event_type.as_str()) {
            let (written, known) = (self.event_type.escape_debug(), EVENT_TYPES.join(", "));
            let wrong = Sentence::new(
                format!("\"{written}\" no es una elección válida. Use: {known}."),
                format!("\"{written}\" is not a valid choice. Use: {known}."),
            );
            errors.push(("event_type", wrong));
        }
        if !self.is_custom() {
            for (field, value) in [("service_type_id", &self.service_type_id), ("phase_id", &self.phase_id)] {
                if value.is_none() {
                    errors.push((field, required()));
                }
            }
        }
        errors.into_iter().map(|(field, error)| (field.to_owned(), error)).collect()
    }
}
