//! The lab's control groups. In every hierarchy of version 1 the lab has a group below the group of the
//! process that starts it, so that the limits above still hold; and below the lab's group there is one for
//! each node.
//!
//! All processes of the lab are in these groups. So the groups also show what is left of a lab whose
//! supervisor was killed.

use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use rustix::mount::{MountFlags, mount};
use rustix::process::{Pid, Signal, kill_process};
use serde::{Deserialize, Serialize};

/// Where the hierarchies of control groups are mounted.
const ROOT: &str = "/sys/fs/cgroup";
/// How often removing a group is tried, and how long to wait in between.
const TRIES: u32 = 600;
const PAUSE: Duration = Duration::from_millis(50);

/// A hierarchy of control groups, and the lab's group in it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Hierarchy {
    /// The hierarchy's controllers, as the kernel lists them: `memory`, `cpu,cpuacct`, `name=systemd`, ...
    pub controllers: String,
    /// The folder of the lab's group.
    pub folder: PathBuf,
}

impl Hierarchy {
    /// The name of the hierarchy's folder.
    fn name(&self) -> &str {
        self.controllers.trim_start_matches("name=")
    }
}

/// The hierarchies of this machine, with the folders of the groups for a lab of that name. The groups are not
/// created yet.
pub fn hierarchies(lab: &str) -> Result<Vec<Hierarchy>> {
    let path = "/proc/self/cgroup";
    let found = parse(&fs::read_to_string(path).context(path)?, lab);
    for controller in ["cpu", "cpuset", "memory", "pids"] {
        if !found.iter().any(|hierarchy| hierarchy.controllers.split(',').any(|name| name == controller)) {
            bail!(
                "the lab knows control groups of version 1, and {path} tells of no hierarchy of {controller}. It takes a machine \
                 that has them: with systemd before version 256, the kernel's option systemd.unified_cgroup_hierarchy=0"
            );
        }
    }
    for hierarchy in &found {
        let parent = hierarchy.folder.parent().unwrap_or(Path::new(ROOT));
        if !parent.is_dir() {
            bail!("the control group that {path} tells is not there: {}", parent.display());
        }
    }
    Ok(found)
}

fn parse(text: &str, lab: &str) -> Vec<Hierarchy> {
    let lines = text.lines().filter_map(|line| {
        let mut fields = line.splitn(3, ':').skip(1);
        Some((fields.next()?, fields.next()?))
    });
    // The hierarchy of version 2 has no controllers in this list.
    let version_1 = lines.filter(|(controllers, _)| !controllers.is_empty());
    version_1
        .map(|(controllers, path)| {
            let name = controllers.trim_start_matches("name=");
            let folder = Path::new(ROOT).join(name).join(path.trim_start_matches('/')).join(lab);
            Hierarchy { controllers: controllers.to_string(), folder }
        })
        .collect()
}

/// Creates the lab's groups; or, where `below` is not empty, a group of that name below each of them.
pub fn create(hierarchies: &[Hierarchy], below: &str) -> Result<()> {
    for hierarchy in hierarchies {
        let folder = hierarchy.folder.join(below);
        fs::create_dir_all(&folder).with_context(|| folder.display().to_string())?;
        // A group without processors and memory accepts no process, so they are copied from the group above.
        for file in ["cpuset.cpus", "cpuset.mems"] {
            let (own, parent) = (folder.join(file), folder.parent().unwrap_or(Path::new(ROOT)).join(file));
            if own.exists() && fs::read_to_string(&own)?.trim().is_empty() {
                fs::write(&own, fs::read(&parent)?).with_context(|| own.display().to_string())?;
            }
        }
    }
    Ok(())
}

/// Moves this process into the lab's groups, or into the groups `below` them.
pub fn enter(hierarchies: &[Hierarchy], below: &str) -> Result<()> {
    for hierarchy in hierarchies {
        let file = hierarchy.folder.join(below).join("cgroup.procs");
        fs::write(&file, "0").with_context(|| file.display().to_string())?;
    }
    Ok(())
}

/// Removes the lab's groups, or the groups `below` them, and kills the processes that are still in them.
pub fn remove(hierarchies: &[Hierarchy], below: &str) -> Result<()> {
    hierarchies.iter().try_for_each(|hierarchy| remove_tree(&hierarchy.folder.join(below)))
}

fn remove_tree(group: &Path) -> Result<()> {
    for _ in 0..TRIES {
        match remove_now(group) {
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(()),
            Err(error) if error.kind() == ErrorKind::ResourceBusy => {}
            other => return other.with_context(|| group.display().to_string()),
        }
        std::thread::sleep(PAUSE);
    }
    bail!("the control group {} does not become empty", group.display())
}

fn remove_now(group: &Path) -> std::io::Result<()> {
    for entry in fs::read_dir(group)? {
        let entry = entry?;
        if entry.file_type()?.is_dir() {
            remove_now(&entry.path())?;
        }
    }
    let processes = fs::read_to_string(group.join("cgroup.procs"))?;
    for process in processes.lines().filter_map(|line| line.parse().ok()).filter_map(Pid::from_raw) {
        // The process may have ended meanwhile.
        let _ = kill_process(process, Signal::KILL);
    }
    fs::remove_dir(group)
}

/// Mounts the hierarchies for a node that is in its own namespace of control groups.
pub fn mount_own(hierarchies: &[Hierarchy]) -> Result<()> {
    let at = |what: &str| format!("mounting {what} in {ROOT}");
    mount("tmpfs", ROOT, "tmpfs", MountFlags::empty(), Some(c"mode=755")).with_context(|| at("tmpfs"))?;
    for hierarchy in hierarchies {
        let folder = Path::new(ROOT).join(hierarchy.name());
        fs::create_dir(&folder)?;
        let options = match hierarchy.controllers.strip_prefix("name=") {
            Some(_) => format!("none,{}", hierarchy.controllers),
            None => hierarchy.controllers.clone(),
        };
        let options = std::ffi::CString::new(options)?;
        mount("cgroup", &folder, "cgroup", MountFlags::empty(), Some(options.as_c_str()))
            .with_context(|| at(&hierarchy.controllers))?;
        if hierarchy.name().contains(',') {
            for controller in hierarchy.name().split(',') {
                std::os::unix::fs::symlink(hierarchy.name(), Path::new(ROOT).join(controller))?;
            }
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn groups_are_below_our_own() {
        let cases = [
            ("4:memory:/a/b", Some(("memory", "/sys/fs/cgroup/memory/a/b/lab"))),
            ("2:cpu,cpuacct:/", Some(("cpu,cpuacct", "/sys/fs/cgroup/cpu,cpuacct/lab"))),
            ("1:name=systemd:/s:x", Some(("name=systemd", "/sys/fs/cgroup/systemd/s:x/lab"))),
            ("0::/user.slice", None),
        ];
        for (line, expected) in cases {
            let expected = expected.map(|(controllers, folder)| Hierarchy {
                controllers: controllers.to_string(),
                folder: folder.into(),
            });
            assert_eq!(parse(line, "lab").first(), expected.as_ref(), "{line}");
        }
    }
}
