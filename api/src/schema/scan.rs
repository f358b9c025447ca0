//! Reads JSON, noting members that come twice, which a parsed object no longer shows; and names them as a strict decoder does.

use super::{Root, Shape, Type, Types};
use crate::field::quoted;
use serde::de::{DeserializeSeed, Deserializer, Error, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Number, Value};
use std::{collections::HashSet, fmt};

/// A strict decoder names so many mistakes at most (sigs.k8s.io/json).
const MAX_STRICT_ERRORS: usize = 100;

/// A JSON text, read.
#[derive(Debug)]
pub struct Parsed {
    /// The value; of members that came twice the last one counted.
    pub value: Value,
    /// Whether any member came twice.
    pub has_duplicates: bool,
}

/// Reads one JSON value.
pub fn parse(text: &[u8]) -> Result<Parsed, serde_json::Error> {
    let mut has_duplicates = false;
    let mut json = serde_json::Deserializer::from_slice(text);
    let value = Build(&mut has_duplicates).deserialize(&mut json)?;
    json.end()?;
    Ok(Parsed { value, has_duplicates })
}

struct Build<'a>(&'a mut bool);

impl<'de> DeserializeSeed<'de> for Build<'_> {
    type Value = Value;

    fn deserialize<D: Deserializer<'de>>(self, json: D) -> Result<Value, D::Error> {
        json.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Build<'_> {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("any valid JSON value")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Value, A::Error> {
        let mut members = Map::new();
        while let Some(key) = map.next_key::<String>()? {
            let value = map.next_value_seed(Build(self.0))?;
            *self.0 |= members.insert(key, value).is_some();
        }
        Ok(Value::Object(members))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Value, A::Error> {
        let mut list = Vec::new();
        while let Some(item) = items.next_element_seed(Build(self.0))? {
            list.push(item);
        }
        Ok(Value::Array(list))
    }

    fn visit_bool<E>(self, value: bool) -> Result<Value, E> {
        Ok(Value::Bool(value))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Value, E> {
        Ok(Value::Number(value.into()))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Value, E> {
        Ok(Value::Number(value.into()))
    }

    fn visit_f64<E: Error>(self, value: f64) -> Result<Value, E> {
        Ok(Number::from_f64(value).map_or(Value::Null, Value::Number))
    }

    fn visit_str<E>(self, value: &str) -> Result<Value, E> {
        Ok(Value::String(value.to_owned()))
    }

    fn visit_string<E>(self, value: String) -> Result<Value, E> {
        Ok(Value::String(value))
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }
}

/// What a strict decoder has against a JSON text of that kind (none: of any), in the text's order and in upstream's words:
/// `unknown field "spec.foo"`, `duplicate field "spec.replicas"`. A text that is no JSON has nothing.
pub fn strict_errors(root: Option<Root<'_>>, text: &[u8]) -> Vec<String> {
    let mut found = Found {
        types: root.map(|root| root.types),
        sentences: Vec::new(),
    };
    let mut json = serde_json::Deserializer::from_slice(text);
    let scan = Scan {
        place: root.map_or(Place::Free, |root| Place::Object(root.kind)),
        path: String::new(),
        found: &mut found,
    };
    // The error is the parser's to report.
    let _ = scan.deserialize(&mut json);
    found.sentences
}

struct Found<'t> {
    types: Option<&'t Types>,
    sentences: Vec<String>,
}

impl Found<'_> {
    fn add(&mut self, what: &str, path: &str) {
        let sentence = format!("{what} field {}", quoted(path));
        if self.sentences.len() < MAX_STRICT_ERRORS && !self.sentences.contains(&sentence) {
            self.sentences.push(sentence);
        }
    }
}

