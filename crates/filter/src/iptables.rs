//! The programs of iptables: those that keep their rules in tables of nftables, and the older ones, whose
//! tables nft does not show.

use std::path::Path;

use api::Family;

use crate::nft::{NftError, run};

/// The older tables that are in use. The older programs must not be asked where there is none: they would
/// bring theirs into use.
pub(crate) fn older_tables(family: Family) -> Vec<String> {
    let file = match family {
        Family::V4 => "/proc/thread-self/net/ip_tables_names",
        Family::V6 => "/proc/thread-self/net/ip6_tables_names",
    };
    // Where the file is not there, the kernel has no such tables.
    let names = outside::read_text(Path::new(file), 1 << 16).unwrap_or_default();
    names.lines().map(str::to_string).collect()
}

/// What one of the programs says, or why it says nothing.
pub(crate) fn ask(program: &str, arguments: &[&str], doing: &str) -> Result<String, String> {
    run(Path::new(program), arguments, "", doing).map_err(|error| match error {
        NftError::Missing(_) => format!("the program {program} is not there"),
        error => error.to_string(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_program_that_is_not_there() {
        let reason = ask("iptables-of-nobody", &[], "x").unwrap_err();
        assert_eq!(reason, "the program iptables-of-nobody is not there");
    }
}
