//! What the queue must know about conversations.

use recado_queue::lanes::Lane;
use recado_queue::systems::{NoRows, System};

use crate::jobs;

/// Words to operators through the bridge. One that is slow holds up nothing else.
pub const BRIDGE: Lane = Lane::new("conversations.bridge");

/// To be listed with the other systems of the program.
pub const CONVERSATIONS: System =
    System { name: "conversations", lanes: &[BRIDGE], kinds: &jobs::KINDS, rows: &NoRows };
