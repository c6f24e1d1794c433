//! Dataplanes other than the kernel's. Calico lets a program of the operator's attach the container then
//! (`cni-plugin/pkg/dataplane/dataplane.go`); this plugin has no such program, and refuses.

use cni::CniError;
use cni::conf::Conf;
use golang::json::type_name as json_type;
use serde_json::Value as Json;

const REMEDY: &str = "containers are wired in Linux here and nowhere else: take dataplane_options out of the network configuration, or attach them with Calico's own plugin";

/// Refuses a configuration that asks for another dataplane than Linux.
///
/// # Errors
/// Code 999; the error names the dataplane.
pub fn refuse(conf: &Conf) -> Result<(), CniError> {
    let wanted = match conf.any(&["dataplane_options"]) {
        None => return Ok(()),
        Some(Json::Object(options)) => options.get("type"),
        Some(other) => {
            return Err(CniError::internal(format!(
                "failed to load netconf: json: cannot unmarshal {} into Go struct field NetConf.dataplane_options of type map[string]interface {{}}",
                json_type(other)
            )));
        }
    };
    match wanted {
        None => Ok(()),
        Some(Json::String(name)) if name == "linux" => Ok(()),
        Some(Json::String(name)) if name == "grpc" => {
            Err(CniError::internal(format!("dataplane_options.type is \"grpc\": {REMEDY}")))
        }
        Some(Json::String(name)) => Err(CniError::internal(format!(
            "Invalid dataplane type: {name} (dataplane_options.type): {REMEDY}"
        ))),
        Some(other) => Err(CniError::internal(format!(
            "Invalid dataplane type: {other} (dataplane_options.type): {REMEDY}"
        ))),
    }
}

#[cfg(test)]
mod tests {
    use cni::conf::Document;
    use serde_json::json;

    use super::*;

    #[test]
    fn only_linux() {
        let refused = |options: Json| {
            let text = json!({"name": "n", "dataplane_options": options}).to_string();
            refuse(&Document::parse(text.as_bytes()).unwrap().conf().unwrap()).err().map(|error| error.msg)
        };
        for good in [Json::Null, json!({}), json!({"type": "linux"}), json!({"socket": "/x"})] {
            assert_eq!(refused(good.clone()), None, "{good}");
        }
        for (wrong, told) in [
            (json!({"type": "grpc", "socket": "/x"}), "dataplane_options.type is \"grpc\": "),
            (json!({"type": "vpp"}), "Invalid dataplane type: vpp (dataplane_options.type): "),
            (json!({"type": ""}), "Invalid dataplane type:  (dataplane_options.type): "),
            (json!({"type": null}), "Invalid dataplane type: null "),
            (json!({"type": 5}), "Invalid dataplane type: 5 "),
            (json!("grpc"), "failed to load netconf: json: cannot unmarshal string into Go struct field "),
        ] {
            let msg = refused(wrong.clone()).unwrap_or_else(|| panic!("{wrong} is taken"));
            assert!(msg.starts_with(told), "{msg}");
        }
    }
}
