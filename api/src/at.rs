//! A place in an object: a value together with the path that upstream's errors name it by.

use crate::{field::FieldError, read};
use serde_json::Value;

static NULL: Value = Value::Null;

/// A value inside an object, and where it is.
#[derive(Clone, Debug)]
pub struct At<'a> {
    /// The value; null where the object has none.
    pub value: &'a Value,
    path: String,
}

impl<'a> At<'a> {
    /// `value`, which errors call `path`; the whole object has the empty path.
    pub fn new(value: &'a Value, path: impl Into<String>) -> Self {
        Self {
            value,
            path: path.into(),
        }
    }

    /// The member `key`.
    pub fn child(&self, key: &str) -> At<'a> {
        At::new(self.value.get(key).unwrap_or(&NULL), self.path(key))
    }

    /// The member `key`, unless it is absent or null.
    pub fn some(&self, key: &str) -> Option<At<'a>> {
        self.value
            .get(key)
            .filter(|v| !v.is_null())
            .map(|v| At::new(v, self.path(key)))
    }

    /// The items of the list `key`.
    pub fn items(&self, key: &str) -> Vec<At<'a>> {
        let items = self.value.get(key).and_then(Value::as_array);
        let path = self.path(key);
        let items = items.into_iter().flatten().enumerate();
        items
            .map(|(index, item)| At::new(item, format!("{path}[{index}]")))
            .collect()
    }

    /// The members of the map `key`, each at `key[member]`.
    pub fn entries(&self, key: &str) -> Vec<(&'a str, At<'a>)> {
        let members = self.value.get(key).and_then(Value::as_object);
        let path = self.path(key);
        let members = members.into_iter().flatten();
        members
            .map(|(name, value)| (name.as_str(), At::new(value, format!("{path}[{name}]"))))
            .collect()
    }

    /// What errors call the member `key`; with the empty key, this value.
    pub fn path(&self, key: &str) -> String {
        match (self.path.is_empty(), key.is_empty()) {
            (true, _) => key.to_owned(),
            (false, true) => self.path.clone(),
            (false, false) => format!("{}.{key}", self.path),
        }
    }

    /// Whether the member `key` is there and not null.
    pub fn has(&self, key: &str) -> bool {
        self.value.get(key).is_some_and(|v| !v.is_null())
    }

    /// Text of the member `key`, or empty.
    pub fn text(&self, key: &str) -> &'a str {
        self.value.get(key).and_then(Value::as_str).unwrap_or_default()
    }

    /// This value as text, or empty.
    pub fn as_text(&self) -> &'a str {
        self.value.as_str().unwrap_or_default()
    }

    /// Number of the member `key`, or 0.
    pub fn int(&self, key: &str) -> i64 {
        self.value.get(key).and_then(Value::as_i64).unwrap_or_default()
    }

    /// Flag of the member `key`, or false.
    pub fn flag(&self, key: &str) -> bool {
        self.value.get(key).and_then(Value::as_bool).unwrap_or_default()
    }

    /// Number of the member `key`, where there is one.
    pub fn number(&self, key: &str) -> Option<i64> {
        self.value.get(key).and_then(Value::as_i64)
    }

    /// Items of the list `key`, without their places.
    pub fn list(&self, key: &str) -> &'a [Value] {
        self.value.get(key).and_then(Value::as_array).map_or(&[], Vec::as_slice)
    }

    /// What `rule` finds wrong with the text of the member `key`, where that is not empty.
    pub fn judge(&self, key: &str, rule: impl Fn(&str) -> Vec<String>) -> Vec<FieldError> {
        match self.text(key) {
            "" => Vec::new(),
            text => self.invalid_text(key, rule(text)),
        }
    }

    /// What `rule` finds wrong with the number `key`, where there is one.
    pub fn judge_number(&self, key: &str, rule: impl Fn(i64) -> Vec<String>) -> Vec<FieldError> {
        match self.number(key) {
            Some(number) => self.invalid(key, rule(number)),
            None => Vec::new(),
        }
    }

    /// The member `key` is missing, if its text is empty.
    pub fn need(&self, key: &str) -> Option<FieldError> {
        self.text(key).is_empty().then(|| self.required(key, ""))
    }

    /// What is wrong with the text of the member `key`, which must be there and pass `rule`.
    pub fn need_judged(&self, key: &str, rule: impl Fn(&str) -> Vec<String>) -> Vec<FieldError> {
        match self.need(key) {
            Some(missing) => vec![missing],
            None => self.judge(key, rule),
        }
    }

    /// The member `key` is missing.
    pub fn required(&self, key: &str, detail: impl Into<String>) -> FieldError {
        FieldError::required(self.path(key), detail)
    }

    /// The member `key` may not be set.
    pub fn forbidden(&self, key: &str, detail: impl Into<String>) -> FieldError {
        FieldError::forbidden(self.path(key), detail)
    }

    /// The member `key` is malformed, once for each of `messages`.
    pub fn invalid(&self, key: &str, messages: impl IntoIterator<Item = impl Into<String>>) -> Vec<FieldError> {
        let value = if key.is_empty() {
            self.value
        } else {
            self.value.get(key).unwrap_or(&NULL)
        };
        let messages = messages.into_iter();
        messages
            .map(|message| FieldError::invalid(self.path(key), value.clone(), message))
            .collect()
    }

    /// The text of the member `key` is malformed, once for each of `messages`; absent text shows as empty.
    pub fn invalid_text(&self, key: &str, messages: impl IntoIterator<Item = impl Into<String>>) -> Vec<FieldError> {
        let value = if key.is_empty() { self.as_text() } else { self.text(key) };
        let messages = messages.into_iter();
        messages
            .map(|message| FieldError::invalid(self.path(key), value, message))
            .collect()
    }

    /// What is wrong with the member `key`, which must be one of `known` if it is there.
    pub fn one_of(&self, key: &str, known: &[&str]) -> Option<FieldError> {
        let word = self.value.get(key).filter(|v| !v.is_null())?;
        let is_known = word.as_str().is_some_and(|word| known.contains(&word));
        (!is_known).then(|| FieldError::not_supported(self.path(key), word.clone(), known))
    }

    /// The same where it must be there too.
    pub fn must_be_one_of(&self, key: &str, known: &[&str]) -> Option<FieldError> {
        if self.text(key).is_empty() {
            return Some(self.required(key, ""));
        }
        self.one_of(key, known)
    }

    /// What is wrong where the member `key` differs from `old`'s though it may not change.
    pub fn immutable(&self, old: &Value, key: &str) -> Option<FieldError> {
        let before = old.get(key).unwrap_or(&NULL);
        let now = self.value.get(key).unwrap_or(&NULL);
        (before != now).then(|| FieldError::invalid(self.path(key), now.clone(), "field is immutable"))
    }
}

