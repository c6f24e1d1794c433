use serde_json::json;

use super::*;
use crate::decode::{InputError, decode_document};
use serde_json::Value as Json;

/// Recorded runs of Calico's calicoctl with one document each. Runs that depend on other objects are left
/// out, and so are those about host bits, where this program has a better text on purpose.
const RECORDED: &str = include_str!("../../tests/recorded/validation.json");

#[test]
fn every_recorded_run() {
    let rows: Vec<Json> = serde_json::from_str(RECORDED).unwrap();
    let mut differing = Vec::new();
    // What kubectl writes is taken, unlike by Calico.
    let is_kubectls = |row: &&Json| {
        let document = &row["document"];
        document["kind"] == "List" || document["apiVersion"] == "crd.projectcalico.org/v1"
    };
    let (taken, rows): (Vec<_>, Vec<_>) = rows.iter().partition(is_kubectls);
    assert_eq!(taken.len(), 2, "{taken:?}");
    for row in taken {
        assert!(!decode_document(row["document"].clone()).unwrap().is_empty(), "{row}");
    }
    for row in &rows {
        let outcome = match decode_document(row["document"].clone()) {
            Err(error) => format!("decode: {error}"),
            Ok(mut documents) => {
                let document = documents.remove(0);
                let checked = match row["command"].as_str().unwrap() {
                    "create" => create(&with_default_namespace(document), Vec::new(), Backend::Etcd),
                    _ => resource(&document),
                };
                checked.err().map(|error| error.to_string()).unwrap_or_default()
            }
        };
        if outcome != row["error"].as_str().unwrap() {
            differing.push(format!("{row}\n  ours: {outcome}"));
        }
    }
    assert!(rows.len() > 150, "{}", rows.len());
    assert!(differing.is_empty(), "{} differ:\n{}", differing.len(), differing.join("\n"));
}

fn with_default_namespace(document: Resource) -> Resource {
    let namespaced = document.kind().scope() == KindScope::Namespaced;
    document.with(|metadata, _| {
        if namespaced {
            metadata.namespace.get_or_insert_with(|| "default".into());
        }
    })
}

fn pool(spec: Json) -> Resource {
    let json = json!({"apiVersion": "projectcalico.org/v3", "kind": "IPPool", "metadata": {"name": "p"}, "spec": spec});
    Resource::from_input(json).unwrap()
}

fn text(result: Result<(), ValidationError>) -> String {
    result.err().map(|error| error.to_string()).unwrap_or_default()
}

#[test]
fn host_bits_are_explained() {
    for (cidr, value) in [
        (
            "192.168.196.0/18",
            "IPPool CIDR is not strictly masked: 192.168.196.0/18 is not the start of a /18, it lies in 192.168.192.0/18; \
             use 192.168.192.0/18, or 192.168.196.0/22, which starts at 192.168.196.0",
        ),
        (
            "10.0.0.1/24",
            "IPPool CIDR is not strictly masked: 10.0.0.1/24 is not the start of a /24, it lies in 10.0.0.0/24; use 10.0.0.0/24",
        ),
        (
            "fd00:1::1/64",
            "IPPool CIDR is not strictly masked: fd00:1::1/64 is not the start of a /64, it lies in fd00:1::/64; use fd00:1::/64",
        ),
    ] {
        assert_eq!(
            text(create(&pool(json!({"cidr": cidr})), Vec::new(), Backend::Etcd)),
            format!("error with field IPPool.Spec.CIDR = '{cidr}' ({value})")
        );
    }
}

#[test]
fn pools_for_services() {
    // Recorded in 036-pool-validation of the Kubernetes modes, but for BGP export and encapsulation.
    for (more, error) in [
        (
            json!({"allowedUses": ["LoadBalancer", "Workload"]}),
            "LoadBalancer cannot be combined with Workload or Tunnel allowed uses",
        ),
        (json!({"ipipMode": "Always"}), "LoadBalancer IP pool cannot have IPIP or VXLAN enabled"),
        (json!({"vxlanMode": "CrossSubnet"}), "LoadBalancer IP pool cannot have IPIP or VXLAN enabled"),
        (
            json!({"nodeSelector": "has(x)"}),
            "IP Pool with AllowedUse LoadBalancer must have nodeSelector set to all()",
        ),
        (json!({"disableBGPExport": true}), "LoadBalancer IP pools cannot disable BGP export"),
    ] {
        let mut spec = json!({"cidr": "10.0.0.0/24", "allowedUses": ["LoadBalancer"]});
        spec.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        assert_eq!(
            text(create(&pool(spec), Vec::new(), Backend::Etcd)),
            format!("error with field spec ({error})")
        );
    }
}

