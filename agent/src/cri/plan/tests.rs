//! What CRI's configs become, by table.

use super::*;
use crate::pods::plan::resources;
use ::sandbox::{Limits, Network};
use proto::cri::runtime::v1 as cri;
use proto::cri::runtime::v1::{DnsConfig, LinuxContainerResources, LinuxSandboxSecurityContext};
use std::collections::HashMap;

fn image() -> oci::Image {
    oci::Image {
        id: String::new(),
        digest: String::new(),
        names: Vec::new(),
        layers: vec!["/no/such/layer".into()],
        size: 0,
        config: oci::Config {
            env: vec!["A=image".to_owned()],
            cmd: vec!["run".to_owned()],
            ..oci::Config::default()
        },
    }
}

fn planned(config: cri::ContainerConfig, privileged_sandbox: bool) -> Result<ContainerPlan, String> {
    let context = LinuxSandboxSecurityContext {
        privileged: privileged_sandbox,
        ..LinuxSandboxSecurityContext::default()
    };
    let sandbox = PodSandboxConfig {
        linux: Some(cri::LinuxPodSandboxConfig {
            security_context: Some(context),
            ..cri::LinuxPodSandboxConfig::default()
        }),
        ..PodSandboxConfig::default()
    };
    let inputs = Inputs {
        id: "c1",
        layers: vec![Vec::new(); config.mounts.len()],
        config: &config,
        sandbox: &sandbox,
        hostname: "web",
        image: &image(),
        files: Path::new("/files"),
        scratch: "/scratch".into(),
        log: "/log".into(),
    };
    container(&inputs).map_err(|refusal| refusal.0)
}

fn with(context: LinuxContainerSecurityContext) -> cri::ContainerConfig {
    cri::ContainerConfig {
        linux: Some(cri::LinuxContainerConfig {
            security_context: Some(context),
            resources: None,
        }),
        ..cri::ContainerConfig::default()
    }
}

fn number(value: i64) -> Option<cri::Int64Value> {
    Some(cri::Int64Value { value })
}

#[test]
fn what_is_not_said_is_the_images_or_nothing() {
    let plan = planned(cri::ContainerConfig::default(), false).unwrap();
    assert_eq!((plan.argv, plan.cwd), (vec!["run".to_owned()], PathBuf::from("/")));
    assert!(plan.env.contains(&("A".to_owned(), "image".to_owned())));
    assert!(plan.env.contains(&("HOSTNAME".to_owned(), "web".to_owned())));
    assert_eq!((plan.seccomp, plan.capabilities.len()), (Seccomp::Unconfined, 14));
    let targets: Vec<_> = plan
        .mounts
        .iter()
        .map(|mount| mount.target.display().to_string())
        .collect();
    assert_eq!(targets, ["/etc/hosts", "/etc/resolv.conf", "/etc/hostname"]);
    assert_eq!(plan.limits, Limits::default());
}

#[test]
fn security_is_as_said_or_refused_in_a_sentence() {
    let context = LinuxContainerSecurityContext::default;
    let refused = [
        (
            LinuxContainerSecurityContext {
                privileged: true,
                ..context()
            },
            "no privileged container allowed in sandbox",
        ),
        (
            LinuxContainerSecurityContext {
                run_as_group: number(5),
                ..context()
            },
            "user group is specified without user",
        ),
        (
            LinuxContainerSecurityContext {
                run_as_username: "ghost".to_owned(),
                ..context()
            },
            "the image has no user \"ghost\" in its /etc/passwd",
        ),
        (
            LinuxContainerSecurityContext {
                seccomp_profile_path: "/etc/x.json".to_owned(),
                ..context()
            },
            "invalid seccomp profile \"/etc/x.json\"",
        ),
        (
            LinuxContainerSecurityContext {
                apparmor_profile: "localhost/x".to_owned(),
                ..context()
            },
            "apparmor is not supported",
        ),
    ];
    for (context, why) in refused {
        assert_eq!(planned(with(context), false), Err(why.to_owned()));
    }
    let plan = planned(
        with(LinuxContainerSecurityContext {
            privileged: true,
            ..context()
        }),
        true,
    )
    .unwrap();
    assert_eq!((plan.privileged, plan.capabilities.len()), (true, ALL.len()));
    let user = LinuxContainerSecurityContext {
        run_as_user: number(7),
        run_as_group: number(8),
        supplemental_groups: vec![9],
        seccomp_profile_path: "docker/default".to_owned(),
        ..context()
    };
    let plan = planned(with(user), false).unwrap();
    assert_eq!((plan.user.uid, plan.user.gid, plan.user.groups), (7, 8, vec![9]));
    assert_eq!(plan.seccomp, Seccomp::RuntimeDefault);
}

