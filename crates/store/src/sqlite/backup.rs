//! Backups of a store that is in use, and putting them back.

use std::fs;
use std::path::Path;
use std::time::Duration;

use rusqlite::backup::{Backup, StepResult};
use rusqlite::{Connection, OpenFlags};

use super::connection::{create_new, sync_directory, without_views};
use super::fault::{StepError, file_error};
use super::reading::counter;
use super::schema::{self, Layout};
use super::writing::{put, set_counter};
use super::{SqliteStore, checkpoint, contents, filesystem};
use crate::error::StoreError;

impl SqliteStore {
    /// Copies the contents as of one moment into a new file that needs no other file beside it. Other
    /// processes may commit meanwhile.
    ///
    /// # Errors
    /// When the target exists or cannot be written, when there is nothing to copy, or when the contents are
    /// damaged. No half-written file is left behind.
    pub async fn backup(&self, target: &Path, within: Duration) -> Result<(), StoreError> {
        let target = std::path::absolute(target).map_err(|error| file_error(target, "created", &error))?;
        filesystem::check(&target)?;
        create_new(&target).map_err(|error| file_error(&target, "created", &error))?;
        let copied = self
            .shared
            .patiently(within, false, |live| match live {
                Some(live) => copy(&live.conn, self.path(), &target).map_err(|fault| match fault.is_busy() {
                    true => fault,
                    false => fault.explain(&target).into(),
                }),
                None => Err(StoreError::Unusable(format!(
                    "{} does not exist or is empty: there is nothing to back up",
                    self.path().display()
                ))
                .into()),
            })
            .await;
        let synced = copied.and_then(|()| {
            let directory = target.parent().unwrap_or(&target);
            sync_directory(directory).map_err(|error| file_error(&target, "created", &error))
        });
        if synced.is_err() {
            // Whether the removal succeeds is not reported: the error that led here is the one that matters.
            let _ = fs::remove_file(&target);
        }
        synced
    }

    /// Replaces the present contents by those of a backup, in one transaction. Every record gets a new
    /// revision, higher than any before, so that running processes see a change like any other: their
    /// compare-and-swaps fail, and their watches start anew.
    ///
    /// # Errors
    /// When the backup is no file of this program, was written by a newer version, or is damaged. Nothing is
    /// changed then.
    pub async fn restore(&self, backup: &Path, within: Duration) -> Result<(), StoreError> {
        let backup = std::path::absolute(backup).map_err(|error| file_error(backup, "opened", &error))?;
        let source = open_backup(&backup).map_err(|fault| fault.explain(&backup))?;
        self.shared
            .patiently(within, true, |live| {
                let live = live.expect("a file that does not exist is created");
                live.write_safely(self.path(), |conn| swap(conn, &source, &backup))
            })
            .await?;
        self.shared.committed.send_modify(|count| *count += 1);
        Ok(())
    }
}

fn copy(conn: &Connection, source: &Path, target: &Path) -> Result<(), StepError> {
    let of_source = |fault: StepError| if fault.is_busy() { fault } else { fault.explain(source).into() };
    checkpoint::check_for_backup(conn, source).map_err(of_source)?;
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let mut copy = Connection::open_with_flags(target, flags)?;
    {
        let backup = Backup::new(conn, &mut copy)?;
        // All pages in one step, under one snapshot: otherwise commits of other processes would make the
        // copying begin again.
        match backup.step(-1)? {
            StepResult::Done => {}
            _ => return Err(StepError::busy()),
        }
    }
    // The copied header says that the copy has a write-ahead log. With that header, and no -wal file beside
    // it, the copy could not be opened read-only.
    copy.pragma_update(None, "journal_mode", "DELETE")?;
    checkpoint::note_alone(&copy)?;
    let verdict = contents::check(&copy)?;
    copy.close().map_err(|(_, error)| StepError::from(error))?;
    match verdict {
        Ok(()) => Ok(()),
        Err(damage) => Err(StoreError::Unusable(format!(
            "{} holds what cannot be right, so no backup was made: {damage}. {}",
            source.display(),
            damage.remedy(source)
        ))
        .into()),
    }
}

fn open_backup(path: &Path) -> Result<Connection, StepError> {
    fs::metadata(path).map_err(|error| match error.kind() {
        std::io::ErrorKind::NotFound => StoreError::Unusable(format!("{} does not exist", path.display())),
        _ => file_error(path, "opened", &error),
    })?;
    checkpoint::check(path)?;
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let source = Connection::open_with_flags(path, flags)?;
    without_views(&source)?;
    checkpoint::check_whole(&source, path)?;
    let file = path.display().to_string();
    match schema::inspect_once(&source, &file)? {
        Layout::Current { .. } => {}
        Layout::Empty => return Err(StoreError::Unusable(format!("{file} is empty: it is no backup")).into()),
        Layout::Older(version) => {
            return Err(StoreError::Unusable(format!(
                "{file} has the older schema version {version}: open a copy of it as a store first, which brings it up to date"
            ))
            .into());
        }
    }
    match contents::check(&source)? {
        Ok(()) => Ok(source),
        Err(damage) => Err(StoreError::Unusable(format!(
            "{file} is damaged ({damage}). Nothing was changed: use another backup"
        ))
        .into()),
    }
}

fn swap(conn: &Connection, source: &Connection, backup: &Path) -> Result<(), StepError> {
    conn.execute_batch("BEGIN IMMEDIATE")?;
    let swapped = replace_all(conn, source, backup).and_then(|()| Ok(conn.execute_batch("COMMIT")?));
    if swapped.is_err() && !conn.is_autocommit() {
        conn.execute_batch("ROLLBACK")?;
    }
    swapped
}

fn replace_all(conn: &Connection, source: &Connection, backup: &Path) -> Result<(), StepError> {
    let of_backup = |fault: StepError| StepError::from(fault.explain(backup));
    let sql_of_backup = |error: rusqlite::Error| of_backup(error.into());
    let snapshot = source.unchecked_transaction().map_err(sql_of_backup)?;
    let mut revision = counter(conn)?.0.max(counter(&snapshot).map_err(of_backup)?.0);
    conn.execute("DELETE FROM kv", [])?;
    conn.execute("DELETE FROM log", [])?;
    let mut records =
        snapshot.prepare("SELECT key, value FROM kv ORDER BY revision").map_err(sql_of_backup)?;
    let mut rows = records.query([]).map_err(sql_of_backup)?;
    while let Some(row) = rows.next().map_err(sql_of_backup)? {
        let text = |column| row.get::<_, String>(column).map_err(sql_of_backup);
        revision += 1;
        put(conn, &text(0)?, &text(1)?, revision)?;
    }
    // The revision grows by at least one even when the backup was empty: no watch has seen the new revision,
    // so every watch starts anew.
    revision += 1;
    set_counter(conn, revision, revision)
}
