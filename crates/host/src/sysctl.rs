//! The settings of the host's kernel that forwarding between nodes needs.

use std::fmt;
use std::fs::{self, OpenOptions};
use std::io::{self, Write};
use std::path::Path;

use api::Family;

/// A setting: what it must be, and what it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Setting {
    /// Its file below `/proc/sys`.
    file: String,
    /// The value that it must have.
    pub wanted: &'static str,
    /// The value that it has.
    pub found: String,
    /// What goes wrong otherwise.
    pub why: &'static str,
}

impl Setting {
    /// The name as `sysctl` takes it: its parts are joined by dots, and a dot in the name of an interface is
    /// a slash.
    pub fn name(&self) -> String {
        let swapped = self.file.chars().map(|c| match c {
            '/' => '.',
            '.' => '/',
            other => other,
        });
        swapped.collect()
    }

    /// Whether it is as it must be.
    pub fn is_met(&self) -> bool {
        self.found == self.wanted
    }
}

/// Prints as `sysctl -w` takes it, with the reason.
impl fmt::Display for Setting {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}={} (is {}): {}", self.name(), self.wanted, self.found, self.why)
    }
}

/// What the host is to do, as far as its settings depend on it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Duties {
    /// The families of the pods' addresses.
    pub families: Vec<Family>,
    /// The names of the interfaces that carry the node's addresses.
    pub uplinks: Vec<String>,
    /// The names of the tunnel devices.
    pub tunnels: Vec<String>,
    /// Those interfaces whose IPv6 default route came by router advertisement.
    pub advertised: Vec<String>,
    /// Whether packets may come in by another interface than their answers go out by: where a rack's nodes
    /// pass on what is for the rack, or where the networks of nodes have different prefix lengths.
    pub is_loose: bool,
    /// Whether the node passes on what is for other nodes of its rack.
    pub is_gateway: bool,
}

/// Why a setting could not be read or written.
#[derive(Debug, thiserror::Error)]
pub enum SettingError {
    /// It cannot be read. See whether `/proc` is mounted.
    #[error("cannot read /proc/sys/{file}: {source}; see whether /proc is mounted")]
    Read {
        /// The file below `/proc/sys`.
        file: String,
        /// Why.
        source: io::Error,
    },
    /// It cannot be written. Write it as root, on the host.
    #[error("cannot set {setting}: {source}; run this as root on the host, where /proc/sys can be written")]
    Write {
        /// The setting.
        setting: String,
        /// Why.
        source: io::Error,
    },
}

/// The settings that the duties need, in the order in which they are to be set. `read` gives the content of a
/// file below `/proc/sys`, or nothing where the kernel has no such setting. A setting that the kernel has not
/// is left out: so it has no IPv6, or the interface is not there. Of `rp_filter`, which may have several
/// values, only what is wrong is named.
///
/// # Errors
/// Those of `read`.
pub fn wanted<E>(
    duties: &Duties,
    read: &mut impl FnMut(&str) -> Result<Option<String>, E>,
) -> Result<Vec<Setting>, E> {
    let mut settings = Vec::new();
    let mut want = |file: String, wanted, found: Option<String>, why| {
        settings.extend(found.map(|found| Setting { file, wanted, found, why }));
    };
    let has = |family| duties.families.contains(&family);
    if has(Family::V6) {
        // This comes before forwarding is switched on: with forwarding, 1 means that advertisements are not
        // believed any more.
        for name in &duties.advertised {
            let file = format!("net/ipv6/conf/{name}/accept_ra");
            let found = read(&file)?.filter(|found| found == "1" || found == "2");
            want(file, "2", found, "a host that forwards loses its advertised IPv6 default route otherwise");
        }
        let file = "net/ipv6/conf/all/forwarding".to_string();
        let found = read(&file)?;
        want(file, "1", found, "packets to and from pods are not passed on otherwise");
    }
    if !has(Family::V4) {
        return Ok(settings);
    }
    let file = "net/ipv4/ip_forward".to_string();
    let found = read(&file)?;
    want(file, "1", found, "packets to and from pods are not passed on otherwise");
    if duties.is_loose {
        // The higher one of the interface's value and that of all counts; 1 is strict, 2 is loose.
        let of_all = read("net/ipv4/conf/all/rp_filter")?;
        for name in duties.uplinks.iter().chain(&duties.tunnels) {
            let file = format!("net/ipv4/conf/{name}/rp_filter");
            let own = read(&file)?;
            let is_strict =
                own.is_some() && own.as_ref().max(of_all.as_ref()).is_some_and(|value| value == "1");
            let found = own.filter(|_| is_strict);
            want(
                file,
                "2",
                found,
                "packets that come in by another interface than their answers go out by are dropped otherwise",
            );
        }
    }
    if duties.is_gateway {
        // Redirects are sent if either the interface or all say so.
        for name in ["all"].into_iter().chain(duties.uplinks.iter().map(String::as_str)) {
            let file = format!("net/ipv4/conf/{name}/send_redirects");
            let found = read(&file)?;
            want(
                file,
                "0",
                found,
                "the router is told otherwise to send past this node, to each address by itself",
            );
        }
    }
    Ok(settings)
}

