//! Commits: one request for each write, in order.

use std::sync::Arc;

use api::crd::{self, Collection, Group};
use api::{Backend, Key, Operation, Resource, Revision, Value};
use http::Method;
use serde::Deserialize;
use serde_json::{Value as Json, json};
use tokio::time::Instant;

use super::connection::{Question, STRATEGIC_PATCH, Server};
use super::fault::{FaultClass, RequestFault};
use super::options::Deletion;
use super::place::{self, Place, What};
use super::reading::{LookError, ObjectAtName, look};
use crate::batch::{Batch, Current, Expect, Op, Outcome, Report, Write};
use crate::error::{Refusal, StoreError};

/// How often a create begins again because the object that was in its way has gone in the meantime.
const ATTEMPTS: usize = 5;

/// Why a write was not applied.
enum Stop {
    Refused(Refusal),
    Fault(RequestFault),
}

impl From<RequestFault> for Stop {
    fn from(fault: RequestFault) -> Self {
        match fault.refusal() {
            Some(refusal) => Stop::Refused(refusal),
            None => Stop::Fault(fault),
        }
    }
}

impl From<LookError> for Stop {
    fn from(error: LookError) -> Self {
        match error {
            LookError::Fault(fault) => Stop::Fault(fault),
            // The object exists and cannot be parsed. The next read of it reports the reason.
            LookError::Unreadable(_) => conflict(Current::Unknown),
        }
    }
}

fn conflict(current: Current) -> Stop {
    Stop::Refused(Refusal::Conflict(current))
}

pub(super) async fn commit(server: &Server, batch: &Batch, deadline: Instant) -> Result<Report, StoreError> {
    let mut report = Report { outcomes: vec![Outcome::NotTried; batch.writes.len()], broken_guard: None };
    if batch.is_empty() {
        return Ok(report);
    }
    let group = server.group(deadline).await.map_err(RequestFault::into_error)?;
    for (index, write) in batch.writes.iter().enumerate() {
        let commit = Commit { server, group, key: &write.key, deadline };
        let outcome = match commit.changed(batch, index).await {
            Ok(Some(guard)) => {
                report.broken_guard = Some(guard);
                break;
            }
            Ok(None) => match expectation(batch, &report.outcomes, write) {
                Some(expect) => commit.write(expect, &write.op).await,
                None => Err(conflict(Current::Unknown)),
            },
            Err(stop) => Err(stop),
        };
        report.outcomes[index] = match outcome {
            Ok(revision) => Outcome::Applied(revision),
            Err(Stop::Refused(refusal)) => Outcome::Refused(refusal),
            Err(Stop::Fault(fault)) if index == 0 && !fault.in_doubt => return Err(fault.into_error()),
            Err(Stop::Fault(fault)) if fault.kind == FaultClass::Unknown => {
                Outcome::Refused(Refusal::Denied(fault.text))
            }
            Err(Stop::Fault(fault)) if fault.kind == FaultClass::NotInstalled => {
                Outcome::Refused(Refusal::Invalid(fault.text))
            }
            // The request may not even have been sent: `Unknown` is the only outcome that carries the reason
            // why the report ends here.
            Err(Stop::Fault(fault)) => Outcome::Unknown(fault.text),
        };
        if !matches!(report.outcomes[index], Outcome::Applied(_)) {
            break;
        }
    }
    Ok(report)
}

/// The state that a write expects: `Some(None)` for an absent record. `None` where no state can fulfil the
/// expectation.
fn expectation(batch: &Batch, outcomes: &[Outcome], write: &Write) -> Option<Option<Revision>> {
    let index = match &write.expect {
        Expect::Absent => return Some(None),
        Expect::Revision(revision) => return Some(Some(revision.clone())),
        Expect::AsLeftBy(index) => *index,
    };
    let before = batch.writes.get(index).filter(|before| before.key == write.key)?;
    match (&before.op, outcomes.get(index)?) {
        (Op::Put(_), Outcome::Applied(revision)) => Some(Some(revision.clone())),
        (Op::Delete, Outcome::Applied(_)) => Some(None),
        _ => None,
    }
}

/// Whether a text is a revision of the server's: a decimal number above 0. Other texts match no record, and
/// the server would take some of them for "any".
fn is_revision(text: &str) -> bool {
    text.bytes().all(|b| b.is_ascii_digit()) && !text.is_empty() && !text.starts_with('0')
}

/// What the answer to a write says of the object.
#[derive(Default, Deserialize)]
#[serde(default)]
struct Written {
    metadata: WrittenMeta,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct WrittenMeta {
    uid: String,
    #[serde(rename = "resourceVersion")]
    revision: String,
}

fn answer_meta(text: &str) -> WrittenMeta {
    serde_json::from_str::<Written>(text).unwrap_or_default().metadata
}

/// A write of a batch, with everything that carrying it out needs.
struct Commit<'c> {
    server: &'c Server,
    group: Group,
    key: &'c Key,
    deadline: Instant,
}

