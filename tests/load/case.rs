//! A load, the trouble during it, and the proof afterwards.

use std::collections::BTreeMap;
use std::time::Duration;

use fastrand::Rng;
use setup::Clock;

use crate::environment::{Environment, hosts};
use crate::ledger::{Event, Line};
use crate::proof::{Fate, Wrong, check, demand, fates, too_slow, unanswered};
use crate::running::Crew;
use crate::trouble::Trouble;
use crate::worker::{Author, Faults, Job};

/// How long a load may last; multiplied by the scale.
const LASTS_AT_MOST: Duration = Duration::from_secs(120);
/// The largest number of troubles; multiplied by the scale, except for the killing of workers, of which there
/// are not more.
const STRIKES: usize = 8;
/// How much longer than its time limit a request may take: to give back what it got, and because the machine
/// is busy.
const GRACE: Duration = Duration::from_secs(20);

/// A load, and the environment in which it runs.
pub struct Case {
    pub name: &'static str,
    pub environment: Environment,
    pub trouble: Trouble,
    /// The workers: whose code each runs, and for which hosts.
    pub workers: Vec<(Author, Vec<String>)>,
    /// How many requests each worker makes.
    pub requests: u32,
    /// The longest time that a worker waits between requests, in milliseconds.
    pub pause: u64,
    /// The time limit of a request.
    pub within: Duration,
    pub faults: Option<Faults>,
    /// The least share of requests that must be granted, in percent. A load in which all requests are refused
    /// proves nothing.
    pub granted: usize,
}

impl Case {
    /// A load of twenty workers that make ten requests each, on all hosts.
    pub fn new(name: &'static str, environment: Environment) -> Case {
        Case {
            name,
            environment,
            trouble: Trouble::None,
            workers: vec![(Author::Ours, hosts()); 20],
            requests: 10,
            pause: 0,
            within: Duration::from_secs(20),
            faults: None,
            granted: 90,
        }
    }

    /// The load with trouble, and with pauses, so that trouble strikes more than once during it.
    pub fn with(self, trouble: Trouble) -> Case {
        Case { trouble, pause: 500, ..self }
    }

    /// Runs the load and checks its results.
    pub fn run(mut self) {
        let (seed, scale) = (seed(), scale());
        // The seed is printed for every failure, also one outside of the proof.
        println!("{}: seed {seed}; RACKPOOL_LOAD_SEED={seed} draws the same again", self.name);
        let mut rng = Rng::with_seed(seed);
        let jobs = self.jobs(seed, scale);
        let wanted = jobs.iter().map(|job| job.requests as usize).sum::<usize>();
        let mut crew = Crew::start(&self.environment, jobs);
        let clock = Clock::start();
        let mut strikes = 0;
        while !crew.is_done() {
            if clock.elapsed() > LASTS_AT_MOST * scale {
                let wrong = Wrong { what: "it does not end".to_string(), about: Vec::new() };
                demand(seed, self.name, &[wrong], &crew.lines());
            }
            let most = match self.trouble {
                Trouble::KillWorkers => STRIKES,
                // This trouble makes all workers wait for seconds, so there is less of it.
                Trouble::KillApiServer => STRIKES / 2 * scale as usize,
                _ => STRIKES * scale as usize,
            };
            let is_due = crew.has_begun() && strikes < most;
            if is_due && self.trouble.strike(&mut self.environment, &mut crew, &mut rng, strikes) {
                strikes += 1;
            } else {
                std::thread::sleep(Duration::from_millis(10));
            }
        }
        let (mut lines, mut wrongs) = crew.finish();
        wrongs.extend(check(&lines, &self.environment.dump(), self.cut(&lines)));
        wrongs.extend(too_slow(&lines, self.within + GRACE));
        demand(seed, self.name, &wrongs, &lines);
        self.report(&lines, strikes, wanted, seed, clock.elapsed());
        self.give_all_back(seed, &mut lines);
    }

    fn jobs(&self, seed: u64, scale: u32) -> Vec<Job> {
        let job = |(worker, (author, hosts)): (usize, &(Author, Vec<String>))| Job {
            worker,
            author: *author,
            seed,
            hosts: hosts.clone(),
            requests: self.requests * scale,
            within: self.within.as_millis() as u64,
            pause: self.pause,
            faults: self.faults,
            give_back: Vec::new(),
        };
        self.workers.iter().enumerate().map(job).collect()
    }

    /// How many claims may have been interrupted. Where writes are applied one by one, each unanswered
    /// request of this program may have interrupted one. The allocator that writes as Calico does repairs
    /// none of its own.
    fn cut(&self, lines: &[Line]) -> usize {
        let one_by_one = self.faults.is_some_and(|faults| faults.one_by_one)
            || matches!(self.environment, Environment::Kubernetes { .. });
        if !one_by_one {
            return 0;
        }
        let is_calicos =
            |line: &&Line| self.workers.get(line.worker).is_some_and(|(author, _)| *author == Author::Calico);
        let asks = lines.iter().filter(|line| matches!(line.event, Event::Asks { .. }));
        unanswered(lines).filter(|line| !is_calicos(line)).count() + asks.filter(is_calicos).count()
    }

