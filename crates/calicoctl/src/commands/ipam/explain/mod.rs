//! `calicoctl ipam explain`: reads what the user asks about, and lets the allocator explain itself.

mod address;
mod all_nodes;
mod pod;
mod render;

use api::{Cidr, Family, HandleId, Kind, Use};
use ipam::explain::{self, Explanation, Question};
use ipam::{AutoAssign, RunError};
use serde_json::Value as Json;
use store::{Depth, ReadSet, Scope, View};

use crate::Context;
use crate::cli::Config;
use crate::commands::resource_set::Access;
use crate::commands::warn_ignored;
use crate::failure::Failure;
use crate::output::{Format, yaml};
use crate::session::Session;

use pod::Pod;

const EXAMPLES: &str = "\
Examples:
  calicoctl ipam explain --node node-1                what a workload on the node would get
  calicoctl ipam explain -n web --pod nginx-0         the same for a pod of Kubernetes
  calicoctl ipam explain --node node-1 --pool rack-1  the same where the pool is named
  calicoctl ipam explain --ip 192.168.0.7             who has an address, and how to free it
  calicoctl ipam explain --all-nodes                  which nodes can reach no address

The line `remedy:` is a command that can be run as it stands; it was tried on a copy of the data.
docs/explain.md describes the output of -o json and the words of the column VERDICT.";

/// Say which address a node, a pod or a request would get, or why none.
///
/// For every pool, it says whether addresses are taken from it and why not: which term of a selector failed,
/// what is full, what is disabled. It says which address would be next and what would be written. Nothing is
/// written: the allocator itself plans the request, and the plan is not carried out. Exit code 1: there is no
/// such node, or with --all-nodes, a node can reach no address.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct Args {
    /// The node on which the address is wanted; a pod's own where --pod is given
    #[arg(long, value_name = "NAME")]
    node: Option<String>,
    /// The namespace for which the address is wanted
    #[arg(short = 'n', long, value_name = "NAME")]
    namespace: Option<String>,
    /// A pod of the namespace, on Kubernetes: its node and annotations count
    #[arg(long, value_name = "NAME", conflicts_with_all = ["pools", "ip"])]
    pod: Option<String>,
    /// A pool that the request names, by name or network; may be given several times
    #[arg(long = "pool", value_name = "POOL", conflicts_with = "ip")]
    pools: Vec<String>,
    /// An address: who has it, and how to free it
    #[arg(long, value_name = "IP")]
    ip: Option<String>,
    /// What the address is for: Workload, Tunnel or LoadBalancer
    #[arg(long = "use", value_name = "USE", default_value = "Workload")]
    wanted: String,
    /// The family of the address: 4 or 6
    #[arg(long, value_name = "NUMBER")]
    family: Option<String>,
    /// For every node: the pools that serve it and the free addresses that it can reach
    #[arg(long, conflicts_with_all = ["node", "pod", "pools", "ip"])]
    all_nodes: bool,
    /// Write json or yaml
    #[arg(short = 'o', long, value_name = "FORMAT")]
    output: Option<String>,
    #[command(flatten)]
    config: Config,
    #[arg(hide = true)]
    words: Vec<String>,
}

/// How the answer is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Output {
    Text,
    Json,
    Yaml,
}

pub(super) fn run(args: &Args, context: &mut Context<'_>) -> Result<(), Failure> {
    let output = output(args.output.as_deref())?;
    let wanted = wanted_use(&args.wanted)?;
    let family = args.family.as_deref().map(family).transpose()?;
    if args.node.is_none()
        && args.pod.is_none()
        && args.ip.is_none()
        && !args.all_nodes
        && wanted != Use::LoadBalancer
    {
        return Err(Failure::Message(
            "nothing to explain: name a node (--node), a pod (--pod), an address (--ip), or all nodes (--all-nodes)"
                .to_string(),
        ));
    }
    let session = Access::to_read(args.config.config.as_deref(), context)?.quiet_session()?;
    warn_ignored(context, &args.words)?;
    if let Some(ip) = args.ip.as_deref() {
        return address::run(args, ip, wanted, &session, output, context);
    }
    if args.all_nodes {
        return all_nodes::run(args, wanted, family.unwrap_or(Family::V4), &session, output, context);
    }
    let pod = match &args.pod {
        Some(name) => Some(Pod::load(&session, args.namespace.as_deref().unwrap_or("default"), name)?),
        None => None,
    };
    let question = question(args, pod.as_ref(), wanted, family, &session)?;
    let explained =
        session.wait(explain::explain(&session.store, session.effects(), &question, session.within));
    let mut explanation = explained.map_err(failed)?;
    let missing = missing_node(&question, &explanation, &session)?;
    // Nobody wants a node under a misspelt name, or can have one under a name that no node can bear.
    let node = serde_json::json!({"kind": "Node", "apiVersion": api::resource::API_VERSION, "metadata": {"name": question.request.host}});
    let can_be =
        api::Resource::from_json(Kind::Node, node).is_ok_and(|node| api::validate::resource(&node).is_ok());
    if missing.as_ref().is_some_and(|missing| missing.is_misspelt || !can_be) {
        explanation.remedy = None;
    }
    explanation.remedy = explanation.remedy.map(|remedy| on_the_same_store(&remedy, args, context));
    let text = match output {
        Output::Text => render::text(&question, &explanation, args.pod.as_deref()),
        _ => document(output, &render::json(&question, &explanation, args.pod.as_deref())),
    };
    context.stdout.write_all(text.as_bytes())?;
    match missing {
        Some(missing) => Err(Failure::Message(missing.text)),
        None => Ok(()),
    }
}

