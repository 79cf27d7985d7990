//! Carries out one action on many tasks, in chunks, until it is over or somebody stops it.

use std::sync::Arc;
use std::time::Duration;

use recado_queue::bulk::{self, Next};
use recado_queue::context::Context;
use recado_queue::jobs::RunBulk;
use recado_queue::lanes::MAINTENANCE;
use recado_queue::tasks::Claimed;
use serde_json::Value;

use crate::registry::{JobError, Outcome};

pub(crate) async fn run(context: Arc<Context>, task: Arc<Claimed>, job: RunBulk) -> Result<Outcome, JobError> {
    loop {
        match bulk::step(&context, job.operation, task.id).await? {
            Next::Over => return Ok(Outcome::Done(Value::Null)),
            Next::More(Duration::ZERO) => {}
            // The place is free for others meanwhile.
            Next::More(wait) => {
                return Ok(Outcome::Later { at: context.clock.now() + wait, lane: MAINTENANCE, because: None });
            }
        }
    }
}
