//! SMTP commands as text (RFC 5321 §4.1), and what is wrong with them.

use super::reply::Reply;

/// A command that can be obeyed, or at least answered by name.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Command {
    /// The name or address that the client calls itself.
    Ehlo(String),
    Helo(String),
    StartTls,
    /// The mechanism, upper case, and the initial response.
    Auth(String, Option<String>),
    Mail(Sender),
    Rcpt(String),
    Data,
    Rset,
    Noop,
    Vrfy,
    Help,
    Quit,
}

/// `MAIL FROM` and its parameters.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Sender {
    /// Empty for the null sender `<>` of bounces.
    pub(super) address: String,
    /// What the client says it is going to send, in bytes (RFC 1870).
    pub(super) size: Option<usize>,
    pub(super) smtputf8: bool,
}

impl Command {
    /// Reads one line without its line end.
    ///
    /// # Errors
    /// The reply to give instead of obeying.
    pub(super) fn parse(line: &[u8]) -> Result<Self, Reply> {
        let line = std::str::from_utf8(line).map_err(|_| Reply::new(500, "5.5.2 The line is not valid UTF-8"))?;
        let line = line.trim_end();
        let (verb, rest) = line.split_once(' ').unwrap_or((line, ""));
        let rest = rest.trim();
        match verb.to_ascii_uppercase().as_str() {
            "EHLO" if !rest.is_empty() => Ok(Self::Ehlo(rest.to_owned())),
            "HELO" if !rest.is_empty() => Ok(Self::Helo(rest.to_owned())),
            "EHLO" | "HELO" => Err(Reply::new(501, "5.5.4 Say who you are: EHLO client.example")),
            "STARTTLS" => Ok(Self::StartTls),
            "AUTH" => auth(rest),
            "MAIL" => mail(rest).map(Self::Mail),
            "RCPT" => rcpt(rest).map(Self::Rcpt),
            "DATA" => Ok(Self::Data),
            "RSET" => Ok(Self::Rset),
            "NOOP" => Ok(Self::Noop),
            "VRFY" => Ok(Self::Vrfy),
            "HELP" => Ok(Self::Help),
            "QUIT" => Ok(Self::Quit),
            "EXPN" | "BDAT" | "TURN" => Err(Reply::new(502, "5.5.1 Command not implemented")),
            _ => Err(Reply::new(500, "5.5.2 Command not recognized")),
        }
    }
}

fn auth(rest: &str) -> Result<Command, Reply> {
    let mut words = rest.split_ascii_whitespace();
    let mechanism = words.next().ok_or_else(|| Reply::new(501, "5.5.4 Name a mechanism: AUTH PLAIN"))?;
    // RFC 4954 §4: a single "=" is an initial response of no bytes.
    let initial = words.next().map(|word| if word == "=" { "" } else { word }.to_owned());
    Ok(Command::Auth(mechanism.to_ascii_uppercase(), initial))
}

fn mail(rest: &str) -> Result<Sender, Reply> {
    let (address, parameters) = path(rest, "FROM:")?;
    let mut sender = Sender { address: address.to_owned(), size: None, smtputf8: false };
    for parameter in parameters.split_ascii_whitespace() {
        let (name, value) = parameter.split_once('=').unwrap_or((parameter, ""));
        match (name.to_ascii_uppercase().as_str(), value) {
            ("SIZE", bytes) => {
                let bytes = bytes.parse();
                sender.size = Some(bytes.map_err(|_| Reply::new(501, "5.5.4 SIZE is a number of bytes"))?);
            }
            ("BODY", kind) if kind.eq_ignore_ascii_case("8BITMIME") || kind.eq_ignore_ascii_case("7BIT") => {}
            ("SMTPUTF8", "") => sender.smtputf8 = true,
            ("AUTH", _) => {}
            _ => return Err(unknown_parameter(parameter)),
        }
    }
    if !sender.address.is_empty() && !is_address(&sender.address) {
        return Err(Reply::new(501, "5.1.7 Bad sender address syntax"));
    }
    if !sender.address.is_ascii() && !sender.smtputf8 {
        return Err(needs_smtputf8());
    }
    Ok(sender)
}

fn rcpt(rest: &str) -> Result<String, Reply> {
    let (address, parameters) = path(rest, "TO:")?;
    if let Some(parameter) = parameters.split_ascii_whitespace().next() {
        return Err(unknown_parameter(parameter));
    }
    // RFC 5321 §4.5.1: a bare postmaster is the one address that needs no domain.
    if !is_address(address) && !address.eq_ignore_ascii_case("postmaster") {
        return Err(Reply::new(501, "5.1.3 Bad recipient address syntax"));
    }
    Ok(address.to_owned())
}

/// The address between the angle brackets, and what stands behind them.
fn path<'a>(rest: &'a str, keyword: &str) -> Result<(&'a str, &'a str), Reply> {
    let malformed = || Reply::new(501, format!("5.5.4 Syntax: {keyword}<address>"));
    let given = rest.get(..keyword.len()).ok_or_else(malformed)?;
    if !given.eq_ignore_ascii_case(keyword) {
        return Err(malformed());
    }
    let rest = rest[keyword.len()..].trim_start();
    let inside = rest.strip_prefix('<').ok_or_else(malformed)?;
    let end = closing_bracket(inside).ok_or_else(malformed)?;
    let (address, after) = (&inside[..end], &inside[end + 1..]);
    if !after.is_empty() && !after.starts_with(' ') {
        return Err(malformed());
    }
    Ok((without_route(address), after))
}

