//! Writes files so that no reader ever sees half of one.

use std::ffi::OsString;
use std::fs::{self, File, OpenOptions, Permissions};
use std::io::{self, Read};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

/// What the system refused about a file.
#[derive(Debug, thiserror::Error)]
#[error("cannot {what} {}: {error}", .file.display())]
pub struct Failed {
    what: &'static str,
    file: PathBuf,
    error: io::Error,
}

impl Failed {
    pub(super) fn new(what: &'static str, file: &Path, error: io::Error) -> Failed {
        Failed { what, file: file.to_path_buf(), error }
    }
}

/// Puts a file in place of another: it writes the content beside it and renames it. The new file survives a
/// power cut, and so does the old one until the new one is there.
pub(super) fn replace(file: &Path, mode: u32, content: &mut dyn Read) -> Result<(), Failed> {
    let beside = beside(file);
    let mut put = || -> io::Result<()> {
        // A write that was cut off may have left one.
        match fs::remove_file(&beside) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        let mut new = OpenOptions::new().write(true).create_new(true).mode(mode).open(&beside)?;
        io::copy(content, &mut new)?;
        // The umask may have taken rights away.
        new.set_permissions(Permissions::from_mode(mode))?;
        new.sync_all()?;
        fs::rename(&beside, file)
    };
    put().map_err(|error| {
        // It is worth nothing to anybody, and the error says what matters.
        let _ = fs::remove_file(&beside);
        Failed::new("write", file, error)
    })?;
    sync_folder_of(file)
}

/// The name under which a file is written. No container runtime takes it for a network's configuration.
fn beside(file: &Path) -> PathBuf {
    let mut name = OsString::from(".");
    name.push(file.file_name().unwrap_or_default());
    name.push(".rackpool-new");
    file.with_file_name(name)
}

/// Removes a file. Gives whether there was one.
pub(super) fn remove(file: &Path) -> Result<bool, Failed> {
    match fs::remove_file(file) {
        Ok(()) => sync_folder_of(file).map(|()| true),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(error) => Err(Failed::new("remove", file, error)),
    }
}

/// Makes a folder that everybody may read, and those above it.
pub(super) fn make_folder(folder: &Path) -> Result<(), Failed> {
    fs::create_dir_all(folder).map_err(|error| Failed::new("make the folder", folder, error))
}

/// The rights of a file.
pub(super) fn mode(file: &Path) -> Result<u32, Failed> {
    let found = fs::metadata(file).map_err(|error| Failed::new("look at", file, error))?;
    Ok(found.permissions().mode() & 0o7777)
}

/// Opens a file for reading.
pub(super) fn open(file: &Path) -> Result<File, Failed> {
    File::open(file).map_err(|error| Failed::new("read", file, error))
}

fn sync_folder_of(file: &Path) -> Result<(), Failed> {
    let folder = file.parent().unwrap_or(Path::new("/"));
    outside::folder::sync_folder(folder).map_err(|error| Failed::new("write", folder, error))
}
