//! The switch at work: one socket a machine, one task that reads it and one that writes it.

use super::wire;
use super::{Faults, Table, Verdict};
use anyhow::{Context, Result};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard};
use tokio::net::unix::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{UnixListener, UnixStream};
use tokio::runtime::Runtime;
use tokio::sync::mpsc;
use tokio::time::Instant;

/// Frames waiting for a slow machine before new ones are lost, as in a real switch; a delay of 100 ms at 10 000
/// frames a second fits.
const QUEUE: usize = 1024;

/// A running switch; dropped, it hangs up on everybody.
pub struct Switch {
    shared: Arc<Mutex<Shared>>,
    sockets: Vec<PathBuf>,
    _runtime: Runtime,
}

/// Takes frames for one machine, each with the moment when it may go out.
type Outlet = mpsc::Sender<(Instant, Arc<[u8]>)>;

#[derive(Default)]
struct Shared {
    table: Table,
    faults: Faults,
    outlets: BTreeMap<u8, Outlet>,
    dice: u32,
}

// === impl Switch ===

impl Switch {
    /// Listen for machine `number` at its socket, for all of them; a machine that connects anew replaces itself.
    pub fn start(sockets: &[(u8, PathBuf)]) -> Result<Self> {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .thread_name("switch")
            .enable_all()
            .build()
            .context("start the switch's runtime")?;
        let shared = Arc::new(Mutex::new(Shared::default()));
        for (number, path) in sockets {
            let listener = runtime.block_on(async { listen(path) })?;
            runtime.spawn(accept(listener, *number, shared.clone()));
        }
        Ok(Self {
            shared,
            sockets: sockets.iter().map(|(_, path)| path.clone()).collect(),
            _runtime: runtime,
        })
    }

    /// What goes wrong from now on; frames under way keep their fate.
    pub fn set_faults(&self, faults: Faults) {
        lock(&self.shared).faults = faults;
    }
}

impl Drop for Switch {
    fn drop(&mut self) {
        for path in &self.sockets {
            // It may be gone together with the cluster's folder.
            let _ = std::fs::remove_file(path);
        }
    }
}

// === impl Shared ===

impl Shared {
    /// Hand `frame` to every outlet that it shall reach.
    fn switch(&mut self, from: u8, frame: &Arc<[u8]>) {
        let connected: Vec<u8> = self.outlets.keys().copied().collect();
        for to in self.table.forward(from, frame, &connected) {
            let dice = self.roll();
            if let Verdict::Deliver(delay) = self.faults.verdict(from, to, dice)
                && let Some(outlet) = self.outlets.get(&to)
            {
                // A full queue loses the frame; a closed one belongs to a machine that is going.
                let _ = outlet.try_send((Instant::now() + delay, frame.clone()));
            }
        }
    }

    /// 0..1000; the generator of Numerical Recipes, for the same losses in every run.
    fn roll(&mut self) -> u16 {
        self.dice = self.dice.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        u16::try_from((self.dice >> 16) % 1000).unwrap_or_default()
    }
}

fn listen(path: &Path) -> Result<UnixListener> {
    // Left behind by a supervisor that was killed.
    let _ = std::fs::remove_file(path);
    UnixListener::bind(path).with_context(|| format!("listen on {} for a machine's network", path.display()))
}

async fn accept(listener: UnixListener, number: u8, shared: Arc<Mutex<Shared>>) {
    while let Ok((stream, _)) = listener.accept().await {
        serve(stream, number, &shared);
    }
}

fn serve(stream: UnixStream, number: u8, shared: &Arc<Mutex<Shared>>) {
    let (read, write) = stream.into_split();
    let (outlet, frames) = mpsc::channel(QUEUE);
    {
        let mut shared = lock(shared);
        shared.table.forget(number);
        shared.outlets.insert(number, outlet.clone());
    }
    tokio::spawn(deliver(frames, write));
    tokio::spawn(receive(read, number, outlet, shared.clone()));
}

