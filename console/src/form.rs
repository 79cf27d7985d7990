//! Forms: what a person sent, field by field, shown again as it was with what is wrong beside each field.
//!
//! An undo says in its URL what a person says in a form, so that the same handler takes both.

use std::str::FromStr;

use axum::extract::{FromRequest, Request};
use axum::http::header::CONTENT_TYPE;
use recado_kernel::fields::Wrong;
use recado_kernel::language::Language;
use url::form_urlencoded;

use crate::failure::Failure;
use crate::notice::Notice;
use crate::page::Markup;

/// The largest form, in bytes: the longest text of a template, and what its encoding makes of it.
const LARGEST: usize = 1024 * 1024;

/// An undo that is longer than this does not fit into the cookie that carries it.
const LONGEST_UNDO: usize = 1_500;

/// When the thing that a form changes was last written, as it was when the form was drawn.
const READ_AT: &str = "read_at";

/// The fields of a form, and what is wrong with them.
#[derive(Clone, Debug, Default)]
pub(crate) struct Form {
    fields: Vec<(String, String)>,
    errors: Vec<(String, String)>,
    conflicts: Vec<Conflict>,
}

/// A field that another person changed while a form was open.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Conflict {
    pub(crate) field: String,
    pub(crate) theirs: String,
    pub(crate) yours: String,
}

impl Form {
    /// Of values that there are: a form that has not been sent.
    pub(crate) fn of<'a>(fields: impl IntoIterator<Item = (&'a str, String)>) -> Self {
        let fields = fields.into_iter().map(|(name, value)| (name.to_owned(), value)).collect();
        Self { fields, ..Self::default() }
    }

    fn read(encoded: &[u8]) -> Self {
        let pairs = form_urlencoded::parse(encoded);
        // Browsers send the ends of lines as the standard of mails has them.
        let pairs = pairs.map(|(name, value)| (name.into_owned(), value.replace("\r\n", "\n").replace('\0', "")));
        Self { fields: pairs.collect(), ..Self::default() }
    }

    /// A field as it was sent.
    pub(crate) fn value(&self, name: &str) -> &str {
        self.fields.iter().find(|(found, _)| found == name).map_or("", |(_, value)| value)
    }

    /// All fields as they were sent, for a page on which they are confirmed.
    pub(crate) fn fields(&self) -> &[(String, String)] {
        &self.fields
    }

    /// Puts another value into a field.
    pub(crate) fn set(&mut self, name: &str, value: String) {
        self.fields.retain(|(found, _)| found != name);
        self.fields.push((name.to_owned(), value));
    }

    /// A field that is not shown again, e.g. a secret.
    pub(crate) fn forget(&mut self, name: &str) {
        self.fields.retain(|(found, _)| found != name);
    }

    /// Whether a field was sent, be it empty.
    pub(crate) fn has(&self, name: &str) -> bool {
        self.fields.iter().any(|(found, _)| found == name)
    }

    /// A field without the blanks around it.
    pub(crate) fn text(&self, name: &str) -> String {
        self.value(name).trim().to_owned()
    }

    /// A field that may be left out.
    pub(crate) fn optional(&self, name: &str) -> Option<String> {
        Some(self.text(name)).filter(|text| !text.is_empty())
    }

    /// A box that is ticked.
    pub(crate) fn is_ticked(&self, name: &str) -> bool {
        !self.value(name).is_empty()
    }

    /// All values of a field that may come more than once.
    pub(crate) fn all(&self, name: &str) -> Vec<&str> {
        self.fields.iter().filter(|(found, _)| found == name).map(|(_, value)| value.as_str()).collect()
    }

    /// Every field that was sent, in its order.
    pub(crate) fn pairs(&self) -> impl Iterator<Item = (&str, &str)> {
        self.fields.iter().map(|(name, value)| (name.as_str(), value.as_str()))
    }

    /// What the fields are called.
    pub(crate) fn names(&self) -> impl Iterator<Item = &str> {
        self.pairs().map(|(name, _)| name)
    }

    /// The fields with which something is wrong.
    pub(crate) fn wrong_names(&self) -> impl Iterator<Item = &str> {
        self.errors.iter().map(|(name, _)| name.as_str())
    }

    /// A field that is a number, a time or one of our words. What can not be read is an error, told by `wrong`.
    pub(crate) fn parsed<T: FromStr>(&mut self, name: &str, wrong: impl FnOnce() -> String) -> Option<T> {
        let text = self.optional(name)?;
        let parsed = text.parse().ok();
        if parsed.is_none() {
            self.add_error(name, wrong());
        }
        parsed
    }

    /// What is wrong with a field.
    pub(crate) fn add_error(&mut self, name: &str, text: impl Into<String>) {
        self.errors.push((name.to_owned(), text.into()));
    }

    /// What the draft of a thing says is wrong with it, in the language of the page.
    pub(crate) fn add_errors(&mut self, language: Language, errors: Wrong) {
        for (name, sentence) in errors {
            // A field that could not be read is missing in the draft, which then complains too.
            if self.error(name).is_none() {
                self.add_error(name, sentence.told(language));
            }
        }
    }

    pub(crate) fn is_wrong(&self) -> bool {
        !self.errors.is_empty() || !self.conflicts.is_empty()
    }

    /// What is wrong with a field, for its template.
    pub(crate) fn error(&self, name: &str) -> Option<&str> {
        self.errors.iter().find(|(found, _)| found == name).map(|(_, text)| text.as_str())
    }

    /// The attributes of a field that is wrong: it says so, and what describes it. Names of fields are ours.
    pub(crate) fn described(&self, name: &str) -> Markup {
        Markup(match self.error(name) {
            Some(_) => format!(" aria-invalid=\"true\" aria-describedby=\"{name}-wrong\""),
            None => String::new(),
        })
    }

    pub(crate) fn conflicts(&self) -> &[Conflict] {
        &self.conflicts
    }

    /// Compares what was sent with what is there, if another wrote it since the form was drawn. The form is then shown again with
    /// the difference, and saving it once more is meant.
    pub(crate) fn find_conflicts(&mut self, updated_at_us: i64, current: &Self) {
        let read_at = self.value(READ_AT).parse::<i64>().ok();
        if read_at.is_none_or(|read_at| read_at == updated_at_us) {
            return;
        }
        let differs = |(name, theirs): &(String, String)| {
            let yours = self.value(name);
            (name != READ_AT && theirs.trim() != yours.trim()).then(|| Conflict {
                field: name.clone(),
                theirs: theirs.clone(),
                yours: yours.to_owned(),
            })
        };
        self.conflicts = current.fields.iter().filter_map(differs).collect();
        self.fields.retain(|(name, _)| name != READ_AT);
        self.fields.push((READ_AT.to_owned(), updated_at_us.to_string()));
    }

    /// The same, with the moment when the thing was last written.
    #[must_use]
    pub(crate) fn read_at(mut self, updated_at_us: i64) -> Self {
        self.fields.push((READ_AT.to_owned(), updated_at_us.to_string()));
        self
    }

    /// A notice whose undo sends these fields to a path. Without the moment, because an undo is meant whatever happened since.
    pub(crate) fn undo(&self, notice: Notice, path: &str) -> Notice {
        let fields = self.fields.iter().filter(|(name, _)| name != READ_AT);
        let url = format!("{path}?{}", form_urlencoded::Serializer::new(String::new()).extend_pairs(fields).finish());
        if url.len() > LONGEST_UNDO { notice } else { notice.undone_by(url) }
    }
}

