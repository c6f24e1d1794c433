//! A plain host with Debian's containerd, in namespaces of its own on top of this machine's files: the
//! commands of `docs/plain-host.md`, one after the other.

use std::fs;
use std::path::Path;
use std::process::Command;

use serde_json::json;

use super::*;
use crate::images::{Files, Image, Layout, Packing};
use crate::lab::BUSYBOX;
use crate::needs;

/// What stands before the commands: a host with a fresh disk and containerd on it.
const BEFORE: &str = include_str!("plain-host.sh");

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
    let missing =
        ["containerd", "runc", "dpkg", "nft", "unshare"].into_iter().find(|name| !needs::is_there(name));
    let missing = missing.or((!Path::new(BUSYBOX).exists()).then_some(BUSYBOX));
    let missing = missing.or((!needs::is_root()).then_some("root, who may make namespaces"));
    if let Some(missing) = missing {
        println!("left out: a plain host: there is no {missing}");
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let release = folder.path().join("release");
    let architecture = Architecture::of_this_machine().unwrap();
    write(&Source { programs: programs(), architecture, time: 1_700_000_000, is_quick: true }, &release)
        .unwrap();
    write_busybox(folder.path());
    let host = folder.path().join("host.sh");
    let text = BEFORE.replace("@COMMANDS@", &blocks("sh"));
    fs::write(&host, text).unwrap();
    // Commands that wait for something give up with that.
    let mut unshare = Command::new("timeout");
    unshare.args([
        "1800",
        "unshare",
        "--mount",
        "--net",
        "--pid",
        "--uts",
        "--fork",
        "--kill-child",
        "--propagation=private",
    ]);
    let out = unshare.arg("bash").arg(&host).arg(folder.path()).output().unwrap();
    let (said, errors) = (String::from_utf8_lossy(&out.stdout), String::from_utf8_lossy(&out.stderr));
    assert!(out.status.success(), "{}\n{said}\n{errors}", out.status);
    let (_, left) = said.split_once("== left\n").unwrap();
    let left: Vec<_> = left.lines().filter(|path| !path.is_empty()).collect();
    assert!(left.is_empty(), "these are left or changed: {left:#?}\n{said}\n{errors}");
}
