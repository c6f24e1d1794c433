//! The members of the cluster: their connections, and the order in which they are asked.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use etcd_client::{Channel, Client, ConnectOptions, Error, KvClient, Txn, TxnResponse};
use tokio::sync::{Mutex, OnceCell};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep_until, timeout, timeout_at};
use tonic::transport::Endpoint;

use super::discovery::discover;
use super::fault::{FaultClass, RequestFault};
use super::options::EtcdOptions;
use super::silence;
use crate::error::StoreError;
use crate::patience::Patience;

/// How many operations etcd allows in a transaction by default (`--max-txn-ops`).
const MAX_OPERATIONS: usize = 128;
/// The largest answer that is read, in bytes. A whole scope comes in one answer.
pub(super) const ANSWER: usize = 256 << 20;
/// A read that has waited so long for an answer is sent to the next member, too.
const PATIENCE: Duration = Duration::from_secs(1);
/// How often a request is sent again to a member that breaks off new connections.
const REPEATS: u32 = 5;
/// How long to wait before asking again members that have no leader.
const PAUSE: Duration = Duration::from_millis(100);

/// All members of the cluster, with what is known of them.
pub(super) struct Cluster {
    options: EtcdOptions,
    tls: etcd_client::TlsOptions,
    /// With discovery by DNS, the first call looks the members up.
    members: OnceCell<Vec<Arc<Member>>>,
    /// The index of the member to ask first.
    preferred: AtomicUsize,
    /// How many operations a transaction may have: the default, or less where the server refused as many.
    max_operations: AtomicUsize,
}

/// Leaves out the options, which hold secrets.
impl fmt::Debug for Cluster {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let urls = self.members.get().map(|members| members.iter().map(|m| &m.url).collect::<Vec<_>>());
        f.debug_struct("Cluster").field("members", &urls).finish_non_exhaustive()
    }
}

/// A member of the cluster, and its connection while there is one.
pub(super) struct Member {
    /// The URL without user and path, as messages may show it.
    pub(super) url: String,
    endpoint: Endpoint,
    silence: Option<Duration>,
    user: Option<(String, String)>,
    live: Mutex<Option<Live>>,
    /// The number of the next connection.
    count: AtomicU64,
}

/// A connection to a member, with its number.
#[derive(Clone)]
pub(super) struct Live {
    number: u64,
    pub(super) client: Client,
    kv: KvClient,
}

/// How a request got its connection; `None` where no connection could be made.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Connection {
    Known,
    New,
    None,
}

/// The times until which a write waits.
#[derive(Clone, Copy)]
struct Bounds {
    /// The connection must be made by this time.
    connect_by: Instant,
    /// The answer must have come by this time.
    deadline: Instant,
}

impl Cluster {
    pub(super) fn new(options: EtcdOptions) -> Result<Cluster, StoreError> {
        let tls = options.tls.load()?;
        let members = if options.endpoints.is_empty() {
            if options.discovery.is_none() {
                let text = "no etcd endpoint is given: set etcdEndpoints (ETCD_ENDPOINTS)".to_string();
                return Err(StoreError::Unusable(text));
            }
            OnceCell::new()
        } else {
            OnceCell::new_with(Some(members(&options, &tls, &options.endpoints)?))
        };
        let preferred = AtomicUsize::new(options.first);
        Ok(Cluster { options, tls, members, preferred, max_operations: AtomicUsize::new(MAX_OPERATIONS) })
    }

    pub(super) fn patience(&self) -> Patience {
        Patience(self.options.silence)
    }

    pub(super) fn max_operations(&self) -> usize {
        self.max_operations.load(Ordering::Relaxed)
    }

    /// Remembers that the server refused a transaction of `count` operations. Gives `false` where it cannot
    /// be cut any smaller.
    pub(super) fn were_too_many(&self, count: usize) -> bool {
        self.max_operations.fetch_min((count / 2).max(1), Ordering::Relaxed);
        count > 1
    }

