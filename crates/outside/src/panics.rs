//! Reports a panic, which is a fault of the program's own. The message of a panic may quote what the program
//! has read, secrets included, so only the panic's place is reported.

use std::fs::File;
use std::io::Write;
use std::os::fd::AsFd;
use std::panic::PanicHookInfo;
use std::process;

/// The stream on which a panic is reported.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum To {
    /// Standard output, for a program whose caller reads its errors there.
    Stdout,
    /// Standard error.
    Stderr,
}

/// Sets what happens on a panic in any thread from now on: the text that `tell` makes of the panic's place is
/// written, and the process exits with 1. This also works in builds where a panic aborts.
pub fn tell(to: To, tell: impl Fn(&str) -> String + Send + Sync + 'static) {
    std::panic::set_hook(Box::new(move |info: &PanicHookInfo<'_>| {
        let place = info
            .location()
            .map_or("an unknown place".to_string(), |at| format!("{}:{}", at.file(), at.line()));
        write(to, tell(&place).as_bytes());
        process::exit(1);
    }));
}

/// Writes to the file descriptor itself, since another thread may hold the standard stream's lock. An error
/// is ignored: there is nowhere to report it.
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
