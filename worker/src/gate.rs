//! From which lanes this worker may take tasks: not from those that are paused, and from none when it is asked to drain. Read with
//! each heartbeat.

use std::time::Duration;

use recado_kernel::clock::Clock;
use recado_queue::lanes::Lane;
use recado_queue::pauses::{self, Pause};
use tokio::sync::watch;

/// A pause that ends in the meantime is looked at again after this, for its end is a moment of a clock that may be set.
const LOOK_EVERY: Duration = Duration::from_secs(30);

/// Opens and closes the lanes of a worker.
pub(crate) struct Gate {
    clock: Clock,
    wishes: watch::Sender<Option<Wishes>>,
}

/// What operators wish, as it was last read. Before that nothing is taken: a pause would not hold for a worker that starts.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Wishes {
    pauses: Vec<Pause>,
    is_draining: bool,
}

impl Gate {
    pub(crate) fn new(clock: Clock) -> Self {
        Self { clock, wishes: watch::Sender::new(None) }
    }

    /// What was read.
    pub(crate) fn set(&self, pauses: Vec<Pause>, is_draining: bool) {
        let wishes = Some(Wishes { pauses, is_draining });
        self.wishes.send_if_modified(|known| {
            let is_new = *known != wishes;
            if is_new {
                say(known.as_ref(), wishes.as_ref());
                known.clone_from(&wishes);
            }
            is_new
        });
    }

    /// Whether anything was read yet.
    pub(crate) fn is_known(&self) -> bool {
        self.wishes.borrow().is_some()
    }

    /// Whether tasks of the lane may be taken.
    pub(crate) fn is_open(&self, lane: Lane) -> bool {
        self.closed_for(lane).is_none()
    }

    /// Waits until the lane may have opened; returns at once when it is open.
    pub(crate) async fn opened(&self, lane: Lane) {
        let mut changes = self.wishes.subscribe();
        changes.mark_unchanged();
        while let Some(wait) = self.closed_for(lane) {
            // An error would be that the gate is gone, which we hold.
            let _ = tokio::time::timeout(wait, changes.changed()).await;
        }
    }

    /// How long the lane is closed at least; `None` when it is open.
    fn closed_for(&self, lane: Lane) -> Option<Duration> {
        let wishes = self.wishes.borrow();
        let Some(wishes) = &*wishes else { return Some(LOOK_EVERY) };
        if wishes.is_draining {
            return Some(LOOK_EVERY);
        }
        let now = self.clock.now();
        let in_force: Vec<Pause> = wishes.pauses.iter().filter(|pause| !pause.is_over(now)).cloned().collect();
        let pause = pauses::of_lane(&in_force, lane)?;
        let left = pause.until.map_or(LOOK_EVERY, |until| until.since(now));
        Some(left.clamp(Duration::from_millis(10), LOOK_EVERY))
    }
}

fn say(before: Option<&Wishes>, after: Option<&Wishes>) {
    let (before, after) = (before.cloned().unwrap_or_default(), after.cloned().unwrap_or_default());
    for pause in after.pauses.iter().filter(|pause| !before.pauses.contains(pause)) {
        tracing::warn!(
            queue = pause.queue,
            by = pause.paused_by,
            "nothing is taken from {}: it is paused",
            pause.queue
        );
    }
    for pause in &before.pauses {
        if !after.pauses.iter().any(|other| other.queue == pause.queue) {
            tracing::info!(queue = pause.queue, "{} goes on", pause.queue);
        }
    }
    match (before.is_draining, after.is_draining) {
        (false, true) => {
            tracing::warn!("this worker is asked to drain: it takes nothing more and finishes what it holds");
        }
        (true, false) => tracing::info!("this worker takes tasks again"),
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use recado_kernel::clock::Timestamp;
    use recado_queue::lanes::{MAINTENANCE, SYNC};

    use super::*;

    #[test]
    fn a_lane_is_open_unless_it_is_paused_or_the_worker_drains() {
        let clock = Clock::manual(Timestamp::from_micros(1_000_000_000));
        let gate = Gate::new(clock.clone());
        assert!(!gate.is_known() && !gate.is_open(SYNC), "nothing was read yet");
        let until = Some(clock.now() + Duration::from_secs(5));
        let pause =
            Pause { queue: "sync".into(), reason: "r".into(), paused_by: "op".into(), paused_at: clock.now(), until };
        gate.set(vec![pause], false);
        assert!(!gate.is_open(SYNC) && gate.is_open(MAINTENANCE));
        assert_eq!(gate.closed_for(SYNC), Some(Duration::from_secs(5)));
        clock.advance(Duration::from_secs(5));
        assert!(gate.is_open(SYNC), "its end has come");
        gate.set(Vec::new(), true);
        assert!(!gate.is_open(SYNC) && !gate.is_open(MAINTENANCE));
    }

    #[tokio::test]
    async fn a_reader_hears_at_once_that_its_lane_is_open() {
        let gate = std::sync::Arc::new(Gate::new(Clock::manual(Timestamp::from_micros(0))));
        gate.set(Vec::new(), true);
        let waiting = tokio::spawn({
            let gate = gate.clone();
            async move { gate.opened(SYNC).await }
        });
        tokio::task::yield_now().await;
        assert!(!waiting.is_finished());
        gate.set(Vec::new(), false);
        tokio::time::timeout(Duration::from_secs(10), waiting).await.expect("in time").expect("no panic");
    }
}
