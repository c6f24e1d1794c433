//! Counts what a server sends to one client.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use tokio::net::{TcpListener, TcpStream};

/// A listener that passes connections on to a server, and counts the bytes that come back. It ends with the
/// test's runtime.
pub struct Meter {
    address: String,
    received: Arc<AtomicU64>,
}

impl Meter {
    pub async fn start(server: &str) -> Meter {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let received = Arc::<AtomicU64>::default();
        let (server, counter) = (server.to_string(), received.clone());
        tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                let server = TcpStream::connect(&server).await.unwrap();
                tokio::spawn(pass_on(client, server, counter.clone()));
            }
        });
        Meter { address, received }
    }

    /// Host and port for the client.
    pub fn address(&self) -> &str {
        &self.address
    }

    /// How many bytes the server has sent so far: of TCP's content, so TLS and HTTP/2 count, too.
    pub fn received(&self) -> u64 {
        self.received.load(Ordering::SeqCst)
    }
}

async fn pass_on(client: TcpStream, server: TcpStream, received: Arc<AtomicU64>) {
    let (from_client, to_client) = client.into_split();
    let (from_server, to_server) = server.into_split();
    let requests = copy(from_client, to_server, None);
    let replies = copy(from_server, to_client, Some(&received));
    tokio::join!(requests, replies);
}

async fn copy(
    from: tokio::net::tcp::OwnedReadHalf,
    to: tokio::net::tcp::OwnedWriteHalf,
    counter: Option<&AtomicU64>,
) {
    let mut buffer = vec![0; 16 << 10];
    loop {
        let Ok(()) = from.readable().await else { return };
        let count = match from.try_read(&mut buffer) {
            Ok(0) => return,
            Ok(count) => count,
            Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => continue,
            Err(_) => return,
        };
        if let Some(counter) = counter {
            counter.fetch_add(count as u64, Ordering::SeqCst);
        }
        let mut rest = &buffer[..count];
        while !rest.is_empty() {
            let Ok(()) = to.writable().await else { return };
            match to.try_write(rest) {
                Ok(written) => rest = &rest[written..],
                Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => {}
                Err(_) => return,
            }
        }
    }
}
