//! Frames on pod-init's socket: four bytes of length, little endian, then JSON; open files travel with a frame's first byte.

use serde::Serialize;
use serde::de::DeserializeOwned;
use std::os::fd::OwnedFd;

/// Largest frame. A plan is a few KiB; an environment is at most what execve(2) takes, a quarter of the 8 MiB stack.
const LARGEST: usize = 4 << 20;

/// What has been received and not yet been read.
#[derive(Debug, Default)]
pub struct Inbox {
    bytes: Vec<u8>,
    /// Files that came along, in their order.
    pub files: Vec<OwnedFd>,
}

/// Bytes that are no frame.
#[derive(Debug, thiserror::Error)]
pub enum NotAFrame {
    /// Longer than any message.
    #[error("a message of {0} bytes is longer than the {LARGEST} that are allowed")]
    TooLong(usize),
    /// Not what was expected.
    #[error("a message cannot be read: {0}")]
    Json(#[from] serde_json::Error),
}

/// A message as it travels.
pub fn frame(message: &impl Serialize) -> Result<Vec<u8>, NotAFrame> {
    let mut bytes = vec![0; 4];
    serde_json::to_writer(&mut bytes, message)?;
    let length = bytes.len() - 4;
    if length > LARGEST {
        return Err(NotAFrame::TooLong(length));
    }
    bytes[..4].copy_from_slice(&(length as u32).to_le_bytes());
    Ok(bytes)
}

/// A message that stands alone, e.g. in a file.
pub fn read<T: DeserializeOwned>(json: &[u8]) -> Result<T, NotAFrame> {
    Ok(serde_json::from_slice(json)?)
}

// === impl Inbox ===

impl Inbox {
    /// Takes what came.
    pub fn push(&mut self, bytes: &[u8]) {
        self.bytes.extend_from_slice(bytes);
    }

    /// The next message, if it is here to its last byte.
    pub fn take<T: DeserializeOwned>(&mut self) -> Result<Option<T>, NotAFrame> {
        let Some((length, rest)) = self.bytes.split_first_chunk::<4>() else {
            return Ok(None);
        };
        let length = u32::from_le_bytes(*length) as usize;
        if length > LARGEST {
            return Err(NotAFrame::TooLong(length));
        }
        let Some(json) = rest.get(..length) else {
            return Ok(None);
        };
        let message = serde_json::from_slice(json)?;
        self.bytes.drain(..4 + length);
        Ok(Some(message))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::Request;

    #[test]
    fn a_message_arrives_byte_by_byte() {
        let bytes = frame(&Request::States).unwrap();
        let mut inbox = Inbox::default();
        for byte in &bytes {
            assert_eq!(inbox.take::<Request>().unwrap(), None);
            inbox.push(&[*byte]);
        }
        assert_eq!(inbox.take::<Request>().unwrap(), Some(Request::States));
        assert_eq!(inbox.take::<Request>().unwrap(), None);
    }

    #[test]
    fn nonsense_is_refused() {
        let mut inbox = Inbox::default();
        inbox.push(&[0xff; 8]);
        assert!(matches!(inbox.take::<Request>(), Err(NotAFrame::TooLong(_))));
        let mut inbox = Inbox::default();
        inbox.push(b"\x02\0\0\0{]");
        assert!(matches!(inbox.take::<Request>(), Err(NotAFrame::Json(_))));
    }
}
