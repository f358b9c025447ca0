//! Frames on a stream socket as QEMU's `-netdev stream` sends them: four bytes of length, big endian, then the frame.

use std::io;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};

/// QEMU's own limit (NET_BUFSIZE in include/net/net.h): 4096 + 65536 bytes.
const LONGEST_FRAME: usize = 69632;

/// The next frame; `None` when the peer hung up between two.
pub async fn read(stream: &mut (impl AsyncRead + Unpin)) -> io::Result<Option<Vec<u8>>> {
    let length = match stream.read_u32().await {
        Ok(length) => length as usize,
        Err(end) if end.kind() == io::ErrorKind::UnexpectedEof => return Ok(None),
        Err(error) => return Err(error),
    };
    if length > LONGEST_FRAME {
        let message = format!("a frame of {length} bytes, more than {LONGEST_FRAME}: the stream is out of step");
        return Err(io::Error::new(io::ErrorKind::InvalidData, message));
    }
    let mut frame = vec![0; length];
    stream.read_exact(&mut frame).await?;
    Ok(Some(frame))
}

/// Send one frame, in one write, so that a hang-up leaves no half of a length behind.
pub async fn write(stream: &mut (impl AsyncWrite + Unpin), frame: &[u8]) -> io::Result<()> {
    let length = u32::try_from(frame.len()).map_err(|_| io::Error::from(io::ErrorKind::InvalidInput))?;
    let mut bytes = Vec::with_capacity(4 + frame.len());
    bytes.extend_from_slice(&length.to_be_bytes());
    bytes.extend_from_slice(frame);
    stream.write_all(&bytes).await
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn frames_come_back_and_the_end_is_an_end() {
        let mut bytes = Vec::new();
        write(&mut bytes, b"one").await.unwrap();
        write(&mut bytes, b"").await.unwrap();
        assert_eq!(&bytes[..5], [0, 0, 0, 3, b'o']);
        let mut stream = &bytes[..];
        assert_eq!(read(&mut stream).await.unwrap().unwrap(), b"one");
        assert_eq!(read(&mut stream).await.unwrap().unwrap(), b"");
        assert!(read(&mut stream).await.unwrap().is_none());
    }

    #[tokio::test]
    async fn nonsense_lengths_are_refused() {
        let error = read(&mut &[0xff, 0xff, 0xff, 0xff, 1][..]).await.unwrap_err();
        assert!(error.to_string().contains("out of step"), "{error}");
    }
}
