//! The processes of this host, as far as they can be seen.

use std::fs;
use std::path::{Path, PathBuf};

use outside::read_file;

/// The most bytes of a process's own files that are read. A longer command line is cut off by the kernel's
/// own bounds long before.
const MOST: usize = 1 << 20;

/// A process.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Process {
    /// Its number.
    pub pid: u32,
    /// Its name, cut off by the kernel after 15 bytes.
    pub name: String,
    /// Its program and arguments.
    pub words: Vec<String>,
}

impl Process {
    /// The name of its program's file, as it was called.
    pub(crate) fn program(&self) -> &str {
        let path = self.words.first().map(String::as_str).unwrap_or_default();
        path.rsplit('/').next().unwrap_or_default()
    }

    /// A file as the process sees it.
    pub(crate) fn file(&self, proc: &Path, path: &str) -> PathBuf {
        proc.join(self.pid.to_string()).join("root").join(path.trim_start_matches('/'))
    }
}

/// The processes that `proc` shows, `/proc` on a host. Those that end meanwhile are left out.
pub(crate) fn processes(proc: &Path) -> Vec<Process> {
    let Ok(entries) = fs::read_dir(proc) else { return Vec::new() };
    let process = |pid: u32| {
        let text = |file: &str| {
            let bytes = read_file(&proc.join(pid.to_string()).join(file), MOST).ok()?;
            Some(String::from_utf8_lossy(&bytes).into_owned())
        };
        let words = text("cmdline")?;
        let words = words.split('\0').filter(|word| !word.is_empty()).map(str::to_string).collect();
        Some(Process { pid, name: text("comm")?.trim_end().to_string(), words })
    };
    let mut found: Vec<Process> = entries
        .filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok())
        .filter_map(process)
        .collect();
    found.sort_by_key(|process| process.pid);
    found
}
