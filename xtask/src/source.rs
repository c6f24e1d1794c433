//! The source of this tree, as git knows it.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, ensure};
use xtask::cargo::root;

/// What git says of the source.
pub fn git(arguments: &[&str]) -> Result<String> {
    let out = Command::new("git").args(arguments).current_dir(root()).output().context("git")?;
    ensure!(out.status.success(), "git: {}", String::from_utf8_lossy(&out.stderr).trim());
    Ok(String::from_utf8(out.stdout)?.trim().to_string())
}

/// When the last commit was made, in seconds since 1970.
///
/// # Errors
/// When there is no commit.
pub fn commit_time() -> Result<u64> {
    Ok(git(&["log", "-1", "--format=%ct"])?.parse()?)
}

/// Copies the source into a folder, with what is not committed and not ignored. Files that are the same there
/// stay, so that they need not be compiled again.
pub fn copy_to(folder: &Path) -> Result<()> {
    let listed = git(&["ls-files", "-z", "--cached", "--others", "--exclude-standard"])?;
    for name in listed.split('\0').filter(|name| !name.is_empty()) {
        let (from, to) = (root().join(name), folder.join(name));
        copy(&from, &to).with_context(|| name.to_string())?;
    }
    Ok(())
}

fn copy(from: &Path, to: &Path) -> Result<()> {
    // A file that is removed and not yet committed is listed, too.
    let Ok(metadata) = fs::symlink_metadata(from) else { return Ok(()) };
    fs::create_dir_all(to.parent().context("it is in a folder")?)?;
    if metadata.is_symlink() {
        let target = fs::read_link(from)?;
        if fs::read_link(to).is_ok_and(|known| known == target) {
            return Ok(());
        }
        return Ok(symlink(target, to)?);
    }
    let is_same = fs::read(to).is_ok_and(|known| fs::read(from).is_ok_and(|text| text == known));
    if !is_same {
        fs::copy(from, to)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_copy_has_links_as_links() {
        let folder = tempfile::tempdir().unwrap();
        copy_to(folder.path()).unwrap();
        let link = Path::new("deploy/chart/files/rbac");
        assert_eq!(
            fs::read_link(folder.path().join(link)).unwrap(),
            fs::read_link(root().join(link)).unwrap()
        );
        let program = Path::new(".ci/run");
        let rights = |at: &Path| fs::metadata(at.join(program)).unwrap().permissions();
        assert_eq!(rights(folder.path()), rights(root()));
        // Once more: what is there stays.
        copy_to(folder.path()).unwrap();
    }
}
