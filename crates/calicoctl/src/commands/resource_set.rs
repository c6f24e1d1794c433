//! What create, apply, replace, delete, get and validate have in common (`calicoctl/commands/common`): where
//! the resources come from, how each resource is handled, and what is printed at the end.

use api::{Kind, Resource};
use resources::{Client, Error};
use setup::{Clock, ConnectOptions, SetupError};
use store::{AnyStore, Noting};

use crate::Context;
use crate::cli::Source;
use crate::failure::Failure;
use crate::manifest::{self, ManifestError, Namespaces};
use crate::session::{Chosen, Session, check_version};

pub(super) type StoreClient<'s> = Client<'s, Noting<AnyStore>, Clock>;

/// A store that was opened, or the reason why it was not.
pub(super) struct Access {
    session: Result<Session, SetupError>,
}

impl Access {
    /// Opens the store and compares the versions of client and cluster. A store that does not open is an
    /// error only when a command needs the store.
    pub(super) fn begin(config: Option<&str>, context: &mut Context<'_>) -> Result<Access, SessionError> {
        let chosen =
            Chosen::load(config, context.globals, context.environment).map_err(SessionError::Failed)?;
        let session = chosen.open(&context.effects, context.environment, ConnectOptions::default());
        if let (Ok(session), false) = (&session, context.globals.allow_version_mismatch) {
            check_version(session).map_err(SessionError::Version)?;
        }
        Ok(Access { session })
    }

    /// The store. If it did not open, the error goes to standard output.
    pub(super) fn session(self) -> Result<Session, Failure> {
        self.session
            .map_err(|error| Failure::OnStdout(format!("Failed to create Calico API client: {error}")))
    }

    /// The store, for commands that write this error to standard error.
    pub(super) fn quiet_session(self) -> Result<Session, Failure> {
        self.session.map_err(|error| Failure::in_calico_words(error.to_string()))
    }
}

/// Why a command ended before it had a store.
pub(super) enum SessionError {
    /// Client and cluster have different versions. A command puts its own words before this text.
    Version(String),
    /// Something else.
    Failed(Failure),
}

impl From<SessionError> for Failure {
    fn from(error: SessionError) -> Self {
        match error {
            SessionError::Version(text) => Failure::in_calico_words(text),
            SessionError::Failed(failure) => failure,
        }
    }
}

/// The resources that a command is about.
pub(super) struct ResourceSet {
    /// The resources, in the order in which they were written.
    pub(super) resources: Vec<Resource>,
    /// The kind, if all resources have the same.
    pub(super) single_kind: Option<Kind>,
}

/// Why a command has no resources.
pub(super) enum SetError {
    /// Neither a file nor a kind was given.
    Nothing,
    /// A kind or a name that is not valid.
    Argument(String),
    /// The input holds no resource.
    Empty(String),
    /// The input cannot be understood.
    Failed(Failure),
}

impl ResourceSet {
    /// Reads the resources from the file, or else makes them of kind and names. `None`: there are none, and
    /// the user allows that (`--skip-empty`).
    pub(super) fn load(
        source: &Source,
        words: &[String],
        context: &mut Context<'_>,
    ) -> Result<Option<ResourceSet>, SetError> {
        if let Some(path) = source.filename.as_deref().filter(|path| !path.is_empty()) {
            let read = manifest::read(path, source.recursive, source.skip_empty, context.stdin);
            let resources = read.map_err(|error| match error {
                ManifestError::Empty { .. } => SetError::Empty(error.to_string()),
                other => SetError::Failed(other.into()),
            })?;
            return Ok(Some(ResourceSet::of(resources)).filter(|set| !set.resources.is_empty()));
        }
        let Some((kind, names)) = words.split_first() else { return Err(SetError::Nothing) };
        let resources = manifest::resources_named(kind, names).map_err(SetError::Argument)?;
        Ok(Some(ResourceSet::of(resources)))
    }

    fn of(resources: Vec<Resource>) -> ResourceSet {
        let first = resources.first().map(Resource::kind);
        let single_kind = first.filter(|kind| resources.iter().all(|resource| resource.kind() == *kind));
        ResourceSet { resources, single_kind }
    }

