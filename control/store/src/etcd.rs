//! The engine over etcd: every write one transaction there; what etcd's watch reports is what becomes visible here.
//!
//! Several API servers may share one etcd: each sees the others' writes through its own watch. A write is answered only
//! after the watch has brought it, so that a client reads what it wrote. etcd makes everything durable, Leases too.

mod follow;
mod load;
mod protocol;
mod replace;
mod translate;

use crate::engine::{Change, Engine, Entry, Expect, HISTORY, Replacement, Reply, Revision, Write};
use crate::seal::Seals;
use crate::store::WriteError;
use crate::view::View;
use protocol::kv_client::KvClient;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tonic::transport::{Channel, Endpoint};
use translate::Layout;

/// A transaction that takes longer has lost its server; upstream's API server gives up after as long.
const DEADLINE: Duration = Duration::from_secs(30);
/// TCP, TLS and HTTP/2 together, to a server that is usually on the same machine.
const CONNECT_DEADLINE: Duration = Duration::from_secs(5);
/// etcd's limit for one message is 1.5 MiB of request; a page of a range answer may be much larger.
const ANSWER_BYTES: usize = 256 << 20;
/// How long a write waits for the watch to bring what its transaction did.
const ECHO_DEADLINE: Duration = Duration::from_secs(10);

/// Which etcd, and where in it.
#[derive(Clone, Debug)]
pub struct EtcdOptions {
    /// `http://host:port`, one or more of one etcd cluster.
    pub endpoints: Vec<String>,
    /// What all keys begin with, so that several clusters may share an etcd; such as `/pintle`.
    pub prefix: String,
}

/// etcd cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum EtcdError {
    /// Not of the form `http://host:port`.
    #[error("etcd's address {endpoint:?} is not of the form http://host:port")]
    Endpoint {
        /// As given.
        endpoint: String,
    },
    /// No answer, or a refusal.
    #[error("{what} etcd at {endpoints}: {cause}; see whether it runs and has a leader")]
    Unreachable {
        /// What was tried, such as `write /pods/a/b to`.
        what: String,
        /// Where.
        endpoints: String,
        /// What came instead of an answer.
        cause: Box<tonic::Status>,
    },
    /// The watch did not bring the write in time: it happened, and is not visible here yet.
    #[error("write {key} to etcd: it is written, but the watch did not report it within {ECHO_DEADLINE:?}")]
    Unseen {
        /// Which key.
        key: String,
    },
}

/// The handle of the engine. Dropping it ends its watch.
pub(crate) struct Etcd {
    connection: Connection,
    view: Arc<View>,
    /// The last revision that the watch has brought.
    seen: watch::Receiver<Revision>,
    loops: [JoinHandle<()>; 3],
}

/// A channel to etcd and what errors say of it.
#[derive(Clone)]
pub(crate) struct Connection {
    channel: Channel,
    endpoints: Arc<str>,
    layout: Arc<Layout>,
}

// === impl Etcd ===

impl Etcd {
    /// Reads everything, then follows the changes.
    pub(crate) async fn start(options: &EtcdOptions, seals: Arc<Seals>) -> Result<(Arc<View>, Etcd), EtcdError> {
        let connection = Connection::new(options, seals)?;
        let loaded = load::load(&connection).await?;
        tracing::info!(endpoints = %connection.endpoints, entries = loaded.entries.len(), revision = loaded.revision, "store open");
        let view = Arc::new(View::new(loaded.revision, loaded.entries));
        let (bring, seen) = watch::channel(loaded.revision);
        let loops = [
            tokio::spawn(follow::follow(connection.clone(), view.clone(), bring)),
            tokio::spawn(forget(connection.clone(), view.clone())),
            tokio::spawn(reseal(connection.clone(), loaded.stale)),
        ];
        let engine = Etcd {
            connection,
            view: view.clone(),
            seen,
            loops,
        };
        Ok((view, engine))
    }
}

impl Engine for Etcd {
    fn submit(&self, write: Write, reply: Reply) {
        let (connection, view, seen) = (self.connection.clone(), self.view.clone(), self.seen.clone());
        tokio::spawn(async move {
            let outcome = connection.write(&write).await;
            let outcome = match outcome {
                Ok(change) => visible(change, &view, seen).await,
                Err(error) => Err(error),
            };
            // Whoever asked may have gone away; the write stands all the same.
            let _ = reply.send(outcome);
        });
    }

    fn replace(&self, Replacement { entries, reply }: Replacement) {
        let (connection, view, seen) = (self.connection.clone(), self.view.clone(), self.seen.clone());
        tokio::spawn(async move {
            let _ = reply.send(replace::replace(&connection, &view, seen, entries).await);
        });
    }

    fn compact(&self, revision: Revision) {
        let connection = self.connection.clone();
        tokio::spawn(async move { connection.compact(revision).await });
    }
}

impl Drop for Etcd {
    fn drop(&mut self) {
        self.loops.iter().for_each(JoinHandle::abort);
    }
}

