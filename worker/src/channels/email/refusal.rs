//! What a refusal of an SMTP server speaks of: the mailbox, the mail, or us.
//!
//! The bare code does not say: 550 at RCPT is a mailbox that does not exist, a login that is missing, a sender, a name in EHLO
//! or an address on a block list. So the enhanced code and the words decide together, in several languages, and whatever may
//! be about us is about us. Only clear words about the mailbox are about the mailbox.

/// What a refusal speaks of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Subject {
    /// There is no such mailbox, and there will be none next year.
    NoMailbox,
    FullMailbox,
    /// The mail's size.
    Size,
    /// What is in the mail, or a rule that the server does not explain.
    Content,
    /// It may be taken if it comes again.
    Greylisting,
    /// How much we send.
    Quota,
    Login,
    /// The conversation is not encrypted.
    Tls,
    /// What we call ourselves.
    Hello,
    Sender,
    /// SPF, DKIM, DMARC.
    SenderDomain,
    /// The server does not send for us to others.
    Relaying,
    /// A block list, or a bad name among servers.
    Reputation,
    /// Nothing that we understand.
    Unexplained,
}

impl Subject {
    /// What this refusal speaks of.
    pub(super) fn of(code: u16, text: &str) -> Self {
        let words = words(text);
        let said = OURS.iter().chain(&THEIRS).find(|(_, phrases)| says(&words, phrases)).map(|(subject, _)| *subject);
        match (said, enhanced(code, text)) {
            // Also beside a code of the mailbox, which is the sender's then.
            (Some(subject), _) if subject.is_ours() => subject,
            (Some(Self::Greylisting), Some((2, 1))) => Self::Greylisting,
            (said, Some(code)) => of_enhanced(code).or(said).unwrap_or(Self::Unexplained),
            (Some(subject), None) => subject,
            (None, None) => of_code(code),
        }
    }

    /// Whether it is about us or the account, so that every recipient would be refused alike.
    pub(super) fn is_ours(self) -> bool {
        match self {
            Self::Quota
            | Self::Login
            | Self::Tls
            | Self::Hello
            | Self::Sender
            | Self::SenderDomain
            | Self::Relaying
            | Self::Reputation => true,
            Self::NoMailbox
            | Self::FullMailbox
            | Self::Size
            | Self::Content
            | Self::Greylisting
            | Self::Unexplained => false,
        }
    }
}

/// Whether a refusal speaks of how much this connection has carried, so that a fresh one may be told something else.
pub(super) fn is_about_the_connection(text: &str) -> bool {
    let words = words(text);
    says(&words, "session, connection, sesion, conexion, sitzung, verbindung, connexion, sessao, conexao")
        && says(&words, "too many, limit, max, exceed, exced, demasiad, muitas, muitos, zu viele, trop.")
}

/// Whether one of these phrases, separated by commas, stands in the words.
fn says(words: &str, phrases: &str) -> bool {
    phrases.split(", ").any(|phrase| {
        let (phrase, ends) = phrase.strip_suffix('.').map_or((phrase, false), |phrase| (phrase, true));
        words.match_indices(phrase).any(|(start, _)| {
            let behind = &words[start + phrase.len()..];
            words[..start].ends_with(' ') && (!ends || behind.starts_with(' '))
        })
    })
}

/// The text as words: lower case, without accents and signs, a blank before, between and behind. Addresses are left out, as
/// they may be called anything.
fn words(text: &str) -> String {
    let mut words = String::with_capacity(text.len() + 2);
    words.push(' ');
    for word in text.split_whitespace().filter(|word| !word.contains('@')) {
        for letter in word.chars().flat_map(char::to_lowercase) {
            match plain(letter) {
                Some(letter) => words.push(letter),
                None if letter == 'ß' => words.push_str("ss"),
                None if words.ends_with(' ') => {}
                None => words.push(' '),
            }
        }
        if !words.ends_with(' ') {
            words.push(' ');
        }
    }
    words
}

fn plain(letter: char) -> Option<char> {
    Some(match letter {
        'a'..='z' | '0'..='9' => letter,
        'á' | 'à' | 'â' | 'ã' | 'ä' => 'a',
        'é' | 'è' | 'ê' | 'ë' => 'e',
        'í' | 'ì' | 'î' | 'ï' => 'i',
        'ó' | 'ò' | 'ô' | 'õ' | 'ö' => 'o',
        'ú' | 'ù' | 'û' | 'ü' => 'u',
        'ç' => 'c',
        'ñ' => 'n',
        _ => return None,
    })
}

