//! What ADD and DEL have in common: everything is checked before the store is opened, and the store before anything is done.

use std::collections::BTreeMap;
use std::future::Future;
use std::io::Write;
use std::path::PathBuf;
use std::time::Duration;

use ipam::Planner;
use setup::{Clock, ConnectOptions, Datastore, Environment, Runtime, Settings};
use store::{ReadSet, StoreError, View};

use crate::identity::Identity;
use crate::kubernetes::{self, Namespace, Objects};
use crate::lock::{self, HostLock};
use crate::machine;
use cni::args::Args;
use cni::conf::{Conf, Document};
use cni::error::CniError;
use cni::log::{Level, Log};
use cni::protocol::Call;
use cni::reach::Reached;

/// The time of the work itself. It starts when the lock is taken: waiting must not eat it.
pub const WITHIN: Duration = Duration::from_secs(90);
/// How long to wait for the lock: whoever has it may work for [`WITHIN`]; who takes longer is stuck. (Calico waits for ever.)
const PATIENCE: Duration = WITHIN;
/// How long a store may leave the first question unanswered. The runtime asks again, and who reads its log should not wait for the reason.
pub const REACHED_WITHIN: Duration = Duration::from_secs(10);

/// Calico has no allocator at all then, and says of each of its records that it is not supported.
const USE_POD_CIDR: &str = "USE_POD_CIDR is set: addresses are handed out from the nodes' pod CIDRs by host-local, not by calico-ipam. Take the variable away, or set ipam.type to host-local";

