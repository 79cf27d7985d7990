//! How a stand-in is told to misbehave: a fault, how often, and for whom.

use http::StatusCode;
use serde::{Serialize, de::DeserializeOwned};
use serde_json::{Map, Value, json};

/// A way of misbehaving that one of the stand-ins knows.
///
/// In JSON a fault is an object whose `fault` field is its name in snake case, next to its details:
/// `{"fault": "reject_recipient", "code": 550}`.
pub trait Fault: Clone + Serialize + DeserializeOwned + Send + Sync + 'static {
    /// The one spelling of a recipient (an address, a number, an endpoint) under which the stand-in looks it up.
    fn subject(raw: &str) -> String;

    /// Looks for values that the protocol cannot express.
    ///
    /// # Errors
    /// A sentence that names the field and what it may be.
    fn check(&self) -> Result<(), String>;
}

/// One instruction: misbehave like this, so many times, for this recipient.
#[derive(Debug, Clone, PartialEq)]
pub struct Rule<F> {
    /// What goes wrong.
    pub fault: F,
    /// How many more times; `None` is until told to behave.
    pub times: Option<u32>,
    /// Only for this recipient; `None` is for all recipients without a rule of their own.
    pub only: Option<String>,
}

impl<F: Fault> Rule<F> {
    /// For all recipients, until told to behave.
    pub fn always(fault: F) -> Self {
        Self { fault, times: None, only: None }
    }

    /// Limits the rule to its first `times` occasions.
    #[must_use]
    pub fn times(self, times: u32) -> Self {
        Self { times: Some(times), ..self }
    }

    /// Limits the rule to one recipient.
    #[must_use]
    pub fn only(self, recipient: &str) -> Self {
        Self { only: Some(F::subject(recipient)), ..self }
    }

    /// The rule as JSON: the fault's own fields, `times` and `only`.
    pub fn to_json(&self) -> Value {
        let mut fields = fields_of(&self.fault);
        if let Some(times) = self.times {
            fields.insert("times".into(), json!(times));
        }
        if let Some(only) = &self.only {
            fields.insert("only".into(), json!(only));
        }
        Value::Object(fields)
    }

    /// Reads what [`Rule::to_json`] writes.
    ///
    /// # Errors
    /// A sentence that names the wrong field and the remedy. A field that the fault does not have is an error too: a
    /// misspelt `times` would otherwise make a provider fail for ever.
    pub fn from_json(value: &Value) -> Result<Self, String> {
        let Value::Object(fields) = value else {
            return Err(format!("a fault is an object such as {{\"fault\": \"drop\"}}, not {value}"));
        };
        let mut details = fields.clone();
        let times = match details.remove("times") {
            None | Some(Value::Null) => None,
            Some(times) => Some(
                serde_json::from_value(times)
                    .map_err(|_| "`times` is how often, a whole number such as 2".to_owned())?,
            ),
        };
        let only = match details.remove("only") {
            None | Some(Value::Null) => None,
            Some(Value::String(only)) => Some(F::subject(&only)),
            Some(_) => return Err("`only` is one recipient, a string".to_owned()),
        };
        let fault: F = serde_json::from_value(Value::Object(details.clone())).map_err(|error| error.to_string())?;
        let known = fields_of(&fault);
        if let Some(unknown) = details.keys().find(|name| !known.contains_key(*name)) {
            let known = known.keys().cloned().collect::<Vec<_>>().join("`, `");
            return Err(format!(
                "unknown field `{unknown}`; this fault has `{known}`, and every fault has `times` and `only`"
            ));
        }
        fault.check()?;
        Ok(Self { fault, times, only })
    }
}

/// What one stand-in has been told: at most one rule per recipient, and one for all others.
#[derive(Debug)]
pub(crate) struct Faults<F> {
    rules: Vec<Rule<F>>,
}

impl<F> Default for Faults<F> {
    fn default() -> Self {
        Self { rules: Vec::new() }
    }
}

impl<F: Fault> Faults<F> {
    /// Adds a rule in the place of the previous one about the same recipient. Zero times is a rule that has already
    /// ended.
    pub(crate) fn plan(&mut self, rule: Rule<F>) {
        self.rules.retain(|known| known.only != rule.only);
        if rule.times != Some(0) {
            self.rules.push(rule);
        }
    }

    pub(crate) fn behave(&mut self) {
        self.rules.clear();
    }

    pub(crate) fn rules(&self) -> Vec<Rule<F>> {
        self.rules.clone()
    }

    /// The fault that applies to an occasion that concerns `subjects`, counted as used. A rule about one of them wins
    /// over the rule about all. `applies` says whether a rule has anything to do at this point of the protocol,
    /// because an occasion at which nothing happens must not use a rule up.
    pub(crate) fn take(&mut self, subjects: &[&str], applies: impl Fn(&Rule<F>) -> bool) -> Option<F> {
        let index = self.find(subjects, applies)?;
        let rule = &mut self.rules[index];
        let fault = rule.fault.clone();
        if let Some(times) = &mut rule.times {
            *times -= 1;
            if *times == 0 {
                self.rules.remove(index);
            }
        }
        Some(fault)
    }

    /// Like [`Faults::take`], but leaves the count alone.
    pub(crate) fn peek(&self, subjects: &[&str], applies: impl Fn(&Rule<F>) -> bool) -> Option<F> {
        let index = self.find(subjects, applies)?;
        Some(self.rules[index].fault.clone())
    }

