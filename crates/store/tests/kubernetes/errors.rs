//! Errors, each with its remedy.

use std::time::Duration;

use api::{AffinityState, Key, Kind, Resource, Value};
use serde_json::json;
use store::kubernetes::{KubeOptions, KubeStore, Pem};
use store::{Batch, Depth, Expect, Op, Outcome, ReadSet, Refusal, Scope, Store, StoreError};

use super::fixture::*;

fn contains(error: &StoreError, words: &[&str]) {
    for word in words {
        assert!(error.to_string().contains(word), "{word}: {error}");
    }
}

async fn read_error(store: &KubeStore) -> StoreError {
    store.read(&ReadSet::new().scope(Scope::Handles, Depth::Full), WITHIN).await.unwrap_err()
}

#[tokio::test]
async fn a_wrong_token_is_denied() {
    let Some(cluster) = cluster().await else { return };
    let options = KubeOptions { token: Some("wrong".to_string()), ..cluster.options(GROUPS[0]) };
    let store = KubeStore::open(options).unwrap();
    let error = read_error(&store).await;
    assert!(matches!(error, StoreError::Denied(_)), "{error:?}");
    contains(&error, &["does not accept the credentials", "CALICO_K8SAPITOKEN"]);
    let mut batch = Batch::new();
    batch.put(handle("a"), Expect::Absent, counted(1));
    assert!(matches!(store.commit(&batch, WITHIN).await, Err(StoreError::Denied(_))));
}

