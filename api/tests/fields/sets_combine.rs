//! Sets of fields: how they are written, what they are of two objects, how they combine.

use crate::view;
use api::fields::{Element, collect, compare, from_fields, merge, remove, to_fields};
use serde_json::json;

#[test]
fn sets_are_written_and_read_in_upstreams_order() {
    for (text, canonical) in [
        (r#"{}"#, None),
        (r#"{"f:a":{}}"#, None),
        (r#"{"f:a":{".":{},"f:b":{}},"f:c":{}}"#, None),
        (
            r#"{"f:l":{"k:{\"port\":80,\"protocol\":\"TCP\"}":{".":{},"f:port":{}},"v:\"x\"":{},"i:1":{}}}"#,
            None,
        ),
        (r#"{"f:b":{},"f:a":{}}"#, Some(r#"{"f:a":{},"f:b":{}}"#)),
        (
            r#"{"f:l":{"v:2":{},"v:10":{},"v:\"a\"":{}}}"#,
            Some(r#"{"f:l":{"v:2":{},"v:10":{},"v:\"a\"":{}}}"#),
        ),
        (
            r#"{"f:l":{"k:{ \"b\": 1, \"a\": \"<\" }":{}}}"#,
            Some(r#"{"f:l":{"k:{\"a\":\"\\u003c\",\"b\":1}":{}}}"#),
        ),
        (r#"{"x:future":{},"f:a":{}}"#, Some(r#"{"f:a":{}}"#)),
    ] {
        let set = from_fields(&serde_json::from_str(text).unwrap()).unwrap();
        assert_eq!(to_fields(&set).to_string(), canonical.unwrap_or(text), "{text}");
    }
    for bad in [
        r#"{"f":{}}"#,
        r#"{"fa:":{}}"#,
        r#"{"f:a":1}"#,
        r#"{"k:x":{}}"#,
        r#"{"i:x":{}}"#,
        "[]",
    ] {
        assert!(from_fields(&serde_json::from_str(bad).unwrap()).is_err(), "{bad}");
    }
}

#[test]
fn sets_combine() {
    let set = |text: &str| from_fields(&serde_json::from_str(text).unwrap()).unwrap();
    let (a, b) = (
        set(r#"{"f:a":{".":{},"f:b":{"f:c":{}}},"f:d":{}}"#),
        set(r#"{"f:a":{"f:b":{}},"f:d":{},"f:e":{}}"#),
    );
    assert_eq!(
        a.union(&b),
        set(r#"{"f:a":{".":{},"f:b":{".":{},"f:c":{}}},"f:d":{},"f:e":{}}"#)
    );
    assert_eq!(a.intersection(&b), set(r#"{"f:d":{}}"#));
    assert_eq!(a.difference(&b), set(r#"{"f:a":{".":{},"f:b":{"f:c":{}}}}"#));
    assert_eq!(a.recursive_difference(&b), set(r#"{"f:a":{}}"#));
    assert_eq!(a.leaves(), set(r#"{"f:a":{"f:b":{"f:c":{}}},"f:d":{}}"#));
    let path: Vec<Element> = ["a", "b", "c"].iter().map(|n| Element::field(n)).collect();
    assert!(a.has(&path) && !a.has(&path[..2]) && a.has(&path[..1]) && !a.has(&[]));
    // A struct's field that has something below it becomes a member; a map's key does not.
    let labels = set(
        r#"{"f:metadata":{"f:labels":{"f:x":{}}},"f:spec":{"f:containers":{"k:{\"name\":\"c\"}":{"f:image":{}}}}}"#,
    );
    assert_eq!(
        to_fields(&labels.with_named_fields(view("Pod"))).to_string(),
        r#"{"f:metadata":{".":{},"f:labels":{".":{},"f:x":{}}},"f:spec":{".":{},"f:containers":{".":{},"k:{\"name\":\"c\"}":{"f:image":{}}}}}"#
    );
}

#[test]
fn values_merge_and_lose_fields() {
    let (old, new) = (
        json!({ "data": { "a": "1", "b": "2" } }),
        json!({ "data": { "b": "3", "c": "4" } }),
    );
    let view = view("ConfigMap");
    assert_eq!(
        merge(view, &old, &new).unwrap(),
        json!({ "data": { "a": "1", "b": "3", "c": "4" } })
    );
    let changes = compare(view, &old, &new).unwrap();
    assert_eq!(
        [&changes.removed, &changes.modified, &changes.added].map(|s| to_fields(s).to_string()),
        [
            r#"{"f:data":{"f:a":{}}}"#,
            r#"{"f:data":{"f:b":{}}}"#,
            r#"{"f:data":{"f:c":{}}}"#
        ]
    );
    assert_eq!(remove(view, &old, &collect(view, &old).unwrap()), json!({ "data": {} }));
}
