//! Tries whether a provider's account would take messages. The answer is the task's result, for the person who asked.

use std::sync::Arc;

use recado_notifications::jobs::CheckAccount;
use recado_queue::tasks::Claimed;
use serde_json::json;

use super::Notifier;
use crate::registry::{JobError, Outcome};

/// `{"works": true, "said": "…"}`, or `{"works": false, "code": "…", "said": "…"}`.
pub(crate) async fn run(
    notifier: Arc<Notifier>,
    _: Arc<Claimed>,
    CheckAccount { channel, account }: CheckAccount,
) -> Result<Outcome, JobError> {
    let Some(found) = notifier.providers.named(channel, &account).await? else {
        return Ok(Outcome::Failed(format!("there is no account `{account}` of {channel}")));
    };
    let result = match notifier.providers.check(&found).await {
        Ok(said) => json!({ "works": true, "said": said }),
        Err(failure) => json!({ "works": false, "code": failure.code, "said": failure.reason }),
    };
    Ok(Outcome::Done(result))
}
