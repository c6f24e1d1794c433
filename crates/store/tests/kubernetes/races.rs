//! Races with another client, which writes as Calico does.

use std::sync::Arc;

use api::{AffinityState, Revision};
use serde_json::Value as Json;
use store::{Current, Expect, Op, Outcome, Refusal};
use tokio::task::yield_now;

use super::fixture::*;

/// Calico flags or removes a record while this store changes it. This store's write is refused, at whatever
/// moment that happens.
#[tokio::test]
async fn a_deletion_by_another_is_met() {
    let Some(cluster) = cluster().await else { return };
    for group in GROUPS {
        let store = cluster.open(group);
        for (key, value) in flagged_kinds() {
            let revision = applied(&put(&store, &key, Expect::Absent, value.clone()).await);
            let uid =
                cluster.object(group, &key).await.unwrap()["metadata"]["uid"].as_str().unwrap().to_string();
            assert_eq!(cluster.flag(group, &key, &value, revision.as_str()).await.0, 200);
            let outcome = put(&store, &key, Expect::Revision(revision.clone()), value.clone()).await;
            assert!(matches!(outcome, Outcome::Refused(Refusal::Conflict(_))), "{outcome:?}");
            let outcome = write(&store, &key, Expect::Revision(revision.clone()), Op::Delete).await;
            assert!(matches!(outcome, Outcome::Refused(Refusal::Conflict(_))), "{outcome:?}");
            // This store creates the record just before Calico removes the flagged object. The removal must
            // not remove the new record.
            let created = applied(&put(&store, &key, Expect::Absent, value.clone()).await);
            let (code, answer) = cluster.remove(group, &key, &uid).await;
            assert_eq!(code, 409, "{answer}");
            assert_eq!(find(&store, &key).await.unwrap().revision, created);
            // The last case is an update of a record that is gone.
            applied(&write(&store, &key, Expect::Revision(created.clone()), Op::Delete).await);
            let outcome = put(&store, &key, Expect::Revision(created.clone()), value.clone()).await;
            assert_eq!(outcome, Outcome::Refused(Refusal::Conflict(Current::Absent)));
            let outcome = write(&store, &key, Expect::Revision(created), Op::Delete).await;
            assert!(matches!(outcome, Outcome::Refused(Refusal::Conflict(_))), "{outcome:?}");
        }
    }
}

/// This store and Calico claim, confirm and delete one affinity again and again. Each step that was reported
/// as applied was applied to the expected state.
#[tokio::test]
async fn claims_and_deletions_do_not_mix() {
    let Some(cluster) = cluster().await else { return };
    let cluster = Arc::new(cluster);
    let key = affinity("n1", "10.0.0.0/26");
    for group in GROUPS {
        let ours = async {
            let store = cluster.open(group);
            let (mut created, mut deleted) = (0, 0);
            while created < 12 {
                match find(&store, &key).await {
                    None => {
                        let outcome =
                            put(&store, &key, Expect::Absent, in_state(AffinityState::Pending)).await;
                        created += u32::from(matches!(outcome, Outcome::Applied(_)));
                    }
                    Some(record) => {
                        let expect = Expect::Revision(record.revision.clone());
                        let outcome = write(&store, &key, expect, Op::Delete).await;
                        deleted += u32::from(matches!(outcome, Outcome::Applied(_)));
                    }
                }
                yield_now().await;
            }
            (created, deleted)
        };
        let calicos = async {
            let value = in_state(AffinityState::Confirmed);
            let (mut created, mut deleted) = (0, 0);
            while created < 12 {
                let Some(object) = cluster.object(group, &key).await else {
                    let (code, _) = cluster.create(group, &key, &value).await;
                    created += u32::from(code == 201);
                    continue;
                };
                let uid = object["metadata"]["uid"].as_str().unwrap().to_string();
                let is_flagged = object["spec"]["deleted"] == "true" || object["spec"]["deleted"] == true;
                let flagged = match is_flagged {
                    true => (200, Json::Null),
                    false => cluster.flag(group, &key, &value, revision_of(&object)).await,
                };
                deleted += u32::from(flagged.0 == 200 && !is_flagged);
                yield_now().await;
                if flagged.0 == 200 {
                    cluster.remove(group, &key, &uid).await;
                }
            }
            (created, deleted)
        };
        let (ours, calicos) = tokio::join!(ours, calicos);
        let left = u32::from(find(&cluster.open(group), &key).await.is_some());
        assert_eq!(ours.0 + calicos.0, ours.1 + calicos.1 + left, "ours {ours:?}, Calico's {calicos:?}");
        cluster.clear().await;
    }
}

/// Records of an older client, with other fields.
#[tokio::test]
async fn what_others_wrote_is_read() {
    let Some(cluster) = cluster().await else { return };
    // Recorded in 045-existing-data-quirks.
    for group in GROUPS {
        let store = cluster.open(group);
        let object = serde_json::json!({"apiVersion": group.api_version(), "kind": "IPAMHandle",
            "metadata": {"name": "k8s-pod-network.old", "labels": {"a": "b"}},
            "spec": {"handleID": "k8s-pod-network.old\r", "block": {"10.10.0.0/30": 1}}});
        let key = handle("k8s-pod-network.old");
        assert_eq!(cluster.ask("POST", &collection(group, &key), Some(&object)).await.0, 201);
        let record = find(&store, &key).await.unwrap();
        assert_eq!(record.handle().unwrap().blocks[&cidr("10.10.0.0/30")], 1);
        let revision: Revision =
            applied(&put(&store, &key, Expect::Revision(record.revision.clone()), counted(2)).await);
        applied(&write(&store, &key, Expect::Revision(revision), Op::Delete).await);
        assert_eq!(cluster.object(group, &key).await, None);
    }
}
