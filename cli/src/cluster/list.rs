//! `pintlectl cluster list`: all clusters, a line a machine.

use anyhow::Result;
use qemu::{Cluster, Listed};

/// Print them.
pub fn run() -> Result<()> {
    let mut rows = vec![["CLUSTER", "PROVIDER", "MACHINE", "STATE", "MACHINE API", "KUBECONFIG"].map(str::to_owned)];
    for listed in Cluster::list()? {
        rows.extend(machine_rows(&listed));
    }
    for line in aligned(&rows) {
        println!("{line}");
    }
    Ok(())
}

fn machine_rows(listed: &Listed) -> Vec<[String; 6]> {
    let plan = listed.cluster.plan();
    let state = |name: &str| match &listed.machines {
        Some(machines) => (machines.iter().find(|machine| machine.name == name))
            .map_or_else(|| "unknown".to_owned(), |machine| machine.state.to_string()),
        None => "not supervised".to_owned(),
    };
    let row = |machine: qemu::Machine<'_>| {
        [
            plan.spec.name.clone(),
            plan.spec.provider.to_string(),
            machine.name().to_owned(),
            state(machine.name()),
            machine.machine_api().to_string(),
            listed.cluster.folder().kubeconfig().display().to_string(),
        ]
    };
    listed.cluster.machines().into_iter().map(row).collect()
}

/// Columns as wide as their widest cell.
fn aligned<const N: usize>(rows: &[[String; N]]) -> Vec<String> {
    let width = |column: usize| rows.iter().map(|row| row[column].chars().count()).max().unwrap_or(0);
    let widths: Vec<usize> = (0..N).map(width).collect();
    let line = |row: &[String; N]| {
        let cells = row.iter().zip(&widths).map(|(cell, width)| format!("{cell:width$}"));
        cells.collect::<Vec<_>>().join("   ").trim_end().to_owned()
    };
    rows.iter().map(line).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_aligned() {
        let rows = [["a", "long"], ["longer", "b"]].map(|row| row.map(str::to_owned));
        assert_eq!(aligned(&rows), ["a        long", "longer   b"]);
    }
}
