//! The commands that change this host once and end; and one that only looks whether the agent is ready.

use std::io::Write;
use std::process::ExitCode;

use api::Family;
use filter::Nft;
use host::{Interface, Kernel, sysctl};
use routes::Step;

use super::Failure;
use super::pass::DEVICES;
use super::start::places;
use super::status::Plan;
#[cfg(feature = "kubernetes")]
use super::{
    name,
    start::{Opened, WITHIN, open},
};
use crate::cli::{Node, Who};
use crate::install;
#[cfg(feature = "kubernetes")]
use setup::Clock;
use setup::Environment;
#[cfg(feature = "kubernetes")]
use store::AnyStore;

/// Tells whether the agent that runs here has done everything once.
pub(super) fn ready(
    args: &Node,
    environment: &Environment,
    out: &mut impl Write,
) -> Result<ExitCode, Failure> {
    match install::mark::is_ready(&places(&args.files, environment)?) {
        true => {
            writeln!(out, "ready")?;
            Ok(ExitCode::SUCCESS)
        }
        false => {
            writeln!(out, "the agent has not made this node ready yet: its log says what it waits for")?;
            Ok(ExitCode::FAILURE)
        }
    }
}

/// Sets what routing needs of the kernel.
pub(super) async fn sysctl(args: &Node, out: &mut impl Write) -> Result<ExitCode, Failure> {
    let kernel = Kernel::open()?;
    let interfaces = kernel.interfaces().await?;
    let advertised = kernel.advertised_defaults().await?;
    let mut uplinks = Vec::new();
    for family in Family::BOTH {
        uplinks.extend(kernel.default_source(family).await?.map(|(_, index)| index));
    }
    let named = |wanted: &[u32]| -> Vec<String> {
        let is_wanted = |interface: &&Interface| wanted.contains(&interface.index);
        interfaces.iter().filter(is_wanted).map(|interface| interface.name.clone()).collect()
    };
    let has_v6 = |interface: &Interface| {
        interface.addresses.iter().any(|one| one.is_global && one.net.addr().is_ipv6())
    };
    let is_gateway = args.shape.aggregation == Who::Node;
    let duties = sysctl::Duties {
        families: match interfaces.iter().any(has_v6) {
            true => Family::BOTH.to_vec(),
            false => vec![Family::V4],
        },
        uplinks: named(&uplinks),
        advertised: named(&advertised),
        tunnels: Vec::new(),
        is_loose: is_gateway,
        is_gateway,
    };
    let settings = sysctl::check(&duties)?;
    sysctl::set(&settings)?;
    for setting in &settings {
        let word = if setting.is_met() { "kept" } else { "set" };
        writeln!(out, "{word} {}={}", setting.name(), setting.wanted)?;
    }
    Ok(ExitCode::SUCCESS)
}

/// Puts the agent's packet filter in the place of Felix's.
pub(super) async fn take_over(
    args: &Node,
    environment: &Environment,
    out: &mut impl Write,
) -> Result<ExitCode, Failure> {
    let running = filter::felix::running(std::path::Path::new("/proc"));
    if running.is_certain() {
        return Err(running.to_string().into());
    }
    let plan = Plan::read(args, environment).await?;
    let taken = Nft::default().take_over(&plan.rules())?;
    match taken.is_empty() {
        true => writeln!(out, "Felix has left nothing here")?,
        false => writeln!(out, "removed {taken}; the table inet rackpool is in its place")?,
    }
    Ok(ExitCode::SUCCESS)
}

/// Takes back everything of ours on this host.
pub(super) async fn uninstall(
    args: &Node,
    environment: &Environment,
    out: &mut impl Write,
) -> Result<ExitCode, Failure> {
    match leave(environment).await {
        Ok(None) => {}
        Ok(Some(name)) => writeln!(out, "Node({name}) says NetworkUnavailable: no new pods come here")?,
        Err(error) => {
            writeln!(
                out,
                "the Node was not told that its network goes (kubectl cordon keeps pods away): {error}"
            )?;
        }
    }
    // The network's configuration goes first, so that no container starts in between.
    let taken = install::uninstall(&places(&args.files, environment)?)?;
    for file in &taken.removed {
        writeln!(out, "removed {}", file.display())?;
    }
    for file in &taken.left {
        writeln!(out, "left {}: somebody else has written it since", file.display())?;
    }
    let kernel = Kernel::open()?;
    let present = kernel.present(&DEVICES).await?;
    let steps: Vec<Step> = present.routes.iter().cloned().map(Step::RemoveRoute).collect();
    let mut failed = Vec::new();
    for (_, error) in kernel.apply(&steps, None).await {
        failed.push(error.to_string());
    }
    for device in DEVICES {
        if let Err(error) = kernel.remove_tunnel(device).await {
            failed.push(error.to_string());
        }
    }
    if let Err(error) = Nft::default().remove() {
        failed.push(error.to_string());
    }
    failed.extend(taken.failed.iter().map(ToString::to_string));
    writeln!(out, "removed {} routes, the tunnels and the table inet rackpool", steps.len())?;
    match failed.is_empty() {
        true => Ok(ExitCode::SUCCESS),
        false => Err(format!("not everything could be taken back: {}", failed.join("; ")).into()),
    }
}

/// Has the Node of Kubernetes say that its network goes. Gives its name, where it was written.
#[cfg(feature = "kubernetes")]
async fn leave(environment: &Environment) -> Result<Option<String>, Failure> {
    let Opened { store, .. } = open(environment)?;
    let AnyStore::Kubernetes(server) = &*store else { return Ok(None) };
    let name = name::name(environment)?;
    let is_written = super::condition::leave(server, &name, Clock::start().now(), WITHIN).await?;
    Ok(is_written.then_some(name))
}

/// Without Kubernetes there is nobody to tell.
#[cfg(not(feature = "kubernetes"))]
async fn leave(_environment: &Environment) -> Result<Option<String>, Failure> {
    Ok(None)
}