    /// The members in the order in which to ask them, each with its index.
    async fn in_order(&self, deadline: Instant) -> Result<Vec<(usize, Arc<Member>)>, StoreError> {
        let find = self.members.get_or_try_init(|| async {
            let Some(discovery) = &self.options.discovery else { return Ok(Vec::new()) };
            members(&self.options, &self.tls, &discover(discovery).await?)
        });
        let members = timeout_at(deadline, find)
            .await
            .map_err(|_| StoreError::Unavailable("DNS named no member of etcd in time".to_string()))??;
        let first = self.preferred.load(Ordering::Relaxed) % members.len().max(1);
        let indexed = members.iter().cloned().enumerate();
        Ok(indexed.clone().skip(first).chain(indexed.take(first)).collect())
    }

    fn prefer(&self, index: usize) {
        self.preferred.store(index, Ordering::Relaxed);
    }

    /// The member to ask first, and its connection.
    pub(super) async fn preferred(&self, deadline: Instant) -> Result<(Arc<Member>, Live), StoreError> {
        let (_, member) = self.in_order(deadline).await?.swap_remove(0);
        let live = timeout_at(deadline, member.live()).await;
        let silent = || RequestFault::silent(&member.url, self.options.connect_within, false);
        match live.unwrap_or_else(|_| Err(silent())) {
            Ok((live, _)) => Ok((member, live)),
            Err(fault) => {
                self.leave(&member.url);
                Err(fault.into_error())
            }
        }
    }

    /// Makes the next member the first to ask, if this one is.
    pub(super) fn leave(&self, url: &str) {
        let Some(members) = self.members.get() else { return };
        if let Some(index) = members.iter().position(|member| member.url == url) {
            let next = (index + 1) % members.len();
            // Another call may have moved the preference in the meantime.
            let _ = self.preferred.compare_exchange(index, next, Ordering::Relaxed, Ordering::Relaxed);
        }
    }

    /// Drops a connection that may be of no use any more, and asks another member first from now on.
    pub(super) async fn give_up(&self, member: &Member, live: &Live) {
        member.forget(live).await;
        self.leave(&member.url);
    }

    /// Sends a transaction that only reads, to one member after another, until one answers.
    pub(super) async fn ask(&self, txn: &Txn, deadline: Instant) -> Result<TxnResponse, RequestFault> {
        let (start, silent_until) = (Instant::now(), self.patience().end_of_silence(deadline));
        loop {
            let order = self.in_order(silent_until).await.map_err(of_discovery)?;
            let urls: Vec<_> = order.iter().map(|(_, member)| member.url.clone()).collect();
            let mut waiting = order.into_iter();
            let mut asked: JoinSet<(usize, Result<TxnResponse, RequestFault>)> = JoinSet::new();
            let mut faults = Vec::new();
            loop {
                match waiting.next() {
                    Some((index, member)) => {
                        let txn = txn.clone();
                        asked.spawn(async move { (index, member.send(txn, None).await) });
                    }
                    None if asked.is_empty() => break,
                    None => {}
                }
                let now = Instant::now();
                let left = deadline.saturating_duration_since(now);
                let patience = match waiting.len() as u32 {
                    0 => deadline,
                    others => now + PATIENCE.min(left / (others + 1)),
                };
                match timeout_at(patience, asked.join_next()).await {
                    Ok(Some(Ok((index, Ok(answer))))) => {
                        self.prefer(index);
                        return Ok(answer);
                    }
                    Ok(Some(Ok((_, Err(fault))))) if fault.is_of_member() => faults.push(fault),
                    Ok(Some(Ok((_, Err(fault))))) => return Err(fault),
                    // Tasks do not panic, and nobody aborts them while they are waited for.
                    Ok(Some(Err(_)) | None) => {}
                    Err(_) if patience < deadline => {}
                    Err(_) => {
                        let waited = start.elapsed();
                        faults.push(RequestFault::silent(&urls.join(", "), waited, false));
                        return Err(RequestFault::of_all(faults));
                    }
                }
            }
            self.may_be_asked_again(faults, silent_until).await?;
        }
    }

