//! The agent's start: what must be known before it works, and what it refuses.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use filter::{Nft, felix};
use setup::{Clock, ConnectOptions, Datastore, Environment, Settings};
use store::AnyStore;
use tokio::signal::unix::{SignalKind, signal};

use super::Failure;
use super::agent::{Agent, Options};
use super::detect;
use super::files::Files as OwnFiles;
use super::finding::{Finding, Reason};
use super::introduce::Wishes;
use super::name::{self, MACHINE_ID, MachineId};
use super::record::NodeRecord;
use crate::cli::{Files, Node};
use crate::install::{self, Network, Notes, Places, Template};
use crate::preflight::preflight;

/// How long a call to the store may take.
pub(super) const WITHIN: Duration = Duration::from_secs(10);

/// The store of this node.
pub(crate) struct Opened {
    pub(crate) datastore: Datastore,
    pub(crate) store: Arc<AnyStore>,
}

/// Opens the store that the environment names. A file that is not there is not made.
pub(crate) fn open(environment: &Environment) -> Result<Opened, Failure> {
    let settings = Settings::from_environment(environment)?;
    let choice = setup::Choice::make(&settings, environment)?;
    if let Some(warning) = choice.permit(setup::Purpose::Write)? {
        tracing::warn!("{warning}");
    }
    let store = setup::connect(&choice.datastore, ConnectOptions::existing())?;
    Ok(Opened { datastore: choice.datastore, store: Arc::new(store) })
}

/// Where the agent's files are.
pub(super) fn places(files: &Files, environment: &Environment) -> Result<Places, Failure> {
    let mut places = Places::of(environment)?;
    places.node_name = name::name_file(environment);
    for (place, given) in [
        (&mut places.mtu, &files.mtu_file),
        (&mut places.mark, &files.synced_mark),
        (&mut places.notes, &files.notes_file),
    ] {
        if let Some(given) = given {
            place.clone_from(given);
        }
    }
    Ok(places)
}

/// Is the agent until it is told to end.
pub(super) async fn agent(args: &Node, environment: &Environment) -> Result<(), Failure> {
    tracing::warn!(
        "rackpool does not enforce NetworkPolicy, and announces nothing by BGP yet: policies of this cluster have no effect on this node"
    );
    let places = places(&args.files, environment)?;
    install::mark::begin(&places)?;
    let running = felix::running(Path::new("/proc"));
    if running.is_certain() {
        return Err(format!("{running}. Two agents would undo each other's work").into());
    }
    let leftovers = Nft::default().leftovers()?;
    if !leftovers.is_empty() {
        return Err(format!(
            "a stopped Felix has left {leftovers}, which drops packets of pods that it does not know: `rackpoold node take-over` puts this agent's in its place"
        )
        .into());
    }
    let name = name::name(environment)?;
    let Opened { datastore, store } = open(environment)?;
    let accepted = args.accept_loss.iter().map(|word| word.trim().parse()).collect::<Result<_, _>>()?;
    let losses = preflight(&*store, &accepted, WITHIN).await?;
    let clock = Clock::start();
    let record = NodeRecord { store: &store, effects: &clock, name: &name, within: WITHIN };
    let machine = MachineId::read(Path::new(MACHINE_ID))?;
    let kernel = host::Kernel::open()?;
    let stored = record.read().await?;
    let interfaces = kernel.interfaces().await?;
    let name_file = name::name_file(environment).display().to_string();
    name::refuse_taken(&name, machine.as_ref(), &stored.holder, &interfaces, &name_file).await?;
    drop(kernel);
    let mut notes = Notes::read(&places.notes)?;
    install::node_name(&places, &mut notes, &name)?;
    let mut template = None;
    let network = match &args.files.install_from {
        None => None,
        Some(folder) => {
            let selection = install::Selection::of(environment)?;
            for file in install::programs(&places, &mut notes, folder, &selection)? {
                tracing::info!(file = %file.display(), "installed");
            }
            let template = template.insert(Template::of(environment)?);
            let (node, datastore) = (&name, &datastore);
            Some(Network { node, datastore, has_kubeconfig: false, template, environment })
        }
    };
    let mut text = "rackpool does not enforce NetworkPolicy, and announces nothing by BGP yet".to_string();
    if !losses.is_empty() {
        text += &format!(". This cluster uses {}, which is accepted as lost", losses.words());
    }
    let standing = vec![Finding::new(Reason::NOT_ENFORCED, text)];
    let hosts = detect::store_hosts(&datastore, &store);
    let wishes = Wishes::read(environment, machine, hosts)?;
    let options = Options { shape: args.shape.plan(), wishes };
    let files = OwnFiles::new(places, notes, network);
    let agent = Agent::new(&store, record, options, files, standing)?;
    let (mut terminated, mut interrupted) =
        (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
    tracing::info!(node = name, store = datastore.place(), "the agent begins");
    let stop = async {
        tokio::select! {
            _ = terminated.recv() => {}
            _ = interrupted.recv() => {}
        }
    };
    agent.run(stop).await?;
    tracing::info!("the agent ends; routes, tunnels and packet filter stay");
    Ok(())
}
