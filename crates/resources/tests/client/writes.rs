//! Metadata, defaults, revisions, patches and labels of resources.

use api::{Kind, Resource};
use resources::label::{LabelChange, LabelRefusal};
use resources::{Error, Labelled};
use serde_json::json;
use store::MemoryStore;

use crate::common::{Fixed, client, id, pool, run, stored};

fn from(json: serde_json::Value) -> Resource {
    Resource::from_input(json).unwrap()
}

fn full(version: Option<&str>, labels: serde_json::Value) -> Resource {
    from(json!({"kind": "IPPool", "apiVersion": "projectcalico.org/v3",
        "metadata": {"name": "p", "uid": "11111111-2222-4333-8444-555555555555", "labels": labels,
            "annotations": {"note": "x"}, "generateName": "zz", "finalizers": ["x/y"], "resourceVersion": version,
            "creationTimestamp": "2020-01-01T00:00:00Z"},
        "spec": {"cidr": "10.1.0.0/16"}}))
}

#[test]
fn a_create_keeps_name_labels_and_annotations_only() {
    let (store, effects) = (MemoryStore::new(), Fixed::default());
    let created = run(client(&store, &effects).create(&full(None, json!({"a": "1"})))).unwrap();
    let metadata = created.metadata();
    assert_ne!(metadata.uid.as_deref(), Some("11111111-2222-4333-8444-555555555555"));
    assert_eq!(metadata.creation_timestamp.as_deref(), Some("2026-08-01T10:00:00Z"));
    assert_eq!((metadata.labels.len(), metadata.annotations.len(), metadata.rest.len()), (1, 1, 0));
    assert_eq!(created.field(&["spec", "blockSize"]), Some(&26.into()), "defaults are stored");
    assert_eq!(run(client(&store, &effects).get(&id(Kind::IPPool, "p"))).unwrap(), created);
}