    /// Sends a transaction that writes, to the first member that can be reached.
    pub(super) async fn tell(&self, txn: &Txn, deadline: Instant) -> Result<TxnResponse, RequestFault> {
        let silent_until = self.patience().end_of_silence(deadline);
        loop {
            let order = self.in_order(silent_until).await.map_err(of_discovery)?;
            let mut faults = Vec::new();
            let mut left = order.len() as u32;
            for (index, member) in order {
                // A member that is slow to connect must leave time for the others.
                let now = Instant::now();
                let connect_by = now + deadline.saturating_duration_since(now) / left;
                left -= 1;
                match member.send(txn.clone(), Some(Bounds { connect_by, deadline })).await {
                    Ok(answer) => {
                        self.prefer(index);
                        return Ok(answer);
                    }
                    Err(fault) if fault.in_doubt => {
                        self.leave(&member.url);
                        return Err(fault);
                    }
                    Err(fault) if fault.is_of_member() => faults.push(fault),
                    Err(fault) => return Err(fault),
                }
            }
            self.may_be_asked_again(faults, silent_until).await?;
        }
    }

    /// Waits a little where some members only lack a leader; else fails with what all of them said.
    async fn may_be_asked_again(
        &self,
        faults: Vec<RequestFault>,
        deadline: Instant,
    ) -> Result<(), RequestFault> {
        let again = Instant::now() + PAUSE;
        if again >= deadline || !faults.iter().any(|fault| fault.kind == FaultClass::Leaderless) {
            return Err(RequestFault::of_all(faults));
        }
        sleep_until(again).await;
        Ok(())
    }
}

fn of_discovery(error: StoreError) -> RequestFault {
    RequestFault { kind: FaultClass::Unreachable, in_doubt: false, text: error.to_string() }
}

fn members(
    options: &EtcdOptions,
    tls: &etcd_client::TlsOptions,
    urls: &[String],
) -> Result<Vec<Arc<Member>>, StoreError> {
    urls.iter()
        .enumerate()
        .map(|(index, url)| {
            let (url, endpoint) = options.endpoint(index, url, tls)?;
            let (silence, user, live) = (options.silence, options.user.clone(), Mutex::new(None));
            Ok(Arc::new(Member { url, endpoint, silence, user, live, count: AtomicU64::new(0) }))
        })
        .collect()
}

impl Member {
    /// The connection; makes one where there is none.
    pub(super) async fn live(&self) -> Result<(Live, Connection), RequestFault> {
        let mut slot = self.live.lock().await;
        if let Some(live) = &*slot {
            return Ok((live.clone(), Connection::Known));
        }
        let channel = self.connect().await?;
        let client = self.authenticated(channel).await.map_err(|error| RequestFault {
            // A request for a token changes nothing, so no write is in doubt.
            in_doubt: false,
            ..RequestFault::asking(&self.url, &error)
        })?;
        let kv = client.kv_client().max_decoding_message_size(ANSWER);
        let number = self.count.fetch_add(1, Ordering::Relaxed);
        let live = Live { number, client, kv };
        *slot = Some(live.clone());
        Ok((live, Connection::New))
    }

    async fn connect(&self) -> Result<Channel, RequestFault> {
        let unreachable = |error: tonic::transport::Error| RequestFault::connecting(&self.url, &error);
        let connecting = self.endpoint.connect();
        let Some(silence) = self.silence else {
            return connecting.await.map(Channel::Tonic).map_err(unreachable);
        };
        let connected = timeout(silence, connecting).await;
        let connected = connected.map_err(|_| RequestFault::silent(&self.url, silence, false))?;
        Ok(Channel::Custom(silence::limited(connected.map_err(unreachable)?, silence)))
    }

