//! `calicoctl datastore purge`: says what is in use, and removes everything.

mod cluster;
mod report;

use resources::purge::{Purging, Survey};
use setup::{Clock, ConnectOptions, Purpose};
use store::{AnyStore, Noting};

use self::report::{Left, Purged};
use super::Progress;
use super::copy::count_unknown_keys;
use crate::Context;
use crate::cli::{self, Config};
use crate::failure::Failure;
use crate::output;
use crate::session::{Chosen, Session, check_version};

/// Remove everything that the datastore holds, after saying what is in use.
///
/// Without --confirm it only says who has addresses, by pool and by node, and what would be removed, and ends
/// with exit code 1 and the command that removes it. Removed are all pools, blocks, affinities, handles,
/// reservations and settings; in the embedded store and in etcd also nodes and endpoints. What this program
/// does not know, such as network policies, stays and is counted.
///
/// Whoever works with the datastore would write it anew: while agents or controllers run, nothing is removed.
/// In Kubernetes --stop deletes rackpool's own and waits until their pods are gone. Calico's, and those on
/// hosts outside of Kubernetes, are yours to stop.
///
/// Where workloads have addresses, nothing is removed without --in-use: they would keep these addresses, and
/// others could be given the same. A block of which a workload gets an address meanwhile stays.
///
/// The datastore is locked first (as by `calicoctl datastore migrate lock`), and the lock goes last. A record
/// that cannot be removed is named, and keeps no other from its turn; the lock stays then, and another purge
/// goes on. On Kubernetes also objects that nobody can read are removed, and the finalizers that keep pools.
/// Annotations and conditions of Nodes stay: they belong to Kubernetes' objects.
///
/// Exit code: 0 if everything that this program knows is gone, else 1.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Remove it: there is no way back but a backup
    #[arg(long)]
    confirm: bool,
    /// Also where workloads have addresses
    #[arg(long)]
    in_use: bool,
    /// Delete the DaemonSet and the Deployment of rackpool first, and wait for the end of their pods
    #[arg(long)]
    stop: bool,
    /// Delete rackpool's CustomResourceDefinitions afterwards: those with the label
    /// app.kubernetes.io/part-of=rackpool
    #[arg(long)]
    definitions: bool,
    /// Write json or yaml in place of lines
    #[arg(short = 'o', long, value_name = "FORMAT", value_parser = ["json", "yaml"])]
    output: Option<String>,
    #[command(flatten)]
    config: Config,
    #[arg(hide = true)]
    words: Vec<String>,
}

/// Why nothing is removed.
enum Obstacle {
    /// A flag was not given.
    Flag(&'static str),
    /// Something that is not this program's to stop.
    Running(String),
}

pub(super) fn run(args: &Args, context: &mut Context<'_>) -> Result<(), Failure> {
    cli::exactly(0, &args.words).map_err(Failure::Message)?;
    context.globals.check().map_err(Failure::Message)?;
    let options = ConnectOptions { deletes_at_once: true, ..ConnectOptions::existing() };
    let session = Chosen::load(args.config.config.as_deref(), context.globals, context.environment)?
        .open(context, Purpose::Write, options)
        .map_err(failed)?;
    let cluster = cluster::Cluster::look(&session).map_err(failed)?;
    if cluster.has_information() && !context.globals.allow_version_mismatch {
        check_version(&session).map_err(failed)?;
    }
    let purging = purging(&session, &cluster)?;
    let purging = if args.in_use { purging.with_what_is_used() } else { purging };
    let survey = session.wait(purging.survey()).map_err(failed)?;
    let mut purged = Purged { survey, running: cluster.running.clone(), ..Purged::default() };
    if args.output.is_none() {
        context.stdout.write_all(report::before(&session, &purged).as_bytes())?;
        context.stdout.flush()?;
    }
    let obstacles = obstacles(args, &cluster, &purged.survey);
    if !obstacles.is_empty() {
        write_document(args, &session, &purged, context)?;
        return Err(Failure::Message(refusal(args, &obstacles)));
    }
    if args.stop {
        cluster.stop(&session, context)?;
    }
    let outcome = remove(purging, &session, &cluster, &mut purged, context);
    if outcome.is_ok() && args.definitions && purged.left.is_empty() {
        cluster.remove_definitions(&session, &mut purged);
    }
    super::settle(&session, context)?;
    match &args.output {
        Some(_) => write_document(args, &session, &purged, context)?,
        None => context.stdout.write_all(report::after(&purged).as_bytes())?,
    }
    outcome?;
    match purged.left.is_empty() {
        true => Ok(()),
        false => Err(Failure::Message(unfinished(args, &cluster))),
    }
}

type SessionPurging<'s> = Purging<'s, Noting<AnyStore>, Clock>;

fn purging<'s>(session: &'s Session, cluster: &cluster::Cluster) -> Result<SessionPurging<'s>, Failure> {
    let unknown = session.unknown_keys().map_err(failed)?;
    let is_lacking = |scope: &store::Scope| cluster.lacks(scope);
    let store = (&session.store, session.effects());
    Ok(Purging::new(store, session.datastore.backend(), session.within, is_lacking, &unknown))
}

