//! Two versions in turn, in one run: old, new, old, new, …
//!
//! The machine's speed drifts by a third from minute to minute, so a figure counts only beside another of the same run.
//! What is measured in the process is measured by each version's own `recado-bench`, whose lines are read; HTTP is measured
//! by this one, with each version's programs.

use std::error::Error;
use std::path::Path;
use std::process::Stdio;

use tokio::process::Command;

use crate::http::{self, CONNECTIONS, Run};
use crate::servers::Servers;
use crate::{Figure, What, median};

/// What is compared unless something is named: what a change of the rows and statements should show in.
const COMPARED: [What; 4] = [What::Http, What::Intake, What::Delivery, What::Queue];

/// The median of so many is one side of a pair: the first of a process pays for what is made once, such as connections.
const RUNS_IN_PROCESS: &str = "3";

/// Lines that had another name in an older version.
const RENAMED: [(&str, &str); 1] =
    [("events accepted at the door, 128 callers", "events accepted at intake, 128 callers")];

pub(crate) struct Comparison<'a> {
    pub(crate) old: &'a Path,
    pub(crate) new: &'a Path,
    pub(crate) what: &'a [What],
    pub(crate) pairs: usize,
    pub(crate) events: usize,
    pub(crate) statements: bool,
}

/// Runs both and prints a table. The ratio is the median of the pairs' ratios.
pub(crate) async fn measure(comparison: Comparison<'_>) -> Result<(), Box<dyn Error + Send + Sync>> {
    let what = if comparison.what.is_empty() { &COMPARED } else { comparison.what };
    if let Some(other) = what.iter().find(|one| !COMPARED.contains(one)) {
        return Err(format!("{} cannot be compared", other.word()).into());
    }
    let mut servers = Servers::open().await?;
    let mut table = Table::default();
    for pair in 1..=comparison.pairs {
        for (side, programs) in [(Side::Old, comparison.old), (Side::New, comparison.new)] {
            eprintln!("pair {pair} of {}: {}", comparison.pairs, side.word());
            let statements = comparison.statements && pair == comparison.pairs;
            for figure in run_one(&mut servers, programs, what, comparison.events, statements.then_some(side)).await? {
                table.add(side, figure);
            }
        }
    }
    table.print();
    Ok(())
}

/// Everything once, of one version.
async fn run_one(
    servers: &mut Servers,
    programs: &Path,
    what: &[What],
    events: usize,
    statements: Option<Side>,
) -> Result<Vec<Figure>, Box<dyn Error + Send + Sync>> {
    let mut figures = Vec::new();
    if what.contains(&What::Http) {
        for connections in CONNECTIONS {
            let title = statements.map(|side| format!("{}, {}", side.word(), http::title(connections)));
            let run = Run { programs, connections, events, statements: title.as_deref() };
            figures.extend(http::run_once(servers, run).await?);
        }
    }
    let in_process: Vec<&str> = what.iter().filter(|one| **one != What::Http).map(|one| one.word()).collect();
    if !in_process.is_empty() {
        servers.checkpoint().await?;
        figures.extend(run_in_process(programs, &in_process).await?);
    }
    Ok(figures)
}

async fn run_in_process(programs: &Path, what: &[&str]) -> Result<Vec<Figure>, Box<dyn Error + Send + Sync>> {
    let program = programs.join("recado-bench");
    let mut command = Command::new(&program);
    command.args(what).args(["--runs", RUNS_IN_PROCESS]).stderr(Stdio::inherit()).kill_on_drop(true);
    let output = command.output().await?;
    if !output.status.success() {
        return Err(format!("{} ended with {}", program.display(), output.status).into());
    }
    Ok(String::from_utf8(output.stdout)?.lines().filter_map(read_line).collect())
}

/// A line as [`crate::report`] prints it: a name, two blanks or more, the figure, its unit.
fn read_line(line: &str) -> Option<Figure> {
    let (name, rest) = line.split_once("  ")?;
    let mut words = rest.split_whitespace();
    let value = words.next()?.parse().ok()?;
    let unit = match words.next()? {
        "/s" => "/s",
        "ms" => "ms",
        _ => return None,
    };
    let name = RENAMED.iter().find(|(old, _)| *old == name).map_or(name, |(_, new)| new);
    Some(Figure { name: name.to_owned(), unit, value })
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Side {
    Old,
    New,
}

impl Side {
    fn word(self) -> &'static str {
        match self {
            Self::Old => "old",
            Self::New => "new",
        }
    }
}

/// In the order in which the figures came.
#[derive(Default)]
struct Table {
    rows: Vec<Row>,
}

struct Row {
    name: String,
    unit: &'static str,
    old: Vec<f64>,
    new: Vec<f64>,
}

impl Table {
    fn add(&mut self, side: Side, Figure { name, unit, value }: Figure) {
        let place = self.rows.iter().position(|row| row.name == name).unwrap_or_else(|| {
            self.rows.push(Row { name, unit, old: Vec::new(), new: Vec::new() });
            self.rows.len() - 1
        });
        let row = &mut self.rows[place];
        match side {
            Side::Old => row.old.push(value),
            Side::New => row.new.push(value),
        }
    }

    fn print(&self) {
        println!("{:<52} {:>10} {:>10} {:<4} {:>7}", "", "old", "new", "", "new/old");
        for Row { name, unit, old, new } in &self.rows {
            // A figure that only one of them prints has nothing to stand beside.
            let Some([ratio, lowest, highest]) = ratios(old, new) else { continue };
            let (old, new) = (median(old), median(new));
            println!("{name:<52} {old:>10.1} {new:>10.1} {unit:<4} {ratio:>6.2}x ({lowest:.2} to {highest:.2})");
        }
    }
}

/// The median, the lowest and the highest ratio of the pairs.
fn ratios(old: &[f64], new: &[f64]) -> Option<[f64; 3]> {
    let mut ratios: Vec<f64> = old.iter().zip(new).map(|(old, new)| new / old).collect();
    ratios.sort_by(f64::total_cmp);
    let (lowest, highest) = (*ratios.first()?, *ratios.last()?);
    Some([median(&ratios), lowest, highest])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_that_is_printed_is_read_again() {
        for (line, expected) in [
            (
                "no-op jobs claimed, run and completed             43600.0 /s     (38700.0 to 49400.0, 5 runs)",
                Some(("no-op jobs claimed, run and completed", "/s", 43_600.0)),
            ),
            (
                "events accepted at the door, 128 callers           5500.0 /s     (4000.0 to 6200.0, 5 runs)",
                Some(("events accepted at intake, 128 callers", "/s", 5_500.0)),
            ),
            ("from the answer to the mail, idle machine: median 1.5 ms, p99 4.0 ms", None),
            ("", None),
        ] {
            let expected = expected.map(|(name, unit, value)| Figure { name: name.to_owned(), unit, value });
            assert_eq!(read_line(line), expected, "{line}");
        }
        let printed = crate::line("no-op jobs enqueued (row + ring)", "/s", &[1.0, 2.0, 4.0]);
        let read = read_line(&printed).expect("the line of this version");
        assert_eq!((read.name.as_str(), read.value), ("no-op jobs enqueued (row + ring)", 2.0));
    }

    #[test]
    fn a_ratio_is_of_figures_of_the_same_pair() {
        assert_eq!(ratios(&[100.0, 50.0, 10.0], &[200.0, 200.0, 30.0]), Some([3.0, 2.0, 4.0]));
        assert_eq!(ratios(&[100.0], &[]), None);
    }
}
