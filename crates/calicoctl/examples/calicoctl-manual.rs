//! Writes calicoctl's manual pages and completions into a folder.

use std::io::{Error, Result};
use std::path::PathBuf;

use clap_complete::Shell;

fn main() -> Result<()> {
    let folder = std::env::args_os().nth(1).map(PathBuf::from).ok_or(Error::other("which folder?"))?;
    for shell in [Shell::Bash, Shell::Zsh, Shell::Fish] {
        clap_complete::generate_to(shell, &mut calicoctl::cli::command(), "calicoctl", &folder)?;
    }
    clap_mangen::generate_to(calicoctl::cli::command(), &folder)
}
