//! A machine plan as QEMU's command line. Pure.

use crate::plan::{KUBERNETES_PORT, MACHINE_API_PORT};
use crate::{Accelerator, Boot, MachinePlan};
use std::path::{Path, PathBuf};

/// The files of one virtual machine, below its folder.
pub struct Files {
    /// What it writes, on top of the built image.
    pub disk: PathBuf,
    /// Its own firmware variables.
    pub ovmf_vars: PathBuf,
    /// QEMU's control socket.
    pub qmp: PathBuf,
    /// Machine config, put before it over fw_cfg.
    pub config: PathBuf,
    /// Machine secrets, likewise.
    pub secrets: PathBuf,
    /// What QEMU itself says.
    pub log: PathBuf,
}

// === impl Files ===

impl Files {
    /// The files of the machine of `plan`.
    pub fn of(plan: &MachinePlan) -> Self {
        let folder = &plan.folder;
        Self {
            disk: folder.join("disk.qcow2"),
            ovmf_vars: folder.join("ovmf-vars.fd"),
            // A socket's path is short (man 7 unix), a machine's folder may not be.
            qmp: plan.switch_socket.with_file_name(format!("qmp-{}.sock", plan.number)),
            config: folder.join("config.toml"),
            secrets: folder.join("secrets.toml"),
            log: folder.join("qemu.log"),
        }
    }
}

/// QEMU's arguments for `plan`.
pub fn arguments(plan: &MachinePlan, accelerator: Accelerator, files: &Files) -> Vec<String> {
    let mut all = Vec::new();
    let mut add = |words: &[&str]| all.extend(words.iter().map(|word| (*word).to_owned()));
    add(&[
        "-name",
        &plan.spec.name,
        "-machine",
        "q35",
        "-nodefaults",
        "-no-user-config",
        "-display",
        "none",
    ]);
    add(&accelerator.arguments());
    add(&[
        "-smp",
        &plan.spec.cpus.to_string(),
        "-m",
        &format!("{}M", plan.spec.memory_mib),
    ]);
    add(&[
        "-chardev",
        &format!("file,id=console,append=on,path={}", value(&plan.console)),
    ]);
    add(&["-serial", "chardev:console"]);
    add(&["-qmp", &format!("unix:{},server=on,wait=off", value(&files.qmp))]);
    add(&[
        "-device",
        "virtio-rng-pci",
        "-device",
        "i6300esb",
        "-action",
        "watchdog=reset",
    ]);
    add(&[
        "-drive",
        &format!("if=none,id=disk,format=qcow2,discard=unmap,file={}", value(&files.disk)),
    ]);
    add(&["-device", "virtio-blk-pci,drive=disk,bootindex=1"]);
    for word in network(plan) {
        add(&[&word]);
    }
    if plan.spec.is_configured {
        add(&[
            "-fw_cfg",
            &format!("name=opt/pintle/config,file={}", value(&files.config)),
        ]);
        add(&[
            "-fw_cfg",
            &format!("name=opt/pintle/secrets,file={}", value(&files.secrets)),
        ]);
    }
    for word in boot(plan, files) {
        add(&[&word]);
    }
    all
}

/// Two cards; without option ROMs, so that firmware does not try to boot from them.
fn network(plan: &MachinePlan) -> [String; 8] {
    let forward = |host: u16, guest: u16| format!("hostfwd=tcp:127.0.0.1:{host}-:{guest}");
    let kubernetes = forward(plan.ports.kubernetes, KUBERNETES_PORT);
    let machine_api = forward(plan.ports.machine_api, MACHINE_API_PORT);
    [
        "-netdev".to_owned(),
        format!("user,id=uplink,{kubernetes},{machine_api}"),
        "-device".to_owned(),
        format!("virtio-net-pci,netdev=uplink,romfile=,mac={}", plan.uplink_mac()),
        "-netdev".to_owned(),
        format!(
            "stream,id=cluster,server=off,addr.type=unix,addr.path={}",
            value(&plan.switch_socket)
        ),
        "-device".to_owned(),
        format!("virtio-net-pci,netdev=cluster,romfile=,mac={}", plan.cluster_mac()),
    ]
}

