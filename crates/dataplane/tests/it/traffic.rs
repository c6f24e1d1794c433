//! Packets between containers, through the host, and from the host.

use std::io::{Read, Write};
use std::net::{IpAddr, SocketAddr, TcpListener, TcpStream};
use std::thread;
use std::time::Duration;

use dataplane::attach;

use crate::harness::{Machine, Namespace, ip, wiring};

/// Sends a line from one namespace to an address in another. Gives the sender's address as the receiver saw
/// it.
fn talk(from: &Namespace, to: &Namespace, address: IpAddr) -> IpAddr {
    let listener = to.run(|| TcpListener::bind((address, 0)).unwrap());
    let port = listener.local_addr().unwrap().port();
    let server = thread::spawn(move || {
        let (mut stream, peer) = listener.accept().unwrap();
        stream.write_all(peer.ip().to_string().as_bytes()).unwrap();
    });
    let mut answer = String::new();
    from.run(|| {
        let to = SocketAddr::new(address, port);
        let mut stream = TcpStream::connect_timeout(&to, Duration::from_secs(20)).unwrap();
        stream.read_to_string(&mut answer).unwrap();
    });
    server.join().unwrap();
    answer.parse().unwrap()
}

#[test]
fn containers_and_the_host_reach_each_other_in_both_families() {
    let Some(machine) = Machine::new() else { return };
    let (host, first, second) = (&machine.host, &machine.container, Namespace::new().unwrap());
    let (mine, yours) = (["10.0.0.1", "2001:db8:1::1"], ["10.0.0.2", "2001:db8:1::2"]);
    host.run(|| attach(&wiring(first, "cali1", &mine))).unwrap();
    host.run(|| attach(&wiring(&second, "cali2", &yours))).unwrap();
    for (mine, yours, uplink) in [(mine[0], yours[0], "192.0.2.1"), (mine[1], yours[1], "2001:db8::1")]
        .map(|(a, b, c)| (ip(a), ip(b), ip(c)))
    {
        assert_eq!(talk(first, &second, yours), mine);
        assert_eq!(talk(&second, first, mine), yours);
        assert_eq!(talk(host, first, mine), uplink);
        assert_eq!(talk(first, host, uplink), mine);
    }
}

#[test]
fn a_container_reaches_only_what_it_is_given_routes_to() {
    let Some(machine) = Machine::new() else { return };
    let (host, first, second) = (&machine.host, &machine.container, Namespace::new().unwrap());
    let mut limited = wiring(first, "cali1", &["10.0.0.1"]);
    limited.routes = vec!["10.0.0.77/24".parse().unwrap(), "2001:db8:1::/64".parse().unwrap()];
    host.run(|| attach(&limited)).unwrap();
    host.run(|| attach(&wiring(&second, "cali2", &["10.0.0.2"]))).unwrap();
    host.run(|| dataplane::check(&limited)).unwrap();
    assert_eq!(talk(first, &second, ip("10.0.0.2")), ip("10.0.0.1"));
    let refused = first.run(|| TcpStream::connect("192.0.2.1:9")).unwrap_err();
    assert_eq!(refused.kind(), std::io::ErrorKind::NetworkUnreachable);
}

#[test]
fn an_address_moves_to_another_container_when_the_first_is_detached() {
    let Some(machine) = Machine::new() else { return };
    let (host, first, second) = (&machine.host, &machine.container, Namespace::new().unwrap());
    let address = "10.0.0.1";
    let old = wiring(first, "cali1", &[address]);
    host.run(|| attach(&old)).unwrap();
    assert_eq!(talk(host, first, ip(address)), ip("192.0.2.1"));
    host.run(|| dataplane::detach(&old.netns, "eth0", None, dataplane::DETACH_LIMIT)).unwrap();
    host.run(|| attach(&wiring(&second, "cali2", &[address]))).unwrap();
    assert_eq!(talk(host, &second, ip(address)), ip("192.0.2.1"));
}
