//! What a runtime hands to the plugins, and what annotations and other plugins say.

use api::Cidr;
use cni::args::Args;
use cni::conf::Document;
use cni::{Call, CniError, answer, protocol};
use serde_json::Value as Json;
use setup::{Environment, Settings};

use super::Target;
use crate::input::{bounded, halves, text, told, variables};

pub(super) const TARGETS: &[Target] = &[
    Target { name: "network", what: "a network's configuration, as the plugins get it", run: network },
    Target { name: "cni-args", what: "the variable CNI_ARGS", run: args },
    Target { name: "cni-call", what: "variables, a line of four dashes, and a configuration", run: call },
    Target {
        name: "annotations",
        what: "the annotations of a pod, a line of four dashes, and those of its namespace, as JSON",
        run: annotations,
    },
    Target { name: "ipam-result", what: "what an IPAM plugin answers", run: ipam_result },
    Target { name: "host-local", what: "the configuration of host-local", run: host_local },
    Target { name: "secrets", what: "a configuration, a line of four dashes, and a text", run: secrets },
];

fn refused(error: &CniError, input: usize) {
    let answer = answer::text(&error.to_json());
    bounded("the answer", answer.len(), input, 64);
    let read: Result<Json, _> = serde_json::from_str(&answer);
    assert!(read.is_ok_and(|read| read.is_object()), "{answer}");
}

fn network(bytes: &[u8]) {
    let document = match Document::parse(bytes) {
        Ok(document) => document,
        Err(error) => return refused(&error, bytes.len()),
    };
    for command in ["ADD", "CHECK", "GC"] {
        if let Err(error) = protocol::check_served(command, &document) {
            refused(&error, bytes.len());
        }
    }
    let conf = match document.conf() {
        Ok(conf) => conf,
        Err(error) => return refused(&error, bytes.len()),
    };
    assert!(cni::conf::is_name(conf.name()));
    let odd: usize = conf.oddities().iter().map(String::len).sum();
    bounded("the oddities", odd, bytes.len(), 512);
    let _ = (conf.wants_v4(), conf.wants_v6(), conf.pools("ipv4_pools"), conf.is_single_network());
    let _ = Settings::default().with_cni(conf.fields());
    let _ = conf.names_kubernetes();
    if let Err(said) = calico::door::mesos_labels(&conf) {
        bounded("an error's text", said.len(), bytes.len(), 16);
    }
}

fn args(bytes: &[u8]) {
    let text = text(bytes);
    match Args::parse(&text) {
        Ok(args) => bounded("the arguments", args.pod.len() + args.namespace.len(), text.len(), 1),
        Err(error) => refused(&error, text.len()),
    }
}

fn call(bytes: &[u8]) {
    let (environment, document) = halves(bytes);
    let environment: Environment = variables(environment).into_iter().collect();
    let call = match Call::of(&environment) {
        Ok(Some(call)) => call,
        Ok(None) => return,
        Err(error) => return refused(&error, bytes.len()),
    };
    let made = call.document(&mut &document[..]).and_then(|document| {
        let version = protocol::check_served(&call.command, &document)?;
        calico_ipam::Ask::new(call.clone(), document.conf()?, version, "node-1".to_string())?;
        calico::Ask::new(call.clone(), &document, document.conf()?, &environment, "node-1").map(drop)
    });
    if let Err(error) = made {
        refused(&error, bytes.len());
    }
}

fn annotations(bytes: &[u8]) {
    let object = |bytes: &[u8]| -> Json {
        let annotations: Json = serde_json::from_slice(bytes).unwrap_or_default();
        serde_json::json!({"metadata": {"namespace": "default", "name": "web-1", "annotations": annotations}})
    };
    let (pod, namespace) = halves(bytes);
    let mut configuration = serde_json::json!({"ipam": {"type": "calico-ipam"}});
    for error in calico::door::annotations(&object(pod), &object(namespace), &mut configuration) {
        refused(&error, bytes.len());
    }
    bounded("the configuration", configuration.to_string().len(), bytes.len(), 8);
}

fn ipam_result(bytes: &[u8]) {
    match calico::door::delegate_result(bytes) {
        Ok(addresses) => bounded("the addresses", addresses.len(), bytes.len(), 1),
        Err(said) => told(said, bytes.len()),
    }
}

fn host_local(bytes: &[u8]) {
    let Ok(mut configuration) = serde_json::from_slice::<Json>(bytes) else { return };
    let pod_cidrs: Vec<Cidr> =
        ["10.0.0.0/24", "fd00::/64"].iter().filter_map(|cidr| cidr.parse().ok()).collect();
    match calico::door::host_local(&mut configuration, &pod_cidrs) {
        Ok(routes) => bounded("the routes", routes, bytes.len(), 1),
        Err(said) => bounded("an error's text", said.len(), bytes.len(), 16),
    }
}

fn secrets(bytes: &[u8]) {
    let (configuration, said) = halves(bytes);
    let configuration: Json = serde_json::from_slice(configuration).unwrap_or_default();
    let secrets = calico::door::secrets(&configuration, &Environment::default());
    let said = text(said);
    let hidden = secrets.hidden_in(&said);
    bounded("the text", hidden.len(), said.len(), 4);
    let named = |name: &str| configuration[name].as_str().unwrap_or_default().trim().to_string();
    // The word that stands in a secret's place may make up another.
    for secret in [named("password"), named("token")].iter().filter(|secret| secret.len() >= 10) {
        assert!(!hidden.contains(secret.as_str()) || "<hidden>".contains(secret.as_str()), "{hidden}");
    }
}
