//! Which call needs which role, and which ones a machine without a config answers. One line a call.

use identity::Role;

/// One call.
pub struct Call {
    /// `Service/Method` of `pintle.machine.v1`.
    pub name: &'static str,
    /// The least role that may.
    pub least: Role,
    /// Whether it answers in maintenance, to anybody.
    pub in_maintenance: bool,
}

#[rustfmt::skip]
const CALLS: &[Call] = &[
    Call { name: "Config/Get",          least: Role::Reader,   in_maintenance: false },
    Call { name: "Config/Validate",     least: Role::Reader,   in_maintenance: true },
    Call { name: "Config/Apply",        least: Role::Admin,    in_maintenance: true },
    Call { name: "Config/Confirm",      least: Role::Admin,    in_maintenance: false },
    Call { name: "Info/Get",            least: Role::Reader,   in_maintenance: true },
    Call { name: "Info/Events",         least: Role::Reader,   in_maintenance: false },
    Call { name: "Info/Timeline",       least: Role::Reader,   in_maintenance: false },
    Call { name: "Services/List",       least: Role::Reader,   in_maintenance: false },
    Call { name: "Services/Restart",    least: Role::Operator, in_maintenance: false },
    Call { name: "Logs/Service",        least: Role::Reader,   in_maintenance: true },
    Call { name: "Logs/Kernel",         least: Role::Reader,   in_maintenance: true },
    Call { name: "Resources/Processes", least: Role::Reader,   in_maintenance: false },
    Call { name: "Resources/Memory",    least: Role::Reader,   in_maintenance: false },
    Call { name: "Resources/Mounts",    least: Role::Reader,   in_maintenance: false },
    Call { name: "Images/List",         least: Role::Reader,   in_maintenance: false },
    Call { name: "Images/Import",       least: Role::Operator, in_maintenance: false },
    Call { name: "Images/Pull",         least: Role::Operator, in_maintenance: false },
    Call { name: "Images/Remove",       least: Role::Operator, in_maintenance: false },
    Call { name: "Power/Reboot",        least: Role::Operator, in_maintenance: true },
    Call { name: "Power/Shutdown",      least: Role::Operator, in_maintenance: false },
    Call { name: "Power/Reset",         least: Role::Admin,    in_maintenance: false },
];

/// The call that an HTTP path names; `None` for strangers.
pub fn call(path: &str) -> Option<&'static Call> {
    let name = path.strip_prefix("/pintle.machine.v1.")?;
    CALLS.iter().find(|call| call.name == name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_call_of_the_proto_has_its_line() {
        let mut service = "";
        let mut seen = 0;
        for line in include_str!("../../../proto/machine/v1/machine.proto")
            .lines()
            .map(str::trim)
        {
            if let Some(rest) = line.strip_prefix("service ") {
                service = rest.trim_end_matches(" {");
            }
            if let Some(rest) = line.strip_prefix("rpc ") {
                let method = rest.split('(').next().unwrap();
                let path = format!("/pintle.machine.v1.{service}/{method}");
                assert!(call(&path).is_some(), "{path} has no line in the table");
                seen += 1;
            }
        }
        assert_eq!(seen, CALLS.len());
    }
}
