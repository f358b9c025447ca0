//! What becomes of a config that a call brings: all of it, or nothing and a sentence.

use super::*;

#[tokio::test]
async fn a_bad_config_changes_nothing_and_says_where_it_is_bad() {
    let world = World::running().await;
    let mut config = world.connect(Role::Admin).await.config();
    let bad = world.text().replace("roles = [\"worker\"]", "rolse = [\"worker\"]");
    let problems = config
        .validate(ValidateConfigRequest { config: bad.clone() })
        .await
        .unwrap()
        .into_inner()
        .problems;
    assert_eq!((problems[0].line, problems[0].column), (5, 1));
    assert!(
        problems[0].message.contains("did you mean `roles`?"),
        "{}",
        problems[0].message
    );

    let status = config.apply(request(bad, ApplyMode::Auto)).await.unwrap_err();
    assert_eq!(status.code(), Code::InvalidArgument);
    assert!(status.message().contains("line 5, column 1"), "{}", status.message());

    let renamed = world.text().replace("\"n1\"", "\"n2\"");
    let status = config.apply(request(renamed, ApplyMode::Auto)).await.unwrap_err();
    assert!(
        status.message().contains("issued for \"system:node:n1\""),
        "{}",
        status.message()
    );

    let promoted = world.text().replace("\"worker\"", "\"control-plane\"");
    let status = config.apply(request(promoted, ApplyMode::Auto)).await.unwrap_err();
    assert!(
        status.message().contains("secrets.toml: `control-plane` is missing"),
        "{}",
        status.message()
    );
    assert_eq!(
        fs::read_dir(&world.machine.places.state).unwrap().count(),
        0,
        "nothing was stored"
    );
}

#[tokio::test]
async fn without_init_calls_to_it_fail_in_a_sentence_and_nothing_is_half_applied() {
    let world = World::running().await;
    let connection = world.connect(Role::Admin).await;
    let status = connection.services().list(ListServicesRequest {}).await.unwrap_err();
    assert_eq!(status.code(), Code::Unavailable);
    assert!(
        status.message().contains("init.sock") && status.message().contains("No such file"),
        "{}",
        status.message()
    );
    let labelled = world.text() + "\n[machine.labels]\nzone = \"a\"\n";
    let status = connection
        .config()
        .apply(request(labelled, ApplyMode::Auto))
        .await
        .unwrap_err();
    assert_eq!(status.code(), Code::Unavailable);
    assert_eq!(
        fs::read_dir(&world.machine.places.state).unwrap().count(),
        0,
        "nothing was stored"
    );
    let status = connection
        .services()
        .restart(RestartServiceRequest {
            name: "sshd".into(),
            kill: false,
        })
        .await
        .unwrap_err();
    assert!(status.message().contains("no service \"sshd\""), "{}", status.message());
}

#[tokio::test]
async fn live_changes_apply_at_once_and_others_reboot() {
    let world = World::running().await;
    let asked = play_init(&world.machine.places.init_socket);
    let mut config = world.connect(Role::Admin).await.config();
    let named = world.text() + "\n[network]\nnameservers = [\"10.0.2.3\"]\n";

    let dry = config
        .apply(request(named.clone(), ApplyMode::DryRun))
        .await
        .unwrap()
        .into_inner();
    assert_eq!(dry.applied(), Applied::Nothing);
    assert_eq!(dry.diff, "+ network.nameservers = [\"10.0.2.3\"]  # applies live\n");
    assert_eq!(fs::read_dir(&world.machine.places.state).unwrap().count(), 0);

    let live = config
        .apply(request(named.clone(), ApplyMode::Auto))
        .await
        .unwrap()
        .into_inner();
    assert_eq!(live.applied(), Applied::Live);
    assert_eq!(world.text(), named);
    assert_eq!(
        fs::read_to_string(world.machine.places.state.join("config.toml")).unwrap(),
        named
    );
    let again = config
        .apply(request(named.clone(), ApplyMode::Auto))
        .await
        .unwrap()
        .into_inner();
    assert_eq!(again.applied(), Applied::Nothing);

    let labelled = named + "\n[machine.labels]\nzone = \"a\"\n";
    let reboot = config
        .apply(request(labelled.clone(), ApplyMode::Auto))
        .await
        .unwrap()
        .into_inner();
    assert_eq!(reboot.applied(), Applied::Rebooting);
    assert!(reboot.diff.contains("needs a reboot"), "{}", reboot.diff);
    assert_eq!(
        asked.recv_timeout(DEADLINE).unwrap(),
        InitRequest::Down(init_protocol::Down::Reboot)
    );
    assert!(
        matches!(acquire::acquire(&world.machine.places), acquire::Acquired::Config(next) if next.text == labelled)
    );
}

