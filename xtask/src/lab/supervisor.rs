//! The supervisor, a process outside of the cluster's namespaces that owns a lab; and the sweeper, a process
//! that removes what the lab leaves when the supervisor itself is killed.
//!
//! ```text
//! who wants the lab --- supervisor ---+--- sweeper
//!                                     '--- unshare --- pid 1 --- steward --- etcd, API server, ..., unshare (a node) --- pid 1 --- node
//! ```
//! The supervisor, the sweeper and the steward each read a pipe that comes from the process to the left. When
//! that process ends, in whatever way, the pipe is closed, and its reader ends, too. `unshare` and the first
//! process of its namespace end with each other, and all other processes of the namespace end with the first
//! one. The sweeper then kills what is still in the lab's control groups, and removes these groups and the
//! lab's folder.

use std::fs::{self, File};
use std::io::{BufRead, BufReader};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use rustix::process::{Pid, Signal, kill_process, setsid};
use servers::kube_server::{kubectl, programs};

use super::said::{Said, say};
use super::site::{LabOptions, Site, shown};
use super::{KUBERNETES, cgroups};
use xtask::cargo::this_program;
use xtask::sweep::{self, Sweeper};

/// The line that tells a supervisor, on its standard input, to go on when that input is closed.
pub const STAY: &str = "stay";
/// The line that tells a supervisor, on its socket, to end the lab. It closes the connection when nothing is
/// left.
pub const END: &str = "end";
/// The name of the supervisor's socket.
pub const SOCKET: &str = "supervisor";
/// The name of the file that holds the id of the cluster's first process, as seen from outside.
pub const FIRST_PROCESS: &str = "pid";
/// How long the lab may take to end by itself before it is killed.
const ENDS_WITHIN: Duration = Duration::from_secs(10);

/// Starts a lab, and keeps it until the supervisor is told to end it.
pub fn supervise(options: LabOptions) -> Result<()> {
    // In a session of its own, so that Ctrl-C in the terminal where the lab was started does not reach the
    // supervisor.
    setsid().context("a session of its own")?;
    let folder = tempfile::Builder::new().prefix("rackpool-lab-").tempdir()?.keep();
    let sweeper = Sweeper::start(&folder)?;
    let held = hold(&folder, options);
    let swept = sweeper.sweep();
    // The connection is closed only when all is done: its client takes that for the answer.
    let (_connection, done) = match held {
        Ok(connection) => (connection, swept),
        Err(error) => (None, Err(error)),
    };
    if let Err(error) = done {
        say(&Said::Failed(format!("{error:#}")));
        std::process::exit(1);
    }
    Ok(())
}

/// Events for which a supervisor waits.
enum Event {
    /// The lab is to go on when the process that started it ends.
    Stay,
    /// The process that started the lab has ended.
    Abandoned,
    /// A client asks for the lab's end, on this connection.
    End(UnixStream),
    /// The lab has ended without being told to.
    Ended,
}

/// Keeps the lab until it ends. Gives the connection of the client that asked for the end.
fn hold(folder: &Path, options: LabOptions) -> Result<Option<UnixStream>> {
    let site = create(folder, options)?;
    let listener = UnixListener::bind(site.path(SOCKET))?;
    say(&Said::Folder(folder.to_path_buf()));
    let mut unshare = start(&site)?;
    let lifeline = unshare.stdin.take().context("it was piped")?;
    let (to, events) = channel();
    let first = pid_of_child(unshare.id())?;
    site.put(FIRST_PROCESS, &first.to_string())?;
    let number = Pid::from_child(&unshare);
    watch(to, listener, unshare);
    let asked = wait_for_end(&events);
    end(lifeline, number, &events, matches!(asked, Ok(Event::Ended)));
    match asked? {
        Event::End(connection) => Ok(Some(connection)),
        Event::Ended => bail!("the lab has ended by itself"),
        Event::Stay | Event::Abandoned => Ok(None),
    }
}