/// The whole object.
pub fn root(object: &Value) -> At<'_> {
    At::new(object, "")
}

/// Applies `fill` to each item of the list at `pointer`, for defaults.
pub fn each_mut(object: &mut Value, pointer: &str, mut fill: impl FnMut(&mut Value)) {
    let items = object.pointer_mut(pointer).and_then(Value::as_array_mut);
    items.into_iter().flatten().for_each(&mut fill);
}

/// Applies `fill` to the value at `pointer`, where there is one.
pub fn some_mut(object: &mut Value, pointer: &str, fill: impl FnOnce(&mut Value)) {
    if read::some(object, pointer).is_some()
        && let Some(value) = object.pointer_mut(pointer)
    {
        fill(value);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn places_name_themselves_as_upstream_does() {
        let object = json!({ "spec": { "rules": [{ "host": "x" }, { "kind": 3 }], "map": { "a": 1 }, "none": null } });
        let spec = root(&object).child("spec");
        let rules = spec.items("rules");
        assert_eq!(rules[0].path("host"), "spec.rules[0].host");
        assert_eq!(spec.entries("map")[0].1.path(""), "spec.map[a]");
        assert!(!spec.has("none") && spec.some("none").is_none());
        assert_eq!(
            rules[0].invalid("host", ["bad"])[0].to_string(),
            "spec.rules[0].host: Invalid value: \"x\": bad"
        );
        assert_eq!(
            rules[1]
                .must_be_one_of("host", &["A"])
                .map(|e| e.to_string())
                .as_deref(),
            Some("spec.rules[1].host: Required value")
        );
        assert!(rules[0].immutable(&json!({ "host": "x" }), "host").is_none());
    }
}