/// Forgets history in steps, here and in etcd. With several API servers each does so; whoever comes second finds it done.
async fn forget(connection: Connection, view: Arc<View>) {
    let mut before = view.revision();
    loop {
        tokio::time::sleep(HISTORY).await;
        view.compact(before);
        connection.compact(before).await;
        before = view.revision();
    }
}

/// Writes again what is not sealed as it should be. What changed meanwhile was sealed by whoever changed it.
async fn reseal(connection: Connection, stale: Vec<Entry>) {
    for entry in stale {
        let write = Write {
            key: entry.key.to_string(),
            expect: Expect::At(entry.modified),
            value: Some(entry.value.clone()),
            durable: true,
        };
        if let Err(error @ (WriteError::Etcd(_) | WriteError::EtcdFull(_))) = connection.write(&write).await {
            return tracing::warn!(%error, "what older keys sealed stays so until the next start");
        }
    }
}

/// Waits until the watch has brought the change.
async fn visible(change: Change, view: &View, mut seen: watch::Receiver<Revision>) -> Result<Change, WriteError> {
    let arrived = seen.wait_for(|revision| *revision >= change.revision);
    match tokio::time::timeout(ECHO_DEADLINE, arrived).await {
        Ok(Ok(_)) => Ok(change),
        Ok(Err(_)) => Err(WriteError::Closed),
        Err(_) if view.revision() >= change.revision => Ok(change),
        Err(_) => Err(WriteError::Etcd(Arc::new(EtcdError::Unseen {
            key: change.entry.key.to_string(),
        }))),
    }
}

// === impl Connection ===

impl Connection {
    fn new(options: &EtcdOptions, seals: Arc<Seals>) -> Result<Connection, EtcdError> {
        let endpoints: Result<Vec<Endpoint>, EtcdError> = options.endpoints.iter().map(|text| endpoint(text)).collect();
        let endpoints = endpoints?;
        Ok(Connection {
            // A single one says at once that it is away; a balanced channel waits for one that is there.
            channel: match endpoints.as_slice() {
                [only] => only.connect_lazy(),
                _ => Channel::balance_list(endpoints.into_iter()),
            },
            endpoints: options.endpoints.join(", ").into(),
            layout: Arc::new(Layout {
                prefix: options.prefix.clone(),
                seals,
            }),
        })
    }

    fn kv(&self) -> KvClient<Channel> {
        KvClient::new(self.channel.clone()).max_decoding_message_size(ANSWER_BYTES)
    }

    /// One write as one transaction: what it expects is compared, and if it does not hold the present entry is read.
    async fn write(&self, write: &Write) -> Result<Change, WriteError> {
        let mut kv = self.kv();
        let asked = kv.txn(self.layout.transaction(write));
        let answer = tokio::time::timeout(DEADLINE, asked).await.unwrap_or_else(|_| {
            Err(tonic::Status::deadline_exceeded(format!(
                "no answer within {DEADLINE:?}"
            )))
        });
        match answer {
            Ok(answer) => self
                .layout
                .outcome(write, answer.into_inner())
                .map_err(|present| WriteError::Conflict { present }),
            Err(cause) => {
                let error = Arc::new(self.unreachable(format!("write {} to", write.key), cause));
                // etcd's alarm NOSPACE: the quota is used up (etcd "Space quota").
                let full = matches!(&*error, EtcdError::Unreachable { cause, .. } if cause.code() == tonic::Code::ResourceExhausted);
                Err(if full {
                    WriteError::EtcdFull(error)
                } else {
                    WriteError::Etcd(error)
                })
            }
        }
    }

    async fn compact(&self, revision: Revision) {
        let request = protocol::CompactionRequest {
            revision: translate::signed(revision),
        };
        match self.kv().compact(request).await {
            Ok(_) => {}
            // Somebody else was first: another API server of the same cluster.
            Err(cause) if cause.code() == tonic::Code::OutOfRange => {}
            Err(cause) => {
                let error = self.unreachable(format!("compact up to {revision} in"), cause);
                tracing::warn!(%error, "old revisions are kept a while longer");
            }
        }
    }

    fn unreachable(&self, what: String, cause: tonic::Status) -> EtcdError {
        EtcdError::Unreachable {
            what,
            endpoints: self.endpoints.to_string(),
            cause: Box::new(cause),
        }
    }
}

fn endpoint(text: &str) -> Result<Endpoint, EtcdError> {
    let wrong = || EtcdError::Endpoint {
        endpoint: text.to_owned(),
    };
    if !text.starts_with("http://") {
        return Err(wrong());
    }
    let endpoint = Endpoint::from_shared(text.to_owned()).map_err(|_| wrong())?;
    Ok(endpoint
        .connect_timeout(CONNECT_DEADLINE)
        .http2_adaptive_window(true)
        .http2_keep_alive_interval(Duration::from_secs(10))
        .keep_alive_timeout(Duration::from_secs(10))
        .keep_alive_while_idle(true))
}
