//! One pass: from what is known to what is there, in the order in which nothing is ever without a route.

use std::collections::BTreeSet;

use filter::Outcome;
use host::{Ensured, HostError, Interface, sysctl};
use routes::tunnel::Kind;
use routes::{Desired, Difference, List};
use store::Effects;

use super::agent::{Agent, Due};
use super::duties::duties;
use super::finding::{Finding, Reason};
use super::introduce::introduce;
use super::plan::uplink;
use super::record::tunnel_address;
use super::tunnels::Task;

/// The tunnel devices that may be ours.
pub const DEVICES: [&str; 3] = [Kind::Vxlan.device(), Kind::VxlanV6.device(), Kind::Ipip.device()];

/// What became of a pass.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Passed {
    /// Whether something failed that may go well later.
    pub(super) failed: bool,
    /// Whether the Node was just given the addresses of tunnels: the next pass, which its change brings
    /// about, makes the tunnels.
    pub(super) is_unsettled: bool,
    /// Whether so much is missing in the records that they are to be listed anew.
    pub(super) needs_fresh_list: bool,
}

impl<E: Effects> Agent<'_, E> {
    /// Looks at what is due, and sees to it that it is as it must be.
    pub(super) async fn pass(&mut self, mut due: Due) -> Passed {
        let mut passed = Passed::default();
        let mut findings = self.standing.clone();
        if due.addresses || !self.is_known {
            passed.failed |= !self.make_known().await;
        }
        // They are told until the addresses are looked at again.
        findings.extend(self.about_addresses.iter().cloned());
        if due.pods {
            due.routes |= self.look_at_pods().await;
            self.plain.interfaces_changed(self.record.effects.elapsed());
        }
        if !due.is_more_than_pods()
            || !self.world.is_complete()
            || (self.world.own.is_none() && !self.is_known)
        {
            return passed;
        }
        let uplink = match self.kernel.interfaces().await {
            Ok(interfaces) => uplink(&interfaces, &self.addresses),
            Err(error) => return self.fail(&error, passed),
        };
        let Some(desired) = self.desired(uplink.as_ref(), &mut findings) else { return passed };
        self.settle_tunnels(&desired, &mut passed).await;
        findings.extend(self.tunnels.findings().cloned());
        let changed = self.keep_tunnels(&desired, uplink.as_ref(), &mut findings, &mut passed).await;
        self.keep_routes(&desired, uplink.as_ref(), &changed, &mut passed).await;
        self.keep_filter(&desired, due, &mut findings, &mut passed);
        self.check_settings(uplink.as_ref(), &desired, &mut findings).await;
        if let Err(error) = self.files.mtu(desired.pod_mtu) {
            tracing::warn!("{error}");
            passed.failed = true;
        }
        let is_whole = !passed.failed && !passed.needs_fresh_list && !passed.is_unsettled;
        if is_whole && !self.is_synced {
            let before = self.standing.len();
            self.synced(&mut passed).await;
            findings.extend(self.standing[before..].iter().cloned());
        }
        if let Err(error) = self.told.tell(&self.record, self.is_synced, &findings).await {
            tracing::warn!("{error}");
            passed.failed = true;
        }
        passed
    }

    fn fail(&self, error: &HostError, passed: Passed) -> Passed {
        tracing::warn!("{error}");
        Passed { failed: true, ..passed }
    }

    /// Everything is as it must be for the first time: pods may come.
    async fn synced(&mut self, passed: &mut Passed) {
        match self.files.ready(self.record.store, self.record.effects, self.record.within).await {
            Ok(found) => {
                self.is_synced = true;
                self.standing.extend(found);
                tracing::info!(node = self.record.name, "routes, tunnels and packet filter are in place");
            }
            Err(error) => {
                tracing::warn!("{error}");
                passed.failed = true;
            }
        }
    }

    /// Finds the node's addresses, and writes what is new of them into the Node. Gives whether it went well.
    async fn make_known(&mut self) -> bool {
        match introduce(&self.record, &self.kernel, &self.options.wishes).await {
            Ok(known) => {
                self.addresses = known.addresses;
                self.about_addresses = known.findings;
                self.is_known = true;
                true
            }
            Err(error) => {
                tracing::warn!("{error}");
                if let Some(finding) = error.finding() {
                    self.about_addresses = vec![finding];
                }
                false
            }
        }
    }

    /// What the node must have; `None` where it cannot be told.
    fn desired(&self, uplink: Option<&Interface>, findings: &mut Vec<Finding>) -> Option<Desired> {
        match self.options.shape.desired(&self.world.snapshot, self.record.name, uplink) {
            Ok((desired, unclear)) => {
                findings.extend(unclear.map(|error| {
                    let text =
                        format!("{error}, so no node counts as of a rack; --rack-label names the label");
                    Finding::new(Reason::RACK_LABEL_UNCLEAR, text)
                }));
                Some(desired)
            }
            Err(error) => {
                tracing::warn!("{error}; routes stay as they are");
                None
            }
        }
    }

    /// Sees to it that the node has the addresses of its tunnels, and names them.
    async fn settle_tunnels(&mut self, desired: &Desired, passed: &mut Passed) {
        let recorded = |kind| self.world.own.as_ref().and_then(|own| tunnel_address(own, kind));
        let tasks = self.tunnels.tasks(&desired.tunnels, recorded, self.record.effects.elapsed());
        if tasks.iter().all(|(_, task)| *task == Task::Nothing) {
            return;
        }
        match self.tunnels.settle(&self.record, &desired.tunnels).await {
            Ok(settled) => {
                passed.is_unsettled = settled.is_written;
                passed.failed |= settled.again;
            }
            Err(error) => {
                tracing::warn!("{error}");
                passed.failed = true;
            }
        }
    }

    /// Makes the tunnel devices what they must be. Gives those that were changed.
    async fn keep_tunnels(
        &mut self,
        desired: &Desired,
        uplink: Option<&Interface>,
        findings: &mut Vec<Finding>,
        passed: &mut Passed,
    ) -> BTreeSet<&'static str> {
        let mut changed = BTreeSet::new();
        let (vni, port) = (self.settings.vxlan_vni, self.settings.vxlan_port);
        for tunnel in desired.tunnels.iter().filter(|tunnel| tunnel.is_complete()) {
            let Some(uplink) = uplink else { continue };
            match self.kernel.ensure_tunnel(tunnel, uplink, vni, port).await {
                Ok(Ensured::Kept) => {}
                Ok(ensured) => {
                    tracing::info!(device = tunnel.device, ?ensured, "tunnel device");
                    changed.insert(tunnel.device);
                }
                Err(error @ HostError::NoIpip { .. }) => {
                    findings.push(Finding::new(Reason::IPIP_MISSING, error.to_string()));
                }
                Err(error) => *passed = self.fail(&error, *passed),
            }
        }
        if desired.has_unknown_peers {
            return changed;
        }
        let wanted: BTreeSet<&str> = desired.tunnels.iter().map(|tunnel| tunnel.device).collect();
        for device in DEVICES.into_iter().filter(|device| !wanted.contains(device)) {
            if let Err(error) = self.kernel.remove_tunnel(device).await {
                *passed = self.fail(&error, *passed);
            }
        }
        changed
    }

    async fn keep_routes(
        &mut self,
        desired: &Desired,
        uplink: Option<&Interface>,
        changed: &BTreeSet<&str>,
        passed: &mut Passed,
    ) {
        let mut present = match self.kernel.present(&DEVICES).await {
            Ok(present) => present,
            Err(error) => return *passed = self.fail(&error, *passed),
        };
        // An entry of a device whose own address has changed goes on sending from the old one.
        present.forwarding.retain(|(device, _), _| !changed.contains(device.as_ref()));
        present.pods.clone_from(&self.pods);
        let difference = Difference::between(&present, desired);
        self.left_to_pods.clone_from(&difference.at_pods);
        let (steps, doubt) = difference.steps(self.list);
        if let Some(doubt) = doubt {
            tracing::warn!("{doubt}");
            passed.needs_fresh_list = true;
        }
        self.list = List::Kept;
        if steps.is_empty() {
            return;
        }
        let failed = self.kernel.apply(&steps, uplink.map(|interface| interface.index)).await;
        // Without the kernel's module no route by its device can be set; a finding tells of it.
        let is_told = |error: &HostError| {
            matches!(error, HostError::NoDevice { device, .. } if device == Kind::Ipip.device())
                && uses_ipip(desired)
        };
        let (told, failed): (Vec<_>, Vec<_>) = failed.into_iter().partition(|(_, error)| is_told(error));
        for (step, error) in &told {
            tracing::debug!(?step, "{error}");
        }
        if told.len() < steps.len() {
            tracing::info!(steps = steps.len() - told.len(), failed = failed.len(), "changed routes");
        }
        for (_, error) in failed {
            *passed = self.fail(&error, *passed);
        }
    }

    fn keep_filter(&mut self, desired: &Desired, due: Due, findings: &mut Vec<Finding>, passed: &mut Passed) {
        let mut rules = self.options.shape.rules(&self.world.snapshot, desired, self.settings.clone());
        if let Some(last) = &self.rules {
            rules.keep_unknown(last);
        }
        let is_new = self.rules.as_ref() != Some(&rules);
        if is_new || due.table {
            match self.nft.keep(&rules) {
                Ok(Outcome::Unchanged) => {}
                Ok(outcome) => tracing::info!(?outcome, "the table inet rackpool"),
                Err(error) => {
                    tracing::warn!("{error}");
                    findings.push(Finding::new(Reason::FILTER_MISSING, error.to_string()));
                    passed.failed = true;
                    return;
                }
            }
        }
        if is_new || due.chains {
            // A kube-proxy that has just been started writes its chains.
            self.look_for_proxies();
            match self.nft.pass_on(&rules) {
                Ok(found) => {
                    let found = found.into_iter();
                    self.dropping =
                        found.map(|one| Finding::new(Reason::FORWARD_DROPS, one.to_string())).collect();
                }
                Err(error) => {
                    tracing::warn!("{error}");
                    passed.failed = true;
                }
            }
        }
        findings.extend(self.dropping.iter().cloned());
        for conflict in self.proxies.iter().flat_map(|proxy| proxy.conflicts(&rules.pools)) {
            findings.push(Finding::new(Reason::KUBE_PROXY_CONFLICT, conflict.to_string()));
        }
        self.rules = Some(rules);
    }

    /// Checks the settings of the kernel, which `rackpoold node sysctl` sets.
    async fn check_settings(
        &self,
        uplink: Option<&Interface>,
        desired: &Desired,
        findings: &mut Vec<Finding>,
    ) {
        let aggregation = self.options.shape.aggregation;
        let duties = duties(&self.kernel, &self.world.snapshot, desired, uplink, aggregation).await;
        match sysctl::check(&duties) {
            Ok(settings) => {
                for setting in settings.iter().filter(|setting| !setting.is_met()) {
                    let text = format!("{setting}; `rackpoold node sysctl` sets it");
                    findings.push(Finding::new(Reason::SYSCTL_WRONG, text));
                }
            }
            Err(error) => tracing::warn!("{error}"),
        }
    }

    /// Looks which pods are here, and forgets the connections of those that are gone, so that the next owner
    /// of an address does not get the packets of the last one's peers. Gives whether the address of one needs
    /// a route of ours now.
    async fn look_at_pods(&mut self) -> bool {
        let present = match self.kernel.pod_addresses().await {
            Ok(present) => present,
            Err(error) => {
                tracing::warn!("{error}");
                return false;
            }
        };
        for addr in self.pods.difference(&present) {
            let Some(connections) = &mut self.connections else { break };
            match connections.forget(*addr) {
                Ok(0) => {}
                Ok(count) => tracing::info!(%addr, count, "forgot the connections of a pod that is gone"),
                Err(error) => tracing::warn!("{error}"),
            }
        }
        self.pods = present;
        !self.left_to_pods.is_subset(&self.pods)
    }
}

fn uses_ipip(desired: &Desired) -> bool {
    desired.tunnels.iter().any(|tunnel| tunnel.kind == Kind::Ipip)
}
