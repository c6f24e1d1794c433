//! `calicoctl routes tor`: the configuration of a router.

use routes::configuration::{self, Language};
use routes::{rack, router};

use super::cluster::Shape;
use crate::Context;
use crate::failure::Failure;

/// Print the static routes of the router beside these racks, as its configuration.
///
/// Routers that are told their routes in this way do not learn of later changes: print the configuration anew
/// when racks, their pools or their nodes' addresses change, and compare by `calicoctl routes check
/// --router`. Without --via other racks are left out. Where a router sends all that is for a rack to some of
/// its nodes, all of the rack's nodes must have the routes that `calicoctl routes show --node` shows: the
/// router relies on them.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// The router's language
    #[arg(long, value_name = "LANGUAGE", default_value = "ip", value_parser = ["bird", "frr", "ip"])]
    format: String,
    #[command(flatten)]
    shape: Shape,
    /// The racks beside the router: their names, all, or none
    #[arg(value_name = "RACKS")]
    words: Vec<String>,
}

pub(super) fn run(args: &Args, context: &mut Context<'_>) -> Result<(), Failure> {
    crate::cli::at_least(1, &args.words).map_err(Failure::Message)?;
    let cluster = args.shape.read(context)?;
    let destinations = cluster.destinations();
    let racks = cluster.racks(&destinations);
    let router = cluster.router(&racks, &args.words.join(","))?;
    let routes = router::routes(&destinations, &racks, &router);
    if routes.is_empty() {
        let why = match cluster.why_none(&racks) {
            "" => {
                "Such a router has no route to a pod: these racks have no networks, and --via names no way to others"
            }
            why => why,
        };
        return Err(Failure::Message(why.to_string()));
    }
    let language = match args.format.as_str() {
        "bird" => Language::Bird,
        "frr" => Language::Frr,
        _ => Language::Ip,
    };
    context.stdout.write_all(configuration::of(&routes, language).as_bytes())?;
    let left: Vec<&str> = racks
        .others(&router.beside)
        .filter(|(_, rack)| router.via.is_empty() && rack.networks().next().is_some())
        .map(|(name, _)| rack::shown(name))
        .collect();
    if !left.is_empty() {
        writeln!(context.stderr, "left to the router's default route: {}", left.join(", "))?;
    }
    Ok(())
}
