//! Copies between its standard streams and a Unix socket, both ways, until the socket ends: a program of its own, built statically
//! by the test and put into a pod, since no tool in the image speaks to such sockets.

use std::fs::File;
use std::io::{Read, Write};
use std::net::Shutdown;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixStream;

fn main() -> std::io::Result<()> {
    let path = std::env::args().nth(1).unwrap_or_default();
    let mut socket = UnixStream::connect(path)?;
    let mut to_socket = socket.try_clone()?;
    // Not through std's own streams, of which one waits for the end of a line.
    let file = |fd: std::io::Result<OwnedFd>| fd.map(File::from);
    let mut from = file(std::io::stdin().as_fd().try_clone_to_owned())?;
    let mut to = file(std::io::stdout().as_fd().try_clone_to_owned())?;
    std::thread::spawn(move || {
        let _ = pass(&mut from, &mut to_socket);
        let _ = to_socket.shutdown(Shutdown::Write);
    });
    pass(&mut socket, &mut to)
}

/// Not `std::io::copy`: with a pipe at one end that is splice(2), which holds the pipe's lock while it waits for the other end.
fn pass(from: &mut impl Read, to: &mut impl Write) -> std::io::Result<()> {
    let mut buffer = [0; 16 << 10];
    loop {
        match from.read(&mut buffer)? {
            0 => return Ok(()),
            length => to.write_all(&buffer[..length])?,
        }
    }
}
