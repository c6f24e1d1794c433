//! The lab's images: a stand-in for nginx, which answers HTTP requests with the pod's name; and the pause
//! image, which holds a pod's namespaces.
//!
//! Both contain busybox, in one layer of one OCI layout.

use std::path::Path;
use std::process::Command;

use anyhow::Result;
use serde_json::json;

use super::control_plane::REGISTRY;
use super::site::run;
use crate::images::{self, Architecture, Files, Image, Layout, Packing};

/// The path of Debian's statically linked busybox.
pub const BUSYBOX: &str = "/bin/busybox";
/// The images: name with tag, and the script that each runs. As first process of its container, a script ends
/// at once on a signal to terminate; busybox alone would not, and would be killed half a minute later.
const IMAGES: [(&str, &str); 2] = [
    ("nginx:latest", "trap 'exit 0' TERM QUIT; hostname > /www/index.html; httpd -f -p 80 -h /www & wait"),
    ("pause:1", "trap 'exit 0' TERM INT; sleep 2147483647 & wait"),
];
/// The image of [`IMAGES`] that a pod's own container is made from.
pub const PAUSE: &str = "docker.io/library/pause:1";

/// Writes the images into a folder, as an OCI layout.
pub fn write(folder: &Path) -> Result<()> {
    let mut layout = Layout::create(folder)?;
    let layer = layout.layer(&files()?, Packing::None, 0)?;
    for (name, script) in IMAGES {
        let image = Image {
            architecture: Architecture::of_this_machine()?,
            layers: vec![layer.clone()],
            config: json!({"Env": ["PATH=/bin"], "Entrypoint": ["/bin/sh", "-c", script]}),
        };
        layout.add(name, &[image], 0)?;
    }
    layout.finish()
}

fn files() -> Result<Files> {
    let mut files = Files::default();
    for folder in ["dev", "proc", "root", "sys", "var", "www"] {
        files.folder(folder, 0o755);
    }
    files.folder("tmp", 0o1777);
    files.put("etc/passwd", "root:x:0:0:root:/root:/bin/sh\n");
    files.put("etc/group", "root:x:0:\n");
    files.program("bin/busybox", BUSYBOX);
    for applet in run(Command::new(BUSYBOX).arg("--list"))?.lines().filter(|applet| *applet != "busybox") {
        files.link(&format!("bin/{applet}"), "busybox");
    }
    Ok(files)
}

/// Pushes the images from that folder into the registry.
pub fn push(folder: &Path) -> Result<()> {
    for (name, _) in IMAGES {
        images::push(folder, name, REGISTRY, &format!("library/{name}"), true)?;
    }
    Ok(())
}
