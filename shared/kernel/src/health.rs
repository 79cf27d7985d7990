//! Whether a process that serves no requests does what it is there for: lately, and not merely whether it runs.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use serde_json::{Map, Value, json};

/// What a process must do again and again, and what else is wrong with it. Cheap to clone; all clones are the same thing.
#[derive(Clone, Debug, Default)]
pub struct Health(Arc<Mutex<Vec<Part>>>);

#[derive(Debug)]
struct Part {
    name: &'static str,
    state: State,
}

#[derive(Debug)]
enum State {
    /// Is done again within this time, or the process is unhealthy.
    Pulse { within: Duration, last: Instant },
    /// May fail for a while: the work goes on without it, worse.
    Help { works: bool },
}

impl Health {
    /// From now on this is done again and again, each time within so long after the last.
    pub fn expect(&self, name: &'static str, within: Duration) {
        self.set(name, State::Pulse { within, last: Instant::now() });
    }

    /// It was done.
    pub fn done(&self, name: &'static str) {
        if let Some(Part { state: State::Pulse { last, .. }, .. }) =
            self.parts().iter_mut().find(|part| part.name == name)
        {
            *last = Instant::now();
        }
    }

    /// Whether something works without which the work goes on, but worse.
    pub fn notice(&self, name: &'static str, works: bool) {
        self.set(name, State::Help { works });
    }

    /// It is not to be done any more: the process stops.
    pub fn forget(&self, name: &'static str) {
        self.parts().retain(|part| part.name != name);
    }

    /// Whether the process does its work, and what is to be said of each part, for a probe.
    pub fn report(&self) -> (bool, Value) {
        let mut report = Map::new();
        let (mut is_healthy, mut is_degraded) = (true, false);
        for Part { name, state } in self.parts().iter() {
            let said = match state {
                State::Pulse { within, last } if last.elapsed() > *within => {
                    is_healthy = false;
                    format!("not done for {} s; the log has the cause", last.elapsed().as_secs())
                }
                State::Help { works: false } => {
                    is_degraded = true;
                    "unavailable".to_owned()
                }
                State::Pulse { .. } | State::Help { works: true } => "ok".to_owned(),
            };
            report.insert((*name).to_owned(), said.into());
        }
        let status = match (is_healthy, is_degraded) {
            (false, _) => "unhealthy",
            (true, true) => "degraded",
            (true, false) => "ok",
        };
        report.insert("status".to_owned(), json!(status));
        (is_healthy, Value::Object(report))
    }

    fn set(&self, name: &'static str, state: State) {
        let mut parts = self.parts();
        match parts.iter_mut().find(|part| part.name == name) {
            Some(part) => part.state = state,
            None => parts.push(Part { name, state }),
        }
    }

    fn parts(&self) -> MutexGuard<'_, Vec<Part>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_done_in_time_is_named() {
        let health = Health::default();
        assert_eq!(health.report(), (true, json!({"status": "ok"})));
        health.expect("heartbeat", Duration::ZERO);
        let (is_healthy, report) = health.report();
        assert!(!is_healthy && report["heartbeat"].as_str().expect("a word").contains("not done for 0 s"), "{report}");
        health.expect("heartbeat", Duration::from_secs(60));
        health.done("heartbeat");
        assert_eq!(health.report(), (true, json!({"status": "ok", "heartbeat": "ok"})));
        health.notice("queue", false);
        assert_eq!(health.report().1, json!({"status": "degraded", "heartbeat": "ok", "queue": "unavailable"}));
        health.forget("heartbeat");
        health.notice("queue", true);
        assert_eq!(health.report().1, json!({"status": "ok", "queue": "ok"}));
    }
}
