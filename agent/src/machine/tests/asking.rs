//! What callers see of the machine and ask of its init.

use super::*;

#[tokio::test]
async fn a_reader_sees_the_machine() {
    let world = World::running().await;
    let connection = world.connect(Role::Reader).await;
    let info = connection.info().get(GetInfoRequest {}).await.unwrap().into_inner();
    assert_eq!(
        (info.name.as_str(), info.cluster.as_str(), info.stage()),
        ("n1", "test", Stage::Booting)
    );
    assert_eq!(info.roles, ["worker"]);
    assert!(info.uptime_ms > 0 && info.cpus > 0 && info.memory_bytes > 0 && !info.kernel_version.is_empty());
    let config = connection.config().get(GetConfigRequest {}).await.unwrap().into_inner();
    assert_eq!((config.config, config.source.as_str()), (world.text(), "fw_cfg"));
    let processes = connection
        .resources()
        .processes(ProcessesRequest {})
        .await
        .unwrap()
        .into_inner()
        .processes;
    let own = i32::try_from(std::process::id()).unwrap();
    assert!(processes.iter().any(|process| process.pid == own));
    assert!(
        !connection
            .resources()
            .mounts(MountsRequest {})
            .await
            .unwrap()
            .into_inner()
            .mounts
            .is_empty()
    );
    assert!(
        connection
            .resources()
            .memory(MemoryRequest {})
            .await
            .unwrap()
            .into_inner()
            .total_bytes
            > 0
    );
}

// Several threads: what comes after an answer does so while this one waits for it.
#[tokio::test(flavor = "multi_thread")]
async fn init_is_asked_for_services_power_and_the_timeline() {
    let world = World::running().await;
    let asked = play_init(&world.machine.places.init_socket);
    let admin = world.connect(Role::Admin).await;
    let services = admin
        .services()
        .list(ListServicesRequest {})
        .await
        .unwrap()
        .into_inner()
        .services;
    assert_eq!(
        (services[1].name.as_str(), services[1].phase.as_str()),
        ("control", "back-off")
    );
    assert_eq!((services[1].restarts, services[1].last_end.as_str()), (2, "exit 1"));
    let marks = admin
        .info()
        .timeline(TimelineRequest {})
        .await
        .unwrap()
        .into_inner()
        .marks;
    assert_eq!(
        marks.iter().map(|mark| mark.name.as_str()).collect::<Vec<_>>(),
        ["a", "b"]
    );
    admin
        .services()
        .restart(RestartServiceRequest {
            name: "control".into(),
            kill: false,
        })
        .await
        .unwrap();
    admin.power().reset(ResetRequest { data: false }).await.unwrap();
    // What leaves no time for an answer is done after it.
    admin.power().reboot(RebootRequest { force: true }).await.unwrap();
    let mut lines: Vec<String> = Vec::new();
    lines.extend((0..3).map(|_| asked.recv_timeout(DEADLINE).unwrap().to_string()));
    let restart = RestartServiceRequest {
        name: "agent".into(),
        kill: true,
    };
    admin.services().restart(restart).await.unwrap();
    lines.push(asked.recv_timeout(DEADLINE).unwrap().to_string());
    assert_eq!(
        lines,
        ["restart control", "reset state", "force-down reboot", "kill agent"]
    );
}

#[tokio::test]
async fn events_and_logs_are_followed() {
    let world = World::running().await;
    let reader = world.connect(Role::Reader).await;
    world.machine.events.note(Kind::Mark, "before", "");
    let mut events = reader
        .info()
        .events(EventsRequest { follow: true })
        .await
        .unwrap()
        .into_inner();
    let next = tokio::time::timeout(DEADLINE, events.next());
    assert_eq!(next.await.unwrap().unwrap().unwrap().subject, "before");
    world.machine.events.note(Kind::Service, "control", "up");
    let event = tokio::time::timeout(DEADLINE, events.next())
        .await
        .unwrap()
        .unwrap()
        .unwrap();
    assert_eq!(
        (event.subject.as_str(), event.message.as_str(), event.number),
        ("control", "up", 2)
    );

    let ask = |follow| ServiceLogRequest {
        service: "agent".into(),
        follow,
        tail_lines: 1,
    };
    let status = reader.logs().service(ask(false)).await.unwrap_err();
    assert!(
        status.message().starts_with("agent has no log yet"),
        "{}",
        status.message()
    );
    let log = world.machine.places.logs.join("agent.log");
    fs::create_dir(&world.machine.places.logs).unwrap();
    fs::write(&log, "one\ntwo\n").unwrap();
    let mut chunks = reader.logs().service(ask(true)).await.unwrap().into_inner();
    let mut next = async || {
        tokio::time::timeout(DEADLINE, chunks.next())
            .await
            .unwrap()
            .unwrap()
            .unwrap()
            .data
    };
    assert_eq!(next().await, b"two\n");
    fs::OpenOptions::new()
        .append(true)
        .open(&log)
        .unwrap()
        .write_all(b"three\n")
        .unwrap();
    assert_eq!(next().await, b"three\n");
}

#[tokio::test]
async fn images_come_as_archives_and_only_whole() {
    let world = World::running().await;
    let admin = world.connect(Role::Operator).await;
    let status = admin.images().list(ListImagesRequest {}).await.unwrap_err();
    assert!(
        status.message().contains("lacks the role worker"),
        "{}",
        status.message()
    );

    let folder = tempfile::tempdir().unwrap();
    let images = crate::pods::images::Images::new(folder.path(), oci::Registries::default(), Arc::default());
    world.machine.run_pods_from(images);
    let chunk = |data: &[u8]| ImportImagesRequest { data: data.to_vec() };
    for chunks in [vec![], vec![chunk(b"no ar"), chunk(b"chive")]] {
        let status = admin.images().import(tokio_stream::iter(chunks)).await.unwrap_err();
        assert_eq!(status.code(), Code::InvalidArgument);
        assert!(
            status.message().starts_with("import: the archive"),
            "{}",
            status.message()
        );
    }
    let name = "absent".to_owned();
    let status = admin.images().remove(RemoveImageRequest { name }).await.unwrap_err();
    assert!(
        status.message().contains("no image \"absent\" on this machine"),
        "{}",
        status.message()
    );
    let reader = world.connect(Role::Reader).await;
    assert!(
        reader
            .images()
            .list(ListImagesRequest {})
            .await
            .unwrap()
            .into_inner()
            .images
            .is_empty()
    );
    let status = reader
        .images()
        .import(tokio_stream::iter([chunk(b"")]))
        .await
        .unwrap_err();
    assert!(
        status.message().contains("needs the role os:operator"),
        "{}",
        status.message()
    );
    assert_eq!(fs::read_dir(folder.path().join("unpacking")).unwrap().count(), 0);
}
