//! Images: the container images on this machine; an archive comes as a stream of its bytes.

use super::{Machine, refuse};
use crate::node::chain;
use crate::pods::images::{Images, NotRemoved};
use oci::{Progress, Reference, Store};
use proto::machine::v1::images_server::Images as Api;
use proto::machine::v1::{
    Image, ImportImagesRequest, ImportImagesResponse, ListImagesRequest, ListImagesResponse, PullImageRequest,
    PullImageResponse, PullProgress, RemoveImageRequest, RemoveImageResponse, pull_image_response::Of,
};
use std::collections::BTreeMap;
use std::io::{self, Read};
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tokio_stream::{Stream, StreamExt};
use tonic::{Request, Response, Status, Streaming};

/// Messages of an archive that wait for the disk; each is at most gRPC's 4 MiB.
const AHEAD: usize = 4;

pub struct Calls(pub Arc<Machine>);

#[tonic::async_trait]
impl Api for Calls {
    async fn list(&self, _: Request<ListImagesRequest>) -> Result<Response<ListImagesResponse>, Status> {
        let images = self.images()?;
        let found = refuse::blocking(move || store(&images)?.list().map_err(refuse::failed)).await?;
        Ok(Response::new(ListImagesResponse {
            images: found.into_iter().map(shown).collect(),
        }))
    }

    async fn import(
        &self,
        request: Request<Streaming<ImportImagesRequest>>,
    ) -> Result<Response<ImportImagesResponse>, Status> {
        let images = self.images()?;
        let (sender, chunks) = mpsc::channel(AHEAD);
        tokio::spawn(hand_over(request.into_inner(), sender));
        let archive = Archive {
            chunks,
            rest: io::Cursor::default(),
        };
        let taken = refuse::blocking(move || {
            store(&images)?
                .import(archive)
                .map_err(|error| refuse::invalid(chain(&error)))
        });
        let images = taken.await?;
        for image in &images {
            tracing::info!(image = %image.id, names = ?image.names, "image imported");
        }
        Ok(Response::new(ImportImagesResponse {
            images: images.into_iter().map(shown).collect(),
        }))
    }

    type PullStream = Pin<Box<dyn Stream<Item = Result<PullImageResponse, Status>> + Send>>;

    async fn pull(&self, request: Request<PullImageRequest>) -> Result<Response<Self::PullStream>, Status> {
        let images = self.images()?;
        let reference = request.into_inner().reference;
        let reference: Reference = reference.parse().map_err(refuse::invalid)?;
        let (sender, receiver) = mpsc::channel(16);
        tokio::spawn(async move {
            tokio::select! {
                pulled = pull(&images, &reference, &sender) => {
                    let end = pulled.map(|image| PullImageResponse { of: Some(Of::Image(image)) });
                    // Nobody listens any more: fine.
                    let _ = sender.send(end).await;
                }
                // What was fetched of it is there for the next who wants it.
                () = sender.closed() => {}
            }
        });
        Ok(Response::new(Box::pin(ReceiverStream::new(receiver))))
    }

    async fn remove(&self, request: Request<RemoveImageRequest>) -> Result<Response<RemoveImageResponse>, Status> {
        let images = self.images()?;
        let name = request.into_inner().name;
        let removed = refuse::blocking(move || {
            images.remove(&name).map_err(|why| match why {
                NotRemoved::Absent(_) => Status::not_found(why.to_string()),
                NotRemoved::Used { .. } => refuse::not_now(why),
                NotRemoved::Store(_) => refuse::failed(why),
            })
        });
        removed.await?;
        Ok(Response::new(RemoveImageResponse {}))
    }
}

/// The bytes of an archive on their way, for a reader that blocks.
struct Archive {
    chunks: mpsc::Receiver<io::Result<Vec<u8>>>,
    rest: io::Cursor<Vec<u8>>,
}

/// From the caller to the reader, until one of them ends. A caller that goes away in the middle is an error, not an end.
async fn hand_over(mut from: Streaming<ImportImagesRequest>, to: mpsc::Sender<io::Result<Vec<u8>>>) {
    while let Some(message) = from.next().await {
        let chunk = message.map(|message| message.data).map_err(|status| {
            let why = format!("the caller stopped sending it: {}", status.message());
            io::Error::new(io::ErrorKind::ConnectionAborted, why)
        });
        let is_over = chunk.is_err();
        if to.send(chunk).await.is_err() || is_over {
            return;
        }
    }
}

async fn pull(
    images: &Images,
    reference: &Reference,
    to: &mpsc::Sender<Result<PullImageResponse, Status>>,
) -> Result<Image, Status> {
    let layers = Mutex::new(BTreeMap::new());
    let tell = |progress: Progress| {
        let mut layers = layers.lock().unwrap_or_else(PoisonError::into_inner);
        layers.insert(progress.digest, (progress.done, progress.total));
        let sum = |part: fn(&(u64, u64)) -> u64| layers.values().map(part).sum();
        let progress = PullProgress {
            done_bytes: sum(|layer| layer.0),
            total_bytes: sum(|layer| layer.1),
        };
        // A slow listener misses some, never the end.
        let _ = to.try_send(Ok(PullImageResponse {
            of: Some(Of::Progress(progress)),
        }));
    };
    let pulled = images.pull(reference, None, &tell).await;
    pulled.map(shown).map_err(|error| Status::unavailable(chain(&error)))
}

fn store(images: &Images) -> Result<Store, Status> {
    images.store().map_err(refuse::failed)
}

fn shown(image: oci::Image) -> Image {
    Image {
        id: image.id,
        digest: image.digest,
        names: image.names,
        size_bytes: image.size,
    }
}

// === impl Calls ===

impl Calls {
    fn images(&self) -> Result<Images, Status> {
        let images = self.0.images.get().cloned();
        images.ok_or_else(|| {
            refuse::not_now("this machine runs no pods, so it keeps no container images: it lacks the role worker")
        })
    }
}

// === impl Archive ===

impl Read for Archive {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        loop {
            let length = self.rest.read(buffer)?;
            if length > 0 || buffer.is_empty() {
                return Ok(length);
            }
            match self.chunks.blocking_recv() {
                Some(chunk) => self.rest = io::Cursor::new(chunk?),
                None => return Ok(0),
            }
        }
    }
}
