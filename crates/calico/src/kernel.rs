//! Calls that may block: those to the kernel's interfaces and routes can take seconds. They run on threads of
//! their own, since the runtime's thread may be serving other requests. (Whether a file exists, and the
//! plugin's own files below `/var/run`, are read directly: that takes microseconds.)

use std::net::IpAddr;
use std::path::Path;

use dataplane::{AccessError, AttachError, Attached, CheckError, DETACH_LIMIT, DetachError, HostEnd, Wiring};

/// Runs blocking work on another thread. The work runs to its end even if the caller stops waiting.
pub async fn apart<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> T {
    match tokio::task::spawn_blocking(work).await {
        Ok(done) => done,
        // The only other error is an aborted task. Nobody aborts this one; and when the runtime shuts down,
        // no caller is left to get the error.
        Err(error) => std::panic::resume_unwind(error.into_panic()),
    }
}

/// See [`dataplane::attach`].
pub async fn attach(wiring: &Wiring) -> Result<Attached, AttachError> {
    let wiring = wiring.clone();
    apart(move || dataplane::attach(&wiring)).await
}

/// Takes a pair down again: see [`dataplane::detach`].
pub async fn detach(wiring: &Wiring) -> Result<(), DetachError> {
    let wiring = wiring.clone();
    apart(move || {
        let Wiring { netns, container_interface, host_interface, .. } = &wiring;
        dataplane::detach(netns, container_interface, Some(host_interface), DETACH_LIMIT).map(drop)
    })
    .await
}

/// See [`dataplane::check`].
pub async fn check(wiring: Wiring) -> Result<(), CheckError> {
    apart(move || dataplane::check(&wiring)).await
}

/// See [`dataplane::host_end`].
pub async fn host_end(interface: &str) -> Result<Option<HostEnd>, AccessError> {
    let interface = interface.to_string();
    apart(move || dataplane::host_end(&interface)).await
}

/// See [`dataplane::host_end_of`].
pub async fn host_end_of(netns: &str, interface: &str) -> Result<Option<HostEnd>, AccessError> {
    let (netns, interface) = (netns.to_string(), interface.to_string());
    apart(move || dataplane::host_end_of(Path::new(&netns), &interface)).await
}

/// See [`dataplane::host_ends_to`].
pub async fn host_ends_to(addresses: &[IpAddr]) -> Result<Vec<HostEnd>, AccessError> {
    if addresses.is_empty() {
        return Ok(Vec::new());
    }
    let addresses = addresses.to_vec();
    apart(move || dataplane::host_ends_to(&addresses)).await
}

/// See [`dataplane::remove`].
pub async fn remove(end: &HostEnd) -> Result<bool, DetachError> {
    let end = end.clone();
    apart(move || dataplane::remove(&end, DETACH_LIMIT)).await
}
