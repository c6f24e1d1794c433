//! Measures the figures that the project publishes.

use std::path::PathBuf;

use anyhow::Result;
use clap::Args;

use crate::{demo, dist, lab};
use xtask::cargo::{cargo, run};

/// Arguments of `cargo xtask figures`.
#[derive(Args)]
pub struct Figures {
    /// The folder of the programs to measure. Without this argument, the static binaries are measured.
    #[arg(long)]
    programs: Option<PathBuf>,
    /// How often each program is started.
    #[arg(long, default_value = "60")]
    rounds: String,
    /// Measure a cluster of eight real kubelets, and the plugins on one of its nodes beside Debian's, and
    /// nothing else. Needs root.
    #[arg(long)]
    lab: bool,
}

impl Figures {
    /// Measures and prints the figures.
    pub fn run(self) -> Result<()> {
        let programs = match self.programs {
            Some(dir) => std::fs::canonicalize(dir)?,
            None => dist::build()?,
        };
        if self.lab {
            return lab::measure(&programs, self.rounds.parse()?);
        }
        let mut bench = cargo(&["run", "--quiet", "--release", "--package", "benches", "--", "measure"]);
        run(bench.arg(&programs).args(["--rounds", &self.rounds]))?;
        if demo::can_be_on_an_api_server() {
            // The comparison with a plain request needs a program of its own.
            run(&mut cargo(&["build", "--quiet", "--release", "--package", "benches"]))?;
            let mut bench = cargo(&[
                "run",
                "--quiet",
                "--release",
                "--package",
                "benches",
                "--bin",
                "benches",
                "--",
                "kubernetes",
            ]);
            run(bench.arg(&programs).args(["--rounds", &self.rounds]))?;
        }
        run(&mut cargo(&["bench", "--package", "ipam", "--bench", "plan"]))?;
        run(&mut cargo(&["bench", "--package", "routes", "--bench", "plan"]))
    }
}
