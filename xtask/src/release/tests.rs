//! The package on hosts that are made for it, in namespaces of their own on top of this machine's files: one
//! with Debian's containerd, on which the commands of `docs/plain-host.md` are run, one after the other; and
//! one on which systemd is the first process.

use std::fs;
use std::path::Path;
use std::process::Command;

use serde_json::json;

use super::*;
use crate::images::{Files, Image, Layout, Packing};
use crate::lab::BUSYBOX;
use crate::needs;

/// What scripts of hosts share.
const HOST: &str = include_str!("host.sh");
/// What stands before the commands: a host with a fresh disk and containerd on it.
const BEFORE: &str = include_str!("plain-host.sh");
/// A host with systemd, and what is done on it.
const SYSTEMD: &str = include_str!("systemd.sh");

/// What the text has in blocks of a language.
fn blocks(language: &str) -> String {
    let text = fs::read_to_string(root().join("docs/plain-host.md")).unwrap();
    let fence = format!("```{language}\n");
    let blocks = text.split(&fence).skip(1);
    blocks.map(|block| block.split("```").next().unwrap()).collect()
}

fn programs() -> PathBuf {
    #[allow(clippy::disallowed_methods, reason = "tests are told where the programs are")]
    let programs = std::env::var_os("RACKPOOL_PROGRAMS");
    programs.map_or_else(|| target_dir().unwrap().join("debug"), PathBuf::from)
}

/// Writes a release of the programs into a folder: stripped, as those that are handed out are.
fn write_release(folder: &Path) -> PathBuf {
    let (stripped, release) = (folder.join("stripped"), folder.join("release"));
    fs::create_dir(&stripped).unwrap();
    for name in PROGRAMS {
        run(Command::new("strip").arg("-o").arg(stripped.join(name)).arg(programs().join(name))).unwrap();
    }
    let architecture = Architecture::of_this_machine().unwrap();
    let source = Source { programs: stripped, architecture, time: 1_700_000_000, is_quick: true };
    write(&source, &release).unwrap();
    release
}

/// Whether these programs are there, and this is root, who may make namespaces. Says what is missing.
fn can_be_had(what: &str, programs: &[&str]) -> bool {
    let missing = programs.iter().copied().find(|name| !needs::is_there(name));
    let missing = missing.or((!needs::is_root()).then_some("root, who may make namespaces"));
    if let Some(missing) = missing {
        println!("left out: {what}: there is no {missing}");
    }
    missing.is_none()
}

/// What the script of a host says that is given this folder and runs in namespaces of its own.
fn said_apart(script: &str, folder: &Path, namespaces: &[&str]) -> String {
    let file = folder.join("host.sh");
    fs::write(&file, format!("{HOST}{script}")).unwrap();
    // Commands that wait for something give up with that.
    let mut unshare = Command::new("timeout");
    unshare.args(["1800", "unshare", "--mount", "--propagation=private"]).args(namespaces);
    let out = unshare.arg("bash").arg(&file).arg(folder).output().unwrap();
    let (said, errors) = (String::from_utf8_lossy(&out.stdout), String::from_utf8_lossy(&out.stderr));
    assert!(out.status.success(), "{}\n{said}\n{errors}", out.status);
    said.into_owned()
}

/// Writes an image with busybox into one file.
fn write_busybox(folder: &Path) {
    let layout = folder.join("layout");
    let mut files = Files::default();
    files.program("bin/busybox", BUSYBOX);
    for applet in ["sh", "sleep", "ip", "ping"] {
        files.link(&format!("bin/{applet}"), "busybox");
    }
    files.folder("tmp", 0o1777);
    let mut images = Layout::create(&layout).unwrap();
    let layers = vec![images.layer(&files, Packing::None, 0).unwrap()];
    let config = json!({"Env": ["PATH=/bin"], "Entrypoint": ["/bin/sh"]});
    let image = Image { architecture: Architecture::of_this_machine().unwrap(), layers, config };
    images.add("busybox:latest", &[image], 0).unwrap();
    images.finish().unwrap();
    let mut archive = Files::default();
    archive.copy_all(&layout).unwrap();
    archive.write(File::create(folder.join("busybox.tar")).unwrap(), 0).unwrap();
}

#[test]
fn the_text_shows_the_example() {
    let example = fs::read_to_string(root().join("deploy/examples/10-rackpool.conflist")).unwrap();
    assert_eq!(blocks("json"), example);
}

#[test]
#[ignore = "nightly: makes a package, and a host to install it on"]
fn plain_host() {
    if !can_be_had("a plain host", &["containerd", "runc", "dpkg", "nft", "unshare", BUSYBOX]) {
        return;
    }
    let cnitool = match servers::kube_server::programs::cnitool() {
        Ok(cnitool) => cnitool,
        Err(error) => return println!("left out: a plain host: {error}"),
    };
    let folder = tempfile::tempdir().unwrap();
    write_release(folder.path());
    write_busybox(folder.path());
    fs::copy(cnitool, folder.path().join("cnitool")).unwrap();
    let script = BEFORE.replace("@COMMANDS@", &blocks("sh"));
    let said = said_apart(&script, folder.path(), &["--net", "--pid", "--uts", "--fork", "--kill-child"]);
    let (_, left) = said.split_once("== left\n").unwrap();
    let left: Vec<_> = left.lines().filter(|path| !path.is_empty()).collect();
    assert!(left.is_empty(), "these are left or changed: {left:#?}\n{said}");
}

#[test]
#[ignore = "nightly: makes a package, and a host with systemd to install it on"]
fn systemd_host() {
    if !can_be_had("a host with systemd", &["systemd-nspawn", "dpkg", "nft", "unshare"]) {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    write_release(folder.path());
    println!("{}", said_apart(SYSTEMD, folder.path(), &[]));
}

#[test]
#[ignore = "nightly: makes a package"]
fn lintian_finds_nothing_in_the_package() {
    if !can_be_had("lintian", &["lintian", "dpkg"]) {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let release = write_release(folder.path());
    let mut lintian = Command::new("lintian");
    lintian.args(["--allow-root", "--tag-display-limit", "0", "--fail-on", "error,warning,info"]);
    // Programs of the development build are not static, and the package says nothing of their libraries.
    lintian.args(["--suppress-tags", "undeclared-elf-prerequisites"]);
    let packages = fs::read_dir(&release).unwrap().map(|entry| entry.unwrap().path());
    let package = packages.into_iter().find(|path| path.extension().is_some_and(|end| end == "deb"));
    let out = lintian.arg(package.unwrap()).output().unwrap();
    let said = String::from_utf8_lossy(&out.stdout);
    assert!(out.status.success(), "{said}\n{}", String::from_utf8_lossy(&out.stderr));
}
