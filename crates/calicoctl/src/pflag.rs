//! Reads command lines as Go's cobra and pflag read them: flags may stand anywhere; of a repeated flag the
//! last counts; `-f=x`, `-fx`, `-Rfx` and `--b=false` work; a flag that wants a value takes any argument that
//! follows. The result is a command line that clap reads in the same way, so that clap's definitions stay the
//! only ones.

use clap::{Arg, ArgAction, Command};
use golang::strconv::{parse_bool, quote as go_quote};

/// What is wrong with a command line. The texts are cobra's.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum UsageError {
    /// No such command.
    #[error("unknown command \"{typed}\" for \"{root}\"{}", suggestions_text(.suggestions))]
    UnknownCommand {
        /// What was typed.
        typed: String,
        /// The program.
        root: String,
        /// Commands of a similar name.
        suggestions: Vec<String>,
    },
    /// No such flag.
    #[error("unknown flag: --{0}")]
    UnknownFlag(String),
    /// No such short flag. The text is the rest of its argument, which begins with the flag.
    #[error("unknown shorthand flag: '{0}' in -{1}")]
    UnknownShorthand(char, String),
    /// A flag without the value that it wants.
    #[error("flag needs an argument: --{0}")]
    NeedsArgument(String),
    /// A short flag without the value that it wants. The text is the rest of its argument.
    #[error("flag needs an argument: '{0}' in -{1}")]
    ShorthandNeedsArgument(char, String),
    /// Dashes without a name.
    #[error("bad flag syntax: {0}")]
    Syntax(String),
    /// A value that the flag does not take.
    #[error("invalid argument {} for {} flag: {reason}", go_quote(.value), go_quote(.flag))]
    Value {
        /// The value.
        value: String,
        /// The flag, `-R, --recursive`.
        flag: String,
        /// Why the flag does not take the value.
        reason: String,
    },
}

impl UsageError {
    /// The flag that was perhaps meant, of any command.
    pub fn help(&self, root: &Command) -> Option<String> {
        let UsageError::UnknownFlag(name) = self else { return None };
        let mut names = Vec::new();
        long_flags(root, &mut names);
        api::near::nearest(name, names).map(|near| format!("did you mean --{near}?"))
    }
}

fn long_flags<'c>(command: &'c Command, names: &mut Vec<&'c str>) {
    names.extend(command.get_arguments().filter(|arg| !arg.is_hide_set()).filter_map(Arg::get_long));
    command.get_subcommands().for_each(|below| long_flags(below, names));
}

fn suggestions_text(suggestions: &[String]) -> String {
    if suggestions.is_empty() {
        return String::new();
    }
    let list: String = suggestions.iter().map(|name| format!("\t{name}\n")).collect();
    format!("\n\nDid you mean this?\n{list}")
}

/// A command line that clap reads.
#[derive(Debug, Default)]
pub struct Normalised {
    /// The arguments.
    pub args: Vec<String>,
    /// Flags that have no effect, with their values, since they are given again with another value.
    pub overridden: Vec<String>,
    /// What to say of a word that is no command, where the help follows instead, as in Calico.
    pub unknown: Option<String>,
}

