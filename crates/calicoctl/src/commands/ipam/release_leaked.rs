//! `calicoctl ipam release --from-report`: releases what the reports of `ipam check` call leaked.

use std::path::Path;

use api::{BlockCidr, HandleId, Key, Kind, Resource};
use ipam::{ReleaseIp, ReleaseIps};
use resources::Identifier;
use serde_json::Value as Json;
use store::{Batch, Expect, Outcome, ReadSet, Store, StoreError, View};

use super::witnesses;
use crate::Context;
use crate::failure::Failure;
use crate::input::documents::go_text;
use crate::input::report::{self, Leaked, Report};
use crate::output::report::Cluster;
use crate::session::{CLIENT_VERSION, Session};

/// How many addresses are released, or handles deleted, by one request.
const AT_ONCE: usize = 50;
/// How many addresses that were not released are named.
const NAMED: usize = 5;

/// Releases what all reports call leaked. It fails if something could not be released.
pub(super) fn run(
    files: &[String],
    force: bool,
    session: &Session,
    context: &mut Context<'_>,
) -> Result<(), Failure> {
    let id = Identifier::new(Kind::ClusterInformation, None, "default");
    let information = session.wait(session.client().get(&id)).map_err(failure)?;
    let reports = read(files, &information, force, context)?;
    let Leaked { addresses, handles } = report::common(&reports);
    let addresses: Vec<ReleaseIp> = addresses.into_values().collect();
    let asked = addresses.len();
    let addresses = witnesses::unused(addresses, force, session, context)?;
    let unwitnessed = asked - addresses.len();
    let are_released = addresses_of(addresses, session, context)?;
    let are_deleted = handles_of(handles.into_iter().collect(), session, context)?;
    if are_released && are_deleted && unwitnessed == 0 {
        writeln!(context.stdout, "You may now unlock the data store.")?;
        return Ok(());
    }
    writeln!(
        context.stdout,
        "Not everything was released. Make a new report with `calicoctl ipam check -o FILE` and release from that."
    )?;
    Err(Failure::Said)
}

fn failure(error: impl ToString) -> Failure {
    Failure::in_calico_words(error.to_string())
}

/// Reads the reports, and refuses those that are not of this cluster, or are old.
fn read(
    files: &[String],
    information: &Resource,
    force: bool,
    context: &mut Context<'_>,
) -> Result<Vec<Report>, Failure> {
    let cluster = Cluster::of(CLIENT_VERSION, information);
    let mut reports = Vec::new();
    for file in files {
        let text = outside::read_file(Path::new(file), report::LARGEST)
            .map_err(|error| failure(format!("open {file}: {}", go_text(&error))))?;
        let report = Report::read(&text)
            .map_err(|reason| failure(format!("{file} is no report of `calicoctl ipam check`: {reason}")))?;
        if report.cluster.guid != cluster.guid {
            return Err(failure(format!(
                "cluster does not match the provided report ({file}): mismatched cluster GUID. Refusing to release"
            )));
        }
        if report.cluster.version != cluster.version {
            if !force {
                return Err(failure(format!(
                    "the provided report ({file}) was produced using a different version ({}) of calicoctl. Refusing to release",
                    report.cluster.version
                )));
            }
            writeln!(
                context.stdout,
                "WARNING: Report was produced using a different version of calicoctl. Ignoring due to --force option"
            )?;
        }
        reports.push(report);
    }
    if !reports.iter().any(|report| report.cluster.revision == cluster.revision) {
        return Err(failure(
            "the provided reports are all stale - at least one should be up-to-date. Please generate a new report while the data store is locked and try again",
        ));
    }
    if information.field(&["spec", "datastoreReady"]) != Some(&Json::Bool(false)) {
        if !force {
            return Err(failure(
                "data store is not locked. Either lock the data store, or re-run with --force",
            ));
        }
        writeln!(context.stdout, "WARNING: Data store is not locked. Ignoring due to --force option")?;
    }
    Ok(reports)
}

