//! `calicoctl ipam release`: releases one address, whoever it was assigned to.

use ipam::{ReleaseIp, ReleaseIps};

use super::address;
use crate::Context;
use crate::cli::Config;
use crate::commands::later::not_yet;
use crate::commands::resource_set::Access;
use crate::commands::warn_ignored;
use crate::failure::Failure;
use crate::input::documents::go_text;
use crate::session::WITHIN;

/// Release an address that nobody uses any more.
///
/// A workload that has the address keeps using it, so make sure first that no workload does. `calicoctl ipam
/// show --ip` says to whom it was assigned.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The address
    #[arg(long, value_name = "IP")]
    ip: Option<String>,
    /// Release what a report of `ipam check` calls leaked (not available yet)
    #[arg(long, value_name = "FILE", action = clap::ArgAction::Append)]
    from_report: Vec<String>,
    /// Release from a report although the datastore is not locked
    #[arg(long)]
    force: bool,
    #[command(flatten)]
    config: Config,
    #[arg(hide = true)]
    words: Vec<String>,
}

pub(super) fn run(args: &Args, context: &mut Context<'_>) -> Result<(), Failure> {
    let session = Access::begin(args.config.config.as_deref(), context)?.quiet_session()?;
    if let Some(ip) = args.ip.as_deref().filter(|ip| !ip.is_empty()) {
        let addr = address(ip)?;
        let planner = ReleaseIps::new(vec![ReleaseIp { addr, handle: None, sequence: None }]).planner();
        let released = session
            .wait(ipam::run(&session.store, session.effects(), planner, WITHIN))
            .map_err(|error| Failure::in_calico_words(format!("error: {error}")))?;
        if let Some(error) = released.error {
            return Err(Failure::in_calico_words(format!("error: {error}")));
        }
        if !released.unallocated.is_empty() {
            return Err(Failure::in_calico_words(format!("IP address {addr} is not assigned")));
        }
        writeln!(context.stdout, "Successfully released IP address {addr}")?;
    } else if let Some(report) = args.from_report.first() {
        std::fs::File::open(report)
            .map_err(|error| Failure::in_calico_words(format!("open {report}: {}", go_text(&error))))?;
        return Err(not_yet("ipam release --from-report"));
    } else {
        writeln!(context.stderr, "nothing was released: name an address with --ip")?;
    }
    let _ = args.force;
    warn_ignored(context, &args.words)
}
