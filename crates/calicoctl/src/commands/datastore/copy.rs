//! `calicoctl datastore copy`: keeps the source still, and undoes a copy that fails.

use std::collections::BTreeMap;
use std::rc::Rc;

use resources::contents::Counts;
use resources::copy::{CopyError, Copying};
use setup::{ConnectOptions, Datastore, Purpose};
use store::{AnyStore, StoreError};

use super::Progress;
use crate::Context;
use crate::cli::{self, Config};
use crate::failure::Failure;
use crate::session::{Chosen, Session, check_version};

const INTO_KUBERNETES: &str = "nothing can be copied into Kubernetes, where nodes and endpoints are Kubernetes' own. Lock this store with `calicoctl datastore migrate lock`, write it out \
with `calicoctl datastore migrate export`, and read that in with Calico's `calicoctl datastore migrate import`";

/// Copy everything from this store to another, of any kind but Kubernetes.
///
/// The target must be empty. Uids and times of creation stay as they are. What was written is read back and
/// compared with the source.
///
/// During the copy nobody can change an embedded store: a program that tries it has to wait. etcd has no such
/// lock. A store in etcd is only marked as locked (datastoreReady), and not every program respects that mark,
/// so stop the programs that use the store. With every kind of store the copy goes on until source and target
/// are equal. If it fails or is interrupted, it removes what it has written.
///
/// After the copy, configure calicoctl and the plugins for the new store before anybody uses the old store
/// again: later changes in the old store are not copied.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Configuration file that says how to reach the target, as -c does for the source
    #[arg(long, value_name = "FILE")]
    to: String,
    #[command(flatten)]
    config: Config,
    #[arg(hide = true)]
    words: Vec<String>,
}

pub(super) fn run(args: &Args, context: &mut Context<'_>) -> Result<(), Failure> {
    cli::exactly(0, &args.words).map_err(Failure::Message)?;
    context.globals.check().map_err(Failure::Message)?;
    let failed = |text: String| Failure::in_calico_words(text);
    let runtime = Rc::new(setup::full_runtime().map_err(|error| failed(error.to_string()))?);
    let source = Chosen::load(args.config.config.as_deref(), context.globals, context.environment)?
        .open_on(&runtime, context, Purpose::Read, ConnectOptions::existing())
        .map_err(|error| failed(error.to_string()))?;
    let target = Chosen::in_file(&args.to)?
        .open_on(&runtime, context, Purpose::Begin, ConnectOptions::default())
        .map_err(|error| failed(error.to_string()))?;
    if let Datastore::Kubernetes(_) = target.datastore {
        return Err(failed(INTO_KUBERNETES.to_string()));
    }
    if !context.globals.allow_version_mismatch {
        check_version(&source).map_err(|error| failed(error.to_string()))?;
    }
    let left =
        count_unknown_keys(&source).map_err(|error| failed(format!("the source cannot be read: {error}")))?;
    let there =
        count_unknown_keys(&target).map_err(|error| failed(format!("the target cannot be read: {error}")))?;
    if !there.is_empty() {
        return Err(failed(format!(
            "the target is not empty, and nothing was changed there. It holds: {there}"
        )));
    }
    writeln!(context.stderr, "Copying {} to {}", source.datastore.place(), target.datastore.place())?;
    let counts = copy_held_still(&source, &target, context)?;
    super::settle(&target, context)?;
    writeln!(context.stdout, "Copied and compared: {counts}")?;
    if !left.is_empty() {
        writeln!(context.stdout, "Left behind, as this program does not know it: {left}")?;
    }
    Ok(())
}

