//! How a static pod has ended, remembered beside its volumes: the API, which remembers for all others, may be away when an agent
//! begins.

use k8s_openapi::api::core::v1::PodStatus;
use std::fs;
use std::io;
use std::path::Path;

const NAME: &str = "ended.json";
/// The one end with a reason that is the pod's own. All others are the node's, which may have room or peace by now.
const TIME_IS_UP: &str = "DeadlineExceeded";

/// Writes down an end of the pod's own, once.
pub fn remember(folder: &Path, status: &PodStatus) {
    let is_own = status.reason.as_deref().is_none_or(|reason| reason == TIME_IS_UP);
    let path = folder.join(NAME);
    if is_own
        && !path.exists()
        && let Err(error) = write(folder, status)
    {
        tracing::warn!(path = %path.display(), %error, "a static pod's end cannot be remembered");
    }
}

fn write(folder: &Path, status: &PodStatus) -> io::Result<()> {
    fs::create_dir_all(folder)?;
    let new = folder.join(format!("{NAME}.new"));
    fs::write(&new, serde_json::to_vec(status)?)?;
    fs::rename(new, folder.join(NAME))
}

/// What was written down; a torn file counts as none.
pub fn remembered(folder: &Path) -> Option<PodStatus> {
    serde_json::from_slice(&fs::read(folder.join(NAME)).ok()?).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_end_of_the_pods_own_is_remembered_and_the_nodes_is_not() {
        let folder = tempfile::tempdir().unwrap();
        let folder = folder.path().join("pod");
        let status = |reason: Option<&str>| PodStatus {
            phase: Some("Failed".to_owned()),
            reason: reason.map(str::to_owned),
            ..PodStatus::default()
        };
        remember(&folder, &status(Some("Terminated")));
        assert_eq!(remembered(&folder), None);
        remember(&folder, &status(Some("DeadlineExceeded")));
        remember(&folder, &status(None));
        assert_eq!(remembered(&folder), Some(status(Some("DeadlineExceeded"))));
        fs::write(folder.join(NAME), "{\"phase\":").unwrap();
        assert_eq!(remembered(&folder), None);
    }
}
