//! What a server lets a client do: which streams there are, what may come on them, and what is answered at once.

use crate::{Broken, Decoder, Frame, Headers, Reset, StreamId};
use bytes::Bytes;
use std::collections::{BTreeSet, VecDeque};

/// Most streams on which something may still come. A port-forward has two for each of its connections.
pub const MOST_STREAMS: usize = 512;

/// Something that a client did.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// It opened a stream.
    Opened {
        /// Which.
        id: StreamId,
        /// What for.
        headers: Headers,
    },
    /// It said something.
    Data {
        /// On which stream.
        id: StreamId,
        /// What.
        bytes: Bytes,
    },
    /// It has said everything on a stream.
    Finished(StreamId),
    /// It gave a stream up.
    Reset(StreamId),
    /// It takes so many bytes more; stream 0 is the whole connection.
    Window {
        /// On which stream.
        id: StreamId,
        /// Bytes.
        delta: u32,
    },
    /// It counts what it is sent, and takes so many bytes at first on a new stream.
    InitialWindow(u32),
    /// It opens no more streams.
    GoAway,
    /// It is to be answered.
    Answer(Answer),
}

/// What a server answers without asking anybody.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Answer {
    /// A ping, back.
    Ping(u32),
    /// A stream is refused.
    Reset(StreamId, Reset),
}

/// The receiving side of a server's connection.
#[derive(Default)]
pub struct Receiver {
    decoder: Decoder,
    /// Streams on which something may still come.
    open: BTreeSet<StreamId>,
    last: StreamId,
    events: VecDeque<Event>,
}

// === impl Receiver ===

impl Receiver {
    /// Takes what came; call [`Receiver::next`] until it has nothing before the next piece.
    pub fn push(&mut self, bytes: &[u8]) {
        self.decoder.push(bytes);
    }

    /// The next thing that the client did.
    #[expect(
        clippy::should_implement_trait,
        reason = "an iterator that has nothing has ended; this one has not"
    )]
    pub fn next(&mut self) -> Result<Option<Event>, Broken> {
        loop {
            if let Some(event) = self.events.pop_front() {
                return Ok(Some(event));
            }
            match self.decoder.next()? {
                Some(frame) => self.take(frame),
                None => return Ok(None),
            }
        }
    }

    /// Nothing that still comes on this stream is wanted; it is refused from now on.
    pub fn forget(&mut self, id: StreamId) {
        self.open.remove(&id);
    }

    /// The last stream that was accepted.
    pub fn last(&self) -> StreamId {
        self.last
    }

    fn take(&mut self, frame: Frame) {
        match frame {
            Frame::SynStream { id, fin, headers, .. } => self.open(id, fin, headers),
            Frame::Data { id, bytes, fin } => self.data(id, bytes, fin),
            Frame::Headers { id, fin: true, .. } => self.finish(id),
            // More about a stream says nothing to us, and we open none that could be accepted.
            Frame::Headers { .. } | Frame::SynReply { .. } => {}
            Frame::Reset { id, .. } => {
                if self.open.remove(&id) || id <= self.last {
                    self.events.push_back(Event::Reset(id));
                }
            }
            Frame::Settings {
                initial_window: Some(window),
            } => self.events.push_back(Event::InitialWindow(window)),
            Frame::Settings { initial_window: None } => {}
            // Even numbers would be answers to our own, and we ask nothing.
            Frame::Ping(number) if number % 2 == 1 => self.answer(Answer::Ping(number)),
            Frame::Ping(_) => {}
            Frame::GoAway { .. } => self.events.push_back(Event::GoAway),
            Frame::WindowUpdate { id, delta } => self.events.push_back(Event::Window { id, delta }),
        }
    }

    fn open(&mut self, id: StreamId, fin: bool, headers: Headers) {
        if id.is_multiple_of(2) || id <= self.last {
            return self.answer(Answer::Reset(id, Reset::Protocol));
        }
        self.last = id;
        if self.open.len() >= MOST_STREAMS {
            return self.answer(Answer::Reset(id, Reset::Refused));
        }
        self.events.push_back(Event::Opened { id, headers });
        match fin {
            true => self.events.push_back(Event::Finished(id)),
            false => drop(self.open.insert(id)),
        }
    }

    fn data(&mut self, id: StreamId, bytes: Bytes, fin: bool) {
        if !self.open.contains(&id) {
            // Said once, at the end of a frame: a hostile one may come in thousands of pieces.
            let why = if id <= self.last { Reset::Closed } else { Reset::Invalid };
            if fin || id > self.last {
                self.answer(Answer::Reset(id, why));
            }
            return;
        }
        if !bytes.is_empty() {
            self.events.push_back(Event::Data { id, bytes });
        }
        if fin {
            self.finish(id);
        }
    }

    fn finish(&mut self, id: StreamId) {
        if self.open.remove(&id) {
            self.events.push_back(Event::Finished(id));
        }
    }

    fn answer(&mut self, answer: Answer) {
        self.events.push_back(Event::Answer(answer));
    }
}

#[cfg(test)]
mod tests;
