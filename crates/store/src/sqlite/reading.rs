//! Reads: each is one snapshot. Keys are looked up by the primary key, scopes are ranges of it.

use std::sync::Arc;

use api::fault::excerpt;
use api::key::ROOT;
use api::{DecodeError, Key, Record, Revision, Value};
use rusqlite::types::ValueRef;
use rusqlite::{Connection, OptionalExtension, Row};

use super::fault::StepError;
use crate::error::StoreError;
use crate::read::{Depth, ReadSet, Scope, ScopeRead};
use crate::view::{Slot, View, stray};

/// Reads everything in the set, as of one moment.
pub(super) fn read(conn: &Connection, set: &ReadSet) -> Result<View, StepError> {
    let snapshot = conn.unchecked_transaction()?;
    let mut view = View::new();
    for read in &set.scopes {
        read_scope(&snapshot, read, &mut view)?;
    }
    for (key, depth) in &set.keys {
        view.insert(key.clone(), slot(&snapshot, key, *depth)?);
    }
    view.set_revision(Revision::from(counter(&snapshot)?.0));
    Ok(view)
}

/// The highest revision that is accepted in a file. No store comes that far by itself, and the numbers above
/// it are needed for the revisions that follow.
const HIGHEST: i64 = i64::MAX / 2;

/// The file's latest revision, and the highest revision that was removed from the log.
pub(super) fn counter(conn: &Connection) -> Result<(i64, i64), StepError> {
    let mut found = conn.prepare_cached("SELECT revision, trimmed FROM counter")?;
    let mut rows = found.query([])?;
    let fault = match rows.next()? {
        None => "has no row".to_string(),
        Some(row) => match (row.get_ref(0)?, row.get_ref(1)?) {
            (ValueRef::Integer(revision @ 0..=HIGHEST), ValueRef::Integer(trimmed @ 0..=HIGHEST)) => {
                return Ok((revision, trimmed));
            }
            (revision, trimmed) => format!(
                "says revision {}, trimmed {}, which no file comes to",
                for_message(revision),
                for_message(trimmed)
            ),
        },
    };
    let file = conn.path().unwrap_or_default();
    Err(StoreError::Unusable(format!(
        "{file} cannot be used: its table counter {fault}. It was left as it is: move it and its -wal file away and put back a backup \
         (calicoctl datastore restore FILE), or save what is readable with `sqlite3 {file} .recover`"
    ))
    .into())
}

/// A value as an error message quotes it.
fn for_message(value: ValueRef<'_>) -> String {
    match value {
        ValueRef::Null => "NULL".to_string(),
        ValueRef::Integer(number) => number.to_string(),
        ValueRef::Real(number) => number.to_string(),
        ValueRef::Text(bytes) | ValueRef::Blob(bytes) => {
            excerpt(&String::from_utf8_lossy(&bytes[..bytes.len().min(256)]).into_owned().into())
        }
    }
}

/// The revision in a row. Where the value is no revision, gives a substitute by which a compare-and-swap can
/// still recognise the row, and the reason why the value is not a revision.
fn revision_in(value: ValueRef<'_>) -> (Revision, Option<String>) {
    match value {
        ValueRef::Integer(number) => (Revision::from(number), None),
        other => {
            let shown = for_message(other);
            (Revision::new(format!("none: {shown}")), Some(format!("{shown} is no revision")))
        }
    }
}

/// The revision of a record; `None` when it does not exist.
pub(super) fn revision_of(conn: &Connection, path: &str) -> Result<Option<Revision>, StepError> {
    let mut found = conn.prepare_cached(
        "SELECT revision FROM kv WHERE key IN (?1, CAST(?1 AS BLOB)) ORDER BY typeof(key) DESC",
    )?;
    Ok(found.query_row([path], |row| Ok(revision_in(row.get_ref(0)?).0)).optional()?)
}

