//! Where we may connect when a customer chose the address: push endpoints, webhooks, bridges.
//!
//! Without this guard, a caller who may register an address could make us talk to our own database or to the cloud's
//! metadata service (SSRF). A name is looked up again for each connection, so the code that connects must judge the address
//! that was found with [`is_allowed`]; [`check_url`] alone only judges what is written.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use url::{Host, Url};

use crate::language::Sentence;
use crate::networks::Network;

/// Why an address that a customer chose is not used. Each names the remedy.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum OutboundError {
    #[error("this is not a URL; write e.g. https://example.com/path")]
    NotAUrl,
    #[error("the URL must begin with https://")]
    NotHttps,
    #[error("the URL holds a user name or a password; leave them out")]
    Credentials,
    #[error(
        "the address is not on the public internet; use a public one, or set OUTBOUND_ALLOW_PRIVATE_NETWORKS=true; for webhooks its network in OUTBOUND_ALLOWED_NETWORKS is enough"
    )]
    NotPublic,
    #[error(
        "this address is never connected to: it is link-local, multicast, unspecified, or a cloud's metadata service"
    )]
    Forbidden,
}

impl From<OutboundError> for Sentence {
    fn from(error: OutboundError) -> Self {
        Self::of_error(error.in_spanish(), &error)
    }
}

impl OutboundError {
    /// The same for callers of the API.
    pub fn in_spanish(&self) -> &'static str {
        match self {
            Self::NotAUrl => "Introduzca una URL válida, por ejemplo https://example.com/…",
            Self::NotHttps => "La URL debe empezar por https://.",
            Self::Credentials => "La URL no debe llevar usuario ni contraseña.",
            Self::NotPublic => {
                "La dirección no está en la internet pública; use una que lo esté, o active OUTBOUND_ALLOW_PRIVATE_NETWORKS; para webhooks basta su red en OUTBOUND_ALLOWED_NETWORKS."
            }
            Self::Forbidden => "A esta dirección no se conecta nunca.",
        }
    }
}

/// Checks a URL as it is written: `https`, no credentials, and no literal address that [`is_allowed`] refuses.
///
/// With `allow_private` (`OUTBOUND_ALLOW_PRIVATE_NETWORKS`) `http` and private addresses pass too. A host name passes
/// here in any case, except `localhost`, so that the API can say at once what would fail later.
pub fn check_url(url: &str, allow_private: bool) -> Result<Url, OutboundError> {
    let url = Url::parse(url.trim()).map_err(|_| OutboundError::NotAUrl)?;
    match url.scheme() {
        "https" => {}
        "http" if allow_private => {}
        _ => return Err(OutboundError::NotHttps),
    }
    if !url.username().is_empty() || url.password().is_some() {
        return Err(OutboundError::Credentials);
    }
    match url.host() {
        None => return Err(OutboundError::NotAUrl),
        Some(Host::Domain(name)) if is_localhost(name) && !allow_private => return Err(OutboundError::NotPublic),
        Some(Host::Domain(_)) => {}
        Some(Host::Ipv4(ip)) => check_ip(ip.into(), allow_private)?,
        Some(Host::Ipv6(ip)) => check_ip(ip.into(), allow_private)?,
    }
    Ok(url)
}

/// How far requests may go whose URL was written through the API.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Reach {
    /// `OUTBOUND_ALLOW_PRIVATE_NETWORKS`: loopback and private networks, over `http` too.
    pub all_private: bool,
    /// `OUTBOUND_ALLOWED_NETWORKS`: these as well. What [`is_allowed`] never lets pass needs an entry for the very address
    /// (d26): a network that happens to hold a metadata service does not open it.
    pub networks: Vec<Network>,
}

impl From<bool> for Reach {
    fn from(all_private: bool) -> Self {
        Self { all_private, networks: Vec::new() }
    }
}

impl Reach {
    /// Whether we may connect to this address.
    pub fn permits(&self, ip: IpAddr) -> bool {
        is_allowed(ip, self.all_private) || self.is_listed(ip)
    }

    fn is_listed(&self, ip: IpAddr) -> bool {
        let is_ordinary = is_private_network(ip);
        self.networks.iter().any(|network| network.contains(ip) && (is_ordinary || network.is_one_address()))
    }

