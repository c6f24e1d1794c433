//! The programs of two releases on one node, while one takes the other's place.

use std::collections::BTreeSet;
use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use serde_json::{Value as Json, json};
use store::testing::program_beside;

use crate::harness::{Container, Node};

const PLUGINS: [&str; 2] = ["calico", "calico-ipam"];
const PODS: usize = 50;
/// How many calls are under way at the same time.
const AT_ONCE: usize = 4;
/// Names a folder with the programs of another release. Without it, copies of the present ones stand for
/// them.
const OLDER: &str = "RACKPOOL_OLDER_PROGRAMS";

/// The folders with the programs of two releases.
#[allow(clippy::disallowed_methods, reason = "whoever runs the test says which release it is to be")]
fn releases(node: &Node) -> [PathBuf; 2] {
    let present = |name: &str| program_beside(Path::new(env!("CARGO_BIN_EXE_calico")), name);
    let older = std::env::var_os(OLDER).map(PathBuf::from);
    [("older", older), ("newer", None)].map(|(name, folder)| {
        let own = node.path(name);
        fs::create_dir(&own).unwrap();
        for name in PLUGINS {
            let from = folder.as_ref().map_or_else(|| present(name), |folder| folder.join(name));
            fs::copy(from, own.join(name)).unwrap();
        }
        own
    })
}

/// Puts a release's plugin in place as the agent does: beside the old one, and renamed. The file itself was
/// written before, for a process that is being started may keep it open for writing.
fn place(release: &Path, bin: &Path, name: &str) {
    let beside = bin.join(format!(".{name}.new"));
    fs::hard_link(release.join(name), &beside).unwrap();
    fs::rename(&beside, bin.join(name)).unwrap();
    // A rename of two names of one file does nothing, and leaves both.
    let _ = fs::remove_file(&beside);
}

/// Calls the program `calico` that is in place now.
fn call(node: &Node, bin: &Path, verb: &str, container: &Container) -> Result<Json, String> {
    let environment = container.environment(verb, bin);
    let args = format!("IgnoreUnknown=1;{}", environment.get("CNI_ARGS").unwrap());
    let environment = environment.with("CNI_ARGS", &args);
    let configuration = node.configuration(json!({"ipam": {"type": "calico-ipam"}})).to_string();
    let out = node.host.run(|| {
        let mut command = Command::new(bin.join("calico"));
        command.env_clear().envs(environment.variables());
        let mut child =
            command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        child.stdin.take().unwrap().write_all(configuration.as_bytes()).unwrap();
        child.wait_with_output().unwrap()
    });
    let said = String::from_utf8(out.stdout).unwrap();
    match out.status.success() {
        true => Ok(serde_json::from_str(&said).unwrap_or_default()),
        false => Err(format!("{verb} of {}: {said}{}", container.pod, String::from_utf8_lossy(&out.stderr))),
    }
}

/// Calls the plugin for all containers, a few at a time. Gives the answers.
fn all(node: &Node, bin: &Path, verb: &str, containers: &[Container]) -> Vec<Json> {
    thread::scope(|scope| {
        let parts = containers.chunks(containers.len().div_ceil(AT_ONCE));
        let calls = parts.map(|part| {
            let one = |container| call(node, bin, verb, container).unwrap_or_else(|error| panic!("{error}"));
            scope.spawn(move || part.iter().map(one).collect::<Vec<_>>())
        });
        let calls: Vec<_> = calls.collect();
        calls.into_iter().flat_map(|call| call.join().unwrap()).collect()
    })
}

#[test]
fn two_versions_at_once() {
    let Some(node) = Node::new() else { return };
    let releases = releases(&node);
    let bin = node.path("bin");
    fs::create_dir(&bin).unwrap();
    PLUGINS.iter().for_each(|name| place(&releases[0], &bin, name));
    let containers: Vec<Container> =
        (0..PODS).map(|at| Container::new(&format!("c{at}"), &format!("pod-{at}"))).collect();
    let is_over = AtomicBool::new(false);
    let (answers, renames) = thread::scope(|scope| {
        let renaming = scope.spawn(|| {
            let mut renames = 0_usize;
            while !is_over.load(Ordering::Relaxed) {
                // One plugin after the other, from the older release to the newer and back.
                place(&releases[1 - renames / 2 % 2], &bin, PLUGINS[(renames + renames / 4) % 2]);
                renames += 1;
                thread::yield_now();
            }
            renames
        });
        // Ends the renaming also where a call fails.
        struct Over<'b>(&'b AtomicBool);
        impl Drop for Over<'_> {
            fn drop(&mut self) {
                self.0.store(true, Ordering::Relaxed);
            }
        }
        let over = Over(&is_over);
        let answers = all(&node, &bin, "ADD", &containers);
        all(&node, &bin, "DEL", &containers[..PODS / 2]);
        drop(over);
        (answers, renaming.join().unwrap())
    });
    assert!(renames > PODS, "{renames} renames");
    let addresses: BTreeSet<&str> =
        answers.iter().map(|answer| answer["ips"][0]["address"].as_str().unwrap()).collect();
    assert_eq!(addresses.len(), PODS, "{addresses:?}");
    assert_eq!(node.in_use(), PODS - PODS / 2);
    all(&node, &bin, "DEL", &containers[PODS / 2..]);
    assert_eq!((node.in_use(), node.host.interfaces()), (0, vec![]));
}
