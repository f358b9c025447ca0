//! How deep a value is nested: what is kept has to be readable again, and readers bound the nesting.

use serde_json::Value;

/// The JSON parser reads no deeper. Upstream reads 10,000 levels; but values are dropped, copied and compared level by level on
/// the stack, which so many would overflow.
pub const DEEPEST: usize = 127;

/// Lists and maps around the innermost value. Walks without recursion, since it is asked about values that may be too deep.
pub fn depth(value: &Value) -> usize {
    let (mut deepest, mut rest) = (0, vec![(value, 0)]);
    while let Some((value, around)) = rest.pop() {
        deepest = deepest.max(around);
        match value {
            Value::Array(items) => {
                deepest = deepest.max(around + 1);
                rest.extend(items.iter().map(|item| (item, around + 1)));
            }
            Value::Object(members) => {
                deepest = deepest.max(around + 1);
                rest.extend(members.values().map(|member| (member, around + 1)));
            }
            Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
        }
    }
    deepest
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn the_deepest_that_is_allowed_can_be_read() {
        assert_eq!(
            [json!(1), json!({}), json!({ "a": [1] })].map(|value| depth(&value)),
            [0, 1, 2]
        );
        let nested = |levels: usize| format!("{}{}", "[".repeat(levels), "]".repeat(levels));
        let value: Value = serde_json::from_str(&nested(DEEPEST)).unwrap();
        assert_eq!(depth(&value), DEEPEST);
        assert!(serde_json::from_str::<Value>(&nested(DEEPEST + 1)).is_err());
    }
}