/// Whether Kubernetes has a pod of that name that may use the address.
pub(super) fn pod_uses(
    session: &Session,
    namespace: &str,
    name: &str,
    addr: std::net::IpAddr,
) -> Result<bool, Failure> {
    match pod::object(session, namespace, name) {
        Ok(found) => Ok(address::of_pod(addr, found.as_ref()).0 == Some(true)),
        Err(Some(failure)) => Err(failure),
        Err(None) => Ok(false),
    }
}

fn failed<E: std::fmt::Display>(error: RunError<E>) -> Failure {
    Failure::Message(error.to_string())
}

fn output(format: Option<&str>) -> Result<Output, Failure> {
    let Some(format) = format else { return Ok(Output::Text) };
    match Format::parse(format) {
        Ok(Format::Json) => Ok(Output::Json),
        Ok(Format::Yaml) => Ok(Output::Yaml),
        Ok(_) => Err(Failure::Message(format!("-o {format} does not suit an explanation; use json or yaml"))),
        Err(error) => Err(Failure::Message(format!("{error}; use json or yaml"))),
    }
}

fn wanted_use(text: &str) -> Result<Use, Failure> {
    let all = [Use::Workload, Use::Tunnel, Use::LoadBalancer];
    let found = all.into_iter().find(|wanted| wanted.name().eq_ignore_ascii_case(text));
    found.ok_or_else(|| {
        Failure::Message(format!("--use {text}: it is none of Workload, Tunnel, LoadBalancer"))
    })
}

fn family(text: &str) -> Result<Family, Failure> {
    match text.trim_start_matches(['i', 'I']).trim_start_matches(['p', 'P']).trim_start_matches(['v', 'V']) {
        "4" => Ok(Family::V4),
        "6" => Ok(Family::V6),
        _ => Err(Failure::Message(format!("--family {text}: it is neither 4 nor 6"))),
    }
}

/// A document in the format that the user wants.
fn document(output: Output, json: &Json) -> String {
    match output {
        Output::Yaml => yaml::to_text(json),
        _ => golang::json::to_indented_text(json, 2) + "\n",
    }
}

/// The request that the user asks about.
fn question(
    args: &Args,
    pod: Option<&Pod>,
    wanted: Use,
    family: Option<Family>,
    session: &Session,
) -> Result<Question, Failure> {
    let annotated = pod.map(|pod| pod.pools(family)).transpose()?;
    let family = family.or(annotated.as_ref().map(|a| a.family)).unwrap_or(Family::V4);
    let (entries, annotation) = match annotated.and_then(|annotated| annotated.pools) {
        Some((entries, annotation)) => (entries, Some(annotation)),
        None => (args.pools.clone(), None),
    };
    let named = named_pools(&entries, annotation.as_deref(), family, session)?;
    let host = match (&args.node, pod.and_then(|pod| pod.node())) {
        (Some(node), _) => node.clone(),
        (None, Some(node)) => node.to_string(),
        (None, None) if wanted == Use::LoadBalancer => String::new(),
        (None, None) => {
            return Err(Failure::Message(
                "the pod is on no node yet: name the node for which its address is wanted (--node)"
                    .to_string(),
            ));
        }
    };
    let namespace = pod.map(|pod| pod.namespace().to_string()).or(args.namespace.clone());
    let namespace_labels = pod::namespace_labels(session, namespace.as_deref())?;
    let mut request = AutoAssign {
        // The name stands for those of network and container, which only an ADD knows.
        handle: HandleId::new("network.container"),
        namespace_labels,
        ..AutoAssign::new(host, wanted)
    };
    match family {
        Family::V4 => (request.v4, request.v4_pools) = (1, named),
        Family::V6 => (request.v6, request.v6_pools) = (1, named),
    }
    let is_on_kubernetes = session.is_on_kubernetes();
    Ok(Question { request, namespace, annotation, is_on_kubernetes })
}

