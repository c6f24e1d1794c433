//! The figures that the project states, measured.

use std::path::PathBuf;

use anyhow::Result;
use clap::Args;

use crate::cargo::{cargo, run};
use crate::dist;

/// Arguments of `cargo xtask figures`.
#[derive(Args)]
pub struct Figures {
    /// The folder of the programs to measure; the static binaries where it is not given.
    #[arg(long)]
    programs: Option<PathBuf>,
    /// How often each program is started.
    #[arg(long, default_value = "60")]
    rounds: String,
}

impl Figures {
    /// Measures and prints.
    pub fn run(self) -> Result<()> {
        let programs = match self.programs {
            Some(dir) => std::fs::canonicalize(dir)?,
            None => dist::build()?,
        };
        let mut bench = cargo(&["run", "--quiet", "--release", "--package", "benches", "--", "measure"]);
        run(bench.arg(programs).args(["--rounds", &self.rounds]))?;
        run(&mut cargo(&["bench", "--package", "ipam", "--bench", "plan"]))
    }
}
