//! The `status` of the KubeControllersConfiguration. It names what this program does: controllers that it
//! does not have are not in it.

use serde_json::{Map, Value as Json, json};

use super::read::{LogLevel, Reader, text};
use super::{DEFAULT_COMPACTION, Settings, SettingsError};

/// The status, as Calico's kube-controllers write it.
///
/// # Errors
/// For a variable that makes no sense.
pub fn status(
    reader: &mut Reader<'_>,
    settings: &Settings,
    log_level: LogLevel,
    is_kubernetes: bool,
) -> Result<Json, SettingsError> {
    let compaction = reader.compaction_period(DEFAULT_COMPACTION)?;
    let mut controllers = Map::new();
    // Calico's status names this migration always.
    controllers.insert("migration".to_string(), json!({"policyNameMigrator": "Enabled"}));
    if settings.collects {
        controllers.insert("node".to_string(), node(reader, settings));
        if is_kubernetes {
            reader.heeded.insert("DATASTORE_TYPE", "kubernetes".to_string());
        }
    }
    let switch = |is_on: bool| if is_on { "Enabled" } else { "Disabled" };
    Ok(json!({
        "environmentVars": reader.heeded,
        "runningConfig": {
            "controllers": controllers,
            "etcdV3CompactionPeriod": text(compaction),
            "healthChecks": switch(settings.health_checks),
            "logSeverityScreen": log_level.shown,
        },
    }))
}

fn node(reader: &Reader<'_>, settings: &Settings) -> Json {
    let mut node = Map::new();
    if let Some(asked) = reader.field(&["controllers", "node", "hostEndpoint"]) {
        let default = match asked["createDefaultHostEndpoint"].as_str() {
            None | Some("") => "Enabled",
            Some(mode) => mode,
        };
        let host_endpoint = json!({"autoCreate": "Disabled", "createDefaultHostEndpoint": default});
        node.insert("hostEndpoint".to_string(), host_endpoint);
    }
    let grace = settings.leak_grace.unwrap_or_default();
    node.insert("leakGracePeriod".to_string(), text(grace).into());
    node.insert("syncLabels".to_string(), "Disabled".into());
    Json::Object(node)
}
