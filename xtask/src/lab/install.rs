//! rackpool on the cluster, as a user puts it there: images in a registry, and the chart, by helm.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, ensure};
use servers::kube_server::programs;

use super::control_plane::REGISTRY;
use super::handle::Lab;
use super::said::progress;
use super::site::{Cni, Site, run};
use xtask::cargo::{PROGRAMS, root};

/// The name of the release.
pub const RELEASE: &str = "rackpool";
/// The chart of this tree, seen from its root.
pub const CHART: &str = "deploy/chart";
/// The tag of the images of the lab's own programs.
pub const PRESENT: &str = env!("CARGO_PKG_VERSION");
/// How long an installation may take. The machine may be busy with a build.
const WITHIN: &str = "10m";

/// Checks that the programs are there.
pub fn check(cni: Cni, programs: Option<&Path>) -> Result<()> {
    if cni == Cni::Ptp {
        return Ok(());
    }
    let folder = programs.context("--cni calico takes a folder with rackpool's programs: --programs DIR")?;
    for name in PROGRAMS {
        ensure!(
            folder.join(name).is_file(),
            "--cni calico takes the programs {}, and there is no {name} in {}; build it, or name another folder: --programs DIR",
            PROGRAMS.join(", "),
            folder.display()
        );
    }
    Ok(())
}

/// Makes the images of rackpool's programs, and pushes them into the cluster's registry.
pub fn push_images(site: &Site) -> Result<()> {
    let (Cni::Calico, Some(programs)) = (site.options.cni, &site.options.programs) else { return Ok(()) };
    let stripped = strip(site, programs, PRESENT)?;
    run(images(site, &mut Command::new(site.program()), &stripped, PRESENT))?;
    progress("rackpool's images are in the registry");
    Ok(())
}

/// Copies the programs for images with this tag: every node unpacks them, and nobody there reads what is for
/// debuggers. Gives the folder.
fn strip(site: &Site, programs: &Path, tag: &str) -> Result<PathBuf> {
    let stripped = site.path(&format!("programs-{tag}"));
    fs::create_dir_all(&stripped)?;
    for name in PROGRAMS {
        run(Command::new("strip").arg("-o").arg(stripped.join(name)).arg(programs.join(name)))?;
    }
    Ok(stripped)
}

/// The command that makes images of these programs and pushes them, with this tag.
fn images<'c>(site: &Site, command: &'c mut Command, programs: &Path, tag: &str) -> &'c mut Command {
    command.args(["images", "--tag", tag, "--packing", "none", "--time", "0", "--programs"]).arg(programs);
    command.arg("--out").arg(site.path(&format!("images-{tag}")));
    command.args(["--push", REGISTRY, "--insecure"])
}

impl Lab {
    /// Pushes images of the programs in a folder into the registry, with this tag.
    pub fn push(&self, programs: &Path, tag: &str) -> Result<()> {
        let stripped = strip(&self.site, programs, tag)?;
        let mut command = self.command(self.site.program())?;
        run(images(&self.site, &mut command, &stripped, tag)).map(drop)
    }

    /// Pushes images of other programs into the registry, with this tag. They are other programs by a byte at
    /// the end of each, so that all of it is installed anew.
    pub fn push_another(&self, tag: &str) -> Result<()> {
        let folder = |tag| self.site.path(&format!("programs-{tag}"));
        let (present, others) = (folder(PRESENT), folder(tag));
        fs::create_dir_all(&others)?;
        for name in PROGRAMS {
            let mut program = fs::read(present.join(name))?;
            program.push(0);
            fs::write(others.join(name), program)?;
            fs::set_permissions(others.join(name), fs::Permissions::from_mode(0o755))?;
        }
        let mut command = self.command(self.site.program())?;
        run(images(&self.site, &mut command, &others, tag)).map(drop)
    }

    /// A command of helm as the cluster's administrator, in the root of this tree.
    pub fn helm(&self, arguments: &[&str]) -> Result<Command> {
        let mut command = self.command("env")?;
        command.arg("-C").arg(root()).arg(programs::helm()?).args(arguments);
        for kind in ["CACHE", "CONFIG", "DATA"] {
            command.env(format!("HELM_{kind}_HOME"), self.folder().join("helm"));
        }
        Ok(command)
    }

    /// The arguments with which helm installs a chart on these nodes and waits for it.
    pub fn installation<'a>(&self, chart: &'a str, settings: &[&'a str]) -> Vec<&'a str> {
        let mut words = vec!["install", RELEASE, chart, "--wait", "--timeout", WITHIN];
        if let Some(platform) = self.site.options.platform {
            words.extend(["--set", platform.setting()]);
        }
        words.extend(settings);
        words
    }

    /// Installs rackpool by its chart, and waits until all nodes are ready.
    pub fn install(&self, settings: &[&str]) -> Result<()> {
        run(&mut self.helm(&self.installation(CHART, settings))?)?;
        self.wait_for_network()
    }

    /// Waits until the agent of every node says that its network is there, and every kubelet knows it.
    pub fn wait_for_network(&self) -> Result<()> {
        for condition in ["NetworkUnavailable=False", "Ready"] {
            let condition = format!("--for=condition={condition}");
            run(&mut self.kubectl(&["wait", "node", "--all", "--timeout", WITHIN, &condition])?)?;
        }
        Ok(())
    }
}
