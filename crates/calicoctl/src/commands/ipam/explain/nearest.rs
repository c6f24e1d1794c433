//! The name that a user may have meant.

/// How alike two names must be, from 0 to 1, for one to be offered in place of the other.
const ALIKE: f64 = 0.75;

/// `; did you mean "x"?` for the known name that is most alike; empty where none is.
pub(super) fn hint<'a>(typed: &str, known: impl Iterator<Item = &'a str>) -> String {
    let alike = known.map(|name| (strsim::normalized_damerau_levenshtein(typed, name), name));
    let best = alike.filter(|(alike, _)| *alike >= ALIKE).max_by(|a, b| a.0.total_cmp(&b.0));
    best.map(|(_, name)| format!("; did you mean {name:?}?")).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::hint;

    #[test]
    fn the_nearest_name_is_offered() {
        let known = ["kube-node-0", "kube-node-10", "gateway"];
        for (typed, wanted) in [
            ("kube-nod-0", "; did you mean \"kube-node-0\"?"),
            ("kube-node-1", "; did you mean \"kube-node-10\"?"),
            ("other", ""),
        ] {
            assert_eq!(hint(typed, known.into_iter()), wanted, "{typed}");
        }
    }
}
