//! Opens etcd as the settings say.

use std::time::Duration;

use store::AnyStore;
use store::etcd::{Discovery, EtcdCertificates, EtcdOptions, EtcdStore, Pem};

use crate::clock::Clock;
use crate::datastore::{self, EtcdSettings};
use crate::error::SetupError;

/// Opens etcd. Nothing is sent before the first call.
pub(crate) fn open(settings: &EtcdSettings, silence: Option<Duration>) -> Result<AnyStore, SetupError> {
    // A random first member for each process spreads the load.
    let first = Clock::start().seed() as usize;
    let options = options(settings);
    let connect_within = silence.unwrap_or(options.connect_within);
    // The client's own question whether the member is alive must not end a longer wait.
    let (interval, reply) = options.keep_alive;
    let keep_alive = (interval.max(silence.unwrap_or_default()), reply);
    let options = EtcdOptions { first, silence, connect_within, keep_alive, ..options };
    Ok(AnyStore::Etcd(EtcdStore::open(options)?))
}

fn options(settings: &EtcdSettings) -> EtcdOptions {
    let EtcdSettings { endpoints, discovery_srv, username, password, tls, chosen_by: _ } = settings;
    // White space around a comma is not part of a URL. (`libcalico-go/lib/backend/etcdv3/etcdv3.go` takes it
    // as part, and fails.)
    let endpoints = endpoints.iter().map(|url| url.trim()).filter(|url| !url.is_empty());
    EtcdOptions {
        endpoints: endpoints.map(str::to_string).collect(),
        discovery: discovery_srv.clone().map(|domain| Discovery { domain, name_server: None }),
        user: username.clone().map(|name| (name, password.clone().unwrap_or_default())),
        tls: pem(tls),
        ..EtcdOptions::default()
    }
}

fn pem(tls: &datastore::TlsSettings) -> EtcdCertificates {
    let one = |text: &Option<String>| {
        let text = text.clone()?;
        Some(if tls.inline { Pem::Inline(text) } else { Pem::File(text.into()) })
    };
    EtcdCertificates { ca: one(&tls.ca), cert: one(&tls.cert), key: one(&tls.key) }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::{Datastore, Environment, Settings};

    fn from(settings: &Settings) -> Result<EtcdSettings, SetupError> {
        match Datastore::choose(settings, &Environment::default())? {
            Datastore::Etcd(settings) => Ok(settings),
            other => panic!("{other:?}"),
        }
    }

    fn file(spec: serde_json::Value) -> Settings {
        let document = json!({"apiVersion": "projectcalico.org/v3", "kind": "CalicoAPIConfig", "spec": spec});
        Settings::from_file("f", &document).unwrap()
    }

    #[test]
    fn everything_arrives() {
        let environment: Environment = [
            ("ETCD_ENDPOINTS", "https://a:1, b:2,"),
            ("ETCD_USERNAME", "u"),
            ("ETCD_PASSWORD", "p"),
            ("ETCD_CA_CERT_FILE", "/ca"),
            ("ETCD_CERT_FILE", "/cert"),
            ("ETCD_KEY_FILE", "/key"),
        ]
        .into_iter()
        .collect();
        let found = options(&from(&Settings::from_environment(&environment).unwrap()).unwrap());
        assert_eq!(found.endpoints, ["https://a:1", "b:2"]);
        assert_eq!(found.user, Some(("u".to_string(), "p".to_string())));
        let path = |text: &str| Some(Pem::File(text.into()));
        assert_eq!(found.tls, EtcdCertificates { ca: path("/ca"), cert: path("/cert"), key: path("/key") });

        let cni = json!({"etcd_endpoints": "https://c:1", "etcd_ca_cert_file": "/ca", "etcd_cert_file": "/cert", "etcd_key_file": "/key"});
        let of_cni = options(&from(&Settings::default().with_cni(&cni)).unwrap());
        assert_eq!(
            (of_cni.endpoints, of_cni.tls, of_cni.user),
            (vec!["https://c:1".into()], found.tls, None)
        );

        let srv = options(&from(&file(json!({"etcdDiscoverySrv": "example.com"}))).unwrap());
        assert!(srv.endpoints.is_empty());
        assert_eq!(srv.discovery.unwrap().domain, "example.com");

        let inline =
            json!({"etcdEndpoints": "https://c:1", "etcdKey": "k", "etcdCert": "c", "etcdCACert": "a"});
        let text = |text: &str| Some(Pem::Inline(text.to_string()));
        let wanted = EtcdCertificates { ca: text("a"), cert: text("c"), key: text("k") };
        assert_eq!(options(&from(&file(inline)).unwrap()).tls, wanted);
    }

    #[test]
    fn what_cannot_be_used_is_said_before_anything_is_sent() {
        let rows = [
            (json!({"etcdEndpoints": "ftp://a:1"}), "neither http nor https"),
            (json!({"etcdEndpoints": "https://a:1", "etcdCACertFile": "/nowhere/ca.pem"}), "/nowhere/ca.pem"),
            (json!({"etcdEndpoints": " , "}), "no etcd endpoint is given"),
        ];
        for (spec, wanted) in rows {
            let error = open(&from(&file(spec)).unwrap(), None).unwrap_err().to_string();
            assert!(error.contains(wanted), "{error}");
        }
    }
}
