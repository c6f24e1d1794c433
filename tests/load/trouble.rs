//! What goes wrong around the workers while they work.

use std::time::Duration;

use fastrand::Rng;
use servers::etcd_server::EtcdCluster;
use servers::proxy::Passage;
use store::testing::etcd_client;

use crate::environment::{Environment, block_on};
use crate::running::Crew;

/// Something that goes wrong again and again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Trouble {
    /// Nothing.
    None,
    /// A member is killed, and started again a while later. Every other time it is the leader.
    KillMember,
    /// A member stops, and goes on a while later. Every other time it is the leader.
    PauseMember,
    /// Another member is made leader.
    MoveLeader,
    /// For a while, requests arrive and no reply comes back; then all connections break.
    LoseReplies,
    /// The API server is killed, and started again a while later.
    KillApiServer,
    /// A worker is killed.
    KillWorkers,
}

impl Trouble {
    /// Strikes, and mends what it broke. `round` counts from 0. `false` where it did not come to anything.
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
                // It takes seconds to start; those who gave up meanwhile begin anew before it is killed
                // again.
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
                    // First this, or a connection that is made in between stays half dead.
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
