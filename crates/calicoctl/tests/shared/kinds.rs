//! What users do with resources of each kind, with the same result on every store.

use api::{Backend, Kind, Operation, Role};
use serde_json::{Value as Json, json};

/// Runs a command line with that standard input. Gives whether it succeeded, and its standard output, or its
/// standard error where it failed.
pub type Run<'a> = &'a dyn Fn(&str, &str) -> (bool, String);

/// A kind, a name, the `spec` to create, a valid change, and a change that is refused, with a word from the
/// error.
type Row = (Kind, &'static str, Json, Json, (Json, &'static str));

fn rows() -> Vec<Row> {
    vec![
        (
            Kind::IPPool,
            "p",
            json!({"cidr": "10.0.0.0/16"}),
            json!({"natOutgoing": true}),
            (json!({"cidr": "10.0.0.1/16"}), "not strictly masked"),
        ),
        (
            Kind::IPReservation,
            "r",
            json!({"reservedCIDRs": ["10.0.0.0/30"]}),
            json!({"reservedCIDRs": ["10.0.0.0/29"]}),
            (json!({"reservedCIDRs": ["10.0.0.0/33"]}), "ReservedCIDRs"),
        ),
        (
            Kind::BGPPeer,
            "b",
            json!({"peerIP": "10.0.0.1", "asNumber": 64512}),
            json!({"asNumber": 64513}),
            (json!({"node": "n1", "nodeSelector": "all()"}), "node and nodeSelector cannot both be set"),
        ),
        (
            Kind::BGPConfiguration,
            "node.n1",
            json!({"logSeverityScreen": "Info"}),
            json!({"logSeverityScreen": "Debug"}),
            (json!({"bindMode": "Some"}), "supported values"),
        ),
        (
            Kind::KubeControllersConfiguration,
            "default",
            json!({"controllers": {"node": {"leakGracePeriod": "15m0s"}}}),
            json!({"logSeverityScreen": "Debug"}),
            (json!({"healthChecks": "Maybe"}), "HealthChecks"),
        ),
        (
            Kind::HostEndpoint,
            "h",
            json!({"node": "n1", "interfaceName": "eth0", "ports": [{"name": "http", "protocol": "TCP", "port": 80}]}),
            json!({"expectedIPs": ["10.0.0.1"]}),
            (json!({"node": ""}), "node must be specified"),
        ),
    ]
}

#[test]
fn every_kind_that_users_write_has_a_row() {
    let rows = rows();
    // On Kubernetes, Nodes and endpoints are views of its own objects; and the allocator's configuration is
    // written together with its record.
    let written = |kind: &&Kind| {
        kind.is_offered()
            && kind.allows(Backend::Kubernetes, Operation::Create, "").is_ok()
            && !matches!(kind.definition().role, Role::Configuration)
    };
    for kind in Kind::ALL.iter().filter(written) {
        let is_there = rows.iter().any(|(row, ..)| row == kind);
        assert_eq!(is_there, kind.definition().home != api::Home::Nodes, "{kind}");
    }
}

fn good(run: Run<'_>, line: &str, input: &str) -> String {
    let (succeeded, text) = run(line, input);
    assert!(succeeded, "{line}: {text}");
    text
}

fn document(kind: Kind, name: &str, spec: &Json) -> String {
    json!({"apiVersion": "projectcalico.org/v3", "kind": kind.name(), "metadata": {"name": name}, "spec": spec})
        .to_string()
}

fn merged(spec: &Json, change: &Json) -> Json {
    let mut merged = spec.clone();
    merged.as_object_mut().unwrap().extend(change.as_object().unwrap().clone());
    merged
}

