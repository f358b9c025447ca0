//! SPDY/3.1 frames of a client of exec and port-forward.

use crate::damage::Damage;
use bytes::BytesMut;
use spdy::{Encoder, Headers, Receiver};

/// A conversation as clients have it.
fn seed() -> Vec<u8> {
    let (mut encoder, mut out) = (Encoder::default(), BytesMut::new());
    for (id, kind) in [(1, "error"), (3, "data"), (5, "stdin")] {
        let headers = Headers::new([("streamtype", kind), ("port", "80"), ("requestid", "0")]);
        encoder.syn_stream(&mut out, id, &headers, id == 1);
        encoder.data(&mut out, id, b"hello", false);
    }
    encoder.ping(&mut out, 7);
    encoder.window_update(&mut out, 3, 1 << 20);
    encoder.data(&mut out, 3, b"", true);
    out.to_vec()
}

#[test]
fn damaged_frames_break_the_connection_and_nothing_else() {
    let (mut damage, seeds) = (Damage::new(), [seed()]);
    while damage.goes_on() {
        let bytes = damage.of(&seeds);
        let mut receiver = Receiver::default();
        let piece = 1 + damage.below(64);
        let mut events = 0;
        'all: for piece in bytes.chunks(piece) {
            receiver.push(piece);
            loop {
                match receiver.next() {
                    Ok(Some(_)) => events += 1,
                    Ok(None) => break,
                    Err(_) => break 'all,
                }
                assert!(events <= bytes.len(), "events out of nothing: {}", damage.again(&bytes));
            }
        }
    }
}
