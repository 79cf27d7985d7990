//! Email over SMTP, or into files where `EMAIL_BACKEND=file`.

mod error;
mod failure;
mod mail;
mod refusal;
mod smtp;
mod streak;
mod unavailable;
mod wire;

use std::io;
use std::path::{Path, PathBuf};

use async_trait::async_trait;
use lettre::Address;
use lettre::message::Mailbox;
use recado_kernel::clock::{Clock, Timestamp};
use recado_kernel::config::{EmailBackend, EmailSettings};
use recado_kernel::db::private_folder;
use recado_kernel::host_names::HeloName;
use recado_notifications::fallback::FailureClass;

pub(super) use self::failure::FAILED;
use self::failure::failure;
use self::mail::{compose, mailbox, message_id, recipient};
use self::smtp::{Envelope, Relay};
use self::streak::Streak;
use self::unavailable::Unavailable;
use super::answer::excerpt;
use super::failure::{SendFailure, wrong_adapter};
use super::message::{Message, Recipient};
use super::provider::{Provider, ProviderError, SendReceipt};
use crate::outbound::Reach;

pub(super) struct Email {
    outbox: Outbox,
    /// Recipients that were refused in a row.
    streak: Streak,
    unavailable: Unavailable,
    sender: Mailbox,
    clock: Clock,
}

enum Outbox {
    Relay(Relay),
    Folder(PathBuf),
}

impl Email {
    /// # Errors
    /// When the sender is no mailbox, or TLS cannot be set up with these settings.
    pub(super) fn new(
        settings: &EmailSettings,
        hello: Option<HeloName>,
        reach: Reach,
        clock: &Clock,
    ) -> Result<Self, ProviderError> {
        let sender = mailbox(&settings.from).ok_or_else(|| ProviderError::Setting {
            variable: "DEFAULT_FROM_EMAIL",
            problem: format!(
                "is `{}`; write an address, or a name and an address: Taller <taller@example.com>",
                settings.from
            ),
        })?;
        let outbox = match &settings.backend {
            EmailBackend::Smtp => Outbox::Relay(Relay::new(settings, hello, reach)?),
            EmailBackend::File(folder) => Outbox::Folder(folder.clone()),
        };
        Ok(Self {
            outbox,
            streak: Streak::default(),
            unavailable: Unavailable::default(),
            sender,
            clock: clock.clone(),
        })
    }
}

#[async_trait]
impl Provider for Email {
    async fn send(&self, message: &Message) -> Result<SendReceipt, SendFailure> {
        let Recipient::Email(address) = &message.recipient else {
            return Err(wrong_adapter(message, FAILED));
        };
        let to = recipient(address).ok_or_else(|| permanent("the recipient's address is not an email address"))?;
        // A workshop's sender was checked when it was written; if it is none after all, a mail from ours is better than none.
        let sender = message.sender.as_deref().and_then(mailbox).unwrap_or_else(|| self.sender.clone());
        let message_id = message_id(&sender, message);
        let content = composed(&sender, &to, message, self.clock.now())
            .await
            .ok_or_else(|| permanent("the mail cannot be written with these headers"))?;
        let envelope = Envelope { from: sender.email.clone(), to, content };
        let (status, answer) = match &self.outbox {
            Outbox::Relay(relay) => {
                let answer = relay.send(&envelope).await;
                let unavailable_for = self.unavailable.heard(&answer, self.clock.elapsed());
                let outcome = answer.map_err(|error| SendFailure { unavailable_for, ..failure(&error) });
                let (code, words) = self.streak.judge(message.notification_id, address, outcome)?;
                (Some(code), excerpt(&words, None))
            }
            Outbox::Folder(folder) => {
                (None, store(folder, message, &envelope.content).await.map_err(|error| unwritable(&error))?)
            }
        };
        Ok(SendReceipt { provider_message_id: Some(message_id), status, answer, ..SendReceipt::default() })
    }

    async fn check(&self) -> Result<String, SendFailure> {
        match &self.outbox {
            Outbox::Relay(relay) => {
                relay.check().await.map_err(|error| failure(&error))?;
                Ok("the SMTP server was reached, and takes mails from this account".to_owned())
            }
            Outbox::Folder(folder) => {
                private_folder(folder).map_err(|error| unwritable(&error))?;
                Ok("mails are written into files".to_owned())
            }
        }
    }
}

