//! What becomes of a container when the pull of its image has ended.

use super::Worker;
use crate::pods::backoff::Backoff;
use crate::pods::images::{Got, Missing};
use crate::pods::observed::Image;
use crate::pods::spec;
use jiff::Timestamp;

impl Worker {
    /// Takes over how it went, and says so.
    pub(super) fn pulled(&mut self, name: &str, result: Result<Got, Missing>) {
        let now = Timestamp::now();
        let Some(spec) = spec::any_container(&self.pod, name) else {
            return;
        };
        let image = spec.image.clone().unwrap_or_default();
        let events = &self.host.events;
        let container = self.observed.container_mut(name);
        match result {
            Ok(Got { image: got, pulled }) => {
                let message = match pulled {
                    None => {
                        format!("Container image {image:?} already present on machine and can be accessed by the pod")
                    }
                    Some(took) => {
                        let took = format!("{}ms", took.as_millis());
                        let size = got.size;
                        format!(
                            "Successfully pulled image {image:?} in {took} ({took} including waiting). Image size: {size} bytes."
                        )
                    }
                };
                events.normal(&self.pod, name, "Pulled", message);
                let named = got.names.first().cloned().unwrap_or_default();
                let repository = named.parse::<oci::Reference>().ok();
                let named = repository.map(|name| format!("{}/{}@{}", name.registry, name.repository, got.digest));
                container.pull_backoff = Backoff::NONE;
                container.image = Image::Here {
                    id: got.id,
                    named: named.unwrap_or_default(),
                };
            }
            Err(Missing { reason, message }) => {
                container.pull_backoff.grant(now, now);
                let backoff = container.pull_backoff;
                if reason == "ErrImagePull" {
                    events.warning(
                        &self.pod,
                        name,
                        "Failed",
                        format!("Failed to pull image {image:?}: {message}"),
                    );
                    events.warning(&self.pod, name, "Failed", "Error: ErrImagePull".to_owned());
                    events.normal(&self.pod, name, "BackOff", format!("Back-off pulling image {image:?}"));
                } else {
                    events.warning(&self.pod, name, "Failed", format!("Error: {reason}"));
                }
                container.image = Image::Failed {
                    reason,
                    message,
                    at: now,
                    backoff,
                };
            }
        }
    }
}
