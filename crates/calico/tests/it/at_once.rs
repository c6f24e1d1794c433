//! Several requests at the same time at one site and on one thread, as a long-running program that uses the
//! library would have.

use std::fs::{self, Permissions};
use std::net::IpAddr;
use std::os::unix::fs::PermissionsExt;
use std::pin::pin;
use std::time::Duration;

use api::capability::Backend;
use calico::Ask;
use cni::conf::Document;
use cni::log::{Kept, Sink};
use cni::{Call, HostLock, Orchestrator, Site};
use serde_json::{Value as Json, json};
use setup::Clock;
use store::Titles;
use store::testing::SilentStore;

use crate::harness::{Container, NODE, Node};

/// A time limit much longer than the test needs on any machine.
const LONG: Duration = Duration::from_secs(60);

fn ask(node: &Node, command: &str, container: &Container, more: Json) -> Ask {
    let environment = container.environment(command, &node.bin);
    let environment = environment.with("TEST_DIR", node.dir.path().to_str().unwrap());
    let args = format!("IgnoreUnknown=1;{}", environment.get("CNI_ARGS").unwrap());
    let environment = environment.with("CNI_ARGS", &args);
    let call = Call::of(&environment).unwrap().unwrap();
    let document = Document::parse(node.configuration(more).to_string().as_bytes()).unwrap();
    let conf = document.conf().unwrap();
    Ask::new(call, &document, conf, &environment, NODE).unwrap()
}

fn site<S>(store: S, log: &Kept) -> Site<S> {
    Site {
        store,
        is_begun: true,
        backend: Backend::Embedded,
        titles: Titles::default(),
        patience: LONG,
        orchestrator: Orchestrator::none(),
        lock: HostLock::new(None, LONG),
        clock: Clock::start(),
        log: Sink::new(log.clone()),
    }
}

fn addresses(result: &Json) -> Vec<IpAddr> {
    let text = |ip: &Json| ip["address"].as_str().unwrap().split('/').next().unwrap().parse().unwrap();
    result["ips"].as_array().unwrap().iter().map(text).collect()
}

/// Neither a silent store of the first request, nor the kernel or the IPAM plugin of the second, blocks the
/// thread.
#[test]
fn one_that_the_store_never_answers_holds_up_no_other() {
    let Some(node) = Node::new() else { return };
    let (one, two) = (Container::new("aaaa", "pod-a"), Container::new("bbbb", "pod-b"));
    let log = Kept::default();
    let site = site(SilentStore::new(node.store()), &log);
    let ask = |command: &str, container: &Container| ask(&node, command, container, json!({}));
    let (asks, check, del) = ((ask("ADD", &one), ask("ADD", &two)), ask("CHECK", &two), ask("DEL", &two));
    let size = std::mem::size_of_val(&calico::add(&site, &asks.0));
    assert!(size < 32 << 10, "the future of an ADD has {size} bytes");
    let work = async {
        let mut first = pin!(calico::add(&site, &asks.0));
        while !site.store.was_asked() {
            tokio::select! {
                answer = &mut first => panic!("nobody answered it: {answer:?}"),
                () = tokio::time::sleep(Duration::from_millis(1)) => {}
            }
        }
        let second = async {
            let result = tokio::time::timeout(LONG, calico::add(&site, &asks.1)).await.unwrap().unwrap();
            calico::check(&site, &check).await.unwrap();
            addresses(&result)
        };
        tokio::select! {
            biased;
            answer = &mut first => panic!("nobody answered it: {answer:?}"),
            addresses = second => addresses
        }
    };
    let addresses = node.host.run(|| setup::full_runtime().unwrap().block_on(work));
    assert!(site.store.was_asked() && one.netns.interfaces().is_empty(), "{}", log.text());
    assert_eq!((addresses.len(), node.in_use()), (2, 2));
    assert!(addresses.iter().all(|addr| node.host.reaches(&two.netns, *addr)));
    node.host.run(|| setup::full_runtime().unwrap().block_on(calico::del(&site, &del))).unwrap();
    assert_eq!((node.in_use(), two.netns.interfaces()), (0, Vec::new()));
}

/// An IPAM plugin that answers once it was called for both containers, and gives up after half a minute
/// otherwise.
const RENDEZVOUS: &str = r#"#!/bin/sh
cat > /dev/null
[ "$CNI_COMMAND" = ADD ] || exit 0
touch "$TEST_DIR/$CNI_CONTAINERID"
for try in $(seq 600); do
    if [ -e "$TEST_DIR/aaaa" ] && [ -e "$TEST_DIR/bbbb" ]; then
        [ "$CNI_CONTAINERID" = aaaa ] && last=9 || last=10
        echo '{"cniVersion": "1.0.0", "ips": [{"address": "10.7.0.'$last'/24"}]}'
        exit 0
    fi
    sleep 0.05
done
exit 1
"#;

/// Each IPAM plugin waits until the other one was called, so the thread must not wait for one alone.
#[test]
fn the_ipam_plugin_of_one_holds_up_no_other() {
    let Some(mut node) = Node::new() else { return };
    node.bin = node.path("bin");
    fs::create_dir(&node.bin).unwrap();
    fs::write(node.bin.join("rendezvous"), RENDEZVOUS).unwrap();
    fs::set_permissions(node.bin.join("rendezvous"), Permissions::from_mode(0o755)).unwrap();
    let (one, two) = (Container::new("aaaa", "pod-a"), Container::new("bbbb", "pod-b"));
    let log = Kept::default();
    let site = site(node.store(), &log);
    let ask = |container: &Container| ask(&node, "ADD", container, json!({"ipam": {"type": "rendezvous"}}));
    let asks = (ask(&one), ask(&two));
    let both = async { tokio::join!(calico::add(&site, &asks.0), calico::add(&site, &asks.1)) };
    let (first, second) = node.host.run(|| setup::full_runtime().unwrap().block_on(both));
    let addresses = [addresses(&first.unwrap()), addresses(&second.unwrap())].concat();
    assert_eq!(addresses, ["10.7.0.9", "10.7.0.10"].map(|addr| addr.parse::<IpAddr>().unwrap()));
    assert!(node.host.reaches(&one.netns, addresses[0]) && node.host.reaches(&two.netns, addresses[1]));
}
