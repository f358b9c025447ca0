//! A SPDY connection's IO: a task that reads, a task that writes, and streams in between.
//!
//! A stream whose reader is slow holds up the whole connection, as on upstream: its peers know no flow control and would send
//! without end. What they are sent is counted only if they say that they count (SETTINGS with an initial window).

use bytes::{Bytes, BytesMut};
use spdy::{Answer, Encoder, Event, GoAway, Headers, Receiver, Reset, StreamId};
use std::collections::HashMap;
use std::io;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::sync::{Semaphore, mpsc};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

/// Bytes read from the connection at once, and most bytes in a frame that is sent.
const CHUNK: usize = 16 << 10;
/// Pieces of a stream that wait for its reader.
const PIECES: usize = 8;
/// Frames that wait to be written.
const FRAMES: usize = 16;
/// The window of a whole connection, which no setting changes.
const CONNECTION_WINDOW: usize = 64 << 10;
/// A reader is told of that much at once that it may send more.
const UPDATE: u32 = 32 << 10;
/// What a peer has to say after everything was said to it gets so long.
const FAREWELL: Duration = Duration::from_secs(5);

/// A connection to a client that opens streams.
pub struct Connection {
    opened: mpsc::Receiver<Stream>,
    out: mpsc::Sender<Out>,
    gone: CancellationToken,
    reader: JoinHandle<()>,
    writer: JoinHandle<()>,
}

/// One stream. Dropping it says nothing to the client.
pub struct Stream {
    id: StreamId,
    headers: Headers,
    inbound: mpsc::Receiver<Inbound>,
    out: mpsc::Sender<Out>,
    /// Its own and the connection's; nothing where the client does not count.
    windows: Option<[Arc<Semaphore>; 2]>,
    /// Bytes read and not yet told of.
    untold: u32,
}

/// The connection or the stream is over.
#[derive(Debug, thiserror::Error)]
#[error("the caller has gone")]
pub struct Gone;

/// What comes on a stream.
enum Inbound {
    Data(Bytes),
    Finished,
}

/// What goes out.
enum Out {
    Reply(StreamId),
    Data(StreamId, Bytes, bool),
    Reset(StreamId, Reset),
    Ping(u32),
    Window(StreamId, u32),
    GoAway(StreamId, GoAway),
}

/// What the client takes at most, by stream, and what of it is left.
#[derive(Default)]
struct Windows {
    initial: Option<usize>,
    connection: Option<Arc<Semaphore>>,
    streams: HashMap<StreamId, Arc<Semaphore>>,
}

// === impl Connection ===

impl Connection {
    pub fn new(io: impl AsyncRead + AsyncWrite + Send + 'static) -> Connection {
        let (read, write) = tokio::io::split(io);
        let (out, frames) = mpsc::channel(FRAMES);
        let (open, opened) = mpsc::channel(1);
        let gone = CancellationToken::new();
        let reading = Reading {
            receiver: Receiver::default(),
            inbound: HashMap::new(),
            windows: Arc::default(),
            open,
            out: out.clone(),
        };
        let reader = tokio::spawn({
            let gone = gone.clone();
            async move {
                reading.run(read).await;
                gone.cancel();
            }
        });
        let writer = tokio::spawn({
            let gone = gone.clone();
            async move {
                if let Err(error) = write_frames(write, frames).await {
                    tracing::debug!(%error, "a SPDY connection ended early");
                }
                gone.cancel();
            }
        });
        Connection {
            opened,
            out,
            gone,
            reader,
            writer,
        }
    }

    /// The next stream that the client opens; nothing when it has gone. Safe to cancel.
    pub async fn accept(&mut self) -> Option<Stream> {
        self.opened.recv().await
    }

    /// Refuses all streams from now on.
    pub fn refuse_more(&mut self) {
        self.opened.close();
    }

    /// Cancelled when the client has gone.
    pub fn gone(&self) -> CancellationToken {
        self.gone.clone()
    }

    /// Sends what waits to be sent and ends the connection. All streams must be dropped.
    pub async fn close(self, last: StreamId) {
        let Connection {
            opened,
            out,
            reader,
            writer,
            ..
        } = self;
        let _ = out.send(Out::GoAway(last, GoAway::Ok)).await;
        drop((opened, out));
        // Closing with something unread would take back what was sent last (man 7 tcp: a reset).
        let ends = [writer.abort_handle(), reader.abort_handle()];
        let both = async { tokio::join!(writer, reader) };
        if tokio::time::timeout(FAREWELL, both).await.is_err() {
            ends.iter().for_each(tokio::task::AbortHandle::abort);
        }
    }
}

