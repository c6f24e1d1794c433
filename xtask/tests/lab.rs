//! A lab leaves nothing behind: after it is ended, after its supervisor is killed, and after its start is
//! interrupted.
#![allow(clippy::unwrap_used, clippy::print_stderr, reason = "tests")]

use std::fs;
use std::io::{BufRead, BufReader, Read};
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::sync::Once;
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};
use servers::kube_server;
use tempfile::TempDir;

/// How often the test checks whether everything is gone, and how long it waits in between.
const LOOKS: u32 = 600;
const PAUSE: Duration = Duration::from_millis(100);

/// Whether this machine lacks something that a lab needs and that cannot be installed. If so, prints that.
fn is_left_out() -> bool {
    let is_there = |name: &str| {
        Command::new("sh").args(["-c", "command -v $0", name]).output().unwrap().status.success()
    };
    let reason = if !rustix::process::geteuid().is_root() {
        "the lab takes root"
    } else if !is_there("apt-get") && !is_there("containerd") {
        "there is no containerd, and no apt-get to install it with"
    } else if !Path::new("/sys/fs/cgroup/memory").is_dir() {
        "the lab takes control groups of version 1"
    } else {
        return kube_server::is_left_out();
    };
    eprintln!("left out: {reason}");
    true
}

/// A place in which a test starts labs, and in which it can see what they leave.
struct Place {
    folder: TempDir,
}

impl Place {
    fn new() -> Place {
        // Only one installation may run at a time.
        static PREPARED: Once = Once::new();
        let folder = TempDir::with_prefix("lab-test-").unwrap();
        fs::create_dir(folder.path().join("tmp")).unwrap();
        let place = Place { folder };
        PREPARED.call_once(|| drop(place.succeed(&["prepare"])));
        place
    }

    fn lab(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_xtask-whole"));
        // The file that names the running lab is in the target folder, so this place has its own.
        command.arg("lab").args(arguments).env("CARGO_TARGET_DIR", self.folder.path());
        command.env("TMPDIR", self.tmp()).stdin(Stdio::null());
        command
    }

    fn succeed(&self, arguments: &[&str]) -> String {
        let Output { status, stdout, stderr } = self.lab(arguments).output().unwrap();
        let (out, err) = (String::from_utf8_lossy(&stdout), String::from_utf8_lossy(&stderr));
        assert!(status.success(), "lab {arguments:?}: {out}{err}");
        out.into_owned()
    }

    fn tmp(&self) -> PathBuf {
        self.folder.path().join("tmp")
    }

    /// The folder of the lab that was started here.
    fn lab_folder(&self) -> PathBuf {
        let entries: Vec<_> = fs::read_dir(self.tmp()).unwrap().map(|entry| entry.unwrap().path()).collect();
        assert_eq!(entries.len(), 1, "{entries:?}");
        entries[0].clone()
    }

    /// Every process whose command line names this place.
    fn processes(&self) -> Vec<(i32, String)> {
        let mut found = Vec::new();
        for entry in fs::read_dir("/proc").unwrap().flatten() {
            let Some(pid) = entry.file_name().to_str().and_then(|name| name.parse().ok()) else { continue };
            let line = fs::read(entry.path().join("cmdline")).unwrap_or_default();
            let line = String::from_utf8_lossy(&line).replace('\0', " ");
            if line.contains(&*self.tmp().to_string_lossy()) {
                found.push((pid, line));
            }
        }
        found
    }

    /// What is left of labs: processes, files, visible mounts, control groups.
    fn left(&self, groups: &[PathBuf]) -> Vec<String> {
        let mut left: Vec<String> = self.processes().into_iter().map(|(_, line)| line).collect();
        left.extend(
            fs::read_dir(self.tmp()).unwrap().map(|entry| entry.unwrap().path().display().to_string()),
        );
        let mounts = fs::read_to_string("/proc/self/mountinfo").unwrap();
        let tmp = self.tmp().display().to_string();
        left.extend(mounts.lines().filter(|line| line.contains(&tmp)).map(str::to_string));
        left.extend(groups.iter().filter(|group| group.exists()).map(|group| group.display().to_string()));
        left
    }

    fn wait_until_nothing_is_left(&self, groups: &[PathBuf]) {
        for _ in 0..LOOKS {
            if self.left(groups).is_empty() {
                return;
            }
            std::thread::sleep(PAUSE);
        }
        panic!("this is left:\n{}", self.left(groups).join("\n"));
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        // If the test has failed, a lab may be left. There may also be none.
        let _ = self.lab(&["down"]).output();
    }
}

