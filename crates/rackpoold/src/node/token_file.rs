//! The file with the agent's own token. A new token may mean that the keys are new by which the API server
//! knows tokens: then the one that the plugins have is worth nothing any more, and cannot wait for its time.

use std::io;
use std::path::{Path, PathBuf};

use rustix::fs::inotify::{self, CreateFlags, WatchFlags};
use store::AnyStore;
use tokio::net::unix::pipe::Receiver;

/// No token is longer.
const MOST: usize = 1 << 20;

/// The file, and what it held when it was looked at last.
#[derive(Debug)]
pub struct TokenFile {
    file: PathBuf,
    known: Option<String>,
    events: Receiver,
}

impl TokenFile {
    /// Listens to the agent's own token; `None` where it is in no file, or cannot be listened to.
    pub fn of_store(store: &AnyStore) -> Option<TokenFile> {
        let file = own_file(store)?;
        let unheard = |error: &io::Error| {
            let file = file.display();
            tracing::warn!(
                "cannot listen to changes of {file}: {error}; the plugins' token is renewed by time alone"
            );
        };
        TokenFile::listen(file).inspect_err(unheard).ok()
    }

    /// Begins to listen. Kubernetes gives a pod its token through links, and changes a link beside the file:
    /// so everything in the file's folder is listened to.
    ///
    /// # Errors
    /// The system's.
    pub fn listen(file: &Path) -> io::Result<TokenFile> {
        let events = inotify::init(CreateFlags::NONBLOCK | CreateFlags::CLOEXEC)?;
        let folder = file.parent().filter(|folder| *folder != Path::new("")).unwrap_or(Path::new("."));
        inotify::add_watch(&events, folder, WatchFlags::CLOSE_WRITE | WatchFlags::MOVED_TO)?;
        // It is read like a pipe.
        let events = Receiver::from_owned_fd_unchecked(events)?;
        Ok(TokenFile { known: read(file), file: file.to_path_buf(), events })
    }

    /// Waits until something in the folder changes. A call that is given up loses nothing.
    pub async fn touched(&mut self) {
        let mut bytes = [0; 4096];
        loop {
            let read = match self.events.readable().await {
                Ok(()) => self.events.try_read(&mut bytes),
                Err(error) => Err(error),
            };
            match read {
                Ok(_) => return,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(error) => {
                    tracing::warn!("cannot listen to changes of {}: {error}", self.file.display());
                    return std::future::pending().await;
                }
            }
        }
    }

    /// Whether the file holds another token than when it was looked at last. What cannot be read is none.
    pub fn is_new(&mut self) -> bool {
        let Some(token) = read(&self.file) else { return false };
        let is_new = self.known.as_ref() != Some(&token);
        self.known = Some(token);
        is_new
    }
}

#[cfg(feature = "kubernetes")]
fn own_file(store: &AnyStore) -> Option<&Path> {
    match store {
        AnyStore::Kubernetes(server) => server.token_file(),
        _ => None,
    }
}

#[cfg(not(feature = "kubernetes"))]
fn own_file(_store: &AnyStore) -> Option<&Path> {
    None
}

/// Waits until something changes beside the token; for ever where there is none.
pub async fn touched(token: &mut Option<TokenFile>) {
    match token {
        Some(token) => token.touched().await,
        None => std::future::pending().await,
    }
}

fn read(file: &Path) -> Option<String> {
    outside::read_text(file, MOST).ok().filter(|token| !token.trim().is_empty())
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::symlink;
    use std::time::Duration;

    use super::*;

    async fn is_touched(token: &mut TokenFile) -> bool {
        tokio::time::timeout(Duration::from_millis(300), token.touched()).await.is_ok()
    }

    /// As the kubelet does it: a folder for each state, and a link that is renamed over the one before.
    #[tokio::test]
    async fn a_token_that_comes_through_links() {
        let dir = tempfile::tempdir().unwrap();
        let at = |name: &str| dir.path().join(name);
        let state = |name: &str, token: &str| {
            fs::create_dir(at(name)).unwrap();
            fs::write(at(name).join("token"), token).unwrap();
            symlink(name, at("..data_tmp")).unwrap();
            fs::rename(at("..data_tmp"), at("..data")).unwrap();
        };
        state("..1", "one");
        symlink("..data/token", at("token")).unwrap();
        let mut token = TokenFile::listen(&at("token")).unwrap();
        assert!(!is_touched(&mut token).await && !token.is_new());
        state("..2", "two");
        assert!(is_touched(&mut token).await && token.is_new() && !token.is_new());
        // The certificates beside it may change, too.
        state("..3", "two");
        assert!(is_touched(&mut token).await && !token.is_new());
        fs::remove_dir_all(at("..3")).unwrap();
        assert!(!token.is_new(), "no token is no new one");
        state("..4", "four");
        assert!(is_touched(&mut token).await && token.is_new());
    }

    #[tokio::test]
    async fn a_token_that_is_written() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("token");
        fs::write(&file, "one").unwrap();
        let mut token = TokenFile::listen(&file).unwrap();
        fs::write(&file, "two").unwrap();
        assert!(is_touched(&mut token).await && token.is_new());
        assert!(TokenFile::listen(&dir.path().join("none/token")).is_err());
    }
}
