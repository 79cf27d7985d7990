//! What the queue must know about partners.

use recado_queue::systems::{NoRows, System};

use crate::jobs;

/// The name under which endpoints of partners stand among those of all systems.
pub const NAME: &str = "partners";

/// To be listed with the other systems of the program.
pub const PARTNERS: System = System { name: NAME, lanes: &[], kinds: &jobs::KINDS, rows: &NoRows };
