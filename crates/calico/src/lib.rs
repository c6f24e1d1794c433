//! rackpool's `calico`: the CNI plugin that attaches containers to the network, in Calico's place. Their addresses come from an IPAM plugin that it calls.
//!
//! Everything that it reads and writes, but for the kernel's interfaces and routes, is in [`Io`], so that a test sees what a runtime sees.

mod add;
mod annotations;
mod asked;
mod check;
mod del;
mod delegate;
mod endpoint;
mod floating;
mod foreign;
mod gates;
mod holdings;
mod host_local;
mod mesos;
mod names;
mod profile;
mod request;
mod result;
mod secrets;
mod wait;
mod wire;

use std::io::{self, Read, Write};

use cni::flags::{Asked, Flags};
pub use cni::program::Io;
use cni::{Call, CniError, VERSIONS, answer, protocol, told};
use setup::{Clock, Environment};

use request::Request;

const FLAGS: Flags =
    Flags { program: "Calico", known: &[("t", "Test datastore connection"), ("v", "Display version")] };

/// The program's name and version.
const VERSION: &str = concat!("rackpool ", env!("CARGO_PKG_VERSION"));

/// From now on a panic is answered with an error object.
pub fn answer_panics() {
    cni::program::answer_panics("calico");
}

/// Runs the program; gives its exit code. Where nobody reads what it writes, it ends quietly: with 1, as the runtime has no answer.
pub fn run(io: Io<'_>) -> u8 {
    let Io { args, environment, stdin, stdout, stderr } = io;
    let written = match FLAGS.parse(&args) {
        Asked::Flags(asked) if asked.contains(&"v") => writeln!(stdout, "{VERSION}").map(|()| 0),
        Asked::Flags(asked) if asked.contains(&"t") => test_connection(&environment, stdin, stdout, stderr),
        Asked::Flags(_) => serve_cni(environment, stdin, stdout, stderr),
        Asked::Help => write!(stderr, "{}", FLAGS.usage()).map(|()| 0),
        Asked::Wrong(reason) => write!(stderr, "{reason}\n{}", FLAGS.usage()).map(|()| 2),
    };
    written.unwrap_or(1)
}

fn serve_cni(
    environment: Environment,
    stdin: &mut dyn Read,
    stdout: &mut dyn Write,
    stderr: &mut dyn Write,
) -> io::Result<u8> {
    let environment = ignoring_unknown_arguments(environment);
    let answer = match Call::of(&environment) {
        Ok(None) => {
            writeln!(stderr, "Calico CNI plugin {VERSION}")?;
            writeln!(stderr, "CNI protocol versions supported: {}", VERSIONS.join(", "))?;
            return Ok(0);
        }
        Ok(Some(call)) => serve(&call, &environment, stdin, stderr),
        Err(error) => Err(error),
    };
    answer::give(answer, stdout)
}

/// Arguments that this plugin does not know may be for the IPAM plugin: none of them is refused.
fn ignoring_unknown_arguments(environment: Environment) -> Environment {
    let args = match environment.get("CNI_ARGS") {
        None | Some("") => "IgnoreUnknown=1".to_string(),
        Some(args) => format!("IgnoreUnknown=1;{args}"),
    };
    environment.with("CNI_ARGS", &args)
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
    protocol::check_served(command, &document)?;
    let mut request = Request::accept(call, &document, environment, Clock::start(), stderr)?;
    let answer = match command {
        "ADD" => add::add(&mut request),
        "DEL" => del::del(&mut request).map(|()| String::new()),
        _ => check::check(&mut request).map(|()| String::new()),
    };
    told::tell(request.store.noted(), &mut request.log, answer)
}

/// `-t`: whether the datastore that the configuration on standard input names can be used.
fn test_connection(
    environment: &Environment,
    stdin: &mut dyn Read,
    stdout: &mut dyn Write,
    stderr: &mut dyn Write,
) -> io::Result<u8> {
    let call = Call::for_test();
    let tested = call.document(stdin).and_then(|document| {
        let request = Request::accept(&call, &document, environment, Clock::start(), stderr)?;
        request.refuse_while_locked()
    });
    let Err(error) = tested else { return Ok(0) };
    let error = CniError::new(CniError::TEST, "data store connection failed").with(error.msg);
    stdout.write_all(answer::text(&error.to_json()).as_bytes())?;
    Ok(1)
}