// === impl Stream ===

impl Stream {
    pub fn id(&self) -> StreamId {
        self.id
    }

    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name)
    }

    /// Accepts it. spdystream forgets what comes before.
    pub async fn reply(&self) -> Result<(), Gone> {
        self.put(Out::Reply(self.id)).await
    }

    /// What comes next; nothing when the client has said everything. Safe to cancel.
    pub async fn recv(&mut self) -> Result<Option<Bytes>, Gone> {
        match self.inbound.recv().await {
            Some(Inbound::Data(bytes)) => {
                self.untold += u32::try_from(bytes.len()).unwrap_or(u32::MAX);
                // Who does not count does not mind; a full queue makes it wait for the next piece.
                if self.untold >= UPDATE && self.out.try_send(Out::Window(self.id, self.untold)).is_ok() {
                    self.untold = 0;
                }
                Ok(Some(bytes))
            }
            Some(Inbound::Finished) => Ok(None),
            None => Err(Gone),
        }
    }

    /// Says something.
    pub async fn send(&self, mut bytes: Bytes) -> Result<(), Gone> {
        while !bytes.is_empty() {
            let wanted = bytes.len().min(CHUNK);
            let length = match &self.windows {
                Some(windows) => take(windows, wanted).await?,
                None => wanted,
            };
            self.put(Out::Data(self.id, bytes.split_to(length), false)).await?;
        }
        Ok(())
    }

    /// Says that everything is said.
    pub async fn finish(&self) -> Result<(), Gone> {
        self.put(Out::Data(self.id, Bytes::new(), true)).await
    }

    /// Gives it up.
    pub async fn reset(&self, why: Reset) -> Result<(), Gone> {
        self.put(Out::Reset(self.id, why)).await
    }

    async fn put(&self, out: Out) -> Result<(), Gone> {
        self.out.send(out).await.map_err(|_| Gone)
    }
}

/// As much as both windows have room for, at least one byte.
async fn take(windows: &[Arc<Semaphore>; 2], wanted: usize) -> Result<usize, Gone> {
    let mut length = wanted;
    for window in windows {
        // One by one would be slow; what is there may be less than wanted.
        length = length.min(window.available_permits().max(1));
    }
    for window in windows {
        let length = u32::try_from(length).unwrap_or(u32::MAX);
        window.acquire_many(length).await.map_err(|_| Gone)?.forget();
    }
    Ok(length)
}

/// The task that reads.
struct Reading {
    receiver: Receiver,
    inbound: HashMap<StreamId, mpsc::Sender<Inbound>>,
    windows: Arc<Mutex<Windows>>,
    open: mpsc::Sender<Stream>,
    out: mpsc::Sender<Out>,
}

// === impl Reading ===

impl Reading {
    async fn run(mut self, mut from: impl AsyncRead + Unpin) {
        let mut buffer = vec![0; CHUNK];
        loop {
            let length = match from.read(&mut buffer).await {
                Ok(0) | Err(_) => return self.end(),
                Ok(length) => length,
            };
            self.receiver.push(&buffer[..length]);
            loop {
                match self.receiver.next() {
                    Ok(Some(event)) => {
                        if self.take(event).await.is_err() {
                            return self.end();
                        }
                    }
                    Ok(None) => break,
                    Err(broken) => {
                        tracing::debug!(%broken, "a SPDY connection is given up");
                        let last = self.receiver.last();
                        let _ = self.out.send(Out::GoAway(last, GoAway::Protocol)).await;
                        return self.end();
                    }
                }
            }
        }
    }

    /// Nobody waits for a window of a connection that is over.
    fn end(self) {
        let windows = self.windows.lock().unwrap_or_else(PoisonError::into_inner);
        windows
            .connection
            .iter()
            .chain(windows.streams.values())
            .for_each(|window| window.close());
    }

