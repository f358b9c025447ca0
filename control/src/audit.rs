//! Where the audit log gets its policy and its file.

use anyhow::Context;
use config::MachineConfig;
use server::{Audit, AuditFile};
use std::path::Path;

/// What `control serve` keeps, as upstream's container setups do.
const SERVE_BYTES: u64 = 100 << 20;
const SERVE_FILES: usize = 10;

/// As the machine config says: in `audit/` of the data folder.
pub fn of_machine(config: &MachineConfig, data: &Path) -> anyhow::Result<Option<Audit>> {
    let Some(wanted) = config.control_plane.as_ref().and_then(|plane| plane.audit.as_ref()) else {
        return Ok(None);
    };
    let file = AuditFile {
        path: data.join("audit/audit.log"),
        max_bytes: u64::from(wanted.max_mib) << 20,
        max_files: wanted.max_files as usize,
    };
    Audit::new(&wanted.policy, file)
        .context("[control-plane.audit]")
        .map(Some)
}

/// As two files on the command line say.
pub fn of_files(policy: &Path, log: &Path) -> anyhow::Result<Audit> {
    let text = std::fs::read_to_string(policy).with_context(|| format!("read {}", policy.display()))?;
    let file = AuditFile {
        path: log.to_owned(),
        max_bytes: SERVE_BYTES,
        max_files: SERVE_FILES,
    };
    Audit::new(&text, file).with_context(|| policy.display().to_string())
}
