//! Networks of addresses, as settings name them: `10.0.0.0/8`, `2001:db8::/32`, or one address.

use std::net::IpAddr;
use std::str::FromStr;

/// A network. IPv4 is held as IPv6 holds it (`::ffff:0:0/96`), so that both spellings of an address are in it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Network {
    first: u128,
    /// Bits that all its addresses share.
    prefix: u32,
}

/// What is written there is no network.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("write an address or a network, e.g. 127.0.0.1 or 10.0.0.0/8")]
pub struct NotANetwork;

impl Network {
    /// Whether the address is in it.
    pub fn contains(&self, ip: IpAddr) -> bool {
        let different = bits(ip) ^ self.first;
        different.checked_shr(128 - self.prefix).unwrap_or_default() == 0
    }
}

impl Network {
    /// Whether it is a single address.
    pub fn is_one_address(&self) -> bool {
        self.prefix == 128
    }
}

impl FromStr for Network {
    type Err = NotANetwork;

    fn from_str(text: &str) -> Result<Self, NotANetwork> {
        let (address, prefix) = match text.split_once('/') {
            Some((address, prefix)) => (address, Some(prefix.parse::<u32>().map_err(|_| NotANetwork)?)),
            None => (text, None),
        };
        let ip: IpAddr = address.parse().map_err(|_| NotANetwork)?;
        let (longest, offset) = if ip.is_ipv4() { (32, 96) } else { (128, 0) };
        let prefix = prefix.unwrap_or(longest);
        if prefix > longest {
            return Err(NotANetwork);
        }
        Ok(Self { first: bits(ip), prefix: prefix + offset })
    }
}

fn bits(ip: IpAddr) -> u128 {
    match ip {
        IpAddr::V4(ip) => ip.to_ipv6_mapped().to_bits(),
        IpAddr::V6(ip) => ip.to_bits(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_in_its_network_in_either_spelling() {
        let contains = |network: &str, ip: &str| {
            network.parse::<Network>().expect("a network").contains(ip.parse().expect("an address"))
        };
        assert!(contains("127.0.0.1", "127.0.0.1") && contains("127.0.0.1", "::ffff:127.0.0.1"));
        assert!(!contains("127.0.0.1", "127.0.0.2"));
        assert!(contains("10.0.0.0/8", "10.255.0.1") && !contains("10.0.0.0/8", "11.0.0.1"));
        assert!(contains("10.1.2.3/8", "10.9.9.9"), "the bits behind the prefix do not matter");
        assert!(contains("2001:db8::/32", "2001:db8:1::1") && !contains("2001:db8::/32", "2001:db9::1"));
        assert!(
            contains("::/0", "203.0.113.1") && contains("0.0.0.0/0", "203.0.113.1") && !contains("0.0.0.0/0", "::1")
        );
        for wrong in ["", "10.0.0.0/33", "::/129", "10.0.0/8", "a", "10.0.0.0/", "10.0.0.0/-1"] {
            assert_eq!(wrong.parse::<Network>(), Err(NotANetwork), "{wrong}");
        }
    }
}