/// Whether anything under the keys of a scope has a later revision.
pub(super) fn has_changed(conn: &Connection, scope: &Scope, since: i64) -> Result<bool, StepError> {
    let mut found = conn
        .prepare_cached("SELECT EXISTS (SELECT 1 FROM kv WHERE key >= ?1 AND key < ?2 AND revision > ?3 AND typeof(revision) = 'integer')")?;
    for prefix in scope.prefixes() {
        if found.query_row((&prefix, end_of(&prefix), since), |row| row.get(0))? {
            return Ok(true);
        }
    }
    Ok(false)
}

/// Reads one record.
pub(super) fn slot(conn: &Connection, key: &Key, depth: Depth) -> Result<Slot, StepError> {
    let path = key.etcd_path();
    // A key that is stored as bytes rather than text does not equal the text, so it is searched for as well:
    // such a record cannot be read, but it is there.
    let mut found = conn.prepare_cached(
        "SELECT key, revision, value FROM kv WHERE key IN (?1, CAST(?1 AS BLOB)) ORDER BY typeof(key) DESC",
    )?;
    let mut rows = found.query([path])?;
    let Some(row) = rows.next()? else { return Ok(Slot::Absent) };
    as_seen(key.clone(), row, depth)
}

/// Reads a scope, or a page of it.
pub(super) fn read_scope(conn: &Connection, read: &ScopeRead, view: &mut View) -> Result<(), StepError> {
    let after = read.page.as_ref().and_then(|page| page.after.as_ref());
    let limit = read.page.as_ref().map_or(usize::MAX, |page| page.limit.max(1));
    let mut last = None;
    let mut count = 0;
    let mut is_cut = false;
    let mut strays = Vec::new();
    walk(conn, &read.scope, after, read.depth, |seen| {
        is_cut = count == limit;
        match seen {
            _ if is_cut => {}
            Ok((key, slot)) => {
                count += 1;
                last = Some(key.clone());
                view.insert(key, slot);
            }
            Err(stray) => strays.push(stray),
        }
        !is_cut
    })?;
    for (path, revision) in outside(conn)? {
        match Key::from_etcd_path(&path).filter(|key| read.page.is_none() && read.scope.holds(key)) {
            Some(key) if matches!(view.get(&key), None | Some(Slot::Absent)) => {
                view.insert(key.clone(), no_text(&key, revision));
            }
            _ => strays.push(stray(&path)),
        }
    }
    strays.into_iter().for_each(|stray| view.insert_stray(stray));
    view.page_read(read, last.filter(|_| is_cut));
    Ok(())
}

/// Calls `visit` with every record of a scope, in the order of the keys' text, and with every row between
/// them that is no record, until `visit` says to stop.
pub(super) fn walk(
    conn: &Connection,
    scope: &Scope,
    after: Option<&Key>,
    depth: Depth,
    mut visit: impl FnMut(Result<(Key, Slot), DecodeError>) -> bool,
) -> Result<(), StepError> {
    // The least text after a key is that key with a zero byte added.
    let start = after.map(|key| key.etcd_path() + "\0").unwrap_or_default();
    let mut found = conn.prepare_cached(match depth {
        Depth::Key => "SELECT key, revision FROM kv WHERE key >= ?1 AND key < ?2 ORDER BY key",
        _ => "SELECT key, revision, value FROM kv WHERE key >= ?1 AND key < ?2 ORDER BY key",
    })?;
    for prefix in scope.prefixes() {
        let end = end_of(&prefix);
        let from = if start > prefix { &start } else { &prefix };
        let mut rows = found.query([from, &end])?;
        while let Some(row) = rows.next()? {
            let path = match row.get_ref(0)? {
                ValueRef::Text(bytes) | ValueRef::Blob(bytes) => String::from_utf8_lossy(bytes),
                _ => continue,
            };
            let seen = match Key::from_etcd_path(&path) {
                Some(key) if !scope.holds(&key) => continue,
                Some(key) => Ok((key.clone(), as_seen(key, row, depth)?)),
                None => Err(stray(&path)),
            };
            if !visit(seen) {
                return Ok(());
            }
        }
    }
    Ok(())
}

/// How many strays outside of all scopes are named at most.
const STRAYS: usize = 20;

