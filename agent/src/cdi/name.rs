//! Names of devices, `vendor/class=device` (upstream: pkg/parser/parser.go).

/// What is wrong with one.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadName {
    /// It has not all three parts.
    #[error("unqualified device {0:?}, it is no vendor/class=device")]
    Unqualified(String),
    /// One of them is none.
    #[error(
        "invalid {part} {name:?}, it must be letters, digits and {inside}, begin with {first} and end with a letter or digit"
    )]
    Part {
        /// Which.
        part: &'static str,
        /// As it is.
        name: String,
        /// What may be in it.
        inside: &'static str,
        /// How it may begin.
        first: &'static str,
    },
}

/// Whether it is a whole name.
pub fn check(name: &str) -> Result<(), BadName> {
    let parts = name
        .split_once('=')
        .and_then(|(kind, device)| Some((split(kind)?, device)));
    let Some(((vendor, class), device)) = parts else {
        return Err(BadName::Unqualified(name.to_owned()));
    };
    self::vendor(vendor)?;
    self::class(class)?;
    self::device(device)
}

/// The vendor and the class of a kind, not looked at yet.
pub fn split(kind: &str) -> Option<(&str, &str)> {
    let parts = kind.split_once('/');
    parts.filter(|(vendor, class)| !vendor.is_empty() && !class.is_empty())
}

pub fn vendor(name: &str) -> Result<(), BadName> {
    of_kind("vendor", name)
}

pub fn class(name: &str) -> Result<(), BadName> {
    of_kind("class", name)
}

/// Unlike the others, it may begin with a digit and have colons inside.
pub fn device(name: &str) -> Result<(), BadName> {
    let is_one = is(name, |first| first.is_ascii_alphanumeric(), b"_-.:");
    refuse(is_one, "device name", name, "'_', '-', '.', ':'", "a letter or digit")
}

fn of_kind(part: &'static str, name: &str) -> Result<(), BadName> {
    let is_one = is(name, |first| first.is_ascii_alphabetic(), b"_-.");
    refuse(is_one, part, name, "'_', '-', '.'", "a letter")
}

fn refuse(
    is_one: bool,
    part: &'static str,
    name: &str,
    inside: &'static str,
    first: &'static str,
) -> Result<(), BadName> {
    let name = name.to_owned();
    let bad = || BadName::Part {
        part,
        name,
        inside,
        first,
    };
    is_one.then_some(()).ok_or_else(bad)
}

fn is(name: &str, may_be_first: impl Fn(&u8) -> bool, inside: &[u8]) -> bool {
    let bytes = name.as_bytes();
    let may_be_inside = |byte: &u8| byte.is_ascii_alphanumeric() || inside.contains(byte);
    bytes.first().is_some_and(may_be_first)
        && bytes.last().is_some_and(u8::is_ascii_alphanumeric)
        && bytes.iter().all(may_be_inside)
}
