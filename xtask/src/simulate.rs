//! `cargo xtask simulate`: many callers on one cluster, step by step, from seeds.

use anyhow::Result;
use clap::Args;
use xtask::cargo::{cargo, run, target_dir};

use crate::mutations;

/// Arguments of `cargo xtask simulate`.
#[derive(Args)]
pub struct Simulate {
    /// How many seeds to simulate; if only --seed is given, 1
    #[arg(long, value_name = "N")]
    seeds: Option<u64>,
    /// The first seed
    #[arg(long, value_name = "S")]
    seed: Option<u64>,
    /// Begin no further seed after so many minutes
    #[arg(long, value_name = "M", default_value_t = 0)]
    minutes: u64,
    /// Put faults back into a copy of the planners, one after the other, and see that each is found
    #[arg(long)]
    mutations: bool,
    /// Of the faults only so many, drawn by --seed
    #[arg(long, value_name = "N", requires = "mutations")]
    draw: Option<usize>,
}

/// How many seeds are simulated where nobody says so.
const SEEDS: u64 = 2_000;

impl Simulate {
    /// Simulates, and tells what did not hold, made small.
    pub fn run(self) -> Result<()> {
        if self.mutations {
            return mutations::hunt(self.draw, self.seed.unwrap_or_default());
        }
        let seeds = match (self.seeds, self.minutes, self.seed) {
            (Some(seeds), ..) => seeds,
            (None, 1.., _) => u64::MAX,
            (None, 0, Some(_)) => 1,
            (None, 0, None) => SEEDS,
        };
        simulate(self.seed.unwrap_or_default(), seeds, self.minutes * 60)
    }
}

/// Builds the simulator with optimisation, and simulates these seeds.
pub fn simulate(first: u64, seeds: u64, seconds: u64) -> Result<()> {
    run(&mut cargo(&["build", "--quiet", "--release", "--package", "simulator"]))?;
    let program = target_dir()?.join("release/simulator");
    let numbers = [first, seeds, seconds].map(|number| number.to_string());
    run(std::process::Command::new(program).args(numbers))
}
