//! CPUs of their own for containers of Guaranteed pods that ask for whole ones: which, is chosen here purely (upstream:
//! pkg/kubelet/cm/cpumanager, the static policy).

use super::plan::requests::Of;
use super::spec::{Qos, is_sidecar, qos};
use k8s_openapi::api::core::v1::{Container, PodSpec};
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

/// Numbers of CPUs.
pub type Set = BTreeSet<u32>;

/// A CPU, and what it shares with others.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cpu {
    /// Its number.
    pub number: u32,
    /// Its core, the same number for each thread of it.
    pub core: u32,
    /// Its socket.
    pub package: u32,
}

/// A machine's CPUs; none of them where nobody gets any of its own.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Cpus {
    /// Those that containers may have for themselves.
    pub assignable: Vec<Cpu>,
    /// Those that always stay with everybody.
    pub reserved: Vec<Cpu>,
}

// === impl Cpus ===

impl Cpus {
    /// The machine's, so many of them reserved: those with the lowest numbers.
    pub fn of_machine(reserved: usize) -> Self {
        let all = parse(&text(Path::new("/sys/devices/system/cpu/online")));
        let mut all: Vec<Cpu> = all.into_iter().map(Cpu::look).collect();
        let assignable = all.split_off(reserved.min(all.len()));
        Self {
            assignable,
            reserved: all,
        }
    }

    /// Whether anybody gets any.
    pub fn is_used(&self) -> bool {
        !self.assignable.is_empty()
    }

    /// What everybody shares while these are taken.
    pub fn shared(&self, taken: &Set) -> Set {
        let free = self.free(taken);
        self.reserved.iter().chain(&free).map(|cpu| cpu.number).collect()
    }

    fn free(&self, taken: &Set) -> Vec<Cpu> {
        let free = self.assignable.iter().filter(|cpu| !taken.contains(&cpu.number));
        free.copied().collect()
    }

    /// CPUs for each container of a pod that gets any; an error is upstream's sentence.
    pub fn choose(&self, spec: &PodSpec, taken: &Set) -> Result<BTreeMap<String, Set>, String> {
        let mut chosen = BTreeMap::new();
        let mut taken = taken.clone();
        // A core of which a part is reserved is not whole.
        let all = [self.reserved.as_slice(), &self.assignable].concat();
        for (container, count) in wanting(spec).filter(|_| self.is_used()) {
            let free = self.free(&taken);
            let set = nearest(&free, &all, count).ok_or_else(|| {
                let available = free.len();
                format!(
                    "Allocate failed due to not enough cpus available to satisfy request: requested={count}, available={available}, which is unexpected"
                )
            })?;
            taken.extend(&set);
            chosen.insert(container.name.clone(), set);
        }
        Ok(chosen)
    }
}

// === impl Cpu ===

impl Cpu {
    fn look(number: u32) -> Self {
        let folder = format!("/sys/devices/system/cpu/cpu{number}/topology");
        let read = |name: &str| text(&Path::new(&folder).join(name)).trim().parse().ok();
        Self {
            number,
            core: read("core_id").unwrap_or(number),
            package: read("physical_package_id").unwrap_or(0),
        }
    }
}

/// Containers and sidecars that get CPUs of their own, and how many.
fn wanting(spec: &PodSpec) -> impl Iterator<Item = (&Container, usize)> {
    let is_guaranteed = qos(spec) == Qos::Guaranteed;
    let sidecars = spec.init_containers.iter().flatten().filter(|init| is_sidecar(init));
    let all = spec.containers.iter().chain(sidecars).filter(move |_| is_guaranteed);
    all.filter_map(|container| {
        let milli = Of::Requests.of(container, "cpu")?;
        let count = usize::try_from(milli / 1000).ok().filter(|count| *count > 0)?;
        (milli % 1000 == 0).then_some((container, count))
    })
}

