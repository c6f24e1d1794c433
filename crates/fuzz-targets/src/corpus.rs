//! The corpus: a folder for each target, a file for each input.

use std::path::{Path, PathBuf};
use std::{fs, io};

/// The folder with the corpora of all targets.
pub fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("corpus")
}

/// The inputs of a target with the names of their files, in the order of the names. Where the corpus is not
/// there, because the program runs elsewhere than it was built, there is one empty input.
///
/// # Errors
/// When a file cannot be read.
pub fn of(target: &str) -> io::Result<Vec<(String, Vec<u8>)>> {
    let entries = match fs::read_dir(folder().join(target)) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            return Ok(vec![(String::new(), Vec::new())]);
        }
        Err(error) => return Err(error),
    };
    let mut found = Vec::new();
    for entry in entries {
        let entry = entry?;
        found.push((entry.file_name().to_string_lossy().into_owned(), fs::read(entry.path())?));
    }
    found.sort();
    Ok(found)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn each_target_has_a_corpus_and_each_corpus_a_target() {
        let names: BTreeSet<String> = crate::all().map(|target| target.name.to_string()).collect();
        assert_eq!(names.len(), crate::all().count(), "two targets have one name");
        let folders = fs::read_dir(folder()).unwrap();
        let folders: BTreeSet<String> =
            folders.map(|entry| entry.unwrap().file_name().to_string_lossy().into_owned()).collect();
        assert_eq!(folders, names);
        for name in &names {
            assert!(of(name).unwrap().len() >= 2, "{name} has less than two inputs");
        }
    }

    #[test]
    fn every_target_takes_its_corpus() {
        for target in crate::all() {
            for (name, input) in of(target.name).unwrap() {
                println!("{}/{name}", target.name);
                (target.run)(&input);
            }
        }
    }
}
