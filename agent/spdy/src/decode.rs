//! Bytes to frames. A control frame is held until it is whole, data is passed on as it comes.

use crate::headers::{Headers, Inflater};
use crate::{Broken, FIN, INITIAL_WINDOW, StreamId, UNIDIRECTIONAL, kind};
use bytes::{Buf, Bytes, BytesMut};

/// Most bytes of a control frame behind its head: no compressed header block that is meant well comes near.
pub const LARGEST_CONTROL: usize = 32 << 10;

/// A frame, or a part of a data frame.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Frame {
    /// A stream is opened.
    SynStream {
        /// Which.
        id: StreamId,
        /// Whether nothing will come on it.
        fin: bool,
        /// Whether nothing may be sent on it.
        unidirectional: bool,
        /// What it is for.
        headers: Headers,
    },
    /// A stream was accepted.
    SynReply {
        /// Which.
        id: StreamId,
        /// Whether nothing will come on it.
        fin: bool,
        /// What is said about it.
        headers: Headers,
    },
    /// A stream has ended at once.
    Reset {
        /// Which.
        id: StreamId,
        /// Why, as a number.
        status: u32,
    },
    /// The largest amount that may be on its way on a new stream, if the settings say so.
    Settings {
        /// Bytes.
        initial_window: Option<u32>,
    },
    /// Whether somebody is there.
    Ping(u32),
    /// The peer opens and takes no more streams.
    GoAway {
        /// The last one that it has taken.
        last: StreamId,
        /// Why, as a number.
        status: u32,
    },
    /// More about a stream.
    Headers {
        /// Which.
        id: StreamId,
        /// Whether nothing more will come on it.
        fin: bool,
        /// What.
        headers: Headers,
    },
    /// So much more may be sent.
    WindowUpdate {
        /// On which stream.
        id: StreamId,
        /// Bytes.
        delta: u32,
    },
    /// A piece of what is said on a stream.
    Data {
        /// Which.
        id: StreamId,
        /// What.
        bytes: Bytes,
        /// Whether it was the last.
        fin: bool,
    },
}

/// Takes bytes, gives frames.
pub struct Decoder {
    buffer: BytesMut,
    data: Option<Data>,
    inflater: Inflater,
}

/// A data frame whose head was read.
#[derive(Clone, Copy)]
struct Data {
    id: StreamId,
    left: usize,
    fin: bool,
}

const HEAD: usize = 8;

// === impl Decoder ===

impl Default for Decoder {
    fn default() -> Self {
        Decoder {
            buffer: BytesMut::new(),
            data: None,
            inflater: Inflater::new(),
        }
    }
}

impl Decoder {
    /// Takes what came. It holds no more than this and a control frame if [`Decoder::next`] is called until it has nothing.
    pub fn push(&mut self, bytes: &[u8]) {
        self.buffer.extend_from_slice(bytes);
    }

