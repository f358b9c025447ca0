//! SPDY/3.1 frames of a client of exec and port-forward. They break the connection and nothing else.

use crate::{Target, choice, chosen};
use bytes::BytesMut;
use spdy::{Encoder, Headers, Receiver};

/// In pieces of what size less one, and the frames.
pub const TARGET: Target = Target {
    name: "frames",
    seeds,
    run,
};

/// Events that one byte may cause: what opens a stream can end it too, and is answered.
const EVENTS: usize = 4;

/// A conversation as clients have it.
fn seeds() -> Vec<Vec<u8>> {
    let (mut encoder, mut out) = (Encoder::default(), BytesMut::new());
    for (id, kind) in [(1, "error"), (3, "data"), (5, "stdin")] {
        let headers = Headers::new([("streamtype", kind), ("port", "80"), ("requestid", "0")]);
        encoder.syn_stream(&mut out, id, &headers, id == 1);
        encoder.data(&mut out, id, b"hello", false);
    }
    encoder.ping(&mut out, 7);
    encoder.window_update(&mut out, 3, 1 << 20);
    encoder.data(&mut out, 3, b"", true);
    [0, 7, 255].map(|piece| chosen(&[piece], &out)).to_vec()
}

fn run(bytes: &[u8]) -> bool {
    let Some((piece, bytes)) = choice(bytes, 256) else {
        return false;
    };
    let mut receiver = Receiver::default();
    let mut events = 0;
    for piece in bytes.chunks(piece + 1) {
        receiver.push(piece);
        loop {
            match receiver.next() {
                Ok(Some(_)) => events += 1,
                Ok(None) => break,
                Err(_) => return false,
            }
            assert!(events <= bytes.len() * EVENTS, "events out of nothing");
        }
    }
    events > 0
}
