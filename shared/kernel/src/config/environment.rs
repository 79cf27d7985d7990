//! The variables as they are set, each read by its type. What is wrong is gathered, so that all of it is told at once.

use std::fmt;
use std::net::SocketAddr;
use std::str::FromStr;
use std::time::Duration;

use super::Problem;
use super::variables::VARIABLES;

/// Reads variables and collects what is wrong with them.
pub(super) struct Environment<'a> {
    pub(super) get: &'a dyn Fn(&str) -> Option<String>,
    pub(super) problems: Vec<Problem>,
}

impl Environment<'_> {
    /// The value, or the default that [`VARIABLES`] states.
    pub(super) fn text(&self, name: &str) -> String {
        let variable = VARIABLES.iter().find(|variable| variable.name == name);
        let default = variable.expect("every variable that is read stands in VARIABLES").default;
        (self.get)(name)
            .map(|value| value.trim().to_owned())
            .filter(|value| !value.is_empty())
            .unwrap_or_else(|| default.to_owned())
    }

    pub(super) fn optional(&self, name: &str) -> Option<String> {
        Some(self.text(name)).filter(|value| !value.is_empty())
    }

    /// The value as `check` reads it. `None` when there is none, or when it is wrong, which is then a problem.
    pub(super) fn checked<T, E: fmt::Display>(
        &mut self,
        name: &str,
        check: impl Fn(&str) -> Result<T, E>,
    ) -> Option<T> {
        check(&self.optional(name)?).map_err(|remedy| self.problem(name, &remedy.to_string())).ok()
    }

    /// A password, in which blanks may be letters; only the end of its line is dropped, which files bring along.
    pub(super) fn password(&self, name: &str) -> Option<String> {
        self.optional(name)?;
        (self.get)(name).map(|value| value.trim_end_matches(['\r', '\n']).to_owned())
    }

    pub(super) fn required_with(&mut self, name: &str, because: &str) -> String {
        let value = self.text(name);
        if value.is_empty() {
            self.problems.push(Problem::of(name, format!("is needed because {because} is set")));
        }
        value
    }

    pub(super) fn list(&self, name: &str) -> Vec<String> {
        self.text(name).split(',').map(|part| part.trim().to_owned()).filter(|part| !part.is_empty()).collect()
    }

    pub(super) fn flag(&mut self, name: &str) -> bool {
        self.flag_or(name, false)
    }

    pub(super) fn flag_or(&mut self, name: &str, default: bool) -> bool {
        match self.text(name).to_ascii_lowercase().as_str() {
            "" => default,
            "true" | "1" | "yes" | "on" => true,
            "false" | "0" | "no" | "off" => false,
            _ => {
                self.problem(name, "write true or false");
                default
            }
        }
    }

    pub(super) fn number(&mut self, name: &str, least: u32, most: u32) -> u32 {
        let text = self.text(name);
        text.parse().ok().filter(|number| (least..=most).contains(number)).unwrap_or_else(|| {
            self.problem(name, &format!("write a number from {least} to {most}"));
            least
        })
    }

    pub(super) fn seconds(&mut self, name: &str, least: f64) -> Duration {
        let text = self.text(name);
        let seconds = text.parse().ok().filter(|seconds: &f64| *seconds >= least && *seconds <= 86_400.0 * 30.0);
        Duration::from_secs_f64(seconds.unwrap_or_else(|| {
            self.problem(name, &format!("write seconds, at least {least}"));
            least
        }))
    }

    pub(super) fn days(&mut self, name: &str) -> Duration {
        Duration::from_secs(u64::from(self.number(name, 1, 36_500)) * 86_400)
    }

    pub(super) fn parse<T: FromStr + Default>(&mut self, name: &str, remedy: &str) -> T {
        let text = self.text(name);
        text.parse().unwrap_or_else(|_| {
            self.problem(name, remedy);
            T::default()
        })
    }

    pub(super) fn address(&mut self, name: &str, text: &str) -> Option<SocketAddr> {
        use std::net::ToSocketAddrs;
        let found = text.to_socket_addrs().ok().and_then(|mut addresses| addresses.next());
        if found.is_none() {
            self.problem(name, "write host:port, e.g. 127.0.0.1:8000");
        }
        found
    }

    pub(super) fn problem(&mut self, name: &str, remedy: &str) {
        self.problems.push(Problem::of(name, format!("cannot be used: {remedy}")));
    }
}
