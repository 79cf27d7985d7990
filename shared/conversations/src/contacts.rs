//! How people of an organizer or an operator are reached.

use recado_kernel::addresses::{normalise_email, normalise_phone};
use recado_kernel::fields::{Wrong, blank, check_text};

/// The longest name or title, in characters.
pub const LONGEST_NAME: usize = 255;

/// How people of an organizer or operator are reached.
#[derive(Clone, Debug, Default, PartialEq, Eq, sqlx::FromRow)]
pub struct Contact {
    pub contact_name: Option<String>,
    /// E.164.
    pub contact_phone: Option<String>,
    pub contact_email: Option<String>,
}

impl Contact {
    /// Brings the fields into the form in which they are kept.
    pub(crate) fn tidy(&mut self, country: &str) -> Wrong {
        let mut errors = Wrong::new();
        check_text(&mut errors, "contact_name", self.contact_name.as_deref(), LONGEST_NAME);
        tidy_phone(&mut errors, "contact_phone", &mut self.contact_phone, country);
        match self.contact_email.as_deref().map(normalise_email).transpose() {
            Ok(email) => self.contact_email = email,
            Err(error) => errors.push(("contact_email", error.into())),
        }
        errors
    }
}

pub(crate) fn tidy_phone(errors: &mut Wrong, field: &'static str, phone: &mut Option<String>, country: &str) {
    match phone.as_deref().map(|phone| normalise_phone(phone, country)).transpose() {
        Ok(normalised) => *phone = normalised,
        Err(error) => errors.push((field, error.into())),
    }
}

/// A text that must not be blank.
pub(crate) fn check_name(errors: &mut Wrong, field: &'static str, text: &mut String, longest: usize) {
    *text = text.trim().to_owned();
    if text.is_empty() {
        errors.push((field, blank()));
    }
    check_text(errors, field, Some(text), longest);
}