/// Labels by their names.
pub type Labels = BTreeMap<String, String>;

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
    /// Whose labels count for the pools' namespace selectors, where somebody knows them.
    namespace: Option<Namespace>,
    /// Whom to ask about virtual machines, where the pod may be one's.
    objects: Option<Objects>,
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
        let log = Log::new(stderr, "calico-ipam", clock, &conf);
        let text = |field: &str| conf.text(&[field]);
        let node = setup::node_name(text("nodename"), text("nodename_file"), text("hostname"))
            .map_err(CniError::internal)?;
        let settings =
            Settings::from_environment(environment).map_err(CniError::internal)?.with_cni(conf.fields());
        let datastore = Datastore::choose(&settings, environment).map_err(CniError::internal)?;
        if let Datastore::Kubernetes(settings) = &datastore
            && settings.use_pod_cidr
        {
            return Err(CniError::internal(USE_POD_CIDR));
        }
        let args = Args::parse(&call.args)?;
        let identity = Identity::new(conf.name(), node, &call.container, &call.interface, &args)?;
        // A store that does not exist yet has no pools: the file's name is the better answer.
        let store = setup::connect(&datastore, ConnectOptions::existing()).map_err(CniError::internal)?;
        // Kubernetes may be asked besides.
        let runtime =
            if conf.names_kubernetes() { setup::full_runtime() } else { setup::runtime(&datastore) };
        let runtime = runtime.map_err(CniError::internal)?;
        let patience = match datastore {
            // There nobody is to be reached: whoever keeps the file to himself is waited for as long as there is time.
            Datastore::Embedded { .. } => WITHIN,
            Datastore::Etcd(_) | Datastore::Kubernetes(_) => REACHED_WITHIN,
        };
        let store = Reached::new(store, clock, patience);
        let (namespace, objects) = (None, None);
        let mut request = Request { conf, args, identity, store, namespace, objects, clock, log, runtime };
        request.accept_machine(&settings, environment)?;
        if call.command == "ADD" {
            request.accept_add(&settings, environment)?;
        }
        Ok(request)
    }

    /// What an ADD needs besides. An address that is asked for by name is given whatever the selectors say.
    fn accept_add(&mut self, settings: &Settings, environment: &Environment) -> Result<(), CniError> {
        if self.is_on_kubernetes() {
            self.identity.check_for_kubernetes()?;
        }
        if self.args.ip.is_none() && self.conf.names_kubernetes() {
            let (name, store) = (self.identity.namespace(), self.store.server());
            self.namespace = Namespace::new(name, store, settings, environment, self.clock)?;
            if self.namespace.is_none() {
                let line = format!(
                    "Kubernetes is not asked for the labels of namespace {name}: this build cannot; pools' namespace selectors see none"
                );
                self.log.say(Level::Error, line);
            }
        }
        Ok(())
    }

    /// What a virtual machine's pod needs besides. Where Kubernetes is not known it is a pod as any other.
    fn accept_machine(&mut self, settings: &Settings, environment: &Environment) -> Result<(), CniError> {
        let is_asked = self.conf.names_kubernetes() || self.is_on_kubernetes();
        if is_asked && self.args.is_pod() && machine::may_be(&self.args.pod) {
            self.objects = Objects::new(self.store.server(), settings, environment, self.clock)?;
            if self.objects.is_none() {
                let line = format!(
                    "Kubernetes is not asked whether pod {} is a virtual machine's: this build cannot; its addresses do not stay with the machine",
                    self.args.pod
                );
                self.log.say(Level::Error, line);
            }
        }
        Ok(())
    }

    /// Whom to ask about virtual machines; `None` for pods that are none's.
    pub fn objects(&self) -> Option<&Objects> {
        self.objects.as_ref()
    }

    /// Waits for an answer.
    pub fn wait_for<T>(&self, work: impl Future<Output = T>) -> T {
        self.runtime.block_on(work)
    }

    /// Whether the datastore is Kubernetes, which has rules of its own.
    pub fn is_on_kubernetes(&self) -> bool {
        kubernetes::is(self.store.server())
    }

    /// The file of the host's lock.
    pub fn lock_path(&self) -> PathBuf {
        PathBuf::from(self.conf.text(&["ipam_lock_file"]).unwrap_or(lock::DEFAULT_PATH))
    }

    /// Takes the host's lock, or says why not and goes on without.
    pub fn lock(&mut self) -> Option<HostLock> {
        let path = self.lock_path();
        match HostLock::take(&path, PATIENCE) {
            Ok(lock) => Some(lock),
            Err(error) => {
                let line = format!("going on without the host's lock {}: {error}", path.display());
                self.log.say(Level::Error, line);
                None
            }
        }
    }

    /// Reads.
    ///
    /// # Errors
    /// Code 999, with the store's words.
    pub fn read(&self, set: &ReadSet, deadline: Deadline) -> Result<View, CniError> {
        let read = self.store.look(set, deadline.left());
        self.runtime.block_on(read).map_err(CniError::internal)
    }

    /// Reads, and asks for the namespace's labels beside it. The time of the work is that of `deadline`.
    pub fn read_and_label(
        &self,
        set: &ReadSet,
        deadline: Deadline,
    ) -> (Result<View, StoreError>, Result<Option<Labels>, CniError>) {
        let read = self.store.look(set, deadline.left());
        let labels = async {
            match &self.namespace {
                Some(namespace) => namespace.labels(deadline.left()).await.map(Some),
                None => Ok(None),
            }
        };
        self.runtime.block_on(async { tokio::join!(read, labels) })
    }

    /// Gives the host's affinities that lack them their labels; tells how many there were.
    ///
    /// # Errors
    /// Those of the store.
    pub fn label_affinities(&self, deadline: Deadline) -> Result<usize, StoreError> {
        let work = kubernetes::label_affinities(&self.store, &self.identity.node, deadline.left());
        self.runtime.block_on(work)
    }

    /// Runs an operation.
    ///
    /// # Errors
    /// Code 999, with the operation's or the store's words.
    pub fn run<P: Planner>(&self, planner: P, deadline: Deadline) -> Result<P::Answer, CniError>
    where
        P::Error: std::fmt::Display,
    {
        self.runtime
            .block_on(ipam::run(&self.store, &self.clock, planner, deadline.left()))
            .map_err(CniError::internal)
    }

    /// The same, from what the planner reads first.
    ///
    /// # Errors
    /// As [`Request::run`].
    pub fn run_from<P: Planner>(
        &self,
        view: View,
        planner: P,
        deadline: Deadline,
    ) -> Result<P::Answer, CniError>
    where
        P::Error: std::fmt::Display,
    {
        self.runtime
            .block_on(ipam::run_from(&self.store, &self.clock, planner, view, deadline.left()))
            .map_err(CniError::internal)
    }

    /// When the work that begins now, with the lock taken, is to end.
    pub fn deadline(&self) -> Deadline {
        Deadline { clock: self.clock, end: self.clock.elapsed() + WITHIN }
    }
}

/// When the work is to end.
#[derive(Clone, Copy, Debug)]
pub struct Deadline {
    clock: Clock,
    end: Duration,
}

impl Deadline {
    /// How much time there is.
    pub fn left(&self) -> Duration {
        self.end.saturating_sub(self.clock.elapsed())
    }
}
