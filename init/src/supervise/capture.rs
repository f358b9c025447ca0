//! What a service writes: all of it into its bounded log file, and into the kernel log as fast as a console can bear.

use super::lines::{Lines, for_kernel_log};
use crate::console::{Level, say};
use init_protocol::{LOG_DIR, LOG_LIMIT, Service};
use std::fs::{self, File, OpenOptions};
use std::io::{self, ErrorKind, PipeReader, PipeWriter, Read, Write};
use std::path::PathBuf;

/// Lines a second that a service gets on the console; a 115200 baud line carries about this many of 80 characters.
const CONSOLE_LINES_A_SECOND: u32 = 100;
/// Reads of one turn: a service that writes without end must not keep init from its other work.
const READS_A_TURN: u32 = 16;

/// One run's output, until its last writer is gone.
#[derive(Debug)]
pub struct Capture {
    service: Service,
    pipe: PipeReader,
    lines: Lines,
    log: BoundedLog,
    console: Throttle,
}

/// Whether there may be more to come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub enum Flow {
    Open,
    Ended,
}

impl Capture {
    /// A capture and the end that the service writes to.
    pub fn new(service: Service) -> io::Result<(Self, PipeWriter)> {
        let (pipe, writer) = io::pipe()?;
        rustix::io::ioctl_fionbio(&pipe, true)?;
        let (lines, log, console) = (Lines::default(), BoundedLog::new(service), Throttle::default());
        Ok((
            Capture {
                service,
                pipe,
                lines,
                log,
                console,
            },
            writer,
        ))
    }

    /// The pipe, to be polled.
    pub fn pipe(&self) -> &PipeReader {
        &self.pipe
    }

    /// Takes what is there.
    pub fn take(&mut self, now_ms: u64) -> Flow {
        let mut buffer = [0; 4096];
        for _ in 0..READS_A_TURN {
            match self.pipe.read(&mut buffer) {
                Ok(0) => {
                    let Capture {
                        service,
                        lines,
                        console,
                        ..
                    } = self;
                    lines.finish(|line| console.show(*service, line, now_ms));
                    return Flow::Ended;
                }
                Ok(length) => {
                    let Capture {
                        service,
                        lines,
                        log,
                        console,
                        ..
                    } = self;
                    log.write(&buffer[..length]);
                    lines.feed(&buffer[..length], |line| console.show(*service, line, now_ms));
                }
                Err(why) if why.kind() == ErrorKind::WouldBlock => return Flow::Open,
                Err(why) if why.kind() == ErrorKind::Interrupted => {}
                Err(_) => return Flow::Ended,
            }
        }
        Flow::Open
    }
}

/// `<service>.log`, which becomes `<service>.log.1` when it is full.
#[derive(Debug)]
struct BoundedLog {
    path: PathBuf,
    file: Option<(File, u64)>,
}

impl BoundedLog {
    fn new(service: Service) -> Self {
        BoundedLog {
            path: format!("{LOG_DIR}/{service}.log").into(),
            file: None,
        }
    }

    /// A log that cannot be written is not worth stopping for: the kernel log has the lines as well.
    fn write(&mut self, bytes: &[u8]) {
        if self
            .file
            .as_ref()
            .is_some_and(|(_, length)| length + bytes.len() as u64 > LOG_LIMIT)
        {
            let _ = fs::rename(&self.path, self.path.with_extension("log.1"));
            self.file = None;
        }
        if self.file.is_none() {
            let opened = OpenOptions::new().create(true).append(true).open(&self.path);
            self.file = opened
                .and_then(|file| Ok((file.metadata()?.len(), file)))
                .map(|(length, file)| (file, length))
                .ok();
        }
        if let Some((file, length)) = &mut self.file {
            let _ = file.write_all(bytes);
            *length += bytes.len() as u64;
        }
    }
}

/// Lets so many lines a second through to the console and counts the rest.
#[derive(Debug, Default)]
struct Throttle {
    second: u64,
    shown: u32,
    held_back: u32,
}

impl Throttle {
    fn show(&mut self, service: Service, line: &[u8], now_ms: u64) {
        let held_back = self.new_second(now_ms / 1000);
        if held_back > 0 {
            let text = format!("{held_back} more lines are in {LOG_DIR}/{service}.log only");
            say(Level::Warning, &service.to_string(), &text);
        }
        if self.may_show() {
            let (level, text) = for_kernel_log(line);
            say(level, &service.to_string(), &text);
        }
    }

    /// What the seconds before `second` held back.
    fn new_second(&mut self, second: u64) -> u32 {
        if second == self.second {
            return 0;
        }
        (self.second, self.shown) = (second, 0);
        std::mem::take(&mut self.held_back)
    }

    fn may_show(&mut self) -> bool {
        let may = self.shown < CONSOLE_LINES_A_SECOND;
        if may {
            self.shown += 1
        } else {
            self.held_back += 1
        }
        may
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_console_gets_so_many_lines_a_second_and_hears_of_the_rest() {
        let mut throttle = Throttle::default();
        assert_eq!(throttle.new_second(5), 0);
        let shown = (0..CONSOLE_LINES_A_SECOND + 7).filter(|_| throttle.may_show()).count();
        assert_eq!(shown as u32, CONSOLE_LINES_A_SECOND);
        assert_eq!(throttle.new_second(5), 0);
        assert_eq!(throttle.new_second(6), 7);
        assert!(throttle.may_show());
    }

    #[test]
    fn a_full_log_makes_room_once() {
        let folder = tempfile::tempdir().expect("a temporary folder can be made");
        let path = folder.path().join("agent.log");
        let mut log = BoundedLog {
            path: path.clone(),
            file: None,
        };
        let piece = vec![b'x'; 1000];
        (0..3 * LOG_LIMIT / 1000).for_each(|_| log.write(&piece));
        let length = |path: PathBuf| fs::metadata(path).expect("it is there").len();
        assert!(length(path.clone()) <= LOG_LIMIT);
        assert!(length(path.with_extension("log.1")) <= LOG_LIMIT);
        assert_eq!(fs::read_dir(folder.path()).expect("it is there").count(), 2);
    }
}
