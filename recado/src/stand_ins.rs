//! The sandbox as the provider of every channel when none is configured, so that first messages can be sent at once.

use std::fs;
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use recado_kernel::config::{
    BridgeKind, BridgeSettings, Config, EmailBackend, EmailSecurity, EmailSettings, PushSettings, WhatsappSettings,
};
use recado_notifications::channels::Channel;
use recado_queue::context::Context;
use recado_sandbox::{Bridge, Partner, PushSubscription, Sandbox};
use secrecy::ExposeSecret;

use crate::conversation_sample;
use crate::output::Step;
use crate::provider_settings::is_configured;
use crate::vapid::VapidKeys;

/// How long the sandbox may take to answer. On loopback it answers at once.
const TIMEOUT: Duration = Duration::from_secs(10);

/// The sandbox, as the provider of all channels.
pub(crate) struct StandIns {
    sandbox: Sandbox,
}

/// A message as it arrived: a line that names it, and its text.
pub(crate) struct Arrived {
    pub(crate) title: String,
    pub(crate) text: String,
}

impl StandIns {
    /// Starts a sandbox when no channel has a provider, and makes it the provider of all in `config`. Where one channel
    /// has a provider, the others get no stand-in: a message that falls back to a sandbox would count as sent and reach
    /// no one.
    pub(crate) async fn start_for(config: &mut Config) -> io::Result<Option<Self>> {
        if Channel::ALL.into_iter().any(|channel| is_configured(config, channel)) {
            return Ok(None);
        }
        let step = Step::begin("sandbox");
        let sandbox = Sandbox::start().await?;
        config.email = Some(email(&sandbox));
        config.whatsapp = Some(whatsapp(&sandbox));
        config.push = Some(push_settings(config)?);
        let bridge =
            || BridgeSettings { url: sandbox.bridge.url().to_owned(), timeout: TIMEOUT, kind: BridgeKind::Node };
        config.conversations.bridge.get_or_insert_with(bridge);
        config.allow_private_networks = true;
        config.stand_ins = true;
        config.sandbox_url = Some(sandbox.inbox_url().to_owned());
        step.done("stands in for email, whatsapp and push, which have no provider yet");
        Ok(Some(Self { sandbox }))
    }

    pub(crate) fn inbox_url(&self) -> &str {
        self.sandbox.inbox_url()
    }

    /// Tells the bridge where this installation is, so that its echoes come back.
    pub(crate) fn connect(&self, context: &Context, url: &str) {
        let secret = context.config.conversations.webhook_secrets.first().map(ExposeSecret::expose_secret);
        self.sandbox.bridge.post_to(&format!("{url}{}", conversation_sample::WEBHOOK), secret);
    }

    /// The bridge, through which conversations go.
    pub(crate) fn bridge(&self) -> &Bridge {
        &self.sandbox.bridge
    }

    /// The partner, who gets webhooks.
    pub(crate) fn partner(&self) -> &Partner {
        &self.sandbox.partner
    }

    /// A new browser's subscription to push messages.
    pub(crate) fn subscribe(&self) -> PushSubscription {
        self.sandbox.push.subscribe()
    }

    /// The newest message that arrived on a channel.
    pub(crate) fn newest(&self, channel: Channel) -> Option<Arrived> {
        match channel {
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

fn email(sandbox: &Sandbox) -> EmailSettings {
    EmailSettings {
        backend: EmailBackend::Smtp,
        host: sandbox.smtp.addr().ip().to_string(),
        port: sandbox.smtp.addr().port(),
        security: EmailSecurity::Plain,
        user: None,
        password: None,
        from: "Ambacar Service <taller@example.com>".to_owned(),
        timeout: TIMEOUT,
        ca_file: None,
    }
}

fn whatsapp(sandbox: &Sandbox) -> WhatsappSettings {
    WhatsappSettings {
        url: sandbox.evolution.url().to_owned(),
        api_key: sandbox.evolution.api_key().into(),
        instance: sandbox.evolution.instance().to_owned(),
        timeout: TIMEOUT,
    }
}

fn push_settings(config: &Config) -> io::Result<PushSettings> {
    let keys = vapid_keys(&config.home.join("vapid.json"))?;
    Ok(PushSettings {
        public_key: keys.public_key,
        private_key: keys.private_key.into(),
        subject: "mailto:taller@example.com".to_owned(),
        timeout: TIMEOUT,
    })
}

/// Where the API wants keys, so do the bridge's webhooks, and the stand-in has to show something. Called when it is known whether the API
/// stands open: keys may be in the database.
pub(crate) fn give_bridge_a_secret(config: &mut Config) -> io::Result<()> {
    let is_open = config.access.anonymous || config.access.open_on_this_machine;
    if config.stand_ins && !is_open && config.conversations.webhook_secrets.is_empty() {
        config.conversations.webhook_secrets.push(secret()?.into());
    }
    Ok(())
}

/// One that cannot be guessed, for this run.
fn secret() -> io::Result<String> {
    let mut bytes = [0; 32];
    openssl::rand::rand_bytes(&mut bytes).map_err(io::Error::other)?;
    Ok(URL_SAFE_NO_PAD.encode(bytes))
}

/// The keys stored in this file; new ones when there is none. Browsers subscribe to a public key, so it has to last.
fn vapid_keys(file: &Path) -> io::Result<VapidKeys> {
    match fs::read(file) {
        Ok(bytes) => serde_json::from_slice(&bytes).map_err(|error| {
            let remedy = "repair or delete it; browsers have to subscribe again after a deletion";
            io::Error::other(format!("{} holds no VAPID keys ({error}): {remedy}", file.display()))
        }),
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            let keys = VapidKeys::generate().map_err(io::Error::other)?;
            let mut created = fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(file)?;
            created.write_all(&serde_json::to_vec_pretty(&keys)?)?;
            Ok(keys)
        }
        Err(error) => Err(error),
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;
    use crate::temporary_folder::TemporaryFolder;

    #[test]
    fn stored_vapid_keys_stay_the_same_and_only_their_owner_can_read_them() {
        let folder = TemporaryFolder::create("recado-vapid").expect("a temporary folder");
        let file = folder.path().join("vapid.json");
        let made = vapid_keys(&file).expect("made");
        assert_eq!(vapid_keys(&file).expect("read").public_key, made.public_key);
        assert_eq!(fs::metadata(&file).expect("a file").permissions().mode() & 0o777, 0o600);
        fs::write(&file, "{}").expect("written");
        let error = vapid_keys(&file).err().expect("unreadable").to_string();
        assert!(error.contains("vapid.json") && error.contains("delete it"), "{error}");
    }
}
