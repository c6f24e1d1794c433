//! Pods of one machine that begin at once.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use api::capability::Backend;
use api::{Handle, HandleId, Key, Kind, Resource, Value};
use cni::conf::Document;
use cni::log::{Kept, Sink};
use cni::{Call, CniError, HostLock, Orchestrator, Site};
use ipam::PodName;
use serde_json::json;
use setup::Clock;
use store::testing::{FaultPlan, Faulty, Step};
use store::{MemoryStore, Titles};

use super::machine::{Machine, Metadata, Traces};
use super::*;
use crate::Ask;

const HANDLE: &str = "net.vmi.default.vm";
/// The reads of an ADD before it assigns: the configuration, and the machine's handle.
const READS: usize = 2;

fn cluster() -> MemoryStore {
    let store = MemoryStore::new();
    for (kind, name, spec) in [
        (Kind::IPPool, "pool", json!({"cidr": "10.0.0.0/24", "blockSize": 28})),
        (Kind::Node, "n1", json!({})),
    ] {
        let resource = Resource::from_json(kind, json!({"metadata": {"name": name}, "spec": spec})).unwrap();
        store.put(Key::global(kind, name), Value::Resource(resource));
    }
    store
}

fn machine() -> Machine {
    let owned = |version: &str, kind: &str| {
        let owner =
            json!({"apiVersion": version, "kind": kind, "name": "vm", "uid": "i", "controller": true});
        Metadata::of(&json!({"metadata": {"uid": "i", "ownerReferences": [owner]}})).unwrap()
    };
    let pod = owned("kubevirt.io/v1", "VirtualMachineInstance");
    let traces = Traces {
        pod: PodName { namespace: "default".to_string(), name: "virt-launcher-vm".to_string() },
        migration: None,
        owner: pod.controlling_instance().unwrap().clone(),
        instance: Some(pod),
        vm_name: None,
        vm: None,
    };
    traces.machine().unwrap()
}

fn ask(args: &str) -> Ask {
    let call = Call {
        command: "ADD".to_string(),
        container: "c".to_string(),
        netns: "/var/run/netns/x".to_string(),
        interface: "eth0".to_string(),
        args: args.to_string(),
        netns_override: false,
    };
    let text =
        json!({"cniVersion": "1.0.0", "name": "net", "type": "calico", "ipam": {"type": "calico-ipam"}});
    let conf = Document::parse(text.to_string().as_bytes()).unwrap().conf().unwrap();
    Ask::new(call, conf, "1.0.0".to_string(), "n1".to_string()).unwrap()
}

/// The addresses that the machine's pod is given. Another pod acts after the machine was found to have
/// nothing.
fn added(
    memory: &MemoryStore,
    args: &str,
    other: impl Fn(&MemoryStore) + Send + Sync + 'static,
) -> Result<Vec<IpAddr>, CniError> {
    let (store, reads) = (memory.clone(), AtomicUsize::new(0));
    let hook = move |step| {
        if step == Step::BeforeRead && reads.fetch_add(1, Ordering::Relaxed) == READS {
            other(&store);
        }
        Box::pin(std::future::ready(())) as std::pin::Pin<Box<dyn Future<Output = ()> + Send>>
    };
    let site = Site {
        is_begun: true,
        store: Faulty::new(memory.clone(), FaultPlan::default()).with_hook(Arc::new(hook)),
        backend: Backend::Embedded,
        titles: Titles::default(),
        patience: Duration::from_secs(60),
        orchestrator: Orchestrator::none(),
        lock: HostLock::new(None, Duration::ZERO),
        clock: Clock::start(),
        log: Sink::new(Kept::default()),
    };
    let ask = ask(args);
    let request = Request::new(&site, &ask);
    let container = Recipient { handle: HandleId::new("net.c"), attributes: BTreeMap::new(), most: None };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
    let (given, _) = runtime.block_on(add(&request, None, &machine(), container, request.deadline()))?;
    Ok(given.into_iter().map(|given| given.addr).collect())
}

fn counted(store: &MemoryStore) -> u32 {
    let records = store.records();
    let mut handles = records.iter().filter_map(|record| record.handle());
    handles.next().map_or(0, |handle| handle.blocks.values().sum())
}

/// The other pod's request ends after it has counted an address, and before it takes one.
fn counts(store: &MemoryStore) {
    let handle = Handle { blocks: [("10.0.0.0/28".parse().unwrap(), 1)].into(), deleted: false };
    store.put(Key::Handle(HandleId::new(HANDLE).unwrap()), Value::Handle(handle));
}

/// Whoever asks for an address by name does not wait for another pod's.
#[test]
fn a_count_that_a_crash_leaves_meanwhile_is_set_right() {
    let store = cluster();
    assert_eq!(added(&store, "IP=10.0.0.20", counts), Ok(vec!["10.0.0.20".parse().unwrap()]));
    assert_eq!(counted(&store), 1);
}

#[test]
#[ignore = "nightly: it waits for the other pod's address"]
fn a_count_that_a_crash_leaves_meanwhile_is_set_right_in_the_end() {
    let store = cluster();
    assert_eq!(added(&store, "", counts).map(|given| given.len()), Ok(1));
    assert_eq!(counted(&store), 1);
}

/// The address that the other pod has taken is the machine's. Other errors are the request's.
#[test]
fn what_else_may_have_happened_meanwhile() {
    let store = cluster();
    let takes = |store: &MemoryStore| {
        let store = store.clone();
        let take = move || {
            assert_eq!(added(&store, "IP=10.0.0.3", |_| {}), Ok(vec!["10.0.0.3".parse().unwrap()]));
        };
        std::thread::spawn(take).join().unwrap();
    };
    assert_eq!(added(&store, "IP=10.0.0.20", takes), Ok(vec!["10.0.0.3".parse().unwrap()]));
    assert_eq!(counted(&store), 1);
    let error = added(&cluster(), "IP=10.9.9.9", |_| {}).unwrap_err();
    assert!(error.msg.contains("not in a configured pool"), "{error:?}");
}