/// Rewrites the arguments (without the program's name) for clap: the path of the command, then the flags as
/// `--name=value`, then `--` and all other words. A command that only groups commands gets `--help`. `root`
/// must be built.
///
/// # Errors
/// The first error, in cobra's order.
pub fn normalise(root: &Command, args: &[String]) -> Result<Normalised, UsageError> {
    let mut chain = vec![root];
    let mut rest: Vec<String> = args.to_vec();
    let mut unknown = None;
    while let Some(at) = first_word(&chain, &rest) {
        let here = chain[chain.len() - 1];
        match here.find_subcommand(&rest[at]) {
            Some(found) => {
                rest.remove(at);
                chain.push(found);
                // The words after `help` are commands.
                if found.get_name() == "help" {
                    break;
                }
            }
            None if chain.len() == 1 => {
                let (typed, root) = (rest[at].clone(), here.get_name().to_string());
                let suggestions = suggestions(here, &typed);
                return Err(UsageError::UnknownCommand { typed, root, suggestions });
            }
            None => {
                if here.has_subcommands() {
                    let near = suggestions(here, &rest[at]);
                    let near = near.first().map(|near| format!("; did you mean {near}?")).unwrap_or_default();
                    let (typed, path) = (&rest[at], here.get_name());
                    unknown = Some(format!("{path} has no command {typed}{near}"));
                }
                break;
            }
        }
    }
    let mut flags =
        Flags { chain: &chain, values: Vec::new(), words: Vec::new(), help: false, overridden: Vec::new() };
    flags.read(&rest)?;
    let mut out: Vec<String> = chain[1..].iter().map(|command| command.get_name().to_string()).collect();
    let leaf = chain[chain.len() - 1];
    let is_help = leaf.get_name() == "help";
    if !is_help && (flags.help || leaf.has_subcommands()) {
        out.push("--help".to_string());
        return Ok(Normalised { args: out, overridden: Vec::new(), unknown });
    }
    for (arg, value) in &flags.values {
        let name = arg.get_long().unwrap_or_default();
        match arg.get_action() {
            ArgAction::SetTrue if value == "true" => out.push(format!("--{name}")),
            ArgAction::SetTrue => {}
            _ => out.push(format!("--{name}={value}")),
        }
    }
    if !is_help {
        out.push("--".to_string());
    }
    out.extend(flags.words);
    Ok(Normalised { args: out, overridden: flags.overridden, unknown: None })
}

/// Finds the first argument that is neither a flag nor, as far as can be known then, the value of a flag
/// (`cobra`, `stripFlags`).
fn first_word(chain: &[&Command], args: &[String]) -> Option<usize> {
    let mut at = 0;
    while at < args.len() {
        let arg = args[at].as_str();
        let takes_next = match arg.strip_prefix("--") {
            Some("") => return None,
            Some("help") => false,
            Some(name) => !name.contains('=') && !long(chain, name).is_some_and(is_switch),
            None => {
                let mut chars = arg.chars();
                match (chars.next(), chars.next(), chars.next()) {
                    (Some('-'), Some('h'), None) => false,
                    (Some('-'), Some(c), None) => !short(chain, c).is_some_and(is_switch),
                    (Some('-'), ..) => false,
                    (Some(_), ..) => return Some(at),
                    (None, ..) => false,
                }
            }
        };
        at += if takes_next { 2 } else { 1 };
    }
    None
}

struct Flags<'c> {
    chain: &'c [&'c Command],
    /// The last value of each flag; all values of a flag that may be repeated.
    values: Vec<(&'c Arg, String)>,
    words: Vec<String>,
    help: bool,
    overridden: Vec<String>,
}

impl<'c> Flags<'c> {
    fn read(&mut self, args: &[String]) -> Result<(), UsageError> {
        let mut args = args.iter();
        while let Some(arg) = args.next() {
            if arg == "--" {
                self.words.extend(args.cloned());
                return Ok(());
            }
            if let Some(flag) = arg.strip_prefix("--") {
                self.long(arg, flag, &mut args)?;
            } else if arg.len() > 1 && arg.starts_with('-') {
                self.shorts(&arg[1..], &mut args)?;
            } else {
                self.words.push(arg.clone());
            }
        }
        Ok(())
    }

