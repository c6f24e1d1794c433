//! What ADD and DEL have in common: everything is checked before the store is opened, and the store before anything is done.

use std::future::Future;
use std::io::Write;
use std::path::Path;
use std::time::Duration;

use ipam::{Effects, Planner};
use setup::{Clock, ConnectOptions, Datastore, Environment, Settings};
use tokio::runtime::Runtime;

use crate::args::Args;
use crate::conf::{Conf, Document};
use crate::error::CniError;
use crate::identity::Identity;
use crate::lock::{self, HostLock};
use crate::log::{Level, Log};
use crate::protocol::Call;
use crate::reach::Reached;

/// The time of the work itself. It starts when the lock is taken: waiting must not eat it.
pub const WITHIN: Duration = Duration::from_secs(90);
/// How long to wait for the lock: whoever has it may work for [`WITHIN`]; who takes longer is stuck. (Calico waits for ever.)
const PATIENCE: Duration = WITHIN;
/// How long a store may leave the first question unanswered. The runtime asks again, and who reads its log should not wait for the reason.
const REACHED_WITHIN: Duration = Duration::from_secs(10);

/// A request, ready to be served.
pub struct Request<'a> {
    /// The configuration.
    pub conf: Conf,
    /// `CNI_ARGS`.
    pub args: Args,
    /// Whom it is for.
    pub identity: Identity,
    /// The store.
    pub store: Reached,
    /// The clock.
    pub clock: Clock,
    /// The log.
    pub log: Log<'a>,
    runtime: Runtime,
}

impl<'a> Request<'a> {
    /// Checks the request in Calico's order, then opens the store. Changes nothing.
    ///
    /// # Errors
    /// Code 999: fields of a wrong type, no node name, no store, bad `CNI_ARGS`, names that no endpoint can have.
    pub fn accept(
        call: &Call,
        document: &Document,
        environment: &Environment,
        clock: Clock,
        stderr: &'a mut dyn Write,
    ) -> Result<Request<'a>, CniError> {
        let conf = document.conf()?;
        let log = Log::new(stderr, clock, conf.log_level());
        let text = |field: &str| conf.text(&[field]);
        let node = setup::node_name(text("nodename"), text("nodename_file"), text("hostname"))
            .map_err(CniError::internal)?;
        let settings =
            Settings::from_environment(environment).map_err(CniError::internal)?.with_cni(conf.fields());
        let datastore = Datastore::choose(&settings, environment).map_err(CniError::internal)?;
        let args = Args::parse(&call.args)?;
        let identity = Identity::new(conf.name(), node, &call.container, &call.interface, &args)?;
        // A store that does not exist yet has no pools: the file's name is the better answer.
        let store = setup::connect(&datastore, ConnectOptions::existing()).map_err(CniError::internal)?;
        let runtime = setup::runtime(&datastore).map_err(CniError::internal)?;
        let patience = match datastore {
            // There nobody is to be reached: whoever keeps the file to himself is waited for as long as there is time.
            Datastore::Embedded { .. } => WITHIN,
            Datastore::Etcd(_) | Datastore::Kubernetes(_) => REACHED_WITHIN,
        };
        let store = Reached::new(store, clock, patience);
        Ok(Request { conf, args, identity, store, clock, log, runtime })
    }

    /// Takes the host's lock, or says why not and goes on without.
    pub fn lock(&mut self) -> Option<HostLock> {
        let path = self.conf.text(&["ipam_lock_file"]).unwrap_or(lock::DEFAULT_PATH);
        match HostLock::take(Path::new(path), PATIENCE) {
            Ok(lock) => Some(lock),
            Err(error) => {
                let line = format!("going on without the host's lock {path}: {error}");
                self.log.say(Level::Error, line);
                None
            }
        }
    }

    /// Runs an operation.
    ///
    /// # Errors
    /// Code 999, with the operation's or the store's words.
    pub fn run<P: Planner>(&self, planner: P) -> Result<P::Answer, CniError>
    where
        P::Error: std::fmt::Display,
    {
        let effects = Real(self.clock);
        self.wait_for(ipam::run(&self.store, &effects, planner, WITHIN)).map_err(CniError::internal)
    }

    /// Waits for something that the store does.
    pub fn wait_for<T>(&self, work: impl Future<Output = T>) -> T {
        self.runtime.block_on(work)
    }
}

/// The real clock and real randomness, for [`ipam::run`].
struct Real(Clock);

impl Effects for Real {
    fn now(&self) -> api::Timestamp {
        self.0.now()
    }

    fn elapsed(&self) -> Duration {
        self.0.elapsed()
    }

    fn seed(&self) -> u64 {
        self.0.seed()
    }

    fn sleep(&self, time: Duration) -> impl Future<Output = ()> + Send {
        tokio::time::sleep(time)
    }
}