fn boot(plan: &MachinePlan, files: &Files) -> Vec<String> {
    let artifacts = &plan.artifacts;

    match plan.spec.boot {
        Boot::Uefi => vec![
            "-drive".to_owned(),
            format!(
                "if=pflash,unit=0,format=raw,readonly=on,file={}",
                value(&artifacts.ovmf_code)
            ),
            "-drive".to_owned(),
            format!("if=pflash,unit=1,format=raw,file={}", value(&files.ovmf_vars)),
        ],
        Boot::Kernel => vec![
            "-kernel".to_owned(),
            artifacts.kernel.display().to_string(),
            "-initrd".to_owned(),
            artifacts.initramfs.display().to_string(),
            "-append".to_owned(),
            artifacts.cmdline.clone(),
        ],
    }
}

/// A path inside a list of options, where a comma is written twice.
fn value(path: &Path) -> String {
    path.display().to_string().replace(',', ",,")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::MachinePorts;
    use crate::{Artifacts, MachineSpec};

    fn plan(boot: Boot) -> MachinePlan {
        let path = |name: &str| PathBuf::from("/a,b").join(name);
        MachinePlan {
            spec: MachineSpec {
                boot,
                ..MachineSpec::new("m-1", vec![config::Role::Worker])
            },
            cluster: "m".to_owned(),
            number: 1,
            ports: MachinePorts {
                kubernetes: 4001,
                machine_api: 4002,
            },
            folder: path("m-1"),
            console: path("console.log"),
            switch_socket: path("switch-1.sock"),
            artifacts: Artifacts {
                disk: path("disk.raw"),
                kernel: path("kernel"),
                initramfs: path("initramfs"),
                cmdline: "roothash=00 console=ttyS0".to_owned(),
                root_tree: path("root"),
                ovmf_code: path("code.fd"),
                ovmf_vars: path("vars.fd"),
                tools: path("tools"),
            },
        }
    }

    fn line(boot: Boot) -> String {
        let plan = plan(boot);
        arguments(&plan, Accelerator::Tcg, &Files::of(&plan)).join(" ")
    }

    #[test]
    fn the_two_boots_differ_in_what_loads_the_kernel() {
        let (uefi, kernel) = (line(Boot::Uefi), line(Boot::Kernel));
        assert!(
            uefi.contains("unit=0,format=raw,readonly=on,file=/a,,b/code.fd"),
            "{uefi}"
        );
        assert!(!uefi.contains("-kernel"), "{uefi}");
        assert!(
            kernel.contains("-kernel /a,b/kernel -initrd /a,b/initramfs -append roothash=00 console=ttyS0"),
            "{kernel}"
        );
        assert!(!kernel.contains("pflash"), "{kernel}");
    }

    #[test]
    fn both_apis_are_forwarded_and_the_second_card_is_on_the_switch() {
        let line = line(Boot::Uefi);
        assert!(
            line.contains("hostfwd=tcp:127.0.0.1:4001-:6443,hostfwd=tcp:127.0.0.1:4002-:50000"),
            "{line}"
        );
        assert!(
            line.contains("stream,id=cluster,server=off,addr.type=unix,addr.path=/a,,b/switch-1.sock"),
            "{line}"
        );
        assert!(
            line.contains("mac=52:54:00:00:01:01") && line.contains("mac=52:54:00:00:02:01"),
            "{line}"
        );
    }

    #[test]
    fn a_machine_without_config_is_given_none() {
        let mut plan = plan(Boot::Uefi);
        plan.spec.is_configured = false;
        assert!(
            !arguments(&plan, Accelerator::Kvm, &Files::of(&plan))
                .join(" ")
                .contains("fw_cfg")
        );
    }
}
