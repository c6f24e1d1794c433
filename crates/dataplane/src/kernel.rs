//! A namespace together with the netlink socket that speaks to the kernel about it.

use std::io;
use std::path::Path;
use std::time::Duration;

use rtnetlink::sys::AsyncSocket;
use rtnetlink::{Error, Handle};

use crate::error::{AccessError, KernelRefusal};
use crate::namespace::{Namespace, on_own_thread};

/// One side of the pair. The netlink socket speaks about this side's namespace, whichever namespace the
/// thread is in. The files below `/proc/sys` are those of the thread's namespace; so whoever reads or writes
/// them first enters the side's namespace.
pub(crate) struct Side {
    pub(crate) namespace: Namespace,
    pub(crate) netlink: Handle,
}

impl Side {
    /// Opens the netlink socket. To do so, the calling thread enters the namespace, and stays in it.
    pub(crate) fn open(namespace: Namespace) -> Result<Self, AccessError> {
        namespace.enter()?;
        let system = |source| AccessError::System { doing: "open a netlink socket", source };
        // With strict checks the kernel filters its lists: a host has many addresses, and those of one
        // interface are wanted.
        let (mut connection, netlink, _) = rtnetlink::new_connection_with_strict_check().map_err(system)?;
        connection.socket_mut().socket_mut().set_ext_ack(true).map_err(system)?;
        tokio::spawn(connection);
        Ok(Self { namespace, netlink })
    }

    /// The error that the kernel refused to do something in this namespace.
    pub(crate) fn access_error(&self, doing: impl std::fmt::Display, refusal: KernelRefusal) -> AccessError {
        AccessError::from_refusal(format!("{doing} in {}", self.namespace.name), refusal)
    }
}

/// Both sides of a pair.
pub(crate) struct Sides {
    pub(crate) host: Side,
    pub(crate) container: Side,
}

impl Sides {
    /// Opens both sides. The calling thread stays in the container's namespace.
    fn open(netns: &Path) -> Result<Self, AccessError> {
        let host = Namespace::of_this_thread()?;
        let container = Namespace::of_container(netns, &host)?;
        Ok(Self { host: Side::open(host)?, container: Side::open(container)? })
    }
}

/// Runs `work` with both sides open, on a thread of its own.
pub(crate) fn with_sides<T, E>(
    netns: &Path,
    work: impl AsyncFnOnce(&Sides) -> Result<T, E> + Send,
) -> Result<T, E>
where
    T: Send,
    E: Send + From<AccessError>,
{
    on_own_thread(|| run(async { work(&Sides::open(netns)?).await }))?
}

/// Runs netlink requests on the calling thread, and on no other.
pub(crate) fn run<T, E: From<AccessError>>(work: impl Future<Output = Result<T, E>>) -> Result<T, E> {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|source| AccessError::System { doing: "start the netlink event loop", source })?
        .block_on(work)
}

/// How long an answer may take. The kernel answers while the request is made; but an answer that this program
/// cannot read never arrives.
const ANSWER_LIMIT: Duration = Duration::from_secs(20);

/// Waits for the kernel's answer to a request.
pub(crate) async fn answer_to<T>(
    request: impl Future<Output = Result<T, Error>>,
) -> Result<T, KernelRefusal> {
    match tokio::time::timeout(ANSWER_LIMIT, request).await {
        Ok(answer) => answer.map_err(refusal),
        Err(_) => Err(KernelRefusal {
            source: io::ErrorKind::TimedOut.into(),
            words: Some("no answer that we understand".into()),
        }),
    }
}

fn refusal(error: Error) -> KernelRefusal {
    match error {
        Error::NetlinkError(message) => KernelRefusal {
            source: message.to_io(),
            words: outside::netlink::explanation(&message.header).map(str::to_owned),
        },
        other => KernelRefusal { source: io::Error::other(other.to_string()), words: None },
    }
}
