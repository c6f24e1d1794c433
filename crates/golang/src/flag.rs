//! Go's `flag`: command lines whose flags are all booleans.

use crate::strconv::{parse_bool, quote};

/// The flags of a program. All of them are booleans.
#[derive(Clone, Copy, Debug)]
pub struct Flags {
    /// The program's name.
    pub program: &'static str,
    /// The name of each flag and what it does, in alphabetical order.
    pub known: &'static [(&'static str, &'static str)],
}

/// What a command line asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Asked {
    /// To run with these flags set, in the order of [`Flags::known`]; none where the arguments name none.
    Flags(Vec<&'static str>),
    /// To print the usage.
    Help,
    /// The command line is wrong, for this reason.
    Wrong(String),
}

impl Flags {
    /// How the program is used, as Go prints it.
    pub fn usage(&self) -> String {
        let line = |(name, what): &(&str, &str)| match name.len() {
            1 => format!("  -{name}\t{what}\n"),
            _ => format!("  -{name}\n    \t{what}\n"),
        };
        let lines: String = self.known.iter().map(line).collect();
        format!("Usage of {}:\n{lines}", self.program)
    }

    /// Reads the arguments, without the program's name. What follows the first one that is no flag is
    /// ignored, as in Go.
    pub fn parse(&self, args: &[String]) -> Asked {
        let mut set = vec![false; self.known.len()];
        for arg in args {
            let Some(flag) = arg.strip_prefix('-').filter(|flag| !flag.is_empty()) else { break };
            if flag == "-" {
                break;
            }
            let flag = flag.strip_prefix('-').unwrap_or(flag);
            if flag.starts_with(['-', '=']) {
                return Asked::Wrong(format!("bad flag syntax: {arg}"));
            }
            let (name, value) = flag.split_once('=').unwrap_or((flag, "true"));
            let Some(at) = self.known.iter().position(|(known, _)| *known == name) else {
                return match name {
                    "h" | "help" => Asked::Help,
                    _ => Asked::Wrong(format!("flag provided but not defined: -{name}")),
                };
            };
            let Some(value) = parse_bool(value) else {
                return Asked::Wrong(format!(
                    "invalid boolean value {} for -{name}: parse error",
                    quote(value)
                ));
            };
            set[at] = value;
        }
        let asked = self.known.iter().zip(set).filter(|(_, set)| *set).map(|((name, _), _)| *name);
        Asked::Flags(asked.collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FLAGS: Flags =
        Flags { program: "p", known: &[("upgrade", "Upgrade from host-local"), ("v", "Display version")] };

    #[test]
    fn as_go_reads_them() {
        let wrong = |reason: &str| Asked::Wrong(reason.to_string());
        let flags = |names: &[&'static str]| Asked::Flags(names.to_vec());
        let rows: &[(&[&str], Asked)] = &[
            (&[], flags(&[])),
            (&["-v"], flags(&["v"])),
            (&["--v"], flags(&["v"])),
            (&["-v=false"], flags(&[])),
            (&["-v", "-upgrade"], flags(&["upgrade", "v"])),
            (&["x", "-v"], flags(&[])),
            (&["--", "-v"], flags(&[])),
            (&["-h"], Asked::Help),
            (&["-bogus=1"], wrong("flag provided but not defined: -bogus")),
            (&["---v"], wrong("bad flag syntax: ---v")),
            (&["-v=x"], wrong("invalid boolean value \"x\" for -v: parse error")),
        ];
        for (args, wanted) in rows {
            let args: Vec<_> = args.iter().map(|arg| arg.to_string()).collect();
            assert_eq!(FLAGS.parse(&args), *wanted, "{args:?}");
        }
    }

    #[test]
    fn the_usage() {
        let wanted = "Usage of p:\n  -upgrade\n    \tUpgrade from host-local\n  -v\tDisplay version\n";
        assert_eq!(FLAGS.usage(), wanted);
    }
}