/// The keys, and their revisions, that lie outside of every scope: keys that are no text, or no key of
/// Calico's.
fn outside(conn: &Connection) -> Result<Vec<(String, Revision)>, StepError> {
    let mut found =
        conn.prepare_cached("SELECT key, revision FROM kv WHERE key < ?1 OR key >= ?2 LIMIT ?3")?;
    let rows = found.query_map((ROOT, end_of(ROOT), STRAYS as i64), |row| {
        let path = match row.get_ref(0)? {
            ValueRef::Text(bytes) | ValueRef::Blob(bytes) => String::from_utf8_lossy(bytes).into_owned(),
            other => for_message(other),
        };
        Ok((path, revision_in(row.get_ref(1)?).0))
    })?;
    Ok(rows.collect::<Result<_, _>>()?)
}

fn no_text(key: &Key, revision: Revision) -> Slot {
    Slot::unreadable(DecodeError::new(key, "", "its key is stored as bytes that are no text"), revision)
}

/// Every key in the file, in the order of text.
pub(super) fn keys(conn: &Connection) -> Result<Vec<String>, StepError> {
    let mut all = conn.prepare("SELECT key FROM kv ORDER BY key")?;
    let keys = all.query_map([], |row| {
        Ok(match row.get_ref(0)? {
            ValueRef::Text(bytes) | ValueRef::Blob(bytes) => String::from_utf8_lossy(bytes).into_owned(),
            other => for_message(other),
        })
    })?;
    Ok(keys.collect::<Result<_, _>>()?)
}

/// The keys below a prefix, which ends in `/`, with their values as text.
pub(super) fn texts_below(conn: &Connection, prefix: &str) -> Result<Vec<(String, String)>, StepError> {
    let mut all =
        conn.prepare("SELECT key, CAST(value AS TEXT) FROM kv WHERE key >= ?1 AND key < ?2 ORDER BY key")?;
    let text = |value: ValueRef<'_>| match value {
        ValueRef::Text(bytes) => String::from_utf8_lossy(bytes).into_owned(),
        _ => String::new(),
    };
    let rows =
        all.query_map((prefix, end_of(prefix)), |row| Ok((text(row.get_ref(0)?), text(row.get_ref(1)?))))?;
    Ok(rows.collect::<Result<_, _>>()?)
}

/// The least text above every text with that prefix. A prefix ends in `/`.
fn end_of(prefix: &str) -> String {
    let mut end = prefix.trim_end_matches('/').to_string();
    end.push('0');
    end
}

/// What a row (key, revision, value) tells about its record, to that depth.
pub(super) fn as_seen(key: Key, row: &Row<'_>, depth: Depth) -> Result<Slot, StepError> {
    let (revision, fault) = revision_in(row.get_ref(1)?);
    if matches!(row.get_ref(0)?, ValueRef::Blob(_)) {
        return Ok(no_text(&key, revision));
    }
    if let (Depth::Key, None) = (depth, &fault) {
        return Ok(Slot::Key(revision));
    }
    if let Some(reason) = fault {
        return Ok(Slot::unreadable(DecodeError::new(&key, "revision", reason), revision));
    }
    Ok(match decode(key, row)? {
        Ok(record) => Slot::of(&record, depth),
        Err(error) => Slot::unreadable(error, revision),
    })
}

/// Decodes a row (key, revision, value) into a record.
pub(super) fn decode(key: Key, row: &Row<'_>) -> Result<Result<Arc<Record>, DecodeError>, StepError> {
    let revision = match revision_in(row.get_ref(1)?) {
        (revision, None) => revision,
        (_, Some(reason)) => return Ok(Err(DecodeError::new(&key, "revision", reason))),
    };
    let text = match row.get_ref(2)? {
        ValueRef::Text(bytes) | ValueRef::Blob(bytes) => {
            std::str::from_utf8(bytes).map_err(|e| e.to_string())
        }
        other => Err(format!("a {} stands in its place", other.data_type())),
    };
    let value = text
        .map_err(|reason| DecodeError::new(&key, "", reason))
        .and_then(|text| Value::from_stored_text(&key, text));
    Ok(value.map(|value| Arc::new(Record { key, value, revision })))
}
