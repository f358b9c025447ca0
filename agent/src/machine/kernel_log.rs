//! The kernel's log from /dev/kmsg (Documentation/ABI/testing/dev-kmsg): one read a record.

use super::refuse;
use nix::libc;
use proto::machine::v1::KernelLine;
use std::fs::{File, OpenOptions};
use std::io::{self, Read};
use std::os::unix::fs::OpenOptionsExt;
use std::pin::Pin;
use std::time::Duration;
use tokio::sync::mpsc;
use tokio_stream::Stream;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Response, Status};

const KMSG: &str = "/dev/kmsg";
/// The kernel writes no longer record to a reader (`CONSOLE_EXT_LOG_MAX`).
const RECORD: usize = 8192;

/// How often a follower's log is looked at: as quick as people read.
const LOOK: Duration = Duration::from_millis(200);

type Lines = Pin<Box<dyn Stream<Item = Result<KernelLine, Status>> + Send>>;

/// All lines that the kernel keeps, then new ones where `follow` is set.
pub fn stream(follow: bool) -> Result<Response<Lines>, Status> {
    let open = OpenOptions::new().read(true).custom_flags(libc::O_NONBLOCK).open(KMSG);
    let kmsg = open.map_err(|cause| refuse::failed(format!("open {KMSG}: {cause}")))?;
    let (sender, receiver) = mpsc::channel(64);
    tokio::spawn(async move {
        if let Err(cause) = send(kmsg, follow, &sender).await {
            // Nobody listens any more: fine.
            let _ = sender.send(Err(refuse::failed(format!("read {KMSG}: {cause}")))).await;
        }
    });
    Ok(Response::new(Box::pin(ReceiverStream::new(receiver))))
}

async fn send(mut kmsg: File, follow: bool, to: &mpsc::Sender<Result<KernelLine, Status>>) -> io::Result<()> {
    let mut record = [0; RECORD];
    loop {
        match kmsg.read(&mut record) {
            Ok(length) => {
                let line = parse(&String::from_utf8_lossy(&record[..length]));
                if let Some(line) = line
                    && to.send(Ok(line)).await.is_err()
                {
                    return Ok(());
                }
            }
            Err(cause) if cause.kind() == io::ErrorKind::WouldBlock && !follow => return Ok(()),
            Err(cause) if cause.kind() == io::ErrorKind::WouldBlock => tokio::select! {
                () = tokio::time::sleep(LOOK) => {}
                () = to.closed() => return Ok(()),
            },
            // Records were overwritten before we read them; the next read goes on with the oldest there is.
            Err(cause) if cause.raw_os_error() == Some(libc::EPIPE) => {}
            Err(cause) => return Err(cause),
        }
    }
}

/// `6,339,5140900,-;text\n KEY=value\n`: priority, number, microseconds, flags; text; its dictionary.
fn parse(record: &str) -> Option<KernelLine> {
    let (head, rest) = record.split_once(';')?;
    let mut fields = head.split(',');
    let priority = fields.next()?.parse::<u32>().ok()?;
    let at_us = fields.nth(1)?.parse().ok()?;
    let text = rest.lines().next().unwrap_or_default();
    // The upper bits are syslog's facility.
    Some(KernelLine {
        at_us,
        level: priority & 7,
        text: text.replace("\\x0a", "\n"),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn records_become_lines() {
        let line = parse("30,339,5140900,-;init: started\n SUBSYSTEM=x\n").unwrap();
        assert_eq!(
            (line.level, line.at_us, line.text.as_str()),
            (6, 5_140_900, "init: started")
        );
        assert!(parse("nonsense").is_none());
    }
}
