//! Tasks are taken in at once and committed together: for work that needs no decision while the caller waits.

use std::sync::Arc;

use crate::context::Context;
use crate::jobs::Job;
use crate::ring::Ring;
use crate::tasks::{self, NewTask};
use recado_kernel::db;
use recado_kernel::errors::explain;
use recado_kernel::group_commit::{Group, Unanswered};
use recado_kernel::ids::Id;

/// The largest number of tasks that share a transaction.
const LARGEST_BATCH: usize = 500;

/// The batch was lost to trouble of ours; nothing of it was written.
#[derive(Clone, Copy, Debug, thiserror::Error)]
#[error("the ledger could not be written")]
pub struct Unavailable;

/// Where jobs are handed in. Cheap to clone; all clones share their batches.
#[derive(Clone)]
pub struct Enqueue {
    context: Context,
    group: Group<NewTask, Result<(), Unavailable>>,
}

impl Enqueue {
    pub fn open(context: Context) -> Self {
        let group = Group::spawn(LARGEST_BATCH, {
            let context = context.clone();
            move |tasks: Arc<Vec<NewTask>>| {
                let context = context.clone();
                async move { accept(&context, &tasks).await }
            }
        });
        Self { context, group }
    }

    /// Returns the task's id when it is committed.
    pub async fn accept(&self, job: &impl Job) -> Result<Id, Unavailable> {
        let now = self.context.clock.now();
        let task = NewTask::now(Id::new(now), job, now);
        let id = task.id;
        match self.group.call(task).await {
            Ok(Ok(())) => Ok(id),
            Ok(Err(Unavailable)) | Err(Unanswered) => Err(Unavailable),
        }
    }
}

async fn accept(context: &Context, tasks: &[NewTask]) -> Vec<Result<(), Unavailable>> {
    let mut written = commit(context, tasks, false).await;
    // The ids are ours, so what stands already is passed over: where an answer did not come, the same over another connection
    // tells what became of it.
    if written.as_ref().is_err_and(|error| db::may_have_written(error) || db::is_connection_lost(error)) {
        written = commit(context, tasks, true).await;
    }
    context.db.note_write(written.as_ref().map(drop));
    match written {
        Ok(rings) => {
            context.ring(&rings).await;
            tasks.iter().map(|_| Ok(())).collect()
        }
        Err(error) => {
            let reason = explain(&error);
            tracing::error!(error = %reason, tasks = tasks.len(), "{} tasks could not be written: {reason}", tasks.len());
            tasks.iter().map(|_| Err(Unavailable)).collect()
        }
    }
}

async fn commit(context: &Context, tasks: &[NewTask], again: bool) -> db::Result<Vec<Ring>> {
    let mut session = context.db.write().await?;
    let inserted = if again {
        tasks::insert_again(&mut session, tasks).await?
    } else {
        tasks::insert(&mut session, tasks).await?
    };
    session.commit().await?;
    for task in tasks.iter().filter(|task| inserted.ids.contains(&task.id)) {
        context.samples.accepted(task.lane(), 1);
    }
    Ok(inserted.rings)
}
