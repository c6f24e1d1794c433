//! `rackpoold controllers` as a process. It is killed when this is dropped.

use std::fs::File;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::PathBuf;
use std::process::{Child, Command, ExitStatus};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

pub struct Process {
    child: Child,
    log: PathBuf,
    pub health: u16,
    _dir: tempfile::TempDir,
}

impl Process {
    /// Starts it with these variables and no others, and a health port of its own.
    pub fn start(variables: &[(&str, &str)], arguments: &[&str]) -> Process {
        let dir = tempfile::tempdir().unwrap();
        let log = dir.path().join("log");
        let [health] = servers::etcd_server::free_ports::<1>();
        let child = Command::new(env!("CARGO_BIN_EXE_rackpoold"))
            .args(["controllers", "--health-port", &health.to_string()])
            .args(arguments)
            .env_clear()
            .envs(variables.iter().copied())
            .env("HOME", dir.path())
            .stderr(File::create(&log).unwrap())
            .spawn()
            .unwrap();
        Process { child, log, health, _dir: dir }
    }

    pub fn id(&self) -> u32 {
        self.child.id()
    }

    pub fn log(&self) -> String {
        std::fs::read_to_string(&self.log).unwrap()
    }

    pub fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.child), signal).unwrap();
    }

    /// Waits for the end.
    pub fn end(&mut self, within: Duration) -> ExitStatus {
        let by = Instant::now() + within;
        loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                return status;
            }
            assert!(Instant::now() < by, "it does not end:\n{}", self.log());
            std::thread::sleep(Duration::from_millis(20));
        }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Asks for a page. Gives the status and the whole answer; `None` where nobody answers.
pub fn get(port: u16, path: &str) -> Option<(u16, String)> {
    ask(port, &format!("GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"))
}

/// Sends these bytes.
pub fn ask(port: u16, question: &str) -> Option<(u16, String)> {
    let mut stream = TcpStream::connect(("127.0.0.1", port)).ok()?;
    stream.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
    stream.write_all(question.as_bytes()).ok()?;
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).ok()?;
    let answer = String::from_utf8(answer).ok()?;
    let status = answer.split(' ').nth(1)?.parse().ok()?;
    Some((status, answer))
}

/// Waits until something holds.
pub fn until(what: &str, within: Duration, mut holds: impl FnMut() -> bool) {
    let by = Instant::now() + within;
    while !holds() {
        assert!(Instant::now() < by, "not in time: {what}");
        std::thread::sleep(Duration::from_millis(50));
    }
}
