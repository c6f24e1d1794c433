//! Makes a failure small: fewer actors, fewer operations, fewer faults, fewer effects.

use crate::chance::Chance;
use crate::op::{Op, Scenario};
use crate::run::{Failure, run};
use crate::setup::Setup;

/// A failure that was made small.
#[derive(Clone, Debug, PartialEq)]
pub struct Shrunk {
    /// The smallest failure that was found.
    pub failure: Failure,
    /// How many scenarios were run for it.
    pub runs: u64,
}

/// How many orders of steps are tried for each smaller scenario.
const ORDERS: u64 = 40;

/// Looks for a smaller scenario that fails in the same way. It runs about `most` scenarios at most.
pub fn shrink(failure: Failure, most: u64) -> Shrunk {
    let kind = failure.kind();
    let mut it = Shrinking { kind, best: failure, runs: 0, most };
    loop {
        let before = it.best.scenario.clone();
        it.drop_scripts();
        it.drop_ops();
        it.drop_faults();
        it.smaller_ops();
        if it.best.scenario == before || it.runs >= it.most {
            break;
        }
    }
    it.fewer_effects();
    Shrunk { failure: it.best, runs: it.runs }
}

struct Shrinking {
    kind: String,
    best: Failure,
    runs: u64,
    most: u64,
}

impl Shrinking {
    /// Tries a scenario, in its own order first and then in others. Keeps it if it fails in the same way.
    fn attempt(&mut self, scenario: Scenario) -> bool {
        let mut chance = Chance(scenario.schedule);
        for order in 0..ORDERS {
            if self.runs >= self.most {
                return false;
            }
            self.runs += 1;
            let schedule = if order == 0 { scenario.schedule } else { chance.draw() };
            if let Err(failure) = run(&Scenario { schedule, ..scenario.clone() })
                && failure.kind() == self.kind
            {
                self.best = failure;
                return true;
            }
        }
        false
    }

    fn drop_scripts(&mut self) {
        let mut at = 0;
        while at < self.best.scenario.scripts.len() {
            let mut scenario = self.best.scenario.clone();
            scenario.scripts.remove(at);
            scenario.setup.actors = scenario.scripts.len() as u64;
            if !self.attempt(scenario) {
                at += 1;
            }
        }
    }

    fn drop_ops(&mut self) {
        let mut at = 0;
        while at < self.best.scenario.before.len() {
            let mut scenario = self.best.scenario.clone();
            scenario.before.remove(at);
            if !self.attempt(scenario) {
                at += 1;
            }
        }
        for script in 0..self.best.scenario.scripts.len() {
            let mut at = 0;
            while at < self.best.scenario.scripts[script].ops.len() {
                let mut scenario = self.best.scenario.clone();
                scenario.scripts[script].ops.remove(at);
                if !self.attempt(scenario) {
                    at += 1;
                }
            }
        }
    }

    fn drop_faults(&mut self) {
        for script in 0..self.best.scenario.scripts.len() {
            if self.best.scenario.scripts[script].crash_at.is_some() {
                let mut scenario = self.best.scenario.clone();
                scenario.scripts[script].crash_at = None;
                self.attempt(scenario);
            }
        }
        let changes: [fn(&mut Setup); 6] = [
            |setup| setup.lost = 0,
            |setup| setup.lost = setup.lost.min(30),
            |setup| setup.more = false,
            |setup| setup.controllers = false,
            |setup| setup.size.hosts = setup.size.hosts.min(3),
            |setup| (setup.size.pool, setup.size.block) = (28, 30),
        ];
        for change in changes {
            let mut scenario = self.best.scenario.clone();
            change(&mut scenario.setup);
            if scenario.setup != self.best.scenario.setup {
                self.attempt(scenario);
            }
        }
    }

    fn smaller_ops(&mut self) {
        let count = self.best.scenario.scripts.iter().map(|script| script.ops.len()).sum::<usize>();
        for at in 0..self.best.scenario.before.len() + count {
            let mut scenario = self.best.scenario.clone();
            let ops = scenario.scripts.iter_mut().flat_map(|script| &mut script.ops);
            if let Some(Op::Add { n: n @ 2.., .. }) = scenario.before.iter_mut().chain(ops).nth(at) {
                *n = 1;
                self.attempt(scenario);
            }
        }
    }

    /// Tries other orders of the same scenario, for one in which less happens.
    fn fewer_effects(&mut self) {
        let mut chance = Chance(self.best.scenario.schedule);
        let most = self.most + 4 * ORDERS;
        while self.runs < most && self.best.effects.len() >= 12 {
            self.runs += 1;
            let schedule = chance.draw();
            if let Err(failure) = run(&Scenario { schedule, ..self.best.scenario.clone() })
                && failure.kind() == self.kind
                && failure.effects.len() < self.best.effects.len()
            {
                self.best = failure;
            }
        }
    }
}
