//! managedFields: who owns which fields, since when, through which version and which subresource.

use super::{Set, from_fields, to_fields};
use serde_json::{Map, Value, json};
use std::cmp::Ordering;
use thiserror::Error;

/// More entries of updates than this are merged, the oldest first.
const MAX_UPDATES: usize = 10;
/// Under whose name.
const ANCIENT: &str = "ancient-changes";

/// One entry of managedFields.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Owner {
    /// The manager's name.
    pub manager: String,
    /// Whether by server-side apply.
    pub applies: bool,
    /// The version of the paths.
    pub api_version: String,
    /// Through which subresource; empty for the object itself.
    pub subresource: String,
    /// When last changed, RFC 3339.
    pub time: Option<String>,
    /// What is owned.
    pub set: Set,
}

/// All entries; no two have the same identity.
pub type Owners = Vec<Owner>;

/// Why managedFields cannot be read.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub enum OwnersError {
    /// It is no list of objects.
    #[error("managedFields must be a list of objects")]
    NoList,
    /// Neither an update nor an apply.
    #[error("operation must be `Apply` or `Update`")]
    Operation,
    /// No version.
    #[error("apiVersion must not be empty")]
    ApiVersion,
    /// No fieldsType.
    #[error("missing fieldsType in managed fields entry {0}")]
    NoType(usize),
    /// Another fieldsType than FieldsV1.
    #[error("invalid fieldsType {1:?} in managed fields entry {0}")]
    Type(usize, String),
    /// Fields that cannot be read.
    #[error("error decoding set: {0}")]
    Fields(#[from] super::FieldsError),
}

// === impl Owner ===

impl Owner {
    /// Whether both are the same manager's entry. An applier has one entry, whatever the version.
    pub fn is(&self, other: &Owner) -> bool {
        self.identity() == other.identity()
    }

    fn identity(&self) -> (&str, bool, &str, &str) {
        let version = if self.applies { "" } else { &*self.api_version };
        (&self.manager, self.applies, version, &self.subresource)
    }

    fn read(at: usize, entry: &Map<String, Value>) -> Result<Self, OwnersError> {
        let text = |key: &str| entry.get(key).and_then(Value::as_str).unwrap_or_default();
        let applies = match text("operation") {
            "Apply" => true,
            "Update" => false,
            _ => return Err(OwnersError::Operation),
        };
        if text("apiVersion").is_empty() {
            return Err(OwnersError::ApiVersion);
        }
        match text("fieldsType") {
            "FieldsV1" => {}
            "" => return Err(OwnersError::NoType(at)),
            other => return Err(OwnersError::Type(at, other.to_owned())),
        }
        Ok(Self {
            manager: text("manager").to_owned(),
            applies,
            api_version: text("apiVersion").to_owned(),
            subresource: text("subresource").to_owned(),
            time: entry.get("time").and_then(Value::as_str).map(str::to_owned),
            set: from_fields(entry.get("fieldsV1").unwrap_or(&Value::Null))?,
        })
    }

    fn write(&self) -> Value {
        let mut entry = Map::with_capacity(7);
        if !self.manager.is_empty() {
            entry.insert("manager".to_owned(), self.manager.as_str().into());
        }
        let operation = if self.applies { "Apply" } else { "Update" };
        entry.insert("operation".to_owned(), operation.into());
        entry.insert("apiVersion".to_owned(), self.api_version.as_str().into());
        if let Some(time) = &self.time {
            entry.insert("time".to_owned(), time.as_str().into());
        }
        entry.insert("fieldsType".to_owned(), "FieldsV1".into());
        entry.insert("fieldsV1".to_owned(), to_fields(&self.set));
        if !self.subresource.is_empty() {
            entry.insert("subresource".to_owned(), self.subresource.as_str().into());
        }
        Value::Object(entry)
    }

