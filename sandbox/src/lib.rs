//! Others to talk to when there are none: a mail server, the Evolution API for WhatsApp, a web push service, a partner who
//! gets webhooks, and a WhatsApp bridge.
//!
//! They speak the real protocols on loopback, keep what they are given, and can be told to misbehave. `recado up` uses
//! them when nothing is configured, so that first messages can be sent at once; the tests and the benchmarks use
//! them because a real provider cannot be told to fail.
//!
//! ```no_run
//! use std::time::Duration;
//!
//! use recado_sandbox::{Sandbox, SmtpFault};
//!
//! # async fn example() -> std::io::Result<()> {
//! let sandbox = Sandbox::start().await?;
//! sandbox.smtp.misbehave_times(SmtpFault::reject_recipient(451), 1); // Greylisting.
//! // … send an e-mail to sandbox.smtp.addr() …
//! let mails = sandbox.smtp.wait_for(1, Duration::from_secs(5)).await;
//! assert_eq!(mails[0].subject(), Some("Su vehículo está listo 🚗"));
//! # Ok(())
//! # }
//! ```
//!
//! From the top down:
//!
//! ```text
//! inbox                       everything that arrived, and the faults, as JSON for curl
//! smtp · evolution · push · partner · bridge   one each
//! stand_in · faults           what they have in common: messages, and ways to misbehave
//! listen · certificate · post  ports, TLS, and what stand-ins post by themselves
//! ```

mod bridge;
mod certificate;
mod evolution;
mod faults;
mod inbox;
mod listen;
mod partner;
mod post;
mod push;
mod smtp;
mod stand_in;

use std::io;

use crate::inbox::{Channels, Inbox};
pub use crate::{
    bridge::{Answered, Bridge, BridgeChat, BridgeFault, BridgeOptions, BridgeText, Writes},
    evolution::{
        ChatName, Evolution, EvolutionFault, EvolutionGroup, EvolutionOptions, EvolutionWrites, WhatsappMessage,
        WhatsappStatus,
    },
    faults::{Fault, Rule},
    partner::{Partner, PartnerFault, PartnerOptions, Told, Verdict, Webhook},
    push::{BODY_LIMIT, Push, PushFault, PushMessage, PushOptions, PushSubscription},
    smtp::{Mail, SIZE_LIMIT, Smtp, SmtpFault, SmtpOptions, SmtpStage, SmtpTls},
    stand_in::{KEEP, StandIn},
};

/// A set of providers on loopback ports. Dropping it stops them, except one of which a clone is kept.
pub struct Sandbox {
    /// For e-mail.
    pub smtp: Smtp,
    /// For WhatsApp.
    pub evolution: Evolution,
    /// For web push.
    pub push: Push,
    /// For webhooks.
    pub partner: Partner,
    /// For conversations.
    pub bridge: Bridge,
    inbox: Inbox,
}

/// How the providers are set up; by default on free ports, without TLS and authentication.
#[derive(Debug, Clone, Default)]
pub struct SandboxOptions {
    /// The mail server.
    pub smtp: SmtpOptions,
    /// The Evolution API.
    pub evolution: EvolutionOptions,
    /// The push service.
    pub push: PushOptions,
    /// The partner.
    pub partner: PartnerOptions,
    /// The bridge.
    pub bridge: BridgeOptions,
    /// The inbox; `0` is any free port.
    pub inbox_port: u16,
}

impl Sandbox {
    /// Starts with the default options.
    ///
    /// # Errors
    /// When there is no free port.
    pub async fn start() -> io::Result<Self> {
        Self::start_with(SandboxOptions::default()).await
    }

    /// Starts on given ports, with TLS, or with a key.
    ///
    /// # Errors
    /// When a port is taken, or OpenSSL cannot make a certificate.
    pub async fn start_with(options: SandboxOptions) -> io::Result<Self> {
        let smtp = Smtp::start(options.smtp).await?;
        let evolution = Evolution::start(options.evolution).await?;
        let push = Push::start(options.push).await?;
        let partner = Partner::start(options.partner).await?;
        let bridge = Bridge::start(options.bridge).await?;
        let channels = Channels {
            smtp: smtp.clone(),
            evolution: evolution.clone(),
            push: push.clone(),
            partner: partner.clone(),
            bridge: bridge.clone(),
        };
        Ok(Self { inbox: Inbox::start(options.inbox_port, channels).await?, smtp, evolution, push, partner, bridge })
    }

    /// Where a person or a script looks: a list of links, as JSON.
    pub fn inbox_url(&self) -> &str {
        &self.inbox.url
    }

    /// The pages of the inbox, all below `/sandbox/`, for a server that wants to show them too. They keep the providers
    /// running.
    pub fn inbox(&self) -> axum::Router {
        inbox::routes(Channels {
            smtp: self.smtp.clone(),
            evolution: self.evolution.clone(),
            push: self.push.clone(),
            partner: self.partner.clone(),
            bridge: self.bridge.clone(),
        })
    }
}
