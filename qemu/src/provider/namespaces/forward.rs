//! TCP from one network namespace into another: a thread that accepts, two that copy each connection.

use anyhow::{Context, Result};
use std::io;
use std::net::{Shutdown, TcpListener, TcpStream};

/// Forward whatever `listener` accepts to what `dial` reaches, as long as this process lives. Who cannot be connected is
/// hung up on.
pub fn start(listener: TcpListener, dial: impl Fn() -> io::Result<TcpStream> + Send + Sync + 'static) -> Result<()> {
    let accept = move || {
        let dial = std::sync::Arc::new(dial);
        for client in listener.incoming().flatten() {
            let dial = dial.clone();
            // Out of threads: the client sees its connection closed.
            let _ = spawn(move || join(client, &*dial));
        }
    };
    spawn(accept).context("start a forwarder's thread")
}

fn join(client: TcpStream, dial: &dyn Fn() -> io::Result<TcpStream>) {
    let copies = || {
        let server = dial()?;
        Ok::<_, io::Error>((client.try_clone()?, server.try_clone()?, server))
    };
    let Ok((client_again, server_again, server)) = copies() else {
        return;
    };
    if spawn(move || copy(client_again, server_again)).is_ok() {
        copy(server, client);
    }
}

/// Until the sender ends; then the receiver is told, and the other direction goes on.
fn copy(mut from: TcpStream, mut to: TcpStream) {
    // A broken connection shows to both ends by its being closed.
    let _ = io::copy(&mut from, &mut to);
    let _ = to.shutdown(Shutdown::Write);
}

fn spawn(run: impl FnOnce() + Send + 'static) -> io::Result<()> {
    std::thread::Builder::new()
        .name("forwarder".to_owned())
        .spawn(run)
        .map(drop)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::{Read, Write};
    use std::net::Ipv4Addr;

    #[test]
    fn both_directions_and_their_ends() {
        let server = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let target = server.local_addr().unwrap();
        let entrance = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let address = entrance.local_addr().unwrap();
        start(entrance, move || TcpStream::connect(target)).unwrap();

        let mut client = TcpStream::connect(address).unwrap();
        client.write_all(b"question").unwrap();
        client.shutdown(Shutdown::Write).unwrap();
        let (mut served, _) = server.accept().unwrap();
        let mut heard = String::new();
        served.read_to_string(&mut heard).unwrap();
        served.write_all(b"answer").unwrap();
        drop(served);
        let mut answer = String::new();
        client.read_to_string(&mut answer).unwrap();
        assert_eq!((heard.as_str(), answer.as_str()), ("question", "answer"));
    }
}
