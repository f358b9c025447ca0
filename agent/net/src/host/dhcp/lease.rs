//! A lease and its age: pure.

use super::message::Reply;
use ipnet::Ipv4Net;
use std::net::Ipv4Addr;
use std::time::Duration;

/// An address for some time, with what came along.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Lease {
    pub net: Ipv4Net,
    pub gateway: Option<Ipv4Addr>,
    pub nameservers: Vec<Ipv4Addr>,
    pub server: Ipv4Addr,
    /// Age at which it ends.
    pub valid: Duration,
    /// Age at which its server is asked: T1.
    pub renew: Duration,
    /// Age at which anybody is asked: T2.
    pub rebind: Duration,
}

/// What a lease of some age wants.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Phase {
    Bound,
    Renewing,
    Rebinding,
    Expired,
}

/// Shortest pause between two questions about one lease, RFC 2131 §4.4.5.
const SHORTEST: Duration = Duration::from_secs(60);

impl Lease {
    /// A reply without a mask counts as a host address, one without a time as an hour: servers that leave them out exist.
    pub fn from_reply(reply: &Reply) -> Option<Self> {
        if reply.address.is_unspecified() {
            return None;
        }
        let valid = Duration::from_secs(reply.seconds.unwrap_or(3600).max(10).into());
        let renew = reply
            .renew
            .map_or(valid / 2, |seconds| Duration::from_secs(seconds.into()));
        let rebind = reply
            .rebind
            .map_or(valid * 7 / 8, |seconds| Duration::from_secs(seconds.into()));
        let in_order = renew < rebind && rebind < valid;
        Some(Self {
            net: Ipv4Net::with_netmask(reply.address, reply.mask.unwrap_or(Ipv4Addr::BROADCAST)).ok()?,
            gateway: reply.gateway,
            nameservers: reply.nameservers.clone(),
            server: reply.server,
            valid,
            renew: if in_order { renew } else { valid / 2 },
            rebind: if in_order { rebind } else { valid * 7 / 8 },
        })
    }

    /// What to do at this age, and how long till the next look.
    pub fn phase(&self, age: Duration) -> (Phase, Duration) {
        // Half of what is left, RFC 2131 §4.4.5, but never past the phase's end.
        let pause = |end: Duration| ((end - age) / 2).max(SHORTEST).min(end - age);
        if age < self.renew {
            (Phase::Bound, self.renew - age)
        } else if age < self.rebind {
            (Phase::Renewing, pause(self.rebind))
        } else if age < self.valid {
            (Phase::Rebinding, pause(self.valid))
        } else {
            (Phase::Expired, Duration::ZERO)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::message::Verdict;
    use super::*;

    fn reply() -> Reply {
        Reply {
            verdict: Verdict::Acknowledged,
            address: Ipv4Addr::new(10, 0, 2, 15),
            server: Ipv4Addr::new(10, 0, 2, 2),
            mask: Some(Ipv4Addr::new(255, 255, 255, 0)),
            gateway: None,
            nameservers: Vec::new(),
            seconds: Some(1000),
            renew: None,
            rebind: None,
        }
    }

    #[test]
    fn lease_is_renewed_at_half_and_rebound_at_seven_eighths() {
        let lease = Lease::from_reply(&reply()).unwrap();
        let secs = Duration::from_secs;
        let cases = [
            (0, Phase::Bound, secs(500)),
            (499, Phase::Bound, secs(1)),
            (500, Phase::Renewing, Duration::from_millis(187_500)),
            (800, Phase::Renewing, secs(60)),
            (870, Phase::Renewing, secs(5)),
            (875, Phase::Rebinding, Duration::from_millis(62_500)),
            (990, Phase::Rebinding, secs(10)),
            (1000, Phase::Expired, secs(0)),
            (5000, Phase::Expired, secs(0)),
        ];
        for (age, phase, wait) in cases {
            assert_eq!(lease.phase(secs(age)), (phase, wait), "at {age} s");
        }
    }

    #[test]
    fn nonsense_from_a_server_becomes_something_usable_or_nothing() {
        let odd = Lease::from_reply(&Reply {
            renew: Some(900),
            rebind: Some(100),
            ..reply()
        })
        .unwrap();
        assert_eq!((odd.renew.as_secs(), odd.rebind.as_secs()), (500, 875));
        let short = Lease::from_reply(&Reply {
            seconds: Some(0),
            ..reply()
        })
        .unwrap();
        assert_eq!(short.valid.as_secs(), 10);
        assert_eq!(
            Lease::from_reply(&Reply { mask: None, ..reply() })
                .unwrap()
                .net
                .prefix_len(),
            32
        );
        assert!(
            Lease::from_reply(&Reply {
                address: Ipv4Addr::UNSPECIFIED,
                ..reply()
            })
            .is_none()
        );
        assert!(
            Lease::from_reply(&Reply {
                mask: Some(Ipv4Addr::new(255, 0, 255, 0)),
                ..reply()
            })
            .is_none()
        );
    }
}
