//! What belongs to no system: tasks and keys, whether it works, and the document of the API.

pub(crate) mod api_keys;
pub(crate) mod docs;
pub(crate) mod health;
pub(crate) mod metrics;
pub(crate) mod schema;
pub(crate) mod tasks;
