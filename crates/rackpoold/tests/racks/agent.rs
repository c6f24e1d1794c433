//! The agent of a node, as a process.

use std::fs::{self, File};
use std::path::PathBuf;
use std::process::{Child, Command, ExitStatus, Output, Stdio};

use rustix::process::{Pid, Signal, kill_process};

use crate::world::{Node, World, eventually};

/// An agent that runs, or has run.
pub struct Agent {
    process: Child,
    pub folder: PathBuf,
}

impl Agent {
    /// Starts the agent of a node, and does before what a host does once: it sets what the kernel needs.
    pub fn start(world: &World, number: usize, arguments: &[&str]) -> Agent {
        let node = &world.nodes[number];
        let set = world.rackpoold(node, &["sysctl"]);
        assert!(set.status.success(), "{}: {set:?}", node.name);
        Agent::start_again(world, number, arguments)
    }

    /// Starts the agent of a node.
    pub fn start_again(world: &World, number: usize, arguments: &[&str]) -> Agent {
        let node = &world.nodes[number];
        let folder = world.node_folder(node);
        let log = File::options().create(true).append(true).open(folder.join("log")).unwrap();
        let mut command = world.rackpoold_command(node);
        command.args(arguments);
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(log);
        Agent { process: node.host.run(|| command.spawn().unwrap()), folder }
    }

    /// Waits until the agent says that it has made the node what it must be.
    pub fn wait_for_mark(&mut self) {
        let mark = self.folder.join("mark");
        let process = &mut self.process;
        let log = self.folder.join("log");
        eventually("the agent's mark", || {
            let ended = process.try_wait().unwrap();
            assert!(ended.is_none(), "{ended:?}: {}", fs::read_to_string(&log).unwrap());
            mark.exists()
        });
    }

    /// Kills the agent. It cannot tell anybody.
    pub fn kill(mut self) {
        self.process.kill().unwrap();
        self.process.wait().unwrap();
    }

    /// Tells the agent to end, and waits until it has.
    pub fn end(mut self) -> ExitStatus {
        self.signal(Signal::TERM);
        self.process.wait().unwrap()
    }

    /// Lets the agent do nothing during some work.
    pub fn paused<T>(&self, work: impl FnOnce() -> T) -> T {
        self.signal(Signal::STOP);
        let done = work();
        self.signal(Signal::CONT);
        done
    }

    fn signal(&self, signal: Signal) {
        let pid = Pid::from_raw(i32::try_from(self.process.id()).unwrap()).unwrap();
        kill_process(pid, signal).unwrap();
    }

    pub fn log(&self) -> String {
        fs::read_to_string(self.folder.join("log")).unwrap()
    }
}

impl Drop for Agent {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

impl World {
    /// The folder of what is on a node's disk.
    pub fn node_folder(&self, node: &Node) -> PathBuf {
        let folder = self.folder.path().join(&node.name);
        fs::create_dir_all(&folder).unwrap();
        let program = folder.join("rackpoold");
        if !program.exists() {
            fs::copy(env!("CARGO_BIN_EXE_rackpoold"), program).unwrap();
        }
        folder
    }

    /// Runs another command of the agent's program on a node until it has ended.
    pub fn rackpoold(&self, node: &Node, arguments: &[&str]) -> Output {
        let mut command = self.rackpoold_command(node);
        node.host.run(|| command.args(arguments).output().unwrap())
    }

    fn rackpoold_command(&self, node: &Node) -> Command {
        let folder = self.node_folder(node);
        let detect = |has| if has { "autodetect" } else { "none" };
        let mut command = Command::new(folder.join("rackpoold"));
        command.env_clear().envs(self.environment()).current_dir(&folder);
        command.env("NODENAME", &node.name).env("CALICO_NODENAME_FILE", folder.join("nodename"));
        command.env("IP", detect(self.families.has_v4())).env("IP6", detect(self.families.has_v6()));
        command.arg("node");
        for (option, file) in [("--synced-mark", "mark"), ("--mtu-file", "mtu"), ("--notes-file", "notes")] {
            command.arg(option).arg(folder.join(file));
        }
        command
    }
}
