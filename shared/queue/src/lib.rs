//! The queue: tasks are rows, Redis rings for them, leases and schedules keep them moving. Knows no feature: each system
//! [declares](systems) its lanes and its kinds of job.

pub mod bulk;
pub mod context;
pub mod enqueue;
pub mod idempotency;
pub mod jobs;
pub mod lanes;
pub mod operations;
pub mod pauses;
pub mod ring;
pub mod samples;
pub mod schedules;
pub mod systems;
pub mod tasks;
pub mod workers;
