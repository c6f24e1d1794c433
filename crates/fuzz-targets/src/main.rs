//! Feeds the targets: `fuzz-targets [TARGET...] --inputs N --seed S`.
//!
//! The corpus of each target comes first, then so many inputs that are drawn from it. Each target runs in a
//! process of its own, as many at a time as there are processors. An input fails by a panic, by an end of the
//! process (the stack, or more memory than a gigabyte of address space), or by more than four seconds of a
//! processor's time. It is then made small, and written to a file.
#![allow(clippy::print_stdout, clippy::print_stderr, reason = "a program for the terminal")]

mod child;
mod parent;
mod small;

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::atomic::{AtomicUsize, Ordering};

use child::Failed;
use clap::Parser;
use fuzz_targets::draw::Draw;
use fuzz_targets::{Target, all, corpus};
use parent::Run;

/// Feeds parsers with their corpora, and with inputs that are drawn from them.
#[derive(Parser)]
struct Arguments {
    /// The targets; all, if none is named
    targets: Vec<String>,
    /// How many inputs are drawn for each target
    #[arg(long, value_name = "N", default_value_t = 100_000)]
    inputs: u64,
    /// With which seed they are drawn
    #[arg(long, value_name = "S", default_value_t = 1)]
    seed: u64,
    /// Run this input alone, for one target
    #[arg(long, value_name = "FILE")]
    input: Option<PathBuf>,
    /// Write inputs that fail to this folder, in a folder for each target
    #[arg(long, value_name = "FOLDER", default_value = "target/fuzz")]
    failures: PathBuf,
    /// Name the targets, and what each reads
    #[arg(long)]
    list: bool,
    /// The numbers of the inputs end here; for the processes that this program starts
    #[arg(long, hide = true, requires = "progress", default_value_t = 0)]
    until: u64,
    /// The file that holds the number of the input
    #[arg(long, hide = true)]
    progress: Option<PathBuf>,
}

fn main() -> ExitCode {
    match run(&Arguments::parse()) {
        Ok(code) => code,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run(arguments: &Arguments) -> io::Result<ExitCode> {
    let targets = named(&arguments.targets)?;
    if arguments.list {
        targets.iter().for_each(|target| println!("{:18} {}", target.name, target.what));
        return Ok(ExitCode::SUCCESS);
    }
    match (&targets[..], &arguments.input, &arguments.progress) {
        ([target], Some(file), _) => single(target, file),
        ([target], None, Some(progress)) => {
            child::prepare()?;
            let draw = draw(target, arguments.seed)?;
            let progress = File::options().write(true).open(progress)?;
            child::on_a_small_stack(|| {
                child::run_all(target, &draw, 0..arguments.until, &progress, &mut io::stdout())
            })??;
            Ok(ExitCode::SUCCESS)
        }
        (_, None, None) => feed(&targets, arguments),
        _ => Err(io::Error::other("an input is one target's: name one")),
    }
}

fn named(names: &[String]) -> io::Result<Vec<&'static Target>> {
    if names.is_empty() {
        return Ok(all().collect());
    }
    let find = |name: &String| {
        let found = all().find(|target| target.name == name);
        found.ok_or_else(|| io::Error::other(format!("there is no target {name}: --list names them")))
    };
    names.iter().map(find).collect()
}

fn draw(target: &Target, seed: u64) -> io::Result<Draw> {
    let inputs = corpus::of(target.name)?.into_iter().map(|(_, input)| input).collect();
    Ok(Draw::new(target.name, inputs, seed))
}

/// Runs one input in this process. Prints how it fails.
fn single(target: &Target, file: &Path) -> io::Result<ExitCode> {
    let input = fs::read(file)?;
    child::prepare()?;
    match child::on_a_small_stack(|| child::run(target, &input))? {
        Ok(()) => Ok(ExitCode::SUCCESS),
        Err(Failed { kind, words }) => {
            println!("{kind}\t{words}");
            Ok(ExitCode::from(parent::FAILED))
        }
    }
}

/// Feeds the targets, as many at a time as there are processors.
fn feed(targets: &[&Target], arguments: &Arguments) -> io::Result<ExitCode> {
    let folder = arguments.failures.join(format!("run-{}", std::process::id()));
    fs::create_dir_all(&folder)?;
    let (next, failures) = (AtomicUsize::new(0), AtomicUsize::new(0));
    let work = || -> io::Result<()> {
        while let Some(target) = targets.get(next.fetch_add(1, Ordering::Relaxed)) {
            let run = Run { target, inputs: arguments.inputs, seed: arguments.seed, folder: &folder };
            let failed = run.all()?;
            failures.fetch_add(failed.len(), Ordering::Relaxed);
            if failed.is_empty() {
                println!("ok: {}", target.name);
            }
            for (number, failed) in failed {
                tell(target, number, &failed, arguments, &folder)?;
            }
        }
        Ok(())
    };
    let count = std::thread::available_parallelism()?.get().min(targets.len());
    let outcomes: Vec<io::Result<()>> = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..count).map(|_| scope.spawn(work)).collect();
        let joined = threads.into_iter().map(|thread| thread.join());
        joined.map(|outcome| outcome.unwrap_or_else(|_| Err(io::Error::other("a thread panicked")))).collect()
    });
    fs::remove_dir_all(&folder)?;
    outcomes.into_iter().collect::<io::Result<()>>()?;
    Ok(match failures.into_inner() {
        0 => ExitCode::SUCCESS,
        _ => ExitCode::FAILURE,
    })
}

/// Makes an input small that failed, writes it to a file, and tells of it.
fn tell(
    target: &Target,
    number: u64,
    failed: &Failed,
    arguments: &Arguments,
    folder: &Path,
) -> io::Result<()> {
    let input = draw(target, arguments.seed)?.input(number);
    let fails = |input: &[u8]| {
        parent::one(target, input, folder).is_ok_and(|now| now.is_some_and(|now| now.kind == failed.kind))
    };
    let input = small::small(input, fails);
    let place = arguments.failures.join(target.name);
    fs::create_dir_all(&place)?;
    let file = place.join(format!("seed-{}-input-{number}", arguments.seed));
    fs::write(&file, &input)?;
    let Failed { kind, words } = failed;
    let (seed, name, file) = (arguments.seed, target.name, file.display());
    println!("FAILED: {name}, seed {seed}, input {number}: {kind}: {words}");
    println!("  made small: {} bytes in {file}. Run it: cargo xtask fuzz {name} --input {file}", input.len());
    Ok(())
}
