//! Lists that are asked for while a request waits: many who ask at the same time share one question to the bridge, and a list
//! that is young enough is not asked for again.

use std::sync::{Arc, Mutex, PoisonError};

use futures::FutureExt;
use futures::future::{BoxFuture, Shared};
use recado_kernel::clock::Timestamp;
use recado_queue::context::Context;

use crate::bridge::Bridge;
use crate::sync::{self, SyncError};

/// Which list.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum List {
    Chats,
    Groups,
}

/// Keeps lists up to date. Cheap to clone; all clones share their questions.
#[derive(Clone)]
pub struct Refresh {
    context: Context,
    bridge: Option<Bridge>,
    chats: Arc<Mutex<Freshness>>,
    groups: Arc<Mutex<Freshness>>,
}

/// How young a list is, and the question for a younger one that is under way.
#[derive(Default)]
struct Freshness {
    asking: Option<Shared<BoxFuture<'static, bool>>>,
    /// When the bridge last answered.
    answered_at: Option<Timestamp>,
}

impl Refresh {
    pub fn new(context: Context, bridge: Option<Bridge>) -> Self {
        Self { context, bridge, chats: Arc::default(), groups: Arc::default() }
    }

    pub fn bridge(&self) -> Option<&Bridge> {
        self.bridge.as_ref()
    }

    /// Brings a list up to date, unless it is young enough and that is enough. Returns whether it is: `false` when there is no
    /// bridge, or it did not say. What went wrong is in the log.
    pub async fn list(&self, list: List, must_ask: bool) -> bool {
        let Some(bridge) = &self.bridge else { return false };
        let asking = {
            let mut freshness = self.freshness(list).lock().unwrap_or_else(PoisonError::into_inner);
            let age = freshness.answered_at.map(|at| self.context.clock.now().since(at));
            if !must_ask && age.is_some_and(|age| age < self.context.config.conversations.cache) {
                return true;
            }
            match freshness.asking.as_ref().filter(|asking| asking.peek().is_none()) {
                Some(asking) => asking.clone(),
                None => {
                    let asking = self.ask(list, bridge.clone());
                    freshness.asking = Some(asking.clone());
                    asking
                }
            }
        };
        asking.await
    }

    fn freshness(&self, list: List) -> &Arc<Mutex<Freshness>> {
        match list {
            List::Chats => &self.chats,
            List::Groups => &self.groups,
        }
    }

    /// The question goes on when those who asked have gone: others may have joined.
    fn ask(&self, list: List, bridge: Bridge) -> Shared<BoxFuture<'static, bool>> {
        let (context, freshness) = (self.context.clone(), self.freshness(list).clone());
        let asking = tokio::spawn(async move {
            let asked = match list {
                List::Chats => sync::chats(&context, &bridge).await,
                List::Groups => sync::groups(&context, &bridge).await,
            };
            match asked {
                Ok(_) => {
                    let mut freshness = freshness.lock().unwrap_or_else(PoisonError::into_inner);
                    freshness.answered_at = Some(context.clock.now());
                    true
                }
                Err(SyncError::Database(error)) => {
                    tracing::error!(%error, "what the bridge lists could not be written");
                    false
                }
                Err(error) => {
                    tracing::warn!(%error, "the list of {list:?} is not up to date: {error}");
                    false
                }
            }
        });
        asking.map(|asked| asked.unwrap_or(false)).boxed().shared()
    }
}
