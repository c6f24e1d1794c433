//! Which of several processes works: the leader.
//!
//! The leader renews its claim every two seconds, and knows by its own clock until when the claim holds: for
//! six seconds after it *asked* for the renewal that succeeded last. Others take the place ten seconds after
//! they have seen the last sign of it, at the earliest. So a leader that was paused or cut off knows that it
//! is none any more, before another is. No clock is compared with another's.
//!
//! On the embedded store the claim is a lock of the kernel's on a file beside the store: it ends with the
//! process, and holds while the process is paused.

mod embedded;
#[cfg(feature = "etcd")]
mod etcd;
#[cfg(feature = "kubernetes")]
mod kubernetes;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use setup::{Clock, Datastore};
use store::{AnyStore, Effects, StoreError};
use tokio::sync::watch;
use tokio::task::JoinHandle;

/// How long others wait after the last sign of a leader, in seconds.
const LEASE: u32 = 10;
/// How long a leader trusts a claim after it asked for it.
const TRUST: Duration = Duration::from_secs(6);
/// How often a claim is renewed, and how often another's is looked at.
const RETRY: Duration = Duration::from_secs(2);
/// How long a question to the store may take. Two of them fit into [`TRUST`].
#[cfg(any(feature = "etcd", feature = "kubernetes"))]
const WITHIN: Duration = Duration::from_secs(3);

/// Why a place cannot be claimed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum LeadError {
    /// The store gives no answer, or refuses.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The lock of the embedded store cannot be had.
    #[error("{}: {error}. It must be a file that this user can write", .path.display())]
    Lock {
        /// The file.
        path: PathBuf,
        /// The system's words.
        error: std::io::Error,
    },
}

/// Where the claim is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Place {
    /// A Lease in that namespace of Kubernetes.
    Kubernetes(String),
    /// A key in etcd, outside of Calico's.
    Etcd,
    /// A file.
    File(PathBuf),
}

impl Place {
    /// The place for a store. `namespace` counts on Kubernetes.
    pub fn of(datastore: &Datastore, namespace: &str) -> Place {
        match datastore {
            Datastore::Kubernetes(_) => Place::Kubernetes(namespace.to_string()),
            Datastore::Etcd(_) => Place::Etcd,
            Datastore::Embedded { path, .. } => Place::File(embedded::beside(path)),
        }
    }
}

/// A claim to the place.
enum Claim {
    #[cfg(feature = "kubernetes")]
    Kubernetes(kubernetes::Claim),
    #[cfg(feature = "etcd")]
    Etcd(etcd::Claim),
    File(embedded::Claim),
}

impl Claim {
    fn new(store: &Arc<AnyStore>, identity: &str, place: Place) -> Result<Claim, LeadError> {
        #[cfg(not(any(feature = "etcd", feature = "kubernetes")))]
        let _ = identity;
        match (place, &**store) {
            #[cfg(feature = "kubernetes")]
            (Place::Kubernetes(namespace), AnyStore::Kubernetes(store)) => {
                Ok(Claim::Kubernetes(kubernetes::Claim::new(store.clone(), identity, namespace)))
            }
            #[cfg(feature = "etcd")]
            (Place::Etcd, AnyStore::Etcd(store)) => {
                Ok(Claim::Etcd(etcd::Claim::new(store.clone(), identity)))
            }
            (Place::File(path), _) => Ok(Claim::File(embedded::Claim::new(path))),
            (place, _) => {
                let text = format!("a leader cannot be known by {place:?}, for the store is another");
                Err(StoreError::Unsupported(text).into())
            }
        }
    }

    /// Makes or renews the claim. Gives which claim it is: its number goes up whenever it was not this
    /// process's without a gap. `None` where the place is another's.
    async fn assert(&mut self, clock: &Clock) -> Result<Option<u64>, LeadError> {
        #[cfg(not(feature = "kubernetes"))]
        let _ = clock;
        match self {
            #[cfg(feature = "kubernetes")]
            Claim::Kubernetes(claim) => Ok(claim.assert(clock, WITHIN).await?),
            #[cfg(feature = "etcd")]
            Claim::Etcd(claim) => Ok(claim.assert(WITHIN).await?),
            Claim::File(claim) => claim.assert(),
        }
    }

    /// Gives the place up, for others to take at once.
    async fn give_up(&mut self, clock: &Clock) -> Result<(), LeadError> {
        #[cfg(not(feature = "kubernetes"))]
        let _ = clock;
        match self {
            #[cfg(feature = "kubernetes")]
            Claim::Kubernetes(claim) => Ok(claim.give_up(clock, WITHIN).await?),
            #[cfg(feature = "etcd")]
            Claim::Etcd(claim) => Ok(claim.give_up(WITHIN).await?),
            Claim::File(claim) => {
                claim.give_up();
                Ok(())
            }
        }
    }

    /// Until when a claim holds that was asked for at that time.
    fn until(&self, asked: Duration) -> Duration {
        match self {
            Claim::File(_) => Duration::MAX,
            #[allow(unreachable_patterns, reason = "without servers there is only the file")]
            _ => asked + TRUST,
        }
    }
}

