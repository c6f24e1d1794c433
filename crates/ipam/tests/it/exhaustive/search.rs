//! The search: every order of the actors' steps, each state once.
//!
//! The tasks cannot be copied, so a state is reached by doing again what led to it. Two orders that lead to
//! the same answers for each actor and the same history of each record lead to one state, from which
//! everything follows; it is gone on from only once.

use std::collections::HashSet;
use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Waker};

use ipam::invariants::Violation;
use ipam::{ReleaseAffinities, ReleaseByHandle, Which};

use super::parts::{Fate, Next, Parts, Shared, land};
use simulator::drive;

use crate::witness::{AnswerOf, Asks, Witness};
use crate::world::*;

pub type Task = Pin<Box<dyn Future<Output = bool>>>;
pub type Start = fn(Caller) -> Task;

/// Who makes requests.
#[derive(Clone)]
pub struct Caller {
    pub parts: Parts,
    /// A clock of its own: what it shows follows from what its caller has done.
    pub clock: Clock,
}

impl Caller {
    /// Makes a request, and gives its answer.
    pub async fn answer<A: Asks>(&self, asks: A) -> Option<AnswerOf<A>> {
        let store = |by| Parts { request: by, ..self.parts.clone() };
        self.parts.witness.run(&self.clock, asks, store).await.ok()
    }

    /// Makes a request; whether it succeeds.
    pub async fn ask<A: Asks>(&self, asks: A) -> bool {
        self.answer(asks).await.is_some()
    }
}

/// What is searched.
pub struct Setup {
    pub name: &'static str,
    /// The pool's network, and the size of its blocks.
    pub pool: (&'static str, u8),
    pub prepare: fn(&World),
    pub actors: &'static [Start],
    /// How many writes may go astray, or actors crash, in one run.
    pub faults: u32,
    pub pools_change: bool,
    /// For each actor the handle that it alone reads and writes.
    pub own: &'static [&'static str],
    /// Whether the store compares nothing.
    pub is_careless: bool,
    /// What must hold when all have ended and nothing went astray; with the actors' answers.
    pub check: fn(&World, &[bool]),
}

/// What a search found.
#[derive(Debug, Default)]
pub struct Found {
    pub states: usize,
    pub ends: usize,
    pub steps: usize,
    pub deepest: usize,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Move {
    Go(usize, Fate),
    Crash(usize),
    Land,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Actor {
    Lives,
    Ended(bool),
    Crashed,
}

/// One order of steps, as far as it has come.
struct Run<'s> {
    setup: &'s Setup,
    prepared: &'s World,
    world: World,
    witness: Witness,
    shared: Arc<Mutex<Shared>>,
    tasks: Vec<Task>,
    actors: Vec<Actor>,
    faults: u32,
    /// How many pauses each actor has made.
    waits: Vec<u32>,
    path: Vec<Move>,
}

impl<'s> Run<'s> {
    fn new(setup: &'s Setup, prepared: &'s World, witness: &Witness) -> Run<'s> {
        let world = prepared.fork();
        let witness = witness.fork();
        let shared = Arc::new(Mutex::new(Shared::new(setup.actors.len())));
        let tasks = setup.actors.iter().enumerate().map(|(who, start)| {
            let parts = Parts {
                mem: world.store.clone(),
                shared: shared.clone(),
                who,
                request: 0,
                witness: witness.clone(),
                pools_change: setup.pools_change,
                own: setup.own,
                may_fail: setup.faults > 0,
                is_careless: setup.is_careless,
            };
            start(Caller { parts, clock: Clock::new(who as u64) })
        });
        let tasks = tasks.collect();
        let (actors, waits) = (vec![Actor::Lives; setup.actors.len()], vec![0; setup.actors.len()]);
        let mut run = Run {
            setup,
            prepared,
            world,
            witness,
            shared,
            tasks,
            actors,
            faults: setup.faults,
            waits,
            path: Vec::new(),
        };
        // Until each waits for its first turn nothing is read or written.
        (0..setup.actors.len()).for_each(|who| run.poll(who));
        run
    }

