//! Opens the store that the command line, the configuration file or the environment names, and runs the calls
//! to it.

use std::future::Future;
use std::path::Path;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use api::capability::Backend;
use resources::{Client, version};
use setup::{
    Choice, Clock, ConnectOptions, Datastore, Environment, Field, Origin, Purpose, Runtime, Settings,
    SetupError,
};
use store::{AnyStore, Noted, Noting, ReadSet, Store, StoreError, Titles};

use crate::Context;
use crate::cli::Globals;
use crate::failure::Failure;
use golang::yaml;

/// The configuration file that is read if it exists and the user names no other.
pub const DEFAULT_CONFIG: &str = "/etc/calico/calicoctl.cfg";
/// The most bytes of a configuration file: it may hold a whole kubeconfig.
const LARGEST_CONFIG: usize = 8 << 20;
/// The version that this program names as its own: that of the Calico whose texts, columns and data it has.
pub const CLIENT_VERSION: &str = "v3.33.0";

/// What a command works with besides the store.
#[derive(Clone)]
pub struct Surroundings {
    /// Time and randomness.
    pub clock: Clock,
    /// Collects what is wrong with records that are read, for the user.
    pub noted: Arc<Noted>,
}

/// An open store, and what is needed to use it.
pub struct Session {
    /// The store.
    pub store: Noting<AnyStore>,
    /// Which store it is.
    pub datastore: Datastore,
    /// How long the store may bring nothing until a call to it ends (`--timeout`).
    pub within: Duration,
    effects: Clock,
    backend: Backend,
    titles: Titles,
    runtime: Rc<Runtime>,
}

impl Session {
    /// Whether the store is a Kubernetes API server.
    pub fn is_on_kubernetes(&self) -> bool {
        self.datastore.backend() == api::Backend::Kubernetes
    }

    /// A client of the store.
    pub fn client(&self) -> Client<'_, Noting<AnyStore>, Clock> {
        Client::new(&self.store, &self.effects, self.backend, self.within).with_titles(&self.titles)
    }

    /// Time and randomness.
    pub fn effects(&self) -> &Clock {
        &self.effects
    }

    /// The keys of the store that this program does not know, and therefore leaves alone.
    ///
    /// # Errors
    /// The store's.
    pub fn unknown_keys(&self) -> Result<Vec<String>, StoreError> {
        match self.store.inner() {
            AnyStore::Sqlite(store) => self.wait(store.unknown_keys(self.within)),
            #[cfg(feature = "etcd")]
            AnyStore::Etcd(store) => self.wait(store.unknown_keys(self.within)),
            _ => Ok(Vec::new()),
        }
    }

    /// Runs a call to the store, and waits until it ends.
    pub fn wait<F: Future>(&self, call: F) -> F::Output {
        self.runtime.block_on(call)
    }

    /// Reads, and waits for the answer.
    ///
    /// # Errors
    /// The store's; or a record that is asked for by its key cannot be read.
    pub fn read(&self, set: &ReadSet) -> Result<store::View, StoreError> {
        self.wait(self.store.read(set, self.within))?.insist(set)
    }
}

/// What the user said about the store.
#[derive(Debug)]
pub struct Chosen {
    settings: Result<Settings, SetupError>,
    /// Warnings about environment variables that are nearly the names of settings.
    misspelt: Vec<String>,
}

impl Chosen {
    /// Reads the configuration file, or else the environment. `config` is the value of `-c`; `None` if it was
    /// not given.
    ///
    /// # Errors
    /// When the named file does not exist. Other errors are reported when the store is needed.
    pub fn load(
        config: Option<&str>,
        globals: &Globals,
        environment: &Environment,
    ) -> Result<Chosen, Failure> {
        let path = config.unwrap_or(DEFAULT_CONFIG);
        if Path::new(path).exists() {
            return Ok(Chosen { settings: from_file(path), misspelt: Vec::new() });
        }
        if config.is_some_and(|path| path != DEFAULT_CONFIG) {
            return Err(Failure::OnStdout(format!("Error reading config file: {path}")));
        }
        let settings = Settings::from_environment(environment).map(|mut settings| {
            let context = globals.context.as_deref().unwrap_or_default();
            settings.set(Field::K8sCurrentContext, context, Origin::Variable("--context".to_string()));
            settings
        });
        let misspelt = environment.misspelt().into_iter().map(|(variable, meant)| {
            format!("the environment variable {variable} has no effect; was {meant} meant?")
        });
        Ok(Chosen { settings, misspelt: misspelt.collect() })
    }

    /// Reads that configuration file, and nothing else.
    ///
    /// # Errors
    /// When the file does not exist. Other errors are reported when the store is needed.
    pub fn in_file(path: &str) -> Result<Chosen, Failure> {
        match Path::new(path).exists() {
            true => Ok(Chosen { settings: from_file(path), misspelt: Vec::new() }),
            false => Err(Failure::OnStdout(format!("Error reading config file: {path}"))),
        }
    }

