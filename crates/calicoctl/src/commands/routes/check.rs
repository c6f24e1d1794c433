//! `calicoctl routes check`: what keeps somebody from being reached.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::{Command, Stdio};

use api::{Cidr, Family};
use outside::{Limits, Program};
use routes::destination::Destinations;
use routes::findings::{self, Finding};
use routes::kernel::{self, Found};
use routes::{Racks, Wanted, budget, node, router};

use super::budget::exceeding;
use super::cluster::{self, Cluster, Host, Shape};
use super::{count, document};
use crate::Context;
use crate::commands::warn_ignored;
use crate::failure::Failure;

/// How long `ip` may take.
const PATIENCE: std::time::Duration = std::time::Duration::from_secs(10);
/// The most bytes of a table: a hundred thousand routes.
const LARGEST_TABLE: usize = 32 << 20;

/// Look for what keeps pods from being reached, or makes routers need more routes than one a rack.
///
/// The records alone are looked at: addresses of nodes and tunnels, blocks and affinities that contradict
/// each other, blocks without a pool, racks' blocks outside of their pools. With a table, the routes of a
/// node or a router are compared, too: what `ip -j route` and `ip -j -6 route` print there, in files, or,
/// with --kernel, what they print on this host. Of a node's table only routes of protocol 81 count as ours;
/// routes of others into a pool are told. Nothing is changed.
///
/// Exit code: 0 if nothing was found, else 1.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// The node whose table is compared
    #[arg(long, value_name = "NODE", conflicts_with = "router")]
    node: Option<String>,
    /// The router whose table is compared: the racks beside it (names with commas between them, all, or none)
    #[arg(long, value_name = "RACKS")]
    router: Option<String>,
    /// A file with what `ip -j route` printed there
    #[arg(long, value_name = "FILE", conflicts_with = "kernel")]
    table: Option<String>,
    /// A file with what `ip -j -6 route` printed there
    #[arg(long, value_name = "FILE", conflicts_with = "kernel")]
    table6: Option<String>,
    /// Compare the tables of this host
    #[arg(long)]
    kernel: bool,
    /// Tell of routers that need more routes than this
    #[arg(long, value_name = "NUMBER")]
    limit: Option<usize>,
    /// Write json or yaml in place of lines
    #[arg(short = 'o', long, value_name = "FORMAT", value_parser = ["json", "yaml"])]
    output: Option<String>,
    #[command(flatten)]
    host: Host,
    #[command(flatten)]
    shape: Shape,
    #[arg(hide = true)]
    words: Vec<String>,
}

pub(super) fn run(args: &Args, context: &mut Context<'_>) -> Result<(), Failure> {
    let tables = tables(args)?;
    let is_compared = !tables.is_empty();
    if is_compared != (args.node.is_some() || args.router.is_some()) {
        let text = match is_compared {
            true => "whose table is it? Name the node by --node, or the racks beside the router by --router",
            false => {
                "compared with what? Name files by --table and --table6, or take this host's tables by --kernel"
            }
        };
        return Err(Failure::Message(text.to_string()));
    }
    let cluster = args.shape.read(context)?;
    let destinations = cluster.destinations();
    let racks = cluster.racks(&destinations);
    let mut found = findings::of_records(&destinations, &racks, cluster.aggregation);
    if let Some(limit) = args.limit {
        let budgets = budget::of(&destinations, &racks, cluster.aggregation);
        found.extend(exceeding(&budgets, limit).map(|(router, total)| Finding {
            kind: "OverBudget",
            about: format!("router {router}"),
            text: format!("needs {}, and may have {limit}", count(total, "route")),
        }));
    }
    if is_compared {
        found.extend(compare(args, &cluster, &destinations, &racks, &tables)?);
    }
    match &args.output {
        Some(format) => cluster::write(&document::findings(&found), format, context)?,
        None => context.stdout.write_all(document::lines(&found).as_bytes())?,
    }
    warn_ignored(context, &args.words)?;
    match found.len() {
        0 if args.output.is_some() => Ok(()),
        0 => Ok(writeln!(context.stdout, "Nothing was found")?),
        number => Err(Failure::Message(count(number, "finding"))),
    }
}

