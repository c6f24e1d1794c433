//! The plugins' programs.

use std::path::Path;

use setup::Environment;

use super::notes::{self, Notes};
use super::{InstallError, Places, Written, place, put};

/// The programs that are installed.
const PROGRAMS: [&str; 2] = ["calico", "calico-ipam"];

/// Which programs are installed, as Calico's variables say.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Selection {
    /// Those that are left out.
    skipped: Vec<String>,
    /// Whether a program takes the place of another one of its name.
    updates: bool,
}

impl Default for Selection {
    fn default() -> Self {
        Selection { skipped: Vec::new(), updates: true }
    }
}

impl Selection {
    /// What `SKIP_CNI_BINARIES` (names, with commas between) and `UPDATE_CNI_BINARIES` (by default true) say.
    ///
    /// # Errors
    /// When `UPDATE_CNI_BINARIES` says neither yes nor no.
    pub fn of(environment: &Environment) -> Result<Selection, InstallError> {
        let skipped = environment.get("SKIP_CNI_BINARIES").unwrap_or_default();
        let updates = environment.get("UPDATE_CNI_BINARIES").unwrap_or("true");
        Ok(Selection {
            skipped: skipped.split(',').map(|name| name.trim().to_string()).collect(),
            updates: golang::strconv::parse_bool(updates)
                .ok_or_else(|| InstallError::NoYesOrNo(updates.to_string()))?,
        })
    }

    fn has(&self, name: &str) -> bool {
        !self.skipped.iter().any(|skipped| skipped == name)
    }
}

/// Copies the plugins from a folder to every folder of plugins. A program that is running goes on with its
/// old content. Gives the files that were written.
///
/// # Errors
/// When a program is missing, before any is written; when one cannot be read or written.
pub fn programs(
    places: &Places,
    notes: &mut Notes,
    from: &Path,
    selection: &Selection,
) -> Result<Vec<std::path::PathBuf>, InstallError> {
    let mut sources = Vec::new();
    for name in PROGRAMS.into_iter().filter(|name| selection.has(name)) {
        let file = from.join(name);
        match notes::sum_of_file(&file)? {
            Some(sum) => sources.push((name, file, sum)),
            None => return Err(InstallError::NoProgram { name, file }),
        }
    }
    let mut written = Vec::new();
    for folder in &places.programs {
        for (name, source, sum) in &sources {
            let to = folder.join(name);
            if !selection.updates && to.exists() {
                continue;
            }
            if put(notes, &to, 0o755, sum, &mut place::open(source)?)? == Written::New {
                written.push(to);
            }
        }
    }
    Ok(written)
}
