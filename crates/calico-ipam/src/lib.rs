//! rackpool's `calico-ipam`: the CNI plugin that gives addresses to containers and takes them back, in
//! Calico's place.
//!
//! The program is [`run`]: everything that it reads and writes is in [`Io`], so a test sees what a runtime
//! sees. The library serves an [`Ask`] at a [`Site`]: [`add`] and [`del`]. (CHECK tests only the protocol's
//! version, and so needs no site.)

mod add;
mod ask;
mod assign;
mod del;
mod elsewhere;
mod identity;
mod namespace;
mod pools;
mod refusal;
mod request;
mod result;
mod unlabelled;
mod virtual_machine;

use std::io::{self, Read, Write};

use cni::log::Sink;
pub use cni::program::Io;
use cni::{Call, CniError, HostLock, Site, VERSIONS, answer, protocol};
use golang::flag::{Asked, Flags};
use setup::{Choice, Clock, Datastore, Environment, Settings};

pub use add::add;
pub use ask::Ask;
pub use del::del;
pub use identity::Identity;

/// With this variable, Calico has no allocator at all, and reports each of its records as not supported.
const USE_POD_CIDR: &str = "USE_POD_CIDR is set: addresses are handed out from the nodes' pod CIDRs by host-local, not by calico-ipam. Take the variable away, or set ipam.type to host-local";

const FLAGS: Flags = Flags {
    program: "calico-ipam",
    known: &[("upgrade", "Upgrade from host-local"), ("v", "Display version")],
};

/// The program's name and version.
const VERSION: &str = concat!("rackpool ", env!("CARGO_PKG_VERSION"));

/// Makes every later panic end with an error object for the runtime.
pub fn answer_panics() {
    cni::program::answer_panics("calico-ipam");
}

/// Runs the program. Gives its exit code. If its output cannot be written, it says nothing and gives 1, since
/// the runtime has no answer.
pub fn run(io: Io<'_>) -> u8 {
    let Io { args, environment, stdin, stdout, stderr } = io;
    let written = match FLAGS.parse(&args) {
        Asked::Flags(asked) if asked.contains(&"v") => writeln!(stdout, "{VERSION}").map(|()| 0),
        Asked::Flags(asked) if asked.contains(&"upgrade") => upgrade(&environment, &stderr).map(|()| 1),
        Asked::Flags(_) => return serve_cni(&environment, stdin, stdout, stderr).unwrap_or(1),
        Asked::Help => write!(&stderr, "{}", FLAGS.usage()).map(|()| 0),
        Asked::Wrong(reason) => write!(&stderr, "{reason}\n{}", FLAGS.usage()).map(|()| 2),
    };
    written.unwrap_or(1)
}

/// Answers the flag for the migration from host-local, which would move the addresses of a Kubernetes node's
/// pods.
fn upgrade(environment: &Environment, mut stderr: &Sink) -> io::Result<()> {
    let reason = match environment.get("KUBERNETES_NODE_NAME") {
        None => "KUBERNETES_NODE_NAME is not set",
        Some(_) => "it is not available yet; nothing was changed",
    };
    writeln!(stderr, "calico-ipam -upgrade: cannot migrate from host-local: {reason}")
}

fn serve_cni(
    environment: &Environment,
    stdin: &mut dyn Read,
    stdout: &mut dyn Write,
    stderr: Sink,
) -> io::Result<u8> {
    let answer = match Call::of(environment) {
        Ok(None) => {
            writeln!(&stderr, "Calico CNI IPAM {VERSION}")?;
            writeln!(&stderr, "CNI protocol versions supported: {}", VERSIONS.join(", "))?;
            return Ok(0);
        }
        Ok(Some(call)) => serve(call, environment, stdin, stderr),
        Err(error) => Err(error),
    };
    answer::give(answer, stdout)
}

/// Serves a call. Gives the text to print. Everything is checked in Calico's order before the store is opened
/// and the async runtime is started.
///
/// # Errors
/// The protocol's errors; code 999 for fields of a wrong type, for a missing node name or store, and for what
/// [`Ask::new`], [`add`] and [`del`] refuse.
fn serve(
    call: Call,
    environment: &Environment,
    stdin: &mut dyn Read,
    stderr: Sink,
) -> Result<String, CniError> {
    if call.command == "VERSION" {
        return Ok(answer::versions());
    }
    let document = call.document(stdin)?;
    let version = protocol::check_served(&call.command, &document)?;
    // Calico's CHECK tests only the version.
    if !matches!(call.command.as_str(), "ADD" | "DEL") {
        return Ok(String::new());
    }
    let refused = |error: setup::SetupError| CniError::internal(error);
    let conf = document.conf()?;
    let text = |field: &str| conf.text(&[field]);
    let node = setup::node_name(text("nodename"), text("nodename_file"), text("hostname"))
        .map_err(CniError::internal)?;
    let settings = Settings::from_environment(environment).map_err(refused)?.with_cni(conf.fields());
    let choice = Choice::make(&settings, environment).map_err(refused)?;
    if matches!(&choice.datastore, Datastore::Kubernetes(settings) if settings.use_pod_cidr) {
        return Err(CniError::internal(USE_POD_CIDR));
    }
    // Another plugin may hold the lock for as long as its own work may take; one that holds it longer hangs.
    // (Calico waits for ever.)
    let lock = HostLock::new(text("ipam_lock_file"), request::WITHIN);
    let ask = Ask::new(call, conf, version, node)?;
    let command = &ask.call.command;
    let site =
        Site::open(&choice, command, settings, environment, lock, Clock::start(), stderr).map_err(refused)?;
    // Kubernetes may be asked in addition to the store.
    let runtime =
        if ask.conf.names_kubernetes() { setup::full_runtime() } else { setup::runtime(&choice.datastore) };
    runtime.map_err(refused)?.block_on(async {
        match command.as_str() {
            "ADD" => add(&site, &ask).await.map(|result| answer::text(&result)),
            _ => del(&site, &ask).await.map(|()| String::new()),
        }
    })
}
