//! What a container sees, may do and says, on real namespaces and mounts.
#![allow(clippy::unwrap_used)] // a test says what it expects by failing

mod world;

use sandbox::{Access, Forbids, Mount, Node, Opens, Propagation, Source, StartContainerError};
use std::path::Path;
use world::world;

#[tokio::test]
async fn output_goes_to_the_log_and_the_exit_code_is_kept() {
    let Some(world) = world("output") else { return };
    let plan = world.container("run", "main", "echo out; echo err >&2; echo -n last; exit 3");
    let (state, log) = world.run(&plan).await;
    let ended = state.ended.unwrap();
    assert_eq!((ended.exit_code, ended.signal, ended.oom_killed), (3, None, false));
    for line in ["stdout out\n", "stderr err\n", "stdout last\n"] {
        assert!(log.contains(line), "{log}");
    }
}

#[tokio::test]
async fn a_container_is_confined() {
    let Some(world) = world("confined") else { return };
    let script = "hostname; echo pid $$; grep -E '^(Cap|NoNewPrivs|Seccomp:)' /proc/self/status; \
        cat /proc/self/oom_score_adj; ls /sys/firmware | wc -l; head -c1 /proc/kcore | wc -c; \
        echo x 2>/dev/null > /proc/sys/kernel/domainname || echo sys is read-only; \
        touch /sys/x 2>/dev/null || echo sysfs is read-only; \
        mknod /disk b 254 0 && { head -c1 /disk >/dev/null 2>&1 || echo no device here; }; \
        mknod /dev/shm/disk b 254 0 && { head -c1 /dev/shm/disk >/dev/null 2>&1 || echo nor here; }; \
        mount -t tmpfs t /etc 2>/dev/null || echo no mount; unshare -U true 2>/dev/null || echo no user namespace; \
        echo null > /dev/null; readlink /dev/fd; ls /dev; cat /proc/self/cgroup; echo $COLOUR; ls -d /proc/[0-9]* | wc -l";
    let (state, log) = world.run(&world.container("run", "main", script)).await;
    assert_eq!(state.ended.unwrap().exit_code, 0, "{log}");
    for line in [
        "stdout host-of-run\n",
        "stdout pid 1\n",
        "CapInh:\t0000000000000000",
        // chown, kill, setgid, setuid, net_bind_service, mknod
        "CapPrm:\t00000000080004e1",
        "CapEff:\t00000000080004e1",
        "CapBnd:\t00000000080004e1",
        "CapAmb:\t0000000000000000",
        "NoNewPrivs:\t1",
        "Seccomp:\t2",
        "stdout 500\n",
        "sys is read-only",
        "sysfs is read-only",
        "no device here",
        "nor here",
        "no mount",
        "no user namespace",
        "stdout /proc/self/fd\n",
        "stdout urandom\n",
        "0::/\n",
        "stdout blue\n",
    ] {
        assert!(log.contains(line), "{line:?} is not in\n{log}");
    }
}

#[tokio::test]
async fn another_user_has_no_capabilities_left() {
    let Some(world) = world("user") else { return };
    let mut plan = world.container(
        "run",
        "main",
        "id; grep -E '^Cap(Eff|Bnd)' /proc/self/status; echo hi > /made/by || echo refused",
    );
    plan.user = sandbox::User {
        uid: 1000,
        gid: 1001,
        groups: vec![1001, 2002],
    };
    plan.cwd = "/made/here".into();
    let (_, log) = world.run(&plan).await;
    assert!(log.contains("uid=1000 gid=1001 groups=1001,2002"), "{log}");
    assert!(log.contains("CapEff:\t0000000000000000"), "{log}");
    assert!(log.contains("CapBnd:\t00000000080004e1"), "{log}");
    assert!(log.contains("refused"), "{log}");
}

