//! Virtual machines and Windows, which no command-line test has; and what a check keeps of a large cluster is
//! measured there.

use std::collections::BTreeMap;
use std::sync::Arc;

use api::{Attribute, BlockCidr, HandleId, Key, Owner, Record, Revision, Value};
use serde_json::json;

use super::*;

fn record(key: Key, value: Value) -> Arc<Record> {
    Arc::new(Record { key, value, revision: Revision::new("1") })
}

/// A view of a block of n1 whose first addresses have these attributes.
fn view(attributes: Vec<Attribute>) -> View {
    let cidr: BlockCidr = "10.0.0.0/29".parse().unwrap();
    let owner = Owner::Host("n1".to_string());
    let mut block = ipam::block::create(cidr, &owner, None, Timestamp::from_second(1_785_578_400).unwrap());
    block.unallocated.drain(..attributes.len());
    for (ordinal, attribute) in attributes.into_iter().enumerate() {
        block.attributes.push(Arc::new(attribute));
        block.allocations[ordinal] = Some(ordinal as u32);
    }
    let mut view = View::new();
    view.insert_record(record(Key::Block(cidr), Value::Block(block)));
    view
}

fn attribute(handle: &str, fields: &[(&str, &str)]) -> Attribute {
    let owner = fields.iter().map(|(key, value)| (key.to_string(), value.to_string())).collect();
    Attribute { handle_id: Some(handle.to_string()), owner, ..Attribute::default() }
}

fn check() -> Check {
    Check::new(Timestamp::from_second(1_785_578_500).unwrap())
}

#[test]
fn a_stopped_machine_keeps_its_address() {
    let vm = |name| attribute(name, &[("namespace", "ns"), ("vmi-name", name)]);
    let mut check = check();
    check.take(&view(vec![
        vm("stopped"),
        vm("deleted"),
        attribute("pod", &[("namespace", "ns"), ("pod", "p")]),
    ]));
    let machines: Vec<_> = check.machines().into_iter().map(|(_, name)| name).collect();
    assert_eq!(machines, ["deleted", "stopped"]);
    check.take_machine("ns", "stopped");
    check.take_machine("other", "deleted");
    let checked = check.end();
    let leaked: Vec<String> = checked.leaked.iter().map(ToString::to_string).collect();
    assert_eq!(leaked, ["10.0.0.1", "10.0.0.2"]);
    let users: Vec<&str> = checked.users_of("10.0.0.0".parse().unwrap()).iter().map(|u| &*u.name).collect();
    assert_eq!(users, ["VirtualMachine(ns/stopped)"]);
    assert_eq!(checked.unallocated, []);
}

#[test]
fn what_windows_keeps_is_in_use_and_needs_no_handle() {
    let mut check = check();
    let windows = attribute(api::block::WINDOWS_RESERVED_HANDLE, &[("note", "windows host rsvd")]);
    check.take(&view(vec![windows, attribute("h", &[])]));
    assert!(check.blocks()[0].allocations[0].is_kept_by_windows);
    assert_eq!(check.count_used(), 1);
    let id = HandleId::new("h").unwrap();
    let blocks = BTreeMap::from([("10.0.0.0/29".parse().unwrap(), 1)]);
    let handle = Value::Handle(api::Handle { blocks, deleted: false });
    let mut handles = View::new();
    handles.insert_record(record(Key::Handle(id), handle));
    check.take(&handles);
    let checked = check.end();
    assert_eq!((checked.leaked.len(), checked.good_handles), (1, 1));
    assert!(checked.missing_handles.is_empty() && checked.leaked_handles.is_empty(), "{checked:?}");
    let owner = checked.blocks[0].allocations[0].owner().unwrap();
    assert_eq!(owner.handle.as_deref(), Some(api::block::WINDOWS_RESERVED_HANDLE));
    assert_eq!(checked.blocks[0].allocations[1].owner().unwrap().handle.as_deref(), Some("h"));
}

#[test]
fn services_of_calico_have_a_class_or_ask() {
    let service = |name: &str, kind: &str, class: Option<&str>, asks: bool| {
        let annotations = if asks { json!({"projectcalico.org/ipv4pools": "[\"a\"]"}) } else { json!({}) };
        json!({"metadata": {"name": name, "annotations": annotations},
            "spec": {"type": kind, "loadBalancerClass": class},
            "status": {"loadBalancer": {"ingress": [{"ip": "10.0.0.9"}, {"hostname": "h"}]}}})
    };
    let services = [
        service("plain", "LoadBalancer", None, false),
        service("asks", "LoadBalancer", None, true),
        service("class", "LoadBalancer", Some("calico"), false),
        service("other", "LoadBalancer", Some("x/other"), true),
        service("no", "ClusterIP", None, true),
    ];
    let of = |part: serde_json::Value| {
        let document = json!({"metadata": {"name": "default"}, "spec": {"controllers": part}});
        let configuration = api::Resource::from_json(Kind::KubeControllersConfiguration, document).unwrap();
        let found = load_balancers(Some(&configuration), &services);
        found.map(|found| found.into_iter().map(|load| load.name).collect::<Vec<_>>())
    };
    let names = |names: &[&str]| Some(names.iter().map(ToString::to_string).collect::<Vec<_>>());
    assert_eq!(of(json!({"node": {}})), None);
    assert_eq!(of(json!({"loadBalancer": {"assignIPs": "AllServices"}})), names(&["plain", "asks", "class"]));
    assert_eq!(
        of(json!({"loadBalancer": {"assignIPs": "RequestedServicesOnly"}})),
        names(&["asks", "class"])
    );
    assert_eq!(load_balancers(None, &services), None);
}
