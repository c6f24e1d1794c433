//! All checks of CI; those that are quick or fail often come first. Kubernetes is built beside the lints and
//! the tests. Checks that start no server run beside the tests, which wait for servers most of the time.
//! Checks that take longer are in [`crate::nightly`].

use std::path::PathBuf;

use anyhow::Result;
use clap::Args;

use crate::beside::Beside;
use crate::left_out::LeftOut;
use crate::steps::{AfterFailure, Steps};
use crate::{demo, dist, fuzz, lab, mutations, needs, rights, simulate};
use servers::kube_server::{self, AUDIT_LOGS};
use xtask::cargo::{cargo, run, target_dir};

/// The packages whose tests are also run with optimisation, because an optimiser once broke the selectors'
/// parser. The planners' tests are optimised only in the nightly run: they use all stores, which would have
/// to be compiled once more.
const OPTIMISED: [&str; 2] = ["selector", "api"];

/// How many seeds are simulated: more than a million steps.
const SEEDS: u64 = 25_000;
/// How many mutations are put in, to see that the simulations find them.
const MUTATIONS: usize = 5;
/// How many inputs are drawn for each parser.
const INPUTS: u64 = 100_000;

/// Arguments of `cargo xtask test`.
#[derive(Args)]
pub struct Test {
    /// Leave out the checks that start no server: documentation, fuzzing, optimised tests, simulations
    /// and static binaries
    #[arg(long)]
    no_dist: bool,
    /// Do only the checks that start no server. The programs must have been built with the tests before
    #[arg(long, conflicts_with = "no_dist")]
    without_servers: bool,
}

/// Runs the tests of these packages with optimisation.
pub fn run_optimised(packages: &[&str]) -> Result<()> {
    run(cargo(&["test", "--release"]).args(packages.iter().flat_map(|name| ["--package", name])))
}

impl Test {
    /// Runs all checks, and stops at the first failure. Prints at the end how long each took.
    pub fn run(self) -> Result<()> {
        let (mut steps, mut left_out) = (Steps::new(AfterFailure::Stop), LeftOut::default());
        let result = match self.without_servers {
            true => without_servers(&mut steps),
            false => self.steps(&mut steps, &mut left_out),
        };
        println!("\n{}{}", steps.table(), left_out.table());
        result
    }

    fn steps(self, steps: &mut Steps, left_out: &mut LeftOut) -> Result<()> {
        steps.run("servers of packages", needs::servers)?;
        steps.run("formatting", || run(&mut cargo(&["fmt", "--all", "--check"])))?;
        let kubernetes = lab::can_be_had().then(|| Beside::start(&["lab", "prepare"])).transpose()?;
        steps.run("lints", || {
            // Clippy applies the rules in each crate's own folder, or else those in the root.
            run(cargo(&["clippy", "--quiet", "--workspace", "--all-targets"]).args(["--", "-D", "warnings"]))
        })?;
        let mut programs = PathBuf::new();
        // The programs are built together with the tests. Built alone, they would have other features of
        // their dependencies, and all of those would be compiled once more.
        steps.run("programs and tests, built", || {
            run(&mut cargo(&["test", "--quiet", "--workspace", "--no-run"]))?;
            programs = target_dir()?.join("debug");
            Ok(())
        })?;
        steps.run("Kubernetes' programs", || match kubernetes {
            Some(beside) => beside.end(),
            None => demo::prepare_api_server(),
        })?;
        steps.run("rules of the source", || {
            let rules = ["--test", "arrows", "--test", "circles", "--test", "comments"];
            run(cargo(&["test", "--quiet", "--workspace"]).args(rules))
        })?;
        let beside = match self.no_dist {
            true => None,
            false => Some(Beside::start(&["test", "--without-servers"])?),
        };
        let logs = tempfile::tempdir_in(target_dir()?)?;
        steps.run("tests", || {
            let mut tests = cargo(&["test", "--workspace"]);
            left_out.run(tests.env("RACKPOOL_PROGRAMS", &programs).env(AUDIT_LOGS, logs.path()))
        })?;
        if kube_server::is_left_out() || !demo::can_be_in_namespaces() {
            steps.leave_out("rights", "tests that need them were left out");
        } else {
            steps.run("rights", || rights::prove(logs.path()))?;
        }
        drop(logs);
        let demo = || demo::Demo::with_programs(programs.clone());
        steps.run("demo", || demo().run())?;
        if demo::can_be_in_namespaces() {
            steps.run("demo in network namespaces", || demo().in_namespaces().run())?;
        } else {
            steps.leave_out("demo in network namespaces", "this user cannot make any");
        }
        steps.run("demo on etcd", || demo().on_etcd().run())?;
        if demo::can_be_on_an_api_server() {
            steps.run("demo on a Kubernetes API server", || demo().on_api_server().run())?;
        } else {
            steps.leave_out("demo on a Kubernetes API server", "its programs cannot be had here");
        }
        if lab::can_be_had() {
            steps.run("demo on real kubelets", || demo().on_kubernetes().run())?;
        } else {
            steps.leave_out(
                "demo on real kubelets",
                "this machine cannot have a lab; cargo xtask lab up says why",
            );
        }
        match beside {
            Some(beside) => steps.run("checks without servers, begun beside the tests", || beside.end()),
            None => {
                steps.leave_out("checks without servers", "--no-dist");
                Ok(())
            }
        }
    }
}

/// The checks that start no server.
fn without_servers(steps: &mut Steps) -> Result<()> {
    let programs = target_dir()?.join("debug");
    // Without optimisation: to build all parsers once more would take longer than the inputs do.
    steps.run("fuzzing", || fuzz::drawn(&programs.join("fuzz-targets"), INPUTS))?;
    steps.run("documentation", || {
        run(cargo(&["doc", "--quiet", "--workspace", "--no-deps"]).env("RUSTDOCFLAGS", "-D warnings"))
    })?;
    steps.run("optimised tests of selectors and resources", || run_optimised(&OPTIMISED))?;
    steps.run("mutations apply", mutations::all_apply)?;
    steps.run("simulations", || simulate::simulate(0, SEEDS, 0))?;
    steps.run("mutations that the commit draws", || {
        mutations::hunt(Some(MUTATIONS), mutations::seed_of_head())
    })?;
    let mut folder = PathBuf::new();
    steps.run("static binaries for the embedded store", || {
        folder = dist::build_quickly()?;
        Ok(())
    })?;
    steps.run("demo with the static binaries", || demo::Demo::with_programs(folder).run())
}
