//! A node between two pods and the outside, in namespaces.
//!
//! ```text
//! pod1 (10.81.1.2, 2001:db8:81:1::2)  cali1 \
//!                                            node eth0 (10.77.1.1, 2001:db8:77::1) -- outside (.9, ::9)
//! pod2 (10.82.1.2, 2001:db8:82:1::2)  cali2 /
//! ```

use std::net::{SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::process::{Command, Stdio};
use std::thread;
use std::time::Duration;

use filter::{Nft, Rules};
use rustix::process::{Pid, Signal, kill_process};

use crate::harness::Namespace;
use crate::world::{addr, every_pool, rules_of, with_pods};

/// How long an answer is waited for that ought to come, and one that ought not to.
const PATIENCE: Duration = Duration::from_secs(10);
const SILENCE: Duration = Duration::from_millis(400);

pub struct Lab {
    pub node: Namespace,
    pub pod1: Namespace,
    pub pod2: Namespace,
    pub outside: Namespace,
}

/// The addresses of `pod1` that pool with translation has, of `pod2` whose pool has none, and of the outside.
pub const POD1: [&str; 2] = ["10.81.1.2", "2001:db8:81:1::2"];
pub const POD2: [&str; 2] = ["10.82.1.2", "2001:db8:82:1::2"];
pub const NODE: [&str; 2] = ["10.77.1.1", "2001:db8:77::1"];
pub const OUTSIDE: [&str; 2] = ["10.77.1.9", "2001:db8:77::9"];

impl Lab {
    pub fn new() -> Option<Lab> {
        let lab = Lab {
            node: Namespace::new()?,
            pod1: Namespace::new()?,
            pod2: Namespace::new()?,
            outside: Namespace::new()?,
        };
        lab.node.sh("sysctl -qw net.ipv4.ip_forward=1 net.ipv6.conf.all.forwarding=1");
        lab.node.cable("eth0", &lab.outside, "eth0");
        for (name, pod, addresses) in [("cali1", &lab.pod1, POD1), ("cali2", &lab.pod2, POD2)] {
            lab.node.cable(name, pod, "eth0");
            lab.node.sh(&format!(
                "ip addr add 169.254.1.1/32 dev {name}; ip -6 addr add fe80::1/64 dev {name} nodad
                 ip route add {} dev {name}; ip -6 route add {} dev {name}",
                addresses[0], addresses[1]
            ));
            pod.sh(&format!(
                "ip addr add {}/32 dev eth0; ip -6 addr add {}/128 dev eth0 nodad
                 ip route add 169.254.1.1 dev eth0; ip route add default via 169.254.1.1
                 ip -6 route add default via fe80::1 dev eth0",
                addresses[0], addresses[1]
            ));
        }
        lab.node.sh("ip addr add 10.77.1.1/24 dev eth0; ip -6 addr add 2001:db8:77::1/64 dev eth0 nodad");
        lab.outside.sh("ip addr add 10.77.1.9/24 dev eth0; ip -6 addr add 2001:db8:77::9/64 dev eth0 nodad
             ip route add 10.80.0.0/12 via 10.77.1.1; ip -6 route add 2001:db8::/32 via 2001:db8:77::1");
        for space in [&lab.node, &lab.pod1, &lab.pod2, &lab.outside] {
            space.sh("for n in $(seq 500); do ip -6 addr show tentative | grep -q inet6 || exit 0; sleep 0.01; done; exit 1");
        }
        Some(lab)
    }

    /// The rules of the node, both pods with the addresses that they have.
    pub fn rules(&self) -> Rules {
        let single = |all: [&str; 2]| [format!("{}/32", all[0]), format!("{}/128", all[1])];
        let (pod1, pod2) = (single(POD1), single(POD2));
        let pods: [(&str, &[&str]); 2] = [("cali1", &[&pod1[0], &pod1[1]]), ("cali2", &[&pod2[0], &pod2[1]])];
        with_pods(rules_of(&every_pool(), filter::Settings::default()), &pods)
    }

    pub fn keep(&self, nft: &mut Nft, rules: &Rules) -> filter::Outcome {
        self.node.run(|| nft.keep(rules)).unwrap()
    }
}

/// Who calls, as the one who is called at an address sees it; `None` if nobody comes through.
pub fn caller(from: &Namespace, to: &Namespace, at: &str) -> Option<SocketAddr> {
    let listener = to.run(|| TcpListener::bind((addr(at), 0)).unwrap());
    let at = listener.local_addr().unwrap();
    listener.set_nonblocking(true).unwrap();
    let called = from.run(|| TcpStream::connect_timeout(&at, PATIENCE));
    called.ok().and_then(|_| Some(listener.accept().ok()?.1))
}

/// How long to wait.
pub fn patience(is_expected: bool) -> Duration {
    if is_expected { PATIENCE } else { SILENCE }
}

/// Whether a datagram from one to another arrives, and from whom it seems to come. Nobody answers it.
pub fn datagram(from: &UdpSocket, to: &UdpSocket, is_expected: bool) -> Option<SocketAddr> {
    let at = to.local_addr().unwrap();
    from.send_to(b"hello", at).ok()?;
    let mut bytes = [0; 16];
    to.set_read_timeout(Some(patience(is_expected))).unwrap();
    to.recv_from(&mut bytes).ok().map(|(_, from)| from)
}

pub fn socket(space: &Namespace, at: &str, port: u16) -> UdpSocket {
    space.run(|| UdpSocket::bind((addr(at), port)).unwrap())
}

/// A socket with an address that its host does not have.
pub fn foreign_socket(space: &Namespace, at: &str) -> UdpSocket {
    let word = if at.contains(':') { "-6 addr" } else { "addr" };
    space.sh(&format!("ip {word} add {at} dev lo {}", if at.contains(':') { "nodad" } else { "" }));
    socket(space, at, 0)
}

/// Sends 50 pings a second until `work` has ended. Gives how many were sent, and how many were answered.
pub fn pinged(from: &Namespace, at: &str, work: impl FnOnce()) -> (u32, u32) {
    let mut ping = from.run(|| {
        let mut command = Command::new("ping");
        command.args(["-n", "-i", "0.02", "-W", "5", at]).stdout(Stdio::piped()).spawn().unwrap()
    });
    work();
    thread::sleep(Duration::from_millis(200));
    let pid = Pid::from_raw(i32::try_from(ping.id()).unwrap()).unwrap();
    kill_process(pid, Signal::INT).unwrap();
    let mut said = String::new();
    std::io::Read::read_to_string(&mut ping.stdout.take().unwrap(), &mut said).unwrap();
    ping.wait().unwrap();
    let summary =
        said.lines().find(|line| line.contains("packets transmitted")).unwrap_or_else(|| panic!("{said}"));
    let numbers: Vec<u32> = summary.split_whitespace().filter_map(|word| word.parse().ok()).collect();
    (numbers[0], numbers[1])
}
