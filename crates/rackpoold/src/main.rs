//! The program `rackpoold`.

use std::io::Write;
use std::process::ExitCode;

use clap::Parser;
use rackpoold::cli::{Cli, Command};
use setup::Environment;

fn main() -> ExitCode {
    // The words of the panic are not printed: they may quote what was read.
    outside::panics::tell(outside::panics::To::Stderr, |place| {
        format!(
            "rackpoold has failed by a fault of its own at {place}. Routes and packet filter stay as they are\n"
        )
    });
    let environment = Environment::from_process();
    let ended = match Cli::parse().command {
        Command::Node(node) => rackpoold::node::run(&node, &environment, &mut std::io::stdout().lock()),
        Command::Controllers(controllers) => {
            rackpoold::controllers::run(&controllers, &environment).map(|()| ExitCode::SUCCESS)
        }
    };
    match ended {
        Ok(code) => code,
        Err(error) => {
            // Where standard error is closed, nobody is there to be told.
            let _ = writeln!(std::io::stderr(), "rackpoold: {error}");
            ExitCode::FAILURE
        }
    }
}
