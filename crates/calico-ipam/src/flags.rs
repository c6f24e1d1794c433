//! The program's flags, read as Go's `flag` package reads them.

/// What the command line asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Asked {
    /// Serve the CNI request of the environment.
    Cni,
    /// Print the version.
    Version,
    /// Migrate from host-local.
    Upgrade,
    /// Print the usage.
    Help,
    /// Something is wrong; the reason.
    Wrong(String),
}

/// How the program is used, as Go prints it.
pub const USAGE: &str =
    "Usage of calico-ipam:\n  -upgrade\n    \tUpgrade from host-local\n  -v\tDisplay version\n";

/// Reads the arguments, without the program's name. What follows the first one that is no flag is ignored, as in Go.
pub fn parse(args: &[String]) -> Asked {
    let (mut version, mut upgrade) = (false, false);
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
        let target = match name {
            "v" => &mut version,
            "upgrade" => &mut upgrade,
            "h" | "help" => return Asked::Help,
            _ => return Asked::Wrong(format!("flag provided but not defined: -{name}")),
        };
        *target = match value {
            "1" | "t" | "T" | "true" | "TRUE" | "True" => true,
            "0" | "f" | "F" | "false" | "FALSE" | "False" => false,
            _ => return Asked::Wrong(format!("invalid boolean value {value:?} for -{name}: parse error")),
        };
    }
    match (version, upgrade) {
        (true, _) => Asked::Version,
        (_, true) => Asked::Upgrade,
        _ => Asked::Cni,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn as_go_reads_them() {
        let wrong = |reason: &str| Asked::Wrong(reason.to_string());
        let rows: &[(&[&str], Asked)] = &[
            (&[], Asked::Cni),
            (&["-v"], Asked::Version),
            (&["--v"], Asked::Version),
            (&["-v=false"], Asked::Cni),
            (&["-upgrade", "-v"], Asked::Version),
            (&["--upgrade"], Asked::Upgrade),
            (&["x", "-v"], Asked::Cni),
            (&["--", "-v"], Asked::Cni),
            (&["-h"], Asked::Help),
            (&["-bogus=1"], wrong("flag provided but not defined: -bogus")),
            (&["---v"], wrong("bad flag syntax: ---v")),
            (&["-v=x"], wrong("invalid boolean value \"x\" for -v: parse error")),
        ];
        for (args, wanted) in rows {
            let args: Vec<_> = args.iter().map(|arg| arg.to_string()).collect();
            assert_eq!(parse(&args), *wanted, "{args:?}");
        }
    }
}
