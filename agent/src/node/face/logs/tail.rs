//! Sends a log, the oldest of its files first, and what is appended to it while somebody wants it, over any rotations.

use super::Wish;
use super::line::Line;
use bytes::Bytes;
use std::fs::File;
use std::io::{self, BufRead, BufReader, Read, Seek};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::Duration;
use tokio::sync::mpsc::Sender;

/// How often a followed log is looked at: people do not see less, and a node with a hundred followers feels nothing.
const LOOK: Duration = Duration::from_millis(100);
/// Bytes read at once.
const CHUNK: usize = 64 << 10;

/// A reading of one log.
pub struct Tail {
    path: PathBuf,
    wish: Wish,
    /// Bytes that may still be sent.
    left: usize,
    /// Whether the last piece sent ended its line.
    at_line_start: bool,
    /// Bytes of its files that are read, where nobody follows: what there was when it was asked for. A container may write
    /// faster than its reader reads, and would never be caught up with.
    unread: u64,
}

/// Whether the reader still wants more.
#[derive(PartialEq, Eq)]
enum More {
    Wanted,
    Enough,
}

impl Tail {
    pub fn new(path: PathBuf, wish: Wish) -> Self {
        let left = wish.limit.unwrap_or(usize::MAX);
        Self {
            path,
            wish,
            left,
            at_line_start: true,
            unread: u64::MAX,
        }
    }

    /// Sends it; ends when there is no more, the reader is gone, or, if followed, nothing comes any more.
    pub async fn send(mut self, sender: Sender<io::Result<Bytes>>, is_running: impl Fn() -> bool) {
        if let Err(error) = self.try_send(&sender, is_running).await {
            let _ = sender.send(Err(error)).await;
        }
    }

    async fn try_send(&mut self, sender: &Sender<io::Result<Bytes>>, is_running: impl Fn() -> bool) -> io::Result<()> {
        let mut files = open_all(&self.path)?;
        let sizes = files.iter().map(|file| file.metadata().map(|file| file.len()));
        let sizes = sizes.collect::<io::Result<Vec<u64>>>()?;
        if !self.wish.follow {
            self.unread = sizes.iter().sum();
        }
        let mut skip = match self.wish.tail {
            Some(wanted) => self.count(&mut files, &sizes)?.saturating_sub(wanted),
            None => 0,
        };
        let mut last = None;
        loop {
            // Asked before reading: what was written before the end is read after it.
            let ended = !is_running();
            for mut file in files {
                let mut rest = Vec::new();
                if self.drain(&mut file, &mut rest, &mut skip, sender).await? == More::Enough {
                    return Ok(());
                }
                last = Some((file, rest));
            }
            if let Some((file, rest)) = &mut last
                && self.drain(file, rest, &mut skip, sender).await? == More::Enough
            {
                return Ok(());
            }
            files = newer(&self.path, last.as_ref().map(|(file, _)| file))?;
            if !files.is_empty() {
                // What was written between the last look and the rotation.
                if let Some((file, rest)) = &mut last
                    && self.drain(file, rest, &mut skip, sender).await? == More::Enough
                {
                    return Ok(());
                }
            } else if !self.wish.follow || ended {
                return Ok(());
            } else {
                tokio::select! {
                    () = sender.closed() => return Ok(()),
                    () = tokio::time::sleep(LOOK) => {}
                }
            }
        }
    }

    /// Sends whole lines up to the file's present end; what is begun stays in `rest`.
    async fn drain(
        &mut self,
        file: &mut File,
        rest: &mut Vec<u8>,
        skip: &mut usize,
        sender: &Sender<io::Result<Bytes>>,
    ) -> io::Result<More> {
        let mut chunk = vec![0; CHUNK];
        loop {
            let length = file.by_ref().take(self.unread).read(&mut chunk)?;
            self.unread -= length as u64;
            if length == 0 {
                let is_enough = self.left == 0 || self.unread == 0;
                return Ok(if is_enough { More::Enough } else { More::Wanted });
            }
            rest.extend_from_slice(&chunk[..length]);
            let Some(end) = rest.iter().rposition(|byte| *byte == b'\n') else {
                continue;
            };
            let mut out = Vec::new();
            for line in rest[..=end].split_inclusive(|byte| *byte == b'\n') {
                self.render(Line::parse(line), skip, &mut out);
            }
            rest.drain(..=end);
            let is_gone = !out.is_empty() && sender.send(Ok(Bytes::from(out))).await.is_err();
            if is_gone || self.left == 0 {
                return Ok(More::Enough);
            }
        }
    }

