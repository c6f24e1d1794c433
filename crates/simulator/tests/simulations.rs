//! Small simulations for every change; `cargo xtask simulate` runs more, and optimised.

use simulator::{Breach, Manner, Scenario, Setup, run, shrink};

/// No seed of these fails, in any manner of store.
#[test]
fn what_must_hold_holds() {
    for seed in 0..60 {
        let scenario = Scenario::of(seed, Setup::of(seed));
        if let Err(failure) = run(&scenario) {
            panic!("seed {seed}: {}", shrink(failure, 2_000).failure);
        }
    }
}

fn broken(breach: Breach, manner: Manner) -> Option<simulator::Failure> {
    (0..400).find_map(|seed| {
        let setup = Setup { breach: Some(breach), manner, lost: 0, ..Setup::of(seed) };
        run(&Scenario::of(seed, setup)).err()
    })
}

/// The same seed gives the same failure, word for word.
#[test]
fn a_seed_gives_the_same_again() {
    let failure = broken(Breach::NoCompare, Manner::OneByOne).unwrap();
    let again = run(&failure.scenario).unwrap_err();
    assert_eq!(failure.to_string(), again.to_string());
    for seed in 0..20 {
        let scenario = Scenario::of(seed, Setup::of(seed));
        assert_eq!(run(&scenario), run(&scenario), "seed {seed}");
    }
}

/// A failure becomes one of fewer than 30 effects, and the small one is the same each time.
#[test]
fn a_failure_becomes_small() {
    for (breach, manner) in breaches() {
        let failure = broken(breach, manner).unwrap();
        let small = shrink(failure.clone(), 2_000);
        assert_eq!(small.failure.kind(), failure.kind());
        assert!(small.failure.effects.len() < 30, "{breach:?}: {}", small.failure);
        assert_eq!(shrink(failure, 2_000), small);
    }
}

/// A store that breaks its contract is found out, in whichever way it does.
#[test]
fn a_store_that_breaks_its_contract_is_found_out() {
    for (breach, manner) in breaches() {
        assert!(broken(breach, manner).is_some(), "{breach:?} is not found out");
    }
}

/// Each way of breaking the contract, with a manner of store in which it shows.
fn breaches() -> impl Iterator<Item = (Breach, Manner)> {
    Breach::ALL.into_iter().map(|breach| match breach {
        Breach::NoGuards => (breach, Manner::Transactions),
        Breach::OtherOrder | Breach::RefusedThatLanded => (breach, Manner::OneByOne),
        _ => (breach, Manner::Objects),
    })
}
