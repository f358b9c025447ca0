//! The options of requests: read from the query (and a delete's body), checked with upstream's sentences.

use crate::query::Query;
use api::FieldError;
use api::status::{self, Status};
use serde_json::Value;
use std::time::Duration;
use store::Revision;

/// What happens to unknown and duplicate fields.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Validation {
    /// They are dropped.
    Ignore,
    /// They are dropped, with a warning.
    Warn,
    /// They are refused.
    Strict,
}

/// Options of create, update and patch.
#[derive(Clone, Debug)]
pub struct WriteOptions {
    /// Everything but the write.
    pub dry_run: bool,
    /// Unknown and duplicate fields.
    pub validation: Validation,
    /// Who manages what is written; empty for whoever the User-Agent says.
    pub field_manager: String,
    /// Whether an apply takes fields of others.
    pub force: bool,
}

/// Options of list and watch.
#[derive(Clone, Debug, Default)]
pub struct ListOptions {
    /// At most so many; 0 for all.
    pub limit: usize,
    /// Where the last page ended.
    pub continues: Option<String>,
    /// As of when; none for now, 0 for any.
    pub revision: Option<Revision>,
    /// Whether exactly as of then.
    pub exact: bool,
    /// Whether a watch begins with what is there, and says when that was all.
    pub send_initial_events: Option<bool>,
    /// Whether a watch may carry bookmarks.
    pub bookmarks: bool,
    /// After what time a watch ends.
    pub timeout: Option<Duration>,
}

/// What becomes of an object's dependents when it is deleted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Propagation {
    /// They go after it.
    Background,
    /// They go before it.
    Foreground,
    /// They stay.
    Orphan,
}

/// Options of delete.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct DeleteOptions {
    /// Everything but the write.
    pub dry_run: bool,
    /// Seconds between the wish and the end.
    pub grace: Option<i64>,
    /// Only this incarnation.
    pub uid: Option<String>,
    /// Only this state.
    pub resource_version: Option<String>,
    /// What becomes of the dependents.
    pub propagation: Option<Propagation>,
    /// The same, as it was said before `propagationPolicy` (`orphanDependents`).
    pub orphan: Option<bool>,
}

// === impl WriteOptions ===

impl WriteOptions {
    /// From a query; `kind` names the options in errors, such as `CreateOptions`.
    pub fn of(query: &Query, kind: &str) -> Result<Self, Status> {
        Self::read(query, kind, Vec::new())
    }

    /// From the query of a patch. `applies`: by server-side apply, which must say for whom and may be forced.
    pub fn of_patch(query: &Query, applies: bool) -> Result<Self, Status> {
        let mut errors = Vec::new();
        if !applies && query.flag("force").is_some() {
            errors.push(FieldError::forbidden(
                "force",
                "may not be specified for non-apply patch",
            ));
        }
        if applies && query.get("fieldManager").is_none() {
            errors.push(FieldError::required("fieldManager", "is required for apply patch"));
        }
        Self::read(query, "PatchOptions", errors)
    }

    fn read(query: &Query, kind: &str, mut errors: Vec<FieldError>) -> Result<Self, Status> {
        let field_manager = query.get("fieldManager").unwrap_or_default().to_owned();
        errors.extend(check_manager(&field_manager));
        let (more, dry_run) = dry_run(query.all("dryRun"));
        errors.extend(more);
        let validation = match query.get("fieldValidation") {
            None | Some("Warn") => Validation::Warn,
            Some("Ignore") => Validation::Ignore,
            Some("Strict") => Validation::Strict,
            Some(other) => {
                errors.push(FieldError::not_supported(
                    "fieldValidation",
                    other,
                    &["", "Ignore", "Strict", "Warn"],
                ));
                Validation::Warn
            }
        };
        checked(kind, &errors)?;
        Ok(Self {
            dry_run,
            validation,
            field_manager,
            force: query.flag("force").unwrap_or(false),
        })
    }
}

// === impl ListOptions ===

impl ListOptions {
    /// From a list's query.
    pub fn of_list(query: &Query) -> Result<Self, Status> {
        let options = Self::of(query)?;
        let mut errors = Vec::new();
        if let Some(word) = query.get("resourceVersionMatch") {
            let forbidden = |why: &str| FieldError::forbidden("resourceVersionMatch", why);
            if query.get("resourceVersion").is_none() {
                errors.push(forbidden(
                    "resourceVersionMatch is forbidden unless resourceVersion is provided",
                ));
            }
            if options.continues.is_some() {
                errors.push(forbidden("resourceVersionMatch is forbidden when continue is provided"));
            }
            if !["Exact", "NotOlderThan"].contains(&word) {
                errors.push(FieldError::not_supported(
                    "resourceVersionMatch",
                    word,
                    &["Exact", "NotOlderThan", ""],
                ));
            }
            if options.exact && options.revision == Some(0) {
                errors.push(forbidden(
                    "resourceVersionMatch \"exact\" is forbidden for resourceVersion \"0\"",
                ));
            }
        }
        if options.send_initial_events.is_some() {
            errors.push(FieldError::forbidden(
                "sendInitialEvents",
                "sendInitialEvents is forbidden for list",
            ));
        }
        checked("ListOptions", &errors)?;
        if options.continues.is_some() && query.get("resourceVersion").is_some_and(|revision| revision != "0") {
            return Err(status::bad_request(
                "specifying resource version is not allowed when using continue",
            ));
        }
        Ok(options)
    }

