//! The items of a list whose items are told apart, found by what tells them apart.

use super::view::{Misfit, View};
use super::{Element, set};
use serde_json::Value;

/// The distinct elements of a list in their order, each with every item that it names.
pub(super) type Listed<'a> = Vec<(Element, Vec<&'a Value>)>;

/// Reads a list; `path` is where it stands, for errors.
pub(super) fn listed<'a>(view: View<'_>, list: &'a [Value], path: &[Element]) -> Result<Listed<'a>, Misfit> {
    let mut found: Listed<'a> = Vec::with_capacity(list.len());
    for (at, item) in list.iter().enumerate() {
        let element = view
            .element(item)
            .map_err(|why| Misfit(format!("{}: element {at}: {why}", set::path_text(path))))?;
        match find(&found, &element) {
            Some(at) => found[at].1.push(item),
            None => found.push((element, vec![item])),
        }
    }
    Ok(found)
}

/// Where an element is. Lists are short; a scan beats an index.
pub(super) fn find(listed: &Listed<'_>, element: &Element) -> Option<usize> {
    listed.iter().position(|(other, _)| other == element)
}

/// The items that `element` names.
pub(super) fn items<'l, 'a>(listed: &'l Listed<'a>, element: &Element) -> &'l [&'a Value] {
    find(listed, element).map_or(&[], |at| &listed[at].1)
}
