//! Calico's own agent, Felix: whether it runs here, and what it left.
//!
//! What a stopped Felix left drops every packet of a pod that it does not know. So its rules go, in the same
//! transaction in which ours come. Running connections go on: their translation is in the kernel's table of
//! connections, which nobody touches.

use std::collections::BTreeSet;
use std::fmt::{self, Write};
use std::path::Path;

use api::Family;

use crate::iptables::{ask, older_tables};
use crate::nft::{Nft, NftError, run};
use crate::process::{Process, processes};
use crate::rules::Rules;

/// The tables of Felix, as `nft` names them.
const TABLES: [&str; 4] = ["ip calico", "ip6 calico", "inet calico", "arp calico-arp"];

/// The programs that know its chains in the tables of iptables: those whose tables `nft` shows, and the older
/// ones.
const NEWER: [&str; 2] = ["iptables-nft", "ip6tables-nft"];
const OLDER: [(&str, Family); 2] = [("iptables-legacy", Family::V4), ("ip6tables-legacy", Family::V6)];

/// How the names of its chains begin there.
const CHAINS: &str = "cali-";

/// The ports at which Felix tells whether it is ready, and its numbers.
const PORTS: [u16; 2] = [9099, 9091];

/// A Felix that runs.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Running {
    /// Its processes, or those of other parts of Calico's agent.
    pub processes: Vec<Process>,
    /// Those of its ports at which somebody listens. Alone they prove nothing, but a container sees the
    /// host's ports and not its processes.
    pub ports: BTreeSet<u16>,
}

impl Running {
    /// Whether it is certain that Felix runs.
    pub fn is_certain(&self) -> bool {
        !self.processes.is_empty()
    }
}

impl fmt::Display for Running {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let listed = |all: &mut dyn Iterator<Item = String>| all.collect::<Vec<_>>().join(", ");
        let name = |process: &Process| format!("{} ({})", process.pid, process.name.escape_debug());
        let ports = listed(&mut self.ports.iter().map(u16::to_string));
        match (self.is_certain(), self.ports.is_empty()) {
            (true, _) => {
                write!(
                    f,
                    "Calico's agent runs here: process {}",
                    listed(&mut self.processes.iter().map(name))
                )?;
                f.write_str("; stop it before: `kubectl -n calico-system delete daemonset calico-node`, or `systemctl stop calico-felix`")
            }
            (false, false) => write!(
                f,
                "somebody listens at port {ports}, as Calico's agent does: `ss -ltnp` as root shows who it is"
            ),
            (false, true) => f.write_str("Calico's agent does not run here"),
        }
    }
}

/// Looks for a Felix that runs. `proc` is `/proc`, except in tests.
pub fn running(proc: &Path) -> Running {
    let listening = |file: &str| {
        let text = outside::read_text(&proc.join("thread-self/net").join(file), 64 << 20).unwrap_or_default();
        listening(&text)
    };
    let ports: BTreeSet<u16> = listening("tcp").into_iter().chain(listening("tcp6")).collect();
    Running {
        processes: processes(proc).into_iter().filter(is_felix).collect(),
        ports: PORTS.into_iter().filter(|port| ports.contains(port)).collect(),
    }
}

/// Calico's newest program has all parts in one, and is named like the network plugin.
fn is_felix(process: &Process) -> bool {
    let has_its_name = ["calico-node", "calico-felix"].contains(&process.name.as_str());
    has_its_name || process.program() == "calico" && process.words.iter().skip(1).any(|word| word == "felix")
}

/// The ports in one of the kernel's lists of TCP sockets at which somebody listens.
pub(crate) fn listening(list: &str) -> Vec<u16> {
    let port = |line: &str| {
        let words: Vec<&str> = line.split_whitespace().collect();
        let (_, port) = words.get(1)?.rsplit_once(':')?;
        (*words.get(3)? == "0A").then(|| u16::from_str_radix(port, 16).ok())?
    };
    list.lines().skip(1).filter_map(port).collect()
}

/// What a Felix left in the packet filter.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Leftovers {
    /// Its tables: family and name of each.
    pub tables: Vec<&'static str>,
    /// Its chains in the tables of iptables.
    pub chains: Vec<Chains>,
    /// Tables of iptables that are in use, and of which nobody says what is in them: why.
    pub unknown: Vec<String>,
}

/// Chains of Felix in the tables of `iptables`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Chains {
    /// The program that knows them.
    pub program: &'static str,
    /// How many there are.
    pub count: usize,
    /// What removes them, with the rules that lead to them.
    removal: String,
}

impl Leftovers {
    /// Whether nothing was found. More may be where something is unknown.
    pub fn is_empty(&self) -> bool {
        self.tables.is_empty() && self.chains.is_empty()
    }
}

impl fmt::Display for Leftovers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let chains = self
            .chains
            .iter()
            .map(|chains| format!("{} chains named cali-... that {} knows", chains.count, chains.program));
        let tables = self.tables.iter().map(|table| format!("the table {table}"));
        let all: Vec<String> = tables.chain(chains).collect();
        match all.is_empty() {
            true => f.write_str("nothing was found that Calico's agent left in the packet filter")?,
            false => write!(
                f,
                "Calico's agent left {}, which drop packets of pods that it did not know: `rackpoold node take-over` \
                 removes them",
                all.join(", ")
            )?,
        }
        self.unknown
            .iter()
            .try_for_each(|reason| write!(f, "; what else may be there is not known, since {reason}"))
    }
}

