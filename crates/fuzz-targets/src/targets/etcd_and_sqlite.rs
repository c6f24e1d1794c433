//! Changes as etcd tells them, and rows of the embedded store.

use api::{Family, Key};
use rusqlite::types::Value as Cell;
use store::{Depth, Event, Scope, Slot, etcd, sqlite};

use super::Target;
use crate::input::{head, line, told};

pub(super) const TARGETS: &[Target] = &[
    Target {
        name: "etcd-event",
        what: "put or delete and a revision, a newline, a key, a newline, and a value",
        run: event,
    },
    Target {
        name: "sqlite-row",
        what: "a key, a newline, the cells' types (of nirtb), a newline, a revision, a newline, a value",
        run: row,
    },
];

fn event(bytes: &[u8]) {
    let (change, rest) = head(bytes);
    let (key, value) = line(rest);
    let revision = change.split_once(' ').and_then(|(_, revision)| revision.parse().ok()).unwrap_or(7);
    let scopes =
        [Scope::Blocks { family: None }, Scope::Blocks { family: Some(Family::V6) }, Scope::IpamConfig];
    for scope in scopes {
        let told_of = etcd::door::event(change.starts_with("put"), key, value, revision, &scope);
        match &told_of {
            Some(Event::Apply(record)) => assert!(scope.holds(&record.key)),
            Some(Event::Delete(key, _) | Event::Unreadable(key, _)) => assert!(scope.holds(key)),
            Some(Event::Stray(error)) => told(error, bytes.len()),
            _ => {}
        }
    }
}

fn row(bytes: &[u8]) {
    let (path, rest) = head(bytes);
    let (types, rest) = head(rest);
    let (revision, value) = head(rest);
    let Some(key) = Key::from_etcd_path(&path) else { return };
    let mut types = types.bytes();
    let mut cell = |bytes: &[u8]| {
        let text = || String::from_utf8_lossy(bytes).into_owned();
        match types.next() {
            Some(b'n') => Cell::Null,
            Some(b'i') => Cell::Integer(text().trim().parse().unwrap_or_default()),
            Some(b'r') => Cell::Real(text().trim().parse().unwrap_or_default()),
            Some(b'b') => Cell::Blob(bytes.to_vec()),
            _ => Cell::Text(text()),
        }
    };
    let cells = [cell(path.as_bytes()), cell(revision.as_bytes()), cell(value)];
    for depth in [Depth::Key, Depth::Header, Depth::Full] {
        let slot = sqlite::door::slot(key.clone(), cells.clone(), depth);
        assert_ne!(slot, Slot::Absent, "a row is there");
        assert!(slot.depth() <= depth || slot.record().is_some() || slot.revision().is_some());
    }
}
