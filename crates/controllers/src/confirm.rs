//! The last judgement before addresses are freed: what is due is judged once more, by what was just asked.

use std::collections::{BTreeSet, HashMap};

use api::{BlockCidr, HandleId};
use store::View;

use crate::collect::{Due, Sandbox, is_node_there, sandbox_of};
use crate::judge::{Standing, Why, judge};
use crate::witness::Users;

/// What was asked about what is due.
#[derive(Clone, Copy, Debug)]
pub struct Asked<'a> {
    /// The nodes that had it, and, where there is a doubtful block, the handles.
    pub view: &'a View,
    /// Those who may use it.
    pub users: &'a Users,
    /// The handles whose virtual machines keep their addresses.
    pub machines: &'a BTreeSet<String>,
    /// The blocks that cannot be read: they may hold another address of a handle that is due, and it may be
    /// in use.
    pub doubtful: &'a [BlockCidr],
}

impl Asked<'_> {
    /// Parts what is due: what may be freed; and what somebody uses after all, or may come to use, each with
    /// a word that says why. All of a handle is freed or nothing of it, and all of a sandbox.
    pub fn part(&self, due: Vec<Due>) -> (Vec<Due>, Vec<(Due, &'static str)>) {
        let whys: Vec<Option<&'static str>> = {
            let used: Vec<(&Due, &'static str)> =
                due.iter().filter_map(|due| Some((due, self.why_kept(due)?))).collect();
            let handles: HashMap<&str, &'static str> =
                used.iter().map(|(due, why)| (due.handle(), *why)).collect();
            let sandboxes: HashMap<Sandbox, &'static str> =
                used.iter().filter_map(|(due, why)| Some((sandbox_of(&due.attribute)?, *why))).collect();
            let why = |due: &Due| {
                let of_sandbox = || sandboxes.get(&sandbox_of(&due.attribute)?).copied();
                handles.get(due.handle()).copied().or_else(of_sandbox)
            };
            due.iter().map(why).collect()
        };
        let (mut free, mut kept) = (Vec::new(), Vec::new());
        for (due, why) in due.into_iter().zip(whys) {
            match why {
                Some(why) => kept.push((due, why)),
                None => free.push(due),
            }
        }
        (free, kept)
    }

    /// Why an address stays; `None` where it may be freed.
    fn why_kept(&self, due: &Due) -> Option<&'static str> {
        let is_there = is_node_there(self.view, due.node());
        // What was due because its node is gone has its whole time where the node is there again.
        if due.is_for_gone_node && is_there {
            return Some("node_is_back");
        }
        let standing = judge(&due.attribute, due.ip.addr, self.users, is_there);
        // A sandbox that is gone has no other address; one that is there may have one that cannot be read.
        if matches!(standing, Standing::Leaked(Why::OtherAddresses | Why::NoEndpoint))
            && self.is_doubtful(due)
        {
            return Some("unknown");
        }
        match standing {
            Standing::Leaked(Why::MachineStopped) if self.machines.contains(due.handle()) => Some("machine"),
            Standing::Leaked(_) => None,
            Standing::Tunnel => is_there.then_some("node_is_back"),
            Standing::InUse => Some("in_use"),
            Standing::Waiting => Some("pod_starts"),
            Standing::NotJudged => Some("unknown"),
        }
    }

    fn is_doubtful(&self, due: &Due) -> bool {
        HandleId::new(due.handle()).is_some_and(|id| match self.view.handle(&id) {
            Some(Some((handle, _))) => self.doubtful.iter().any(|block| handle.blocks.contains_key(block)),
            Some(None) => false,
            // It cannot be read; or was not, for there is no doubt.
            None => !self.doubtful.is_empty(),
        })
    }
}
