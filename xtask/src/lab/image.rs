//! The lab's images: a stand-in for nginx, which answers HTTP requests with the pod's name; and the pause
//! image, which holds a pod's namespaces.
//!
//! Both contain busybox, in one layer of one OCI layout.

use std::fs;
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result};
use serde_json::{Value as Json, json};
use sha2::{Digest as _, Sha256};

use super::control_plane::REGISTRY;
use super::site::run;

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
    let blobs = folder.join("blobs/sha256");
    fs::create_dir_all(&blobs)?;
    let layer = folder.join("layer.tar");
    write_layer(&folder.join("root"), &layer)?;
    let layer = fs::read(layer)?;
    let put = |media_type: &str, bytes: &[u8]| -> Result<Json> {
        let digest: String = Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect();
        fs::write(blobs.join(&digest), bytes)?;
        Ok(json!({
            "mediaType": format!("application/vnd.oci.image.{media_type}"),
            "digest": format!("sha256:{digest}"),
            "size": bytes.len(),
        }))
    };
    let layer = put("layer.v1.tar", &layer)?;
    let mut manifests = Vec::new();
    for (name, script) in IMAGES {
        let config = json!({
            "architecture": architecture(),
            "os": "linux",
            "config": {"Env": ["PATH=/bin"], "Entrypoint": ["/bin/sh", "-c", script]},
            "rootfs": {"type": "layers", "diff_ids": [layer["digest"]]},
        });
        let manifest = json!({
            "schemaVersion": 2,
            "mediaType": "application/vnd.oci.image.manifest.v1+json",
            "config": put("config.v1+json", config.to_string().as_bytes())?,
            "layers": [layer],
        });
        let mut manifest = put("manifest.v1+json", manifest.to_string().as_bytes())?;
        manifest["annotations"] = json!({"org.opencontainers.image.ref.name": name});
        manifests.push(manifest);
    }
    fs::write(folder.join("oci-layout"), json!({"imageLayoutVersion": "1.0.0"}).to_string())?;
    fs::write(folder.join("index.json"), json!({"schemaVersion": 2, "manifests": manifests}).to_string())?;
    Ok(())
}

fn write_layer(root: &Path, layer: &Path) -> Result<()> {
    for folder in ["bin", "dev", "etc", "proc", "root", "sys", "tmp", "var", "www"] {
        fs::create_dir_all(root.join(folder))?;
    }
    fs::set_permissions(root.join("tmp"), fs::Permissions::from_mode(0o1777))?;
    fs::write(root.join("etc/passwd"), "root:x:0:0:root:/root:/bin/sh\n")?;
    fs::write(root.join("etc/group"), "root:x:0:\n")?;
    fs::copy(BUSYBOX, root.join("bin/busybox")).context(BUSYBOX)?;
    for applet in run(Command::new(BUSYBOX).arg("--list"))?.lines().filter(|applet| *applet != "busybox") {
        symlink("busybox", root.join("bin").join(applet))?;
    }
    let mut tar = Command::new("tar");
    tar.args(["--sort=name", "--owner=0", "--group=0", "--mtime=@0", "-cf"]).arg(layer);
    run(tar.arg("-C").arg(root).arg(".")).map(drop)
}

/// Pushes the images from that folder into the registry.
pub fn push(folder: &Path) -> Result<()> {
    for (name, _) in IMAGES {
        let mut skopeo = Command::new("skopeo");
        skopeo.args(["copy", "--quiet", "--insecure-policy", "--dest-tls-verify=false"]);
        skopeo.arg(format!("oci:{}:{name}", folder.display()));
        run(skopeo.arg(format!("docker://{REGISTRY}/library/{name}")))?;
    }
    Ok(())
}

/// The machine's architecture, by Go's name.
fn architecture() -> &'static str {
    match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        other => other,
    }
}
