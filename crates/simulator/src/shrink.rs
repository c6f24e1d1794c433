//! Makes a failure small: fewer actors, fewer operations, fewer faults, fewer effects.
//!
//! What is left of a scenario happens in the way in which it happened before: the same numbers are drawn, and
//! the steps come in the same order ([`Tape`]). So a failure stays that needs one order among very many.

use std::cmp::Ordering;

use crate::chance::Chance;
use crate::log::NOBODY;
use crate::op::{Op, Scenario};
use crate::run::{Failure, run_again};
use crate::setup::Setup;
use crate::tape::{Next, Tape, Turn};

/// A failure that was made small.
#[derive(Clone, Debug, PartialEq)]
pub struct Shrunk {
    /// The smallest failure that was found.
    pub failure: Failure,
    /// How many scenarios were run for it.
    pub runs: u64,
}

/// How many orders of steps are tried for each smaller scenario that does not fail in the order of before.
const ORDERS: u64 = 10;
/// A number by which no fault is drawn.
const CALM: u64 = 999;

/// Looks for a smaller scenario that fails in the same way. It runs about `most` scenarios at most.
pub fn shrink(failure: Failure, most: u64) -> Shrunk {
    let (_, tape) = run_again(&failure.scenario, None);
    let mut it = Shrinking { kind: failure.kind(), best: failure, tape, runs: 1, most };
    loop {
        let before = (it.best.scenario.clone(), it.best.effects.len());
        it.drop_scripts();
        it.drop_ops();
        it.drop_faults();
        it.smaller_ops();
        it.calm();
        it.in_turn();
        if (&it.best.scenario, it.best.effects.len()) == (&before.0, before.1) || it.runs >= it.most {
            break;
        }
    }
    Shrunk { failure: it.best, runs: it.runs }
}

struct Shrinking {
    kind: String,
    best: Failure,
    /// How the best one went.
    tape: Tape,
    runs: u64,
    most: u64,
}

impl Shrinking {
    /// Tries a scenario in that way. Keeps it if it fails in the same way, and has no more effects.
    fn goes(&mut self, scenario: &Scenario, past: Option<&Tape>) -> bool {
        if self.runs >= self.most {
            return false;
        }
        self.runs += 1;
        let (failure, tape) = run_again(scenario, past);
        let fits = |it: &Failure| it.kind() == self.kind && it.effects.len() <= self.best.effects.len();
        match failure.filter(fits) {
            Some(failure) => {
                (self.best, self.tape) = (failure, tape);
                true
            }
            None => false,
        }
    }

    /// Tries a scenario in the way of before, then in other orders.
    fn attempt(&mut self, scenario: &Scenario, past: &Tape) -> bool {
        let mut chance = Chance(scenario.schedule);
        self.goes(scenario, Some(past))
            || (0..ORDERS).any(|_| self.goes(&Scenario { schedule: chance.draw(), ..scenario.clone() }, None))
    }

    /// Tries the same scenario without some of its parts: first halves of them, at last single ones.
    /// `without` makes the tape in which the parts from one number to another are left out.
    fn thin_out(&mut self, count: fn(&Tape) -> usize, without: fn(&Tape, usize, usize) -> Tape) {
        let mut length = count(&self.tape).div_ceil(2);
        while length > 0 {
            let mut from = 0;
            while from < count(&self.tape) && self.runs < self.most {
                let thinner = without(&self.tape, from, from + length);
                let scenario = self.best.scenario.clone();
                if thinner != self.tape {
                    self.goes(&scenario, Some(&thinner));
                }
                from += length;
            }
            length = if length == 1 { 0 } else { length.div_ceil(2) };
        }
    }

    /// Fewer faults: numbers become calm.
    fn calm(&mut self) {
        self.thin_out(
            |tape| tape.draws.values().map(Vec::len).sum(),
            |tape, from, to| {
                let mut tape = tape.clone();
                let all = tape.draws.values_mut().flatten().skip(from);
                all.take(to - from).for_each(|drawn| *drawn = CALM);
                tape
            },
        );
    }

    /// Fewer turns: steps are left out, so that they come when all others have ended.
    fn in_turn(&mut self) {
        self.thin_out(
            |tape| tape.order.len(),
            |tape, from, to| {
                let left = tape.order.iter().enumerate().filter(|(at, _)| !(from..to).contains(at));
                let order: Vec<Next> = left.map(|(_, next)| *next).collect();
                Tape { order, draws: tape.draws.clone() }
            },
        );
    }

    fn drop_scripts(&mut self) {
        let mut at = 0;
        while at < self.best.scenario.scripts.len() {
            let mut scenario = self.best.scenario.clone();
            scenario.scripts.remove(at);
            scenario.setup.actors = scenario.scripts.len() as u64;
            let past = self.tape.renamed(|turn| match turn.who {
                NOBODY => Some(turn),
                who => Some(Turn { who: without(who, at)?, ..turn }),
            });
            if !self.attempt(&scenario, &past) {
                at += 1;
            }
        }
    }

    fn drop_ops(&mut self) {
        let actors = 0..self.best.scenario.scripts.len();
        for who in std::iter::once(NOBODY).chain(actors) {
            let mut at = 0;
            while at < ops_of(&mut self.best.scenario, who).len() {
                let mut scenario = self.best.scenario.clone();
                ops_of(&mut scenario, who).remove(at);
                let past = self.tape.renamed(|turn| match turn.who == who {
                    true => Some(Turn { op: without(turn.op, at)?, ..turn }),
                    false => Some(turn),
                });
                if !self.attempt(&scenario, &past) {
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
                self.attempt(&scenario, &self.tape.clone());
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
                self.attempt(&scenario, &self.tape.clone());
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
                self.attempt(&scenario, &self.tape.clone());
            }
        }
    }
}

/// What a number becomes when another one is left out; `None` for that one.
fn without(number: usize, left_out: usize) -> Option<usize> {
    match number.cmp(&left_out) {
        Ordering::Less => Some(number),
        Ordering::Equal => None,
        Ordering::Greater => Some(number - 1),
    }
}

/// The operations of an actor, or those before all others.
fn ops_of(scenario: &mut Scenario, who: usize) -> &mut Vec<Op> {
    match who {
        NOBODY => &mut scenario.before,
        who => &mut scenario.scripts[who].ops,
    }
}
