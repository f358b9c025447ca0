//! Which files are read, and what is said of the others.

use super::*;

/// A file in YAML with everything, as vendors write them.
const FULL: &str = r#"
cdiVersion: "1.1.0"
kind: vendor.test/gpu.v2
annotations: {vendor.test/note: "x"}
containerEdits:
  env: [DRIVER=1]
  additionalGIDs: [44]
devices:
- name: "0"
  containerEdits:
    deviceNodes:
    - path: /dev/null0
      hostPath: /dev/null
      fileMode: 0640
    mounts: null
- name: all:1
  annotations: {}
  containerEdits:
    env: ["ALL=1"]
    hooks: []
    intelRdt: {enableMonitoring: true, schemata: ["L3:0=1"]}
    netDevices: [{hostInterfaceName: a, name: b}]
    mounts: [{hostPath: /a, containerPath: /a, type: none, options: [bind]}]
"#;

#[test]
fn files_are_json_or_yaml_of_any_version() {
    let spec = Spec::parse(FULL).unwrap();
    assert_eq!(spec.devices.len(), 2);
    assert_eq!(spec.container_edits.additional_gids, [44]);
    assert_eq!(spec.devices[0].container_edits.device_nodes[0].file_mode, Some(0o640));
    // A number where a name is wanted is its digits.
    let numbered = "cdiVersion: 0.5.0\nkind: v.test/c\ndevices: [{name: 7, containerEdits: {env: [A=]}}]";
    assert_eq!(Spec::parse(numbered).unwrap().devices[0].name, "7");
    let written = |version: &str, kind: &str, name: &str, edits: &str| {
        format!(
            "{{\n\t\"cdiVersion\": {version:?}, \"kind\": {kind:?},\n\t\"devices\": [{{\"name\": {name:?}, \"containerEdits\": {edits}}}]}}"
        )
    };
    let variable = r#"{"env": ["A=b"]}"#;
    for (kind, name, edits, since) in [
        ("v.test/c", "d", variable, "0.3.0"),
        (
            "v.test/c",
            "d",
            r#"{"mounts": [{"hostPath": "/a", "containerPath": "/b", "type": "bind"}]}"#,
            "0.4.0",
        ),
        (
            "v.test/c",
            "d",
            r#"{"deviceNodes": [{"path": "/dev/a", "hostPath": "/dev/b"}]}"#,
            "0.5.0",
        ),
        ("v.test/c", "0", variable, "0.5.0"),
        ("v.test/c.d", "d", variable, "0.6.0"),
        ("v.test/c", "d", r#"{"additionalGids": [7]}"#, "0.7.0"),
        ("v.test/c", "d", r#"{"intelRdt": {"enableCMT": true}}"#, "0.7.0"),
        ("v.test/c", "d", r#"{"intelRdt": {"enableMonitoring": true}}"#, "1.1.0"),
    ] {
        let versions = [
            "0.2.0", "0.3.0", "0.4.0", "0.5.0", "0.6.0", "0.7.0", "0.8.0", "1.0.0", "1.1.0",
        ];
        for version in versions {
            let said = Spec::parse(&written(version, kind, name, edits))
                .map(|_| ())
                .map_err(|why| why.to_string());
            let expected = match version < since {
                true => Err(format!("the spec version must be at least v{since}")),
                false => Ok(()),
            };
            assert_eq!(said, expected, "{edits} in {version}");
        }
    }
    assert!(Spec::parse(&written("v0.3.0", "v.test/c", "d", variable)).is_ok());
    assert_eq!(
        Spec::parse(&written("1.2.0", "v.test/c", "d", variable))
            .unwrap_err()
            .to_string(),
        "invalid version \"1.2.0\""
    );
}

/// Each text with a part of what is said of it.
fn are_refused(texts: &[(String, &str)]) {
    let mut wrong = Vec::new();
    for (text, why) in texts {
        let said = Spec::parse(text).map(|_| ()).unwrap_err().to_string();
        if !said.contains(why) || said.is_empty() || said.contains('\n') {
            wrong.push(format!("{text}\n{said}\n{why}"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n\n"));
}

#[test]
fn bad_files_are_refused_in_one_sentence() {
    let with =
        |kind: &str, devices: &str| format!(r#"{{"cdiVersion": "1.0.0", "kind": "{kind}", "devices": [{devices}]}}"#);
    let one = r#"{"name": "d", "containerEdits": {"env": ["A=b"]}}"#;
    are_refused(&[
        (String::new(), "unexpected end of input"),
        ("[]".to_owned(), "expected"),
        ("{".to_owned(), "EOF"),
        ("\0\u{1}\u{2}".to_owned(), ""),
        ("a: &a [*a]".to_owned(), ""),
        (with("", one), "kind \"\" is no vendor/class"),
        (with("vendor", one), "kind \"vendor\" is no vendor/class"),
        (with("/c", one), "kind \"/c\" is no vendor/class"),
        (with("v.test/c/d", one), "invalid class \"c/d\""),
        (with("1v/c", one), "invalid vendor \"1v\""),
        (with("v.test/c-", one), "invalid class \"c-\""),
        (with("v.test/c", ""), "invalid spec, no devices"),
        (with("v.test/c", &format!("{one}, {one}")), "multiple device \"d\""),
        (
            with("v.test/c", r#"{"name": "a b", "containerEdits": {"env": ["A=b"]}}"#),
            "invalid device name \"a b\"",
        ),
        (
            with("v.test/c", r#"{"name": "", "containerEdits": {"env": ["A=b"]}}"#),
            "invalid device name \"\"",
        ),
        (
            with("v.test/c", r#"{"containerEdits": {"env": ["A=b"]}}"#),
            "missing field `name`",
        ),
    ]);
}

#[test]
fn bad_edits_are_refused_in_one_sentence() {
    let edits = |edits: &str| {
        format!(
            r#"{{"cdiVersion": "1.0.0", "kind": "v.test/c", "devices": [{{"name": "d", "containerEdits": {edits}}}]}}"#
        )
    };
    are_refused(&[
        (edits("{}"), "device \"d\": empty device edits"),
        (edits("[]"), ""),
        (
            edits(r#"{"env": ["=b"]}"#),
            "device \"d\": invalid environment variable \"=b\"",
        ),
        (edits(r#"{"env": ["A"]}"#), "invalid environment variable \"A\""),
        (edits(r#"{"env": ["A=\u0000"]}"#), "invalid environment variable"),
        (edits(r#"{"envs": ["A=b"]}"#), "unknown field `envs`"),
        (edits(r#"{"env": ["A=b"], "env": []}"#), "duplicate field `env`"),
        (
            edits(r#"{"deviceNodes": [{"path": ""}]}"#),
            "invalid (empty) device path",
        ),
        (
            edits(r#"{"deviceNodes": [{"path": "/dev/a", "type": "x"}]}"#),
            "invalid type \"x\"",
        ),
        (
            edits(r#"{"deviceNodes": [{"path": "/dev/a", "permissions": "rx"}]}"#),
            "invalid permissions \"rx\"",
        ),
        (edits(r#"{"deviceNodes": [{"path": "/dev/a", "major": -1}]}"#), "-1"),
        (
            edits(r#"{"deviceNodes": [{"path": "/dev/a", "minor": 99999999999}]}"#),
            "99999999999",
        ),
        (
            edits(r#"{"mounts": [{"hostPath": "", "containerPath": "/a"}]}"#),
            "invalid mount, empty host path",
        ),
        (
            edits(r#"{"mounts": [{"hostPath": "/a", "containerPath": ""}]}"#),
            "invalid mount, empty container path",
        ),
        (
            edits(r#"{"hooks": [{"hookName": "x", "path": "/a"}]}"#),
            "invalid hook name \"x\"",
        ),
        (
            edits(r#"{"hooks": [{"hookName": "poststop", "path": ""}]}"#),
            "invalid hook \"poststop\" with empty path",
        ),
        (
            edits(r#"{"hooks": [{"hookName": "poststop", "path": "/a", "env": ["A"]}]}"#),
            "variable \"A\"",
        ),
        (edits(r#"{"intelRdt": {"closID": "a/b"}}"#), "invalid ClosID \"a/b\""),
    ]);
}

/// Whatever a file holds, reading it ends in a spec or a sentence.
#[test]
fn no_file_is_too_broken_to_be_read() {
    let json = r#"{"cdiVersion":"1.1.0","kind":"v.test/c","devices":[{"name":"d","containerEdits":{"deviceNodes":[{"path":"/dev/a","major":1}],"intelRdt":{"closID":"x"}}}]}"#;
    for text in [FULL, json] {
        for end in (0..text.len()).filter(|end| text.is_char_boundary(*end)) {
            let _ = Spec::parse(&text[..end]);
            for with in ["", "\0", "{", "]", "\"", ":", "-9", "&a *a", "\t", "\u{1f4a9}"] {
                let _ = Spec::parse(&format!("{}{with}{}", &text[..end], &text[end + 1..]));
            }
        }
    }
    let deep = "[".repeat(100_000);
    assert!(Spec::parse(&format!("{{\"kind\": {deep}")).is_err());
    assert!(Spec::parse(&format!("kind: {deep}")).is_err());
    let mut bomb = "a: &a [x,x,x,x,x,x,x,x,x]\n".to_owned();
    for (name, of) in ["b", "c", "d", "e", "f", "g", "h", "i"]
        .iter()
        .zip(["a", "b", "c", "d", "e", "f", "g", "h"])
    {
        bomb.push_str(&format!("{name}: &{name} [{}]\n", vec![format!("*{of}"); 9].join(",")));
    }
    assert!(Spec::parse(&bomb).is_err());
}
