//! Reads answers within bounds, whatever the server sends: it takes no more than an answer of an API server
//! may hold.

use std::sync::atomic::{AtomicUsize, Ordering};

use http_body_util::BodyExt;
use hyper::body::Bytes;
use kube::client::Body;
use tokio::time::{Instant, timeout_at};

/// The largest answer about one object, and the longest line of a watch, in bytes. The server's etcd stores
/// no object a tenth as large.
pub(super) const OBJECT: usize = 16 << 20;
/// The largest page of a list, in bytes. A page of full blocks is a quarter of it. A page that would be
/// larger is asked for in smaller pages.
pub(super) const PAGE: usize = 64 << 20;
/// All pages of a list together, in bytes.
pub(super) const LIST: usize = 512 << 20;
/// All answers that are being read at the same time together, in bytes.
const AT_ONCE: usize = 128 << 20;
/// How much of an error's body is read, in bytes.
pub(super) const ERROR: usize = 64 << 10;

/// How many bytes of the answers that are being read now have been read.
#[derive(Debug, Default)]
pub(super) struct UnderWay(AtomicUsize);

/// One answer's part of [`UnderWay`], subtracted again when it is dropped.
struct Share<'u> {
    all: &'u UnderWay,
    bytes: usize,
}

impl Share<'_> {
    /// Adds `bytes`. Gives `false` where all answers together exceed [`AT_ONCE`].
    fn take(&mut self, bytes: usize) -> bool {
        self.bytes += bytes;
        self.all.0.fetch_add(bytes, Ordering::Relaxed) + bytes <= AT_ONCE
    }
}

impl Drop for Share<'_> {
    fn drop(&mut self) {
        self.all.0.fetch_sub(self.bytes, Ordering::Relaxed);
    }
}

/// Why a body was not read to its end.
#[derive(Debug)]
pub(super) enum Unread {
    /// It exceeds what it may have, or all answers together exceed [`AT_ONCE`].
    Endless,
    /// The connection broke.
    Broken(kube::Error),
    /// Nothing came any more.
    Silent,
}

/// Reads the whole body, of at most `most` bytes. `silent_until` tells until when the next piece must come.
pub(super) async fn whole(
    mut body: Body,
    most: usize,
    all: &UnderWay,
    silent_until: impl Fn() -> Instant,
) -> Result<Vec<u8>, Unread> {
    let mut share = Share { all, bytes: 0 };
    let mut bytes = Vec::new();
    while let Some(data) = timeout_at(silent_until(), next(&mut body)).await.map_err(|_| Unread::Silent)? {
        let data = data.map_err(Unread::Broken)?;
        if bytes.len() + data.len() > most || !share.take(data.len()) {
            return Err(Unread::Endless);
        }
        bytes.extend_from_slice(&data);
    }
    Ok(bytes)
}

/// Reads at most the first `most` bytes of a body; fewer where the connection breaks.
pub(super) async fn beginning(mut body: Body, most: usize) -> Vec<u8> {
    let mut bytes = Vec::new();
    while let Some(Ok(data)) = next(&mut body).await {
        let room = most - bytes.len();
        bytes.extend_from_slice(&data[..data.len().min(room)]);
        if bytes.len() == most {
            break;
        }
    }
    bytes
}

async fn next(body: &mut Body) -> Option<Result<Bytes, kube::Error>> {
    loop {
        match body.frame().await?.map(|frame| frame.into_data()) {
            Ok(Ok(data)) => return Some(Ok(data)),
            // Only data is of use, trailers are not.
            Ok(Err(_)) => {}
            Err(error) => return Some(Err(error)),
        }
    }
}
