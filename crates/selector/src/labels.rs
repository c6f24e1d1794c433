//! What a selector is evaluated against.

use alloc::{borrow::Borrow, collections::BTreeMap, vec::Vec};

/// A set of labels. A label with an empty value is present.
pub trait Labels {
    /// The value of the label called `name`, or `None` if there is no such label.
    fn label(&self, name: &str) -> Option<&str>;
}

/// No labels.
impl Labels for () {
    fn label(&self, _: &str) -> Option<&str> {
        None
    }
}

impl<K: Borrow<str> + Ord, V: AsRef<str>> Labels for BTreeMap<K, V> {
    fn label(&self, name: &str) -> Option<&str> {
        self.get(name).map(AsRef::as_ref)
    }
}

/// Pairs of name and value. If several pairs have the same name, the first counts.
impl<K: AsRef<str>, V: AsRef<str>> Labels for [(K, V)] {
    fn label(&self, name: &str) -> Option<&str> {
        self.iter().find(|(known, _)| known.as_ref() == name).map(|(_, value)| value.as_ref())
    }
}

impl<K: AsRef<str>, V: AsRef<str>, const N: usize> Labels for [(K, V); N] {
    fn label(&self, name: &str) -> Option<&str> {
        self.as_slice().label(name)
    }
}

impl<K: AsRef<str>, V: AsRef<str>> Labels for Vec<(K, V)> {
    fn label(&self, name: &str) -> Option<&str> {
        self.as_slice().label(name)
    }
}

/// `None` has no labels.
impl<L: Labels> Labels for Option<L> {
    fn label(&self, name: &str) -> Option<&str> {
        self.as_ref().and_then(|labels| labels.label(name))
    }
}

impl<L: Labels + ?Sized> Labels for &L {
    fn label(&self, name: &str) -> Option<&str> {
        (**self).label(name)
    }
}
