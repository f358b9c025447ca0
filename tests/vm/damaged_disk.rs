//! Disks that are not as they should be: a flipped byte in the root stops the boot, a torn STATE or DATA does not stop the
//! machine, an unclean one is mended.

use qemu::testing::{HEALTHY_DEADLINE, artifacts, cluster};
use qemu::{Boot, ClusterSpec};
use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::process::Command;

/// Where a partition begins, in bytes, by its GPT name.
fn partition_start(disk: &Path, name: &str) -> u64 {
    // UEFI 2.10, 5.3.3: entries of 128 bytes from sector 2 on; first sector at 32, UTF-16 name at 56.
    let mut table = vec![0; 128 * 128];
    File::open(disk).unwrap().read_exact_at(&mut table, 2 * 512).unwrap();
    let name: Vec<u8> = name.encode_utf16().chain([0]).flat_map(u16::to_le_bytes).collect();
    let entry = table.chunks(128).find(|entry| entry[56..].starts_with(&name)).unwrap();
    u64::from_le_bytes(entry[32..40].try_into().unwrap()) * 512
}

/// What looks like an ext4 file system and is none: a superblock's magic over noise.
fn write_noise(file: &File, start: u64) {
    file.write_all_at(&[0xa5; 65536], start).unwrap();
    file.write_all_at(&[0x53, 0xef], start + 1024 + 56).unwrap();
}

/// An ext4 file system that was not unmounted in order and whose count of free blocks is wrong: what e2fsck mends by itself.
fn write_unclean(file: &File, start: u64) {
    let image = tempfile::NamedTempFile::new().unwrap();
    let tools = artifacts().unwrap().tools;
    let made = Command::new(tools.join("lib64/ld-linux-x86-64.so.2"))
        .arg("--library-path")
        .arg(tools.join("usr/lib/x86_64-linux-gnu"))
        .arg(tools.join("usr/sbin/mke2fs"))
        // Without checksums, which a changed superblock would break.
        .args([
            "-q",
            "-F",
            "-t",
            "ext4",
            "-b",
            "4096",
            "-O",
            "^metadata_csum,^metadata_csum_seed,^orphan_file",
        ])
        .arg(image.path())
        .arg("4096")
        .output()
        .unwrap();
    assert!(made.status.success(), "{}", crate::text(&made.stderr));
    let mut bytes = std::fs::read(image.path()).unwrap();
    let superblock = &mut bytes[1024..2048];
    superblock[12..16].copy_from_slice(&1_u32.to_le_bytes());
    // s_state: not valid, errors seen.
    superblock[58..60].copy_from_slice(&2_u16.to_le_bytes());
    file.write_all_at(&bytes, start).unwrap();
}

/// A copy of the built disk with `damage` done to one partition.
fn damaged(folder: &Path, damage: impl Fn(&File, &Path)) -> PathBuf {
    let built = artifacts().unwrap().disk.clone();
    let copy = folder.join("damaged.raw");
    let status = Command::new("cp")
        .arg("--sparse=always")
        .arg(&built)
        .arg(&copy)
        .status()
        .unwrap();
    assert!(status.success());
    let file = File::options().read(true).write(true).open(&copy).unwrap();
    damage(&file, &copy);
    copy
}

fn booted_from(name: &str, disk: PathBuf) -> qemu::Cluster {
    let mut spec = ClusterSpec::new(name, 1);
    spec.machines[0].disk_image = Some(disk);
    cluster(spec).unwrap()
}

#[test]
fn a_flipped_byte_in_the_root_stops_the_boot() {
    let folder = tempfile::tempdir().unwrap();
    let disk = damaged(folder.path(), |file, disk| {
        // Well inside the file system, in a block that no boot reads by itself.
        let at = partition_start(disk, "root-a")
            + std::fs::metadata(artifacts().unwrap().disk.with_file_name("root.erofs"))
                .unwrap()
                .len()
                / 2;
        let mut byte = [0];
        file.read_exact_at(&mut byte, at).unwrap();
        file.write_all_at(&[byte[0] ^ 1], at).unwrap();
    });
    let cluster = booted_from("flipped", disk);
    let console = cluster.machine(0).wait_console("root-a", 0, crate::DEADLINE).unwrap();
    assert!(!console.contains("machine API"), "{console}");
    cluster.remove().unwrap();
}

#[test]
fn a_corrupt_state_partition_leaves_a_machine_that_answers() {
    let folder = tempfile::tempdir().unwrap();
    let disk = damaged(folder.path(), |file, disk| {
        write_noise(file, partition_start(disk, "state"))
    });
    let mut spec = ClusterSpec::new("torn", 1);
    spec.machines[0].disk_image = Some(disk);
    spec.machines[0].boot = Boot::Kernel;
    let cluster = cluster(spec).unwrap();
    let console = cluster
        .machine(0)
        .wait_console("its file system is corrupt", 0, crate::DEADLINE)
        .unwrap();
    assert!(console.contains("partition state"), "{console}");
    // Its config came from the firmware, so it is a node all the same; what the partition holds is left as it is.
    cluster.wait_healthy(HEALTHY_DEADLINE).unwrap();
    cluster.remove().unwrap();
}

#[test]
fn a_corrupt_data_partition_is_named_and_an_unclean_state_is_mended() {
    let folder = tempfile::tempdir().unwrap();
    let disk = damaged(folder.path(), |file, disk| {
        write_noise(file, partition_start(disk, "data"));
        write_unclean(file, partition_start(disk, "state"));
    });
    let mut spec = ClusterSpec::new("worn", 1);
    spec.machines[0].disk_image = Some(disk);
    spec.machines[0].boot = Boot::Kernel;
    let cluster = cluster(spec).unwrap();
    cluster.wait_healthy(HEALTHY_DEADLINE).unwrap();
    let console = cluster.machine(0).console();
    for words in [
        "data: partition data",
        "its file system is corrupt",
        "/var is in memory",
        "state: e2fsck repaired state",
    ] {
        assert!(console.contains(words), "{words:?} is not in\n{console}");
    }
    // Nobody has to be at the console to learn it.
    let info = crate::text(&crate::pintlectl(&cluster, &["info"]).stdout);
    assert!(
        info.contains("data: partition data") && info.contains("it is left as it is"),
        "{info}"
    );
    cluster.remove().unwrap();
}