/// A local part in quotes may contain `>`.
fn closing_bracket(inside: &str) -> Option<usize> {
    let (mut quoted, mut escaped) = (false, false);
    inside.bytes().position(|byte| {
        match byte {
            _ if escaped => escaped = false,
            b'\\' if quoted => escaped = true,
            b'"' => quoted = !quoted,
            b'>' => return !quoted,
            _ => {}
        }
        false
    })
}

/// RFC 5321 §4.1.1.3: a source route (`@relay:user@domain`) is accepted and ignored.
fn without_route(address: &str) -> &str {
    match address.split_once(':') {
        Some((route, address)) if route.starts_with('@') => address,
        _ => address,
    }
}

fn is_address(address: &str) -> bool {
    address.rsplit_once('@').is_some_and(|(local, domain)| {
        let quoted = local.len() >= 2 && local.starts_with('"') && local.ends_with('"');
        let spaced = |part: &str| part.chars().any(|c| c.is_whitespace() || c.is_control());
        !local.is_empty() && !domain.is_empty() && !spaced(domain) && (quoted || !spaced(local) && !local.contains('@'))
    })
}

/// What a server says to an address outside ASCII when SMTPUTF8 was not asked for (RFC 6531 §3.5).
pub(super) fn needs_smtputf8() -> Reply {
    Reply::new(553, "5.6.7 An address outside ASCII needs SMTPUTF8")
}

fn unknown_parameter(parameter: &str) -> Reply {
    Reply::new(555, format!("5.5.4 Parameter not recognized: {parameter}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sender(address: &str) -> Sender {
        Sender { address: address.to_owned(), size: None, smtputf8: false }
    }

    #[test]
    fn commands_that_are_understood() {
        for (line, expected) in [
            ("EHLO [127.0.0.1]", Command::Ehlo("[127.0.0.1]".into())),
            ("helo me", Command::Helo("me".into())),
            ("StartTLS", Command::StartTls),
            ("AUTH plain AHUAcA==", Command::Auth("PLAIN".into(), Some("AHUAcA==".into()))),
            ("AUTH LOGIN", Command::Auth("LOGIN".into(), None)),
            ("AUTH PLAIN =", Command::Auth("PLAIN".into(), Some(String::new()))),
            ("MAIL FROM:<a@b.ec>", Command::Mail(sender("a@b.ec"))),
            ("mail from: <> BODY=8bitmime", Command::Mail(sender(""))),
            (
                "MAIL FROM:<ñ@b.ec> SIZE=12 SMTPUTF8",
                Command::Mail(Sender { address: "ñ@b.ec".into(), size: Some(12), smtputf8: true }),
            ),
            ("RCPT TO:<a@b.ec>", Command::Rcpt("a@b.ec".into())),
            ("RCPT TO:<@relay.ec:a@b.ec>", Command::Rcpt("a@b.ec".into())),
            (r#"RCPT TO:<"a >\" b"@b.ec>"#, Command::Rcpt(r#""a >\" b"@b.ec"#.into())),
            ("RCPT TO:<Postmaster>", Command::Rcpt("Postmaster".into())),
            ("DATA", Command::Data),
            ("QUIT ", Command::Quit),
        ] {
            assert_eq!(Command::parse(line.as_bytes()), Ok(expected), "{line}");
        }
    }

    #[test]
    fn commands_that_are_refused() {
        for (line, code) in [
            (&b"EHLO"[..], 501),
            (b"", 500),
            (b"HACK", 500),
            (b"BDAT 12 LAST", 502),
            (b"MAIL", 501),
            (b"MAIL FROM:a@b.ec", 501),
            (b"MAIL FROM:<a@b.ec", 501),
            (b"MAIL FROM:<a@b.ec>SIZE=1", 501),
            (b"MAIL FROM:<a@b.ec> SIZE=many", 501),
            (b"MAIL FROM:<a@b.ec> BODY=BINARYMIME", 555),
            (b"MAIL FROM:<a@b.ec> FUTURE=1", 555),
            ("MAIL FROM:<ñ@b.ec>".as_bytes(), 553),
            ("MAIL ÑÑÑÑ".as_bytes(), 501),
            (b"RCPT TO:<>", 501),
            (b"RCPT TO:<nobody>", 501),
            (b"RCPT TO:<a b@c.ec>", 501),
            (b"RCPT TO:<a@b@c.ec>", 501),
            (b"RCPT TO:<a@b.ec> NOTIFY=NEVER", 555),
            (b"RCPT FROM:<a@b.ec>", 501),
            (b"AUTH", 501),
            (b"NOOP \xff", 500),
        ] {
            let reply = Command::parse(line).expect_err("refused");
            assert_eq!(reply.code, code, "{}", String::from_utf8_lossy(line));
        }
    }
}
