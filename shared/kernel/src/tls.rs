//! The TLS of our outgoing connections, and HTTP clients that share it.

use std::sync::OnceLock;

use native_tls::{Protocol, TlsConnector};
use reqwest::{Client, ClientBuilder};

/// What every client of this process connects with that needs no certificates of its own: TLS 1.2 or newer, and who the
/// system trusts, as it was when first asked for. Cloning it is cheap.
///
/// It is made once because OpenSSL takes 50 to 100 ms to read the system's trust store, and a worker has several clients.
///
/// # Errors
/// When OpenSSL cannot be set up.
pub fn connector() -> Result<TlsConnector, native_tls::Error> {
    static CONNECTOR: OnceLock<TlsConnector> = OnceLock::new();
    if let Some(connector) = CONNECTOR.get() {
        return Ok(connector.clone());
    }
    let connector = TlsConnector::builder().min_protocol_version(Some(Protocol::Tlsv12)).build()?;
    Ok(CONNECTOR.get_or_init(|| connector).clone())
}

/// A client under our name that connects with [`connector`]. It has neither limits of time nor an SSRF guard: who builds it sets
/// them, or knows why there is no need.
#[expect(clippy::disallowed_methods, reason = "the one place where clients begin")]
pub fn http_client() -> ClientBuilder {
    let client = Client::builder().user_agent(concat!("Recado/", env!("CARGO_PKG_VERSION")));
    match connector() {
        Ok(tls) => client.tls_backend_preconfigured(tls),
        // Building the client fails the same way, and its caller tells it.
        Err(_) => client,
    }
}