    /// Checks a URL as it is written, as [`check_url`] does. In a network that is listed `http` passes too, where the host is
    /// written as an address.
    ///
    /// # Errors
    /// What is wrong with it, and the remedy.
    pub fn check_url(&self, url: &str) -> Result<Url, OutboundError> {
        let found = check_url(url, self.all_private);
        let (Err(error), Ok(open)) = (&found, check_url_of_listed(url)) else { return found };
        let ip = match open.host() {
            Some(Host::Ipv4(ip)) => ip.into(),
            Some(Host::Ipv6(ip)) => ip.into(),
            // What the name leads to is judged when it is called; only TLS says then that it is the right one.
            Some(Host::Domain(name)) => {
                let is_here = is_localhost(name) && self.is_listed(Ipv4Addr::LOCALHOST.into());
                return if is_here { Ok(open) } else { Err(error.clone()) };
            }
            None => return found,
        };
        if self.is_listed(ip) { Ok(open) } else { Err(error.clone()) }
    }
}

/// The form of a URL alone.
fn check_url_of_listed(url: &str) -> Result<Url, OutboundError> {
    let url = Url::parse(url.trim()).map_err(|_| OutboundError::NotAUrl)?;
    if !matches!(url.scheme(), "https" | "http") {
        return Err(OutboundError::NotHttps);
    }
    if !url.username().is_empty() || url.password().is_some() {
        return Err(OutboundError::Credentials);
    }
    Ok(url)
}

/// Checks the host of a server that speaks something else than HTTP, by the rules of [`check_url`].
pub fn check_host(host: &str, allow_private: bool) -> Result<(), OutboundError> {
    let host = host.trim();
    // The parser for hosts of URLs wants an IPv6 address in brackets.
    if let Ok(ip) = host.parse() {
        return check_ip(ip, allow_private);
    }
    match Host::parse(host) {
        Ok(Host::Domain(name)) if is_localhost(&name) && !allow_private => Err(OutboundError::NotPublic),
        Ok(Host::Domain(_)) => Ok(()),
        Ok(Host::Ipv4(ip)) => check_ip(ip.into(), allow_private),
        Ok(Host::Ipv6(ip)) => check_ip(ip.into(), allow_private),
        Err(_) => Err(OutboundError::NotAUrl),
    }
}

/// [`is_allowed`] as a `Result` that says which of the two rules was broken.
pub fn check_ip(ip: IpAddr, allow_private: bool) -> Result<(), OutboundError> {
    match (is_allowed(ip, allow_private), is_private_network(ip)) {
        (true, _) => Ok(()),
        (false, true) => Err(OutboundError::NotPublic),
        (false, false) => Err(OutboundError::Forbidden),
    }
}

/// Whether we may connect to this address: a public one, or with `allow_private` also loopback and private networks.
///
/// Link-local addresses and the clouds' metadata services stay forbidden even then (d26): no caller registers them in
/// good faith, and they hand out credentials.
pub fn is_allowed(ip: IpAddr, allow_private: bool) -> bool {
    is_public(ip) || (allow_private && is_private_network(ip))
}

/// Whether this is a unicast address of the public internet. An IPv6 address that only wraps an IPv4 address (mapped,
/// NAT64, 6to4, Teredo) is judged by the address within.
pub fn is_public(ip: IpAddr) -> bool {
    match ip {
        IpAddr::V4(ip) => !RESERVED_V4.iter().any(|&(network, length)| contains_v4(network, length, ip)),
        IpAddr::V6(ip) => {
            let within = embedded_v4(ip);
            let global = contains_v6([0x2000, 0], 3, ip)
                && !RESERVED_V6.iter().any(|&(network, length)| contains_v6(network, length, ip));
            if within.is_empty() { global } else { within.into_iter().all(|ip| is_public(ip.into())) }
        }
    }
}

/// Networks that belong to the operator of the machine: loopback, private, shared (carrier-grade NAT), unique local.
fn is_private_network(ip: IpAddr) -> bool {
    if METADATA_SERVICES.contains(&ip) {
        return false;
    }
    match ip {
        IpAddr::V4(ip) => PRIVATE_V4.iter().any(|&(network, length)| contains_v4(network, length, ip)),
        IpAddr::V6(ip) => {
            let mapped = ip.to_ipv4_mapped().is_some_and(|ip| is_private_network(ip.into()));
            mapped || ip.is_loopback() || contains_v6([0xfc00, 0], 7, ip)
        }
    }
}

/// RFC 6761, section 6.3: these names always mean this machine.
fn is_localhost(name: &str) -> bool {
    let name = name.trim_end_matches('.');
    name == "localhost" || name.ends_with(".localhost")
}