/// Whole sockets where so many are wanted, then whole cores, then threads of cores that are begun already.
fn nearest(free: &[Cpu], all: &[Cpu], count: usize) -> Option<Set> {
    if free.len() < count {
        return None;
    }
    let mut chosen = Set::new();
    let whole = |chosen: &mut Set, key: fn(&Cpu) -> (u32, u32)| {
        for part in all.iter().map(key).collect::<BTreeSet<_>>() {
            let of = |cpus: &[Cpu]| -> Vec<u32> {
                let part = cpus
                    .iter()
                    .filter(|cpu| key(cpu) == part && !chosen.contains(&cpu.number));
                part.map(|cpu| cpu.number).collect()
            };
            let (its, its_free) = (of(all), of(free));
            if !its.is_empty() && its == its_free && its.len() <= count - chosen.len() {
                chosen.extend(its);
            }
        }
    };
    whole(&mut chosen, |cpu| (cpu.package, 0));
    whole(&mut chosen, |cpu| (cpu.package, cpu.core));
    let mut rest: Vec<&Cpu> = free.iter().filter(|cpu| !chosen.contains(&cpu.number)).collect();
    let siblings = |cpu: &Cpu| {
        free.iter()
            .filter(|other| (other.package, other.core) == (cpu.package, cpu.core))
            .count()
    };
    rest.sort_by_key(|cpu| (siblings(cpu), cpu.number));
    let lacking = count - chosen.len();
    chosen.extend(rest.into_iter().take(lacking).map(|cpu| cpu.number));
    Some(chosen)
}

/// As the kernel writes sets, e.g. `0-1,4`.
pub fn list(set: &Set) -> String {
    let mut ranges: Vec<(u32, u32)> = Vec::new();
    for cpu in set {
        match ranges.last_mut() {
            Some((_, last)) if *last + 1 == *cpu => *last = *cpu,
            Some(_) | None => ranges.push((*cpu, *cpu)),
        }
    }
    let print = |(first, last): (u32, u32)| match first == last {
        true => first.to_string(),
        false => format!("{first}-{last}"),
    };
    ranges.into_iter().map(print).collect::<Vec<_>>().join(",")
}

/// The same, read; what is no number is left out.
pub fn parse(list: &str) -> Set {
    let ranges = list.trim().split(',').filter_map(|range| {
        let (first, last) = range.split_once('-').unwrap_or((range, range));
        Some(first.parse::<u32>().ok()?..=last.parse::<u32>().ok()?)
    });
    ranges.flatten().collect()
}

fn text(path: &Path) -> String {
    fs::read_to_string(path).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    /// Two sockets of two cores of two threads: siblings are four apart, as firmware likes to number them.
    fn machine() -> Cpus {
        let cpu = |number: u32| Cpu {
            number,
            core: number % 2,
            package: number / 2 % 2,
        };
        Cpus {
            assignable: (1..8).map(cpu).collect(),
            reserved: vec![cpu(0)],
        }
    }

    fn spec(containers: Value) -> PodSpec {
        serde_json::from_value(json!({"containers": containers})).unwrap()
    }

    fn whole(name: &str, cpu: &str) -> Value {
        json!({"name": name, "resources": {"limits": {"cpu": cpu, "memory": "1Mi"}}})
    }

    #[test]
    fn whole_parts_are_given_before_pieces() {
        let cpus = machine();
        let given = |count: &str, taken: &[u32]| {
            let taken = taken.iter().copied().collect();
            cpus.choose(&spec(json!([whole("a", count)])), &taken)
                .map(|all| list(&all["a"]))
        };
        assert_eq!(given("4", &[]).unwrap(), "2-3,6-7", "a socket");
        assert_eq!(given("2", &[]).unwrap(), "1,5", "a core");
        assert_eq!(
            given("1", &[]).unwrap(),
            "4",
            "the core that is begun: its other thread is reserved"
        );
        assert_eq!(given("2", &[1, 5]).unwrap(), "2,6");
        assert_eq!(given("7", &[]).unwrap(), "1-7");
        let why = "Allocate failed due to not enough cpus available to satisfy request: requested=7, available=6, which is unexpected";
        assert_eq!(given("7", &[3]).unwrap_err(), why);
        assert_eq!(list(&cpus.shared(&[2, 3].into())), "0-1,4-7");
    }

    #[test]
    fn only_whole_cpus_of_guaranteed_pods_are_their_own() {
        let cpus = machine();
        let names = |containers: Value| -> Vec<String> {
            let chosen = cpus.choose(&spec(containers), &Set::new()).unwrap();
            chosen.into_keys().collect()
        };
        assert_eq!(
            names(json!([whole("a", "1"), whole("b", "1500m"), whole("c", "2")])),
            ["a", "c"]
        );
        let burstable = json!({"name": "b", "resources": {"requests": {"cpu": "1"}}});
        assert!(names(json!([whole("a", "1"), burstable])).is_empty());
        let chosen = Cpus::default().choose(&spec(json!([whole("a", "1")])), &Set::new());
        assert!(chosen.unwrap().is_empty());
    }

    #[test]
    fn sets_survive_their_lists() {
        for text in ["", "3", "0-2,5,7-8"] {
            assert_eq!(list(&parse(text)), text);
        }
        assert_eq!(parse("x,1-\n"), Set::new());
    }
}
