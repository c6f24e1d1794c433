//! One scenario: in which order the steps come.

use std::collections::BTreeMap;
use std::fmt;
use std::future::Future;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::task::{Context, Waker};

use crate::caller::Caller;
use crate::chance::Chance;
use crate::check;
use crate::clock::Clock;
use crate::cluster::Cluster;
use crate::log::NOBODY;
use crate::names::resource;
use crate::op::{SIX, Scenario, hosts};
use crate::perform::perform;
use crate::tape::{Next, Recorder, Tape, Turn};
use crate::world::World;
use crate::{drive, heal};

/// What happened in simulations.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Stats {
    /// How many steps there were.
    pub steps: u64,
    /// How many changes the stores have seen.
    pub changes: u64,
    /// How many actors have crashed.
    pub crashes: u64,
    /// What did not fit for a while, and may do so.
    pub passing: BTreeMap<String, u64>,
    /// What requests failed with.
    pub errors: BTreeMap<String, u64>,
}

impl Stats {
    /// Adds the figures of another simulation.
    pub fn add(&mut self, other: Stats) {
        self.steps += other.steps;
        self.changes += other.changes;
        self.crashes += other.crashes;
        for (what, count) in other.passing {
            *self.passing.entry(what).or_default() += count;
        }
        for (what, count) in other.errors {
            *self.errors.entry(what).or_default() += count;
        }
    }
}

/// Something does not hold.
#[derive(Clone, Debug, PartialEq)]
pub struct Failure {
    /// What.
    pub what: String,
    /// In which scenario.
    pub scenario: Scenario,
    /// What happened after the scenario's beginning, in order.
    pub effects: Vec<String>,
    /// After how many steps it was seen.
    pub steps: u64,
}

impl Failure {
    /// What does not hold, without what differs from one simulation to the next.
    pub fn kind(&self) -> String {
        let text = self.what.chars().filter(|c| !c.is_ascii_digit());
        text.take(200).collect()
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{}", self.what)?;
        writeln!(f, "{:?}", self.scenario.setup)?;
        writeln!(f, "before: {:?}", self.scenario.before)?;
        for (who, script) in self.scenario.scripts.iter().enumerate() {
            writeln!(f, "{who}: {:?} crash {:?}", script.ops, script.crash_at)?;
        }
        writeln!(f, "{} effects:", self.effects.len())?;
        self.effects.iter().try_for_each(|line| writeln!(f, "  {line}"))
    }
}

type Task = Pin<Box<dyn Future<Output = ()>>>;

/// How many steps a scenario has at most.
const MOST_STEPS: u64 = 40_000;

/// A scenario that is under way.
pub(crate) struct Running<'s> {
    pub scenario: &'s Scenario,
    pub world: World,
    pub chance: Chance,
    pub stats: Stats,
    /// The number of changes up to which was checked what holds.
    pub checked: i64,
    /// Whether any actor has crashed.
    pub has_crashed: bool,
    begun: usize,
}

/// Runs a scenario.
///
/// # Errors
/// When something does not hold, or panics.
#[allow(clippy::result_large_err, reason = "a failure is rare, and is all that matters then")]
pub fn run(scenario: &Scenario) -> Result<Stats, Failure> {
    run_on(scenario, None, Recorder::default())
}

/// Runs a scenario in the way in which another run went, as far as that goes, and gives how it went itself.
pub(crate) fn run_again(scenario: &Scenario, past: Option<&Tape>) -> (Option<Failure>, Tape) {
    let recorder = Recorder::after(past.unwrap_or(&Tape::default()));
    let result = run_on(scenario, past, recorder.clone());
    (result.err(), recorder.made())
}

#[allow(clippy::result_large_err, reason = "a failure is rare, and is all that matters then")]
fn run_on(scenario: &Scenario, past: Option<&Tape>, recorder: Recorder) -> Result<Stats, Failure> {
    let running = |what: String, effects: Vec<String>, steps: u64| Failure {
        what,
        scenario: scenario.clone(),
        effects,
        steps,
    };
    let mut it = Running::new(scenario, recorder);
    let outcome = catch_unwind(AssertUnwindSafe(|| {
        it.before()?;
        it.together(past)?;
        heal::heal(&mut it)
    }));
    let what = match outcome {
        Ok(Ok(())) => None,
        Ok(Err(what)) => Some(what),
        Err(panic) => {
            let text = panic.downcast_ref::<String>().map(String::as_str);
            let text = text.or(panic.downcast_ref::<&str>().copied()).unwrap_or_default();
            Some(format!("panic: {text}"))
        }
    };
    it.stats.changes = it.world.caller.cluster.revision() as u64;
    it.stats.errors =
        std::mem::take(&mut it.world.book().errors).into_iter().map(|(k, n)| (k, n.into())).collect();
    match what {
        None => Ok(it.stats),
        Some(what) => {
            let effects = it.world.caller.shared().log.lines(it.begun);
            Err(running(what, effects, it.stats.steps))
        }
    }
}