/// The field from which a pod's name was made is copied to the pod's endpoint, directly behind the name, as
/// in Calico.
#[test]
fn an_endpoint_keeps_what_its_pods_name_was_made_from() {
    let (store, effects) = (MemoryStore::new(), Fixed::default());
    let client = client(&store, &effects);
    let endpoint = |generated: serde_json::Value| {
        from(json!({"kind": "WorkloadEndpoint", "apiVersion": "projectcalico.org/v3",
            "metadata": {"name": "n1-k8s-web--x-eth0", "namespace": "default", "generateName": generated, "finalizers": ["x/y"]},
            "spec": {"orchestrator": "k8s", "node": "n1", "pod": "web-x", "endpoint": "eth0", "interfaceName": "cali0",
                "profiles": ["net"], "ipNetworks": ["10.0.0.1/32"]}}))
    };
    let text = || {
        let id = resources::Identifier::new(Kind::WorkloadEndpoint, Some("default"), "n1-k8s-web--x-eth0");
        stored(&store, &id).unwrap().to_stored_text()
    };
    run(client.apply(&endpoint(json!("web-")))).unwrap();
    let start = r#"{"kind":"WorkloadEndpoint","apiVersion":"projectcalico.org/v3","metadata":{"name":"n1-k8s-web--x-eth0","generateName":"web-","namespace":"default","uid":""#;
    assert!(text().starts_with(start) && !text().contains("finalizers"), "{}", text());
    // The endpoint of the pod's next container has the field again.
    run(client.apply(&endpoint(json!("web2-")))).unwrap();
    assert!(text().contains(r#""generateName":"web2-""#), "{}", text());
    run(client.apply(&endpoint(json!(null)))).unwrap();
    assert!(text().contains(r#""generateName":"web2-""#), "{}", text());
}

#[test]
fn revisions_are_for_updates() {
    let (store, effects) = (MemoryStore::new(), Fixed::default());
    let client = client(&store, &effects);
    let refused = run(client.create(&full(Some("12"), json!({})))).unwrap_err();
    assert!(matches!(refused, Error::Invalid(_)), "{refused}");
    // `apply` compares the revision only if the resource exists.
    let applied = run(client.apply(&full(Some("12"), json!({})))).unwrap();
    let conflict = run(client.apply(&full(Some("12"), json!({})))).unwrap_err();
    assert_eq!(conflict.to_string(), "update conflict: IPPool(p)");
    let version = applied.metadata().resource_version.clone();
    let updated = run(client.update(&full(version.as_deref(), json!({"b": "2"})))).unwrap();
    assert_ne!(updated.metadata().resource_version, version);
    assert_eq!(updated.metadata().uid, applied.metadata().uid);
    assert_eq!(updated.metadata().creation_timestamp, applied.metadata().creation_timestamp);
    assert_eq!(updated.metadata().labels.keys().collect::<Vec<_>>(), ["b"]);
    let stale = run(client.delete(&id(Kind::IPPool, "p"), version.as_deref())).unwrap_err();
    assert_eq!(stale.to_string(), "update conflict: IPPool(p)");
    assert!(stored(&store, &id(Kind::IPPool, "p")).unwrap().field(&["spec", "disabled"]).is_none());
}

#[test]
fn what_we_do_not_know_survives_every_update() {
    let (store, effects) = (MemoryStore::new(), Fixed::default());
    let client = client(&store, &effects);
    run(client.create(&pool("p", "10.0.0.0/24"))).unwrap();
    let pool_id = id(Kind::IPPool, "p");
    let strange = stored(&store, &pool_id).unwrap().with(|metadata, body| {
        metadata.rest.insert("futureMeta".into(), 1.into());
        body["spec"]["futureField"] = "kept".into();
    });
    store.put(pool_id.key(), api::Value::Resource(strange));
    let survived = |what: &str| {
        let now = stored(&store, &pool_id).unwrap();
        assert_eq!(now.text(&["spec", "futureField"]), Some("kept"), "{what}");
        assert_eq!(now.metadata().rest.get("futureMeta"), Some(&1.into()), "{what}");
    };
    run(client.update(&pool("p", "10.0.0.0/24"))).unwrap();
    survived("replace");
    run(client.patch(&pool_id, r#"{"spec": {"natOutgoing": true}}"#)).unwrap();
    survived("patch");
    let change = LabelChange::Set { key: "a".into(), value: "b".into(), overwrite: false };
    assert_eq!(run(client.label(&pool_id, &change)).unwrap(), Ok(Labelled::Set));
    survived("label");
    let shown = run(client.get(&pool_id)).unwrap();
    assert_eq!(shown.text(&["spec", "futureField"]), None, "nobody could write it back");
    Resource::from_input(shown.to_json()).unwrap();
}

#[test]
fn patches_merge_and_cannot_make_another_resource() {
    let (store, effects) = (MemoryStore::new(), Fixed::default());
    let client = client(&store, &effects);
    run(client.create(&full(None, json!({"a": "1"})))).unwrap();
    let pool_id = id(Kind::IPPool, "p");
    let patch = |text: &str| run(client.patch(&pool_id, text)).map_err(|e| e.to_string());
    let uid = stored(&store, &pool_id).unwrap().metadata().uid.clone();
    let patched =
        patch(r#"{"metadata": {"labels": {"a": null, "b": "2"}, "uid": "x"}, "spec": {"allowedUses": ["Workload"]}}"#)
            .unwrap();
    assert_eq!(patched.metadata().labels.keys().collect::<Vec<_>>(), ["b"]);
    assert_eq!(patched.metadata().uid, uid);
    assert_eq!(patched.field(&["spec", "allowedUses"]), Some(&json!(["Workload"])));
    for (text, wanted) in [
        ("[]", "performing strategic merge patch: invalid JSON document"),
        ("{", "performing strategic merge patch: invalid JSON document"),
        (
            r#"{"spec": {"nope": 1}}"#,
            "creating resource from patched data: field in document is not recognized or is in the wrong location: nope",
        ),
        (r#"{"metadata": {"name": "q"}}"#, "a patch cannot change the name"),
        (
            r#"{"spec": {"cidr": "10.9.0.0/16"}}"#,
            "error with field IPPool.Spec.CIDR = '10.9.0.0/16' (IPPool CIDR cannot be modified)",
        ),
    ] {
        assert_eq!(patch(text).unwrap_err(), wanted, "{text}");
    }
    let missing = run(client.patch(&id(Kind::IPPool, "nope"), "{}")).unwrap_err();
    assert_eq!(missing.to_string(), "resource does not exist: IPPool(nope) with error: <nil>");
}

/// A caller who names a version wants only that version to be changed, whatever the command.
#[test]
fn a_patch_may_name_the_version_that_it_is_for() {
    let (store, effects) = (MemoryStore::new(), Fixed::default());
    let client = client(&store, &effects);
    let created = run(client.create(&pool("p", "10.0.0.0/24"))).unwrap();
    let on = id(Kind::IPPool, "p");
    let patch = |version: serde_json::Value, nat: bool| {
        let patch = json!({"metadata": {"resourceVersion": version}, "spec": {"natOutgoing": nat}});
        run(client.patch(&on, &patch.to_string()))
    };
    let first = json!(created.metadata().resource_version);
    let patched = patch(first.clone(), true).unwrap();
    for gone in [
        first,
        json!("0"),
        json!("nonsense"),
        json!(patched.metadata().resource_version.clone().unwrap() + "0"),
    ] {
        assert_eq!(
            patch(gone.clone(), false).unwrap_err().to_string(),
            "update conflict: IPPool(p)",
            "{gone}"
        );
    }
    assert_eq!(stored(&store, &on).unwrap().field(&["spec", "natOutgoing"]), Some(&true.into()));
    // A missing revision, or the present one, is no reason to refuse.
    for (any, nat) in [(json!(null), false), (json!(""), true)] {
        let patched = patch(any, nat).unwrap();
        let is = patched.field(&["spec", "natOutgoing"]).is_some_and(|nat| *nat == true);
        assert_eq!(is, nat, "false is left out");
    }
    assert!(matches!(patch(json!(70), false), Err(Error::Conflict(_))), "a number is taken for its text");
    assert!(matches!(patch(json!({"a": 1}), false), Err(Error::Patch(_))));
}

#[test]
fn labels_are_not_overwritten_by_chance() {
    let (store, effects) = (MemoryStore::new(), Fixed::default());
    let client = client(&store, &effects);
    run(client.create(&crate::common::resource(Kind::Node, "n", json!({})))).unwrap();
    let node = id(Kind::Node, "n");
    let set = |value: &str, overwrite| {
        let change = LabelChange::Set { key: "rack".into(), value: value.into(), overwrite };
        run(client.label(&node, &change)).unwrap()
    };
    assert_eq!(set("0", false), Ok(Labelled::Set));
    assert_eq!(set("1", false), Err(LabelRefusal::Present));
    assert_eq!(set("0", false), Ok(Labelled::Updated), "nothing would be lost");
    assert_eq!(set("1", true), Ok(Labelled::Updated));
    assert_eq!(stored(&store, &node).unwrap().metadata().labels["rack"], "1");
    let remove = LabelChange::Remove { key: "rack".into() };
    assert_eq!(run(client.label(&node, &remove)).unwrap(), Ok(Labelled::Removed));
    assert_eq!(run(client.label(&node, &remove)).unwrap(), Err(LabelRefusal::Missing));
    let bad = LabelChange::Set { key: "a/b/c".into(), value: String::new(), overwrite: false };
    assert!(matches!(run(client.label(&node, &bad)), Err(Error::Invalid(_))));
}

#[test]
fn some_kinds_are_not_for_users() {
    let (store, effects) = (MemoryStore::new(), Fixed::default());
    let client = client(&store, &effects);
    run(client.ensure_initialised()).unwrap();
    let info = crate::common::resource(Kind::ClusterInformation, "default", json!({}));
    let before = store.records();
    for (outcome, wanted) in [
        (run(client.create(&info)), "operation create or apply is not supported on ClusterInformation"),
        (
            run(client.apply(&info)),
            "operation apply is not supported on ClusterInformation: resource is readonly",
        ),
        (run(client.update(&info)), "operation apply or replace is not supported on ClusterInformation"),
        (
            run(client.delete(&id(Kind::ClusterInformation, "default"), None)),
            "operation delete is not supported on ClusterInformation",
        ),
    ] {
        assert_eq!(outcome.unwrap_err().to_string(), wanted);
    }
    assert!(run(client.delete(&id(Kind::Tier, "default"), None)).is_err());
    assert_eq!(store.records(), before);
}
