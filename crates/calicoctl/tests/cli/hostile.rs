//! Input that may be a trap: pipes into which nobody writes, files without end, text that multiplies, faults
//! next to secrets.

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::thread;
use std::time::Duration;

use golang::yaml;
use rustix::fs::{CWD, FileType, Mode, mknodat};
use setup::{ConnectOptions, Datastore, Environment, Settings};

use crate::world::{World, pool};

/// Every secret contains this text three times, so that the text is still found if a fault damages one of
/// them.
const SECRET: &str = "hunter2";
const PLANTED: &str = "hunter2-hunter2-hunter2";

fn fifo(path: &Path) -> String {
    mknodat(CWD, path, FileType::Fifo, Mode::from_raw_mode(0o600), 0).unwrap();
    path.to_str().unwrap().to_string()
}

/// Starts the program with a limit on its memory, in KiB.
fn start(world: &World, memory: usize, variables: &[(&str, &str)], args: &[&str]) -> Child {
    let mut command = Command::new("/bin/sh");
    command
        .args(["-c", &format!("ulimit -v {memory}; exec \"$@\""), "sh", env!("CARGO_BIN_EXE_calicoctl")])
        .args(args);
    command.env_clear().envs(world.variables()).envs(variables.iter().copied());
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
}

fn text(output: &Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}

const PLENTY: usize = 4 << 20;

/// Each run ends, and names the file for which it waited.
#[cfg(all(feature = "etcd", feature = "kubernetes"))]
#[test]
fn pipes_that_nobody_writes_are_given_up() {
    let world = World::new();
    let pipe = fifo(&world.path("pipe"));
    let file = |name: &str, text: String| world.write(name, &text);
    let config = |spec: &str| {
        format!("apiVersion: projectcalico.org/v3\nkind: CalicoAPIConfig\nmetadata: {{}}\nspec: {spec}\n")
    };
    let kubeconfig = |cluster: &str, user: &str| {
        format!(
            "current-context: c\ncontexts: [{{name: c, context: {{cluster: d, user: u}}}}]\nclusters: [{{name: d, cluster: {{server: 'https://127.0.0.1:1'{cluster}}}}}]\nusers: [{{name: u, user: {{{user}}}}}]\n"
        )
    };
    let mut started = Vec::new();
    let mut case = |variables: &[(&str, &str)], args: &[&str], wanted: &str| {
        let child = start(&world, PLENTY, variables, &[&["get", "nodes"], args].concat());
        started.push((child, format!("{variables:?} {args:?}"), wanted.to_string()));
    };
    case(&[], &["-c", &pipe], &pipe);
    case(&[], &["-o", &format!("go-template-file={pipe}")], &pipe);
    let kubernetes = ("DATASTORE_TYPE", "kubernetes");
    let etcd = ("DATASTORE_TYPE", "etcdv3");
    case(&[kubernetes, ("KUBECONFIG", &pipe)], &[], &pipe);
    let files = [
        ("ca", kubeconfig(&format!(", certificate-authority: {pipe}"), ""), "certificate-authority"),
        (
            "cert",
            kubeconfig("", &format!("client-certificate: {pipe}, client-key: /x")),
            "client-certificate",
        ),
        ("token", kubeconfig("", &format!("tokenFile: {pipe}")), "tokenFile"),
    ];
    for (name, content, wanted) in files {
        case(&[kubernetes, ("KUBECONFIG", &file(name, content))], &[], wanted);
    }
    let certificate = rcgen::generate_simple_self_signed(["x".to_string()]).unwrap();
    let (cert, key) =
        (file("cert.pem", certificate.cert.pem()), file("key.pem", certificate.signing_key.serialize_pem()));
    let with_key = kubeconfig("", &format!("client-certificate: {cert}, client-key: {pipe}"));
    case(&[kubernetes, ("KUBECONFIG", &file("key", with_key))], &[], "client-key");
    for (variables, wanted) in [
        ([("K8S_CA_FILE", &*pipe), ("K8S_X", "")], "K8S_CA_FILE"),
        ([("K8S_CERT_FILE", &pipe), ("K8S_KEY_FILE", &key)], "K8S_CERT_FILE"),
        ([("K8S_CERT_FILE", &cert), ("K8S_KEY_FILE", &pipe)], "K8S_KEY_FILE"),
    ] {
        case(
            &[&[kubernetes, ("K8S_API_ENDPOINT", "https://127.0.0.1:1")], &variables[..]].concat(),
            &[],
            wanted,
        );
    }
    for variables in [
        [("ETCD_CA_CERT_FILE", &*pipe), ("ETCD_X", "")],
        [("ETCD_CERT_FILE", &pipe), ("ETCD_KEY_FILE", &key)],
        [("ETCD_CERT_FILE", &cert), ("ETCD_KEY_FILE", &pipe)],
    ] {
        case(&[&[etcd, ("ETCD_ENDPOINTS", "https://127.0.0.1:1")], &variables[..]].concat(), &[], &pipe);
    }
    case(
        &[],
        &[
            "-c",
            &file(
                "etcd.cfg",
                config(&format!(
                    "{{datastoreType: etcdv3, etcdEndpoints: 'https://127.0.0.1:1', etcdCACertFile: {pipe}}}"
                )),
            ),
        ],
        &pipe,
    );
    case(&[("RACKPOOL_DB", &pipe)], &[], &pipe);
    let clock = setup::Clock::start();
    for (child, case, wanted) in started {
        let output = child.wait_with_output().unwrap();
        let told = text(&output);
        assert!(output.status.code() == Some(1) && told.contains(&wanted), "{case}: {told}");
    }
    assert!(clock.elapsed() < Duration::from_secs(200));
}