    async fn take(&mut self, event: Event) -> Result<(), Gone> {
        match event {
            Event::Opened { id, headers } => self.opened(id, headers).await,
            Event::Data { id, bytes } => self.pass(id, Inbound::Data(bytes)).await,
            Event::Finished(id) => {
                self.pass(id, Inbound::Finished).await?;
                self.inbound.remove(&id);
                Ok(())
            }
            Event::Reset(id) => {
                self.inbound.remove(&id);
                let window = self.windows().streams.remove(&id);
                window.iter().for_each(|window| window.close());
                Ok(())
            }
            Event::Window { id, delta } => {
                self.windows().grow(id, usize::try_from(delta).unwrap_or(0));
                Ok(())
            }
            Event::InitialWindow(window) => {
                let mut windows = self.windows();
                windows.initial = Some(
                    usize::try_from(window)
                        .unwrap_or(usize::MAX)
                        .min(Semaphore::MAX_PERMITS),
                );
                windows
                    .connection
                    .get_or_insert_with(|| Arc::new(Semaphore::new(CONNECTION_WINDOW)));
                Ok(())
            }
            // Its streams go on.
            Event::GoAway => Ok(()),
            Event::Answer(answer) => {
                let out = match answer {
                    Answer::Ping(number) => Out::Ping(number),
                    Answer::Reset(id, why) => Out::Reset(id, why),
                };
                self.out.send(out).await.map_err(|_| Gone)
            }
        }
    }

    async fn opened(&mut self, id: StreamId, headers: Headers) -> Result<(), Gone> {
        let (sender, inbound) = mpsc::channel(PIECES);
        self.inbound.insert(id, sender);
        let windows = self.windows().open(id);
        let stream = Stream {
            id,
            headers,
            inbound,
            out: self.out.clone(),
            windows,
            untold: 0,
        };
        // Nobody takes streams any more: what is still there may end.
        if self.open.send(stream).await.is_err() {
            self.inbound.remove(&id);
            self.receiver.forget(id);
            return self.out.send(Out::Reset(id, Reset::Refused)).await.map_err(|_| Gone);
        }
        Ok(())
    }

    async fn pass(&mut self, id: StreamId, inbound: Inbound) -> Result<(), Gone> {
        let Some(sender) = self.inbound.get(&id) else {
            return Ok(());
        };
        let finished = matches!(inbound, Inbound::Finished);
        if sender.send(inbound).await.is_err() {
            self.inbound.remove(&id);
            self.receiver.forget(id);
            if !finished {
                return self.out.send(Out::Reset(id, Reset::Cancel)).await.map_err(|_| Gone);
            }
        }
        Ok(())
    }

    fn windows(&self) -> std::sync::MutexGuard<'_, Windows> {
        self.windows.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

// === impl Windows ===

impl Windows {
    fn open(&mut self, id: StreamId) -> Option<[Arc<Semaphore>; 2]> {
        let window = Arc::new(Semaphore::new(self.initial?));
        // Those of former streams are of no use any more.
        self.streams.retain(|_, window| Arc::strong_count(window) > 1);
        self.streams.insert(id, window.clone());
        Some([window, self.connection.clone()?])
    }

    fn grow(&mut self, id: StreamId, delta: usize) {
        let window = if id == 0 {
            self.connection.as_ref()
        } else {
            self.streams.get(&id)
        };
        if let Some(window) = window {
            window.add_permits(delta.min(Semaphore::MAX_PERMITS - window.available_permits()));
        }
    }
}

async fn write_frames(mut to: impl AsyncWrite + Unpin, mut frames: mpsc::Receiver<Out>) -> io::Result<()> {
    let mut encoder = Encoder::default();
    let mut waiting = Vec::with_capacity(FRAMES);
    let mut bytes = BytesMut::new();
    while frames.recv_many(&mut waiting, FRAMES).await > 0 {
        let mut last = false;
        for frame in waiting.drain(..) {
            match frame {
                Out::Reply(id) => encoder.syn_reply(&mut bytes, id, &Headers::default()),
                Out::Data(id, data, fin) => encoder.data(&mut bytes, id, &data, fin),
                Out::Reset(id, why) => encoder.reset(&mut bytes, id, why),
                Out::Ping(number) => encoder.ping(&mut bytes, number),
                Out::Window(id, delta) => {
                    encoder.window_update(&mut bytes, id, delta);
                    encoder.window_update(&mut bytes, 0, delta);
                }
                Out::GoAway(id, why) => {
                    encoder.go_away(&mut bytes, id, why);
                    last = true;
                }
            }
        }
        to.write_all(&bytes).await?;
        to.flush().await?;
        bytes.clear();
        if last {
            break;
        }
    }
    to.shutdown().await
}
