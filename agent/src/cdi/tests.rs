//! What files of vendors become, by table.

use super::edit::{NotPossible, apply};
use super::spec::Spec;
use super::*;
use sandbox::{Access, Forbids, Limits, Mount, Node, Opens, Processes, Propagation, Root, Seccomp, Source, User};
use std::fs;
use std::io;
use std::path::Path;

fn plan() -> ContainerPlan {
    ContainerPlan {
        name: "main".to_owned(),
        attempt: 0,
        root: Root {
            lower: Vec::new(),
            scratch: PathBuf::new(),
            readonly: false,
        },
        mounts: vec![bind("/data", "/a/b/c"), bind("/old", "/lib/driver.so")],
        argv: Vec::new(),
        env: vec![
            ("PATH".to_owned(), "/bin".to_owned()),
            ("MODE".to_owned(), "own".to_owned()),
        ],
        cwd: "/".into(),
        processes: Processes::Own,
        user: User {
            uid: 1000,
            gid: 2000,
            groups: vec![44],
        },
        capabilities: Vec::new(),
        ambient: Vec::new(),
        no_new_privs: true,
        seccomp: Seccomp::RuntimeDefault,
        masked_paths: Vec::new(),
        readonly_paths: Vec::new(),
        limits: Limits::default(),
        oom_score_adj: 0,
        log: PathBuf::new(),
        tty: false,
        stdin: false,
        stdin_once: false,
        privileged: false,
    }
}

fn bind(host: &str, target: &str) -> Mount {
    Mount {
        source: Source::Bind(host.into()),
        target: target.into(),
        access: Access::Writable,
        propagation: Propagation::Private,
        forbids: Forbids::default(),
    }
}

/// The edits of the only device of a file.
fn edited(edits: &str) -> Result<ContainerPlan, NotPossible> {
    let text = format!(
        r#"{{"cdiVersion": "1.1.0", "kind": "v.test/c", "devices": [{{"name": "d", "containerEdits": {edits}}}]}}"#
    );
    let spec = Spec::parse(&text).unwrap_or_else(|why| panic!("{edits}: {why}"));
    let look = |path: &Path| match path.to_str().unwrap_or_default() {
        "/dev/card" => Ok(Opens::Character(226, 1)),
        "/dev/disk" => Ok(Opens::Block(8, 16)),
        _ => Err(io::Error::from_raw_os_error(nix::libc::ENOENT)),
    };
    let mut plan = plan();
    apply(&mut plan, &spec.devices[0].container_edits, look)?;
    Ok(plan)
}

