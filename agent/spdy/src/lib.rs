//! SPDY/3.1 as far as Kubernetes streams need it: frames to and from bytes, and what a server may let a client do.
//!
//! No IO and no clock: bytes go in, events come out, answers are values. Everything that a peer can make large is bounded.
//! The protocol: <https://www.chromium.org/spdy/spdy-protocol/spdy-protocol-draft3-1/>.

mod decode;
mod encode;
mod headers;
mod receive;

pub use decode::{Decoder, Frame, LARGEST_CONTROL};
pub use encode::Encoder;
pub use headers::{Headers, LARGEST_HEADERS};
pub use receive::{Answer, Event, MOST_STREAMS, Receiver};

/// A stream of a connection: odd when the client opened it. 0 is the connection itself.
pub type StreamId = u32;

/// Why a connection cannot go on: its peer does not speak SPDY/3.1, or abuses it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Broken {
    /// Another protocol.
    #[error("a control frame of SPDY version {0}, where 3 is spoken")]
    Version(u16),
    /// Longer than any that is meant well.
    #[error("a control frame of {0} bytes, where {LARGEST_CONTROL} are allowed")]
    TooLong(usize),
    /// Not as long as its type says.
    #[error("a frame of type {0} that does not hold what its type says")]
    Malformed(u16),
    /// The shared compression state is lost.
    #[error("a header block that cannot be decompressed")]
    Compression,
    /// A decompression bomb.
    #[error("a header block of more than {LARGEST_HEADERS} bytes")]
    TooManyHeaders,
}

/// Why a stream was reset, RST_STREAM's status codes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reset {
    /// Against the rules.
    Protocol = 1,
    /// There is no such stream.
    Invalid = 2,
    /// Refused before anything was done.
    Refused = 3,
    /// Not wanted any more.
    Cancel = 5,
    /// Something went wrong on the other side.
    Internal = 6,
    /// There is one of that number.
    InUse = 8,
    /// Nothing more may come on it.
    Closed = 9,
}

/// Why a connection was given up, GOAWAY's status codes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum GoAway {
    /// All is said.
    Ok = 0,
    /// The peer broke the rules.
    Protocol = 1,
}

/// Types of control frames.
mod kind {
    pub const SYN_STREAM: u16 = 1;
    pub const SYN_REPLY: u16 = 2;
    pub const RST_STREAM: u16 = 3;
    pub const SETTINGS: u16 = 4;
    pub const PING: u16 = 6;
    pub const GOAWAY: u16 = 7;
    pub const HEADERS: u16 = 8;
    pub const WINDOW_UPDATE: u16 = 9;
}

/// The flag that says that a frame is its stream's last.
const FIN: u8 = 1;
/// The flag that says that a new stream goes one way only.
const UNIDIRECTIONAL: u8 = 2;
/// The setting that says how much may be on its way on a new stream.
const INITIAL_WINDOW: u32 = 7;
