//! What others give, taken within bounds: nobody is waited for without end, and nobody fills the memory.
//!
//! * [`read_file`] reads a file of configuration. A pipe in its place is waited for as long as a writer may take, and no longer.
//! * [`read_at_most`] reads a stream whose writer may be waited for.
//! * [`Secrets`] takes out of a text what its writer was told in confidence.
//! * [`Program`] runs another program, hears what it says, and ends it with all that it has started.

mod file;
pub mod panics;
mod program;
mod secrets;
mod size;

pub use file::{read_at_most, read_file, read_text, read_text_within};
pub use program::{Heard, Limits, Program, ProgramError};
pub use secrets::Secrets;
pub use size::{Size, cut_short, shown_word};
