//! Several requests at once at one site, on one thread: the library as a program that stays would use it.

use std::net::IpAddr;
use std::pin::pin;
use std::time::Duration;

use api::capability::Backend;
use calico::Ask;
use cni::conf::Document;
use cni::log::{Kept, Sink};
use cni::{Call, HostLock, Orchestrator, Site};
use serde_json::{Value as Json, json};
use setup::Clock;
use store::testing::Silent;

use crate::harness::{Container, NODE, Node};

/// Much longer than what is shown takes, on any machine.
const LONG: Duration = Duration::from_secs(60);

fn ask(node: &Node, command: &str, container: &Container) -> Ask {
    let environment = container.environment(command, &node.bin);
    let args = format!("IgnoreUnknown=1;{}", environment.get("CNI_ARGS").unwrap());
    let environment = environment.with("CNI_ARGS", &args);
    let call = Call::of(&environment).unwrap().unwrap();
    let document = Document::parse(node.configuration(json!({})).to_string().as_bytes()).unwrap();
    let conf = document.conf().unwrap();
    Ask::new(call, &document, conf, &environment, NODE).unwrap()
}

fn addresses(result: &Json) -> Vec<IpAddr> {
    let text = |ip: &Json| ip["address"].as_str().unwrap().split('/').next().unwrap().parse().unwrap();
    result["ips"].as_array().unwrap().iter().map(text).collect()
}

/// Neither the store of the first one nor the kernel and the IPAM plugin of the second hold up the thread.
#[test]
fn one_that_the_store_never_answers_holds_up_no_other() {
    let Some(node) = Node::new() else { return };
    let (one, two) = (Container::new("aaaa", "pod-a"), Container::new("bbbb", "pod-b"));
    let log = Kept::default();
    let site = Site {
        store: Silent::new(node.store()),
        backend: Backend::Embedded,
        patience: LONG,
        orchestrator: Orchestrator::none(),
        lock: HostLock::new(None, LONG),
        clock: Clock::start(),
        log: Sink::new(log.clone()),
    };
    let asks = (ask(&node, "ADD", &one), ask(&node, "ADD", &two));
    let (check, del) = (ask(&node, "CHECK", &two), ask(&node, "DEL", &two));
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
