//! A key that one process at a time has, for as long as it keeps a lease.

use etcd_client::{Compare, CompareOp, Error, LeaseClient, PutOptions, Txn, TxnOp};
use tokio::time::{Instant, timeout_at};

use super::fault::{FaultClass, RequestFault};
use super::members::Cluster;
use crate::error::StoreError;

/// A key that this process has.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hold {
    key: String,
    lease: i64,
}

/// Takes a key, if nobody has it.
pub(super) async fn hold(
    cluster: &Cluster,
    key: &str,
    value: &str,
    seconds: u32,
    deadline: Instant,
) -> Result<Option<Hold>, StoreError> {
    let is_free = Compare::version(key, CompareOp::Equal, 0);
    // A lease is asked for only where the key is free.
    let look = Txn::new().when(vec![is_free.clone()]);
    if !cluster.ask(&look, deadline).await.map_err(RequestFault::into_error)?.succeeded() {
        return Ok(None);
    }
    let granted =
        with_member(
            cluster,
            deadline,
            |mut leases| async move { leases.grant(i64::from(seconds), None).await },
        );
    let hold = Hold { key: key.to_string(), lease: granted.await?.id() };
    let options = PutOptions::new().with_lease(hold.lease);
    let take = Txn::new().when(vec![is_free]).and_then(vec![TxnOp::put(key, value, Some(options))]);
    match cluster.tell(&take, deadline).await {
        Ok(answer) if answer.succeeded() => Ok(Some(hold)),
        Ok(_) => {
            // The lease ends by itself, too.
            let _ = let_go(cluster, &hold, deadline).await;
            Ok(None)
        }
        Err(fault) => Err(fault.into_error()),
    }
}

/// Lets the lease begin anew. Gives whether the key is still this process's.
pub(super) async fn keep(cluster: &Cluster, hold: &Hold, deadline: Instant) -> Result<bool, StoreError> {
    let lease = hold.lease;
    // The client waits for the first answer by itself, and takes a lease that has ended for an error.
    let kept = with_member(cluster, deadline, |mut leases| async move {
        match leases.keep_alive(lease).await {
            Ok(_) => Ok(true),
            Err(Error::LeaseKeepAliveError(_)) => Ok(false),
            Err(error) => Err(error),
        }
    });
    if !kept.await? {
        return Ok(false);
    }
    let is_ours = Txn::new().when(vec![Compare::lease(hold.key.as_str(), CompareOp::Equal, hold.lease)]);
    Ok(cluster.ask(&is_ours, deadline).await.map_err(RequestFault::into_error)?.succeeded())
}

/// Ends the lease, and the key with it.
pub(super) async fn let_go(cluster: &Cluster, hold: &Hold, deadline: Instant) -> Result<(), StoreError> {
    let lease = hold.lease;
    let revoked = with_member(cluster, deadline, |mut leases| async move { leases.revoke(lease).await });
    revoked.await.map(|_| ())
}

/// Asks the preferred member. One that gives no answer is not preferred any more.
async fn with_member<T, F>(
    cluster: &Cluster,
    deadline: Instant,
    ask: impl Fn(LeaseClient) -> F,
) -> Result<T, StoreError>
where
    F: Future<Output = Result<T, Error>>,
{
    let mut is_repeated = false;
    loop {
        let (member, live) = cluster.preferred(deadline).await?;
        let started = Instant::now();
        let answer = match timeout_at(deadline, ask(live.client.lease_client())).await {
            Ok(answer) => answer.map_err(|error| RequestFault::asking(&member.url, &error)),
            Err(_) => Err(RequestFault::silent(&member.url, started.elapsed(), true)),
        };
        let fault = match answer {
            Ok(answer) => return Ok(answer),
            Err(fault) => fault,
        };
        if fault.is_of_member() || fault.kind == FaultClass::StaleToken {
            cluster.give_up(&member, &live).await;
        }
        // A connection that broke while it was idle, or a token that is out of date, is made anew.
        if is_repeated || !matches!(fault.kind, FaultClass::Unreachable | FaultClass::StaleToken) {
            return Err(fault.into_error());
        }
        is_repeated = true;
    }
}
