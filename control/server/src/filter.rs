//! Which objects of a collection a request is about: its label and field selector together.

use crate::query::Query;
use api::Rules;
use api::selector::{FieldSelector, LabelSelector};
use api::status::{self, Status};
use serde_json::Value;

/// Both selectors.
#[derive(Clone, Debug, Default)]
pub struct Filter {
    labels: LabelSelector,
    fields: FieldSelector,
}

// === impl Filter ===

impl Filter {
    /// From a query; 400 for what cannot be read.
    pub fn of(query: &Query, rules: &Rules) -> Result<Self, Status> {
        let labels =
            LabelSelector::parse(query.get("labelSelector").unwrap_or_default()).map_err(status::bad_request)?;
        Ok(Self {
            labels,
            fields: FieldSelector::parse(query.get("fieldSelector").unwrap_or_default(), rules)?,
        })
    }

    /// Whether it lets everything through.
    pub fn is_empty(&self) -> bool {
        self.labels.is_empty() && self.fields.is_empty()
    }

    /// Whether it lets `object` through.
    pub fn matches(&self, object: &Value) -> bool {
        self.fields.matches(object) && self.labels.matches(object)
    }

    /// Whether the object of that key cannot match: it has another name than the only one that can. The object itself is
    /// decoded for no more than what is left.
    pub fn excludes(&self, key: &str) -> bool {
        let named = key.rsplit('/').next();
        self.name().is_some_and(|only| named != Some(only))
    }

    /// The one name that can match, if there is only one.
    pub fn name(&self) -> Option<&str> {
        self.fields.required("metadata.name")
    }
}
