//! The node to which containers are attached.

use std::fs;
use std::io;

use cni::CniError;
use cni::conf::Conf;

/// The node's name: from the configuration, or from the file that the configuration names.
///
/// # Errors
/// Code 999 where the node is not ready for containers, or has no name.
pub fn name(conf: &Conf) -> Result<String, CniError> {
    check_file(conf)?;
    name_at_any_time(conf)
}

/// As [`name`], but also while the node is not ready for containers.
///
/// # Errors
/// Code 999 where the node has no name.
pub fn name_at_any_time(conf: &Conf) -> Result<String, CniError> {
    let text = |field: &str| conf.text(&[field]);
    setup::node_name(text("nodename"), text("nodename_file"), text("hostname")).map_err(CniError::internal)
}

/// The node agent writes the file with the node's name when the node is ready for containers. Without that
/// file every call is refused.
fn check_file(conf: &Conf) -> Result<(), CniError> {
    if conf.flag(&["nodename_file_optional"]) {
        return Ok(());
    }
    let file = conf.text(&["nodename_file"]).unwrap_or(setup::DEFAULT_NODENAME_FILE);
    match fs::metadata(file) {
        Ok(_) => Ok(()),
        Err(error) => {
            let reason = match error.kind() {
                io::ErrorKind::NotFound => "no such file or directory".to_string(),
                io::ErrorKind::PermissionDenied => "permission denied".to_string(),
                _ => error.to_string(),
            };
            Err(CniError::internal(format!(
                "stat {file}: {reason}: check that the calico/node container is running and has mounted /var/lib/calico/"
            )))
        }
    }
}

#[cfg(test)]
mod tests {
    use cni::conf::Document;

    use super::*;

    /// The end of the error text was recorded from Calico.
    #[test]
    fn nothing_begins_without_the_nodes_name() {
        let check = |text: &str| check_file(&Document::parse(text.as_bytes()).unwrap().conf().unwrap());
        let error = check(r#"{"name":"n","nodename_file":"/nowhere/x"}"#).unwrap_err();
        assert!(error.msg.starts_with("stat /nowhere/x: no such file or directory: check that"), "{error:?}");
        let optional = r#"{"name":"n","nodename_file":"/nowhere/x","nodename_file_optional":true}"#;
        assert!(check(optional).is_ok());
    }
}
