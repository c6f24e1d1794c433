//! Command lines for a shell.

use serde_json::Value as Json;

/// A word of a command line, in quotes where a shell would not take it as it stands.
pub fn word(text: &str) -> String {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "-_./:=,@%+".contains(c);
    match !text.is_empty() && text.chars().all(is_plain) {
        true => text.to_string(),
        false => format!("'{}'", text.replace('\'', r"'\''")),
    }
}

/// A command line that hands a resource to a verb of calicoctl.
pub(super) fn with_resource(verb: &str, resource: &Json) -> String {
    format!("printf %s {} | calicoctl {verb} -f -", word(&resource.to_string()))
}

#[cfg(test)]
mod tests {
    use super::word;

    #[test]
    fn words_are_quoted_where_a_shell_needs_it() {
        let rows = [
            ("rack=0", "rack=0"),
            ("", "''"),
            ("a b", "'a b'"),
            ("it's", r"'it'\''s'"),
            ("$(x)", "'$(x)'"),
            ("a;b", "'a;b'"),
        ];
        for (text, wanted) in rows {
            assert_eq!(word(text), wanted);
        }
    }
}