/// Subject and detail of the enhanced code that goes with this code (RFC 3463), wherever it stands: at the beginning (RFC
/// 2034), or at the end as `(#5.7.1)`.
fn enhanced(code: u16, text: &str) -> Option<(u16, u16)> {
    let mut codes = enhanced_codes(text).filter(|(class, _, _)| *class == code / 100);
    codes.next().map(|(_, subject, detail)| (subject, detail))
}

/// What an enhanced code says (the registry of RFC 5248, and the numbers of Exchange and Gmail); `None` for one that says
/// nothing certain. Postfix says 5.1.0 of senders, and Exchange 5.4.1 of domains that it does not know.
fn of_enhanced(code: (u16, u16)) -> Option<Subject> {
    Some(match code {
        (1, 1 | 2 | 3 | 6 | 10) | (2, 1) => Subject::NoMailbox,
        (1, 7 | 8) | (7, 27 | 60) => Subject::Sender,
        (2, 2) => Subject::FullMailbox,
        (2, 3) | (3, 4) => Subject::Size,
        (7, 8 | 9 | 13 | 14 | 57 | 139) => Subject::Login,
        (7, 10 | 11) => Subject::Tls,
        (7, 20..=24 | 26 | 29) => Subject::SenderDomain,
        (7, 25 | 500..=699) => Subject::Reputation,
        (6 | 7, _) => Subject::Content,
        _ => return None,
    })
}

/// All `n.n.n` of a text that are no part of a longer number, such as an address.
fn enhanced_codes(text: &str) -> impl Iterator<Item = (u16, u16, u16)> {
    let is_part = |c: char| c.is_ascii_digit() || c == '.';
    text.split(move |c| !is_part(c)).filter_map(|number| {
        let mut parts = number.trim_end_matches('.').split('.').map(|part| part.parse().ok());
        match (parts.next()??, parts.next()??, parts.next()??, parts.next()) {
            (class @ (4 | 5), subject, detail, None) if subject < 10 && detail < 1000 => Some((class, subject, detail)),
            _ => None,
        }
    })
}

/// What a code says alone (RFC 4954, section 6; RFC 5321, section 4.2.3): enough to name a setting, never to blame a mailbox.
fn of_code(code: u16) -> Subject {
    match code {
        530 | 534 | 535 => Subject::Login,
        538 => Subject::Tls,
        _ => Subject::Unexplained,
    }
}

/// Words about us, the most particular first, as [`words`] writes them. A word may go on behind a phrase, unless a dot ends it.
const OURS: [(Subject, &str); 9] = [
    (
        Subject::SenderDomain,
        "spf., dkim, dmarc, sender policy framework, unauthenticated e mail, unauthenticated email, \
         unauthenticated mail, sender is unauthenticated, domain is not authenticated",
    ),
    (
        Subject::Tls,
        "starttls, tls., ssl., encryption required, encryption needed, encryption is required, must be \
         encrypted, not encrypted, secure connection, conexion segura, conexion cifrada, cifrad, \
         verschlussel, connexion securisee, chiffre, conexao segura, criptograf",
    ),
    (Subject::Hello, "helo., ehlo., fully qualified host, fqdn, greeting name"),
    (
        Subject::Relaying,
        "relaying, relay access, relay denied, relay not, relay is not, relay prohibited, unable to relay, \
         cannot relay, can t relay, not relay, no relay, open relay, to relay, relay mail, relay for, relay \
         through, relay operation, rcpthosts, not local, no es local, reenvi, retransmi, relais, weiterleit, \
         relay negado, relay nao, encaminhamento, not a gateway, isn t local, local recipients only",
    ),
    (
        Subject::Login,
        "authenticat, auth required, auth is required, smtp auth, log in, login, logged in, autentic, \
         autenti, authentif, anmeld, inicie sesion, iniciar sesion, iniciar sessao, identifiez, pop before \
         smtp, check for new mail, check your mail, check mail first, username and password, usuario y \
         contrasena, credential, credencia, benutzername, passwor, contrasena, smtpclientauthentication",
    ),
    (
        Subject::Quota,
        "emails per hour, max emails, messages per hour, mails per hour, per day, daily, hourly, diari, por \
         hora, por dia, par heure, par jour, pro stunde, pro tag, max defers, sending limit, sending quota, \
         send quota, submission quota, submissionquota, rate limit, ratelimit, sending rate, limite de envio, \
         limite de envios, limite d envoi, demasiados mensajes, demasiados correos, muitas mensagens, zu \
         viele nachrichten, zu viele mails, trop de messages, sender thread limit, outbound spam, unusual \
         sending, too many messages, too many mails, too many emails, too many connections, too many \
         concurrent, too many recipients, too many errors, too many invalid, too many unknown",
    ),
    (Subject::Content, "spam content, virus, malware, phishing, attachment, adjunto"),
    (
        Subject::Reputation,
        "blocklist, block list, blacklist, black list, blocked, blocking, banned, denylist, dnsbl, rbl., \
         rbls., spamhaus, spamcop, barracuda, sorbs, uceprotect, cloudmark, senderscore, is listed, listed \
         at, listed on, listed by, host listed, ip listed, reputation, reputacion, reputacao, lista negra, \
         listas negras, liste noire, listes noires, schwarze liste, bloquead, bloqueo, bloquei, bloque., \
         blockiert, gesperrt, geblockt, reverse dns, rdns, ptr., reverse lookup, reverse hostname, dns \
         inverso, client host rejected, your ip, ip address, direccion ip, your host, your server, your \
         network, bad neighbo",
    ),
    (
        Subject::Sender,
        "sender, mail from, from address, from domain, return path, envelope from, mailfrom, send as, sendas, \
         not owned by, remitente, absender, expediteur, emetteur, remetente, originator, from header, header \
         from, to send from, use this from",
    ),
];

