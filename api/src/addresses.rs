//! IP addresses and prefixes in fields, with upstream's sentences (apimachinery `util/validation`, core `validation`).

use crate::at::At;
use crate::field::FieldError;
use std::net::IpAddr;

/// What a prefix must be.
pub(crate) const CIDR: &str = "must be a valid CIDR value, (e.g. 10.9.8.0/24 or 2001:db8::/64)";

/// An address and the length of its network's prefix.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cidr {
    /// The address as written, which may have bits beyond the prefix.
    pub address: IpAddr,
    /// Bits of the prefix.
    pub bits: u32,
}

impl Cidr {
    /// Reads `10.9.8.0/24`; none where it is no prefix.
    pub fn parse(text: &str) -> Option<Self> {
        let (address, bits) = text.split_once('/')?;
        let address: IpAddr = address.parse().ok()?;
        let digits = !bits.is_empty() && bits.bytes().all(|b| b.is_ascii_digit());
        let canonical = digits && (bits == "0" || !bits.starts_with('0'));
        let bits: u32 = bits.parse().ok().filter(|_| canonical)?;
        (bits <= width(address)).then_some(Self { address, bits })
    }

    /// The first address of the network.
    pub fn first(self) -> IpAddr {
        from_number(self.address, number(self.address) & self.mask())
    }

    /// The last address of the network.
    pub fn last(self) -> IpAddr {
        let hosts = width(self.address) - self.bits;
        let all = if hosts == 0 { 0 } else { u128::MAX >> (128 - hosts) };
        from_number(self.address, number(self.first()) | all)
    }

    /// Whether `address` is in the network.
    pub fn contains(self, address: IpAddr) -> bool {
        address.is_ipv4() == self.address.is_ipv4() && number(address) & self.mask() == number(self.first())
    }

    fn mask(self) -> u128 {
        let hosts = width(self.address) - self.bits;
        if hosts >= 128 { 0 } else { u128::MAX << hosts }
    }
}

fn width(address: IpAddr) -> u32 {
    if address.is_ipv4() { 32 } else { 128 }
}

/// The address as a number; addresses of one family keep their order.
pub fn number(address: IpAddr) -> u128 {
    match address {
        IpAddr::V4(address) => u128::from(u32::from(address)),
        IpAddr::V6(address) => u128::from(address),
    }
}

/// The address of `family`'s family with that number.
pub fn from_number(family: IpAddr, number: u128) -> IpAddr {
    match family {
        IpAddr::V4(_) => IpAddr::V4(u32::try_from(number & u128::from(u32::MAX)).unwrap_or_default().into()),
        IpAddr::V6(_) => IpAddr::V6(number.into()),
    }
}

/// `IPv4` or `IPv6`, as Services name families; none where the text is no address.
pub fn family(text: &str) -> Option<&'static str> {
    let address: IpAddr = text.parse().ok()?;
    Some(if address.is_ipv4() { "IPv4" } else { "IPv6" })
}

/// What is wrong with a prefix that must be in canonical form (`IsValidCIDR`).
pub fn check_cidr(at: &At<'_>) -> Vec<FieldError> {
    let Some(cidr) = Cidr::parse(at.as_text()) else {
        return at.invalid_text("", [CIDR]);
    };
    if matches!(cidr.address, IpAddr::V6(v6) if v6.to_ipv4_mapped().is_some()) {
        return at.invalid_text("", ["must not have an IPv4-mapped IPv6 address"]);
    }
    if cidr.address != cidr.first() {
        return at.invalid_text("", ["must not have bits set beyond the prefix length"]);
    }
    let canonical = format!("{}/{}", cidr.address, cidr.bits);
    if canonical == at.as_text() {
        return Vec::new();
    }
    at.invalid_text("", [format!("must be in canonical form ({canonical:?})")])
}

/// What is wrong with a prefix in a field that is older than the strict rules (`IsValidCIDRForLegacyField`).
pub fn check_legacy_cidr(at: &At<'_>) -> Vec<FieldError> {
    match Cidr::parse(at.as_text()) {
        Some(_) => Vec::new(),
        None => at.invalid_text("", [CIDR]),
    }
}

