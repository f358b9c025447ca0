//! The asking side: one request over init's socket, blocking, with a deadline.

use crate::{Request, UnknownLine};
use std::io::{BufRead, BufReader, Write};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// init answers from memory within a turn of its loop; whatever takes longer than this does not come at all.
const DEADLINE: Duration = Duration::from_secs(5);

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub enum AskError {
    /// The socket could not be reached, or init went silent.
    #[error("ask init `{request}` over {}", socket.display())]
    Unreachable {
        /// What was asked.
        request: Request,
        /// Where.
        socket: PathBuf,
        /// Why it failed.
        #[source]
        cause: std::io::Error,
    },
    /// init understood and said no.
    #[error("init refused `{request}`: {reason}")]
    Refused {
        /// What was asked.
        request: Request,
        /// init's sentence.
        reason: String,
    },
    /// init said something that is no answer.
    #[error(transparent)]
    Unknown(#[from] UnknownLine),
}

/// Asks and returns the data lines of the answer; parse them as the request's documentation says.
pub fn ask(socket: &Path, request: &Request) -> Result<Vec<String>, AskError> {
    let unreachable = |cause| AskError::Unreachable {
        request: request.clone(),
        socket: socket.to_owned(),
        cause,
    };
    let stream = UnixStream::connect(socket).map_err(unreachable)?;
    stream.set_read_timeout(Some(DEADLINE)).map_err(unreachable)?;
    stream.set_write_timeout(Some(DEADLINE)).map_err(unreachable)?;
    // In one write: the formatting macros would send it in pieces.
    (&stream)
        .write_all(format!("{request}\n").as_bytes())
        .map_err(unreachable)?;
    let mut lines = Vec::new();
    for line in BufReader::new(&stream).lines() {
        let line = line.map_err(unreachable)?;
        match line.split_once(' ') {
            None if line == "ok" => return Ok(lines),
            Some(("error", reason)) => {
                return Err(AskError::Refused {
                    request: request.clone(),
                    reason: reason.to_owned(),
                });
            }
            None | Some(_) => lines.push(line),
        }
    }
    Err(UnknownLine(lines.pop().unwrap_or_default()).into())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::net::UnixListener;

    fn answered(answer: &'static str) -> Result<Vec<String>, AskError> {
        let folder = std::env::temp_dir().join(format!("init-protocol-{}-{}", std::process::id(), answer.len()));
        std::fs::create_dir_all(&folder).expect("a temporary folder can be made because it is ours");
        let socket = folder.join("init.sock");
        let listener = UnixListener::bind(&socket).expect("the socket is free because the folder is new");
        let server = std::thread::spawn(move || {
            let (mut stream, _) = listener.accept().expect("the client connects because we start it");
            let mut line = String::new();
            BufReader::new(stream.try_clone().expect("a socket has a second handle"))
                .read_line(&mut line)
                .expect("a line");
            stream.write_all(answer.as_bytes()).expect("the client reads");
            line
        });
        let result = ask(&socket, &Request::Marks);
        assert_eq!(server.join().expect("the server does not panic"), "marks\n");
        std::fs::remove_dir_all(folder).expect("the folder is still there");
        result
    }

    #[test]
    fn data_lines_come_back_and_refusals_are_errors() {
        assert_eq!(
            answered("0 kernel-start\n12 pid1\nok\n").expect("ok was said"),
            ["0 kernel-start", "12 pid1"]
        );
        assert_eq!(
            answered("error the machine is going down\n")
                .expect_err("no was said")
                .to_string(),
            "init refused `marks`: the machine is going down"
        );
        assert!(matches!(answered("half an answer\n"), Err(AskError::Unknown(_))));
    }
}
