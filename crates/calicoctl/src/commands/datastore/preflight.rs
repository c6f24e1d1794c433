//! `calicoctl datastore preflight`: what a cluster uses and rackpool does not carry out.

use resources::loss::{self, Losses};
use serde_json::{Value as Json, json};
use setup::{ConnectOptions, Purpose};

use crate::Context;
use crate::cli::{self, Config};
use crate::failure::Failure;
use crate::session::Chosen;

/// Look for what is lost where rackpool's node agent takes the place of Calico's.
///
/// rackpool does not enforce network policies, does not filter hosts' own traffic (HostEndpoint), does not
/// encrypt (WireGuard), has no eBPF dataplane, and announces nothing by BGP. What the cluster uses of these
/// is named, and so is what this user may not list. Nothing is changed.
///
/// `rackpoold node` refuses to start for the same reasons, unless --accept-loss names them.
///
/// Exit code: 0 if nothing is lost, else 1.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Write json or yaml in place of lines
    #[arg(short = 'o', long, value_name = "FORMAT", value_parser = ["json", "yaml"])]
    output: Option<String>,
    #[command(flatten)]
    config: Config,
    #[arg(hide = true)]
    words: Vec<String>,
}

pub(super) fn run(args: &Args, context: &mut Context<'_>) -> Result<(), Failure> {
    cli::exactly(0, &args.words).map_err(Failure::Message)?;
    context.globals.check().map_err(Failure::Message)?;
    let failed = |text: String| Failure::in_calico_words(text);
    let session = Chosen::load(args.config.config.as_deref(), context.globals, context.environment)?
        .open(context, Purpose::Read, ConnectOptions::existing())
        .map_err(|error| failed(error.to_string()))?;
    let losses = session.wait(loss::losses(session.store.inner(), session.within));
    let losses = losses.map_err(|error| failed(error.to_string()))?;
    match args.output.as_deref() {
        Some("json") => {
            context.stdout.write_all(golang::json::to_indented_text(&document(&losses), 2).as_bytes())?;
        }
        Some(_) => context.stdout.write_all(golang::yaml::to_text(&document(&losses)).as_bytes())?,
        None if losses.is_empty() => {
            writeln!(context.stdout, "Nothing of {} is lost", session.datastore.place())?;
        }
        None => write!(context.stdout, "{losses}")?,
    }
    if losses.is_empty() {
        return Ok(());
    }
    Err(Failure::Message(format!(
        "rackpool's node agent would lose this; to start it all the same: rackpoold node --accept-loss={}",
        losses.words()
    )))
}

fn document(losses: &Losses) -> Json {
    let found = losses.found.iter().map(
        |loss| json!({"loss": loss.feature.word(), "objects": loss.objects, "text": loss.feature.loss()}),
    );
    let unknown = losses.unknown.iter().map(
        |unknown| json!({"loss": unknown.feature.word(), "kind": unknown.what, "reason": unknown.reason}),
    );
    json!({"losses": found.collect::<Vec<_>>(), "unknown": unknown.collect::<Vec<_>>()})
}