    fn render(&mut self, line: Line<'_>, skip: &mut usize, out: &mut Vec<u8>) {
        if !self.wants(&line) {
            return;
        }
        if *skip > 0 {
            *skip -= usize::from(line.is_full);
            return;
        }
        let before = out.len();
        if self.wish.timestamps && self.at_line_start {
            out.extend_from_slice(line.time);
            out.push(b' ');
        }
        out.extend_from_slice(line.text);
        if line.is_full {
            out.push(b'\n');
        }
        self.at_line_start = line.is_full;
        out.truncate(before + (out.len() - before).min(self.left));
        self.left -= out.len() - before;
    }

    /// Whether the caller may see it, wherever it stands.
    fn wants(&self, line: &Line<'_>) -> bool {
        let Wish { since, stream, .. } = &self.wish;
        since.is_none_or(|since| line.is_since(since)) && stream.is_none_or(|stream| line.stream == stream.as_bytes())
    }

    /// How many lines there are in these files, up to these sizes, that the caller may see; they are at their beginnings again
    /// afterwards.
    fn count(&self, files: &mut [File], sizes: &[u64]) -> io::Result<usize> {
        let mut count = 0;
        let mut unfinished = false;
        for (file, size) in files.iter_mut().zip(sizes) {
            let mut reader = BufReader::with_capacity(CHUNK, file.by_ref().take(*size));
            let mut bytes = Vec::new();
            while reader.read_until(b'\n', &mut bytes)? > 0 {
                let line = Line::parse(&bytes);
                if self.wants(&line) && bytes.ends_with(b"\n") {
                    count += usize::from(line.is_full);
                    unfinished = !line.is_full;
                }
                bytes.clear();
            }
            file.rewind()?;
        }
        // A program's last words may lack their end.
        Ok(count + usize::from(unfinished))
    }
}

/// All files of a log, the oldest first. They are opened the other way round: a rotation in between then shows one file
/// twice, which is seen, and never none.
fn open_all(path: &Path) -> io::Result<Vec<File>> {
    let mut files: Vec<File> = Vec::new();
    let mut before = None;
    for path in sandbox::log_files(path) {
        let Some(file) = open(&path)? else { continue };
        let number = file.metadata()?.ino();
        if before.replace(number) != Some(number) {
            files.push(file);
        }
    }
    files.reverse();
    Ok(files)
}

/// The files that were begun after this one, the oldest first; all there are if it is gone, or was never there.
fn newer(path: &Path, file: Option<&File>) -> io::Result<Vec<File>> {
    let now = match std::fs::metadata(path) {
        Ok(now) => now.ino(),
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(error),
    };
    let Some(file) = file else { return open_all(path) };
    let mine = file.metadata()?.ino();
    if now == mine {
        return Ok(Vec::new());
    }
    let mut files = open_all(path)?;
    let mut position = None;
    for (index, file) in files.iter().enumerate() {
        if file.metadata()?.ino() == mine {
            position = Some(index);
        }
    }
    Ok(files.split_off(position.map_or(0, |position| position + 1)))
}

