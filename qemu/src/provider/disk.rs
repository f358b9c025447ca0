//! A virtual machine's disk: what it writes, as a qcow2 file on top of the image that many machines share.

use super::arguments::Files;
use crate::{MachinePlan, tools};
use anyhow::{Context, Result, ensure};

/// Make what `plan` lacks for its first start; on later ones all is there and stays.
pub fn prepare(plan: &MachinePlan, files: &Files) -> Result<()> {
    if !files.ovmf_vars.exists() {
        std::fs::copy(&plan.artifacts.ovmf_vars, &files.ovmf_vars)
            .with_context(|| format!("copy the firmware's variables {}", plan.artifacts.ovmf_vars.display()))?;
    }
    if !files.disk.exists() {
        create(plan, files)?;
    }
    Ok(())
}

fn create(plan: &MachinePlan, files: &Files) -> Result<()> {
    let base = plan.spec.disk_image.as_ref().unwrap_or(&plan.artifacts.disk);
    let output = tools::command(&plan.artifacts.tools, "qemu-img")
        .args(["create", "-q", "-f", "qcow2", "-F", "raw", "-b"])
        .arg(base)
        .arg(&files.disk)
        .output()
        .context("run qemu-img")?;
    ensure!(
        output.status.success(),
        "qemu-img cannot put a disk on top of {}: {}",
        base.display(),
        String::from_utf8_lossy(&output.stderr).trim()
    );
    Ok(())
}
