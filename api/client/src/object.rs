//! What an object of any kind looks like from here: its key and version; typed by k8s-openapi or as plain JSON.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ListMeta, ObjectMeta};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::fmt;

/// Namespace and name; an empty namespace for what has none.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Key {
    /// Namespace, or empty.
    pub namespace: String,
    /// Name.
    pub name: String,
}

impl Key {
    /// The key of something in a namespace, or, with an empty one, in none.
    pub fn new(namespace: impl Into<String>, name: impl Into<String>) -> Key {
        Key {
            namespace: namespace.into(),
            name: name.into(),
        }
    }
}

impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.namespace.is_empty() {
            f.write_str(&self.name)
        } else {
            write!(f, "{}/{}", self.namespace, self.name)
        }
    }
}

/// Anything with Kubernetes metadata.
pub trait Object: DeserializeOwned + Serialize + Send + Sync + 'static {
    /// Empty for what has none.
    fn namespace(&self) -> &str;
    /// Its name.
    fn name(&self) -> &str;
    /// Empty before it was stored.
    fn uid(&self) -> &str;
    /// Empty before it was stored.
    fn resource_version(&self) -> &str;

    /// Namespace and name.
    fn key(&self) -> Key {
        Key::new(self.namespace(), self.name())
    }

    /// Drops who manages which field (`metadata.managedFields`): of a pod it is most of what there is, and no loop reads it. An
    /// update without it leaves it as it is.
    fn forget_managers(&mut self) {}
}

impl<K> Object for K
where
    K: k8s_openapi::Metadata<Ty = ObjectMeta> + DeserializeOwned + Serialize + Send + Sync + 'static,
{
    fn namespace(&self) -> &str {
        self.metadata().namespace.as_deref().unwrap_or("")
    }

    fn name(&self) -> &str {
        self.metadata().name.as_deref().unwrap_or("")
    }

    fn uid(&self) -> &str {
        self.metadata().uid.as_deref().unwrap_or("")
    }

    fn resource_version(&self) -> &str {
        self.metadata().resource_version.as_deref().unwrap_or("")
    }

    fn forget_managers(&mut self) {
        self.metadata_mut().managed_fields = None;
    }
}

/// An object of any kind as JSON; keeps fields that its type does not know.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Dynamic(pub Value);

impl Dynamic {
    fn metadata(&self, field: &str) -> &str {
        self.0["metadata"][field].as_str().unwrap_or("")
    }
}

impl Object for Dynamic {
    fn namespace(&self) -> &str {
        self.metadata("namespace")
    }

    fn name(&self) -> &str {
        self.metadata("name")
    }

    fn uid(&self) -> &str {
        self.metadata("uid")
    }

    fn resource_version(&self) -> &str {
        self.metadata("resourceVersion")
    }
}

/// Where a kind is served.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Resource {
    /// API group; empty for the core group.
    pub group: String,
    /// Version.
    pub version: String,
    /// Plural, as in the path.
    pub plural: String,
}

impl Resource {
    /// Of a typed kind.
    pub fn of<K: k8s_openapi::Resource>() -> Resource {
        Resource {
            group: K::GROUP.into(),
            version: K::VERSION.into(),
            plural: K::URL_PATH_SEGMENT.into(),
        }
    }

    /// `/api/v1/pods`, `/apis/apps/v1/namespaces/NS/deployments`.
    pub(crate) fn path(&self, namespace: Option<&str>) -> String {
        let Resource { group, version, plural } = self;
        let root = if group.is_empty() {
            format!("/api/{version}")
        } else {
            format!("/apis/{group}/{version}")
        };
        match namespace {
            Some(namespace) => format!("{root}/namespaces/{namespace}/{plural}"),
            None => format!("{root}/{plural}"),
        }
    }
}

/// A list as it came.
#[derive(Debug, Deserialize)]
#[serde(bound = "K: DeserializeOwned")]
pub struct List<K> {
    /// Version of the list, where to go on.
    #[serde(default)]
    pub metadata: ListMeta,
    /// Its objects.
    #[serde(default = "Vec::new")]
    pub items: Vec<K>,
}
