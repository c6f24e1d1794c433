//! The supervisor: the process outside that owns a lab, and the one that removes what the lab leaves when the
//! supervisor itself is killed.
//!
//! ```text
//! who wants the lab --- supervisor ---+--- sweeper
//!                                     '--- unshare --- pid 1 --- steward --- etcd, API server, ..., unshare (a node) --- pid 1 --- node
//! ```
//! The supervisor, the sweeper and the steward read a pipe that comes from the left to its end: whoever loses
//! the one before ends, in whatever way that was lost. `unshare` and the first process of its namespace end
//! with each other, and with a first process all of its namespace. The sweeper then ends what is still in the
//! lab's control groups, and removes these and the lab's folder.

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

/// Said to a supervisor on its standard input: it goes on when that is closed.
pub const STAY: &str = "stay";
/// Said to a supervisor on its socket: it ends the lab, and closes the connection when nothing is left.
pub const END: &str = "end";
/// The supervisor's socket.
pub const SOCKET: &str = "supervisor";
/// The cluster's first process, as seen from outside.
pub const FIRST_PROCESS: &str = "pid";
/// How long the lab may take to end by itself.
const ENDS_WITHIN: Duration = Duration::from_secs(10);

/// Starts a lab and holds it until it is told to end it.
pub fn supervise(options: LabOptions) -> Result<()> {
    // Ctrl-C where this was started is not meant for it.
    setsid().context("a session of its own")?;
    let folder = tempfile::Builder::new().prefix("rackpool-lab-").tempdir()?.keep();
    let sweeper = Sweeper::start(&folder)?;
    let held = hold(&folder, options);
    let swept = sweeper.sweep();
    // Who asked for the end knows by the end of the connection that all is done.
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

/// What a supervisor waits for.
enum Event {
    /// The lab is to go on without the one who started it.
    Stay,
    /// The one who started it is no more.
    Abandoned,
    /// Somebody asks for the end.
    End(UnixStream),
    /// The lab has ended by itself.
    Ended,
}

/// Holds the lab until it ends; the connection of the one who asked for that.
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

/// Everything that has to be there before the first process of the lab.
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
    // The program may be built anew while the lab runs.
    if fs::hard_link(this_program()?, site.program()).is_err() {
        fs::copy("/proc/self/exe", site.program()).context("a copy of this program")?;
    }
    cgroups::create(&site.hierarchies, "")?;
    Ok(site)
}

/// Starts the steward in the cluster's own namespaces. What it says goes where this process says things.
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

/// Reports everything that happens; each in a thread of its own, as each blocks.
fn watch(to: Sender<Event>, listener: UnixListener, mut lab: Child) {
    let (from_input, from_lab) = (to.clone(), to.clone());
    // Nobody listens any more once the end has come; the threads end with the process.
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
            // Others only look whether somebody answers.
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

/// Ends the lab: without its lifeline it ends by itself; else its first process is killed.
fn end(lifeline: ChildStdin, unshare: Pid, events: &Receiver<Event>, has_ended: bool) {
    drop(lifeline);
    if !has_ended && events.recv_timeout(ENDS_WITHIN).is_err() {
        // It may end at this very moment. What this does not reach, the sweeper does.
        let _ = kill_process(unshare, Signal::KILL);
        let _ = events.recv_timeout(ENDS_WITHIN);
    }
}

/// The child of a process that has one, or is about to.
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

/// Removes what is left of a lab whose supervisor is no more. Its mounts are in namespaces that have ended.
pub fn sweep(folder: &Path) -> Result<()> {
    remove_groups(folder)?;
    sweep::remove(folder)
}

/// Ends what still runs in the control groups of the lab in this folder, if there is one, and removes them.
pub fn remove_groups(folder: &Path) -> Result<()> {
    match Site::read(folder) {
        Ok(site) => cgroups::remove(&site.hierarchies, ""),
        Err(_) => Ok(()),
    }
}
