//! `calicoctl version`: the versions of client and cluster, and the place of the embedded store.

use std::io::Write;
use std::time::Duration;

use resources::Identifier;
use setup::{ConnectOptions, Datastore, Purpose};

use super::warn_ignored;
use crate::Context;
use crate::cli::Config;
use crate::failure::Failure;
use crate::session::{CLIENT_VERSION, Chosen};

/// The commit that this program was built from; empty if the build did not name it.
const GIT_COMMIT: &str = match option_env!("RACKPOOL_GIT_COMMIT") {
    Some(commit) => commit,
    None => "",
};

/// Show the versions of client and cluster, and where the store is.
///
/// The client's version is that of the Calico release whose texts, columns and data this program has.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Only the client's version
    #[arg(long)]
    client: bool,
    /// Ask again until the cluster's version is known or this time is over: 30s, 5m
    #[arg(long, value_name = "DURATION")]
    poll: Option<String>,
    #[command(flatten)]
    config: Config,
    #[arg(hide = true)]
    words: Vec<String>,
}

pub(super) fn run(args: &Args, context: &mut Context<'_>) -> Result<(), Failure> {
    let poll = args.poll.as_deref().map(parse_poll).transpose().map_err(Failure::Message)?;
    writeln!(context.stdout, "Client Version:    {CLIENT_VERSION}")?;
    writeln!(context.stdout, "Git commit:        {GIT_COMMIT}")?;
    warn_ignored(context, &args.words)?;
    if args.client {
        return Ok(());
    }
    let chosen = Chosen::load(args.config.config.as_deref(), context.globals, context.environment)?;
    let session = chosen
        .open(context, Purpose::Read, ConnectOptions::default())
        .map_err(|error| Failure::in_calico_words(error.to_string()))?;
    let id = Identifier::new(api::Kind::ClusterInformation, None, "default");
    let asked = std::cell::Cell::new(Duration::ZERO);
    let cluster = loop {
        match session.wait(session.client().get(&id)) {
            Ok(cluster) => break Ok(cluster),
            Err(error) if poll.is_some_and(|poll| asked.get() < poll) => {
                let second = Duration::from_secs(1);
                session.wait(store::Effects::sleep(session.effects(), second));
                asked.set(asked.get() + second);
                let _ = error;
            }
            Err(error) => break Err(error),
        }
    };
    let cluster = match cluster {
        Ok(cluster) => cluster,
        Err(error) => {
            if !chosen.is_explicit() {
                tell_where(&session.datastore, context.stdout)?;
            }
            return Err(Failure::in_calico_words(format!(
                "unable to retrieve Cluster Version or Type: {error}"
            )));
        }
    };
    let text = |field: &str| cluster.text(&["spec", field]).unwrap_or("unknown").to_string();
    writeln!(context.stdout, "Cluster Version:   {}", text("calicoVersion"))?;
    writeln!(context.stdout, "Cluster Type:      {}", text("clusterType"))?;
    match chosen.is_explicit() {
        true => Ok(()),
        false => tell_where(&session.datastore, context.stdout),
    }
}

/// Prints where the store is, and why it is that one.
pub(crate) fn tell_where(datastore: &Datastore, stdout: &mut dyn Write) -> Result<(), Failure> {
    let chosen_by = datastore.chosen_by();
    match datastore {
        Datastore::Embedded { path, .. } => {
            writeln!(stdout, "Embedded store:    {} ({chosen_by})", path.display())?;
        }
        other => writeln!(stdout, "Store:             {} ({chosen_by})", other.place())?,
    }
    Ok(())
}

fn parse_poll(text: &str) -> Result<Duration, String> {
    let nanos = golang::duration::parse(text).map_err(|error| format!("invalid poll duration: {error}"))?;
    Ok(Duration::from_nanos(u64::try_from(nanos).unwrap_or(0)))
}
