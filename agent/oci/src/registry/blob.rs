//! One blob onto the disk: resumed where it broke off, never longer than promised, verified before it is used.

use super::http::{self, Fetch};
use super::{OnProgress, PullError};
use crate::Progress;
use crate::layers::{digest_of, hex};
use crate::manifest::Descriptor;
use ::http::header::CONTENT_RANGE;
use ::http::{Response, StatusCode};
use std::path::{Path, PathBuf};
use tokio::fs::OpenOptions;
use tokio::io::AsyncWriteExt;

/// Breaks in a row without a single byte between them after which a registry is given up.
const MOST_BREAKS: usize = 4;

/// The verified file. The caller sees to it that nobody else downloads the same.
pub(super) async fn download(
    fetch: &Fetch,
    blob: &Descriptor,
    dir: &Path,
    progress: OnProgress<'_>,
) -> Result<PathBuf, PullError> {
    // An interrupted one's is found again by the next.
    let path = dir.join(format!("{}.part", hex(&blob.digest)));
    let was_begun = length(&path) > 0;
    fill(fetch, blob, &path, progress).await?;
    match verify(fetch, blob, &path).await {
        // What lay here from before may be torn, by a power cut for one; that is not the registry's doing.
        Err(PullError::Digest { found, .. }) if was_begun => {
            tracing::warn!(image = %fetch.image, digest = %blob.digest, %found, "a begun download was torn and begins anew");
            fill(fetch, blob, &path, progress).await?;
            verify(fetch, blob, &path).await?;
        }
        done => done?,
    }
    Ok(path)
}

/// Goes on until the file is as long as it should be.
async fn fill(fetch: &Fetch, blob: &Descriptor, path: &Path, progress: OnProgress<'_>) -> Result<(), PullError> {
    let mut breaks = 0;
    while length(path) < blob.size {
        let before = length(path);
        match attempt(fetch, blob, path, progress).await {
            Ok(()) => {}
            Err(PullError::Unreachable { .. }) if length(path) > before => breaks = 0,
            Err(error @ PullError::Unreachable { .. }) => {
                breaks += 1;
                if breaks == MOST_BREAKS {
                    return Err(error);
                }
            }
            Err(error) => return Err(error),
        }
        if length(path) < blob.size && length(path) <= before && breaks == 0 {
            return Err(fetch.answered(format!(
                "{} bytes of blob {}, which should have {}",
                length(path),
                blob.digest,
                blob.size
            )));
        }
    }
    Ok(())
}

fn length(path: &Path) -> u64 {
    std::fs::metadata(path).map_or(0, |meta| meta.len())
}

async fn attempt(fetch: &Fetch, blob: &Descriptor, path: &Path, progress: OnProgress<'_>) -> Result<(), PullError> {
    let disk = |cause| PullError::Disk {
        image: fetch.image.clone(),
        path: path.to_owned(),
        cause,
    };
    let mut done = length(path);
    let range: &[(&str, String)] = if done > 0 {
        &[("range", format!("bytes={done}-"))]
    } else {
        &[]
    };
    let response = fetch.get(&format!("blobs/{}", blob.digest), range, "blob").await?;
    if response.status() != StatusCode::PARTIAL_CONTENT {
        done = 0;
    } else if !begins_at(&response, done) {
        return Err(fetch.answered(format!(
            "another part of blob {} than the one from byte {done} on",
            blob.digest
        )));
    }
    let mut file = OpenOptions::new()
        .create(true)
        .write(true)
        .truncate(false)
        .open(path)
        .await
        .map_err(disk)?;
    file.set_len(done).await.map_err(disk)?;
    tokio::io::AsyncSeekExt::seek(&mut file, std::io::SeekFrom::Start(done))
        .await
        .map_err(disk)?;
    let mut body = response.into_body();
    while let Some(data) = http::chunk(fetch, &mut body).await? {
        done += data.len() as u64;
        if done > blob.size {
            drop(file);
            // What is too long is wrong from an unknown byte on.
            let _ = std::fs::remove_file(path);
            return Err(fetch.answered(format!(
                "more than the {} bytes that blob {} should have",
                blob.size, blob.digest
            )));
        }
        file.write_all(&data).await.map_err(disk)?;
        // A file of tokio's writes behind; the length on disk is what a resumption goes by.
        file.flush().await.map_err(disk)?;
        progress(Progress {
            digest: blob.digest.clone(),
            done,
            total: blob.size,
        });
    }
    Ok(())
}

/// Whether a part of a body is the one from that byte on; one that does not say which it is, is believed.
fn begins_at<B>(response: &Response<B>, byte: u64) -> bool {
    let Some(range) = response.headers().get(CONTENT_RANGE) else {
        return true;
    };
    let begin = range
        .to_str()
        .ok()
        .and_then(|range| range.strip_prefix("bytes ")?.split_once('-'));
    begin.is_some_and(|(begin, _)| begin.parse() == Ok(byte))
}

async fn verify(fetch: &Fetch, blob: &Descriptor, path: &Path) -> Result<(), PullError> {
    let file = path.to_owned();
    let found = tokio::task::spawn_blocking(move || digest_of(&file)).await;
    let found = found.unwrap_or_else(|panic| Err(std::io::Error::other(panic)));
    let found = found.map_err(|cause| PullError::Disk {
        image: fetch.image.clone(),
        path: path.to_owned(),
        cause,
    })?;
    if found != blob.digest {
        // Otherwise it would be taken for a good beginning next time.
        let _ = std::fs::remove_file(path);
        return Err(fetch.other_digest(&blob.digest, found));
    }
    Ok(())
}
