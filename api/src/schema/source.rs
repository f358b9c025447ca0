//! Where schemas come from: k8s-openapi's `schemars` feature. The only place that knows `schemars`.

use crate::KINDS;
use k8s_openapi::{
    api::{
        authentication::v1::TokenRequest,
        autoscaling::v1::Scale,
        core::v1::{Binding, Pod},
        policy::v1::Eviction,
    },
    apimachinery::pkg::apis::meta::v1 as meta,
};
use schemars::{JsonSchema, SchemaGenerator, generate::SchemaSettings};
use serde_json::{Map, Value};

/// What a kind's objects look like.
#[derive(Clone, Copy, Debug)]
pub struct Source {
    /// The component's name, such as `io.k8s.api.core.v1.Pod`.
    pub name: fn() -> String,
    generate: fn(&mut SchemaGenerator),
}

/// A type of k8s-openapi that has a schema.
pub trait Described: 'static {
    /// Where its schema comes from.
    const SOURCE: Source;
}

impl<T: JsonSchema + 'static> Described for T {
    const SOURCE: Source = Source {
        name: name::<T>,
        generate: generate::<T>,
    };
}

fn name<T: JsonSchema>() -> String {
    T::schema_name().into_owned()
}

fn generate<T: JsonSchema>(generator: &mut SchemaGenerator) {
    let _reference = generator.subschema_for::<T>();
}

/// A schema that no kind owns.
#[derive(Debug)]
struct Beside {
    generate: fn(&mut SchemaGenerator),
    /// The group-versions whose document carries it; empty for all.
    group_version: (&'static str, &'static str),
}

/// What requests and answers carry besides the kinds: options, statuses, the bodies of subresources.
static BESIDES: &[Beside] = &[
    Beside {
        generate: generate::<meta::ObjectMeta>,
        group_version: ("", ""),
    },
    Beside {
        generate: generate::<meta::ListMeta>,
        group_version: ("", ""),
    },
    Beside {
        generate: generate::<meta::DeleteOptions>,
        group_version: ("", ""),
    },
    Beside {
        generate: generate::<meta::Status>,
        group_version: ("", ""),
    },
    Beside {
        generate: generate::<meta::APIResourceList>,
        group_version: ("", ""),
    },
    Beside {
        generate: generate::<meta::Patch>,
        group_version: ("", ""),
    },
    Beside {
        generate: generate::<meta::WatchEvent<Pod>>,
        group_version: ("", ""),
    },
    Beside {
        generate: generate::<Scale>,
        group_version: ("", "v1"),
    },
    Beside {
        generate: generate::<Scale>,
        group_version: ("apps", "v1"),
    },
    Beside {
        generate: generate::<Binding>,
        group_version: ("", "v1"),
    },
    Beside {
        generate: generate::<Eviction>,
        group_version: ("", "v1"),
    },
    Beside {
        generate: generate::<TokenRequest>,
        group_version: ("", "v1"),
    },
];

/// The schemas, by component name, of a group-version or of everything. Large (all texts are in it): drop it soon.
pub(crate) fn definitions(group_version: Option<(&str, &str)>) -> Map<String, Value> {
    let settings = SchemaSettings::draft2020_12().with(|s| s.definitions_path = "/components/schemas".into());
    let mut generator = settings.into_generator();
    for rules in KINDS
        .iter()
        .filter(|r| group_version.is_none_or(|gv| gv == (r.group, r.version)))
    {
        rules
            .source()
            .into_iter()
            .for_each(|source| (source.generate)(&mut generator));
    }
    for beside in BESIDES {
        if group_version.is_none_or(|gv| beside.group_version.1.is_empty() || beside.group_version == gv) {
            (beside.generate)(&mut generator);
        }
    }
    generator.take_definitions(false)
}
