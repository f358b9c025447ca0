//! Words that stand in objects, queries and images' names: selectors, quantities, schedules, addresses, references. What can be
//! written again is read again as the same.

use crate::{Target, choice, chosen};
use api::addresses::{self, Cidr};
use api::kinds::cron_job::schedule::Schedule;
use api::quantity::Quantity;
use api::selector::{FieldSelector, LabelSelector};
use api::{KINDS, names};
use oci::Reference;
use serde_json::json;

/// What kind of word, and the word.
pub const TARGET: Target = Target {
    name: "words",
    seeds,
    run,
};

/// Good words of each kind.
const WORDS: [&[&str]; 7] = [
    &[
        "app in (a,b),x!=y,!z,w notin (v),q==r,n>5,m<7,k",
        "example.com/a=",
        "a in (,b)",
    ],
    &[
        "metadata.name=a,status.phase!=Running,spec.nodeName==",
        "metadata.namespace=a\\,b",
    ],
    &["1", "100m", "1.5Gi", "-2e3", "12E", ".5", "1n", "+1Ki"],
    &[
        "*/5 0-3 1,15 jan-mar mon",
        "@every 1h30m",
        "@daily",
        "TZ=Europe/Berlin 0 0 * * ?",
    ],
    &["10.0.0.0/8", "fd00::/64", "0.0.0.0/0", "::/0"],
    &[
        "busybox",
        "registry.test:5000/a/b_c:1.0",
        "a@sha256:0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef",
        "[::1]:5000/a",
    ],
    &["a-b.c", "example.com/a", "A_B", "*.example.com", "kubernetes.io/x"],
];

fn seeds() -> Vec<Vec<u8>> {
    let kinds = WORDS.iter().enumerate();
    kinds
        .flat_map(|(kind, words)| words.iter().map(move |word| chosen(&[kind], word.as_bytes())))
        .collect()
}

fn run(bytes: &[u8]) -> bool {
    let Some((kind, bytes)) = choice(bytes, WORDS.len()) else {
        return false;
    };
    let Ok(text) = std::str::from_utf8(bytes) else {
        return false;
    };
    match kind {
        0 => label_selector(text),
        1 => KINDS.iter().filter(|kind| field_selector(text, kind)).count() > 0,
        2 => quantity(text),
        3 => Schedule::parse(text).is_ok(),
        4 => cidr(text),
        5 => reference(text),
        _ => name(text),
    }
}

fn label_selector(text: &str) -> bool {
    let Ok(selector) = LabelSelector::parse(text) else {
        return false;
    };
    selector.matches(&json!({"metadata": {"labels": {"app": "a", "n": "6"}}}));
    let written = selector.to_string();
    assert_eq!(
        LabelSelector::parse(&written).as_ref(),
        Ok(&selector),
        "written as {written:?}"
    );
    true
}

fn field_selector(text: &str, rules: &'static api::Rules) -> bool {
    let Ok(selector) = FieldSelector::parse(text, rules) else {
        return false;
    };
    selector.matches(&json!({"metadata": {"name": "a", "namespace": "b"}}));
    true
}

fn quantity(text: &str) -> bool {
    let Ok(quantity) = Quantity::parse(text) else {
        return false;
    };
    let _ = (
        quantity.millis(),
        quantity.units(),
        quantity.is_zero(),
        quantity.is_negative(),
    );
    let written = quantity.to_string();
    let again = Quantity::parse(&written).unwrap_or_else(|error| panic!("written as {written}: {error}"));
    assert_eq!(again.to_string(), written);
    true
}

fn cidr(text: &str) -> bool {
    let _ = (
        addresses::family(text),
        addresses::canonical_ip(text),
        addresses::special_ip(text),
    );
    let Some(cidr) = Cidr::parse(text) else { return false };
    assert!(
        cidr.contains(cidr.first()) && cidr.contains(cidr.last()),
        "{text} does not hold its own ends"
    );
    true
}

fn reference(text: &str) -> bool {
    let Ok(reference) = text.parse::<Reference>() else {
        return false;
    };
    let written = reference.to_string();
    assert_eq!(
        written.parse::<Reference>().as_ref(),
        Ok(&reference),
        "written as {written}"
    );
    true
}

fn name(text: &str) -> bool {
    type Check = fn(&str) -> Vec<String>;
    const CHECKS: [Check; 13] = [
        names::dns1123_label,
        names::dns1123_subdomain,
        names::dns1035_label,
        names::qualified_name,
        names::label_value,
        names::config_key,
        names::env_name,
        names::wildcard_subdomain,
        names::domain_prefixed_path,
        names::c_identifier,
        names::path_segment,
        names::port_name,
        |text| names::qualified_domain(text, 2).into_iter().collect(),
    ];
    CHECKS.iter().filter(|check| check(text).is_empty()).count() > 0
}