#[tokio::test]
async fn a_missing_right_is_named() {
    let Some(cluster) = cluster().await else { return };
    let store = cluster.open_as(GROUPS[0], STRANGER);
    let error = read_error(&store).await;
    assert!(matches!(error, StoreError::Denied(_)), "{error:?}");
    contains(
        &error,
        &[
            r#"Give stranger a role with the rule {apiGroups: ["crd.projectcalico.org"], resources: ["ipamhandles"], verbs: ["list"]}"#,
        ],
    );
    let outcome = put(&store, &handle("a"), Expect::Absent, counted(1)).await;
    let Outcome::Refused(Refusal::Denied(text)) = &outcome else { panic!("{outcome:?}") };
    assert!(text.contains(r#"verbs: ["create"]"#), "{text}");
}

/// The role in `deploy/rbac` suffices for the allocator's requests.
#[tokio::test]
async fn the_plugins_role_suffices() {
    let Some(cluster) = cluster().await else { return };
    for group in GROUPS {
        let store = cluster.open_as(group, PLUGIN);
        let set = ReadSet::new()
            .scope(Scope::kind(Kind::IPPool), Depth::Full)
            .scope(Scope::kind(Kind::IPReservation), Depth::Full)
            .scope(Scope::Affinities { owner: None, family: None }, Depth::Full)
            .scope(Scope::Blocks { family: None }, Depth::Key)
            .key(Key::IpamConfig)
            .key(Key::global(Kind::Node, "n1"))
            .key(handle("a"));
        store.read(&set, WITHIN).await.unwrap();
        for (key, value) in flagged_kinds() {
            let first = applied(&put(&store, &key, Expect::Absent, value.clone()).await);
            let second = applied(&put(&store, &key, Expect::Revision(first), value.clone()).await);
            applied(&write(&store, &key, Expect::Revision(second), Op::Delete).await);
        }
    }
}

#[tokio::test]
async fn a_server_that_is_not_there_is_unavailable() {
    let options = KubeOptions {
        endpoint: Some("https://127.0.0.1:1".to_string()),
        ca: Some(Pem::Inline(rcgen::generate_simple_self_signed(["x".to_string()]).unwrap().cert.pem())),
        group: Some(GROUPS[0]),
        ..KubeOptions::default()
    };
    let store = KubeStore::open(options).unwrap();
    let error = read_error(&store).await;
    assert!(matches!(error, StoreError::Unavailable(_)), "{error:?}");
    contains(&error, &["https://127.0.0.1:1 cannot be reached", "refused", "K8S_API_ENDPOINT"]);
    let mut batch = Batch::new();
    batch.put(handle("a"), Expect::Absent, counted(1));
    let error = store.commit(&batch, WITHIN).await.unwrap_err();
    assert!(matches!(error, StoreError::Unavailable(_)), "nothing was sent: {error:?}");
    // At this address, no server answers.
    let options =
        KubeOptions { endpoint: Some("https://192.0.2.1:6443".to_string()), ..cluster_free_options() };
    let store = KubeStore::open(options).unwrap();
    let error = store.commit(&batch, Duration::from_millis(300)).await.unwrap_err();
    assert!(matches!(error, StoreError::Unavailable(_)), "nothing was sent: {error:?}");
}

fn cluster_free_options() -> KubeOptions {
    let ca = rcgen::generate_simple_self_signed(["x".to_string()]).unwrap().cert.pem();
    KubeOptions { ca: Some(Pem::Inline(ca)), group: Some(GROUPS[0]), ..KubeOptions::default() }
}

#[tokio::test]
async fn a_foreign_authority_is_not_trusted() {
    let Some(cluster) = cluster().await else { return };
    let options = KubeOptions { ca: cluster_free_options().ca, ..cluster.options(GROUPS[0]) };
    let error = read_error(&KubeStore::open(options).unwrap()).await;
    assert!(matches!(error, StoreError::Unusable(_)), "{error:?}");
    contains(&error, &["not signed by a trusted authority", "K8S_CA_FILE"]);
    // The certificate is not checked if the user has turned the check off.
    let options = KubeOptions { ca: cluster_free_options().ca, insecure: true, ..cluster.options(GROUPS[0]) };
    let store = KubeStore::open(options).unwrap();
    store.read(&ReadSet::new().key(handle("a")), WITHIN).await.unwrap();
}

fn pool(name: &str, cidr: &str) -> (Key, Value) {
    let json =
        json!({"metadata": {"name": name}, "spec": {"cidr": cidr, "blockSize": 26, "nodeSelector": "all()"}});
    (Key::global(Kind::IPPool, name), Value::Resource(Resource::from_json(Kind::IPPool, json).unwrap()))
}

#[tokio::test]
async fn rules_of_the_server_refuse_for_good() {
    let Some(cluster) = cluster().await else { return };
    for group in GROUPS {
        let store = cluster.open(group);
        // Values that the schema refuses, that an admission policy refuses, and that are too large.
        let (key, value) = pool("p", "10.0.0.1/16");
        let outcome = put(&store, &key, Expect::Absent, value).await;
        let Outcome::Refused(Refusal::Invalid(text)) = &outcome else { panic!("{outcome:?}") };
        assert!(text.contains("spec"), "{text}");
        let mut value = block_value("10.0.0.0/26", "n1", 1);
        let Value::Block(block_of) = &mut value else { unreachable!() };
        let mut attribute = (*block_of.attributes[0]).clone();
        attribute.owner.insert("note".to_string(), "x".repeat(2_000_000));
        block_of.attributes[0] = attribute.into();
        let outcome = put(&store, &block("10.0.0.0/26"), Expect::Absent, value).await;
        assert!(matches!(outcome, Outcome::Refused(Refusal::TooLarge(_))), "{outcome:?}");
    }
    let policy = json!({"apiVersion": "admissionregistration.k8s.io/v1", "kind": "ValidatingAdmissionPolicy",
        "metadata": {"name": "unwanted-node"}, "spec": {"failurePolicy": "Fail",
        "matchConstraints": {"resourceRules": [{"apiGroups": ["crd.projectcalico.org"], "apiVersions": ["v1"],
            "operations": ["CREATE"], "resources": ["blockaffinities"]}]},
        "validations": [{"expression": "object.spec.node != 'unwanted'", "message": "nobody wants this node"}]}});
    let binding = json!({"apiVersion": "admissionregistration.k8s.io/v1", "kind": "ValidatingAdmissionPolicyBinding",
        "metadata": {"name": "unwanted-node"}, "spec": {"policyName": "unwanted-node", "validationActions": ["Deny"]}});
    let at = "/apis/admissionregistration.k8s.io/v1/validatingadmissionpolic";
    assert_eq!(cluster.ask("POST", &format!("{at}ies"), Some(&policy)).await.0, 201);
    assert_eq!(cluster.ask("POST", &format!("{at}ybindings"), Some(&binding)).await.0, 201);
    let store = cluster.open(GROUPS[0]);
    let key = affinity("unwanted", "10.0.0.0/26");
    let mut refused = None;
    // The API server applies a new policy only some time later.
    for _ in 0..200 {
        match put(&store, &key, Expect::Absent, in_state(AffinityState::Pending)).await {
            Outcome::Applied(revision) => {
                applied(&write(&store, &key, Expect::Revision(revision), Op::Delete).await);
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
            outcome => {
                refused = Some(outcome);
                break;
            }
        }
    }
    cluster.ask("DELETE", &format!("{at}ybindings/unwanted-node"), None).await;
    cluster.ask("DELETE", &format!("{at}ies/unwanted-node"), None).await;
    let Some(Outcome::Refused(Refusal::Invalid(text))) = &refused else { panic!("{refused:?}") };
    assert!(text.contains("nobody wants this node"), "{text}");
}
