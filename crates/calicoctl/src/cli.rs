//! The command line for clap: the root, and the flags that every command has.

use std::time::Duration;

use clap::error::{ContextKind, ContextValue, ErrorKind};
use clap::{Args, Command, CommandFactory, Parser};

use crate::commands::Verb;
use crate::pflag;

/// Manages the addresses of a Calico cluster, in Calico's own data: pools, blocks, reservations, nodes and
/// workloads.
///
/// As with Calico's own calicoctl, the environment (DATASTORE_TYPE, ETCD_ENDPOINTS, KUBECONFIG, ...) or a
/// configuration file (-c, or /etc/calico/calicoctl.cfg if it exists) says where the data is. RACKPOOL_DB
/// names the file of an embedded store on this machine.
///
/// Where nothing names a store, it is the embedded store in /var/lib/rackpool/rackpool.db for root, and for
/// other users if that file exists; for them otherwise in $XDG_STATE_HOME/rackpool/rackpool.db or
/// ~/.local/state/rackpool/rackpool.db. If that file does not exist, but ~/.kube/config does, it is that
/// Kubernetes cluster. If both exist, only commands that change nothing go on. `calicoctl version` says which
/// embedded store is used; `calicoctl datastore init` begins one.
///
/// Exit code: 0 for success, 1 for every error, partial success included.
#[derive(Debug, Parser)]
#[command(name = "calicoctl", disable_version_flag = true, after_help = after_help(), max_term_width = 100)]
pub struct Cli {
    /// Flags that every command has.
    #[command(flatten)]
    pub globals: Globals,
    /// The command.
    #[command(subcommand)]
    pub command: Verb,
}

/// The end of the help. A build without all stores says which ones it lacks.
fn after_help() -> String {
    let built = [("etcd", cfg!(feature = "etcd")), ("Kubernetes", cfg!(feature = "kubernetes"))];
    let lacking: Vec<_> =
        built.into_iter().filter(|(_, is_built)| !is_built).map(|(store, _)| store).collect();
    if lacking.is_empty() {
        return AFTER_HELP.to_string();
    }
    format!("{AFTER_HELP}\nThis build cannot reach {}: it was built without", lacking.join(" and "))
}

const AFTER_HELP: &str = concat!(
    "\
First steps:
  calicoctl datastore init                      a store with a default pool
  calicoctl get ippools -o wide                 the pools and what they say
  calicoctl ipam show --show-blocks             how full they are
  calicoctl ipam show --ip 192.168.0.1          whose an address is
  calicoctl ipam explain --node node-1          which address comes next, or why none
  calicoctl explain selectors                   which nodes a pool is for

rackpool ",
    env!("CARGO_PKG_VERSION"),
    "; `calicoctl version` prints the version of Calico whose behaviour it has"
);

const EVERY: &str = "Options of every command";

/// Flags that every command has, before it or after.
#[derive(Debug, Default, Args)]
pub struct Globals {
    /// How much to tell: panic, fatal, error, warn, info or debug
    #[arg(
        short = 'l',
        long,
        global = true,
        value_name = "LEVEL",
        default_value = "panic",
        hide_default_value = true,
        help_heading = EVERY
    )]
    pub log_level: String,
    /// The context of the kubeconfig; counts where no configuration file is read
    #[arg(long, global = true, value_name = "NAME", help_heading = EVERY)]
    pub context: Option<String>,
    /// Go on although client and cluster are of different versions
    #[arg(long, global = true, help_heading = EVERY)]
    pub allow_version_mismatch: bool,
    /// End when the store has brought nothing for so long: 500ms, 30s, 2m; 10s where not given
    #[arg(
        long,
        global = true,
        value_name = "DURATION",
        default_value = "10s",
        hide_default_value = true,
        value_parser = parse_timeout,
        help_heading = EVERY
    )]
    pub timeout: Duration,
}

fn parse_timeout(text: &str) -> Result<Duration, String> {
    let nanos = golang::duration::parse(text).map_err(|error| error.to_string())?;
    match u64::try_from(nanos) {
        Ok(nanos @ 1..) => Ok(Duration::from_nanos(nanos)),
        _ => Err("it must be more than 0s".to_string()),
    }
}

