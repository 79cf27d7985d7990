//! What the queue must know about the CRM: it has no jobs of its own, for it sends through `webhooks`.

use recado_queue::systems::{NoRows, System};

/// To be listed with the other systems of the program. Its endpoints carry this name.
pub const CRM: System = System { name: "crm", lanes: &[], kinds: &[], rows: &NoRows };
