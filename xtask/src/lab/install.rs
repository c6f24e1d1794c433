//! rackpool on the cluster, as a user puts it there: images in a registry, and the chart, by helm.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
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
    // Every node unpacks them, and nobody there reads what is for debuggers.
    let stripped = site.path("programs");
    fs::create_dir_all(&stripped)?;
    for name in PROGRAMS {
        run(Command::new("strip").arg("-o").arg(stripped.join(name)).arg(programs.join(name)))?;
    }
    run(images(site, &mut Command::new(site.program()), &stripped, env!("CARGO_PKG_VERSION")))?;
    progress("rackpool's images are in the registry");
    Ok(())
}

/// The command that makes images of these programs and pushes them, with this tag.
fn images<'c>(site: &Site, command: &'c mut Command, programs: &Path, tag: &str) -> &'c mut Command {
    command.args(["images", "--tag", tag, "--packing", "none", "--time", "0", "--programs"]).arg(programs);
    command.arg("--out").arg(site.path(&format!("images-{tag}")));
    command.args(["--push", REGISTRY, "--insecure"])
}

impl Lab {
    /// Pushes images of other programs into the registry, with this tag. They are other programs by a byte at
    /// the end of each, so that all of it is installed anew.
    pub fn push_another(&self, tag: &str) -> Result<()> {
        let (present, others) = (self.site.path("programs"), self.site.path(&format!("programs-{tag}")));
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

    /// The arguments with which helm installs the chart of this tree and waits for it.
    pub fn installation<'a>(settings: &[&'a str]) -> Vec<&'a str> {
        let mut words = vec!["install", RELEASE, "deploy/chart", "--wait", "--timeout", WITHIN];
        words.extend(settings);
        words
    }

    /// Installs rackpool by its chart, and waits until all nodes are ready.
    pub fn install(&self, settings: &[&str]) -> Result<()> {
        run(&mut self.helm(&Lab::installation(settings))?)?;
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
