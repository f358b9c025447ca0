//! `pintlectl oci`: the container images on a machine.

use super::refused;
use crate::print::{Align, line, size, table};
use anyhow::{Context, Result, bail};
use clap::Subcommand;
use image::Progress;
use machine_client::Connection;
use proto::machine::v1::{
    Image, ImportImagesRequest, ListImagesRequest, PullImageRequest, RemoveImageRequest, pull_image_response::Of,
};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use tokio::io::AsyncReadExt;
use tokio::sync::mpsc;

/// Bytes a message: small against gRPC's 4 MiB, large against a round trip.
const CHUNK: usize = 256 << 10;

/// What can be done with them.
#[derive(Subcommand)]
pub enum Command {
    /// Show them.
    List,
    /// Send an archive: an OCI image layout, or what `docker save` writes; plain, gzip or zstd.
    Import {
        /// The archive.
        file: PathBuf,
    },
    /// Let the machine fetch one from its registry.
    Pull {
        /// As pods name it, e.g. `registry.test:5000/demo:1`.
        reference: String,
    },
    /// Forget a name, or with an ID the image; not while a pod uses it.
    Remove {
        /// Name, ID or digest.
        name: String,
    },
}

/// Does it.
pub async fn run(machine: Connection, command: Command) -> Result<()> {
    match command {
        Command::List => list(machine).await,
        Command::Import { file } => import(machine, &file).await,
        Command::Pull { reference } => pull(machine, reference).await,
        Command::Remove { name } => {
            let request = RemoveImageRequest { name: name.clone() };
            machine.images().remove(request).await.map_err(refused)?;
            line(format!("{name} is removed"))
        }
    }
}

async fn list(machine: Connection) -> Result<()> {
    let listed = machine.images().list(ListImagesRequest {}).await.map_err(refused)?;
    let row = |image: Image| {
        let names = match image.names.is_empty() {
            true => "(none)".to_owned(),
            false => image.names.join(", "),
        };
        [names, short(&image.id), size(image.size_bytes)]
    };
    let rows: Vec<_> = listed.into_inner().images.into_iter().map(row).collect();
    table(
        [("NAME", Align::Left), ("ID", Align::Left), ("SIZE", Align::Right)],
        &rows,
    )
}

async fn import(machine: Connection, path: &Path) -> Result<()> {
    let failed = || format!("read {}", path.display());
    let mut file = tokio::fs::File::open(path).await.with_context(failed)?;
    let total = file.metadata().await.with_context(failed)?.len();
    let step = Progress::new().counted("send the archive", total);
    let (sender, chunks) = mpsc::channel(4);
    let unread = Arc::new(Mutex::new(None));
    let trouble = unread.clone();
    let sending = tokio::spawn(async move {
        let mut sent = 0;
        loop {
            let mut data = vec![0; CHUNK];
            match file.read(&mut data).await {
                Ok(0) => break step.done(Some(sent)),
                Ok(length) => {
                    data.truncate(length);
                    sent += length as u64;
                    if sender.send(ImportImagesRequest { data }).await.is_err() {
                        break;
                    }
                    step.at(sent);
                }
                Err(cause) => {
                    // What the machine has by now is no whole archive, and it says so; this is why.
                    *trouble.lock().expect("nobody panics while holding it") = Some(cause);
                    break;
                }
            }
        }
    });
    let stream = tokio_stream::wrappers::ReceiverStream::new(chunks);
    let answer = machine.images().import(stream).await;
    sending.abort();
    if let Some(cause) = unread.lock().expect("nobody panics while holding it").take() {
        return Err(cause).with_context(failed);
    }
    let images = answer.map_err(refused)?.into_inner().images;
    if images.is_empty() {
        bail!("{} holds no image", path.display());
    }
    images.iter().try_for_each(say)
}

async fn pull(machine: Connection, reference: String) -> Result<()> {
    let step = Progress::new().step(&format!("pull {reference}"));
    let request = PullImageRequest { reference };
    let mut answers = machine.images().pull(request).await.map_err(refused)?.into_inner();
    while let Some(answer) = answers.message().await.map_err(refused)? {
        match answer.of {
            Some(Of::Progress(progress)) => {
                step.say(&format!(
                    "{} of {}",
                    size(progress.done_bytes),
                    size(progress.total_bytes)
                ));
            }
            Some(Of::Image(image)) => {
                step.done(Some(image.size_bytes));
                return say(&image);
            }
            None => {}
        }
    }
    bail!("the machine ended the pull without a word")
}

fn say(image: &Image) -> Result<()> {
    let names = match image.names.is_empty() {
        true => "an image without a name".to_owned(),
        false => image.names.join(", "),
    };
    line(format!(
        "{names} is on the machine ({}, {})",
        short(&image.id),
        size(image.size_bytes)
    ))
}

/// As much of an ID as people compare.
fn short(id: &str) -> String {
    id.trim_start_matches("sha256:").chars().take(12).collect()
}
