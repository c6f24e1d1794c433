//! `calicoctl datastore preflight`: what becomes of a cluster where rackpool takes Calico's place.

use std::fmt;

use resources::contents::number_of;
use resources::preflight::{self, Code, Effect, Survey, Unread};
use serde_json::{Value as Json, json};
use setup::{ConnectOptions, Purpose};

use crate::Context;
use crate::cli::{self, Config};
use crate::commands::ipam;
use crate::failure::Failure;
use crate::output;
use crate::session::{CLIENT_VERSION, Chosen, Session};

/// Look at what becomes of a cluster where rackpool takes Calico's place.
///
/// Tells which of Calico's programs run, which pools there are, how many addresses are in use and whether
/// they fit together; what is lost, what changes, what stays, and the steps. rackpool does not enforce
/// network policies, does not filter hosts' own traffic (HostEndpoint), does not encrypt (WireGuard), has no
/// eBPF dataplane, announces nothing by BGP, and gives services no addresses. Nothing is changed. What this
/// user may not read is named, with what is therefore unknown.
///
/// `rackpoold node` refuses to start where something is lost, unless its own --accept-loss names it.
///
/// Exit code: 0 if nothing is lost but what --accept-loss names, else 1.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// What may be lost, with commas between: policy, hostendpoint, wireguard, ebpf, bgp, loadbalancer
    #[arg(long, value_name = "LIST", value_delimiter = ',', value_parser = accepted)]
    accept_loss: Vec<Code>,
    /// Write json or yaml in place of lines
    #[arg(short = 'o', long, value_name = "FORMAT", value_parser = ["json", "yaml"])]
    output: Option<String>,
    #[command(flatten)]
    config: Config,
    #[arg(hide = true)]
    words: Vec<String>,
}

fn accepted(word: &str) -> Result<Code, String> {
    let is_loss = |code: &Code| code.effect() == Effect::Lost;
    Code::from_word(word).filter(is_loss).ok_or_else(|| {
        let words = Code::ALL.into_iter().filter(is_loss).map(Code::word).collect::<Vec<_>>().join(", ");
        format!("{word:?} is nothing that can be lost: the words are {words}")
    })
}

/// How much is allocated.
struct Allocated {
    blocks: usize,
    addresses: usize,
    handles: usize,
    problems: usize,
    more: usize,
}

impl fmt::Display for Allocated {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let of = |count: usize, one: &str, several: &str| number_of(count as u64, one, several);
        let addresses = of(self.addresses, "address", "addresses");
        let (blocks, handles) = (of(self.blocks, "block", "blocks"), of(self.handles, "handle", "handles"));
        write!(f, "{addresses} in {blocks}, {handles}")
    }
}

pub(super) fn run(args: &Args, context: &mut Context<'_>) -> Result<(), Failure> {
    cli::exactly(0, &args.words).map_err(Failure::Message)?;
    context.globals.check().map_err(Failure::Message)?;
    let failed = |text: String| Failure::in_calico_words(text);
    let session = Chosen::load(args.config.config.as_deref(), context.globals, context.environment)?
        .open(context, Purpose::Read, ConnectOptions::existing())
        .map_err(|error| failed(error.to_string()))?;
    let survey = session.wait(preflight::survey(session.store.inner(), CLIENT_VERSION, session.within));
    let mut survey = survey.map_err(|error| failed(error.to_string()))?;
    let allocated = allocated(&session, context, &mut survey)?;
    match args.output.as_deref() {
        Some(format) => {
            let document = document(&session, &survey, allocated.as_ref());
            context.stdout.write_all(output::document(&document, format).as_bytes())?;
        }
        None => {
            let text = text(&session, &survey, allocated.as_ref());
            context.stdout.write_all(text.as_bytes())?;
        }
    }
    refuse(&survey.lost_beyond(&args.accept_loss), &args.accept_loss)
}

/// The failure that names what is lost and was not accepted.
fn refuse(lost: &[Code], accepted: &[Code]) -> Result<(), Failure> {
    if lost.is_empty() {
        return Ok(());
    }
    let all: Vec<Code> =
        Code::ALL.into_iter().filter(|code| lost.contains(code) || accepted.contains(code)).collect();
    let words =
        |codes: &mut dyn Iterator<Item = &Code>| codes.map(|code| code.word()).collect::<Vec<_>>().join(",");
    let every = words(&mut all.iter());
    let of_agent = words(&mut all.iter().filter(|code| matches!(code, Code::Loss(_))));
    let mut text = format!(
        "this would be lost: {}. Where that is as it should be: calicoctl datastore preflight --accept-loss={every}",
        words(&mut lost.iter())
    );
    if !of_agent.is_empty() {
        text.push_str(&format!("\nThe node agent would not start; to start it all the same: rackpoold node --accept-loss={of_agent}"));
    }
    Err(Failure::Message(text))
}

