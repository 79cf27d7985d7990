//! An event of the workshop's flow, as a caller states it.

use std::time::Duration;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::customers::{LONGEST_CUSTOMER_ID, check_text};
use crate::ids::Id;
use crate::orchestration::Target;

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

/// An event (S002-40). Slugs or UUIDs, whichever the caller has (d15).
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Event {
    pub event_type: String,
    #[serde(default)]
    pub service_type_id: Option<String>,
    #[serde(default)]
    pub phase_id: Option<String>,
    #[serde(default)]
    pub subtype_id: Option<String>,
    pub customer_id: String,
    #[serde(default)]
    pub target: Target,
    #[serde(default)]
    pub taller_id: Option<String>,
    #[serde(default)]
    pub context: Map<String, Value>,
    #[serde(default)]
    pub correlation_id: Option<Id>,
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
    pub fn field_errors(&self) -> Vec<(String, String)> {
        let mut errors = Vec::new();
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
            errors.push(("customer_id", "Este campo no puede estar en blanco.".to_owned()));
        }
        if !EVENT_TYPES.contains(&self.event_type.as_str()) {
            let known = EVENT_TYPES.join(", ");
            errors.push((
                "event_type",
                format!("\"{}\" no es una elección válida. Use: {known}.", self.event_type.escape_debug()),
            ));
        }
        if !self.is_custom() {
            for (field, value) in [("service_type_id", &self.service_type_id), ("phase_id", &self.phase_id)] {
                if value.is_none() {
                    errors.push((field, "Este campo es requerido.".to_owned()));
                }
            }
        }
        errors.into_iter().map(|(field, error)| (field.to_owned(), error)).collect()
    }
}