/// What is known of this process's leadership.
#[derive(Clone, Copy, Debug, Default)]
struct Term {
    /// The number of the claim; 0 for none.
    number: u64,
    /// Until when it holds, on this process's clock.
    until: Duration,
}

/// A process that stands for leader. Dropping it ends the renewals; the place is free when the claim ends.
#[derive(Debug)]
pub struct Lead {
    term: watch::Receiver<Term>,
    clock: Clock,
    /// The number of the claim that [`Lead::changed`] has told; 0 for none.
    told: u64,
    stop: watch::Sender<bool>,
    task: Option<JoinHandle<()>>,
}

/// Tells, for tasks beside the main one, whether this process leads.
#[derive(Clone, Debug)]
pub struct Leading {
    term: watch::Receiver<Term>,
    clock: Clock,
}

impl Leading {
    /// Whether this process leads now. Ask before each write.
    pub fn is_leader(&self) -> bool {
        number(&self.term, &self.clock) != 0
    }

    /// Waits until this process leads.
    pub async fn wins(&mut self) {
        while !self.is_leader() {
            if self.term.changed().await.is_err() {
                return std::future::pending().await;
            }
        }
    }
}

/// The number of the claim that holds now; 0 for none.
fn number(term: &watch::Receiver<Term>, clock: &Clock) -> u64 {
    let term = *term.borrow();
    if clock.elapsed() < term.until { term.number } else { 0 }
}

impl Lead {
    /// Begins to stand for leader. `identity` is the name of this process, and of no other, not even of one
    /// that ran before it.
    ///
    /// # Errors
    /// When place and store do not belong together.
    pub fn stand(
        store: &Arc<AnyStore>,
        identity: &str,
        place: Place,
        clock: Clock,
    ) -> Result<Lead, LeadError> {
        let claim = Claim::new(store, identity, place)?;
        let (sender, term) = watch::channel(Term::default());
        let (stop, stopped) = watch::channel(false);
        let task = Some(tokio::spawn(renew(claim, clock, sender, stopped)));
        Ok(Lead { term, clock, told: 0, stop, task })
    }

    /// Whether this process leads now. Ask before each write: a process that was paused knows by this that it
    /// leads no more.
    pub fn is_leader(&self) -> bool {
        number(&self.term, &self.clock) != 0
    }

    /// The same, for other tasks.
    pub fn leading(&self) -> Leading {
        Leading { term: self.term.clone(), clock: self.clock }
    }

    /// Waits until leadership is won or lost, and gives which. Where it was lost and won again in the
    /// meantime, both are told, one after the other. Giving up the wait loses nothing.
    pub async fn changed(&mut self) -> bool {
        loop {
            // Marked as seen first: what comes after this wakes the wait below.
            let until = self.term.borrow_and_update().until;
            let now = number(&self.term, &self.clock);
            if now != self.told {
                // A claim with another number: the earlier one was lost first.
                self.told = if self.told == 0 { now } else { 0 };
                return self.told != 0;
            }
            let left = until.saturating_sub(self.clock.elapsed());
            let ends = async {
                match now {
                    0 => std::future::pending().await,
                    _ => self.clock.sleep(left.min(Duration::from_secs(3600))).await,
                }
            };
            tokio::select! {
                changed = self.term.changed() => {
                    if changed.is_err() {
                        // Nobody renews any more; what holds runs out.
                        self.clock.sleep(RETRY).await;
                    }
                }
                () = ends => {}
            }
        }
    }

    /// Gives the place up, for others to take at once.
    pub async fn resign(mut self) {
        let _ = self.stop.send(true);
        if let Some(task) = self.task.take() {
            let _ = task.await;
        }
    }
}

impl Drop for Lead {
    fn drop(&mut self) {
        if let Some(task) = &self.task {
            task.abort();
        }
    }
}

/// Claims the place and renews the claim until told to stop; then gives it up.
async fn renew(
    mut claim: Claim,
    clock: Clock,
    term: watch::Sender<Term>,
    mut stopped: watch::Receiver<bool>,
) {
    let mut told = String::new();
    loop {
        let asked = clock.elapsed();
        match claim.assert(&clock).await {
            Ok(Some(number)) => {
                let until = claim.until(asked);
                term.send_replace(Term { number, until });
                told.clear();
            }
            Ok(None) => {
                term.send_replace(Term::default());
                told.clear();
            }
            // What was claimed holds until its time is over.
            Err(error) if error.to_string() != told => {
                tracing::warn!("it is not known which process leads: {error}");
                told = error.to_string();
            }
            Err(_) => {}
        }
        tokio::select! {
            _ = stopped.changed() => break,
            () = clock.sleep(RETRY) => {}
        }
    }
    // Nobody must act by this claim while it is given up.
    term.send_replace(Term::default());
    if let Err(error) = claim.give_up(&clock).await {
        tracing::warn!("another process leads only after {LEASE} s: {error}");
    }
}
