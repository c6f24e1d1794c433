//! Compares the answers that workers got with what is stored.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;
use std::net::IpAddr;
use std::time::Duration;

use ipam::invariants::Violation;

use crate::dump::Dump;
use crate::ledger::{Event, Line};

/// What a handle holds, by its worker's answers.
#[derive(Clone, Debug, PartialEq)]
pub enum Fate {
    /// The handle holds exactly these addresses.
    Holds(BTreeSet<IpAddr>),
    /// The handle's last request got an error, or no answer: it holds some of the addresses that it may have,
    /// or none.
    InDoubt,
}

/// A fault that the comparison found, and the handles and addresses that it concerns.
#[derive(Clone, Debug, PartialEq)]
pub struct Wrong {
    pub what: String,
    /// The handles and addresses. Lines of the ledger with any of them help to explain the fault.
    pub about: Vec<String>,
}

fn wrong(what: String, about: &[&str]) -> Wrong {
    Wrong { what, about: about.iter().map(|text| text.to_string()).collect() }
}

/// The fate of every handle in the ledger.
pub fn fates(lines: &[Line]) -> BTreeMap<String, Fate> {
    let mut fates: BTreeMap<String, Fate> = BTreeMap::new();
    let mut returned: BTreeMap<&str, (Fate, &BTreeSet<IpAddr>)> = BTreeMap::new();
    for line in lines {
        match &line.event {
            Event::Asks { handle, .. } | Event::Failed { handle, .. } => {
                fates.insert(handle.clone(), Fate::InDoubt);
            }
            Event::Got { handle, addresses } => {
                fates.insert(handle.clone(), Fate::Holds(addresses.clone()));
            }
            Event::Refused { handle, .. } => {
                fates.insert(handle.clone(), Fate::Holds(BTreeSet::new()));
            }
            Event::Returns { handle, addresses } => {
                let before = fates.insert(handle.clone(), Fate::InDoubt).unwrap_or(Fate::InDoubt);
                returned.insert(handle, (before, addresses));
            }
            Event::Returned { handle } => {
                let after = match returned.remove(handle.as_str()) {
                    Some((_, all)) if all.is_empty() => Fate::Holds(BTreeSet::new()),
                    Some((Fate::Holds(held), some)) => Fate::Holds(held.difference(some).copied().collect()),
                    _ => Fate::InDoubt,
                };
                fates.insert(handle.clone(), after);
            }
            Event::NotReturned { .. } | Event::Did(_) | Event::Choked(_) | Event::Ended => {}
        }
    }
    fates
}

/// The requests that got no clear answer: the worker was killed or crashed, or the store did not answer
/// within the time limit.
pub fn unanswered(lines: &[Line]) -> impl Iterator<Item = &Line> {
    let answered =
        lines.iter().filter(|line| matches!(line.event, Event::Got { .. } | Event::Refused { .. }));
    let answered: BTreeSet<_> = answered.filter_map(|line| line.event.handle()).collect();
    let asked = lines.iter().filter(|line| matches!(line.event, Event::Asks { .. }));
    asked.filter(move |line| line.event.handle().is_some_and(|handle| !answered.contains(handle)))
}

/// All faults. `lines` are in the order of time; lines of one worker are in their own order.
///
/// Up to `cut` claims may have been interrupted. Where a batch is applied write by write, a client that read
/// before the block existed may delete its affinity as stale before the affinity is confirmed. The claiming
/// request repairs that before it answers. If it is interrupted, the block keeps its owner but has no
/// affinity. This can happen with Calico, too (the row "absent, mine" of the healing table): the owner
/// repairs that state later, and others may reclaim the block.
pub fn check(lines: &[Line], dump: &Dump, cut: usize) -> Vec<Wrong> {
    let mut found = Vec::new();
    addresses(lines, dump, &mut found);
    found.extend(overlaps(lines));
    found.extend(dump.breaks_calico().into_iter().map(|what| Wrong { about: names_in(&what), what }));
    match dump.records() {
        Err(unreadable) => found.push(wrong(unreadable, &[])),
        Ok(records) => {
            let violations = ipam::invariants::check(&records, None);
            let is_cut = |violation: &&Violation| matches!(violation, Violation::LostBlock { .. });
            let (cuts, others): (Vec<_>, Vec<_>) = violations.iter().partition(is_cut);
            let texts =
                others.into_iter().chain(cuts.into_iter().skip(cut)).map(|violation| violation.to_string());
            found.extend(texts.map(|what| Wrong { about: names_in(&what), what }));
        }
    }
    for line in lines {
        if let Event::Choked(what) = &line.event {
            found.push(Wrong { about: names_in(what), what: format!("worker {}: {what}", line.worker) });
        }
    }
    found
}

