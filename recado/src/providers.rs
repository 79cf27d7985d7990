//! Stand-ins for the providers that nobody configured, so that a newcomer's messages really travel.

use std::io;
use std::net::IpAddr;
use std::time::Duration;

use recado_kernel::config::{Config, EmailBackend, EmailSecurity, EmailSettings, PushSettings, WhatsappSettings};
use recado_kernel::db;
use recado_notifications::channels::Channel;
use recado_notifications::customers::{self, CustomerSync};
use recado_notifications::push::{self, NewSubscription};
use recado_queue::context::Context;
use recado_sandbox::Sandbox;

use crate::up::Step;
use crate::vapid::VapidKeys;

/// The customer of seed 002's example.
pub(crate) const CUSTOMER_ID: &str = "customer-001";

/// On loopback an answer comes at once.
const PATIENCE: Duration = Duration::from_secs(10);

/// The sandbox, and the channels that use it.
pub(crate) struct StandIns {
    sandbox: Sandbox,
    channels: Vec<Channel>,
}

/// A message as it arrived: a line that names it, and its text.
pub(crate) struct Arrived {
    pub(crate) title: String,
    pub(crate) text: String,
}

impl StandIns {
    /// Starts a sandbox when no channel has a provider. Where one is configured, the others are not played: a message that
    /// falls back into a sandbox would count as sent and reach nobody.
    pub(crate) async fn start_for(config: &mut Config) -> io::Result<Option<Self>> {
        if Channel::ALL.into_iter().any(|channel| is_configured(config, channel)) {
            return Ok(None);
        }
        let step = Step::begin("sandbox");
        let sandbox = Sandbox::start().await?;
        config.email = Some(email(&sandbox));
        config.whatsapp = Some(whatsapp(&sandbox));
        config.push = Some(push_settings(config)?);
        config.allow_private_networks = true;
        step.done("stands in for email, whatsapp and push, which have no provider yet");
        Ok(Some(Self { sandbox, channels: Channel::ALL.to_vec() }))
    }

    pub(crate) fn inbox_url(&self) -> &str {
        self.sandbox.inbox_url()
    }

    /// Gives the example's customer a browser, when it is the sandbox that pushes.
    async fn open_browser(&self, context: &Context) -> db::Result<()> {
        if !self.channels.contains(&Channel::Push) {
            return Ok(());
        }
        let mut session = context.db.begin().await?;
        // Browsers of an earlier run lived in a sandbox that is gone.
        for old in push::of_customers(&mut session, &[CUSTOMER_ID.to_owned()]).await? {
            if old.endpoint.starts_with("http://127.0.0.1:") {
                push::unsubscribe(&mut session, &old.endpoint).await?;
            }
        }
        push::subscribe(&mut session, &self.browser(), context.clock.now()).await?;
        session.commit().await
    }

    fn browser(&self) -> NewSubscription {
        let subscription = self.sandbox.push.subscribe();
        NewSubscription {
            customer_id: CUSTOMER_ID.to_owned(),
            endpoint: subscription.endpoint,
            p256dh: subscription.p256dh,
            auth: subscription.auth,
            user_agent: Some("Recado sandbox".to_owned()),
        }
    }

    /// The newest message of a channel; `None` when a real provider took it.
    pub(crate) fn newest(&self, channel: Channel) -> Option<Arrived> {
        match channel {
            _ if !self.channels.contains(&channel) => None,
            Channel::Email => self.sandbox.smtp.messages().pop().map(|mail| Arrived {
                title: format!(
                    "{} → {}: {}",
                    mail.envelope_from(),
                    mail.envelope_to().join(", "),
                    mail.subject().unwrap_or_default()
                ),
                text: mail.text().unwrap_or_default().to_owned(),
            }),
            Channel::Whatsapp => self
                .sandbox
                .evolution
                .messages()
                .pop()
                .map(|message| Arrived { title: format!("WhatsApp → {}", message.number), text: message.text }),
            Channel::Push => self
                .sandbox
                .push
                .messages()
                .pop()
                .map(|message| Arrived { title: "push".to_owned(), text: message.payload }),
        }
    }
}

