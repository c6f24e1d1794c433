//! Answers, read within bounds: what a server sends is taken as far as it may be ours, whatever it goes on with.

use std::sync::atomic::{AtomicUsize, Ordering};

use http_body_util::BodyExt;
use hyper::body::Bytes;
use kube::client::Body;

/// The largest answer about one object, in bytes, and the longest line of a watch. The server's etcd takes a tenth of it.
pub(super) const OBJECT: usize = 16 << 20;
/// The largest page of a list. A page of full blocks is a quarter of it; what is larger is asked for in smaller pages.
pub(super) const PAGE: usize = 64 << 20;
/// All pages of a list.
pub(super) const LIST: usize = 512 << 20;
/// What is read of all answers that come at once.
const AT_ONCE: usize = 128 << 20;
/// How much of an error's body is read.
pub(super) const ERROR: usize = 64 << 10;

/// What has been read of the answers that come just now, in bytes.
#[derive(Debug, Default)]
pub(super) struct UnderWay(AtomicUsize);

/// The share of one answer, given back when it is dropped.
struct Share<'u> {
    all: &'u UnderWay,
    bytes: usize,
}

impl Share<'_> {
    /// Takes more; `false` where all answers together are too much.
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

/// The body; `None` as soon as it is larger than that, or all are too large together.
pub(super) async fn whole(
    mut body: Body,
    most: usize,
    all: &UnderWay,
) -> Result<Option<Vec<u8>>, kube::Error> {
    let mut share = Share { all, bytes: 0 };
    let mut bytes = Vec::new();
    while let Some(data) = next(&mut body).await {
        let data = data?;
        if bytes.len() + data.len() > most || !share.take(data.len()) {
            return Ok(None);
        }
        bytes.extend_from_slice(&data);
    }
    Ok(Some(bytes))
}

/// The beginning of the body, as far as it came.
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
            // Trailers say nothing of interest.
            Ok(Err(_)) => {}
            Err(error) => return Some(Err(error)),
        }
    }
}
