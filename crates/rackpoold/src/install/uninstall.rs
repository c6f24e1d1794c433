//! Takes back what was installed.

use std::fs;
use std::path::{Path, PathBuf};

use super::place::{self, Failed};
use super::{InstallError, Notes, Places, notes};

/// What has become of the files that were noted.
#[derive(Debug, Default)]
pub struct TakenBack {
    /// Files that were removed.
    pub removed: Vec<PathBuf>,
    /// Files that somebody else has written since. They stay, and are noted no more.
    pub left: Vec<PathBuf>,
    /// Files that could not be removed. They are still noted, so that uninstalling again tries again.
    pub failed: Vec<Failed>,
}

/// Removes the files that were noted, if their content is still what was written; and nothing else. The
/// networks go first, so that no container starts in between.
///
/// # Errors
/// When the notes cannot be read or written.
pub fn uninstall(places: &Places) -> Result<TakenBack, InstallError> {
    let mut notes = Notes::read(&places.notes)?;
    let mut files: Vec<PathBuf> = notes.files().map(Path::to_path_buf).collect();
    files.sort_by_key(|file| !is_network(file));
    let mut taken = TakenBack::default();
    for file in files {
        let removed = match notes::sum_of_file(&file) {
            Ok(Some(sum)) if !notes.has(&file, &sum) => {
                taken.left.push(file.clone());
                Ok(false)
            }
            Ok(_) => place::remove(&file),
            Err(failed) => Err(failed),
        };
        match removed {
            Ok(was_there) => {
                notes.forget(&file)?;
                taken.removed.extend(was_there.then_some(file));
            }
            Err(failed) => taken.failed.push(failed),
        }
    }
    for file in [&places.mark, &places.notes] {
        let own = file.parent().filter(|folder| folder.ends_with("rackpool"));
        // A folder that is not empty stays: the embedded store may lie there.
        let _ = own.map(fs::remove_dir);
    }
    Ok(taken)
}

fn is_network(file: &Path) -> bool {
    file.extension().is_some_and(|extension| extension == "conflist" || extension == "conf")
}