/// No address is lost, and none is assigned without a request. That none is stored twice is an invariant.
fn addresses(lines: &[Line], dump: &Dump, found: &mut Vec<Wrong>) {
    let fates = fates(lines);
    let mut by_handle: BTreeMap<&str, BTreeSet<IpAddr>> = BTreeMap::new();
    let held = dump.held();
    for (addr, handle) in &held {
        by_handle.entry(handle).or_default().insert(*addr);
        if !fates.contains_key(handle) {
            found.push(wrong(format!("{addr} is held by {handle}, for which nobody asked"), &[handle]));
        }
    }
    for (handle, fate) in &fates {
        let stored = by_handle.remove(handle.as_str()).unwrap_or_default();
        match fate {
            Fate::Holds(answered) if *answered != stored => {
                let what = format!("{handle} was answered {answered:?}, but holds {stored:?}");
                found.push(wrong(what, &[handle]));
            }
            _ => {}
        }
    }
}

/// By the answers, no address was assigned to two handles at the same time.
fn overlaps(lines: &[Line]) -> Vec<Wrong> {
    let mut found = Vec::new();
    let mut holders: BTreeMap<IpAddr, &str> = BTreeMap::new();
    for line in lines {
        match &line.event {
            Event::Got { handle, addresses } => {
                for addr in addresses {
                    if let Some(other) = holders.insert(*addr, handle) {
                        let what = format!("{addr} was given to {handle} while {other} had it");
                        found.push(wrong(what, &[&addr.to_string(), handle, other]));
                    }
                }
            }
            Event::Returns { handle, addresses } => {
                holders.retain(|addr, holder| {
                    *holder != handle || !(addresses.is_empty() || addresses.contains(addr))
                });
            }
            _ => {}
        }
    }
    found
}

/// Requests that took longer than `most` to get any answer.
pub fn too_slow(lines: &[Line], most: Duration) -> Vec<Wrong> {
    let mut asked: BTreeMap<&str, i64> = BTreeMap::new();
    let mut found = Vec::new();
    for line in lines {
        let Some(handle) = line.event.handle() else { continue };
        match &line.event {
            Event::Asks { .. } | Event::Returns { .. } => drop(asked.insert(handle, line.at)),
            _ => {
                let took = asked.remove(handle).map(|at| Duration::from_nanos((line.at - at).max(0) as u64));
                if let Some(took) = took.filter(|took| *took > most) {
                    found.push(wrong(format!("{handle} was answered after {took:?}"), &[handle]));
                }
            }
        }
    }
    found
}

/// The words in a text that are handles or addresses.
fn names_in(text: &str) -> Vec<String> {
    let words = text.split(|c: char| c.is_whitespace() || ",()=;'\"".contains(c));
    words
        .map(|word| word.trim_end_matches(':'))
        .filter(|word| word.starts_with("load-") || word.parse::<api::Cidr>().is_ok())
        .map(str::to_string)
        .collect()
}

/// Panics if there is any fault. The message has the seed, the faults, the lines about them, and the last
/// lines of all workers.
pub fn demand(seed: u64, what: &str, wrongs: &[Wrong], lines: &[Line]) {
    if wrongs.is_empty() {
        return;
    }
    let start = lines.first().map_or(0, |line| line.at);
    let mut text = format!("seed {seed}: {what}: {} wrong\n", wrongs.len());
    let show = |text: &mut String, line: &Line| {
        let at = (line.at - start) / 1000;
        let _ = writeln!(text, "    {at:>9} us  worker {:>2}  {:?}", line.worker, line.event);
    };
    for wrong in wrongs.iter().take(5) {
        let _ = writeln!(text, "* {}", wrong.what);
        let tells = |line: &&Line| {
            let shown = format!("{:?}", line.event);
            wrong.about.iter().any(|name| shown.contains(name))
        };
        let telling: Vec<&Line> = lines.iter().filter(tells).collect();
        telling.iter().skip(telling.len().saturating_sub(60)).for_each(|line| show(&mut text, line));
    }
    let _ = writeln!(text, "the last of all:");
    lines.iter().skip(lines.len().saturating_sub(60)).for_each(|line| show(&mut text, line));
    panic!("{text}");
}
