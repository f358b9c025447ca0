//! DHCPv4 messages to bytes and back (RFC 2131 §2, options of RFC 2132); bytes come from anybody on the link.

use std::net::Ipv4Addr;

/// What a client says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Ask {
    /// Who has an address for me?
    Discover,
    /// I take that one.
    Request { address: Ipv4Addr, server: Ipv4Addr },
    /// I have this one and want to keep it.
    Renew { address: Ipv4Addr },
}

/// What a server says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Reply {
    pub verdict: Verdict,
    pub address: Ipv4Addr,
    pub server: Ipv4Addr,
    pub mask: Option<Ipv4Addr>,
    pub gateway: Option<Ipv4Addr>,
    pub nameservers: Vec<Ipv4Addr>,
    pub seconds: Option<u32>,
    pub renew: Option<u32>,
    pub rebind: Option<u32>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    Offer,
    Acknowledged,
    Refused,
}

const COOKIE: [u8; 4] = [99, 130, 83, 99];
const OPTIONS: usize = 240;

// Option codes of RFC 2132.
const MASK: u8 = 1;
const ROUTER: u8 = 3;
const DNS: u8 = 6;
const ADDRESS: u8 = 50;
const SECONDS: u8 = 51;
const TYPE: u8 = 53;
const SERVER: u8 = 54;
const WANTED: u8 = 55;
const RENEW: u8 = 58;
const REBIND: u8 = 59;
const CLIENT: u8 = 61;
const END: u8 = 255;

/// The datagram for a question of transaction `id`.
pub(super) fn encode(ask: &Ask, id: u32, mac: [u8; 6]) -> Vec<u8> {
    let mut bytes = vec![0; OPTIONS];
    // A request from an Ethernet address.
    bytes[..3].copy_from_slice(&[1, 1, 6]);
    bytes[4..8].copy_from_slice(&id.to_be_bytes());
    match ask {
        // Replies by broadcast: without an address the kernel would not take a unicast one.
        Ask::Discover | Ask::Request { .. } => bytes[10] = 0x80,
        Ask::Renew { address } => bytes[12..16].copy_from_slice(&address.octets()),
    }
    bytes[28..34].copy_from_slice(&mac);
    bytes[236..].copy_from_slice(&COOKIE);
    let kind = if *ask == Ask::Discover { 1 } else { 3 };
    bytes.extend([TYPE, 1, kind, CLIENT, 7, 1]);
    bytes.extend(mac);
    if let Ask::Request { address, server } = ask {
        bytes.extend([ADDRESS, 4]);
        bytes.extend(address.octets());
        bytes.extend([SERVER, 4]);
        bytes.extend(server.octets());
    }
    bytes.extend([WANTED, 6, MASK, ROUTER, DNS, SECONDS, RENEW, REBIND, END]);
    // Some servers drop what is shorter than BOOTP's 300 bytes.
    bytes.resize(bytes.len().max(300), 0);
    bytes
}

/// The reply in a datagram, if it is one to transaction `id` of `mac`.
pub(super) fn decode(bytes: &[u8], id: u32, mac: [u8; 6]) -> Option<Reply> {
    let is_ours = bytes.len() >= OPTIONS
        && bytes[0] == 2
        && bytes[4..8] == id.to_be_bytes()
        && bytes[28..34] == mac
        && bytes[236..OPTIONS] == COOKIE;
    if !is_ours {
        return None;
    }
    let options = &bytes[OPTIONS..];
    let address = |code| option(options, code).and_then(first_address);
    let seconds = |code| option(options, code).and_then(|value| Some(u32::from_be_bytes(value.try_into().ok()?)));
    let verdict = match option(options, TYPE)? {
        [2] => Verdict::Offer,
        [5] => Verdict::Acknowledged,
        [6] => Verdict::Refused,
        _ => return None,
    };
    let nameservers = option(options, DNS)
        .unwrap_or_default()
        .chunks_exact(4)
        .filter_map(first_address);
    Some(Reply {
        verdict,
        address: first_address(&bytes[16..20])?,
        server: address(SERVER)?,
        mask: address(MASK),
        gateway: address(ROUTER),
        nameservers: nameservers.collect(),
        seconds: seconds(SECONDS),
        renew: seconds(RENEW),
        rebind: seconds(REBIND),
    })
}

