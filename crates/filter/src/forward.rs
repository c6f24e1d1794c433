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
         `nft insert rule {0} iifname \"cali*\" accept; nft insert rule {0} oifname \"cali*\" accept`, and the same \
         where its owner keeps it"
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
        let of_iptables = Family::BOTH.map(name);
        for family in Family::BOTH {
            let chain = self.chain(&name(family))?;
            self.keep_beside(family, &chain, &wanted(rules, family), chain.is_dropping())?;
        }
        let mut findings: Vec<Finding> = Family::BOTH.into_iter().filter_map(older).collect();
        for name in forwarding(&chains).into_iter().filter(|name| !of_iptables.contains(name)) {
            let chain = self.chain(&name)?;
            if chain.is_dropping() && !of_pods().iter().all(|rule| chain.has(rule)) {
                findings.push(Finding::Chain(name));
            }
        }
        Ok(findings)
    }

    /// Removes everything of ours: the table, and the rules in the chains of others.
    ///
    /// # Errors
    /// See [`NftError`].
    pub fn remove(&mut self) -> Result<(), NftError> {
        self.remove_table()?;
        for family in Family::BOTH {
            let chain = self.chain(&name(family))?;
            self.keep_beside(family, &chain, &of_pods(), false)?;
        }
        Ok(())
    }

    /// Puts our rules in the place of those that are there, or takes them away where they are not needed. As
    /// with the table, what is there is compared with how it was listed after it was put there.
    fn keep_beside(
        &mut self,
        family: Family,
        chain: &Chain,
        rules: &[String],
        is_needed: bool,
    ) -> Result<(), NftError> {
        let wanted = if is_needed { rules } else { &[] };
        let there = chain.ours(rules);
        let is_right = match self.beside.get(&family) {
            Some((last, listed)) => last == wanted && *listed == there,
            None => wanted.is_empty() && there.is_empty(),
        };
        if is_right {
            return Ok(());
        }
        let (name, mut text) = (name(family), String::new());
        for Rule { handle, .. } in there {
            let _ = writeln!(text, "delete rule {name} handle {handle}");
        }
        let place = match chain.end() {
            Some(end) => format!("insert rule {name} handle {end}"),
            None => format!("add rule {name}"),
        };
        for rule in wanted {
            let _ = writeln!(text, "{place} {rule} comment \"{COMMENT}\"");
        }
        self.beside.remove(&family);
        if !text.is_empty() {
            self.batch(&format!("change our rules in {name}"), text)?;
        }
        if is_needed {
            let listed = self.chain(&name)?.ours(rules);
            self.beside.insert(family, (wanted.to_vec(), listed));
        }
        Ok(())
    }

    /// The chain of that family, table and name; an empty one where it is not there.
    fn chain(&self, name: &str) -> Result<Chain, NftError> {
        let arguments = ["-s", "-a", "list", "chain"].into_iter().chain(name.split(' '));
        let listing = self.list(&Vec::from_iter(arguments), &format!("list the chain {name}"))?;
        Ok(Chain::of(&listing.unwrap_or_default()))
    }
}

/// The chain of `iptables`.
fn name(family: Family) -> String {
    format!("{} filter FORWARD", header(family))
}

/// The rules of every node. `iptables` can show them, too: it refuses to work where it meets others.
pub(crate) fn of_pods() -> [String; 2] {
    [format!("iifname \"{PODS}\" accept"), format!("oifname \"{PODS}\" accept")]
}

fn wanted(rules: &Rules, family: Family) -> Vec<String> {
    let mut wanted = of_pods().to_vec();
    if rules.is_relay {
        let inside = |pool: &&routes::PoolNetwork| pool.is_inside && pool.cidr.family() == family;
        let to = |network: Cidr| format!("{} daddr {network} accept", header(family));
        wanted.extend(rules.pools.iter().filter(inside).map(|pool| to(pool.cidr)));
    }
    wanted
}

/// A chain, as it is listed with handles and without counters.
pub(crate) struct Chain {
    /// Whether it drops what no rule accepts.
    has_policy: bool,
    rules: Vec<Rule>,
}

impl Chain {
    pub(crate) fn of(listing: &str) -> Chain {
        let rule = |line: &str| {
            let (text, handle) = line.trim().rsplit_once(" # handle ")?;
            let is_rule = !["table ", "chain "].iter().any(|head| text.starts_with(head));
            is_rule.then_some(Rule { handle: handle.parse().ok()?, text: text.to_string() })
        };
        let is_policy = |line: &str| line.trim().starts_with("type ") && line.contains("policy drop;");
        Chain {
            has_policy: listing.lines().any(is_policy),
            rules: listing.lines().filter_map(rule).collect(),
        }
    }

    /// The rule at its end that lets nothing pass.
    pub(crate) fn end(&self) -> Option<u64> {
        let last = self.rules.last()?;
        let plain = plain(&last.text);
        (plain == "drop" || plain.starts_with("reject")).then_some(last.handle)
    }

    pub(crate) fn is_dropping(&self) -> bool {
        self.has_policy || self.end().is_some()
    }

