//! What other nodes cost: simulated agents follow a real API server, each through a meter of its own, and
//! what the server sends to them is counted, TLS and HTTP/2 included.
//!
//! Bytes come by themselves, too: a watch has a bookmark each minute, a connection a ping each ten seconds.
//! So things are done again and again, and the least counts for each agent: what a change itself sends comes
//! every time.

#![allow(clippy::print_stdout, reason = "the figures are for the documentation")]

mod agents;
mod cluster;
mod meter;

use std::time::Duration;

use routes::Known;
use servers::kube_server;

use self::agents::{SimulatedAgent, start, until};
use self::cluster::Cluster;

/// What a claimed block may send to each agent, in bytes.
const CLAIM: u64 = 2_048;
/// How often an ADD is repeated at most until every agent was seen to be sent nothing: two bookmarks for each
/// of a handful of watches and a few pings can be in the way.
const ADDS: usize = 24;
/// How often the other changes are done.
const TIMES: usize = 3;
/// How many changes of a kind the API server's processor is measured with.
const IN_A_ROW: u32 = 20;
/// How many nodes have a block before the measurements begin.
const BUSY: usize = 5;

#[tokio::test]
async fn of_20_agents() {
    costs(20).await;
}

#[tokio::test]
#[ignore = "nightly: 200 agents keep a processor busy for minutes"]
async fn of_200_agents() {
    costs(200).await;
}

/// The bytes that a change sends to each agent, the least of several times.
struct Sent(Vec<u64>);

impl Sent {
    fn at_least(&self) -> u64 {
        self.0.iter().copied().min().unwrap_or_default()
    }

    fn at_most(&self) -> u64 {
        self.0.iter().copied().max().unwrap_or_default()
    }
}

fn received(agents: &[SimulatedAgent]) -> Vec<u64> {
    agents.iter().map(|agent| agent.meter.received()).collect()
}

/// Waits until what was sent has come, and the agents have nothing more to do.
async fn settle(agents: &[SimulatedAgent]) {
    let told = || agents.iter().map(SimulatedAgent::events).sum::<usize>();
    loop {
        let before = told();
        tokio::time::sleep(Duration::from_millis(300)).await;
        if told() == before {
            return;
        }
    }
}

/// Does something up to so many times, and measures what each agent is sent. Ends early where all were once
/// sent nothing.
async fn measured(agents: &[SimulatedAgent], times: usize, mut change: impl AsyncFnMut(usize)) -> Sent {
    let mut least = vec![u64::MAX; agents.len()];
    for time in 0..times {
        let before = received(agents);
        change(time).await;
        settle(agents).await;
        for ((least, before), after) in least.iter_mut().zip(before).zip(received(agents)) {
            *least = (*least).min(after - before);
        }
        if least.iter().all(|bytes| *bytes == 0) {
            break;
        }
    }
    Sent(least)
}