async fn receive(
    mut stream: OwnedReadHalf,
    number: u8,
    own: mpsc::Sender<(Instant, Arc<[u8]>)>,
    shared: Arc<Mutex<Shared>>,
) {
    loop {
        match wire::read(&mut stream).await {
            Ok(Some(frame)) => lock(&shared).switch(number, &frame.into()),
            Ok(None) => break,
            Err(error) => {
                tracing::warn!(machine = number, %error, "lost a machine's network cable");
                break;
            }
        }
    }
    let mut shared = lock(&shared);
    if shared
        .outlets
        .get(&number)
        .is_some_and(|current| current.same_channel(&own))
    {
        shared.outlets.remove(&number);
        shared.table.forget(number);
    }
}

async fn deliver(mut frames: mpsc::Receiver<(Instant, Arc<[u8]>)>, mut stream: OwnedWriteHalf) {
    while let Some((due, frame)) = frames.recv().await {
        tokio::time::sleep_until(due).await;
        if wire::write(&mut stream, &frame).await.is_err() {
            return;
        }
    }
}

fn lock(shared: &Mutex<Shared>) -> MutexGuard<'_, Shared> {
    shared
        .lock()
        .expect("the switch's lock holds because nobody panics while holding it")
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::{Read, Write};
    use std::os::unix::net::UnixStream as Cable;
    use std::time::Duration;

    fn frame(to: u8, from: u8, text: &str) -> Vec<u8> {
        [&[2, 0, 0, 0, 0, to, 2, 0, 0, 0, 0, from], text.as_bytes()].concat()
    }

    fn send(cable: &mut Cable, frame: &[u8]) {
        cable.write_all(&(frame.len() as u32).to_be_bytes()).unwrap();
        cable.write_all(frame).unwrap();
    }

    fn receive(cable: &mut Cable) -> Option<Vec<u8>> {
        let mut length = [0; 4];
        cable.read_exact(&mut length).ok()?;
        let mut frame = vec![0; u32::from_be_bytes(length) as usize];
        cable.read_exact(&mut frame).ok()?;
        Some(frame)
    }

    /// What arrives within a moment; the switch itself needs microseconds.
    fn receive_soon(cable: &mut Cable) -> Option<Vec<u8>> {
        cable.set_read_timeout(Some(Duration::from_millis(50))).unwrap();
        let got = receive(cable);
        cable.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
        got
    }

    /// Say hello until the other end hears it: a connection is accepted some time after `connect` returns.
    fn greet(from: (u8, &mut Cable), to: (u8, &mut Cable)) {
        for _ in 0..200 {
            send(from.1, &frame(to.0, from.0, "hello"));
            if receive_soon(to.1).is_some() {
                while receive_soon(to.1).is_some() {}
                return;
            }
        }
        panic!("no frame from {} reached {} in 10 s", from.0, to.0);
    }

    #[test]
    fn frames_cross_until_a_partition_and_again_after_it() {
        let folder = tempfile::tempdir().unwrap();
        let path = |n: u8| folder.path().join(format!("{n}.sock"));
        let switch = Switch::start(&[(1, path(1)), (2, path(2)), (3, path(3))]).unwrap();
        let mut cables = [1, 2, 3].map(|n| Cable::connect(path(n)).unwrap());
        let [one, two, three] = &mut cables;
        greet((1, one), (2, two));
        greet((2, two), (1, one));
        greet((1, one), (3, three));
        while receive_soon(two).is_some() {}

        switch.set_faults(Faults::isolate(2));
        send(one, &frame(2, 1, "lost"));
        // Frames of one machine keep their order: when this one is there, the one before was judged.
        send(one, &frame(3, 1, "judged"));
        assert_eq!(receive(three).unwrap(), frame(3, 1, "judged"));
        switch.set_faults(Faults {
            delay_ms: 1,
            ..Faults::default()
        });
        send(one, &frame(2, 1, "found"));
        assert_eq!(receive(two).unwrap(), frame(2, 1, "found"));
    }
}
