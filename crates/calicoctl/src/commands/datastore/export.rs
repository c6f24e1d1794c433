//! `calicoctl datastore migrate export`: refuses what an export would lose, and writes the rest.

use resources::export::{self, Export};
use setup::Datastore;

use crate::Context;
use crate::cli::Config;
use crate::commands::resource_set::Access;
use crate::failure::Failure;
use crate::output::yaml;
use crate::session::Session;
use golang::json;

/// Write out everything that a locked datastore holds, for Calico's import into Kubernetes.
///
/// WorkloadEndpoints and IPAMConfigurations are left out, as Calico leaves them out: in Kubernetes,
/// WorkloadEndpoints come from pods, and IPAMConfigurations from the allocator's configuration.
#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(flatten)]
    config: Config,
    #[arg(hide = true)]
    words: Vec<String>,
}

pub(super) fn run(args: &Args, context: &mut Context<'_>) -> Result<(), Failure> {
    let session = Access::to_read(args.config.config.as_deref(), context)?.quiet_session()?;
    let failed = |text: String| Failure::in_calico_words(text);
    let ready = session
        .wait(session.client().is_ready())
        .map_err(|error| failed(format!("error while checking if datastore was locked: {error}")))?;
    match ready {
        Some(false) => {}
        Some(true) => {
            return Err(failed(
                "datastore is not locked. Run the `calicoctl datastore migrate lock` command in order to begin migration"
                    .to_string(),
            ));
        }
        None => {
            return Err(failed(
                "error while checking if datastore was locked: resource does not exist: ClusterInformation(default) with error: <nil>"
                    .to_string(),
            ));
        }
    }
    if let Datastore::Kubernetes(_) = session.datastore {
        return Err(failed(
            "invalid datastore type: kubernetes to export from for datastore migration. Datastore type must be etcdv3"
                .to_string(),
        ));
    }
    refuse_unknown(&session)?;
    let view = session.read(&export::reads()).map_err(|error| failed(error.to_string()))?;
    let export = Export::of(&view);
    for list in &export.lists {
        writeln!(context.stdout, "{}---", yaml::to_text(list))?;
    }
    let rest = export.rest.map_err(|error| failed(error.to_string()))?;
    writeln!(context.stdout, "===\n{}", json::to_indented_text(&rest.cluster, 2))?;
    writeln!(context.stdout, "===\n{}", json::to_indented_text(&rest.ipam, 2))?;
    if rest.virtual_affinities > 0 {
        writeln!(
            context.stderr,
            "left out: {} affinities of load balancers, which Calico's import does not take",
            rest.virtual_affinities
        )?;
    }
    crate::commands::warn_ignored(context, &args.words)
}

/// Refuses an export from a store that holds resources which belong into the export but which this program
/// does not know: they must not look as if they did not exist.
fn refuse_unknown(session: &Session) -> Result<(), Failure> {
    let keys = session.unknown_keys().map_err(|error| Failure::in_calico_words(error.to_string()))?;
    let mut found: Vec<String> = export::unknown_kinds()
        .filter_map(|kind| {
            let segment = format!("/projectcalico.org/{kind}/");
            let count = keys.iter().filter(|key| key.contains(&segment)).count();
            (count > 0).then(|| format!("{count} {kind}"))
        })
        .collect();
    match found.pop() {
        None => Ok(()),
        Some(last) => {
            found.push(last);
            Err(Failure::in_calico_words(format!(
                "the datastore holds {}, which this program does not know and an export without them would lose: export with Calico's own calicoctl",
                found.join(", ")
            )))
        }
    }
}
