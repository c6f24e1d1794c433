//! The common load, on the stores that need no server.

use crate::case::Case;
use crate::environment::Environment;
use crate::trouble::Trouble;
use crate::worker::Faults;

const FAULTS: Faults = Faults { read_fails: 30, unsent: 30, reply_lost: 80, crash: 20, one_by_one: false };

#[test]
fn a_load_on_the_embedded_store() {
    Case::new("embedded", Environment::embedded()).run();
}

#[test]
fn workers_on_the_embedded_store_are_killed() {
    let case = Case::new("embedded, workers killed", Environment::embedded()).with(Trouble::KillWorkers);
    Case { granted: 80, ..case }.run();
}

#[test]
fn calls_to_the_embedded_store_fail() {
    let case = Case::new("embedded, calls fail", Environment::embedded());
    Case { granted: 60, faults: Some(FAULTS), ..case }.run();
}

#[test]
fn calls_to_a_store_in_memory_fail() {
    let case = Case::new("memory, calls fail", Environment::memory());
    Case { granted: 60, requests: 60, faults: Some(FAULTS), ..case }.run();
}

#[test]
fn calls_to_a_store_without_transactions_fail() {
    let case = Case::new("memory, write by write, calls fail", Environment::memory());
    let faults = Faults { one_by_one: true, crash: 0, ..FAULTS };
    Case { granted: 60, requests: 60, faults: Some(faults), ..case }.run();
}

#[test]
fn workers_on_a_store_without_transactions_crash() {
    let case = Case::new("memory, write by write, workers crash", Environment::memory());
    let faults = Faults { one_by_one: true, ..FAULTS };
    Case { granted: 60, requests: 60, faults: Some(faults), ..case }.run();
}
