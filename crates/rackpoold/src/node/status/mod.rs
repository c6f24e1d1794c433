//! `rackpoold node status`: what is wanted on this host, what is there, and what differs. It asks the store
//! and the kernel itself, so that it works without the agent.

mod shown;

use std::collections::BTreeSet;
use std::io::Write;
use std::process::ExitCode;

use api::{Key, Kind};
use filter::{Comparison, Nft, NftError, Rules};
use host::sysctl::{self, Setting};
use host::{Deviation, Interface, Kernel};
use routes::{Desired, Difference, Known, Present, Snapshot};
use setup::{Clock, Environment};
use store::{Depth, ReadSet, Scope, Slot, Store};

use super::Failure;
use super::agent::felix_settings;
use super::detect;
use super::duties::duties;
use super::name;
use super::pass::DEVICES;
use super::plan::{Shape, uplink};
use super::record::NodeRecord;
use super::start::{Opened, WITHIN, open, places};
use super::world::known_by;
use crate::cli::Node;
use crate::install;

/// What is wanted on this host, as the store's records say now.
pub(super) struct Plan {
    name: String,
    snapshot: Snapshot,
    desired: Desired,
    settings: filter::Settings,
    shape: Shape,
    uplink: Option<Interface>,
}

impl Plan {
    /// Reads the records, and the host's interfaces.
    pub(super) async fn read(args: &Node, environment: &Environment) -> Result<Plan, Failure> {
        let name = name::name(environment)?;
        let Opened { store, .. } = open(environment)?;
        let clock = Clock::start();
        let record = NodeRecord { store: &store, effects: &clock, name: &name, within: WITHIN };
        let stored = record.read().await?;
        let addresses = stored.node.as_ref().map(detect::stored_addresses).unwrap_or_default();
        let interfaces: Vec<Interface> = Kernel::open()?.interfaces().await?;
        let uplink = uplink(&interfaces, &addresses);
        let set = ReadSet::new()
            .key(Key::IpamConfig)
            .scope(Scope::kind(Kind::Node), Depth::Full)
            .scope(Scope::kind(Kind::IPPool), Depth::Full)
            .scope(Scope::Blocks { family: None }, Depth::Full)
            .scope(Scope::Affinities { owner: None, family: None }, Depth::Full);
        let view = store.read(&set, WITHIN).await?;
        let known = known_by(view.ipam_config().as_ref());
        let mut snapshot = Snapshot::new(known);
        let (blocks, others): (Vec<_>, Vec<_>) =
            view.all().partition(|(key, _)| matches!(key, Key::Block(_)));
        others.into_iter().for_each(|(key, slot)| take(&mut snapshot, key, slot));
        // The agent knows no other blocks either.
        let own: BTreeSet<Key> = snapshot.blocks_of(&name).map(Key::Block).collect();
        let blocks = blocks.into_iter().filter(|(key, _)| known == Known::ByBlocks || own.contains(*key));
        blocks.for_each(|(key, slot)| take(&mut snapshot, key, slot));
        let shape = args.shape.plan();
        // The agent tells where racks are unclear.
        let (desired, _) = shape.desired(&snapshot, &name, uplink.as_ref())?;
        let (settings, _) = felix_settings(&store, &name, WITHIN).await?;
        Ok(Plan { name, snapshot, desired, settings, shape, uplink })
    }

    /// The packet filter that is wanted.
    pub(super) fn rules(&self) -> Rules {
        self.shape.rules(&self.snapshot, &self.desired, self.settings.clone())
    }
}

/// What is there, and how it differs from what is wanted.
struct Found {
    present: Present,
    difference: Difference,
    /// The table in the packet filter; an error where its content could not be compared.
    filter: Result<Comparison, NftError>,
    has_table: bool,
    tunnels: Vec<(&'static str, Vec<Deviation>)>,
    /// The kernel's settings that are not as they must be.
    settings: Vec<Setting>,
    is_synced: bool,
}

impl Found {
    async fn look(plan: &Plan, is_synced: bool) -> Result<Found, Failure> {
        let kernel = Kernel::open()?;
        let pods = kernel.pod_addresses().await?;
        let present = Present { pods, ..kernel.present(&DEVICES).await? };
        let has_table = Nft::default().listing()?.is_some();
        let (desired, uplink) = (&plan.desired, plan.uplink.as_ref());
        let mut tunnels = Vec::new();
        for tunnel in desired.tunnels.iter().filter(|tunnel| tunnel.is_complete()) {
            let Some(uplink) = uplink else { continue };
            let (vni, port) = (plan.settings.vxlan_vni, plan.settings.vxlan_port);
            let found = kernel.tunnel_deviations(tunnel, uplink, vni, port).await?;
            tunnels.push((tunnel.device, found));
        }
        let duties = duties(&kernel, &plan.snapshot, desired, uplink, plan.shape.aggregation).await;
        let mut settings = sysctl::check(&duties)?;
        settings.retain(|setting| !setting.is_met());
        Ok(Found {
            difference: Difference::between(&present, desired),
            present,
            filter: Nft::default().compare(&plan.rules()),
            has_table,
            tunnels,
            settings,
            is_synced,
        })
    }

    /// Whether all is as it is wanted, as far as it could be compared.
    fn is_as_wanted(&self) -> bool {
        let table = match &self.filter {
            Ok(Comparison::There(differs)) => differs.is_empty(),
            Ok(Comparison::Missing) => false,
            Err(_) => self.has_table,
        };
        let tunnels = self.tunnels.iter().all(|(_, deviations)| deviations.is_empty());
        self.difference.is_empty() && table && tunnels && self.settings.is_empty()
    }
}

fn take(snapshot: &mut Snapshot, key: &Key, slot: &Slot) {
    match slot {
        Slot::Full(record) => {
            snapshot.take(record);
        }
        Slot::Unreadable(_) => snapshot.take_unreadable(key),
        // All was read in full, so nothing else is there.
        Slot::Absent | Slot::Key(_) | Slot::Header(..) => {}
    }
}

pub(super) async fn status(
    args: &Node,
    environment: &Environment,
    is_json: bool,
    out: &mut impl Write,
) -> Result<ExitCode, Failure> {
    let plan = Plan::read(args, environment).await?;
    let found = Found::look(&plan, install::mark::is_set(&places(&args.files, environment)?)).await?;
    match is_json {
        true => {
            let document = shown::document(&plan, &found);
            out.write_all((golang::json::to_indented_text(&document, 2) + "\n").as_bytes())?;
        }
        false => shown::text(&plan, &found, out)?,
    }
    Ok(if found.is_as_wanted() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}
