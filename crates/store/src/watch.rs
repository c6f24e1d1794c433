//! Events of a watch.

use std::sync::Arc;

use api::{Key, Record, Revision};

/// What a watch tells; see [`Watch`](crate::port::Watch) for the order.
#[derive(Clone, Debug, PartialEq)]
pub enum Event {
    /// The present state follows; forget what was known.
    Init,
    /// A record of the present state.
    InitApply(Arc<Record>),
    /// The present state is told, as of that revision.
    InitDone(Revision),
    /// A record was created or changed.
    Apply(Arc<Record>),
    /// A record was deleted.
    Delete(Key, Revision),
}
