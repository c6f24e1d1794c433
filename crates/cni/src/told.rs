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
    answer.map_err(|error| within_bounds(beside_records(error, &faults), log))
}

/// The error with the records that could not be read as details.
fn beside_records(error: CniError, faults: &[String]) -> CniError {
    // Records that the error's message names already are left out.
    let others: Vec<&String> = faults.iter().filter(|fault| !error.msg.contains(fault.as_str())).collect();
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
}

/// The error cut to what a pod's events have room for. The whole of it is in the log.
fn within_bounds(error: CniError, log: &Log<'_>) -> CniError {
    let between = if error.details.is_empty() { 0 } else { "; ".len() };
    if error.msg.len() + between + error.details.len() <= MOST {
        return error;
    }
    log.say(Level::Error, format!("{} ({})", error.msg, error.details));
    // Details have half of the room, and more where the message leaves it.
    let for_details = MOST.saturating_sub(error.msg.len() + between).max(MOST / 2);
    let details = short(&error.details, for_details);
    let msg = short(&error.msg, MOST - between - details.len());
    CniError { msg, ..error }.with(details)
}

/// The text, cut to that many bytes in its middle: what is wrong stands at the beginning, and what helps
/// often at the end.
fn short(text: &str, most: usize) -> String {
    const DOTS: &str = " ... ";
    if text.len() <= most {
        return text.to_string();
    }
    let room = most.saturating_sub(DOTS.len());
    let head = (0..=room / 2).rev().find(|at| text.is_char_boundary(*at)).unwrap_or(0);
    let tail =
        (text.len() - room / 2..=text.len()).find(|at| text.is_char_boundary(*at)).unwrap_or(text.len());
    format!("{}{DOTS}{}", &text[..head], &text[tail..])
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
