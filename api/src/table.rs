//! `meta.k8s.io/v1` Table and PartialObjectMetadata: objects as rows for people, or cut down to their metadata.

use crate::rules::Rules;
use jiff::Timestamp;
use serde_json::{Value, json};

/// What a row carries besides its cells (`includeObject=`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Include {
    /// Nothing.
    None,
    /// PartialObjectMetadata, upstream's default.
    #[default]
    Metadata,
    /// The whole object.
    Object,
}

impl Include {
    /// Reads the parameter; none where it is no word of it.
    pub fn parse(text: &str) -> Option<Self> {
        match text {
            "" | "Metadata" => Some(Include::Metadata),
            "None" => Some(Include::None),
            "Object" => Some(Include::Object),
            _ => None,
        }
    }
}

/// The `columnDefinitions`.
pub fn columns(rules: &Rules) -> Value {
    let columns = rules.columns.iter().map(|c| {
        json!({ "name": c.name, "type": c.kind, "format": c.format, "description": c.description, "priority": c.priority })
    });
    columns.collect()
}

/// One row.
pub fn row(rules: &Rules, object: &Value, include: Include, now: Timestamp) -> Value {
    let mut row = json!({ "cells": rules.row(object, now) });
    match include {
        Include::None => {}
        Include::Metadata => row["object"] = partial(object),
        Include::Object => row["object"] = object.clone(),
    }
    row
}

/// A Table of rows. `metadata` is the list's; `with_columns` is false for all but the first event of a watch.
pub fn table(metadata: Value, rules: &Rules, rows: Vec<Value>, with_columns: bool) -> Value {
    json!({
        "kind": "Table", "apiVersion": "meta.k8s.io/v1", "metadata": metadata,
        "columnDefinitions": if with_columns { columns(rules) } else { Value::Null }, "rows": rows,
    })
}

/// The object with nothing but its metadata.
pub fn partial(object: &Value) -> Value {
    json!({ "kind": "PartialObjectMetadata", "apiVersion": "meta.k8s.io/v1", "metadata": object.get("metadata") })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_has_a_cell_for_each_column() {
        for rules in crate::KINDS {
            let row = row(
                rules,
                &json!({ "metadata": { "name": "a" } }),
                Include::Metadata,
                Timestamp::UNIX_EPOCH,
            );
            let cells = row["cells"].as_array().map(Vec::len);
            assert_eq!(cells, Some(rules.columns.len()), "{}", rules.kind);
            assert_eq!(row["object"]["metadata"]["name"], "a");
        }
    }
}
