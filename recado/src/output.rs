//! What is printed, and how a command ends.

use std::error::Error;
use std::io::{self, Write};
use std::process::ExitCode;

use serde::Serialize;
use tokio::time::Instant;

/// How a command ends: with an exit status, or with an error that is printed with its causes and ends in status 1.
pub(crate) type Outcome = Result<ExitCode, Box<dyn Error + Send + Sync>>;

/// Prints a text. When the reader has gone (`recado tasks list | head -1`) the process ends as `cat` would, and when it cannot be written,
/// on a full disk for example, as a failure.
pub(crate) fn print(text: &str) {
    let mut stdout = io::stdout().lock();
    match stdout.write_all(text.as_bytes()).and_then(|()| stdout.flush()) {
        Ok(()) => {}
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => std::process::exit(0),
        Err(error) => {
            let _ = writeln!(io::stderr(), "the output cannot be written: {error}");
            std::process::exit(1);
        }
    }
}

/// Prints a line.
pub(crate) fn say(line: &str) {
    print(&format!("{line}\n"));
}

/// Prints a value as JSON.
pub(crate) fn print_json(value: &impl Serialize) -> Result<(), serde_json::Error> {
    say(&serde_json::to_string_pretty(value)?);
    Ok(())
}

/// A text of others without the control characters that a terminal would obey; its lines stay.
pub(crate) fn printable(text: &str) -> String {
    text.replace(|character: char| character.is_control() && character != '\n', " ")
}

/// `1 task`, `2 tasks`.
pub(crate) fn count(number: usize, noun: &str) -> String {
    let plural = if number == 1 { "" } else { "s" };
    format!("{number} {noun}{plural}")
}

/// A step of the start, with its duration.
pub(crate) struct Step {
    name: &'static str,
    began: Instant,
}

impl Step {
    pub(crate) fn begin(name: &'static str) -> Self {
        Self { name, began: Instant::now() }
    }

    pub(crate) fn done(self, detail: &str) {
        self.end('✓', detail);
    }

    /// Something to fix later; the start goes on.
    pub(crate) fn failed(self, detail: &str) {
        self.end('!', detail);
    }

    fn end(self, mark: char, detail: &str) {
        say(&format!("{mark} {:<9}  {detail} ({:.2} s)", self.name, self.began.elapsed().as_secs_f64()));
    }
}