/// Releases addresses, those alone that are still assigned as the reports say. Gives whether all went well.
fn addresses_of(ips: Vec<ReleaseIp>, session: &Session, context: &mut Context<'_>) -> Result<bool, Failure> {
    if ips.is_empty() {
        writeln!(context.stdout, "Report didn't contain any leaked IPs to clean up.")?;
        return Ok(true);
    }
    writeln!(context.stdout, "Releasing {} old IPs...", ips.len())?;
    let (mut released, mut gone, mut failed) = (0, 0, Vec::new());
    for part in ips.chunks(AT_ONCE) {
        let planner = ReleaseIps::new(part.to_vec()).each_alone().planner();
        match session.wait(ipam::run(&session.store, session.effects(), planner, session.within)) {
            Ok(answer) => {
                released += answer.released.len();
                gone += answer.unallocated.len();
                let refused = answer.refused.into_iter();
                failed.extend(refused.map(|(addr, _)| format!("update conflict: {addr}")));
                failed.extend(answer.error.map(|error| error.to_string()));
            }
            Err(error) => failed.push(error.to_string()),
        }
    }
    if let Some(first) = failed.first() {
        writeln!(
            context.stdout,
            "An error occurred while releasing some IPs: {first}.  Problems are often caused by an out-of-date IPAM report.  Try regenerating the IPAM report and retry."
        )?;
        for other in failed.iter().skip(1).take(NAMED) {
            writeln!(context.stdout, "  {other}")?;
        }
        if let left @ 1.. = failed.len().saturating_sub(NAMED + 1) {
            writeln!(context.stdout, "  ... and {left} more")?;
        }
    }
    if released > 0 {
        writeln!(context.stdout, "Released {released} IPs successfully")?;
    }
    if gone > 0 {
        writeln!(
            context.stdout,
            "{gone} addresses marked as leaked in the report had already been cleaned up."
        )?;
    }
    Ok(failed.is_empty())
}

/// Deletes handles, those alone that are as the reports say. Gives whether all went well.
fn handles_of(
    handles: Vec<(String, String)>,
    session: &Session,
    context: &mut Context<'_>,
) -> Result<bool, Failure> {
    if handles.is_empty() {
        writeln!(context.stdout, "Report didn't contain any handles to clean up.")?;
        return Ok(true);
    }
    writeln!(context.stdout, "Deleting {} handles...", handles.len())?;
    writeln!(context.stdout, "Key: '.' = Deleted OK; 'x' = skip, handle missing/changed.")?;
    let (mut deleted, mut skipped, mut failed) = (0, 0, Vec::new());
    for part in handles.chunks(AT_ONCE) {
        for ended in session.wait(delete(session, part)) {
            match ended {
                Ok(true) => deleted += 1,
                Ok(false) => skipped += 1,
                Err(error) => {
                    failed.push(error.to_string());
                    continue;
                }
            }
            write!(context.stdout, "{}", if let Ok(true) = ended { '.' } else { 'x' })?;
        }
    }
    writeln!(context.stdout)?;
    writeln!(context.stdout, "Released {deleted} handles; {skipped} skipped; {} errors.", failed.len())?;
    failed.iter().take(NAMED).try_for_each(|error| writeln!(context.stdout, "  {error}"))?;
    Ok(failed.is_empty())
}

/// Deletes handles. Gives for each whether it was deleted: one that has changed since, or of which a block
/// holds an address all the same, stays.
async fn delete(session: &Session, handles: &[(String, String)]) -> Vec<Result<bool, StoreError>> {
    let view = match idle(session, handles).await {
        Ok(view) => view,
        Err(error) => return handles.iter().map(|_| Err(error.clone())).collect(),
    };
    let mut ended = Vec::with_capacity(handles.len());
    for (name, revision) in handles {
        let Some(id) = HandleId::new(name).filter(|id| is_idle(&view, id, revision)) else {
            ended.push(Ok(false));
            continue;
        };
        let mut batch = Batch::new();
        batch.delete(Key::Handle(id), Expect::Revision(api::Revision::new(revision.as_str())));
        ended.push(session.store.commit(&batch, session.within).await.and_then(|report| {
            match report.outcomes.into_iter().next() {
                Some(Outcome::Applied(_)) => Ok(true),
                Some(Outcome::Unknown(reason)) => Err(StoreError::Unavailable(reason)),
                _ => Ok(false),
            }
        }));
    }
    ended
}

/// Reads handles, and the blocks that they name.
async fn idle(session: &Session, handles: &[(String, String)]) -> Result<View, StoreError> {
    let ids = handles.iter().filter_map(|(name, _)| HandleId::new(name));
    let mut view = session.store.read(&ReadSet::new().keys(ids.map(Key::Handle)), session.within).await?;
    let blocks: Vec<BlockCidr> = (view.all())
        .filter_map(|(_, slot)| slot.record()?.handle())
        .flat_map(|handle| handle.blocks.keys().copied())
        .collect();
    view.absorb(
        session.store.read(&ReadSet::new().keys(blocks.into_iter().map(Key::Block)), session.within).await?,
    );
    Ok(view)
}

/// Whether a handle is as it was reported, and no block that it names holds an address for it. Blocks that it
/// does not name hold none: a handle never counts too little.
fn is_idle(view: &View, id: &HandleId, revision: &str) -> bool {
    let Some(Some((handle, found))) = view.handle(id) else { return false };
    let holds_nothing = |block: &BlockCidr| match view.block(*block) {
        Some(Some((block, _))) => ipam::block::may_hold(block, id.as_str()) == 0,
        Some(None) => true,
        // Nobody knows what a block holds that cannot be read.
        None => false,
    };
    found.as_str() == revision && handle.blocks.keys().all(holds_nothing)
}