/// Words about the recipient and the mail.
const THEIRS: [(Subject, &str); 5] = [
    (
        Subject::NoMailbox,
        "no such user, no such mailbox, no such recipient, no such address, no such account, no such person, \
         no such local user, user unknown, unknown user, unknown recipient, recipient unknown, unknown \
         mailbox, mailbox unknown, unknown local part, unknown local user, unknown address, address unknown, \
         user not found, recipient not found, mailbox not found, account not found, address not found, \
         recipientnotfound, recipnotfound, user does not exist, mailbox does not exist, account does not \
         exist, recipient does not exist, address does not exist, user doesn t exist, mailbox doesn t exist, \
         account doesn t exist, recipient doesn t exist, address doesn t exist, reach does not exist, doesn t \
         have a, does not have a, does not have an, no mailbox here, no mailbox by that, invalid mailbox, \
         invalid recipient, not a valid mailbox, not a valid user, not a valid recipient, not a known user, \
         no longer exists, user is unknown, recipient is unknown, mailbox is unknown, mailbox disabled, \
         mailbox is disabled, account disabled, account is disabled, account has been disabled, user \
         disabled, mailbox inactive, mailbox is inactive, account is inactive, account that you tried to \
         reach is disabled, not listed in domino, not listed in public, usuario no existe, buzon no existe, \
         cuenta no existe, destinatario no existe, direccion no existe, correo no existe, casilla no existe, \
         no existe el usuario, no existe el buzon, no existe la cuenta, no existe el destinatario, no existe \
         la direccion, no existe ese usuario, no existe este usuario, no existe ningun, usuario desconocido, \
         destinatario desconocido, buzon desconocido, usuario inexistente, destinatario inexistente, buzon \
         inexistente, cuenta inexistente, usuario no encontrado, destinatario no encontrado, buzon no \
         encontrado, cuenta no encontrada, cuenta desactivada, cuenta deshabilitada, buzon deshabilitado, \
         usuario nao existe, utilizador nao existe, conta nao existe, destinatario nao existe, caixa postal \
         nao existe, caixa de correio nao existe, endereco nao existe, usuario desconhecido, utilizador \
         desconhecido, destinatario desconhecido, utilizador inexistente, caixa postal inexistente, conta \
         inexistente, endereco inexistente, usuario nao encontrado, destinatario nao encontrado, caixa postal \
         nao encontrada, conta desativada, benutzer unbekannt, unbekannter benutzer, empfanger unbekannt, \
         unbekannter empfanger, postfach unbekannt, adresse unbekannt, benutzer existiert nicht, postfach \
         existiert nicht, empfanger existiert nicht, empfangeradresse existiert nicht, adresse existiert \
         nicht, konto existiert nicht, kein solcher benutzer, kein postfach, postfach nicht vorhanden, \
         postfach nicht gefunden, benutzer nicht gefunden, empfanger nicht gefunden, postfach deaktiviert, \
         utilisateur inconnu, destinataire inconnu, boite inconnue, boite aux lettres inconnue, adresse \
         inconnue, compte inconnu, utilisateur n existe pas, destinataire n existe pas, boite n existe pas, \
         adresse n existe pas, compte n existe pas, boite aux lettres n existe pas, utilisateur inexistant, \
         destinataire inexistant, boite inexistante, adresse inexistante, compte inexistant, utilisateur \
         introuvable, destinataire introuvable, compte desactive",
    ),
    (
        Subject::Greylisting,
        "greylist, graylist, grey list, gray list, at a rate, too quickly, lista gris, listas grises, try \
         again, try later, intente mas tarde, intentelo, reintente, vuelva a intentar, tente novamente, \
         spater erneut, spater noch, reessayez, ressayez, temporar, temporair",
    ),
    (
        Subject::FullMailbox,
        "quota, mailbox full, mailbox is full, full mailbox, inbox is full, over limit, out of storage, \
         storage allocation, insufficient storage, exceeded storage, not enough space, cuota, buzon lleno, \
         casilla llena, esta lleno, esta llena, postfach voll, ist voll, uberfullt, boite pleine, est pleine, \
         caixa cheia, esta cheia, lotada, cota.",
    ),
    (
        Subject::Size,
        "too large, too big, size limit, maximum size, maximum message size, message size, exceeds size, \
         exceeds the maximum, too much mail data, demasiado grande, tamano, zu gross, grosse., trop \
         volumineu, taille, muito grande, tamanho",
    ),
    (Subject::Content, "spam, content reject, policy, politica, politique, richtlinie, prohibited, administrative"),
];

