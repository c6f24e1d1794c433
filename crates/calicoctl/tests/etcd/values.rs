//! Every value that a recorded run of Calico left in etcd is read by the real store, and written back
//! unchanged.

use std::path::{Path, PathBuf};

use api::{Key, Value};
use serde_json::Value as Json;
use servers::etcd_server::EtcdServer;
use store::testing::etcd_client::Client;
use store::{Batch, Expect, ReadSet, Store};

use crate::fixture::{WITHIN, needs_etcd, open, wait_for};

/// Replaces the marks of a recording, which stand for what differs in each run, by values.
fn filled(json: &Json) -> Json {
    match json {
        Json::String(text) if text.starts_with("<seq-") => 1_785_578_400_123_456_789_u64.into(),
        Json::String(text) => Json::String(placeholders(text)),
        Json::Array(items) => items.iter().map(filled).collect(),
        Json::Object(fields) => fields.iter().map(|(name, value)| (name.clone(), filled(value))).collect(),
        other => other.clone(),
    }
}

fn placeholders(text: &str) -> String {
    let known = [
        ("<uid-", "11111111-2222-4333-8444-555555555555"),
        ("<guid-", "0123456789abcdef0123456789abcdef"),
        ("<rev-", "12"),
        ("<time-", "2026-08-01T10:00:03Z"),
        ("<gotime-", "2026-08-01 10:00:03.123456789 +0000 UTC"),
    ];
    let mut text = text.to_string();
    for (start, value) in known {
        while let Some(at) = text.find(start) {
            let end = at + text[at..].find('>').unwrap();
            text.replace_range(at..=end, value);
        }
    }
    text
}

/// The keys and texts of a recorded state.
pub fn recorded(file: &Path) -> Vec<(String, String)> {
    let json: Json = serde_json::from_str(&std::fs::read_to_string(file).unwrap()).unwrap();
    let entries = json.as_object().unwrap().iter();
    entries.map(|(key, value)| (placeholders(key), filled(value).to_string())).collect()
}

/// The least number of recorded states that must be found.
const LEAST: usize = 80;

#[allow(clippy::disallowed_methods, reason = "whoever runs the tests says here where the recordings are")]
pub fn states() -> Option<Vec<PathBuf>> {
    let Some(root) = std::env::var_os("RACKPOOL_RECORDINGS").map(PathBuf::from) else {
        println!("skipped: {LEAST} recordings: RACKPOOL_RECORDINGS names none");
        return None;
    };
    let scenarios = std::fs::read_dir(root.join("calicoctl-etcd")).unwrap();
    let mut files: Vec<PathBuf> =
        scenarios.map(|entry| entry.unwrap().path().join("etcd-after.json")).collect();
    files.retain(|file| file.is_file());
    files.sort();
    assert!(files.len() >= LEAST, "{}", files.len());
    Some(files)
}

/// Whether the recorded scenario damaged records on purpose.
fn is_broken(file: &Path) -> bool {
    file.parent().and_then(Path::file_name).is_some_and(|name| name == "125-ipam-check-broken-blocks")
}

/// Whether two JSON texts are equal, with their fields in the same order.
fn is_same(a: &Json, b: &Json) -> bool {
    match (a, b) {
        (Json::Object(a), Json::Object(b)) => {
            a.len() == b.len() && a.iter().zip(b).all(|((n, a), (m, b))| n == m && is_same(a, b))
        }
        (Json::Array(a), Json::Array(b)) => a.len() == b.len() && a.iter().zip(b).all(|(a, b)| is_same(a, b)),
        (a, b) => a == b,
    }
}

/// The value with the fields of every object in reverse order.
fn reversed(json: &Json) -> Json {
    match json {
        Json::Array(items) => items.iter().map(reversed).collect(),
        Json::Object(fields) => {
            fields.iter().rev().map(|(name, value)| (name.clone(), reversed(value))).collect()
        }
        other => other.clone(),
    }
}

/// The value as this program writes it: resources have the field order of Calico's structs.
fn canonical(value: &Value) -> Value {
    match value {
        Value::Resource(resource) => Value::Resource(resource.clone().canonical()),
        other => other.clone(),
    }
}

#[test]
fn what_we_write_has_its_fields_in_calicos_order() {
    let Some(files) = states() else { return };
    for file in &files {
        for (path, text) in recorded(file) {
            let was: Json = serde_json::from_str(&text).unwrap();
            let key = Key::from_etcd_path(&path).unwrap();
            let value = match Value::from_stored_text(&key, &reversed(&was).to_string()) {
                Err(error) if is_broken(file) => {
                    println!("{error}");
                    continue;
                }
                value => value.unwrap(),
            };
            let is: Json = serde_json::from_str(&canonical(&value).to_stored_text()).unwrap();
            assert!(is_same(&was, &is), "{} {path}:\n{was}\n{is}", file.display());
        }
    }
}

#[test]
fn recorded_values_are_read_and_written_back_as_they_were() {
    needs_etcd!();
    let Some(files) = states() else { return };
    let server = EtcdServer::start();
    let (mut values, mut unknown) = (0, 0);
    wait_for(async {
        let mut raw = Client::connect([server.endpoint()], None).await.unwrap();
        let store = open(&server);
        for file in &files {
            for (path, text) in recorded(file) {
                raw.put(path.as_str(), text.as_str(), None).await.unwrap();
                let Some(key) = Key::from_etcd_path(&path) else {
                    unknown += 1;
                    continue;
                };
                let view = store.read(&ReadSet::new().key(key.clone()), WITHIN).await.unwrap();
                if let Some(unreadable) = view.unreadable(&key).filter(|_| is_broken(file)) {
                    println!("{}", unreadable.error);
                    continue;
                }
                let record = view.full(&key).flatten().unwrap().clone();
                let mut batch = Batch::new();
                let expect = Expect::Revision(record.revision.clone());
                batch.put(key.clone(), expect, Value::clone(&record.value));
                assert!(store.commit(&batch, WITHIN).await.unwrap().is_applied());
                let now = raw.get(path.as_str(), None).await.unwrap();
                let now = now.kvs()[0].value_str().unwrap().to_string();
                let [was, is]: [Json; 2] = [&text, &now].map(|text| serde_json::from_str(text).unwrap());
                // The order of fields and the spelling of values must be Calico's. The texts themselves
                // differ where the recording lost Go's escapes.
                assert!(is_same(&was, &is), "{} {path}:\n{text}\n{now}", file.display());
                values += 1;
            }
        }
    });
    println!("{values} values; {unknown} of other kinds left alone");
    assert!(values > 500, "{values}");
    assert_eq!(unknown, 0);
}
