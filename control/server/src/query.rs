//! The query of a request: names and values in the order they came, percent-decoded.

/// Decoded pairs; a name may come several times (`command=`).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Query(Vec<(String, String)>);

// === impl Query ===

impl Query {
    /// From the text after `?`.
    pub fn parse(text: &str) -> Self {
        let pairs = text.split('&').filter(|pair| !pair.is_empty()).map(|pair| {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            (decode(name, true), decode(value, true))
        });
        Self(pairs.collect())
    }

    /// The first value of `name`; absent and empty are the same, as everywhere in upstream's options.
    pub fn get(&self, name: &str) -> Option<&str> {
        let (_, value) = self.0.iter().find(|(n, _)| n == name)?;
        (!value.is_empty()).then_some(value)
    }

    /// All values of `name`.
    pub fn all<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a str> {
        self.0
            .iter()
            .filter(move |(n, _)| n == name)
            .map(|(_, value)| value.as_str())
    }

    /// A boolean as upstream's conversion reads it: absent, `false` and `0` are no, everything else is yes
    /// (apimachinery pkg/runtime/converter.go `Convert_Slice_string_To_bool`).
    pub fn flag(&self, name: &str) -> Option<bool> {
        let (_, value) = self.0.iter().find(|(n, _)| n == name)?;
        Some(!(value.eq_ignore_ascii_case("false") || value == "0"))
    }
}

/// Undoes percent-encoding; in a query `+` is a blank, in a path it is itself. What is no valid escape stays as it is.
pub fn decode(text: &str, plus_is_blank: bool) -> String {
    let bytes = text.as_bytes();
    let mut out = Vec::with_capacity(bytes.len());
    let mut at = 0;
    while at < bytes.len() {
        let escaped = (bytes[at] == b'%')
            .then(|| bytes.get(at + 1..at + 3).and_then(|hex| std::str::from_utf8(hex).ok()))
            .flatten()
            .and_then(|hex| u8::from_str_radix(hex, 16).ok());
        match (escaped, bytes[at]) {
            (Some(byte), _) => {
                out.push(byte);
                at += 2;
            }
            (None, b'+') if plus_is_blank => out.push(b' '),
            (None, byte) => out.push(byte),
        }
        at += 1;
    }
    String::from_utf8_lossy(&out).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pairs_are_decoded_and_kept_in_order() {
        let query = Query::parse("labelSelector=a%3Db%2Cc&command=sh&command=-c&watch&x=1+2&bad=%zz");
        assert_eq!(query.get("labelSelector"), Some("a=b,c"));
        assert_eq!(query.all("command").collect::<Vec<_>>(), ["sh", "-c"]);
        assert_eq!(query.get("x"), Some("1 2"));
        assert_eq!(query.get("bad"), Some("%zz"));
        assert_eq!(query.get("watch"), None);
    }

    #[test]
    fn booleans_are_read_as_upstream_reads_them() {
        for (text, flag) in [
            ("w=true", Some(true)),
            ("w=1", Some(true)),
            ("w", Some(true)),
            ("w=0", Some(false)),
            ("w=False", Some(false)),
            ("", None),
        ] {
            assert_eq!(Query::parse(text).flag("w"), flag, "{text}");
        }
    }
}