impl Globals {
    /// Checks the log level.
    ///
    /// # Errors
    /// When no log level has that name.
    pub fn check(&self) -> Result<(), String> {
        let known = ["panic", "fatal", "error", "warn", "warning", "info", "debug"];
        match known.contains(&self.log_level.to_lowercase().as_str()) {
            true => Ok(()),
            false => Err(format!(
                "unknown log level: {}, expected one of: panic, fatal, error, warn, info, debug",
                self.log_level
            )),
        }
    }
}

/// The flag that every command has which uses a store.
#[derive(Debug, Default, Args)]
pub struct Config {
    /// File that says how to reach the store; /etc/calico/calicoctl.cfg where it exists
    #[arg(short = 'c', long, value_name = "FILE")]
    pub config: Option<String>,
}

/// Where resources come from.
#[derive(Debug, Default, Args)]
pub struct Source {
    /// YAML or JSON: a file, a directory, or - for standard input
    #[arg(short = 'f', long, value_name = "FILE")]
    pub filename: Option<String>,
    /// Look into directories below the directory too
    #[arg(short = 'R', long)]
    pub recursive: bool,
    /// Succeed where the input holds no resource
    #[arg(long)]
    pub skip_empty: bool,
    /// The namespace, for kinds that have one
    #[arg(short = 'n', long, value_name = "NAME")]
    pub namespace: Option<String>,
    /// How to reach the store.
    #[command(flatten)]
    pub config: Config,
}

/// The definition of the command line.
pub fn command() -> Command {
    Cli::command()
}

/// The text of an error that clap finds in a command line. Where pflag has words for the error, these are
/// used.
pub fn fault_text(command: &Command, error: &clap::Error) -> String {
    let context = |kind| match error.get(kind) {
        Some(ContextValue::String(text)) => Some(text.as_str()),
        _ => None,
    };
    let value = context(ContextKind::InvalidValue).unwrap_or_default();
    let reason = std::error::Error::source(error).map(ToString::to_string);
    match (error.kind(), context(ContextKind::InvalidArg), reason) {
        (ErrorKind::ValueValidation, Some(arg), Some(reason)) => {
            let long = arg.split([' ', '=']).next().unwrap_or_default().trim_start_matches('-');
            let flag = flag_named(command, long).map_or_else(|| format!("--{long}"), pflag::flag_text);
            pflag::UsageError::Value { value: value.to_string(), flag, reason }.to_string()
        }
        _ => {
            let text = error.render().to_string();
            let first = text.lines().next().unwrap_or_default();
            let first = first.strip_prefix("error: ").unwrap_or(first);
            // What is missing, and what may stand there, follows on indented lines.
            let more = text.lines().skip(1).take_while(|line| line.starts_with("  "));
            std::iter::once(first).chain(more).collect::<Vec<_>>().join("\n")
        }
    }
}

fn flag_named<'c>(command: &'c Command, long: &str) -> Option<&'c clap::Arg> {
    let here = command.get_arguments().find(|arg| arg.get_long() == Some(long));
    here.or_else(|| command.get_subcommands().find_map(|below| flag_named(below, long)))
}

/// Parses the value of a flag as Go's `strconv.ParseInt` does.
///
/// # Errors
/// The errors are in Go's words.
pub fn parse_int(text: &str) -> Result<i64, String> {
    let plain = text.strip_prefix('+').unwrap_or(text);
    let digits = plain.strip_prefix('-').unwrap_or(plain);
    if digits.is_empty() || !digits.bytes().all(|b| b.is_ascii_digit()) {
        return Err(format!("strconv.ParseInt: parsing {}: invalid syntax", golang::strconv::quote(text)));
    }
    plain.parse().map_err(|_| {
        format!("strconv.ParseInt: parsing {}: value out of range", golang::strconv::quote(text))
    })
}

/// Checks the number of arguments, as cobra's `ExactArgs` does.
///
/// # Errors
/// When there are fewer or more than `wanted`.
pub fn exactly(wanted: usize, args: &[String]) -> Result<(), String> {
    match args.len() == wanted {
        true => Ok(()),
        false => Err(format!("accepts {wanted} arg(s), received {}", args.len())),
    }
}

/// Checks the number of arguments, as cobra's `MinimumNArgs` does.
///
/// # Errors
/// When there are fewer than `wanted`.
pub fn at_least(wanted: usize, args: &[String]) -> Result<(), String> {
    match args.len() >= wanted {
        true => Ok(()),
        false => Err(format!("requires at least {wanted} arg(s), only received {}", args.len())),
    }
}

#[cfg(test)]
mod tests {
    #[test]
    fn the_definition_is_sound() {
        super::command().debug_assert();
    }
}
