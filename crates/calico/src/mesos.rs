//! Labels that Mesos gives a container, in `args` of the configuration (`cni-plugin/pkg/plugin/plugin.go`).
//! They become the labels of the container's endpoint.

use std::collections::BTreeMap;

use cni::conf::Conf;
use serde_json::Value as Json;

/// The key that gives the endpoint's namespace, and does not become a label.
const NAMESPACE: &str = "projectcalico.org/namespace";

/// The labels of a container, in the form that an endpoint accepts.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Labels {
    /// The endpoint's namespace, if the labels name one.
    pub namespace: Option<String>,
    /// The labels without the namespace.
    pub labels: BTreeMap<String, String>,
    /// Labels that were dropped because another label's key became the same: `key=value`, as Mesos wrote it.
    pub lost: Vec<String>,
}

impl Labels {
    /// Reads the labels of a configuration.
    ///
    /// # Errors
    /// When the labels are not in a form that Mesos uses, or the namespace's name is invalid.
    pub fn of(conf: &Conf) -> Result<Labels, String> {
        const PATH: &str = "args.\"org.apache.mesos\".network_info.labels.labels";
        let path = ["args", "org.apache.mesos", "network_info", "labels", "labels"];
        let listed = match conf.any(&path) {
            None | Some(Json::Null) => return Ok(Labels::default()),
            Some(Json::Array(listed)) => listed,
            Some(other) => return Err(format!("{PATH} is {other}, which is no list of labels")),
        };
        let (mut found, mut raw) = (Labels::default(), BTreeMap::new());
        for label in listed {
            let text = |field: &str| match &label[field] {
                Json::Null if label.is_object() => Ok(""),
                Json::String(text) => Ok(text.as_str()),
                _ => Err(format!("{PATH} holds {label}: a label is an object with the texts key and value")),
            };
            let (key, value) = (text("key")?, text("value")?);
            let (name, text) = (sanitised(key), sanitised(value));
            if key == NAMESPACE {
                if text.is_empty() {
                    return Err(format!("{PATH}: the value {value:?} of {key} is no name of a namespace"));
                }
                found.namespace = Some(text);
                continue;
            }
            found.labels.insert(name.clone(), text);
            found.lost.extend(raw.insert(name, format!("{key}={value}")));
        }
        Ok(found)
    }
}

/// Turns any text of Mesos into a valid key or value of a label.
fn sanitised(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    // Characters that no label can have: a run of them becomes one `-`.
    let mut is_in_others = false;
    for c in text.chars() {
        let known = match c {
            '/' => Some('.'),
            '-' | '_' | '.' => Some(c),
            c if c.is_ascii_alphanumeric() => Some(c),
            _ => None,
        };
        match known {
            Some(c) => out.push(c),
            None if is_in_others => {}
            None => out.push('-'),
        }
        is_in_others = known.is_none();
    }
    // A run of dots and dashes becomes one character: a dot if the run has one, else a dash.
    let mut short = String::with_capacity(out.len());
    let mut rest = out.as_str();
    while let Some(c) = rest.chars().next() {
        let row = rest.len() - rest.trim_start_matches(['.', '-']).len();
        match row {
            0 => short.push(c),
            row if rest[..row].contains('.') => short.push('.'),
            row => short.push_str(&rest[..row]),
        }
        rest = &rest[row.max(c.len_utf8())..];
    }
    short.trim_matches(['.', '-']).to_string()
}

#[cfg(test)]
mod tests {
    use cni::conf::Document;
    use serde_json::json;

    use super::*;

    fn labels(of: &Json) -> Result<Labels, String> {
        let args = json!({"org.apache.mesos": {"network_info": {"name": "n", "labels": {"labels": of}}}});
        let text = json!({"name": "n", "args": args}).to_string();
        Labels::of(&Document::parse(text.as_bytes()).unwrap().conf().unwrap())
    }

    /// Most of these texts come from Calico's tests.
    #[test]
    fn texts_become_parts_of_labels() {
        for (text, wanted) in [
            ("", ""),
            ("plain_1", "plain_1"),
            ("k1", "k1"),
            ("abc/def", "abc.def"),
            ("a--b", "a--b"),
            ("a-.-b", "a.b"),
            ("---", ""),
            ("..mid..", "mid"),
            ("!!!bang! bang!", "bang-bang"),
            ("the quick-/brown.fox", "the-quick.brown.fox"),
            ("schön und gut", "sch-n-und-gut"),
            ("日本", ""),
        ] {
            assert_eq!(sanitised(text), wanted, "{text:?}");
        }
    }

    #[test]
    fn the_namespace_is_no_label_and_nothing_is_lost_silently() {
        let label = |key: &str, value: &str| json!({"key": key, "value": value});
        let found = labels(&json!([
            label("projectcalico.org/namespace", "team/a"),
            label("role", "web"),
            label("a/b", "1"),
            label("a.b", "2"),
            {"key": "bare"}
        ]))
        .unwrap();
        let pairs: Vec<_> = found.labels.iter().map(|(key, value)| (key.as_str(), value.as_str())).collect();
        assert_eq!(pairs, [("a.b", "2"), ("bare", ""), ("role", "web")]);
        assert_eq!((found.namespace.as_deref(), found.lost), (Some("team.a"), vec!["a/b=1".to_string()]));
        assert_eq!(labels(&Json::Null), Ok(Labels::default()));
        for wrong in [
            json!("x"),
            json!(["x"]),
            json!([{"key": 5}]),
            json!([label("projectcalico.org/namespace", "//")]),
        ] {
            assert!(labels(&wrong).unwrap_err().contains("network_info.labels"), "{wrong}");
        }
    }
}
