//! Faults that happen around the workers.

use std::time::Duration;

use fastrand::Rng;
use servers::etcd_server::EtcdCluster;
use servers::proxy::Passage;
use store::testing::etcd_client;

use crate::environment::{Environment, block_on};
use crate::running::Crew;

/// A fault that happens again and again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Trouble {
    /// No fault.
    None,
    /// A member of etcd is killed, and restarted some time later. Every second time it is the leader.
    KillMember,
    /// A member of etcd is suspended, and goes on some time later. Every second time it is the leader.
    PauseMember,
    /// Another member of etcd becomes the leader.
    MoveLeader,
    /// For some time, requests arrive and no reply comes back. Then all connections break.
    LoseReplies,
    /// The API server is killed, and restarted some time later.
    KillApiServer,
    /// A worker is killed.
    KillWorkers,
}

impl Trouble {
    /// Causes the fault, and repairs what it broke. `round` counts from 0. Gives `false` where nothing could
    /// be broken.
    pub fn strike(self, environment: &mut Environment, crew: &mut Crew, rng: &mut Rng, round: usize) -> bool {
        wait(rng, 50..300);
        match (self, environment) {
            (Trouble::KillWorkers, _) => crew.kill_one(rng),
            (Trouble::KillMember, Environment::Etcd { cluster, .. }) => {
                let member = victim(cluster, rng, round);
                cluster.members[member].kill();
                wait(rng, 100..1200);
                cluster.members[member].restart();
                true
            }
            (Trouble::PauseMember, Environment::Etcd { cluster, .. }) => {
                let member = victim(cluster, rng, round);
                cluster.members[member].pause();
                wait(rng, 300..2500);
                cluster.members[member].resume();
                true
            }
            (Trouble::KillApiServer, Environment::Kubernetes { server, .. }) => {
                // The server takes seconds to start. Workers that gave up meanwhile begin again before it is
                // killed once more.
                wait(rng, 500..2500);
                server.kill();
                wait(rng, 50..1000);
                server.restart();
                true
            }
            (Trouble::MoveLeader, Environment::Etcd { cluster, .. }) => {
                block_on(move_leader(cluster, rng)).is_ok()
            }
            (Trouble::LoseReplies, Environment::Etcd { proxies, .. }) => {
                proxies.iter().for_each(|proxy| proxy.set(Passage::LoseReplies));
                wait(rng, 5..150);
                for proxy in proxies {
                    // The proxy is opened before the connections are cut: otherwise a connection that is made
                    // in between would get no replies.
                    proxy.set(Passage::Open);
                    proxy.cut();
                }
                true
            }
            (Trouble::None, _) => false,
            (trouble, _) => panic!("{trouble:?} needs another environment"),
        }
    }
}

fn wait(rng: &mut Rng, milliseconds: std::ops::Range<u64>) {
    std::thread::sleep(Duration::from_millis(rng.u64(milliseconds)));
}

fn victim(cluster: &EtcdCluster, rng: &mut Rng, round: usize) -> usize {
    match round % 2 {
        0 => cluster.leader(),
        _ => rng.usize(..cluster.members.len()),
    }
}

async fn move_leader(cluster: &EtcdCluster, rng: &mut Rng) -> Result<(), etcd_client::Error> {
    let leader = cluster.leader();
    let mut at_leader = etcd_client::Client::connect([cluster.members[leader].endpoint()], None).await?;
    let own = at_leader.status().await?.leader();
    let members = at_leader.member_list().await?;
    let others: Vec<u64> = members.members().iter().map(|m| m.id()).filter(|id| *id != own).collect();
    at_leader.move_leader(others[rng.usize(..others.len())]).await?;
    Ok(())
}