/// None for a log that is not there: the container has said nothing yet.
fn open(path: &Path) -> io::Result<Option<File>> {
    match File::open(path) {
        Ok(file) => Ok(Some(file)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;
    use std::io::Write;
    use std::sync::Arc;
    use std::sync::atomic::{AtomicBool, Ordering};

    const OLD: &str =
        "2026-11-20T13:00:00Z stdout F one\n2026-11-20T13:00:01Z stderr P tw\n2026-11-20T13:00:01Z stderr F o\n";
    const NEW: &str =
        "2026-11-20T13:00:02Z stdout F three\n2026-11-20T13:00:03Z stdout F four\n2026-11-20T13:00:04Z stdout F begun";

    fn rotated(path: &Path) -> PathBuf {
        sandbox::log_files(path).swap_remove(1)
    }

    fn log() -> (tempfile::TempDir, PathBuf) {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("0.log");
        fs::write(rotated(&path), OLD).unwrap();
        fs::write(&path, NEW).unwrap();
        (dir, path)
    }

    async fn read(path: &Path, wish: Wish) -> String {
        let (sender, mut receiver) = tokio::sync::mpsc::channel(100);
        Tail::new(path.to_owned(), wish).send(sender, || false).await;
        let mut text = String::new();
        while let Some(chunk) = receiver.recv().await {
            text.push_str(std::str::from_utf8(&chunk.unwrap()).unwrap());
        }
        text
    }

    #[tokio::test]
    async fn wishes_are_granted_across_a_rotation() {
        let (_dir, path) = log();
        let wish = Wish::default();
        let since = Some("2026-11-20T13:00:02Z".parse().unwrap());
        let cases = [
            (wish.clone(), "one\ntwo\nthree\nfour\n"),
            (
                Wish {
                    tail: Some(3),
                    ..wish.clone()
                },
                "two\nthree\nfour\n",
            ),
            (
                Wish {
                    tail: Some(0),
                    ..wish.clone()
                },
                "",
            ),
            (
                Wish {
                    tail: Some(99),
                    ..wish.clone()
                },
                "one\ntwo\nthree\nfour\n",
            ),
            (Wish { since, ..wish.clone() }, "three\nfour\n"),
            (
                Wish {
                    stream: Some("stderr"),
                    ..wish.clone()
                },
                "two\n",
            ),
            (
                Wish {
                    since,
                    tail: Some(1),
                    ..wish.clone()
                },
                "four\n",
            ),
            (
                Wish {
                    limit: Some(5),
                    ..wish.clone()
                },
                "one\nt",
            ),
            (
                Wish {
                    limit: Some(0),
                    ..wish.clone()
                },
                "",
            ),
            (
                Wish {
                    tail: Some(3),
                    timestamps: true,
                    limit: Some(26),
                    ..wish
                },
                "2026-11-20T13:00:01Z two\n2",
            ),
        ];
        for (wish, expected) in cases {
            assert_eq!(read(&path, wish.clone()).await, expected, "{wish:?}");
        }
        assert_eq!(read(Path::new("/nonexistent/0.log"), Wish::default()).await, "");
    }

    #[tokio::test]
    async fn last_words_without_their_end_are_a_line() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("0.log");
        let lines = "2026-11-20T13:00:00Z stdout F one\n2026-11-20T13:00:01Z stdout P two\n";
        fs::write(&path, lines).unwrap();
        for (tail, expected) in [
            (None, "one\ntwo"),
            (Some(2), "one\ntwo"),
            (Some(1), "two"),
            (Some(0), ""),
        ] {
            let wish = Wish {
                tail,
                ..Wish::default()
            };
            assert_eq!(read(&path, wish).await, expected, "{tail:?}");
        }
    }

    #[tokio::test]
    async fn whoever_does_not_follow_gets_what_there_was_however_fast_more_is_written() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("0.log");
        let line = |number: usize| format!("2026-11-20T13:00:00Z stdout F {number}\n");
        let lines = |count: usize| (0..count).map(line).collect::<String>();
        for (tail, wanted) in [(None, 0..9000), (Some(10), 8990..9000)] {
            fs::write(&path, lines(9000)).unwrap();
            let (sender, mut receiver) = tokio::sync::mpsc::channel(1);
            let wish = Wish {
                tail,
                ..Wish::default()
            };
            let reader = tokio::spawn(Tail::new(path.clone(), wish).send(sender, || true));
            let mut seen = String::new();
            while let Some(chunk) = receiver.recv().await {
                seen.push_str(std::str::from_utf8(&chunk.unwrap()).unwrap());
                assert!(seen.len() < 1 << 20, "it is led on for ever");
                let mut file = fs::OpenOptions::new().append(true).open(&path).unwrap();
                file.write_all(lines(9000).as_bytes()).unwrap();
            }
            reader.await.unwrap();
            assert_eq!(seen, wanted.map(|number| format!("{number}\n")).collect::<String>());
        }
    }

    #[tokio::test]
    async fn follower_sees_what_comes_also_after_a_rotation_and_ends_with_the_container() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("0.log");
        let (sender, mut receiver) = tokio::sync::mpsc::channel(100);
        let runs = Arc::new(AtomicBool::new(true));
        let is_running = runs.clone();
        let wish = Wish {
            follow: true,
            ..Wish::default()
        };
        let follower = Tail::new(path.clone(), wish).send(sender, move || is_running.load(Ordering::SeqCst));
        let follower = tokio::spawn(follower);
        let next = async |receiver: &mut tokio::sync::mpsc::Receiver<io::Result<Bytes>>| {
            let chunk = tokio::time::timeout(Duration::from_secs(10), receiver.recv())
                .await
                .expect("the line comes");
            String::from_utf8(chunk.unwrap().unwrap().to_vec()).unwrap()
        };
        fs::write(
            &path,
            "2026-11-20T13:00:00Z stdout F first\n2026-11-20T13:00:00Z stdout F be",
        )
        .unwrap();
        assert_eq!(next(&mut receiver).await, "first\n");
        fs::OpenOptions::new()
            .append(true)
            .open(&path)
            .unwrap()
            .write_all(b"gun\n")
            .unwrap();
        assert_eq!(next(&mut receiver).await, "begun\n");
        fs::rename(&path, rotated(&path)).unwrap();
        fs::write(&path, "2026-11-20T13:00:00Z stdout F after\n").unwrap();
        assert_eq!(next(&mut receiver).await, "after\n");
        fs::OpenOptions::new()
            .append(true)
            .open(&path)
            .unwrap()
            .write_all(b"2026-11-20T13:00:00Z stdout F last\n")
            .unwrap();
        runs.store(false, Ordering::SeqCst);
        assert_eq!(next(&mut receiver).await, "last\n");
        tokio::time::timeout(Duration::from_secs(10), follower)
            .await
            .expect("the follower ends")
            .unwrap();
    }

    #[tokio::test]
    async fn follower_loses_nothing_when_files_are_begun_faster_than_it_looks() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("0.log");
        let line = |number: usize| format!("2026-11-20T13:00:00Z stdout F {number}\n");
        fs::write(&path, line(0)).unwrap();
        let (sender, mut receiver) = tokio::sync::mpsc::channel(1);
        let runs = Arc::new(AtomicBool::new(true));
        let is_running = runs.clone();
        let wish = Wish {
            follow: true,
            ..Wish::default()
        };
        let follower = Tail::new(path.clone(), wish).send(sender, move || is_running.load(Ordering::SeqCst));
        let follower = tokio::spawn(follower);
        let mut seen = String::new();
        let mut take = async |until: usize| {
            while !seen.ends_with(&format!("{until}\n")) {
                let chunk = tokio::time::timeout(Duration::from_secs(10), receiver.recv()).await;
                let chunk = chunk.expect("the line comes").unwrap().unwrap();
                seen.push_str(std::str::from_utf8(&chunk).unwrap());
            }
        };
        take(0).await;
        let mut next = 1;
        for _ in 0..3 {
            for _ in 1..sandbox::LOG_FILES {
                for pair in sandbox::log_files(&path).windows(2).rev() {
                    let _ = fs::rename(&pair[0], &pair[1]);
                }
                fs::write(&path, line(next)).unwrap();
                next += 1;
            }
            take(next - 1).await;
        }
        assert_eq!(seen, (0..next).map(|number| format!("{number}\n")).collect::<String>());
        runs.store(false, Ordering::SeqCst);
        tokio::time::timeout(Duration::from_secs(10), follower)
            .await
            .expect("the follower ends")
            .unwrap();
    }
}
