//! The controllers of a cluster: one process of several works, and gives back what nobody uses any more.

mod beside;
pub mod cluster;
pub mod collecting;
pub mod configuration;
pub mod confirm;
pub mod feed;
pub mod health;
pub mod lead;
pub mod metrics;
#[cfg(feature = "kubernetes")]
pub mod pools;
pub mod report;
mod run;
pub mod serve;
pub mod settings;
pub mod tell;
pub mod work;

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use setup::{Clock, Datastore, Environment};
use store::AnyStore;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;

use crate::cli::Controllers;
use crate::log::Log;
use crate::node::{Opened, open};
use configuration::Configuration;
use health::Health;
use lead::{Lead, Place};
use metrics::{Metrics, Observed};
use serve::Pages;
use settings::{Settings, Settled};

pub use crate::node::Failure;

/// How long a call to the store may take.
pub const WITHIN: Duration = Duration::from_secs(10);
/// How long work may take to end when the process is told to.
const END: Duration = Duration::from_secs(10);
/// How soon a store that gave no answer at the start is asked again.
const AGAIN: Duration = Duration::from_secs(2);
/// Where a pod finds the name of its own namespace.
const OWN_NAMESPACE: &str = "/var/run/secrets/kubernetes.io/serviceaccount/namespace";

/// What the work is given.
#[derive(Debug)]
pub struct Frame {
    /// The store.
    pub store: Arc<AnyStore>,
    /// Which store it is.
    pub datastore: Datastore,
    /// Whether this process works, or stands by. Ask before each write.
    pub lead: Lead,
    /// What is to be done; it changes.
    pub settings: watch::Receiver<Settings>,
    /// The clock. Operations that run with it are counted in the figures.
    pub effects: Observed,
    /// The figures.
    pub metrics: Metrics,
    /// The work tells it when it is ready, and beats at least twice a minute.
    pub health: Health,
    /// Becomes true when the process is told to end.
    pub stop: watch::Receiver<bool>,
    /// The name of this process.
    pub identity: String,
}

/// Runs `rackpoold controllers` until the process is told to end.
///
/// # Errors
/// Whatever keeps it from its work; the texts say what helps.
pub fn run(args: &Controllers, environment: &Environment) -> Result<(), Failure> {
    // The environment is looked at first: what is wrong with it is told before anything is asked.
    let first = settings::settle(environment, false, None)?.settings;
    let level = args.log_level.as_deref().unwrap_or(first.log_level);
    let log = crate::log::begin(args.log, level)?;
    setup::full_runtime()?.block_on(frame(args, environment, log))
}

async fn frame(args: &Controllers, environment: &Environment, log: Log) -> Result<(), Failure> {
    let (mut terminated, mut interrupted) =
        (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
    let Opened { datastore, store } = open(environment)?;
    match beside::refuse(&store, WITHIN).await {
        Err(error) if args.force => tracing::warn!("forced: {error}"),
        checked => checked?,
    }
    let clock = Clock::start();
    let identity = identity(environment, &clock);
    let configuration = Configuration::new(&store, environment);
    let (sender, settings) = watch::channel(first_settings(&configuration).await?);
    let metrics = Metrics::new()?;
    let health = Health::new("the first look at the store", clock.elapsed());
    let pages = Pages { health: health.clone(), metrics: None, settings: settings.clone(), clock };
    if let Some(port) = args.health_port.filter(|port| *port != 0) {
        let listener = serve::bind(port, "health", "choose another by --health-port").await?;
        tokio::spawn(serve::serve(listener, pages.clone()));
    }
    let with_figures = Pages { metrics: Some(metrics.clone()), ..pages };
    tokio::spawn(serve::follow(settings.clone(), with_figures));
    let namespace = args.lease_namespace.clone().unwrap_or_else(|| own_namespace(environment));
    let lead = Lead::stand(&store, &identity, Place::of(&datastore, &namespace), clock)?;
    tokio::spawn(configuration.follow(sender, lead.leading()));
    if args.log_level.is_none() {
        tokio::spawn(follow_level(log, settings.clone()));
    }
    tracing::info!(identity, store = datastore.place(), "the controllers begin");
    let (stop, stopped) = watch::channel(false);
    let effects = Observed { clock, metrics: metrics.clone() };
    let mut frame =
        Frame { store, datastore, lead, settings, effects, metrics, health, stop: stopped, identity };
    let done = {
        let work = run::work(&mut frame);
        tokio::pin!(work);
        tokio::select! {
            done = &mut work => Some(done),
            () = async {
                tokio::select! {
                    _ = terminated.recv() => {}
                    _ = interrupted.recv() => {}
                }
            } => {
                let _ = stop.send(true);
                tokio::time::timeout(END, work).await.ok()
            }
        }
    };
    frame.lead.resign().await;
    match done {
        Some(done) => done?,
        None => {
            tracing::warn!("what was being done did not end within {} s, and is broken off", END.as_secs())
        }
    }
    tracing::info!("the controllers end");
    Ok(())
}

/// The settings at the start: waits for the store.
async fn first_settings(configuration: &Configuration) -> Result<Settings, Failure> {
    let mut told = String::new();
    loop {
        match configuration.read().await {
            Ok((settled, _)) => {
                let Settled { settings, .. } = settled?;
                return Ok(settings);
            }
            Err(error) if error.is_transient() => {
                if told != error.to_string() {
                    tracing::warn!("waits for the store: {error}");
                    told = error.to_string();
                }
                tokio::time::sleep(AGAIN).await;
            }
            Err(error) => return Err(error.into()),
        }
    }
}

/// Changes what the log tells, when the settings change.
async fn follow_level(log: Log, mut settings: watch::Receiver<Settings>) {
    loop {
        let level = settings.borrow_and_update().log_level;
        if let Err(error) = log.set_level(level) {
            tracing::warn!("{error}");
        }
        if settings.changed().await.is_err() {
            return;
        }
    }
}

/// A name that no other process has, nor had: the host's, and a number by chance.
fn identity(environment: &Environment, clock: &Clock) -> String {
    let host = ["POD_NAME", "HOSTNAME"].iter().find_map(|name| environment.get(name));
    format!("{}_{:016x}", host.unwrap_or("rackpoold"), clock.seed())
}

/// The namespace of the Lease: the pod's own, or `kube-system` outside of pods.
fn own_namespace(environment: &Environment) -> String {
    const MOST: usize = 4096;
    let given = environment.get("POD_NAMESPACE").map(str::to_string);
    let of_pod = || outside::read_text(Path::new(OWN_NAMESPACE), MOST).ok();
    let found = given.or_else(of_pod).map(|name| name.trim().to_string());
    found.filter(|name| !name.is_empty()).unwrap_or_else(|| "kube-system".to_string())
}
