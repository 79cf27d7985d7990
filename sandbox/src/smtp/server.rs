//! The server as its sessions see it: how it is set up, and where mails go.

use std::sync::atomic::AtomicUsize;

use super::{fault::SmtpFault, mail::Mail};
use crate::{certificate::Certificate, stand_in::StandIn};

/// Whether and when the connection is encrypted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SmtpTls {
    /// Never, like port 25 of old.
    Plain,
    /// Offered, and required before anything is sent (RFC 3207), like port 587.
    StartTls,
    /// From the first byte (RFC 8314), like port 465.
    Implicit,
}

/// What the sessions share.
pub(super) struct Server {
    pub(super) stand_in: StandIn<Mail, SmtpFault>,
    pub(super) tls: SmtpTls,
    pub(super) auth: Option<(String, String)>,
    pub(super) certificate: Option<Certificate>,
    pub(super) connections: AtomicUsize,
}
