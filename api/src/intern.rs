//! Names that come at run time (those of custom resources) as `&'static str`, each kept once for the process's life.
//!
//! So the rules of built-in and of custom kinds have the same type. What is kept is bounded by the distinct names that were
//! ever defined: tens of bytes each.

use std::{
    collections::HashSet,
    sync::{Mutex, PoisonError},
};

static NAMES: Mutex<Option<HashSet<&'static str>>> = Mutex::new(None);

/// The one copy of `text`.
pub(crate) fn intern(text: &str) -> &'static str {
    let mut names = NAMES.lock().unwrap_or_else(PoisonError::into_inner);
    let names = names.get_or_insert_with(HashSet::new);
    if let Some(known) = names.get(text) {
        return known;
    }
    let kept: &'static str = Box::leak(text.into());
    names.insert(kept);
    kept
}

#[cfg(test)]
mod tests {
    use super::intern;

    #[test]
    fn equal_names_are_one() {
        let elsewhere = "widgets".to_owned();
        let (first, second) = (intern(&elsewhere), intern("widgets"));
        assert!(std::ptr::eq(first, second));
        assert_ne!(first, intern("gadgets"));
    }
}
