//! Nobody grants what they do not hold, unless they may `escalate` a role or `bind` it (upstream does this where it stores
//! the four kinds: pkg/registry/rbac/*/policybased).

use crate::authorize::rule::{Rule, go_list, missing};
use crate::authorize::{Attributes, Resource};
use crate::call::Call;
use crate::user::MASTERS;
use api::metadata;
use api::read::{self, text};
use api::status::{self, Status};
use serde_json::Value;

const GROUP: &str = "rbac.authorization.k8s.io";

pub(super) fn admit(call: &Call, object: Option<&Value>, old: Option<&Value>) -> Result<(), Status> {
    let Some(object) = object.filter(|_| call.rules.group == GROUP && !call.user.is_in(MASTERS)) else {
        return Ok(());
    };
    let same =
        |members: &[&str]| old.is_some_and(|old| members.iter().all(|member| object.get(*member) == old.get(*member)));
    match call.rules.plural {
        "roles" | "clusterroles" if same(&["rules", "aggregationRule"]) => Ok(()),
        "roles" | "clusterroles" => grants(call, object),
        "rolebindings" | "clusterrolebindings" if same(&["roleRef", "subjects"]) => Ok(()),
        "rolebindings" | "clusterrolebindings" => binds(call, object),
        _ => Ok(()),
    }
}

fn grants(call: &Call, role: &Value) -> Result<(), Status> {
    let name = metadata::name(role);
    if may(call, "escalate", call.rules.plural, &call.namespace, name) {
        return Ok(());
    }
    // Who aggregates does not know what will be in it.
    let wanted = if read::some(role, "/aggregationRule").is_some() {
        everything()
    } else {
        Rule::all_in(role)
    };
    covers(call, name, &wanted)
}

fn binds(call: &Call, binding: &Value) -> Result<(), Status> {
    let (kind, role) = (text(binding, "/roleRef/kind"), text(binding, "/roleRef/name"));
    let plural = if kind == "Role" { "roles" } else { "clusterroles" };
    if may(call, "bind", plural, &call.namespace, role) {
        return Ok(());
    }
    let rules = call.server.authorizer.rules_in(kind, &call.namespace, role);
    let Some(wanted) = rules else {
        let of_role = api::find(GROUP, "v1", plural).ok_or_else(status::no_such_path)?;
        return Err(status::not_found(of_role, role));
    };
    covers(call, metadata::name(binding), &wanted)
}

fn may(call: &Call, verb: &str, plural: &str, namespace: &str, name: &str) -> bool {
    let resource = Resource {
        group: GROUP,
        resource: plural,
        namespace,
        name,
        ..Resource::default()
    };
    call.server
        .authorizer
        .allows(&call.user, &Attributes::resource(verb, resource))
        .allowed
}

fn covers(call: &Call, name: &str, wanted: &[Rule]) -> Result<(), Status> {
    let (held, lost) = call.server.authorizer.rules_of(&call.user, &call.namespace);
    let lacking = missing(&held, wanted);
    if lacking.is_empty() {
        return Ok(());
    }
    let mut why = format!(
        "user {:?} (groups={}) is attempting to grant RBAC permissions not currently held:\n{}",
        &*call.user.name,
        go_list(&call.user.groups),
        lacking.join("\n")
    );
    if !lost.is_empty() {
        why.push_str(&format!("; resolution errors: [{}]", lost.join(", ")));
    }
    Err(status::forbidden(&call.rules, name, &why))
}

fn everything() -> Vec<Rule> {
    let all = || vec!["*".to_owned()];
    vec![
        Rule {
            verbs: all(),
            groups: all(),
            resources: all(),
            ..Rule::default()
        },
        Rule {
            verbs: all(),
            urls: all(),
            ..Rule::default()
        },
    ]
}