/// `-c <(...)`, `KUBECONFIG=<(...)` and `-f <(...)`.
#[test]
fn pipes_that_somebody_writes_are_read() {
    let world = World::new();
    world.good("datastore init --ipv4-cidr=none");
    let write = |path: String, text: String| {
        thread::spawn(move || {
            let mut file = fs::OpenOptions::new().write(true).open(path).unwrap();
            thread::sleep(Duration::from_millis(200));
            file.write_all(text.as_bytes()).unwrap();
        })
    };
    let (config, manifest) = (fifo(&world.path("c")), fifo(&world.path("f")));
    let db = world.path("rackpool.db");
    let writers = [
        write(
            config.clone(),
            format!(
                "apiVersion: projectcalico.org/v3\nkind: CalicoAPIConfig\nmetadata: {{}}\nspec: {{datastoreType: embedded, rackpoolDB: {}}}\n",
                db.display()
            ),
        ),
        write(manifest.clone(), pool("p", "10.0.0.0/16")),
    ];
    let output =
        start(&world, PLENTY, &[], &["create", "-c", &config, "-f", &manifest]).wait_with_output().unwrap();
    assert_eq!(text(&output), "Successfully created 1 'IPPool' resource(s)\n");
    for writer in writers {
        writer.join().unwrap();
    }
}

#[cfg(feature = "kubernetes")]
#[test]
fn a_kubeconfig_from_a_pipe() {
    let world = World::new();
    let path = fifo(&world.path("k"));
    let theirs = path.clone();
    let writer = thread::spawn(move || {
        let text = "current-context: c\ncontexts: [{name: c, context: {cluster: d}}]\nclusters: [{name: d, cluster: {server: 'http://127.0.0.1:1'}}]\n";
        fs::write(theirs, text).unwrap();
    });
    let variables = [("DATASTORE_TYPE", "kubernetes"), ("KUBECONFIG", &*path)];
    let output = start(&world, PLENTY, &variables, &["get", "nodes"]).wait_with_output().unwrap();
    writer.join().unwrap();
    assert!(text(&output).contains("http://127.0.0.1:1 cannot be reached"), "{}", text(&output));
}

/// The program has little memory, so it would fail if it read all of the input.
#[test]
fn inputs_without_end_are_not_read_to_it() {
    let world = World::new();
    world.good("datastore init --ipv4-cidr=none");
    const LITTLE: usize = 600 << 10;
    let large = world.path("large.yaml");
    fs::File::create(&large).unwrap().set_len(3 << 30).unwrap();
    let large = large.to_str().unwrap();
    let anchors = world
        .write("anchors.yaml", &format!("a: &a {}\nb: [{}]\n", "x".repeat(5_000_000), "*a, ".repeat(4_000)));
    let mut laughs = "a0: &a0 [lol, lol, lol]\n".to_string();
    for at in 1..40 {
        laughs.push_str(&format!("a{at}: &a{at} [*a{0}, *a{0}, *a{0}]\n", at - 1));
    }
    let laughs = world.write("laughs.yaml", &laughs);
    for (args, wanted) in [
        (vec!["create", "-f", large], "token too long"),
        (vec!["create", "-f", "/dev/zero"], "token too long"),
        (vec!["create", "-f", &anchors], "excessive aliasing"),
        (vec!["create", "-f", &laughs], "excessive aliasing"),
        (vec!["validate", "-f", &anchors], "excessive aliasing"),
        (vec!["get", "nodes", "-c", large], "holds more than 8 MiB"),
        (vec!["get", "nodes", "-c", "/dev/zero"], "holds more than 8 MiB"),
        (vec!["get", "nodes", "-c", &laughs], "too much aliasing"),
        (vec!["get", "nodes", "-o", "go-template-file=/dev/zero"], "holds more than 1 MiB"),
        (vec!["get", "nodes", "-o", "go-template={{range 999999999}}x{{end}}"], "runs too long"),
        (vec!["get", "nodes", "-o", "go-template={{len}}"], "wrong number of args for len"),
    ] {
        let output = start(&world, LITTLE, &[], &args).wait_with_output().unwrap();
        let told = text(&output);
        assert!(output.status.code() == Some(1) && told.contains(wanted), "{args:?}: {output:?}");
    }
    let mut command = Command::new("/bin/sh");
    command.args([
        "-c",
        &format!("ulimit -v {LITTLE}; exec \"$@\" < /dev/zero"),
        "sh",
        env!("CARGO_BIN_EXE_calicoctl"),
    ]);
    let output = command.args(["create", "-f", "-"]).env_clear().envs(world.variables()).output().unwrap();
    assert!(text(&output).contains("token too long"), "{output:?}");
}

