//! The settings with which programs find the store.

use setup::Field;

/// What a setting says. A setting that is added needs a line here.
fn meaning(field: Field) -> &'static str {
    match field {
        Field::DatastoreType => {
            "`embedded`, `etcdv3` or `kubernetes`; where nothing says it, the other settings do"
        }
        Field::EtcdEndpoints => "URLs of etcd's members, with commas between",
        Field::EtcdDiscoverySrv => "domain in whose DNS etcd's members stand",
        Field::EtcdUsername => "user of etcd",
        Field::EtcdPassword => "that user's password",
        Field::EtcdKeyFile => "file with the client's key",
        Field::EtcdCertFile => "file with the client's certificate",
        Field::EtcdCaCertFile => "file with the authority that signed etcd's certificates",
        Field::EtcdKey => "the client's key itself",
        Field::EtcdCert => "the client's certificate itself",
        Field::EtcdCaCert => "the authority's certificate itself",
        Field::Kubeconfig => "kubeconfig of the cluster",
        Field::KubeconfigInline => "the kubeconfig itself",
        Field::K8sApiEndpoint => "URL of the API server",
        Field::K8sKeyFile => "file with the client's key for the API server",
        Field::K8sCertFile => "file with the client's certificate for the API server",
        Field::K8sCaFile => "file with the authority that signed the API server's certificate",
        Field::K8sApiToken => "token for the API server",
        Field::K8sInsecureSkipTlsVerify => "`true`: the API server's certificate is not checked",
        Field::K8sDisableNodePoll => "read and not needed: nodes are watched",
        Field::UsePodCidr => "`true` is refused: addresses by the node's pod CIDR are host-local's",
        Field::K8sClientQps => "requests a second to the API server; not limited where not set",
        Field::K8sClientBurst => "requests at once to the API server",
        Field::K8sCurrentContext => "context of the kubeconfig",
        Field::CalicoApiGroup => {
            "group of Calico's resources, `crd.projectcalico.org/v1` or `projectcalico.org/v3`; where not set, the cluster says it"
        }
        Field::RackpoolDb => "file of the embedded store",
    }
}

pub fn section() -> String {
    let mut text = String::from(
        "\n## Where the store is\n\n\
The same setting has a name in each place. A variable counts with the prefix `CALICO_`, too, which goes before the one without. `calicoctl` reads the file that `-c`\n\
names, or `/etc/calico/calicoctl.cfg`, and where there is no file the variables; the plugins read the field of their configuration, and where there is none the variable.\n\n\
| variable | field of the file | field of the plugins' configuration | meaning |\n|---|---|---|---|\n",
    );
    for spelling in setup::spellings() {
        let code = |text: &str| if text.is_empty() { String::new() } else { format!("`{text}`") };
        let cni = spelling.cni.iter().map(|field| code(field)).collect::<Vec<_>>().join(", ");
        let (variable, file) = (code(spelling.variable), code(spelling.file));
        text.push_str(&format!("| {variable} | {file} | {cni} | {} |\n", meaning(spelling.field)));
    }
    text
}