#[test]
fn device_nodes_are_filled_from_the_machine_and_are_the_users() {
    let node = |opens, mode, uid, gid| Ok(Node { opens, mode, uid, gid });
    let looked = |path: &str| NotPossible::Look {
        path: path.to_owned(),
        cause: "No such file or directory (os error 2)".to_owned(),
    };
    let only = |path: &str, permissions: &str| NotPossible::Permissions(path.to_owned(), permissions.to_owned());
    let card = Opens::Character(226, 1);
    for (device, expected) in [
        (r#""path": "/dev/card""#, node(card, 0o666, 1000, 2000)),
        (
            r#""path": "/dev/x", "hostPath": "/dev/card", "permissions": "rwm""#,
            node(card, 0o666, 1000, 2000),
        ),
        (
            r#""path": "/dev/card", "fileMode": 33200, "uid": 0, "gid": 44"#,
            node(card, 0o660, 0, 44),
        ),
        (
            r#""path": "/dev/x", "type": "c", "major": 195, "minor": 3"#,
            node(Opens::Character(195, 3), 0o666, 1000, 2000),
        ),
        (
            r#""path": "/dev/x", "type": "u", "major": 195"#,
            node(Opens::Character(195, 0), 0o666, 1000, 2000),
        ),
        (
            r#""path": "/dev/x", "type": "b", "major": 7, "minor": 1"#,
            node(Opens::Block(7, 1), 0o666, 1000, 2000),
        ),
        (
            r#""path": "/dev/x", "type": "p", "permissions": "r""#,
            node(Opens::Fifo, 0o666, 1000, 2000),
        ),
        (
            r#""path": "/dev/disk", "type": null, "major": 9, "minor": 2"#,
            node(Opens::Block(9, 2), 0o666, 1000, 2000),
        ),
        (r#""path": "/dev/none""#, Err(looked("/dev/none"))),
        (
            r#""path": "/dev/card", "hostPath": "/dev/none", "type": "c""#,
            Err(looked("/dev/none")),
        ),
        (
            r#""path": "/dev/card", "type": "b""#,
            Err(NotPossible::Mismatch {
                path: "/dev/card".to_owned(),
                wanted: "b".to_owned(),
                is: "c",
            }),
        ),
        (
            r#""path": "/dev/card", "permissions": "r""#,
            Err(only("/dev/card", "r")),
        ),
        (
            r#""path": "/dev/card", "permissions": "none""#,
            Err(only("/dev/card", "none")),
        ),
    ] {
        let made = edited(&format!(r#"{{"deviceNodes": [{{{device}}}]}}"#));
        let last = made.map(|plan| plan.mounts.into_iter().next_back().unwrap().source);
        assert_eq!(last, expected.map(Source::Node), "{device}");
    }
}

#[test]
fn mounts_are_binds_or_memory_with_their_options() {
    let words = |access, propagation, setuid, programs| (access, propagation, Forbids { setuid, programs });
    let usual = words(Access::Writable, Propagation::Private, false, false);
    let host = || Source::Bind("/opt/driver".into());
    let no_option = |option: &str| NotPossible::Option("/x".to_owned(), option.to_owned());
    for (mount, expected) in [
        (r#""hostPath": "/opt/driver""#, Ok((host(), usual))),
        (
            r#""hostPath": "/opt/driver", "options": ["ro", "nosuid", "nodev", "rbind", "rprivate"]"#,
            Ok((host(), words(Access::Readonly, Propagation::Private, true, false))),
        ),
        (
            r#""hostPath": "/opt/driver", "type": "bind", "options": ["rro", "noexec", "rslave"]"#,
            Ok((
                host(),
                words(Access::ReadonlyRecursive, Propagation::FromMachine, false, true),
            )),
        ),
        (
            r#""hostPath": "tmpfs", "type": "tmpfs", "options": ["nosuid", "size=64k", "mode=755"]"#,
            Ok((
                Source::Tmpfs {
                    size: 65536,
                    mode: 0o755,
                },
                words(Access::Writable, Propagation::Private, true, false),
            )),
        ),
        (
            r#""hostPath": "proc", "type": "proc""#,
            Err(NotPossible::Type("/x".to_owned(), "proc".to_owned())),
        ),
        (
            r#""hostPath": "opt/driver""#,
            Err(NotPossible::Relative("opt/driver".to_owned())),
        ),
        (
            r#""hostPath": "/opt/driver", "options": ["idmap"]"#,
            Err(no_option("idmap")),
        ),
        (
            r#""hostPath": "/opt/driver", "options": ["size=64k"]"#,
            Err(no_option("size=64k")),
        ),
        (
            r#""hostPath": "x", "type": "tmpfs", "options": ["size=99999999999999999999k"]"#,
            Err(no_option("size=99999999999999999999k")),
        ),
    ] {
        let made = edited(&format!(r#"{{"mounts": [{{"containerPath": "/x", {mount}}}]}}"#));
        let last = made.map(|plan| plan.mounts.into_iter().next_back().unwrap());
        let said = last.map(|mount| (mount.source, (mount.access, mount.propagation, mount.forbids)));
        assert_eq!(said, expected, "{mount}");
    }
}

#[test]
fn what_was_there_before_is_replaced() {
    let plan = edited(
        r#"{"env": ["MODE=vendor", "EXTRA=a=b"], "additionalGids": [0, 44, 107, 107],
            "mounts": [{"hostPath": "/new", "containerPath": "/lib/driver.so"}]}"#,
    )
    .unwrap();
    let env = [("PATH", "/bin"), ("MODE", "vendor"), ("EXTRA", "a=b")];
    assert_eq!(plan.env, env.map(|(name, value)| (name.to_owned(), value.to_owned())));
    assert_eq!(plan.user.groups, [44, 107]);
    assert_eq!(plan.mounts, [bind("/data", "/a/b/c"), bind("/new", "/lib/driver.so")]);
}

#[test]
fn what_this_node_cannot_do_is_said() {
    for (edits, why) in [
        (
            r#"{"hooks": [{"hookName": "createContainer", "path": "/usr/bin/hook", "args": ["hook", "link"], "timeout": 1}]}"#,
            "its hook createContainer \"/usr/bin/hook\" cannot be run: containers of this node start without hooks",
        ),
        (
            r#"{"intelRdt": {"closID": "x", "l3CacheSchema": "L3:0=1"}}"#,
            "intelRdt is not supported",
        ),
        (
            r#"{"netDevices": [{"hostInterfaceName": "eth9", "name": "net0"}]}"#,
            "netDevices is not supported: interface \"eth9\" cannot be moved to a container",
        ),
    ] {
        assert_eq!(edited(edits).unwrap_err().to_string(), why);
    }
}

struct Folders {
    _root: tempfile::TempDir,
    both: Vec<PathBuf>,
}

impl Folders {
    fn new(files: &[(&str, String)]) -> Self {
        let root = tempfile::tempdir().unwrap();
        let both = ["etc", "run"].map(|name| root.path().join(name)).to_vec();
        for (name, text) in files {
            let path = root.path().join(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        }
        Self { _root: root, both }
    }

    /// The variables that a container gets.
    fn give(&self, names: &[&str]) -> Result<Vec<String>, String> {
        let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
        let mut plan = plan();
        plan.env.clear();
        inject(&mut plan, &names, &self.both).map_err(|why| why.to_string())?;
        Ok(plan
            .env
            .into_iter()
            .map(|(name, value)| format!("{name}={value}"))
            .collect())
    }
}

/// A file with devices that leave a variable each, and one for all of them.
fn file(word: &str, devices: &[&str]) -> String {
    let device = |name: &&str| format!(r#"{{"name": "{name}", "containerEdits": {{"env": ["D_{name}={word}"]}}}}"#);
    let devices: Vec<String> = devices.iter().map(device).collect();
    format!(
        r#"{{"cdiVersion": "0.6.0", "kind": "v.test/c", "containerEdits": {{"env": ["F_{word}=1"]}}, "devices": [{}]}}"#,
        devices.join(",")
    )
}

#[test]
fn later_folders_count_more_and_broken_files_only_for_themselves() {
    let folders = Folders::new(&[
        ("etc/a.json", file("etc", &["a", "b", "twice"])),
        ("etc/b.yaml", file("other", &["twice", "once"])),
        ("run/a.json", file("run", &["b"])),
        ("run/broken.json", "{\"cdiVersion\": 1}".to_owned()),
        ("run/ignored.txt", "no spec".to_owned()),
        ("run/inside.json/a.json", file("inside", &["inside"])),
    ]);
    let given = |names: &[&str]| folders.give(names).unwrap();
    assert_eq!(given(&[]), [""; 0]);
    assert_eq!(given(&["v.test/c=a"]), ["F_etc=1", "D_a=etc"]);
    assert_eq!(given(&["v.test/c=b"]), ["F_run=1", "D_b=run"]);
    assert_eq!(
        given(&["v.test/c=a", "v.test/c=b", "v.test/c=a", "v.test/c=once"]),
        ["F_etc=1", "D_a=etc", "F_run=1", "D_b=run", "F_other=1", "D_once=other"]
    );
    let (etc, run) = (folders.both[0].display(), folders.both[1].display());
    let broken = format!(
        "failed to load CDI Spec {run}/broken.json: invalid type: integer `1`, expected a string at line 1 column 16"
    );
    assert_eq!(
        folders.give(&["v.test/c=a", "v.test/c=inside", "nothing"]).unwrap_err(),
        format!("CDI device injection failed: unresolvable CDI devices v.test/c=inside, nothing: {broken}")
    );
    assert_eq!(
        folders.give(&["v.test/c=twice"]).unwrap_err(),
        format!(
            "CDI device injection failed: unresolvable CDI devices v.test/c=twice: \
             conflicting device \"v.test/c=twice\" (specs \"{etc}/a.json\", \"{etc}/b.yaml\"); {broken}"
        )
    );
    fs::write(folders.both[1].join("broken.json"), file("mended", &["twice"])).unwrap();
    assert_eq!(given(&["v.test/c=twice"]), ["F_mended=1", "D_twice=mended"]);
    let nowhere = Folders::new(&[]);
    assert_eq!(
        nowhere.give(&["v.test/c=a"]).unwrap_err(),
        "CDI device injection failed: unresolvable CDI devices v.test/c=a"
    );
}

#[test]
fn what_is_read_has_bounds() {
    let folders = Folders::new(&[
        ("etc/a.json", file("etc", &["a"])),
        (
            "etc/long.json",
            format!("{}{}", " ".repeat(1 << 20), file("long", &["long"])),
        ),
    ]);
    nix::unistd::mkfifo(&folders.both[0].join("pipe.json"), nix::sys::stat::Mode::S_IRWXU).unwrap();
    std::os::unix::fs::symlink("/dev/zero", folders.both[0].join("zero.yaml")).unwrap();
    std::os::unix::fs::symlink("/no/such", folders.both[0].join("gone.yaml")).unwrap();
    assert_eq!(folders.give(&["v.test/c=a"]).unwrap(), ["F_etc=1", "D_a=etc"]);
    let said = folders.give(&["v.test/c=long"]).unwrap_err();
    for part in [
        "long.json: it is longer than 1048576 bytes",
        "pipe.json: it is no regular file",
        "and 1 more",
    ] {
        assert!(said.contains(part), "{part}\n{said}");
    }
    let hook = file("hooked", &["h"]).replace(
        r#""env": ["F_hooked=1"]"#,
        r#""hooks": [{"hookName": "poststop", "path": "/x"}]"#,
    );
    fs::write(folders.both[0].join("hook.json"), hook).unwrap();
    let said = folders.give(&["v.test/c=h"]).unwrap_err();
    let expected = format!(
        "CDI device injection failed: {}/hook.json: its hook poststop \"/x\" cannot be run: containers of this node start without hooks",
        folders.both[0].display()
    );
    assert_eq!(said, expected);
    assert!(folders.give(&["v.test/c=a"]).is_ok());
}

#[test]
fn annotations_name_devices_as_well() {
    let of = |annotations: &[(&str, &str)]| {
        let owned: Vec<(String, String)> = annotations
            .iter()
            .map(|(key, value)| ((*key).to_owned(), (*value).to_owned()))
            .collect();
        of_annotations(owned.iter().map(|(key, value)| (key, value))).map_err(|why| why.to_string())
    };
    let asked = [
        ("cdi.k8s.io/z", "v/c=z"),
        ("note", "v/c=no"),
        ("cdi.k8s.io/a", "v/c=a,v/c=b"),
    ];
    assert_eq!(of(&asked).unwrap(), ["v/c=a", "v/c=b", "v/c=z"]);
    assert_eq!(
        of(&[("cdi.k8s.io/a", "/dev/x")]).unwrap_err(),
        "CDI device injection failed: failed to parse CDI device annotations: \
         unqualified device \"/dev/x\", it is no vendor/class=device"
    );
}
