//! What a program says when it fails by a fault of its own. The words of a panic may quote what was read, secrets included; so only its place is told.

use std::fs::File;
use std::io::Write;
use std::os::fd::AsFd;
use std::panic::PanicHookInfo;
use std::process;

/// Where a panic's text goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum To {
    /// Standard output, for a program whose caller reads that.
    Stdout,
    /// Standard error.
    Stderr,
}

/// From now on a panic, of whichever thread, writes the text that `tell` makes of its place, and the process ends with 1: also where panics abort.
pub fn tell(to: To, tell: impl Fn(&str) -> String + Send + Sync + 'static) {
    std::panic::set_hook(Box::new(move |info: &PanicHookInfo<'_>| {
        let place = info
            .location()
            .map_or("an unknown place".to_string(), |at| format!("{}:{}", at.file(), at.line()));
        write(to, tell(&place).as_bytes());
        process::exit(1);
    }));
}

/// Past the locks of the standard streams, which another thread may hold. Where nobody reads there is nobody to tell.
fn write(to: To, text: &[u8]) {
    let (stdout, stderr) = (std::io::stdout(), std::io::stderr());
    let fd = match to {
        To::Stdout => stdout.as_fd(),
        To::Stderr => stderr.as_fd(),
    };
    if let Ok(fd) = fd.try_clone_to_owned() {
        let _ = File::from(fd).write_all(text);
    }
}
