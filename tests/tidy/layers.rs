//! Edges between rooms point down: the layers of ARCHITECTURE.md's code map.

use crate::{assert_none, metadata};

/// A room's layer. `image` stands a half step below `qemu`, which boots what it builds.
const LAYERS: &[(&str, u32)] = &[
    ("linux", 0),
    ("proto", 0),
    ("init-protocol", 0),
    ("config", 0),
    ("api", 10),
    ("identity", 10),
    ("store", 10),
    ("oci", 10),
    ("spdy", 10),
    ("client", 20),
    ("machine-client", 20),
    ("sandbox", 20),
    ("net", 20),
    ("machine-client", 20),
    ("pod-init", 30),
    ("scheduler", 30),
    ("controllers", 30),
    ("server", 30),
    ("init", 40),
    ("agent", 40),
    ("control", 40),
    ("image", 40),
    ("qemu", 45),
    ("cli", 50),
    ("tests", 50),
    ("fuzz", 50),
    ("bench", 50),
];

/// These run without the network's or a kind's knowledge (invariants 2, 3 and 5): what they must never depend on.
const FORBIDDEN: &[(&str, &[&str])] = &[
    ("linux", &["k8s-openapi", "tokio"]),
    ("sandbox", &["k8s-openapi", "api", "client"]),
    ("oci", &["k8s-openapi", "api", "client"]),
    ("spdy", &["k8s-openapi", "api", "client", "tokio"]),
    ("net", &["k8s-openapi", "api", "client"]),
    ("store", &["k8s-openapi", "api", "client"]),
    ("init", &["tokio", "serde", "serde_json", "toml", "hyper"]),
    ("pod-init", &["tokio"]),
    ("api", &["tokio", "hyper", "getrandom", "uuid"]),
    ("scheduler", &["store", "server"]),
    ("controllers", &["store", "server"]),
    ("agent", &["store", "server"]),
];

fn rooms() -> Vec<(String, Vec<String>)> {
    let metadata = metadata(&["--no-deps"]);
    let text = |value: &serde_json::Value| value.as_str().unwrap_or_default().to_owned();
    let normal = |dependency: &&serde_json::Value| dependency["kind"].is_null();
    let packages = metadata["packages"].as_array().cloned().unwrap_or_default();
    let edges = |package: &serde_json::Value| {
        let list = package["dependencies"].as_array().cloned().unwrap_or_default();
        list.iter()
            .filter(normal)
            .map(|dependency| text(&dependency["name"]))
            .collect()
    };
    packages
        .iter()
        .map(|package| (text(&package["name"]), edges(package)))
        .collect()
}

fn layer(room: &str) -> Option<u32> {
    LAYERS.iter().find(|(name, _)| *name == room).map(|(_, layer)| *layer)
}

#[test]
fn every_edge_between_rooms_points_down() {
    let mut findings = Vec::new();
    for (room, dependencies) in rooms() {
        let Some(from) = layer(&room) else {
            findings.push(format!("{room} has no layer: give it one here and in ARCHITECTURE.md"));
            continue;
        };
        let up = |name: &&String| layer(name).is_some_and(|to| to >= from);
        findings.extend(dependencies.iter().filter(up).map(|to| format!("{room} → {to}")));
    }
    assert_none("edges that do not point down", &findings);
}

#[test]
fn rooms_do_not_know_what_they_must_not() {
    let mut findings = Vec::new();
    for (room, dependencies) in rooms() {
        let forbidden = FORBIDDEN
            .iter()
            .filter(|(name, _)| *name == room)
            .flat_map(|(_, list)| list.iter());
        let met = forbidden.filter(|name| dependencies.iter().any(|dependency| dependency == **name));
        findings.extend(met.map(|name| format!("{room} → {name}")));
    }
    assert_none("dependencies that an invariant forbids", &findings);
}