#[test]
fn mounts_follow_links_and_what_is_not_there_is_an_error() {
    let dir = tempfile::tempdir().unwrap();
    let real = dir.path().join("real");
    std::fs::create_dir(&real).unwrap();
    std::os::unix::fs::symlink(&real, dir.path().join("link")).unwrap();
    let mount = |host: &Path, recursive, readonly| cri::Mount {
        container_path: "/etc/hosts".to_owned(),
        host_path: host.display().to_string(),
        recursive_read_only: recursive,
        readonly,
        ..cri::Mount::default()
    };
    let planned = |mount| {
        let config = cri::ContainerConfig {
            mounts: vec![mount],
            ..cri::ContainerConfig::default()
        };
        planned(config, false)
    };
    let plan = planned(mount(&dir.path().join("link"), true, true)).unwrap();
    let hosts = plan
        .mounts
        .iter()
        .find(|mount| mount.target == Path::new("/etc/hosts"))
        .unwrap();
    assert_eq!(hosts.source, Source::Bind(real.canonicalize().unwrap()));
    assert_eq!((hosts.access, plan.mounts.len()), (Access::ReadonlyRecursive, 3));
    assert!(
        planned(mount(&dir.path().join("none"), false, false))
            .unwrap_err()
            .contains("No such file")
    );
    assert!(
        planned(mount(&real, true, false))
            .unwrap_err()
            .contains("needs readonly")
    );
}

#[test]
fn resources_become_limits() {
    let wanted = LinuxContainerResources {
        cpu_period: 50_000,
        cpu_quota: 10_000,
        cpu_shares: 1024,
        memory_limit_in_bytes: 1 << 20,
        memory_swap_limit_in_bytes: 3 << 20,
        cpuset_cpus: "0-1".to_owned(),
        cpuset_mems: "0".to_owned(),
        unified: HashMap::from([("memory.oom.group".to_owned(), "1".to_owned())]),
        ..LinuxContainerResources::default()
    };
    let limits = limits(&wanted).unwrap();
    assert_eq!(
        (limits.cpu_quota_us, limits.cpu_weight),
        (Some(20_000), Some(resources::weight_of_shares(1024)))
    );
    assert_eq!((limits.memory_max, limits.oom_group), (Some(1 << 20), true));
    assert_eq!((limits.swap_max, limits.cpus.as_deref()), (Some(2 << 20), Some("0-1")));
    assert_eq!(limits.memory_nodes.as_deref(), Some("0"));
    let mut merged = wanted.clone();
    let update = LinuxContainerResources {
        memory_limit_in_bytes: 2 << 20,
        ..LinuxContainerResources::default()
    };
    merge(&mut merged, &update);
    assert_eq!((merged.memory_limit_in_bytes, merged.cpu_quota), (2 << 20, 10_000));
    let unknown = LinuxContainerResources {
        unified: HashMap::from([("io.nonsense".to_owned(), "1".to_owned())]),
        ..LinuxContainerResources::default()
    };
    assert!(super::limits(&unknown).is_err());
}