    /// Checks that the load was a load: most requests were granted, and trouble struck. Prints the figures.
    fn report(&self, lines: &[Line], strikes: usize, wanted: usize, seed: u64, took: Duration) {
        let count = |is: fn(&Event) -> bool| lines.iter().filter(|line| is(&line.event)).count();
        let got = count(|event| matches!(event, Event::Got { .. }));
        let refused = count(|event| matches!(event, Event::Refused { .. }));
        let failed = count(|event| matches!(event, Event::Failed { .. }));
        let returned = count(|event| matches!(event, Event::Returned { .. }));
        println!(
            "{}: seed {seed}: {got} granted, {refused} refused, {failed} failed, {returned} given back, {strikes} strikes, {took:?}",
            self.name
        );
        let mut wrongs = Vec::new();
        let mut least = |what: &str, found: usize, least: usize| {
            if found < least {
                let what = format!("only {found} {what}, not {least}");
                wrongs.push(Wrong { what, about: Vec::new() });
            }
        };
        let killed = if self.trouble == Trouble::KillWorkers { wanted / 2 } else { 0 };
        least("granted", got, (wanted - killed) * self.granted / 100);
        least("given back", returned, wanted / 10);
        least("strikes", strikes, usize::from(self.trouble != Trouble::None));
        demand(seed, self.name, &wrongs, lines);
    }

    /// First releases the handles whose state is in doubt, after which none may be. Then releases all
    /// handles, after which nothing may be left.
    fn give_all_back(&self, seed: u64, lines: &mut Vec<Line>) {
        let in_doubt = fates(lines).into_iter().filter(|(_, fate)| *fate == Fate::InDoubt);
        self.give_back(seed, in_doubt.map(|(handle, _)| handle).collect(), false, lines);
        let mut wrongs = check(lines, &self.environment.dump(), self.cut(lines));
        for (handle, fate) in fates(lines) {
            if fate == Fate::InDoubt {
                wrongs.push(Wrong { what: format!("{handle} is in doubt still"), about: vec![handle] });
            }
        }
        demand(seed, self.name, &wrongs, lines);

        self.give_back(seed, fates(lines).into_keys().collect(), true, lines);
        let dump = self.environment.dump();
        let mut wrongs = check(lines, &dump, self.cut(lines));
        if !dump.held().is_empty() || !dump.handles().is_empty() {
            let what = format!("left behind: {:?} {:?}", dump.held(), dump.handles());
            wrongs.push(Wrong { what, about: Vec::new() });
        }
        demand(seed, self.name, &wrongs, lines);
    }

    /// Releases each handle by the code that made the request, or all handles by this program's code.
    fn give_back(&self, seed: u64, handles: Vec<String>, by_ours: bool, lines: &mut Vec<Line>) {
        let mut jobs: BTreeMap<usize, Job> = BTreeMap::new();
        for (at, handle) in handles.into_iter().enumerate() {
            let asked = |line: &&Line| {
                matches!(line.event, Event::Asks { .. }) && line.event.handle() == Some(&handle)
            };
            let worker = lines.iter().find(asked).map_or(0, |line| line.worker);
            let author = match self.workers[worker].0 {
                Author::Calico if !by_ours => Author::Calico,
                _ => Author::Ours,
            };
            // Numbers of workers that the load itself does not use.
            let number = 100 + 10 * (at % 4) + usize::from(author == Author::Calico);
            let job = jobs.entry(number).or_insert_with(|| Job {
                worker: number,
                author,
                seed,
                hosts: Vec::new(),
                requests: 0,
                within: self.within.as_millis() as u64,
                pause: 0,
                faults: None,
                give_back: Vec::new(),
            });
            job.give_back.push(handle);
        }
        let (more, wrongs) = Crew::start(&self.environment, jobs.into_values().collect()).finish();
        lines.extend(more);
        demand(seed, self.name, &wrongs, lines);
    }
}

/// The seed in the environment variable, or a fresh one.
pub fn seed() -> u64 {
    match std::env::var("RACKPOOL_LOAD_SEED") {
        Ok(text) => text.parse().expect("RACKPOOL_LOAD_SEED is a whole number"),
        Err(_) => Clock::start().seed(),
    }
}

/// The factor by which the number of requests is multiplied.
pub fn scale() -> u32 {
    match std::env::var("RACKPOOL_LOAD_SCALE") {
        Ok(text) => text.parse().expect("RACKPOOL_LOAD_SCALE is a whole number"),
        Err(_) => 1,
    }
}
