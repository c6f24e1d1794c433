//! Names of interfaces that may stand in a text for `nft`.

use std::fmt;

/// The most characters of an interface's name (`IFNAMSIZ` less its last byte).
const MOST: usize = 15;

/// A text that is no name of an interface, or one that must not stand in a rule.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "'{}' is no name of an interface: 1 to 15 letters, digits, '.', '_' and '-' are allowed{}",
    .0.escape_debug(),
    if *.1 { ", and a '+' at the end" } else { "" }
)]
pub struct InterfaceError(String, bool);

fn is_name(text: &str) -> bool {
    (1..=MOST).contains(&text.len())
        && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"._-".contains(&byte))
}

/// The name of an interface: letters, digits, dots, underlines and hyphens only, so that it stands in a rule
/// as it is, and never stands for several interfaces.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Interface(String);

impl Interface {
    /// The name in a text.
    ///
    /// # Errors
    /// See [`InterfaceError`].
    pub fn parse(text: &str) -> Result<Interface, InterfaceError> {
        match is_name(text) {
            true => Ok(Interface(text.to_string())),
            false => Err(InterfaceError(text.to_string(), false)),
        }
    }

    /// The name.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Interface {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Interfaces by name: all, one, or all whose names begin alike.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Interfaces {
    /// All interfaces.
    All,
    /// The interface of this name.
    One(Interface),
    /// The interfaces whose names begin so.
    BeginningWith(Interface),
}

impl Interfaces {
    /// The interfaces that a text means as `iptables` would take it: `eth0`, `eth+`, or `+`.
    ///
    /// # Errors
    /// See [`InterfaceError`].
    pub fn parse(text: &str) -> Result<Interfaces, InterfaceError> {
        let parsed = match text.strip_suffix('+') {
            Some("") => Ok(Interfaces::All),
            Some(beginning) => Interface::parse(beginning).map(Interfaces::BeginningWith),
            None => Interface::parse(text).map(Interfaces::One),
        };
        parsed.map_err(|_| InterfaceError(text.to_string(), true))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_no_names() {
        for good in ["eth0", "cali0123456789a", "vxlan-v6.calico", "_", "bond0.100"] {
            assert_eq!(Interface::parse(good).unwrap().as_str(), good);
        }
        for bad in
            ["", "cali0123456789ab", "eth*", "eth+", "a b", "a\"b", "a;b", "a\nb", "ä", "a}", "a#", "a/b"]
        {
            assert!(Interface::parse(bad).is_err(), "{bad}");
        }
        let told = Interface::parse("a\"\n").unwrap_err().to_string();
        assert!(told.contains(r#"'a\"\n'"#), "{told}");
    }

    #[test]
    fn patterns() {
        let name = |text| Interface::parse(text).unwrap();
        for (text, wanted) in [
            ("+", Interfaces::All),
            ("eth0", Interfaces::One(name("eth0"))),
            ("eth+", Interfaces::BeginningWith(name("eth"))),
        ] {
            assert_eq!(Interfaces::parse(text).unwrap(), wanted);
        }
        for bad in ["", "eth*", "e+h", "++"] {
            assert!(Interfaces::parse(bad).unwrap_err().to_string().contains("'+' at the end"), "{bad}");
        }
    }
}
