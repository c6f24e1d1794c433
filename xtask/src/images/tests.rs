//! Images of stand-ins for the programs: two of them are static, and one needs shared libraries.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::path::Path;
use std::process::Command;

use flate2::read::GzDecoder;

use super::*;
use crate::lab::BUSYBOX;

/// A program of this machine that needs shared libraries.
const SHARED: &str = "/bin/bash";

/// Whether this machine lacks what images are made from; says so.
fn is_left_out() -> bool {
    let missing = ["dpkg-query", "nft", "bash"].into_iter().find(|name| !needs::is_there(name));
    let missing = missing.or((!Path::new(BUSYBOX).exists()).then_some(BUSYBOX));
    if let Some(missing) = missing {
        eprintln!("left out: images: there is no {missing}");
    }
    missing.is_some()
}

fn arguments(programs: &Path) -> Images {
    Images {
        programs: Some(programs.to_path_buf()),
        arch: Vec::new(),
        out: None,
        tag: "1".to_string(),
        packing: Packing::Gzip,
        time: Some(1_700_000_000),
        archive: None,
        push: None,
        insecure: false,
    }
}

/// Writes the stand-ins into a folder.
fn stand_ins(folder: &Path) {
    fs::create_dir_all(folder).unwrap();
    for name in ["calico", "calico-ipam", "calicoctl"] {
        fs::copy(BUSYBOX, folder.join(name)).unwrap();
    }
    fs::copy(SHARED, folder.join("rackpoold")).unwrap();
}

/// Unpacks an image of a layout.
fn unpack(layout: &Path, number: usize, to: &Path) {
    let read =
        |path: &Path| -> serde_json::Value { serde_json::from_slice(&fs::read(path).unwrap()).unwrap() };
    let blob = |descriptor: &serde_json::Value| {
        let digest = descriptor["digest"].as_str().unwrap().strip_prefix("sha256:").unwrap();
        layout.join("blobs/sha256").join(digest)
    };
    let index = read(&blob(&read(&layout.join("index.json"))["manifests"][number]));
    let manifest = read(&blob(&index["manifests"][0]));
    for layer in manifest["layers"].as_array().unwrap() {
        tar::Archive::new(GzDecoder::new(File::open(blob(layer)).unwrap())).unpack(to).unwrap();
    }
}

/// The names of all shared libraries that a program needs, as its loader tells.
fn libraries(program: &str) -> BTreeSet<String> {
    let out = Command::new("ldd").arg(program).output().unwrap();
    let text = String::from_utf8(out.stdout).unwrap();
    let paths = text.lines().filter_map(|line| {
        let words: Vec<_> = line.split_whitespace().collect();
        words.iter().copied().find(|word| word.starts_with('/'))
    });
    paths.map(|path| path.rsplit('/').next().unwrap().to_string()).collect()
}

#[test]
fn the_same_programs_give_the_same_images() {
    if is_left_out() {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let written = |name: &str| {
        let (programs, out) = (folder.path().join(name), folder.path().join(format!("{name}-images")));
        stand_ins(&programs);
        assert_eq!(
            arguments(&programs).write(&out).unwrap(),
            ["rackpool/rackpoold:1", "rackpool/calicoctl:1"]
        );
        let blobs = fs::read_dir(out.join("blobs/sha256")).unwrap();
        let blobs: BTreeSet<_> = blobs.map(|blob| blob.unwrap().file_name()).collect();
        (fs::read(out.join("index.json")).unwrap(), blobs)
    };
    assert_eq!(written("a"), written("elsewhere/b"));
}

#[test]
fn an_image_has_its_programs_and_exactly_what_they_need() {
    if is_left_out() {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let (programs, out) = (folder.path().join("programs"), folder.path().join("images"));
    stand_ins(&programs);
    arguments(&programs).write(&out).unwrap();
    let (daemon, client) = (folder.path().join("daemon"), folder.path().join("client"));
    unpack(&out, 0, &daemon);
    unpack(&out, 1, &client);
    let names = |folder: &Path| -> BTreeSet<String> {
        let entries = fs::read_dir(folder).unwrap();
        entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect()
    };
    let triplet = Architecture::of_this_machine().unwrap().triplet();
    let mut found = names(&daemon.join("usr/lib").join(triplet));
    found.extend(names(&daemon.join("usr/lib64")));
    let wanted: BTreeSet<_> = libraries("/usr/sbin/nft").union(&libraries(SHARED)).cloned().collect();
    assert_eq!(found, wanted);
    assert_eq!(names(&daemon.join("usr/bin")), ["rackpoold".to_string()].into());
    assert_eq!(names(&client.join("usr/bin")), ["calicoctl".to_string()].into());
    assert!(!client.join("usr/lib").exists() && !client.join("var").exists());
    // Every package has its licence and its record, and is in the bill.
    let bill = fs::read_to_string(daemon.join("usr/share/doc/rackpool/sbom.spdx.json")).unwrap();
    let packages = names(&daemon.join("var/lib/dpkg/status.d"));
    assert!(packages.contains("nftables") && packages.contains("libc6"), "{packages:?}");
    for package in packages {
        assert!(daemon.join(format!("usr/share/doc/{package}/copyright")).is_file(), "{package}");
        assert!(bill.contains(&format!("pkg:deb/debian/{package}@")), "{package}");
    }
    if !needs::is_root() {
        println!("left out: running programs in the image takes root");
        return;
    }
    for (program, says) in [("usr/sbin/nft", "nftables v"), ("usr/bin/rackpoold", "GNU bash")] {
        let mut chroot = Command::new("chroot");
        let out = chroot.arg(&daemon).arg(format!("/{program}")).arg("--version").output().unwrap();
        let text = String::from_utf8_lossy(&out.stdout);
        assert!(text.starts_with(says), "{program}: {out:?}");
    }
}

#[test]
fn what_is_missing_is_named() {
    if is_left_out() {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let (programs, out) = (folder.path().join("programs"), folder.path().join("images"));
    stand_ins(&programs);
    let said = || format!("{:#}", arguments(&programs).write(&out).unwrap_err());
    fs::write(programs.join("calico"), "#!/bin/sh\n").unwrap();
    let error = said();
    assert!(error.starts_with("rackpool/rackpoold:1 for "), "{error}");
    assert!(error.contains("calico: it is no program"), "{error}");
    fs::remove_file(programs.join("calico")).unwrap();
    let error = said();
    assert!(error.ends_with("/programs/calico is missing"), "{error}");
    // What is not a layout is not removed.
    let error = format!("{:#}", arguments(&programs).write(&programs).unwrap_err());
    assert!(error.contains("is neither empty nor a layout of images"), "{error}");
    assert!(programs.join("rackpoold").is_file());
}
