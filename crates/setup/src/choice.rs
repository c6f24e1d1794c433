//! How certain the choice of a store is, and what may be done with the store. Where a setting names a store,
//! the choice is certain. Where nothing does, it depends on what is there: the embedded store's file, the
//! user's own kubeconfig, both, or neither.

use std::path::PathBuf;

use crate::datastore::Datastore;
use crate::error::{SetupError, naming};

/// The chosen store, and what makes the choice uncertain.
#[derive(Clone, Debug, PartialEq)]
pub struct Choice {
    /// The chosen store.
    pub datastore: Datastore,
    /// `None` where a setting names a store that is there, or where only one store is there.
    pub doubt: Option<Doubt>,
}

/// Why it is uncertain which store is meant. The embedded store was chosen in each case; in the first two
/// nothing names a store.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Doubt {
    /// There is no store yet: the embedded store would be in this file.
    NoStoreYet(PathBuf),
    /// There are two: the file of the embedded store, and a kubeconfig, which leads to another.
    TwoStores {
        /// The file of the embedded store.
        file: PathBuf,
        /// The user's own kubeconfig.
        kubeconfig: PathBuf,
    },
    /// A setting names the file of the embedded store, which is not there, and beside it is a file whose name
    /// is nearly the same.
    Misspelt {
        /// The file.
        file: PathBuf,
        /// The setting that names it.
        by: String,
        /// The file that is there.
        meant: PathBuf,
    },
}

/// What a store is wanted for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Purpose {
    /// To read.
    Read,
    /// To change something.
    Write,
    /// To begin a store where there is none, or to change the one that is there.
    Begin,
}

impl Choice {
    /// Whether the store may be used for that purpose. Gives what the user has to know about the choice.
    ///
    /// # Errors
    /// [`SetupError::NoStoreYet`] where there is no store, for every purpose but to begin one;
    /// [`SetupError::TwoStores`] for every purpose but to read.
    pub fn permit(&self, purpose: Purpose) -> Result<Option<String>, SetupError> {
        match (&self.doubt, purpose) {
            (None, _) | (Some(Doubt::NoStoreYet(_)), Purpose::Begin) => Ok(None),
            (Some(Doubt::Misspelt { file, by, meant }), Purpose::Read) => Ok(Some(format!(
                "no store is in {} (named by {by}), so nothing is found; was {} meant?",
                file.display(),
                meant.display()
            ))),
            // Whoever writes makes the store.
            (Some(Doubt::Misspelt { .. }), _) => Ok(None),
            (Some(Doubt::NoStoreYet(file)), _) => Err(SetupError::NoStoreYet(file.clone())),
            (Some(Doubt::TwoStores { file, kubeconfig }), Purpose::Read) => Ok(Some(format!(
                "two stores are here, and nothing says which is meant: this is the embedded store {}. The other is Kubernetes, by the kubeconfig {}; {}",
                file.display(),
                kubeconfig.display(),
                naming("kubernetes"),
            ))),
            (Some(Doubt::TwoStores { file, kubeconfig }), _) => {
                Err(SetupError::TwoStores { file: file.clone(), kubeconfig: kubeconfig.clone() })
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_may_be_done_with_which_choice() {
        use Purpose::{Begin, Read, Write};
        let (file, kubeconfig) = (PathBuf::from("/s.db"), PathBuf::from("/h/.kube/config"));
        let none = Some(Doubt::NoStoreYet(file.clone()));
        let two = Some(Doubt::TwoStores { file: file.clone(), kubeconfig: kubeconfig.clone() });
        let (by, meant) = ("RACKPOOL_DB".to_string(), PathBuf::from("/store.db"));
        let new = Some(Doubt::Misspelt { file: file.clone(), by, meant });
        let not_yet = || Err(SetupError::NoStoreYet(file.clone()));
        let which = || Err(SetupError::TwoStores { file: file.clone(), kubeconfig: kubeconfig.clone() });
        let rows = [
            (None, Read, Ok(false)),
            (None, Write, Ok(false)),
            (None, Begin, Ok(false)),
            (none.clone(), Read, not_yet()),
            (none.clone(), Write, not_yet()),
            (none, Begin, Ok(false)),
            (two.clone(), Read, Ok(true)),
            (two.clone(), Write, which()),
            (two, Begin, which()),
            (new.clone(), Read, Ok(true)),
            (new.clone(), Write, Ok(false)),
            (new, Begin, Ok(false)),
        ];
        for (doubt, purpose, wanted) in rows {
            let datastore = Datastore::Embedded { path: file.clone(), chosen_by: String::new() };
            let choice = Choice { datastore, doubt };
            let found = choice.permit(purpose).map(|told| told.is_some());
            assert_eq!(found, wanted, "{choice:?} {purpose:?}");
        }
        let texts =
            [not_yet(), which()].map(|refused: Result<bool, SetupError>| refused.unwrap_err().to_string());
        assert!(texts[0].starts_with("no store here yet: calicoctl datastore init"), "{}", texts[0]);
        for part in ["/s.db", "/h/.kube/config", "DATASTORE_TYPE=embedded", "DATASTORE_TYPE=kubernetes"] {
            assert!(texts[1].contains(part), "{}", texts[1]);
        }
    }
}
