//! Connections that the kernel keeps in mind.
//!
//! When a pod is gone, the kernel still knows its connections. A peer that goes on sending UDP would reach
//! the next owner of the address by such an entry, whatever is translated for new connections meanwhile. So
//! the entries of an address end with its pod.

use std::io;
use std::net::IpAddr;

use netlink_sys::{Socket, SocketAddr};

use crate::message::{self, Message, add, add_nested, attributes, messages, request};

/// Kinds of messages of the part of the filter that tracks connections.
const SUBSYSTEM: u16 = 1 << 8;
const GET: u16 = SUBSYSTEM | 1;
const DELETE: u16 = SUBSYSTEM | 2;

/// Attributes of a connection.
pub(crate) const ORIGINAL: u16 = 1;
pub(crate) const REPLY: u16 = 2;
const ID: u16 = 12;
const ZONE: u16 = 18;
/// Which parts of the connection's attributes in a request a dump is limited to.
const LIMIT: u16 = 25;
const LIMIT_OF_ORIGINAL: u16 = 1;
const LIMIT_OF_REPLY: u16 = 2;
const LIMIT_TO_SOURCE: u32 = 1;
/// Attributes of a direction: its addresses, and of these.
const ADDRESSES: u16 = 1;
const SOURCE_V4: u16 = 1;
const SOURCE_V6: u16 = 3;

const INET: u8 = 2;
const INET6: u8 = 10;
const NOT_FOUND: i32 = 2;

/// How often an address is looked for: entries may move in the kernel's table while it is read.
const TRIES: u32 = 4;

/// Why connections could not be forgotten.
#[derive(Debug, thiserror::Error)]
pub enum ConnectionsError {
    /// The kernel cannot be asked.
    #[error("the kernel's table of connections cannot be asked: {0}")]
    Socket(#[source] io::Error),
    /// The kernel refused.
    #[error(
        "the kernel refuses to {doing} the connections of {addr}: {source}; packets for the address may go by \
         them for minutes: `conntrack -D -s {addr}; conntrack -D -r {addr}` as root forgets them"
    )]
    Refused {
        /// Whose connections.
        addr: IpAddr,
        /// What was asked for.
        doing: &'static str,
        /// The kernel's reason.
        source: io::Error,
    },
}

/// The kernel's table of connections in the network namespace of the thread that opened it.
pub struct Connections {
    socket: Socket,
    number: u32,
}

impl std::fmt::Debug for Connections {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Connections").field("number", &self.number).finish_non_exhaustive()
    }
}

/// What names a connection to the kernel, in the kernel's own bytes.
pub(crate) struct Entry {
    naming: Vec<u8>,
}

impl Connections {
    /// Opens the table of the calling thread's network namespace.
    ///
    /// # Errors
    /// See [`ConnectionsError`].
    pub fn open() -> Result<Connections, ConnectionsError> {
        let mut socket = Socket::new(message::PROTOCOL).map_err(ConnectionsError::Socket)?;
        socket.bind_auto().map_err(ConnectionsError::Socket)?;
        socket.connect(&SocketAddr::new(0, 0)).map_err(ConnectionsError::Socket)?;
        Ok(Connections { socket, number: 0 })
    }

    /// Forgets all connections that an address began, or that led to it. Gives their number.
    ///
    /// # Errors
    /// See [`ConnectionsError`].
    pub fn forget(&mut self, addr: IpAddr) -> Result<usize, ConnectionsError> {
        let refused = |doing| move |source| ConnectionsError::Refused { addr, doing, source };
        let mut forgotten = 0;
        for _ in 0..TRIES {
            let found = self.list(addr).map_err(refused("list"))?;
            if found.is_empty() {
                break;
            }
            for entry in found {
                forgotten += usize::from(self.delete(addr, &entry).map_err(refused("forget"))?);
            }
        }
        Ok(forgotten)
    }

