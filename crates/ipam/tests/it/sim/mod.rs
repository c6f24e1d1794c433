//! A simulator: several callers, every read of a record or scope and every write a step, any of them next;
//! lost and late replies, crashes, and a second writer that works as Calico does. What must hold is checked
//! after every step.

#![allow(clippy::print_stdout, clippy::disallowed_methods, reason = "they print figures, and take them")]

use std::collections::BTreeMap;

mod calico;
mod operations;
mod seeds;
mod stores;

use seeds::{Config, Stats, simulate};
use stores::Mode;

fn sweep(name: &str, config: Config, seeds: u64) -> u32 {
    let from: u64 = std::env::var("SIM_FROM").ok().and_then(|t| t.parse().ok()).unwrap_or(0);
    let seeds: u64 = std::env::var("SIM_SEEDS").ok().and_then(|t| t.parse().ok()).unwrap_or(seeds);
    let mut total = Stats::default();
    let mut failures: BTreeMap<String, (u32, String)> = BTreeMap::new();
    for seed in from..from + seeds {
        let outcome = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| simulate(seed, config)));
        match outcome {
            Ok(Ok(stats)) => {
                total.steps += stats.steps;
                total.crashes += stats.crashes;
                total.lost_blocks += stats.lost_blocks;
                for (what, n) in stats.soft {
                    *total.soft.entry(what).or_default() += n;
                }
                for (what, n) in stats.errors {
                    *total.errors.entry(what).or_default() += n;
                }
            }
            Ok(Err(text)) => {
                let first = text.lines().next().unwrap_or_default();
                let class: String = first
                    .split_once("}: ")
                    .map_or(first, |(_, w)| w)
                    .chars()
                    .filter(|c| !c.is_ascii_digit())
                    .collect();
                let entry = failures.entry(class).or_insert((0, text));
                entry.0 += 1;
            }
            Err(_) => failures.entry("panic".into()).or_insert((0, format!("panic at seed {seed}"))).0 += 1,
        }
    }
    println!(
        "== {name}: {seeds} seeds, {} steps, {} crashes, lost blocks at end {}, soft {:?}, errors {:?}",
        total.steps, total.crashes, total.lost_blocks, total.soft, total.errors
    );
    let mut n = 0;
    for (class, (count, text)) in &failures {
        n += count;
        println!("-- {count} x {class}");
        let path = format!(
            "{}/sim-{}-{}.txt",
            env!("CARGO_TARGET_TMPDIR"),
            name.replace(' ', "_"),
            class.chars().filter(|c| c.is_ascii_alphanumeric()).take(30).collect::<String>()
        );
        std::fs::write(&path, text).unwrap();
        println!("   {path}");
    }
    n
}

/// A small sweep for every change; `SIM_SEEDS` makes it longer.
const SEEDS: u64 = 60;

const BASE: Config = Config {
    mode: Mode::Kube,
    calico: false,
    lost: 0,
    crash: 0,
    tasks: 3,
    pools: false,
    give_up: true,
    dels: true,
    more: false,
};

#[test]
fn sim_plain_kube() {
    assert_eq!(sweep("kube", BASE, SEEDS), 0);
}
#[test]
fn sim_plain_etcd() {
    assert_eq!(sweep("etcd", Config { mode: Mode::Etcd, ..BASE }, SEEDS), 0);
}
#[test]
fn sim_lost_kube() {
    assert_eq!(sweep("kube lost", Config { lost: 60, ..BASE }, SEEDS), 0);
}
#[test]
fn sim_lost_etcd() {
    assert_eq!(sweep("etcd lost", Config { lost: 100, mode: Mode::Etcd, ..BASE }, SEEDS), 0);
}
#[test]
fn sim_crash_kube() {
    assert_eq!(sweep("kube crash", Config { crash: 500, ..BASE }, SEEDS), 0);
}
#[test]
fn sim_crash_lost_kube() {
    assert_eq!(sweep("kube crash lost", Config { crash: 300, lost: 60, tasks: 4, ..BASE }, SEEDS), 0);
}
#[test]
fn sim_calico_kube() {
    assert_eq!(sweep("kube calico", Config { calico: true, ..BASE }, SEEDS), 0);
}
#[test]
fn sim_calico_crash_kube() {
    assert_eq!(sweep("kube calico crash", Config { calico: true, crash: 300, ..BASE }, SEEDS), 0);
}
#[test]
fn sim_calico_etcd() {
    assert_eq!(sweep("etcd calico", Config { calico: true, mode: Mode::Etcd, ..BASE }, SEEDS), 0);
}
#[test]
fn sim_pools_kube() {
    assert_eq!(sweep("kube pools", Config { pools: true, ..BASE }, SEEDS), 0);
}
#[test]
fn sim_pools_etcd() {
    assert_eq!(sweep("etcd pools", Config { pools: true, mode: Mode::Etcd, ..BASE }, SEEDS), 0);
}
#[test]
fn sim_pools_lost_etcd() {
    let config = Config { pools: true, lost: 100, mode: Mode::Etcd, ..BASE };
    assert_eq!(sweep("etcd pools lost", config, SEEDS), 0);
}
#[test]
fn sim_no_give_up_kube() {
    assert_eq!(sweep("kube no give up", Config { give_up: false, tasks: 4, ..BASE }, SEEDS), 0);
}

#[test]
fn sim_no_dels_kube() {
    assert_eq!(sweep("kube no dels", Config { dels: false, tasks: 4, ..BASE }, SEEDS), 0);
}
#[test]
fn sim_no_dels_lost_kube() {
    assert_eq!(
        sweep("kube no dels lost", Config { dels: false, give_up: false, lost: 80, tasks: 4, ..BASE }, SEEDS),
        0
    );
}
#[test]
fn sim_no_dels_lost_etcd() {
    assert_eq!(
        sweep(
            "etcd no dels lost",
            Config { mode: Mode::Etcd, dels: false, give_up: false, lost: 150, tasks: 4, ..BASE },
            SEEDS
        ),
        0
    );
}

#[test]
fn sim_more_kube() {
    assert_eq!(sweep("kube more", Config { more: true, tasks: 4, ..BASE }, SEEDS), 0);
}
#[test]
fn sim_more_etcd() {
    assert_eq!(sweep("etcd more", Config { more: true, tasks: 4, mode: Mode::Etcd, ..BASE }, SEEDS), 0);
}
#[test]
fn sim_more_lost_kube() {
    assert_eq!(
        sweep("kube more lost", Config { more: true, tasks: 3, lost: 60, crash: 200, ..BASE }, SEEDS),
        0
    );
}
#[test]
fn sim_more_lost_etcd() {
    assert_eq!(
        sweep(
            "etcd more lost",
            Config { more: true, tasks: 3, lost: 100, crash: 200, mode: Mode::Etcd, ..BASE },
            SEEDS
        ),
        0
    );
}
#[test]
fn sim_more_calico_kube() {
    assert_eq!(sweep("kube more calico", Config { more: true, calico: true, tasks: 3, ..BASE }, SEEDS), 0);
}
