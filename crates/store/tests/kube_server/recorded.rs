//! The API server's verdicts on documents that were recorded with Calico's client. Without an API server,
//! that client applies the same schemas itself.

use serde_json::{Value as Json, json};
use servers::kube_server::KubeServer;

use super::{GROUPS, verdicts};

/// The recorded documents, with the client's answers.
const RECORDED: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../api/tests/recorded/validation.json");
const KINDS: &[&str] = &[
    "BGPConfiguration",
    "BGPPeer",
    "ClusterInformation",
    "IPAMConfiguration",
    "IPPool",
    "IPReservation",
    "KubeControllersConfiguration",
    "Tier",
];

/// Documents with different answers, because the API server sees another document than the client, or checks
/// more: each spec with the reason.
fn other_answers() -> Vec<(Json, &'static str)> {
    let masked = "the client writes the network in canonical form";
    let mode = "the client writes Never for a mode that is empty";
    let set = "only the API server checks that lists are sets";
    let number = "the client reads AS numbers in texts";
    let uses = "the client adds the uses Workload and Tunnel first";
    vec![
        (json!({"cidr": "10.0.0.0/016"}), masked),
        (json!({"cidr": "::ffff:10.0.0.0/112"}), masked),
        (json!({"cidr": "10.201.0.0/16", "ipipMode": ""}), mode),
        (json!({"cidr": "10.202.0.0/16", "vxlanMode": ""}), mode),
        (json!({"cidr": "10.5.0.0/16", "allowedUses": ["Workload", "Workload"]}), set),
        (json!({"reservedCIDRs": ["10.0.0.0/24", "10.0.0.0/24"]}), set),
        (json!({"peerIP": "10.0.0.1", "asNumber": "1.10"}), number),
        (json!({"cidr": "10.0.0.0/24", "namespaceSelector": "team == \"a\""}), uses),
    ]
}

/// The faults that the schema finds: field and text. (Faults that the client finds itself name the fields of
/// Go's types.)
fn found_by_schema(error: &str) -> Vec<(&str, &str)> {
    let faults =
        error.lines().map(|line| line.trim_start_matches("error with field ").trim_start_matches("-  "));
    let faults = faults.filter_map(|fault| fault.split_once(" ("));
    let faults = faults.filter(|(field, _)| *field == "spec" || field.starts_with("spec."));
    faults.map(|(field, text)| (field, text.trim_end_matches(')'))).collect()
}

pub(super) fn verdicts_are_those_of_calico(server: &KubeServer) {
    let text = std::fs::read_to_string(RECORDED).unwrap();
    let recorded: Vec<Json> = serde_json::from_str(&text).unwrap();
    let is_whole = |document: &Json| {
        document["spec"].is_object() && document["kind"].as_str().is_some_and(|kind| KINDS.contains(&kind))
    };
    let recorded: Vec<_> = recorded.iter().filter(|case| is_whole(&case["document"])).collect();
    assert!(recorded.len() > 200, "{}", recorded.len());
    let object = |(i, case): (usize, &&Json)| {
        let mut object = case["document"].clone();
        object["apiVersion"] = json!(GROUPS[1]);
        object["metadata"] = json!({"name": format!("case-{i}")});
        object
    };
    let objects: Vec<_> = recorded.iter().enumerate().map(object).collect();
    let others = other_answers();
    let mut wrong = Vec::new();
    let mut seen = vec![false; others.len()];
    for (verdict, case) in verdicts(server, &objects).iter().zip(&recorded) {
        let error = case["error"].as_str().unwrap();
        // If the schema refuses a value, the API server evaluates no expressions on it.
        let is_partial = verdict.contains("some validation rules were not checked");
        let tells = |(field, text): &(&str, &str)| {
            (is_partial && *field == "spec") || (verdict.contains(field) && verdict.contains(text))
        };
        let agrees = match error.is_empty() {
            true => verdict.is_empty(),
            false => found_by_schema(error).iter().all(tells),
        };
        if agrees {
            continue;
        }
        match others.iter().position(|(spec, _)| *spec == case["document"]["spec"]) {
            Some(index) => seen[index] = true,
            None => wrong.push(format!(
                "{}: Calico says {error:?}, the API server {verdict:?}",
                case["document"]["spec"]
            )),
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    let unseen: Vec<_> = others.iter().zip(seen).filter(|(_, seen)| !seen).collect();
    assert!(unseen.is_empty(), "no difference any more: {unseen:?}");
}
