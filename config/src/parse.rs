//! From text to checked values: first syntax, then shape, then rules; all problems of the first stage that has any.

use crate::machine::{MachineConfig, Role};
use crate::place::Place;
use crate::problem::Problem;
use crate::secrets::{Bundle, Secrets};
use crate::{rules, shape};
use schemars::JsonSchema;
use serde::de::DeserializeOwned;
use toml::Spanned;
use toml::de::{DeTable, DeValue};

/// How to come by secrets, for people who lack one.
const REMEDY: &str = "make it with `pintlectl config secrets --bundle bundle.toml CONFIG`";

/// A machine config from its TOML.
pub fn parse(text: &str) -> Result<MachineConfig, Vec<Problem>> {
    let (root, config) = read::<MachineConfig>(text)?;
    refuse(text, &root, rules::check(&config))?;
    Ok(config)
}

/// A machine's secrets from their TOML, complete for the roles of its config.
pub fn parse_secrets(text: &str, config: &MachineConfig) -> Result<Secrets, Vec<Problem>> {
    let (root, secrets) = read::<Secrets>(text).map_err(|problems| with_remedy(problems, "secrets.toml"))?;
    let mut broken = not_pem(&secrets);
    if config.machine.roles.contains(&Role::ControlPlane) && secrets.control_plane.is_none() {
        let name = &config.machine.name;
        let message = format!("`control-plane` is missing, but {name} has the role control-plane");
        broken.push((Place::of("control-plane"), message));
    }
    refuse(text, &root, broken).map_err(|problems| with_remedy(problems, "secrets.toml"))?;
    let logins = rules::oci::logins(&secrets.registries);
    refuse(text, &root, logins).map_err(|problems| in_file(problems, "secrets.toml"))?;
    let keys = secrets.control_plane.iter().flat_map(|plane| {
        let place = "control-plane.encryption-key";
        rules::encryption::check(&plane.encryption_keys, place)
    });
    refuse(text, &root, keys.collect()).map_err(|problems| in_file(problems, "secrets.toml"))?;
    Ok(secrets)
}

/// A cluster's bundle from its TOML.
pub fn parse_bundle(text: &str) -> Result<Bundle, Vec<Problem>> {
    let (root, bundle) = read::<Bundle>(text)?;
    let keys = rules::encryption::check(&bundle.encryption_keys, "encryption-key");
    refuse(text, &root, keys)?;
    Ok(bundle)
}

/// The JSON Schema of a machine config, as published.
pub fn schema() -> String {
    let schema = schemars::schema_for!(MachineConfig);
    serde_json::to_string_pretty(&schema).expect("a schema is JSON because schemars keeps it as such")
}

fn read<T: JsonSchema + DeserializeOwned>(text: &str) -> Result<(Spanned<DeValue<'_>>, T), Vec<Problem>> {
    let table = DeTable::parse(text).map_err(|error| vec![toml_problem(text, &error)])?;
    let span = table.span();
    // The root's own span is the whole file; what it lacks is lacking at its start.
    let root = Spanned::new(span.start..span.start, DeValue::Table(table.into_inner()));
    let problems = shape::check(text, &root, schemars::schema_for!(T).as_value());
    if !problems.is_empty() {
        return Err(problems);
    }
    let value = toml::from_str(text).map_err(|error| vec![toml_problem(text, &error)])?;
    Ok((root, value))
}

fn toml_problem(text: &str, error: &toml::de::Error) -> Problem {
    Problem::at(
        text,
        &error.span().unwrap_or(0..0),
        error.message().trim_end().replace('\n', ", "),
    )
}

fn refuse(text: &str, root: &Spanned<DeValue<'_>>, broken: Vec<(Place, String)>) -> Result<(), Vec<Problem>> {
    if broken.is_empty() {
        return Ok(());
    }
    Err(broken
        .into_iter()
        .map(|(place, message)| Problem::at(text, &place.span(root), message))
        .collect())
}

/// What is not PEM of the right kind; whether it is usable shows when it is used.
fn not_pem(secrets: &Secrets) -> Vec<(Place, String)> {
    let mut rows = vec![
        ("machine-ca", &secrets.machine_ca, "CERTIFICATE"),
        ("machine.certificate", &secrets.machine.certificate, "CERTIFICATE"),
        ("machine.key", &secrets.machine.key, "PRIVATE KEY"),
        ("cluster-ca", &secrets.cluster_ca, "CERTIFICATE"),
        ("node.certificate", &secrets.node.certificate, "CERTIFICATE"),
        ("node.key", &secrets.node.key, "PRIVATE KEY"),
    ];
    if let Some(plane) = &secrets.control_plane {
        rows.extend([
            (
                "control-plane.server.certificate",
                &plane.server.certificate,
                "CERTIFICATE",
            ),
            ("control-plane.server.key", &plane.server.key, "PRIVATE KEY"),
            (
                "control-plane.node-client.certificate",
                &plane.node_client.certificate,
                "CERTIFICATE",
            ),
            ("control-plane.node-client.key", &plane.node_client.key, "PRIVATE KEY"),
            ("control-plane.cluster-ca-key", &plane.cluster_ca_key, "PRIVATE KEY"),
            (
                "control-plane.service-account-key",
                &plane.service_account_key,
                "PRIVATE KEY",
            ),
        ]);
    }
    rows.retain(|(_, pem, kind)| !pem.contains(&format!("-----BEGIN {kind}-----")));
    rows.into_iter()
        .map(|(place, _, kind)| (Place::of(place), format!("`{place}` is no {kind} in PEM")))
        .collect()
}

fn with_remedy(problems: Vec<Problem>, file: &str) -> Vec<Problem> {
    let mut problems = in_file(problems, file);
    for problem in &mut problems {
        problem.message = format!("{}; {REMEDY}", problem.message);
    }
    problems
}

fn in_file(mut problems: Vec<Problem>, file: &str) -> Vec<Problem> {
    for problem in &mut problems {
        problem.message = format!("{file}: {}", problem.message);
    }
    problems
}
