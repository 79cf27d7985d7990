//! From where a request comes and for whom it is: the peer of its connection, or behind proxies that are trusted the address that
//! they name; and the host that it asks for.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use axum::extract::ConnectInfo;
use axum::http::header::HOST;
use axum::http::request::Parts;
use axum::http::uri::Authority;
use axum::http::{Extensions, HeaderMap};
use recado_kernel::networks::Network;

/// The header in which proxies name those for whom they ask, the nearest last.
const FORWARDED_FOR: &str = "x-forwarded-for";

/// Who asks, as far as it can be known. `None`: nothing is known, as in tests without a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Client(pub(crate) Option<IpAddr>);

impl Client {
    /// Believes as many entries of `X-Forwarded-For` as were written by proxies of ours, from the last one on.
    pub(crate) fn of(extensions: &Extensions, headers: &HeaderMap, proxies: &[Network]) -> Self {
        let Some(peer) = peer(extensions) else { return Self(None) };
        let is_proxy = |ip: IpAddr| proxies.iter().any(|network| network.contains(ip));
        let mut client = peer;
        if is_proxy(peer) {
            let values = headers.get_all(FORWARDED_FOR).iter().rev();
            let entries = values.filter_map(|value| value.to_str().ok()).flat_map(|value| value.rsplit(','));
            for entry in entries {
                let Some(ip) = read(entry.trim()) else { break };
                client = ip.to_canonical();
                if !is_proxy(client) {
                    break;
                }
            }
        }
        Self(Some(client))
    }

    /// What the middleware found.
    pub(crate) fn known(extensions: &Extensions) -> Option<IpAddr> {
        extensions.get::<Self>().and_then(|client| client.0).or_else(|| peer(extensions))
    }
}

/// The other end of the connection.
pub(crate) fn peer(extensions: &Extensions) -> Option<IpAddr> {
    extensions.get::<ConnectInfo<SocketAddr>>().map(|ConnectInfo(peer)| peer.ip().to_canonical())
}

/// Whether a program of this machine asks for itself, and not for somebody else as a proxy does.
pub(crate) fn is_on_this_machine(extensions: &Extensions, headers: &HeaderMap) -> bool {
    let asks_for_another = [FORWARDED_FOR, "forwarded", "x-real-ip"].iter().any(|name| headers.contains_key(*name));
    !asks_for_another && peer(extensions).is_none_or(|ip| ip.is_loopback())
}

/// The host that a request is for: that of its target where it is a whole URL (RFC 9112, section 3.2.2), else the header's.
pub(crate) fn host(parts: &Parts) -> &str {
    let header = || parts.headers.get(HOST).and_then(|host| host.to_str().ok());
    parts.uri.authority().map(Authority::as_str).or_else(header).unwrap_or_default()
}

/// An address, with or without a port.
fn read(entry: &str) -> Option<IpAddr> {
    let address = entry.parse::<SocketAddr>().map(|address| address.ip());
    address.or_else(|_| entry.trim_start_matches('[').trim_end_matches(']').parse()).ok()
}

/// An address as far as it tells callers apart: an IPv6 host has a whole /64 to call from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum CallerAddress {
    V4(Ipv4Addr),
    V6([u8; 8]),
}

impl CallerAddress {
    pub(crate) fn of(ip: IpAddr) -> Self {
        match ip.to_canonical() {
            IpAddr::V4(ip) => Self::V4(ip),
            IpAddr::V6(ip) => {
                let [a, b, c, d, e, f, g, h, ..] = ip.octets();
                Self::V6([a, b, c, d, e, f, g, h])
            }
        }
    }
}

impl fmt::Display for CallerAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::V4(ip) => ip.fmt(f),
            Self::V6([a, b, c, d, e, f_, g, h]) => {
                let network = [*a, *b, *c, *d, *e, *f_, *g, *h, 0, 0, 0, 0, 0, 0, 0, 0];
                write!(f, "{}/64", Ipv6Addr::from(network))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn client(peer: &str, forwarded: &[&str]) -> String {
        let (mut extensions, mut headers) = (Extensions::new(), HeaderMap::new());
        extensions.insert(ConnectInfo::<SocketAddr>(peer.parse().unwrap()));
        for value in forwarded {
            headers.append(FORWARDED_FOR, value.parse().unwrap());
        }
        let proxies = ["127.0.0.1".parse().unwrap(), "10.0.0.0/8".parse().unwrap()];
        Client::of(&extensions, &headers, &proxies).0.unwrap().to_string()
    }

    /// What is left of the entries that proxies of ours wrote is what a stranger wrote.
    #[test]
    fn only_proxies_are_believed() {
        assert_eq!(client("203.0.113.9:1", &["198.51.100.1"]), "203.0.113.9");
        assert_eq!(client("127.0.0.1:1", &[]), "127.0.0.1");
        assert_eq!(client("127.0.0.1:1", &["198.51.100.1"]), "198.51.100.1");
        assert_eq!(client("127.0.0.1:1", &["1.1.1.1, 198.51.100.1, 10.0.0.7"]), "198.51.100.1");
        assert_eq!(client("127.0.0.1:1", &["1.1.1.1", "198.51.100.1"]), "198.51.100.1");
        assert_eq!(client("127.0.0.1:1", &["1.1.1.1, nonsense, 10.0.0.7"]), "10.0.0.7");
        assert_eq!(client("127.0.0.1:1", &["[2001:db8::1]:4711"]), "2001:db8::1");
        assert_eq!(client("[::ffff:127.0.0.1]:1", &["198.51.100.1:80"]), "198.51.100.1");
    }

    #[test]
    fn an_address_is_a_network_of_one_subscriber() {
        let address = |ip: &str| CallerAddress::of(ip.parse().unwrap()).to_string();
        assert_eq!(address("::ffff:203.0.113.7"), "203.0.113.7");
        assert_eq!(address("2001:db8:0:1:2:3:4:5"), "2001:db8:0:1::/64");
    }
}