#[tokio::test]
async fn a_read_only_root_and_mounts_never_leave_the_root() {
    let Some(world) = world("mounts") else { return };
    let (data, file) = (world.dir.join("data"), world.dir.join("file"));
    std::fs::create_dir_all(&data).unwrap();
    std::fs::write(data.join("hello"), "from the machine\n").unwrap();
    std::fs::write(&file, "one file\n").unwrap();
    let script = "cat /etc/mounted/hello /etc/dangling; touch /x 2>/dev/null || echo root is read-only; \
        touch /etc/mounted/x 2>/dev/null || echo mount is read-only; touch /scratch/y && ls /scratch; \
        grep ' /scratch ' /proc/self/mounts";
    let mut plan = world.container("run", "main", script);
    plan.root.readonly = true;
    let mount = |source, target: &str, access| Mount {
        source,
        target: target.into(),
        access,
        propagation: Propagation::Private,
        forbids: Forbids::default(),
    };
    plan.mounts = vec![
        mount(Source::Bind(data.clone()), "/outside/mounted", Access::Readonly),
        mount(Source::Bind(file), "/etc/link", Access::ReadonlyRecursive),
        mount(
            Source::Tmpfs {
                size: 1 << 20,
                mode: 0o1777,
            },
            "/scratch",
            Access::Writable,
        ),
    ];
    let (_, log) = world.run(&plan).await;
    for line in [
        "from the machine",
        "one file",
        "root is read-only",
        "mount is read-only",
        "stdout y",
        "size=1024k",
    ] {
        assert!(log.contains(line), "{line:?} is not in\n{log}");
    }
    assert!(!std::path::Path::new("/etc/mounted").exists());
}

#[tokio::test]
async fn device_files_are_made_for_it_and_mounts_forbid_what_they_should() {
    let Some(world) = world("nodes") else { return };
    let programs = world.dir.join("image/bin");
    let script = "ls -ln /dev/given /dev/pipe; head -c2 /dev/given | wc -c; echo x >/dev/given && echo written; \
        /programs/busybox true 2>/dev/null || echo no programs; grep ' /programs ' /proc/self/mounts; ls /dev | wc -l";
    let mut plan = world.container("run", "main", script);
    plan.user.uid = 1000;
    plan.user.groups = vec![44];
    let mount = |source, target: &str, forbids| Mount {
        source,
        target: target.into(),
        access: Access::Writable,
        propagation: Propagation::Private,
        forbids,
    };
    let node = |opens, mode| {
        Source::Node(Node {
            opens,
            mode,
            uid: 7,
            gid: 44,
        })
    };
    let forbids = Forbids {
        setuid: true,
        programs: true,
    };
    plan.mounts = vec![
        mount(node(Opens::Character(1, 5), 0o660), "/dev/given", Forbids::default()),
        mount(node(Opens::Fifo, 0o640), "/dev/pipe", Forbids::default()),
        mount(Source::Bind(programs), "/programs", forbids),
    ];
    let (_, log) = world.run(&plan).await;
    for line in [
        "stdout crw-rw----    1 7        44          1,   5 ",
        "stdout prw-r-----    1 7        44 ",
        "stdout 2\n",
        "stdout written\n",
        "no programs",
        "nosuid,nodev,noexec",
    ] {
        assert!(log.contains(line), "{line:?} is not in\n{log}");
    }
}