/// The settings that the duties need, read in the network namespace of the calling thread.
///
/// # Errors
/// [`SettingError::Read`].
pub fn check(duties: &Duties) -> Result<Vec<Setting>, SettingError> {
    wanted(duties, &mut |file| match fs::read_to_string(Path::new("/proc/sys").join(file)) {
        Ok(value) => Ok(Some(value.trim_end().to_string())),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(source) => Err(SettingError::Read { file: file.to_string(), source }),
    })
}

/// Sets what is not as it must be, in the network namespace of the calling thread, in order.
///
/// # Errors
/// [`SettingError::Write`]. Those before it are set.
pub fn set(settings: &[Setting]) -> Result<(), SettingError> {
    for setting in settings.iter().filter(|setting| !setting.is_met()) {
        // Nothing can be created below /proc/sys, and the error of an attempt would say less.
        let opened = OpenOptions::new().write(true).open(Path::new("/proc/sys").join(&setting.file));
        opened
            .and_then(|mut file| file.write_all(setting.wanted.as_bytes()))
            .map_err(|source| SettingError::Write { setting: setting.to_string(), source })?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::convert::Infallible;

    use super::*;

    /// The settings that are to be changed, on a host that has these.
    fn changes(duties: &Duties, host: &[(&str, &str)]) -> Vec<String> {
        let host: BTreeMap<&str, &str> = host.iter().copied().collect();
        let mut read = |file: &str| Ok::<_, Infallible>(host.get(file).map(|value| value.to_string()));
        let all = wanted(duties, &mut read).unwrap();
        all.iter()
            .filter(|setting| !setting.is_met())
            .map(|setting| format!("{}={}", setting.name(), setting.wanted))
            .collect()
    }

    #[test]
    fn each_duty_has_its_settings() {
        let uplinks = vec!["eth0.7".to_string()];
        let tunnels = vec!["vxlan.calico".to_string()];
        let v4 = Duties { families: vec![Family::V4], uplinks, tunnels, ..Duties::default() };
        let both = Duties { families: Family::BOTH.to_vec(), ..v4.clone() };
        let advertised = Duties { advertised: vec!["eth0.7".to_string()], ..both.clone() };
        let loose = Duties { is_loose: true, ..v4.clone() };
        let gateway = Duties { is_gateway: true, ..v4.clone() };
        let (v4_on, v6_on) = (("net/ipv4/ip_forward", "1"), ("net/ipv6/conf/all/forwarding", "1"));
        let (eth, all, vxlan) = (
            "net/ipv4/conf/eth0.7/rp_filter",
            "net/ipv4/conf/all/rp_filter",
            "net/ipv4/conf/vxlan.calico/rp_filter",
        );
        let ra = "net/ipv6/conf/eth0.7/accept_ra";
        let (of_all, of_eth) = ("net/ipv4/conf/all/send_redirects", "net/ipv4/conf/eth0.7/send_redirects");
        let is_loose = "net.ipv4.conf.eth0/7.rp_filter=2";
        type Case<'c> = (&'c Duties, &'c [(&'c str, &'c str)], &'c [&'c str]);
        let cases: &[Case] = &[
            (&v4, &[("net/ipv4/ip_forward", "0")], &["net.ipv4.ip_forward=1"]),
            (&v4, &[v4_on, ("net/ipv6/conf/all/forwarding", "0")], &[]),
            (&both, &[v4_on, ("net/ipv6/conf/all/forwarding", "0")], &["net.ipv6.conf.all.forwarding=1"]),
            // A kernel without IPv6.
            (&both, &[v4_on], &[]),
            // The advertised route is saved before forwarding endangers it.
            (
                &advertised,
                &[v4_on, ("net/ipv6/conf/all/forwarding", "0"), (ra, "1")],
                &["net.ipv6.conf.eth0/7.accept_ra=2", "net.ipv6.conf.all.forwarding=1"],
            ),
            (&advertised, &[v4_on, v6_on, (ra, "2")], &[]),
            // Somebody else than the kernel reads the advertisements.
            (&advertised, &[v4_on, v6_on, (ra, "0")], &[]),
            (&v4, &[v4_on, (eth, "1"), (all, "1")], &[]),
            (&loose, &[v4_on, (eth, "1"), (all, "0")], &[is_loose]),
            (&loose, &[v4_on, (eth, "0"), (all, "1")], &[is_loose]),
            (&loose, &[v4_on, (eth, "0"), (all, "0")], &[]),
            (&loose, &[v4_on, (eth, "2"), (all, "1")], &[]),
            (&loose, &[v4_on, (eth, "1"), (all, "2")], &[]),
            (
                &loose,
                &[v4_on, (eth, "0"), (all, "0"), (vxlan, "1")],
                &["net.ipv4.conf.vxlan/calico.rp_filter=2"],
            ),
            (
                &gateway,
                &[v4_on, (of_all, "1"), (of_eth, "1")],
                &["net.ipv4.conf.all.send_redirects=0", "net.ipv4.conf.eth0/7.send_redirects=0"],
            ),
            (&gateway, &[v4_on, (of_all, "0"), (of_eth, "0")], &[]),
        ];
        for (duties, host, expected) in cases {
            assert_eq!(changes(duties, host), *expected, "{duties:?} on {host:?}");
        }
    }
}