/// The control groups of a lab.
fn groups(lab: &Path) -> Vec<PathBuf> {
    let text = fs::read_to_string(lab.join("lab.json")).unwrap();
    let site: serde_json::Value = serde_json::from_str(&text).unwrap();
    let groups = site["hierarchies"].as_array().unwrap().iter();
    let groups: Vec<_> = groups.map(|group| PathBuf::from(group["folder"].as_str().unwrap())).collect();
    assert!(groups.iter().all(|group| group.is_dir()), "{groups:?}");
    groups
}

fn kill(process: i32, signal: Signal) {
    kill_process(Pid::from_raw(process).unwrap(), signal).unwrap();
}

#[test]
fn an_ended_lab_leaves_nothing() {
    if is_left_out() {
        return;
    }
    let place = Place::new();
    place.succeed(&["up", "--nodes", "2"]);
    let groups = groups(&place.lab_folder());
    let kubectl = |arguments: &[&str]| place.succeed(&[&["shell", "--", "kubectl"], arguments].concat());
    kubectl(&["create", "deployment", "nginx", "--image", "nginx", "--replicas", "2"]);
    kubectl(&["rollout", "status", "deployment/nginx", "--timeout=300s"]);
    let template = "jsonpath={range .items[*]}{.metadata.name} {.spec.nodeName} {.status.podIP}\n{end}";
    let pods = kubectl(&["get", "pods", "-o", template]);
    assert_eq!(pods.lines().count(), 2, "{pods}");
    for pod in pods.lines() {
        let [name, node, address] = pod.split(' ').collect::<Vec<_>>()[..] else { panic!("{pod}") };
        // bash can send an HTTP request by itself.
        let script =
            format!("exec 3<>/dev/tcp/{address}/80; printf 'GET / HTTP/1.0\\r\\n\\r\\n' >&3; cat <&3");
        for from in ["kube-node-0", "kube-node-1"] {
            let answer = place.succeed(&["shell", "--node", from, "--", "bash", "-c", &script]);
            assert!(answer.trim_end().ends_with(name), "{name} on {node} from {from}: {answer}");
        }
    }
    let on_node =
        |words: &[&str]| place.succeed(&[&["shell", "--node", "kube-node-1", "--"], words].concat());
    on_node(&["touch", "/var/lib/mark", "/run/mark"]);
    place.succeed(&["restart", "kube-node-1"]);
    assert_eq!(on_node(&["sh", "-c", "ls /var/lib/mark /run/mark || true"]), "/var/lib/mark\n");
    place.succeed(&["down"]);
    // There is nothing to wait for: the command has reported the end.
    assert_eq!(place.left(&groups), Vec::<String>::new());
}

#[test]
fn a_killed_supervisor_leaves_nothing() {
    if is_left_out() {
        return;
    }
    let place = Place::new();
    place.succeed(&["up", "--nodes", "1"]);
    let groups = groups(&place.lab_folder());
    let line = fs::read_to_string(place.lab_folder().join("pid")).unwrap();
    // The cluster's first process is the child of unshare, and that is the child of the supervisor.
    let parent = |process: &str| {
        let status = fs::read_to_string(format!("/proc/{process}/status")).unwrap();
        status.lines().find_map(|line| line.strip_prefix("PPid:\t")).unwrap().to_string()
    };
    kill(parent(&parent(&line)).parse().unwrap(), Signal::KILL);
    place.wait_until_nothing_is_left(&groups);
}

#[test]
fn an_interrupted_start_leaves_nothing() {
    if is_left_out() {
        return;
    }
    let place = Place::new();
    let mut up =
        place.lab(&["up", "--nodes", "1"]).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let mut lines = BufReader::new(up.stdout.take().unwrap()).lines();
    while !lines.next().expect("it tells that it boots").unwrap().contains("booting") {}
    let groups = groups(&place.lab_folder());
    kill(up.id().try_into().unwrap(), Signal::INT);
    let status = up.wait().unwrap();
    let mut error = String::new();
    up.stderr.take().unwrap().read_to_string(&mut error).unwrap();
    assert!(!status.success(), "{status}: {error}");
    place.wait_until_nothing_is_left(&groups);
}
