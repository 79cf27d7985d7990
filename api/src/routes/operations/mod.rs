//! What belongs to no system: tasks, queues, workers, schedules and keys, what is wrong, whether it works, and the document of the API.

pub(crate) mod api_keys;
pub(crate) mod bulk;
pub(crate) mod diagnosis;
pub(crate) mod docs;
pub(crate) mod failures;
pub(crate) mod health;
pub(crate) mod ledger;
pub(crate) mod metrics;
pub(crate) mod queues;
pub(crate) mod samples;
pub(crate) mod schedules;
pub(crate) mod schema;
pub(crate) mod search;
pub(crate) mod tasks;
pub(crate) mod workers;
