//! Reads files and streams within bounds.

use std::fs::{self, File};
use std::io::{self, ErrorKind, Read};
use std::path::Path;
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use crate::size::Size;

/// How long to wait for the end of something that is not a regular file, such as a pipe from a program
/// (`<(...)`).
const PATIENCE: Duration = Duration::from_secs(20);

/// Reads a whole file of at most `most` bytes. The file is opened only once, so a pipe works as well as a
/// regular file. A pipe into which nobody writes is given up after a while.
///
/// # Errors
/// The system's error; [`ErrorKind::FileTooLarge`] for more than `most` bytes; [`ErrorKind::TimedOut`] for a
/// pipe that was given up.
pub fn read_file(path: &Path, most: usize) -> io::Result<Vec<u8>> {
    read_within(path, most, PATIENCE)
}

/// Reads a whole file of text, as [`read_file`] does. A byte order mark at its beginning is left out.
///
/// # Errors
/// As for [`read_file`], and [`ErrorKind::InvalidData`] where the file is not valid UTF-8.
pub fn read_text(path: &Path, most: usize) -> io::Result<String> {
    read_text_within(path, most, PATIENCE)
}

/// Reads a whole file of text, as [`read_text`] does, and waits at most `patience` for it.
///
/// # Errors
/// As for [`read_text`].
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
    // Opening a pipe has no time limit in the system, so another thread opens it. If the time runs out, that
    // thread stays until the process ends.
    let path = path.to_path_buf();
    let (sender, receiver) = mpsc::channel();
    thread::Builder::new().spawn(move || {
        let read = File::open(path).and_then(|file| read_at_most(file, most));
        // The receiver is gone when the time has run out.
        let _ = sender.send(read);
    })?;
    receiver.recv_timeout(patience).unwrap_or_else(|_| {
        let text = format!("it is no plain file, and nobody wrote it to its end within {patience:?}");
        Err(io::Error::new(ErrorKind::TimedOut, text))
    })
}

/// Reads a stream to its end, at most `most` bytes. Of a longer stream it reads one byte more, and no
/// further.
///
/// # Errors
/// The system's error; [`ErrorKind::FileTooLarge`] for a longer stream.
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
