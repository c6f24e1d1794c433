//! The table of kinds: rules for all kinds, and what was recorded about some of them.

#![allow(missing_docs, clippy::unwrap_used)]

use api::schema::{Shape, Struct, Type};
use api::{Backend, ColumnContext, Kind, Operation, Resource};
use serde_json::{Value as Json, json};

#[test]
fn tiers_are_listed_by_order() {
    // The texts were recorded in 082-clusterinformation, except for the last two.
    let tier = |name: &str, order: serde_json::Value| {
        Resource::from_json(Kind::Tier, json!({"metadata": {"name": name}, "spec": {"order": order}}))
            .unwrap()
    };
    let mut tiers = [
        tier("b", json!(null)),
        tier("a", json!(null)),
        tier("default", json!(1_000_000)),
        tier("kube-admin", json!(1000)),
        tier("kube-baseline", json!(1e7)),
    ];
    tiers.sort_by(Resource::compare);
    let names: Vec<&str> = tiers.iter().map(|tier| tier.name()).collect();
    assert_eq!(names, ["kube-admin", "default", "kube-baseline", "a", "b"]);
}

#[test]
fn names_and_aliases_find_the_kind() {
    for kind in Kind::ALL {
        assert_eq!(Kind::from_name(kind.name()), Some(*kind));
        assert_eq!(Kind::from_plural(kind.plural()), Some(*kind));
        assert_eq!(kind.list_kind(), format!("{kind}List"));
        for alias in kind.aliases() {
            assert_eq!(Kind::from_alias(&alias.to_uppercase()), Some(*kind));
        }
    }
}

fn check(s: &'static Struct, depth: u8) {
    assert!(depth < 8, "{}", s.go);
    for (i, f) in s.fields.iter().enumerate() {
        let twice = s.fields[..i].iter().any(|g| g.json.eq_ignore_ascii_case(f.json) || g.go == f.go);
        assert!(!twice, "{}.{} stands there twice", s.go, f.json);
        match &f.ty.shape {
            Shape::Struct(inner) => check(inner, depth + 1),
            Shape::List(Type { shape: Shape::Struct(inner), .. }) => check(inner, depth + 1),
            _ => {}
        }
    }
}

#[test]
fn names_are_unique_in_each_struct() {
    for kind in Kind::ALL {
        assert_eq!(kind.schema().go, kind.name());
        assert!(kind.go_type().go.ends_with(&format!(".{}", kind.name())));
        check(kind.schema(), 0);
    }
}

#[test]
fn what_users_may_not_do() {
    use Backend::{Etcd, Kubernetes};
    let text = |kind: Kind, backend, operation, id: &str| {
        kind.allows(backend, operation, id).err().map(|e| e.to_string()).unwrap_or_default()
    };

    for (kind, backend, operation, id, expected) in [
        (Kind::IPPool, Etcd, Operation::Create, "IPPool(a)", ""),
        (Kind::Node, Etcd, Operation::Create, "Node(n2)", ""),
        (Kind::Node, Kubernetes, Operation::Apply, "Node(n2)", ""),
        (
            Kind::Node,
            Kubernetes,
            Operation::Create,
            "Node(n2)",
            "operation Create is not supported on Node(n2)",
        ),
        (
            Kind::WorkloadEndpoint,
            Kubernetes,
            Operation::Create,
            "WorkloadEndpoint(default/n1-k8s-a-eth0)",
            "operation Create is not supported on WorkloadEndpoint(default/n1-k8s-a-eth0): unsupported PatchMode: patchModeUnspecified",
        ),
        (
            Kind::ClusterInformation,
            Etcd,
            Operation::Create,
            "",
            "operation create or apply is not supported on ClusterInformation",
        ),
        (
            Kind::ClusterInformation,
            Etcd,
            Operation::Apply,
            "",
            "operation apply is not supported on ClusterInformation: resource is readonly",
        ),
        (
            Kind::ClusterInformation,
            Etcd,
            Operation::Update,
            "",
            "operation apply or replace is not supported on ClusterInformation",
        ),
        (
            Kind::ClusterInformation,
            Etcd,
            Operation::Delete,
            "",
            "operation delete is not supported on ClusterInformation",
        ),
        (Kind::ClusterInformation, Etcd, Operation::Get, "", ""),
        (Kind::Tier, Etcd, Operation::List, "", ""),
    ] {
        assert_eq!(text(kind, backend, operation, id), expected);
    }
}