/// Metadata services that live inside a private network: Alibaba Cloud, AWS and Google Cloud on IPv6. The one that
/// all clouds share, 169.254.169.254, is link-local.
const METADATA_SERVICES: [IpAddr; 3] = [
    IpAddr::V4(Ipv4Addr::new(100, 100, 100, 200)),
    IpAddr::V6(Ipv6Addr::new(0xfd00, 0x0ec2, 0, 0, 0, 0, 0, 0x254)),
    IpAddr::V6(Ipv6Addr::new(0xfd20, 0x00ce, 0, 0, 0, 0, 0, 0x254)),
];

const PRIVATE_V4: [([u8; 4], u32); 5] =
    [([10, 0, 0, 0], 8), ([100, 64, 0, 0], 10), ([127, 0, 0, 0], 8), ([172, 16, 0, 0], 12), ([192, 168, 0, 0], 16)];

/// The IANA registry of special-purpose IPv4 addresses (RFC 6890), plus multicast and the former class E.
const RESERVED_V4: [([u8; 4], u32); 15] = [
    ([0, 0, 0, 0], 8),       // "this network"; 0.0.0.0 reaches loopback on Linux
    ([10, 0, 0, 0], 8),      // private
    ([100, 64, 0, 0], 10),   // shared, carrier-grade NAT
    ([127, 0, 0, 0], 8),     // loopback
    ([169, 254, 0, 0], 16),  // link-local, with the metadata services
    ([172, 16, 0, 0], 12),   // private
    ([192, 0, 0, 0], 24),    // protocol assignments
    ([192, 0, 2, 0], 24),    // documentation
    ([192, 88, 99, 0], 24),  // the withdrawn 6to4 relay
    ([192, 168, 0, 0], 16),  // private
    ([198, 18, 0, 0], 15),   // benchmarking
    ([198, 51, 100, 0], 24), // documentation
    ([203, 0, 113, 0], 24),  // documentation
    ([224, 0, 0, 0], 4),     // multicast
    ([240, 0, 0, 0], 4),     // reserved, with the broadcast address
];

/// What lies inside the global unicast range 2000::/3 and is not public. Addresses that wrap an IPv4 address never get
/// here.
const RESERVED_V6: [([u16; 2], u32); 3] = [
    ([0x2001, 0x0000], 23), // protocol assignments: benchmarking, ORCHID
    ([0x2001, 0x0db8], 32), // documentation
    ([0x3fff, 0x0000], 20), // documentation
];

/// The IPv4 addresses that an IPv6 address stands for; empty when it stands for itself.
fn embedded_v4(ip: Ipv6Addr) -> Vec<Ipv4Addr> {
    let words = ip.segments();
    let v4 = |high: u16, low: u16| Ipv4Addr::from(u32::from(high) << 16 | u32::from(low));
    match words {
        // Mapped (RFC 4291), NAT64 (RFC 6052), 6to4 (RFC 3056).
        [0, 0, 0, 0, 0, 0xffff, high, low] | [0x64, 0xff9b, 0, 0, 0, 0, high, low] | [0x2002, high, low, ..] => {
            vec![v4(high, low)]
        }
        // Teredo (RFC 4380, section 4): the server, and the client with its bits inverted.
        [0x2001, 0, server_high, server_low, _, _, high, low] => vec![v4(server_high, server_low), v4(!high, !low)],
        _ => Vec::new(),
    }
}

fn contains_v4(network: [u8; 4], length: u32, ip: Ipv4Addr) -> bool {
    (u32::from_be_bytes(network) ^ u32::from(ip)) >> (32 - length) == 0
}

