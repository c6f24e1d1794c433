//! A stand-in for the kubelets of all nodes. It registers the nodes and keeps them ready; for each pod that the scheduler binds to one it calls the plugin, and
//! reports what Calico's main plugin and a kubelet report. It runs no containers.

use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;

use anyhow::{Context, Result, anyhow, bail};

use self::api::Api;
use self::pods::{Pods, Site};
use super::plugin::{Plugin, Sandbox};

mod api;
mod nodes;
mod pods;

/// The kubelets. They end with this value.
pub struct Kubelets {
    shared: Arc<Shared>,
    thread: Option<JoinHandle<Result<()>>>,
}

/// What both sides see.
#[derive(Default)]
struct Shared {
    is_over: AtomicBool,
    /// Each pod that runs, and its address with the prefix of its block, as the plugin gave it.
    running: Mutex<Vec<(Sandbox, String)>>,
    /// What nobody was told yet.
    news: Mutex<Vec<String>>,
}

impl Kubelets {
    /// Registers the nodes with the API server behind that socket, waits until they take pods, and begins to serve these.
    pub fn start(socket: PathBuf, nodes: &'static [&'static str], plugin: Plugin) -> Result<Kubelets> {
        let api = Api { socket };
        nodes::register(&api, nodes).context("the nodes cannot be registered")?;
        let shared = Arc::new(Shared::default());
        let pods = Pods::new(Site { api, plugin: Arc::new(plugin), shared: Arc::clone(&shared) });
        let thread = Some(std::thread::spawn(move || pods.serve(nodes)));
        Ok(Kubelets { shared, thread })
    }

    /// The pods that run now, each with its address.
    pub fn running(&self) -> Vec<(Sandbox, String)> {
        locked(&self.shared.running).clone()
    }

    /// What they have done since this was asked; why they do nothing any more.
    pub fn news(&mut self) -> Result<Vec<String>> {
        match self.thread.take_if(|thread| thread.is_finished()) {
            Some(thread) => ended(thread).and_then(|()| bail!("the nodes have ended")),
            None => Ok(std::mem::take(&mut *locked(&self.shared.news))),
        }
    }

    /// Ends them, when they are through with what they have begun.
    pub fn end(mut self) -> Result<()> {
        self.shared.is_over.store(true, Ordering::Relaxed);
        self.thread.take().map_or(Ok(()), ended)
    }
}

impl Drop for Kubelets {
    fn drop(&mut self) {
        self.shared.is_over.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            // Another error is on its way already.
            let _ = thread.join();
        }
    }
}

/// What is behind the lock is whole whenever it is free.
fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// What a thread that has ended, or is about to, came to.
fn ended<T>(thread: JoinHandle<Result<T>>) -> Result<T> {
    thread.join().unwrap_or_else(|_| Err(anyhow!("a thread of the nodes has panicked")))
}

/// As Kubernetes writes its finest times.
fn now() -> String {
    format!("{:.6}", jiff::Timestamp::now())
}