    /// Lets an actor do what is next, and go on until it waits for its turn.
    fn poll(&mut self, who: usize) {
        {
            let mut shared = self.shared.lock().unwrap();
            shared.next[who] = Next::Wait(shared.stored());
        }
        if let std::task::Poll::Ready(answer) =
            self.tasks[who].as_mut().poll(&mut Context::from_waker(Waker::noop()))
        {
            self.rest(who, Actor::Ended(answer));
        }
        let is_waiting = matches!(self.shared.lock().unwrap().next[who], Next::Wait(_));
        self.waits[who] += u32::from(is_waiting);
    }

    /// An actor does nothing any more.
    fn rest(&mut self, who: usize, actor: Actor) {
        self.actors[who] = actor;
        let mut shared = self.shared.lock().unwrap();
        (shared.next[who], shared.wrote[who]) = (Next::Read, false);
    }

    /// What can happen next; what happens without a fault first.
    fn moves(&self) -> Vec<Move> {
        let shared = self.shared.lock().unwrap();
        let living = || (0..self.actors.len()).filter(|who| self.actors[*who] == Actor::Lives);
        let stored = shared.stored();
        // Who waits would find again what he has found, unless something was written.
        let mut able: Vec<usize> = living().filter(|who| shared.next[*who] != Next::Wait(stored)).collect();
        if able.is_empty() {
            able.extend(living());
        }
        // Pauses are drawn by chance and grow, so those who disturb each other again and again part at last.
        match able.iter().any(|who| self.waits[*who] <= WAITS) {
            true => able.retain(|who| self.waits[*who] <= WAITS),
            false => able.truncate(1),
        }
        let mut moves: Vec<Move> = able.iter().map(|who| Move::Go(*who, Fate::Answered)).collect();
        if shared.has_late() {
            moves.push(Move::Land);
        }
        if self.faults > 0 {
            for who in able {
                if shared.next[who] == Next::Write {
                    moves.extend([Fate::Landed, Fate::Lost, Fate::Late].map(|fate| Move::Go(who, fate)));
                }
                // A crash before anything was written, or after a mere read, is one after the write before.
                if shared.wrote[who] {
                    moves.push(Move::Crash(who));
                }
            }
        }
        moves
    }

    fn step(&mut self, step: Move) {
        self.path.push(step);
        match step {
            Move::Land => land(&self.world.store, &mut self.shared.lock().unwrap(), &self.witness),
            Move::Crash(who) => {
                self.rest(who, Actor::Crashed);
                self.tasks[who] = Box::pin(std::future::pending());
                self.faults -= 1;
            }
            Move::Go(who, fate) => {
                {
                    let mut shared = self.shared.lock().unwrap();
                    shared.wrote[who] = false;
                    shared.fate = Some(fate).filter(|_| shared.next[who] == Next::Write);
                }
                self.faults -= u32::from(fate != Fate::Answered);
                self.poll(who);
            }
        }
    }

    fn hash(&self) -> u64 {
        use std::hash::{DefaultHasher, Hash, Hasher};
        let mut hasher = DefaultHasher::new();
        let shared = self.shared.lock().unwrap();
        (shared.hash(), self.faults).hash(&mut hasher);
        for actor in &self.actors {
            std::mem::discriminant(actor).hash(&mut hasher);
        }
        hasher.finish()
    }

    /// What led here.
    fn story(&self) -> String {
        let mut again = Run::new(self.setup, self.prepared, &Witness::of(&self.prepared.store.records()));
        again.shared.lock().unwrap().log = Some(Vec::new());
        self.path.iter().take(TOLD).for_each(|step| {
            let crash = || if let Move::Crash(who) = step { format!("{who} crashes") } else { String::new() };
            again.shared.lock().unwrap().log.as_mut().unwrap().push(crash());
            again.step(*step);
        });
        let log = again.shared.lock().unwrap().log.take().unwrap();
        let lines: Vec<String> = log.into_iter().filter(|line| !line.is_empty()).collect();
        format!("{}: {:?}\n{}\n", self.setup.name, self.path, lines.join("\n"))
    }

