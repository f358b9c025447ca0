//! What is asked of the authorizers: a verb, on a resource or on a path.

use crate::request::{RequestInfo, ResourceInfo};
use api::Verb;

/// One question, about one user's request or about a supposed one.
#[derive(Clone, Copy, Debug)]
pub struct Attributes<'a> {
    /// What is done: a verb of the API, an HTTP method in lower case for paths, or a word of its own such as `impersonate`.
    pub verb: &'a str,
    /// To what.
    pub asked: Asked<'a>,
}

/// What a question is about.
#[derive(Clone, Copy, Debug)]
pub enum Asked<'a> {
    /// A path that names no resource.
    Path(&'a str),
    /// A resource.
    Resource(Resource<'a>),
}

/// A resource in a question; what does not apply is empty.
#[derive(Clone, Copy, Debug, Default)]
pub struct Resource<'a> {
    /// API group; empty for core.
    pub group: &'a str,
    /// Plural.
    pub resource: &'a str,
    /// The part below an object.
    pub subresource: &'a str,
    /// The namespace.
    pub namespace: &'a str,
    /// The object.
    pub name: &'a str,
    /// The field selector of a list, a watch or a deletion of a collection.
    pub fields: &'a str,
}

// === impl Attributes ===

impl<'a> Attributes<'a> {
    /// The question that a request is.
    pub fn of(info: &'a RequestInfo) -> Self {
        match &info.resource {
            Some(resource) => Self {
                verb: resource.verb.name(),
                asked: Asked::Resource(Resource::of(info, resource)),
            },
            None => Self {
                verb: &info.method,
                asked: Asked::Path(&info.path),
            },
        }
    }

    /// A question about a resource.
    pub fn resource(verb: &'a str, resource: Resource<'a>) -> Self {
        Self {
            verb,
            asked: Asked::Resource(resource),
        }
    }
}

// === impl Resource ===

impl<'a> Resource<'a> {
    fn of(info: &'a RequestInfo, asked: &'a ResourceInfo) -> Self {
        let mut resource = Self {
            group: &asked.group,
            resource: &asked.resource,
            subresource: &asked.subresource,
            namespace: &asked.namespace,
            name: &asked.name,
            fields: "",
        };
        if matches!(asked.verb, Verb::List | Verb::Watch | Verb::DeleteCollection) {
            resource.fields = info.query.get("fieldSelector").unwrap_or_default();
            // A collection of one name is a question about that object (apiserver requestinfo.go).
            if resource.name.is_empty() && asked.verb != Verb::DeleteCollection {
                resource.name = resource.field("metadata.name").unwrap_or_default();
            }
        }
        resource
    }

    /// The value that the field selector demands of `label`, if it demands one.
    pub fn field(&self, label: &str) -> Option<&'a str> {
        self.fields.split(',').find_map(|term| {
            let value = term.trim().strip_prefix(label)?.strip_prefix('=')?;
            Some(value.strip_prefix('=').unwrap_or(value))
        })
    }

    /// Whether this is `resource/subresource` of `group`.
    pub fn is(&self, group: &str, resource: &str, subresource: &str) -> bool {
        self.group == group && self.resource == resource && self.subresource == subresource
    }

    /// `pods/status`, as messages and rules name it.
    pub fn path(&self) -> String {
        if self.subresource.is_empty() {
            self.resource.to_owned()
        } else {
            format!("{}/{}", self.resource, self.subresource)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::Method;

    #[test]
    fn a_list_of_one_name_is_about_that_object() {
        let name = |query: &str| {
            let info = RequestInfo::of(&Method::GET, "/api/v1/namespaces/a/secrets", query)?;
            match Attributes::of(&info).asked {
                Asked::Resource(resource) => Some(resource.name.to_owned()),
                Asked::Path(_) => None,
            }
        };
        for (query, expected) in [
            ("", ""),
            ("fieldSelector=metadata.name%3Dx", "x"),
            ("fieldSelector=type%3Dy,metadata.name%3D%3Dx&watch=1", "x"),
            ("fieldSelector=metadata.name!%3Dx", ""),
        ] {
            assert_eq!(name(query).as_deref(), Some(expected), "{query}");
        }
    }
}
