//! The environment variables as a map.

use std::collections::BTreeMap;

/// Environment variables, read once at the start and passed on from there.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Environment {
    variables: BTreeMap<String, String>,
}

impl Environment {
    /// The variables of this process. Bytes that are not valid UTF-8 read as U+FFFD.
    #[allow(
        clippy::disallowed_methods,
        reason = "this is the one place that reads the process's environment"
    )]
    pub fn from_process() -> Environment {
        std::env::vars_os()
            .map(|(name, value)| (name.to_string_lossy().into_owned(), value.to_string_lossy().into_owned()))
            .collect()
    }

    /// The value of a variable; `None` where it is not set or is empty.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.lookup(name).filter(|value| !value.is_empty())
    }

    /// All variables, as names and values, in the order of names.
    pub fn variables(&self) -> impl Iterator<Item = (&str, &str)> {
        self.variables.iter().map(|(name, value)| (name.as_str(), value.as_str()))
    }

    /// Sets a variable.
    pub fn with(mut self, name: &str, value: &str) -> Environment {
        self.variables.insert(name.to_string(), value.to_string());
        self
    }

    /// The prefix of the names of pods' interfaces on their hosts: the first item of Felix's
    /// `FELIX_INTERFACEPREFIX`, or `cali`.
    pub fn interface_prefix(&self) -> String {
        let list = self.get("FELIX_INTERFACEPREFIX").unwrap_or_default();
        let first = list.split(',').next().unwrap_or_default().trim();
        if first.is_empty() { "cali" } else { first }.to_string()
    }

    /// The value of a variable that is set; it may be empty.
    pub fn lookup(&self, name: &str) -> Option<&str> {
        self.variables.get(name).map(String::as_str)
    }
}

impl<N: Into<String>, V: Into<String>> FromIterator<(N, V)> for Environment {
    fn from_iter<I: IntoIterator<Item = (N, V)>>(variables: I) -> Self {
        Environment { variables: variables.into_iter().map(|(n, v)| (n.into(), v.into())).collect() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn empty_is_set_but_not_given() {
        let environment = Environment::from_iter([("A", ""), ("B", "b")]);
        assert_eq!((environment.get("A"), environment.lookup("A")), (None, Some("")));
        assert_eq!((environment.get("B"), environment.get("C")), (Some("b"), None));
    }
}
