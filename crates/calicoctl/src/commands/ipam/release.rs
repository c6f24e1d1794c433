//! `calicoctl ipam release`: releases one address, whoever it was assigned to.

use ipam::{ReleaseIp, ReleaseIps};

use super::{address, release_leaked};
use crate::Context;
use crate::cli::Config;
use crate::commands::resource_set::Access;
use crate::commands::warn_ignored;
use crate::failure::Failure;

/// Release an address that nobody uses any more.
///
/// A workload that has the address keeps using it, so make sure first that no workload does. `calicoctl ipam
/// show --ip` says to whom it was assigned.
///
/// With --from-report it releases what a report of `calicoctl ipam check -o FILE` calls leaked: lock the
/// datastore, make the report, release, unlock. Of several reports, made at different times, only what all of
/// them call leaked is released. An address that was assigned anew since a report was made is kept.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The address
    #[arg(long, value_name = "IP")]
    ip: Option<String>,
    /// Release what this report of `ipam check` calls leaked; may be given several times
    #[arg(long, value_name = "FILE", action = clap::ArgAction::Append)]
    from_report: Vec<String>,
    /// Release from a report although the datastore is not locked, another version made the report, or a node
    /// has no WorkloadEndpoint that could tell which addresses are in use
    #[arg(long)]
    force: bool,
    #[command(flatten)]
    config: Config,
    #[arg(hide = true)]
    words: Vec<String>,
}

pub(super) fn run(args: &Args, context: &mut Context<'_>) -> Result<(), Failure> {
    if args.ip.as_deref().is_some_and(|ip| !ip.is_empty()) && !args.from_report.is_empty() {
        return Err(Failure::Message(
            "--ip and --from-report do not go together: nothing was released".to_string(),
        ));
    }
    let session = Access::begin(args.config.config.as_deref(), context)?.quiet_session()?;
    if let Some(ip) = args.ip.as_deref().filter(|ip| !ip.is_empty()) {
        let addr = address(ip)?;
        let planner = ReleaseIps::new(vec![ReleaseIp { addr, handle: None, sequence: None }]).planner();
        let released = session
            .wait(ipam::run(&session.store, session.effects(), planner, session.within))
            .map_err(|error| Failure::in_calico_words(format!("error: {error}")))?;
        if let Some(error) = released.error {
            return Err(Failure::in_calico_words(format!("error: {error}")));
        }
        if !released.unallocated.is_empty() {
            return Err(Failure::in_calico_words(format!("IP address {addr} is not assigned")));
        }
        writeln!(context.stdout, "Successfully released IP address {addr}")?;
    } else if !args.from_report.is_empty() {
        release_leaked::run(&args.from_report, args.force, &session, context)?;
    } else {
        writeln!(
            context.stderr,
            "nothing was released: name an address with --ip, or a report with --from-report"
        )?;
    }
    warn_ignored(context, &args.words)
}
