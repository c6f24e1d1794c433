use serde_json::json;

use super::*;

const V3: &str = "projectcalico.org/v3";

fn pool(spec: Json) -> Json {
    json!({"apiVersion": V3, "kind": "IPPool", "metadata": {"name": "p"}, "spec": spec})
}

fn error(json: Json) -> String {
    decode_document(json).unwrap_err().to_string()
}

#[test]
fn wrong_types_have_go_s_texts() {
    let go =
        |text: &str| format!("error unmarshaling JSON: while decoding JSON: json: cannot unmarshal {text}");
    // Recorded in 041-wrong-types, 085-bgppeer and 088-node-errors.
    for (spec, text) in [
        (json!({"disabled": "true"}), "string into Go struct field IPPoolSpec.spec.disabled of type bool"),
        (json!({"disabled": 1}), "number into Go struct field IPPoolSpec.spec.disabled of type bool"),
        (json!({"blockSize": "26"}), "string into Go struct field IPPoolSpec.spec.blockSize of type int"),
        (
            json!({"blockSize": 26.5}),
            "number 26.5 into Go struct field IPPoolSpec.spec.blockSize of type int",
        ),
        (json!({"blockSize": {}}), "object into Go struct field IPPoolSpec.spec.blockSize of type int"),
        (
            json!({"allowedUses": "Workload"}),
            "string into Go struct field IPPoolSpec.spec.allowedUses of type []v3.IPPoolAllowedUse",
        ),
        (json!({"cidr": ["10.0.0.0/16"]}), "array into Go struct field IPPoolSpec.spec.cidr of type string"),
        (json!("none"), "string into Go struct field IPPool.spec of type v3.IPPoolSpec"),
    ] {
        assert_eq!(error(pool(spec)), go(text));
    }
    let labels = json!({"apiVersion": V3, "kind": "IPPool", "metadata": {"name": "p", "labels": "none"}});
    assert_eq!(
        error(labels),
        go("string into Go struct field ObjectMeta.metadata.labels of type map[string]string")
    );
    let metadata = json!({"apiVersion": V3, "kind": "IPPool", "metadata": [], "spec": {}});
    assert_eq!(error(metadata), go("array into Go struct field IPPool.metadata of type v1.ObjectMeta"));
    let peer = |number: Json| json!({"apiVersion": V3, "kind": "BGPPeer", "metadata": {"name": "x"}, "spec": {"asNumber": number}});
    assert_eq!(
        error(peer(json!(99999999999u64))),
        go("number into Go struct field BGPPeerSpec.spec.asNumber of type string")
    );
    assert_eq!(
        error(peer(json!("abc"))),
        "error unmarshaling JSON: while decoding JSON: invalid AS Number format (abc)"
    );
    let node = json!({"apiVersion": V3, "kind": "Node", "metadata": {"name": "x"}, "spec": {"bgp": {"asNumber": -1}}});
    assert_eq!(error(node), go("number into Go struct field NodeBGPSpec.spec.bgp.asNumber of type string"));
}

#[test]
fn what_is_no_resource_at_all() {
    let not_a_list = |what: &str| {
        format!(
            "error unmarshaling JSON: while decoding JSON: json: cannot unmarshal {what} into Go value of type []unstructured.Unstructured"
        )
    };
    // Recorded in 040-unknown-things, 041-wrong-types and 034-empty-input.
    for (document, text) in [
        (json!({"apiVersion": V3, "metadata": {"name": "p"}}), not_a_list("object")),
        (json!({"apiVersion": V3, "KIND": "IPPool"}), not_a_list("object")),
        (json!({"apiVersion": V3, "kind": ["IPPool"]}), not_a_list("object")),
        (json!("just a string"), not_a_list("string")),
        (json!(42), not_a_list("number")),
        (json!(null), "unknown resource type () and/or version ()".to_string()),
        (json!({"kind": "IPPool"}), "unknown resource type (IPPool) and/or version ()".to_string()),
        (
            json!({"kind": "IPPool", "apiVersion": "v1"}),
            "unknown resource type (IPPool) and/or version (v1)".to_string(),
        ),
        (
            json!({"kind": "IPPol", "apiVersion": V3}),
            "unknown resource type (IPPol) and/or version (projectcalico.org/v3)".to_string(),
        ),
        (
            json!({"kind": "List", "apiVersion": "v2", "items": []}),
            "unknown resource type (List) and/or version (v2)".to_string(),
        ),
    ] {
        assert_eq!(error(document), text);
    }
}

