//! What claims of devices take of a quota: devices, by class.

use super::{Amounts, add};
use crate::quantity::Quantity;
use crate::read;
use serde_json::Value;

/// After a DeviceClass's name.
const DEVICES: &str = ".deviceclass.resource.k8s.io/devices";
/// Most devices that one allocation can hold: what a request for all devices is counted as (upstream:
/// `AllocationResultsMaxSize`).
const MOST_DEVICES: i64 = 32;

pub(super) fn minds(name: &str) -> bool {
    name.ends_with(DEVICES)
}

/// Of a request with alternatives, the most that any of them takes of each class.
pub(super) fn usage(claim: &Value) -> Amounts {
    let mut usage = Amounts::new();
    for request in read::list(claim, "/spec/devices/requests") {
        if let Some(exactly) = request.get("exactly") {
            add(&mut usage, &Amounts::from([devices(exactly)]));
        }
        let mut most = Amounts::new();
        for (name, amount) in read::list(request, "/firstAvailable").iter().map(devices) {
            let least = most.entry(name).or_insert(amount);
            *least = amount.max(*least);
        }
        add(&mut usage, &most);
    }
    usage
}

fn devices(request: &Value) -> (String, Quantity) {
    let count = match read::text(request, "/allocationMode") {
        "All" => MOST_DEVICES,
        _ => read::int(request, "/count").max(1),
    };
    let name = format!("{}{DEVICES}", read::text(request, "/deviceClassName"));
    (name, Quantity::whole(count))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::quota::sentence;
    use serde_json::json;

    #[test]
    fn requests_take_devices_of_their_class() {
        let claim = json!({"spec": {"devices": {"requests": [
            {"name": "a", "exactly": {"deviceClassName": "gold", "allocationMode": "ExactCount", "count": 2}},
            {"name": "b", "exactly": {"deviceClassName": "gold", "allocationMode": "All"}},
            {"name": "c", "firstAvailable": [
                {"name": "x", "deviceClassName": "tin", "count": 3},
                {"name": "y", "deviceClassName": "tin"},
                {"name": "z", "deviceClassName": "lead"}]},
        ]}}});
        assert_eq!(
            sentence(&usage(&claim)),
            "gold.deviceclass.resource.k8s.io/devices=34,lead.deviceclass.resource.k8s.io/devices=1,\
             tin.deviceclass.resource.k8s.io/devices=3"
        );
    }
}