    fn since(&self) -> i64 {
        self.time
            .as_deref()
            .and_then(|t| t.parse::<jiff::Timestamp>().ok())
            .map_or(0, jiff::Timestamp::as_second)
    }
}

/// Reads an object's managedFields; none is an empty list.
pub(super) fn decode(object: &Value) -> Result<Owners, OwnersError> {
    let mut owners = Owners::new();
    let entries = match object.get("metadata").and_then(|m| m.get("managedFields")) {
        None | Some(Value::Null) => return Ok(owners),
        Some(entries) => entries.as_array().ok_or(OwnersError::NoList)?,
    };
    for (at, entry) in entries.iter().enumerate() {
        let owner = Owner::read(at, entry.as_object().ok_or(OwnersError::NoList)?)?;
        match owners.iter_mut().find(|other| other.is(&owner)) {
            Some(same) => *same = owner,
            None => owners.push(owner),
        }
    }
    Ok(owners)
}

/// Whether a client asks for managedFields to be forgotten: `[]` or `[{}]`.
pub(super) fn is_reset(object: &Value) -> bool {
    match object.get("metadata").and_then(|m| m.get("managedFields")) {
        Some(Value::Array(entries)) => match entries.as_slice() {
            [] => true,
            [Value::Object(only)] => only.is_empty(),
            _ => false,
        },
        _ => false,
    }
}

/// Writes managedFields into an object, sorted; none if nobody owns anything.
pub(super) fn encode(object: &mut Value, mut owners: Owners) {
    sort(&mut owners);
    let Some(metadata) = object.get_mut("metadata").and_then(Value::as_object_mut) else {
        if !owners.is_empty() {
            object["metadata"] = json!({ "managedFields": owners.iter().map(Owner::write).collect::<Vec<_>>() });
        }
        return;
    };
    if owners.is_empty() {
        metadata.shift_remove("managedFields");
    } else {
        let entries = owners.iter().map(Owner::write).collect();
        metadata.insert("managedFields".to_owned(), Value::Array(entries));
    }
}

/// Upstream's order: by operation, time in seconds, manager, version, subresource.
pub fn sort(owners: &mut Owners) {
    owners.sort_by(|a, b| {
        b.applies
            .cmp(&a.applies)
            .then_with(|| a.since().cmp(&b.since()))
            .then_with(|| a.manager.cmp(&b.manager))
            .then_with(|| a.api_version.cmp(&b.api_version))
            .then_with(|| a.subresource.cmp(&b.subresource))
    });
}

/// Merges the oldest updates of each version under one name until few enough are left.
pub(super) fn cap(owners: &mut Owners) {
    let by_age =
        |a: &Owner, b: &Owner| -> Ordering { a.since().cmp(&b.since()).then_with(|| a.identity().cmp(&b.identity())) };
    if owners.iter().filter(|o| !o.applies).count() <= MAX_UPDATES {
        return;
    }
    let mut updates: Vec<Owner> = owners.iter().filter(|o| !o.applies).cloned().collect();
    updates.sort_by(by_age);
    let mut left = updates.len();
    let mut first_of: Vec<Owner> = Vec::new();
    for old in updates {
        if left <= MAX_UPDATES {
            break;
        }
        let bucket = Owner {
            manager: ANCIENT.to_owned(),
            subresource: String::new(),
            ..old.clone()
        };
        let Some(first) = first_of.iter().find(|o| o.api_version == old.api_version).cloned() else {
            first_of.push(old);
            continue;
        };
        if !owners.iter().any(|o| o.is(&bucket)) {
            owners.retain(|o| !o.is(&first));
            owners.push(Owner {
                set: first.set,
                ..bucket.clone()
            });
        }
        owners.retain(|o| !o.is(&old) || o.is(&bucket));
        if let Some(present) = owners.iter_mut().find(|o| o.is(&bucket)) {
            present.set = old.set.union(&present.set);
            present.time.clone_from(&old.time);
        }
        left -= 1;
    }
}
