//! A mail server (RFC 5321) that keeps what it is given.
//!
//! ```text
//! session.rs   the dialog, command by command
//! server.rs    what all sessions share
//! command.rs   what a command line says
//! wire.rs      lines, messages and replies as bytes
//! fault.rs     what it can be told to do wrong
//! reply.rs     a reply code and its text
//! mail.rs      a received message, decoded on first use
//! ```

mod command;
mod fault;
mod mail;
mod reply;
mod server;
mod session;
mod wire;

use std::{
    io,
    net::SocketAddr,
    ops::Deref,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};

use self::server::Server;
pub use self::{
    fault::{SmtpFault, SmtpStage},
    mail::Mail,
    server::SmtpTls,
    session::SIZE_LIMIT,
};
use crate::{
    certificate::Certificate,
    listen::{Listening, bind},
    stand_in::{KEEP, StandIn},
};

/// How the mail server is set up.
#[derive(Debug, Clone)]
pub struct SmtpOptions {
    /// Whether and when the connection is encrypted.
    pub tls: SmtpTls,
    /// User and password; required from clients when set.
    pub auth: Option<(String, String)>,
    /// `0` is any free port.
    pub port: u16,
    /// How many messages are kept; the oldest make room.
    pub keep: usize,
}

impl Default for SmtpOptions {
    fn default() -> Self {
        Self { tls: SmtpTls::Plain, auth: None, port: 0, keep: KEEP }
    }
}

/// The mail server. It stops when the last clone is dropped.
#[derive(Clone)]
pub struct Smtp {
    address: SocketAddr,
    server: Arc<Server>,
    _listening: Arc<Listening>,
}

impl Smtp {
    /// Takes a loopback port and listens.
    ///
    /// # Errors
    /// When the port is taken, or OpenSSL cannot make a certificate.
    pub async fn start(options: SmtpOptions) -> io::Result<Self> {
        let certificate = match options.tls {
            SmtpTls::Plain => None,
            SmtpTls::StartTls | SmtpTls::Implicit => Some(Certificate::for_loopback()?),
        };
        let (listener, address) = bind(options.port).await?;
        let server = Arc::new(Server {
            stand_in: StandIn::new(options.keep),
            tls: options.tls,
            auth: options.auth,
            certificate,
            connections: AtomicUsize::new(0),
        });
        let listening = Listening::start(listener, {
            let server = Arc::clone(&server);
            move |stream| {
                server.connections.fetch_add(1, Ordering::Relaxed);
                session::serve(stream, Arc::clone(&server))
            }
        });
        Ok(Self { address, server, _listening: Arc::new(listening) })
    }

    /// Where it listens; the port is the real one.
    pub fn addr(&self) -> SocketAddr {
        self.address
    }

    /// The certificate for a client to trust; empty without TLS.
    pub fn certificate_pem(&self) -> &str {
        self.server.certificate.as_ref().map_or("", |known| known.pem.as_str())
    }

    /// How many connections have been accepted so far, refused ones included.
    pub fn connections(&self) -> usize {
        self.server.connections.load(Ordering::Relaxed)
    }
}

impl Deref for Smtp {
    type Target = StandIn<Mail, SmtpFault>;

    fn deref(&self) -> &Self::Target {
        &self.server.stand_in
    }
}