/// The findings of the tables, each compared with the wanted routes of its family.
fn compare(
    args: &Args,
    cluster: &Cluster,
    destinations: &Destinations<'_>,
    racks: &Racks,
    tables: &BTreeMap<Family, Vec<Found>>,
) -> Result<Vec<Finding>, Failure> {
    let wanted: BTreeMap<Cidr, Wanted> = match (&args.node, &args.router) {
        (Some(name), _) => {
            let mut options = cluster.options(&args.host);
            if options.uplink.is_none() {
                let uplink = |(family, table): (&Family, &Vec<Found>)| {
                    kernel::uplink_of(table, findings::address_of(destinations, name, *family)?)
                };
                options.uplink = tables.iter().find_map(uplink).map(|name| name.to_string());
            }
            let desired = node::desired(destinations, racks, name, &options);
            desired.map_err(|error| Failure::Message(error.to_string()))?.routes
        }
        (None, beside) => {
            let router = cluster.router(racks, beside.as_deref().unwrap_or("all"))?;
            router::routes(destinations, racks, &router)
        }
    };
    let of_table = |(family, table): (&Family, &Vec<Found>)| {
        let wanted: BTreeMap<Cidr, Wanted> = wanted
            .iter()
            .filter(|(to, _)| to.family() == *family)
            .map(|(to, wanted)| (*to, wanted.clone()))
            .collect();
        findings::of_table(destinations, &wanted, table, args.node.is_none())
    };
    Ok(tables.iter().flat_map(of_table).collect())
}

/// The tables that were named, by family.
fn tables(args: &Args) -> Result<BTreeMap<Family, Vec<Found>>, Failure> {
    let mut tables = BTreeMap::new();
    let sources =
        [(Family::V4, &args.table, ["-j", "-4", "route"]), (Family::V6, &args.table6, ["-j", "-6", "route"])];
    for (family, file, command) in sources {
        let (name, text) = match file {
            Some(path) => (path.clone(), of_file(path)?),
            None if args.kernel => (format!("`ip {}`", command.join(" ")), of_kernel(&command)?),
            None => continue,
        };
        let table = kernel::read(&text).map_err(|error| Failure::Message(format!("{name}: {error}")))?;
        if let Some(odd) = table.iter().find(|found| found.route.to.family() != family) {
            let text = format!(
                "{name}: {} is no {family} route; --table is for IPv4, --table6 for IPv6",
                odd.route.to
            );
            return Err(Failure::Message(text));
        }
        tables.insert(family, table);
    }
    Ok(tables)
}

fn of_file(path: &str) -> Result<String, Failure> {
    let text = outside::read_file(Path::new(path), LARGEST_TABLE)
        .map_err(|error| Failure::Message(format!("{path}: {}", crate::input::documents::go_text(&error))))?;
    String::from_utf8(text).map_err(|_| Failure::Message(format!("{path}: it is no text")))
}

/// What `ip` prints on this host.
fn of_kernel(command: &[&str]) -> Result<String, Failure> {
    let told = |reason: String| {
        Failure::Message(format!(
            "`ip {}`: {reason}. Where it cannot run, name files by --table and --table6",
            command.join(" ")
        ))
    };
    let mut ip = Command::new("ip");
    ip.args(command).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let limits = Limits { time: PATIENCE, stdout: LARGEST_TABLE, stderr: 4096 };
    let heard = Program::start(&mut ip).map_err(|error| told(error.to_string()))?;
    let heard = heard.hear(Vec::new(), limits).map_err(|error| told(error.to_string()))?;
    if !heard.status.success() {
        return Err(told(format!("{}, {}", heard.status, String::from_utf8_lossy(&heard.stderr).trim())));
    }
    String::from_utf8(heard.stdout).map_err(|_| told("it printed no text".to_string()))
}