    fn long<'a>(
        &mut self,
        whole: &str,
        flag: &str,
        rest: &mut impl Iterator<Item = &'a String>,
    ) -> Result<(), UsageError> {
        if flag.starts_with(['-', '=']) {
            return Err(UsageError::Syntax(whole.to_string()));
        }
        let (name, value) = match flag.split_once('=') {
            Some((name, value)) => (name, Some(value.to_string())),
            None => (flag, None),
        };
        if name == "help" {
            self.help = value.is_none_or(|value| parse_bool(&value) != Some(false));
            return Ok(());
        }
        let arg = long(self.chain, name).ok_or_else(|| UsageError::UnknownFlag(name.to_string()))?;
        let value = match value {
            Some(value) => value,
            None if is_switch(arg) => "true".to_string(),
            None => rest.next().cloned().ok_or_else(|| UsageError::NeedsArgument(name.to_string()))?,
        };
        self.set(arg, value)
    }

    fn shorts<'a>(
        &mut self,
        bundle: &str,
        rest: &mut impl Iterator<Item = &'a String>,
    ) -> Result<(), UsageError> {
        let mut left = bundle;
        while let Some(c) = left.chars().next() {
            let after = &left[c.len_utf8()..];
            if c == 'h' {
                self.help = true;
                left = after;
                continue;
            }
            let arg =
                short(self.chain, c).ok_or_else(|| UsageError::UnknownShorthand(c, left.to_string()))?;
            let value = match after.strip_prefix('=') {
                Some(value) => value.to_string(),
                None if is_switch(arg) => {
                    self.set(arg, "true".to_string())?;
                    left = after;
                    continue;
                }
                None if !after.is_empty() => after.to_string(),
                None => {
                    let missing = || UsageError::ShorthandNeedsArgument(c, left.to_string());
                    rest.next().cloned().ok_or_else(missing)?
                }
            };
            return self.set(arg, value);
        }
        Ok(())
    }

    fn set(&mut self, arg: &'c Arg, mut value: String) -> Result<(), UsageError> {
        if is_switch(arg) {
            let Some(truth) = parse_bool(&value) else {
                let reason = format!("strconv.ParseBool: parsing {}: invalid syntax", go_quote(&value));
                return Err(UsageError::Value { value, flag: flag_text(arg), reason });
            };
            value = truth.to_string();
        }
        if !matches!(arg.get_action(), ArgAction::Append) {
            let earlier = self.values.iter().position(|(known, _)| known.get_id() == arg.get_id());
            let earlier = earlier.map(|at| self.values.remove(at).1).filter(|earlier| *earlier != value);
            let name = arg.get_long().unwrap_or_default();
            self.overridden.extend(earlier.map(|earlier| format!("--{name}={earlier}")));
        }
        self.values.push((arg, value));
        Ok(())
    }
}

/// A flag as messages show it: `-R, --recursive`.
pub fn flag_text(arg: &Arg) -> String {
    let long = arg.get_long().unwrap_or_default();
    match arg.get_short() {
        Some(short) => format!("-{short}, --{long}"),
        None => format!("--{long}"),
    }
}

fn flags<'c>(chain: &[&'c Command]) -> impl Iterator<Item = &'c Arg> {
    let last = chain.len().saturating_sub(1);
    chain.iter().enumerate().flat_map(move |(depth, command)| {
        command.get_arguments().filter(move |arg| depth == last || arg.is_global_set())
    })
}

fn long<'c>(chain: &[&'c Command], name: &str) -> Option<&'c Arg> {
    flags(chain).find(|arg| {
        arg.get_long() == Some(name) || arg.get_all_aliases().is_some_and(|all| all.contains(&name))
    })
}

fn short<'c>(chain: &[&'c Command], name: char) -> Option<&'c Arg> {
    flags(chain).find(|arg| {
        arg.get_short() == Some(name) || arg.get_all_short_aliases().is_some_and(|all| all.contains(&name))
    })
}

fn is_switch(arg: &Arg) -> bool {
    matches!(arg.get_action(), ArgAction::SetTrue)
}

/// Commands whose names differ from what was typed by at most two changes, or begin with what was typed.
fn suggestions(root: &Command, typed: &str) -> Vec<String> {
    let lower = typed.to_lowercase();
    let names = root.get_subcommands().filter(|command| !command.is_hide_set()).map(Command::get_name);
    names
        .filter(|name| strsim::levenshtein(&lower, name) <= 2 || name.starts_with(&lower))
        .map(str::to_string)
        .collect()
}

#[cfg(test)]
mod tests;
