//! rackpool's `calico`: the CNI plugin that attaches containers to the network, in Calico's place. Their
//! addresses come from an IPAM plugin that it calls.
//!
//! The program is [`run`]: everything that it reads and writes is in [`Io`], except for the kernel's
//! interfaces and routes, so a test sees what a runtime sees. The library serves an [`Ask`] at a [`Site`]:
//! [`add`], [`del`] and [`check`].

mod add;
mod agent;
mod annotations;
mod ask;
mod asked;
mod check;
mod del;
mod delegate;
#[cfg(feature = "testing")]
#[doc(hidden)]
pub mod door;
mod endpoint;
mod floating;
mod foreign;
mod former;
mod gates;
mod holdings;
mod host_local;
mod kernel;
mod mesos;
mod names;
mod node;
mod profile;
mod request;
mod result;
mod secrets;
mod wait;
mod wire;

use std::io::{self, Read, Write};

use cni::log::Sink;
pub use cni::program::Io;
use cni::{Call, CniError, HostLock, Site, VERSIONS, answer, protocol};
use golang::flag::{Asked, Flags};
use setup::{Choice, Clock, Environment, Settings};

pub use add::add;
pub use ask::Ask;
pub use check::check;
pub use del::del;

use request::Request;

const FLAGS: Flags =
    Flags { program: "Calico", known: &[("t", "Test datastore connection"), ("v", "Display version")] };

/// The program's name and version.
const VERSION: &str = concat!("rackpool ", env!("CARGO_PKG_VERSION"));

/// Makes every later panic end with an error object for the runtime.
pub fn answer_panics() {
    cni::program::answer_panics("calico");
}

/// Runs the program. Gives its exit code. If its output cannot be written, it says nothing and gives 1, since
/// the runtime has no answer.
pub fn run(io: Io<'_>) -> u8 {
    let Io { args, environment, stdin, stdout, stderr } = io;
    let written = match FLAGS.parse(&args) {
        Asked::Flags(asked) if asked.contains(&"v") => writeln!(stdout, "{VERSION}").map(|()| 0),
        Asked::Flags(asked) if asked.contains(&"t") => test_connection(&environment, stdin, stdout, stderr),
        Asked::Flags(_) => serve_cni(environment, stdin, stdout, stderr),
        Asked::Help => write!(&stderr, "{}", FLAGS.usage()).map(|()| 0),
        Asked::Wrong(reason) => write!(&stderr, "{reason}\n{}", FLAGS.usage()).map(|()| 2),
    };
    written.unwrap_or(1)
}

fn serve_cni(
    environment: Environment,
    stdin: &mut dyn Read,
    stdout: &mut dyn Write,
    stderr: Sink,
) -> io::Result<u8> {
    let environment = ignoring_unknown_arguments(environment);
    let answer = match Call::of(&environment) {
        Ok(None) => {
            writeln!(&stderr, "Calico CNI plugin {VERSION}")?;
            writeln!(&stderr, "CNI protocol versions supported: {}", VERSIONS.join(", "))?;
            return Ok(0);
        }
        Ok(Some(call)) => serve(call, &environment, stdin, stderr),
        Err(error) => Err(error),
    };
    answer::give(answer, stdout)
}

/// Arguments that this plugin does not know may be meant for the IPAM plugin, so none of them is refused.
fn ignoring_unknown_arguments(environment: Environment) -> Environment {
    let args = match environment.get("CNI_ARGS") {
        None | Some("") => "IgnoreUnknown=1".to_string(),
        Some(args) => format!("IgnoreUnknown=1;{args}"),
    };
    environment.with("CNI_ARGS", &args)
}

/// Serves a call. Gives the text to print.
fn serve(
    call: Call,
    environment: &Environment,
    stdin: &mut dyn Read,
    stderr: Sink,
) -> Result<String, CniError> {
    if call.command == "VERSION" {
        return Ok(answer::versions());
    }
    work(call, environment, stdin, stderr)
}

/// `-t`: tests whether the datastore that the configuration on standard input names can be used.
fn test_connection(
    environment: &Environment,
    stdin: &mut dyn Read,
    stdout: &mut dyn Write,
    stderr: Sink,
) -> io::Result<u8> {
    let Err(error) = work(Call::for_test(), environment, stdin, stderr) else { return Ok(0) };
    let error = CniError::new(CniError::TEST, "data store connection failed").with(error.msg);
    stdout.write_all(answer::text(&error.to_json()).as_bytes())?;
    Ok(1)
}

/// Carries out a call. Gives the text to print. Everything is checked in Calico's order before the store is
/// opened and the async runtime is started.
///
/// # Errors
/// The protocol's errors; code 999 for fields of a wrong type, for a version that is too new, for a missing
/// node name or store, and for what [`Ask::new`], [`add`], [`del`] and [`check`] refuse.
fn work(
    call: Call,
    environment: &Environment,
    stdin: &mut dyn Read,
    stderr: Sink,
) -> Result<String, CniError> {
    let refused = |error: setup::SetupError| CniError::internal(error);
    let is_test = call == Call::for_test();
    let document = call.document(stdin)?;
    if !is_test {
        protocol::check_served(&call.command, &document)?;
    }
    let conf = document.conf()?;
    // The datastore is tested before containers may come, when the node may have no name yet.
    let node = if is_test { node::name_at_any_time(&conf) } else { node::name(&conf) }?;
    let ask = Ask::new(call, &document, conf, environment, &node)?;
    let settings = Settings::from_environment(environment).map_err(refused)?.with_cni(ask.conf.fields());
    let choice = Choice::make(&settings, environment).map_err(refused)?;
    // The IPAM plugin takes the host's lock; this plugin never does.
    let lock = HostLock::new(None, request::WITHIN);
    let command = &ask.call.command;
    let site = Site::open(&choice, command, settings, environment, lock, Clock::start(), stderr)
        .map_err(|error| CniError::internal(format!("error creating calico client: {error}")))?;
    setup::full_runtime().map_err(refused)?.block_on(async {
        match command.as_str() {
            _ if is_test => Request::new(&site, &ask)?.refuse_while_locked().await.map(|()| String::new()),
            "ADD" => add(&site, &ask).await.map(|result| answer::text(&result)),
            "DEL" => del(&site, &ask).await.map(|()| String::new()),
            _ => check(&site, &ask).await.map(|()| String::new()),
        }
    })
}
