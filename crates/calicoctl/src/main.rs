//! The binary.

use std::io::{self, BufWriter};
use std::process::ExitCode;

use setup::Environment;

fn main() -> ExitCode {
    // The words of the panic are not printed: they may quote what was read.
    outside::panics::tell(outside::panics::To::Stderr, |place| {
        format!(
            "calicoctl has failed by a fault of its own at {place}. What it has written until then stands\n"
        )
    });
    let args: Vec<String> =
        std::env::args_os().skip(1).map(|arg| arg.to_string_lossy().into_owned()).collect();
    let environment = Environment::from_process();
    let (mut stdin, mut stderr) = (io::stdin().lock(), io::stderr().lock());
    let mut stdout = BufWriter::new(io::stdout().lock());
    ExitCode::from(calicoctl::run(&args, &environment, &mut stdin, &mut stdout, &mut stderr))
}
