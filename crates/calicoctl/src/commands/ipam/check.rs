//! `calicoctl ipam check`: reads everything that says something of addresses, and tells what does not fit.

use std::cell::RefCell;
use std::fs::OpenOptions;
use std::io::{BufWriter, IsTerminal};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::time::Duration;

use api::{HandleId, Key, Kind, Resource};
use resources::check::{Check, Checked, Witness, load_balancers};
use resources::contents::walk;
use resources::{Error, Identifier};
use store::{Depth, ReadSet, Scope, Store};

use super::BLOCKS;
use crate::Context;
use crate::cli::Config;
use crate::commands::resource_set::Access;
use crate::commands::warn_ignored;
use crate::failure::Failure;
use crate::input::documents::go_text;
use crate::kubernetes::Kubernetes;
use crate::output::check::{self as text, Services, Wanted};
use crate::output::report::{self, Cluster};
use crate::output::yaml;
use crate::session::{CLIENT_VERSION, Session};

/// How many handles are read at once.
const HANDLES: usize = 5_000;
/// How many records of other sorts are read at once.
const RECORDS: usize = 1_000;

/// Look for addresses that leaked, and other inconsistencies.
///
/// Up to the line `Check complete` the output is that of Calico's calicoctl. What follows is what only this
/// program looks for: handles that are missing or count wrongly, addresses with two owners, records that
/// cannot be read, and more. Services are looked up in Kubernetes: in the store, if that is Kubernetes, else
/// where --kubeconfig or KUBECONFIG names one. Without it, addresses are compared with WorkloadEndpoints and
/// Nodes.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Tell of all addresses
    #[arg(long)]
    show_all_ips: bool,
    /// Tell of the addresses that have a problem
    #[arg(long)]
    show_problem_ips: bool,
    /// Write a report to this file, for `ipam release --from-report`
    #[arg(short = 'o', long, value_name = "FILE")]
    output: Option<String>,
    /// Print what was found as json or yaml, instead of text
    #[arg(long, value_name = "FORMAT", value_parser = ["json", "yaml"])]
    format: Option<String>,
    /// Exit with code 1 if there is any problem
    #[arg(long)]
    exit_code: bool,
    /// The kubeconfig with which services are looked up
    #[arg(long, value_name = "FILE")]
    kubeconfig: Option<String>,
    #[command(flatten)]
    config: Config,
    #[arg(hide = true)]
    words: Vec<String>,
}

pub(super) fn run(args: &Args, context: &mut Context<'_>) -> Result<(), Failure> {
    let session = Access::to_read_on_network(args.config.config.as_deref(), context)?.quiet_session()?;
    let kubernetes = match Kubernetes::of(&session) {
        None => named(args, context)?,
        store => {
            if args.kubeconfig.is_some() {
                writeln!(context.stderr, "ignored: --kubeconfig, as the store is in Kubernetes itself")?;
            }
            store
        }
    };
    let wanted = Wanted { all: args.show_all_ips, problems: args.show_all_ips || args.show_problem_ips };
    let reading = Reading {
        session: &session,
        kubernetes,
        wanted,
        is_quiet: args.format.is_some(),
        check: RefCell::new(Check::new(session.effects().now())),
        context: RefCell::new(context),
    };
    let cluster = session.wait(reading.all())?;
    let Reading { kubernetes, check, .. } = reading;
    let checked = check.into_inner().end();
    if let Some(path) = args.output.as_deref().filter(|path| !path.is_empty()) {
        write_report(path, &session, kubernetes.as_ref(), &cluster, &checked)?;
    }
    match args.format.as_deref() {
        Some("yaml") => write!(context.stdout, "{}", yaml::to_text(&text::document(&checked)))?,
        Some(_) => {
            writeln!(context.stdout, "{}", golang::json::to_indented_text(&text::document(&checked), 2))?;
        }
        None => context.stdout.write_all(text::findings(&checked, wanted).as_bytes())?,
    }
    warn_ignored(context, &args.words)?;
    match args.exit_code && checked.problems() + checked.more.len() > 0 {
        true => Err(Failure::Said),
        false => Ok(()),
    }
}

