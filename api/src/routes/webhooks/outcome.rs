//! Waiting for a delivery's first attempt: the worker makes it, and some callers want to hear at once how it went.

use std::time::Duration;

use recado_kernel::ids::Id;
use recado_webhooks::deliveries::attempts;
use recado_webhooks::deliveries::{self, Status};
use tokio::time::Instant;

use crate::problem::Problem;
use crate::state::Api;

/// How long a test is waited for: shorter than a request may take, for its caller wants an answer (S000-7).
pub(crate) const TEST_TIMEOUT: Duration = Duration::from_secs(25);

/// The first look, and the longest time between two.
const FIRST_LOOK: Duration = Duration::from_millis(10);
const RAREST_LOOK: Duration = Duration::from_millis(250);

/// How far a delivery is.
#[derive(Debug, Default)]
pub(crate) struct Outcome {
    pub(crate) delivered: bool,
    /// It is over: nothing more is tried.
    pub(crate) ended: bool,
    pub(crate) status_code: Option<i32>,
    /// The beginning of the answer.
    pub(crate) response: Option<String>,
    /// Why it did not arrive.
    pub(crate) error: Option<String>,
}

/// Waits until a delivery was tried once, for so long at most.
pub(crate) async fn of_first_attempt(api: &Api, id: Id, timeout: Duration) -> Result<Outcome, Problem> {
    let deadline = Instant::now() + timeout;
    let mut pause = FIRST_LOOK;
    loop {
        if let Some(outcome) = look(api, id).await? {
            return Ok(outcome);
        }
        if Instant::now() + pause > deadline {
            let error = "El intento sigue en curso.".to_owned();
            return Ok(Outcome { error: Some(error), ..Outcome::default() });
        }
        tokio::time::sleep(pause).await;
        pause = (2 * pause).min(RAREST_LOOK);
    }
}

async fn look(api: &Api, id: Id) -> Result<Option<Outcome>, Problem> {
    let mut session = api.context.db.read().await?;
    let Some(delivery) = deliveries::find(&mut session, id).await? else { return Ok(None) };
    if delivery.status == Status::Pending && delivery.attempts == 0 {
        return Ok(None);
    }
    let last = attempts::of(&mut session, id).await?.pop();
    Ok(Some(Outcome {
        delivered: delivery.status == Status::Delivered,
        ended: delivery.status != Status::Pending,
        status_code: delivery.last_status_code,
        response: last.and_then(|attempt| attempt.response),
        error: delivery.reason,
    }))
}