#[tokio::test]
async fn a_trial_is_taken_back_unless_it_is_confirmed() {
    let world = World::running().await;
    let places = &world.machine.places;
    fs::create_dir(&places.run).unwrap();
    let asked = play_init(&places.init_socket);
    let mut config = world.connect(Role::Admin).await.config();
    let stored = || fs::read_to_string(places.state.join("config.toml")).unwrap_or_default();
    let tried = |text: &str, try_seconds| ApplyConfigRequest {
        try_seconds,
        ..request(text, ApplyMode::Try)
    };
    let status = config.confirm(ConfirmConfigRequest {}).await.unwrap_err();
    assert!(
        status.message().contains("no config is on trial"),
        "{}",
        status.message()
    );

    let named = world.text() + "\n[network]\nnameservers = [\"10.0.2.3\"]\n";
    let answer = config.apply(tried(&named, 3600)).await.unwrap().into_inner();
    assert_eq!(
        (answer.applied(), world.text(), stored()),
        (Applied::Live, named.clone(), String::new())
    );
    let status = config.apply(request(named.clone(), ApplyMode::Auto)).await.unwrap_err();
    assert!(
        status.message().contains("pintlectl config confirm"),
        "{}",
        status.message()
    );
    config.confirm(ConfirmConfigRequest {}).await.unwrap();
    assert_eq!(stored(), named);

    let renamed = named.replace("10.0.2.3", "10.0.2.4");
    config.apply(tried(&renamed, 1)).await.unwrap();
    let mut texts = world.machine.configs();
    let back = texts.wait_for(|running| running.as_ref().is_some_and(|running| running.text == named));
    tokio::time::timeout(DEADLINE, back).await.unwrap().unwrap();
    assert_eq!(stored(), named);

    let labelled = named.clone() + "\n[machine.labels]\nzone = \"a\"\n";
    let answer = config.apply(tried(&labelled, 3600)).await.unwrap().into_inner();
    assert_eq!(answer.applied(), Applied::Rebooting);
    assert_eq!(
        asked.recv_timeout(DEADLINE).unwrap(),
        InitRequest::Down(init_protocol::Down::Reboot)
    );
    for _ in 0..2 {
        let acquire::Acquired::Config(next) = acquire::acquire(places) else {
            panic!("the config on trial is not taken");
        };
        assert_eq!((next.text.as_str(), next.source), (labelled.as_str(), Source::Trial));
    }
    // The boot after that has a new /run.
    fs::remove_dir_all(&places.run).unwrap();
    assert!(matches!(acquire::acquire(places), acquire::Acquired::Config(next) if next.text == named));
}

#[tokio::test]
async fn a_staged_config_waits_for_the_next_start() {
    let world = World::running().await;
    let mut config = world.connect(Role::Admin).await.config();
    let before = world.text();
    let labelled = before.clone() + "\n[machine.labels]\nzone = \"a\"\n";
    let answer = config
        .apply(request(labelled.clone(), ApplyMode::Staged))
        .await
        .unwrap();
    assert_eq!((answer.into_inner().applied(), world.text()), (Applied::Staged, before));
    assert!(
        matches!(acquire::acquire(&world.machine.places), acquire::Acquired::Config(next) if next.text == labelled)
    );
}

#[tokio::test]
async fn maintenance_answers_little_and_takes_a_config() {
    let root = tempfile::tempdir().unwrap();
    let machine = Machine::new(Places::below(root.path()));
    machine.enter(Stage::Maintenance);
    fs::create_dir(&machine.places.state).unwrap();
    let leaf = Leaf {
        common_name: "maintenance".into(),
        names: vec!["x".into()],
        ..Leaf::default()
    };
    let own = identity::self_signed(&leaf).unwrap();
    let (api, installed) = serve_maintenance(&machine, &own)
        .await
        .map_err(|e| e.to_string())
        .unwrap();
    let address = MachineAddress {
        name: "n1".into(),
        endpoint: api.address.to_string(),
    };

    let wrong = connect(&address, Credentials::Fingerprint("aa:bb"))
        .await
        .err()
        .unwrap()
        .to_string();
    assert!(wrong.contains("shows a certificate with fingerprint"), "{wrong}");

    let fingerprint = identity::fingerprint(&identity::tls::certificates(&own.certificate).unwrap()[0]);
    let anybody = connect(&address, Credentials::Fingerprint(&fingerprint)).await.unwrap();
    let info = anybody.info().get(GetInfoRequest {}).await.unwrap().into_inner();
    assert_eq!(info.stage(), Stage::Maintenance);
    let status = anybody.resources().processes(ProcessesRequest {}).await.unwrap_err();
    assert!(
        status.message().contains("does not answer in maintenance"),
        "{}",
        status.message()
    );

    let (config, secrets) = testing::machine("n1", "worker");
    let status = anybody
        .config()
        .apply(request(config.clone(), ApplyMode::Auto))
        .await
        .unwrap_err();
    assert!(status.message().contains("--secrets FILE"), "{}", status.message());
    let whole = ApplyConfigRequest {
        secrets: secrets.clone(),
        ..request(config.clone(), ApplyMode::Auto)
    };
    let applied = anybody.config().apply(whole.clone()).await.unwrap().into_inner();
    assert_eq!(applied.applied(), Applied::Starting);
    let running: Running = tokio::time::timeout(DEADLINE, installed).await.unwrap().unwrap();
    assert_eq!(
        (running.text.as_str(), running.source),
        (config.as_str(), Source::State)
    );
    assert!(matches!(
        acquire::acquire(&machine.places),
        acquire::Acquired::Config(_)
    ));
    let status = anybody.config().apply(whole).await.unwrap_err();
    assert!(status.message().contains("just before"), "{}", status.message());
    api.end().await;
    assert!(connect(&address, Credentials::Fingerprint(&fingerprint)).await.is_err());
}
