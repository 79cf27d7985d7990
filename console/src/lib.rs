//! The console: the pages under `/admin/` on which operators and staff use Recado.
//!
//! The server renders HTML; htmx makes it quick and live, and without scripts every page is still a link and every action a
//! form. All URLs stand on one page, `pages`. A handler's first argument says who may come in (`May<Operate>`), and a route
//! whose handler does not ask does not compile. `docs/adding-a-page.md` is the way to add one.

pub mod any_handler;
mod assets;
mod auth;
mod bubble;
mod chart;
mod cookies;

mod failure;
pub mod files;
mod form;
mod lists;
mod live;
mod masking;
mod middleware;
mod navigation;
mod notice;
mod page;
mod pages;
mod path;
mod routes;
mod sandbox;
mod throttle;
mod urls;
mod words;

use std::net::IpAddr;
use std::sync::Arc;

use axum::Router;
use axum::middleware::from_fn_with_state;
use recado_kernel::db;
use recado_notifications::catalogue::Catalogue;
use recado_notifications::system::Notifications;
use recado_queue::context::Context;
use tokio_util::sync::CancellationToken;

pub use crate::auth::Needs;
use crate::live::Live;
pub use crate::routes::{Entry, Sort};
use crate::sandbox::Sandbox;
use crate::throttle::Throttle;

/// What the server knows of a request and the console cannot: put into its extensions before it comes here.
#[derive(Clone, Debug)]
pub struct Visitor {
    /// From where it comes, as far as that is known.
    pub address: Option<IpAddr>,
    /// The host that it is for, with its port.
    pub host: String,
    pub request_id: String,
    /// The other end of the connection is a proxy of ours, whose headers are believed.
    pub through_our_proxy: bool,
    /// The installation is open to this machine, and this machine asks: no one need log in.
    pub is_let_in: bool,
}

/// Called when a key of the API was revoked, so that the server forgets it at once.
pub type OnRevoked = Box<dyn Fn() + Send + Sync>;

/// What every page may use.
struct Console {
    context: Context,
    /// The catalogue in memory, and the names of variables that come in through this process.
    notifications: Notifications,
    live: Arc<Live>,
    throttle: Throttle,
    on_revoked: OnRevoked,
    /// What stands in for the providers, where it runs.
    sandbox: Option<Sandbox>,
}

impl Console {
    /// The catalogue as it is now.
    async fn catalogue(&self) -> db::Result<Arc<Catalogue>> {
        self.notifications.catalogue.current(&mut self.context.db.read().await?).await
    }
}

/// The pages. Streams end when `stop` does.
pub fn router<S: Clone + Send + Sync + 'static>(
    notifications: Notifications,
    on_revoked: OnRevoked,
    stop: CancellationToken,
) -> Router<S> {
    let context = notifications.context.clone();
    let live = Live::new(context.clone(), stop);
    let sandbox = Sandbox::of(&context.config);
    let console = Console { context, notifications, live, throttle: Throttle::default(), on_revoked, sandbox };
    let console = Arc::new(console);
    let router = pages::all().router.layer(from_fn_with_state(console.clone(), middleware::pass));
    Router::new().merge(router.with_state(console))
}

/// Every URL, with what it needs: for tests, and for the table of roles.
pub fn entries() -> Vec<Entry> {
    pages::all().entries
}
