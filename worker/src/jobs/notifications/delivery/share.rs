//! How much of a worker one customer's pushes may occupy. Devices that accept and never answer hold a slot for as long as the
//! time limit; many messages to them would hold all slots, and everybody else would wait.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use recado_notifications::channels::Channel;
use recado_notifications::notifications::Notification;

/// Messages of one customer that a worker pushes at once.
const MOST_AT_ONCE: u32 = 4;

/// When a message that found no room comes back.
pub(super) const RETURN: Duration = Duration::from_secs(2);

/// Who occupies how much. At most as many entries as there are slots.
#[derive(Clone, Default)]
pub(crate) struct Shares(Arc<Mutex<HashMap<String, u32>>>);

/// A place that is free again when this is dropped.
pub(super) struct Share(Option<(Shares, String)>);

impl Shares {
    /// A place for this message, unless its customer has all that one may have. Other channels bound themselves.
    pub(super) fn of(&self, notification: &Notification) -> Option<Share> {
        match notification.channel {
            Channel::Push => self.take(&notification.customer_id),
            Channel::Email | Channel::Whatsapp => Some(Share(None)),
        }
    }

    fn take(&self, customer_id: &str) -> Option<Share> {
        let mut occupied = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let count = occupied.entry(customer_id.to_owned()).or_default();
        if *count >= MOST_AT_ONCE {
            return None;
        }
        *count += 1;
        Some(Share(Some((self.clone(), customer_id.to_owned()))))
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        let Some((shares, customer_id)) = self.0.take() else { return };
        let mut occupied = shares.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(count) = occupied.get_mut(&customer_id) {
            *count -= 1;
            if *count == 0 {
                occupied.remove(&customer_id);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_customer_leaves_room_for_the_others() {
        let shares = Shares::default();
        let mut held: Vec<_> = (0..MOST_AT_ONCE).map(|_| shares.take("ana").expect("room")).collect();
        assert!(shares.take("ana").is_none());
        assert!(shares.take("eva").is_some(), "another one has room of her own");
        held.pop();
        held.push(shares.take("ana").expect("a place was given back"));
        drop(held);
        assert!(shares.0.lock().unwrap().is_empty(), "nothing is remembered of those who are done");
    }
}
