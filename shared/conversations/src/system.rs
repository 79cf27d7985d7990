//! What the queue must know about conversations.

use recado_queue::systems::{NoRows, System};

use crate::jobs::{self, BRIDGE};

/// To be listed with the other systems of the program.
pub const CONVERSATIONS: System =
    System { name: "conversations", lanes: &[BRIDGE], kinds: &jobs::KINDS, rows: &NoRows };
