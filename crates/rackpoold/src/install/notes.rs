//! The notes of what the agent has written on this host. By them it later takes back its own files, and no
//! others.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use serde_json::{Map, Value as Json, json};
use sha2::{Digest, Sha256};

use super::InstallError;
use super::place::{self, Failed};

/// The largest file of notes that is read, in bytes.
const MOST: usize = 1 << 20;
/// How many contents of one file are remembered: that which is written now, and that which was there before,
/// for a write that a crash cuts off.
const CONTENTS: usize = 2;

/// The check sum of a file's content.
pub(super) type Sum = String;

/// The notes: the files that the agent has written, each with the check sums of the contents that it may
/// have. A process keeps one value of this type: each write of the notes replaces the whole file.
#[derive(Debug)]
pub struct Notes {
    file: PathBuf,
    files: BTreeMap<PathBuf, Vec<Sum>>,
}

impl Notes {
    /// Reads the notes. A missing file means that nothing was written yet.
    ///
    /// # Errors
    /// When the file cannot be read, or holds something else.
    pub fn read(file: &Path) -> Result<Notes, InstallError> {
        let text = match outside::read_text(file, MOST) {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                return Ok(Notes { file: file.to_path_buf(), files: BTreeMap::new() });
            }
            Err(error) => return Err(Failed::new("read", file, error).into()),
        };
        let files = files_in(&text).ok_or_else(|| InstallError::Notes(file.to_path_buf()))?;
        Ok(Notes { file: file.to_path_buf(), files })
    }

    /// The files that were written.
    pub fn files(&self) -> impl Iterator<Item = &Path> {
        self.files.keys().map(PathBuf::as_path)
    }

    /// Whether the agent has written that content there.
    pub(super) fn has(&self, file: &Path, sum: &str) -> bool {
        self.files.get(file).is_some_and(|sums| sums.iter().any(|known| known == sum))
    }

    /// Notes a content that is about to be written, in place of `present`. What was there and was not ours is
    /// forgotten.
    pub(super) fn intend(
        &mut self,
        file: &Path,
        present: Option<&str>,
        sum: &str,
    ) -> Result<(), InstallError> {
        let mut sums: Vec<Sum> = self.files.remove(file).unwrap_or_default();
        sums.retain(|known| Some(known.as_str()) == present && known != sum);
        sums.push(sum.to_string());
        debug_assert!(sums.len() <= CONTENTS);
        self.files.insert(file.to_path_buf(), sums);
        self.write()
    }

    /// Forgets a file. When none is left, the notes themselves are removed.
    pub(super) fn forget(&mut self, file: &Path) -> Result<(), InstallError> {
        self.files.remove(file);
        if self.files.is_empty() {
            return place::remove(&self.file).map(drop).map_err(InstallError::from);
        }
        self.write()
    }

    fn write(&self) -> Result<(), InstallError> {
        let files: Map<String, Json> = self
            .files
            .iter()
            .map(|(path, sums)| (path.to_string_lossy().into_owned(), json!(sums)))
            .collect();
        let text = format!("{:#}\n", json!({"files": files}));
        if let Some(folder) = self.file.parent() {
            outside::folder::create_private(folder).map_err(|error| Failed::new("make", folder, error))?;
        }
        place::replace(&self.file, 0o600, &mut text.as_bytes())?;
        Ok(())
    }
}

/// The files in the text of the notes; `None` where the text is something else.
pub(super) fn files_in(text: &str) -> Option<BTreeMap<PathBuf, Vec<Sum>>> {
    let json: Json = serde_json::from_str(text).ok()?;
    let sums = |listed: &Json| -> Option<Vec<Sum>> {
        listed.as_array()?.iter().map(|sum| sum.as_str().map(str::to_string)).collect()
    };
    let files = json["files"].as_object()?.iter();
    files.map(|(path, listed)| Some((PathBuf::from(path), sums(listed)?))).collect()
}

/// The check sum of a text.
pub(super) fn sum_of(content: &[u8]) -> Sum {
    hex(&Sha256::digest(content))
}

/// The check sum of a file's content; `None` where there is no file.
pub(super) fn sum_of_file(file: &Path) -> Result<Option<Sum>, Failed> {
    let failed = |error| Failed::new("read", file, error);
    let mut content = match File::open(file) {
        Ok(content) => content,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(failed(error)),
    };
    let (mut digest, mut part) = (Sha256::new(), vec![0; 64 << 10]);
    loop {
        match content.read(&mut part) {
            Ok(0) => return Ok(Some(hex(&digest.finalize()))),
            Ok(count) => digest.update(&part[..count]),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(failed(error)),
        }
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
