//! Packets of pods on hosts whose own rules drop what is passed on.
//!
//! A packet that one chain accepts goes on to the next chain of its hook, and is gone as soon as any of them
//! drops it. So no rule in a table of ours helps where another table drops what no rule of its own accepts:
//! the rule must stand in that table. For the tables of `iptables`, which Docker and others use, this is
//! usual: rules of ours stand at the end of its chain FORWARD, after all others, and name their owner. In
//! tables that an administrator has made, nothing is changed; [`Finding`] tells what to add there.

use std::fmt::Write;

use api::{Cidr, Family};

use crate::iptables::{ask, older_tables};
use crate::nft::{Nft, NftError, Rule};
use crate::rules::Rules;
use crate::text::{PODS, header};

/// The comment of our rules in the chains of others.
const COMMENT: &str = "rackpool: pods";

/// Something that drops packets of pods, and that this program leaves alone.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Finding {
    /// A chain of an administrator drops what no rule accepts.
    #[error(
        "the chain {0} drops what no rule accepts, packets of pods too, and no other table can change that: \
         `nft add rule {0} iifname \"cali*\" accept; nft add rule {0} oifname \"cali*\" accept`"
    )]
    Chain(String),
    /// The older tables of iptables drop what no rule accepts.
    #[error(
        "{0} -S FORWARD says that packets are dropped which no rule accepts, those of pods too, and no other table \
         can change that: `{0} -A FORWARD -i cali+ -j ACCEPT; {0} -A FORWARD -o cali+ -j ACCEPT`"
    )]
    Older(&'static str),
    /// Nobody says whether the older tables of iptables do so.
    #[error(
        "the older tables of iptables are in use, and it is not known whether they drop packets of pods: {reason}; \
         `{program} -S FORWARD` as root shows it"
    )]
    Unknown {
        /// The program that knows them.
        program: &'static str,
        /// Why it does not say it.
        reason: String,
    },
}

impl Nft {
    /// Sees to it that packets of pods are passed on where the chains of `iptables` drop what no rule
    /// accepts, and tells of chains that do so and must be changed by their owner.
    ///
    /// # Errors
    /// See [`NftError`].
    pub fn pass_on(&mut self, rules: &Rules) -> Result<Vec<Finding>, NftError> {
        let chains = self.list(&["list", "chains"], "list the chains")?.unwrap_or_default();
        let dropping = dropping(&chains);
        let mut findings = Vec::new();
        for family in Family::BOTH {
            let is_dropping = dropping.iter().any(|chain| *chain == name(family));
            let wanted = wanted(rules, family);
            self.keep_forward(family, &wanted, is_dropping)?;
            findings.extend(older(family));
        }
        let of_others = |chain: &String| Family::BOTH.iter().all(|family| *chain != name(*family));
        findings.extend(dropping.into_iter().filter(of_others).map(Finding::Chain));
        Ok(findings)
    }

    /// Removes everything of ours: the table, and the rules in the chains of others.
    ///
    /// # Errors
    /// See [`NftError`].
    pub fn remove(&mut self) -> Result<(), NftError> {
        self.remove_table()?;
        Family::BOTH.into_iter().try_for_each(|family| self.keep_forward(family, &of_pods(), false))
    }

    /// Puts our rules in the place of those that are there, or takes them away where they are not needed. As
    /// with the table, what is there is compared with how it was listed after it was put there.
    fn keep_forward(&mut self, family: Family, rules: &[String], is_needed: bool) -> Result<(), NftError> {
        let chain = name(family);
        let wanted = if is_needed { rules } else { &[] };
        let there = self.forward(family, rules)?;
        let is_right = match self.beside.get(&family) {
            Some((last, listed)) => last == wanted && *listed == there,
            None => wanted.is_empty() && there.is_empty(),
        };
        if is_right {
            return Ok(());
        }
        let mut text = String::new();
        for Rule { handle, .. } in there {
            let _ = writeln!(text, "delete rule {chain} handle {handle}");
        }
        for rule in wanted {
            let _ = writeln!(text, "add rule {chain} {rule} comment \"{COMMENT}\"");
        }
        self.beside.remove(&family);
        if !text.is_empty() {
            self.batch(&format!("change our rules in {chain}"), text)?;
        }
        if is_needed {
            let listed = self.forward(family, rules)?;
            self.beside.insert(family, (wanted.to_vec(), listed));
        }
        Ok(())
    }

    /// Our rules in the chain of `iptables`.
    fn forward(&self, family: Family, rules: &[String]) -> Result<Vec<Rule>, NftError> {
        let arguments = ["-s", "-a", "list", "chain", header(family), "filter", "FORWARD"];
        let listing = self.list(&arguments, &format!("list the chain {}", name(family)))?;
        Ok(ours(&listing.unwrap_or_default(), rules))
    }
}

fn name(family: Family) -> String {
    format!("{} filter FORWARD", header(family))
}

