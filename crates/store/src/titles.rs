//! How a backend's own messages call records.

use std::fmt;
use std::sync::Arc;

use api::Key;

type Title = dyn Fn(&Key) -> Option<String> + Send + Sync;

/// The names by which a backend's own messages call records, as in `ippools.crd.projectcalico.org "a" not
/// found`, for programs that quote those messages. The default is a backend that has no such messages. A name
/// may become known only after the first answer of the backend.
#[derive(Clone, Default)]
pub struct Titles(Option<Arc<Title>>);

impl Titles {
    /// The names that a function gives.
    pub fn new(title: impl Fn(&Key) -> Option<String> + Send + Sync + 'static) -> Titles {
        Titles(Some(Arc::new(title)))
    }

    /// The name of a record; `None` where the backend has none, or it is not known yet.
    pub fn of(&self, key: &Key) -> Option<String> {
        self.0.as_ref()?(key)
    }
}

impl fmt::Debug for Titles {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Titles").field(&self.0.is_some()).finish()
    }
}
