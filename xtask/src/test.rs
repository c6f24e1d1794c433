//! Everything that CI runs, in the order in which it is cheapest to fail.

use std::time::Instant;

use anyhow::{Context, Result};
use clap::Args;

use crate::cargo::{build_programs, cargo, root, run};
use crate::{demo, dist, lab, needs};

/// Arguments of `cargo xtask test`.
#[derive(Args)]
pub struct Test {
    /// Leave out the build of the static binaries, which takes minutes.
    #[arg(long)]
    no_dist: bool,
}

impl Test {
    /// Runs it all; stops at the first failure.
    pub fn run(self) -> Result<()> {
        needs::program("python3", "python3", "the replay of recordings")?;
        needs::program("etcd", "etcd-server", "a server for the tests of the etcd store")?;
        needs::program("etcdctl", "etcd-client", "the replay of recordings on etcd")?;
        needs::program("openssl", "openssl", "the replay of recordings on Kubernetes")?;
        needs::program("ip", "iproute2", "the replay of recordings on Kubernetes")?;
        step("formatting", || run(&mut cargo(&["fmt", "--all", "--check"])))?;
        step("lints", || {
            run(cargo(&["clippy", "--quiet", "--workspace", "--all-targets"])
                .env("CLIPPY_CONF_DIR", root())
                .args(["--", "-D", "warnings"]))
        })?;
        step("documentation", || {
            run(cargo(&["doc", "--quiet", "--workspace", "--no-deps"]).env("RUSTDOCFLAGS", "-D warnings"))
        })?;
        let programs = step("programs", build_programs)?;
        step("Kubernetes' programs", || {
            if lab::can_be_had() { lab::prepare() } else { demo::prepare_api_server() }
        })?;
        step("tests", || run(cargo(&["test", "--workspace"]).env("RACKPOOL_PROGRAMS", &programs)))?;
        // An optimiser has been met that changed what the selectors' parser does.
        step("optimised tests of what is pure", || {
            run(&mut cargo(&[
                "test",
                "--release",
                "--package",
                "selector",
                "--package",
                "api",
                "--package",
                "ipam",
            ]))
        })?;
        step("demo", || demo::Demo::with_programs(programs.clone()).run())?;
        step("demo in network namespaces", || {
            if demo::can_be_in_namespaces() {
                demo::Demo::with_programs(programs.clone()).in_namespaces().run()?;
            }
            Ok(())
        })?;
        step("demo on etcd", || demo::Demo::with_programs(programs.clone()).on_etcd().run())?;
        step("demo on a Kubernetes API server", || {
            if demo::can_be_on_an_api_server() {
                demo::Demo::with_programs(programs.clone()).on_api_server().run()?;
            }
            Ok(())
        })?;
        step("demo on real kubelets", || {
            if lab::can_be_had() {
                demo::Demo::with_programs(programs).on_kubernetes().run()?;
            }
            Ok(())
        })?;
        if !self.no_dist {
            let dir = step("static binaries", dist::build)?;
            step("demo with the static binaries", || demo::Demo::with_programs(dir).run())?;
        }
        Ok(())
    }
}

fn step<T>(name: &str, work: impl FnOnce() -> Result<T>) -> Result<T> {
    println!("== {name}");
    #[allow(clippy::disallowed_methods, reason = "tells the developer where the time goes")]
    let start = Instant::now();
    let done = work().with_context(|| name.to_string())?;
    println!("== {name}: {} s", start.elapsed().as_secs());
    Ok(done)
}
