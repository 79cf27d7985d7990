//! Names of hosts as settings and requests hold them: for which names the API answers, and what we call ourselves.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::str::FromStr;

use url::Host;

/// Why a name of a host cannot be used. Each says what to write instead; none repeats the value, which may hold a password.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum HostError {
    #[error("write the name alone, without a scheme such as https://")]
    Scheme,
    #[error("write the name alone, without a path, a user or a query")]
    MoreThanAName,
    #[error("write the name alone, without a port")]
    Port,
    #[error("this is not the name of a host; write e.g. mail.example.com")]
    NotAName,
    #[error("write a full name such as mail.example.com, or an address in brackets such as [203.0.113.7]")]
    NotAFullName,
}

/// The host of a request, as its header `Host` or a setting names it: without the port, in lower case.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Name {
    Address(IpAddr),
    Domain(String),
}

impl Name {
    /// Reads `name`, `name:port`, `203.0.113.7:port`, `[::1]:port` and `::1`. A dot at the end, which says that the name is
    /// complete, is dropped.
    fn read(text: &str) -> Option<Self> {
        if let Ok(address) = text.parse::<Ipv6Addr>() {
            return Some(Self::Address(address.into()));
        }
        if let Some(rest) = text.strip_prefix('[') {
            let (address, port) = rest.split_once(']')?;
            let is_port = port.is_empty() || port.strip_prefix(':').is_some_and(is_number);
            return address.parse::<Ipv6Addr>().ok().filter(|_| is_port).map(|ip| Self::Address(ip.into()));
        }
        let name = match text.split_once(':') {
            Some((name, port)) if is_number(port) => name,
            Some(_) => return None,
            None => text,
        };
        if let Ok(address) = name.parse::<Ipv4Addr>() {
            return Some(Self::Address(address.into()));
        }
        let name = name.strip_suffix('.').unwrap_or(name);
        // Names of containers may have an underscore, which the name of a mail domain may not.
        let is_good = |label: &str| {
            (1..=63).contains(&label.len())
                && label.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_')
        };
        (name.len() <= 253 && name.split('.').all(is_good)).then(|| Self::Domain(name.to_ascii_lowercase()))
    }
}

/// An empty port is allowed by RFC 3986, section 3.2.3.
fn is_number(port: &str) -> bool {
    port.len() <= 5 && port.bytes().all(|byte| byte.is_ascii_digit())
}

/// Whether a header `Host` means this machine: `localhost` and the names below it (RFC 6761, section 6.3), 127.0.0.0/8, `::1`.
/// A page of another site cannot have such a name, wherever its DNS leads.
pub fn is_loopback(host: &str) -> bool {
    match Name::read(host) {
        Some(Name::Address(ip)) => ip.to_canonical().is_loopback(),
        Some(Name::Domain(name)) => name == "localhost" || name.ends_with(".localhost"),
        None => false,
    }
}

/// The names under which the API may be asked for, in Django's forms: `example.com`, `.example.com` for that and all below
/// it, `*` for all. Ports do not matter.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AllowedHosts(Vec<Pattern>);

#[derive(Clone, Debug, PartialEq, Eq)]
enum Pattern {
    Any,
    Exactly(Name),
    /// The name without its dot.
    Below(String),
}

impl AllowedHosts {
    /// Nothing was set, so nothing is said about any name.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Whether a request with this header `Host` is for us. A header that is no name of a host is for no one, `*` or not.
    pub fn allows(&self, host: &str) -> bool {
        let Some(name) = Name::read(host) else { return false };
        self.0.iter().any(|pattern| match pattern {
            Pattern::Any => true,
            Pattern::Exactly(allowed) => *allowed == name,
            Pattern::Below(parent) => match &name {
                Name::Domain(name) => name
                    .strip_suffix(parent.as_str())
                    .is_some_and(|subdomain| subdomain.is_empty() || subdomain.ends_with('.')),
                Name::Address(_) => false,
            },
        })
    }

    /// Adds what one entry of the list says.
    pub(crate) fn add(&mut self, entry: &str) -> Result<(), HostError> {
        let pattern = match entry.strip_prefix('.') {
            _ if entry == "*" => Pattern::Any,
            Some(parent) => match readable_name(parent)? {
                Name::Domain(parent) => Pattern::Below(parent),
                Name::Address(_) => return Err(HostError::NotAName),
            },
            None => Pattern::Exactly(readable_name(entry)?),
        };
        self.0.push(pattern);
        Ok(())
    }
}

