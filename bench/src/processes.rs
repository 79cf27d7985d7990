//! What the kernel knows of a process (proc(5)).

use std::fs;
use std::io;
use std::time::Duration;

/// Of the kernel's clock in /proc; 100 on every Linux that people run (`getconf CLK_TCK`).
const TICKS_PER_SECOND: u64 = 100;

/// Processor time that all threads of a process have used, in user and kernel mode.
///
/// # Errors
/// When there is no such process.
pub(crate) fn processor_time(pid: u32) -> io::Result<Duration> {
    Ok(duration(Stat::of(pid)?.own))
}

/// The same with the children that the process has and had: PostgreSQL forks one for every connection.
///
/// # Errors
/// When there is no such process.
pub(crate) fn processor_time_of_family(pid: u32) -> io::Result<Duration> {
    let parent = Stat::of(pid)?;
    let mut ticks = parent.own + parent.of_ended_children;
    for entry in fs::read_dir("/proc")? {
        let Some(child) = entry?.file_name().to_str().and_then(|name| name.parse().ok()) else { continue };
        // A process may end between the list and the look.
        ticks += Stat::of(child).map_or(0, |stat| if stat.parent == pid { stat.own } else { 0 });
    }
    Ok(duration(ticks))
}

/// The process that started this one.
///
/// # Errors
/// When there is no such process.
pub(crate) fn parent(pid: u32) -> io::Result<u32> {
    Ok(Stat::of(pid)?.parent)
}

/// The most memory that a process has had resident since its start, in MiB.
///
/// # Errors
/// When there is no such process.
pub(crate) fn peak_memory(pid: u32) -> io::Result<f64> {
    let status = fs::read_to_string(format!("/proc/{pid}/status"))?;
    let line =
        status.lines().find_map(|line| line.strip_prefix("VmHWM:")).and_then(|rest| rest.split_whitespace().next());
    let kibibytes: f64 = line.and_then(|number| number.parse().ok()).ok_or_else(|| unreadable(pid))?;
    Ok(kibibytes / 1024.0)
}

fn duration(ticks: u64) -> Duration {
    Duration::from_millis(ticks * 1_000 / TICKS_PER_SECOND)
}

fn unreadable(pid: u32) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, format!("what /proc says of process {pid} is not understood"))
}

#[derive(Debug, PartialEq)]
struct Stat {
    parent: u32,
    /// Ticks.
    own: u64,
    of_ended_children: u64,
}

impl Stat {
    fn of(pid: u32) -> io::Result<Self> {
        Self::read(&fs::read_to_string(format!("/proc/{pid}/stat"))?).ok_or_else(|| unreadable(pid))
    }

    /// The second field is the program's name in parentheses, which may hold blanks and parentheses itself.
    fn read(line: &str) -> Option<Self> {
        let (_, rest) = line.rsplit_once(')')?;
        let fields: Vec<&str> = rest.split_whitespace().collect();
        let number = |place: usize| fields.get(place - 3)?.parse::<u64>().ok();
        Some(Self {
            parent: u32::try_from(number(4)?).ok()?,
            own: number(14)? + number(15)?,
            of_ended_children: number(16)? + number(17)?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_of_stat_is_read_behind_the_name() {
        let line = "4711 (post) gres (x) S 42 4711 4711 0 -1 4194560 9 8 7 6 150 50 20 10 20 0 1 0 12345 1 2 3";
        assert_eq!(Stat::read(line), Some(Stat { parent: 42, own: 200, of_ended_children: 30 }));
        assert_eq!(Stat::read("4711 (recado-api) S 42"), None);
    }
}
