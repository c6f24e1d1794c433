//! `calicoctl ipam split`: finds the pool, and insists on a locked datastore.

use resources::Identifier;

use crate::Context;
use crate::cli::{self, Config};
use crate::commands::resource_set::Access;
use crate::failure::Failure;
use crate::session::Session;

/// Split a pool into smaller ones of equal size.
///
/// The pools split-NAME-0, split-NAME-1, ... take its place, with its labels and settings. Addresses and
/// blocks stay as they are. The datastore must be locked (`calicoctl datastore migrate lock`), so that
/// nothing else changes meanwhile. A split that fails leaves the pool as it is, and can be tried again.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The network of the pool, as the pool spells it
    #[arg(long, value_name = "CIDR")]
    cidr: Option<String>,
    /// The name of the pool
    #[arg(long, value_name = "NAME")]
    name: Option<String>,
    #[command(flatten)]
    config: Config,
    /// The number of parts: 2, 4, 8, ...
    #[arg(value_name = "NUMBER")]
    words: Vec<String>,
}

pub(super) fn run(args: &Args, context: &mut Context<'_>) -> Result<(), Failure> {
    cli::exactly(1, &args.words).map_err(Failure::Message)?;
    let access = Access::begin(args.config.config.as_deref(), context)?;
    let given = |text: &Option<String>| text.clone().filter(|text| !text.is_empty());
    let (name, cidr) = (given(&args.name), given(&args.cidr));
    if name.is_none() && cidr.is_none() {
        let text = "no name or CIDR provided. Provide a name or CIDR to denote the IP pool to split";
        return Err(Failure::in_calico_words(text));
    }
    let number = &args.words[0];
    let parts = cli::parse_int(number).map_err(|error| {
        let error = error.replacen("ParseInt", "Atoi", 1);
        let text =
            format!("error reading number to split IP pools into. {number} is not a valid number: {error}");
        Failure::in_calico_words(text)
    })?;
    let session = access.quiet_session()?;
    let failed = |error: resources::Error| Failure::in_calico_words(error.to_string());
    must_be_locked(&session)?;
    let id = find(&session, name.as_deref(), cidr.as_deref().unwrap_or_default())?;
    let split = session.wait(session.client().split_pool(&id, parts)).map_err(failed)?;
    let pools = split.map_err(|error| Failure::in_calico_words(error.to_string()))?;
    write!(context.stdout, "IP Pool {} was successfully split into {} smaller pools.", id.name, pools.len())?;
    for pool in &pools {
        let cidr = pool.text(&["spec", "cidr"]).unwrap_or_default();
        writeln!(context.stdout, "Created {} with CIDR {cidr}.", pool.name())?;
    }
    Ok(write!(context.stdout, "Please refer to the documentation for final steps.")?)
}

fn must_be_locked(session: &Session) -> Result<(), Failure> {
    let missing = "resource does not exist: ClusterInformation(default) with error: <nil>".to_string();
    let ready = session.wait(session.client().is_ready()).map_err(|error| error.to_string());
    match ready.and_then(|ready| ready.ok_or(missing)) {
        Ok(false) => Ok(()),
        Ok(true) => Err(Failure::in_calico_words(
            "datastore is not locked. Run the `calicoctl datastore migrate lock` command in order split the IP pools",
        )),
        Err(error) => Err(Failure::in_calico_words(format!("error retrieving ClusterInformation: {error}"))),
    }
}

/// Finds a pool by its name if one is given, else by its network, in exactly that spelling.
fn find(session: &Session, name: Option<&str>, cidr: &str) -> Result<Identifier, Failure> {
    let client = session.client();
    if let Some(name) = name {
        let id = Identifier::new(api::Kind::IPPool, None, name);
        return match session.wait(client.get(&id)) {
            Ok(_) => Ok(id),
            Err(error) => {
                Err(Failure::in_calico_words(format!("unable to find IP pool with name {name}: {error}")))
            }
        };
    }
    let pools = session.wait(client.list(api::Kind::IPPool, None));
    let pools = pools.map_err(|error| Failure::in_calico_words(error.to_string()))?.items;
    let pool = pools.iter().find(|pool| pool.text(&["spec", "cidr"]) == Some(cidr));
    // Calico puts the pool's name here, but no name was given: hence the two blanks.
    let none =
        || Failure::in_calico_words(format!("unable to find IP pool  covering the specified CIDR {cidr}"));
    pool.map(Identifier::of).ok_or_else(none)
}
