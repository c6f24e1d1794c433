//! Folders that the programs make for themselves.

use std::fs::{self, DirBuilder, File, Permissions};
use std::io;
use std::os::unix::fs::{DirBuilderExt, PermissionsExt};
use std::path::Path;

const OWNER_ONLY: u32 = 0o700;

/// Makes a folder and the missing folders above it, which only their owner can use, whatever the process's
/// umask is. The new folders survive a power cut. A folder that exists is not changed.
///
/// # Errors
/// The system's, of the first folder that cannot be made.
pub fn create_private(folder: &Path) -> io::Result<()> {
    if folder.as_os_str().is_empty() || folder.is_dir() {
        return Ok(());
    }
    if let Some(above) = folder.parent() {
        create_private(above)?;
    }
    match DirBuilder::new().mode(OWNER_ONLY).create(folder) {
        Ok(()) => {
            // A umask can take rights away even from the owner, so the rights are set once more.
            fs::set_permissions(folder, Permissions::from_mode(OWNER_ONLY))?;
            folder.parent().filter(|above| !above.as_os_str().is_empty()).map_or(Ok(()), sync_folder)
        }
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists && folder.is_dir() => Ok(()),
        Err(error) => Err(error),
    }
}

/// Makes sure that new entries of a folder survive a power cut.
///
/// # Errors
/// The system's error.
pub fn sync_folder(folder: &Path) -> io::Result<()> {
    File::open(folder)?.sync_all()
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use super::*;

    fn mode(path: &Path) -> u32 {
        fs::metadata(path).unwrap().permissions().mode() & 0o7777
    }

    #[test]
    fn new_folders_are_private_and_old_ones_stay() {
        let dir = tempfile::tempdir().unwrap();
        let old = dir.path().join("old");
        fs::create_dir(&old).unwrap();
        fs::set_permissions(&old, Permissions::from_mode(0o755)).unwrap();
        create_private(&old.join("a/b")).unwrap();
        create_private(&old.join("a/b")).unwrap();
        assert_eq!([mode(&old), mode(&old.join("a")), mode(&old.join("a/b"))], [0o755, 0o700, 0o700]);
        fs::write(old.join("file"), "").unwrap();
        create_private(&old.join("file/c")).unwrap_err();
    }

    /// A umask holds for the whole process, so each umask is tried in a process of its own: this test, run
    /// again.
    #[test]
    fn under_every_umask() {
        const FOLDER: &str = "FOLDER_OF_THE_UMASK_TEST";
        #[allow(clippy::disallowed_methods, reason = "tells the test's second run from its first")]
        if let Some(folder) = std::env::var_os(FOLDER) {
            return create_private(Path::new(&folder)).unwrap();
        }
        let dir = tempfile::tempdir().unwrap();
        let this = std::env::current_exe().unwrap();
        for umask in ["000", "022", "077", "277", "777"] {
            let top = dir.path().join(umask);
            let script = format!("umask {umask}; exec \"$0\" --exact folder::tests::under_every_umask");
            let mut run = Command::new("sh");
            run.args(["-c", &script]).arg(&this).env(FOLDER, top.join("below"));
            let out = run.output().unwrap();
            assert!(out.status.success(), "{out:?}");
            assert_eq!([mode(&top), mode(&top.join("below"))], [0o700, 0o700], "umask {umask}");
        }
    }
}
