//! Pings that go on while something else happens.

use std::collections::BTreeSet;
use std::fs::File;
use std::io::{Read, Seek};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};

use crate::namespace::Namespace;

/// A process that sends 50 pings a second to one address.
pub struct Pings {
    to: String,
    process: Child,
    said: File,
}

impl Pings {
    /// Begins to ping. The first answer has come when this returns.
    pub fn start(from: &Namespace, to: &str) -> Pings {
        from.sh(&format!("ping -q -n -c 1 -w 10 {to}"));
        let said = tempfile::tempfile().unwrap();
        let out = said.try_clone().unwrap();
        let process = from.run(|| {
            // An answer that is late by seconds counts as one, for the machine may be busy.
            let mut ping = Command::new("ping");
            ping.args(["-n", "-i", "0.02", "-W", "10", to]);
            ping.stdin(Stdio::null()).stdout(out).spawn().unwrap()
        });
        Pings { to: to.to_string(), process, said }
    }

    /// Stops. Gives how many pings were sent, and the numbers of those that nobody answered. The very last
    /// one does not count: it may have been on its way.
    pub fn stop(mut self) -> (u32, Vec<u32>) {
        thread::sleep(Duration::from_millis(200));
        let pid = Pid::from_raw(i32::try_from(self.process.id()).unwrap()).unwrap();
        kill_process(pid, Signal::INT).unwrap();
        self.process.wait().unwrap();
        let mut said = String::new();
        self.said.rewind().unwrap();
        self.said.read_to_string(&mut said).unwrap();
        let summary = said.lines().find_map(|line| line.split_once(" packets transmitted"));
        let (sent, _) = summary.unwrap_or_else(|| panic!("ping {}: {said}", self.to));
        let sent: u32 = sent.parse().unwrap();
        let number = |line: &str| -> Option<u32> {
            line.contains("bytes from")
                .then(|| line.split("icmp_seq=").nth(1)?.split(' ').next()?.parse().ok())?
        };
        let answered: BTreeSet<u32> = said.lines().filter_map(number).collect();
        (sent, (1..sent).filter(|number| !answered.contains(number)).collect())
    }

    /// Stops. Every ping must have been answered. Gives how many there were.
    pub fn stop_without_loss(self) -> u32 {
        let to = self.to.clone();
        let (sent, lost) = self.stop();
        assert!(lost.is_empty(), "of {sent} pings to {to} these were not answered: {lost:?}");
        sent
    }
}

impl Drop for Pings {
    fn drop(&mut self) {
        // Where a test has failed, nobody has stopped the process.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}
