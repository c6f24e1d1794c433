//! Waits until the node agent has made its rules for a pod. The agent then writes a file with the endpoint's
//! name (`cni-plugin/pkg/wait/wait.go`, `WorkloadEndpointKeyToStatusFilename` in `libcalico-go/lib/names`).

use std::path::Path;
use std::time::Duration;

use api::capability::Backend;
use cni::CniError;
use cni::conf::Conf;
use cni::log::Level;
use store::Store;

use crate::names::Names;
use crate::request::Request;

/// The folder of the node agent's files unless the configuration names another one.
const FOLDER: &str = "/var/run/calico/endpoint-status";
const LOOK: Duration = Duration::from_millis(50);

/// How long a pod waits for its rules; `None` if it does not wait.
///
/// # Errors
/// Code 999 for a negative time.
pub fn patience(conf: &Conf) -> Result<Option<Duration>, CniError> {
    let field = "policy_setup_timeout_seconds";
    match u64::try_from(conf.number(&[field])) {
        Ok(0) => Ok(None),
        Ok(seconds) => Ok(Some(Duration::from_secs(seconds))),
        Err(_) => Err(CniError::internal(format!(
            "invalid pod startup delay of {}: set {field} to a number of seconds, or to 0 for none",
            conf.number(&[field])
        ))),
    }
}

/// Waits for the endpoint's file. A pod whose file does not come in time starts all the same; the log says
/// so.
pub async fn for_policy(request: &Request<'_, impl Store>, patience: Duration) {
    let folder = request.ask.conf.text(&["endpoint_status_dir"]).unwrap_or(FOLDER);
    let file = Path::new(folder).join(file_name(&request.names, request.site.backend));
    let end = request.site.clock.elapsed().saturating_add(patience);
    while !file.exists() {
        if request.site.clock.elapsed() >= end {
            let line = format!(
                "the node agent did not write {} within {patience:?}: the pod starts, perhaps before its policy is in force",
                file.display()
            );
            request.log.say(Level::Error, line);
            return;
        }
        tokio::time::sleep(LOOK).await;
    }
}

/// The name of an endpoint's file, such as `k8s default%2Fnginx-0 eth0`: orchestrator, workload and
/// interface, each escaped like a part of a URL's path.
fn file_name(names: &Names, backend: Backend) -> String {
    let workload = match names.is_pod() {
        true => format!("{}/{}", names.namespace, names.ids.pod),
        false => names.container.clone(),
    };
    // In Kubernetes, the interface of every pod has this name in the file's name.
    let interface = if backend == Backend::Kubernetes { "eth0" } else { &names.ids.endpoint };
    [&names.ids.orchestrator, &workload, interface].map(escape).join(" ")
}

/// Escapes a text as Go's `url.PathEscape` does.
fn escape(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for byte in text.bytes() {
        match byte {
            b'$' | b'&' | b'+' | b'=' | b':' | b'@' | b'-' | b'_' | b'.' | b'~' => out.push(byte.into()),
            _ if byte.is_ascii_alphanumeric() => out.push(byte.into()),
            _ => out.push_str(&format!("%{byte:02X}")),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use cni::Call;
    use cni::args::Args;
    use cni::conf::Document;

    use super::*;

    #[test]
    fn the_file() {
        let call = Call { interface: "n%1".to_string(), ..Call::for_test() };
        let args = Args { pod: "web-0".to_string(), namespace: "default".to_string(), ..Args::default() };
        let names = Names::new("n1", &call, &args, "cali").unwrap();
        assert_eq!(file_name(&names, Backend::Kubernetes), "k8s default%2Fweb-0 eth0");
        assert_eq!(file_name(&names, Backend::Etcd), "k8s default%2Fweb-0 n%251");
    }

    #[test]
    fn how_long() {
        let patience = |seconds: i64| {
            let text = format!(r#"{{"name":"n","policy_setup_timeout_seconds":{seconds}}}"#);
            patience(&Document::parse(text.as_bytes()).unwrap().conf().unwrap())
        };
        assert_eq!((patience(0), patience(7)), (Ok(None), Ok(Some(Duration::from_secs(7)))));
        assert!(patience(-1).unwrap_err().msg.starts_with("invalid pod startup delay of -1"));
    }
}
