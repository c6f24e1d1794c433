//! `CNI_ARGS`: `K1=V1;K2=V2` (`containernetworking/cni/pkg/types/args.go`).

use std::net::IpAddr;

use golang::strconv::quote;

use crate::error::CniError;

/// The arguments in `CNI_ARGS` that the plugins use.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Args {
    /// The address that the caller asks for.
    pub ip: Option<IpAddr>,
    /// The pod's name; empty for none.
    pub pod: String,
    /// The pod's namespace; empty for none.
    pub namespace: String,
    /// The namespace of a workload that is not a pod; empty for none. (Calico's tests set it.)
    pub test_namespace: String,
    /// The hardware address that the container is to have, as written; empty for none. (Calico ignores it.)
    pub mac: String,
}

/// The names of the pod's keys. They need `IgnoreUnknown`: Calico reads the text twice, and the second time
/// it does not know these keys.
const POD: [&str; 3] = ["K8S_POD_NAME", "K8S_POD_NAMESPACE", "K8S_POD_INFRA_CONTAINER_ID"];

impl Args {
    /// Reads the text. If a key occurs twice, the later value counts.
    ///
    /// # Errors
    /// For pieces without exactly one `=`, for bad values, and for unknown keys without `IgnoreUnknown`. The
    /// error texts are those of the CNI library.
    pub fn parse(text: &str) -> Result<Args, CniError> {
        let mut args = Args::default();
        if text.is_empty() {
            return Ok(args);
        }
        let (mut unknown, mut unknown_to_ipam, mut ignore) = (Vec::new(), Vec::new(), false);
        for pair in text.split(';') {
            let invalid = || CniError::internal(format!("ARGS: invalid pair {}", quote(pair)));
            let (key, value) =
                pair.split_once('=').filter(|(_, value)| !value.contains('=')).ok_or_else(invalid)?;
            let bad = |reason: String| {
                let pair = quote(pair);
                CniError::internal(format!("ARGS: error parsing value of pair {pair}: {reason}"))
            };
            match key {
                "IgnoreUnknown" => ignore = truth(value).map_err(bad)?,
                "IP" => args.ip = address(value).map_err(bad)?,
                "K8S_POD_NAME" => args.pod = value.to_string(),
                "K8S_POD_NAMESPACE" => args.namespace = value.to_string(),
                key if POD.contains(&key) => {}
                _ => {
                    match key {
                        "CNI_TEST_NAMESPACE" => args.test_namespace = value.to_string(),
                        "MAC" => args.mac = value.to_string(),
                        _ => {}
                    }
                    unknown.push(quote(pair));
                }
            }
            if key != "IgnoreUnknown" && key != "IP" {
                unknown_to_ipam.push(quote(pair));
            }
        }
        let refused = if unknown.is_empty() { unknown_to_ipam } else { unknown };
        if !refused.is_empty() && !ignore {
            return Err(CniError::internal(format!("ARGS: unknown args [{}]", refused.join(" "))));
        }
        Ok(args)
    }

    /// Whether the request is for a Kubernetes pod: both its name and its namespace are given.
    pub fn is_pod(&self) -> bool {
        !self.pod.is_empty() && !self.namespace.is_empty()
    }
}

fn truth(text: &str) -> Result<bool, String> {
    match text.to_lowercase().as_str() {
        "1" | "true" => Ok(true),
        "0" | "false" => Ok(false),
        other => Err(format!("boolean unmarshal error: invalid input {other}")),
    }
}

fn address(text: &str) -> Result<Option<IpAddr>, String> {
    if text.is_empty() {
        return Ok(None);
    }
    api::cidr::parse_addr(text).map(Some).ok_or_else(|| format!("invalid IP address: {text}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(text: &str) -> String {
        Args::parse(text).unwrap_err().msg
    }

    /// The answers were recorded from Calico.
    #[test]
    fn as_recorded() {
        assert_eq!(Args::parse(""), Ok(Args::default()));
        let pod =
            Args::parse("IgnoreUnknown=1;K8S_POD_NAMESPACE=ns;K8S_POD_NAME=a;K8S_POD_UID=x;IP=10.10.0.7")
                .unwrap();
        assert_eq!((pod.pod.as_str(), pod.namespace.as_str()), ("a", "ns"));
        assert_eq!(pod.ip, Some("10.10.0.7".parse().unwrap()));
        let other = Args::parse("IgnoreUnknown=1;CNI_TEST_NAMESPACE=team-a").unwrap();
        assert_eq!((other.test_namespace.as_str(), other.is_pod()), ("team-a", false));
        assert_eq!(Args::parse("IgnoreUnknown=1;MAC=02:00:00:00:00:01").unwrap().mac, "02:00:00:00:00:01");
        assert!(pod.is_pod() && !Args::parse("IgnoreUnknown=true;K8S_POD_NAME=a").unwrap().is_pod());
        assert_eq!(Args::parse("IP=10.10.0.7;IP=10.10.0.8").unwrap().ip, Some("10.10.0.8".parse().unwrap()));
        assert_eq!(Args::parse("IgnoreUnknown=0;IP=").unwrap().ip, None);

        let bad_truth = r#"ARGS: error parsing value of pair "IgnoreUnknown=yes": boolean unmarshal error: invalid input yes"#;
        let rows = [
            ("IgnoreUnknown=yes", bad_truth),
            ("FOO=bar", r#"ARGS: unknown args ["FOO=bar"]"#),
            ("IgnoreUnknown=1;FOO", r#"ARGS: invalid pair "FOO""#),
            ("IgnoreUnknown=1;FOO=a=b", r#"ARGS: invalid pair "FOO=a=b""#),
            ("IgnoreUnknown=1;", r#"ARGS: invalid pair """#),
            ("=", r#"ARGS: unknown args ["="]"#),
            ("ip=10.10.0.7", r#"ARGS: unknown args ["ip=10.10.0.7"]"#),
            (
                "IP=10.10.0.7/28",
                r#"ARGS: error parsing value of pair "IP=10.10.0.7/28": invalid IP address: 10.10.0.7/28"#,
            ),
            (
                "IP= 10.10.0.7",
                r#"ARGS: error parsing value of pair "IP= 10.10.0.7": invalid IP address:  10.10.0.7"#,
            ),
            (
                "K8S_POD_NAME=a;K8S_POD_NAMESPACE=default",
                r#"ARGS: unknown args ["K8S_POD_NAME=a" "K8S_POD_NAMESPACE=default"]"#,
            ),
        ];
        for (text, wanted) in rows {
            assert_eq!(refused(text), wanted);
        }
    }

    #[test]
    fn an_address_in_two_spellings_is_one() {
        assert_eq!(Args::parse("IP=::ffff:10.0.0.1").unwrap().ip, Some("10.0.0.1".parse().unwrap()));
    }
}
