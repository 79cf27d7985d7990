//! From samples to what a page draws: a point for each span of a window, also where nothing happened. Pure.

use std::collections::BTreeMap;
use std::time::Duration;

use recado_kernel::clock::Timestamp;
use serde::Serialize;
use utoipa::ToSchema;

use super::{Figures, Sample, floor};
use recado_kernel::word_enum;

/// How far back a page looks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, strum::IntoStaticStr, strum::VariantArray, ToSchema)]
#[strum(const_into_str)]
pub enum Window {
    #[strum(serialize = "60m")]
    #[schema(rename = "60m")]
    Hour,
    #[strum(serialize = "24h")]
    #[schema(rename = "24h")]
    Day,
    #[strum(serialize = "30d")]
    #[schema(rename = "30d")]
    Month,
}

word_enum!(Window, "a window");

impl Window {
    /// How long a point is, in minutes.
    pub fn step(self) -> i16 {
        match self {
            Self::Hour => 1,
            Self::Day => 10,
            Self::Month => 60,
        }
    }

    fn points(self) -> i64 {
        match self {
            Self::Hour => 60,
            Self::Day => 144,
            Self::Month => 720,
        }
    }

    /// When its first point begins. The last one is under way.
    pub fn begin(self, now: Timestamp) -> Timestamp {
        let span = Duration::from_secs(60 * u64::from(self.step().unsigned_abs()));
        floor(now, self.step()) - span * u32::try_from(self.points() - 1).unwrap_or_default()
    }
}

/// What happened in a span of time. Figures of tasks count work of every kind; those of attempts count what was handed to providers
/// and partners.
#[derive(Clone, Debug, Default, PartialEq, Serialize, ToSchema)]
#[schema(as = SampleSummary)]
pub struct Summary {
    /// Tasks that were written.
    pub accepted: i64,
    /// Tasks that ended well.
    pub done: i64,
    /// Runs after which a task is tried again, because something failed.
    pub retried: i64,
    /// Tasks that were given up.
    pub dead: i64,
    /// Attempts that the provider took.
    pub sent: i64,
    /// Attempts that will be made again.
    pub deferred: i64,
    /// Attempts that were refused for good.
    pub failed: i64,
    /// Messages of which a receipt says that they arrived.
    pub delivered: i64,
    /// Queued tasks, the most that were seen; null where it was not looked at.
    pub depth: Option<i64>,
    /// How long the oldest queued task had been due, in milliseconds, the longest that was seen.
    pub oldest_ms: Option<i64>,
    /// From due to begun, in milliseconds, of half of all runs.
    pub wait_p50_ms: Option<f64>,
    /// The same of 95 in 100.
    pub wait_p95_ms: Option<f64>,
    /// How long a run took.
    pub run_p50_ms: Option<f64>,
    /// The same of 95 in 100.
    pub run_p95_ms: Option<f64>,
    /// How long an attempt took.
    pub send_p50_ms: Option<f64>,
    /// The same of 95 in 100.
    pub send_p95_ms: Option<f64>,
}

/// One span of a window.
#[derive(Clone, Debug, PartialEq, Serialize, ToSchema)]
#[schema(as = SamplePoint)]
pub struct Point {
    /// When it begins.
    pub at: Timestamp,
    #[serde(flatten)]
    pub summary: Summary,
}

impl From<&Figures> for Summary {
    fn from(figures: &Figures) -> Self {
        let quantile =
            |histogram: &super::Histogram, part| histogram.quantile_ms(part).map(|ms| (ms * 10.0).round() / 10.0);
        Self {
            accepted: figures.accepted,
            done: figures.done,
            retried: figures.retried,
            dead: figures.dead,
            sent: figures.sent,
            deferred: figures.deferred,
            failed: figures.failed,
            delivered: figures.delivered,
            depth: figures.depth,
            oldest_ms: figures.oldest_ms,
            wait_p50_ms: quantile(&figures.waits, 0.5),
            wait_p95_ms: quantile(&figures.waits, 0.95),
            run_p50_ms: quantile(&figures.runs, 0.5),
            run_p95_ms: quantile(&figures.runs, 0.95),
            send_p50_ms: quantile(&figures.sends, 0.5),
            send_p95_ms: quantile(&figures.sends, 0.95),
        }
    }
}

