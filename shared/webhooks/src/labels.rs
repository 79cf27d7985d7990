//! Names of endpoints as labels of metrics. Partners choose their names, so only so many are told apart.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use recado_kernel::ids::Id;

/// Endpoints and partners that have a label of their own in this process. Each costs the series of every metric that it has.
pub const MOST: usize = 200;

/// The label of all others.
pub const OTHER: &str = "other";

/// The longest label, in characters.
const LONGEST: usize = 60;

static KNOWN: Mutex<Option<HashMap<Id, Arc<str>>>> = Mutex::new(None);

/// The label of this endpoint or partner: its name when it was first seen here, or [`OTHER`].
pub fn of(id: Id, name: &str) -> Arc<str> {
    let mut known = KNOWN.lock().unwrap_or_else(PoisonError::into_inner);
    label(known.get_or_insert_default(), id, name)
}

fn label(known: &mut HashMap<Id, Arc<str>>, id: Id, name: &str) -> Arc<str> {
    if let Some(label) = known.get(&id) {
        return label.clone();
    }
    if known.len() >= MOST {
        return OTHER.into();
    }
    let label: Arc<str> = name.chars().filter(|letter| !letter.is_control()).take(LONGEST).collect::<String>().into();
    known.insert(id, label.clone());
    label
}

#[cfg(test)]
mod tests {
    use recado_kernel::clock::Timestamp;

    use super::*;

    #[test]
    fn only_so_many_names_become_labels() {
        let mut known = HashMap::new();
        let first = Id::new(Timestamp::default());
        assert_eq!(&*label(&mut known, first, "Findyour\nWork"), "FindyourWork");
        for number in 0..MOST {
            label(&mut known, Id::new(Timestamp::default()), &format!("partner {number}"));
        }
        assert_eq!(known.len(), MOST);
        assert_eq!(&*label(&mut known, Id::new(Timestamp::default()), "one more"), OTHER);
        assert_eq!(&*label(&mut known, first, "renamed"), "FindyourWork");
    }
}