impl<S: Send + Sync> FromRequest<S> for Form {
    type Rejection = Failure;

    async fn from_request(request: Request, _: &S) -> Result<Self, Failure> {
        let (parts, body) = request.into_parts();
        let query = parts.uri.query().unwrap_or_default().as_bytes().to_vec();
        let kind = parts.headers.get(CONTENT_TYPE).map(|kind| kind.to_str().unwrap_or("?"));
        if kind.is_some_and(|kind| !kind.starts_with("application/x-www-form-urlencoded")) {
            return Err(Failure::Malformed);
        }
        let body = axum::body::to_bytes(body, LARGEST).await.map_err(|_| Failure::Malformed)?;
        Ok(Self::read(if body.is_empty() { &query } else { &body }))
    }
}

#[cfg(test)]
mod tests {
    use recado_kernel::fields;

    use super::*;

    #[test]
    fn fields_are_read_as_a_browser_sends_them() {
        let mut form = Form::read(b"name=+Quito+&text=a%0D%0Ab%00&on=on&n=7&bad=x&tag=a&tag=b");
        assert_eq!((form.text("name"), form.value("text")), ("Quito".to_owned(), "a\nb"));
        assert!(form.is_ticked("on") && !form.is_ticked("off") && form.optional("none").is_none());
        assert_eq!(form.parsed::<i64>("n", String::new), Some(7));
        assert_eq!(form.parsed::<i64>("bad", || "no number".to_owned()), None);
        form.add_errors(Language::English, vec![("bad", fields::required()), ("name", fields::blank())]);
        assert_eq!((form.error("bad"), form.error("name")), (Some("no number"), Some("This field may not be blank.")));
        assert_eq!(form.all("tag"), ["a", "b"]);
    }

    #[test]
    fn the_second_of_two_sees_what_the_first_changed() {
        let current = Form::of([("name", "Norte".to_owned()), ("zone", "UTC".to_owned())]);
        let sent = |read_at: &str| {
            Form::of([("name", "Sur".to_owned()), ("zone", "UTC".to_owned()), (READ_AT, read_at.to_owned())])
        };
        let mut same = sent("5");
        same.find_conflicts(5, &current);
        assert!(!same.is_wrong());
        let mut other = sent("4");
        other.find_conflicts(5, &current);
        let seen = Conflict { field: "name".into(), theirs: "Norte".into(), yours: "Sur".into() };
        assert_eq!((other.conflicts(), other.value(READ_AT)), ([seen].as_slice(), "5"));
    }

    #[test]
    fn an_undo_says_what_the_form_said() {
        let form = Form::of([("name", "Ana & Co".to_owned())]).read_at(5);
        let notice = form.undo(Notice::new("saved", 1), "/admin/workshops/1/");
        assert_eq!(notice.undo.as_deref(), Some("/admin/workshops/1/?name=Ana+%26+Co"));
        let long = Form::of([("text", "x".repeat(2_000))]);
        assert!(long.undo(Notice::new("saved", 1), "/").undo.is_none());
    }
}