    /// The next frame, if it is here.
    #[expect(
        clippy::should_implement_trait,
        reason = "an iterator that has nothing has ended; this one has not"
    )]
    pub fn next(&mut self) -> Result<Option<Frame>, Broken> {
        loop {
            if let Some(data) = self.data {
                return Ok(self.next_data(data));
            }
            let Some((head, _)) = self.buffer.split_first_chunk::<HEAD>() else {
                return Ok(None);
            };
            let head = *head;
            let length = usize::from(head[5]) << 16 | usize::from(head[6]) << 8 | usize::from(head[7]);
            let flags = head[4];
            if head[0] & 0x80 == 0 {
                self.buffer.advance(HEAD);
                self.data = Some(Data {
                    id: number(&head),
                    left: length,
                    fin: flags & FIN != 0,
                });
                continue;
            }
            let version = u16::from_be_bytes([head[0] & 0x7f, head[1]]);
            if version != 3 {
                return Err(Broken::Version(version));
            }
            if length > LARGEST_CONTROL {
                return Err(Broken::TooLong(length));
            }
            if self.buffer.len() < HEAD + length {
                return Ok(None);
            }
            self.buffer.advance(HEAD);
            let body = self.buffer.split_to(length).freeze();
            if let Some(frame) = self.control(u16::from_be_bytes([head[2], head[3]]), flags, &body)? {
                return Ok(Some(frame));
            }
        }
    }

    fn next_data(&mut self, data: Data) -> Option<Frame> {
        let length = data.left.min(self.buffer.len());
        let left = data.left - length;
        if length == 0 && left > 0 {
            return None;
        }
        self.data = (left > 0).then_some(Data { left, ..data });
        Some(Frame::Data {
            id: data.id,
            bytes: self.buffer.split_to(length).freeze(),
            fin: data.fin && left == 0,
        })
    }

    /// Nothing for types that nobody knows.
    fn control(&mut self, kind: u16, flags: u8, body: &[u8]) -> Result<Option<Frame>, Broken> {
        let fin = flags & FIN != 0;
        let malformed = Broken::Malformed(kind);
        Ok(Some(match kind {
            kind::SYN_STREAM => {
                let (id, block) = split(body, 10).ok_or(malformed)?;
                Frame::SynStream {
                    id,
                    fin,
                    unidirectional: flags & UNIDIRECTIONAL != 0,
                    headers: self.inflater.headers(block)?,
                }
            }
            kind::SYN_REPLY | kind::HEADERS => {
                let (id, block) = split(body, 4).ok_or(malformed)?;
                let headers = self.inflater.headers(block)?;
                match kind {
                    kind::SYN_REPLY => Frame::SynReply { id, fin, headers },
                    _ => Frame::Headers { id, fin, headers },
                }
            }
            kind::RST_STREAM => {
                let (id, status) = pair(body).ok_or(malformed)?;
                Frame::Reset { id, status }
            }
            kind::GOAWAY => {
                let (last, status) = pair(body).ok_or(malformed)?;
                Frame::GoAway { last, status }
            }
            kind::WINDOW_UPDATE => {
                let (id, delta) = pair(body).ok_or(malformed)?;
                let delta = delta & 0x7fff_ffff;
                Frame::WindowUpdate { id, delta }
            }
            kind::PING => Frame::Ping(u32::from_be_bytes(body.try_into().map_err(|_| malformed)?)),
            kind::SETTINGS => Frame::Settings {
                initial_window: settings(body).ok_or(malformed)?,
            },
            _ => return Ok(None),
        }))
    }
}

/// The stream that a frame begins with.
fn number(bytes: &[u8; HEAD]) -> StreamId {
    u32::from_be_bytes([bytes[0], bytes[1], bytes[2], bytes[3]]) & 0x7fff_ffff
}

/// The stream, and what comes after the first `skip` bytes.
fn split(body: &[u8], skip: usize) -> Option<(StreamId, &[u8])> {
    let (id, _) = body.split_first_chunk::<4>()?;
    Some((u32::from_be_bytes(*id) & 0x7fff_ffff, body.get(skip..)?))
}

fn pair(body: &[u8]) -> Option<(StreamId, u32)> {
    let body: &[u8; 8] = body.try_into().ok()?;
    let second = u32::from_be_bytes([body[4], body[5], body[6], body[7]]);
    Some((number(body), second))
}

/// None for what are no settings.
#[expect(
    clippy::option_option,
    reason = "outer: whether they are settings, inner: whether this one is among them"
)]
fn settings(body: &[u8]) -> Option<Option<u32>> {
    let (count, entries) = body.split_first_chunk::<4>()?;
    let count = usize::try_from(u32::from_be_bytes(*count)).ok()?;
    if entries.len() != count.checked_mul(8)? {
        return None;
    }
    let (entries, _) = entries.as_chunks::<8>();
    let is_window = |entry: &&[u8; 8]| u32::from_be_bytes([0, entry[1], entry[2], entry[3]]) == INITIAL_WINDOW;
    let window = entries.iter().rfind(is_window);
    Some(window.map(|entry| u32::from_be_bytes([entry[4], entry[5], entry[6], entry[7]])))
}

#[cfg(test)]
mod tests;
