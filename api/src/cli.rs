//! The program: `recado-api`, which is also `recado api`.

use std::error::Error;
use std::io;
use std::net::SocketAddr;

use recado_kernel::addresses;
use recado_kernel::api_keys;
use recado_kernel::db;
use recado_kernel::process;
use recado_queue::context::Context;
use recado_systems::SYSTEMS;
use tokio::net::TcpListener;

/// Serves the HTTP API. Settings come from the environment and from .env.
#[derive(Debug, clap::Args)]
pub struct ApiArgs {
    /// Where to listen, e.g. 0.0.0.0:8000; several addresses are separated by commas. Default: LISTEN.
    #[arg(long, value_name = "HOST:PORT", value_delimiter = ',')]
    pub listen: Vec<SocketAddr>,
}

/// Runs until SIGTERM or Ctrl-C.
///
/// # Errors
///
/// When the configuration is wrong, the database or Redis cannot be reached, there is no key, or an address is taken.
pub async fn run(args: ApiArgs) -> Result<(), Box<dyn Error>> {
    let mut config = process::configure("info,sqlx=warn")?;
    if !args.listen.is_empty() {
        config.listen = args.listen;
    }
    // While it starts, so that the first request with a number does not wait for it.
    tokio::task::spawn_blocking(addresses::load_numbering_plans);
    let context = Context::open_for_fleet(config, SYSTEMS).await?;
    context.db.migrate().await?;
    check_access(&context).await?;
    let listeners = bind(&context.config.listen).await?;
    for listener in &listeners {
        tracing::info!("listening on http://{}", listener.local_addr()?);
    }
    crate::serve(context.clone(), listeners, process::until_signal()).await?;
    context.close().await;
    Ok(())
}

/// There is no key with which this API could be called.
#[derive(Debug, thiserror::Error)]
#[error(
    "no request would be answered, because there is no key. Make one with `recado api-key create NAME`, or set API_KEYS, or open \
     the API to all with ALLOW_ANONYMOUS_API=true"
)]
struct NoApiKey;

/// Refuses to start without a key (d21), and warns of what is open.
async fn check_access(context: &Context) -> Result<(), Box<dyn Error>> {
    let access = &context.config.access;
    if access.anonymous {
        tracing::warn!("================================================================================");
        tracing::warn!("THE API IS OPEN: everybody who reaches it may send messages, without a key.");
        tracing::warn!("ALLOWED_HOSTS keeps out pages of other sites whose name leads here.");
        tracing::warn!("For production unset ALLOW_ANONYMOUS_API and DEBUG, and use `recado api-key create`.");
        tracing::warn!("================================================================================");
    } else if access.api_keys.is_empty() && !has_key(context).await? {
        return Err(NoApiKey.into());
    }
    if access.internal_secrets.is_empty() {
        let effect = if access.anonymous { "open to everybody" } else { "closed to everybody" };
        tracing::warn!("INTERNAL_API_SECRET_KEY is not set: /api/internal/v1 is {effect}");
    }
    for weakness in context.config.weak_secrets() {
        tracing::warn!("{weakness}");
    }
    Ok(())
}

async fn has_key(context: &Context) -> db::Result<bool> {
    api_keys::any(&mut context.db.read().await?).await
}

async fn bind(addresses: &[SocketAddr]) -> io::Result<Vec<TcpListener>> {
    let mut listeners = Vec::with_capacity(addresses.len());
    for address in addresses {
        let listener = TcpListener::bind(address).await.map_err(|error| {
            let remedy = "choose another address with --listen or LISTEN";
            io::Error::new(error.kind(), format!("cannot listen on {address}: {error}; {remedy}"))
        })?;
        listeners.push(listener);
    }
    Ok(listeners)
}
