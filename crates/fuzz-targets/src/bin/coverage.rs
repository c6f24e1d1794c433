//! The targets for libFuzzer, guided by coverage; `cargo xtask fuzz --seconds N` builds and runs this
//! program.
//! The variable `FUZZ_TARGET` names the target.
#![allow(unexpected_cfgs, reason = "only builds for libFuzzer are told --cfg fuzzing")]
#![cfg_attr(fuzzing, no_main)]
#![allow(clippy::print_stderr, reason = "a program for the terminal")]

#[cfg(fuzzing)]
libfuzzer_sys::fuzz_target!(
    init: {
        std::sync::LazyLock::force(&TARGET);
    },
    |input: &[u8]| (TARGET.run)(input)
);

#[cfg(fuzzing)]
#[allow(clippy::disallowed_methods, reason = "libFuzzer has the arguments")]
static TARGET: std::sync::LazyLock<&fuzz_targets::Target> = std::sync::LazyLock::new(|| {
    let name = std::env::var("FUZZ_TARGET").unwrap_or_default();
    let found = fuzz_targets::all().find(|target| target.name == name);
    found.unwrap_or_else(|| panic!("FUZZ_TARGET={name:?} is no target: fuzz-targets --list names them"))
});

#[cfg(not(fuzzing))]
fn main() -> std::process::ExitCode {
    eprintln!("error: this was built without coverage. Run: cargo xtask fuzz --seconds 30");
    std::process::ExitCode::FAILURE
}
