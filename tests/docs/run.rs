//! Runs the commands of pages, and compares what they print.

use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use servers::etcd_server::{self, EtcdServer};
use servers::kube_server::{KubeServer, KubeServerOptions, kubectl};

use crate::elsewhere;
use crate::page::{self, Block, Page, Store};
use crate::shown::is_shown;

/// What ends the output of a command: a character that no program prints, and the exit code behind it.
const END: char = '\u{1e}';
/// How long the commands of a page may take; the machine may be busy with a build.
const PATIENCE_SECONDS: &str = "240";

/// Runs pages on a store. Gives what is wrong with them.
pub fn pages(programs: &Path, store: Store, pages: &[&Page]) -> Vec<String> {
    // An API server is large, so there is one for all pages.
    let cluster = (store == Store::Kubernetes && !pages.is_empty())
        .then(|| KubeServer::start(KubeServerOptions::new()));
    let perform = |page: &&Page| {
        if let Some(cluster) = &cluster {
            empty(cluster);
        }
        Reader::new(programs, store, cluster.as_ref()).read(page)
    };
    pages.iter().flat_map(perform).collect()
}

/// Deletes what the page before has made.
fn empty(cluster: &KubeServer) {
    for arguments in [
        ["delete", "customresourcedefinitions", "--all", "--wait"].as_slice(),
        &["delete", "nodes,pods,deployments,daemonsets", "--all", "--force", "--grace-period=0"],
        &["delete", "daemonsets,deployments", "--all", "--namespace=kube-system"],
    ] {
        let output = cluster.kubectl(arguments).output().unwrap();
        assert!(output.status.success(), "{arguments:?}: {output:?}");
    }
}

/// Somebody who reads a page and types what it says.
struct Reader<'c> {
    home: tempfile::TempDir,
    path: String,
    /// The variables that lead to the store.
    variables: Vec<(&'static str, String)>,
    /// Texts that differ from run to run, and what pages show in their place.
    shown: Vec<(String, &'static str)>,
    _etcd: Option<EtcdServer>,
    _cluster: Option<&'c KubeServer>,
}

impl<'c> Reader<'c> {
    fn new(programs: &Path, store: Store, cluster: Option<&'c KubeServer>) -> Reader<'c> {
        let home = tempfile::tempdir().unwrap();
        let own = home.path().join(".bin");
        std::fs::create_dir_all(&own).unwrap();
        let etcd = (store == Store::Etcd).then(|| etcd_server::Setup::new().start());
        let database = home.path().join(".rackpool.db").display().to_string();
        let mut shown = vec![(database.clone(), "/var/lib/rackpool/rackpool.db")];
        let mut variables = Vec::new();
        match (&etcd, cluster) {
            (Some(etcd), _) => {
                variables.push(("ETCD_ENDPOINTS", etcd.endpoint()));
                shown.push((etcd.endpoint(), "http://127.0.0.1:2379"));
            }
            (None, Some(cluster)) => {
                let folder = home.path().join(".kube");
                std::fs::create_dir(&folder).unwrap();
                std::fs::copy(cluster.kubeconfig(), folder.join("config")).unwrap();
                symlink(which(&kubectl().unwrap()), own.join("kubectl")).unwrap();
                variables.push(("KUBECONFIG", folder.join("config").display().to_string()));
                shown.push((cluster.endpoint().to_string(), "https://127.0.0.1:6443"));
            }
            _ => variables.push(("RACKPOOL_DB", database)),
        }
        shown.push((home.path().display().to_string(), "/home/alice"));
        let programs = programs.canonicalize().unwrap();
        let path = format!("{}:{}:/usr/local/bin:/usr/bin:/bin", own.display(), programs.display());
        Reader { home, path, variables, shown, _etcd: etcd, _cluster: cluster }
    }

    /// Types the page's commands. Gives what is wrong.
    fn read(&self, page: &Page) -> Vec<String> {
        let blocks = page.blocks.iter().filter(|block| !elsewhere::has(&page.name, block));
        let blocks: Vec<&Block> = blocks.collect();
        let changing = blocks.iter().filter_map(|block| Some((block.line, block.of_the_host()?)));
        let faults: Vec<String> = changing
            .map(|(line, command)| format!("docs/{}:{line}: `{command}` would change this host", page.name))
            .collect();
        if !faults.is_empty() {
            return faults;
        }
        let commands: Vec<page::Command> = blocks.into_iter().flat_map(page::commands).collect();
        // Each command is a group, whose `set -e` would not count: the end says how it went.
        let script: String = commands
            .iter()
            .map(|command| format!("{{\n{}}} 2>&1\nprintf '{END}%d{END}' $?\n", with_stops(command)))
            .collect();
        let file = self.home.path().join(".script");
        std::fs::write(&file, script).unwrap();
        let out = Command::new("timeout")
            .args([PATIENCE_SECONDS, "sh"])
            .arg(&file)
            .env_clear()
            .env("PATH", &self.path)
            .env("HOME", self.home.path())
            .envs(self.variables.iter().map(|(name, value)| (name, value)))
            .current_dir(self.home.path())
            .stdin(Stdio::null())
            .output()
            .unwrap();
        let printed = String::from_utf8_lossy(&out.stdout).into_owned();
        let mut parts = printed.split(END);
        let mut faults = Vec::new();
        for command in &commands {
            let output = self.as_shown(parts.next().unwrap_or_default());
            let at = format!("docs/{}:{}: {}", page.name, command.line, command.text.trim_end());
            match (parts.next(), &command.output) {
                (Some("0"), Some(shown)) if !is_shown(shown, &output) => {
                    faults.push(format!("{at}\nprints\n{output}and the page shows\n{shown}"));
                }
                (Some("0"), _) => {}
                (Some(code), _) => faults.push(format!("{at}\nends with {code}:\n{output}")),
                (None, _) => {
                    let said = String::from_utf8_lossy(&out.stderr);
                    faults.push(format!("{at}\ndoes not end ({}):\n{output}{said}", out.status));
                    break;
                }
            }
        }
        faults
    }

    fn as_shown(&self, output: &str) -> String {
        let replace = |text: String, (real, shown): &(String, &str)| text.replace(real, shown);
        self.shown.iter().fold(output.to_string(), replace)
    }
}

/// A script whose failure is that of its first command which fails. A command of a session stays in the
/// shell, so that its variables count for those after it.
fn with_stops(command: &page::Command) -> String {
    match command.output {
        Some(_) => command.text.clone(),
        None => format!("(\nset -e\n{})\n", command.text),
    }
}

/// The path of a program that may be named without its folder.
fn which(program: &Path) -> PathBuf {
    if program.components().count() > 1 {
        return program.to_path_buf();
    }
    let folders = std::env::var_os("PATH").unwrap_or_default();
    let found =
        std::env::split_paths(&folders).map(|folder| folder.join(program)).find(|path| path.is_file());
    found.unwrap_or_else(|| panic!("{} is not in PATH", program.display()))
}
