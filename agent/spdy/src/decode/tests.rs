//! Frames there and back, and bytes that are no frames.

use super::*;
use crate::{Encoder, GoAway, Reset};
use proptest::prelude::*;

fn decode(bytes: &[u8], piece: usize) -> Result<Vec<Frame>, Broken> {
    let mut decoder = Decoder::default();
    let mut frames = Vec::new();
    for piece in bytes.chunks(piece.max(1)) {
        decoder.push(piece);
        while let Some(frame) = decoder.next()? {
            frames.push(frame);
        }
        assert!(
            decoder.buffer.len() <= HEAD + LARGEST_CONTROL + piece.len(),
            "nothing else is held"
        );
    }
    Ok(frames)
}

#[test]
fn frames_come_back() {
    let mut encoder = Encoder::default();
    let mut out = BytesMut::new();
    let headers = Headers::new([("streamType", "data"), ("port", "80"), ("requestID", "7")]);
    encoder.syn_stream(&mut out, 1, &headers, true);
    encoder.syn_reply(&mut out, 1, &Headers::default());
    encoder.reset(&mut out, 3, Reset::Refused);
    encoder.ping(&mut out, 9);
    encoder.window_update(&mut out, 1, 65536);
    encoder.go_away(&mut out, 5, GoAway::Protocol);
    encoder.data(&mut out, 1, b"hello", false);
    encoder.data(&mut out, 1, b"", true);
    let frames = decode(&out, out.len()).unwrap();
    let data = |bytes: &'static [u8], fin| Frame::Data {
        id: 1,
        bytes: Bytes::from_static(bytes),
        fin,
    };
    let expected = [
        Frame::SynStream {
            id: 1,
            fin: true,
            unidirectional: false,
            headers,
        },
        Frame::SynReply {
            id: 1,
            fin: false,
            headers: Headers::default(),
        },
        Frame::Reset { id: 3, status: 3 },
        Frame::Ping(9),
        Frame::WindowUpdate { id: 1, delta: 65536 },
        Frame::GoAway { last: 5, status: 1 },
        data(b"hello", false),
        data(b"", true),
    ];
    assert_eq!(frames, expected);
    let control = |frames: Vec<Frame>| -> Vec<Frame> {
        frames
            .into_iter()
            .filter(|frame| !matches!(frame, Frame::Data { .. }))
            .collect()
    };
    assert_eq!(control(decode(&out, 1).unwrap()), control(frames), "byte by byte");
}

#[test]
fn data_is_not_held_until_its_frame_is_whole() {
    let mut bytes = vec![0, 0, 0, 1, FIN, 0xff, 0xff, 0xff];
    bytes.extend_from_slice(b"some");
    let frames = decode(&bytes, 4).unwrap();
    let some = Frame::Data {
        id: 1,
        bytes: Bytes::from_static(b"some"),
        fin: false,
    };
    assert_eq!(frames, [some]);
}

#[test]
fn hostile_frames_are_refused_and_unknown_ones_skipped() {
    let frame = |version: u8, kind: u8, length: u32, body: &[u8]| {
        let mut bytes = vec![0x80, version, 0, kind];
        bytes.extend_from_slice(&length.to_be_bytes());
        bytes.extend_from_slice(body);
        decode(&bytes, bytes.len())
    };
    assert_eq!(frame(2, 1, 0, b""), Err(Broken::Version(2)));
    assert_eq!(frame(3, 1, 0x00ff_ffff, b""), Err(Broken::TooLong(0x00ff_ffff)));
    assert_eq!(frame(3, 1, 4, b"\0\0\0\x01"), Err(Broken::Malformed(1)));
    assert_eq!(frame(3, 3, 4, b"\0\0\0\x01"), Err(Broken::Malformed(3)));
    assert_eq!(frame(3, 6, 5, b"12345"), Err(Broken::Malformed(6)));
    assert_eq!(frame(3, 4, 4, &[0xff; 4]), Err(Broken::Malformed(4)));
    assert_eq!(frame(3, 2, 8, &[0xff; 8]), Err(Broken::Compression));
    assert_eq!(frame(3, 77, 4, b"abcd"), Ok(Vec::new()));
    assert_eq!(frame(3, 9, 7, &[0; 7]), Err(Broken::Malformed(9)));
    let window = [0, 0, 0, 1, 0, 0, 0, 7, 0, 1, 0, 0];
    let settings = Frame::Settings {
        initial_window: Some(65536),
    };
    assert_eq!(frame(3, 4, 12, &window), Ok(vec![settings]));
}

proptest! {
    #[test]
    fn nothing_makes_it_panic(bytes in proptest::collection::vec(any::<u8>(), 0..2000), piece in 1_usize..100) {
        let _ = decode(&bytes, piece);
    }

    #[test]
    fn no_control_frame_makes_it_panic(kind in 0_u8..12, body in proptest::collection::vec(any::<u8>(), 0..200), flags: u8) {
        let mut bytes = vec![0x80, 3, 0, kind, flags, 0, 0, u8::try_from(body.len()).unwrap_or(0)];
        bytes.extend_from_slice(&body);
        let _ = decode(&bytes, bytes.len());
    }
}