impl Nft {
    /// Looks for what a Felix left.
    ///
    /// # Errors
    /// See [`NftError`].
    pub fn leftovers(&self) -> Result<Leftovers, NftError> {
        let listed = self.list(&["list", "tables"], "list the tables")?.unwrap_or_default();
        let is_there = |table: &&str| listed.lines().any(|line| line.strip_prefix("table ") == Some(*table));
        let mut leftovers =
            Leftovers { tables: TABLES.into_iter().filter(is_there).collect(), ..Leftovers::default() };
        let chains = self.list(&["list", "chains"], "list the chains")?.unwrap_or_default();
        let has_chains = chains.contains(&format!("\tchain {CHAINS}"));
        let newer = NEWER.into_iter().filter(|_| has_chains);
        let older = OLDER.into_iter().filter(|(_, family)| !older_tables(*family).is_empty());
        for program in newer.chain(older.map(|(program, _)| program)) {
            match ask(&format!("{program}-save"), &[], "list all rules") {
                Ok(saved) => leftovers.chains.extend(chains_in(&saved, program)),
                Err(reason) => leftovers.unknown.push(reason),
            }
        }
        Ok(leftovers)
    }

    /// Removes what a Felix left, and puts our table into the kernel, in one transaction as far as tables of
    /// nftables go. Chains of `iptables` go after that, each kind in one transaction of its own. Gives what
    /// was removed. It may be called again.
    ///
    /// # Errors
    /// See [`NftError`].
    pub fn take_over(&mut self, rules: &Rules) -> Result<Leftovers, NftError> {
        let leftovers = self.leftovers()?;
        let mut removal = String::new();
        for table in &leftovers.tables {
            // Where somebody has removed the table since, it is no error.
            let _ = writeln!(removal, "table {table} {{\n}}\ndelete table {table}");
        }
        self.put(rules, removal + &rules.text())?;
        for chains in &leftovers.chains {
            let program = format!("{}-restore", chains.program);
            let doing = "remove the chains of Calico's agent";
            run(Path::new(&program), &["--noflush"], &chains.removal, doing)?;
        }
        Ok(leftovers)
    }
}

fn chains_in(saved: &str, program: &'static str) -> Option<Chains> {
    let (count, removal) = removal(saved);
    (count > 0).then_some(Chains { program, count, removal })
}

/// How many chains of Felix there are in a text of `iptables-save`, and the text for `iptables-restore` that
/// removes them, and the rules in other chains that lead to them or bear its mark. All else stays.
pub(crate) fn removal(saved: &str) -> (usize, String) {
    let (mut count, mut text) = (0, String::new());
    for table in saved.split("\n*").map(|table| table.trim_start_matches('*')) {
        let Some(name) = table.lines().find(|line| !line.starts_with('#')) else { continue };
        let is_ours = |chain: &&str| chain.starts_with(CHAINS);
        let declared = |line: &'_ str| line.strip_prefix(':')?.split(' ').next().map(str::to_string);
        let chains: Vec<String> =
            table.lines().filter_map(declared).filter(|chain| is_ours(&chain.as_str())).collect();
        let leads_there = |rule: &&str| {
            let in_chain = rule.split(' ').next().unwrap_or_default();
            let marks = [" -j cali-", " -g cali-", "--comment \"cali:", "--comment cali:"];
            !is_ours(&in_chain) && marks.iter().any(|mark| rule.contains(mark))
        };
        let rules: Vec<&str> =
            table.lines().filter_map(|line| line.strip_prefix("-A ")).filter(leads_there).collect();
        if chains.is_empty() && rules.is_empty() {
            continue;
        }
        count += chains.len();
        let rules = rules.iter().map(|rule| format!("-D {rule}\n"));
        let emptied = chains.iter().map(|chain| format!("-F {chain}\n"));
        let removed = chains.iter().map(|chain| format!("-X {chain}\n"));
        let lines: String = rules.chain(emptied).chain(removed).collect();
        let _ = write!(text, "*{name}\n{lines}COMMIT\n");
    }
    (count, text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ports_at_which_somebody_listens() {
        let list = "  sl  local_address rem_address   st tx_queue\n   0: 0100007F:238B 00000000:0000 0A 00000000\n   \
             1: 0100007F:2383 00000000:0000 01 00000000\n   2: 00000000000000000000000001000000:1F90 \
             00000000000000000000000000000000:0000 0A 0\nrubbish\n";
        assert_eq!(listening(list), [9099, 8080]);
    }

    #[test]
    fn only_what_felix_made_is_removed() {
        let saved = "# Generated\n*nat\n:PREROUTING ACCEPT [0:0]\n-A PREROUTING -j KUBE-SERVICES\nCOMMIT\n# \
             Completed\n# Generated\n*filter\n:INPUT ACCEPT [1:2]\n:cali-INPUT - [0:0]\n:cali-tw-cali1 - \
             [0:0]\n:site - [0:0]\n-A INPUT -m comment --comment \"cali:a-b\" -j cali-INPUT\n-A INPUT -i cali+ -j \
             ACCEPT\n-A INPUT -m comment --comment \"cali:xy\" -m mark --mark 0x10000/0x10000 -j ACCEPT\n-A site -m \
             comment --comment \"not cali: at all\" -j DROP\n-A cali-INPUT -g cali-tw-cali1\nCOMMIT\n";
        let wanted = "*filter\n-D INPUT -m comment --comment \"cali:a-b\" -j cali-INPUT\n-D INPUT -m comment \
             --comment \"cali:xy\" -m mark --mark 0x10000/0x10000 -j ACCEPT\n-F cali-INPUT\n-F cali-tw-cali1\n-X \
             cali-INPUT\n-X cali-tw-cali1\nCOMMIT\n";
        assert_eq!(removal(saved), (2, wanted.to_string()));
        assert_eq!(removal(""), (0, String::new()));
    }
}