/// The rules of every node. `iptables` can show them, too: it refuses to work where it meets others.
fn of_pods() -> Vec<String> {
    vec![format!("iifname \"{PODS}\" accept"), format!("oifname \"{PODS}\" accept")]
}

fn wanted(rules: &Rules, family: Family) -> Vec<String> {
    let mut wanted = of_pods();
    if rules.is_relay {
        let inside = |pool: &&routes::PoolNetwork| pool.is_inside && pool.cidr.family() == family;
        let to = |network: Cidr| format!("{} daddr {network} accept", header(family));
        wanted.extend(rules.pools.iter().filter(inside).map(|pool| to(pool.cidr)));
    }
    wanted
}

/// Our rules in a listing with handles: those with our comment, and those of `rules` with a comment that
/// `nft` cannot show. A rule that `iptables` has read and written again has its comment in a form of its own:
/// `nft` shows a gap in its place, or that it is there.
fn ours(listing: &str, rules: &[String]) -> Vec<Rule> {
    let hidden = "xt match \"comment\"";
    let line = |line: &str| {
        let (rule, handle) = line.trim().rsplit_once(" # handle ")?;
        let is_hidden = rule.contains("  ") || rule.contains(hidden);
        let plain = rule.replace(hidden, " ");
        let words = plain.split_whitespace().filter(|word| *word != "counter");
        let plain = words.collect::<Vec<_>>().join(" ");
        let is_ours =
            rule.ends_with(&format!("comment \"{COMMENT}\"")) || is_hidden && rules.contains(&plain);
        is_ours.then_some(Rule { handle: handle.parse().ok()?, text: rule.to_string() })
    };
    listing.lines().filter_map(line).collect()
}

/// The chains that packets pass on their way through the host, and that drop what no rule accepts: family,
/// table and name of each.
fn dropping(chains: &str) -> Vec<String> {
    let (mut table, mut chain) = (String::new(), String::new());
    let mut found = Vec::new();
    for line in chains.lines().map(str::trim) {
        let words: Vec<&str> = line.split_whitespace().collect();
        match words.as_slice() {
            ["table", family, name, "{", ..] => table = format!("{family} {name}"),
            ["chain", name, "{", ..] => chain = name.to_string(),
            ["type", "filter", "hook", "forward", ..] if line.contains("policy drop") => {
                found.push(format!("{table} {chain}"));
            }
            _ => {}
        }
    }
    let sees_packets =
        |chain: &String| ["ip ", "ip6 ", "inet "].iter().any(|family| chain.starts_with(family));
    found.retain(sees_packets);
    found
}

/// Whether the older tables drop.
fn older(family: Family) -> Option<Finding> {
    let program = match family {
        Family::V4 => "iptables-legacy",
        Family::V6 => "ip6tables-legacy",
    };
    older_tables(family).iter().find(|name| *name == "filter")?;
    let rules = match ask(program, &["-S", "FORWARD"], "show the chain FORWARD") {
        Ok(rules) => rules,
        Err(reason) => return Some(Finding::Unknown { program, reason }),
    };
    let has = |wanted: &str| rules.lines().any(|line| line == wanted);
    let is_passed = has("-A FORWARD -i cali+ -j ACCEPT") && has("-A FORWARD -o cali+ -j ACCEPT");
    (has("-P FORWARD DROP") && !is_passed).then_some(Finding::Older(program))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn chains_that_drop() {
        let chains = "table ip filter {\n\tchain FORWARD {\n\t\ttype filter hook forward priority filter; policy \
             drop;\n\t}\n\tchain INPUT {\n\t\ttype filter hook input priority filter; policy drop;\n\t}\n}\ntable \
             inet site {\n\tchain x {\n\t\ttype filter hook forward priority 5; policy accept;\n\t}\n\tchain y \
             {\n\t\ttype filter hook forward priority filter + 5; policy drop;\n\t}\n}\ntable bridge b {\n\tchain z \
             {\n\t\ttype filter hook forward priority 0; policy drop;\n\t}\n}\n";
        assert_eq!(dropping(chains), ["ip filter FORWARD", "inet site y"]);
    }

    #[test]
    fn rules_of_ours() {
        let listing = "table ip filter {\n\tchain FORWARD { # handle 1\n\t\tiifname \"cali*\" accept comment \
             \"rackpool: pods\" # handle 7\n\t\tip daddr 10.0.0.0/8 accept comment \"rackpool: pods\" # handle \
             8\n\t\toifname \"cali*\"  counter accept # handle 9\n\t\toifname \"cali*\" xt match \"comment\" \
             counter accept # handle 10\n\t\toifname \"cali*\" counter accept # handle 11\n\t\tiifname \
             \"cali*\"  counter drop # handle 12\n\t\taccept comment \"not rackpool: pods\" # handle 13\n\t}\n}\n";
        let handles: Vec<u64> = ours(listing, &of_pods()).iter().map(|rule| rule.handle).collect();
        assert_eq!(handles, [7, 8, 9, 10]);
    }
}