/// A name as people write it: an international one becomes what browsers send (`señal.ec` is `xn--seal-hqa.ec`).
fn readable_name(text: &str) -> Result<Name, HostError> {
    check_is_name_alone(text)?;
    if text.is_ascii() {
        return Name::read(text).ok_or(HostError::NotAName);
    }
    let name = text.rsplit_once(':').map_or(text, |(name, _)| name);
    match Host::parse(name) {
        Ok(Host::Domain(ascii)) => Name::read(&ascii).ok_or(HostError::NotAName),
        _ => Err(HostError::NotAName),
    }
}

/// The name or address of a server that a client of ours connects to, as DNS and TLS want it: an international name in ASCII,
/// an IPv6 address without brackets.
///
/// # Errors
/// When a scheme, a port or anything else stands beside the name.
pub fn server_name(text: &str) -> Result<String, HostError> {
    let text = text.trim();
    let has_port = match text.strip_prefix('[') {
        Some(rest) => rest.contains("]:"),
        None => text.matches(':').count() == 1,
    };
    match readable_name(text)? {
        _ if has_port => Err(HostError::Port),
        Name::Address(address) => Ok(address.to_string()),
        Name::Domain(name) => Ok(name),
    }
}

fn check_is_name_alone(text: &str) -> Result<(), HostError> {
    if text.contains("://") {
        return Err(HostError::Scheme);
    }
    if text.contains(['/', '@', '?', '#']) {
        return Err(HostError::MoreThanAName);
    }
    Ok(())
}

/// What we call ourselves in `EHLO` (RFC 5321, section 4.1.4): a full name, or an address literal such as `[203.0.113.7]`.
/// A name without a dot, and one with an underscore, is what mail servers refuse.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HeloName(String);

impl HeloName {
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for HeloName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl From<IpAddr> for HeloName {
    fn from(address: IpAddr) -> Self {
        match address.to_canonical() {
            IpAddr::V4(address) => Self(format!("[{address}]")),
            IpAddr::V6(address) => Self(format!("[IPv6:{address}]")),
        }
    }
}

impl FromStr for HeloName {
    type Err = HostError;

