//! Replays what Calico's plugin did in the recorded stories (`calicoctl-etcd/*`). The answers must be the
//! same, and so must the records afterwards, byte for byte except for times and sequence numbers.
//!
//! Every run of successive plugin steps is replayed. The resources before it are taken from the state that
//! was recorded after it, since the plugin changes no resource. The allocations before it are those that this
//! program left in earlier runs.

use std::collections::BTreeMap;
use std::path::Path;

use api::{Key, Kind, Value};
use serde_json::Value as Json;
use store::{Depth, ReadSet, Scope, Slot, Store};

use crate::harness::{Answer, Machine, read_json, recordings, wait_for};
use crate::recordings::without_details;

/// The least number of the plugin's runs that must be found in the recorded stories.
const LEAST: usize = 80;

#[test]
fn the_recorded_stories() {
    let Some(root) = recordings(LEAST) else { return };
    let folder = root.join("calicoctl-etcd");
    let mut stories: Vec<_> =
        std::fs::read_dir(&folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    stories.retain(|path| path.join("steps.json").exists());
    stories.sort();
    let mut replayed = 0;
    for story in stories {
        replayed += replay(&story);
    }
    println!("{replayed} runs of the plugin replayed");
    assert!(replayed >= LEAST, "{replayed}");
}

/// Replays a story. Gives the number of the plugin's runs in it.
fn replay(story: &Path) -> usize {
    let steps = read_json(&story.join("steps.json"));
    let steps = steps.as_array().unwrap();
    let is_plugin = |step: &Json| step["argv"][0] == "calico-ipam";
    let mut allocations: BTreeMap<Key, Value> = BTreeMap::new();
    let (mut at, mut replayed) = (0, 0);
    while at < steps.len() {
        if !is_plugin(&steps[at]) {
            at += 1;
            continue;
        }
        let run: Vec<_> = steps[at..].iter().take_while(|step| is_plugin(step)).collect();
        at += run.len();
        // Steps are counted from 1, so this file has the state after the run's last step.
        let before_next = story.join(format!("etcd-before-step-{}.json", at + 1));
        let after = if before_next.exists() { before_next } else { story.join("etcd-after.json") };
        let after = read_json(&after);
        let machine = Machine::with_records(given(&after).chain(allocations));
        for step in &run {
            let answer = execute(&machine, step);
            let wanted = (step["stdout"].as_str().unwrap(), step["exit_code"].as_i64());
            let stdout = without_details(&answer.stdout);
            let found = (stdout.as_str(), answer.code.map(i64::from));
            assert_eq!(found, wanted, "{}: {}", story.display(), step["env"]);
            replayed += 1;
        }
        allocations = left(&machine);
        compare(story, &allocations, &after);
    }
    replayed
}

/// The records that the plugin reads and does not change.
fn given(state: &Json) -> impl Iterator<Item = (Key, Value)> {
    let kinds = [Kind::IPPool, Kind::IPReservation, Kind::Node];
    state.as_object().unwrap().iter().filter_map(move |(path, json)| {
        let key = Key::from_etcd_path(path)?;
        let wanted = match &key {
            Key::IpamConfig => true,
            Key::Resource { kind, .. } => kinds.contains(kind),
            _ => false,
        };
        let value = wanted.then(|| Value::from_stored_text(&key, &json.to_string()).unwrap())?;
        Some((key, value))
    })
}

fn execute(machine: &Machine, step: &Json) -> Answer {
    let mut conf: Json = serde_json::from_str(step["stdin"].as_str().unwrap()).unwrap();
    let ours = machine.conf(serde_json::json!({}));
    conf.as_object_mut().unwrap().remove("etcd_endpoints");
    for field in ["datastore_type", "rackpool_db", "ipam_lock_file"] {
        conf[field] = ours[field].clone();
    }
    let variable = |name: &str| step["env"][name].as_str().unwrap();
    machine.run_with(variable("CNI_COMMAND"), variable("CNI_CONTAINERID"), variable("CNI_ARGS"), &conf)
}

/// The allocations that are in a store after a run.
fn left(machine: &Machine) -> BTreeMap<Key, Value> {
    let scopes =
        [Scope::Blocks { family: None }, Scope::Handles, Scope::Affinities { owner: None, family: None }];
    let set = scopes.iter().cloned().fold(ReadSet::new(), |set, scope| set.scope(scope, Depth::Full));
    let within = std::time::Duration::from_secs(20);
    let view = machine.with_store(|store| wait_for(store.read(&set, within)).unwrap());
    let slots = scopes.iter().flat_map(|scope| view.slots(scope).collect::<Vec<_>>());
    slots.filter_map(|(key, slot)| Some((key.clone(), Slot::record(slot)?.value.clone()))).collect()
}

fn compare(story: &Path, left: &BTreeMap<Key, Value>, after: &Json) {
    let ours: BTreeMap<String, Json> = left
        .iter()
        .map(|(key, value)| (key.etcd_path(), serde_json::from_str(&value.to_stored_text()).unwrap()))
        .collect();
    let theirs = after
        .as_object()
        .unwrap()
        .iter()
        .filter(|(path, _)| path.starts_with("/calico/ipam/v2/") && *path != "/calico/ipam/v2/config");
    let theirs: BTreeMap<String, Json> = theirs.map(|(path, json)| (path.clone(), json.clone())).collect();
    let paths = |records: &BTreeMap<String, Json>| records.keys().cloned().collect::<Vec<_>>();
    assert_eq!(paths(&ours), paths(&theirs), "{}", story.display());
    for (path, ours) in ours {
        // Compared as text, since the order of the fields counts too.
        let (ours, theirs) = (masked(&ours).to_string(), masked(&theirs[&path]).to_string());
        assert_eq!(ours, theirs, "{}: {path}", story.display());
    }
}

/// The value without times and sequence numbers, which differ in each run.
fn masked(json: &Json) -> Json {
    match json {
        Json::Object(object) => object
            .iter()
            .map(|(field, value)| {
                let value = match field.as_str() {
                    "timestamp" | "affinity_claim_time" | "affinityClaimTime" | "sequenceNumber" => {
                        "...".into()
                    }
                    "sequenceNumberForAllocation" => {
                        value.as_object().into_iter().flat_map(|map| map.keys().cloned()).collect()
                    }
                    _ => masked(value),
                };
                (field.clone(), value)
            })
            .collect(),
        Json::Array(items) => items.iter().map(masked).collect(),
        other => other.clone(),
    }
}