/// Copies while the source is held still. If the copy fails, takes back what was written to the target.
fn copy_held_still(source: &Session, target: &Session, context: &mut Context<'_>) -> Result<Counts, Failure> {
    let still = Still::hold(source)?;
    let mut copying = Copying::new(&source.store, &target.store, source.within, still.was_ready());
    let mut progress = Progress::begin(source.effects(), context.stderr);
    let outcome = target.wait(async {
        let progress = |done: usize, of: usize| progress.tell(format_args!("{done} of {of}"));
        tokio::select! {
            outcome = copying.run(progress) => outcome.map_err(Stop::Copy),
            signal = interruption() => Err(signal),
        }
    });
    let text = match outcome {
        Ok(counts) => {
            still.release(source)?;
            return Ok(counts);
        }
        // Nothing was written, and what the target holds is not ours: there is nothing to take back.
        Err(Stop::Copy(
            error @ (CopyError::NotEmpty(_) | CopyError::HoldsUnreadable(_) | CopyError::NothingThere),
        )) => error.to_string(),
        Err(stop) => {
            let undone = match target.wait(copying.undo()) {
                Ok(0) => "nothing was written".to_string(),
                Ok(count) => format!("{count} records that were written to the target were taken back"),
                Err(error) => format!(
                    "what was written to the target could not be taken back ({error}): empty it by hand"
                ),
            };
            format!("{stop}; {undone}")
        }
    };
    let released = still.release(source);
    released.and(Err(Failure::in_calico_words(text)))
}

/// Why a copy was not completed.
#[derive(Debug, thiserror::Error)]
enum Stop {
    #[error("{0}")]
    Copy(CopyError),
    #[error("interrupted")]
    Interrupted,
    #[error("signals cannot be waited for: {0}")]
    Signals(std::io::Error),
}

/// Waits until the user, or the system, asks this program to end.
async fn interruption() -> Stop {
    use tokio::signal::unix::{SignalKind, signal};
    match (signal(SignalKind::interrupt()), signal(SignalKind::terminate())) {
        (Ok(mut interrupt), Ok(mut terminate)) => {
            tokio::select! {
                _ = interrupt.recv() => Stop::Interrupted,
                _ = terminate.recv() => Stop::Interrupted,
            }
        }
        (Err(error), _) | (_, Err(error)) => Stop::Signals(error),
    }
}

/// How the source is kept from changing during the copy.
enum Still {
    /// Nobody can write to the file of an embedded store until this value is dropped.
    File(#[allow(dead_code, reason = "held, not looked at")] store::sqlite::Frozen),
    /// The store says that it is not ready, which asks its users not to write. Holds what the store said
    /// before.
    Asked(Option<bool>),
}

impl Still {
    fn hold(source: &Session) -> Result<Still, Failure> {
        let failed = |error: &dyn std::fmt::Display| {
            Failure::in_calico_words(format!("the source cannot be held still: {error}"))
        };
        if let AnyStore::Sqlite(store) = source.store.inner() {
            return source.wait(store.freeze(source.within)).map(Still::File).map_err(|error| failed(&error));
        }
        let client = source.client();
        let ready = source.wait(client.is_ready()).map_err(|error| failed(&error))?;
        if ready == Some(true) {
            source.wait(client.set_ready(false)).map_err(|error| failed(&error))?;
        }
        Ok(Still::Asked(ready))
    }

    fn was_ready(&self) -> Option<bool> {
        match self {
            Still::File(_) => None,
            Still::Asked(ready) => *ready,
        }
    }

    fn release(self, source: &Session) -> Result<(), Failure> {
        match self {
            Still::Asked(Some(true)) => source.wait(source.client().set_ready(true)).map_err(|error| {
                Failure::in_calico_words(format!(
                    "the source is still locked: {error}. To unlock it: calicoctl datastore migrate unlock"
                ))
            }),
            Still::File(_) | Still::Asked(_) => Ok(()),
        }
    }
}

/// The keys of a store that this program does not know, counted by their folders.
pub(super) fn count_unknown_keys(session: &Session) -> Result<String, StoreError> {
    let mut folders: BTreeMap<String, usize> = BTreeMap::new();
    for key in session.unknown_keys()? {
        let depth = if key.starts_with("/calico/resources/") { 6 } else { 4 };
        let folder = key.split('/').take(depth).collect::<Vec<_>>().join("/");
        *folders.entry(folder).or_default() += 1;
    }
    let parts: Vec<String> = folders.iter().map(|(folder, count)| format!("{count} {folder}")).collect();
    Ok(parts.join(", "))
}
