//! What every handler may use.

use std::sync::{Arc, LazyLock};

use chrono::NaiveDate;
use recado_conversations::incoming::Incoming;
use recado_conversations::refresh::Refresh;
use recado_notifications::analytics::Count;
use recado_notifications::catalogue::Catalogue;
use recado_notifications::dispatch::Intake;
use recado_notifications::system::Notifications;
use recado_partners::rejected::Rejections;
use recado_queue::context::Context;
use recado_queue::enqueue::Enqueue;
use utoipa_axum::router::OpenApiRouter;

use crate::auth::guessing::Guesses;
use crate::auth::keys::KeyRing;
use crate::auth::rate_limit::Limits;
use crate::bodies::Memory;
use crate::checks::Checks;
use crate::openapi::Document;
use crate::problem::Problem;
use crate::sampled::Sampled;

/// Handlers with the documentation of each.
pub(crate) type Routes = OpenApiRouter<Arc<Api>>;

/// The state that handlers share, by `State<Arc<Api>>`.
pub(crate) struct Api {
    pub(crate) context: Context,
    pub(crate) notifications: Notifications,
    pub(crate) intake: Intake,
    pub(crate) whatsapp: Refresh,
    pub(crate) incoming: Incoming,
    pub(crate) enqueue: Enqueue,
    pub(crate) keys: KeyRing,
    pub(crate) limits: Limits,
    pub(crate) guesses: Guesses,
    pub(crate) rejections: Rejections,
    pub(crate) checks: Checks,
    /// What the bodies of all requests have together.
    pub(crate) bodies: Arc<Memory>,
    /// The messages of today, counted.
    pub(crate) today: Sampled<(NaiveDate, Arc<Vec<Count>>)>,
    /// Written when it is first asked for.
    pub(crate) document: LazyLock<Document, Box<dyn FnOnce() -> Document + Send>>,
}

impl Api {
    /// The catalogue as it is now.
    pub(crate) async fn catalogue(&self) -> Result<Arc<Catalogue>, Problem> {
        let mut session = self.context.db.read().await?;
        Ok(self.notifications.catalogue.current(&mut session).await?)
    }
}
