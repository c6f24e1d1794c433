//! Where the embedded store is when no setting names its file.

use std::path::{Path, PathBuf};

use crate::environment::Environment;
use crate::error::SetupError;

/// The embedded store of the whole machine. Root uses it, and where it exists, every user does.
pub const MACHINE_STORE: &str = "/var/lib/rackpool/rackpool.db";

/// The facts about the process and the machine that decide where the store is.
pub(crate) struct Circumstances<'c> {
    /// Whether the process runs as root.
    pub(crate) root: bool,
    /// Whether a file is there, or cannot be seen and so may be there.
    pub(crate) is_there: &'c dyn Fn(&Path) -> bool,
    /// The names of what is in a folder; none where it cannot be seen.
    pub(crate) names_in: &'c dyn Fn(&Path) -> Vec<String>,
}

impl Circumstances<'static> {
    /// The circumstances of this process.
    pub(crate) fn of_process() -> Circumstances<'static> {
        // A store that cannot be seen is not passed over for another: opening it gives the error that names
        // it.
        let is_there = &|path: &Path| !matches!(path.try_exists(), Ok(false));
        let names_in = &|folder: &Path| -> Vec<String> {
            let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
            entries.filter_map(|entry| entry.file_name().into_string().ok()).collect()
        };
        Circumstances { root: rustix::process::geteuid().is_root(), is_there, names_in }
    }
}

impl Circumstances<'_> {
    /// Whether a store is in that file. A file that is lost while its -wal is left counts, too: opening the
    /// store gives the error that says so.
    pub(crate) fn holds_store(&self, file: &Path) -> bool {
        let mut wal = file.as_os_str().to_owned();
        wal.push("-wal");
        (self.is_there)(file) || (self.is_there)(Path::new(&wal))
    }

    /// A file beside this one whose name is nearly the same: perhaps the store that was meant.
    pub(crate) fn meant(&self, file: &Path) -> Option<PathBuf> {
        let (folder, name) = (file.parent()?, file.file_name()?.to_str()?);
        let others = (self.names_in)(folder);
        let stores = others
            .iter()
            .map(String::as_str)
            .filter(|name| !name.ends_with("-wal") && !name.ends_with("-shm"));
        api::near::nearest(name, stores).map(|name| folder.join(name))
    }
}

/// The path of the store, and why it is that one, as a phrase for messages.
pub(crate) fn default_path(
    environment: &Environment,
    circumstances: &Circumstances<'_>,
) -> Result<(PathBuf, String), SetupError> {
    let machine = PathBuf::from(MACHINE_STORE);
    if circumstances.root {
        return Ok((machine, "the default for root".to_string()));
    }
    if circumstances.holds_store(&machine) {
        return Ok((machine, "the default where that file exists".to_string()));
    }
    // The XDG specification says to ignore a relative path.
    let absolute = |name: &str| environment.get(name).map(PathBuf::from).filter(|path| path.is_absolute());
    let (state, why) = match (absolute("XDG_STATE_HOME"), absolute("HOME")) {
        (Some(state), _) => (state, "the default for a user, from XDG_STATE_HOME"),
        (None, Some(home)) => (home.join(".local/state"), "the default for a user, from HOME"),
        (None, None) => return Err(SetupError::NoHome),
    };
    Ok((state.join("rackpool/rackpool.db"), why.to_string()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_default_place() {
        let all: &[(&str, &str)] = &[("HOME", "/h"), ("XDG_STATE_HOME", "/s")];
        type Row<'a> = (bool, bool, &'a [(&'a str, &'a str)], Option<&'a str>);
        let rows: &[Row] = &[
            (true, false, all, Some(MACHINE_STORE)),
            (false, true, all, Some(MACHINE_STORE)),
            (false, false, all, Some("/s/rackpool/rackpool.db")),
            (false, false, &all[..1], Some("/h/.local/state/rackpool/rackpool.db")),
            (
                false,
                false,
                &[("HOME", "/h"), ("XDG_STATE_HOME", "s")],
                Some("/h/.local/state/rackpool/rackpool.db"),
            ),
            (false, false, &[("HOME", "")], None),
        ];
        for (root, machine_store, variables, wanted) in rows {
            let is_there = |path: &Path| *machine_store && path == Path::new(MACHINE_STORE);
            let circumstances = Circumstances { root: *root, is_there: &is_there, names_in: &|_| Vec::new() };
            let found = default_path(&variables.iter().copied().collect(), &circumstances);
            assert_eq!(found.ok().map(|(path, _)| path), wanted.map(PathBuf::from), "{variables:?}");
        }
    }
}
