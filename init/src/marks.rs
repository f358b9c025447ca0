//! Boot marks: when each phase of the boot was reached.

use init_protocol::Mark;
use nix::time::ClockId;
use std::fs;
use std::path::Path;

/// A boot has some twenty marks; whoever sends hundreds is broken, and init does not grow for them.
const MOST: usize = 256;

/// Where the initramfs stage leaves its marks for the next stage; `/run` moves along.
pub const HANDOVER: &str = "/run/pintle/marks";

/// The marks of this boot, oldest first.
#[derive(Debug)]
pub struct Marks {
    /// CLOCK_BOOTTIME of their zero.
    zero_us: u64,
    marks: Vec<Mark>,
}

/// Microseconds of CLOCK_BOOTTIME.
pub fn boottime_us() -> u64 {
    // CLOCK_BOOTTIME exists since Linux 2.6.39, so this cannot fail; zero would only make a mark look early.
    ClockId::CLOCK_BOOTTIME
        .now()
        .map_or(0, |now| now.tv_sec() as u64 * 1_000_000 + now.tv_nsec() as u64 / 1000)
}

/// Milliseconds of CLOCK_BOOTTIME.
pub fn boottime_ms() -> u64 {
    boottime_us() / 1000
}

impl Marks {
    /// Marks that count from the kernel's start.
    pub fn since_kernel_start() -> Self {
        Marks {
            zero_us: 0,
            marks: vec![Mark {
                at_us: 0,
                name: "kernel-start".into(),
            }],
        }
    }

    /// Marks that count from now: the kernel is somebody else's and has run for long.
    pub fn since_now() -> Self {
        Marks {
            zero_us: boottime_us(),
            marks: Vec::new(),
        }
    }

    /// Notes that `name` is reached now. A name counts once: a restarted agent does not boot the machine again.
    pub fn note(&mut self, name: &str) {
        self.note_at(name, boottime_us());
    }

    /// Notes that `name` was reached at `at_us` of CLOCK_BOOTTIME.
    pub fn note_at(&mut self, name: &str, at_us: u64) {
        let known = self.marks.iter().any(|mark| mark.name == name);
        if !known && self.marks.len() < MOST {
            self.marks.push(Mark {
                at_us: at_us.saturating_sub(self.zero_us),
                name: name.to_owned(),
            });
            self.marks.sort_by_key(|mark| mark.at_us);
        }
    }

    /// All of them.
    pub fn all(&self) -> &[Mark] {
        &self.marks
    }

    /// Leaves them for the next stage.
    pub fn leave(&self, file: &Path) -> std::io::Result<()> {
        fs::write(
            file,
            self.marks.iter().map(|mark| format!("{mark}\n")).collect::<String>(),
        )
    }

    /// Takes over what an earlier stage left, if one did.
    pub fn take_over(&mut self, file: &Path) {
        let Ok(text) = fs::read_to_string(file) else { return };
        let earlier = text.lines().filter_map(|line| line.parse::<Mark>().ok());
        self.marks
            .extend(earlier.filter(|mark| mark.name != "kernel-start").take(MOST));
        self.marks.sort_by_key(|mark| mark.at_us);
        // It has served; that it stays where /run is read-only does no harm.
        let _ = fs::remove_file(file);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn marks_pass_from_stage_to_stage() {
        let folder = tempfile::tempdir().expect("a temporary folder can be made");
        let file = folder.path().join("marks");
        let mut first = Marks::since_kernel_start();
        first.note("initramfs");
        first.leave(&file).expect("the folder is writable");
        let mut second = Marks::since_kernel_start();
        second.note("pid1");
        second.take_over(&file);
        let names: Vec<_> = second.all().iter().map(|mark| mark.name.as_str()).collect();
        assert_eq!(names, ["kernel-start", "initramfs", "pid1"]);
        assert!(!file.exists());
    }

    #[test]
    fn a_mark_counts_once_and_their_number_is_bounded() {
        let mut marks = Marks::since_now();
        marks.note("node-ready");
        marks.note("node-ready");
        assert_eq!(marks.all().len(), 1);
        (0..1000).for_each(|n| marks.note(&format!("mark-{n}")));
        assert_eq!(marks.all().len(), MOST);
    }
}
