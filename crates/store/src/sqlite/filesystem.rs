//! Which filesystems a WAL database may lie on.
//!
//! Processes on one file share its index through a memory map and rely on file locks. A network filesystem
//! provides neither between machines, and the result is silent damage. So such files are refused before
//! SQLite opens them.

use std::io;
use std::path::Path;

use crate::error::StoreError;

/// Whether a filesystem can hold the store.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// The filesystem is local: it can.
    Local,
    /// Several machines share the filesystem, or may share it: it cannot. Holds its name.
    Shared(&'static str),
}

/// The filesystems that are refused, by the magic number that `statfs` tells (`linux/magic.h` and the
/// filesystems' own headers).
const SHARED: &[(u32, &str)] = &[
    (0x6969, "NFS"),
    (0x517B, "SMB"),
    (0xFF53_4D42, "CIFS"),
    (0xFE53_4D42, "SMB"),
    (0x5346_414F, "AFS"),
    (0x6B41_4653, "AFS"),
    (0x0102_1997, "9p"),
    (0x6573_5546, "FUSE (sshfs, GlusterFS, s3fs and the like)"),
    (0x00C3_6400, "Ceph"),
    (0x7375_7245, "Coda"),
    (0x0000_564C, "NCP"),
    (0x0BD0_0BD0, "Lustre"),
    (0x4750_4653, "GPFS"),
    (0x7461_636F, "OCFS2"),
    (0x0116_1970, "GFS2"),
    (0x1983_0326, "BeeGFS"),
    (0x2003_0528, "OrangeFS"),
    (0xAAD7_AAEA, "PanFS"),
    (0x786F_4256, "a VirtualBox shared folder"),
    (0xBACB_ACBC, "a VMware shared folder"),
];

/// Judges a filesystem by its magic number.
pub(super) fn verdict(magic: u32) -> Verdict {
    match SHARED.iter().find(|(number, _)| *number == magic) {
        Some((_, name)) => Verdict::Shared(name),
        None => Verdict::Local,
    }
}

/// Refuses a file that lies on a shared filesystem, or is to be created there.
///
/// # Errors
/// [`StoreError::Unusable`] with the reason and the remedy. A path whose filesystem cannot be found out is
/// let pass: opening the file gives a better error.
pub(super) fn check(path: &Path) -> Result<(), StoreError> {
    let Some(magic) = path.ancestors().find_map(magic_of) else { return Ok(()) };
    match verdict(magic) {
        Verdict::Local => Ok(()),
        Verdict::Shared(name) => Err(StoreError::Unusable(format!(
            "{} is on a network filesystem: {name}. The embedded store needs memory shared between processes and dependable \
             locks, which that does not give; data would be damaged. Name a file on a local disk, or use etcd or \
             Kubernetes as the datastore to share it between machines",
            path.display()
        ))),
    }
}

/// The magic number of the filesystem on which the file lies. `None` where there is no such file.
fn magic_of(path: &Path) -> Option<u32> {
    loop {
        return match rustix::fs::statfs(path) {
            // The numbers are 32 bits wide; some ports of Linux hand them out sign-extended.
            Ok(found) => Some(found.f_type as u32),
            Err(error) if io::Error::from(error).kind() == io::ErrorKind::Interrupted => continue,
            Err(_) => None,
        };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shared_filesystems_are_told_from_local_ones() {
        let rows: &[(i64, bool)] = &[
            (0xEF53, false),      // ext2, ext3, ext4
            (0x5846_5342, false), // XFS
            (0x9123_683E, false), // Btrfs
            (0x0102_1994, false), // tmpfs
            (0x794C_7630, false), // overlayfs
            (0x2FC1_2FC1, false), // ZFS
            (0xF2F5_2010, false), // F2FS
            (0xCA45_1A4E, false), // bcachefs
            (0x8584_58F6, false), // ramfs
            (0x6969, true),       // NFS
            (0x517B, true),       // SMB
            (0xFF53_4D42, true),  // CIFS
            (0xFE53_4D42, true),  // SMB2 and later
            (-0x00AC_B2BE, true), // CIFS, sign-extended
            (0x5346_414F, true),  // AFS
            (0x6B41_4653, true),  // AFS, the kernel's own
            (0x0102_1997, true),  // 9p
            (0x6573_5546, true),  // FUSE
            (0x00C3_6400, true),  // Ceph
            (0x0BD0_0BD0, true),  // Lustre
        ];
        for (magic, shared) in rows {
            assert_eq!(matches!(verdict(*magic as u32), Verdict::Shared(_)), *shared, "{magic:#x}");
        }
    }

    #[test]
    fn a_file_to_be_is_judged_by_what_is_there() {
        assert_eq!(check(Path::new("/proc/self/no/such/file")), Ok(()));
        assert!(magic_of(Path::new("/proc/self/no/such/file")).is_none());
    }
}
