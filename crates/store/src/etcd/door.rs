//! The reader of a watch's events, as a plain function of bytes, for tests of other crates.

use etcd_client::EventType;

use super::reading::Stored;
use super::watching;
use crate::read::Scope;
use crate::watch::Event;

/// The event that a change of a key stands for; `None` where the key's record is of another scope.
pub fn event(is_put: bool, key: &[u8], value: &[u8], revision: i64, scope: &Scope) -> Option<Event> {
    let change = if is_put { EventType::Put } else { EventType::Delete };
    watching::event_of(change, Stored { key, value, revision }, scope)
}
