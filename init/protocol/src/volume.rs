//! What init found of STATE and DATA and did about it; left in a file for whoever comes later.

use crate::UnknownLine;
use std::fmt;

/// Where init leaves one [`VolumeReport`] line a volume, once, before any service starts.
pub const VOLUMES: &str = "/run/pintle/volumes";

/// A volume of the machine.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Volume {
    /// Config and keys, on /state.
    State,
    /// Everything else that outlives a boot, on /var.
    Data,
}

/// How a volume came to its mount point.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Found {
    /// The file system was there and sound.
    Sound,
    /// Its check corrected something by itself.
    Repaired,
    /// The partition was blank (or freshly reset) and got a file system.
    Created,
    /// There is no such partition: the mount is a tmpfs, nothing outlives this boot.
    Absent,
    /// The partition is corrupt, or holds what init must not touch: the mount is a tmpfs and the partition is as it was.
    Unusable,
    /// It was mounted before init started (namespaces provider).
    Given,
}

/// One line of [`VOLUMES`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VolumeReport {
    /// Which.
    pub volume: Volume,
    /// How it is.
    pub found: Found,
    /// A sentence for people; empty where there is nothing to say.
    pub note: String,
}

// === impl VolumeReport ===

impl fmt::Display for VolumeReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {} {}", self.volume, self.found, self.note.replace('\n', " "))
    }
}

impl std::str::FromStr for VolumeReport {
    type Err = UnknownLine;

    fn from_str(line: &str) -> Result<Self, UnknownLine> {
        let unknown = || UnknownLine(line.to_owned());
        let mut words = line.splitn(3, ' ');
        let mut next = || words.next().ok_or_else(unknown);
        Ok(VolumeReport {
            volume: next()?.parse()?,
            found: next()?.parse()?,
            note: next()?.to_owned(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_report_survives_its_line() {
        let report = VolumeReport {
            volume: Volume::State,
            found: Found::Unusable,
            note: "partition state (vda6) holds no file system that we know".into(),
        };
        assert_eq!(report.to_string().parse(), Ok(report));
        let silent = VolumeReport {
            volume: Volume::Data,
            found: Found::Sound,
            note: String::new(),
        };
        assert_eq!(silent.to_string().parse(), Ok(silent));
    }
}
