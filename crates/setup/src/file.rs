//! The configuration file (`libcalico-go/lib/apiconfig/load.go`).

use golang::json::type_name as json_type;
use serde_json::{Map, Value as Json};

use crate::error::SetupError;
use crate::fields::{TABLE, Type};
use crate::settings::{Origin, Settings};

const KIND: &str = "CalicoAPIConfig";

impl Settings {
    /// Reads a configuration file. `document` is its content, parsed as YAML or JSON; `path` is the file as
    /// the user named it, for messages. With a file, Calico reads no environment variables, and neither does
    /// this.
    ///
    /// # Errors
    /// For unknown fields, wrong types, and another `apiVersion` or `kind`.
    pub fn from_file(path: &str, document: &Json) -> Result<Settings, SetupError> {
        let wrong = |reason: String| SetupError::File { path: path.to_string(), reason };
        let decoding = |reason: String| {
            let while_decoding = "error unmarshaling JSON: while decoding JSON";
            wrong(format!("failed to parse config as YAML/JSON: {while_decoding}: json: {reason}"))
        };
        let document = object(document, "Go value of type apiconfig.CalicoAPIConfig").map_err(decoding)?;
        let (mut version, mut kind) = (String::new(), String::new());
        let mut settings = Settings::default();
        for (name, value) in document.into_iter().flatten() {
            match name.to_ascii_lowercase().as_str() {
                "apiversion" => {
                    version = text(Type::Text, value, "apiVersion").map_err(decoding)?.unwrap_or_default()
                }
                "kind" => kind = text(Type::Text, value, "kind").map_err(decoding)?.unwrap_or_default(),
                "metadata" => {
                    object(value, "Go struct field CalicoAPIConfig.metadata of type v1.ObjectMeta")
                        .map_err(decoding)?;
                }
                "spec" => settings.read_spec(path, value).map_err(decoding)?,
                _ => return Err(decoding(unknown_field(name))),
            }
        }
        if version != api::resource::API_VERSION {
            return Err(wrong(format!(
                "invalid config file: unknown APIVersion '{}'",
                outside::shown_word(&version)
            )));
        }
        if kind != KIND {
            return Err(wrong(format!(
                "invalid config file: expected kind '{KIND}', got '{}'",
                outside::shown_word(&kind)
            )));
        }
        Ok(settings)
    }

    fn read_spec(&mut self, path: &str, spec: &Json) -> Result<(), String> {
        let whole = "Go struct field CalicoAPIConfig.spec of type apiconfig.CalicoAPIConfigSpec";
        for (name, value) in object(spec, whole)?.into_iter().flatten() {
            let row = TABLE
                .iter()
                .find(|row| row.file.eq_ignore_ascii_case(name))
                .ok_or_else(|| unknown_field(name))?;
            if let Some(value) = text(row.kind, value, &format!("spec.{}", row.file))? {
                self.set(row.field, &value, Origin::File { field: row.file, path: path.to_string() });
            }
        }
        Ok(())
    }
}

/// The message names the unknown field only where the text looks like a field's name. It may instead be a
/// secret next to a missing blank (`etcdPassword:x`).
fn unknown_field(name: &str) -> String {
    match name.len() <= 40 && name.chars().all(|c| c.is_ascii_alphanumeric()) {
        true => format!("unknown field \"{name}\""),
        false => "unknown field, whose name is none: is the blank after a colon missing?".to_string(),
    }
}

fn object<'j>(value: &'j Json, wanted: &str) -> Result<Option<&'j Map<String, Json>>, String> {
    match value {
        Json::Object(map) => Ok(Some(map)),
        Json::Null => Ok(None),
        other => Err(format!("cannot unmarshal {} into {wanted}", json_type(other))),
    }
}

/// The value as text. A text field also takes an unquoted number or truth value, as Calico's YAML reader
/// converts it to the type of the field.
fn text(kind: Type, value: &Json, field: &str) -> Result<Option<String>, String> {
    match (kind, value) {
        (_, Json::Null) => Ok(None),
        (Type::Text, Json::String(text)) => Ok(Some(text.clone())),
        (Type::Text | Type::Float, Json::Number(number)) => Ok(Some(number.to_string())),
        (Type::Int, Json::Number(number)) if number.is_i64() => Ok(Some(number.to_string())),
        (Type::Text | Type::Bool, Json::Bool(truth)) => Ok(Some(truth.to_string())),
        (kind, other) => {
            let (found, wanted) = (json_type(other), kind.go());
            Err(format!(
                "cannot unmarshal {found} into Go struct field CalicoAPIConfig.{field} of type {wanted}"
            ))
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::fields::Field;

    fn read(document: Json) -> Result<Settings, String> {
        Settings::from_file("x.cfg", &document).map_err(|e| e.to_string())
    }

    #[test]
    fn a_file_is_read() {
        let settings = read(json!({
            "apiVersion": "projectcalico.org/v3", "kind": "CalicoAPIConfig", "metadata": null,
            "spec": {"datastoreType": "etcdv3", "etcdendpoints": "http://a:1", "etcdPassword": 7,
                     "k8sClientQPS": 1.5, "k8sDisableNodePoll": true, "kubeconfig": "", "rackpoolDB": "/x"}
        }))
        .unwrap();
        assert_eq!(settings.value(Field::EtcdEndpoints), Some("http://a:1"));
        assert_eq!(settings.value(Field::EtcdPassword), Some("7"));
        assert_eq!(settings.value(Field::K8sClientQps), Some("1.5"));
        assert_eq!(settings.value(Field::K8sDisableNodePoll), Some("true"));
        assert_eq!(settings.value(Field::RackpoolDb), Some("/x"));
        assert_eq!(settings.get(Field::Kubeconfig), None);
        assert_eq!(
            settings.get(Field::DatastoreType).unwrap().quoted(),
            "datastoreType in x.cfg = \"etcdv3\""
        );
    }

    /// Recorded in 135-config-file, except for the last two.
    #[test]
    fn what_is_wrong_with_a_file_is_said_as_recorded() {
        let (v, k) = ("projectcalico.org/v3", "CalicoAPIConfig");
        let decoding =
            "failed to parse config as YAML/JSON: error unmarshaling JSON: while decoding JSON: json: ";
        let rows = [
            (json!(null), "invalid config file: unknown APIVersion ''".to_string()),
            (
                json!({"apiVersion": "v1", "kind": k}),
                "invalid config file: unknown APIVersion 'v1'".to_string(),
            ),
            (
                json!({"apiVersion": v, "kind": "Other"}),
                "invalid config file: expected kind 'CalicoAPIConfig', got 'Other'".to_string(),
            ),
            (
                json!({"apiVersion": v, "kind": k, "spec": {"nonsense": 1}}),
                format!("{decoding}unknown field \"nonsense\""),
            ),
            (json!({"colour": 1}), format!("{decoding}unknown field \"colour\"")),
            (
                json!({"apiVersion": v, "kind": k, "spec": {"usePodCIDR": "yes"}}),
                format!(
                    "{decoding}cannot unmarshal string into Go struct field CalicoAPIConfig.spec.usePodCIDR of type bool"
                ),
            ),
        ];
        for (document, reason) in rows {
            assert_eq!(read(document), Err(format!("syntax error in x.cfg: {reason}")));
        }
    }
}