/// Up to this length a body becomes a mail faster than a thread is asked to do it.
const LONGEST_ON_THE_SPOT: usize = 16 * 1024;

/// [`compose`], elsewhere where it takes more than a moment: heartbeats and other mails wait for nothing here. The work grows
/// with the length of the body alone, which intake bounds, so that a thread is never kept for long.
async fn composed(sender: &Mailbox, to: &Address, message: &Message, now: Timestamp) -> Option<String> {
    if message.body.len() <= LONGEST_ON_THE_SPOT {
        return compose(sender, to, message, now);
    }
    let (sender, to, message) = (sender.clone(), to.clone(), message.clone());
    tokio::task::spawn_blocking(move || compose(&sender, &to, &message, now)).await.ok().flatten()
}

/// Writes the mail as a file that mail programs open. An attempt that is repeated writes the same file.
async fn store(folder: &Path, message: &Message, content: &str) -> io::Result<String> {
    private_folder(folder)?;
    let path = folder.join(format!("{}.eml", message.notification_id));
    let unfinished = path.with_extension("part");
    tokio::fs::write(&unfinished, content).await?;
    tokio::fs::rename(&unfinished, &path).await?;
    Ok(format!("written to {}", path.display()))
}

fn unwritable(error: &io::Error) -> SendFailure {
    let reason = format!("the mail cannot be written to RECADO_HOME/mail: {error}");
    SendFailure::new(FailureClass::Misconfigured, FAILED, reason)
}

