//! The requests that can be run in sight of a [`Witness`](crate::Witness): what each asks, as a history knows
//! it, and what its result answers.

use std::net::IpAddr;

use api::HandleId;
use ipam::invariants::{Answer, Request};
use ipam::{AssignIp, AutoAssign, HandleRelease, Planner, ReleaseByHandle, ReleaseIp, ReleaseIps, RunError};

/// A request, as the history knows it.
pub trait Asks {
    /// The planner that carries it out.
    type Planner: Planner;
    /// What it asks.
    fn request(&self) -> Request;
    /// The planner.
    fn planner(self) -> Self::Planner;
    /// What the result answers.
    fn answer(result: &Result<AnswerOf<Self>, RunError<ErrorOf<Self>>>) -> Answer;
}

/// The answer of a request's planner.
pub type AnswerOf<A> = <<A as Asks>::Planner as Planner>::Answer;
/// The error of a request's planner.
pub type ErrorOf<A> = <<A as Asks>::Planner as Planner>::Error;

impl Asks for AutoAssign {
    type Planner = ipam::plan::auto_assign::AutoAssignPlanner;
    fn request(&self) -> Request {
        Request::Assign(self.clone())
    }
    fn planner(self) -> Self::Planner {
        AutoAssign::planner(self)
    }
    fn answer(result: &Result<AnswerOf<Self>, RunError<ErrorOf<Self>>>) -> Answer {
        result.as_ref().map_or(Answer::Failed, |answer| Answer::Assigned(answer.clone()))
    }
}

impl Asks for AssignIp {
    type Planner = ipam::plan::assign_ip::AssignIpPlanner;
    fn request(&self) -> Request {
        Request::Named(self.clone())
    }
    fn planner(self) -> Self::Planner {
        AssignIp::planner(self)
    }
    fn answer(result: &Result<AnswerOf<Self>, RunError<ErrorOf<Self>>>) -> Answer {
        match result {
            Ok(()) => Answer::Done,
            Err(RunError::Plan(ipam::AssignIpError::Assign(_))) => Answer::Refused,
            Err(_) => Answer::Failed,
        }
    }
}

impl Asks for ReleaseIps {
    type Planner = ipam::plan::ReleaseIpsPlanner;
    fn request(&self) -> Request {
        Request::ReleaseIps(self.ips.clone())
    }
    fn planner(self) -> Self::Planner {
        ReleaseIps::planner(self)
    }
    fn answer(result: &Result<AnswerOf<Self>, RunError<ErrorOf<Self>>>) -> Answer {
        result.as_ref().map_or(Answer::Failed, |_| Answer::Done)
    }
}

impl Asks for ReleaseByHandle {
    type Planner = ipam::plan::ReleaseByHandlePlanner;
    fn request(&self) -> Request {
        let of = |id: &HandleId| {
            let ip = |(addr, sequence): (&IpAddr, &u64)| ReleaseIp {
                addr: *addr,
                handle: Some(id.as_str().to_string()),
                sequence: Some(*sequence),
            };
            Some(self.only_of(id)?.iter().map(ip).collect::<Vec<_>>())
        };
        let only: Option<Vec<_>> = self.handles.iter().map(of).collect();
        only.map_or(Request::ReleaseHandles(self.handles.clone()), |ips| Request::ReleaseIps(ips.concat()))
    }
    fn planner(self) -> Self::Planner {
        ReleaseByHandle::planner(self)
    }
    fn answer(result: &Result<AnswerOf<Self>, RunError<ErrorOf<Self>>>) -> Answer {
        let is_partly = |release: &HandleRelease| matches!(release, HandleRelease::Partly(..));
        match result {
            Ok(answer) if !answer.iter().any(is_partly) => Answer::Done,
            _ => Answer::Failed,
        }
    }
}

impl Asks for ipam::ReleaseUnowned {
    type Planner = ipam::ReleaseUnownedPlanner;
    fn request(&self) -> Request {
        Request::ReleaseHandles(vec![self.handle.clone()])
    }
    fn planner(self) -> Self::Planner {
        ipam::ReleaseUnowned::planner(self)
    }
    fn answer(result: &Result<AnswerOf<Self>, RunError<ErrorOf<Self>>>) -> Answer {
        match result {
            Ok(Some(HandleRelease::Partly(..))) | Err(_) => Answer::Failed,
            Ok(_) => Answer::Done,
        }
    }
}

/// Requests that take no address and free none.
macro_rules! asks_nothing {
    ($($request:ident by $planner:ident),* $(,)?) => {$(
        impl Asks for ipam::$request {
            type Planner = ipam::plan::$planner;
            fn request(&self) -> Request {
                Request::Other
            }
            fn planner(self) -> Self::Planner {
                ipam::$request::planner(self)
            }
            fn answer(result: &Result<AnswerOf<Self>, RunError<ErrorOf<Self>>>) -> Answer {
                result.as_ref().map_or(Answer::Failed, |_| Answer::Done)
            }
        }
    )*};
}

asks_nothing!(
    ReleaseAffinities by ReleaseAffinitiesPlanner,
    CollectCooldowns by CollectCooldownsPlanner,
    ReleaseIdleBlocks by ReleaseIdleBlocksPlanner,
    ClaimAffinity by ClaimAffinityPlanner,
    EnsureBlock by EnsureBlockPlanner,
    RemoveHost by RemoveHostPlanner,
    IpsByHandle by IpsByHandlePlanner,
    SetOwnerAttributes by SetOwnerAttributesPlanner,
    EnsureActiveOwner by EnsureActiveOwnerPlanner,
);
