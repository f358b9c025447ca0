//! One rule of a role: what it matches, and which rules together cover another (upstream `rbac.RuleAllows`,
//! `validation.Covers`).

use super::{Asked, Attributes};
use api::field::quoted;
use api::read;
use serde_json::{Map, Value};

/// What a rule allows. Every list is a set of words, `*` for all.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Rule {
    /// Verbs.
    pub verbs: Vec<String>,
    /// API groups.
    pub groups: Vec<String>,
    /// Resources, `resource/subresource` or `*/subresource`.
    pub resources: Vec<String>,
    /// Objects; none for all.
    pub names: Vec<String>,
    /// Paths, with `*` at the end for all below.
    pub urls: Vec<String>,
}

// === impl Rule ===

impl Rule {
    /// The rules in a role.
    pub fn all_in(role: &Value) -> Vec<Self> {
        read::list(role, "/rules").iter().map(Self::of).collect()
    }

    fn of(rule: &Value) -> Self {
        let words = |pointer: &str| {
            let list = read::list(rule, pointer).iter();
            list.filter_map(Value::as_str).map(str::to_owned).collect()
        };
        Self {
            verbs: words("/verbs"),
            groups: words("/apiGroups"),
            resources: words("/resources"),
            names: words("/resourceNames"),
            urls: words("/nonResourceURLs"),
        }
    }

    /// As a `PolicyRule`.
    pub fn to_value(&self) -> Value {
        let mut rule = Map::new();
        for (member, words) in [
            ("verbs", &self.verbs),
            ("apiGroups", &self.groups),
            ("resources", &self.resources),
            ("resourceNames", &self.names),
            ("nonResourceURLs", &self.urls),
        ] {
            if !words.is_empty() {
                rule.insert(member.to_owned(), words.clone().into());
            }
        }
        Value::Object(rule)
    }

    /// Whether the rule alone allows what is asked.
    pub fn allows(&self, asked: &Attributes<'_>) -> bool {
        has(&self.verbs, asked.verb)
            && match &asked.asked {
                Asked::Path(path) => self.urls.iter().any(|url| url_covers(url, path)),
                Asked::Resource(resource) => {
                    has(&self.groups, resource.group)
                        && self
                            .resources
                            .iter()
                            .any(|rule| resource_covers(rule, resource.resource, resource.subresource))
                        && (self.names.is_empty() || self.names.iter().any(|name| name == resource.name))
                }
            }
    }

    /// The rule in its smallest parts: one verb on one thing each.
    fn parts(&self) -> Vec<Self> {
        let one = |word: &str| vec![word.to_owned()];
        let mut parts = Vec::new();
        for verb in &self.verbs {
            for url in &self.urls {
                parts.push(Self {
                    verbs: one(verb),
                    urls: one(url),
                    ..Self::default()
                });
            }
            for (group, resource) in self
                .groups
                .iter()
                .flat_map(|group| self.resources.iter().map(move |resource| (group, resource)))
            {
                let part = Self {
                    verbs: one(verb),
                    groups: one(group),
                    resources: one(resource),
                    ..Self::default()
                };
                if self.names.is_empty() {
                    parts.push(part);
                } else {
                    parts.extend(self.names.iter().map(|name| Self {
                        names: one(name),
                        ..part.clone()
                    }));
                }
            }
        }
        parts
    }

    /// Whether this rule covers a smallest part.
    fn covers(&self, part: &Self) -> bool {
        let verbs = part.verbs.iter().all(|verb| has(&self.verbs, verb));
        let urls = part
            .urls
            .iter()
            .all(|url| self.urls.iter().any(|own| own == url || url_covers(own, url)));
        let groups = part.groups.iter().all(|group| has(&self.groups, group));
        let resources = part.resources.iter().all(|resource| {
            let (resource, sub) = resource.split_once('/').unwrap_or((resource, ""));
            self.resources.iter().any(|own| resource_covers(own, resource, sub))
        });
        let names =
            self.names.is_empty() || !part.names.is_empty() && part.names.iter().all(|name| self.names.contains(name));
        verbs && urls && groups && resources && (names || !part.urls.is_empty())
    }

    /// As upstream prints it in refusals: `{APIGroups:[""], Resources:["pods"], Verbs:["get" "list"]}`.
    fn describe(&self) -> String {
        let members = [
            ("APIGroups", &self.groups),
            ("Resources", &self.resources),
            ("ResourceNames", &self.names),
            ("NonResourceURLs", &self.urls),
            ("Verbs", &self.verbs),
        ];
        let present = members.into_iter().filter(|(_, words)| !words.is_empty());
        let text: Vec<String> = present
            .map(|(name, words)| format!("{name}:{}", go_list(words)))
            .collect();
        format!("{{{}}}", text.join(", "))
    }
}

