//! How many instructions a node's plan takes in clusters of 1,000 nodes with 2,000 blocks and of 5,000 nodes
//! with 10,000 blocks: the plan, its comparison with what is there, a claimed block, and a change of a block
//! that says nothing new. It counts by callgrind, which is part of valgrind.

#![allow(
    clippy::disallowed_methods,
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "it runs itself under valgrind, and prints what that counts"
)]

mod cluster;

use std::hint::black_box;
use std::process::{Command, ExitCode};

use routes::destination::Destinations;
use routes::{Desired, Difference, Exported, List, Options, Present, Racks, Snapshot, node};

use self::cluster::{block, cluster};

const SIZES: [usize; 2] = [1_000, 5_000];
const MODES: [(&str, &str); 2] = [("Never", "without encapsulation"), ("Always", "with VXLAN")];
/// The kinds of work. The first is what comes before the others, and is subtracted from their figures.
const WORKS: [&str; 5] = ["nothing", "the plan", "the comparison", "a claimed block", "an ADD elsewhere"];

fn plan(snapshot: &Snapshot) -> Desired {
    let destinations = Destinations::of(snapshot);
    let racks = Racks::of(&destinations, Some("rack"), Exported::Plain);
    let gateway = "172.16.7.254".parse().expect("it is an address");
    let options = Options { via: vec![gateway], ..Options::default() };
    node::desired(&destinations, &racks, "n7-0", &options).expect("the node exists")
}

/// Does a kind of work once.
fn work(nodes: usize, mode: &str, what: &str) {
    let mut snapshot = cluster(nodes, mode);
    let desired = plan(&snapshot);
    let mut present = Present::default();
    present.routes.extend(desired.routes.values().map(|wanted| wanted.route.clone()));
    let (sides, _) = Difference::between(&present, &desired).steps(List::Fresh);
    sides.iter().for_each(|step| present.apply(step));
    // The node's neighbour in the rack claims a third block.
    let claimed = block(7, 1, 2);
    let again = block(3, 1, 1);
    match what {
        "the plan" => drop(black_box(plan(black_box(&snapshot)))),
        "the comparison" => assert!(Difference::between(black_box(&present), &desired).is_empty()),
        "a claimed block" => {
            assert!(snapshot.take(&claimed));
            let (steps, doubt) = Difference::between(&present, &plan(&snapshot)).steps(List::Kept);
            assert!(steps.len() == 1 && doubt.is_none(), "{steps:?} {doubt:?}");
        }
        "an ADD elsewhere" => assert!(!snapshot.take(black_box(&again))),
        _ => {}
    }
}

/// The instructions of a process that does a kind of work.
fn counted(nodes: usize, mode: &str, what: &str) -> Result<u64, String> {
    let program = std::env::current_exe().map_err(|error| error.to_string())?;
    let mut command = Command::new("valgrind");
    command.args(["--tool=callgrind", "--callgrind-out-file=/dev/null"]).arg(program);
    command.args([nodes.to_string().as_str(), mode, what]);
    let out = command.output().map_err(|error| format!("valgrind: {error}"))?;
    let text = String::from_utf8_lossy(&out.stderr);
    let count =
        text.split("Collected :").nth(1).and_then(|rest| rest.split_whitespace().next()?.parse().ok());
    count.filter(|_| out.status.success()).ok_or_else(|| text.into_owned())
}

fn table() -> Result<(), String> {
    for (mode, shown) in MODES {
        println!(
            "{shown}: millions of instructions with {} and {} nodes, and their ratio",
            SIZES[0], SIZES[1]
        );
        let mut before = [0; 2];
        for what in WORKS {
            let mut counts = [0; 2];
            for (nth, nodes) in SIZES.into_iter().enumerate() {
                counts[nth] = counted(nodes, mode, what)?;
            }
            if what == WORKS[0] {
                before = counts;
                continue;
            }
            let [small, large] = [0, 1].map(|nth| counts[nth].saturating_sub(before[nth]) as f64 / 1e6);
            println!("  {what:<18}{small:>10.3}{large:>10.3}{:>8.1}", large / small);
        }
    }
    Ok(())
}

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).filter(|arg| !arg.starts_with("--")).collect();
    if let [nodes, mode, what] = &args[..] {
        work(nodes.parse().expect("a number of nodes"), mode, what);
        return ExitCode::SUCCESS;
    }
    match table() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("nothing was counted: {error}");
            ExitCode::FAILURE
        }
    }
}