    /// What holds at every moment.
    fn check(&self) {
        let what = || self.story();
        let told = self.witness.told();
        assert!(told.is_empty(), "{} {told:#?}", what());
        let found = ipam::invariants::check(&self.world.store.records(), None);
        let found: Vec<_> = found.iter().filter(|violation| !is_under_way(violation)).collect();
        assert!(found.is_empty(), "{} {found:#?}", what());
    }

    /// What holds when all have ended.
    fn check_end(&self) {
        let what = || self.story();
        if self.faults == self.setup.faults {
            assert_eq!(self.witness.left_by_failed(), [], "{}", what());
            let found = ipam::invariants::check_at_rest(&self.world.store.records(), None);
            assert!(found.is_empty(), "{} {found:#?}", what());
            let ended = |actor: &Actor| matches!(actor, Actor::Ended(true));
            let answers: Vec<bool> = self.actors.iter().map(ended).collect();
            (self.setup.check)(&self.world, &answers);
        }
        self.heal();
    }

    /// Everybody gives back all that there is, without faults; then nothing is left.
    fn heal(&self) {
        let world = self.world.fork();
        let what = || self.story();
        let ids: HashSet<String> = world.assigned().into_values().chain(handles(&world)).collect();
        for id in ids {
            let release = ReleaseByHandle::new(vec![handle(&id)], None);
            drive(ipam::run(&world.store, &world.clock, release.planner(), WITHIN)).unwrap().unwrap();
        }
        assert!(world.assigned().is_empty(), "{}: leaked {:?}", what(), world.assigned());
        assert_eq!(world.handles(), 0, "{}", what());
        for name in ["a", "b", "c"] {
            let release = ReleaseAffinities { which: Which::Owner(host(name)), must_be_empty: false };
            drive(ipam::run(&world.store, &world.clock, release.planner(), WITHIN)).unwrap().unwrap();
        }
        assert!(world.affinities().is_empty(), "{}: {:?}", what(), world.affinities());
        let nobodys = |block: &api::Block| block.affinity.is_none();
        let lost = ipam::invariants::check(&world.store.records(), None).len();
        let left = world.blocks().iter().filter(|block| !nobodys(block)).count();
        assert!(left <= lost, "{}: {:?}", what(), world.blocks());
    }
}

/// What may be so for a while: an affinity that is being claimed or given up.
fn is_under_way(violation: &Violation) -> bool {
    matches!(violation, Violation::Affinity { .. } | Violation::LostBlock { .. })
}

fn handles(world: &World) -> Vec<String> {
    let records = world.store.records();
    let ids = records.iter().filter_map(|record| match &record.key {
        api::Key::Handle(id) => Some(id.as_str().to_string()),
        _ => None,
    });
    ids.collect()
}

/// After so many steps of one run nobody is expected to end.
const MOST_STEPS: usize = 1_000;
/// After so many pauses an actor lets all others go first.
const WAITS: u32 = 4;
/// How many steps of a run that goes wrong are told.
const TOLD: usize = 100;

/// Searches to the end.
pub fn search(setup: &Setup) -> Found {
    let prepared = World::with_pool(setup.pool.0, setup.pool.1);
    (setup.prepare)(&prepared);
    let witness = Witness::of(&prepared.store.records());
    let mut known = HashSet::new();
    let mut left: Vec<Vec<Move>> = vec![Vec::new()];
    let mut found = Found::default();
    while let Some(path) = left.pop() {
        let mut run = Run::new(setup, &prepared, &witness);
        for step in path {
            run.step(step);
            found.steps += 1;
        }
        while known.insert(run.hash()) {
            run.check();
            let moves = run.moves();
            let Some((first, others)) = moves.split_first() else {
                run.check_end();
                found.ends += 1;
                break;
            };
            for other in others {
                left.push(run.path.iter().copied().chain([*other]).collect());
            }
            run.step(*first);
            found.steps += 1;
            found.deepest = found.deepest.max(run.path.len());
            let is_bounded = run.path.len() < MOST_STEPS;
            assert!(is_bounded, "they keep each other from ending: {}", run.story());
        }
    }
    found.states = known.len();
    found
}
