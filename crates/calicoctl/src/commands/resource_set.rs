//! What create, apply, replace, delete, get and validate have in common (`calicoctl/commands/common`): where
//! the resources come from, how each resource is handled, and what is printed at the end.

use std::rc::Rc;

use api::{Kind, Resource};
use resources::{Client, Error, Identifier};
use setup::{Clock, ConnectOptions, Purpose, SetupError};
use store::{AnyStore, Noting};

use crate::Context;
use crate::cli::Source;
use crate::failure::Failure;
use crate::manifest::{self, ManifestError, Namespaces, Written};
use crate::session::{Chosen, Session, VersionError, check_version};

pub(super) type StoreClient<'s> = Client<'s, Noting<AnyStore>, Clock>;

/// A store that was opened, or the reason why it was not.
pub(super) struct Access {
    session: Result<Session, SetupError>,
}

impl Access {
    /// Opens the store for a command that may change something in it, and compares the versions of client and
    /// cluster. A store that does not open is an error only when a command needs the store.
    pub(super) fn begin(config: Option<&str>, context: &mut Context<'_>) -> Result<Access, SessionError> {
        Access::with(Purpose::Write, config, context)
    }

    /// Opens the store for a command that only reads, as [`Access::begin`] does. Of a cluster of another
    /// version it only warns.
    pub(super) fn to_read(config: Option<&str>, context: &mut Context<'_>) -> Result<Access, SessionError> {
        Access::with(Purpose::Read, config, context)
    }

    /// As [`Access::to_read`]; calls to other servers than the store can be made, too.
    pub(super) fn to_read_on_network(
        config: Option<&str>,
        context: &mut Context<'_>,
    ) -> Result<Access, SessionError> {
        Access::of(Purpose::Read, config, context, |chosen, context| {
            let runtime = Rc::new(setup::full_runtime()?);
            chosen.open_on(&runtime, context, Purpose::Read, ConnectOptions::default())
        })
    }

    /// Opens the store for that purpose.
    pub(super) fn with(
        purpose: Purpose,
        config: Option<&str>,
        context: &mut Context<'_>,
    ) -> Result<Access, SessionError> {
        Access::of(purpose, config, context, |chosen, context| {
            chosen.open(context, purpose, ConnectOptions::default())
        })
    }

