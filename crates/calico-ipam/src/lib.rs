//! rackpool's `calico-ipam`: the CNI plugin that gives addresses to containers and takes them back, in Calico's place.
//!
//! Everything that it reads and writes is in [`Io`], so that a test sees what a runtime sees.

mod add;
mod del;
mod identity;
mod keep;
#[cfg(feature = "kubernetes")]
mod kubernetes;
#[cfg(not(feature = "kubernetes"))]
#[path = "without_kubernetes.rs"]
mod kubernetes;
mod lock;
mod machine;
mod pools;
mod request;
mod result;
mod unlabelled;

use std::io::{self, Read, Write};

use cni::flags::{Asked, Flags};
pub use cni::program::Io;
use cni::{Call, CniError, VERSIONS, answer, protocol, told};
use setup::{Clock, Environment};

use request::Request;

const FLAGS: Flags = Flags {
    program: "calico-ipam",
    known: &[("upgrade", "Upgrade from host-local"), ("v", "Display version")],
};

/// The program's name and version.
const VERSION: &str = concat!("rackpool ", env!("CARGO_PKG_VERSION"));

/// From now on a panic is answered with an error object.
pub fn answer_panics() {
    cni::program::answer_panics("calico-ipam");
}

/// Runs the program; gives its exit code. Where nobody reads what it writes, it ends quietly: with 1, as the runtime has no answer.
pub fn run(io: Io<'_>) -> u8 {
    let Io { args, environment, stdin, stdout, stderr } = io;
    let written = match FLAGS.parse(&args) {
        Asked::Flags(asked) if asked.contains(&"v") => writeln!(stdout, "{VERSION}").map(|()| 0),
        Asked::Flags(asked) if asked.contains(&"upgrade") => upgrade(&environment, stderr).map(|()| 1),
        Asked::Flags(_) => return serve_cni(&environment, stdin, stdout, stderr).unwrap_or(1),
        Asked::Help => write!(stderr, "{}", FLAGS.usage()).map(|()| 0),
        Asked::Wrong(reason) => write!(stderr, "{reason}\n{}", FLAGS.usage()).map(|()| 2),
    };
    written.unwrap_or(1)
}

/// The migration from host-local moves the addresses of a Kubernetes node's pods.
fn upgrade(environment: &Environment, stderr: &mut dyn Write) -> io::Result<()> {
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
    stderr: &mut dyn Write,
) -> io::Result<u8> {
    let answer = match Call::of(environment) {
        Ok(None) => {
            writeln!(stderr, "Calico CNI IPAM {VERSION}")?;
            writeln!(stderr, "CNI protocol versions supported: {}", VERSIONS.join(", "))?;
            return Ok(0);
        }
        Ok(Some(call)) => serve(&call, environment, stdin, stderr),
        Err(error) => Err(error),
    };
    answer::give(answer, stdout)
}

/// Serves a call; gives what to print.
fn serve(
    call: &Call,
    environment: &Environment,
    stdin: &mut dyn Read,
    stderr: &mut dyn Write,
) -> Result<String, CniError> {
    let command = call.command.as_str();
    if command == "VERSION" {
        return Ok(answer::versions());
    }
    let document = call.document(stdin)?;
    let version = protocol::check_served(command, &document)?;
    // Calico's CHECK looks at nothing but the version.
    if !matches!(command, "ADD" | "DEL") {
        return Ok(String::new());
    }
    let mut request = Request::accept(call, &document, environment, Clock::start(), stderr)?;
    let answer = match command {
        "ADD" => add::add(&mut request, call, &version),
        _ => del::del(&mut request, call).map(|()| String::new()),
    };
    told::tell(request.store.noted(), &mut request.log, answer)
}