#[test]
fn a_sandbox_is_planned_or_refused() {
    let config = |network: NamespaceMode, sysctl: &str, parent: &str| PodSandboxConfig {
        hostname: "web".to_owned(),
        linux: Some(cri::LinuxPodSandboxConfig {
            cgroup_parent: parent.to_owned(),
            sysctls: HashMap::from([(sysctl.to_owned(), "1".to_owned())]),
            security_context: Some(LinuxSandboxSecurityContext {
                namespace_options: Some(NamespaceOption {
                    network: network.into(),
                    ..NamespaceOption::default()
                }),
                ..LinuxSandboxSecurityContext::default()
            }),
            ..cri::LinuxPodSandboxConfig::default()
        }),
        ..PodSandboxConfig::default()
    };
    let plan = sandbox(
        "s1",
        &config(NamespaceMode::Pod, "net.core.somaxconn", "/kubepods/podu"),
    )
    .unwrap();
    assert_eq!(
        (plan.network, plan.cgroup),
        (Network::Own, PathBuf::from("kubepods/podu/s1"))
    );
    let plan = sandbox("s1", &config(NamespaceMode::Node, "kernel.shm_rmid_forced", "")).unwrap();
    assert_eq!(
        (plan.network, plan.cgroup),
        (Network::Host, PathBuf::from("kubepods/cri/s1"))
    );
    for (network, sysctl, parent) in [
        (NamespaceMode::Node, "net.core.somaxconn", ""),
        (NamespaceMode::Pod, "vm.swappiness", ""),
        (NamespaceMode::Pod, "net.core.somaxconn", "/../system"),
    ] {
        assert!(
            sandbox("s1", &config(network, sysctl, parent)).is_err(),
            "{sysctl} {parent}"
        );
    }
}

#[test]
fn the_configs_stop_signal_comes_before_the_images() {
    let image = |text: &str| oci::Config {
        stop_signal: text.to_owned(),
        ..oci::Config::default()
    };
    let config = |signal: Signal| cri::ContainerConfig {
        stop_signal: signal.into(),
        ..cri::ContainerConfig::default()
    };
    assert_eq!(stop_signal(&config(Signal::RuntimeDefault), &image("")), 15);
    assert_eq!(stop_signal(&config(Signal::RuntimeDefault), &image("SIGQUIT")), 3);
    assert_eq!(stop_signal(&config(Signal::Sigusr1), &image("SIGQUIT")), 10);
    assert_eq!(stop_signal(&config(Signal::Sigrtminplus2), &image("")), 36);
}

#[test]
fn name_servers_are_the_callers() {
    let dns = DnsConfig {
        servers: vec!["10.0.0.10".to_owned()],
        searches: vec!["a.test".to_owned(), "b.test".to_owned()],
        options: vec!["ndots:5".to_owned()],
    };
    assert_eq!(
        resolv_conf(&dns),
        "search a.test b.test\nnameserver 10.0.0.10\noptions ndots:5\n"
    );
}

#[test]
fn a_container_sees_the_processes_that_its_namespaces_say() {
    let options = |mode: NamespaceMode| NamespaceOption {
        pid: mode.into(),
        target_id: "other".to_owned(),
        ..NamespaceOption::default()
    };
    for (mode, expected) in [
        (NamespaceMode::Pod, Processes::Pod),
        (NamespaceMode::Container, Processes::Own),
        (NamespaceMode::Node, Processes::Host),
        (NamespaceMode::Target, Processes::Of("other".to_owned())),
    ] {
        assert_eq!(processes(Some(&options(mode))), expected, "{mode:?}");
    }
    assert_eq!(processes(None), Processes::Pod);
}

#[test]
fn what_no_machine_of_ours_has_is_refused() {
    let context = LinuxContainerSecurityContext::default;
    let refused = [
        (
            LinuxContainerSecurityContext {
                selinux_options: Some(cri::SeLinuxOption {
                    level: "s0".to_owned(),
                    ..cri::SeLinuxOption::default()
                }),
                ..context()
            },
            "SELinux is not supported",
        ),
        (
            LinuxContainerSecurityContext {
                capabilities: Some(cri::Capability {
                    add_ambient_capabilities: vec!["fly".to_owned()],
                    ..cri::Capability::default()
                }),
                ..context()
            },
            "CAP_FLY is no capability that Linux has",
        ),
    ];
    for (context, why) in refused {
        assert_eq!(planned(with(context), false), Err(why.to_owned()));
    }
}