fn row(kind: Kind, wide: bool, metadata: Json, spec: Json) -> Vec<String> {
    let document = json!({"metadata": metadata, "spec": spec});
    let resource = api::defaults::on_read(&Resource::from_json(kind, document).unwrap());
    let columns = kind.columns();
    let headings = if wide { columns.wide } else { columns.default };
    let context = ColumnContext::default();
    headings.iter().map(|h| (columns.get(h).unwrap().text)(&resource, &context)).collect()
}

#[test]
fn every_heading_that_is_shown_is_there() {
    for kind in Kind::ALL {
        let columns = kind.columns();
        for heading in columns.default.iter().chain(columns.wide) {
            assert!(columns.get(heading).is_some(), "{kind} {heading}");
        }
    }
}

#[test]
fn cells_as_recorded() {
    // The expected columns were recorded in 004-guide-get-formats and in 080 to 090.
    let named = |name: &str| json!({"name": name});
    let long: Vec<String> = (0..8).map(|i| format!("10.1.{i}.0/24")).collect();
    for (kind, wide, metadata, spec, cells) in [
        (
            Kind::IPPool,
            true,
            named("bare"),
            json!({"cidr": "10.5.0.0/16"}),
            vec!["bare", "10.5.0.0/16", "false", "Never", "Never", "false", "false", "all()", "Automatic"],
        ),
        (
            Kind::IPReservation,
            true,
            named("res-2"),
            json!({"reservedCIDRs": long}),
            vec!["res-2", "10.1.0.0/24,10.1.1.0/24,10.1.2.0/24,10.1.3.0/24,10.1.4.0/24,10.1.5.0/24,10.1...."],
        ),
        (
            Kind::IPAMConfiguration,
            true,
            named("default"),
            json!({"strictAffinity": true, "autoAllocateBlocks": true, "maxBlocksPerHost": 4}),
            vec!["default", "true", "true", "4"],
        ),
        (
            Kind::Node,
            true,
            named("n"),
            json!({"bgp": {"ipv4Address": "10.1.0.1/24", "ipv6Address": "fd00::1/64"}}),
            vec!["n", "(64512)", "10.1.0.1/24", "fd00::1/64"],
        ),
        (
            Kind::Node,
            true,
            named("n"),
            json!({"bgp": {"asNumber": 65001, "ipv4Address": "10.1.0.2"}}),
            vec!["n", "65001", "10.1.0.2", ""],
        ),
        (Kind::Node, true, named("n"), json!({}), vec!["n", "", "", ""]),
        (
            Kind::WorkloadEndpoint,
            false,
            json!({"name": "w", "namespace": "prod"}),
            json!({"pod": "db-0", "node": "n0", "ipNetworks": ["10.0.0.3/32"], "interfaceName": "cali0"}),
            vec!["db-0", "n0", "10.0.0.3/32", "cali0"],
        ),
        (
            Kind::ClusterInformation,
            false,
            named("default"),
            json!({"clusterGUID": "g", "datastoreReady": true}),
            vec!["default", "g", "", "", "true"],
        ),
        (
            Kind::BGPPeer,
            false,
            named("global"),
            json!({"peerIP": "10.9.9.9", "asNumber": 64512}),
            vec!["global", "10.9.9.9", "(global)", "64512"],
        ),
        (
            Kind::BGPPeer,
            false,
            named("peersel"),
            json!({"nodeSelector": "all()"}),
            vec!["peersel", "", "all()", "0"],
        ),
        (
            Kind::BGPConfiguration,
            false,
            named("node.n"),
            json!({"logSeverityScreen": "Info"}),
            vec!["node.n", "Info", "-", "-"],
        ),
        (
            Kind::BGPConfiguration,
            false,
            named("default"),
            json!({"logSeverityScreen": "Warning", "nodeToNodeMeshEnabled": false, "asNumber": 64999}),
            vec!["default", "Warning", "false", "64999"],
        ),
    ] {
        assert_eq!(row(kind, wide, metadata, spec), cells);
    }
    for (order, shown) in [(1000.0, "1000"), (1e6, "1e+06"), (1e7, "1e+07")] {
        assert_eq!(row(Kind::Tier, false, named("t"), json!({"order": order})), ["t", shown]);
        let whole = json!({"order": order as u64});
        assert_eq!(row(Kind::Tier, false, named("t"), whole), ["t", shown]);
    }
}