    /// The kind in quotes with a blank after it, for messages; empty if there are several kinds.
    pub(super) fn noun(&self) -> String {
        self.single_kind.map(|kind| format!("'{kind}' ")).unwrap_or_default()
    }
}

impl SetError {
    /// The failure of a command that needs resources. `verb` is what the command would have done.
    pub(super) fn failure(self, verb: &str) -> Failure {
        match self {
            SetError::Nothing => {
                Failure::Message(format!("nothing to {verb}: name a file, a directory or - with --filename"))
            }
            SetError::Argument(text) | SetError::Empty(text) => Failure::in_calico_words(text),
            SetError::Failed(failure) => failure,
        }
    }
}

/// How messages name what a command does.
#[derive(Clone, Copy)]
pub(super) struct Wording {
    /// `create`
    pub(super) verb: &'static str,
    /// `created`
    pub(super) done: &'static str,
}

/// Calls `act` with every resource of the input, even if some of these calls fail. Before that, creates what
/// every datastore has, if it is missing.
pub(super) fn write_all(
    context: &mut Context<'_>,
    source: &Source,
    words: &[String],
    wording: Wording,
    act: impl AsyncFn(&StoreClient<'_>, &Resource) -> Result<(), Error>,
) -> Result<(), Failure> {
    let access = Access::begin(source.config.config.as_deref(), context)?;
    let set = match ResourceSet::load(source, words, context) {
        Ok(Some(set)) => set,
        Ok(None) => return nothing(context),
        Err(error) => return Err(error.failure(wording.verb)),
    };
    let session = access.session()?;
    let client = session.client();
    // A store that cannot be written says so at the first resource.
    let _ = session.wait(client.ensure_initialised());
    let namespaces = Namespaces { namespace: source.namespace.as_deref(), all: false };
    let errors = set
        .each(namespaces, |resource| session.wait(act(&client, resource)).map_err(|error| error.to_string()));
    report(context, &set, wording, &errors)
}

impl ResourceSet {
    /// Calls `act` with every resource in its namespace. Returns the errors.
    pub(super) fn each(
        &self,
        namespaces: Namespaces<'_>,
        mut act: impl FnMut(&Resource) -> Result<(), String>,
    ) -> Vec<String> {
        let outcomes = self.resources.iter().map(|resource| act(&namespaces.place(resource)?));
        outcomes.filter_map(Result::err).collect()
    }
}

/// Prints that there was nothing to do.
pub(super) fn nothing(context: &mut Context<'_>) -> Result<(), Failure> {
    Ok(writeln!(context.stdout, "No resources specified")?)
}

/// The most errors that are printed for one input, and the most bytes of each.
const ERRORS: usize = 20;
const LONGEST_ERROR: usize = 4096;

/// Reports the result for a set of resources. If all went well that is one line with their number. Otherwise
/// it is the errors; and if more resources went well than failed, a line with how many.
pub(super) fn report(
    context: &mut Context<'_>,
    set: &ResourceSet,
    wording: Wording,
    errors: &[String],
) -> Result<(), Failure> {
    let Wording { verb, done } = wording;
    let (total, noun) = (set.resources.len(), set.noun());
    let good = total - errors.len();
    if errors.is_empty() {
        return Ok(writeln!(context.stdout, "Successfully {done} {total} {noun}resource(s)")?);
    }
    let shown: Vec<String> =
        errors.iter().take(ERRORS).map(|error| api::fault::short(error, LONGEST_ERROR)).collect();
    let more = match errors.len() - shown.len() {
        0 => String::new(),
        more => format!(" ... and {more} more"),
    };
    let list = format!("[{}{more}]", shown.join(" "));
    Err(Failure::in_calico_words(match (good, total) {
        (0, 1) => format!("failed to {verb} {noun}resource: {list}"),
        (0, _) => format!("failed to {verb} any {noun}resources: {list}"),
        _ => {
            if good > errors.len() {
                writeln!(
                    context.stdout,
                    "Partial success: {done} the first {good} out of {total} {noun}resources:"
                )?;
            }
            format!("hit error: {list}")
        }
    }))
}
