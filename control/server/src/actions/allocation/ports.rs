//! Node ports: 30000 to 32767, the upper ones first (upstream `initNodePorts`, `updateNodePorts`, `allocHealthCheckNodePort`).

use super::Refused;
use super::ledger::Ledger;
use api::FieldError;
use api::read::{self, int, list, text};
use serde_json::Value;
use std::collections::{HashMap, HashSet};

const FIRST: u16 = 30_000;
const LAST: u16 = 32_767;
/// How many ports at the beginning are left to people (a 32nd of the range, as upstream has it).
const LOWER: u16 = 86;

/// The node ports that a Service holds.
pub(super) fn of(service: &Value) -> Vec<u16> {
    let mut all = HashSet::new();
    all.extend(list(service, "/spec/ports").iter().map(|port| int(port, "/nodePort")));
    all.insert(int(service, "/spec/healthCheckNodePort"));
    let all = all.into_iter().filter(|port| *port != 0);
    all.filter_map(|port| u16::try_from(port).ok()).collect()
}

/// Gives the Service the node ports that it needs and has not. What it asks for by itself and did not have is checked.
/// Everything new goes into `taken`.
pub(super) fn fill(
    ledger: &Ledger,
    service: &mut Value,
    old: Option<&Value>,
    taken: &mut Vec<u16>,
) -> Result<(), Refused> {
    let mut picker = Picker {
        is_taken: &|port| ledger.has_port(port),
        taken,
    };
    fill_from(&mut picker, service, old)
}

fn fill_from(picker: &mut Picker<'_>, service: &mut Value, old: Option<&Value>) -> Result<(), Refused> {
    let had = old.map(of).unwrap_or_default();
    if matches!(text(service, "/spec/type"), "NodePort" | "LoadBalancer") {
        match old {
            None => first(picker, service)?,
            Some(_) => next(picker, service, &had)?,
        }
    }
    if needs_health_check(service) {
        health_check(picker, service, &had)?;
    }
    Ok(())
}

/// Whether its load balancer asks each node whether it has endpoints (upstream `NeedsHealthCheck`).
fn needs_health_check(service: &Value) -> bool {
    text(service, "/spec/type") == "LoadBalancer" && text(service, "/spec/externalTrafficPolicy") == "Local"
}

/// Whether ports without a number get one.
fn gives_ports(service: &Value) -> bool {
    text(service, "/spec/type") == "NodePort" || read::flag(service, "/spec/allocateLoadBalancerNodePorts")
}

fn refused(index: usize, port: i64, why: &str) -> Refused {
    let path = format!("spec.ports[{index}].nodePort");
    Refused::Fields(vec![FieldError::invalid(path, port, why)])
}

/// For a new Service: ports of one number (DNS over TCP and UDP) share a node port.
fn first(picker: &mut Picker<'_>, service: &mut Value) -> Result<(), Refused> {
    let (ports, gives) = (list(service, "/spec/ports").to_vec(), gives_ports(service));
    let mut by_number: HashMap<i64, i64> = HashMap::new();
    for (index, port) in ports.iter().enumerate() {
        let (number, asked) = (int(port, "/port"), int(port, "/nodePort"));
        if asked == 0 && !gives {
            continue;
        }
        let node_port = match by_number.get(&number) {
            Some(shared) if asked == 0 => *shared,
            Some(shared) if *shared == asked => asked,
            Some(_) => picker.take(asked).map_err(|why| refused(index, asked, &why))?,
            None => {
                let same = ports.iter().filter(|p| int(p, "/port") == number);
                let wish = same.map(|p| int(p, "/nodePort")).find(|p| *p != 0);
                let node_port = match wish {
                    Some(wish) => picker.take(wish).map_err(|why| refused(index, wish, &why))?,
                    None => picker.any("a nodePort")?,
                };
                by_number.insert(number, node_port);
                node_port
            }
        };
        service["spec"]["ports"][index]["nodePort"] = node_port.into();
    }
    Ok(())
}

/// For a changed Service: what it had it keeps.
fn next(picker: &mut Picker<'_>, service: &mut Value, had: &[u16]) -> Result<(), Refused> {
    let (ports, gives) = (list(service, "/spec/ports").to_vec(), gives_ports(service));
    let mut seen = HashSet::new();
    for (index, port) in ports.iter().enumerate() {
        let asked = int(port, "/nodePort");
        if asked == 0 && !gives {
            continue;
        }
        let node_port = if asked == 0 {
            picker.any("a nodePort")?
        } else {
            let known = had.iter().chain(&*picker.taken).any(|port| i64::from(*port) == asked);
            if !known {
                picker.take(asked).map_err(|why| refused(index, asked, &why))?;
            }
            asked
        };
        let protocol = text(port, "/protocol").to_owned();
        if !seen.insert((protocol.clone(), node_port)) {
            let why = format!("duplicate nodePort: {{{protocol} {node_port}}}");
            return Err(Refused::Exhausted(why));
        }
        service["spec"]["ports"][index]["nodePort"] = node_port.into();
    }
    Ok(())
}

