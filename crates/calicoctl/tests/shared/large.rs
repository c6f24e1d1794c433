//! A large cluster, looked at by the whole program: what it says, and what it takes.

use std::io::Read;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use cluster_data::Size;

/// The most memory that a look at a cluster of 150,000 addresses may take, in KiB.
const MOST_KIB: u64 = 150 << 10;

/// What a run took.
#[derive(Debug)]
pub struct Taken {
    pub time: Duration,
    pub peak_kib: u64,
}

/// Looks at the cluster with `ipam check` and `ipam show --show-blocks`, and checks what they say and how
/// much memory they take. Gives what each took.
pub fn look(size: Size, mut program: impl FnMut() -> Command) -> [Taken; 2] {
    let (checked, check) = run(program().args(["ipam", "check"]));
    let leaked = size.addresses - size.pods;
    for line in [
        format!("Found {} IPAM blocks.", size.blocks),
        format!("IPAM blocks record {} allocations.", size.addresses),
        format!("Found {} workload IPs.", size.pods),
        format!("Found {leaked} IPs that are allocated in IPAM but not actually in use."),
        format!("Found 0 handles with no matching IPs (and {} handles with matches).", size.addresses),
        format!("Check complete; found {leaked} problems."),
    ] {
        assert!(checked.lines().any(|told| told == line), "{line}\n{}", last_lines(&checked));
    }
    assert!(!checked.contains("more problems"), "{}", last_lines(&checked));
    let (shown, show) = run(program().args(["ipam", "show", "--show-blocks"]));
    let blocks = shown.lines().filter(|line| line.starts_with("| Block ")).count();
    assert_eq!(blocks, size.blocks as usize);
    for (what, Taken { time, peak_kib }) in [("check", &check), ("show", &show)] {
        println!("{size:?}: {what} took {time:?} and at most {peak_kib} KiB");
    }
    assert!(check.peak_kib < MOST_KIB && show.peak_kib < MOST_KIB, "check {check:?}, show {show:?}");
    [check, show]
}

fn last_lines(text: &str) -> String {
    let lines: Vec<&str> = text.lines().collect();
    lines[lines.len().saturating_sub(30)..].join("\n")
}

/// Runs a program. Its peak is asked for again and again while it runs: what the system tells after its end
/// counts the memory of the process that started it, too.
#[allow(clippy::disallowed_methods, reason = "it measures time")]
fn run(command: &mut Command) -> (String, Taken) {
    let start = Instant::now();
    let mut child = command.stdin(Stdio::null()).stdout(Stdio::piped()).spawn().unwrap();
    let mut stdout = child.stdout.take().unwrap();
    let reader = std::thread::spawn(move || {
        let mut text = String::new();
        stdout.read_to_string(&mut text).unwrap();
        text
    });
    let status = format!("/proc/{}/status", child.id());
    let mut peak_kib = 0;
    let ended = loop {
        let told = std::fs::read_to_string(&status).unwrap_or_default();
        let peak = told
            .lines()
            .find_map(|line| line.strip_prefix("VmHWM:")?.trim().strip_suffix(" kB")?.parse().ok());
        peak_kib = peak.unwrap_or(0).max(peak_kib);
        match child.try_wait().unwrap() {
            Some(ended) => break ended,
            None => std::thread::sleep(Duration::from_millis(2)),
        }
    };
    let text = reader.join().unwrap();
    assert!(ended.success(), "{}", last_lines(&text));
    (text, Taken { time: start.elapsed(), peak_kib })
}
