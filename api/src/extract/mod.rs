//! What handlers take from a request. Each extractor answers mistakes by itself, in Spanish, and names all wrong fields at once.

pub(crate) mod abridged;
pub(crate) mod body;
pub(crate) mod fields;
pub(crate) mod json;
pub(crate) mod language;
pub(crate) mod once;
pub(crate) mod page;
pub(crate) mod path;
pub(crate) mod query;
pub(crate) mod request;
