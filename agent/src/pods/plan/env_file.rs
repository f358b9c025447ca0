//! Variables in files that containers of the pod wrote (upstream: `fileKeyRef` of pkg/kubelet/kubelet_pods.go, and
//! pkg/kubelet/util/env for what such a file may say).

use super::{Lookups, Refusal};
use k8s_openapi::api::core::v1::FileKeySelector;
use std::collections::BTreeMap;

/// Files by volume and path: what one says, None where there is none, or why it cannot be read.
pub type EnvFiles = BTreeMap<(String, String), Result<Option<String>, String>>;

/// Most bytes of a key (the field's description).
const KEY: usize = 128;
/// Most bytes of a value, as upstream.
const VALUE: usize = 32 << 10;

/// The value of the variable; None if it is optional and not there. Unlike upstream, which takes a value of no letters for none.
pub fn from_file(from: &FileKeySelector, lookups: &Lookups) -> Result<Option<String>, Refusal> {
    let FileKeySelector { key, path, .. } = from;
    if key.len() > KEY {
        return refuse(format!(
            "environment variable key {key:?} exceeds maximum length of {KEY} characters"
        ));
    }
    let is_optional = from.optional == Some(true);
    let text = match lookups.env_files.get(&(from.volume_name.clone(), path.clone())) {
        Some(Ok(Some(text))) => text,
        Some(Ok(None)) if is_optional => return Ok(None),
        Some(Ok(None)) => {
            return refuse(format!(
                "couldn't parse env file: there is no file {path:?} in the volume"
            ));
        }
        Some(Err(why)) => return refuse(format!("couldn't parse env file: {path:?} {why}")),
        None => {
            return refuse(format!(
                "cannot find the volume {:?} referenced by FileKeyRef",
                from.volume_name
            ));
        }
    };
    let found = value(text, key).map_err(|why| Refusal(format!("couldn't parse env file: {path:?}: {why}")))?;
    match found {
        Some(value) if value.len() > VALUE => refuse(format!(
            "environment variable value of key {key:?} exceeds maximum size of {VALUE} bytes"
        )),
        Some(value) if value.contains('\0') => {
            refuse(format!("environment variable value of key {key:?} has a zero byte"))
        }
        None if !is_optional => refuse(format!("environment variable key {key:?} not found in file {path:?}")),
        found => Ok(found),
    }
}

fn refuse<T>(why: String) -> Result<T, Refusal> {
    Err(Refusal(why))
}

/// Looks for a key. The file is a small part of what a POSIX shell reads: `KEY='value'`, over several lines if it has them, and
/// comments. What stands behind the key is not looked at, as upstream.
fn value(text: &str, wanted: &str) -> Result<Option<String>, String> {
    let mut lines = Lines::of(text);
    while let Some((number, line)) = lines.next() {
        let line = line.trim_start_matches(BLANKS);
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        let wrong = |why: &str| Err(format!("invalid environment variable format at line {number}: {why}"));
        let Some((key, rest)) = line.split_once('=') else {
            return wrong("missing '='");
        };
        match key.trim_end_matches(BLANKS) {
            "" => return wrong("empty variable name"),
            trimmed if trimmed != key => return wrong("whitespace before '=' is not allowed"),
            _ => {}
        }
        // To a shell that is a variable with nothing in it, and a program to run.
        let value = if rest.starts_with(BLANKS) {
            String::new()
        } else if let Some(rest) = rest.strip_prefix('\'') {
            lines.quoted(number, rest)?
        } else {
            return wrong("value must be enclosed in single quotes");
        };
        if key == wanted {
            return Ok(Some(value));
        }
    }
    Ok(None)
}

const BLANKS: [char; 2] = [' ', '\t'];

/// Lines and their numbers, from 1.
struct Lines<'a> {
    left: Option<&'a str>,
    number: usize,
}