/// `kubectl get ippools.crd.projectcalico.org -o yaml`. The metadata that users wrote are in an annotation.
#[test]
fn what_kubectl_writes_is_taken() {
    let metadata = json!({"name": "p", "generation": 3, "resourceVersion": "12", "uid": "f5fd3ee4-8dbf-4cd0-a9d0-b0fd8e2d0a0d",
        "creationTimestamp": "2026-01-02T03:04:05Z",
        "annotations": {"projectcalico.org/metadata": r#"{"labels":{"rack":"0"}}"#}});
    let custom = json!({"apiVersion": "crd.projectcalico.org/v1", "kind": "IPPool", "metadata": metadata,
        "spec": {"cidr": "10.0.0.0/16", "blockSize": 26}});
    let list = |items: Json| json!({"apiVersion": "v1", "kind": "List", "metadata": {"resourceVersion": ""}, "items": items});
    let read = decode_document(list(json!([custom, pool(json!({"cidr": "10.1.0.0/16"}))]))).unwrap();
    assert_eq!(read.len(), 2);
    assert_eq!(read[0], decode_document(custom.clone()).unwrap().remove(0));
    assert_eq!((read[0].name(), read[0].metadata().labels["rack"].as_str()), ("p", "0"));
    assert_eq!(read[0].metadata().resource_version.as_deref(), Some("12"));
    assert_eq!(read[0].text(&["spec", "cidr"]), Some("10.0.0.0/16"));

    let mut odd = custom;
    odd["spec"]["cdir"] = "x".into();
    assert_eq!(
        error(list(json!([odd]))),
        "field in document is not recognized or is in the wrong location: cdir"
    );
    let block =
        json!({"apiVersion": "crd.projectcalico.org/v1", "kind": "IPAMBlock", "metadata": {"name": "b"}});
    let unknown = "unknown resource type (IPAMBlock) and/or version (crd.projectcalico.org/v1)";
    assert_eq!(error(list(json!([block]))), unknown);
}

#[test]
fn the_field_that_was_perhaps_meant_is_told() {
    let near = |json: Json| match decode_document(json) {
        Err(InputError::UnknownField { near, .. }) => near,
        other => panic!("{other:?}"),
    };
    assert_eq!(near(pool(json!({"cdir": "10.0.0.0/16"}))).as_deref(), Some("spec.cidr"));
    assert_eq!(near(pool(json!({"nodeselector2": "x"}))).as_deref(), Some("spec.nodeSelector"));
    let outside = json!({"apiVersion": V3, "kind": "IPPool", "natOutgoing": true});
    assert_eq!(near(outside).as_deref(), Some("spec.natOutgoing"));
    assert_eq!(near(pool(json!({"nonsense": 1}))), None);
}

#[test]
fn unknown_fields_are_named_alone() {
    let text =
        |name: &str| format!("field in document is not recognized or is in the wrong location: {name}");
    assert_eq!(error(pool(json!({"cidr": "10.0.0.0/16", "nonsense": 1}))), text("nonsense"));
    assert_eq!(error(json!({"apiVersion": V3, "kind": "IPPool", "bogus": 1})), text("bogus"));
    assert_eq!(error(json!({"apiVersion": V3, "kind": "IPPool", "metadata": {"x": 1}})), text("x"));
    assert_eq!(
        error(json!({"apiVersion": V3, "kind": "IPPoolList", "metadata": {"name": "p"}})),
        text("name")
    );
}

#[test]
fn the_first_fault_by_name_is_told() {
    let both = pool(json!({"nonsense": 1, "disabled": "x"}));
    assert!(error(both).contains("IPPoolSpec.spec.disabled"));
}

#[test]
fn scalars_become_texts_where_a_text_is_wanted() {
    let read = Resource::from_input(json!({"apiVersion": V3, "kind": "IPPool",
        "metadata": {"name": 7, "labels": {"a": 1, "b": true, "c": 1.5, "d": null}},
        "spec": {"cidr": 10, "nodeSelector": true, "allowedUses": [1]}}))
    .unwrap();
    assert_eq!(
        read.to_stored_text(),
        r#"{"kind":"IPPool","apiVersion":"projectcalico.org/v3","metadata":{"name":"7","labels":{"a":"1","b":"true","c":"1.5","d":""}},"spec":{"cidr":"10","nodeSelector":"true","allowedUses":["1"]}}"#
    );
    let in_array = json!([{"apiVersion": V3, "kind": "IPPool", "metadata": {"name": 7}}]);
    assert_eq!(
        error(in_array),
        "error unmarshaling JSON: while decoding JSON: json: cannot unmarshal number into Go struct field ObjectMeta.metadata.name of type string"
    );
}

#[test]
fn keys_match_in_any_case_and_the_exact_one_wins() {
    // Recorded in 040-unknown-things.
    let read = Resource::from_input(pool(
        json!({"cidr": "10.1.0.0/16", "NatOutGoing": true, "CIDR": "10.2.0.0/16"}),
    ))
    .unwrap();
    assert_eq!(read.body()["spec"], json!({"cidr": "10.1.0.0/16", "natOutgoing": true}));
}

#[test]
fn lists_and_arrays() {
    // Recorded in 039-lists.
    let item = |name: &str| json!({"apiVersion": V3, "kind": "IPPool", "metadata": {"name": name}, "spec": {"cidr": "10.0.0.0/16"}});
    let list = json!({"apiVersion": V3, "kind": "IPPoolList", "metadata": {"resourceVersion": 12}, "items": [item("a"), item("b")]});
    let names = |rs: Vec<Resource>| rs.iter().map(|r| r.name().to_string()).collect::<Vec<_>>();
    assert_eq!(names(decode_document(list).unwrap()), ["a", "b"]);
    let node = json!({"apiVersion": V3, "kind": "Node", "metadata": {"name": "n"}});
    let array = decode_document(json!([item("a"), node])).unwrap();
    assert_eq!(array[1].kind(), Kind::Node);
    assert_eq!(array[1].body(), json!({"spec": {}, "status": {}}).as_object().unwrap());
    assert!(decode_document(json!([])).unwrap().is_empty());
    assert!(
        decode_document(json!({"apiVersion": V3, "kind": "IPPoolList", "items": []})).unwrap().is_empty()
    );
    let bad = json!({"apiVersion": V3, "kind": "IPPoolList", "items": [{"spec": {"disabled": 1}}]});
    assert_eq!(
        error(bad),
        "error unmarshaling JSON: while decoding JSON: json: cannot unmarshal number into Go struct field IPPoolSpec.items.spec.disabled of type bool"
    );
    assert_eq!(
        error(json!([{"apiVersion": V3, "b": 1}])),
        "error unmarshaling JSON: while decoding JSON: Object 'Kind' is missing in '{\"apiVersion\":\"projectcalico.org/v3\",\"b\":1}'"
    );
    let foreign = json!({"apiVersion": V3, "kind": "IPPoolList", "items": [{"kind": "Node"}]});
    assert_eq!(error(foreign), "item 1 of IPPoolList is of kind Node");
}

#[test]
fn what_is_stored_is_in_go_s_order() {
    let read = Resource::from_input(json!({"apiVersion": V3, "kind": "KubeControllersConfiguration",
        "metadata": {"name": "default", "creationTimestamp": "2026-01-01T01:00:00.5+01:00"},
        "spec": {"controllers": {"loadBalancer": {"assignIPs": "AllServices"}, "node": {"leakGracePeriod": "900s"}}, "healthChecks": "Enabled"}}))
    .unwrap();
    assert_eq!(
        read.to_stored_text(),
        r#"{"kind":"KubeControllersConfiguration","apiVersion":"projectcalico.org/v3","metadata":{"name":"default","creationTimestamp":"2026-01-01T00:00:00Z"},"spec":{"healthChecks":"Enabled","controllers":{"node":{"leakGracePeriod":"15m0s"},"loadBalancer":{"assignIPs":"AllServices"}}},"status":{}}"#
    );
    let config = |spec: Json| {
        let json = json!({"apiVersion": V3, "kind": "IPAMConfiguration", "metadata": {"name": "default"}, "spec": spec});
        Json::Object(Resource::from_input(json).unwrap().body().clone())
    };
    assert_eq!(
        config(json!({"strictAffinity": true})),
        json!({"spec": {"strictAffinity": true, "autoAllocateBlocks": true}})
    );
    assert_eq!(
        config(json!({"autoAllocateBlocks": false, "ipCooldownSeconds": 0})),
        json!({"spec": {"strictAffinity": false, "autoAllocateBlocks": false}})
    );
    let peer =
        json!({"apiVersion": V3, "kind": "BGPPeer", "metadata": {"name": "x"}, "spec": {"asNumber": "1.10"}});
    assert_eq!(Resource::from_input(peer).unwrap().body()["spec"], json!({"asNumber": 65546}));
}

#[test]
fn unknown_fields_of_the_stored_document_survive() {
    let stored = Resource::from_json(
        Kind::Node,
        json!({"metadata": {"name": "n", "futureMeta": 1, "finalizers": ["x"]}, "future": {"a": 1},
            "spec": {"futureSpec": true, "bgp": {"ipv4Address": "10.0.0.1/24", "futureBgp": 2},
                "wireguard": {"futureWg": 3},
                "orchRefs": [{"orchestrator": "k8s", "futureRef": 4}], "addresses": [{"address": "a", "futureAddr": 5}]}}),
    )
    .unwrap();
    let new = Resource::from_input(json!({"apiVersion": V3, "kind": "Node", "metadata": {"name": "n"},
        "spec": {"bgp": {"ipv4Address": "10.0.0.2/24"}, "orchRefs": [{"orchestrator": "k8s"}], "addresses": []}}))
    .unwrap();
    let carried = new.carry_residue(&stored).canonical();
    assert_eq!(
        carried.to_stored_text(),
        r#"{"kind":"Node","apiVersion":"projectcalico.org/v3","metadata":{"name":"n","futureMeta":1},"spec":{"bgp":{"ipv4Address":"10.0.0.2/24","futureBgp":2},"orchRefs":[{"orchestrator":"k8s","futureRef":4}],"futureSpec":true},"status":{},"future":{"a":1}}"#
    );
    let known = stored.without_residue();
    assert_eq!(Resource::from_input(known.to_json()).unwrap(), known.canonical());
}