    fn from_str(text: &str) -> Result<Self, HostError> {
        if let Ok(address) = text.parse::<IpAddr>() {
            return Ok(address.into());
        }
        if let Some(literal) = text.strip_prefix('[').and_then(|text| text.strip_suffix(']')) {
            let address = literal.strip_prefix("IPv6:").unwrap_or(literal).parse::<IpAddr>();
            return address.map(Self::from).map_err(|_| HostError::NotAFullName);
        }
        check_is_name_alone(text)?;
        if text.contains(':') {
            return Err(HostError::Port);
        }
        let name = text.strip_suffix('.').unwrap_or(text);
        crate::addresses::mail_domain(name).map(Self).map_err(|_| HostError::NotAFullName)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn allowed(entries: &str) -> AllowedHosts {
        let mut hosts = AllowedHosts::default();
        entries.split(',').for_each(|entry| hosts.add(entry).expect(entry));
        hosts
    }

    /// Django's forms, as `ALLOWED_HOSTS` of the service before had them.
    #[test]
    fn hosts_are_allowed_as_in_django() {
        let cases = [
            ("example.com", "example.com", true),
            ("example.com", "EXAMPLE.com.:8000", true),
            ("example.com", "example.com:", true),
            ("example.com", "a.example.com", false),
            ("example.com", "badexample.com", false),
            ("example.com", "example.com.evil.example", false),
            (".example.com", "example.com", true),
            (".example.com", "a.b.example.com:443", true),
            (".example.com", "badexample.com", false),
            ("*", "anything.example", true),
            ("*", "", false),
            ("*", "a b", false),
            ("*", "a.example/path", false),
            ("*", "user@a.example", false),
            ("*", "a.example:80:80", false),
            ("*", "a.example:port", false),
            ("Example.COM:8000", "example.com", true),
            ("a.example,127.0.0.1", "127.0.0.1:8000", true),
            ("127.0.0.1", "127.0.0.2", false),
            (".0.1", "a.0.1", true),
            (".0.0.1", "127.0.0.1", false),
            ("[::1]", "[::1]:8000", true),
            ("::1", "[0:0::1]", true),
            ("[::1]", "[::1]8000", false),
            ("señal.ec", "xn--seal-hqa.ec", true),
            (".señal.ec:8000", "a.xn--seal-hqa.ec", true),
            ("recado_api", "recado_api:8000", true),
        ];
        for (entries, host, expected) in cases {
            assert_eq!(allowed(entries).allows(host), expected, "{host} with {entries}");
        }
        assert!(AllowedHosts::default().is_empty() && !AllowedHosts::default().allows("localhost"));
    }

    #[test]
    fn what_is_no_name_is_refused_with_the_remedy() {
        let add = |entry| AllowedHosts::default().add(entry);
        assert_eq!(add("https://example.com"), Err(HostError::Scheme));
        assert_eq!(add("example.com/api"), Err(HostError::MoreThanAName));
        for entry in ["*.example.com", "a b", ".", "..example.com", ".127.0.0.1", "[::1"] {
            assert_eq!(add(entry), Err(HostError::NotAName), "{entry}");
        }
    }

    /// `smtp.example.com:587`, `smtp://…` and `[::1]` passed the start and failed each mail.
    #[test]
    fn a_server_is_a_name_or_an_address_alone() {
        let good = [
            ("smtp.example.com", "smtp.example.com"),
            ("SMTP.Example.com.", "smtp.example.com"),
            ("mailhog", "mailhog"),
            ("mail_server", "mail_server"),
            ("correo.señal.ec", "correo.xn--seal-hqa.ec"),
            ("203.0.113.7", "203.0.113.7"),
            ("[::1]", "::1"),
            ("::1", "::1"),
        ];
        for (text, expected) in good {
            assert_eq!(server_name(text).as_deref(), Ok(expected), "{text}");
        }
        let wrong = [
            ("smtp.example.com:587", HostError::Port),
            ("señal.ec:587", HostError::Port),
            ("[::1]:25", HostError::Port),
            ("smtp://smtp.example.com", HostError::Scheme),
            ("smtp.example.com/", HostError::MoreThanAName),
            ("user@smtp.example.com", HostError::MoreThanAName),
            ("smtp.example.com smtp2.example.com", HostError::NotAName),
            ("smtp.example.com,smtp2.example.com", HostError::NotAName),
            ("\"smtp.example.com\"", HostError::NotAName),
            ("", HostError::NotAName),
        ];
        for (text, expected) in wrong {
            assert_eq!(server_name(text), Err(expected), "{text}");
        }
    }

    #[test]
    fn loopback_has_few_names() {
        for host in ["localhost", "LocalHost:8000", "a.localhost.", "127.0.0.1:80", "127.9.9.9", "[::1]:8000"] {
            assert!(is_loopback(host), "{host}");
        }
        for host in ["localhost.evil.example", "127.0.0.1.evil.example", "10.0.0.1", "notlocalhost", "0.0.0.0", ""] {
            assert!(!is_loopback(host), "{host}");
        }
    }

    /// A short name, or one with an underscore, is refused by servers with `reject_non_fqdn_helo_hostname`
    /// (chatmail/core#1847, ix-ai/smtp#6).
    #[test]
    fn a_name_for_helo_is_full_or_an_address_literal() {
        let good = [
            ("avisos.example.com", "avisos.example.com"),
            ("Avisos.Example.COM.", "avisos.example.com"),
            ("avisos.señal.ec", "avisos.xn--seal-hqa.ec"),
            ("203.0.113.7", "[203.0.113.7]"),
            ("[203.0.113.7]", "[203.0.113.7]"),
            ("[IPv6:2001:db8::1]", "[IPv6:2001:db8::1]"),
            ("2001:db8::1", "[IPv6:2001:db8::1]"),
        ];
        for (text, expected) in good {
            assert_eq!(text.parse::<HeloName>().map(|name| name.to_string()), Ok(expected.to_owned()), "{text}");
        }
        for wrong in
            ["vm", "localhost", "recado_api.example.com", "a.example.com:25", "smtp://a.example.com", "[vm]", ""]
        {
            assert!(wrong.parse::<HeloName>().is_err(), "{wrong}");
        }
    }
}
