//! Checks that a database file and its -wal file lie where one store can use them: side by side, and each
//! under one name only.
//!
//! The latest commits lie in `NAME-wal`. A process that opens the same file by another name does not see
//! them, and hands out again the addresses that they say are taken. A symbolic link does not count as another
//! name: SQLite follows it first. A folder that is mounted somewhere else does not count either, since both
//! files are in it.

use std::ffi::OsString;
use std::fs::{self, Metadata};
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use rustix::fs::{AtFlags, CWD, StatxAttributes, StatxFlags, statx};

use super::fault::file_error;
use crate::error::StoreError;

/// The smallest page of a database, in bytes.
const LEAST_PAGE: u64 = 512;

/// Identifies a file: its device and its inode.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct FileId(u64, u64);

impl FileId {
    /// The file under that name; `None` where there is none.
    pub(super) fn at(path: &Path) -> Option<FileId> {
        fs::metadata(path).ok().map(|found| FileId::of(&found))
    }

    /// The identity of a file whose metadata are given.
    pub(super) fn of(found: &Metadata) -> FileId {
        FileId(found.dev(), found.ino())
    }
}

/// The database file under that name; `None` where there is none.
///
/// # Errors
/// When the file is no regular file, has more than one name, or does not belong to the -wal file beside it.
pub(super) fn find(path: &Path) -> Result<Option<FileId>, StoreError> {
    let found = match fs::metadata(path) {
        Ok(found) if found.is_file() => found,
        Ok(found) => {
            let what = if found.is_dir() { "a directory" } else { "a device, a pipe or a socket" };
            return Err(StoreError::Unusable(format!(
                "{} is {what}, not a file. Name a file, for example {}",
                path.display(),
                path.join("rackpool.db").display()
            )));
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(file_error(path, "opened", &error)),
    };
    // SQLite takes a file that is shorter than a page for an empty database: it would overwrite the file and
    // delete its -wal file.
    match found.len() {
        0 if is_filled(&wal_of(path)) => return Err(without_file(path, "empty")),
        1..LEAST_PAGE => return Err(super::fault::not_a_database(path)),
        _ => {}
    }
    has_one_name(path, path, &found)?;
    Ok(Some(FileId::of(&found)))
}

/// Makes sure that where there is no database file, there has been none.
///
/// # Errors
/// When a -wal file shows that a database was there.
pub(super) fn check_nothing_left(path: &Path) -> Result<(), StoreError> {
    if is_filled(&wal_of(path)) { Err(without_file(path, "missing")) } else { Ok(()) }
}

/// The path of a database's -wal file, whether or not the file exists.
pub(super) fn wal_of(path: &Path) -> PathBuf {
    beside(path, "-wal")
}

/// The path of a database's -shm file, whether or not the file exists.
pub(super) fn shm_of(path: &Path) -> PathBuf {
    beside(path, "-shm")
}

fn beside(path: &Path, what: &str) -> PathBuf {
    let mut name = fs::canonicalize(path).unwrap_or_else(|_| path.to_path_buf()).into_os_string();
    name.push(OsString::from(what));
    name.into()
}

/// The -wal file of a database; `None` where there is none.
///
/// # Errors
/// When the -wal file has more than one name, so that two databases may use it.
pub(super) fn find_wal(path: &Path, wal: &Path) -> Result<Option<FileId>, StoreError> {
    let what = match fs::symlink_metadata(wal) {
        Ok(found) if found.is_symlink() => "a symbolic link, which SQLite does not follow there",
        Ok(found) if found.is_dir() => "a directory",
        Ok(found) if !found.is_file() => "a device, a pipe or a socket",
        _ => "",
    };
    if !what.is_empty() {
        let wal = wal.display();
        return Err(StoreError::Unusable(format!(
            "{} cannot be used: {wal} is {what}, not the file with its latest commits. Nothing was changed: move it away and put that file there under its name",
            path.display()
        )));
    }
    match fs::metadata(wal) {
        Ok(found) => {
            has_one_name(wal, path, &found)?;
            Ok(Some(FileId::of(&found)))
        }
        // Any other fault of the file gets a better error when SQLite opens it.
        Err(_) => Ok(None),
    }
}

fn is_filled(wal: &Path) -> bool {
    fs::metadata(wal).is_ok_and(|found| found.len() > 0)
}

/// Refuses a file that can be opened by several names. `database` is the name that the user gave, for the
/// error.
fn has_one_name(file: &Path, database: &Path, found: &Metadata) -> Result<(), StoreError> {
    let (shown, directory) = (file.display(), file.parent().unwrap_or(file).display());
    let why = if found.nlink() > 1 {
        format!(
            "has {} names (hard links). Remove the others: `find {directory} -xdev -samefile {shown}` lists those in its folder, \
             `stat -c %i {shown}` tells the number to look for elsewhere (`find / -xdev -inum NUMBER`)",
            found.nlink()
        )
    } else if is_mount_point(file) {
        "is mounted there by itself. Mount the folder that it lies in instead".to_string()
    } else {
        return Ok(());
    };
    Err(StoreError::Unusable(format!(
        "{} cannot be used: {} {why}. Its latest commits lie in a file beside it that goes by its name, so that each name would be another store, with the same \
         addresses to hand out",
        database.display(),
        if file == database { "it".to_string() } else { shown.to_string() }
    )))
}

/// Whether something is mounted at that very file.
fn is_mount_point(file: &Path) -> bool {
    match statx(CWD, file, AtFlags::empty(), StatxFlags::TYPE) {
        Ok(found) if found.stx_attributes_mask.contains(StatxAttributes::MOUNT_ROOT) => {
            found.stx_attributes.contains(StatxAttributes::MOUNT_ROOT)
        }
        // Linux before 5.8 does not answer; the list of mounts does.
        _ => fs::canonicalize(file)
            .and_then(|file| Ok(is_listed(&file, &fs::read("/proc/self/mountinfo")?)))
            .unwrap_or(false),
    }
}

/// Whether `/proc/self/mountinfo` lists that file as the place of a mount (in the fifth field of a line).
fn is_listed(file: &Path, mountinfo: &[u8]) -> bool {
    let escaped: Vec<u8> = file.as_os_str().as_bytes().iter().flat_map(|byte| escape(*byte)).collect();
    let mut lines = mountinfo.split(|byte| *byte == b'\n');
    lines.any(|line| line.split(|byte| *byte == b' ').nth(4) == Some(&escaped))
}

fn escape(byte: u8) -> Vec<u8> {
    match byte {
        b' ' | b'\t' | b'\n' | b'\\' => format!("\\{byte:03o}").into_bytes(),
        other => vec![other],
    }
}

fn without_file(path: &Path, how: &str) -> StoreError {
    let (file, wal) = (path.display(), wal_of(path));
    let wal = wal.display();
    StoreError::Unusable(format!(
        "{file} is {how}, but {wal}, which belongs to it, is there and holds commits. Nothing was changed: put the file back beside it, or restore a backup \
         after moving {wal} away; to begin a new store in its place, move {wal} away, too"
    ))
}

/// The error for a database whose -wal file, and so its latest commits, are missing.
pub(super) fn without_wal(path: &Path) -> StoreError {
    let (file, wal) = (path.display(), wal_of(path));
    StoreError::Unusable(format!(
        "{file} is not complete: its -wal is missing, the file {}, which held the latest commits. Nothing was changed: put it back, {}",
        wal.display(),
        go_on(path)
    ))
}

/// The error for a database whose -wal file cannot be read. `why` goes on after the name of that file.
pub(super) fn broken_wal(path: &Path, why: &str) -> StoreError {
    let (file, wal) = (path.display(), wal_of(path));
    StoreError::Unusable(format!(
        "{file} is not complete: {} {why}. Nothing was changed: put back the right one, {}",
        wal.display(),
        go_on(path)
    ))
}

/// The error for a -wal file that is shorter than the -shm file says.
pub(super) fn short_wal(path: &Path) -> StoreError {
    let (file, wal) = (path.display(), wal_of(path));
    StoreError::Unusable(format!(
        "{file} is not complete: {} ends before the commits do that were found in it. It was cut, or the -shm file beside it removed, while it was in use. Nothing was changed: \
         end the programs that use it and start again; if that says the same, move {file} and those beside it away and restore a backup",
        wal.display()
    ))
}

fn go_on(path: &Path) -> String {
    let file = path.display();
    format!(
        "or move {file} and those beside it away and restore a backup. To go on with what can be read, `sqlite3 {file} \"UPDATE checkpoint SET needs_wal = 0\"` while no \
         program uses it: what was committed since is lost then, and addresses that were handed out may be handed out again"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mounts_are_found_by_their_place() {
        let table = b"36 35 98:0 /mnt1 / rw - ext3 /dev/root rw\n\
            40 36 98:0 /a/store.db /srv/my\\040store.db rw shared:1 - ext4 /dev/sda1 rw\n\
            41 36 0:5 / /srv rw - tmpfs /srv/other.db rw\n";
        for (path, listed) in [
            ("/srv/my store.db", true),
            ("/srv", true),
            ("/srv/my", false),
            ("/srv/other.db", false),
            ("/a/store.db", false),
        ] {
            assert_eq!(is_listed(Path::new(path), table), listed, "{path}");
        }
    }
}
