//! Who gets in, and what those are told who do not.

use super::*;

#[tokio::test]
async fn each_refusal_names_the_role_that_is_needed() {
    let world = World::running().await;
    let reader = world.connect(Role::Reader).await;
    let operator = world.connect(Role::Operator).await;
    let refused = |status: Status, role: &str, own: &str| {
        assert_eq!(status.code(), Code::PermissionDenied);
        let said = explain(&status);
        assert!(
            said.contains(&format!("needs the role {role}")) && said.contains(own),
            "{said}"
        );
    };
    refused(
        reader.power().reboot(RebootRequest { force: true }).await.unwrap_err(),
        "os:operator",
        "has os:reader",
    );
    refused(
        operator
            .config()
            .apply(request(world.text(), ApplyMode::DryRun))
            .await
            .unwrap_err(),
        "os:admin",
        "has os:operator",
    );
    refused(
        operator.power().reset(ResetRequest { data: true }).await.unwrap_err(),
        "os:admin",
        "has os:operator",
    );
}

#[tokio::test]
async fn strangers_do_not_get_past_tls() {
    let world = World::running().await;
    let own = world.identity(Role::Admin);
    let other = identity::cluster::new_bundle().unwrap();
    let foreign = identity::cluster::admin(&other, Role::Admin).unwrap();

    let said = refusal(&IdentityFile {
        certificate: foreign.certificate,
        key: foreign.key,
        ..own.clone()
    })
    .await;
    assert!(said.contains("belongs to another cluster"), "{said}");

    let said = refusal(&IdentityFile {
        ca: other.machine_ca.certificate,
        ..own.clone()
    })
    .await;
    assert!(said.contains("of another CA than your identity's"), "{said}");

    // A certificate of the Kubernetes CA opens nothing here.
    let running = world.machine.running().unwrap();
    let node = &running.secrets.node;
    let said = refusal(&IdentityFile {
        certificate: node.certificate.clone(),
        key: node.key.clone(),
        ..own.clone()
    })
    .await;
    assert!(said.contains("belongs to another cluster"), "{said}");

    let address = own.machine(None).unwrap();
    let shown = &identity::tls::certificates(&running.secrets.machine.certificate).unwrap()[0];
    let anonymous = connect(&address, Credentials::Fingerprint(&identity::fingerprint(shown)))
        .await
        .unwrap();
    let said = explain(&anonymous.info().get(GetInfoRequest {}).await.unwrap_err());
    assert!(said.contains("wants a certificate"), "{said}");
}

#[tokio::test]
async fn a_certificate_without_a_role_may_nothing() {
    let world = World::running().await;
    let ca = identity::Authority::from_pem(&world.bundle.machine_ca.certificate, &world.bundle.machine_ca.key).unwrap();
    let leaf = Leaf {
        common_name: "guest".into(),
        purpose: identity::Purpose::Client,
        ..Leaf::default()
    };
    let pair = ca.issue(&leaf).unwrap();
    let guest = IdentityFile {
        certificate: pair.certificate,
        key: pair.key,
        ..world.identity(Role::Reader)
    };
    let status = called(&guest)
        .await
        .unwrap()
        .info()
        .get(GetInfoRequest {})
        .await
        .unwrap_err();
    assert!(status.message().contains("(guest) has no role"), "{}", status.message());
}
