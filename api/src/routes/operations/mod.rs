//! What belongs to no system: tasks, queues, workers, schedules, keys and people, who changed what, what is wrong, whether it works,
//! and the document of the API.

pub(crate) mod api_keys;
pub(crate) mod audit;
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
pub(crate) mod users;
pub(crate) mod workers;
