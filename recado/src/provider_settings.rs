//! What the settings say about the providers.

use std::net::IpAddr;

use recado_kernel::config::{Config, EmailBackend};
use recado_notifications::channels::Channel;

/// Whether an e-mail or a WhatsApp message can leave this machine, and so reach a real person. A push cannot: it only
/// goes to browsers that have subscribed.
pub(crate) fn can_reach_people(config: &Config) -> bool {
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

/// Whether the settings name a provider for this channel.
pub(crate) fn is_configured(config: &Config, channel: Channel) -> bool {
    match channel {
        Channel::Email => config.email.is_some(),
        Channel::Whatsapp => config.whatsapp.is_some(),
        Channel::Push => config.push.is_some(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_loopback_addresses_and_files_stay_on_this_machine() {
        let reaches = |host: &str, backend: &str, evolution: &str| {
            let config = Config::from_pairs([
                ("EMAIL_HOST", host),
                ("EMAIL_BACKEND", backend),
                ("DEFAULT_FROM_EMAIL", "taller@example.com"),
                ("EVOLUTION_API_URL", evolution),
                ("EVOLUTION_API_KEY", "key"),
                ("EVOLUTION_INSTANCE", "instance"),
            ]);
            can_reach_people(&config.expect("valid"))
        };
        assert!(!reaches("", "", ""));
        assert!(!reaches("127.0.0.1", "", "http://localhost:8080"));
        assert!(!reaches("smtp.example.com", "file", "http://[::1]:8080"));
        assert!(reaches("smtp.example.com", "", ""));
        assert!(reaches("localhost", "smtp", "https://evolution.example.com"));
    }
}