#[tokio::test]
async fn a_part_of_a_volume_is_no_way_out_of_it() {
    let Some(world) = world("inside") else { return };
    let volume = world.dir.join("volume");
    std::fs::create_dir_all(volume.join("real")).unwrap();
    std::fs::write(volume.join("real/word"), "inside\n").unwrap();
    for (target, name) in [
        ("real", "good"),
        ("/etc", "absolute"),
        ("../../../../etc", "up"),
        ("/", "root"),
    ] {
        std::os::unix::fs::symlink(target, volume.join(name)).unwrap();
    }
    let plan = |path: &str, script: &str| {
        let mut plan = world.container("run", "main", script);
        plan.mounts = vec![Mount {
            source: Source::Inside {
                folder: volume.clone(),
                path: path.into(),
            },
            target: "/data".into(),
            access: Access::Writable,
            propagation: Propagation::Private,
            forbids: Forbids::default(),
        }];
        plan
    };
    let (_, log) = world.run(&plan("good", "cat /data/word")).await;
    assert_eq!(log, "stdout inside\n");
    std::fs::remove_file(&plan("", "").log).unwrap();
    let (_, log) = world.run(&plan("new/folder", "ls -d /data; touch /data/x")).await;
    assert_eq!(log, "stdout /data\n");
    assert!(volume.join("new/folder/x").exists());

    let pod = world.sandboxes.start(&world.pod("inside")).await.unwrap();
    for path in [
        "absolute",
        "absolute/passwd",
        "up",
        "root/etc",
        "good/../../image",
        "absolute/made",
    ] {
        let error = pod.start_container(&plan(path, "ls /data")).await.unwrap_err();
        assert!(error.to_string().contains("a link leads out of"), "{path}: {error}");
    }
    assert!(!Path::new("/etc/made").exists());
    pod.destroy().await.unwrap();
}

#[tokio::test]
async fn what_cannot_start_says_why_and_leaves_nothing() {
    let Some(world) = world("cannot") else { return };
    let pod = world.sandboxes.start(&world.pod("cannot")).await.unwrap();
    let plan = world.container("cannot", "main", "");

    let mut no_such = plan.clone();
    no_such.argv = vec!["/no/such".to_owned()];
    let error = pod.start_container(&no_such).await.unwrap_err();
    assert!(matches!(error, StartContainerError::NotExecuted(_)));
    assert_eq!(
        error.to_string(),
        "exec /no/such: No such file or directory in the image"
    );

    let mut not_in_path = plan.clone();
    not_in_path.argv = vec!["frobnicate".to_owned()];
    let error = pod.start_container(&not_in_path).await.unwrap_err();
    assert_eq!(
        error.to_string(),
        "exec frobnicate: no such program in the image's PATH (/bin)"
    );

    let mut no_layer = plan.clone();
    no_layer.root.lower = vec!["/no/such/layer".into()];
    let error = pod.start_container(&no_layer).await.unwrap_err();
    assert!(matches!(error, StartContainerError::NotPrepared(_)));
    assert!(error.to_string().contains("mount overlay"), "{error}");

    let mut into_proc = plan.clone();
    into_proc.mounts = vec![Mount {
        source: Source::Bind("/tmp".into()),
        target: "/into-proc/sys".into(),
        access: Access::Writable,
        propagation: Propagation::Private,
        forbids: Forbids::default(),
    }];
    let error = pod.start_container(&into_proc).await.unwrap_err();
    assert!(error.to_string().contains("leads into /proc"), "{error}");

    let mut no_volume = plan.clone();
    no_volume.mounts = vec![Mount {
        source: Source::Bind("/no/such/volume".into()),
        target: "/data".into(),
        access: Access::Writable,
        propagation: Propagation::Private,
        forbids: Forbids::default(),
    }];
    let error = pod.start_container(&no_volume).await.unwrap_err();
    assert!(error.to_string().contains("/no/such/volume"), "{error}");

    let mut bad_capability = plan.clone();
    bad_capability.capabilities = vec!["CAP_FLY".to_owned()];
    let error = pod.start_container(&bad_capability).await.unwrap_err();
    assert!(error.to_string().contains("CAP_FLY"), "{error}");

    assert!(pod.states().await.unwrap().is_empty());
    assert!(!plan.root.scratch.exists());
    // And the pod is none the worse, not even of what an attempt left whose agent died.
    let [upper, work] = sandbox::sweep::SCRATCH.map(|name| plan.root.scratch.join(name));
    std::fs::create_dir_all(upper.join("etc")).unwrap();
    std::fs::create_dir_all(work.join("work/incompat/volatile")).unwrap();
    pod.start_container(&plan).await.unwrap();
    pod.destroy().await.unwrap();
}

