//! The controllers: what a leader knows by watches that lag behind, and what it does about it. What it
//! decides is production's.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use api::{BlockCidr, Key};
use controllers::collect::{Collector, Due};
use controllers::confirm::Asked;
use controllers::judge::pod_of;
use controllers::sweep::{Sweep, Task, of_node};
use controllers::witness::Users;
use ipam::{HandleRelease, ReleaseByHandle, ReleaseIp, ReleaseIps, run_from};
use store::{Depth, Effects as _, ReadSet, Scope, Store as _, View};

use crate::asks::Asks;
use crate::cluster::Call;
use crate::names::MACHINE;
use crate::perform::run;
use crate::setup::Manner;
use crate::world::World;
use crate::{WITHIN, give_way};

mod hear;
mod pools;

/// How long an address of a living node must have had no owner.
const GRACE: Duration = Duration::from_secs(60);

/// What a leader knows.
#[derive(Debug)]
pub(crate) struct Controllers {
    view: View,
    users: Users,
    collector: Collector,
    sweep: Sweep,
    heard: hear::Heard,
}

impl Default for Controllers {
    fn default() -> Self {
        Controllers {
            view: View::new(),
            users: Users::Pods(Default::default()),
            collector: Collector::default(),
            sweep: Sweep::default(),
            heard: hear::Heard::default(),
        }
    }
}

/// One look at everything that is due. A leader that crashes in between is followed by one that knows
/// nothing.
pub(crate) async fn pass(world: &World) {
    let who = world.caller.who;
    let mut it = world.book().controllers.remove(&who).unwrap_or_default();
    it.hear(world).await;
    it.collect(world).await;
    it.sweep(world).await;
    it.sweep_handles(world).await;
    pools::pass(world, &it.view).await;
    world.book().controllers.insert(who, it);
}

impl Controllers {
    /// Gives back what leaked.
    async fn collect(&mut self, world: &World) {
        let at = world.clock.elapsed();
        self.collector.judge(&self.view, &mut self.users, at);
        let due = self.collector.due(&self.view, &self.users, Some(GRACE), at);
        if due.is_empty() {
            return;
        }
        let Some((free, kept, asked)) = self.confirm(world, due).await else { return };
        let at = world.clock.elapsed();
        kept.iter().for_each(|(due, _)| self.collector.kept(due, at));
        let nodes: BTreeSet<String> =
            free.iter().filter(|due| due.is_for_gone_node).map(|due| due.node().to_string()).collect();
        self.release(world, free, asked).await;
        for node in nodes {
            carry_out(world, Task::Node(of_node(node))).await;
        }
    }

    /// Asks once more who uses what is due.
    async fn confirm(
        &self,
        world: &World,
        due: Vec<Due>,
    ) -> Option<(Vec<Due>, Vec<(Due, &'static str)>, View)> {
        let nodes: BTreeSet<&str> = due.iter().map(Due::node).filter(|node| !node.is_empty()).collect();
        let keys = nodes.iter().map(|node| (Key::global(api::Kind::Node, *node), Depth::Key)).collect();
        let set = ReadSet { keys, ..ReadSet::new() }.key(Key::IpamConfig);
        let view = world.caller.read(&set, WITHIN).await.ok()?;
        let mut pods = std::collections::HashMap::new();
        let wanted: BTreeSet<_> = due.iter().filter_map(|due| pod_of(&due.attribute)).collect();
        for key in wanted {
            give_way().await;
            if let Some(pod) = world.book().pods.get(&key) {
                pods.insert(key, pod.clone());
            }
        }
        let (users, machines) = (Users::Pods(pods), [MACHINE.to_string()].into());
        let asked = Asked { view: &view, users: &users, machines: &machines, doubtful: &[] };
        let (free, kept) = asked.part(due);
        Some((free, kept, view))
    }

    /// Releases addresses, a request for each block. Each begins with what has just been read.
    async fn release(&mut self, world: &World, free: Vec<Due>, mut asked: View) {
        let pools = Scope::kind(api::Kind::IPPool);
        let known = self.view.slots(&pools).map(|(key, slot)| (key.clone(), slot.clone()));
        known.for_each(|(key, slot)| asked.insert(key, slot));
        asked.complete(pools, Depth::Full);
        let mut by_block: BTreeMap<BlockCidr, Vec<ReleaseIp>> = BTreeMap::new();
        for due in &free {
            by_block.entry(due.block).or_default().push(due.ip.clone());
        }
        let mut is_done = true;
        for ips in by_block.into_values() {
            let request = ReleaseIps::new(ips).each_alone();
            let by = world.caller.witness.asked(request.request(), world.clock.now());
            let caller = world.caller.in_name_of(by);
            let result = run_from(&caller, &world.clock, request.planner(), asked.clone(), WITHIN).await;
            world.caller.witness.answered(by, ReleaseIps::answer(&result));
            world.caller.log(format!("COLLECTED {result:?}"));
            is_done &= result.is_ok_and(|answer| answer.error.is_none());
        }
        if is_done {
            let at = world.clock.elapsed();
            free.iter().for_each(|due| self.collector.kept(due, at));
        }
    }

    /// Does what else is left over.
    async fn sweep(&mut self, world: &World) {
        let (at, now) = (world.clock.elapsed(), world.clock.now());
        self.collector.all_changed(&self.view);
        for task in self.sweep.look(&self.view, Some(GRACE), GRACE, at, now) {
            carry_out(world, task).await;
        }
    }

    /// Looks for handles without addresses, and for what a crash left flagged for deletion.
    async fn sweep_handles(&mut self, world: &World) {
        if world.caller.manner == Manner::Objects {
            for (key, revision) in world.caller.cluster.flagged() {
                world.caller.send(Call::Bury(key, revision)).await;
            }
        }
        let set = ReadSet::new().scope(Scope::Handles, Depth::Key);
        let Ok(view) = world.caller.read(&set, WITHIN).await else { return };
        let handles = view.slots(&Scope::Handles).filter_map(|(key, slot)| match key {
            Key::Handle(id) => Some((id.clone(), slot.revision()?.clone())),
            _ => None,
        });
        let handles: Vec<_> = handles.collect();
        let bare = self.sweep.look_at_handles(handles, &self.view, GRACE, world.clock.elapsed());
        for id in bare {
            // The view may be old: an address that the handle holds after all stays, and is counted.
            let release = ReleaseByHandle::new(Vec::new(), None).only(id.clone(), []);
            if let Ok([HandleRelease::Released(_)]) = run(world, &world.clock, release).await.as_deref() {
                world.caller.log(format!("SWEPT {id}"));
            }
        }
    }
}

async fn carry_out(world: &World, task: Task) {
    let clock = &world.clock;
    let failed = match task {
        Task::Cooldowns(request) => run(world, clock, request).await.err().map(|error| error.to_string()),
        Task::Idle(request) => run(world, clock, request).await.err().map(|error| error.to_string()),
        Task::Affinity(request) | Task::Node(request) => {
            run(world, clock, request).await.err().map(|error| error.to_string())
        }
        // There are pods here, and no endpoints.
        Task::Endpoints(_) => None,
    };
    if let Some(error) = failed {
        world.note(format!("controllers: {error}"));
    }
}
