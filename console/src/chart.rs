//! Figures over time as a drawing. Pure: numbers in, the path of an SVG out. A page has the same numbers as a table beside it.

/// Bars in a box of 100 × 24, one for each value, as high as it is beside the highest.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Spark {
    /// The `d` of a path.
    pub(crate) path: String,
    pub(crate) most: i64,
}

const WIDTH: f64 = 100.0;
const HEIGHT: f64 = 24.0;

/// How much of its place a bar fills.
const FILLED: f64 = 0.8;

/// A value that is not nothing is seen, however small it is beside the highest.
const LOWEST: f64 = 1.0;

impl Spark {
    pub(crate) fn of(values: &[i64]) -> Self {
        let most = values.iter().copied().max().unwrap_or_default().max(0);
        let place = WIDTH / values.len().max(1) as f64;
        let bar = |(number, value): (usize, &i64)| {
            let height = (*value as f64 / most as f64 * HEIGHT).max(LOWEST);
            let (left, width) = (number as f64 * place, place * FILLED);
            format!("M{left:.2} {HEIGHT:.0}v-{height:.2}h{width:.2}v{height:.2}z")
        };
        let path = values.iter().enumerate().filter(|(_, value)| **value > 0).map(bar).collect();
        Self { path, most }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bars_stand_in_their_places_and_are_as_high_as_their_values() {
        let spark = Spark::of(&[0, 50, 100, 1]);
        assert_eq!(spark.most, 100);
        assert_eq!(
            spark.path, "M25.00 24v-12.00h20.00v12.00zM50.00 24v-24.00h20.00v24.00zM75.00 24v-1.00h20.00v1.00z",
            "nothing is no bar, and little is a low one"
        );
    }

    #[test]
    fn nothing_is_an_empty_drawing() {
        for values in [&[][..], &[0, 0, 0], &[-3]] {
            assert_eq!(Spark::of(values), Spark::default(), "{values:?}");
        }
    }
}
