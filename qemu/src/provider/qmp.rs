//! QEMU's control socket: JSON lines (docs/interop/qmp-spec.rst). Commands are few and rare, so each waits for its reply.

use crate::wait;
use anyhow::{Context, Result, bail};
use serde_json::{Value, json};
use std::io::{BufRead, BufReader, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::sync::Mutex;
use std::time::Duration;

/// QEMU answers at once unless it is stuck.
const REPLY_DEADLINE: Duration = Duration::from_secs(10);

/// A connection that QEMU has greeted.
pub struct Qmp {
    stream: Mutex<BufReader<UnixStream>>,
}

// === impl Qmp ===

impl Qmp {
    /// Connect to a QEMU that is just starting; `is_alive` tells whether waiting still makes sense.
    pub fn connect(socket: &Path, mut is_alive: impl FnMut() -> bool) -> Result<Self> {
        let mut ended = false;
        let stream = wait::until("QEMU's control socket", REPLY_DEADLINE, || {
            match UnixStream::connect(socket) {
                Ok(stream) => Ok(Some(stream)),
                Err(_) if !is_alive() => {
                    ended = true;
                    Ok(None)
                }
                Err(error) => Err(error.to_string()),
            }
        })?;
        let Some(stream) = stream else {
            bail!("QEMU ended before it listened");
        };
        stream.set_read_timeout(Some(REPLY_DEADLINE))?;
        let mut stream = BufReader::new(stream);
        next_line(&mut stream).context("read QEMU's greeting")?;
        let qmp = Self {
            stream: Mutex::new(stream),
        };
        qmp.execute("qmp_capabilities")?;
        Ok(qmp)
    }

    /// Run a command without arguments and wait for its reply; events before it are skipped.
    pub fn execute(&self, command: &str) -> Result<Value> {
        self.execute_with(command, json!({}))
    }

    /// Run a command with arguments and wait for its reply.
    pub fn execute_with(&self, command: &str, arguments: Value) -> Result<Value> {
        let mut stream = self
            .stream
            .lock()
            .expect("the control socket's lock holds because nobody panics while holding it");
        let line = format!("{}\n", json!({ "execute": command, "arguments": arguments }));
        stream
            .get_mut()
            .write_all(line.as_bytes())
            .with_context(|| format!("send {command} to QEMU"))?;
        loop {
            let mut reply = next_line(&mut stream).with_context(|| format!("wait for QEMU's reply to {command}"))?;
            if let Some(error) = reply.get("error") {
                bail!("QEMU refuses {command}: {error}");
            }
            if let Some(value) = reply.get_mut("return") {
                return Ok(value.take());
            }
        }
    }
}

fn next_line(stream: &mut BufReader<UnixStream>) -> Result<Value> {
    let mut line = String::new();
    if stream.read_line(&mut line)? == 0 {
        bail!("QEMU hung up");
    }
    Ok(serde_json::from_str(&line)?)
}