    /// A client with a token if a user is configured and this etcd has users; else a client without one.
    async fn authenticated(&self, channel: Channel) -> Result<Client, Error> {
        let options = || ConnectOptions::new().with_require_leader(true);
        if let Some((name, password)) = &self.user {
            let with_user = options().with_user(name, password).with_auto_token_refresh(true);
            match Client::from_channel(channel.clone(), Some(with_user)).await {
                // As in etcd's own client: an etcd without users accepts clients for which a user is
                // configured.
                Err(Error::GRpcStatus(status))
                    if status.message().contains("authentication is not enabled") => {}
                result => return result,
            }
        }
        Client::from_channel(channel, Some(options())).await
    }

    /// Drops a connection that is of no use any more. A newer connection stays.
    pub(super) async fn forget(&self, live: &Live) {
        let mut slot = self.live.lock().await;
        if slot.as_ref().is_some_and(|now| now.number == live.number) {
            *slot = None;
        }
    }

    /// Sends a transaction. One that writes is sent again only while it is certain that the member did not
    /// carry it out.
    async fn send(&self, txn: Txn, bounds: Option<Bounds>) -> Result<TxnResponse, RequestFault> {
        let mut repeated = 0;
        loop {
            let (connection, answer) = self.send_once(txn.clone(), bounds).await;
            let Err(fault) = &answer else { return answer };
            let is_harmless = bounds.is_none() || !fault.in_doubt;
            let repeats = match connection {
                // The connection broke while it was idle.
                Connection::Known => 1,
                // A server that refuses our certificate says so after the handshake, and closes. The
                // connection may break before we have read the alert; another try may read it.
                Connection::New if self.url.starts_with("https") => REPEATS,
                Connection::New | Connection::None => 0,
            };
            if fault.kind != FaultClass::Unreachable || !is_harmless || repeated >= repeats {
                return answer;
            }
            repeated += 1;
        }
    }

    async fn send_once(
        &self,
        txn: Txn,
        bounds: Option<Bounds>,
    ) -> (Connection, Result<TxnResponse, RequestFault>) {
        let start = Instant::now();
        let connected = match bounds {
            Some(Bounds { connect_by, .. }) => timeout_at(connect_by, self.live())
                .await
                .unwrap_or_else(|_| Err(RequestFault::silent(&self.url, start.elapsed(), false))),
            None => self.live().await,
        };
        let (live, connection) = match connected {
            Ok(connected) => connected,
            Err(fault) => return (Connection::None, Err(fault)),
        };
        // Lets the connection's own task run first: if the server has closed the connection, the task
        // notices, and nothing is sent on it.
        tokio::task::yield_now().await;
        let sent = self.send_with_token(&live, txn);
        let answer = match bounds {
            Some(Bounds { deadline, .. }) => timeout_at(deadline, sent)
                .await
                .unwrap_or_else(|_| Err(RequestFault::silent(&self.url, start.elapsed(), true))),
            None => sent.await,
        };
        if answer.as_ref().is_err_and(|fault| fault.is_of_member()) {
            self.forget(&live).await;
        }
        (connection, answer)
    }

    async fn send_with_token(&self, live: &Live, txn: Txn) -> Result<TxnResponse, RequestFault> {
        let again = self.user.as_ref().map(|_| txn.clone());
        let said = |error: Error| RequestFault::asking(&self.url, &error);
        match (live.kv.clone().txn(txn).await.map_err(said), again) {
            // Users or roles have changed since the token was given. The member did nothing.
            (Err(fault), Some(txn)) if fault.kind == FaultClass::StaleToken => {
                live.client
                    .refresh_token()
                    .await
                    .map_err(|error| RequestFault { in_doubt: false, ..said(error) })?;
                live.kv.clone().txn(txn).await.map_err(said)
            }
            (answer, _) => answer,
        }
    }
}
