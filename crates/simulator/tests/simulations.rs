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

/// The same seed gives the same failure, word for word, and so does a scenario that was made small.
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

/// A failure becomes one of fewer than 30 effects.
#[test]
fn a_failure_becomes_small() {
    let failure = broken(Breach::NoCompare, Manner::OneByOne).unwrap();
    let small = shrink(failure.clone(), 1_000).failure;
    assert_eq!(small.kind(), failure.kind());
    assert!(small.effects.len() < 30, "{small}");
}

/// A store that breaks its contract is found out, in whichever way it does.
#[test]
fn a_store_that_breaks_its_contract_is_found_out() {
    for breach in Breach::ALL {
        let manner = match breach {
            Breach::NoGuards => Manner::Transactions,
            Breach::OtherOrder | Breach::RefusedThatLanded => Manner::OneByOne,
            _ => Manner::Objects,
        };
        assert!(broken(breach, manner).is_some(), "{breach:?} is not found out");
    }
}
