//! `$(NAME)` in commands, arguments and values; `$$` is a dollar sign; unknown names stay as they are
//! (upstream: third_party/forked/golang/expansion).

/// `text` with every reference replaced by what `lookup` says.
pub fn expand<'a>(text: &str, lookup: impl Fn(&str) -> Option<&'a str>) -> String {
    let mut expanded = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(dollar) = rest.find('$') {
        expanded.push_str(&rest[..dollar]);
        rest = &rest[dollar + 1..];
        if let Some(after) = rest.strip_prefix('$') {
            expanded.push('$');
            rest = after;
        } else if let Some((name, after)) = rest.strip_prefix('(').and_then(|inner| inner.split_once(')')) {
            match lookup(name) {
                Some(value) => expanded.push_str(value),
                None => expanded.push_str(&format!("$({name})")),
            }
            rest = after;
        } else {
            expanded.push('$');
        }
    }
    expanded.push_str(rest);
    expanded
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn references_are_replaced_as_upstream_does() {
        let cases = [
            ("plain", "plain"),
            ("$(A)", "1"),
            ("$(A)-$(B)", "1-$(A)"),
            ("$$(A)", "$(A)"),
            ("$$$(A)", "$1"),
            ("$(MISSING)", "$(MISSING)"),
            ("$(A", "$(A"),
            ("$A $", "$A $"),
            ("", ""),
        ];
        for (text, expected) in cases {
            let expanded = expand(text, |name| match name {
                "A" => Some("1"),
                "B" => Some("$(A)"),
                _ => None,
            });
            assert_eq!(expanded, expected, "{text}");
        }
    }
}