async fn costs(count: usize) {
    if kube_server::is_left_out() {
        return;
    }
    // The nodes that claim blocks have no agent here.
    let cluster = Cluster::start(count + 2 * TIMES);
    cluster.set_strict(true).await;
    for nth in 0..BUSY {
        cluster.add(nth, &format!("first-{nth}")).await;
    }
    println!("A Node has {} bytes.", cluster.size_of_node(0).await);

    println!("With strict affinity, {count} agents:");
    let agents = start(&cluster, count, Known::ByAffinities, true, BUSY).await;
    println!("  the lists: {} bytes each", received(&agents)[count - 1]);
    let (own, others) = agents.split_at(1);
    let (before, mut adds) = (own[0].events(), 0);
    let sent = measured(others, ADDS, async |nth| {
        adds += 1;
        cluster.add(0, &format!("strict-{nth}")).await;
        until("the node's own agent is told", || own[0].events() >= before + adds).await;
    })
    .await;
    println!("  an ADD: {} bytes each", sent.at_most());
    assert_eq!(sent.at_most(), 0, "an ADD into an own block is told to other nodes");
    adds_in_a_row(&cluster, &agents, "strict").await;
    let sent = claims(&cluster, &agents, count, BUSY).await;
    assert!(sent.at_least() > 0 && sent.at_most() <= CLAIM, "a claimed block: {} bytes", sent.at_most());
    let sent = reports(&cluster, &agents).await;
    drop(agents);
    println!("With Nodes in full, {count} agents:");
    let agents = start(&cluster, count, Known::ByAffinities, false, BUSY + TIMES).await;
    println!("  the lists: {} bytes each", received(&agents)[count - 1]);
    let whole = reports(&cluster, &agents).await;
    assert!(sent.at_most() * 3 < whole.at_least(), "metadata are {} bytes", sent.at_most());
    drop(agents);

    cluster.set_strict(false).await;
    println!("Without strict affinity, {count} agents:");
    let agents = start(&cluster, count, Known::ByBlocks, true, BUSY + TIMES).await;
    println!("  the lists: {} bytes each", received(&agents)[count - 1]);
    let plans: Vec<usize> = agents.iter().map(SimulatedAgent::plans).collect();
    adds_in_a_row(&cluster, &agents, "lax").await;
    let sent = measured(&agents, TIMES, async |nth| {
        let before: Vec<usize> = agents.iter().map(SimulatedAgent::events).collect();
        cluster.add(1, &format!("borrowing-{nth}")).await;
        until("every agent is told", || are_told(&agents, &before)).await;
    })
    .await;
    let held = 1 + 2 * IN_A_ROW;
    println!(
        "  an ADD into a block with {held} addresses: {} to {} bytes each",
        sent.at_least(),
        sent.at_most()
    );
    assert!(sent.at_least() > 0, "blocks are not followed");
    let after: Vec<usize> = agents.iter().map(SimulatedAgent::plans).collect();
    assert_eq!(plans, after, "an ADD that changes no route is planned for");
    claims(&cluster, &agents, count + TIMES, BUSY + TIMES).await;
}

fn are_told(agents: &[SimulatedAgent], before: &[usize]) -> bool {
    agents.iter().zip(before).all(|(agent, before)| agent.events() > *before)
}

/// Prints how long the API server's processor works for a change, all watches included.
async fn in_a_row(
    cluster: &Cluster,
    agents: &[SimulatedAgent],
    what: &str,
    mut change: impl AsyncFnMut(u32),
) {
    settle(agents).await;
    let before = cluster.processor_time();
    for nth in 0..IN_A_ROW {
        change(nth).await;
    }
    settle(agents).await;
    let each = (cluster.processor_time() - before) / IN_A_ROW;
    println!("  {what}: {each:?} of the API server's processor");
}

async fn adds_in_a_row(cluster: &Cluster, agents: &[SimulatedAgent], what: &str) {
    in_a_row(cluster, agents, "an ADD", async |nth| cluster.add(1, &format!("{what}-row-{nth}")).await).await;
}

/// Nodes without an agent claim a block each; every agent has that many routes before.
async fn claims(cluster: &Cluster, agents: &[SimulatedAgent], first: usize, routes: usize) -> Sent {
    let sent = measured(agents, TIMES, async |nth| {
        cluster.add(first + nth, &format!("claim-{}", first + nth)).await;
        until("every agent has the route", || agents.iter().all(|agent| agent.routes() > routes + nth)).await;
    })
    .await;
    println!("  a claimed block: {} to {} bytes each", sent.at_least(), sent.at_most());
    sent
}

/// A kubelet reports, which no agent plans for.
async fn reports(cluster: &Cluster, agents: &[SimulatedAgent]) -> Sent {
    let plans: Vec<usize> = agents.iter().map(SimulatedAgent::plans).collect();
    let sent = measured(agents, TIMES, async |nth| {
        let before: Vec<usize> = agents.iter().map(SimulatedAgent::events).collect();
        cluster.report(1, nth).await;
        until("every agent is told", || are_told(agents, &before)).await;
    })
    .await;
    println!("  a kubelet's report: {} to {} bytes each", sent.at_least(), sent.at_most());
    in_a_row(cluster, agents, "a kubelet's report", async |nth| cluster.report(2, nth as usize).await).await;
    let after: Vec<usize> = agents.iter().map(SimulatedAgent::plans).collect();
    assert_eq!(plans, after, "a kubelet's report is planned for");
    sent
}
