//! Several requests at the same time at one site and on one thread, as a long-running program that uses the
//! library would have.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::pin::pin;
use std::thread;
use std::time::Duration;

use api::capability::Backend;
use calico_ipam::Ask;
use cni::conf::Document;
use cni::log::{Kept, Sink};
use cni::{Call, HostLock, Orchestrator, Site};
use serde_json::{Value as Json, json};
use setup::{Clock, ConnectOptions, Datastore, Environment, Settings};
use store::AnyStore;
use store::Titles;
use store::testing::SilentStore;

use crate::harness::{Machine, addr, node, pool, wait_for};

/// A time limit much longer than the test needs on any machine.
const LONG: Duration = Duration::from_secs(60);
/// How long a request waits for the lock, which a request without an answer holds.
const SOON: Duration = Duration::from_millis(50);

fn machine() -> Machine {
    Machine::new(&[node("n1", json!({})), pool("four", "10.0.0.0/24", json!({}))])
}

fn ask(machine: &Machine, command: &str, container: &str) -> Ask {
    let call = Call {
        command: command.to_string(),
        container: container.to_string(),
        netns: "/var/run/netns/x".to_string(),
        interface: "eth0".to_string(),
        args: String::new(),
        netns_override: false,
    };
    let text = machine.conf(json!({"log_level": "info"})).to_string();
    let conf = Document::parse(text.as_bytes()).unwrap().conf().unwrap();
    Ask::new(call, conf, "1.0.0".to_string(), "n1".to_string()).unwrap()
}

fn store(machine: &Machine) -> AnyStore {
    let environment: Environment = [("RACKPOOL_DB", machine.db().to_str().unwrap())].into_iter().collect();
    let settings = Settings::from_environment(&environment).unwrap();
    let datastore = Datastore::choose(&settings, &environment).unwrap();
    setup::connect(&datastore, ConnectOptions::existing()).unwrap()
}

fn site<S>(machine: &Machine, store: S, log: &Kept) -> Site<S> {
    Site {
        store,
        is_begun: true,
        backend: Backend::Embedded,
        titles: Titles::default(),
        patience: LONG,
        orchestrator: Orchestrator::none(),
        lock: HostLock::new(machine.dir.path().join("ipam.lock").to_str(), SOON),
        clock: Clock::start(),
        log: Sink::new(log.clone()),
    }
}

/// The addresses in use, read with a runtime of its own.
fn taken(machine: &Machine) -> BTreeMap<IpAddr, String> {
    thread::scope(|scope| scope.spawn(|| machine.taken()).join().unwrap())
}

fn given(result: &Json) -> IpAddr {
    addr(result["ips"][0]["address"].as_str().unwrap())
}

/// The first request holds the host's lock. The second waits for the lock as long as its patience lasts, and
/// then goes on without it.
#[test]
fn one_that_the_store_never_answers_holds_up_no_other() {
    let (machine, log) = (machine(), Kept::default());
    let site = site(&machine, SilentStore::new(store(&machine)), &log);
    let (one, two) = (ask(&machine, "ADD", "c1"), ask(&machine, "ADD", "c2"));
    let two_again = ask(&machine, "DEL", "c2");
    wait_for(async {
        let mut first = pin!(calico_ipam::add(&site, &one));
        while !site.store.was_asked() {
            tokio::select! {
                answer = &mut first => panic!("nobody answered it: {answer:?}"),
                () = tokio::time::sleep(Duration::from_millis(1)) => {}
            }
        }
        let second = async {
            let result = tokio::time::timeout(LONG, calico_ipam::add(&site, &two)).await.unwrap().unwrap();
            let given = given(&result);
            assert_eq!(taken(&machine), [(given, "net.c2".to_string())].into());
            tokio::time::timeout(LONG, calico_ipam::del(&site, &two_again)).await.unwrap().unwrap();
        };
        tokio::select! {
            biased;
            answer = &mut first => panic!("nobody answered it: {answer:?}"),
            () = second => {}
        }
    });
    assert!(site.store.was_asked() && taken(&machine).is_empty());
    let log = log.text();
    let without = log.lines().filter(|line| line.contains("going on without the host's lock"));
    assert_eq!(without.count(), 2, "{log}");
}

/// What one request has read or done must not appear in another.
#[test]
fn a_site_serves_many() {
    let (machine, log) = (machine(), Kept::default());
    let site = site(&machine, store(&machine), &log);
    let containers: Vec<String> = (0..8).map(|number| format!("c{number}")).collect();
    let all = |command: &str| containers.iter().map(|id| ask(&machine, command, id)).collect::<Vec<_>>();
    // A long-running program holds one such future for each request, so its size is checked.
    let size = std::mem::size_of_val(&calico_ipam::add(&site, &ask(&machine, "ADD", "c0")));
    assert!(size < 16 << 10, "the future of an ADD has {size} bytes");
    wait_for(async {
        let [one, two, three, ..] = &all("ADD")[..] else { unreachable!("eight containers") };
        let results = tokio::join!(
            calico_ipam::add(&site, one),
            calico_ipam::add(&site, two),
            calico_ipam::add(&site, three)
        );
        let results = [results.0.unwrap(), results.1.unwrap(), results.2.unwrap()];
        let mut addresses: Vec<_> = results.iter().map(given).collect();
        addresses.sort();
        addresses.dedup();
        assert_eq!(addresses, taken(&machine).into_keys().collect::<Vec<_>>());
        assert_eq!(addresses.len(), 3);
        for ask in &all("ADD")[3..] {
            calico_ipam::add(&site, ask).await.unwrap();
        }
        assert_eq!(taken(&machine).len(), 8);
        for ask in &all("DEL") {
            calico_ipam::del(&site, ask).await.unwrap();
        }
        assert!(taken(&machine).is_empty());
    });
}