#[tokio::test]
async fn a_terminal_is_logged_as_one_stream() {
    let Some(world) = world("terminal") else { return };
    let mut plan = world.container("run", "main", "tty; echo err >&2");
    plan.tty = true;
    let (_, log) = world.run(&plan).await;
    assert!(log.contains("stdout /dev/pts/0"), "{log}");
    assert!(log.contains("stdout err"), "{log}");
}

#[tokio::test]
async fn much_output_is_rotated_and_the_newest_is_kept() {
    let Some(world) = world("rotated") else { return };
    let plan = world.container("run", "main", "seq 1 900000");
    let (_, log) = world.run(&plan).await;
    assert!(log.ends_with("stdout 900000\n"));
    let size = |path: &std::path::Path| std::fs::metadata(path).unwrap().len();
    assert!(size(&plan.log) <= sandbox::LOG_SIZE);
    assert!(size(&plan.log.with_extension("log.1")) <= sandbox::LOG_SIZE);
}

#[tokio::test]
async fn layers_of_an_image_are_one_folder_that_nobody_can_change() {
    let Some(world) = world("layers") else { return };
    let layer = |name: &str, file: &str| {
        let folder = world.dir.join(name);
        std::fs::create_dir_all(folder.join("etc")).unwrap();
        std::fs::write(folder.join("etc").join(file), format!("{file}\n")).unwrap();
        folder
    };
    let (upper, lower) = (layer("upper", "above"), layer("lower", "below"));
    let mount = |lower: Vec<_>, path: &str, target: &str| Mount {
        source: Source::Layers {
            lower,
            path: path.into(),
        },
        target: target.into(),
        access: Access::ReadonlyRecursive,
        propagation: Propagation::Private,
        forbids: Forbids::default(),
    };
    let script = "cat /both/etc/above /both/etc/below /part/below /file /one/etc/below; \
        touch /both/x /part/x /one/x 2>/dev/null || echo readonly; grep ' /both ' /proc/self/mounts";
    let mut plan = world.container("run", "main", script);
    let both = || vec![upper.clone(), lower.clone()];
    plan.mounts = vec![
        mount(both(), "", "/both"),
        mount(both(), "etc", "/part"),
        mount(both(), "etc/above", "/file"),
        mount(vec![lower.clone()], "", "/one"),
    ];
    let (_, log) = world.run(&plan).await;
    assert!(
        log.starts_with("stdout above\nstdout below\nstdout below\nstdout above\nstdout below\nstdout readonly\n"),
        "{log}"
    );
    assert!(log.contains("ro,nosuid,nodev") && !log.contains("noexec"), "{log}");
    assert!(!lower.join("x").exists());

    plan.mounts = vec![mount(both(), "nowhere", "/part")];
    let pod = world.sandboxes.start(&world.pod("layers")).await.unwrap();
    let error = pod.start_container(&plan).await.unwrap_err();
    assert!(error.to_string().contains("No such file"), "{error}");
    pod.destroy().await.unwrap();
}

fn mounted(arguments: &[&str]) {
    let done = std::process::Command::new("mount").args(arguments).status().unwrap();
    assert!(done.success());
}

