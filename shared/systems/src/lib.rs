//! The systems of this program, on one page: all its processes agree on them. What looks at all of them at once stands here too.

pub mod diagnosis;
pub mod erasure;
pub mod search;

use recado_conversations::system::CONVERSATIONS;
use recado_crm::system::CRM;
use recado_notifications::system::NOTIFICATIONS;
use recado_partners::system::PARTNERS;
use recado_queue::systems::{QUEUE, Systems};
use recado_webhooks::system::WEBHOOKS;

/// Every system. Lanes are shown in this order.
pub const SYSTEMS: Systems = Systems::new(&[NOTIFICATIONS, PARTNERS, WEBHOOKS, CRM, CONVERSATIONS, QUEUE]);