/// Creates a resource of each kind, shows it, changes it in every way, and deletes it.
pub fn lives(run: Run<'_>) {
    for (kind, name, spec, change, (wrong, reason)) in rows() {
        let of = |verb: &str, rest: &str| format!("{verb} {} {name}{rest}", kind.aliases()[0]);
        let get = |rest: &str| -> Json {
            serde_json::from_str(&good(run, &of("get", &format!(" -o json{rest}")), "")).unwrap()
        };
        let (succeeded, text) = run("create -f -", &document(kind, name, &merged(&spec, &wrong)));
        assert!(!succeeded && text.contains(reason), "{kind}: {text}");
        let created = good(run, "create -f -", &document(kind, name, &spec));
        assert!(created.contains(&format!("Successfully created 1 '{kind}' resource(s)")), "{created}");
        let (again, why) = run("create -f -", &document(kind, name, &spec));
        assert!(!again && why.contains("already exists"), "{why}");
        let first = get("");
        assert_eq!(first["kind"], kind.name());
        assert_eq!(merged(&first["spec"], &spec), first["spec"], "{first}");
        assert!(good(run, &of("get", " -o yaml"), "").contains(&format!("kind: {kind}\n")));
        for (how, headings) in [("ps", kind.columns().default), ("wide", kind.columns().wide)] {
            let table = good(run, &format!("get {} -o {how}", kind.plural()), "");
            let mut lines = table.lines();
            assert_eq!(lines.next().unwrap().split_whitespace().collect::<Vec<_>>(), headings, "{table}");
            assert!(lines.any(|line| line.starts_with(name)), "{table}");
        }

        good(run, "apply -f -", &document(kind, name, &merged(&spec, &change)));
        assert_eq!(get("")["spec"], merged(&first["spec"], &change));
        good(run, "replace -f -", &document(kind, name, &spec));
        assert_eq!(get("")["spec"], first["spec"]);
        good(run, &of("label", " rack=a"), "");
        assert_eq!(get("")["metadata"]["labels"]["rack"], "a");
        good(run, &of("patch", &format!(" --patch {}", json!({"spec": change}))), "");
        let patched = get("");
        assert_eq!(patched["spec"], merged(&first["spec"], &change));
        assert_eq!(patched["metadata"]["labels"]["rack"], "a");
        assert_eq!(patched["metadata"]["uid"], first["metadata"]["uid"]);
        let exported = get(" --export");
        assert_eq!(exported["spec"], patched["spec"]);
        assert!(exported["metadata"].get("uid").is_none(), "{exported}");

        good(run, &of("delete", ""), "");
        let (there, why) = run(&of("get", ""), "");
        assert!(!there && why.contains("resource does not exist"), "{why}");
    }
}

/// Copies one resource of each kind into another, empty store, which `-c {to}` names.
pub fn is_copied(run: Run<'_>, to: &str) {
    for (kind, name, spec, ..) in rows() {
        good(run, "create -f -", &document(kind, name, &spec));
    }
    let told = good(run, &format!("datastore copy --to {to}"), "");
    for (kind, name, ..) in rows() {
        let get = |more: &str| {
            let line = format!("get {} {name} -o json{more}", kind.aliases()[0]);
            serde_json::from_str::<Json>(&good(run, &line, "")).unwrap()
        };
        let (here, there) = (get(""), get(&format!(" -c {to}")));
        assert!(told.contains(kind.name()), "{told}");
        assert_eq!((&here["spec"], &here["metadata"]["uid"]), (&there["spec"], &there["metadata"]["uid"]));
    }
}

/// Exports one resource of each kind.
pub fn is_exported(run: Run<'_>) {
    for (kind, name, spec, ..) in rows() {
        good(run, "create -f -", &document(kind, name, &spec));
    }
    good(run, "datastore migrate lock", "");
    let text = good(run, "datastore migrate export", "");
    good(run, "datastore migrate unlock", "");
    for (kind, name, ..) in rows() {
        let list = text.split("---\n").find(|list| list.contains(&format!("kind: {}\n", kind.list_kind())));
        let list = list.unwrap_or_else(|| panic!("{kind} is not in {text}"));
        assert!(list.contains(&format!("name: {name}\n")), "{list}");
    }
}

/// Deletes a node, and checks that the resources for that node alone are deleted, too.
pub fn goes_with_its_node(run: Run<'_>) {
    let node = |name: &str| document(Kind::Node, name, &json!({}));
    good(run, "create -f -", &format!("{}\n---\n{}", node("n1"), node("n2")));
    let going = || rows().into_iter().filter(|(kind, ..)| kind.definition().goes_with_node);
    assert!(going().count() > 0);
    for (kind, _, spec, ..) in going() {
        for name in ["n1", "n2"] {
            good(run, "create -f -", &document(kind, name, &merged(&spec, &json!({"node": name}))));
        }
    }
    good(run, "delete node n1", "");
    for (kind, ..) in going() {
        let left = good(run, &format!("get {}", kind.plural()), "");
        assert!(!left.contains("n1") && left.contains("n2"), "{kind}: {left}");
    }
}