/// Lets the check judge what is allocated. Where it cannot read everything, that is noted.
fn allocated(
    session: &Session,
    context: &mut Context<'_>,
    survey: &mut Survey,
) -> Result<Option<Allocated>, Failure> {
    let checked = match ipam::judge(session, context) {
        Ok(checked) => checked,
        Err(Failure::Message(reason) | Failure::OnStdout(reason)) => {
            survey.unread.push(Unread {
                what: "what is allocated".to_string(),
                reason: reason.lines().next().unwrap_or_default().to_string(),
                unknown: "how many addresses are in use, and whether they fit together".to_string(),
                feature: None,
            });
            return Ok(None);
        }
        Err(other) => return Err(other),
    };
    let allocated = Allocated {
        blocks: checked.blocks.len(),
        addresses: checked.allocated().count(),
        handles: checked.good_handles + checked.leaked_handles.len(),
        problems: checked.problems(),
        more: checked.more.len(),
    };
    if allocated.blocks > 0 {
        survey.note(Code::Addresses, vec![allocated.to_string()]);
    }
    let Allocated { problems, more, .. } = &allocated;
    if problems + more > 0 {
        let found = format!("{problems} that Calico counts, {more} others");
        survey.note(Code::IpamProblems, vec![found]);
    }
    Ok(Some(allocated))
}

fn text(session: &Session, survey: &Survey, allocated: Option<&Allocated>) -> String {
    let place = session.datastore.place();
    let version = survey.version.as_deref().unwrap_or("of a version that is not known");
    let mut text = format!("Calico {version}, in {place}\n");
    if let Some(api_version) = &survey.api_version {
        text.push_str(&format!("  custom resources: {api_version}\n"));
    }
    for program in &survey.programs {
        text.push_str(&format!("  {}: {}\n", program.object, program.image));
    }
    for pool in &survey.pools {
        let (name, cidr, selector) = (&pool.name, &pool.cidr, &pool.node_selector);
        text.push_str(&format!(
            "  IPPool {name}: {cidr}, encapsulation {}, for {selector}\n",
            pool.encapsulation
        ));
    }
    if let Some(allocated) = allocated {
        text.push_str(&format!("  {allocated}\n"));
    }
    for (effect, title) in [(Effect::Lost, "Lost"), (Effect::Changes, "Changes"), (Effect::Kept, "Stays")] {
        section(&mut text, title, survey.with(effect).map(ToString::to_string));
    }
    section(&mut text, "Not known", survey.unread.iter().map(ToString::to_string));
    let steps = preflight::steps(survey);
    section(&mut text, "Steps", steps.iter().zip(1..).map(|(step, at)| format!("{at}. {step}")));
    if survey.lost_beyond(&[]).is_empty() {
        text.push_str(&format!("\nNothing of {place} is lost\n"));
    }
    text
}

fn section(text: &mut String, title: &str, lines: impl Iterator<Item = String>) {
    let lines: Vec<String> = lines.map(|line| format!("  {line}\n")).collect();
    if !lines.is_empty() {
        text.push_str(&format!("\n{title}\n{}", lines.concat()));
    }
}

fn document(session: &Session, survey: &Survey, allocated: Option<&Allocated>) -> Json {
    let programs =
        survey.programs.iter().map(|program| json!({"object": program.object, "image": program.image}));
    let pools = survey.pools.iter().map(|pool| {
        json!({"name": pool.name, "cidr": pool.cidr, "encapsulation": pool.encapsulation, "nodeSelector": pool.node_selector})
    });
    let allocated = allocated.map(|allocated| {
        json!({"blocks": allocated.blocks, "addresses": allocated.addresses, "handles": allocated.handles,
            "problems": allocated.problems, "moreProblems": allocated.more})
    });
    let reasons = survey.findings.iter().map(|finding| {
        let code = finding.code;
        json!({"code": code.word(), "effect": code.effect().word(), "objects": finding.objects, "text": code.text()})
    });
    let unknown = survey.unread.iter().map(|unread| {
        json!({"what": unread.what, "reason": unread.reason, "unknown": unread.unknown,
            "code": unread.feature.map(|feature| feature.word())})
    });
    json!({
        "datastore": session.datastore.place(),
        "version": survey.version,
        "apiVersion": survey.api_version,
        "programs": programs.collect::<Vec<_>>(),
        "pools": pools.collect::<Vec<_>>(),
        "ipam": allocated,
        "reasons": reasons.collect::<Vec<_>>(),
        "unknown": unknown.collect::<Vec<_>>(),
        "steps": preflight::steps(survey),
    })
}