impl<'s> Running<'s> {
    fn new(scenario: &'s Scenario, recorder: Recorder) -> Running<'s> {
        let setup = scenario.setup;
        let (seed, clock) =
            (scenario.schedule ^ 0x7374_6f72, Clock::new(scenario.schedule, recorder.clone()));
        let caller = Caller::new(Cluster::default(), seed, setup.manner, setup.breach, recorder);
        let world = World::new(caller, clock, setup);
        world.put_pool(setup.size.block, false);
        for host in hosts(setup.size) {
            world.put_node(&host, &[]);
        }
        if setup.more {
            let spec = serde_json::json!({"cidr": SIX.0, "blockSize": SIX.1});
            let (key, value) = resource(api::Kind::IPPool, "six", spec, &[]);
            world.caller.put(key, value);
        }
        let begun = world.caller.shared().log.len();
        Running {
            scenario,
            world,
            chance: Chance(scenario.schedule),
            stats: Stats::default(),
            checked: -1,
            has_crashed: false,
            begun,
        }
    }

    /// What happens before, without faults.
    fn before(&mut self) -> Result<(), String> {
        for (at, op) in self.scenario.before.iter().enumerate() {
            self.world.caller.recorder.begins(Turn { who: NOBODY, op: at });
            if drive(perform(op, &self.world)).is_none() {
                return Err(format!("{op:?} does not end"));
            }
        }
        self.world.caller.recorder.ends();
        self.check()
    }

    /// Looks whether what must hold does, if anything has changed.
    pub fn check(&mut self) -> Result<(), String> {
        let now = self.world.caller.cluster.revision();
        let is_same = std::mem::replace(&mut self.checked, now) == now;
        check::check(&self.world, self.scenario, is_same, &mut self.stats)
    }

    /// All actors at once, in the order of another run where there is one.
    fn together(&mut self, past: Option<&Tape>) -> Result<(), String> {
        let scripts = &self.scenario.scripts;
        let recorder = self.world.caller.recorder.clone();
        let mut past = past.map(|past| past.order.iter().copied());
        let task = |(who, script): (usize, &crate::Script)| -> Option<Task> {
            let caller = self.world.caller.of_actor(who, self.scenario.setup.lost);
            let world = self.world.of_caller(caller);
            let ops = script.ops.clone();
            Some(Box::pin(async move {
                for (at, op) in ops.iter().enumerate() {
                    world.caller.recorder.begins(Turn { who, op: at });
                    perform(op, &world).await;
                }
            }))
        };
        let mut tasks: Vec<Option<Task>> = scripts.iter().enumerate().map(task).collect();
        let mut done = vec![0; tasks.len()];
        let mut last = None;
        while tasks.iter().any(Option::is_some) {
            self.stats.steps += 1;
            if self.stats.steps > MOST_STEPS {
                return Err("it does not end".to_string());
            }
            let alive: Vec<usize> = (0..tasks.len()).filter(|at| tasks[*at].is_some()).collect();
            let next = match &mut past {
                Some(past) => self.as_before(past, &alive),
                None => self.drawn(last, &alive),
            };
            recorder.comes(next);
            let at = match next {
                Next::Step(turn) => turn.who,
                Next::Land(drawn) => {
                    self.world.caller.land(Some(drawn));
                    self.check()?;
                    continue;
                }
            };
            last = Some(at);
            if scripts[at].crash_at.is_some_and(|steps| done[at] >= steps) {
                tasks[at] = None;
                self.has_crashed = true;
                self.stats.crashes += 1;
                self.world.caller.shared().log.say(at, "CRASH".to_string());
                continue;
            }
            done[at] += 1;
            if let Some(task) = &mut tasks[at]
                && task.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_ready()
            {
                tasks[at] = None;
            }
            let are_late = past.is_none() && self.world.caller.are_late();
            if are_late && self.chance.in_thousand(self.scenario.setup.lands) {
                let drawn = self.world.caller.land(None);
                recorder.comes(Next::Land(drawn));
            }
            self.check()?;
        }
        Ok(())
    }

    /// Draws whose step comes next; `last` is who made the one before.
    fn drawn(&mut self, last: Option<usize>, alive: &[usize]) -> Next {
        let goes_on = self.chance.in_thousand(self.scenario.setup.goes_on);
        let who = last.filter(|who| goes_on && alive.contains(who)).unwrap_or(*self.chance.one_of(alive));
        Next::Step(self.world.caller.recorder.turn_of(who))
    }

    /// What comes next where another run went before, without what cannot come any more. When that run has
    /// nothing more to say, the actors end one after the other.
    fn as_before(&self, past: &mut impl Iterator<Item = Next>, alive: &[usize]) -> Next {
        let recorder = &self.world.caller.recorder;
        let can_come = |next: &Next| match next {
            Next::Step(turn) => alive.contains(&turn.who) && recorder.turn_of(turn.who).op <= turn.op,
            Next::Land(_) => self.world.caller.are_late(),
        };
        match past.find(can_come) {
            Some(Next::Step(turn)) => Next::Step(recorder.turn_of(turn.who)),
            Some(landing) => landing,
            None => Next::Step(recorder.turn_of(alive[0])),
        }
    }
}