/// The figures of each lane over all its samples.
pub fn by_lane(samples: &[Sample]) -> BTreeMap<&str, Figures> {
    let mut lanes: BTreeMap<&str, Figures> = BTreeMap::new();
    for sample in samples {
        lanes.entry(&sample.lane).or_default().join(&sample.figures);
    }
    lanes
}

/// A point for each span of the window, oldest first, and all of it together.
pub fn series(samples: &[Sample], window: Window, now: Timestamp) -> (Vec<Point>, Summary) {
    let begin = window.begin(now);
    let mut spans: BTreeMap<(Timestamp, &str), Figures> = BTreeMap::new();
    for sample in samples.iter().filter(|sample| sample.at >= begin && sample.at <= now) {
        spans.entry((floor(sample.at, window.step()), &sample.lane)).or_default().join(&sample.figures);
    }
    let mut points: BTreeMap<Timestamp, Figures> = BTreeMap::new();
    for ((at, _), figures) in &spans {
        points.entry(*at).or_default().join_lane(figures);
    }
    let mut whole = Figures::default();
    points.values().for_each(|figures| whole.join(figures));
    let span = Duration::from_secs(60 * u64::from(window.step().unsigned_abs()));
    let places = std::iter::successors(Some(begin), |at| Some(*at + span)).take_while(|at| *at <= now);
    let nothing = Figures::default();
    let point = |at| Point { at, summary: points.get(&at).unwrap_or(&nothing).into() };
    (places.map(point).collect(), Summary::from(&whole))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn now() -> Timestamp {
        Timestamp::from_micros(1_768_919_430_000_000)
    }

    fn sample(minutes_ago: u64, lane: &str, accepted: i64, depth: Option<i64>) -> Sample {
        let at = floor(now() - Duration::from_secs(60 * minutes_ago), 1);
        let figures = Figures { accepted, depth, ..Figures::default() };
        Sample { at, minutes: 1, lane: lane.into(), account: String::new(), process: "p".into(), figures }
    }

    #[test]
    fn each_window_has_its_points_and_the_last_is_under_way() {
        for (window, points) in [(Window::Hour, 60), (Window::Day, 144), (Window::Month, 720)] {
            let (series, _) = series(&[], window, now());
            assert_eq!(series.len(), points);
            assert_eq!(series.last().map(|point| point.at), Some(floor(now(), window.step())));
        }
    }

    #[test]
    fn lanes_add_up_and_time_takes_the_highest() {
        let samples = [
            sample(0, "a", 1, Some(3)),
            sample(0, "b", 2, Some(4)),
            sample(1, "a", 4, Some(9)),
            sample(99, "a", 8, None),
        ];
        let (points, whole) = series(&samples, Window::Hour, now());
        let last = |back: usize| &points[points.len() - 1 - back].summary;
        assert_eq!((last(0).accepted, last(0).depth), (3, Some(7)));
        assert_eq!((last(1).accepted, last(1).depth, last(2).depth), (4, Some(9), None));
        assert_eq!((whole.accepted, whole.depth), (7, Some(9)), "what is older than the window is left out");
        assert_eq!(by_lane(&samples)["a"].accepted, 13);
    }

    #[test]
    fn samples_of_any_length_fall_into_the_spans_of_the_window() {
        let joined =
            Sample { minutes: 10, at: floor(now() - Duration::from_secs(7_200), 10), ..sample(0, "a", 5, None) };
        let (points, _) = series(&[joined, sample(119, "a", 1, None)], Window::Day, now());
        assert_eq!(points.iter().map(|point| point.summary.accepted).sum::<i64>(), 6);
    }
}