    fn has(&self, rule: &str) -> bool {
        self.rules.iter().any(|there| plain(&there.text) == rule)
    }

    /// Our rules: those with our comment, and those of `rules` with a comment that `nft` cannot show. A rule
    /// that `iptables` has read and written again has its comment in a form of its own: `nft` shows a gap in
    /// its place, or that it is there.
    pub(crate) fn ours(&self, rules: &[String]) -> Vec<Rule> {
        let is_ours = |rule: &&Rule| {
            let is_hidden = rule.text.contains("  ") || rule.text.contains(HIDDEN);
            let is_named = rule.text.ends_with(&format!("comment \"{COMMENT}\""));
            is_named || is_hidden && rules.contains(&plain(&rule.text))
        };
        self.rules.iter().filter(is_ours).cloned().collect()
    }
}

/// How `nft` shows a comment that it cannot.
const HIDDEN: &str = "xt match \"comment\"";

/// A rule without its comment and its counter.
fn plain(rule: &str) -> String {
    let (rule, _) = rule.split_once(" comment \"").unwrap_or((rule, ""));
    let rule = rule.replace(HIDDEN, " ");
    let words: Vec<&str> = rule.split_whitespace().filter(|word| *word != "counter").collect();
    words.join(" ")
}

/// The chains that packets pass on their way through the host: family, table and name of each. `nft` takes
/// its arguments for one text, so a name with other signs than its own grammar has is left out.
pub(crate) fn forwarding(chains: &str) -> Vec<String> {
    let (mut table, mut chain) = (String::new(), String::new());
    let mut found = Vec::new();
    for line in chains.lines().map(str::trim) {
        let words: Vec<&str> = line.split_whitespace().collect();
        match words.as_slice() {
            ["table", family @ ("ip" | "ip6" | "inet"), name, "{", ..] => table = format!("{family} {name}"),
            ["table", ..] => table.clear(),
            ["chain", name, "{", ..] => chain = name.to_string(),
            ["type", "filter", "hook", "forward", ..] if !table.is_empty() => {
                found.push(format!("{table} {chain}"))
            }
            _ => {}
        }
    }
    let is_name = |c: char| c.is_ascii_alphanumeric() || " _.-/".contains(c);
    found.retain(|name| name.chars().all(is_name));
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
    fn chains_on_the_way_through_the_host() {
        let hook = |hook: &str| format!("\t\ttype filter hook {hook} priority filter; policy accept;\n");
        let chain = |name: &str, hook: &str| format!("\tchain {name} {{\n{hook}\t}}\n");
        let table = |name: &str, chains: String| format!("table {name} {{\n{chains}}}\n");
        let chains = [
            table(
                "ip filter",
                chain("FORWARD", &hook("forward")) + &chain("INPUT", &hook("input")) + &chain("x", ""),
            ),
            table("bridge b", chain("y", &hook("forward"))),
            table("inet site", chain("z", &hook("forward")) + &chain("a;flush", &hook("forward"))),
        ];
        assert_eq!(forwarding(&chains.concat()), ["ip filter FORWARD", "inet site z"]);
    }

    /// A chain with these rules, whose handles count from 2.
    fn chain(policy: &str, rules: &[&str]) -> Chain {
        let lines = rules.iter().zip(2..).map(|(rule, handle)| format!("\t\t{rule} # handle {handle}\n"));
        let lines: String = lines.collect();
        Chain::of(&format!(
            "table ip filter {{ # handle 1\n\tchain FORWARD {{ # handle 1\n\t\ttype filter hook forward priority \
             filter; policy {policy};\n{lines}\t}}\n}}\n"
        ))
    }

    #[test]
    fn chains_that_drop() {
        for (policy, rules, is_dropping, end) in [
            ("accept", &[][..], false, None),
            ("drop", &[], true, None),
            ("drop", &["counter drop", "ct state established accept"], true, None),
            ("accept", &["ip saddr 10.0.0.1 drop"], false, None),
            ("accept", &["accept", "counter drop"], true, Some(3)),
            ("accept", &["reject with icmp type host-prohibited comment \"end\""], true, Some(2)),
        ] {
            let chain = chain(policy, rules);
            assert_eq!((chain.is_dropping(), chain.end()), (is_dropping, end), "{policy} {rules:?}");
        }
    }

    #[test]
    fn rules_of_ours() {
        let chain = chain(
            "drop",
            &[
                "iifname \"cali*\" accept comment \"rackpool: pods\"",
                "ip daddr 10.0.0.0/8 accept comment \"rackpool: pods\"",
                "oifname \"cali*\"  counter accept",
                "oifname \"cali*\" xt match \"comment\" counter accept",
                "oifname \"cali*\" counter accept",
                "iifname \"cali*\"  counter drop",
                "accept comment \"not rackpool: pods\"",
            ],
        );
        let handles: Vec<u64> = chain.ours(&of_pods()).iter().map(|rule| rule.handle).collect();
        assert_eq!(handles, [2, 3, 4, 5]);
        assert!(of_pods().iter().all(|rule| chain.has(rule)) && !chain.has("accept in vain"));
    }
}
