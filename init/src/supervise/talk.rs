//! init's socket: a few clients at a time, a line in, some lines out; nobody can make init wait.

use super::capture::Flow;
use crate::console;
use init_protocol::{Request, SOCKET};
use nix::sys::socket::{getsockopt, sockopt::PeerCredentials};
use std::fs;
use std::io::{self, ErrorKind, Read, Write};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;

/// The agent asks one thing at a time; more than this is a mistake of somebody's.
const MOST_CLIENTS: usize = 16;
/// The longest request is a mark with its name.
const LONGEST_REQUEST: usize = 256;
/// From the connection to the last byte of the answer.
const CLIENT_DEADLINE_MS: u64 = 5000;

/// One connection.
#[derive(Debug)]
pub struct Client {
    stream: UnixStream,
    request: Vec<u8>,
    answer: Vec<u8>,
    /// When it is dropped, whatever it still wants.
    pub deadline_ms: u64,
}

/// Opens the socket, for root alone.
pub fn listen() -> io::Result<UnixListener> {
    let path = Path::new(SOCKET);
    if let Some(folder) = path.parent() {
        fs::create_dir_all(folder)?;
    }
    match fs::remove_file(path) {
        Err(why) if why.kind() != ErrorKind::NotFound => return Err(why),
        Ok(()) | Err(_) => {}
    }
    let listener = UnixListener::bind(path)?;
    fs::set_permissions(path, fs::Permissions::from_mode(0o600))?;
    listener.set_nonblocking(true)?;
    Ok(listener)
}

/// Takes in who waits outside.
pub fn accept(listener: &UnixListener, clients: &mut Vec<Client>, now_ms: u64) {
    while let Ok((stream, _)) = listener.accept() {
        if clients.len() >= MOST_CLIENTS {
            console::warn(format_args!(
                "{SOCKET} has {MOST_CLIENTS} clients already; one more is turned away"
            ));
        } else if stream.set_nonblocking(true).is_ok() {
            let answer = if is_root(&stream) {
                Vec::new()
            } else {
                refusal("only root may ask")
            };
            clients.push(Client {
                stream,
                request: Vec::new(),
                answer,
                deadline_ms: now_ms + CLIENT_DEADLINE_MS,
            });
        }
    }
}

fn is_root(stream: &UnixStream) -> bool {
    getsockopt(stream, PeerCredentials).is_ok_and(|peer| peer.uid() == 0)
}

/// An answer: data lines, then `ok`; or the sentence why not.
pub fn answer(result: Result<Vec<String>, String>) -> Vec<u8> {
    match result {
        Ok(lines) => lines
            .iter()
            .flat_map(|line| [line, "\n"])
            .chain(["ok\n"])
            .collect::<String>()
            .into_bytes(),
        Err(reason) => refusal(&reason),
    }
}

fn refusal(reason: &str) -> Vec<u8> {
    format!("error {}\n", reason.replace('\n', " ")).into_bytes()
}

impl Client {
    /// The connection, to be polled.
    pub fn stream(&self) -> &UnixStream {
        &self.stream
    }

    /// Whether it waits for us to write.
    pub fn has_answer(&self) -> bool {
        !self.answer.is_empty()
    }

    /// Reads, lets `decide` answer, writes: as far as it goes without waiting.
    pub fn serve(&mut self, now_ms: u64, decide: impl FnOnce(Request) -> Result<Vec<String>, String>) -> Flow {
        if now_ms >= self.deadline_ms {
            return Flow::Ended;
        }
        if self.answer.is_empty() {
            match self.read_request() {
                Ok(Some(line)) => {
                    self.answer = answer(
                        line.parse()
                            .map_err(|unknown: init_protocol::UnknownLine| unknown.to_string())
                            .and_then(decide),
                    );
                }
                Ok(None) => return Flow::Open,
                Err(_) => return Flow::Ended,
            }
        }
        self.write_answer()
    }

    fn read_request(&mut self) -> io::Result<Option<String>> {
        let mut buffer = [0; LONGEST_REQUEST];
        match self.stream.read(&mut buffer) {
            Ok(0) => return Err(ErrorKind::UnexpectedEof.into()),
            Ok(length) => self.request.extend(&buffer[..length]),
            Err(why) if why.kind() == ErrorKind::WouldBlock => return Ok(None),
            Err(why) => return Err(why),
        }
        match self.request.iter().position(|byte| *byte == b'\n') {
            Some(end) => Ok(Some(String::from_utf8_lossy(&self.request[..end]).into_owned())),
            None if self.request.len() > LONGEST_REQUEST => Err(ErrorKind::InvalidData.into()),
            None => Ok(None),
        }
    }

    fn write_answer(&mut self) -> Flow {
        while !self.answer.is_empty() {
            match self.stream.write(&self.answer) {
                Ok(0) => return Flow::Ended,
                Ok(length) => drop(self.answer.drain(..length)),
                Err(why) if why.kind() == ErrorKind::WouldBlock => return Flow::Open,
                Err(_) => return Flow::Ended,
            }
        }
        Flow::Ended
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn client() -> (UnixStream, Client) {
        let (theirs, ours) = UnixStream::pair().expect("a pair of sockets can be made");
        ours.set_nonblocking(true).expect("it is a socket");
        (
            theirs,
            Client {
                stream: ours,
                request: Vec::new(),
                answer: Vec::new(),
                deadline_ms: 5000,
            },
        )
    }

    #[test]
    fn a_request_may_come_in_pieces() {
        let (mut theirs, mut client) = client();
        let decide = |request| Ok(vec![format!("heard {request}")]);
        assert_eq!(client.serve(0, decide), Flow::Open);
        theirs.write_all(b"mar").expect("we read");
        assert_eq!(client.serve(0, decide), Flow::Open);
        theirs.write_all(b"ks\n").expect("we read");
        assert_eq!(client.serve(0, decide), Flow::Ended);
        drop(client);
        let mut answer = String::new();
        theirs.read_to_string(&mut answer).expect("it was written");
        assert_eq!(answer, "heard marks\nok\n");
    }

    #[test]
    fn nonsense_length_and_silence_end_a_client() {
        let decide = |_| Ok(Vec::new());
        let (mut theirs, mut wordy) = client();
        theirs.write_all(&[b'x'; 2 * LONGEST_REQUEST]).expect("there is room");
        while wordy.serve(0, decide) == Flow::Open {}
        let (mut theirs, mut foolish) = client();
        theirs.write_all(b"start shell\n").expect("we read");
        assert_eq!(foolish.serve(0, decide), Flow::Ended);
        drop(foolish);
        let mut answer = String::new();
        theirs.read_to_string(&mut answer).expect("it was written");
        assert!(answer.starts_with("error init protocol: \"shell\""), "{answer}");
        let (_theirs, mut silent) = client();
        assert_eq!(silent.serve(5000, decide), Flow::Ended);
    }
}