/// What the check finds in a store, without a word about it.
pub(in crate::commands) fn judge(session: &Session, context: &mut Context<'_>) -> Result<Checked, Failure> {
    let reading = Reading {
        session,
        kubernetes: Kubernetes::of(session),
        wanted: Wanted { all: false, problems: false },
        is_quiet: true,
        check: RefCell::new(Check::new(session.effects().now())),
        context: RefCell::new(context),
    };
    session.wait(reading.all())?;
    Ok(reading.check.into_inner().end())
}

/// The Kubernetes that the flag or the environment names.
fn named(args: &Args, context: &Context<'_>) -> Result<Option<Kubernetes>, Failure> {
    let path = args.kubeconfig.as_deref().or(context.environment.get("KUBECONFIG"));
    let Some(path) = path.filter(|path| !path.is_empty()) else { return Ok(None) };
    // Several files may stand there, as kubectl takes them.
    if let Some(Err(error)) = (!path.contains(':')).then(|| std::fs::metadata(path)) {
        return Err(Failure::in_calico_words(format!("stat {path}: {}", go_text(&error))));
    }
    let server = Kubernetes::named(Path::new(path), context.globals.timeout);
    server.map(Some).map_err(|error| Failure::in_calico_words(error.to_string()))
}

/// Where everything is read, and what is known of it.
struct Reading<'s, 'c, 'e> {
    session: &'s Session,
    kubernetes: Option<Kubernetes>,
    wanted: Wanted,
    /// Whether the text is not wanted.
    is_quiet: bool,
    check: RefCell<Check>,
    context: RefCell<&'c mut Context<'e>>,
}

impl Reading<'_, '_, '_> {
    /// Reads everything, and prints each section once it is read. The handles, which are most of all records,
    /// are read beside the sections: a server answers several requests at once.
    async fn all(&self) -> Result<Cluster, Failure> {
        self.say("Checking IPAM for inconsistencies...\n\n")?;
        let information = self.get(Kind::ClusterInformation).await.map_err(failure)?;
        let cluster = Cluster::of(CLIENT_VERSION, &information);
        self.take(Scope::Blocks { family: None }, BLOCKS, "blocks").await?;
        let text = text::blocks(self.check.borrow_mut().blocks(), self.wanted);
        self.say(&text)?;
        let handles = self.take(Scope::Handles, HANDLES, "handles");
        tokio::try_join!(self.sections(&cluster), handles)?;
        self.take(Scope::Affinities { owner: None, family: None }, RECORDS, "affinities").await?;
        self.take_others().await?;
        self.take_machines().await?;
        Ok(cluster)
    }

    /// Reads pools, and who uses addresses.
    async fn sections(&self, cluster: &Cluster) -> Result<(), Failure> {
        let wanted = self.wanted;
        self.take(Scope::kind(Kind::IPPool), RECORDS, "pools").await?;
        self.say(&text::pools(self.check.borrow().pools()))?;
        self.take(Scope::kind(Kind::Node), RECORDS, "nodes").await?;
        self.say(&text::nodes(self.check.borrow().used_by(Witness::Node), wanted))?;
        self.say(text::SERVICES)?;
        let services = self.take_services(cluster).await?;
        self.say(&text::services(self.check.borrow().used_by(Witness::Service), services, wanted))?;
        self.take(Scope::kind(Kind::WorkloadEndpoint), RECORDS, "workloads").await?;
        let check = self.check.borrow();
        self.say(&text::workloads(check.used_by(Witness::Workload), check.count_used(), wanted))
    }

    fn say(&self, text: &str) -> Result<(), Failure> {
        if !self.is_quiet {
            self.context.borrow_mut().stdout.write_all(text.as_bytes())?;
        }
        Ok(())
    }

    async fn get(&self, kind: Kind) -> Result<Resource, Error> {
        self.session.client().get(&Identifier::new(kind, None, "default")).await
    }

    /// Reads a scope. What cannot be read is not noted for the end of the output, as the check tells of it.
    async fn take(&self, scope: Scope, limit: usize, what: &str) -> Result<(), Failure> {
        let mut progress = Progress::begin(self.session.effects().elapsed());
        let visit = |view: &store::View| {
            self.check.borrow_mut().take(view);
            let now = self.session.effects().elapsed();
            progress.tell(&mut self.context.borrow_mut(), now, view.len(), what);
        };
        let read = walk(self.session.store.inner(), &scope, Depth::Full, limit, self.session.within, visit);
        read.await.map(drop).map_err(failure)
    }

    /// Reads what the allocator reads besides, and no section is about: whether it can be read.
    async fn take_others(&self) -> Result<(), Failure> {
        let scopes = [Kind::IPReservation, Kind::IPAMConfiguration].into_iter().map(Scope::kind);
        let set =
            scopes.fold(ReadSet::new().key(Key::IpamConfig), |set, scope| set.scope(scope, Depth::Full));
        let read = self.session.store.inner().read(&set, self.session.within).await;
        self.check.borrow_mut().take(&read.map_err(failure)?);
        Ok(())
    }

    /// Reads the services that have addresses from pools.
    async fn take_services(&self, cluster: &Cluster) -> Result<Services, Failure> {
        let configuration = match self.get(Kind::KubeControllersConfiguration).await {
            // Without the configuration nobody knows which services Calico's controllers give addresses to.
            // Where these controllers run, the check therefore ends here, as Calico's does.
            Err(Error::DoesNotExist(..)) if !cluster.has_controllers() => return Ok(Services::NotConfigured),
            found => found.map_err(failure)?,
        };
        if load_balancers(Some(&configuration), &[]).is_none() {
            return Ok(Services::NotConfigured);
        }
        let Some(kubernetes) = &self.kubernetes else {
            self.check.borrow_mut().take_unseen_services();
            return Ok(Services::NotSeen);
        };
        let services = kubernetes.services().await.map_err(failure)?;
        let loads = load_balancers(Some(&configuration), &services).unwrap_or_default();
        let mut check = self.check.borrow_mut();
        loads.iter().for_each(|service| check.take_service(service));
        Ok(Services::Found(loads.len()))
    }

    /// Asks for the virtual machines for which addresses are kept that nobody uses.
    async fn take_machines(&self) -> Result<(), Failure> {
        let Some(kubernetes) = &self.kubernetes else { return Ok(()) };
        let machines = self.check.borrow().machines();
        for (namespace, name) in machines {
            if kubernetes.has_machine(&namespace, &name).await.map_err(failure)? {
                self.check.borrow_mut().take_machine(&namespace, &name);
            }
        }
        Ok(())
    }
}

