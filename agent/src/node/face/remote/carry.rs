//! Carries a program's streams between pod-init's pipes and a caller, whatever the caller is connected by.

use super::{STDERR, STDOUT, Wanted};
use bytes::{Bytes, BytesMut};
use sandbox::{CallError, Exec, Reader, Writer};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::sync::{mpsc, oneshot};

/// Bytes of output in one message.
const CHUNK: usize = 32 << 10;
/// A size is a few words; what is longer is none.
const LONGEST_SIZE: usize = 1024;

/// A caller's side.
pub struct Caller {
    /// What it types; its end is the input's end.
    pub input: mpsc::Receiver<Bytes>,
    /// The terminal's size, as JSON, in pieces as they come.
    pub sizes: mpsc::Receiver<Bytes>,
    /// What it sees, by channel. Closed when it has gone.
    pub output: mpsc::Sender<(u8, Bytes)>,
    /// Which streams it wants; what a program writes to another one is read and dropped.
    pub wanted: Wanted,
}

/// What happened first.
enum Step {
    Output(u8, Option<Bytes>),
    Size(Option<Bytes>),
    InputEnded,
    Gone,
}

/// Carries until the program's outputs end, then says what it returned. None when the caller has gone: dropping the program
/// ends one that was executed, and leaves one that was attached to.
pub async fn carry(mut exec: Exec, caller: Caller) -> Result<Option<i32>, CallError> {
    let Caller {
        input,
        mut sizes,
        output,
        wanted,
    } = caller;
    let (mut stdout, mut stderr) = (exec.stdout.take(), exec.stderr.take());
    let mut input_ended = feed(exec.stdin.take(), input);
    let mut size = Vec::new();
    let (mut has_sizes, mut has_input) = (true, true);
    while stdout.is_some() || stderr.is_some() {
        let step = tokio::select! {
            bytes = read(&mut stdout), if stdout.is_some() => Step::Output(STDOUT, bytes),
            bytes = read(&mut stderr), if stderr.is_some() => Step::Output(STDERR, bytes),
            piece = sizes.recv(), if has_sizes => Step::Size(piece),
            _ = &mut input_ended, if has_input => Step::InputEnded,
            () = output.closed() => Step::Gone,
        };
        match step {
            Step::Output(STDOUT, Some(_)) if !wanted.stdout => {}
            Step::Output(STDERR, Some(_)) if !wanted.stderr => {}
            Step::Output(channel, Some(bytes)) => {
                if output.send((channel, bytes)).await.is_err() {
                    return Ok(None);
                }
            }
            Step::Output(STDOUT, None) => stdout = None,
            Step::Output(_, None) => stderr = None,
            Step::Size(Some(piece)) => resize(&exec, &mut size, &piece),
            Step::Size(None) => has_sizes = false,
            Step::InputEnded => {
                has_input = false;
                exec.end_input().await?;
            }
            Step::Gone => return Ok(None),
        }
    }
    // Whoever wants no output at all, only writes: its input goes on until the program has ended.
    loop {
        tokio::select! {
            code = exec.wait() => return code.map(Some),
            piece = sizes.recv(), if has_sizes => match piece {
                Some(piece) => resize(&exec, &mut size, &piece),
                None => has_sizes = false,
            },
            _ = &mut input_ended, if has_input => has_input = false,
            () = output.closed() => return Ok(None),
        }
        if !has_input && !has_sizes {
            exec.end_input().await?;
            return tokio::select! {
                code = exec.wait() => code.map(Some),
                () = output.closed() => Ok(None),
            };
        }
    }
}

/// What comes next; nothing at its end. A terminal's end is an error of its own (EIO), man 2 read.
async fn read(from: &mut Option<Reader>) -> Option<Bytes> {
    let mut buffer = BytesMut::with_capacity(CHUNK);
    match from.as_mut()?.read_buf(&mut buffer).await {
        Ok(0) | Err(_) => None,
        Ok(_) => Some(buffer.freeze()),
    }
}

/// A task that writes to the program's input. Ready when there is no more of it; never where the program takes none.
fn feed(stdin: Option<Writer>, mut input: mpsc::Receiver<Bytes>) -> oneshot::Receiver<()> {
    let (ended, ending) = oneshot::channel();
    tokio::spawn(async move {
        let Some(mut stdin) = stdin else {
            // What nobody reads is not to hold up the caller.
            while input.recv().await.is_some() {}
            return drop(ended);
        };
        while let Some(data) = input.recv().await {
            // A program that closed its input is not told what it does not want to know.
            if stdin.write_all(&data).await.is_err() || stdin.flush().await.is_err() {
                while input.recv().await.is_some() {}
            }
        }
        let _ = stdin.shutdown().await;
        drop(stdin);
        let _ = ended.send(());
    });
    ending
}

/// `{"Width":80,"Height":24}`, one after the other; what is no size changes nothing.
fn resize(exec: &Exec, rest: &mut Vec<u8>, piece: &[u8]) {
    for (rows, columns) in sizes(rest, piece) {
        // The terminal of a program that has ended is gone.
        let _ = exec.resize(rows, columns);
    }
}

/// The sizes that are complete; the beginning of another stays in `rest`.
fn sizes(rest: &mut Vec<u8>, piece: &[u8]) -> Vec<(u16, u16)> {
    rest.extend_from_slice(piece);
    let mut found = Vec::new();
    let mut values = serde_json::Deserializer::from_slice(rest).into_iter::<serde_json::Value>();
    let mut done = 0;
    while let Some(Ok(value)) = values.next() {
        done = values.byte_offset();
        let side = |name: &str| value[name].as_u64().and_then(|side| u16::try_from(side).ok());
        found.extend(side("Height").zip(side("Width")));
    }
    rest.drain(..done);
    if rest.len() > LONGEST_SIZE {
        rest.clear();
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_come_whole_in_pieces_and_together() {
        let mut rest = Vec::new();
        let mut take = |piece: &str| sizes(&mut rest, piece.as_bytes());
        assert_eq!(take(r#"{"Width":80,"Height":24}"#), [(24, 80)]);
        assert_eq!(take("\n{\"Width\":1,\"Hei"), []);
        assert_eq!(take("ght\":2}\n{\"Width\":3,\"Height\":4}\n"), [(2, 1), (4, 3)]);
        assert_eq!(take(r#"{"Width":70000,"Height":1}{"Width":"a"}"#), []);
        assert_eq!(take(&"x".repeat(3000)), []);
        assert_eq!(take(r#"{"Width":5,"Height":6}"#), [(6, 5)]);
    }
}
