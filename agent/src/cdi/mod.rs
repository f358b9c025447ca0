//! Devices by the Container Device Interface (github.com/cncf-tags/container-device-interface, SPEC.md, up to 1.1.0): a vendor's
//! files say what a container gets with a device of a name, and this room makes a container's plan of that.
//!
//! Not who may have which device: whoever names it to the runtime has decided that.

mod edit;
mod folders;
mod name;
mod spec;

use folders::Found;
use sandbox::ContainerPlan;
use std::path::PathBuf;

/// Before the name of whatever asks for devices in annotations, as runtimes had it before they were told in a field.
const ANNOTATION: &str = "cdi.k8s.io/";

/// Why a container cannot have its devices.
#[derive(Debug, thiserror::Error)]
#[error("CDI device injection failed: {0}")]
pub struct NotInjected(#[from] Why);

#[derive(Debug, thiserror::Error)]
enum Why {
    #[error("unresolvable CDI devices {devices}{}{reasons}", if reasons.is_empty() { "" } else { ": " })]
    Unresolvable {
        /// Their names.
        devices: String,
        /// What may be the cause.
        reasons: String,
    },
    #[error("{}: {cause}", file.display())]
    Edit {
        /// Which file wants it.
        file: PathBuf,
        /// What cannot be done.
        cause: edit::NotPossible,
    },
    #[error("failed to parse CDI device annotations: {0}")]
    Annotation(name::BadName),
}

/// Gives the container the named devices; `folders` have the vendors' files, each counts more than those before it.
pub fn inject(plan: &mut ContainerPlan, names: &[String], folders: &[PathBuf]) -> Result<(), NotInjected> {
    if names.is_empty() {
        return Ok(());
    }
    let found = folders::read(folders);
    for (file, edits) in resolve(&found, names)? {
        edit::apply(plan, edits, edit::look).map_err(|cause| Why::Edit {
            file: file.clone(),
            cause,
        })?;
    }
    // Parents before children, as upstream's library orders them.
    plan.mounts.sort_by_key(|mount| mount.target.components().count());
    Ok(())
}

/// What is to be done for the devices: first what their file says for all of its, once, then what it says for each.
fn resolve<'a>(found: &'a Found, names: &[String]) -> Result<Vec<(&'a PathBuf, &'a spec::Edits)>, Why> {
    let mut edits = Vec::new();
    let (mut seen, mut unresolved) = (Vec::new(), Vec::new());
    for (place, name) in names.iter().enumerate() {
        if names[..place].contains(name) {
            continue;
        }
        let Some((index, device)) = found.device(name) else {
            unresolved.push(name.as_str());
            continue;
        };
        let (file, spec) = &found.specs[index];
        if !seen.contains(&index) {
            seen.push(index);
            edits.push((file, &spec.container_edits));
        }
        edits.push((file, &device.container_edits));
    }
    match unresolved.is_empty() {
        true => Ok(edits),
        false => Err(Why::Unresolvable {
            reasons: found.reasons(&unresolved),
            devices: unresolved.join(", "),
        }),
    }
}

/// Devices that annotations ask for (upstream: pkg/cdi/annotations.go), in the order of the annotations' names.
pub fn of_annotations<'a>(
    annotations: impl Iterator<Item = (&'a String, &'a String)>,
) -> Result<Vec<String>, NotInjected> {
    let mut asking: Vec<_> = annotations.filter(|(key, _)| key.starts_with(ANNOTATION)).collect();
    asking.sort();
    let mut names = Vec::new();
    for name in asking.into_iter().flat_map(|(_, value)| value.split(',')) {
        name::check(name).map_err(Why::Annotation)?;
        names.push(name.to_owned());
    }
    Ok(names)
}

#[cfg(test)]
mod tests;