/// A configuration file with a secret in each place that can hold one.
fn config() -> String {
    format!(
        r#"apiVersion: projectcalico.org/v3
kind: CalicoAPIConfig
metadata: {{}}
spec:
  datastoreType: etcdv3
  etcdEndpoints: u:{PLANTED}@127.0.0.1:1, http://u:{PLANTED}@127.0.0.1:1
  etcdUsername: u
  etcdPassword: {PLANTED}
  etcdKey: "{PLANTED}"
  etcdCert: '{PLANTED}'
  etcdCACert: x
  k8sAPIEndpoint: https://u:{PLANTED}@127.0.0.1:1
  k8sAPIToken: {PLANTED}
  k8sClientQPS: 1.5
  kubeconfigInline: |
    users:
    - name: u
      user: {{token: {PLANTED}}}
"#
    )
}

/// All messages about a configuration that appear before anything is sent.
fn told(text: &str) -> Vec<String> {
    let document = match yaml::read_strict(text.as_bytes()) {
        Ok(document) => document,
        Err(error) => return vec![error.without_content()],
    };
    let settings = match Settings::from_file("x.cfg", &document) {
        Ok(settings) => settings,
        Err(error) => return vec![error.to_string(), format!("{error:?}")],
    };
    match Datastore::choose(&settings, &Environment::default()) {
        Ok(datastore) => {
            let opened = setup::connect(&datastore, ConnectOptions::existing()).err();
            let error = opened.map(|error| error.to_string()).unwrap_or_default();
            vec![
                format!("{settings:?}"),
                format!("{datastore:?}"),
                datastore.place(),
                datastore.chosen_by().to_string(),
                error,
            ]
        }
        Err(error) => vec![error.to_string(), format!("{error:?}")],
    }
}

/// Damages the file at each place in turn: removes a character, inserts one, or ends the text there.
#[test]
fn no_fault_of_a_configuration_file_tells_a_secret() {
    let whole = config();
    for kind in ["etcdv3", "kubernetes", "embedded"] {
        let whole = whole.replace("datastoreType: etcdv3", &format!("datastoreType: {kind}"));
        for (at, _) in whole.char_indices().filter(|(at, _)| at % 2 == 0) {
            let (before, after) = whole.split_at(at);
            let mut faults = vec![before.to_string(), format!("{before}{}", &after[1..])];
            faults.extend(["\"", ":", "\n", "*", "[", "{", "!", ","].map(|c| format!("{before}{c}{after}")));
            for fault in faults {
                for told in told(&fault) {
                    assert!(!told.contains(SECRET), "{fault}\n{told}");
                }
            }
        }
    }
}

/// Checks the messages of the program itself, whatever the command.
#[test]
fn no_message_holds_a_secret() {
    let world = World::new();
    let file = world.write("x.cfg", &config());
    let with_password = format!("u:{PLANTED}@127.0.0.1:1");
    let endpoint = format!("https://{with_password}");
    type Case<'c> = (Vec<(&'c str, &'c str)>, Vec<&'c str>);
    let mut cases: Vec<Case<'_>> = vec![(vec![], vec!["-c", &file])];
    for endpoints in [&with_password, &endpoint] {
        cases.push((
            vec![
                ("DATASTORE_TYPE", "etcdv3"),
                ("ETCD_ENDPOINTS", endpoints),
                ("ETCD_USERNAME", "u"),
                ("ETCD_PASSWORD", PLANTED),
            ],
            vec![],
        ));
        cases.push((
            vec![
                ("DATASTORE_TYPE", "kubernetes"),
                ("K8S_API_ENDPOINT", endpoints),
                ("CALICO_K8SAPITOKEN", PLANTED),
            ],
            vec![],
        ));
    }
    cases.push((
        vec![
            ("DATASTORE_TYPE", "kubernetes"),
            ("K8S_API_ENDPOINT", &endpoint),
            ("CALICO_K8SAPITOKEN", "hunter2\nhunter2"),
        ],
        vec![],
    ));
    for (variables, more) in cases {
        for words in
            [&["get", "nodes"][..], &["version"], &["datastore", "init"], &["ipam", "show"], &["--help"]]
        {
            let mut args = [&["-l", "debug"], words].concat();
            args.extend(more.iter().copied().filter(|_| words != ["--help"]));
            let output = start(&world, PLENTY, &variables, &args).wait_with_output().unwrap();
            let told = text(&output);
            assert!(
                !told.contains(SECRET) && output.status.code() != Some(101),
                "{variables:?} {args:?}: {told}"
            );
        }
    }
    assert!(PathBuf::from(&file).exists());
}