fn permanent(reason: &str) -> SendFailure {
    SendFailure::new(FailureClass::Permanent, FAILED, reason)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use recado_kernel::config::EmailSecurity;
    use recado_kernel::ids::Id;
    use recado_sandbox::{Mail, Smtp, SmtpFault, SmtpOptions, SmtpStage, SmtpTls};

    use super::super::failure::Fault;
    use super::*;

    const TEST_TIMEOUT: Duration = Duration::from_secs(10);

    fn message(to: &str, body: &str) -> Message {
        Message {
            notification_id: Id::of_name(&format!("{to} {body}")),
            correlation_id: Id::of_name("correlation"),
            recipient: Recipient::Email(to.to_owned()),
            subject: "Su vehículo está listo 🚗".to_owned(),
            body: body.to_owned(),
            is_html: body.starts_with('<'),
            click_url: None,
            unsubscribe_url: None,
            sender: None,
        }
    }

    fn settings(smtp: &Smtp) -> EmailSettings {
        EmailSettings {
            backend: EmailBackend::Smtp,
            host: "127.0.0.1".to_owned(),
            port: smtp.addr().port(),
            security: EmailSecurity::Plain,
            user: None,
            password: None,
            from: "Taller Ñandú S.A. <avisos@taller.example.com>".to_owned(),
            timeout: TEST_TIMEOUT,
            ca_file: None,
        }
    }

    fn email(settings: &EmailSettings) -> Email {
        Email::new(settings, None, Reach::Anywhere, &Clock::system()).expect("usable settings")
    }

    /// The server's certificate as the file that `EMAIL_SSL_CAFILE` names.
    fn trust(smtp: &Smtp) -> PathBuf {
        let path = std::env::temp_dir().join(format!("recado-ca-{}-{}.pem", std::process::id(), smtp.addr().port()));
        std::fs::write(&path, smtp.certificate_pem()).unwrap();
        path
    }

    async fn only_mail(smtp: &Smtp) -> Mail {
        let mails = smtp.wait_for(1, TEST_TIMEOUT).await;
        assert_eq!(mails.len(), 1);
        mails[0].clone()
    }

    #[tokio::test]
    async fn a_server_from_the_database_is_guarded() {
        let smtp = Smtp::start(SmtpOptions::default()).await.unwrap();
        let send = async |allow_private| {
            let reach = Reach::Guarded { allow_private };
            let email = Email::new(&settings(&smtp), None, reach, &Clock::system()).expect("usable settings");
            email.send(&message("maria@example.com", "Hola")).await
        };
        let refused = send(false).await.unwrap_err();
        assert_eq!((refused.class, refused.fault), (FailureClass::Misconfigured, Fault::Account));
        assert!(refused.reason.contains("OUTBOUND_ALLOW_PRIVATE_NETWORKS"), "{}", refused.reason);
        assert_eq!(smtp.received(), 0);
        send(true).await.expect("accepted");
    }

    #[tokio::test]
    async fn a_workshops_sender_takes_the_accounts_place() {
        let smtp = Smtp::start(SmtpOptions::default()).await.unwrap();
        let sender = Some("Taller Norte <norte@taller.example.com>".to_owned());
        let message = Message { sender, ..message("maria@example.com", "Hola") };
        email(&settings(&smtp)).send(&message).await.expect("accepted");
        let mail = only_mail(&smtp).await;
        assert_eq!(mail.from(), Some("Taller Norte <norte@taller.example.com>"));
        assert_eq!(mail.envelope_from(), "norte@taller.example.com");
    }

    #[tokio::test]
    async fn a_mail_arrives_in_both_forms_with_every_letter_intact() {
        let smtp = Smtp::start(SmtpOptions::default()).await.unwrap();
        let now = Timestamp::from_micros(1_768_919_400_000_000);
        let provider = Email::new(&settings(&smtp), None, Reach::Anywhere, &Clock::manual(now)).unwrap();
        let message =
            message("maria@example.com", "Hola, María 👋\n¿Nos visita mañana?\n\n.Un punto al inicio\n.\nAdiós & <3");

        let receipt = provider.send(&message).await.expect("accepted");

        let mail = only_mail(&smtp).await;
        assert_eq!(mail.subject(), Some("Su vehículo está listo 🚗"));
        assert_eq!(mail.from(), Some("Taller Ñandú S.A. <avisos@taller.example.com>"));
        assert_eq!(
            (mail.envelope_from(), mail.envelope_to()),
            ("avisos@taller.example.com", &["maria@example.com".to_owned()][..])
        );
        assert_eq!(mail.text().unwrap().replace("\r\n", "\n").trim_end(), message.body);
        let html = mail.html().unwrap().replace("\r\n", "\n");
        assert!(html.starts_with("<!doctype html>") && html.contains(r#"<html lang="es">"#));
        assert!(html.contains("<p>Hola, María 👋<br>\n¿Nos visita mañana?</p>"), "{html}");
        assert!(html.contains("Adiós &amp; &lt;3"), "{html}");
        assert_eq!(mail.header("Date"), Some("Tue, 20 Jan 2026 14:30:00 +0000"));
        assert_eq!(mail.header("Auto-Submitted"), Some("auto-generated"));
        assert_eq!(mail.header("X-Correlation-ID"), Some(message.correlation_id.to_string().as_str()));
        let message_id = format!("{}@taller.example.com", message.notification_id);
        assert_eq!(mail.message_id(), Some(message_id.as_str()));
        assert_eq!(receipt.provider_message_id, Some(format!("<{message_id}>")));
        assert_eq!(receipt.status, Some(250));
        assert!(receipt.answer.starts_with("250 "), "{}", receipt.answer);
    }

    #[tokio::test]
    async fn a_html_body_gets_a_text_that_people_can_read() {
        let smtp = Smtp::start(SmtpOptions::default()).await.unwrap();
        let body = r#"<p>Hola, <strong>María</strong>:</p><ul><li>Placa: ABC-1234</li></ul><p><a href="https://taller.example.com/7">Ver la orden</a></p>"#;
        email(&settings(&smtp)).send(&message("maria@example.com", body)).await.unwrap();
        let mail = only_mail(&smtp).await;
        assert!(mail.html().unwrap().contains(body));
        let text = mail.text().unwrap().replace("\r\n", "\n");
        for part in ["Hola, María:", "* Placa: ABC-1234", "Ver la orden", "https://taller.example.com/7"] {
            assert!(text.contains(part), "{part} is missing in: {text}");
        }
        assert!(!text.contains("<p>") && !text.contains("**"), "{text}");
    }

    #[tokio::test]
    async fn tls_and_login_as_the_port_asks() {
        for (tls, security) in
            [(SmtpTls::StartTls, EmailSecurity::StartTls), (SmtpTls::Implicit, EmailSecurity::ImplicitTls)]
        {
            let auth = Some(("taller".to_owned(), "clave ñ".to_owned()));
            let smtp = Smtp::start(SmtpOptions { tls, auth, ..SmtpOptions::default() }).await.unwrap();
            let mut settings = settings(&smtp);
            settings.security = security;
            settings.user = Some("taller".to_owned());
            settings.password = Some("clave ñ".into());
            let message = message("maria@example.com", "Hola");

            let distrusted = email(&settings).send(&message).await.unwrap_err();
            assert_eq!(distrusted.class, FailureClass::Misconfigured, "{distrusted:?}");
            assert!(distrusted.reason.contains("EMAIL_SSL_CAFILE"), "{}", distrusted.reason);

            settings.ca_file = Some(trust(&smtp));
            let provider = email(&settings);
            provider.send(&message).await.expect("accepted");
            let mail = only_mail(&smtp).await;
            assert!(mail.tls());
            assert_eq!(mail.user(), Some("taller"));

            settings.password = Some("otra".into());
            let refused = email(&settings).send(&message).await.unwrap_err();
            assert_eq!((refused.class, refused.status), (FailureClass::Misconfigured, Some(535)));
            settings.user = None;
            let anonymous = email(&settings).send(&message).await.unwrap_err();
            assert_eq!((anonymous.class, anonymous.status), (FailureClass::Misconfigured, Some(530)));
            assert_eq!(smtp.received(), 1);
            std::fs::remove_file(settings.ca_file.unwrap()).unwrap();
        }
    }

    #[tokio::test]
    async fn a_server_without_what_the_settings_ask_for_gets_nothing() {
        let smtp = Smtp::start(SmtpOptions::default()).await.unwrap();
        let message = message("maria@example.com", "Hola");
        let mut plain = settings(&smtp);
        plain.security = EmailSecurity::StartTls;
        let failure = email(&plain).send(&message).await.unwrap_err();
        assert_eq!(failure.class, FailureClass::Misconfigured);
        assert!(failure.reason.contains("STARTTLS"), "{}", failure.reason);

        let mut login = settings(&smtp);
        (login.user, login.password) = (Some("taller".to_owned()), Some("clave".into()));
        let failure = email(&login).send(&message).await.unwrap_err();
        assert_eq!(failure.class, FailureClass::Misconfigured);
        assert!(failure.reason.contains("EMAIL_HOST_USER"), "{}", failure.reason);
        assert_eq!(smtp.received(), 0);
    }

    #[tokio::test]
    async fn every_way_to_be_refused_has_its_class() {
        use FailureClass::{Misconfigured, Permanent, Transient};
        let reply = |stage, code| SmtpFault::Reply { stage, code, text: String::new() };
        let mail_from = |code| SmtpFault::RejectMailFrom { code, text: String::new() };
        let table = [
            (SmtpFault::RefuseConnection, Transient, None),
            (SmtpFault::GreetingBusy, Transient, Some(421)),
            (reply(SmtpStage::Connect, 554), Misconfigured, Some(554)),
            (reply(SmtpStage::Ehlo, 421), Transient, Some(421)),
            (mail_from(451), Transient, Some(451)),
            (mail_from(553), Misconfigured, Some(553)),
            (mail_from(530), Misconfigured, Some(530)),
            (SmtpFault::reject_recipient(550), Permanent, Some(550)),
            (SmtpFault::reject_recipient(451), Transient, Some(451)),
            (SmtpFault::reject_recipient(421), Transient, Some(421)),
            (SmtpFault::TooManyRecipients { limit: 0 }, Transient, Some(452)),
            (reply(SmtpStage::Data, 554), Permanent, Some(554)),
            (SmtpFault::reject_data(554), Permanent, Some(554)),
            (SmtpFault::reject_data(452), Transient, Some(452)),
            (SmtpFault::DropAfterData { record: false }, Transient, None),
        ];
        let smtp = Smtp::start(SmtpOptions::default()).await.unwrap();
        let provider = email(&settings(&smtp));
        for (fault, class, status) in table {
            smtp.misbehave(fault.clone());
            let failure = provider.send(&message("maria@example.com", "Hola")).await.unwrap_err();
            assert_eq!(
                (failure.class, failure.status, failure.code),
                (class, status, "EMAIL_SEND_FAILED"),
                "{fault:?}"
            );
            assert!(!failure.reason.contains("maria"), "a reason may be logged: {}", failure.reason);
            assert_eq!(failure.answer.is_some(), status.is_some(), "{fault:?}");
        }
        assert_eq!(smtp.received(), 0);
    }

    #[tokio::test]
    async fn an_address_beyond_ascii_needs_a_server_that_knows_it() {
        let smtp = Smtp::start(SmtpOptions::default()).await.unwrap();
        let provider = email(&settings(&smtp));
        provider.send(&message("josé@example.com", "Hola")).await.expect("the server offers SMTPUTF8");
        let mail = only_mail(&smtp).await;
        assert!(mail.smtputf8());
        assert_eq!(mail.envelope_to(), ["josé@example.com"]);

        smtp.misbehave(SmtpFault::NoSmtpUtf8);
        let failure = email(&settings(&smtp)).send(&message("josé@example.com", "Hola")).await.unwrap_err();
        assert_eq!(failure.class, FailureClass::Permanent);
        assert!(failure.reason.contains("SMTPUTF8"), "{}", failure.reason);
    }

    #[tokio::test]
    async fn a_port_on_which_no_server_listens() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let smtp = Smtp::start(SmtpOptions::default()).await.unwrap();
        let mut settings = settings(&smtp);
        settings.port = listener.local_addr().unwrap().port();
        drop(listener);
        let failure = email(&settings).send(&message("maria@example.com", "Hola")).await.unwrap_err();
        assert_eq!((failure.class, failure.status), (FailureClass::Transient, None));
    }

    #[tokio::test]
    async fn mails_share_a_connection_and_one_that_the_server_closed_costs_nothing() {
        let smtp = Smtp::start(SmtpOptions::default()).await.unwrap();
        let provider = email(&settings(&smtp));
        for body in ["uno", "dos", "tres"] {
            provider.send(&message("maria@example.com", body)).await.unwrap();
        }
        assert_eq!(smtp.connections(), 1);
        // The waiting connection says goodbye when it is used: 421, as after a server's idle limit.
        smtp.misbehave_times(SmtpFault::RejectMailFrom { code: 421, text: String::new() }, 1);
        provider.send(&message("maria@example.com", "cuatro")).await.expect("sent over a fresh connection");
        assert_eq!((smtp.connections(), smtp.received()), (2, 4));
    }

    /// A limit per connection costs no attempt and no delay, at whichever stage the server remembers it, and is not run into
    /// again (knadh/smtppool#19, chatmail/filtermail#143, letsencrypt/boulder#2262, lettre/lettre#743).
    #[tokio::test]
    async fn what_a_server_takes_over_one_connection_is_learned() {
        let too_many = "4.7.1 Error: too many messages in this session";
        let table = [
            (SmtpStage::MailFrom, 421, "", false),
            (SmtpStage::MailFrom, 452, too_many, false),
            (SmtpStage::MailFrom, 250, "", true),
            (SmtpStage::Recipient, 421, "", false),
            (SmtpStage::Recipient, 450, too_many, false),
            (SmtpStage::Recipient, 550, "Too many messages in this session", false),
            (SmtpStage::Recipient, 250, "", true),
            (SmtpStage::Data, 451, "", false),
            (SmtpStage::Data, 250, "", true),
            (SmtpStage::EndOfData, 451, too_many, false),
        ];
        for (stage, code, text, hang_up) in table {
            let smtp = Smtp::start(SmtpOptions::default()).await.unwrap();
            let provider = email(&settings(&smtp));
            smtp.misbehave(SmtpFault::MailsPerConnection { limit: 2, stage, code, text: text.to_owned(), hang_up });
            for number in 1..=8 {
                let message = message(&format!("cliente{number}@example.com"), "Hola");
                provider.send(&message).await.unwrap_or_else(|failure| panic!("{stage:?} {code}: {failure:?}"));
            }
            assert_eq!((smtp.received(), smtp.connections()), (8, 4), "{stage:?} {code} {hang_up}");
        }
    }

    /// What a fresh connection is told is meant; and what may have been taken is not sent again.
    #[tokio::test]
    async fn a_refusal_is_believed_over_a_fresh_connection_only() {
        let smtp = Smtp::start(SmtpOptions::default()).await.unwrap();
        let provider = email(&settings(&smtp));
        provider.send(&message("maria@example.com", "uno")).await.unwrap();
        smtp.misbehave_for("gris@example.com", SmtpFault::reject_recipient(450));
        let refused = provider.send(&message("gris@example.com", "dos")).await.unwrap_err();
        assert_eq!((refused.class, refused.status), (FailureClass::Transient, Some(450)));
        assert_eq!(smtp.connections(), 2, "asked once again");

        provider.send(&message("maria@example.com", "tres")).await.unwrap();
        smtp.misbehave_times(SmtpFault::DropAfterData { record: true }, 1);
        let unknown = provider.send(&message("maria@example.com", "cuatro")).await.unwrap_err();
        assert!(unknown.reason.contains("may have been delivered"), "{}", unknown.reason);
        assert_eq!(smtp.received(), 3, "once each");
    }

    /// A server of the time before RFC 1869 (frappe/frappe#36977).
    #[tokio::test]
    async fn a_server_that_knows_only_helo_is_spoken_to() {
        let smtp = Smtp::start(SmtpOptions::default()).await.unwrap();
        smtp.misbehave(SmtpFault::HeloOnly);
        email(&settings(&smtp)).send(&message("maria@example.com", "Hola")).await.expect("accepted");
        assert_eq!(smtp.received(), 1);
    }

    /// What we call ourselves is a full name or an address, by default and as set; a server that does not like it is
    /// explained as such (chatmail/core#1847, gogs/gogs#973, zou-yu/worker-mailer#55, truemail-rb/truemail#97).
    #[tokio::test]
    async fn servers_that_want_a_full_name_in_ehlo_get_one() {
        let smtp = Smtp::start(SmtpOptions::default()).await.unwrap();
        for stage in [SmtpStage::Ehlo, SmtpStage::Recipient] {
            smtp.misbehave(SmtpFault::ShortHello { stage });
            email(&settings(&smtp)).send(&message("maria@example.com", "Hola")).await.expect("accepted");
        }
        let hello = Some("avisos.taller.example.com".parse().unwrap());
        let named = Email::new(&settings(&smtp), hello, Reach::Anywhere, &Clock::system()).unwrap();
        named.send(&message("maria@example.com", "Hola")).await.expect("accepted");
        let mails = smtp.wait_for(3, TEST_TIMEOUT).await;
        assert!(mails[0].hello().contains(['.', '[']), "{}", mails[0].hello());
        assert_eq!(mails[2].hello(), "avisos.taller.example.com");

        let text = "5.5.2 <vm>: Helo command rejected: need fully-qualified hostname".to_owned();
        for stage in [SmtpStage::Ehlo, SmtpStage::Recipient] {
            smtp.misbehave(SmtpFault::Reply { stage, code: 504, text: text.clone() });
            let refused = email(&settings(&smtp)).send(&message("maria@example.com", "Hola")).await.unwrap_err();
            assert_eq!((refused.class, refused.fault), (FailureClass::Misconfigured, Fault::Account));
            assert!(refused.reason.contains("EMAIL_HELO_NAME") && !refused.bounced, "{}", refused.reason);
        }
    }

    /// A server for TLS from the first byte, and one without, and settings that say the other: each is told by its setting.
    #[tokio::test]
    async fn the_wrong_encryption_is_named() {
        let plain = Smtp::start(SmtpOptions::default()).await.unwrap();
        let starttls = Smtp::start(SmtpOptions { tls: SmtpTls::StartTls, ..SmtpOptions::default() }).await.unwrap();
        let implicit = Smtp::start(SmtpOptions { tls: SmtpTls::Implicit, ..SmtpOptions::default() }).await.unwrap();
        let table = [
            (&plain, EmailSecurity::ImplicitTls, "EMAIL_USE_SSL"),
            (&starttls, EmailSecurity::Plain, "EMAIL_USE_TLS"),
            (&implicit, EmailSecurity::Plain, "EMAIL_USE_SSL"),
        ];
        for (smtp, security, named) in table {
            let settings = EmailSettings { security, timeout: Duration::from_secs(2), ..settings(smtp) };
            let failure = email(&settings).send(&message("maria@example.com", "Hola")).await.unwrap_err();
            assert!(failure.reason.contains(named), "{security:?}: {}", failure.reason);
        }
    }

    /// Every mail of a sender with an international domain failed, and the recipient was blamed (bitwarden/server#1512,
    /// dart-mailer/mailer#33, anymail/django-anymail#444, jstedfast/MailKit#1780).
    #[tokio::test]
    async fn a_senders_international_domain_leaves_as_dns_knows_it() {
        let smtp = Smtp::start(SmtpOptions::default()).await.unwrap();
        smtp.misbehave(SmtpFault::NoSmtpUtf8);
        let settings = EmailSettings { from: "Taller <avisos@señal.example>".to_owned(), ..settings(&smtp) };
        email(&settings).send(&message("maria@ñandú.example", "Hola")).await.expect("accepted");
        let mail = only_mail(&smtp).await;
        assert_eq!(mail.envelope_from(), "avisos@xn--seal-hqa.example");
        assert_eq!(mail.from(), Some("Taller <avisos@xn--seal-hqa.example>"));
        assert!(mail.message_id().is_some_and(|id| id.ends_with("@xn--seal-hqa.example")), "{:?}", mail.message_id());
        assert!(mail.envelope_to()[0].starts_with("maria@xn--"), "{:?}", mail.envelope_to());
    }

    /// Words of 40,000 letters, in any alphabet, are an answer like any other.
    #[tokio::test]
    async fn a_server_that_talks_much_has_taken_the_mail() {
        let smtp = Smtp::start(SmtpOptions::default()).await.unwrap();
        let provider = email(&settings(&smtp));
        let text = format!("2.0.0 Ok \u{1b}[2J{}", "ñ".repeat(40_000));
        smtp.misbehave(SmtpFault::Reply { stage: SmtpStage::EndOfData, code: 250, text });
        for body in ["uno", "dos"] {
            let receipt = provider.send(&message("maria@example.com", body)).await.expect("accepted");
            assert!(receipt.answer.chars().count() <= 500 && !receipt.answer.contains(char::is_control));
        }
        assert_eq!((smtp.received(), smtp.connections()), (2, 1));
    }

    /// A server that hangs takes each mail's whole time limit, and with it the lane's places from the mails of all others. Once
    /// it is known to be silent, one mail at a time asks it.
    #[tokio::test]
    async fn a_silent_server_is_asked_by_one_mail_at_a_time() {
        let smtp = Smtp::start(SmtpOptions::default()).await.unwrap();
        let provider = email(&EmailSettings { timeout: Duration::from_secs(2), ..settings(&smtp) });
        smtp.misbehave(SmtpFault::Slow { delay: Duration::from_secs(60) });
        let send = async |count: usize| {
            let messages: Vec<_> = (0..count).map(|n| message(&format!("cliente{n}@example.com"), "Hola")).collect();
            futures::future::join_all(messages.iter().map(|message| provider.send(message))).await
        };
        assert!(send(3).await.iter().all(Result::is_err));
        assert_eq!(smtp.received(), 3);
        let outcomes = send(20).await;
        assert_eq!(smtp.received(), 4, "one asks");
        let passed_over = outcomes.iter().filter_map(|outcome| outcome.as_ref().err());
        let passed_over = passed_over.filter(|failure| failure.reason.contains("was not tried"));
        let next =
            passed_over.filter(|failure| failure.class == FailureClass::Transient && failure.fault == Fault::Account);
        assert_eq!(next.count(), 19, "{outcomes:?}");
        smtp.behave();
        assert!(send(5).await.iter().all(Result::is_ok), "it is back");
    }

    /// 10 kB of nested rows held a core for minutes, and every other mail with it.
    #[tokio::test]
    async fn costly_words_hold_no_other_mail_up() {
        let smtp = Smtp::start(SmtpOptions::default()).await.unwrap();
        let provider = email(&settings(&smtp));
        let body = format!("<p>Hola</p>{}", "<table><tr rowspan=999><td>".repeat(4_000));
        provider.send(&message("maria@example.com", &body)).await.expect("accepted");
        let mail = only_mail(&smtp).await;
        assert_eq!(mail.text().map(str::trim_end), Some("Hola"));
        assert!(mail.html().is_some_and(|html| html.contains("rowspan=999")));
    }

    /// The danger of a pool: the answer to a mail that was given up would be read as the answer to the next one.
    #[tokio::test]
    async fn a_mail_that_is_given_up_does_not_lend_its_answers_to_the_next() {
        let smtp = Smtp::start(SmtpOptions::default()).await.unwrap();
        let mut settings = settings(&smtp);
        settings.timeout = Duration::from_secs(1);
        let provider = email(&settings);
        smtp.misbehave_for("lenta@example.com", SmtpFault::Slow { delay: Duration::from_secs(30) });
        smtp.misbehave_for("nadie@example.com", SmtpFault::reject_recipient(550));

        let slow = provider.send(&message("lenta@example.com", "Hola")).await.unwrap_err();
        assert_eq!((slow.class, slow.status), (FailureClass::Transient, None));
        assert!(slow.reason.contains("may have been delivered"), "{}", slow.reason);
        let refused = provider.send(&message("nadie@example.com", "Hola")).await.unwrap_err();
        assert_eq!((refused.class, refused.status), (FailureClass::Permanent, Some(550)));
        assert_eq!(smtp.connections(), 2);
    }

    #[tokio::test]
    async fn every_attempt_bears_the_same_message_id() {
        let smtp = Smtp::start(SmtpOptions::default()).await.unwrap();
        let provider = email(&settings(&smtp));
        let message = message("maria@example.com", "Hola");
        smtp.misbehave_times(SmtpFault::DropAfterData { record: true }, 1);
        assert_eq!(provider.send(&message).await.unwrap_err().class, FailureClass::Transient);
        provider.send(&message).await.expect("the second attempt");
        let mails = smtp.wait_for(2, TEST_TIMEOUT).await;
        assert_eq!(mails[0].message_id(), mails[1].message_id());
    }

    #[tokio::test]
    async fn line_breaks_inject_neither_headers_nor_commands() {
        let smtp = Smtp::start(SmtpOptions::default()).await.unwrap();
        let mut settings = settings(&smtp);
        settings.from = "Taller\r\nBcc: todos@example.com <avisos@taller.example.com>".to_owned();
        let provider = email(&settings);
        let mut sneaky = message("maria@example.com", "Hola\r\n.\r\nMAIL FROM:<yo@example.com>\r\n");
        sneaky.subject = "Listo\r\nBcc: todos@example.com\r\n\r\n<script>".to_owned();
        provider.send(&sneaky).await.expect("sent as one mail");
        let mail = only_mail(&smtp).await;
        assert_eq!(mail.header("Bcc"), None);
        assert_eq!(mail.subject(), Some("Listo  Bcc: todos@example.com    <script>"));
        assert!(mail.text().unwrap().contains("MAIL FROM:<yo@example.com>"));

        for address in [
            "maria@example.com\r\nRCPT TO:<todos@example.com>",
            "maria@example.com>\r\nDATA",
            "<maria@example.com>",
            "maria @example.com",
            "\"a\r\nb\"@example.com",
            "maria@example.com, todos@example.com",
            "maria",
            "",
        ] {
            let failure = provider.send(&message(address, "Hola")).await.unwrap_err();
            assert_eq!(failure.class, FailureClass::Permanent, "{address:?}");
        }
        assert_eq!(smtp.received(), 1);
    }

    #[tokio::test]
    async fn many_mails_at_once_arrive_once_each() {
        let smtp = Smtp::start(SmtpOptions::default()).await.unwrap();
        let provider = email(&settings(&smtp));
        let messages: Vec<_> = (0..60).map(|n| message(&format!("cliente{n}@example.com"), "Hola")).collect();
        let outcomes = futures::future::join_all(messages.iter().map(|message| provider.send(message))).await;
        assert!(outcomes.iter().all(Result::is_ok));
        let mut recipients: Vec<_> =
            smtp.wait_for(60, TEST_TIMEOUT).await.iter().map(|mail| mail.envelope_to()[0].clone()).collect();
        recipients.sort();
        recipients.dedup();
        assert_eq!(recipients.len(), 60);
    }

    #[tokio::test]
    async fn the_file_backend_writes_what_a_mail_program_opens() {
        let smtp = Smtp::start(SmtpOptions::default()).await.unwrap();
        let folder = std::env::temp_dir().join(format!("recado-mail-{}", std::process::id()));
        let mut settings = settings(&smtp);
        settings.backend = EmailBackend::File(folder.clone());
        let provider = email(&settings);
        let message = message("maria@example.com", "Hola");
        for _ in 0..2 {
            provider.send(&message).await.expect("written");
        }
        let files: Vec<_> = std::fs::read_dir(&folder).unwrap().map(|file| file.unwrap().path()).collect();
        assert_eq!(files, [folder.join(format!("{}.eml", message.notification_id))]);
        assert!(std::fs::read_to_string(&files[0]).unwrap().contains("To: maria@example.com\r\n"));
        std::fs::remove_dir_all(&folder).unwrap();

        std::fs::write(&folder, "a file where the folder should be").unwrap();
        assert_eq!(provider.send(&message).await.unwrap_err().class, FailureClass::Misconfigured);
        std::fs::remove_file(&folder).unwrap();
    }
}
