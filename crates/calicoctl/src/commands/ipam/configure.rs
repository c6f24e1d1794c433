//! `calicoctl ipam configure`: reads Go's spellings of the values, and changes the allocator's configuration.

use api::Persistence;
use resources::Error;
use resources::config::ConfigChange;

use crate::Context;
use crate::cli::{self, Config};
use crate::commands::resource_set::Access;
use crate::failure::Failure;

/// Set how addresses are assigned, for the whole cluster.
///
/// The resource IPAMConfiguration named default holds the same settings. If it exists, it is changed as well.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// true: a node takes addresses only from its own blocks; false: it may also borrow from other nodes'
    /// blocks
    #[arg(long, value_name = "BOOL")]
    strictaffinity: Option<String>,
    /// How many blocks a node may have: 0 for the default of 20, below 0 for no limit; a greater number needs
    /// strict affinity
    #[arg(long, value_name = "NUMBER")]
    max_blocks_per_host: Option<String>,
    /// Whether a virtual machine keeps its address: Enabled or Disabled
    #[arg(long, value_name = "WORD")]
    kubevirt_ip_persistence: Option<String>,
    /// For how many seconds a released address is not assigned again
    #[arg(long, value_name = "SECONDS", value_parser = cli::parse_int)]
    ip_cooldown_seconds: Option<i64>,
    #[command(flatten)]
    config: Config,
    #[arg(hide = true)]
    words: Vec<String>,
}

pub(super) fn run(args: &Args, context: &mut Context<'_>) -> Result<(), Failure> {
    let access = Access::begin(args.config.config.as_deref(), context)?;
    let ignored = args.ip_cooldown_seconds.filter(|seconds| *seconds < 0).map(|seconds| {
        format!("--ip-cooldown-seconds={seconds} has no effect: a number of seconds is 0 or more")
    });
    let change = change(args)
        .map_err(|text| Failure::in_calico_words(text).and(&ignored.clone().unwrap_or_default()))?;
    if let Some(ignored) = &ignored {
        writeln!(context.stderr, "warning: {ignored}")?;
    }
    let session = access.quiet_session()?;
    session.wait(session.client().configure(&change)).map_err(|error| {
        Failure::in_calico_words(match error {
            Error::Config(refused) => format!("error: {refused}"),
            other => format!("error: {other}"),
        })
    })?;
    let mut tell = |what: &str, value: Option<String>| match value {
        Some(value) => writeln!(context.stdout, "Successfully set {what} to: {value}"),
        None => Ok(()),
    };
    tell("StrictAffinity", change.strict_affinity.map(|value| value.to_string()))?;
    tell("MaxBlocksPerHost", change.max_blocks_per_host.map(|value| value.to_string()))?;
    tell("KubeVirtVMAddressPersistence", change.persistence.map(|value| format!("{value:?}")))?;
    tell("IPCooldownSeconds", change.cooldown_seconds.map(|value| value.to_string()))?;
    crate::commands::warn_ignored(context, &args.words)
}

fn change(args: &Args) -> Result<ConfigChange, String> {
    let given = |text: &Option<String>| text.clone().filter(|text| !text.is_empty());
    let strict_affinity = given(&args.strictaffinity)
        .map(|text| {
            let invalid = || "invalid value. Use true or false to set strictaffinity".to_string();
            golang::strconv::parse_bool(&text).ok_or_else(invalid)
        })
        .transpose()?;
    let max_blocks_per_host = given(&args.max_blocks_per_host)
        .map(|text| {
            cli::parse_int(&text)
                .map_err(|_| "invalid value for maxblockhost. Use a valid number".to_string())
        })
        .transpose()?;
    let persistence = match given(&args.kubevirt_ip_persistence).as_deref() {
        None => None,
        Some("Enabled") => Some(Persistence::Enabled),
        Some("Disabled") => Some(Persistence::Disabled),
        Some(_) => {
            return Err("invalid value for --kubevirt-ip-persistence. Use Enabled or Disabled".to_string());
        }
    };
    // A negative number changes nothing, as in Calico.
    let cooldown_seconds = args.ip_cooldown_seconds.filter(|seconds| *seconds >= 0);
    let change = ConfigChange { strict_affinity, max_blocks_per_host, persistence, cooldown_seconds };
    match change == ConfigChange::default() {
        true => Err("at least one configuration option must be specified".to_string()),
        false => Ok(change),
    }
}
