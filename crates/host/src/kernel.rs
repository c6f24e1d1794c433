//! The netlink socket, and how requests and answers pass through it.

use std::io;
use std::os::fd::OwnedFd;
use std::time::Duration;

use api::Family;
use futures_util::{Stream, StreamExt};
use rtnetlink::packet_core::{
    NLM_F_ACK, NLM_F_DUMP, NLM_F_DUMP_INTR, NLM_F_REQUEST, NetlinkMessage, NetlinkPayload,
};
use rtnetlink::packet_route::{AddressFamily, RouteNetlinkMessage};
use rtnetlink::sys::AsyncSocket;
use rtnetlink::{Error, Handle};
use rustix::io::Errno;
use rustix::net::netdevice;

use crate::error::{HostError, Refusal};

/// How long an answer may take. The kernel answers while the request is made; but an answer that this program
/// cannot read never arrives.
const ANSWER_LIMIT: Duration = Duration::from_secs(20);

/// How often a list is asked for again that changed while the kernel told it.
const LIST_ATTEMPTS: usize = 5;

/// What the kernel answers to a request.
pub(crate) trait Answers: Stream<Item = NetlinkMessage<RouteNetlinkMessage>> {}

impl<S: Stream<Item = NetlinkMessage<RouteNetlinkMessage>>> Answers for S {}

/// A netlink socket. It speaks about the network namespace of the thread that opened it, whichever thread
/// uses it. Where a refusal says that the socket has closed, another one is to be opened.
pub struct Kernel {
    netlink: Handle,
    /// Asks for names and numbers of interfaces in the same namespace.
    names: OwnedFd,
    /// The socket's number, by which the kernel tells whose request changed something.
    pub(crate) port: u32,
}

impl Kernel {
    /// Opens the socket. The current runtime, which may be one of a single thread, serves it.
    ///
    /// # Errors
    /// [`HostError::System`].
    pub fn open() -> Result<Kernel, HostError> {
        let system = |source| HostError::System { doing: "open a netlink socket", source };
        // With strict checks the kernel filters its lists as it is asked to.
        let (mut connection, netlink, _) = rtnetlink::new_connection_with_strict_check().map_err(system)?;
        let socket = connection.socket_mut().socket_mut();
        socket.set_ext_ack(true).map_err(system)?;
        let port = socket.bind_auto().map_err(system)?.port_number();
        // An answer without its end is no answer: so the end must be seen.
        connection.set_forward_ack(true);
        connection.set_forward_done(true);
        tokio::spawn(connection);
        let names = rustix::net::socket_with(
            rustix::net::AddressFamily::UNIX,
            rustix::net::SocketType::DGRAM,
            rustix::net::SocketFlags::CLOEXEC,
            None,
        );
        Ok(Kernel { netlink, names: names.map_err(|errno| system(errno.into()))?, port })
    }

    /// The number of an interface; `None` where there is none of that name.
    pub(crate) fn index_of(&self, name: &str) -> Result<Option<u32>, Refusal> {
        match netdevice::name_to_index(&self.names, name) {
            Ok(index) => Ok(Some(index)),
            // A name that is too long for an interface belongs to none.
            Err(Errno::NODEV | Errno::NXIO | Errno::INVAL) => Ok(None),
            Err(errno) => Err(Refusal::of(errno)),
        }
    }

    /// The name of an interface; `None` where there is none of that number.
    pub(crate) fn name_of(&self, index: u32) -> Result<Option<String>, Refusal> {
        match netdevice::index_to_name(&self.names, index) {
            Ok(name) => Ok(Some(name)),
            Err(Errno::NODEV | Errno::NXIO) => Ok(None),
            Err(errno) => Err(Refusal::of(errno)),
        }
    }

    /// Hands a request to the socket. Requests go to the kernel in the order in which they are handed over,
    /// and it carries out each before it takes the next: nobody has to wait for one answer to make the next
    /// request.
    pub(crate) fn send(
        &self,
        message: RouteNetlinkMessage,
        flags: u16,
    ) -> Result<impl Answers + use<>, Refusal> {
        let mut request = NetlinkMessage::from(message);
        request.header.flags = NLM_F_REQUEST | flags;
        Ok(self.netlink.clone().request(request)?)
    }

    /// Everything of a kind.
    pub(crate) async fn list(&self, about: RouteNetlinkMessage) -> Result<Vec<RouteNetlinkMessage>, Refusal> {
        for _ in 0..LIST_ATTEMPTS {
            let (listed, was_interrupted) = answers(self.send(about.clone(), NLM_F_DUMP)?).await?;
            if !was_interrupted {
                return Ok(listed);
            }
        }
        Err(Refusal::of(Errno::AGAIN))
    }

    /// The answer to a question with one answer.
    pub(crate) async fn ask(
        &self,
        about: RouteNetlinkMessage,
    ) -> Result<Option<RouteNetlinkMessage>, Refusal> {
        let (listed, _) = answers(self.send(about, NLM_F_ACK)?).await?;
        Ok(listed.into_iter().next())
    }

    /// Changes something.
    pub(crate) async fn change(&self, message: RouteNetlinkMessage, flags: u16) -> Result<(), Refusal> {
        answers(self.send(message, flags | NLM_F_ACK)?).await.map(drop)
    }
}

/// The answers to a request, and whether what they tell changed meanwhile.
pub(crate) async fn answers(stream: impl Answers) -> Result<(Vec<RouteNetlinkMessage>, bool), Refusal> {
    let mut stream = std::pin::pin!(stream);
    let (mut found, mut was_interrupted) = (Vec::new(), false);
    loop {
        let Ok(next) = tokio::time::timeout(ANSWER_LIMIT, stream.next()).await else {
            return Err(Refusal::silence(io::ErrorKind::TimedOut, "no answer that we understand"));
        };
        let Some(message) = next else {
            return Err(Refusal::silence(io::ErrorKind::BrokenPipe, "the netlink socket has closed"));
        };
        was_interrupted |= message.header.flags & NLM_F_DUMP_INTR != 0;
        match message.payload {
            NetlinkPayload::InnerMessage(message) => found.push(message),
            NetlinkPayload::Error(error) if error.code.is_some() => {
                return Err(Error::NetlinkError(error).into());
            }
            NetlinkPayload::Error(_) | NetlinkPayload::Done(_) => return Ok((found, was_interrupted)),
            // The socket's buffer overflowed, so a part of the answer is lost.
            NetlinkPayload::Overrun(_) => was_interrupted = true,
            _ => {}
        }
    }
}

pub(crate) fn family(of: Family) -> AddressFamily {
    match of {
        Family::V4 => AddressFamily::Inet,
        Family::V6 => AddressFamily::Inet6,
    }
}
