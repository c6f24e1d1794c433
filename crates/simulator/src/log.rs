//! What happened, in order.

use std::fmt;

use crate::cluster::Call;

/// The name of those who are no actor.
pub(crate) const NOBODY: usize = usize::MAX;

/// What became of a write.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    Done,
    Refused,
    Lost,
    Late,
}

#[derive(Clone, Debug)]
enum Line {
    Said(String),
    Call(Call, Outcome),
}

/// What happened, in order. It becomes text only when somebody reads it.
#[derive(Clone, Debug, Default)]
pub(crate) struct Log(Vec<(usize, Line)>);

impl Log {
    pub fn say(&mut self, who: usize, text: String) {
        self.0.push((who, Line::Said(text)));
    }

    pub fn call(&mut self, who: usize, call: Call, outcome: Outcome) {
        self.0.push((who, Line::Call(call, outcome)));
    }

    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// All lines.
    pub fn lines(&self) -> Vec<String> {
        let line = |(who, line): &(usize, Line)| match *who {
            NOBODY => format!("-: {line}"),
            who => format!("{who}: {line}"),
        };
        self.0.iter().map(line).collect()
    }
}

impl fmt::Display for Line {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Line::Said(text) => f.write_str(text),
            Line::Call(call, Outcome::Done) => call.fmt(f),
            Line::Call(call, Outcome::Refused) => write!(f, "REFUSED: {call}"),
            Line::Call(call, Outcome::Lost) => write!(f, "LOST: {call}"),
            Line::Call(call, Outcome::Late) => write!(f, "LATE: {call}"),
        }
    }
}