#[cfg(test)]
mod tests {
    use super::*;

    /// Replies as servers gave them, most of them at RCPT. The case from the field: nine of nine such replies put addresses on
    /// the list of those that are not written to any more, for a password of ours (hyvor/relay#258,
    /// getconversio/email-deep-validator#9, postalserver/postal#266, postalserver/postal#647).
    #[test]
    fn what_replies_speak_of() {
        use Subject::*;
        let table = [
            // Postfix
            (
                550,
                "5.1.1 <maria@example.com>: Recipient address rejected: User unknown in local recipient table",
                NoMailbox,
            ),
            (
                550,
                "5.1.1 <maria@example.com>: Recipient address rejected: User unknown in relay recipient table",
                NoMailbox,
            ),
            (550, "5.1.0 <avisos@taller.ec>: Sender address rejected: User unknown in virtual mailbox table", Sender),
            (554, "5.7.1 <maria@example.com>: Relay access denied", Relaying),
            (553, "5.7.1 <avisos@taller.ec>: Sender address rejected: not owned by user taller", Sender),
            (504, "5.5.2 <vm>: Helo command rejected: need fully-qualified hostname", Hello),
            (450, "4.7.1 <vm>: Helo command rejected: Host not found", Hello),
            (554, "5.7.1 <unknown[203.0.113.7]>: Client host rejected: Access denied", Reputation),
            (554, "5.7.1 Service unavailable; Client host [203.0.113.7] blocked using zen.spamhaus.org", Reputation),
            (530, "5.7.0 Must issue a STARTTLS command first", Tls),
            (450, "4.2.0 <maria@example.com>: Recipient address rejected: Greylisted", Greylisting),
            (552, "5.3.4 Message size exceeds fixed limit", Size),
            (450, "4.7.1 Error: too many messages in this session", Quota),
            // Exim, and cPanel, which adds its own
            (550, "Unrouteable address", Unexplained),
            (550, "No Such User Here", NoMailbox),
            (550, "relay not permitted", Relaying),
            (
                550,
                "vm.example [203.0.113.7] is not permitted to relay through this server without authentication.",
                Relaying,
            ),
            (550, "Access denied - Invalid HELO name (See RFC2821 4.1.1.1)", Hello),
            (550, "Please turn on SMTP Authentication in your mail client.", Login),
            (550, "SMTP AUTH is required for message submission on port 587", Login),
            (550, "Verification failed for <avisos@taller.ec> No Such User Here Sender verify failed", Sender),
            (
                550,
                "Domain taller.ec has exceeded the max emails per hour (200/200 (100%)) allowed. Message discarded.",
                Quota,
            ),
            (501, "Syntactically invalid HELO argument(s)", Hello),
            (550, "JunkMail rejected - vm [203.0.113.7] is in an RBL: see https://www.spamhaus.org", Reputation),
            // Exchange and Office 365
            (
                550,
                "5.1.10 RESOLVER.ADR.RecipientNotFound; Recipient maria@example.com not found by SMTP address lookup",
                NoMailbox,
            ),
            (550, "5.7.60 SMTP; Client does not have permissions to send as this sender", Sender),
            (550, "5.7.54 SMTP; Unable to relay recipient in non-accepted domain", Relaying),
            (530, "5.7.57 Client not authenticated to send mail", Login),
            (535, "5.7.139 Authentication unsuccessful, SmtpClientAuthentication is disabled for the Tenant", Login),
            (550, "5.4.1 Recipient address rejected: Access denied. AS(201806281)", Unexplained),
            (550, "5.7.606 Access denied, banned sending IP [203.0.113.7]", Reputation),
            (
                554,
                "5.2.0 STOREDRV.Submission.Exception:SubmissionQuotaExceededException; submission quota exceeded",
                Quota,
            ),
            // Gmail
            (
                550,
                "5.1.1 The email account that you tried to reach does not exist. Please try double-checking",
                NoMailbox,
            ),
            (550, "5.2.1 The email account that you tried to reach is disabled.", NoMailbox),
            (550, "5.2.1 The user you are trying to contact is receiving mail at a rate that prevents", Greylisting),
            (552, "5.2.2 The recipient's inbox is out of storage space.", FullMailbox),
            (550, "5.7.26 This mail has been blocked because the sender is unauthenticated.", SenderDomain),
            (
                550,
                "5.7.26 Unauthenticated email from taller.ec is not accepted due to domain's DMARC policy.",
                SenderDomain,
            ),
            (
                550,
                "5.7.1 [203.0.113.7] Our system has detected an unusual rate of mail from your IP address.",
                Reputation,
            ),
            (550, "5.4.5 Daily user sending limit exceeded.", Quota),
            (534, "5.7.9 Application-specific password required.", Login),
            // qmail: the code at the end
            (553, "sorry, that domain isn't in my list of allowed rcpthosts (#5.7.1)", Relaying),
            (550, "sorry, no mailbox here by that name (#5.1.1)", NoMailbox),
            (553, "sorry, your envelope sender is in my badmailfrom list (#5.7.1)", Sender),
            (550, "Access denied (#5.7.1)", Content),
            // Yahoo, Hotmail, and others
            (554, "delivery error: dd This user doesn't have a yahoo.com account (maria@yahoo.com) [0]", NoMailbox),
            (553, "5.7.2 [TSS09] All messages from 203.0.113.7 will be permanently deferred; your IP", Reputation),
            (550, "5.5.0 Requested action not taken: mailbox unavailable", Unexplained),
            (550, "SPF check failed", SenderDomain),
            (551, "User not local; please try <otro@example.com>", Relaying),
            (552, "Requested mail action aborted: exceeded storage allocation", FullMailbox),
            (550, "5.1.7 Invalid address", Sender),
            (550, "5.1.8 Access denied, bad outbound sender", Sender),
            (554, "5.6.0 Message contains a virus", Content),
            (550, "5.1.1 203.0.113.1 said: no", NoMailbox),
            (550, "host 10.5.1.1 said no", Unexplained),
            (550, "<no.such.user@example.com> rejected", Unexplained),
            (550, "", Unexplained),
            (530, "", Login),
            // In the language of the workshop's provider
            (550, "El usuario no existe", NoMailbox),
            (550, "Buzón desconocido", NoMailbox),
            (550, "El remitente no existe", Sender),
            (550, "Se requiere autenticación para enviar", Login),
            (550, "Reenvío no permitido", Relaying),
            (554, "Su dirección IP está en una lista negra", Reputation),
            (552, "El buzón lleno", FullMailbox),
            (552, "El mensaje es demasiado grande", Size),
            (550, "Benutzer unbekannt", NoMailbox),
            (550, "Absender nicht erlaubt", Sender),
            (550, "Weiterleitung nicht gestattet; bitte anmelden", Relaying),
            (550, "Anmeldung erforderlich", Login),
            (550, "Destinatário desconhecido", NoMailbox),
            (550, "A autenticação é necessária", Login),
            (550, "Remetente rejeitado", Sender),
            (550, "Utilisateur inconnu", NoMailbox),
            (550, "Authentification requise", Login),
            (550, "Expéditeur refusé", Sender),
            (550, "Adresse IP sur liste noire", Reputation),
        ];
        for (code, text, expected) in table {
            assert_eq!(Subject::of(code, text), expected, "{code} {text}");
        }
    }

    #[test]
    fn what_is_said_of_a_connection() {
        let table = [
            ("4.7.1 Error: too many messages in this session", true),
            ("Maximum number of messages per connection exceeded", true),
            ("Demasiados mensajes en esta conexión", true),
            ("Zu viele Nachrichten in dieser Sitzung", true),
            ("5.1.1 No such user here", false),
            ("Connection refused by the backend", false),
            ("Mailbox limit exceeded", false),
        ];
        for (text, expected) in table {
            assert_eq!(is_about_the_connection(text), expected, "{text}");
        }
    }
}