    fn of(
        purpose: Purpose,
        config: Option<&str>,
        context: &mut Context<'_>,
        open: impl FnOnce(&Chosen, &mut Context<'_>) -> Result<Session, SetupError>,
    ) -> Result<Access, SessionError> {
        let chosen =
            Chosen::load(config, context.globals, context.environment).map_err(SessionError::Failed)?;
        let session = open(&chosen, context);
        if let (Ok(session), false) = (&session, context.globals.allow_version_mismatch) {
            match (check_version(session), purpose) {
                (Ok(()), _) => {}
                (Err(VersionError::Mismatch(versions)), Purpose::Read) => context.warn_once(&format!(
                    "the cluster's version is {}, and this program works as Calico {} does. To change anything, use --allow-version-mismatch",
                    versions.cluster, versions.client
                )),
                (Err(error), _) => return Err(SessionError::Version(error.to_string())),
            }
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
    pub(super) resources: Vec<Written>,
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
            let manifest = read.map_err(|error| match error {
                ManifestError::Empty { .. } => SetError::Empty(error.to_string()),
                other => SetError::Failed(other.into()),
            })?;
            for warning in manifest.warnings {
                writeln!(context.stderr, "warning: {warning}")
                    .map_err(|error| SetError::Failed(error.into()))?;
            }
            return Ok(Some(ResourceSet::of(manifest.resources)).filter(|set| !set.resources.is_empty()));
        }
        let Some((kind, names)) = words.split_first() else { return Err(SetError::Nothing) };
        let resources = manifest::resources_named(kind, names).map_err(SetError::Argument)?;
        let written = resources.into_iter().map(|resource| Written { resource, place: None });
        Ok(Some(ResourceSet::of(written.collect())))
    }

    fn of(resources: Vec<Written>) -> ResourceSet {
        let first = resources.first().map(|written| written.resource.kind());
        let single_kind = first.filter(|kind| resources.iter().all(|one| one.resource.kind() == *kind));
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

/// What became of one resource of the input.
pub(super) enum Outcome {
    /// The command did to it what it says.
    Done,
    /// Nothing had to be done, for this reason.
    LeftAlone(&'static str),
    /// The command failed with it.
    Refused(Refused),
}

/// Why a command failed with a resource.
pub(super) struct Refused {
    /// Calico's words.
    pub(super) text: String,
    /// What helps, where there is something to say; it may have several lines.
    pub(super) help: Option<String>,
}

impl From<String> for Refused {
    fn from(text: String) -> Refused {
        Refused { text, help: None }
    }
}

/// The outcomes of a command for the resources of a set, in their order.
pub(super) type Outcomes = Vec<Outcome>;

/// Calls `act` with every resource of the input, even if some of these calls fail. Before that, creates what
/// every datastore has, if it is missing.
pub(super) fn write_all(
    context: &mut Context<'_>,
    source: &Source,
    words: &[String],
    wording: Wording,
    act: impl AsyncFn(&StoreClient<'_>, &Resource) -> Result<Outcome, Error>,
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
    let outcomes = set.each(namespaces, |resource| {
        session.wait(act(&client, resource)).map_err(|error| refused(&session, error))
    });
    report(context, &set, wording, &outcomes)
}

/// Why a command failed, with what helps. For a resource that does not exist that is one of a name like it.
pub(super) fn refused(session: &Session, error: Error) -> Refused {
    let help = match &error {
        Error::DoesNotExist(id, _) if id.name.is_empty() => None,
        Error::DoesNotExist(id, _) => Some(session.wait(session.client().like(id))),
        other => other.help(),
    };
    Refused { text: error.to_string(), help }
}

impl ResourceSet {
    /// Calls `act` with every resource in its namespace.
    pub(super) fn each(
        &self,
        namespaces: Namespaces<'_>,
        mut act: impl FnMut(&Resource) -> Result<Outcome, Refused>,
    ) -> Outcomes {
        let mut outcome = |written: &Written| act(&namespaces.place(&written.resource)?);
        self.resources.iter().map(|written| outcome(written).unwrap_or_else(Outcome::Refused)).collect()
    }

    /// The names of the resources with such an outcome, with a comma between; at most [`NAMES`].
    pub(super) fn names(&self, outcomes: &Outcomes, is_meant: impl Fn(&Outcome) -> bool) -> String {
        let meant = self.resources.iter().zip(outcomes).filter(|(_, outcome)| is_meant(outcome));
        let names: Vec<_> = meant.map(|(written, _)| Identifier::of(&written.resource).to_string()).collect();
        match names.len().checked_sub(NAMES) {
            None | Some(0) => names.join(", "),
            Some(more) => format!("{} and {more} more", names[..NAMES].join(", ")),
        }
    }

    /// Our own lines about what failed and what was left alone: each resource with its place and what helps;
    /// empty where there is nothing to add to Calico's words.
    pub(super) fn told(&self, outcomes: &Outcomes) -> String {
        let mut lines = Vec::new();
        for (Written { resource, place }, outcome) in self.resources.iter().zip(outcomes) {
            let id = Identifier::of(resource);
            let help = match outcome {
                Outcome::Done => continue,
                Outcome::LeftAlone(why) => {
                    lines.push(format!("{id} {why}"));
                    continue;
                }
                Outcome::Refused(Refused { help, .. }) => help,
            };
            // Where there is only one, everybody knows which.
            match (place.as_ref().filter(|_| self.resources.len() > 1), help) {
                (None, None) => {}
                (Some(place), None) => lines.push(format!("{id} ({place})")),
                (None, Some(help)) => lines.push(format!("{id}: {help}")),
                (Some(place), Some(help)) => lines.push(format!("{id} ({place}): {help}")),
            }
        }
        if lines.len() > ERRORS {
            let more = lines.len() - ERRORS;
            lines.truncate(ERRORS);
            lines.push(format!("and {more} more"));
        }
        lines.join("\n")
    }

    /// Tells which resources were left alone.
    pub(super) fn tell_left_alone(
        &self,
        context: &mut Context<'_>,
        outcomes: &Outcomes,
    ) -> Result<(), Failure> {
        for (written, outcome) in self.resources.iter().zip(outcomes) {
            if let Outcome::LeftAlone(why) = outcome {
                writeln!(context.stderr, "{} {why}", Identifier::of(&written.resource))?;
            }
        }
        Ok(())
    }
}

/// How many outcomes are of each sort: done, left alone, refused.
pub(super) fn count(outcomes: &Outcomes) -> (usize, usize, usize) {
    outcomes.iter().fold((0, 0, 0), |(done, left, refused), outcome| match outcome {
        Outcome::Done => (done + 1, left, refused),
        Outcome::LeftAlone(_) => (done, left + 1, refused),
        Outcome::Refused(_) => (done, left, refused + 1),
    })
}

/// Calico's words about the resources that a command failed with.
pub(super) fn errors(outcomes: &Outcomes) -> Vec<&str> {
    let refused = outcomes.iter().filter_map(|outcome| match outcome {
        Outcome::Refused(Refused { text, .. }) => Some(text.as_str()),
        _ => None,
    });
    refused.collect()
}

/// Prints that there was nothing to do.
pub(super) fn nothing(context: &mut Context<'_>) -> Result<(), Failure> {
    Ok(writeln!(context.stdout, "No resources specified")?)
}

/// The most errors that are printed for one input, the most bytes of each, and the most names in a line.
const ERRORS: usize = 20;
const LONGEST_ERROR: usize = 4096;
const NAMES: usize = 50;

/// Reports the result for a set of resources. If all went well that is one line with their number. Otherwise
/// it is the errors, after a line with what went well, if anything did.
pub(super) fn report(
    context: &mut Context<'_>,
    set: &ResourceSet,
    wording: Wording,
    outcomes: &Outcomes,
) -> Result<(), Failure> {
    let Wording { verb, done } = wording;
    let (total, noun) = (set.resources.len(), set.noun());
    let (good, left, refused) = count(outcomes);
    if refused == 0 {
        set.tell_left_alone(context, outcomes)?;
        match (good, left) {
            (0, 1..) => writeln!(context.stdout, "Nothing {done}: {left} {noun}resource(s) left alone")?,
            _ => writeln!(context.stdout, "Successfully {done} {good} {noun}resource(s)")?,
        }
        return Ok(());
    }
    let errors = errors(outcomes);
    let shown: Vec<String> =
        errors.iter().take(ERRORS).map(|error| api::fault::short(error, LONGEST_ERROR)).collect();
    let more = match errors.len() - shown.len() {
        0 => String::new(),
        more => format!(" ... and {more} more"),
    };
    let list = format!("[{}{more}]", shown.join(" "));
    if good > 0 {
        let names = set.names(outcomes, |outcome| matches!(outcome, Outcome::Done));
        writeln!(context.stdout, "Partial success: {done} {good} out of {total} {noun}resources: {names}")?;
    }
    let failure = Failure::in_calico_words(match (good + left, total) {
        (0, 1) => format!("failed to {verb} {noun}resource: {list}"),
        (0, _) => format!("failed to {verb} any {noun}resources: {list}"),
        _ => format!("hit error: {list}"),
    });
    Err(failure.and(&set.told(outcomes)))
}
