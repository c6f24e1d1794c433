//! Environment variables that are nearly the name of a setting.

use crate::environment::Environment;
use crate::fields::{Field, Row, TABLE};

/// Variables of releases of long ago, which named etcd by its host.
const OLD: [&str; 2] = ["ETCD_AUTHORITY", "ETCD_SCHEME"];

impl Environment {
    /// The variables that are set and have no effect although they are nearly the name of a setting, each
    /// with the variable that was probably meant. One whose setting is given anyway is left out: it is
    /// probably another program's.
    pub fn misspelt(&self) -> Vec<(&str, &'static str)> {
        let set = self.variables().filter(|(name, value)| !value.is_empty() && !is_known(name));
        set.filter_map(|(name, _)| {
            let row = meant(name)?;
            row.lookup(self).is_none().then_some((name, row.spelling()))
        })
        .collect()
    }
}

/// The setting that a variable of another name probably means.
fn meant(name: &str) -> Option<&'static Row> {
    if OLD.contains(&name) {
        return TABLE.iter().find(|row| row.field == Field::EtcdEndpoints);
    }
    let name = letters(name);
    let distance = |row: &Row| strsim::osa_distance(&name, &letters(row.variable));
    let rows = TABLE.iter().filter(|row| !row.variable.is_empty());
    // Between the shorter names there are fewer letters that could tell them apart.
    let near = rows.filter(|row| distance(row) <= if row.variable.len() > 10 { 2 } else { 1 });
    near.min_by_key(|row| distance(row))
}

fn is_known(name: &str) -> bool {
    TABLE.iter().any(|row| row.is_named(name))
}

/// What is left of a name without its prefix, separators and case.
fn letters(name: &str) -> String {
    let name = name.to_ascii_uppercase();
    name.strip_prefix("CALICO_").unwrap_or(&name).replace(['_', '-'], "")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn near_misses_are_found_and_other_programs_variables_are_not() {
        let rows = [
            ("ETCD_ENDPOINT", Some("ETCD_ENDPOINTS")),
            ("ETCD_AUTHORITY", Some("ETCD_ENDPOINTS")),
            ("KUBE_CONFIG", Some("KUBECONFIG")),
            ("kubeconfig", Some("KUBECONFIG")),
            ("DATASTORETYPE", Some("DATASTORE_TYPE")),
            ("CALICO_DATASTORETYPE", Some("DATASTORE_TYPE")),
            ("DATASTROE_TYPE", Some("DATASTORE_TYPE")),
            ("RACKPOOLDB", Some("RACKPOOL_DB")),
            ("CALICO_RACKPOOL_DB", Some("RACKPOOL_DB")),
            ("K8S_API_TOKEN", Some("CALICO_K8SAPITOKEN")),
            ("ETCD_CACERT_FILE", Some("ETCD_CA_CERT_FILE")),
            ("ETCD_ENDPOINTS", None),
            ("CALICO_ETCD_ENDPOINTS", None),
            ("CALICO_K8SAPITOKEN", None),
            ("ETCDCTL_ENDPOINTS", None),
            ("ETCD_NAME", None),
            ("ETCD_DATA_DIR", None),
            ("ETCD_PEER_CERT_FILE", None),
            ("KUBECONFIG_DIRECTORY", None),
            ("KUBERNETES_SERVICE_HOST", None),
            ("HOME", None),
        ];
        for (name, wanted) in rows {
            let environment = Environment::from_iter([(name, "x")]);
            let found = environment.misspelt();
            assert_eq!(found, Vec::from_iter(wanted.map(|wanted| (name, wanted))), "{name}");
        }
        let both = Environment::from_iter([("ETCD_ENDPOINT", "x"), ("ETCD_ENDPOINTS", "y")]);
        assert_eq!(both.misspelt(), []);
        assert_eq!(Environment::from_iter([("ETCD_ENDPOINT", "")]).misspelt(), []);
    }
}
