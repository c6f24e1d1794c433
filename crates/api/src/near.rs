//! The name that somebody meant who made a typing error.

/// The name that is most like `typed`, if one is like it: of three letters that were typed one may differ,
/// and one always. Case does not count.
pub fn nearest<N: AsRef<str>>(typed: &str, names: impl IntoIterator<Item = N>) -> Option<N> {
    let typed = typed.to_lowercase();
    let far = |name: N| (strsim::damerau_levenshtein(&name.as_ref().to_lowercase(), &typed), name);
    let near = names.into_iter().map(far).filter(|(far, _)| *far <= (typed.chars().count() / 3).max(1));
    near.min_by_key(|(far, _)| *far).map(|(_, name)| name)
}

#[cfg(test)]
mod tests {
    use super::nearest;

    #[test]
    fn what_was_meant() {
        let known = ["kube-node-0", "kube-node-10", "gateway", "n1"];
        for (typed, wanted) in [
            ("kube-nod-0", Some("kube-node-0")),
            ("Kube-Node-0", Some("kube-node-0")),
            ("kube-node-1", Some("kube-node-0")),
            ("n2", Some("n1")),
            ("pod", None),
            ("completely-other", None),
        ] {
            assert_eq!(nearest(typed, known), wanted, "{typed}");
        }
    }
}