    /// From a watch's query.
    pub fn of_watch(query: &Query) -> Result<Self, Status> {
        let options = Self::of(query)?;
        let mut errors = Vec::new();
        let word = query.get("resourceVersionMatch");
        let forbidden = |why: &str| FieldError::forbidden("resourceVersionMatch", why);
        if options.send_initial_events.is_some() && word != Some("NotOlderThan") {
            errors.push(forbidden(
                "sendInitialEvents requires setting resourceVersionMatch to NotOlderThan",
            ));
        }
        if let Some(word) = word {
            if options.send_initial_events.is_none() {
                errors.push(forbidden(
                    "resourceVersionMatch is forbidden for watch unless sendInitialEvents is provided",
                ));
            }
            if word != "NotOlderThan" {
                errors.push(FieldError::not_supported(
                    "resourceVersionMatch",
                    word,
                    &["NotOlderThan"],
                ));
            }
            if options.continues.is_some() {
                errors.push(forbidden("resourceVersionMatch is forbidden when continue is provided"));
            }
        }
        checked("ListOptions", &errors)?;
        Ok(options)
    }

    fn of(query: &Query) -> Result<Self, Status> {
        let revision = query.get("resourceVersion").map(|text| {
            text.parse::<Revision>().map_err(|_| {
                checked(
                    "ListOptions",
                    &[FieldError::invalid(
                        "resourceVersion",
                        text,
                        "strconv.ParseUint: parsing: invalid syntax",
                    )],
                )
                .err()
                .unwrap_or_else(|| status::bad_request("invalid resourceVersion"))
            })
        });
        let limit = number(query, "limit")?.unwrap_or(0);
        let timeout = number(query, "timeoutSeconds")?.and_then(|seconds| u64::try_from(seconds).ok());
        Ok(Self {
            limit: usize::try_from(limit).unwrap_or(0),
            continues: query.get("continue").map(str::to_owned),
            revision: revision.transpose()?,
            exact: query.get("resourceVersionMatch") == Some("Exact"),
            send_initial_events: query.flag("sendInitialEvents"),
            bookmarks: query.flag("allowWatchBookmarks").unwrap_or(false),
            timeout: timeout.filter(|seconds| *seconds > 0).map(Duration::from_secs),
        })
    }
}

// === impl Propagation ===

impl Propagation {
    fn of(word: &str) -> Option<Self> {
        match word {
            "Background" => Some(Self::Background),
            "Foreground" => Some(Self::Foreground),
            "Orphan" => Some(Self::Orphan),
            _ => None,
        }
    }
}

// === impl DeleteOptions ===

impl DeleteOptions {
    /// From a delete's body, if it has one, else from its query.
    pub fn of(query: &Query, body: Option<&Value>) -> Result<Self, Status> {
        let mut options = Self::default();
        let (mut errors, policy);
        if let Some(body) = body.filter(|body| !body.is_null()) {
            let words: Vec<&str> = body
                .get("dryRun")
                .and_then(Value::as_array)
                .into_iter()
                .flatten()
                .filter_map(Value::as_str)
                .collect();
            (errors, options.dry_run) = dry_run(words.into_iter());
            options.grace = body.get("gracePeriodSeconds").and_then(Value::as_i64);
            let text = |pointer: &str| body.pointer(pointer).and_then(Value::as_str).map(str::to_owned);
            options.uid = text("/preconditions/uid");
            options.resource_version = text("/preconditions/resourceVersion");
            policy = text("/propagationPolicy");
            options.orphan = body.get("orphanDependents").and_then(Value::as_bool);
        } else {
            (errors, options.dry_run) = dry_run(query.all("dryRun"));
            options.grace = number(query, "gracePeriodSeconds")?;
            policy = query.get("propagationPolicy").map(str::to_owned);
            options.orphan = query.flag("orphanDependents");
        }
        if let Some(policy) = policy {
            if options.orphan.is_some() {
                let why = "orphanDependents and deletionPropagation cannot be both set";
                errors.insert(0, FieldError::invalid("propagationPolicy", policy.as_str(), why));
            }
            options.propagation = Propagation::of(&policy);
            if options.propagation.is_none() {
                let known = ["Background", "Foreground", "Orphan"];
                errors.push(FieldError::not_supported("propagationPolicy", policy, &known));
            }
        }
        checked("DeleteOptions", &errors)?;
        Ok(options)
    }
}

