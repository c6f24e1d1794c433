//! The process that runs a target. Its memory, and the time of one input, are bounded; what it does is known
//! even if it is gone: before each input it writes the input's number to a file.

use std::any::Any;
use std::collections::BTreeSet;
use std::fs::File;
use std::io::{self, Write};
use std::os::unix::fs::FileExt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Mutex;
use std::time::Duration;

use fuzz_targets::Target;
use fuzz_targets::draw::Draw;
use rustix::process::{Resource, Rlimit, setrlimit};
use rustix::time::{ClockId, clock_gettime};

/// How much memory the process may have, in bytes of its address space: far more than any input needs.
const MEMORY: u64 = 1 << 30;
/// The stack: as much as a thread of the daemon has.
const STACK: usize = 2 << 20;
/// How much of a processor's time an input may take. Only a time that grows faster than the input reaches it,
/// also in a build without optimisation beside other work, where a processor takes several times as long.
pub(crate) const TIME: Duration = Duration::from_secs(4);
/// After so many failures at different places of the source the process ends.
const FAILURES: usize = 8;

/// A failed input.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Failed {
    /// Where the panic was, or what else happened.
    pub kind: String,
    /// The panic's words.
    pub words: String,
}

/// The last panic.
static PANIC: Mutex<Option<Failed>> = Mutex::new(None);

fn words(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().map(ToString::to_string);
    text.or_else(|| panic.downcast_ref::<String>().cloned()).unwrap_or_default()
}

/// Bounds this process, and keeps its panics.
pub(crate) fn prepare() -> io::Result<()> {
    let limit = |bytes| Rlimit { current: Some(bytes), maximum: Some(bytes) };
    setrlimit(Resource::As, limit(MEMORY))?;
    setrlimit(Resource::Core, limit(0))?;
    std::panic::set_hook(Box::new(|panic| {
        let place = panic.location().map_or_else(String::new, ToString::to_string);
        let words = words(panic.payload());
        let failed = Failed { kind: format!("panic at {place}"), words };
        *PANIC.lock().unwrap_or_else(std::sync::PoisonError::into_inner) = Some(failed);
    }));
    Ok(())
}

/// Runs a function on a thread whose stack is as small as a thread's of the daemon.
pub(crate) fn on_a_small_stack<T: Send>(work: impl FnOnce() -> T + Send) -> io::Result<T> {
    std::thread::scope(|scope| {
        let thread = std::thread::Builder::new().stack_size(STACK).spawn_scoped(scope, work)?;
        thread.join().map_err(|_| io::Error::other("the thread panicked outside of a target"))
    })
}

/// Runs one input.
pub(crate) fn run(target: &Target, input: &[u8]) -> Result<(), Failed> {
    let before = clock_gettime(ClockId::ThreadCPUTime);
    let outcome = catch_unwind(AssertUnwindSafe(|| (target.run)(input)));
    let after = clock_gettime(ClockId::ThreadCPUTime);
    if outcome.is_err() {
        let panic = PANIC.lock().unwrap_or_else(std::sync::PoisonError::into_inner).take();
        return Err(panic.unwrap_or(Failed { kind: "panic".to_string(), words: String::new() }));
    }
    let took = Duration::try_from(after)
        .unwrap_or_default()
        .saturating_sub(Duration::try_from(before).unwrap_or_default());
    if took > TIME {
        return Err(Failed { kind: "slow".to_string(), words: format!("{:.1} s", took.as_secs_f64()) });
    }
    Ok(())
}

/// Runs the inputs of these numbers. Writes a line for each failure to `out`: the number, the kind and the
/// words, with tabs between them.
pub(crate) fn run_all(
    target: &Target,
    draw: &Draw,
    numbers: std::ops::Range<u64>,
    progress: &File,
    out: &mut impl Write,
) -> io::Result<()> {
    let mut known = BTreeSet::new();
    for number in numbers {
        progress.write_all_at(&number.to_le_bytes(), 0)?;
        let Err(failed) = run(target, &draw.input(number)) else { continue };
        if known.insert(failed.kind.clone()) {
            let words = failed.words.escape_debug().to_string();
            writeln!(out, "{number}\t{}\t{words}", failed.kind)?;
        }
        if known.len() == FAILURES {
            break;
        }
    }
    out.flush()
}
