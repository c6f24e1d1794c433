//! The files of a layer, and their archive. The same files give the same archive, byte by byte: sorted by
//! name, owned by root, all of one time.

use std::collections::BTreeMap;
use std::fs::{self, File, Permissions};
use std::io::{Read, Write};
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use tar::{Builder, EntryType, Header};

const FOLDER: u32 = 0o755;

/// Files by their paths, which begin with no slash.
#[derive(Clone, Debug, Default)]
pub struct Files(BTreeMap<String, Entry>);

#[derive(Clone, Debug)]
enum Entry {
    Folder { mode: u32 },
    Link { to: String },
    File { content: Content, mode: u32 },
}

#[derive(Clone, Debug)]
enum Content {
    Bytes(Vec<u8>),
    Of(PathBuf),
}

impl Files {
    /// Adds a folder with these rights.
    pub fn folder(&mut self, path: &str, mode: u32) {
        self.add(path, Entry::Folder { mode });
    }

    /// Adds a symbolic link.
    pub fn link(&mut self, path: &str, to: &str) {
        self.add(path, Entry::Link { to: to.to_string() });
    }

    /// Adds a file that everybody may read.
    pub fn put(&mut self, path: &str, bytes: impl Into<Vec<u8>>) {
        self.add(path, Entry::File { content: Content::Bytes(bytes.into()), mode: 0o644 });
    }

    /// Adds a program or a library, with the content of a file of this machine.
    pub fn program(&mut self, path: &str, source: impl Into<PathBuf>) {
        self.add(path, Entry::File { content: Content::Of(source.into()), mode: 0o755 });
    }

    /// Adds a file that everybody may read, with the content of a file of this machine.
    pub fn copy(&mut self, path: &str, source: impl Into<PathBuf>) {
        self.add(path, Entry::File { content: Content::Of(source.into()), mode: 0o644 });
    }

    /// Adds all files of a folder of this machine.
    ///
    /// # Errors
    /// When the folder cannot be read.
    pub fn copy_all(&mut self, source: &Path) -> Result<()> {
        let mut open = vec![source.to_path_buf()];
        while let Some(folder) = open.pop() {
            for entry in fs::read_dir(&folder).with_context(|| folder.display().to_string())? {
                let place = entry?.path();
                if place.is_dir() {
                    open.push(place);
                } else {
                    let path = place.strip_prefix(source)?.display().to_string();
                    self.copy(&path, place);
                }
            }
        }
        Ok(())
    }

    /// Adds all of the others, which take the place of those of the same path.
    pub fn extend(&mut self, others: Files) {
        self.0.extend(others.0);
    }

    /// Whether there is nothing.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Adds an entry, and the folders that it is in. Folders that are there keep their rights.
    fn add(&mut self, path: &str, entry: Entry) {
        let path = path.trim_matches('/');
        for (end, _) in path.match_indices('/') {
            self.0.entry(path[..end].to_string()).or_insert(Entry::Folder { mode: FOLDER });
        }
        self.0.insert(path.to_string(), entry);
    }

    /// The paths of all files, without folders and links.
    pub fn paths(&self) -> impl Iterator<Item = &str> {
        let files = self.0.iter().filter(|(_, entry)| matches!(entry, Entry::File { .. }));
        files.map(|(path, _)| path.as_str())
    }

    /// How much all files hold together.
    ///
    /// # Errors
    /// When a file is not there.
    pub fn bytes(&self) -> Result<u64> {
        let mut bytes = 0;
        for entry in self.0.values() {
            bytes += match entry {
                Entry::File { content: Content::Bytes(content), .. } => content.len() as u64,
                Entry::File { content: Content::Of(source), .. } => fs::metadata(source)?.len(),
                _ => 0,
            };
        }
        Ok(bytes)
    }

    /// Writes the files into a folder that exists. They belong to whoever writes them.
    ///
    /// # Errors
    /// When a file cannot be read or written.
    pub fn write_into(&self, folder: &Path) -> Result<()> {
        for (path, entry) in &self.0 {
            let place = folder.join(path);
            let rights = |mode: &u32| fs::set_permissions(&place, Permissions::from_mode(*mode));
            match entry {
                Entry::Folder { mode } => fs::create_dir(&place).and_then(|()| rights(mode)),
                Entry::Link { to } => symlink(to, &place),
                Entry::File { content: Content::Bytes(bytes), mode } => {
                    fs::write(&place, bytes).and_then(|()| rights(mode))
                }
                Entry::File { content: Content::Of(source), mode } => {
                    fs::copy(source, &place).and_then(|_| rights(mode))
                }
            }
            .with_context(|| path.clone())?;
        }
        Ok(())
    }