impl<'a> Lines<'a> {
    fn of(text: &'a str) -> Lines<'a> {
        Lines {
            left: Some(text),
            number: 0,
        }
    }

    fn next(&mut self) -> Option<(usize, &'a str)> {
        let left = self.left.filter(|left| !left.is_empty())?;
        let (line, left) = match left.split_once('\n') {
            Some((line, left)) => (line, Some(left)),
            None => (left, None),
        };
        self.left = left;
        self.number += 1;
        Some((self.number, line.strip_suffix('\r').unwrap_or(line)))
    }

    /// Everything up to the next quote; `rest` is what the line has behind the first one.
    fn quoted(&mut self, first: usize, mut rest: &'a str) -> Result<String, String> {
        let mut value = String::new();
        loop {
            if let Some((last, behind)) = rest.split_once('\'') {
                let behind = behind.trim_start_matches(BLANKS);
                if !(behind.is_empty() || behind.starts_with('#')) {
                    let why = "unexpected content after closing quote";
                    return Err(format!(
                        "invalid environment variable format at line {}: {why}",
                        self.number
                    ));
                }
                value.push_str(last);
                return Ok(value);
            }
            value.push_str(rest);
            value.push('\n');
            let Some((_, next)) = self.next() else {
                let why = "unclosed single quote";
                return Err(format!(
                    "invalid environment variable format starting at line {first}: {why}"
                ));
            };
            rest = next;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    #[test]
    fn files_are_read_as_a_shell_reads_them_or_refused() {
        let not_quoted = "invalid environment variable format at line 2: value must be enclosed in single quotes";
        let behind = "unexpected content after closing quote";
        let table: &[(&str, Result<Option<&str>, &str>)] = &[
            ("", Ok(None)),
            ("A='1'\nK='v'\n", Ok(Some("v"))),
            ("K='v'", Ok(Some("v"))),
            ("A='1'\n", Ok(None)),
            ("KK='1'\nk='2'\n", Ok(None)),
            ("# K='no'\n\n  \t\n  # more\n \tK='v'\n", Ok(Some("v"))),
            ("K='a#b'  # comment\n", Ok(Some("a#b"))),
            ("K='v'\r\nA='1'\r\n", Ok(Some("v"))),
            ("K='a=b=c'", Ok(Some("a=b=c"))),
            ("K='  a  '", Ok(Some("  a  "))),
            ("K=''", Ok(Some(""))),
            ("K= 'v'", Ok(Some(""))),
            ("K='$A ${A} \\n \"x\" 🌍'", Ok(Some("$A ${A} \\n \"x\" 🌍"))),
            ("K='one\n  two\n\n# three '\nA='1'", Ok(Some("one\n  two\n\n# three "))),
            ("K='first'\nK='second'", Ok(Some("first"))),
            ("K='v'\nthis is not looked at", Ok(Some("v"))),
            ("A='1'\nK=v\n", Err(not_quoted)),
            ("A='1'\nK=\"v\"\n", Err(not_quoted)),
            ("A='1'\nK=\n", Err(not_quoted)),
            (
                "A='1'\nK\n",
                Err("invalid environment variable format at line 2: missing '='"),
            ),
            (
                "='1'\n",
                Err("invalid environment variable format at line 1: empty variable name"),
            ),
            (
                "K ='v'\n",
                Err("invalid environment variable format at line 1: whitespace before '=' is not allowed"),
            ),
            ("K='a''b'", Err(behind)),
            ("K='a'b", Err(behind)),
            ("K='a\nA='1'\n", Err("line 2: unexpected content after closing quote")),
            ("A='1'\n\nK='a\nb\n", Err("starting at line 3: unclosed single quote")),
        ];
        for (text, expected) in table {
            match (value(text, "K"), expected) {
                (Ok(found), Ok(expected)) => assert_eq!(found.as_deref(), *expected, "{text}"),
                (Err(why), Err(expected)) => assert!(why.contains(expected), "{text}: {why}"),
                (found, expected) => panic!("{text}: {found:?} and not {expected:?}"),
            }
        }
    }

    #[test]
    fn what_is_missing_is_refused_unless_it_is_optional_and_what_is_bad_always() {
        let long = "k".repeat(KEY + 1);
        let file = |text: &str| Ok(Some(text.to_owned()));
        let large = format!("K='{}'", "x".repeat(VALUE + 1));
        let files = [
            ("good", file("K='v'")),
            ("bad", file("K")),
            ("large", file(&large)),
            ("zero", file("K='a\0b'")),
            ("gone", Ok(None)),
            ("hostile", Err("is no file".to_owned())),
        ];
        let files = files.map(|(path, text)| (("v".to_owned(), path.to_owned()), text));
        let lookups = Lookups {
            env_files: files.into(),
            ..Lookups::default()
        };
        let of = |volume: &str, path: &str, key: &str, optional: Value| {
            let from = json!({"volumeName": volume, "path": path, "key": key, "optional": optional});
            from_file(&serde_json::from_value(from).unwrap(), &lookups).map_err(|why| why.0)
        };
        assert_eq!(of("v", "good", "K", Value::Null), Ok(Some("v".to_owned())));
        // Volume, file, key, what is said, and whether nothing is said if it is optional.
        let table = [
            (
                "v",
                "good",
                "L",
                "environment variable key \"L\" not found in file \"good\"",
                true,
            ),
            (
                "v",
                "gone",
                "K",
                "couldn't parse env file: there is no file \"gone\" in the volume",
                true,
            ),
            ("v", "bad", "K", "couldn't parse env file: \"bad\": invalid", false),
            ("v", "large", "K", "exceeds maximum size", false),
            ("v", "zero", "K", "zero byte", false),
            (
                "v",
                "hostile",
                "K",
                "couldn't parse env file: \"hostile\" is no file",
                false,
            ),
            ("w", "good", "K", "cannot find the volume \"w\"", false),
            ("v", "good", &*long, "exceeds maximum length of 128", false),
        ];
        for (volume, path, key, expected, may_be_missing) in table {
            for optional in [Value::Null, json!(false)] {
                let why = of(volume, path, key, optional).unwrap_err();
                assert!(why.contains(expected), "{why}");
            }
            assert_eq!(
                of(volume, path, key, json!(true)) == Ok(None),
                may_be_missing,
                "{path} {key}"
            );
        }
    }
}
