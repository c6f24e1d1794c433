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

    /// The lines from one on, but for beginnings of what then did nothing.
    pub fn lines(&self, from: usize) -> Vec<String> {
        let is_beginning =
            |it: &(usize, Line)| matches!(it, (NOBODY, Line::Said(text)) if text.starts_with("BEGIN "));
        let all = self.0.get(from..).unwrap_or_default();
        let is_idle = |at: usize| is_beginning(&all[at]) && all.get(at + 1).is_some_and(is_beginning);
        let line = |at: usize| match all[at] {
            (NOBODY, ref line) => format!("-: {line}"),
            (who, ref line) => format!("{who}: {line}"),
        };
        (0..all.len()).filter(|at| !is_idle(*at)).map(line).collect()
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