#[tokio::test]
async fn later_mounts_of_the_machine_come_where_they_are_let_in() {
    let Some(world) = world("propagation") else { return };
    // A mount that has peers, whatever the machine's root is.
    let volume = world.dir.join("volume");
    std::fs::create_dir_all(&volume).unwrap();
    let place = volume.to_str().unwrap();
    mounted(&["-t", "tmpfs", "tmpfs", place]);
    mounted(&["--make-shared", place]);
    std::fs::create_dir(volume.join("later")).unwrap();
    let mount = |target: &str, propagation| Mount {
        source: Source::Bind(volume.clone()),
        target: target.into(),
        access: Access::Writable,
        propagation,
        forbids: Forbids::default(),
    };
    let script = "echo ready; while ! [ -e /in/later/word ]; do sleep 0.1; done; \
        ls /private/later /in/later /both/later; mount -t tmpfs tmpfs /both/own && touch /both/own/mine; sleep 100";
    let mut plan = world.container("propagation", "main", script);
    plan.mounts = vec![
        mount("/private", Propagation::Private),
        mount("/in", Propagation::FromMachine),
        mount("/both", Propagation::Both),
    ];
    plan.capabilities.push("CAP_SYS_ADMIN".to_owned());
    std::fs::create_dir(volume.join("own")).unwrap();
    let pod = world.sandboxes.start(&world.pod("propagation")).await.unwrap();
    pod.start_container(&plan).await.unwrap();
    let later = volume.join("later");
    mounted(&["-t", "tmpfs", "tmpfs", later.to_str().unwrap()]);
    std::fs::write(later.join("word"), "").unwrap();

    let arrived = async {
        while !volume.join("own/mine").exists() {
            tokio::time::sleep(std::time::Duration::from_millis(20)).await;
        }
    };
    let arrived = tokio::time::timeout(world::DEADLINE, arrived).await;
    let said = world::log(&plan.log);
    pod.destroy().await.unwrap();
    for path in [volume.join("own"), later, volume.clone()] {
        let _ = std::process::Command::new("umount").arg("-l").arg(path).status();
    }
    assert!(arrived.is_ok(), "the container's own mount did not come out:\n{said}");
    assert!(said.ends_with("stdout /private/later:\n"), "{said}");
    assert_eq!(said.matches("stdout word").count(), 2, "{said}");
}

/// What a container mounts in what it shares with its pod or the machine is seen by nobody else, however the machine's mounts are made.
#[tokio::test]
async fn a_container_keeps_its_own_mounts_to_itself() {
    let Some(dir) = world::folder("own-mounts") else { return };
    // As on a machine whose mounts all have peers, so that the pod's shared memory and the device have some, too.
    mounted(&["-t", "tmpfs", "tmpfs", dir.to_str().unwrap()]);
    mounted(&["--make-shared", dir.to_str().unwrap()]);
    let world = world::World::at(&dir, "own-mounts", false);
    let device = world.dir.join("null");
    std::fs::write(&device, "").unwrap();
    mounted(&["--bind", "/dev/null", device.to_str().unwrap()]);
    let script = "mkdir /dev/shm/in && mount -t tmpfs tmpfs /dev/shm/in && touch /dev/shm/in/mine; \
        echo other > /dev/shm/other && mount --bind /dev/shm/other /dev/given && cat /dev/given; echo done; sleep 100";
    let mut plan = world.container("own-mounts", "main", script);
    plan.mounts = vec![Mount {
        source: Source::Device(device.clone()),
        target: "/dev/given".into(),
        access: Access::Writable,
        propagation: Propagation::Private,
        forbids: Forbids::default(),
    }];
    plan.capabilities.push("CAP_SYS_ADMIN".to_owned());
    let pod = world.sandboxes.start(&world.pod("own-mounts")).await.unwrap();
    pod.start_container(&plan).await.unwrap();
    let said = async {
        loop {
            let said = world::log(&plan.log);
            if said.contains("stdout done") {
                return said;
            }
            tokio::time::sleep(std::time::Duration::from_millis(20)).await;
        }
    };
    let said = tokio::time::timeout(world::DEADLINE, said).await.unwrap();
    let shm = dir.join("run/own-mounts/shm");
    let (in_shm, in_device) = (shm.join("in/mine").exists(), std::fs::read(&device).unwrap());
    let is_shared = shm.join("other").exists();
    pod.destroy().await.unwrap();
    for path in [&device, &dir] {
        let _ = std::process::Command::new("umount").arg("-l").arg(path).status();
    }
    assert!(said.contains("stdout other\n"), "{said}");
    assert!(is_shared, "the pod's memory is not where it is looked for");
    assert!(!in_shm && in_device.is_empty(), "a mount of the container came out");
}
