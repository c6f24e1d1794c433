//! Files, directories and standard input, split into the documents that they hold.

use std::fs::{self, File};
use std::io::{self, Read};
use std::path::{Component, Path, PathBuf};

use thiserror::Error;

/// A document of so many bytes or more, its separator included, is refused.
pub const MAX_DOCUMENT: usize = 10 * 1024 * 1024;

/// The most bytes of all documents of a command. All documents are parsed before the first resource is
/// written, and then take ten times as much memory.
pub const MAX_INPUT: usize = 64 * 1024 * 1024;

const SEPARATOR: &[u8] = b"\n---";
/// How many bytes are read at once.
const PORTION: usize = 64 * 1024;

/// One document of a file or of standard input.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Document {
    /// The path of the document's file, as it was given or found; `-` for standard input.
    pub source: String,
    /// The number of the document in its source, counted from 0.
    pub index: usize,
    /// The line of its source at which the text begins, counted from 1.
    pub line: usize,
    /// The text between the separators.
    pub text: Vec<u8>,
    /// What stands behind the dashes of the separator before the text, and is not part of it; mostly empty.
    pub behind_dashes: String,
}

impl Document {
    /// Whether the text holds nothing but blanks, comments and directives (`%YAML 1.1`). Templates that
    /// render to nothing leave such documents behind; a directive is all that [`Split`] leaves of the lines
    /// before a file's first `---`.
    pub fn is_blank(&self) -> bool {
        let is_blank = |line: &[u8]| {
            let marks = [&b"---"[..], b"..."];
            let rest = marks.iter().find_map(|mark| line.strip_prefix(*mark)).unwrap_or(line);
            let directive = line.starts_with(b"%YAML ") || line.starts_with(b"%TAG ");
            directive || matches!(rest.trim_ascii(), [] | [b'#', ..])
        };
        self.text.strip_prefix(b"\xef\xbb\xbf").unwrap_or(&self.text).split(|b| *b == b'\n').all(is_blank)
    }
}

/// What a path named, for messages that say that it was empty.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum InputKind {
    /// A file, or standard input.
    File,
    /// A directory's files.
    Directory,
}

impl InputKind {
    /// The word for messages such as `no resources specified in directory manifests`.
    pub fn word(self) -> &'static str {
        match self {
            InputKind::File => "file",
            InputKind::Directory => "directory",
        }
    }
}

/// Why input could not be read. The texts are Go's.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum ReadError {
    /// A file or directory could not be opened.
    #[error("open {path}: {}", go_text(.source))]
    Open {
        /// The path as it was given or found.
        path: String,
        /// The operating system's reason.
        source: io::Error,
    },
    /// A file was opened but could not be read.
    #[error("read {path}: {}", go_text(.source))]
    Read {
        /// The path as it was given or found.
        path: String,
        /// The operating system's reason.
        source: io::Error,
    },
    /// A document has [`MAX_DOCUMENT`] bytes or more.
    #[error("bufio.Scanner: token too long")]
    TooLong,
    /// All documents together have more than [`MAX_INPUT`] bytes.
    #[error("the input holds more than {}: hand it over in parts", outside::Size(MAX_INPUT))]
    TooMuch,
}

/// Hands every document that `path` names to `visit`, in order, and stops at the first error.
///
/// * `-` is `stdin`.
/// * A directory stands for its files that end in `.yaml`, `.yml` or `.json` (in any case), in the order of
///   their names; its directories are entered in the same order if `recursive`. Unlike Calico, a link to a
///   directory is followed when it is `path` itself.
/// * Anything else is a file. A file without a single byte has no document; one of blanks or comments has
///   one.
///
/// A document is handed over as soon as it was read. So an error in a document is met before an error in a
/// later file.
pub fn visit<E: From<ReadError>>(
    path: &str,
    recursive: bool,
    stdin: &mut dyn Read,
    visit: &mut dyn FnMut(Document) -> Result<(), E>,
) -> Result<InputKind, E> {
    if path == "-" {
        visit_stream(path, "/dev/stdin", stdin, visit)?;
        return Ok(InputKind::File);
    }
    let (kind, files) = files(path, recursive)?;
    for file in files {
        visit_file(&file, visit)?;
    }
    Ok(kind)
}

/// The files that `path` names, in the order in which [`visit`] reads them; `path` itself if it is no
/// directory.
pub fn files(path: &str, recursive: bool) -> Result<(InputKind, Vec<PathBuf>), ReadError> {
    if !Path::new(path).is_dir() {
        return Ok((InputKind::File, vec![PathBuf::from(path)]));
    }
    let mut found = Vec::new();
    walk(Path::new(path), recursive, &mut found)?;
    Ok((InputKind::Directory, found))
}

fn walk(directory: &Path, recursive: bool, found: &mut Vec<PathBuf>) -> Result<(), ReadError> {
    let open = |source| ReadError::Open { path: directory.display().to_string(), source };
    let mut entries = fs::read_dir(directory).map_err(open)?.collect::<Result<Vec<_>, _>>().map_err(open)?;
    entries.sort_by_key(fs::DirEntry::file_name);
    for entry in entries {
        let path = clean(&entry.path());
        if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            if recursive {
                walk(&path, recursive, found)?;
            }
        } else if is_manifest(&path) {
            found.push(path);
        }
    }
    Ok(())
}

fn visit_file<E: From<ReadError>>(
    path: &Path,
    visit: &mut dyn FnMut(Document) -> Result<(), E>,
) -> Result<(), E> {
    let name = path.display().to_string();
    let file = File::open(path).map_err(|source| ReadError::Open { path: name.clone(), source })?;
    visit_stream(&name, &name, file, visit)
}