    fn find(&self, subjects: &[&str], applies: impl Fn(&Rule<F>) -> bool) -> Option<usize> {
        if self.rules.is_empty() {
            return None; // The usual case, on the path of every message.
        }
        let about_one = |rule: &Rule<F>| {
            let only = rule.only.as_deref();
            only.is_some_and(|only| subjects.iter().any(|raw| F::subject(raw) == only))
        };
        self.rules
            .iter()
            .position(|rule| about_one(rule) && applies(rule))
            .or_else(|| self.rules.iter().position(|rule| rule.only.is_none() && applies(rule)))
    }
}

fn fields_of<F: Serialize>(fault: &F) -> Map<String, Value> {
    match serde_json::to_value(fault) {
        Ok(Value::Object(fields)) => fields,
        Ok(_) | Err(_) => Map::new(),
    }
}

/// Checks a fault's HTTP status. It has to be a final one: 1xx would leave the client waiting.
pub(crate) fn check_status(status: u16) -> Result<(), String> {
    match StatusCode::from_u16(status) {
        Ok(known) if !known.is_informational() => Ok(()),
        _ => Err(format!("`status` is an HTTP status from 200 to 999, such as 503, not {status}")),
    }
}

/// A duration as a whole number of milliseconds: what a person types into a fault.
pub(crate) mod milliseconds {
    use std::time::Duration;

    use serde::{Deserialize, Deserializer, Serializer};

    pub(crate) fn serialize<S: Serializer>(duration: &Duration, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_u64(u64::try_from(duration.as_millis()).unwrap_or(u64::MAX))
    }

    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Duration, D::Error> {
        u64::deserialize(deserializer).map(Duration::from_millis)
    }
}

#[cfg(test)]
mod tests {
    use serde::Deserialize;

    use super::*;

    #[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
    #[serde(tag = "fault", rename_all = "snake_case")]
    enum TestFault {
        Busy,
        Code { code: u16 },
    }

    impl Fault for TestFault {
        fn subject(raw: &str) -> String {
            raw.to_ascii_lowercase()
        }

        fn check(&self) -> Result<(), String> {
            match self {
                Self::Code { code } if *code > 599 => Err("`code` is at most 599".to_owned()),
                Self::Busy | Self::Code { .. } => Ok(()),
            }
        }
    }

    fn any(_: &Rule<TestFault>) -> bool {
        true
    }

    #[test]
    fn a_limited_rule_ends_by_itself() {
        let mut faults = Faults::default();
        faults.plan(Rule::always(TestFault::Busy).times(2));
        assert_eq!(faults.take(&["a"], any), Some(TestFault::Busy));
        assert_eq!(faults.peek(&["a"], any), Some(TestFault::Busy));
        assert_eq!(faults.take(&["b"], any), Some(TestFault::Busy));
        assert_eq!(faults.take(&["c"], any), None);
        assert_eq!(faults.rules(), []);
    }

    #[test]
    fn a_rule_for_one_recipient_wins_and_then_gives_way() {
        let mut faults = Faults::default();
        faults.plan(Rule::always(TestFault::Busy));
        faults.plan(Rule::always(TestFault::Code { code: 550 }).only("María@x.EC").times(1));
        assert_eq!(faults.take(&["otro@x.ec", "María@X.ec"], any), Some(TestFault::Code { code: 550 }));
        assert_eq!(faults.take(&["María@x.ec"], any), Some(TestFault::Busy));
    }

    #[test]
    fn an_occasion_at_which_a_rule_does_nothing_does_not_use_it_up() {
        let mut faults = Faults::default();
        faults.plan(Rule::always(TestFault::Busy).times(1));
        assert_eq!(faults.take(&[], |rule| rule.fault != TestFault::Busy), None);
        assert_eq!(faults.take(&[], any), Some(TestFault::Busy));
    }

    #[test]
    fn a_new_rule_replaces_the_one_about_the_same_recipient() {
        let mut faults = Faults::default();
        faults.plan(Rule::always(TestFault::Busy).only("a"));
        faults.plan(Rule::always(TestFault::Code { code: 451 }).only("A"));
        assert_eq!(faults.rules().len(), 1);
        faults.plan(Rule::always(TestFault::Busy).only("a").times(0));
        assert_eq!(faults.rules(), []);
    }

    #[test]
    fn rules_survive_a_trip_through_json() {
        for rule in [
            Rule::always(TestFault::Busy),
            Rule::always(TestFault::Code { code: 421 }).times(3),
            Rule::always(TestFault::Code { code: 550 }).only("a@b.ec").times(1),
        ] {
            assert_eq!(Rule::from_json(&rule.to_json()), Ok(rule));
        }
    }

    #[test]
    fn mistakes_in_json_are_named() {
        for (rule, named) in [
            (json!("busy"), "a fault is an object"),
            (json!({"fault": "bussy"}), "unknown variant `bussy`"),
            (json!({"fault": "code"}), "missing field `code`"),
            (json!({"fault": "code", "code": 700}), "at most 599"),
            (json!({"fault": "busy", "time": 2}), "unknown field `time`"),
            (json!({"fault": "busy", "times": "twice"}), "`times`"),
            (json!({"fault": "busy", "only": 593}), "`only`"),
        ] {
            let error = Rule::<TestFault>::from_json(&rule).expect_err("a mistake");
            assert!(error.contains(named), "{rule}: {error}");
        }
    }
}
