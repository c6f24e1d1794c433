//! Everything that CI runs, in the order in which it is cheapest to fail.

use std::time::Instant;

use anyhow::{Context, Result};
use clap::Args;

use crate::cargo::{build_programs, cargo, root, run};
use crate::{demo, dist, needs};

/// Arguments of `cargo xtask test`.
#[derive(Args)]
pub struct Test {
    /// Leave out the build of the static binaries, which takes minutes.
    #[arg(long)]
    no_dist: bool,
    /// Also run the tests of the Kubernetes store, which no program uses yet. They build a control plane once, which takes Go and minutes.
    #[arg(long)]
    kubernetes: bool,
}

impl Test {
    /// Runs it all; stops at the first failure.
    pub fn run(self) -> Result<()> {
        needs::program("python3", "python3", "the replay of recordings")?;
        needs::program("etcd", "etcd-server", "a server for the tests of the etcd store")?;
        needs::program("etcdctl", "etcd-client", "the replay of recordings on etcd")?;
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
        step("tests", || {
            let mut tests = cargo(&["test", "--workspace"]);
            if !self.kubernetes {
                println!("the Kubernetes store is left out; cargo xtask test --kubernetes tests it too");
                tests.env("RACKPOOL_SKIP_KUBERNETES", "1");
            }
            run(tests.env("RACKPOOL_PROGRAMS", &programs))
        })?;
        if self.kubernetes {
            step("Kubernetes store", || {
                run(&mut cargo(&["test", "--package", "store", "--features", "kubernetes,etcd,sqlite"]))
            })?;
        }
        step("demo", || demo::Demo::with_programs(programs.clone()).run())?;
        step("demo on etcd", || demo::Demo::with_programs(programs).on_etcd().run())?;
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
