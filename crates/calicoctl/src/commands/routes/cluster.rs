//! What the commands have in common: the records, and what the records do not say.

use std::collections::BTreeSet;
use std::net::IpAddr;

use api::Kind;
use routes::destination::Destinations;
use routes::{Aggregation, Exported, Known, Options, RackName, Racks, Router, Snapshot, rack};
use serde_json::Value as Json;
use store::{Depth, ReadSet, Scope, Slot};

use crate::Context;
use crate::cli::Config;
use crate::commands::resource_set::Access;
use crate::failure::Failure;
use crate::output;

const HEADING: &str = "What the store does not say";

/// What the records do not say about a cluster.
#[derive(Debug, clap::Args)]
pub(super) struct Shape {
    /// The label that names a node's rack; by default the one that most pools select by
    #[arg(long, value_name = "LABEL", help_heading = HEADING)]
    rack_label: Option<String>,
    /// Who has the routes to a rack's blocks: its nodes (node), its router (tor), or every router (off)
    #[arg(long, value_name = "WHO", default_value = "node", value_parser = ["node", "tor", "off"], help_heading = HEADING)]
    aggregation: String,
    /// The router that leads to other racks, one address a family (A or A,B); by default the default route
    /// leads there
    #[arg(long, value_name = "IP", help_heading = HEADING)]
    via: Option<String>,
    /// Give routers routes to pools that encapsulate, too, so that other hosts reach their pods
    #[arg(long, help_heading = HEADING)]
    encapsulated: bool,
    /// To how many nodes of a rack a router sends what is for the rack
    #[arg(long, value_name = "NUMBER", default_value_t = 2, help_heading = HEADING)]
    gateways: usize,
    #[command(flatten)]
    config: Config,
}

/// What the records do not say about a node.
#[derive(Debug, clap::Args)]
pub(super) struct Host {
    /// The node's interface with its address; by default the one that the Node names
    #[arg(long, value_name = "NAME", help_heading = HEADING)]
    pub(super) uplink: Option<String>,
    /// The largest packet of that interface
    #[arg(long, value_name = "BYTES", default_value_t = 1500, help_heading = HEADING)]
    mtu: u32,
}

/// The records, and what else was said.
pub(super) struct Cluster {
    snapshot: Snapshot,
    label: Option<String>,
    exported: Exported,
    pub(super) aggregation: Aggregation,
    via: Vec<IpAddr>,
    gateways: usize,
}

impl Shape {
    /// Reads the records.
    pub(super) fn read(&self, context: &mut Context<'_>) -> Result<Cluster, Failure> {
        let via: Vec<IpAddr> =
            self.via.iter().flat_map(|text| text.split(',')).map(gateway).collect::<Result<_, _>>()?;
        let session = Access::to_read(self.config.config.as_deref(), context)?.quiet_session()?;
        let set = ReadSet::new()
            .scope(Scope::kind(Kind::Node), Depth::Full)
            .scope(Scope::kind(Kind::IPPool), Depth::Full)
            .scope(Scope::Blocks { family: None }, Depth::Full)
            .scope(Scope::Affinities { owner: None, family: None }, Depth::Full);
        let view = session.read(&set).map_err(|error| Failure::in_calico_words(error.to_string()))?;
        let mut snapshot = Snapshot::new(Known::ByBlocks);
        for (key, slot) in view.all() {
            match slot {
                Slot::Full(record) => {
                    snapshot.take(record);
                }
                Slot::Unreadable(_) => snapshot.take_unreadable(key),
                // All scopes were read in full, so nothing else is there.
                Slot::Absent | Slot::Key(_) | Slot::Header(..) => {}
            }
        }
        let aggregation = match self.aggregation.as_str() {
            "tor" => Aggregation::Tor,
            "off" => Aggregation::Off,
            _ => Aggregation::Node,
        };
        let label = match (&self.rack_label, rack::label(&snapshot)) {
            (Some(label), _) => Some(label.clone()),
            (None, Ok(label)) => label,
            // Without aggregation nothing depends on racks, unless one is named.
            (None, Err(_)) if aggregation == Aggregation::Off => None,
            (None, Err(error)) => return Err(Failure::Message(format!("{error}. Name it by --rack-label"))),
        };
        Ok(Cluster {
            snapshot,
            label,
            exported: if self.encapsulated { Exported::All } else { Exported::Plain },
            aggregation,
            via,
            gateways: self.gateways,
        })
    }
}

impl Cluster {
    pub(super) fn destinations(&self) -> Destinations<'_> {
        Destinations::of(&self.snapshot)
    }

    /// The racks as routers see them. Nodes must see them alike, to end what routers send them in vain.
    pub(super) fn racks(&self, destinations: &Destinations<'_>) -> Racks {
        Racks::of(destinations, self.label.as_deref(), self.exported)
    }

    pub(super) fn options(&self, host: &Host) -> Options {
        Options {
            aggregation: self.aggregation,
            via: self.via.clone(),
            uplink: host.uplink.clone(),
            mtu: host.mtu,
        }
    }

    /// The router beside the racks of that list.
    pub(super) fn router(&self, racks: &Racks, beside: &str) -> Result<Router, Failure> {
        Ok(Router {
            beside: named(racks, beside)?,
            via: self.via.clone(),
            aggregation: self.aggregation,
            gateways: self.gateways,
        })
    }

    /// Why no router has any route; empty where a router may have some.
    pub(super) fn why_none(&self, racks: &Racks) -> &'static str {
        let has_networks = racks.racks.values().any(|rack| rack.networks().next().is_some());
        match (has_networks, self.exported) {
            (true, _) => "",
            (false, Exported::Plain) => {
                "No pool without encapsulation has a rack or a block of its own: routers see only nodes' addresses. --encapsulated counts all pools"
            }
            (false, Exported::All) => "No pool has a rack or a block of its own",
        }
    }
}

fn gateway(text: &str) -> Result<IpAddr, Failure> {
    let wrong = || Failure::Message(format!("--via: '{text}' is no IP address"));
    api::cidr::parse_addr(text.trim()).ok_or_else(wrong)
}

/// The racks of a list: names with commas between them, `all` or `none`.
fn named(racks: &Racks, list: &str) -> Result<BTreeSet<RackName>, Failure> {
    match list {
        "all" => return Ok(racks.racks.keys().cloned().collect()),
        "none" => return Ok(BTreeSet::new()),
        _ => {}
    }
    list.split(',').map(|name| one(racks, name)).collect()
}

/// The rack of that name.
pub(super) fn one(racks: &Racks, name: &str) -> Result<RackName, Failure> {
    let rack = Some(name.to_string());
    if racks.racks.contains_key(&rack) {
        return Ok(rack);
    }
    let known: Vec<&str> = racks.racks.keys().flatten().map(String::as_str).collect();
    Err(Failure::Message(match (&racks.label, known.is_empty()) {
        (None, _) => {
            format!(
                "there is no rack {name}: no pool selects nodes by a label's value. Name the label by --rack-label"
            )
        }
        (Some(label), true) => format!(
            "there is no rack {name}: no node has the label {label}. `calicoctl label nodes NODE {label}={name}` sets it"
        ),
        (Some(label), false) => {
            format!("there is no rack {name}; by the label {label} there are {}", known.join(", "))
        }
    }))
}

/// Writes the document as `-o` says.
pub(super) fn write(document: &Json, format: &str, context: &mut Context<'_>) -> Result<(), Failure> {
    Ok(context.stdout.write_all(output::document(document, format).as_bytes())?)
}