/// What is known of a value's type.
#[derive(Clone, Copy)]
enum Place<'t> {
    /// These fields.
    Object(&'t Type),
    /// This shape.
    Shape(&'t Shape),
    /// Anything.
    Free,
    /// Nothing that a decoder looks into.
    Skipped,
}

struct Scan<'a, 't> {
    place: Place<'t>,
    path: String,
    found: &'a mut Found<'t>,
}

impl<'t> Scan<'_, 't> {
    fn object(&self) -> Option<&'t Type> {
        match (self.place, self.found.types) {
            (Place::Object(kind), _) => Some(kind),
            (Place::Shape(Shape::Object(at)), Some(types)) => Some(types.at(*at)),
            (_, _) => None,
        }
    }

    /// The place of a member; none if the kind does not have it.
    fn member(&self, name: &str) -> Option<Place<'t>> {
        match (self.place, self.object()) {
            (Place::Skipped, _) => Some(Place::Skipped),
            (_, Some(kind)) => match kind.field(name) {
                Some(field) => Some(Place::Shape(&field.shape)),
                None if kind.preserves_unknown => Some(Place::Free),
                None => None,
            },
            (Place::Shape(Shape::Map(values)), None) => Some(Place::Shape(values)),
            (_, None) => Some(Place::Free),
        }
    }

    fn item(&self) -> Place<'t> {
        match self.place {
            Place::Skipped => Place::Skipped,
            Place::Shape(Shape::List(items)) => Place::Shape(items),
            Place::Shape(_) | Place::Object(_) | Place::Free => Place::Free,
        }
    }
}

impl<'de> DeserializeSeed<'de> for Scan<'_, '_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, json: D) -> Result<(), D::Error> {
        json.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Scan<'_, '_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JSON")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        let mut seen: HashSet<String> = HashSet::new();
        while let Some(key) = map.next_key::<String>()? {
            let path = if self.path.is_empty() {
                key.clone()
            } else {
                format!("{}.{key}", self.path)
            };
            let place = self.member(&key);
            match place {
                None => self.found.add("unknown", &path),
                Some(Place::Skipped) => {}
                Some(_) if !seen.insert(key) => self.found.add("duplicate", &path),
                Some(_) => {}
            }
            map.next_value_seed(Scan {
                place: place.unwrap_or(Place::Skipped),
                path,
                found: self.found,
            })?;
        }
        Ok(())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<(), A::Error> {
        let mut index = 0;
        while items
            .next_element_seed(Scan {
                place: self.item(),
                path: format!("{}[{index}]", self.path),
                found: self.found,
            })?
            .is_some()
        {
            index += 1;
        }
        Ok(())
    }

    fn visit_bool<E>(self, _: bool) -> Result<(), E> {
        Ok(())
    }

    fn visit_i64<E>(self, _: i64) -> Result<(), E> {
        Ok(())
    }

    fn visit_u64<E>(self, _: u64) -> Result<(), E> {
        Ok(())
    }

    fn visit_f64<E>(self, _: f64) -> Result<(), E> {
        Ok(())
    }

    fn visit_str<E>(self, _: &str) -> Result<(), E> {
        Ok(())
    }

    fn visit_unit<E>(self) -> Result<(), E> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn members_named_twice_are_found_once_each() {
        let text = br#"{"a":1,"a":2,"a":3,"b":{"c":1,"d":[{"e":1,"f":null,"e":"x"}]},"a.b":1.5,"c":true}"#;
        assert_eq!(
            strict_errors(None, text),
            ["duplicate field \"a\"", "duplicate field \"b.d[0].e\""]
        );
        assert!(strict_errors(None, b"{\"a\":1").is_empty());
    }

    #[test]
    fn unknown_and_duplicate_fields_come_in_the_texts_order() {
        let pod = Root::built_in("io.k8s.api.core.v1.Pod");
        let text = br#"{"spec":{"no":1,"no":{"a":1,"a":1},"hostNetwork":true,"hostNetwork":false,"nodeSelector":{"a":"1","a":"2"},
            "containers":[{"name":"a","im":1,"name":"b"}]},"x":1}"#;
        assert_eq!(
            strict_errors(Some(pod), text),
            [
                "unknown field \"spec.no\"",
                "duplicate field \"spec.hostNetwork\"",
                "duplicate field \"spec.nodeSelector.a\"",
                "unknown field \"spec.containers[0].im\"",
                "duplicate field \"spec.containers[0].name\"",
                "unknown field \"x\"",
            ]
        );
    }

    #[test]
    fn what_is_read_is_what_was_written() {
        let text = br#"{"a":[1,-2,1.5,"x\n",true,null,{}],"b":18446744073709551615}"#;
        let parsed = parse(text).expect("this is JSON");
        assert_eq!(
            parsed.value,
            serde_json::from_slice::<Value>(text).expect("this is JSON")
        );
        assert!(!parsed.has_duplicates);
        assert!(parse(br#"{"a":{"b":1,"b":2}}"#).is_ok_and(|p| p.has_duplicates));
        for bad in [&b"{"[..], b"{} {}", b"\xff"] {
            assert!(parse(bad).is_err());
        }
    }
}
