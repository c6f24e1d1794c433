//! Who one is to the server, where that is said with each request.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use http::HeaderValue;
use outside::Secrets;
use tokio::sync::Mutex;
use tokio::time::{Instant, timeout_at};

use super::exec::Exec;
use super::options::unusable;
use crate::error::StoreError;
use crate::pem::unread;

/// The largest file of a token, in bytes.
const MOST: usize = 1 << 20;

/// The user of a kubeconfig, for messages.
pub(super) struct User {
    pub(super) name: String,
    /// The kubeconfig.
    pub(super) place: String,
}

/// Where credentials come from.
#[derive(Default)]
enum Source {
    /// There are none, or they do not change.
    #[default]
    Fixed,
    /// A file that may be written anew.
    File(PathBuf),
    /// A program that gives them, and new ones when they have expired.
    Program(Exec, User),
}

/// Credentials, as far as they were had. Secret.
#[derive(Default)]
pub(super) struct Credentials {
    source: Source,
    known: Mutex<Option<Arc<Identity>>>,
}

/// What a request or a connection says of itself. Secret.
#[derive(Default)]
pub(super) struct Identity {
    /// The value of `Authorization`.
    pub(super) header: Option<HeaderValue>,
    /// The client's certificate and key, in PEM.
    pub(super) certificate: Option<(String, String)>,
}

impl Identity {
    fn token(token: &str) -> Option<Identity> {
        let mut header = HeaderValue::try_from(format!("Bearer {}", token.trim())).ok()?;
        header.set_sensitive(true);
        Some(Identity { header: Some(header), certificate: None })
    }

    /// What no message may hold: the token; the password, alone and behind the user; and what the header makes of them.
    pub(super) fn secrets(&self) -> Secrets {
        let mut secrets = Secrets::default();
        let header = self.header.as_ref().and_then(|header| header.to_str().ok());
        let Some((kind, secret)) = header.and_then(|header| header.split_once(' ')) else { return secrets };
        secrets.add(secret);
        let user = (kind == "Basic").then(|| STANDARD.decode(secret).ok()).flatten();
        if let Some(user) = user.and_then(|user| String::from_utf8(user).ok()) {
            secrets.add(&user);
            secrets.add(user.split_once(':').map_or("", |(_, password)| password));
        }
        secrets
    }
}

impl Credentials {
    fn fixed(identity: Identity) -> Credentials {
        Credentials { source: Source::Fixed, known: Mutex::new(Some(Arc::new(identity))) }
    }

    /// A bearer token, without the white space around it; `what` is where it comes from.
    ///
    /// # Errors
    /// It holds what no header can.
    pub(super) fn token(token: &str, what: &str) -> Result<Credentials, StoreError> {
        Ok(Credentials::fixed(Identity::token(token).ok_or_else(|| not_a_token(what))?))
    }

    pub(super) fn basic(user: &str, password: &str) -> Credentials {
        let header =
            HeaderValue::try_from(format!("Basic {}", STANDARD.encode(format!("{user}:{password}"))));
        // Base64 is always a good header.
        let header = header.ok().map(|mut header| {
            header.set_sensitive(true);
            header
        });
        Credentials::fixed(Identity { header, certificate: None })
    }

    /// A bearer token in a file, which is called `what`.
    ///
    /// # Errors
    /// It cannot be read, or holds what no header can.
    pub(super) fn file(path: PathBuf, what: &str) -> Result<Credentials, StoreError> {
        let token = read_token(&path).map_err(|error| unread(what, &error))?;
        let Credentials { known, .. } = Credentials::token(&token, what)?;
        Ok(Credentials { source: Source::File(path), known })
    }

    pub(super) fn program(exec: Exec, user: User) -> Credentials {
        Credentials { source: Source::Program(exec, user), known: Mutex::default() }
    }

    /// Whether a person may be asked for them, which takes a while.
    pub(super) fn ask_a_person(&self) -> bool {
        matches!(&self.source, Source::Program(exec, _) if exec.asks())
    }

    /// The credentials; of several calls that need a program one runs it.
    ///
    /// # Errors
    /// Why there are none.
    pub(super) async fn get(&self, deadline: Instant) -> Result<Arc<Identity>, String> {
        let late = |_| "another request still waits for them".to_string();
        // Who asks a person has a time of his own.
        let mut known = match self.ask_a_person() {
            true => self.known.lock().await,
            false => timeout_at(deadline, self.known.lock()).await.map_err(late)?,
        };
        if let Some(identity) = &*known {
            return Ok(identity.clone());
        }
        let identity = match &self.source {
            Source::Program(exec, user) => {
                let within = deadline.saturating_duration_since(Instant::now());
                let given = exec.run(within).await.and_then(|given| {
                    let identity = match given.token.filter(|token| !token.trim().is_empty()) {
                        Some(token) => Identity::token(&token)
                            .ok_or_else(|| "its token holds what no HTTP header can".to_string())?,
                        None => Identity::default(),
                    };
                    let certificate = given.client_certificate_data.zip(given.client_key_data);
                    Ok(Identity { certificate, ..identity })
                });
                given.map_err(|why| {
                    format!(
                        "the credential plugin {} (exec of {user}): {why}",
                        outside::shown_word(&exec.command)
                    )
                })?
            }
            Source::Fixed | Source::File(_) => Identity::default(),
        };
        Ok(known.insert(Arc::new(identity)).clone())
    }

    /// Whether there may be better credentials than those, which the server did not accept.
    pub(super) async fn renew(&self, refused: &Arc<Identity>) -> bool {
        let mut known = self.known.lock().await;
        if known.as_ref().is_some_and(|known| !Arc::ptr_eq(known, refused)) {
            return true;
        }
        match &self.source {
            Source::Fixed => false,
            Source::File(path) => {
                // Only a plain file can have been written anew.
                let read = path.is_file().then(|| read_token(path).ok()).flatten();
                let Some(new) = read.and_then(|token| Identity::token(&token)) else { return false };
                if new.header == refused.header {
                    return false;
                }
                *known = Some(Arc::new(new));
                true
            }
            Source::Program(..) => {
                *known = None;
                true
            }
        }
    }
}

fn read_token(path: &Path) -> std::io::Result<String> {
    outside::read_text(path, MOST)
}

fn not_a_token(what: &str) -> StoreError {
    unusable(format!(
        "{what} holds what no HTTP header can: a token is one line of letters, digits and signs"
    ))
}