impl Commit<'_> {
    async fn ask(&self, question: Question) -> Result<String, RequestFault> {
        self.server.ask(question, self.deadline).await
    }

    /// Looks again at the guarded records that must not have changed when the write with that index is tried.
    /// Gives the first guard that does not hold.
    async fn changed(&self, batch: &Batch, index: usize) -> Result<Option<usize>, Stop> {
        for (guard, key, revision) in batch.looks_before(index) {
            let found = match look(self.server, self.group, key, self.deadline).await {
                Ok(ObjectAtName::Record(record, _)) => Some(record.revision.clone()),
                Ok(_) => None,
                Err(LookError::Unreadable(unreadable)) => Some(unreadable.revision),
                Err(LookError::Fault(fault)) => return Err(fault.into()),
            };
            if found.as_ref() != revision {
                return Ok(Some(guard));
            }
        }
        Ok(None)
    }

    async fn look(&self) -> Result<ObjectAtName, Stop> {
        Ok(look(self.server, self.group, self.key, self.deadline).await?)
    }

    async fn write(&self, expect: Option<Revision>, op: &Op) -> Result<Revision, Stop> {
        if expect.as_ref().is_some_and(|revision| !is_revision(revision.as_str())) {
            return Err(conflict(Current::Unknown));
        }
        let place =
            place::of_key(self.group, self.key).map_err(|reason| Stop::Refused(Refusal::Name(reason)))?;
        match (place.what, op, expect) {
            (What::Custom(_), Op::Put(value), None) => self.create(&place, value).await,
            (What::Custom(_), Op::Put(value), Some(revision)) => self.update(&place, value, revision).await,
            (What::Custom(collection), Op::Delete, Some(revision)) => {
                self.delete(&place, collection, revision).await
            }
            (What::Nodes, Op::Put(value), Some(revision)) => self.put_node(&place, value, revision).await,
            (What::Nodes, Op::Put(_), None) => Err(not_supported(self.key, Operation::Create)),
            (What::Nodes, Op::Delete, Some(_)) => Err(not_supported(self.key, Operation::Delete)),
            (What::Pods, Op::Put(value), Some(_)) => self.put_endpoint(&place, value).await,
            (What::Pods, Op::Put(_), None) => self.create_endpoint().await,
            (What::Pods, Op::Delete, Some(revision)) => self.delete_endpoint(&place, &revision).await,
            (_, Op::Delete, None) => Err(conflict(Current::Absent)),
        }
    }

    /// The object that stores a value of the key.
    fn object(&self, value: &Value, revision: Option<&Revision>) -> Result<String, Stop> {
        match crd::encode(self.group, self.key, value, revision) {
            Some(object) => Ok(object.to_string()),
            None => Err(wrong_type(self.key)),
        }
    }

    /// Remembers the value that is stored now. Gives its revision.
    fn remember_stored(&self, text: &str, value: &Arc<Value>) -> Revision {
        let revision = Revision::new(answer_meta(text).revision);
        if Collection::of(self.key).is_some_and(Collection::has_tombstones) {
            self.server.recent.note(self.key, revision.clone(), value.clone());
        }
        revision
    }

    async fn create(&self, place: &Place, value: &Arc<Value>) -> Result<Revision, Stop> {
        let object = self.object(value, None)?;
        for _ in 0..ATTEMPTS {
            let question = Question::send(Method::POST, place.collection.clone(), object.clone());
            match self.ask(question).await {
                Ok(text) => return Ok(self.remember_stored(&text, value)),
                Err(fault) if fault.kind == FaultClass::Exists => {}
                Err(fault) => return Err(fault.into()),
            }
            match self.look().await? {
                ObjectAtName::Nothing => {}
                ObjectAtName::Tombstone(uid, revision) => self.remove(place, Some(&uid), &revision).await?,
                ObjectAtName::Record(record, _) => return Err(conflict(Current::Record(record))),
                ObjectAtName::Another(other) => {
                    return Err(Stop::Refused(Refusal::Name(format!(
                        "{} cannot be kept in Kubernetes: {other} has the name {:?} there",
                        self.key, place.name
                    ))));
                }
                ObjectAtName::Nowhere(reason) => return Err(Stop::Refused(Refusal::Name(reason))),
            }
        }
        Err(conflict(Current::Unknown))
    }

    async fn update(&self, place: &Place, value: &Arc<Value>, revision: Revision) -> Result<Revision, Stop> {
        let object = self.object(value, Some(&revision))?;
        let text = self.ask(Question::send(Method::PUT, place.path(), object)).await?;
        Ok(self.remember_stored(&text, value))
    }

    async fn delete(
        &self,
        place: &Place,
        collection: Collection,
        revision: Revision,
    ) -> Result<Revision, Stop> {
        if !collection.has_tombstones() || self.server.deletion() == Deletion::Atomic {
            let text = self.ask(removal(place, None, &revision)).await?;
            // An object with finalizers stays for a while, and the answer then contains it.
            let left = Revision::new(answer_meta(&text).revision);
            return Ok(if is_revision(left.as_str()) { left } else { revision });
        }
        let value = match self.server.recent.take(self.key, &revision) {
            Some(value) => value,
            None => self.value_at(&revision).await?,
        };
        let Some(object) = crd::encode_deleted(self.group, self.key, &value, &revision) else {
            return Err(wrong_type(self.key));
        };
        let text = self.ask(Question::send(Method::PUT, place.path(), object.to_string())).await?;
        let flagged = answer_meta(&text);
        let revision = Revision::new(flagged.revision);
        // From here on the record reads as absent. If the removal fails, a later create of the record removes
        // the object.
        let _ = self.remove(place, Some(&flagged.uid), &revision).await;
        Ok(revision)
    }

    /// The value at that revision, if it is the present one.
    async fn value_at(&self, revision: &Revision) -> Result<Arc<Value>, Stop> {
        match self.look().await? {
            ObjectAtName::Record(record, _) if record.revision == *revision => {
                Ok(Arc::new(record.value.clone()))
            }
            ObjectAtName::Record(record, _) => Err(conflict(Current::Record(record))),
            _ => Err(conflict(Current::Absent)),
        }
    }

    /// Removes an object in that state. An object that does not exist is no error.
    async fn remove(&self, place: &Place, uid: Option<&str>, revision: &Revision) -> Result<(), Stop> {
        match self.ask(removal(place, uid, revision)).await {
            Ok(_) => Ok(()),
            Err(fault) if matches!(fault.kind, FaultClass::Absent | FaultClass::Conflict) => Ok(()),
            Err(fault) => Err(fault.into()),
        }
    }

    async fn put_node(&self, place: &Place, value: &Value, revision: Revision) -> Result<Revision, Stop> {
        let node = resource(self.key, value)?;
        let text = self.ask(Question::get(place.path())).await?;
        let stored: Json = serde_json::from_str(&text)
            .map_err(|error| Stop::Fault(RequestFault::nonsense(self.server.shown(), &error)))?;
        if stored["metadata"]["resourceVersion"] != revision.as_str() {
            return Err(conflict(Current::Unknown));
        }
        let merged = crd::node::merge(&stored, node).to_string();
        let text = self.ask(Question::send(Method::PUT, format!("{}/status", place.path()), merged)).await?;
        Ok(Revision::new(answer_meta(&text).revision))
    }

    async fn create_endpoint(&self) -> Result<Revision, Stop> {
        match self.look().await? {
            ObjectAtName::Record(record, _) => Err(conflict(Current::Record(record))),
            _ => Err(Stop::Refused(Refusal::Invalid(format!(
                "{} cannot be created: in Kubernetes it exists once its Pod is scheduled to that node",
                self.key
            )))),
        }
    }

    /// Others often change the Pod in other fields, so the patch demands its UID and not its revision.
    async fn put_endpoint(&self, place: &Place, value: &Value) -> Result<Revision, Stop> {
        let endpoint = resource(self.key, value)?;
        let uid = match &endpoint.metadata().uid {
            Some(uid) => uid.clone(),
            None => self.uid().await?,
        };
        self.patch(place, crd::pod::patch(endpoint, &uid)).await
    }

    async fn delete_endpoint(&self, place: &Place, revision: &Revision) -> Result<Revision, Stop> {
        let uid = self.uid().await?;
        self.patch(place, crd::pod::patch_released(&uid, revision)).await
    }

    async fn uid(&self) -> Result<String, Stop> {
        match self.look().await? {
            ObjectAtName::Record(_, uid) => Ok(uid),
            _ => Err(conflict(Current::Absent)),
        }
    }

    async fn patch(&self, place: &Place, patch: Json) -> Result<Revision, Stop> {
        let question = Question::send(Method::PATCH, format!("{}/status", place.path()), patch.to_string());
        let text = self.ask(Question { content_type: STRATEGIC_PATCH, ..question }).await?;
        Ok(Revision::new(answer_meta(&text).revision))
    }
}

/// The request that removes an object in that state.
pub(super) fn removal(place: &Place, uid: Option<&str>, revision: &Revision) -> Question {
    let mut preconditions = json!({"resourceVersion": revision.as_str()});
    if let Some(uid) = uid {
        preconditions["uid"] = uid.into();
    }
    Question::delete(place.path(), "preconditions", preconditions)
}

fn resource<'v>(key: &Key, value: &'v Value) -> Result<&'v Resource, Stop> {
    match value {
        Value::Resource(resource) => Ok(resource),
        _ => Err(wrong_type(key)),
    }
}

fn wrong_type(key: &Key) -> Stop {
    Stop::Refused(Refusal::Invalid(format!("the value for {key} is of another type than its key")))
}

fn not_supported(key: &Key, operation: Operation) -> Stop {
    let refused = match key {
        Key::Resource { kind, .. } => kind.allows(Backend::Kubernetes, operation, &key.to_string()).err(),
        _ => None,
    };
    let text = refused.map_or_else(|| format!("{key} is kept by Kubernetes"), |refused| refused.to_string());
    Stop::Refused(Refusal::Invalid(text))
}
