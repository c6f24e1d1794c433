//! `calicoctl datastore restore`: replaces the contents of an embedded store.

use std::path::Path;

use setup::{ConnectOptions, Purpose};
use store::AnyStore;
use store::sqlite::SqliteStore;

use crate::Context;
use crate::cli::{self, Config};
use crate::failure::Failure;
use crate::session::{Chosen, Session};

/// Put the contents of a backup in the place of what the embedded store holds.
///
/// This is one step, which succeeds or changes nothing. What the store held before is lost, so make a backup
/// of it first. Running programs see the change like any other. Addresses that were assigned after the backup
/// was made are unknown to the store afterwards.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Replace a store that holds something
    #[arg(long)]
    force: bool,
    #[command(flatten)]
    config: Config,
    /// The backup
    #[arg(value_name = "FILE")]
    words: Vec<String>,
}

pub(super) fn run(args: &Args, context: &mut Context<'_>) -> Result<(), Failure> {
    cli::exactly(1, &args.words).map_err(Failure::Message)?;
    let chosen = Chosen::load(args.config.config.as_deref(), context.globals, context.environment)?;
    let failed = |text: String| Failure::in_calico_words(text);
    let session = chosen
        .open(context, Purpose::Begin, ConnectOptions::default())
        .map_err(|error| failed(error.to_string()))?;
    let store = embedded_store(&session)?;
    let source = &args.words[0];
    if !args.force && holds_something(&session)? {
        return Err(failed(format!(
            "{} is not empty, and all that it holds would be replaced; nothing was changed. To go on, make a backup of it and use --force",
            store.path().display()
        )));
    }
    session
        .wait(store.restore(Path::new(source), session.within))
        .map_err(|error| failed(error.to_string()))?;
    super::settle(&session, context)?;
    Ok(writeln!(context.stdout, "Restored {} from {source}", store.path().display())?)
}

fn holds_something(session: &Session) -> Result<bool, Failure> {
    use store::{Depth, Page, ReadSet, Scope};
    let scopes = api::Kind::ALL
        .iter()
        .map(|kind| Scope::kind(*kind))
        .chain([Scope::Blocks { family: None }, Scope::Handles]);
    let page = Page { after: None, limit: 1 };
    let set = scopes.fold(ReadSet::new(), |set, scope| set.page(scope, Depth::Key, page.clone()));
    let view = session.read(&set).map_err(|error| Failure::in_calico_words(error.to_string()))?;
    Ok(!view.is_empty())
}

/// The embedded store of a session; an error if the session has another store.
pub(super) fn embedded_store(session: &Session) -> Result<&SqliteStore, Failure> {
    match session.store.inner() {
        AnyStore::Sqlite(store) => Ok(store),
        _ => Err(Failure::in_calico_words(format!(
            "only the embedded store can be backed up and restored here, and {} was chosen: use its own tools",
            session.datastore.type_name()
        ))),
    }
}