    /// The connections of an address. What it began has it as the source of the original direction; what was
    /// led to it, by whatever translation, has it as the source of the reply.
    fn list(&mut self, addr: IpAddr) -> io::Result<Vec<Entry>> {
        let limits = match addr {
            IpAddr::V4(_) => vec![limit(addr, ORIGINAL), limit(addr, REPLY)],
            // Limited to an IPv6 source, kernels give all but what was asked for.
            IpAddr::V6(_) => vec![Vec::new()],
        };
        let mut found = Vec::new();
        for limit in limits {
            self.ask(GET, message::DUMP, family(addr), &limit, |message| {
                // Kernels before 5.8 know no limits, and give everything.
                if [ORIGINAL, REPLY].into_iter().any(|direction| source(message, direction) == Some(addr)) {
                    found.push(entry(message));
                }
            })?;
        }
        Ok(found)
    }

    /// Whether the connection was still there.
    fn delete(&mut self, addr: IpAddr, entry: &Entry) -> io::Result<bool> {
        match self.ask(DELETE, message::ACKNOWLEDGE, family(addr), &entry.naming, |_| ()) {
            Ok(()) => Ok(true),
            Err(error) if error.raw_os_error() == Some(NOT_FOUND) => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// Sends a request, and takes the answers until the last one.
    fn ask(
        &mut self,
        kind: u16,
        flags: u16,
        family: u8,
        attributes: &[u8],
        mut take: impl FnMut(&Message<'_>),
    ) -> io::Result<()> {
        self.number = self.number.wrapping_add(1);
        self.socket.send(&request(kind, flags, self.number, family, attributes), 0)?;
        loop {
            let (bytes, _) = self.socket.recv_from_full()?;
            for message in messages(&bytes).filter(|message| message.number == self.number) {
                match (message.kind, message.error()) {
                    (message::ERROR | message::DONE, 0) => return Ok(()),
                    (message::ERROR | message::DONE, error) => {
                        return Err(io::Error::from_raw_os_error(error));
                    }
                    _ => take(&message),
                }
            }
        }
    }
}

fn family(addr: IpAddr) -> u8 {
    if addr.is_ipv4() { INET } else { INET6 }
}

/// Asks for the connections with this source in one direction only.
fn limit(addr: IpAddr, direction: u16) -> Vec<u8> {
    let (mut address, mut addresses, mut limits, mut all) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
    match addr {
        IpAddr::V4(addr) => add(&mut address, SOURCE_V4, &addr.octets()),
        IpAddr::V6(addr) => add(&mut address, SOURCE_V6, &addr.octets()),
    }
    add_nested(&mut addresses, ADDRESSES, &address);
    add_nested(&mut all, direction, &addresses);
    for (limit, of) in [(LIMIT_OF_ORIGINAL, ORIGINAL), (LIMIT_OF_REPLY, REPLY)] {
        let flags = if of == direction { LIMIT_TO_SOURCE } else { 0 };
        add(&mut limits, limit, &flags.to_ne_bytes());
    }
    add_nested(&mut all, LIMIT, &limits);
    all
}

/// The source of a connection in one direction.
pub(crate) fn source(message: &Message<'_>, direction: u16) -> Option<IpAddr> {
    let tuple = value(message.attributes(), direction)?;
    let addresses = value(attributes(tuple), ADDRESSES)?;
    attributes(addresses).find_map(|(kind, value)| match kind {
        SOURCE_V4 => Some(IpAddr::from(<[u8; 4]>::try_from(value).ok()?)),
        SOURCE_V6 => Some(IpAddr::from(<[u8; 16]>::try_from(value).ok()?)),
        _ => None,
    })
}

fn value<'a>(mut list: impl Iterator<Item = (u16, &'a [u8])>, wanted: u16) -> Option<&'a [u8]> {
    list.find(|(kind, _)| *kind == wanted).map(|(_, value)| value)
}

/// What names a connection: its original direction, its zone, and its number, so that a newer one with the
/// same addresses and ports stays.
pub(crate) fn entry(message: &Message<'_>) -> Entry {
    let mut naming = Vec::new();
    for (kind, value) in message.attributes() {
        match kind {
            ORIGINAL => add_nested(&mut naming, kind, value),
            ZONE | ID => add(&mut naming, kind, value),
            _ => {}
        }
    }
    Entry { naming }
}