/// Makes sure that the example's customer is there, and reachable on every channel.
pub(crate) async fn introduce_customer(context: &Context, stand_ins: Option<&StandIns>) -> db::Result<()> {
    let mut session = context.db.begin().await?;
    if customers::find(&mut session, CUSTOMER_ID).await?.is_none() {
        let customer = CustomerSync {
            customer_id: CUSTOMER_ID.to_owned(),
            name: Some("Carlos Mendoza".to_owned()),
            email: Some("carlos@example.com".to_owned()),
            phone: Some("+593991234567".to_owned()),
            ..CustomerSync::default()
        };
        customers::sync(&mut session, &customer, context.clock.now()).await?;
    }
    session.commit().await?;
    match stand_ins {
        Some(stand_ins) => stand_ins.open_browser(context).await,
        None => Ok(()),
    }
}

/// Whether an e-mail or a WhatsApp message can leave this machine. Carlos is an example, but his number may be
/// somebody's. (A push only reaches browsers that subscribed, and his is in the sandbox.)
pub(crate) fn reach_the_world(config: &Config) -> bool {
    let email = config.email.as_ref().filter(|email| email.backend == EmailBackend::Smtp);
    let whatsapp = config.whatsapp.as_ref();
    email.is_some_and(|email| !is_loopback(&email.host))
        || whatsapp.is_some_and(|whatsapp| {
            let url = url::Url::parse(&whatsapp.url).ok();
            !url.and_then(|url| url.host_str().map(is_loopback)).unwrap_or_default()
        })
}

fn is_loopback(host: &str) -> bool {
    let host = host.trim_start_matches('[').trim_end_matches(']');
    host == "localhost" || host.parse().is_ok_and(|ip: IpAddr| ip.is_loopback())
}

fn is_configured(config: &Config, channel: Channel) -> bool {
    match channel {
        Channel::Email => config.email.is_some(),
        Channel::Whatsapp => config.whatsapp.is_some(),
        Channel::Push => config.push.is_some(),
    }
}

fn email(sandbox: &Sandbox) -> EmailSettings {
    EmailSettings {
        backend: EmailBackend::Smtp,
        host: sandbox.smtp.addr().ip().to_string(),
        port: sandbox.smtp.addr().port(),
        security: EmailSecurity::Plain,
        user: None,
        password: None,
        from: "Ambacar Service <taller@example.com>".to_owned(),
        timeout: PATIENCE,
        ca_file: None,
    }
}

fn whatsapp(sandbox: &Sandbox) -> WhatsappSettings {
    WhatsappSettings {
        url: sandbox.evolution.url().to_owned(),
        api_key: sandbox.evolution.api_key().into(),
        instance: sandbox.evolution.instance().to_owned(),
        timeout: PATIENCE,
    }
}

fn push_settings(config: &Config) -> io::Result<PushSettings> {
    let keys = VapidKeys::kept_in(&config.home.join("vapid.json"))?;
    Ok(PushSettings {
        public_key: keys.public_key,
        private_key: keys.private_key.into(),
        subject: "mailto:taller@example.com".to_owned(),
        timeout: PATIENCE,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_sample_stays_on_this_machine() {
        let reaches = |host: &str, backend: &str, evolution: &str| {
            let config = Config::from_pairs([
                ("EMAIL_HOST", host),
                ("EMAIL_BACKEND", backend),
                ("DEFAULT_FROM_EMAIL", "taller@example.com"),
                ("EVOLUTION_API_URL", evolution),
                ("EVOLUTION_API_KEY", "key"),
                ("EVOLUTION_INSTANCE", "instance"),
            ]);
            reach_the_world(&config.expect("valid"))
        };
        assert!(!reaches("", "", ""));
        assert!(!reaches("127.0.0.1", "", "http://localhost:8080"));
        assert!(!reaches("smtp.example.com", "file", "http://[::1]:8080"));
        assert!(reaches("smtp.example.com", "", ""));
        assert!(reaches("localhost", "smtp", "https://evolution.example.com"));
    }
}