/// `network` holds the first two words, which is as far as our prefixes reach.
fn contains_v6(network: [u16; 2], length: u32, ip: Ipv6Addr) -> bool {
    let words = ip.segments();
    let join = |high: u16, low: u16| u32::from(high) << 16 | u32::from(low);
    (join(network[0], network[1]) ^ join(words[0], words[1])) >> (32 - length) == 0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn public_addresses_are_public() {
        let public = [
            "1.1.1.1",
            "8.8.8.8",
            "9.255.255.255",
            "11.0.0.0",
            "100.63.255.255",
            "100.128.0.0",
            "126.255.255.255",
            "128.0.0.1",
            "169.253.255.255",
            "169.255.0.0",
            "172.15.255.255",
            "172.32.0.0",
            "192.0.1.0",
            "192.167.255.255",
            "192.169.0.0",
            "198.17.255.255",
            "198.20.0.0",
            "223.255.255.255",
            "2606:4700:4700::1111",
            "2a00:1450:4001::200e",
            "::ffff:8.8.8.8",
            "64:ff9b::808:808",
            "2002:808:808::1",
            "2001:0:808:808:0:0:f7f7:f7f7",
        ];
        for ip in public {
            assert!(is_public(ip.parse().unwrap()), "{ip} is public");
        }
    }

    #[test]
    fn addresses_that_are_not_public_are_not() {
        let special = [
            "0.0.0.0",
            "0.1.2.3",
            "10.0.0.1",
            "10.255.255.255",
            "100.64.0.1",
            "100.127.255.255",
            "127.0.0.1",
            "127.255.255.254",
            "169.254.169.254",
            "172.16.0.1",
            "172.31.255.255",
            "192.0.0.8",
            "192.0.2.1",
            "192.88.99.1",
            "192.168.0.1",
            "198.18.0.1",
            "198.19.255.255",
            "198.51.100.7",
            "203.0.113.9",
            "224.0.0.1",
            "239.255.255.255",
            "240.0.0.1",
            "255.255.255.255",
            "::",
            "::1",
            "::7f00:1",
            "fc00::1",
            "fd12:3456::1",
            "fe80::1",
            "fec0::1",
            "ff02::1",
            "2001:db8::1",
            "2001:2::1",
            "2001:10::1",
            "3fff::1",
            "100::1",
            "5f00::1",
            "64:ff9b:1::1",
            "::ffff:127.0.0.1",
            "::ffff:10.0.0.1",
            "64:ff9b::7f00:1",
            "64:ff9b::a9fe:a9fe",
            "2002:7f00:1::",
            "2002:c0a8:1::1",
            // Teredo: a private client behind a public server, and the other way round.
            "2001:0:808:808:0:0:3f57:fefe",
            "2001:0:a00:1:0:0:f7f7:f7f7",
        ];
        for ip in special {
            assert!(!is_public(ip.parse().unwrap()), "{ip} is not public");
        }
    }

    #[test]
    fn private_networks_are_allowed_when_the_operator_says_so_but_metadata_services_never() {
        for ip in
            ["127.0.0.1", "10.1.2.3", "192.168.1.1", "172.20.0.5", "100.64.0.1", "::1", "fd12::1", "::ffff:127.0.0.1"]
        {
            let ip = ip.parse().unwrap();
            assert_eq!(check_ip(ip, false), Err(OutboundError::NotPublic), "{ip}");
            assert_eq!(check_ip(ip, true), Ok(()), "{ip}");
        }
        for ip in [
            "169.254.169.254",
            "fe80::1",
            "0.0.0.0",
            "224.0.0.1",
            "100.100.100.200",
            "fd00:ec2::254",
            "fd20:ce::254",
            "::ffff:169.254.169.254",
        ] {
            let ip = ip.parse().unwrap();
            assert_eq!(check_ip(ip, false), Err(OutboundError::Forbidden), "{ip}");
            assert_eq!(check_ip(ip, true), Err(OutboundError::Forbidden), "{ip}");
        }
    }

    #[test]
    fn urls() {
        let table = [
            ("https://example.com/hook", Ok(()), Ok(())),
            ("  https://example.com:8443/hook?a=b ", Ok(()), Ok(())),
            ("http://example.com/hook", Err(OutboundError::NotHttps), Ok(())),
            ("ftp://example.com/", Err(OutboundError::NotHttps), Err(OutboundError::NotHttps)),
            ("file:///etc/passwd", Err(OutboundError::NotHttps), Err(OutboundError::NotHttps)),
            ("example.com/hook", Err(OutboundError::NotAUrl), Err(OutboundError::NotAUrl)),
            ("", Err(OutboundError::NotAUrl), Err(OutboundError::NotAUrl)),
            ("https://", Err(OutboundError::NotAUrl), Err(OutboundError::NotAUrl)),
            ("https://user:secret@example.com/", Err(OutboundError::Credentials), Err(OutboundError::Credentials)),
            ("https://user@example.com/", Err(OutboundError::Credentials), Err(OutboundError::Credentials)),
            ("https://localhost:8001/", Err(OutboundError::NotPublic), Ok(())),
            ("https://LOCALHOST./", Err(OutboundError::NotPublic), Ok(())),
            ("https://a.localhost/", Err(OutboundError::NotPublic), Ok(())),
            ("https://127.0.0.1/", Err(OutboundError::NotPublic), Ok(())),
            ("https://[::1]/", Err(OutboundError::NotPublic), Ok(())),
            ("https://169.254.169.254/latest/meta-data/", Err(OutboundError::Forbidden), Err(OutboundError::Forbidden)),
            ("https://[::ffff:a9fe:a9fe]/", Err(OutboundError::Forbidden), Err(OutboundError::Forbidden)),
        ];
        for (url, guarded, open) in table {
            assert_eq!(check_url(url, false).map(drop), guarded, "{url}");
            assert_eq!(check_url(url, true).map(drop), open, "{url}, private networks allowed");
        }
    }

    #[test]
    fn numbers_that_browsers_read_as_an_address_are_addresses() {
        for url in [
            "https://2130706433/",
            "https://0x7f000001/",
            "https://0177.0.0.1/",
            "https://127.1/",
            "https://１２７.０.０.１/",
        ] {
            assert_eq!(check_url(url, false), Err(OutboundError::NotPublic), "{url}");
        }
    }

    /// d26: a list of networks, and link-local addresses never without an exact entry.
    #[test]
    fn a_network_of_the_operator_is_open_and_no_other() {
        let reach = |networks: &[&str]| Reach {
            all_private: false,
            networks: networks.iter().map(|network| network.parse().unwrap()).collect(),
        };
        let listed = reach(&["10.20.0.0/16", "169.254.0.0/16", "169.254.10.7"]);
        let table = [
            ("https://10.20.1.1/", Ok(())),
            ("http://10.20.1.1:8080/hook", Ok(())),
            ("https://10.21.1.1/", Err(OutboundError::NotPublic)),
            ("http://10.21.1.1/", Err(OutboundError::NotHttps)),
            ("http://example.com/", Err(OutboundError::NotHttps)),
            ("https://example.com/", Ok(())),
            ("https://user:x@10.20.1.1/", Err(OutboundError::Credentials)),
            ("https://169.254.169.254/", Err(OutboundError::Forbidden)),
            ("https://169.254.10.7/", Ok(())),
            ("https://localhost/", Err(OutboundError::NotPublic)),
            ("ftp://10.20.1.1/", Err(OutboundError::NotHttps)),
        ];
        for (url, expected) in table {
            assert_eq!(listed.check_url(url).map(drop), expected, "{url}");
        }
        assert!(listed.permits("10.20.0.9".parse().unwrap()) && listed.permits("8.8.8.8".parse().unwrap()));
        assert!(!listed.permits("10.0.0.9".parse().unwrap()) && !listed.permits("169.254.169.254".parse().unwrap()));
        assert!(listed.permits("::ffff:10.20.0.9".parse().unwrap()), "in either spelling");
        assert!(!reach(&["0.0.0.0/0", "::/0"]).permits("169.254.169.254".parse().unwrap()));
        assert_eq!(reach(&["127.0.0.0/8"]).check_url("http://localhost:9/").map(drop), Ok(()));
        assert_eq!(Reach::from(true).check_url("http://10.1.1.1/").map(drop), Ok(()));
    }

    proptest::proptest! {
        #[test]
        fn a_wrapped_address_is_judged_like_the_address_within(bits: u32) {
            let ip = Ipv4Addr::from(bits);
            let [high, low] = [(bits >> 16) as u16, bits as u16];
            let wrapped = [
                Ipv6Addr::new(0, 0, 0, 0, 0, 0xffff, high, low),
                Ipv6Addr::new(0x64, 0xff9b, 0, 0, 0, 0, high, low),
                Ipv6Addr::new(0x2002, high, low, 7, 0, 0, 0, 1),
                Ipv6Addr::new(0x2001, 0, high, low, 0, 0, !high, !low),
            ];
            for wrapper in wrapped {
                proptest::prop_assert_eq!(is_public(wrapper.into()), is_public(ip.into()), "{} wraps {}", wrapper, ip);
            }
        }

        #[test]
        fn the_guard_only_opens_further_when_private_networks_are_allowed(bits: u128) {
            let ip = IpAddr::V6(Ipv6Addr::from(bits));
            proptest::prop_assert!(!is_allowed(ip, false) || is_allowed(ip, true));
            proptest::prop_assert_eq!(is_allowed(ip, false), is_public(ip));
        }
    }
}
