//! Recorded runs of Calico's kube-controllers: the figures of the records that they left are those that they
//! showed; and of pools nothing is left to do.
#![allow(missing_docs, clippy::unwrap_used, clippy::print_stdout)]
#![allow(clippy::disallowed_methods, reason = "recordings are files")]

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use api::crd::{Collection, Group, decode};
use api::{Kind, Record, Resource, Value};
use controllers::figures::{Counts, Facts, Figures, MOST_OF_NODES, Place, Sample, figures};
use controllers::pools::judge;
use serde_json::{Value as Json, json};
use store::View;

/// Each scenario, and for each run of the controllers the records right after it.
const RUNS: &[(&str, &[&str])] = &[
    ("027-controllers-leak", &["objects-after"]),
    ("028-controllers-node-deleted", &["objects-after"]),
    ("029-controllers-node-deleted-tunnel", &["objects-pod-exists", "objects-after"]),
    ("030-controllers-empty-blocks", &["objects-after"]),
    (
        "047-controllers-pool-conditions",
        &["objects-conditions", "objects-deleted-controllers", "objects-after"],
    ),
    (
        "048-controllers-pool-conditions-other-order",
        &["objects-conditions", "objects-deleted-controllers", "objects-after"],
    ),
];

fn read(path: &Path) -> Json {
    let text = std::fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    serde_json::from_str(&text).unwrap()
}

/// Replaces placeholders by values that can be read.
fn fill(json: &Json) -> Json {
    match json {
        Json::String(text) if text.starts_with("<seq-") => 1_785_000_000_000_000_000u64.into(),
        Json::String(text) if text.starts_with("<time-") => "2026-08-01T10:00:00Z".into(),
        Json::String(text) if text.starts_with("<rev-") => "1".into(),
        Json::Array(items) => items.iter().map(fill).collect(),
        Json::Object(map) => Json::Object(map.iter().map(|(k, v)| (k.clone(), fill(v))).collect()),
        other => other.clone(),
    }
}

fn view(group: Group, objects: &Json) -> View {
    let mut view = View::new();
    for (plural, items) in objects.as_object().unwrap() {
        for item in items.as_array().unwrap() {
            let item = fill(item);
            let collection = match plural.as_str() {
                "ipamblocks" => Collection::Blocks,
                "blockaffinities" => Collection::Affinities,
                "ippools" => Collection::Resources(Kind::IPPool),
                "ipreservations" => Collection::Resources(Kind::IPReservation),
                "nodes" => {
                    let metadata = json!({"metadata": {"name": item["name"], "labels": item["labels"]}});
                    let node = Resource::from_json(Kind::Node, metadata).unwrap();
                    let (key, value, revision) = (node.key(), Value::Resource(node), 1i64.into());
                    view.insert_record(Arc::new(Record { key, value, revision }));
                    continue;
                }
                _ => continue,
            };
            let object = decode(group, collection, &item.to_string()).unwrap();
            let (key, value, revision) = (object.key, object.value, object.revision);
            view.insert_record(Arc::new(Record { key, value, revision }));
        }
    }
    view
}

fn line(name: &str, sample: &Sample) -> String {
    let labels: Vec<String> =
        sample.labels.iter().map(|(name, value)| format!("{name}=\"{value}\"")).collect();
    format!("{name}{{{}}} {}", labels.join(","), sample.value)
}

/// What was given back so far is not in the records: it is taken from the recorded figures.
fn reclamations(metrics: &[&str]) -> Counts {
    let of_line = |line: &&str| {
        let rest = line.strip_prefix("ipam_allocations_gc_reclamations{ippool=\"")?;
        let (pool, rest) = rest.split_once("\",node=\"")?;
        let (node, count) = rest.split_once("\"} ")?;
        Some((Place { pool: pool.to_string(), node: node.to_string() }, count.parse().ok()?))
    };
    metrics.iter().filter_map(of_line).collect()
}

fn recordings(count: usize) -> Option<PathBuf> {
    let root = std::env::var("RACKPOOL_RECORDINGS").ok().map(PathBuf::from);
    if root.is_none() {
        println!("skipped: {count} recordings: RACKPOOL_RECORDINGS names none");
    }
    root
}

#[test]
fn figures_as_recorded() {
    let Some(root) = recordings(22) else { return };
    let (mut compared, mut lines) = (0, 0);
    for (folder, group) in [("kdd-v1", Group::V1), ("kdd-v3", Group::V3)] {
        for (scenario, files) in RUNS {
            let dir = root.join(folder).join(scenario);
            let steps = read(&dir.join("steps.json"));
            let runs = steps.as_array().unwrap().iter().filter(|step| step["background"].is_array());
            let runs: Vec<&Json> = runs.collect();
            assert_eq!(runs.len(), files.len(), "{folder}/{scenario}");
            for (run, file) in runs.into_iter().zip(*files) {
                let metrics = run["metrics"].as_array().unwrap();
                let metrics: Vec<&str> = metrics.iter().map(|line| line.as_str().unwrap()).collect();
                let view = view(group, &read(&dir.join(format!("{file}.json"))));
                let facts = Facts {
                    view: &view,
                    candidates: &Counts::new(),
                    reclamations: &reclamations(&metrics),
                    rack_label: None,
                    most_of_nodes: MOST_OF_NODES,
                };
                let Figures { families, .. } = figures(facts);
                let ours = families.iter().filter(|family| family.name.starts_with("ipam_"));
                let mut shown = BTreeSet::new();
                for family in ours {
                    let sort = format!("{:?}", family.sort).to_lowercase();
                    shown.insert(format!("# HELP {} {}", family.name, family.help));
                    shown.insert(format!("# TYPE {} {sort}", family.name));
                    shown.extend(family.samples.iter().map(|sample| line(family.name, sample)));
                }
                let recorded: BTreeSet<String> = metrics.iter().map(|line| (*line).to_string()).collect();
                let (lacks, more): (Vec<_>, Vec<_>) =
                    (recorded.difference(&shown).collect(), shown.difference(&recorded).collect());
                assert!(
                    lacks.is_empty() && more.is_empty(),
                    "{folder}/{scenario} {file}: lacks {lacks:#?}, has more {more:#?}"
                );
                compared += 1;
                lines += recorded.len();
            }
        }
    }
    assert!(compared == 22 && lines > 500, "{compared} runs, {lines} lines");
}

/// Conditions and finalizers that Calico has set are those that this program would set.
#[test]
fn pools_as_recorded() {
    let Some(root) = recordings(11) else { return };
    let (mut settled, mut differ) = (0, Vec::new());
    for (scenario, files) in RUNS {
        for file in *files {
            let view =
                view(Group::V3, &read(&root.join("kdd-v3").join(scenario).join(format!("{file}.json"))));
            let judged = judge(&view);
            assert!(!judged.is_empty());
            for one in judged {
                match one.is_settled() {
                    true => settled += 1,
                    false => {
                        let (name, reason) = (one.name, one.condition.reason);
                        differ.push(format!("{} {file} {name} {reason} {:?}", &scenario[..3], one.finalizer));
                    }
                }
            }
        }
    }
    // With Calico a pool that is being deleted has lost its place to the one that overlaps it, and both have
    // the finalizer. The blocks are the other's then, and this one may go.
    assert_eq!(differ, ["047 objects-deleted-controllers pool-a PoolDisabled RemoveOnceEmpty"]);
    assert!(settled >= 17, "{settled}");
}