    /// Writes the archive; every file in it is of that time, in seconds since 1970.
    ///
    /// # Errors
    /// When a file cannot be read, or the archive cannot be written.
    pub fn write(&self, out: impl Write, time: u64) -> Result<()> {
        let mut archive = Builder::new(out);
        for (path, entry) in &self.0 {
            write_entry(&mut archive, path, entry, time).with_context(|| path.clone())?;
        }
        archive.into_inner()?.flush()?;
        Ok(())
    }
}

fn write_entry(archive: &mut Builder<impl Write>, path: &str, entry: &Entry, time: u64) -> Result<()> {
    let mut header = Header::new_gnu();
    header.set_mtime(time);
    // A number that is not set is no number to others.
    header.set_uid(0);
    header.set_gid(0);
    header.set_size(0);
    match entry {
        Entry::Folder { mode } => {
            header.set_entry_type(EntryType::Directory);
            header.set_mode(*mode);
            archive.append_data(&mut header, format!("{path}/"), std::io::empty())?;
        }
        Entry::Link { to } => {
            header.set_entry_type(EntryType::Symlink);
            header.set_mode(0o777);
            archive.append_link(&mut header, path, to)?;
        }
        Entry::File { content, mode } => {
            header.set_entry_type(EntryType::Regular);
            header.set_mode(*mode);
            match content {
                Content::Bytes(bytes) => {
                    header.set_size(bytes.len() as u64);
                    archive.append_data(&mut header, path, bytes.as_slice())?;
                }
                Content::Of(source) => {
                    let place = || source.display().to_string();
                    let size = fs::metadata(source).with_context(place)?.len();
                    header.set_size(size);
                    // No more than the header says, should the file grow meanwhile.
                    let file = File::open(source).with_context(place)?.take(size);
                    archive.append_data(&mut header, path, file)?;
                }
            }
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_order_of_adding_does_not_show() {
        let folder = tempfile::tempdir().unwrap();
        let source = folder.path().join("program");
        fs::write(&source, "#!/bin/sh\n").unwrap();
        let archive = |is_reversed: bool| {
            let mut adds: [fn(&mut Files, &Path); 5] = [
                |files, _| files.put("etc/passwd", "root"),
                |files, _| files.folder("tmp", 0o1777),
                |files, _| files.link("lib", "usr/lib"),
                |files, source| files.program("/usr/bin/program", source),
                |files, _| files.put(&format!("usr/share/{}/long", "a".repeat(120)), "text"),
            ];
            if is_reversed {
                adds.reverse();
            }
            let mut files = Files::default();
            adds.iter().for_each(|add| add(&mut files, &source));
            let mut bytes = Vec::new();
            files.write(&mut bytes, 1_700_000_000).unwrap();
            bytes
        };
        let bytes = archive(false);
        assert_eq!(bytes, archive(true));
        let mut reader = tar::Archive::new(bytes.as_slice());
        let entries: Vec<_> = reader
            .entries()
            .unwrap()
            .map(|entry| {
                let entry = entry.unwrap();
                let header = entry.header();
                assert_eq!((header.uid().unwrap(), header.gid().unwrap()), (0, 0));
                assert_eq!(header.mtime().unwrap(), 1_700_000_000);
                (entry.path().unwrap().display().to_string(), header.mode().unwrap(), header.size().unwrap())
            })
            .collect();
        let short: Vec<_> = entries.iter().filter(|(path, ..)| path.len() < 100).collect();
        let wanted = [
            ("etc/", 0o755, 0),
            ("etc/passwd", 0o644, 4),
            ("lib", 0o777, 0),
            ("tmp/", 0o1777, 0),
            ("usr/", 0o755, 0),
            ("usr/bin/", 0o755, 0),
            ("usr/bin/program", 0o755, 10),
            ("usr/share/", 0o755, 0),
        ];
        let short: Vec<_> = short.iter().map(|(path, mode, size)| (path.as_str(), *mode, *size)).collect();
        assert_eq!(short, wanted);
        assert!(entries.iter().any(|(path, ..)| path.ends_with("/long")), "{entries:?}");
    }

    #[test]
    fn a_file_that_is_not_there_is_named() {
        let mut files = Files::default();
        files.program("usr/bin/x", "/no/such/file");
        let error = files.write(Vec::new(), 0).unwrap_err();
        assert!(format!("{error:#}").starts_with("usr/bin/x: /no/such/file: "), "{error:#}");
    }
}