/// The networks of the pools that are named, each by its name or its network.
fn named_pools(
    entries: &[String],
    annotation: Option<&str>,
    family: Family,
    session: &Session,
) -> Result<Vec<Cidr>, Failure> {
    if entries.is_empty() {
        return Ok(Vec::new());
    }
    let set = ReadSet::new().scope(Scope::kind(Kind::IPPool), Depth::Full);
    let view = session.read(&set).map_err(|error| Failure::Message(error.to_string()))?;
    let by = annotation.unwrap_or("--pool");
    let resolve = |entry: &String| {
        let cidr = entry.parse::<Cidr>().ok().or_else(|| pool_network(&view, entry)).ok_or_else(|| {
            let names = view.resources(Kind::IPPool).map(|(pool, _)| pool.name());
            let near = did_you_mean(entry, names);
            Failure::Message(format!(
                "{by}: no pool has the name or network {entry:?}{near} (calicoctl get ippools)"
            ))
        })?;
        match cidr.family() == family {
            true => Ok(cidr),
            false => Err(Failure::Message(format!(
                "{by}: the pool {entry} is of {}, and an address of {family} is wanted (--family)",
                cidr.family()
            ))),
        }
    };
    entries.iter().map(resolve).collect()
}

fn pool_network(view: &View, name: &str) -> Option<Cidr> {
    let (pool, _) = view.resources(Kind::IPPool).find(|(pool, _)| pool.name() == name)?;
    pool.text(&["spec", "cidr"])?.parse().ok()
}

/// A node that does not exist.
struct MissingNode {
    /// What to say about it.
    text: String,
    /// Whether another node's name is nearly the same.
    is_misspelt: bool,
}

/// The node of the question, if it does not exist.
fn missing_node(
    question: &Question,
    explanation: &Explanation,
    session: &Session,
) -> Result<Option<MissingNode>, Failure> {
    if explanation.node_labels.is_some() || question.request.intended_use == Use::LoadBalancer {
        return Ok(None);
    }
    let set = ReadSet::new().scope(Scope::kind(Kind::Node), Depth::Key);
    let view = session.read(&set).map_err(|error| Failure::Message(error.to_string()))?;
    let scope = Scope::kind(Kind::Node);
    let names = view.slots(&scope).filter_map(|(key, _)| match key {
        api::Key::Resource { name, .. } => Some(name.as_str()),
        _ => None,
    });
    let host = &question.request.host;
    let near = did_you_mean(host, names);
    let make =
        if question.is_on_kubernetes { "; a node is there once its kubelet has registered it" } else { "" };
    let text = format!("there is no node {host:?}{near}{make}");
    Ok(Some(MissingNode { text, is_misspelt: !near.is_empty() }))
}

/// The command with the flags that name the store for this one.
fn on_the_same_store(command: &str, args: &Args, context: &Context<'_>) -> String {
    let word = ipam::explain::commands::word;
    let mut flags = String::new();
    if let Some(file) = &args.config.config {
        flags.push_str(&format!(" -c {}", word(file)));
    }
    if let Some(name) = context.globals.context.as_deref().filter(|name| !name.is_empty()) {
        flags.push_str(&format!(" --context {}", word(name)));
    }
    if flags.is_empty() {
        return command.to_string();
    }
    let (mut out, mut rest) = (String::new(), command);
    // A command begins the line, or follows a pipe or an `&&`; elsewhere the word is part of a text.
    while let Some(at) = rest.find("calicoctl ") {
        let begins = at == 0 && out.is_empty() || rest[..at].ends_with("| ") || rest[..at].ends_with("&& ");
        let end = at + "calicoctl".len();
        out.push_str(&rest[..end]);
        if begins {
            out.push_str(&flags);
        }
        rest = &rest[end..];
    }
    out + rest
}

/// `; did you mean "x"?` for the known name that is most like `typed`; empty where none is.
fn did_you_mean<'a>(typed: &str, known: impl Iterator<Item = &'a str>) -> String {
    let near = api::near::nearest(typed, known);
    near.map(|name| format!("; did you mean {name:?}?")).unwrap_or_default()
}
