//! The sandbox seen from outside: by a mail client, a WhatsApp client, an application server with push messages to send,
//! and a person with curl. One binary, so that it is linked once.

mod evolution;
mod inbox;
mod push;
mod smtp;

use std::time::Duration;

/// How long a test waits for what should come at once.
const SOON: Duration = Duration::from_secs(20);

/// An HTTP client for loopback: without proxies, and without the system's certificates, which take long to read.
#[expect(clippy::disallowed_methods, reason = "the product's own client exists to prevent requests to loopback")]
fn http() -> reqwest::Client {
    let client = reqwest::Client::builder().no_proxy().tls_certs_only([]);
    client.timeout(SOON).build().expect("a client")
}
