//! Writes rackpoold's manual pages and completions into a folder.

use std::io::{Error, Result};
use std::path::PathBuf;

use clap::CommandFactory;
use clap_complete::Shell;
use rackpoold::cli::Cli;

fn main() -> Result<()> {
    let folder = std::env::args_os().nth(1).map(PathBuf::from).ok_or(Error::other("which folder?"))?;
    for shell in [Shell::Bash, Shell::Zsh, Shell::Fish] {
        clap_complete::generate_to(shell, &mut Cli::command(), "rackpoold", &folder)?;
    }
    clap_mangen::generate_to(Cli::command(), &folder)
}
