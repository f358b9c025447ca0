//! Licences and banned crates, by the lists in deny.toml: the part of `cargo deny` that needs neither it nor a network.

use crate::{assert_none, metadata, workspace};

/// The strings of the array `name` in deny.toml; crates of a ban are written `{ crate = "name", … }`.
fn list(name: &str) -> Vec<String> {
    let text = std::fs::read_to_string(workspace().join("deny.toml")).expect("deny.toml is part of the checkout");
    let begin = text
        .find(&format!("\n{name} = ["))
        .unwrap_or_else(|| panic!("deny.toml has no list {name}"));
    let body = &text[begin..];
    let body = &body[..body
        .find("\n]")
        .unwrap_or_else(|| panic!("the list {name} in deny.toml has no end"))];
    let quoted = |line: &str| line.split('"').nth(1).map(str::to_owned);
    body.lines()
        .skip(2)
        .filter(|line| !line.trim_start().starts_with('#'))
        .filter_map(quoted)
        .collect()
}

fn packages() -> Vec<serde_json::Value> {
    let metadata = metadata(&["--filter-platform", "x86_64-unknown-linux-gnu", "--all-features"]);
    metadata["packages"].as_array().cloned().unwrap_or_default()
}

/// Whether an SPDX expression can be met with the allowed licences; `AND` binds, `OR` and the old `/` offer a choice.
fn is_allowed(expression: &str, allowed: &[String]) -> bool {
    let expression = expression.replace('/', " OR ").replace(['(', ')'], " ");
    let is_one = |licence: &str| allowed.iter().any(|allowed| allowed == licence.trim());
    expression.split(" AND ").all(|part| part.split(" OR ").any(is_one))
}

#[test]
fn every_licence_is_permissive() {
    let allowed = list("allow");
    let mut findings = Vec::new();
    for package in packages() {
        let licence = package["license"].as_str().unwrap_or_default();
        if !is_allowed(licence, &allowed) {
            findings.push(format!("{} {}: {licence:?}", package["name"], package["version"]));
        }
    }
    assert_none("dependencies whose licence deny.toml does not allow", &findings);
}

#[test]
fn no_banned_crate_is_in_the_tree() {
    let banned = list("deny");
    assert!(
        banned.iter().any(|name| name == "aws-lc-sys"),
        "deny.toml bans nothing that it should: {banned:?}"
    );
    let present = packages();
    let name = |package: &serde_json::Value| package["name"].as_str().unwrap_or_default().to_owned();
    let findings: Vec<_> = present.iter().map(name).filter(|name| banned.contains(name)).collect();
    assert_none("banned crates", &findings);
}

#[test]
fn expressions_are_read_as_spdx_means_them() {
    let allowed = ["MIT".to_owned(), "Apache-2.0".to_owned()];
    for (expression, expected) in [
        ("MIT", true),
        ("MIT OR GPL-3.0", true),
        ("MIT/GPL-3.0", true),
        ("MIT AND GPL-3.0", false),
        ("(MIT OR GPL-3.0) AND Apache-2.0", true),
        ("", false),
    ] {
        assert_eq!(is_allowed(expression, &allowed), expected, "{expression}");
    }
}
