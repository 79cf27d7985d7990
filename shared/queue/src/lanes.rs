//! Lanes and priorities: what is read beside what, and what is read first.

use std::collections::BTreeSet;
use std::fmt;
use std::sync::{Mutex, PoisonError};

/// Tasks with lists and a concurrency of their own, so that a slow provider does not hold the others up.
///
/// What stands before the dot is the queue, the word that users say (`-Q notifications,sync,maintenance`). Systems
/// [declare](crate::systems::System) their lanes; [`SYNC`] and [`MAINTENANCE`] are there for all of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Lane(&'static str);

/// What other services tell us, worked off in its own time.
pub const SYNC: Lane = Lane::new("sync");

/// Recurring work, and what is not about one person.
pub const MAINTENANCE: Lane = Lane::new("maintenance");

impl Lane {
    pub const fn new(name: &'static str) -> Self {
        Self(name)
    }

    pub const fn as_str(self) -> &'static str {
        self.0
    }

    /// The queue that this lane belongs to.
    pub fn queue(self) -> &'static str {
        self.0.split('.').next().unwrap_or_default()
    }
}

impl fmt::Display for Lane {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl From<String> for Lane {
    /// The lane of a row, which may be one that only a newer version declares. Each name is kept once for the life of the
    /// process; rows only ever hold names of some version's lanes.
    fn from(name: String) -> Self {
        static NAMES: Mutex<BTreeSet<&'static str>> = Mutex::new(BTreeSet::new());
        let mut names = NAMES.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(known) = names.get(name.as_str()) {
            return Self(known);
        }
        let kept: &'static str = name.leak();
        names.insert(kept);
        Self(kept)
    }
}

/// Which tasks of a lane are read first. Rows hold its number, because they are sorted by it; names of lists hold its word.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, strum::IntoStaticStr)]
#[strum(serialize_all = "snake_case", const_into_str)]
pub enum Priority {
    High = 0,
    Default = 1,
    Low = 2,
}

impl Priority {
    pub const ALL: [Self; 3] = [Self::High, Self::Default, Self::Low];

    pub fn as_str(self) -> &'static str {
        self.into_str()
    }
}

impl TryFrom<i16> for Priority {
    type Error = String;

    fn try_from(number: i16) -> Result<Self, Self::Error> {
        match number {
            0 => Ok(Self::High),
            1 => Ok(Self::Default),
            2 => Ok(Self::Low),
            _ => Err(format!("{number} is not a priority")),
        }
    }
}

/// How a read of `room` ids is shared between the priorities: of ten places high has six, default three and low one, so that
/// high goes first and none starves. `turn` counts the places given out before, so that this holds for a worker with one
/// slot too. What a priority does not use, the others take.
pub fn shares(room: usize, turn: usize) -> [usize; 3] {
    const PLACES: [usize; 10] = [0, 1, 0, 0, 1, 0, 0, 1, 0, 2];
    let mut shares = [6, 3, 1].map(|places| places * (room / PLACES.len()));
    for place in 0..room % PLACES.len() {
        shares[PLACES[(turn + place) % PLACES.len()]] += 1;
    }
    shares
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lane_read_from_a_row_is_the_declared_one() {
        assert_eq!(Lane::from("sync".to_owned()), SYNC);
        assert_eq!(Lane::new("notifications.push").queue(), "notifications");
        assert_eq!(SYNC.queue(), "sync");
    }

    #[test]
    fn one_slot_serves_all_priorities_in_time() {
        let mut served = [0; 3];
        for turn in 0..100 {
            let shares = shares(1, turn);
            (0..3).for_each(|priority| served[priority] += shares[priority]);
        }
        assert_eq!(served, [60, 30, 10]);
    }

    proptest::proptest! {
        #[test]
        fn no_place_is_invented_and_none_is_lost(room in 0_usize..5000, turn: usize) {
            let turn = turn % 1_000_000;
            proptest::prop_assert_eq!(shares(room, turn).iter().sum::<usize>(), room);
        }
    }
}
