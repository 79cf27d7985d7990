//! Why a mail was not taken, and how far the conversation came.

/// How far the conversation came.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Stage {
    /// Name, TCP, TLS from the first byte.
    Connect,
    /// The server's first words.
    Greeting,
    /// EHLO or HELO.
    Hello,
    StartTls,
    Auth,
    Sender,
    /// RCPT.
    Recipient,
    /// DATA: the server may still refuse before it has seen the mail.
    Data,
    /// The mail was on its way, or whole in the server's hands.
    Content,
}

/// Why a mail was not taken.
#[derive(Debug)]
pub(super) struct SmtpError {
    pub(super) stage: Stage,
    pub(super) cause: Cause,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Cause {
    /// The server said no. The text may name the recipient.
    Reply { code: u16, text: String },
    /// The time was up.
    Silence,
    /// The server has been silent to others, and one mail is asking it already.
    StillSilent,
    /// The server's name leads nowhere.
    NoName(String),
    /// The server's certificate is not one that we trust.
    Certificate,
    /// The two sides agreed on no encryption.
    Handshake(String),
    /// Its address is one to which we do not connect for those who wrote it.
    Forbidden,
    /// The server cannot do what the settings or the address ask for.
    Lacks(Ability),
    /// What answers does not speak SMTP.
    NotSmtp,
    /// No connection, or one that broke.
    Broken(String),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Ability {
    StartTls,
    Auth,
    SmtpUtf8,
}
