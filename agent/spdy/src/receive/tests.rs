//! Streams from their opening to their end, and peers that break the rules.

use super::*;
use crate::Encoder;
use bytes::BytesMut;

fn events(receiver: &mut Receiver, write: impl FnOnce(&mut BytesMut)) -> Vec<Event> {
    let mut out = BytesMut::new();
    write(&mut out);
    receiver.push(&out);
    std::iter::from_fn(|| receiver.next().unwrap()).collect()
}

#[test]
fn a_stream_is_opened_used_and_finished() {
    let (mut receiver, mut encoder) = (Receiver::default(), Encoder::default());
    let headers = Headers::new([("streamType", "stdin")]);
    let got = events(&mut receiver, |out| {
        encoder.syn_stream(out, 1, &headers, false);
        encoder.data(out, 1, b"in", true);
    });
    let bytes = Bytes::from_static(b"in");
    let expected = [
        Event::Opened { id: 1, headers },
        Event::Data { id: 1, bytes },
        Event::Finished(1),
    ];
    assert_eq!(got, expected);
    let late = events(&mut receiver, |out| encoder.data(out, 1, b"late", true));
    assert_eq!(late, [Event::Answer(Answer::Reset(1, Reset::Closed))]);
}

#[test]
fn streams_against_the_rules_are_reset() {
    let (mut receiver, mut encoder) = (Receiver::default(), Encoder::default());
    let headers = Headers::default();
    for (id, refused) in [(2, true), (0, true), (5, false), (5, true), (3, true), (7, false)] {
        let got = events(&mut receiver, |out| encoder.syn_stream(out, id, &headers, false));
        let answer = Event::Answer(Answer::Reset(id, Reset::Protocol));
        assert_eq!(got == [answer], refused, "{id}: {got:?}");
    }
    let unknown = events(&mut receiver, |out| encoder.data(out, 99, b"x", false));
    assert_eq!(unknown, [Event::Answer(Answer::Reset(99, Reset::Invalid))]);
}

#[test]
fn there_are_only_so_many_streams_at_once() {
    let (mut receiver, mut encoder) = (Receiver::default(), Encoder::default());
    let mut id = 1;
    let mut open = |receiver: &mut Receiver| {
        id += 2;
        (
            id,
            events(receiver, |out| encoder.syn_stream(out, id, &Headers::default(), false)),
        )
    };
    for _ in 0..MOST_STREAMS {
        assert!(matches!(open(&mut receiver).1[..], [Event::Opened { .. }]));
    }
    let (id, got) = open(&mut receiver);
    assert_eq!(got, [Event::Answer(Answer::Reset(id, Reset::Refused))]);
    receiver.forget(3);
    assert!(matches!(open(&mut receiver).1[..], [Event::Opened { .. }]));
}

#[test]
fn pings_are_answered_and_answers_are_not() {
    let (mut receiver, mut encoder) = (Receiver::default(), Encoder::default());
    let got = events(&mut receiver, |out| {
        encoder.ping(out, 7);
        encoder.ping(out, 8);
    });
    assert_eq!(got, [Event::Answer(Answer::Ping(7))]);
}
