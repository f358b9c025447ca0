//! Users of a pod's own: root in the pod is nobody on the machine, and owns what root owns on disk.
#![allow(clippy::unwrap_used)] // a test says what it expects by failing

mod world;

use sandbox::{Access, ContainerPlan, Forbids, Mount, Node, Opens, Propagation, Source, Users};
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use tokio::io::AsyncReadExt;
use world::{World, ended, exec, log, world};

const FIRST: u32 = 1_310_720;

/// A kernel may be told to make none.
fn lacks_users(name: &str) -> bool {
    let most = std::fs::read_to_string("/proc/sys/user/max_user_namespaces").unwrap_or_default();
    let lacks = most.trim().parse::<u64>().unwrap_or(0) == 0;
    if lacks {
        eprintln!("SKIPPED {name}: this kernel makes no user namespaces");
    }
    lacks
}

fn mount(source: Source, target: &str) -> Mount {
    Mount {
        source,
        target: target.into(),
        access: Access::Writable,
        propagation: Propagation::Private,
        forbids: Forbids::default(),
    }
}

fn owner(path: &Path) -> (u32, u32) {
    let meta = std::fs::symlink_metadata(path).unwrap();
    (meta.uid(), meta.gid())
}

/// A volume of root's that everybody may write to.
fn volume(world: &World) -> PathBuf {
    let volume = world.dir.join("volume");
    std::fs::create_dir_all(&volume).unwrap();
    std::fs::set_permissions(&volume, std::fs::Permissions::from_mode(0o777)).unwrap();
    volume
}

/// Starts a pod of that name with users of its own and runs one container in it to its end.
async fn run(world: &World, plan: &ContainerPlan) -> String {
    let mut pod = world.pod("users");
    pod.users = Some(Users {
        first: FIRST,
        count: Users::COUNT,
    });
    let pod = world.sandboxes.start(&pod).await.unwrap();
    pod.start_container(plan).await.unwrap();
    ended(&pod, &plan.name).await;
    pod.destroy().await.unwrap();
    log(&plan.log)
}

#[tokio::test]
async fn root_of_a_pod_owns_its_files_and_is_nobody_outside() {
    let Some(world) = world("users") else { return };
    if lacks_users("users") {
        return;
    }
    let volume = volume(&world);
    let mut pod = world.pod("users");
    pod.users = Some(Users {
        first: FIRST,
        count: Users::COUNT,
    });
    let pod = world.sandboxes.start(&pod).await.unwrap();
    let script = "id -u; head -1 /proc/self/uid_map; ls -nd / /bin/busybox /work /dev /dev/shm /data/part; touch /made /data/made \
         /data/part/made && echo done; hostname; sleep 100";
    let mut plan = world.container("users", "main", script);
    plan.cwd = "/work".into();
    let part = Source::Inside {
        folder: volume.clone(),
        path: "part".into(),
    };
    plan.mounts = vec![mount(Source::Bind(volume.clone()), "/data"), mount(part, "/data/part")];
    let state = pod.start_container(&plan).await.unwrap();
    world::eventually(|| log(&plan.log).contains("host-of-users")).await;

    let said = log(&plan.log);
    let words: Vec<Vec<&str>> = said
        .lines()
        .map(|line| line.split_whitespace().skip(1).collect())
        .collect();
    assert_eq!(words[0], ["0"], "{said}");
    assert_eq!(words[1], ["0", &FIRST.to_string(), "65536"], "{said}");
    for listed in &words[2..8] {
        assert_eq!(listed[2..4], ["0", "0"], "{said}");
    }
    assert_eq!(words[8], ["done"], "{said}");

    // On disk it is root's, in the layer above the image the pod's; the process is neither.
    assert_eq!(owner(&volume.join("made")), (0, 0));
    assert_eq!(owner(&volume.join("part/made")), (0, 0));
    assert_eq!(owner(&plan.root.scratch.join("upper/made")), (FIRST, FIRST));
    assert_eq!(owner(&PathBuf::from(format!("/proc/{}", state.pid))).0, FIRST);
    let network = std::fs::read_link(format!("/proc/{}/ns/net", state.pid)).unwrap();
    assert_ne!(network, std::fs::read_link("/proc/self/ns/net").unwrap());

    let mut exec = pod.exec(&exec("main", "id -u; cat /proc/self/uid_map")).await.unwrap();
    let mut said = String::new();
    exec.stdout.as_mut().unwrap().read_to_string(&mut said).await.unwrap();
    let words: Vec<&str> = said.split_whitespace().collect();
    assert_eq!(words, ["0", "0", &FIRST.to_string(), "65536"], "{said}");
    pod.destroy().await.unwrap();
}

