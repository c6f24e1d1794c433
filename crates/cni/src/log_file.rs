//! The log's file. When it has grown too large, it is renamed; the new name holds the time, in the format of
//! `lumberjack`, which Calico uses. Renamed files that are too old or too many are deleted.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use api::Timestamp;
use rustix::fs::OFlags;

use crate::conf::Conf;
use crate::folder::create_private;

const MEGABYTE: u64 = 1 << 20;
const SECONDS_OF_A_DAY: i64 = 24 * 60 * 60;

/// The file and its limits. It is opened when the first line is logged.
#[derive(Debug)]
pub(crate) struct LogFile {
    path: PathBuf,
    /// The size above which the file is renamed, in bytes.
    max_size: u64,
    /// The age at which renamed files are deleted, in days.
    max_age: i64,
    /// How many renamed files are kept.
    max_count: usize,
    file: Option<File>,
}

impl LogFile {
    /// The file that `log_file_path` and the related settings describe; `None` where there is no path.
    pub(crate) fn of(conf: &Conf) -> Option<LogFile> {
        let path = conf.text(&["log_file_path"])?.into();
        let number = |field: &str, default: u32| {
            let wanted = u32::try_from(conf.number(&[field])).unwrap_or_default();
            if wanted == 0 { default } else { wanted }
        };
        Some(LogFile {
            path,
            max_size: u64::from(number("log_file_max_size", 100)) * MEGABYTE,
            max_age: number("log_file_max_age", 30).into(),
            max_count: number("log_file_max_count", 10) as usize,
            file: None,
        })
    }

    /// Appends a line in a single write, because other processes append to the same file.
    ///
    /// # Errors
    /// When the line cannot be written. The error names the file.
    pub(crate) fn append(&mut self, line: &str, now: Timestamp) -> io::Result<()> {
        let named =
            |error: io::Error| io::Error::new(error.kind(), format!("{}: {error}", self.path.display()));
        if self.file.is_none() {
            self.file = Some(self.open(now).map_err(named)?);
        }
        match &mut self.file {
            Some(file) => file.write_all(line.as_bytes()).map_err(named),
            None => Ok(()),
        }
    }

    fn open(&self, now: Timestamp) -> io::Result<File> {
        if let Some(folder) = self.path.parent() {
            create_private(folder)?;
        }
        if fs::metadata(&self.path).is_ok_and(|found| found.len() >= self.max_size) {
            self.put_aside(now)?;
        }
        // In place of the file there may be a pipe. Opening it must not wait for a reader.
        let flags = OFlags::NONBLOCK.bits().cast_signed();
        OpenOptions::new().append(true).create(true).mode(0o600).custom_flags(flags).open(&self.path)
    }

    /// Renames the file. If several processes find it too large at once, each renames the file that it finds:
    /// at worst that is a small new one.
    fn put_aside(&self, now: Timestamp) -> io::Result<()> {
        let (start, end) = self.name_parts();
        let name = format!("{start}{}{end}", now.strftime("%Y-%m-%dT%H-%M-%S%.3f"));
        let aside = self.path.with_file_name(name);
        if !aside.exists() {
            match fs::rename(&self.path, aside) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                _ => {}
            }
        }
        // Files that cannot be deleted stay.
        let _ = self.delete_old(now);
        Ok(())
    }

    fn delete_old(&self, now: Timestamp) -> io::Result<()> {
        let (start, end) = self.name_parts();
        let folder = self.path.parent().unwrap_or(Path::new("."));
        let mut aside = Vec::new();
        for entry in fs::read_dir(folder)? {
            let name = entry?.file_name();
            let time = name
                .to_str()
                .and_then(|name| name.strip_prefix(&start)?.strip_suffix(&end).and_then(read_time));
            aside.extend(time.map(|time| (time, name)));
        }
        aside.sort_by_key(|(time, _)| std::cmp::Reverse(*time));
        let oldest = now.as_second() - self.max_age * SECONDS_OF_A_DAY;
        for (index, (time, name)) in aside.iter().enumerate() {
            if index >= self.max_count || time.as_second() < oldest {
                fs::remove_file(folder.join(name))?;
            }
        }
        Ok(())
    }

    /// The beginning and the end of the names of renamed files, around the time: `cni-` and `.log`.
    fn name_parts(&self) -> (String, String) {
        let text = |part: Option<&std::ffi::OsStr>| part.unwrap_or_default().to_string_lossy().into_owned();
        let end = self.path.extension().map_or(String::new(), |end| format!(".{}", text(Some(end))));
        (format!("{}-", text(self.path.file_stem())), end)
    }
}

/// Reads the time in a renamed file's name: `2026-08-01T10-00-03.123`, in UTC.
fn read_time(text: &str) -> Option<Timestamp> {
    let (day, time) = text.split_once('T')?;
    format!("{day}T{}Z", time.replace('-', ":")).parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(folder: &Path) -> Vec<String> {
        let mut names: Vec<_> = fs::read_dir(folder)
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        names.sort();
        names
    }

    #[test]
    fn a_file_that_is_too_large_is_put_aside() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("cni.log");
        let day = |day: i64| Timestamp::new(1_785_578_403 + day * SECONDS_OF_A_DAY, 123_000_000).unwrap();
        fs::write(dir.path().join("cni-notes.log"), "not ours").unwrap();
        let append = |line: &str, day| {
            let mut log = LogFile { path: path.clone(), max_size: 8, max_age: 30, max_count: 2, file: None };
            log.append(line, day).unwrap();
        };
        append("first\n", day(0));
        append("second\n", day(1));
        append("third\n", day(2));
        assert_eq!(fs::read_to_string(&path).unwrap(), "third\n");
        let aside = dir.path().join("cni-2026-08-03T10-00-03.123.log");
        assert_eq!(fs::read_to_string(aside).unwrap(), "first\nsecond\n");
        // This log keeps at most two renamed files, and none older than 30 days.
        append("a long line\n", day(2));
        for later in [3, 4] {
            append("a long line\n", day(later));
        }
        let kept = [
            "cni-2026-08-04T10-00-03.123.log",
            "cni-2026-08-05T10-00-03.123.log",
            "cni-notes.log",
            "cni.log",
        ];
        assert_eq!(names(dir.path()), kept);
        append("a long line\n", day(40));
        assert_eq!(names(dir.path()), ["cni-2026-09-10T10-00-03.123.log", "cni-notes.log", "cni.log"]);
    }
}
