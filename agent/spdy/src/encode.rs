//! Frames to bytes.

use crate::headers::{Deflater, Headers};
use crate::{FIN, GoAway, Reset, StreamId, kind};
use bytes::{BufMut, BytesMut};

/// Writes the frames of one direction, in the order in which they are sent: header blocks share a compression state.
pub struct Encoder(Deflater);

// === impl Encoder ===

impl Default for Encoder {
    fn default() -> Self {
        Encoder(Deflater::new())
    }
}

impl Encoder {
    /// Opens a stream.
    pub fn syn_stream(&mut self, out: &mut BytesMut, id: StreamId, headers: &Headers, fin: bool) {
        let block = self.0.block(headers);
        control(out, kind::SYN_STREAM, fin, 10 + block.len());
        out.put_u32(id);
        // No stream that it belongs to, the highest priority, no credential slot.
        out.put_u32(0);
        out.put_u16(0);
        out.put_slice(&block);
    }

    /// Accepts a stream.
    pub fn syn_reply(&mut self, out: &mut BytesMut, id: StreamId, headers: &Headers) {
        let block = self.0.block(headers);
        control(out, kind::SYN_REPLY, false, 4 + block.len());
        out.put_u32(id);
        out.put_slice(&block);
    }

    /// Says something on a stream: at most 2²⁴ - 1 bytes, more is cut off.
    pub fn data(&mut self, out: &mut BytesMut, id: StreamId, bytes: &[u8], fin: bool) {
        let bytes = &bytes[..bytes.len().min(0x00ff_ffff)];
        out.put_u32(id & 0x7fff_ffff);
        head(out, fin, bytes.len());
        out.put_slice(bytes);
    }

    /// Ends a stream at once.
    pub fn reset(&mut self, out: &mut BytesMut, id: StreamId, why: Reset) {
        control(out, kind::RST_STREAM, false, 8);
        out.put_u32(id);
        out.put_u32(why as u32);
    }

    /// Asks or answers whether somebody is there.
    pub fn ping(&mut self, out: &mut BytesMut, number: u32) {
        control(out, kind::PING, false, 4);
        out.put_u32(number);
    }

    /// Lets the peer send so many bytes more.
    pub fn window_update(&mut self, out: &mut BytesMut, id: StreamId, delta: u32) {
        control(out, kind::WINDOW_UPDATE, false, 8);
        out.put_u32(id);
        out.put_u32(delta & 0x7fff_ffff);
    }

    /// Says that no more streams are taken after `last`.
    pub fn go_away(&mut self, out: &mut BytesMut, last: StreamId, why: GoAway) {
        control(out, kind::GOAWAY, false, 8);
        out.put_u32(last);
        out.put_u32(why as u32);
    }
}

fn control(out: &mut BytesMut, kind: u16, fin: bool, length: usize) {
    out.put_u16(0x8003);
    out.put_u16(kind);
    head(out, fin, length);
}

fn head(out: &mut BytesMut, fin: bool, length: usize) {
    let length = u32::try_from(length).unwrap_or(0x00ff_ffff) & 0x00ff_ffff;
    out.put_u32(u32::from(if fin { FIN } else { 0 }) << 24 | length);
}
