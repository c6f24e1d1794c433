//! Where the embedded store is when no setting names its file.

use std::path::{Path, PathBuf};

use crate::environment::Environment;
use crate::error::SetupError;

/// The embedded store of the whole machine. Root uses it, and where it exists, every user does.
pub const MACHINE_STORE: &str = "/var/lib/rackpool/rackpool.db";

/// The facts about the process and the machine that decide where the store is.
pub(crate) struct Circumstances {
    /// Whether the process runs as root.
    pub(crate) root: bool,
    /// Whether [`MACHINE_STORE`] exists, or cannot be seen and so may exist.
    pub(crate) machine_store: bool,
}

impl Circumstances {
    /// The circumstances of this process.
    pub(crate) fn of_process() -> Circumstances {
        let root = rustix::process::geteuid().is_root();
        // A store that cannot be seen is not passed over for another: opening it gives the error that names
        // it.
        let machine_store = !matches!(Path::new(MACHINE_STORE).try_exists(), Ok(false));
        Circumstances { root, machine_store }
    }
}

/// The path of the store, and why it is that one, as a phrase for messages.
pub(crate) fn default_path(
    environment: &Environment,
    circumstances: &Circumstances,
) -> Result<(PathBuf, String), SetupError> {
    let machine = PathBuf::from(MACHINE_STORE);
    if circumstances.root {
        return Ok((machine, "the default for root".to_string()));
    }
    if circumstances.machine_store {
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
            let circumstances = Circumstances { root: *root, machine_store: *machine_store };
            let found = default_path(&variables.iter().copied().collect(), &circumstances);
            assert_eq!(found.ok().map(|(path, _)| path), wanted.map(PathBuf::from), "{variables:?}");
        }
    }
}
