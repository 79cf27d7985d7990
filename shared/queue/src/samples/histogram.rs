//! How long things took, in buckets that never change: what many processes counted in many minutes can be added up.

use std::time::Duration;

use serde::{Deserialize, Serialize};

/// The upper ends of the buckets, in milliseconds. What takes longer than the last is in one more bucket.
pub const BOUNDS_MS: [u64; 18] =
    [1, 2, 5, 10, 25, 50, 100, 250, 500, 1_000, 2_500, 5_000, 10_000, 30_000, 60_000, 300_000, 900_000, 3_600_000];

/// How many there were in each bucket.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "Vec<i64>", into = "Vec<i64>")]
pub struct Histogram([i64; BOUNDS_MS.len() + 1]);

impl Histogram {
    pub fn add(&mut self, took: Duration) {
        let millis = u64::try_from(took.as_millis()).unwrap_or(u64::MAX);
        self.0[BOUNDS_MS.partition_point(|bound| *bound < millis)] += 1;
    }

    pub fn join(&mut self, other: &Self) {
        self.0.iter_mut().zip(other.0).for_each(|(own, others)| *own += others);
    }

    pub fn count(&self) -> i64 {
        self.0.iter().sum()
    }

    /// The length that this part of all does not exceed, e.g. 0.95, in milliseconds: reckoned as if those of a bucket were spread
    /// evenly over it. `None` when there were none. Beyond the last bound it is that bound: "an hour or more".
    pub fn quantile_ms(&self, part: f64) -> Option<f64> {
        let count = self.count();
        if count == 0 {
            return None;
        }
        let rank = part.clamp(0.0, 1.0) * count as f64;
        let (mut below, mut lower) = (0.0, 0.0);
        for (number, upper) in self.0.iter().zip(BOUNDS_MS) {
            let (number, upper) = (*number as f64, upper as f64);
            if number > 0.0 && below + number >= rank {
                return Some(lower + (upper - lower) * ((rank - below) / number).clamp(0.0, 1.0));
            }
            (below, lower) = (below + number, upper);
        }
        Some(lower)
    }
}

/// A list of another length is of a version with other buckets: what does not fit is left out.
impl From<Vec<i64>> for Histogram {
    fn from(counts: Vec<i64>) -> Self {
        let mut buckets = [0; BOUNDS_MS.len() + 1];
        buckets.iter_mut().zip(counts).for_each(|(bucket, count)| *bucket = count);
        Self(buckets)
    }
}

impl From<Histogram> for Vec<i64> {
    fn from(histogram: Histogram) -> Self {
        histogram.0.to_vec()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(millis: &[u64]) -> Histogram {
        let mut histogram = Histogram::default();
        millis.iter().for_each(|millis| histogram.add(Duration::from_millis(*millis)));
        histogram
    }

    #[test]
    fn quantiles_lie_in_the_bucket_of_their_rank() {
        assert_eq!(Histogram::default().quantile_ms(0.5), None);
        assert_eq!(of(&[1]).quantile_ms(1.0), Some(1.0));
        // Ten within 10 to 25 ms: the fifth is half-way.
        assert_eq!(of(&[20; 10]).quantile_ms(0.5), Some(17.5));
        let mixed = of(&[&[3; 90][..], &[400; 10]].concat());
        assert_eq!(mixed.quantile_ms(0.9), Some(5.0));
        assert_eq!(mixed.quantile_ms(0.95), Some(375.0));
        assert_eq!(of(&[9_000_000]).quantile_ms(0.5), Some(3_600_000.0), "an hour or more");
    }

    #[test]
    fn what_is_kept_is_read_again() {
        let text = serde_json::to_string(&of(&[0, 7, 9_000_000])).expect("it serialises");
        assert_eq!(serde_json::from_str::<Histogram>(&text).expect("it is read"), of(&[0, 7, 9_000_000]));
        assert_eq!(serde_json::from_str::<Histogram>("[1]").expect("it is read"), of(&[1]));
    }

    proptest::proptest! {
        #[test]
        fn a_quantile_is_near_the_true_one(mut millis in proptest::collection::vec(0_u64..3_600_000, 1..200), part in 0.01_f64..1.0) {
            let found = of(&millis).quantile_ms(part).expect("there are some");
            millis.sort_unstable();
            let place = ((part * millis.len() as f64).ceil() as usize).clamp(1, millis.len()) - 1;
            let bucket = BOUNDS_MS.partition_point(|bound| *bound < millis[place]);
            let lower = if bucket == 0 { 0 } else { BOUNDS_MS[bucket - 1] };
            proptest::prop_assert!(found >= lower as f64 && found <= BOUNDS_MS[bucket] as f64);
        }

        #[test]
        fn joined_is_the_same_as_counted_together(a in proptest::collection::vec(0_u64..10_000_000, 0..50), b in proptest::collection::vec(0_u64..10_000_000, 0..50)) {
            let mut joined = of(&a);
            joined.join(&of(&b));
            proptest::prop_assert_eq!(joined, of(&[a, b].concat()));
        }
    }
}
