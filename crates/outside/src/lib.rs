//! Reads data from outside within bounds of time and memory, so that nobody outside can make a program wait
//! without end, or fill its memory.
//!
//! * [`read_file`] reads a configuration file. If the file is a pipe, it waits for a limited time.
//! * [`read_at_most`] reads a stream, and waits for its writer without a limit.
//! * [`Secrets`] replaces secrets in a text from outside: whoever was given a secret may quote it.
//! * [`Program`] runs another program, reads its output, and ends it together with all processes that it has
//!   started.
//! * [`netlink`] reads why the kernel refused a request.
//! * [`folder`] makes the folders that the programs keep their own files in.

mod file;
pub mod folder;
pub mod netlink;
pub mod panics;
mod program;
mod secrets;
mod size;

pub use file::{read_at_most, read_file, read_text, read_text_within};
pub use program::{Heard, Limits, Program, ProgramError};
pub use secrets::Secrets;
pub use size::{Size, cut_short, shown_word};
