//! CPUs of their own for containers of Guaranteed pods that ask for whole ones: which, is chosen here purely (upstream:
//! pkg/kubelet/cm/cpumanager, the static policy).

use super::plan::requests::Of;
use super::spec::{Qos, is_sidecar, qos};
use super::topology::{Hints, Nodes, Topology};
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
    /// The NUMA node whose memory is its own.
    pub node: u32,
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
        for (container, count) in wanting(spec).filter(|_| self.is_used()) {
            let set = self.choose_near(count, &taken, None)?;
            taken.extend(&set);
            chosen.insert(container.name.clone(), set);
        }
        Ok(chosen)
    }

    /// So many CPUs, as many of them as can be from `near`.
    pub fn choose_near(&self, count: usize, taken: &Set, near: Option<Nodes>) -> Result<Set, String> {
        // A core of which a part is reserved is not whole.
        let all = [self.reserved.as_slice(), &self.assignable].concat();
        let free = self.free(taken);
        let lacking = || {
            let available = free.len();
            format!(
                "Allocate failed due to not enough cpus available to satisfy request: requested={count}, available={available}, which is unexpected"
            )
        };
        let is_near = |cpu: &&Cpu| near.is_some_and(|near| near.meet(cpu.nodes()));
        let near_free: Vec<Cpu> = free.iter().filter(is_near).copied().collect();
        let first = nearest(&near_free, &all, count.min(near_free.len())).unwrap_or_default();
        let rest: Vec<Cpu> = free
            .iter()
            .filter(|cpu| !first.contains(&cpu.number))
            .copied()
            .collect();
        let rest = nearest(&rest, &all, count - first.len()).ok_or_else(lacking)?;
        Ok(first.union(&rest).copied().collect())
    }

    /// How so many CPUs can be had.
    pub fn hints(&self, topology: &Topology, count: usize, taken: &Set) -> Hints {
        let nodes = |cpus: &[Cpu]| -> Vec<Nodes> { cpus.iter().map(Cpu::nodes).collect() };
        let all = nodes(&self.assignable);
        (count > 0).then(|| topology.hints(&all, &nodes(&self.free(taken)), count))
    }

    /// How many CPUs a container of the pod gets for itself.
    pub fn wish(&self, spec: &PodSpec, container: &str) -> usize {
        let wish = wanting(spec).find(|(wanting, _)| wanting.name == container);
        wish.filter(|_| self.is_used()).map_or(0, |(_, count)| count)
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
            node: node_of(number),
        }
    }

    fn nodes(&self) -> Nodes {
        [self.node].into_iter().collect()
    }
}

/// A kernel without NUMA names no node: there is one.
fn node_of(cpu: u32) -> u32 {
    let links = fs::read_dir(format!("/sys/devices/system/cpu/cpu{cpu}"));
    let names = links.into_iter().flatten().flatten().map(|link| link.file_name());
    let mut numbers = names.filter_map(|name| name.to_str()?.strip_prefix("node")?.parse().ok());
    numbers.next().unwrap_or(0)
}

/// All NUMA nodes of this machine.
pub fn nodes_of_machine() -> Nodes {
    let online = parse(&text(Path::new("/sys/devices/system/node/online")));
    match online.is_empty() {
        true => [0].into_iter().collect(),
        false => online.into_iter().collect(),
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
            node: number / 2 % 2,
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
    fn cpus_come_from_the_nodes_that_were_chosen_as_far_as_they_go() {
        let cpus = machine();
        let near = |count, taken: &[u32], node: u32| {
            let taken = taken.iter().copied().collect();
            list(
                &cpus
                    .choose_near(count, &taken, Some([node].into_iter().collect()))
                    .unwrap(),
            )
        };
        assert_eq!(near(2, &[], 0), "1,5");
        assert_eq!(near(2, &[], 1), "2,6");
        assert_eq!(near(1, &[], 1), "2");
        assert_eq!(near(5, &[], 1), "2-4,6-7", "and one more from the other");
        assert_eq!(near(2, &[2, 3, 6, 7], 1), "1,5");
        let whole = spec(json!([whole("a", "2"), {"name": "b"}]));
        assert_eq!((cpus.wish(&whole, "b"), cpus.wish(&whole, "none")), (0, 0));
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
