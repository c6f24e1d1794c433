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
pub mod orphans;
#[cfg(feature = "kubernetes")]
pub mod pools;
pub mod report;
mod run;
pub mod serve;
pub mod settings;
pub mod tell;
pub mod work;

use std::sync::Arc;
use std::time::Duration;

use setup::{Clock, Datastore, Environment};
use store::{AnyStore, StoreError};
use tokio::runtime::Builder;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;

use crate::cli::Controllers;
use crate::log::Log;
use crate::namespace::own_namespace;
use crate::node::{Opened, open};
use beside::BesideError;
use configuration::Configuration;
use health::Health;
use lead::{Lead, Place};
use metrics::{Metrics, Observed};
use serve::Pages;
use settings::Settings;

pub use crate::node::Failure;

/// How long a call to the store may take.
pub const WITHIN: Duration = Duration::from_secs(10);
/// How long work may take to end when the process is told to.
const END: Duration = Duration::from_secs(10);
/// How many threads there are beside the one that works. A pass over a large cluster computes for seconds,
/// and the claim to lead must be renewed meanwhile. More threads take more memory.
const THREADS: usize = 1;
/// How soon a store that gave no answer at the start is asked again.
const AGAIN: Duration = Duration::from_secs(2);

/// What the work is given.
#[derive(Debug)]
pub struct Frame {
    /// The store.
    pub store: Arc<AnyStore>,
    /// Which store it is.
    pub datastore: Datastore,
    /// The API server of the cluster, where the store is another.
    pub kubernetes: Option<Arc<AnyStore>>,
    /// Whether this process works, or stands by. Ask before each write.
    pub lead: Lead,
    /// What is to be done; it changes.
    pub settings: watch::Receiver<Settings>,
    /// The clock. Operations that run with it are counted in the figures.
    pub effects: Observed,
    /// The figures.
    pub metrics: Metrics,
    /// How many figures that name a node there may be.
    pub most_node_series: usize,
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
    let runtime = Builder::new_multi_thread().worker_threads(THREADS).enable_all().build()?;
    let done = runtime.block_on(frame(args, environment, log));
    runtime.shutdown_background();
    done
}

async fn frame(args: &Controllers, environment: &Environment, log: Log) -> Result<(), Failure> {
    let (mut terminated, mut interrupted) =
        (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
    let told_to_end = async {
        tokio::select! {
            _ = terminated.recv() => {}
            _ = interrupted.recv() => {}
        }
    };
    tokio::pin!(told_to_end);
    let mut frame = tokio::select! {
        frame = begin(args, environment, log) => frame?,
        () = &mut told_to_end => return Ok(()),
    };
    let (stop, stopped) = watch::channel(false);
    frame.stop = stopped;
    let (server, is_forced) = (frame.kubernetes.as_ref().unwrap_or(&frame.store).clone(), args.force);
    let done: Result<(), Failure> = {
        let work = run::work(&mut frame);
        tokio::pin!(work);
        tokio::select! {
            done = &mut work => done,
            found = beside::comes(&server, WITHIN), if !is_forced => Err(found.into()),
            () = &mut told_to_end => {
                let _ = stop.send(true);
                tokio::time::timeout(END, work).await.unwrap_or_else(|_| {
                    tracing::warn!("what was being done did not end within {} s, and is broken off", END.as_secs());
                    Ok(())
                })
            }
        }
    };
    frame.lead.resign().await;
    done?;
    tracing::info!("the controllers end");
    Ok(())
}

/// Everything that is there before the work begins. Waits for a store that gives no answer.
async fn begin(args: &Controllers, environment: &Environment, log: Log) -> Result<Frame, Failure> {
    let Opened { datastore, store } = open(environment)?;
    let clock = Clock::start();
    let configuration = Configuration::new(&store, environment);
    let (settled, _) = patiently(async || configuration.read().await, StoreError::is_transient).await?;
    let kubernetes = kubernetes_beside(&store, environment)?;
    let server = kubernetes.as_ref().unwrap_or(&store);
    let checked = patiently(async || beside::refuse(server, WITHIN).await, BesideError::is_transient).await;
    match checked {
        Err(error) if args.force => tracing::warn!("forced: {error}"),
        checked => checked?,
    }
    let identity = identity(environment, &clock);
    let (sender, settings) = watch::channel(settled?.settings);
    let metrics = Metrics::new(datastore.type_name())?;
    let namespace = args.lease_namespace.clone().unwrap_or_else(|| own_namespace(environment));
    let lead = Lead::stand(&store, &identity, Place::of(&datastore, &namespace), clock)?;
    let health = Health::new("the first look at the store", clock.elapsed());
    let pages = Pages { health: health.clone(), figures: None, settings: settings.clone(), clock };
    if let Some(port) = args.health_port.filter(|port| *port != 0) {
        let listener = serve::bind(port, "health", "choose another by --health-port").await?;
        tokio::spawn(serve::serve(listener, pages.clone()));
    }
    let with_figures = Pages { figures: Some((metrics.clone(), lead.leading())), ..pages };
    tokio::spawn(serve::follow(settings.clone(), with_figures));
    tokio::spawn(configuration.follow(sender, lead.leading()));
    if args.log_level.is_none() {
        tokio::spawn(follow_level(log, settings.clone()));
    }
    tracing::info!(identity, store = datastore.place(), "the controllers begin");
    let effects = Observed { clock, metrics: metrics.clone() };
    let (_, stop) = watch::channel(false);
    let most_node_series = args.most_node_series;
    Ok(Frame {
        store,
        datastore,
        kubernetes,
        lead,
        settings,
        effects,
        metrics,
        most_node_series,
        health,
        stop,
        identity,
    })
}

/// The API server of the cluster whose data is in another store.
fn kubernetes_beside(store: &AnyStore, environment: &Environment) -> Result<Option<Arc<AnyStore>>, Failure> {
    #[cfg(feature = "kubernetes")]
    if !matches!(store, AnyStore::Kubernetes(_)) {
        let settings = setup::Settings::from_environment(environment)?;
        let server = setup::kubernetes_beside(&settings, environment)?;
        return Ok(server.map(|server| Arc::new(AnyStore::Kubernetes(server))));
    }
    let _ = (store, environment);
    Ok(None)
}

/// Asks until there is an answer, or an error that another question does not mend.
async fn patiently<T, E: std::fmt::Display>(
    mut ask: impl AsyncFnMut() -> Result<T, E>,
    is_transient: impl Fn(&E) -> bool,
) -> Result<T, E> {
    let mut told = String::new();
    loop {
        match ask().await {
            Err(error) if is_transient(&error) => {
                if told != error.to_string() {
                    tracing::warn!("waits for the store: {error}");
                    told = error.to_string();
                }
                tokio::time::sleep(AGAIN).await;
            }
            answer => return answer,
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
