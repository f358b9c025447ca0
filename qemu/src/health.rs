//! The one definition of a healthy cluster, for tests, for `cluster up` and for `pintlectl health`.
//!
//! Every machine's API answers and says that it runs, the API server says that it is ready, and every machine that
//! runs pods is a Ready node.

use crate::kubernetes::Kubernetes;
use machine_client::{Credentials, IdentityFile, MachineAddress, connect, explain};
use proto::machine::v1::{GetInfoRequest, Stage};
use std::time::Duration;

/// A machine that is up answers at once; one that is booting refuses at once.
const MACHINE_DEADLINE: Duration = Duration::from_secs(10);

/// What was found; nothing is judged yet.
#[derive(Debug)]
pub struct Findings {
    /// Every machine by name.
    pub machines: Vec<(String, Result<MachineFinding, String>)>,
    /// What `/readyz` said.
    pub api_server: Result<(), String>,
    /// Every node by name, and whether it is Ready.
    pub nodes: Result<Vec<(String, bool)>, String>,
}

/// What a machine said of itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MachineFinding {
    /// Where it is in its life.
    pub stage: Stage,
    /// Whether it shall be a node.
    pub runs_pods: bool,
}

/// Ask everybody, once.
pub async fn examine(identity: &IdentityFile, kubernetes: &Kubernetes) -> Findings {
    let mut machines = Vec::new();
    for machine in &identity.machines {
        let asked = tokio::time::timeout(MACHINE_DEADLINE, ask(identity, machine)).await;
        let late = |_| Err(format!("no answer in {MACHINE_DEADLINE:?}"));
        machines.push((machine.name.clone(), asked.unwrap_or_else(late)));
    }
    Findings {
        machines,
        api_server: ready(kubernetes).await,
        nodes: nodes(kubernetes).await,
    }
}

// === impl Findings ===

impl Findings {
    /// What keeps the cluster from being healthy, a sentence each; none when it is.
    pub fn problems(&self) -> Vec<String> {
        let mut problems = Vec::new();
        for (name, finding) in &self.machines {
            problems.extend(machine_problem(name, finding));
        }
        if let Err(why) = &self.api_server {
            problems.push(format!("the API server is not ready: {why}"));
        }
        match &self.nodes {
            Err(why) => problems.push(format!("cannot list nodes: {why}")),
            Ok(nodes) => problems.extend(self.expected_nodes().filter_map(|name| node_problem(name, nodes))),
        }
        problems
    }

    fn expected_nodes(&self) -> impl Iterator<Item = &str> {
        let runs_pods = |finding: &Result<MachineFinding, String>| finding.as_ref().is_ok_and(|found| found.runs_pods);
        let expected = self.machines.iter().filter(move |(_, finding)| runs_pods(finding));
        expected.map(|(name, _)| name.as_str())
    }
}

fn machine_problem(name: &str, finding: &Result<MachineFinding, String>) -> Option<String> {
    match finding {
        Err(why) => Some(format!("machine {name} does not answer: {why}")),
        Ok(found) => match found.stage {
            Stage::Running => None,
            Stage::Unspecified => Some(format!("machine {name} does not say what it does")),
            Stage::Maintenance => Some(format!("machine {name} has no config and waits for one")),
            Stage::Booting => Some(format!("machine {name} is still booting")),
        },
    }
}

fn node_problem(name: &str, nodes: &[(String, bool)]) -> Option<String> {
    match nodes.iter().find(|(node, _)| node == name) {
        None => Some(format!("node {name} is not registered")),
        Some((_, false)) => Some(format!("node {name} is not Ready")),
        Some((_, true)) => None,
    }
}

async fn ask(identity: &IdentityFile, machine: &MachineAddress) -> Result<MachineFinding, String> {
    let connection = connect(machine, Credentials::Identity(identity)).await;
    let mut info = connection.map_err(|error| error.to_string())?.info();
    let info = info
        .get(GetInfoRequest {})
        .await
        .map_err(|status| explain(&status))?
        .into_inner();
    Ok(MachineFinding {
        stage: info.stage(),
        runs_pods: info.roles.iter().any(|role| role == "worker"),
    })
}

async fn ready(kubernetes: &Kubernetes) -> Result<(), String> {
    let reply = kubernetes.get("/readyz").await.map_err(|error| format!("{error:#}"))?;
    match reply.status.is_success() {
        true => Ok(()),
        false => Err(format!("/readyz says {}: {}", reply.status, reply.message())),
    }
}

async fn nodes(kubernetes: &Kubernetes) -> Result<Vec<(String, bool)>, String> {
    let list = kubernetes
        .object("/api/v1/nodes")
        .await
        .map_err(|error| format!("{error:#}"))?;
    let items = list["items"].as_array().map(Vec::as_slice).unwrap_or_default();
    let node = |item: &serde_json::Value| {
        let conditions = item["status"]["conditions"]
            .as_array()
            .map(Vec::as_slice)
            .unwrap_or_default();
        let is_ready = conditions.iter().any(|c| c["type"] == "Ready" && c["status"] == "True");
        (
            item["metadata"]["name"].as_str().unwrap_or_default().to_owned(),
            is_ready,
        )
    };
    Ok(items.iter().map(node).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn machine(name: &str, stage: Stage, runs_pods: bool) -> (String, Result<MachineFinding, String>) {
        (name.to_owned(), Ok(MachineFinding { stage, runs_pods }))
    }

    fn findings() -> Findings {
        Findings {
            machines: vec![machine("a", Stage::Running, true), machine("b", Stage::Running, false)],
            api_server: Ok(()),
            nodes: Ok(vec![("a".to_owned(), true)]),
        }
    }

    #[test]
    fn all_well() {
        assert!(findings().problems().is_empty());
    }

    #[test]
    fn each_part_can_be_ill() {
        let ill = |change: fn(&mut Findings)| {
            let mut findings = findings();
            change(&mut findings);
            findings.problems().join("; ")
        };
        for (change, expected) in [
            (
                (|f| f.machines[0].1 = Err("refused".to_owned())) as fn(&mut Findings),
                "machine a does not answer: refused",
            ),
            (
                |f| f.machines[1] = machine("b", Stage::Booting, false),
                "machine b is still booting",
            ),
            (
                |f| f.machines[1] = machine("b", Stage::Running, true),
                "node b is not registered",
            ),
            (
                |f| f.api_server = Err("starting".to_owned()),
                "the API server is not ready: starting",
            ),
            (|f| f.nodes = Ok(vec![("a".to_owned(), false)]), "node a is not Ready"),
            (|f| f.nodes = Err("refused".to_owned()), "cannot list nodes: refused"),
        ] {
            assert_eq!(ill(change), expected);
        }
    }
}
