//! Network namespaces for tests.

use std::ops::Deref;

use host::Kernel;

/// A network namespace that forwards.
pub struct Namespace(namespaces::Namespace);

impl Namespace {
    /// Makes a namespace; `None`, after a message, if this process has no right to.
    pub fn new() -> Option<Namespace> {
        let made = namespaces::Namespace::new()?;
        // Interfaces use their addresses at once, without asking others first.
        made.sh("ip link set lo up
             echo 0 > /proc/sys/net/ipv6/conf/default/accept_dad
             echo 0 > /proc/sys/net/ipv6/conf/all/accept_dad
             echo 1 > /proc/sys/net/ipv4/ip_forward
             echo 1 > /proc/sys/net/ipv6/conf/all/forwarding");
        Some(Namespace(made))
    }

    /// Runs `work` with a netlink socket of the namespace.
    pub fn kernel<T: Send>(&self, work: impl AsyncFnOnce(&Kernel) -> T + Send) -> T {
        self.run(|| {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(async { work(&Kernel::open().unwrap()).await })
        })
    }
}

impl Deref for Namespace {
    type Target = namespaces::Namespace;

    fn deref(&self) -> &Self::Target {
        &self.0
    }
}