/// Writes the report of `-o`.
fn write_report(
    path: &str,
    session: &Session,
    kubernetes: Option<&Kubernetes>,
    cluster: &Cluster,
    checked: &Checked,
) -> Result<(), Failure> {
    let keys = checked.leaked_handles.iter().filter_map(|(id, _)| HandleId::new(id)).map(Key::Handle);
    let uids = match kubernetes {
        Some(kubernetes) if Kubernetes::of(session).is_some() => {
            session.wait(kubernetes.uids(&keys.collect::<Vec<_>>())).map_err(failure)?
        }
        _ => Vec::new(),
    };
    let failed = |error: std::io::Error| failure(format!("open {path}: {}", go_text(&error)));
    let file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o777).open(path);
    let mut file = BufWriter::new(file.map_err(failed)?);
    report::write(&mut file, cluster, checked, &uids).map_err(failed)?;
    file.into_inner().map_err(|error| failed(error.into_error()))?;
    Ok(())
}

fn failure(error: impl ToString) -> Failure {
    Failure::in_calico_words(error.to_string())
}

/// How far a long read has come, on a terminal.
struct Progress {
    told: Duration,
    count: usize,
}

impl Progress {
    fn begin(now: Duration) -> Progress {
        Progress { told: now, count: 0 }
    }

    fn tell(&mut self, context: &mut Context<'_>, now: Duration, count: usize, what: &str) {
        self.count += count;
        if now.saturating_sub(self.told) >= Duration::from_secs(1) && std::io::stderr().is_terminal() {
            self.told = now;
            // Progress that cannot be written is no reason to stop.
            let _ = writeln!(context.stderr, "  read {} {what} ...", self.count);
        }
    }
}