fn health_check(picker: &mut Picker<'_>, service: &mut Value, had: &[u16]) -> Result<(), Refused> {
    let asked = int(service, "/spec/healthCheckNodePort");
    if had.iter().any(|port| i64::from(*port) == asked) {
        return Ok(());
    }
    let port = match asked {
        0 => picker.any("a HealthCheck NodePort")?,
        asked => picker.take(asked).map_err(|why| {
            Refused::Exhausted(format!(
                "failed to allocate requested HealthCheck NodePort {asked}: {why}"
            ))
        })?,
    };
    service["spec"]["healthCheckNodePort"] = port.into();
    Ok(())
}

/// Picks ports that nobody has.
struct Picker<'a> {
    is_taken: &'a dyn Fn(u16) -> bool,
    taken: &'a mut Vec<u16>,
}

// === impl Picker ===

impl Picker<'_> {
    fn is_free(&self, port: u16) -> bool {
        !(self.is_taken)(port) && !self.taken.contains(&port)
    }

    /// That port, or why not.
    fn take(&mut self, port: i64) -> Result<i64, String> {
        let inside = u16::try_from(port).ok().filter(|port| (FIRST..=LAST).contains(port));
        let number = inside.ok_or_else(|| {
            let why = "provided port is not in the valid range. The range of valid ports is";
            format!("{why} {FIRST}-{LAST}")
        })?;
        if !self.is_free(number) {
            return Err("provided port is already allocated".to_owned());
        }
        self.taken.push(number);
        Ok(port)
    }

    /// Any port: from a random place on in the upper part, then in the lower.
    fn any(&mut self, what: &str) -> Result<i64, Refused> {
        let (random, _) = uuid::Uuid::new_v4().as_u64_pair();
        let part = |from: u16, to: u16| {
            let size = to - from;
            let start = u16::try_from(random % u64::from(size)).unwrap_or_default();
            (0..size).map(move |step| from + (start + step) % size)
        };
        let mut places = part(FIRST + LOWER, LAST + 1).chain(part(FIRST, FIRST + LOWER));
        let found = places.find(|port| self.is_free(*port));
        let port = found.ok_or_else(|| Refused::Exhausted(format!("failed to allocate {what}: range is full")))?;
        self.taken.push(port);
        Ok(i64::from(port))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn filled(spec: Value, old: Option<Value>, is_taken: &dyn Fn(u16) -> bool) -> Result<(Vec<i64>, usize), String> {
        let mut service = json!({ "spec": spec });
        let old = old.map(|spec| json!({ "spec": spec }));
        let mut taken = Vec::new();
        let mut picker = Picker {
            is_taken,
            taken: &mut taken,
        };
        match fill_from(&mut picker, &mut service, old.as_ref()) {
            Ok(()) => Ok((
                list(&service, "/spec/ports")
                    .iter()
                    .map(|p| int(p, "/nodePort"))
                    .collect(),
                taken.len(),
            )),
            Err(Refused::Fields(errors)) => Err(errors[0].to_string()),
            Err(Refused::Exhausted(why)) => Err(why),
        }
    }

    #[test]
    fn new_services_get_ports() {
        let dns = json!({ "type": "NodePort", "ports": [{ "port": 53, "protocol": "TCP" }, { "port": 53, "protocol": "UDP" }, { "port": 80 }] });
        let (ports, taken) = filled(dns, None, &|_| false).expect("there are free ports");
        assert_eq!((ports[0] == ports[1], ports[2] != ports[0], taken), (true, true, 2));
        assert!(ports.iter().all(|port| (30_086..=32_767).contains(port)), "{ports:?}");
        let asked = json!({ "type": "NodePort", "ports": [{ "port": 80, "nodePort": 30_007 }] });
        assert_eq!(filled(asked.clone(), None, &|_| false), Ok((vec![30_007], 1)));
        assert_eq!(
            filled(asked, None, &|port| port == 30_007),
            Err("spec.ports[0].nodePort: Invalid value: 30007: provided port is already allocated".to_owned())
        );
        let outside = json!({ "type": "NodePort", "ports": [{ "port": 80, "nodePort": 80 }] });
        assert_eq!(
            filled(outside, None, &|_| false),
            Err("spec.ports[0].nodePort: Invalid value: 80: provided port is not in the valid range. The range of valid ports is 30000-32767".to_owned())
        );
        let none = json!({ "type": "LoadBalancer", "allocateLoadBalancerNodePorts": false, "ports": [{ "port": 80 }] });
        assert_eq!(filled(none, None, &|_| false), Ok((vec![0], 0)));
        assert_eq!(
            filled(json!({ "type": "NodePort", "ports": [{ "port": 80 }] }), None, &|_| {
                true
            }),
            Err("failed to allocate a nodePort: range is full".to_owned())
        );
    }

    #[test]
    fn changed_services_keep_ports() {
        let old = json!({ "type": "NodePort", "ports": [{ "port": 80, "nodePort": 30_007 }] });
        let new = json!({ "type": "NodePort", "ports": [{ "port": 80, "nodePort": 30_007 }, { "port": 81 }] });
        let (ports, taken) = filled(new, Some(old), &|port| port == 30_007).expect("there are free ports");
        assert_eq!((ports[0], taken), (30_007, 1));
    }

    #[test]
    fn local_load_balancers_have_a_health_check() {
        let spec = json!({ "type": "LoadBalancer", "externalTrafficPolicy": "Local", "allocateLoadBalancerNodePorts": true, "ports": [{ "port": 80 }] });
        assert_eq!(filled(spec, None, &|_| false).map(|(_, taken)| taken), Ok(2));
    }
}
