//! Checks whether the contents of a database file can be what this program wrote.

use std::fmt;
use std::path::Path;

use api::Key;
use api::key::ROOT;
use rusqlite::types::ValueRef;
use rusqlite::{Connection, OptionalExtension, Row};

use super::fault::StepError;
use super::reading::decode;
use super::schema;

/// A part of the file that cannot be what this program wrote.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Damage {
    /// The pages of the database itself; the text is SQLite's finding.
    Pages(String),
    /// The row that counts revisions, and what is wrong with it.
    Counter(String),
    /// A record: its key, and what is wrong with it.
    Record(String, String),
}

impl fmt::Display for Damage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Damage::Pages(reason) => f.write_str(reason),
            Damage::Counter(reason) => write!(f, "the counter of revisions: {reason}"),
            Damage::Record(key, reason) => write!(f, "the record {key}: {reason}"),
        }
    }
}

impl Damage {
    /// Tells the user what to do about the damage.
    pub(super) fn remedy(&self, file: &Path) -> String {
        let file = file.display();
        match self {
            Damage::Record(key, _) => format!(
                "Write that record anew or delete it first, with calicoctl or with `sqlite3 {file} \"DELETE FROM kv WHERE CAST(key AS TEXT) = '{}'\"`; or copy \
                 the file as it is with `sqlite3 {file} '.backup COPY'`",
                key.replace('\'', "''")
            ),
            Damage::Pages(_) | Damage::Counter(_) => {
                format!("Restore an earlier backup, or save what is readable with `sqlite3 {file} .recover`")
            }
        }
    }
}

/// Checks every page and every record.
pub(super) fn check(conn: &Connection) -> Result<Result<(), Damage>, StepError> {
    let pages: String = conn.query_row("PRAGMA integrity_check(1)", [], |row| row.get(0))?;
    if pages != "ok" {
        return Ok(Err(Damage::Pages(pages)));
    }
    if let Some(reason) = counter_fault(conn)? {
        return Ok(Err(Damage::Counter(reason)));
    }
    let sums = if schema::has_sums(conn)? { "sum" } else { "NULL" };
    let mut all = conn.prepare(&format!("SELECT key, revision, value, {sums} FROM kv ORDER BY key"))?;
    let mut rows = all.query([])?;
    while let Some(row) = rows.next()? {
        if let Some(reason) = record_fault(row)? {
            let key = match row.get_ref(0)? {
                ValueRef::Text(bytes) | ValueRef::Blob(bytes) => String::from_utf8_lossy(bytes).into_owned(),
                other => format!("of type {}", other.data_type()),
            };
            return Ok(Err(Damage::Record(key, reason)));
        }
    }
    // SQLite's check does not notice a page that is intact and out of date, so the records' revisions are
    // compared with the log.
    let old = "SELECT key FROM kv JOIN log USING (key) WHERE log.revision > kv.revision LIMIT 1";
    let old: Option<String> = conn.query_row(old, [], |row| row.get(0)).optional()?;
    Ok(match old {
        Some(key) => Err(Damage::Record(key, "it is older than its last change".to_string())),
        None => Ok(()),
    })
}

/// What is wrong with the counter: it needs one valid row, and no record may have a higher revision than it
/// says.
fn counter_fault(conn: &Connection) -> Result<Option<String>, StepError> {
    let sound = "SELECT count(*) = 1 AND min(typeof(revision) = 'integer' AND typeof(trimmed) = 'integer' AND trimmed BETWEEN 0 AND revision) FROM counter";
    if conn.query_row(sound, [], |row| row.get::<_, Option<bool>>(0))? != Some(true) {
        return Ok(Some("it does not hold two numbers that can be".to_string()));
    }
    let late = "SELECT max(revision) FROM (SELECT revision FROM kv UNION ALL SELECT revision FROM log) \
                WHERE typeof(revision) = 'integer' AND revision > (SELECT revision FROM counter)";
    let late: Option<i64> = conn.query_row(late, [], |row| row.get(0))?;
    Ok(late.map(|late| format!("there is a revision {late}, higher than any that was given")))
}

fn record_fault(row: &Row<'_>) -> Result<Option<String>, StepError> {
    let ValueRef::Integer(revision @ 1..) = row.get_ref(1)? else {
        return Ok(Some("its revision is no number above 0".to_string()));
    };
    let (ValueRef::Text(key), ValueRef::Text(value)) = (row.get_ref(0)?, row.get_ref(2)?) else {
        return Ok(Some("key and value are not both text".to_string()));
    };
    let (Ok(key), Ok(value)) = (std::str::from_utf8(key), std::str::from_utf8(value)) else {
        return Ok(Some("key and value are not both UTF-8".to_string()));
    };
    match row.get_ref(3)? {
        ValueRef::Null => {}
        ValueRef::Integer(noted) if noted == schema::sum(key, revision, value) => {}
        _ => return Ok(Some("it is not what was written (its check sum is another)".to_string())),
    }
    // A record of a kind that only a newer version knows cannot be checked further.
    let Some(key) = Key::from_etcd_path(key) else {
        let is_ours = key.starts_with(ROOT);
        return Ok((!is_ours).then(|| format!("its key is no record's: all begin with {ROOT}")));
    };
    Ok(decode(key, row)?.err().map(|error| error.reason))
}
