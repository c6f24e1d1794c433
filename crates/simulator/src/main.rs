//! Runs simulations, on all processors. `cargo xtask simulate` builds it with optimisation, and calls it.
//!
//! Arguments: the first seed, how many seeds, and for how many seconds at most (0 for no limit); or `hunt`,
//! the first seed, and after how many steps to give up: then it stops at the first failure.
#![allow(clippy::print_stdout, clippy::print_stderr, reason = "a program for the terminal")]
#![allow(clippy::disallowed_methods, reason = "it looks when its time is over, and runs on all processors")]

use std::collections::BTreeMap;
use std::process::ExitCode;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use simulator::{Failure, Scenario, Setup, Stats, run, shrink};

/// How many scenarios are run to make one failure small.
const SHRINKING: u64 = 20_000;
/// How many kinds of failures are made small.
const KINDS: usize = 5;

/// What simulations have come to, on one processor or on all.
#[derive(Default)]
struct Total {
    stats: Stats,
    seeds: u64,
    /// By kind: how many, the first seed, its failure.
    failures: BTreeMap<String, (u64, u64, Option<Failure>)>,
}

impl Total {
    fn take(&mut self, seed: u64, failure: Failure) {
        self.stats.steps += failure.steps;
        let (count, first, kept) = self.failures.entry(failure.kind()).or_insert((0, u64::MAX, None));
        *count += 1;
        if seed < *first {
            (*first, *kept) = (seed, Some(failure));
        }
    }

    fn add(&mut self, other: Total) {
        self.stats.add(other.stats);
        self.seeds += other.seeds;
        for (kind, (count, first, failure)) in other.failures {
            let known = self.failures.entry(kind).or_insert((0, u64::MAX, None));
            known.0 += count;
            if first < known.1 {
                (known.1, known.2) = (first, failure);
            }
        }
    }
}

fn main() -> ExitCode {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let is_hunt = words.first().is_some_and(|word| word == "hunt");
    let numbers = words.iter().skip(usize::from(is_hunt)).map(|text| text.parse().ok());
    let numbers: Option<Vec<u64>> = numbers.collect();
    // A panic is a failure like others, and told with its seed.
    std::panic::set_hook(Box::new(|_| {}));
    match (is_hunt, numbers.as_deref()) {
        (false, Some(&[first, seeds, seconds])) => many(first, seeds, seconds),
        (true, Some(&[first, steps])) => hunt(first, steps),
        _ => {
            eprintln!("usage: simulator FIRST-SEED SEEDS SECONDS, or: simulator hunt FIRST-SEED STEPS");
            ExitCode::from(2)
        }
    }
}

/// One seed after the other, until one fails. Fails where none does.
fn hunt(first: u64, steps: u64) -> ExitCode {
    let mut made = 0;
    for seed in first.. {
        match run(&Scenario::of(seed, Setup::of(seed))) {
            Ok(stats) => made += stats.steps,
            Err(failure) => {
                made += failure.steps;
                println!("{made} steps, seed {seed}: {}", failure.what);
                return ExitCode::SUCCESS;
            }
        }
        if made > steps {
            break;
        }
    }
    println!("nothing in {made} steps");
    ExitCode::FAILURE
}

fn many(first: u64, seeds: u64, seconds: u64) -> ExitCode {
    let begun = Instant::now();
    let is_over = || seconds > 0 && begun.elapsed() >= Duration::from_secs(seconds);
    let (next, total) = (AtomicU64::new(0), Mutex::new(Total::default()));
    let work = || {
        let mut mine = Total::default();
        loop {
            let at = next.fetch_add(1, Ordering::Relaxed);
            if at >= seeds || is_over() {
                break;
            }
            let seed = first + at;
            mine.seeds += 1;
            match run(&Scenario::of(seed, Setup::of(seed))) {
                Ok(stats) => mine.stats.add(stats),
                Err(failure) => mine.take(seed, failure),
            }
        }
        total.lock().unwrap_or_else(|poisoned| poisoned.into_inner()).add(mine);
    };
    std::thread::scope(|scope| {
        for _ in 0..std::thread::available_parallelism().map_or(1, usize::from) {
            scope.spawn(work);
        }
    });
    let total = total.into_inner().unwrap_or_else(|poisoned| poisoned.into_inner());
    tell(&total, begun.elapsed())
}

fn tell(total: &Total, took: Duration) -> ExitCode {
    let Stats { steps, changes, crashes, passing, errors } = &total.stats;
    println!(
        "{} seeds, {steps} steps, {changes} changes, {crashes} crashes in {:.1} s: {:.0} steps a second",
        total.seeds,
        took.as_secs_f64(),
        *steps as f64 / took.as_secs_f64(),
    );
    println!("did not fit for a while: {passing:?}");
    let mut errors: Vec<(&String, &u64)> = errors.iter().collect();
    errors.sort_by_key(|(_, count)| std::cmp::Reverse(**count));
    errors.iter().take(12).for_each(|(error, count)| println!("{count} x {error}"));
    for (kind, (count, first, _)) in &total.failures {
        println!("FAILED {count} x, first with seed {first}: {kind}");
    }
    for (_, first, failure) in total.failures.values().take(KINDS) {
        if let Some(failure) = failure {
            let shrunk = shrink(failure.clone(), SHRINKING);
            println!("\nseed {first}, made small in {} runs: {}", shrunk.runs, shrunk.failure);
        }
    }
    if total.failures.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
