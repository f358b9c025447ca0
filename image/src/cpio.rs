//! The initramfs: a "newc" archive (kernel: Documentation/driver-api/early-userspace/buffer-format.rst) with two entries.

use std::io::{Result, Write};

const MODE_FILE: u32 = 0o100_755;
const MODE_FOLDER: u32 = 0o040_755;
const MODE_CHARACTER: u32 = 0o020_600;

/// An archive that holds `/init` and the console that the kernel opens for it.
pub fn initramfs(init: &[u8]) -> Result<Vec<u8>> {
    let mut out = Vec::new();
    entry(&mut out, 1, "dev", MODE_FOLDER, (0, 0), &[])?;
    entry(&mut out, 2, "dev/console", MODE_CHARACTER, (5, 1), &[])?;
    entry(&mut out, 3, "init", MODE_FILE, (0, 0), init)?;
    entry(&mut out, 0, "TRAILER!!!", 0, (0, 0), &[])?;
    Ok(out)
}

fn entry(out: &mut Vec<u8>, inode: u32, name: &str, mode: u32, device: (u32, u32), data: &[u8]) -> Result<()> {
    let length = u32::try_from(data.len()).map_err(|_| std::io::Error::other("an initramfs file over 4 GiB"))?;
    let name_length = name.len() as u32 + 1;
    write!(out, "070701")?;
    // inode, mode, uid, gid, links, mtime, size, device major and minor, device node major and minor, name size, checksum
    for field in [
        inode,
        mode,
        0,
        0,
        1,
        0,
        length,
        0,
        0,
        device.0,
        device.1,
        name_length,
        0,
    ] {
        write!(out, "{field:08x}")?;
    }
    out.extend_from_slice(name.as_bytes());
    out.push(0);
    pad(out);
    out.extend_from_slice(data);
    pad(out);
    Ok(())
}

fn pad(out: &mut Vec<u8>) {
    out.resize(out.len().next_multiple_of(4), 0);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn entries_are_aligned_and_end_with_the_trailer() {
        let archive = initramfs(b"#!").expect("memory takes all writes because it grows");
        assert_eq!(archive.len() % 4, 0);
        assert!(archive.starts_with(b"070701"));
        let text = String::from_utf8_lossy(&archive);
        assert!(text.contains("init\0") && text.contains("TRAILER!!!\0"));
    }
}