#[tokio::test]
async fn other_users_of_a_pod_are_themselves_on_disk() {
    let Some(world) = world("other-users") else { return };
    if lacks_users("other-users") {
        return;
    }
    let volume = volume(&world);
    let mut plan = world.container(
        "users",
        "main",
        "id -u; id -G; touch /data/made; ls -n /data/made; touch /made",
    );
    plan.user = sandbox::User {
        uid: 1000,
        gid: 2000,
        groups: vec![3000],
    };
    plan.mounts = vec![mount(Source::Bind(volume.clone()), "/data")];
    let said = run(&world, &plan).await;
    // What comes by two pipes comes in any order.
    let out: Vec<&str> = said.lines().filter_map(|line| line.strip_prefix("stdout ")).collect();
    assert_eq!(out.get(..2), Some(&["1000", "2000 3000"][..]), "{said}");
    assert!(said.contains("touch: /made: Permission denied"), "{said}");
    assert_eq!(owner(&volume.join("made")), (1000, 2000), "{said}");
}

#[tokio::test]
async fn root_of_a_pod_may_mount_but_not_uncover_what_was_hidden() {
    let Some(world) = world("mounting-users") else { return };
    if lacks_users("mounting-users") {
        return;
    }
    let script = "mount -t tmpfs none /etc && echo mounted; umount /proc/kcore || echo kept; echo 1 > /proc/sys/kernel/panic || echo no";
    let mut plan = world.container("users", "main", script);
    plan.capabilities.push("CAP_SYS_ADMIN".to_owned());
    plan.seccomp = sandbox::Seccomp::Unconfined;
    let said = run(&world, &plan).await;
    assert!(
        said.contains("stdout mounted") && said.contains("stdout kept") && said.contains("stdout no"),
        "{said}"
    );
}

#[tokio::test]
async fn a_file_system_that_cannot_show_other_owners_is_refused_in_a_sentence() {
    let Some(world) = world("stubborn-users") else { return };
    if lacks_users("stubborn-users") {
        return;
    }
    let mut pod = world.pod("users");
    pod.users = Some(Users {
        first: FIRST,
        count: Users::COUNT,
    });
    let pod = world.sandboxes.start(&pod).await.unwrap();
    let mut plan = world.container("users", "main", "true");
    plan.mounts = vec![mount(Source::Bind("/proc/self".into()), "/data")];
    let error = pod.start_container(&plan).await.unwrap_err().to_string();
    pod.destroy().await.unwrap();
    assert!(
        error.contains("hostUsers: false") && error.contains("/proc/self"),
        "{error}"
    );
}

#[tokio::test]
async fn device_files_made_for_it_belong_to_its_users() {
    let Some(world) = world("users-nodes") else { return };
    if lacks_users("users-nodes") {
        return;
    }
    let mut plan = world.container("users", "main", "ls -ln /dev/given; head -c2 /dev/given | wc -c");
    let node = Node {
        opens: Opens::Character(1, 5),
        mode: 0o600,
        uid: 0,
        gid: 44,
    };
    plan.mounts = vec![mount(Source::Node(node), "/dev/given")];
    let said = run(&world, &plan).await;
    assert!(
        said.contains("stdout crw-------    1 0        44          1,   5 "),
        "{said}"
    );
    assert!(said.contains("stdout 2\n"), "{said}");
}