/// The value of the first option with that code.
fn option(mut options: &[u8], wanted: u8) -> Option<&[u8]> {
    loop {
        match options {
            [END, ..] | [] | [_] => return None,
            [0, rest @ ..] => options = rest,
            [code, length, rest @ ..] => {
                let (value, rest) = rest.split_at_checked(usize::from(*length))?;
                if *code == wanted {
                    return Some(value);
                }
                options = rest;
            }
        }
    }
}

fn first_address(bytes: &[u8]) -> Option<Ipv4Addr> {
    let octets: [u8; 4] = bytes.get(..4)?.try_into().ok()?;
    Some(octets.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    const ME: [u8; 6] = [0x52, 0x54, 0, 0, 1, 1];

    fn reply(options: &[u8]) -> Vec<u8> {
        let mut bytes = vec![0; OPTIONS];
        bytes[0] = 2;
        bytes[4..8].copy_from_slice(&7_u32.to_be_bytes());
        bytes[16..20].copy_from_slice(&[10, 0, 2, 15]);
        bytes[28..34].copy_from_slice(&ME);
        bytes[236..].copy_from_slice(&COOKIE);
        bytes.extend(options);
        bytes
    }

    #[test]
    fn question_has_the_fields_that_servers_look_at() {
        let bytes = encode(
            &Ask::Request {
                address: [10, 0, 2, 15].into(),
                server: [10, 0, 2, 2].into(),
            },
            7,
            ME,
        );
        assert_eq!(bytes.len(), 300);
        assert_eq!((bytes[0], bytes[10]), (1, 0x80));
        assert_eq!(option(&bytes[OPTIONS..], TYPE), Some(&[3][..]));
        assert_eq!(option(&bytes[OPTIONS..], ADDRESS), Some(&[10, 0, 2, 15][..]));
        assert_eq!(option(&bytes[OPTIONS..], SERVER), Some(&[10, 0, 2, 2][..]));
        let renewal = encode(
            &Ask::Renew {
                address: [10, 0, 2, 15].into(),
            },
            7,
            ME,
        );
        assert_eq!((&renewal[12..16], renewal[10]), (&[10, 0, 2, 15][..], 0));
        assert_eq!(option(&renewal[OPTIONS..], SERVER), None);
    }

    #[test]
    fn reply_is_read_past_padding_and_unknown_options() {
        let options = [
            0, TYPE, 1, 5, 12, 2, b'h', b'i', SERVER, 4, 10, 0, 2, 2, MASK, 4, 255, 255, 255, 0, DNS, 8, 10, 0, 2, 3,
            1, 1, 1, 1, SECONDS, 4, 0, 1, 81, 128, END, ROUTER, 4, 9, 9, 9, 9,
        ];
        let read = decode(&reply(&options), 7, ME).unwrap();
        assert_eq!(read.verdict, Verdict::Acknowledged);
        assert_eq!(
            read.nameservers,
            [Ipv4Addr::new(10, 0, 2, 3), Ipv4Addr::new(1, 1, 1, 1)]
        );
        assert_eq!((read.seconds, read.gateway), (Some(86400), None));
    }

    #[test]
    fn what_is_not_for_us_or_cut_short_is_no_reply() {
        let options = [TYPE, 1, 2, SERVER, 4, 10, 0, 2, 2, END];
        let good = reply(&options);
        assert!(decode(&good, 7, ME).is_some());
        assert!(decode(&good, 8, ME).is_none());
        assert!(decode(&good, 7, [0; 6]).is_none());
        assert!(decode(&reply(&[TYPE, 1, 2, SERVER, 200, 1]), 7, ME).is_none());
        for length in 0..OPTIONS + 8 {
            assert!(decode(&good[..length], 7, ME).is_none(), "{length} bytes");
        }
    }
}
