//! Single requests to Kubernetes, as Calico's client makes them
//! (`libcalico-go/lib/backend/k8s/resources/customresource.go`, `ipam_*.go`). They do not use the store under
//! test, except for the form of the objects.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use api::crd::{
    self, Collection, Group, Object, affinity_selector, decode, encode, encode_deleted, object_name,
};
use api::{Key, Kind, Record, Revision, Value};
use kube::client::Body;
use kube::{Client, Config};
use serde_json::{Value as Json, json};
use store::Scope;

use super::{Error, Records};
use crate::environment::KubeGroup;
use crate::ledger::{Event, Ledger};

/// The custom resources of an API server.
pub struct Objects<'a> {
    client: Client,
    group: Group,
    within: Duration,
    ledger: &'a Ledger,
}

impl<'a> Objects<'a> {
    /// The objects that the user of a kubeconfig may access. Each call may take `within`. Needs a tokio
    /// runtime.
    pub fn open(kubeconfig: &Path, group: KubeGroup, within: Duration, ledger: &'a Ledger) -> Objects<'a> {
        let kubeconfig = kube::config::Kubeconfig::read_from(kubeconfig).unwrap();
        let client = Client::try_from(Config::try_from(kubeconfig).unwrap()).unwrap();
        Objects { client, group: group.group(), within, ledger }
    }

    /// Sends a request. Gives the status and the object.
    async fn ask(&self, method: &str, path: &str, body: Option<Json>) -> Result<(u16, String), Error> {
        let request = http::Request::builder().method(method).uri(path);
        let request = request.header("content-type", "application/json");
        let body = body.map_or_else(Body::empty, |body| Body::from(body.to_string().into_bytes()));
        let answer = async {
            let response = self.client.send(request.body(body).unwrap()).await?;
            let status = response.status().as_u16();
            Ok::<_, kube::Error>((status, response.into_body().collect_bytes().await?))
        };
        let answer = tokio::time::timeout(self.within, answer).await;
        let failed = |reason: String| Error::Other(format!("{method} {path}: {reason}"));
        let (status, bytes) =
            answer.map_err(|late| failed(late.to_string()))?.map_err(|error| failed(error.to_string()))?;
        if method != "GET" {
            self.ledger.write(Event::Did(format!("{method} {path}: {status}")));
        }
        let text = String::from_utf8_lossy(&bytes).into_owned();
        match status {
            200 | 201 | 404 | 409 => Ok((status, text)),
            _ => Err(failed(text)),
        }
    }

    fn collection(&self, key: &Key) -> String {
        Collection::of(key).unwrap().path(self.group)
    }

    fn path(&self, key: &Key) -> String {
        format!("{}/{}", self.collection(key), object_name(key))
    }

    fn decoded(&self, collection: Collection, text: &str) -> Result<Object, Error> {
        decode(self.group, collection, text).map_err(|error| Error::Other(error.to_string()))
    }

    /// The object of a key, even if it is flagged as deleted.
    async fn find(&self, key: &Key) -> Result<Option<Object>, Error> {
        let (status, text) = self.ask("GET", &self.path(key), None).await?;
        if status == 404 {
            return Ok(None);
        }
        self.decoded(Collection::of(key).unwrap(), &text).map(Some)
    }

    /// Flags an object, reads it again, and deletes it by its UID (`DeleteKVP`).
    async fn delete_in_two_phases(&self, object: &Object) -> Result<(), Error> {
        let (key, path) = (&object.key, self.path(&object.key));
        let flagged = encode_deleted(self.group, key, &object.value, &object.revision).unwrap();
        match self.ask("PUT", &path, Some(flagged)).await? {
            (404, _) => return Ok(()),
            (409, _) => return Err(Error::Conflict),
            _ => {}
        }
        let again = self.find(key).await?;
        if again.is_none_or(|again| again.uid != object.uid) {
            return Ok(());
        }
        let options =
            json!({"kind": "DeleteOptions", "apiVersion": "v1", "preconditions": {"uid": object.uid}});
        self.ask("DELETE", &path, Some(options)).await.map(|_| ())
    }
}

fn record(object: Object) -> Arc<Record> {
    Arc::new(Record { key: object.key, value: object.value, revision: object.revision })
}

fn revision(text: &str) -> Revision {
    let object: Json = serde_json::from_str(text).unwrap();
    Revision::new(object["metadata"]["resourceVersion"].as_str().unwrap())
}

impl Records for Objects<'_> {
    /// Reads a record. An object that is flagged is deleted by whoever reads it.
    async fn get(&self, key: &Key) -> Result<Option<Arc<Record>>, Error> {
        if let Key::Resource { kind: Kind::Node, name, .. } = key {
            let (status, text) = self.ask("GET", &format!("/api/v1/nodes/{name}"), None).await?;
            return match status {
                200 => Ok(Some(record(crd::node::decode(&text).unwrap()))),
                _ => Ok(None),
            };
        }
        match self.find(key).await? {
            Some(object) if object.is_deleted => {
                // An error is ignored, as in Calico.
                let _ = self.delete_in_two_phases(&object).await;
                Ok(None)
            }
            other => Ok(other.map(record)),
        }
    }

    /// A list of affinities selects by label and leaves out flagged objects. A list of blocks does neither.
    async fn list(&self, scope: Scope) -> Result<Vec<Arc<Record>>, Error> {
        let collection = match &scope {
            Scope::Resources { kind, .. } => Collection::Resources(*kind),
            Scope::Affinities { .. } => Collection::Affinities,
            Scope::Blocks { .. } => Collection::Blocks,
            Scope::Handles => Collection::Handles,
            Scope::Block(_) | Scope::IpamConfig => unreachable!("Calico watches these, and lists none"),
        };
        let mut path = collection.path(self.group);
        if let Scope::Affinities { owner, family } = &scope
            && let Some(selector) = affinity_selector(owner.as_ref(), *family)
        {
            path = format!("{path}?labelSelector={}", selector.replace('=', "%3D").replace(',', "%2C"));
        }
        let (_, text) = self.ask("GET", &path, None).await?;
        let list: Json = serde_json::from_str(&text).unwrap();
        let mut found = Vec::new();
        for item in list["items"].as_array().into_iter().flatten() {
            let object = self.decoded(collection, &item.to_string())?;
            let is_hidden = object.is_deleted && collection == Collection::Affinities;
            if scope.holds(&object.key) && !is_hidden {
                found.push(record(object));
            }
        }
        Ok(found)
    }

    async fn create(&self, key: Key, value: Value) -> Result<Revision, Error> {
        let object = encode(self.group, &key, &value, None).unwrap();
        match self.ask("POST", &self.collection(&key), Some(object)).await? {
            (409, _) => Err(Error::Exists),
            (201, text) => Ok(revision(&text)),
            (status, text) => Err(Error::Other(format!("POST {key}: {status} {text}"))),
        }
    }

    async fn update(&self, key: Key, at: &Revision, value: Value) -> Result<Revision, Error> {
        let object = encode(self.group, &key, &value, Some(at)).unwrap();
        match self.ask("PUT", &self.path(&key), Some(object)).await? {
            (404 | 409, _) => Err(Error::Conflict),
            (_, text) => Ok(revision(&text)),
        }
    }

    async fn delete(&self, key: Key, at: &Revision) -> Result<(), Error> {
        match self.find(&key).await? {
            None => Ok(()),
            Some(object) if object.revision == *at => self.delete_in_two_phases(&object).await,
            Some(_) => Err(Error::Conflict),
        }
    }
}
