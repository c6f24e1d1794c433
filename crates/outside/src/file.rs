//! Files and streams.

use std::fs::{self, File};
use std::io::{self, ErrorKind, Read};
use std::path::Path;
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use crate::size::Size;

/// How long what is no plain file may take to come to its end: as long as a program behind `<(...)` may take, and no longer.
const PATIENCE: Duration = Duration::from_secs(20);

/// Reads a file whole, of no more than so many bytes. It is opened once, so that a pipe is as good as a plain file; one that nobody writes to is
/// given up after a while.
///
/// # Errors
/// The system's; [`ErrorKind::FileTooLarge`]; [`ErrorKind::TimedOut`].
pub fn read_file(path: &Path, most: usize) -> io::Result<Vec<u8>> {
    read_within(path, most, PATIENCE)
}

/// The same for text.
///
/// # Errors
/// As [`read_file`]; [`ErrorKind::InvalidData`] where it is no UTF-8. A byte order mark is left out.
pub fn read_text(path: &Path, most: usize) -> io::Result<String> {
    read_text_within(path, most, PATIENCE)
}

/// The same with another patience.
///
/// # Errors
/// As [`read_text`].
pub fn read_text_within(path: &Path, most: usize, patience: Duration) -> io::Result<String> {
    let text = String::from_utf8(read_within(path, most, patience)?)
        .map_err(|_| io::Error::new(ErrorKind::InvalidData, "it is not UTF-8"))?;
    Ok(match text.strip_prefix('\u{feff}') {
        Some(rest) => rest.to_string(),
        None => text,
    })
}

fn read_within(path: &Path, most: usize, patience: Duration) -> io::Result<Vec<u8>> {
    if fs::metadata(path)?.is_file() {
        return read_at_most(File::open(path)?, most);
    }
    // The system has no limit for opening a pipe, so another thread opens it. It ends with the process.
    let path = path.to_path_buf();
    let (sender, receiver) = mpsc::channel();
    thread::Builder::new().spawn(move || {
        let read = File::open(path).and_then(|file| read_at_most(file, most));
        // Nobody listens when the time was over.
        let _ = sender.send(read);
    })?;
    receiver.recv_timeout(patience).unwrap_or_else(|_| {
        let text = format!("it is no plain file, and nobody wrote it to its end within {patience:?}");
        Err(io::Error::new(ErrorKind::TimedOut, text))
    })
}

/// Reads a stream to its end, which must come within so many bytes; no more than one byte beyond is read.
///
/// # Errors
/// The system's; [`ErrorKind::FileTooLarge`].
pub fn read_at_most(from: impl Read, most: usize) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    from.take(most as u64 + 1).read_to_end(&mut bytes)?;
    if bytes.len() > most {
        let text = format!("it holds more than {}", Size(most));
        return Err(io::Error::new(ErrorKind::FileTooLarge, text));
    }
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use rustix::fs::{CWD, FileType, Mode, mknodat};

    use super::*;

    fn fifo(path: &Path) {
        mknodat(CWD, path, FileType::Fifo, Mode::from_raw_mode(0o600), 0).unwrap();
    }

    #[test]
    fn plain_files() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("f");
        fs::write(&path, "\u{feff}text").unwrap();
        assert_eq!(read_text(&path, 7).unwrap(), "text");
        let error = read_file(&path, 6).unwrap_err();
        assert_eq!(
            (error.kind(), error.to_string().as_str()),
            (ErrorKind::FileTooLarge, "it holds more than 6 bytes")
        );
        assert_eq!(read_file(&dir.path().join("g"), 6).unwrap_err().kind(), ErrorKind::NotFound);
        assert!(read_file(dir.path(), 6).is_err());
        fs::write(&path, b"\xff").unwrap();
        assert_eq!(read_text(&path, 7).unwrap_err().kind(), ErrorKind::InvalidData);
    }

    #[test]
    fn a_device_without_end() {
        assert_eq!(read_file(Path::new("/dev/zero"), 1000).unwrap_err().kind(), ErrorKind::FileTooLarge);
    }

    #[test]
    fn a_pipe_is_read_if_somebody_writes() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("p");
        fifo(&path);
        let theirs = path.clone();
        let writer = thread::spawn(move || {
            let mut file = fs::OpenOptions::new().write(true).open(theirs).unwrap();
            file.write_all(b"one ").unwrap();
            thread::sleep(Duration::from_millis(50));
            file.write_all(b"two").unwrap();
        });
        assert_eq!(read_text(&path, 100).unwrap(), "one two");
        writer.join().unwrap();
        let error = read_text_within(&path, 100, Duration::from_millis(50)).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::TimedOut);
    }
}