/// Which parts of `wanted` no rule of `held` covers, each as a sentence, sorted; parts that differ only in their verb are one.
pub fn missing(held: &[Rule], wanted: &[Rule]) -> Vec<String> {
    let mut lacking: Vec<Rule> = Vec::new();
    for part in wanted.iter().flat_map(Rule::parts) {
        if held.iter().any(|rule| rule.covers(&part)) {
            continue;
        }
        let same = lacking.iter_mut().find(|rule| {
            (&rule.groups, &rule.resources, &rule.names, &rule.urls)
                == (&part.groups, &part.resources, &part.names, &part.urls)
        });
        match same {
            Some(rule) => rule.verbs.extend(part.verbs),
            None => lacking.push(part),
        }
    }
    let mut sentences: Vec<String> = lacking.iter().map(Rule::describe).collect();
    sentences.sort();
    sentences.dedup();
    sentences
}

/// As Go's `%q` writes a list of texts.
pub fn go_list(words: &[String]) -> String {
    let quoted: Vec<String> = words.iter().map(|word| quoted(word)).collect();
    format!("[{}]", quoted.join(" "))
}

fn has(words: &[String], word: &str) -> bool {
    words.iter().any(|w| w == "*" || w == word)
}

fn url_covers(rule: &str, path: &str) -> bool {
    rule == "*" || rule == path || rule.ends_with('*') && path.starts_with(rule.trim_end_matches('*'))
}

fn resource_covers(rule: &str, resource: &str, subresource: &str) -> bool {
    if rule == "*" {
        return true;
    }
    match rule.split_once('/') {
        None => subresource.is_empty() && rule == resource,
        Some((of, sub)) => !subresource.is_empty() && sub == subresource && (of == "*" || of == resource),
    }
}

#[cfg(test)]
mod tests {
    use super::super::Resource;
    use super::*;
    use serde_json::json;

    fn rule(value: Value) -> Rule {
        Rule::of(&value)
    }

    #[test]
    fn rules_match_as_upstreams_do() {
        let pods = rule(json!({ "verbs": ["get", "list"], "apiGroups": [""], "resources": ["pods", "*/scale"] }));
        for (verb, group, resource, sub, expected) in [
            ("get", "", "pods", "", true),
            ("delete", "", "pods", "", false),
            ("get", "apps", "pods", "", false),
            ("get", "", "pods", "log", false),
            ("get", "", "things", "scale", true),
        ] {
            let resource = Resource {
                group,
                resource,
                subresource: sub,
                ..Resource::default()
            };
            assert_eq!(
                pods.allows(&Attributes::resource(verb, resource)),
                expected,
                "{resource:?}"
            );
        }
        let named = rule(json!({ "verbs": ["*"], "apiGroups": ["*"], "resources": ["*"], "resourceNames": ["a"] }));
        for (name, expected) in [("a", true), ("b", false), ("", false)] {
            let resource = Resource {
                resource: "secrets",
                name,
                ..Resource::default()
            };
            assert_eq!(named.allows(&Attributes::resource("get", resource)), expected, "{name}");
        }
        let paths = rule(json!({ "verbs": ["get"], "nonResourceURLs": ["/api/*", "/version"] }));
        for (path, expected) in [
            ("/api/v1", true),
            ("/version", true),
            ("/versions", false),
            ("/api", false),
        ] {
            let asked = Attributes {
                verb: "get",
                asked: Asked::Path(path),
            };
            assert_eq!(paths.allows(&asked), expected, "{path}");
        }
    }

    #[test]
    fn what_is_not_covered_is_named() {
        let held = [rule(
            json!({ "verbs": ["get"], "apiGroups": [""], "resources": ["pods"] }),
        )];
        let wanted = [rule(
            json!({ "verbs": ["get", "list", "watch"], "apiGroups": [""], "resources": ["pods"] }),
        )];
        assert_eq!(
            missing(&held, &wanted),
            [r#"{APIGroups:[""], Resources:["pods"], Verbs:["list" "watch"]}"#]
        );
        assert!(missing(&wanted, &held).is_empty());
        let all = [rule(json!({ "verbs": ["*"], "apiGroups": ["*"], "resources": ["*"] }))];
        assert!(missing(&all, &wanted).is_empty());
        assert!(!missing(&wanted, &all).is_empty());
    }
}
