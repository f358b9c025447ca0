//! Which manager a request writes for, and what managedFields come of it.

use crate::call::{Call, timestamp};
use crate::options::WriteOptions;
use api::fields::{self, ApplyError, View, Write};
use api::status::{self, Status};
use http::header::USER_AGENT;
use jiff::Timestamp;
use serde_json::Value;

/// The longest name of a manager, in bytes (apimachinery `FieldManagerMaxLength`).
const MAX_NAME: usize = 128;

/// Writes into `new` who owns what after a create (`live` is none) or an update. Call it on what the client sent or patched,
/// before admission: what the server adds belongs to nobody.
pub(crate) fn track(call: &Call, options: &WriteOptions, live: Option<&Value>, new: &mut Value) {
    with_write(call, options, |write| fields::track(write, live, new));
}

/// What `live` (none: it does not exist yet) becomes when `config` is applied; not yet defaulted.
pub(crate) fn apply(
    call: &Call,
    options: &WriteOptions,
    live: Option<&Value>,
    config: &Value,
) -> Result<Value, Status> {
    with_write(call, options, |write| fields::apply(write, live, config, options.force)).map_err(|refused| {
        let message = refused.message();
        match refused {
            ApplyError::Bad(message) => status::bad_request(message),
            ApplyError::Misfit(message) => Status {
                message,
                ..status::unexplained()
            },
            ApplyError::Conflicts(conflicts) => {
                status::apply_conflict(message, conflicts.into_iter().map(|c| (c.manager, c.field)))
            }
        }
    })
}

fn with_write<T>(call: &Call, options: &WriteOptions, act: impl FnOnce(&Write<'_>) -> T) -> T {
    let rules = &call.rules;
    let (api_version, now) = (rules.api_version(), timestamp(Timestamp::now()));
    let manager = match options.field_manager.as_str() {
        "" => of_user_agent(call),
        named => named.to_owned(),
    };
    act(&Write {
        view: View::of(rules.root()),
        manager: &manager,
        api_version: &api_version,
        kind: rules.kind,
        subresource: &call.subresource,
        now: &now,
        resets: &rules.resets(&call.subresource),
    })
}

/// The program's name in the User-Agent; of a part of the control plane in this process, its own.
fn of_user_agent(call: &Call) -> String {
    let agent = call.headers.get(USER_AGENT).and_then(|value| value.to_str().ok());
    let name = agent.unwrap_or_default().split('/').next().unwrap_or_default();
    let mut manager = String::new();
    for c in name.chars().filter(|c| !c.is_control()) {
        if manager.len() + c.len_utf8() > MAX_NAME {
            break;
        }
        manager.push(c);
    }
    manager
}
