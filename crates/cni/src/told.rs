//! Reports records that cannot be read. All of them are logged. The error of a failed call names some of
//! them, too, since they may be the reason for its failure.

use store::Noted;

use crate::error::CniError;
use crate::log::{Level, Log};

/// How many records an error names at most.
const NAMED: usize = 3;
/// How many bytes of an error, message and details together, are for a pod's events.
const MOST: usize = 512;

/// Logs the records that could not be read. Gives the call's answer; an error gets these records as details.
///
/// # Errors
/// The call's own error.
pub fn tell<T>(noted: &Noted, log: &Log<'_>, answer: Result<T, CniError>) -> Result<T, CniError> {
    let faults: Vec<String> = noted.tell().iter().map(ToString::to_string).collect();
    for fault in &faults {
        log.say(Level::Error, fault);
    }
    answer.map_err(|error| {
        // Records that the error's message names already are left out.
        let others: Vec<&String> =
            faults.iter().filter(|fault| !error.msg.contains(fault.as_str())).collect();
        if others.is_empty() {
            return error;
        }
        let named: Vec<&str> = others.iter().take(NAMED).map(|fault| fault.as_str()).collect();
        let more = match others.len() - named.len() {
            0 => String::new(),
            more => format!(", and {more} more, which the log names"),
        };
        let text = format!("records that cannot be read: {}{more}", named.join(" | "));
        match error.details.is_empty() {
            true => error.with(text),
            false => beside(error, &text),
        }
    })
}

/// Adds a text to an error that has details already, as much of it as a pod's events have room for.
fn beside(error: CniError, text: &str) -> CniError {
    let room = MOST.saturating_sub(error.msg.len() + error.details.len() + 2 * "; ".len());
    let end = (0..=room.min(text.len())).rev().find(|at| text.is_char_boundary(*at)).unwrap_or(0);
    if end == 0 {
        return error;
    }
    let details = format!("{}; {}", error.details, &text[..end]);
    error.with(details)
}