/// What is wrong with an address that becomes a name: it must be in canonical form (`IsValidIP`).
pub fn canonical_ip(text: &str) -> Vec<String> {
    let Ok(address) = text.parse::<IpAddr>() else {
        return crate::names::ip(text);
    };
    if matches!(address, IpAddr::V6(v6) if v6.to_ipv4_mapped().is_some()) {
        return vec!["must not be an IPv4-mapped IPv6 address".to_owned()];
    }
    if address.to_string() == text {
        return Vec::new();
    }
    vec![format!("must be in canonical form ({:?})", address.to_string())]
}

/// What is wrong with an endpoint's address: it must be another machine's (`ValidateNonSpecialIP`).
pub fn special_ip(text: &str) -> Vec<&'static str> {
    let Ok(address) = text.parse::<IpAddr>() else {
        return vec!["must be a valid IP address"];
    };
    let (local, multicast) = match address {
        IpAddr::V4(v4) => (v4.is_link_local(), v4.octets()[..3] == [224, 0, 0]),
        IpAddr::V6(v6) => (v6.segments()[0] & 0xffc0 == 0xfe80, v6.segments()[0] == 0xff02),
    };
    let mut wrong = Vec::new();
    let mut when = |bad: bool, why: &'static str| {
        if bad {
            wrong.push(why);
        }
    };
    when(address.is_unspecified(), "may not be unspecified (0.0.0.0 or ::)");
    when(
        address.is_loopback(),
        "may not be in the loopback range (127.0.0.0/8, ::1/128)",
    );
    when(local, "may not be in the link-local range (169.254.0.0/16, fe80::/10)");
    when(
        multicast,
        "may not be in the link-local multicast range (224.0.0.0/24, ff02::/10)",
    );
    wrong
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::at::root;
    use serde_json::json;

    #[test]
    fn prefixes_know_their_ends() {
        for (text, first, last) in [
            ("10.96.0.0/12", "10.96.0.0", "10.111.255.255"),
            ("10.0.0.7/32", "10.0.0.7", "10.0.0.7"),
            ("0.0.0.0/0", "0.0.0.0", "255.255.255.255"),
            ("fd00::/112", "fd00::", "fd00::ffff"),
        ] {
            let cidr = Cidr::parse(text).expect("the case is a prefix");
            assert_eq!(
                (cidr.first().to_string(), cidr.last().to_string()),
                (first.to_owned(), last.to_owned())
            );
            assert!(cidr.contains(cidr.first()) && cidr.contains(cidr.last()), "{text}");
        }
        for text in [
            "10.0.0.0",
            "10.0.0.0/33",
            "x/8",
            "10.0.0.0/",
            "10.0.0.0/+8",
            "10.0.0.0/08",
            "fd00::/129",
        ] {
            assert_eq!(Cidr::parse(text), None, "{text}");
        }
    }

    #[test]
    fn only_canonical_prefixes_pass() {
        for (text, detail) in [
            ("10.0.0.0/8", None),
            ("fd00::/64", None),
            ("10.0.0.1/8", Some("must not have bits set beyond the prefix length")),
            ("FD00::/64", Some("must be in canonical form (\"fd00::/64\")")),
            ("x", Some(CIDR)),
        ] {
            let object = json!(text);
            let errors = check_cidr(&root(&object));
            assert_eq!(errors.first().map(|e| e.detail.as_str()), detail, "{text}");
        }
    }

    #[test]
    fn addresses_of_this_machine_are_no_endpoints() {
        for (text, count) in [
            ("10.0.0.1", 0),
            ("127.0.0.1", 1),
            ("169.254.1.1", 1),
            ("::", 1),
            ("ff02::1", 1),
            ("x", 1),
        ] {
            assert_eq!(special_ip(text).len(), count, "{text}");
        }
        assert!(canonical_ip("2001:db8::1").is_empty() && !canonical_ip("2001:0db8::1").is_empty());
    }
}
