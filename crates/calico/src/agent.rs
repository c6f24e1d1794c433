//! Whether the node agent has made the node ready since the node's start. Before that, neither the filter nor
//! the routes of a new container are there.

use std::io;
use std::path::Path;

use cni::CniError;
use cni::conf::Conf;

/// Refuses to attach a container before the agent's first sync, where the configuration says
/// `require_agent_sync`. The agent then makes a file in a folder that is empty after a start of the node.
///
/// # Errors
/// Code 11 where the file is missing, with which the runtime tries again later; code 999 where nobody can
/// tell.
pub fn refuse_before_sync(conf: &Conf, node: &str) -> Result<(), CniError> {
    if !conf.flag(&["require_agent_sync"]) {
        return Ok(());
    }
    let file = conf.text(&["agent_sync_file"]).unwrap_or(setup::DEFAULT_AGENT_SYNC_FILE);
    match Path::new(file).metadata() {
        Ok(_) => Ok(()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            let msg = format!(
                "node {node} is not ready for containers: its agent, rackpoold node, has not finished its first sync since the node's start ({file} does not exist)"
            );
            Err(CniError::new(CniError::TRY_AGAIN, msg).with(
                "the network configuration says require_agent_sync; look whether the agent runs: rackpoold node status",
            ))
        }
        Err(error) => Err(CniError::internal(format!(
            "cannot see whether the agent of node {node} is ready: {file} (agent_sync_file): {error}"
        ))),
    }
}

#[cfg(test)]
mod tests {
    use cni::conf::Document;
    use serde_json::json;

    use super::*;

    #[test]
    fn only_where_it_is_required_and_until_the_file_is_there() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("synced");
        let check = |required: bool, file: &Path| {
            let conf = json!({"name": "n", "require_agent_sync": required, "agent_sync_file": file});
            refuse_before_sync(&Document::parse(conf.to_string().as_bytes()).unwrap().conf().unwrap(), "n1")
        };
        assert_eq!(check(false, &file), Ok(()));
        let error = check(true, &file).unwrap_err();
        assert_eq!(error.code, 11);
        for part in ["node n1", "rackpoold node", file.to_str().unwrap()] {
            assert!(error.msg.contains(part), "{error:?}");
        }
        assert!(error.details.contains("rackpoold node status"), "{error:?}");
        std::fs::write(&file, "").unwrap();
        assert_eq!(check(true, &file), Ok(()));
        let error = check(true, &file.join("x")).unwrap_err();
        assert!(error.code == 999 && error.msg.contains("agent_sync_file"), "{error:?}");
    }
}