/// The longest name of a manager, in bytes.
const MAX_MANAGER: usize = 128;

fn check_manager(name: &str) -> Vec<FieldError> {
    let mut errors = Vec::new();
    if name.len() > MAX_MANAGER {
        errors.push(FieldError::too_long("fieldManager", MAX_MANAGER));
    }
    for (at, c) in name.char_indices().filter(|(_, c)| c.is_control()) {
        let why = format!("invalid character U+{:04X} (at position {at})", u32::from(c));
        errors.push(FieldError::invalid("fieldManager", name, why));
    }
    errors
}

fn dry_run<'a>(words: impl Iterator<Item = &'a str>) -> (Vec<FieldError>, bool) {
    let words: Vec<&str> = words.filter(|word| !word.is_empty()).collect();
    let errors = words
        .iter()
        .filter(|word| **word != "All")
        .map(|word| FieldError::not_supported("dryRun", *word, &["All"]))
        .collect();
    (errors, !words.is_empty())
}

fn number(query: &Query, name: &str) -> Result<Option<i64>, Status> {
    let Some(text) = query.get(name) else { return Ok(None) };
    let number = text
        .parse()
        .map_err(|_| status::bad_request(format!("the query parameter {name}={text:?} is not a whole number")))?;
    Ok(Some(number))
}

/// 422 for options, which have a kind of `meta.k8s.io` and no name.
fn checked(kind: &str, errors: &[FieldError]) -> Result<(), Status> {
    if errors.is_empty() {
        return Ok(());
    }
    let sentences: Vec<String> = errors.iter().map(ToString::to_string).collect();
    let all = if sentences.len() == 1 {
        sentences.concat()
    } else {
        format!("[{}]", sentences.join(", "))
    };
    let mut status = status::unprocessable(format!("{kind}.meta.k8s.io \"\" is invalid: {all}"));
    status.details.insert("group".to_owned(), "meta.k8s.io".into());
    status.details.insert("kind".to_owned(), kind.into());
    Err(errors
        .iter()
        .fold(status, |status, e| status.cause(e.reason.code(), &e.body(), &e.field)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn options_that_contradict_each_other_are_refused() {
        for (query, sentence) in [
            (
                "resourceVersionMatch=Exact",
                "resourceVersionMatch is forbidden unless resourceVersion is provided",
            ),
            (
                "resourceVersionMatch=Exact&resourceVersion=0",
                "is forbidden for resourceVersion \"0\"",
            ),
            ("sendInitialEvents=true", "sendInitialEvents is forbidden for list"),
            ("limit=x", "not a whole number"),
            ("resourceVersion=abc", "resourceVersion: Invalid value"),
        ] {
            let message = ListOptions::of_list(&Query::parse(query)).unwrap_err().message;
            assert!(message.contains(sentence), "{query}: {message}");
        }
        for query in [
            "sendInitialEvents=true",
            "resourceVersionMatch=NotOlderThan",
            "sendInitialEvents=true&resourceVersionMatch=Exact",
        ] {
            assert_eq!(
                ListOptions::of_watch(&Query::parse(query)).unwrap_err().code,
                422,
                "{query}"
            );
        }
        assert!(
            ListOptions::of_watch(&Query::parse(
                "sendInitialEvents=true&resourceVersionMatch=NotOlderThan"
            ))
            .is_ok()
        );
        assert_eq!(
            WriteOptions::of(&Query::parse("dryRun=Some"), "CreateOptions")
                .unwrap_err()
                .code,
            422
        );
        assert_eq!(
            WriteOptions::of(&Query::parse("fieldValidation=x"), "CreateOptions")
                .unwrap_err()
                .code,
            422
        );
    }

    #[test]
    fn a_deletes_body_wins_over_its_query() {
        let body = json!({"gracePeriodSeconds": 5, "preconditions": {"uid": "u"}, "dryRun": ["All"], "propagationPolicy": "Background"});
        let options = DeleteOptions::of(&Query::parse("gracePeriodSeconds=9"), Some(&body)).unwrap();
        assert_eq!(
            options,
            DeleteOptions {
                dry_run: true,
                grace: Some(5),
                uid: Some("u".to_owned()),
                propagation: Some(Propagation::Background),
                ..DeleteOptions::default()
            }
        );
        let options = DeleteOptions::of(&Query::parse("gracePeriodSeconds=9"), None).unwrap();
        assert_eq!(options.grace, Some(9));
        for query in ["propagationPolicy=x", "propagationPolicy=Orphan&orphanDependents=true"] {
            assert_eq!(
                DeleteOptions::of(&Query::parse(query), None).unwrap_err().code,
                422,
                "{query}"
            );
        }
    }
}
