//! Pods that ping each other and the outside all the time, so that no lost packet stays unknown.

use std::process::{Child, Stdio};

use anyhow::{Context, Result, ensure};

use xtask::guide::terminal::output;

use super::kubernetes::{Pod, Stage};
use super::reach::OUTSIDE;

/// The seconds between two packets.
const PAUSE: &str = "0.02";

/// Running pings. Each is a process on a node, in the network of a pod there.
pub(super) struct Pings<'a> {
    stage: &'a Stage<'a>,
    running: Vec<Ping>,
}

struct Ping {
    what: String,
    node: String,
    /// The file on the node with the process's number there.
    number: String,
    process: Child,
}

impl<'a> Pings<'a> {
    /// Starts them: from each of the first pods to a pod of another node, and to the outside.
    pub(super) fn start(stage: &'a Stage<'a>, pods: &[Pod]) -> Result<Pings<'a>> {
        let mut pings = Pings { stage, running: Vec::new() };
        for (count, from) in pods.iter().take(4).enumerate() {
            let others = pods.iter().filter(|pod| pod.node != from.node);
            let to = others.cycle().nth(count).context("pods on more than one node")?;
            pings.ping(from, &to.name, &to.address.to_string())?;
        }
        let from = pods.first().context("a pod")?;
        pings.ping(from, "the outside", &OUTSIDE.to_string())?;
        Ok(pings)
    }

    fn ping(&mut self, from: &Pod, to: &str, address: &str) -> Result<()> {
        let first = self.stage.first_process(from)?;
        let number = format!("/run/ping-{}.pid", self.running.len());
        let script =
            format!("echo $$ > {number}; exec nsenter --target {first} --net ping -q -i {PAUSE} {address}");
        let mut process = self.stage.lab.on_node(&from.node, "sh")?;
        process.args(["-c", &script]).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        self.running.push(Ping {
            what: format!("{} on {} to {to}", from.name, from.node),
            node: from.node.clone(),
            number,
            process: process.spawn().context("ping")?,
        });
        Ok(())
    }

    /// Ends them. Gives how many packets were answered; an error if one was not.
    pub(super) fn end(mut self) -> Result<String> {
        let (mut all, count) = (0, self.running.len());
        for ping in std::mem::take(&mut self.running) {
            self.stop(&ping)?;
            let out = ping.process.wait_with_output()?;
            let said = String::from_utf8_lossy(&out.stdout);
            let (sent, received) = counts(&said)
                .with_context(|| format!("{}: {said}{}", ping.what, String::from_utf8_lossy(&out.stderr)))?;
            ensure!(sent == received && sent > 0, "{}: {said}", ping.what);
            all += sent;
        }
        Ok(format!("ok: {all} packets of {count} pings, 50 a second each, were answered, and none was lost"))
    }

    fn stop(&self, ping: &Ping) -> Result<()> {
        let script = format!("kill -INT $(cat {})", ping.number);
        output(self.stage.lab.on_node(&ping.node, "sh")?.args(["-c", &script]), "").map(drop)
    }
}

impl Drop for Pings<'_> {
    fn drop(&mut self) {
        for ping in &mut self.running {
            // The lab ends, too, and may have ended.
            let _ = ping.process.kill();
            let _ = ping.process.wait();
        }
    }
}

/// The numbers of packets that were sent and answered, as ping says them at its end.
fn counts(said: &str) -> Option<(u64, u64)> {
    let line = said.lines().find(|line| line.contains(" packets transmitted, "))?;
    let mut numbers = line.split(", ").map(|part| part.split(' ').next().and_then(|word| word.parse().ok()));
    Some((numbers.next()??, numbers.next()??))
}

#[cfg(test)]
mod tests {
    #[test]
    fn pings_last_words() {
        let said = "\n--- 10.0.0.1 ping statistics ---\n7 packets transmitted, 6 received, 14% packet loss, time 9ms\n";
        assert_eq!(super::counts(said), Some((7, 6)));
        assert_eq!(super::counts("ping: bad address"), None);
    }
}
