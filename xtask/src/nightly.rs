//! The checks that take too long for every change: long loads and replays, the static binaries, the packages'
//! policy.

use std::path::PathBuf;
use std::process::Command;

use anyhow::Result;
use clap::Args;

use crate::lab::Platform;
use crate::left_out::LeftOut;
use crate::older::{Older, Skew};
use crate::steps::{AfterFailure, Steps};
use crate::test::run_optimised;
use crate::{demo, dist, fuzz, images, lab, mutations, needs, rights, simulate};
use xtask::cargo::{build_programs, cargo, run, target_dir};

/// The packages without effects. Their tests are run with optimisation.
const PURE: [&str; 4] = ["selector", "api", "ipam", "controllers"];
/// How much longer than in CI each load runs.
const LOAD_SCALE: &str = "10";

/// How many seeds are simulated.
const SEEDS: u64 = 500_000;

/// Arguments of `cargo xtask nightly`.
#[derive(Args)]
pub struct Nightly {
    /// Do no more than these steps; a part of a step's name is enough. They are: packages' policy, long
    /// tests, optimised tests, simulations, mutations, fuzzing, rights taken away, long loads, two
    /// releases, static binaries, demo with the static binaries, demo on real kubelets as in k3s, demo on
    /// real kubelets as in MicroK8s, life of an installation, images built twice, images for all
    /// architectures
    #[arg(long, value_name = "NAME")]
    only: Vec<String>,
}

impl Nightly {
    /// Runs all checks, even after one has failed. Prints a table of the outcomes.
    pub fn run(self) -> Result<()> {
        needs::servers()?;
        let (mut steps, mut left_out) = (Steps::new(AfterFailure::GoOn), LeftOut::default());
        let is_wanted =
            |name: &str| self.only.is_empty() || self.only.iter().any(|only| name.contains(only.as_str()));
        let policy = "packages' policy";
        if is_wanted(policy) {
            match cargo_deny() {
                // cargo-deny fetches the advisories from a repository that not every machine can reach.
                Ok(deny) => steps.run(policy, || {
                    run(Command::new(deny).current_dir(xtask::cargo::root()).args([
                        "--offline",
                        "check",
                        "bans",
                        "licenses",
                        "sources",
                    ]))
                })?,
                Err(error) => steps.leave_out(policy, format!("cargo-deny cannot be installed: {error:#}")),
            }
        }
        if is_wanted("long tests") {
            steps.run("long tests", || {
                let programs = build_programs()?;
                prepare_kubernetes()?;
                let mut test =
                    cargo(&["test", "--workspace", "--no-fail-fast", "--", "--ignored", "--show-output"]);
                left_out.run_with(test.env("RACKPOOL_PROGRAMS", programs))
            })?;
        }
        if is_wanted("optimised tests") {
            steps.run("optimised tests", || {
                prepare_kubernetes()?;
                run_optimised(&PURE)
            })?;
        }
        if is_wanted("simulations") {
            steps.run("simulations", || simulate::simulate(0, SEEDS, 0))?;
        }
        if is_wanted("mutations") {
            steps.run("mutations", || mutations::hunt(None, 0))?;
        }
        if is_wanted("fuzzing") {
            steps.run("fuzzing", || fuzz::guided(&[], fuzz::SECONDS))?;
        }
        if is_wanted("rights taken away") {
            steps.run("rights taken away", || {
                prepare_kubernetes()?;
                rights::Rights::all().run()
            })?;
        }
        if is_wanted("long loads") {
            steps.run("long loads", || {
                let programs = build_programs()?;
                prepare_kubernetes()?;
                let mut test = cargo(&["test", "--package", "end-to-end"]);
                left_out.run(test.env("RACKPOOL_PROGRAMS", programs).env("RACKPOOL_LOAD_SCALE", LOAD_SCALE))
            })?;
        }
        if is_wanted("two releases") {
            steps.run("two releases", || {
                prepare_kubernetes()?;
                Skew::of(&Older::build(None)?, LOAD_SCALE)
            })?;
        }
        self.static_binaries(&mut steps, is_wanted)?;
        if is_wanted("images built twice") {
            steps.run("images built twice", || images::prove(&dist::build()?))?;
        }
        if is_wanted("images for all architectures") {
            steps.run("images for all architectures", images::for_all_architectures)?;
        }
        println!("\n{}{}", steps.table(), left_out.table());
        steps.result()
    }

    /// Builds the static binaries, and runs the steps that use them; if one of all these is wanted.
    fn static_binaries(&self, steps: &mut Steps, is_wanted: impl Fn(&str) -> bool) -> Result<()> {
        let (built, guide) = ("static binaries", "demo with the static binaries");
        let on_kubelets = [
            "demo on real kubelets as in k3s",
            "demo on real kubelets as in MicroK8s",
            "life of an installation",
        ];
        if ![built, guide].into_iter().chain(on_kubelets).any(&is_wanted) {
            return Ok(());
        }
        let mut folder = None;
        steps.run(built, || {
            folder = Some(dist::build()?);
            Ok(())
        })?;
        let Some(folder) = folder else { return Ok(()) };
        let demo = || demo::Demo::with_programs(folder.clone());
        if is_wanted(guide) {
            steps.run(guide, || demo().run())?;
        }
        let demos = [
            demo().on_kubernetes().with_folders_of(Platform::K3s),
            demo().on_kubernetes().with_folders_of(Platform::Microk8s),
            demo().of_a_life(),
        ];
        for (name, demo) in on_kubelets.into_iter().zip(demos).filter(|(name, _)| is_wanted(name)) {
            if lab::can_be_had() {
                steps.run(name, || demo.run())?;
            } else {
                steps.leave_out(name, "this machine cannot have a lab; cargo xtask lab up says why");
            }
        }
        Ok(())
    }
}

fn prepare_kubernetes() -> Result<()> {
    if lab::can_be_had() { lab::prepare() } else { demo::prepare_api_server() }
}

/// The path of cargo-deny: the machine's, or else one that is built into the target folder.
fn cargo_deny() -> Result<PathBuf> {
    if needs::is_there("cargo-deny") {
        return Ok("cargo-deny".into());
    }
    let root = target_dir()?.join("tools");
    let program = root.join("bin/cargo-deny");
    if !program.is_file() {
        eprintln!("building cargo-deny; this is done once and takes minutes");
        run(cargo(&["install", "--quiet", "--locked", "cargo-deny", "--root"]).arg(&root))?;
    }
    Ok(program)
}