/// Creates the files and control groups that the lab's first process needs.
fn create(folder: &Path, options: LabOptions) -> Result<Site> {
    let name = folder.file_name().context("the folder has a name")?.to_string_lossy();
    let site = Site {
        folder: folder.to_path_buf(),
        options,
        kubernetes: programs::programs(&KUBERNETES)?,
        kubectl: kubectl()?,
        hierarchies: cgroups::hierarchies(&name)?,
    };
    site.write()?;
    // The program may be built anew while the lab runs, so the lab keeps the present one.
    if fs::hard_link(this_program()?, site.program()).is_err() {
        fs::copy("/proc/self/exe", site.program()).context("a copy of this program")?;
    }
    cgroups::create(&site.hierarchies, "")?;
    Ok(site)
}

/// Starts the steward in the cluster's own namespaces. It shares this process's standard output.
fn start(site: &Site) -> Result<Child> {
    let log = File::create(site.path("steward.log"))?;
    let mut command = Command::new(site.program());
    command.args(["lab", "inside", "enter"]).arg(&site.folder).args(["--group", "", "--"]);
    command.args(["unshare", "--net", "--mount", "--pid", "--fork", "--kill-child", "--mount-proc"]);
    command.arg(site.program()).args(["lab", "inside", "first", "--"]);
    command.arg(site.program()).args(["lab", "inside", "steward"]).arg(&site.folder);
    command.current_dir("/").stdin(Stdio::piped()).stderr(log);
    let shown = shown(&command);
    command.spawn().with_context(|| format!("cannot start {shown}"))
}

/// Reports all events. Each kind has its own thread, as waiting for it blocks.
fn watch(to: Sender<Event>, listener: UnixListener, mut lab: Child) {
    let (from_input, from_lab) = (to.clone(), to.clone());
    // Once the end has come nobody receives events; these threads end with the process.
    std::thread::spawn(move || {
        let mut line = String::new();
        let stays = std::io::stdin().lock().read_line(&mut line).is_ok() && line.trim_end() == STAY;
        let _ = from_input.send(if stays { Event::Stay } else { Event::Abandoned });
    });
    std::thread::spawn(move || {
        let _ = lab.wait();
        let _ = from_lab.send(Event::Ended);
    });
    std::thread::spawn(move || {
        for connection in listener.incoming().flatten() {
            let mut line = String::new();
            // Other clients only check whether the supervisor answers.
            if BufReader::new(&connection).read_line(&mut line).is_ok() && line.trim_end() == END {
                let _ = to.send(Event::End(connection));
            }
        }
    });
}

fn wait_for_end(events: &Receiver<Event>) -> Result<Event> {
    loop {
        match events.recv().context("somebody tells what happens")? {
            Event::Stay => {}
            event => return Ok(event),
        }
    }
}

/// Ends the lab. It ends by itself when its lifeline is closed; if that takes too long, its first process is
/// killed.
fn end(lifeline: ChildStdin, unshare: Pid, events: &Receiver<Event>, has_ended: bool) {
    drop(lifeline);
    if !has_ended && events.recv_timeout(ENDS_WITHIN).is_err() {
        // The process may have ended just now. The sweeper kills whatever is left.
        let _ = kill_process(unshare, Signal::KILL);
        let _ = events.recv_timeout(ENDS_WITHIN);
    }
}

/// The id of a process's only child; waits until there is one.
pub fn pid_of_child(parent: u32) -> Result<u32> {
    const TRIES: u32 = 3000;
    let wanted = format!("PPid:\t{parent}");
    for _ in 0..TRIES {
        for entry in fs::read_dir("/proc")?.flatten() {
            let Some(pid) = entry.file_name().to_str().and_then(|name| name.parse().ok()) else { continue };
            let status = fs::read_to_string(entry.path().join("status")).unwrap_or_default();
            if status.lines().any(|line| line == wanted) {
                return Ok(pid);
            }
        }
        if !Path::new(&format!("/proc/{parent}")).exists() {
            break;
        }
        std::thread::sleep(Duration::from_millis(10));
    }
    bail!("process {parent} does not start its child")
}

/// Removes what is left of a lab whose supervisor has ended. The lab's mounts are gone with its namespaces.
pub fn sweep(folder: &Path) -> Result<()> {
    remove_groups(folder)?;
    sweep::remove(folder)
}

/// Kills what still runs in the control groups of the lab in this folder, if there are any, and removes the
/// groups.
pub fn remove_groups(folder: &Path) -> Result<()> {
    match Site::read(folder) {
        Ok(site) => cgroups::remove(&site.hierarchies, ""),
        Err(_) => Ok(()),
    }
}
