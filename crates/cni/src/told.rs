//! What is told of records that cannot be read: all of it in the log; and in the error of a call that failed,
//! as it may have failed for them.

use store::Noted;

use crate::error::CniError;
use crate::log::{Level, Log};

/// Records that an error names; the log names all.
const NAMED: usize = 3;

/// Tells what was noted; gives the answer of the call, with the records beside its error.
///
/// # Errors
/// That of the call.
pub fn tell<T>(noted: &Noted, log: &Log<'_>, answer: Result<T, CniError>) -> Result<T, CniError> {
    let faults: Vec<String> = noted.tell().iter().map(ToString::to_string).collect();
    for fault in &faults {
        log.say(Level::Error, fault);
    }
    answer.map_err(|error| {
        // Those that the message names itself are named.
        let others: Vec<&String> =
            faults.iter().filter(|fault| !error.msg.contains(fault.as_str())).collect();
        if others.is_empty() || !error.details.is_empty() {
            return error;
        }
        let named: Vec<&str> = others.iter().take(NAMED).map(|fault| fault.as_str()).collect();
        let more = match others.len() - named.len() {
            0 => String::new(),
            more => format!(", and {more} more, which the log names"),
        };
        error.with(format!("records that cannot be read: {}{more}", named.join(" | ")))
    })
}