#[test]
fn what_may_not_change() {
    let stored = |spec: Json| {
        defaults::on_write(&pool(spec)).with(|metadata, _| {
            metadata.uid = Some("u".into());
            metadata.resource_version = Some("1".into());
            metadata.creation_timestamp = Some("2026-01-01T00:00:00Z".into());
        })
    };
    let old = json!({"cidr": "10.0.0.0/24", "blockSize": 28});
    let change = |old: &Json, new: Json| {
        let old = stored(old.clone());
        let new = pool(new).with(|metadata, _| *metadata = old.metadata().clone());
        text(update(&new, &old, Backend::Etcd))
    };
    // Recorded in 024-replace and, for the block size, in 036-pool-validation.
    for (new, error) in [
        (json!({"cidr": "10.0.0.0/24", "blockSize": 28, "natOutgoing": true}), ""),
        (
            json!({"cidr": "10.1.0.0/24", "blockSize": 28}),
            "IPPool.Spec.CIDR = '10.1.0.0/24' (IPPool CIDR cannot be modified)",
        ),
        (
            json!({"cidr": "10.0.0.0/24", "blockSize": 27}),
            "IPPool.Spec.BlockSize = '27' (IPPool BlockSize cannot be modified)",
        ),
        (
            json!({"cidr": "10.0.0.0/24"}),
            "IPPool.Spec.BlockSize = '26' (IPPool BlockSize cannot be modified)",
        ),
    ] {
        let expected = if error.is_empty() { String::new() } else { format!("error with field {error}") };
        assert_eq!(change(&old, new), expected);
    }
    let services = json!({"cidr": "10.0.0.0/24", "allowedUses": ["LoadBalancer"]});
    assert_eq!(
        change(&services, json!({"cidr": "10.0.0.0/24"})),
        "error with field IPPool.Spec.AllowedUses = '[Workload Tunnel]' (IPPool allowed use cannot be changed from LoadBalacer to Workload or Tunnel)"
    );
    assert_eq!(change(&json!({"cidr": "10.0.0.0/24"}), services.clone()), "");
    let six = json!({"cidr": "fd00::/64"});
    assert_eq!(change(&six, json!({"cidr": "FD00:0::/64"})), "");
}

#[test]
fn faults_across_objects_stand_among_the_others() {
    // Recorded in 062-ippool-overlap and 065-ippool-block-size-conflict.
    let new = pool(json!({"cidr": "10.0.0.0/8"}));
    let cidr: crate::cidr::Cidr = "10.0.0.0/8".parse().unwrap();
    let found = vec![overlap("c", &cidr, "a", "10.0.0.0/16"), overlap("c", &cidr, "b", "10.1.0.0/16")];
    assert_eq!(
        text(create(&new, found, Backend::Etcd)),
        "error with the following fields:\n\
         -  IPPool.Spec.CIDR = '10.0.0.0/8' (IPPool(c) CIDR overlaps with IPPool(a) CIDR 10.0.0.0/16)\n\
         -  IPPool.Spec.CIDR = '10.0.0.0/8' (IPPool(c) CIDR overlaps with IPPool(b) CIDR 10.1.0.0/16)\n"
    );
    assert_eq!(
        ValidationError::from(block_size_conflict(29)).to_string(),
        "error with field IPPool.Spec.BlockSize = '29' (IPPool blocksSize conflicts with existing allocations that use a different blockSize)"
    );
}

#[test]
fn metadata_of_a_write() {
    // Recorded in 027-create-metadata.
    let versioned =
        pool(json!({"cidr": "10.0.0.0/24"})).with(|m, _| m.resource_version = Some("12345".into()));
    assert_eq!(
        text(create(&versioned, Vec::new(), Backend::Etcd)),
        "error with field Metadata.ResourceVersion = '12345' (field must not be set for a Create request)"
    );
    let old = pool(json!({"cidr": "10.0.0.0/24"}));
    assert_eq!(
        text(update(&old, &old, Backend::Etcd)),
        "error with field Metadata.ResourceVersion = '' (field must be set for an Update request)"
    );
}