#[test]
fn ambient_capabilities_are_permitted_as_well() {
    let capabilities = cri::Capability {
        add_ambient_capabilities: vec!["net_admin".to_owned()],
        drop_capabilities: vec!["ALL".to_owned()],
        ..cri::Capability::default()
    };
    let plan = planned(
        with(LinuxContainerSecurityContext {
            capabilities: Some(capabilities),
            ..LinuxContainerSecurityContext::default()
        }),
        false,
    )
    .unwrap();
    assert_eq!(
        (plan.ambient.as_slice(), plan.capabilities.as_slice()),
        (&["CAP_NET_ADMIN".to_owned()][..], &["CAP_NET_ADMIN".to_owned()][..])
    );
}

#[test]
fn devices_are_given_whole_or_not_at_all() {
    for (permissions, is_given) in [
        ("rw", true),
        ("mrw", true),
        ("r", false),
        ("rm", false),
        ("", false),
        ("rwx", false),
    ] {
        let device = Device {
            host_path: "/dev/null".to_owned(),
            container_path: "/dev/x".to_owned(),
            permissions: permissions.to_owned(),
        };
        assert_eq!(super::device(&device).is_ok(), is_given, "{permissions}");
    }
}

fn mapping(first: u32, of: u32, length: u32) -> cri::IdMapping {
    cri::IdMapping {
        host_id: first,
        container_id: of,
        length,
    }
}

#[test]
fn users_are_one_range_of_the_sandboxs_own() {
    let options = |mode: NamespaceMode, uids: Vec<cri::IdMapping>, gids: Vec<cri::IdMapping>| {
        Some(NamespaceOption {
            userns_options: Some(cri::UserNamespace {
                mode: mode.into(),
                uids,
                gids,
            }),
            ..NamespaceOption::default()
        })
    };
    let range = || vec![mapping(131_072, 0, 100_000)];
    let users = |options: Option<NamespaceOption>| super::sandbox::users(options.as_ref()).map_err(|refusal| refusal.0);
    assert_eq!(users(None), Ok(None));
    assert_eq!(users(options(NamespaceMode::Node, vec![], vec![])), Ok(None));
    assert_eq!(
        users(options(NamespaceMode::Pod, range(), range())),
        Ok(Some(Users {
            first: 131_072,
            count: 100_000
        }))
    );
    for (options, why) in [
        (
            options(NamespaceMode::Pod, range(), vec![mapping(5, 0, 65536)]),
            "one range",
        ),
        (options(NamespaceMode::Pod, vec![], vec![]), "one range"),
        (
            options(NamespaceMode::Pod, vec![mapping(5, 1, 10)], vec![mapping(5, 1, 10)]),
            "10 IDs from 1 on cannot be",
        ),
        (options(NamespaceMode::Node, range(), range()), "no mappings"),
        (options(NamespaceMode::Container, range(), range()), "belongs to"),
    ] {
        let refused = users(options).unwrap_err();
        assert!(refused.contains(why), "{refused}");
    }
}

#[test]
fn owners_of_mounts_are_mapped_where_the_caller_says_so() {
    let dir = tempfile::tempdir().unwrap();
    let volume = |mappings: Vec<cri::IdMapping>, users: Option<Users>| {
        let mount = cri::Mount {
            container_path: "/data".to_owned(),
            host_path: dir.path().display().to_string(),
            uid_mappings: mappings.clone(),
            gid_mappings: mappings,
            ..cri::Mount::default()
        };
        super::volume(&mount, &[], users)
            .map(|mount| mount.source)
            .map_err(|refusal| refusal.0)
    };
    let real = dir.path().canonicalize().unwrap();
    let users = Some(Users {
        first: 65536,
        count: 65536,
    });
    assert_eq!(volume(vec![], None), Ok(Source::Bind(real.clone())));
    assert_eq!(volume(vec![], users), Ok(Source::Foreign(real.clone())));
    assert_eq!(volume(vec![mapping(65536, 0, 65536)], users), Ok(Source::Bind(real)));
    assert!(volume(vec![mapping(65536, 0, 65536)], None).is_err());
    assert!(volume(vec![mapping(131_072, 0, 65536)], users).is_err());
}