    /// Which store the user has chosen, and what makes that uncertain.
    ///
    /// # Errors
    /// When settings cannot be understood, or contradict each other.
    pub fn choice(&self, environment: &Environment) -> Result<Choice, SetupError> {
        match &self.settings {
            Ok(settings) => Choice::make(settings, environment),
            Err(error) => Err(error.clone()),
        }
    }

    /// Whether the user has said anything that chooses a store.
    pub fn is_explicit(&self) -> bool {
        let fields = [Field::DatastoreType, Field::RackpoolDb];
        match &self.settings {
            Ok(settings) => fields.iter().any(|field| settings.get(*field).is_some()),
            Err(_) => true,
        }
    }

    /// Opens the store for that purpose. Warns of settings without effect, and of an uncertain choice.
    ///
    /// # Errors
    /// As [`Chosen::choice`], and whatever keeps the store from opening; also where there are no stores or
    /// several, and the purpose needs the one that is meant.
    pub fn open(
        &self,
        context: &mut Context<'_>,
        purpose: Purpose,
        options: ConnectOptions,
    ) -> Result<Session, SetupError> {
        let choice = self.choice(context.environment)?;
        let runtime = Rc::new(setup::runtime(&choice.datastore)?);
        self.open_choice(choice, &runtime, context, purpose, options)
    }

    /// Opens the store; `runtime` runs the calls to it. Stores that are used together need one runtime for
    /// both.
    ///
    /// # Errors
    /// As [`Chosen::open`].
    pub fn open_on(
        &self,
        runtime: &Rc<Runtime>,
        context: &mut Context<'_>,
        purpose: Purpose,
        options: ConnectOptions,
    ) -> Result<Session, SetupError> {
        let choice = self.choice(context.environment)?;
        self.open_choice(choice, runtime, context, purpose, options)
    }

    fn open_choice(
        &self,
        choice: Choice,
        runtime: &Rc<Runtime>,
        context: &mut Context<'_>,
        purpose: Purpose,
        options: ConnectOptions,
    ) -> Result<Session, SetupError> {
        // Where a file names the embedded store's file, it was chosen on purpose.
        let chosen_by = choice.datastore.chosen_by();
        let file = context.environment.get("RACKPOOL_DB").unwrap_or_default();
        let is_used = match &choice.datastore {
            Datastore::Embedded { path, .. } => {
                path == Path::new(file) || chosen_by.starts_with("rackpoolDB")
            }
            _ => false,
        };
        if !file.is_empty() && !is_used {
            context.warn_once(&format!(
                "RACKPOOL_DB has no effect: the store is {}, chosen by {chosen_by}; DATASTORE_TYPE=embedded alone makes it count",
                choice.datastore.place()
            ));
        }
        let named = context.globals.context.as_deref().unwrap_or_default();
        if !named.is_empty() && !matches!(choice.datastore, Datastore::Kubernetes(_)) {
            context.warn_once(&format!(
                "--context={named} has no effect: the store is {}",
                choice.datastore.place()
            ));
        }
        for warning in &self.misspelt {
            context.warn_once(warning);
        }
        if let Some(warning) = choice.permit(purpose)? {
            context.warn_once(&warning);
        }
        let datastore = choice.datastore;
        let within = context.globals.timeout;
        let store = setup::connect(&datastore, ConnectOptions { silence: Some(within), ..options })?;
        let titles = store.titles();
        let store = Noting::new(store, context.effects.noted.clone()).chosen_by(datastore.chosen_by());
        let effects = context.effects.clock;
        let backend = datastore.backend();
        Ok(Session { store, datastore, within, effects, backend, titles, runtime: runtime.clone() })
    }
}

fn from_file(path: &str) -> Result<Settings, SetupError> {
    let wrong = |reason: String| SetupError::File { path: path.to_string(), reason };
    let text = outside::read_file(Path::new(path), LARGEST_CONFIG)
        .map_err(|error| wrong(crate::input::documents::go_text(&error)))?;
    let document = yaml::read_strict(&text).map_err(|error| {
        wrong(format!("failed to parse config as YAML/JSON: {}", error.without_content()))
    })?;
    Settings::from_file(path, &document)
}

/// Why client and cluster are not known to fit together.
#[derive(Debug, thiserror::Error)]
pub enum VersionError {
    /// They have different versions.
    #[error(transparent)]
    Mismatch(#[from] version::Mismatch),
    /// The cluster's version cannot be read.
    #[error("{0}")]
    Unread(String),
}

/// Checks that client and cluster have versions that fit together.
///
/// # Errors
/// When they do not fit, or when the cluster's version cannot be read.
pub fn check_version(session: &Session) -> Result<(), VersionError> {
    let key = version::cluster_information();
    let view = session.read(&ReadSet::new().key(key.clone())).map_err(|error| {
        let told = format!("unable to get Cluster Information to verify version mismatch: {error}");
        VersionError::Unread(match error {
            StoreError::Corrupt(_) => format!("{told}\nUse --allow-version-mismatch to override"),
            // Calico does not name the flag here: without this check the command would fail all the same.
            _ => told,
        })
    })?;
    let cluster = view.resource(&key).flatten().map(|(resource, _)| resource);
    Ok(version::check(CLIENT_VERSION, cluster)?)
}