#[test]
fn limits() {
    let ten = vec!["Workload"; 10];
    assert_eq!(text(resource(&pool(json!({"cidr": "10.0.0.0/24", "allowedUses": ten})))), "");
    let eleven = vec!["Workload"; 11];
    assert_eq!(
        text(resource(&pool(json!({"cidr": "10.0.0.0/24", "allowedUses": eleven})))),
        "error with field spec.allowedUses (must have at most 10 items)"
    );
    let annotated = |len: usize| {
        let pool = pool(json!({"cidr": "10.0.0.0/24"}));
        text(resource(&pool.with(|m, _| {
            m.annotations.insert("a".into(), "x".repeat(len));
        })))
    };
    assert_eq!(annotated(256 * 1024 - 1), "");
    assert!(annotated(256 * 1024).ends_with("(total size of annotations is too large by 1 bytes)"));
}

#[test]
fn label_keys() {
    let labelled = |key: &str| {
        let pool = pool(json!({"cidr": "10.0.0.0/24"}));
        text(resource(&pool.with(|m, _| {
            m.labels.insert(key.into(), String::new());
        })))
    };
    for key in ["a", "A_b.c-d", "example.com/x", &"x".repeat(63)] {
        assert_eq!(labelled(key), "", "{key}");
    }
    for (key, reason) in [
        ("/x", "prefix part must be non-empty"),
        ("x/", "name part must be non-empty"),
        ("Upper/x", "prefix part a lowercase RFC 1123 subdomain must consist of"),
        ("-x", "name part must consist of"),
        (&"x".repeat(64), "name part must be no more than 63 bytes"),
    ] {
        assert!(labelled(key).contains(reason), "{key}: {}", labelled(key));
    }
}

#[test]
fn the_client_layer_alone() {
    // In Kubernetes the API server checks the rest, as recorded in 036-pool-validation.
    let nothing = pool(json!({"cidr": "10.0.0.0/24", "allowedUses": ["Nothing"], "blockSize": 19}));
    assert_eq!(
        text(client(&nothing)),
        "error with field IPpool.AllowedUses = '[Nothing]' (unknown use: Nothing)"
    );
    assert_eq!(text(create(&nothing, Vec::new(), Backend::Kubernetes)), text(client(&nothing)));
}

#[test]
fn workload_endpoints() {
    let endpoint = |spec: Json| {
        let mut full = json!({"orchestrator": "k8s", "node": "n", "pod": "p", "endpoint": "eth0",
            "interfaceName": "cali0", "ipNetworks": ["10.0.0.1/32"]});
        full.as_object_mut().unwrap().extend(spec.as_object().unwrap().clone());
        let json = json!({"apiVersion": "projectcalico.org/v3", "kind": "WorkloadEndpoint",
            "metadata": {"name": "n-k8s-p-eth0", "namespace": "default"}, "spec": full});
        text(create(&Resource::from_input(json).unwrap(), Vec::new(), Backend::Etcd))
    };
    for (spec, error) in [
        (json!({}), ""),
        (
            json!({"ipNetworks": ["10.0.0.0/24"]}),
            "IPNetworks = '[10.0.0.0/24]' (IP network contains multiple addresses)",
        ),
        (
            json!({"interfaceName": "much-too-long-a-name"}),
            "InterfaceName = 'much-too-long-a-name' (Reason: failed to validate Field: InterfaceName because of Tag: interface )",
        ),
        (json!({"mac": "x"}), "MAC = 'x' (Reason: failed to validate Field: MAC because of Tag: mac )"),
        (
            json!({"ipNATs": [{"internalIP": "10.0.0.9", "externalIP": "1.2.3.4"}]}),
            "IPNATs = '[{10.0.0.9 1.2.3.4}]' (NAT is not in the endpoint networks)",
        ),
        (json!({"ports": [{"name": "http", "protocol": "TCP", "port": 80}]}), ""),
        (
            json!({"ports": [{"protocol": "TCP", "port": 80}]}),
            "WorkloadEndpointPort.Name = '' (WorkloadEndpointPort name must not be empty if no HostPort is specified)",
        ),
        (
            json!({"pod": "q"}),
            "Name = 'n-k8s-p-eth0' (the WorkloadEndpoint name does not match the primary identifiers assigned in the Spec: expected name n-k8s-q-eth0)",
        ),
    ] {
        let expected = if error.is_empty() { String::new() } else { format!("error with field {error}") };
        assert_eq!(endpoint(spec), expected);
    }
    assert!(endpoint(json!({"ipNetworks": ["x"]})).contains("IPNetworks = 'x' (invalid CIDR)"));
}

#[test]
fn decoding_faults_are_not_validation_faults() {
    let error = Resource::from_input(json!({"apiVersion": "projectcalico.org/v3", "kind": "IPPool", "x": 1}));
    assert_eq!(error, Err(InputError::UnknownField { field: "x".into(), near: None }));
}
