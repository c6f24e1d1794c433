//! The plugins' programs.

use std::path::Path;

use super::notes::{self, Notes};
use super::{InstallError, Places, Written, place, put};

/// The programs that are installed.
const PROGRAMS: [&str; 2] = ["calico", "calico-ipam"];

/// Copies the plugins from a folder to every folder of plugins. A program that is running goes on with its
/// old content. Gives the files that were written.
///
/// # Errors
/// When a program is missing, before any is written; when one cannot be read or written.
pub fn programs(
    places: &Places,
    notes: &mut Notes,
    from: &Path,
) -> Result<Vec<std::path::PathBuf>, InstallError> {
    let mut sources = Vec::new();
    for name in PROGRAMS {
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
            if put(notes, &to, 0o755, sum, &mut place::open(source)?)? == Written::New {
                written.push(to);
            }
        }
    }
    Ok(written)
}
