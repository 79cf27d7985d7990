//! The fields of a form, and times as people read and write them.

use url::form_urlencoded;

use super::visitor::{Frame, Refused, Visitor};
use crate::extract::body::RawBody;
use crate::problem::Problem;

/// The fields of a form or of a query.
#[derive(Debug, Default)]
pub(super) struct Form(pub(super) Vec<(String, String)>);

impl Form {
    pub(super) fn read(bytes: &[u8]) -> Self {
        Self(
            form_urlencoded::parse(bytes)
                .map(|(name, value)| (name.into_owned(), value.into_owned()))
                .take(50)
                .collect(),
        )
    }

    /// Empty where there is none.
    pub(super) fn get(&self, name: &str) -> &str {
        self.0.iter().find(|(named, _)| named == name).map_or("", |(_, value)| value.as_str())
    }
}

pub(super) fn form(body: Result<RawBody, Problem>, visitor: &Visitor) -> Result<Form, Refused> {
    match body {
        Ok(body) => Ok(Form::read(body.as_slice())),
        Err(problem) => {
            let Frame { language, base, name, until } = &visitor.frame;
            let frame = Frame { language: *language, base: base.clone(), name: name.clone(), until: until.clone() };
            Err(Refused::problem(frame, problem))
        }
    }
}
