//! The first step of `calicoctl datastore init` on Kubernetes: it creates the definitions of the custom
//! resources, before any of these resources is read.

use std::time::Duration;

use setup::{ConnectOptions, Purpose};
use store::kubernetes::Defined;
use store::{AnyStore, StoreError};

use crate::Context;
use crate::cli::Config;
use crate::custom_resources::CustomResource;
use crate::failure::Failure;
use crate::session::Chosen;

/// How long the server may take until it serves the new definitions.
const SERVED_WITHIN: Duration = Duration::from_secs(30);

/// Creates the definitions that are missing, and prints a line for each definition. Does nothing on other
/// stores.
pub(super) fn run(config: &Config, context: &mut Context<'_>) -> Result<(), Failure> {
    let chosen = Chosen::load(config.config.as_deref(), context.globals, context.environment)?;
    let Ok(session) = chosen.open(context, Purpose::Begin, ConnectOptions::default()) else {
        // `datastore init` opens the store again after this step, and then reports what is wrong.
        return Ok(());
    };
    let AnyStore::Kubernetes(store) = session.store.inner() else { return Ok(()) };
    let failed = |error: StoreError| Failure::in_calico_words(session.store.explained(error).to_string());
    let group = session.wait(store.group(session.within)).map_err(failed)?;
    let manifests = CustomResource::all(group).map_err(Failure::in_calico_words)?;
    let definitions: Vec<_> = manifests.iter().map(CustomResource::definition).collect();
    let defined = session.wait(store.define(&definitions, SERVED_WITHIN)).map_err(failed)?;
    for (definition, defined) in definitions.iter().zip(defined) {
        let what = match defined {
            Defined::Created => "Created",
            Defined::There => "Exists:",
        };
        writeln!(context.stdout, "{what} CustomResourceDefinition {}", definition.name)?;
    }
    Ok(())
}
