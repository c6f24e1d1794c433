//! Sets and removes single labels (`calicoctl/commands/label.go`).

use std::collections::BTreeMap;

/// What to do with a label.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LabelChange {
    /// Set it.
    Set {
        /// The label.
        key: String,
        /// Its value.
        value: String,
        /// Whether another value may be replaced.
        overwrite: bool,
    },
    /// Remove it.
    Remove {
        /// The label.
        key: String,
    },
}

/// What was done to a label.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Labelled {
    /// A label was added.
    Set,
    /// A label that was there already now has the wanted value.
    Updated,
    /// A label was removed.
    Removed,
}

/// Why a label was left alone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LabelRefusal {
    /// The label is there with another value, which must not be replaced.
    Present,
    /// The label is not there, so it cannot be removed.
    Missing,
}

/// Changes one label.
///
/// # Errors
/// See [`LabelRefusal`]; the labels are then unchanged.
pub fn change(labels: &mut BTreeMap<String, String>, change: &LabelChange) -> Result<Labelled, LabelRefusal> {
    match change {
        LabelChange::Remove { key } => match labels.remove(key) {
            Some(_) => Ok(Labelled::Removed),
            None => Err(LabelRefusal::Missing),
        },
        LabelChange::Set { key, value, overwrite } => match labels.insert(key.clone(), value.clone()) {
            None => Ok(Labelled::Set),
            Some(before) if *overwrite || before == *value => Ok(Labelled::Updated),
            Some(before) => {
                labels.insert(key.clone(), before);
                Err(LabelRefusal::Present)
            }
        },
    }
}
