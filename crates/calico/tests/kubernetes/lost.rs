//! Requests that are carried out, but whose replies are lost.

use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::thread;

use serde_json::json;

use crate::fixture::on_host;
use crate::harness::Container;

/// A proxy to the API server, without TLS, that loses the replies to a number of patches. The patches are
/// carried out.
struct LossyWay {
    address: SocketAddr,
    losses: Arc<AtomicI64>,
}

impl LossyWay {
    fn to(socket: &Path, losses: i64) -> LossyWay {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let losses = Arc::new(AtomicI64::new(losses));
        let (shared, socket) = (losses.clone(), socket.to_path_buf());
        // The thread ends with the test's process.
        thread::spawn(move || {
            for client in listener.incoming().flatten() {
                let server = UnixStream::connect(&socket).unwrap();
                let is_lost = Arc::new(AtomicI64::new(0));
                requests(
                    client.try_clone().unwrap(),
                    server.try_clone().unwrap(),
                    is_lost.clone(),
                    shared.clone(),
                );
                replies(server, client, is_lost);
            }
        });
        LossyWay { address, losses }
    }
}

fn requests(mut client: TcpStream, mut server: UnixStream, is_lost: Arc<AtomicI64>, losses: Arc<AtomicI64>) {
    thread::spawn(move || {
        let mut buffer = [0; 64 << 10];
        while let Ok(count @ 1..) = client.read(&mut buffer) {
            if buffer.starts_with(b"PATCH ") && losses.fetch_sub(1, Ordering::SeqCst) > 0 {
                is_lost.store(1, Ordering::SeqCst);
            }
            if server.write_all(&buffer[..count]).is_err() {
                break;
            }
        }
        // In most cases the connection is closed already.
        let _ = server.shutdown(Shutdown::Both);
    });
}

fn replies(mut server: UnixStream, mut client: TcpStream, is_lost: Arc<AtomicI64>) {
    thread::spawn(move || {
        let mut buffer = [0; 64 << 10];
        while let Ok(count @ 1..) = server.read(&mut buffer) {
            if is_lost.load(Ordering::SeqCst) == 1 || client.write_all(&buffer[..count]).is_err() {
                break;
            }
        }
        let _ = client.shutdown(Shutdown::Both);
    });
}

#[test]
fn an_endpoint_that_was_stored_without_a_word() {
    on_host(|cluster| {
        cluster.pod("a", &[]);
        let way = LossyWay::to(cluster.socket(), 2);
        let more = json!({"kubernetes": {"k8s_api_root": format!("http://{}", way.address)}});
        let container = Container::new("c1", "a");
        let addr = cluster.call("ADD", &container, more.clone()).addresses()[0];
        assert!(way.losses.load(Ordering::SeqCst) <= 0, "they were lost");
        assert_eq!((cluster.annotation("a", "podIP"), cluster.taken()), (format!("{addr}/32"), 1));
        way.losses.store(1, Ordering::SeqCst);
        assert_eq!(cluster.call("DEL", &container, more).code, 0);
        assert!(way.losses.load(Ordering::SeqCst) <= 0, "it was lost");
        assert_eq!((cluster.annotation("a", "podIP"), cluster.taken()), (String::new(), 0));
    });
}
