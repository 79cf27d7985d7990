//! What the settings say about the providers.

use recado_kernel::config::{Config, EmailBackend};
use recado_notifications::channels::Channel;

/// Whether an e-mail or a WhatsApp message can leave this machine, and so reach a real person. A server on loopback is no end of
/// the way: it sends on. A push cannot: it only goes to browsers that have subscribed.
pub(crate) fn can_reach_people(config: &Config) -> bool {
    let email = config.email.as_ref().is_some_and(|email| email.backend == EmailBackend::Smtp);
    !config.stand_ins && (email || config.whatsapp.is_some() || config.whatsapp_through_bridge)
}

/// Whether the settings name a provider for this channel.
pub(crate) fn is_configured(config: &Config, channel: Channel) -> bool {
    match channel {
        Channel::Email => config.email.is_some(),
        Channel::Whatsapp => config.whatsapp.is_some() || config.whatsapp_through_bridge,
        Channel::Push => config.push.is_some(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `recado up` stayed open with a mail server on loopback that sends to people.
    #[test]
    fn only_files_and_stand_ins_stay_on_this_machine() {
        let reaches = |host: &str, backend: &str, evolution: &str, stand_ins| {
            let config = Config::from_pairs([
                ("EMAIL_HOST", host),
                ("EMAIL_BACKEND", backend),
                ("DEFAULT_FROM_EMAIL", "taller@example.com"),
                ("EVOLUTION_API_URL", evolution),
                ("EVOLUTION_API_KEY", "key"),
                ("EVOLUTION_INSTANCE", "instance"),
            ]);
            can_reach_people(&Config { stand_ins, ..config.expect("valid") })
        };
        assert!(!reaches("", "", "", false));
        assert!(!reaches("127.0.0.1", "", "http://127.0.0.1:8080", true));
        assert!(!reaches("smtp.example.com", "file", "", false));
        assert!(reaches("127.0.0.1", "", "", false) && reaches("", "", "http://localhost:8080", false));
        assert!(reaches("smtp.example.com", "", "", false));
        assert!(reaches("localhost", "smtp", "https://evolution.example.com", false));
    }
}