/// Removes all records, and what is left of objects that are none.
fn remove(
    mut purging: SessionPurging<'_>,
    session: &Session,
    cluster: &cluster::Cluster,
    purged: &mut Purged,
    context: &mut Context<'_>,
) -> Result<(), Failure> {
    let mut progress = Progress::begin(session.effects(), context.stderr);
    let ran = session.wait(purging.run(|count| progress.tell(format_args!("{count} records are gone"))));
    purged.removed = purging.removed();
    let stays = purging.stays().iter();
    purged.left = stays.map(|(key, reason)| Left { what: key.to_string(), reason: reason.clone() }).collect();
    ran.map_err(|error| {
        Failure::in_calico_words(format!(
            "{error}\nnot everything is removed, and the datastore is locked: the same command again goes on from here"
        ))
    })?;
    if purged.left.is_empty() {
        purged.left = cluster.remove_strays(session, &mut purged.strays).map_err(failed)?;
    }
    purged.unknown = count_unknown_keys(session).map_err(failed)?;
    Ok(())
}

fn obstacles(args: &Args, cluster: &cluster::Cluster, survey: &Survey) -> Vec<Obstacle> {
    let mut obstacles = Vec::new();
    obstacles.extend(cluster.calicos.iter().map(|one| Obstacle::Running(one.clone())));
    if !args.stop && !cluster.ours.is_empty() {
        obstacles.push(Obstacle::Flag("--stop"));
    }
    if !args.in_use && survey.in_use.has_workloads() {
        obstacles.push(Obstacle::Flag("--in-use"));
    }
    if !args.confirm {
        obstacles.push(Obstacle::Flag("--confirm"));
    }
    obstacles
}

/// Says why nothing was removed, and what removes it.
fn refusal(args: &Args, obstacles: &[Obstacle]) -> String {
    let mut text = "nothing was removed".to_string();
    let mut lacks = Vec::new();
    for obstacle in obstacles {
        match obstacle {
            Obstacle::Running(what) => {
                text.push_str(&format!("\n{what} runs, and would write anew what is removed: stop it first"));
            }
            Obstacle::Flag(flag) => lacks.push(*flag),
        }
    }
    if lacks.contains(&"--in-use") {
        text.push_str("\nworkloads have addresses; they would keep them, and others could be given the same");
    }
    if lacks.contains(&"--stop") {
        text.push_str("\nagents or controllers of rackpool run, and would write anew what is removed");
    }
    let given = [
        ("--confirm", args.confirm),
        ("--in-use", args.in_use),
        ("--stop", args.stop),
        ("--definitions", args.definitions),
    ];
    let words: Vec<&str> = given
        .into_iter()
        .filter(|(flag, is_given)| *is_given || lacks.contains(flag))
        .map(|(flag, _)| flag)
        .collect();
    if !lacks.is_empty() {
        text.push_str(&format!("\nTo remove it all the same: calicoctl datastore purge {}", words.join(" ")));
    }
    text
}

/// Says that something is left, and what can be done about it.
fn unfinished(args: &Args, cluster: &cluster::Cluster) -> String {
    let mut text = "not everything was removed".to_string();
    if cluster.has_information() {
        text.push_str(", and the datastore stays locked (calicoctl datastore migrate unlock opens it)");
    }
    if args.definitions {
        text.push_str("; the definitions of what is left stay, too");
    }
    text
}

fn write_document(
    args: &Args,
    session: &Session,
    purged: &Purged,
    context: &mut Context<'_>,
) -> Result<(), Failure> {
    let Some(format) = &args.output else { return Ok(()) };
    let text = output::document(&report::document(session, purged), format);
    Ok(context.stdout.write_all(text.as_bytes())?)
}

fn failed(error: impl ToString) -> Failure {
    Failure::in_calico_words(error.to_string())
}
