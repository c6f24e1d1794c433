//! What a process has spent, and what the controllers have asked an API server for.

use std::fs;

use servers::kube_server::Request;

use crate::process::Process;

/// The plurals of what watches tell.
const WATCHED: [&str; 6] = ["ipamblocks", "blockaffinities", "ippools", "ipreservations", "nodes", "pods"];

/// The CPU time of a process in seconds, and the largest memory that it had, in megabytes.
pub fn spent(process: &Process) -> (f64, u64) {
    let read = |file: &str| fs::read_to_string(format!("/proc/{}/{file}", process.id())).unwrap();
    let (stat, status) = (read("stat"), read("status"));
    let fields: Vec<&str> = stat.rsplit_once(") ").unwrap().1.split(' ').collect();
    let ticks: f64 = fields[11].parse::<f64>().unwrap() + fields[12].parse::<f64>().unwrap();
    let line = status.lines().find(|line| line.starts_with("VmHWM:")).unwrap();
    (ticks / 100.0, line.split_whitespace().nth(1).unwrap().parse::<u64>().unwrap() / 1_024)
}

/// What the controllers have asked for.
#[derive(Debug, Default)]
pub struct Asked {
    /// Writes of blocks that were carried out, and those that lost against another writer.
    pub blocks: usize,
    pub block_conflicts: usize,
    pub handles: usize,
    pub handle_conflicts: usize,
    /// Lists of what is watched.
    pub lists: Vec<String>,
    pub gets: usize,
}

/// Whether all that is watched has been listed, and is watched.
pub fn all_are_watched(requests: &[Request]) -> bool {
    let is_watched = |plural: &str| {
        let mut watches = requests.iter().filter(|request| request.verb == "watch" && request.code == 200);
        watches.any(|request| request.uri.split(['/', '?']).any(|part| part == plural))
    };
    WATCHED.iter().all(|plural| is_watched(plural))
}

impl Asked {
    pub fn of(requests: &[Request]) -> Asked {
        let mut asked = Asked::default();
        for Request { verb, uri, code, .. } in requests {
            let path = uri.split('?').next().unwrap();
            let writes = matches!(verb.as_str(), "create" | "update" | "patch" | "delete");
            let of = |plural: &str| path.split('/').any(|part| part == plural);
            let count = match (writes, of("ipamblocks"), of("ipamhandles"), *code == 409) {
                (true, true, _, false) => &mut asked.blocks,
                (true, true, _, true) => &mut asked.block_conflicts,
                (true, _, true, false) => &mut asked.handles,
                (true, _, true, true) => &mut asked.handle_conflicts,
                _ if verb == "get" => &mut asked.gets,
                _ => {
                    if verb == "list" && WATCHED.iter().any(|plural| of(plural)) {
                        asked.lists.push(uri.clone());
                    }
                    continue;
                }
            };
            *count += 1;
        }
        asked
    }
}
