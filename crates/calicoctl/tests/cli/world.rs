//! A directory with a store, an environment that names only this store, and the program.

use std::path::PathBuf;

use setup::Environment;
use tempfile::TempDir;

/// Runs the program on a store of its own.
pub struct World {
    dir: TempDir,
    variables: Vec<(String, String)>,
}

/// The outcome of a run of the program.
#[derive(Debug, PartialEq, Eq)]
pub struct Ran {
    pub code: u8,
    pub stdout: String,
    pub stderr: String,
}

impl World {
    pub fn new() -> World {
        let dir = tempfile::tempdir().unwrap();
        let mut world = World { dir, variables: Vec::new() };
        let file = world.path("rackpool.db");
        world.set("DATASTORE_TYPE", "embedded");
        world.set("RACKPOOL_DB", file.to_str().unwrap());
        world.set("HOME", world.dir.path().to_str().unwrap().to_string().as_str());
        world
    }

    pub fn set(&mut self, name: &str, value: &str) {
        self.variables.retain(|(known, _)| known != name);
        self.variables.push((name.to_string(), value.to_string()));
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    pub fn variables(&self) -> impl Iterator<Item = (&str, &str)> {
        self.variables.iter().map(|(name, value)| (name.as_str(), value.as_str()))
    }

    pub fn write(&self, name: &str, text: &str) -> String {
        let path = self.path(name);
        std::fs::write(&path, text).unwrap();
        path.to_str().unwrap().to_string()
    }

    /// Runs a command line, whose words are separated by blanks.
    pub fn run(&self, line: &str) -> Ran {
        self.run_with(line, "")
    }

    pub fn run_with(&self, line: &str, stdin: &str) -> Ran {
        let args: Vec<String> = line.split(' ').filter(|arg| !arg.is_empty()).map(str::to_string).collect();
        self.run_args(&args, stdin)
    }

    pub fn run_args(&self, args: &[String], stdin: &str) -> Ran {
        let environment: Environment = self.variables().collect();
        let (mut stdout, mut stderr) = (Vec::new(), Vec::new());
        let code = calicoctl::run(args, &environment, &mut stdin.as_bytes(), &mut stdout, &mut stderr);
        Ran { code, stdout: self.plain(stdout), stderr: self.plain(stderr) }
    }

    /// The output of a run, which must succeed.
    pub fn good(&self, line: &str) -> String {
        self.good_with(line, "")
    }

    pub fn good_with(&self, line: &str, stdin: &str) -> String {
        let ran = self.run_with(line, stdin);
        assert_eq!((ran.code, ran.stderr.as_str()), (0, ""), "{line}: {ran:?}");
        ran.stdout
    }

    /// The output without the directory's name, which differs in every run.
    fn plain(&self, text: Vec<u8>) -> String {
        let dir = self.dir.path().to_str().unwrap();
        String::from_utf8(text).unwrap().replace(dir, "[DIR]")
    }

    /// The bytes of the store's file; empty where there is none.
    pub fn contents(&self) -> Vec<u8> {
        let read = |name: &str| std::fs::read(self.path(name)).unwrap_or_default();
        [read("rackpool.db"), read("rackpool.db-wal")].concat()
    }
}

/// The manifest of a pool.
pub fn pool(name: &str, cidr: &str) -> String {
    format!(
        "apiVersion: projectcalico.org/v3\nkind: IPPool\nmetadata:\n  name: {name}\nspec:\n  cidr: {cidr}\n"
    )
}
