//! The rules for Prometheus ask for figures that really come, by labels that they really have.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

use api::{Key, Kind, Record, Resource, Value};
use controllers::figures::{Counts, Facts, MOST_OF_NODES, Place, figures};
use rackpoold::controllers::metrics::Metrics;
use regex::Regex;
use serde_json::{Value as Json, json};
use store::{Met, Observer, View};

const RULES: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../deploy/monitoring/rules.yaml");

/// A block of one node, with an address of that node's and one that another has borrowed.
const BLOCK: &str = r#"{"cidr": "10.0.0.0/30", "affinity": "host:n1", "allocations": [0, 1, null, null], "unallocated": [2, 3],
    "attributes": [{"handle_id": "a", "secondary": {"node": "n1"}}, {"handle_id": "b", "secondary": {"node": "n2"}}],
    "deleted": false}"#;

/// The figures of a process that has met everything, as Prometheus reads them: names, each with its labels.
fn figures_that_come() -> BTreeMap<String, BTreeSet<String>> {
    let mut view = View::new();
    for (kind, json) in [
        (Kind::Node, json!({"metadata": {"name": "n1", "labels": {"rack": "a"}}})),
        (
            Kind::IPPool,
            json!({"metadata": {"name": "p"}, "spec": {"cidr": "10.0.0.0/24", "nodeSelector": "all()"}}),
        ),
    ] {
        let resource = Resource::from_json(kind, json).unwrap();
        let (key, value, revision) = (resource.key(), Value::Resource(resource), 1i64.into());
        view.insert_record(Arc::new(Record { key, value, revision }));
    }
    let key = Key::from_etcd_path("/calico/ipam/v2/assignment/ipv4/block/10.0.0.0-30").unwrap();
    let value = Value::from_stored_text(&key, BLOCK).unwrap();
    view.insert_record(Arc::new(Record { key, value, revision: 2i64.into() }));
    let some = Counts::from([(Place { pool: "p".to_string(), node: "n1".to_string() }, 1)]);
    let facts = Facts {
        view: &view,
        candidates: &some,
        reclamations: &some,
        rack_label: Some("rack"),
        most_of_nodes: MOST_OF_NODES,
    };
    let metrics = Metrics::new("etcdv3").unwrap();
    metrics.show(figures(facts).families);
    metrics.collections.observe(1.0);
    metrics.refusals.with_label_values(&["x"]).inc();
    let took = Duration::from_millis(1);
    metrics.note(Met::Fetch { took, is_answered: false });
    metrics.note(Met::Commit { took, is_applied: true });
    let text = String::from_utf8(metrics.text().unwrap()).unwrap();
    let label = Regex::new(r#"([a-z_]+)=""#).unwrap();
    let mut found: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for line in text.lines().filter(|line| !line.starts_with('#')) {
        let end = line.find(['{', ' ']).unwrap();
        let labels = label.captures_iter(&line[end..]).map(|found| found[1].to_string());
        found.entry(line[..end].to_string()).or_default().extend(labels);
    }
    found
}

/// The figures for which an expression asks, and the labels by which it asks.
fn asked(expression: &str) -> (BTreeSet<String>, BTreeSet<String>) {
    let (matchers, groups) =
        (Regex::new(r"\{([^}]*)\}").unwrap(), Regex::new(r"\b(by|on|without) *\(([^)]*)\)").unwrap());
    let word = Regex::new(r"[a-zA-Z_:][a-zA-Z0-9_:]*").unwrap();
    let mut labels = BTreeSet::new();
    for found in matchers.captures_iter(expression) {
        let names = found[1].split(',').filter_map(|matcher| word.find(matcher));
        labels.extend(names.map(|name| name.as_str().to_string()));
    }
    for found in groups.captures_iter(expression) {
        labels.extend(word.find_iter(&found[2]).map(|name| name.as_str().to_string()));
    }
    let rest = matchers.replace_all(expression, " ");
    let rest = groups.replace_all(&rest, " ");
    let rest = Regex::new(r"\[[^\]]*\]").unwrap().replace_all(&rest, " ");
    let is_function = |end: usize| rest[end..].trim_start().starts_with('(');
    let names = word
        .find_iter(&rest)
        .filter(|name| !["and", "or", "unless", "sum"].contains(&name.as_str()) && !is_function(name.end()));
    (names.map(|name| name.as_str().to_string()).collect(), labels)
}

#[test]
fn the_rules_ask_for_what_comes() {
    let text = std::fs::read_to_string(RULES).unwrap();
    let rules: Json = serde_saphyr::from_str(&text).unwrap();
    let rules =
        rules["groups"].as_array().unwrap().iter().flat_map(|group| group["rules"].as_array().unwrap());
    let rules: Vec<&Json> = rules.collect();
    let mut known = figures_that_come();
    let shown = Regex::new(r"\$labels\.([a-z_]+)").unwrap();
    let (mut alerts, mut used) = (BTreeSet::new(), BTreeSet::new());
    for rule in rules {
        let expression = rule["expr"].as_str().unwrap();
        let (names, mut labels) = asked(expression);
        assert!(!names.is_empty(), "{expression}");
        let mut there: BTreeSet<String> = ["instance".to_string(), "le".to_string()].into();
        for name in &names {
            let of_name = known.get(name).unwrap_or_else(|| panic!("{name} never comes: {expression}"));
            there.extend(of_name.iter().cloned());
        }
        used.extend(names.iter().cloned());
        if let Some(name) = rule["record"].as_str() {
            known.insert(name.to_string(), there);
            continue;
        }
        let alert = rule["alert"].as_str().unwrap();
        assert!(alerts.insert(alert), "{alert} is there twice");
        assert!(["warning", "critical"].contains(&rule["labels"]["severity"].as_str().unwrap()), "{alert}");
        for field in ["summary", "description"] {
            let told =
                rule["annotations"][field].as_str().unwrap_or_else(|| panic!("{alert} has no {field}"));
            labels.extend(shown.captures_iter(told).map(|found| found[1].to_string()));
        }
        let missing: Vec<_> = labels.difference(&there).collect();
        assert!(missing.is_empty(), "{alert}: there are no labels {missing:?}");
    }
    assert!(alerts.len() >= 8 && used.len() >= 8, "{alerts:?} {used:?}");
}

/// The page of figures names all that come, with their labels, and no others.
#[test]
fn the_page_names_what_comes() {
    let text =
        std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/metrics.md")).unwrap();
    let code = Regex::new("`([a-z_]+)`").unwrap();
    let mut told: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for row in text.lines().filter(|line| line.starts_with("| `")) {
        let cells: Vec<&str> = row.split('|').collect();
        let labels = code.captures_iter(cells[2]).map(|found| found[1].to_string()).collect();
        let twice = told.insert(code.captures(cells[1]).unwrap()[1].to_string(), labels);
        assert!(twice.is_none(), "{row}");
    }
    let mut come: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for (name, labels) in figures_that_come() {
        let of_histogram = ["_bucket", "_sum", "_count"].iter().find_map(|end| name.strip_suffix(end));
        let name = of_histogram.unwrap_or(&name).to_string();
        come.entry(name).or_default().extend(labels.into_iter().filter(|label| label != "le"));
    }
    assert_eq!(told, come);
}

/// Prometheus' own check, where it is installed.
#[test]
fn promtool_takes_the_rules() {
    let Ok(out) = Command::new("promtool").args(["check", "rules"]).arg(Path::new(RULES)).output() else {
        println!("left out: promtool is not installed");
        return;
    };
    assert!(out.status.success(), "{}", String::from_utf8_lossy(&out.stderr));
}

#[test]
fn what_an_expression_asks_for() {
    let texts = |words: &[&str]| words.iter().map(|word| word.to_string()).collect::<BTreeSet<_>>();
    let expression = r#"sum by (a, le) (rate(x_total{b="c",d=~"e"}[10m])) > 0.5 and (y:z - 1) or vector(0)"#;
    assert_eq!(asked(expression), (texts(&["x_total", "y:z"]), texts(&["a", "b", "d", "le"])));
}