/// `path` is the name of the stream in errors.
fn visit_stream<E: From<ReadError>>(
    source: &str,
    path: &str,
    from: impl Read,
    visit: &mut dyn FnMut(Document) -> Result<(), E>,
) -> Result<(), E> {
    let mut split = Split::new(path, from);
    for index in 0.. {
        let (line, behind_dashes) = (split.line, std::mem::take(&mut split.behind_dashes));
        let source = source.to_owned();
        match split.next() {
            Some(text) => visit(Document { source, index, line, text: text?, behind_dashes })?,
            None if behind_dashes.is_empty() => break,
            // What stands behind the dashes of a last separator is handed over with an empty text.
            None => {
                visit(Document { source, index, line, text: Vec::new(), behind_dashes })?;
                break;
            }
        }
    }
    Ok(())
}

/// Splits text into documents at every line that begins with `---`, even inside of a block scalar, and drops
/// the rest of that line (`libcalico-go/lib/util/yaml`). `---` at the very start is left to the YAML reader.
/// After an error the iterator ends. It reads no more of the text than one document may have.
///
/// Calico silently drops a document if the text ends with the separator after it, and that separator has
/// something behind its dashes and no newline. Here that document is kept.
pub struct Split<'p, R> {
    path: &'p str,
    from: R,
    /// The bytes that were read. Those before `start` are used up; those before `searched` hold no separator.
    buffer: Vec<u8>,
    start: usize,
    searched: usize,
    /// The line at which the next document begins, counted from 1.
    line: usize,
    /// The rest of the line of the separator that was passed last.
    behind_dashes: String,
    has_ended: bool,
}

impl<'p, R: Read> Split<'p, R> {
    /// Splits the text that `from` gives; `path` is the name of `from` in errors.
    pub fn new(path: &'p str, from: R) -> Split<'p, R> {
        Split {
            path,
            from,
            buffer: Vec::new(),
            start: 0,
            searched: 0,
            line: 1,
            behind_dashes: String::new(),
            has_ended: false,
        }
    }

    /// Finds the next separator with the rest of its line. Returns where it begins and where it ends, both
    /// counted from the start of the document.
    fn separator(&mut self) -> Option<(usize, usize)> {
        let text = &self.buffer[self.start..];
        let from = self.searched.saturating_sub(SEPARATOR.len() - 1);
        let found = text[from..].windows(SEPARATOR.len()).position(|window| window == SEPARATOR);
        let Some(at) = found.map(|found| from + found) else {
            self.searched = text.len();
            return None;
        };
        self.searched = at;
        let line = at + SEPARATOR.len();
        match text[line..].iter().position(|&byte| byte == b'\n') {
            Some(newline) => Some((at, line + newline + 1)),
            None if self.has_ended => Some((at, text.len())),
            None => None,
        }
    }

    fn read_on(&mut self) -> Result<(), ReadError> {
        self.buffer.drain(..self.start);
        self.start = 0;
        let portion = self.from.by_ref().take(PORTION as u64).read_to_end(&mut self.buffer);
        let count = portion.map_err(|source| ReadError::Read { path: self.path.to_owned(), source })?;
        self.has_ended = count == 0;
        Ok(())
    }

    /// Ends the iteration.
    fn end(&mut self) {
        (self.buffer, self.start, self.searched, self.has_ended) = (Vec::new(), 0, 0, true);
    }
}

impl<R: Read> Iterator for Split<'_, R> {
    type Item = Result<Vec<u8>, ReadError>;

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            if let Some((at, end)) = self.separator() {
                if end > MAX_DOCUMENT {
                    self.end();
                    return Some(Err(ReadError::TooLong));
                }
                let text = self.buffer[self.start..self.start + at].to_vec();
                let through = &self.buffer[self.start..self.start + end];
                self.line += through.iter().filter(|byte| **byte == b'\n').count();
                let rest = &through[at + SEPARATOR.len()..];
                self.behind_dashes = String::from_utf8_lossy(rest).trim().to_string();
                (self.start, self.searched) = (self.start + end, 0);
                return Some(Ok(text));
            }
            let length = self.buffer.len() - self.start;
            if length >= MAX_DOCUMENT && self.has_ended || length > MAX_DOCUMENT {
                self.end();
                return Some(Err(ReadError::TooLong));
            }
            if self.has_ended {
                let text = self.buffer[self.start..].to_vec();
                self.end();
                return Some(Ok(text)).filter(|_| length > 0);
            }
            if let Err(error) = self.read_on() {
                self.end();
                return Some(Err(error));
            }
        }
    }
}

fn is_manifest(path: &Path) -> bool {
    let name = path.file_name().map(|name| name.to_string_lossy().to_lowercase()).unwrap_or_default();
    // Unlike Rust, Go finds an extension in a name that is nothing but the extension.
    [".yaml", ".yml", ".json"].iter().any(|extension| name.ends_with(extension))
}

/// The path without its `.` components, as Go's `filepath.Join` makes it.
fn clean(path: &Path) -> PathBuf {
    path.components().filter(|component| *component != Component::CurDir).collect()
}

/// An error of the operating system in Go's words: without its number, and in lower case.
pub fn go_text(error: &io::Error) -> String {
    let text = error.to_string();
    let text = text.split(" (os error ").next().unwrap_or(&text);
    let mut characters = text.chars();
    characters.next().map(|first| first.to_lowercase().chain(characters).collect()).unwrap_or_default()
}

#[cfg(test)]
mod tests;
