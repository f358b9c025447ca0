//! A server of HTTP/1.1 on loopback that says whatever a test wants it to say.

use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::Arc;
use std::time::Duration;

/// Longer than any test has patience for.
const STALL: Duration = Duration::from_secs(20);

/// A request.
pub struct Asked {
    pub path: String,
    headers: Vec<String>,
}

/// What is said to it.
#[derive(Default)]
pub struct Answer {
    /// Status and headers, a line each: `200 OK`, `content-length: 5`.
    pub head: Vec<String>,
    pub body: Vec<u8>,
    /// Says nothing more and does not hang up.
    pub stalls: bool,
}

// === impl Asked ===

impl Asked {
    pub fn header(&self, name: &str) -> Option<&str> {
        let mut lines = self.headers.iter();
        lines.find_map(|line| line.strip_prefix(&format!("{name}: ")))
    }

    /// The byte from which on a part is wanted; 0 for all.
    pub fn from(&self) -> usize {
        let range = self.header("range");
        let from = range.and_then(|range| range.strip_prefix("bytes=")?.strip_suffix('-')?.parse().ok());
        from.unwrap_or(0)
    }
}

// === impl Answer ===

impl Answer {
    pub fn new(status: &str) -> Self {
        Self {
            head: vec![status.to_owned()],
            ..Self::default()
        }
    }

    pub fn header(mut self, name: &str, value: impl std::fmt::Display) -> Self {
        self.head.push(format!("{name}: {value}"));
        self
    }

    /// With its length.
    pub fn body(self, body: &[u8]) -> Self {
        let with_length = self.header("content-length", body.len());
        Self {
            body: body.to_vec(),
            ..with_length
        }
    }

    /// The part of `body` that was asked for.
    pub fn part(asked: &Asked, body: &[u8]) -> Self {
        match asked.from() {
            0 => Self::new("200 OK").body(body),
            from => Self::new("206 Partial Content").body(&body[from..]),
        }
    }

    /// Hangs up after so many bytes of the body.
    pub fn cut(mut self, after: usize) -> Self {
        self.body.truncate(after);
        self
    }

    /// Says nothing more after so many bytes of the body.
    pub fn stalls(self, after: usize) -> Self {
        Self {
            stalls: true,
            ..self.cut(after)
        }
    }
}

/// Host and port of a server; it serves as long as the test runs.
pub fn serve(answer: impl Fn(&Asked) -> Answer + Send + Sync + 'static) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let answer = Arc::new(answer);
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let answer = answer.clone();
            std::thread::spawn(move || converse(stream, &*answer));
        }
    });
    address
}

/// One request a connection.
fn converse(mut stream: TcpStream, answer: &dyn Fn(&Asked) -> Answer) -> Option<()> {
    let mut lines = BufReader::new(stream.try_clone().ok()?).lines();
    let path = lines.next()?.ok()?.split(' ').nth(1)?.to_owned();
    let headers = lines.map_while(Result::ok).take_while(|line| !line.is_empty());
    let asked = Asked {
        headers: headers.collect(),
        path,
    };
    let answer = answer(&asked);
    write!(stream, "HTTP/1.1 {}\r\n\r\n", answer.head.join("\r\n")).ok()?;
    stream.write_all(&answer.body).ok()?;
    if answer.stalls {
        std::thread::sleep(STALL);
    }
    Some(())
}
