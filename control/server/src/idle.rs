//! Connections on which nobody asks for anything, or too slowly: they are ended after a while, so that they do not take others'
//! room.

use bytes::Bytes;
use client::Body;
use http::Response;
use http_body::{Frame, SizeHint};
use http_body_util::BodyExt;
use std::io::{self, IoSlice};
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, ready};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::sync::Notify;
use tokio::time::Instant;

/// How long one waits for a client.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Patience {
    /// Between an answer and the next request.
    pub(crate) idle: Duration,
    /// From the first byte of a request to the end of its head; none where bytes may come that are no request (HTTP/2).
    pub(crate) head: Option<Duration>,
}

/// Why a connection is not waited for any longer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Over {
    /// Nothing was asked for too long.
    Idle,
    /// The head of a request did not end.
    Slow,
}

/// What is asked on one connection.
pub(crate) struct Activity {
    patience: Patience,
    state: Mutex<State>,
    /// A head has begun.
    begun: Notify,
}

struct State {
    /// Requests whose answers have not ended.
    open: usize,
    /// When the last one did.
    since: Instant,
    /// When the head that is not whole yet began.
    head: Option<Instant>,
}

/// A request, until the end of its answer.
pub(crate) struct Asked(Arc<Activity>);

/// An answer's body.
struct Answer {
    body: Body,
    _asked: Asked,
}

/// A connection that tells when bytes come.
pub(crate) struct Watched<S> {
    stream: S,
    activity: Arc<Activity>,
}

// === impl Activity ===

impl Activity {
    /// Of a new connection: its first head is waited for from now on.
    pub(crate) fn new(patience: Patience) -> Self {
        let now = Instant::now();
        let state = State {
            open: 0,
            since: now,
            head: patience.head.map(|_| now),
        };
        Self {
            patience,
            state: Mutex::new(state),
            begun: Notify::new(),
        }
    }

    /// The numbers are whole even if somebody panicked over them.
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Something is asked: a head is whole.
    pub(crate) fn begin(self: &Arc<Self>) -> Asked {
        let mut state = self.state();
        state.open += 1;
        state.head = None;
        Asked(self.clone())
    }

    /// Bytes came. While nothing is asked they are the beginning of a head.
    fn received(&self) {
        let mut state = self.state();
        if self.patience.head.is_some() && state.open == 0 && state.head.is_none() {
            state.head = Some(Instant::now());
            self.begun.notify_one();
        }
    }

    /// When it is over if nothing happens, and why then.
    fn end(&self) -> (Instant, Over) {
        let state = self.state();
        if state.open > 0 {
            return (Instant::now() + self.patience.idle, Over::Idle);
        }
        let idle = (state.since + self.patience.idle, Over::Idle);
        match (state.head, self.patience.head) {
            (Some(began), Some(patience)) if began + patience < idle.0 => (began + patience, Over::Slow),
            _ => idle,
        }
    }

    /// Waits until nothing was asked for too long, or too slowly.
    pub(crate) async fn until_over(&self) -> Over {
        loop {
            let (end, why) = self.end();
            if end <= Instant::now() {
                return why;
            }
            tokio::select! {
                () = tokio::time::sleep_until(end) => {}
                () = self.begun.notified() => {}
            }
        }
    }
}

// === impl Asked ===

impl Asked {
    /// Goes on for as long as the answer does.
    pub(crate) fn until_the_end_of(self, answer: Response<Body>) -> Response<Body> {
        answer.map(|body| BodyExt::boxed(Answer { body, _asked: self }))
    }
}

impl Drop for Asked {
    fn drop(&mut self) {
        let mut state = self.0.state();
        state.open -= 1;
        state.since = Instant::now();
    }
}

// === impl Answer ===

impl http_body::Body for Answer {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<io::Result<Frame<Bytes>>>> {
        Pin::new(&mut self.body).poll_frame(context)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

// === impl Watched ===

impl<S> Watched<S> {
    /// Tells `activity` of what comes on `stream`.
    pub(crate) fn new(stream: S, activity: Arc<Activity>) -> Self {
        Self { stream, activity }
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Watched<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        ready!(Pin::new(&mut self.stream).poll_read(context, buffer))?;
        if buffer.filled().len() > before {
            self.activity.received();
        }
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Watched<S> {
    fn poll_write(mut self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(context, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        parts: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(context, parts)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::reply;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    /// Long enough for anything that should happen.
    const DEADLINE: Duration = Duration::from_secs(30);

    #[tokio::test]
    async fn a_connection_is_idle_when_its_last_answer_has_ended_a_while_ago() {
        let activity = Arc::new(Activity::new(Patience {
            idle: Duration::from_millis(20),
            head: None,
        }));
        let answer = activity.begin().until_the_end_of(Response::new(reply::whole("x")));
        let short = Duration::from_millis(200);
        assert!(tokio::time::timeout(short, activity.until_over()).await.is_err());
        let body = answer.into_body();
        assert_eq!(http_body::Body::size_hint(&body).exact(), Some(1));
        drop(body);
        let over = tokio::time::timeout(DEADLINE, activity.until_over()).await.unwrap();
        assert_eq!(over, Over::Idle);
    }

    #[tokio::test]
    async fn a_head_that_does_not_end_is_not_waited_for_as_long_as_an_idle_client() {
        let patience = Patience {
            idle: Duration::from_secs(600),
            head: Some(Duration::from_millis(20)),
        };
        // A new connection is waited for from the beginning.
        let fresh = Activity::new(patience);
        let over = tokio::time::timeout(DEADLINE, fresh.until_over()).await;
        assert_eq!(over.unwrap(), Over::Slow);
        // One that has asked may rest, until the next head begins.
        let activity = Arc::new(Activity::new(patience));
        drop(activity.begin());
        let short = Duration::from_millis(200);
        assert!(tokio::time::timeout(short, activity.until_over()).await.is_err());
        let (mut client, server) = tokio::io::duplex(64);
        let mut server = Watched::new(server, activity.clone());
        client.write_all(b"G").await.unwrap();
        server.read_u8().await.unwrap();
        let over = tokio::time::timeout(DEADLINE, activity.until_over()).await.unwrap();
        assert_eq!(over, Over::Slow);
    }
}
