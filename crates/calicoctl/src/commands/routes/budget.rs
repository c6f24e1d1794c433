//! `calicoctl routes budget`: how many routes the routers need.

use routes::budget::{self, Budget};
use routes::rack;
use serde_json::{Value as Json, json};

use super::cluster::{self, Shape};
use super::count;
use crate::Context;
use crate::commands::warn_ignored;
use crate::failure::Failure;
use crate::output::table::{Align, boxed_table};

/// Show how many routes to pods the router of each rack needs, and a router beside no rack.
///
/// OWN are routes to the rack's blocks, or to the rack as a whole; EXCEPTIONS are addresses that nodes of the
/// rack have borrowed from each other; OTHERS are routes to other racks. PER BLOCK says how many routes the
/// router would need if every block and every borrowed address were told to every router, as Calico does.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// Fail if a router needs more routes than this
    #[arg(long, value_name = "NUMBER")]
    limit: Option<usize>,
    /// Write json or yaml in place of a table
    #[arg(short = 'o', long, value_name = "FORMAT", value_parser = ["json", "yaml"])]
    output: Option<String>,
    #[command(flatten)]
    shape: Shape,
    #[arg(hide = true)]
    words: Vec<String>,
}

pub(super) fn run(args: &Args, context: &mut Context<'_>) -> Result<(), Failure> {
    let cluster = args.shape.read(context)?;
    let destinations = cluster.destinations();
    let racks = cluster.racks(&destinations);
    let budgets = budget::of(&destinations, &racks, cluster.aggregation);
    match &args.output {
        Some(format) => {
            let rows: Vec<Json> = budgets.iter().map(document).collect();
            cluster::write(&json!({"limit": args.limit, "routers": rows}), format, context)?;
        }
        None => {
            let rows: Vec<Vec<String>> = budgets.iter().map(row).collect();
            let columns =
                ["own", "exceptions", "others", "total", "per block"].map(|column| (column, Align::Right));
            let columns: Vec<_> = [("router", Align::Left)].into_iter().chain(columns).collect();
            context.stdout.write_all(boxed_table(&columns, &rows).as_bytes())?;
            let why = cluster.why_none(&racks);
            if !why.is_empty() {
                writeln!(context.stderr, "{why}")?;
            }
        }
    }
    warn_ignored(context, &args.words)?;
    let Some(limit) = args.limit else { return Ok(()) };
    let over: Vec<String> =
        exceeding(&budgets, limit).map(|(router, total)| format!("{router} ({total})")).collect();
    match over.is_empty() {
        true => Ok(()),
        false => Err(Failure::Message(format!(
            "more than {} needed by {}",
            count(limit, "route"),
            over.join(", ")
        ))),
    }
}

/// The routers that need more routes than the limit, each with its number.
pub(super) fn exceeding(budgets: &[Budget], limit: usize) -> impl Iterator<Item = (String, usize)> {
    let over = budgets.iter().filter(move |budget| budget.total() > limit);
    over.map(|budget| (router(budget), budget.total()))
}

fn router(budget: &Budget) -> String {
    match &budget.rack {
        Some(rack) => format!("rack {}", rack::shown(rack)),
        None => "beside no rack".to_string(),
    }
}

fn row(budget: &Budget) -> Vec<String> {
    let numbers = [budget.own, budget.exceptions, budget.others, budget.total(), budget.calico];
    [router(budget)].into_iter().chain(numbers.map(|number| number.to_string())).collect()
}

fn document(budget: &Budget) -> Json {
    json!({"rack": budget.rack.clone().flatten(), "isBesideNoRack": budget.rack.is_none(), "own": budget.own,
        "exceptions": budget.exceptions, "others": budget.others, "total": budget.total(), "perBlock": budget.calico})
}
