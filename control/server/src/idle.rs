//! Connections on which nobody asks for anything: they are ended after a while, so that they do not take others' room.

use bytes::Bytes;
use client::Body;
use http::Response;
use http_body::{Frame, SizeHint};
use http_body_util::BodyExt;
use std::io;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::time::Instant;

/// What is asked on one connection.
pub(crate) struct Activity {
    patience: Duration,
    state: Mutex<State>,
}

struct State {
    /// Requests whose answers have not ended.
    open: usize,
    /// When the last one did.
    since: Instant,
}

/// A request, until the end of its answer.
pub(crate) struct Asked(Arc<Activity>);

/// An answer's body.
struct Answer {
    body: Body,
    _asked: Asked,
}

// === impl Activity ===

impl Activity {
    /// Of a connection that may be idle for as long as `patience`.
    pub(crate) fn new(patience: Duration) -> Self {
        let state = State {
            open: 0,
            since: Instant::now(),
        };
        Self {
            patience,
            state: Mutex::new(state),
        }
    }

    /// The numbers are whole even if somebody panicked over them.
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Something is asked.
    pub(crate) fn begin(self: &Arc<Self>) -> Asked {
        self.state().open += 1;
        Asked(self.clone())
    }

    /// Waits until nothing was asked for too long.
    pub(crate) async fn until_idle(&self) {
        loop {
            let end = {
                let state = self.state();
                let from = if state.open == 0 { state.since } else { Instant::now() };
                from + self.patience
            };
            if end <= Instant::now() {
                return;
            }
            tokio::time::sleep_until(end).await;
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::reply;

    #[tokio::test]
    async fn a_connection_is_idle_when_its_last_answer_has_ended_a_while_ago() {
        let activity = Arc::new(Activity::new(Duration::from_millis(20)));
        let answer = activity.begin().until_the_end_of(Response::new(reply::whole("x")));
        let short = Duration::from_millis(200);
        assert!(tokio::time::timeout(short, activity.until_idle()).await.is_err());
        let body = answer.into_body();
        assert_eq!(http_body::Body::size_hint(&body).exact(), Some(1));
        drop(body);
        tokio::time::timeout(Duration::from_secs(30), activity.until_idle())
            .await
            .unwrap();
    }
}
